//! The events that report a fact.
use super::logged::Event;
use super::payload::*;
use crate::domain::{
    AgentChange, AgentId, BudgetNotice, CapturedOutput, Diagnosis, Entry, Fact, IncidentRecord, RunError,
    RunId, RunStatus, Seq, Stream, Verdict,
};
use jiff::Timestamp;

/// Maximum length of an output chunk in an event, in bytes. The full output is in `get_run_output`.
const OUTPUT_EVENT_BYTES: usize = 4096;

impl Event {
    /// Returns the events that report this fact: none for rows that are overwritten, two for an attempt that
    /// failed, or was ended on request, and will be retried.
    pub fn telling(entry: &Entry) -> Vec<Self> {
        let event = |agent: Option<&AgentId>, run: Option<&RunId>, payload| Self {
            seq: Seq(0),
            ts: entry.at,
            agent_id: agent.cloned(),
            run_id: run.copied(),
            session_id: None,
            payload,
        };
        let one = match &entry.fact {
            Fact::AgentSaved(_)
            | Fact::ConfigStored(_)
            | Fact::IncidentSaved(_)
            | Fact::IncidentDropped { .. }
            | Fact::ProcessStarted { .. }
            | Fact::RunClaimed(_)
            | Fact::RunPlaced { .. }
            | Fact::Ordered { .. }
            | Fact::ReportsTaken { .. }
            | Fact::NodeOver { .. }
            | Fact::BackfillMoved { .. }
            | Fact::NotificationQueued { .. }
            | Fact::NotificationsJoined { .. }
            | Fact::NotificationsParted { .. }
            | Fact::QuestionAsked(_)
            | Fact::AnswersHeard { .. }
            | Fact::Remembered(_)
            | Fact::Archived(_)
            | Fact::ClockSet { .. }
            | Fact::FeedKept { .. }
            | Fact::ExportBegan { .. }
            | Fact::FilesLeft { .. }
            | Fact::CursorMoved { .. }
            | Fact::McpPinned { seen: None, .. }
            | Fact::SlotRevised { quiet: true, .. }
            | Fact::RequestAnswered { .. } => return Vec::new(),
            Fact::OutputCaptured(output) if !output.told => return Vec::new(),
            Fact::SlotsJudged { verdict, extends, .. }
                if *verdict == Verdict::Ran || (*extends && verdict.is_quiet_in_a_row()) =>
            {
                return Vec::new();
            }
            Fact::Talked(talk) => {
                let of_talk = |payload| Self {
                    session_id: Some(talk.session.to_string()),
                    ..event(Some(&talk.agent), Some(&talk.run), payload)
                };
                return talk.told().into_iter().map(of_talk).collect();
            }
            Fact::AttemptFailed { run, agent, attempt, error, error_count, retry_at, asked } => {
                let failed = attempt_failed(*attempt, error, *error_count, *retry_at);
                let failed = if *asked { Payload::TaskCancelled(failed) } else { Payload::TaskError(failed) };
                let retrying = TaskRetrying { attempt: attempt + 1, retry_at: *retry_at, kind: error.kind };
                return [failed, Payload::TaskRetrying(retrying)]
                    .map(|payload| event(Some(agent), Some(run), payload))
                    .into();
            }
            Fact::DaemonStarted { version, pid, down_since, clean } => {
                let (down_since, clean) = (*down_since, *clean);
                let started = DaemonStarted { version: version.clone(), pid: *pid, down_since, clean };
                event(None, None, Payload::DaemonStarted(started))
            }
            Fact::DaemonStopping { reason } => {
                event(None, None, Payload::DaemonStopping(DaemonStopping { reason: reason.clone() }))
            }
            Fact::ConfigApplied { path, applied, hash, added, changed, removed } => {
                let applied = ConfigApplied {
                    path: path.clone(),
                    revision: applied.as_ref().map(|applied| applied.revision),
                    by: applied.as_ref().map(|applied| applied.by.clone()),
                    hash: hash.to_string(),
                    added: added.clone(),
                    changed: changed.clone(),
                    removed: removed.clone(),
                };
                event(None, None, Payload::ConfigApplied(applied))
            }
            Fact::ConfigRejected { path, errors } => {
                let rejected = ConfigRejected { path: path.clone(), errors: errors.clone() };
                event(None, None, Payload::ConfigRejected(rejected))
            }
            Fact::McpPinned { server, tool, trusted, seen: Some(seen), about: _ } => {
                let changed = McpPinChanged {
                    server: server.clone(),
                    tool: tool.clone(),
                    trusted: trusted.clone(),
                    seen: seen.clone(),
                };
                event(None, None, Payload::McpPinChanged(changed))
            }
            Fact::SandboxDenied { owner, program, host, reason } => {
                let denied = SandboxDenied {
                    host: host.clone(),
                    program: program.clone(),
                    table: owner.table.clone(),
                    reason: reason.clone(),
                };
                event(owner.agent.as_ref(), owner.run.as_ref(), Payload::SandboxDenied(denied))
            }
            Fact::WorkspaceRemoved { run, agent, attempt, folder, bytes, bound } => {
                let removed = WorkspaceRemoved {
                    attempt: *attempt,
                    folder: folder.clone(),
                    bytes: *bytes,
                    bound: *bound,
                };
                event(agent.as_ref(), Some(run), Payload::WorkspaceRemoved(removed))
            }
            Fact::Budget(news) => event(news.agent.as_ref(), None, budget(news)),
            Fact::AgentChanged(change) => event(Some(&change.agent), None, agent_changed(change)),
            Fact::SlotsJudged { agent, first, last, count, verdict, cause, .. } => {
                let slots = skipped(*verdict, cause, Some(*first), Some(*last), *count);
                event(Some(agent), None, Payload::SlotSkipped(slots))
            }
            Fact::SlotsTakenBack { agent, taken, .. } => {
                let back = SlotsTakenBack { from: taken.first, to: taken.last, count: taken.count };
                event(Some(agent), None, Payload::SlotsTakenBack(back))
            }
            Fact::Joined(event) => (**event).clone(),
            Fact::Arrived { event, .. } => (**event).clone(),
            Fact::EventsSkipped { agent, skipped } => {
                event(Some(agent), None, Payload::McpEventsSkipped(skipped.clone()))
            }
            Fact::EventPassed { agent, event: passed, verdict, cause } => {
                let which = Some(passed.reference());
                let passed = SlotSkipped { event: which, ..skipped(*verdict, cause, None, None, 1) };
                event(Some(agent), None, Payload::SlotSkipped(passed))
            }
            Fact::SlotRevised { agent, slot, run, verdict, cause, .. } => {
                event(Some(agent), Some(run), Payload::SlotSkipped(skipped(*verdict, cause, *slot, *slot, 1)))
            }
            Fact::BackfillBegan(backfill) => {
                let end = |slot: Option<&Timestamp>| slot.copied().unwrap_or(entry.at);
                let began = BackfillBegan {
                    backfill_id: backfill.id.to_string(),
                    first: end(backfill.slots.first()),
                    last: end(backfill.slots.last()),
                    count: backfill.slots.len() as u64,
                    max_usd: backfill.max_usd,
                    params: backfill.params.clone(),
                };
                event(Some(&backfill.agent), None, Payload::BackfillBegan(began))
            }
            Fact::BackfillEnded { id, agent, claimed, count, usd, cause } => {
                let ended = BackfillEnded {
                    backfill_id: id.to_string(),
                    started: *claimed as u64,
                    count: *count as u64,
                    usd: *usd,
                    cause: cause.clone(),
                };
                event(Some(agent), None, Payload::BackfillEnded(ended))
            }
            Fact::AttemptStarted {
                run, agent, attempt, run_count, trigger, slot, params, process, ..
            } => {
                let started = TaskStarted {
                    run_count: *run_count,
                    attempt: *attempt,
                    trigger: *trigger,
                    slot: *slot,
                    params: params.as_deref().cloned().unwrap_or_default(),
                    pid: process.map(|process| process.pid),
                };
                event(Some(agent), Some(run), Payload::TaskStarted(started))
            }
            Fact::RunEnded {
                run,
                agent,
                status,
                attempt,
                result,
                error,
                exit_code,
                usage,
                duration,
                run_count,
                error_count,
                warnings,
                real: _,
                untrusted: _,
            } => {
                let (exit_code, usage, attempt, warnings) = (*exit_code, *usage, *attempt, warnings.clone());
                let duration_ms = duration.as_millis() as i64;
                let payload = if *status == RunStatus::Completed {
                    let (run_count, result) = (*run_count, result.clone());
                    Payload::TaskCompleted(TaskCompleted {
                        run_count,
                        result,
                        duration_ms,
                        usage,
                        exit_code,
                        attempt,
                        warnings,
                    })
                } else {
                    let over = RunOver { status: *status, exit_code, duration_ms, usage, warnings };
                    run_over(attempt, error.as_ref(), *error_count, over)
                };
                event(Some(agent), Some(run), payload)
            }
            Fact::AgentLate { agent, since, late_after, last_success } => {
                let late = AgentLate {
                    since: *since,
                    late_after_secs: late_after.as_secs(),
                    last_success: *last_success,
                };
                event(Some(agent), None, Payload::AgentLate(late))
            }
            Fact::RunSlow { run, agent, slow_after } => {
                let slow = TaskSlow { slow_after_secs: slow_after.as_secs() };
                event(Some(agent), Some(run), Payload::TaskSlow(slow))
            }
            Fact::CircuitOpened { agent, failures, until, .. } => {
                let opened = CircuitOpened { failures: *failures, until: *until };
                event(Some(agent), None, Payload::CircuitOpened(opened))
            }
            Fact::CircuitClosed { agent, reason } => {
                event(Some(agent), None, Payload::CircuitClosed(CircuitClosed { reason: reason.clone() }))
            }
            Fact::IncidentOpened(incident) => event(Some(&incident.agent), None, opened(incident)),
            Fact::IncidentResolved(incident) => event(Some(&incident.agent), None, resolved(incident)),
            Fact::IncidentDiagnosed { agent, key, since, diagnosis } => {
                event(Some(agent), Some(&diagnosis.run), diagnosed(key, *since, diagnosis))
            }
            Fact::NotificationSent { target, agent, run, tries, .. } => {
                let sent = NotificationSent { target: target.clone(), tries: *tries };
                event(Some(agent), run.as_ref(), Payload::NotificationSent(sent))
            }
            Fact::NotificationFailed { target, agent, run, tries, error, retry_at, .. } => {
                let failed = NotificationFailed {
                    target: target.clone(),
                    tries: *tries,
                    error: error.clone(),
                    retry_at: *retry_at,
                };
                event(Some(agent), run.as_ref(), Payload::NotificationFailed(failed))
            }
            Fact::OutputCaptured(output) => {
                event(Some(&output.agent), Some(&output.run), output_told(output))
            }
        };
        vec![one]
    }
}

fn attempt_failed(attempt: u32, error: &RunError, error_count: u64, retry_at: Timestamp) -> AttemptEnded {
    AttemptEnded {
        error: error.message.clone(),
        kind: Some(error.kind),
        error_count,
        will_retry: true,
        retry_at: Some(retry_at),
        attempt,
        end: None,
    }
}

/// Returns the payload for a run that did not do its work.
fn run_over(attempt: u32, error: Option<&RunError>, error_count: u64, over: RunOver) -> Payload {
    let is_failure = over.status.is_failure();
    let ended = AttemptEnded {
        error: error.map_or("cancelled", |error| error.message.as_str()).to_owned(),
        kind: error.map(|error| error.kind),
        error_count,
        will_retry: false,
        retry_at: None,
        attempt,
        end: Some(over),
    };
    if is_failure { Payload::TaskError(ended) } else { Payload::TaskCancelled(ended) }
}

fn agent_changed(change: &AgentChange) -> Payload {
    Payload::AgentStatus(AgentStatus {
        status: change.desired,
        previous: change.previous,
        reason: change.reason.clone(),
        resume_at: change.resume_at,
        run_count: change.run_count,
        error_count: change.error_count,
        last_run: change.last_run,
        next_run: change.next_run,
    })
}

fn skipped(
    verdict: Verdict,
    cause: &str,
    slot: Option<Timestamp>,
    last_slot: Option<Timestamp>,
    count: u64,
) -> SlotSkipped {
    SlotSkipped { verdict, slot, last_slot, count, cause: cause.to_owned(), event: None }
}

fn budget(news: &BudgetNotice) -> Payload {
    let used = BudgetUse {
        limit: news.limit.to_owned(),
        allowed: news.allowed,
        used: news.used,
        day: news.day.to_string(),
        text: news.text.clone(),
    };
    if news.exhausted { Payload::BudgetExhausted(used) } else { Payload::BudgetWarning(used) }
}

fn opened(incident: &IncidentRecord) -> Payload {
    Payload::IncidentOpened(IncidentOpened {
        key: incident.key.clone(),
        severity: incident.severity,
        title: incident.title.clone(),
        since: incident.since,
        untrusted: incident.by.is_untrusted(),
    })
}

fn resolved(incident: &IncidentRecord) -> Payload {
    Payload::IncidentResolved(IncidentResolved {
        key: incident.key.clone(),
        severity: incident.severity,
        title: incident.title.clone(),
        since: incident.since,
        count: incident.count,
        untrusted: incident.by.is_untrusted(),
    })
}

fn diagnosed(key: &str, since: Timestamp, diagnosis: &Diagnosis) -> Payload {
    let finding = excerpt(std::iter::once(diagnosis.text.as_str()));
    Payload::IncidentDiagnosed(IncidentDiagnosed {
        key: key.to_owned(),
        since,
        by: diagnosis.by.clone(),
        finding,
    })
}

fn output_told(output: &CapturedOutput) -> Payload {
    let CapturedOutput { attempt, chunks, dropped_bytes, .. } = output;
    let of = |stream| {
        excerpt(chunks.iter().filter(|chunk| chunk.stream == stream).map(|chunk| chunk.text.as_str()))
    };
    Payload::TaskOutput(TaskOutput {
        attempt: *attempt,
        from: chunks.first().map(|chunk| chunk.n),
        chunks: chunks.len() as u64,
        dropped_bytes: *dropped_bytes,
        text: of(Stream::Stdout),
        stderr: of(Stream::Stderr),
    })
}

/// Concatenates texts up to the limit; `None` if they are empty.
fn excerpt<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut out = String::new();
    for text in texts {
        let room = OUTPUT_EVENT_BYTES.saturating_sub(out.len());
        if text.len() > room {
            out.push_str(&text[..text.floor_char_boundary(room)]);
            out.push('…');
            break;
        }
        out.push_str(text);
    }
    (!out.is_empty()).then_some(out)
}
