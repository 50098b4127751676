//! Events: what is told of a fact (section 8 of the contract).
use super::{AgentId, Entry, Fact, RunId, RunStatus, Seq, Stream, Verdict};
use crate::domain::event_words::{Event, EventType};
use serde_json::json;

/// Most of an output chunk that an event carries. The whole is in `get_run_output`.
const OUTPUT_EVENT_BYTES: usize = 4096;

impl Event {
    /// The events that tell this fact: none for rows that are written over, two for an attempt that
    /// failed, or was ended on request, and that another one follows.
    pub fn telling(entry: &Entry) -> Vec<Self> {
        let event = |kind, agent: Option<&AgentId>, run: Option<&RunId>, payload| Self {
            seq: Seq(0),
            ts: entry.at,
            kind,
            agent_id: agent.cloned(),
            run_id: run.copied(),
            session_id: None,
            payload,
        };
        let one = match &entry.fact {
            Fact::AgentSaved(_)
            | Fact::IncidentSaved(_)
            | Fact::IncidentDropped { .. }
            | Fact::ProcessStarted { .. }
            | Fact::RunClaimed(_)
            | Fact::NotificationQueued { .. }
            | Fact::Remembered(_)
            | Fact::Archived(_)
            | Fact::ClockSet { .. }
            | Fact::RequestAnswered { .. } => return Vec::new(),
            Fact::Talked(talk) => {
                let told = talk.events().into_iter().map(|(kind, payload)| Self {
                    session_id: Some(talk.session.to_string()),
                    ..event(kind, Some(&talk.agent), Some(&talk.run), payload)
                });
                return told.collect();
            }
            Fact::Budget(news) => event(
                if news.exhausted { EventType::BudgetExhausted } else { EventType::BudgetWarning },
                news.agent.as_ref(),
                None,
                json!({
                    "limit": news.limit, "allowed": news.allowed, "used": news.used, "day": news.day.to_string(),
                    "text": news.text,
                }),
            ),
            Fact::FeedKept { .. } | Fact::McpPinned { seen: None, .. } => return Vec::new(),
            Fact::McpPinned { server, tool, trusted, seen, about: _ } => event(
                EventType::McpPinChanged,
                None,
                None,
                json!({"server": server, "tool": tool, "trusted": trusted, "seen": seen}),
            ),
            Fact::DaemonStarted { version, pid } => {
                event(EventType::DaemonStarted, None, None, json!({"version": version, "pid": pid}))
            }
            Fact::DaemonStopping { reason } => {
                event(EventType::DaemonStopping, None, None, json!({"reason": reason}))
            }
            Fact::ConfigApplied { path, hash, added, changed, removed } => event(
                EventType::ConfigApplied,
                None,
                None,
                json!({"path": path, "hash": hash.to_string(), "added": added, "changed": changed, "removed": removed}),
            ),
            Fact::ConfigRejected { path, errors } => {
                event(EventType::ConfigRejected, None, None, json!({"path": path, "errors": errors}))
            }
            Fact::AgentChanged(change) => event(
                EventType::AgentStatus,
                Some(&change.agent),
                None,
                json!({
                    "status": change.desired, "previous": change.previous, "reason": change.reason,
                    "resume_at": change.resume_at, "run_count": change.run_count,
                    "error_count": change.error_count, "last_run": change.last_run,
                    "next_run": change.next_run,
                }),
            ),
            Fact::SlotsJudged { verdict, extends, .. }
                if *verdict == Verdict::Ran || (*extends && verdict.is_quiet_in_a_row()) =>
            {
                return Vec::new();
            }
            Fact::SlotsJudged { agent, first, last, count, verdict, cause, .. } => event(
                EventType::SlotSkipped,
                Some(agent),
                None,
                json!({"verdict": verdict, "slot": first, "last_slot": last, "count": count, "cause": cause}),
            ),
            Fact::SlotsTakenBack { agent, taken, .. } => event(
                EventType::SlotsTakenBack,
                Some(agent),
                None,
                json!({"from": taken.first, "to": taken.last, "count": taken.count}),
            ),
            Fact::EventPassed { agent, event: passed, verdict, cause } => event(
                EventType::SlotSkipped,
                Some(agent),
                None,
                json!({
                    "verdict": verdict, "slot": null, "last_slot": null, "count": 1, "cause": cause,
                    "event": {
                        "seq": passed.seq, "type": passed.kind, "agent_id": passed.agent_id,
                        "run_id": passed.run_id,
                    },
                }),
            ),
            Fact::SlotRevised { quiet: true, .. } => return Vec::new(),
            Fact::SlotRevised { agent, slot, run, verdict, cause, .. } => event(
                EventType::SlotSkipped,
                Some(agent),
                Some(run),
                json!({"verdict": verdict, "slot": slot, "last_slot": slot, "count": 1, "cause": cause}),
            ),
            Fact::AttemptStarted { run, agent, attempt, run_count, trigger, slot, process, .. } => event(
                EventType::TaskStarted,
                Some(agent),
                Some(run),
                json!({
                    "run_count": run_count, "attempt": attempt, "trigger": trigger, "slot": slot,
                    "pid": process.map(|process| process.pid),
                }),
            ),
            Fact::AttemptFailed { run, agent, attempt, error, error_count, retry_at, asked } => {
                return vec![
                    event(
                        if *asked { EventType::TaskCancelled } else { EventType::TaskError },
                        Some(agent),
                        Some(run),
                        json!({
                            "error": error.message, "kind": error.kind, "error_count": error_count,
                            "will_retry": true, "retry_at": retry_at, "attempt": attempt,
                        }),
                    ),
                    event(
                        EventType::TaskRetrying,
                        Some(agent),
                        Some(run),
                        json!({"attempt": attempt + 1, "retry_at": retry_at, "kind": error.kind}),
                    ),
                ];
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
                let duration_ms = duration.as_millis() as i64;
                match status {
                    RunStatus::Completed => event(
                        EventType::TaskCompleted,
                        Some(agent),
                        Some(run),
                        json!({
                            "run_count": run_count, "result": result, "duration_ms": duration_ms,
                            "usage": usage, "exit_code": exit_code, "attempt": attempt,
                            "warnings": warnings,
                        }),
                    ),
                    _ => event(
                        if status.is_failure() { EventType::TaskError } else { EventType::TaskCancelled },
                        Some(agent),
                        Some(run),
                        json!({
                            "status": status,
                            "error": error.as_ref().map_or("cancelled", |error| error.message.as_str()),
                            "kind": error.as_ref().map(|error| error.kind),
                            "error_count": error_count, "will_retry": false, "retry_at": null,
                            "attempt": attempt, "exit_code": exit_code, "duration_ms": duration_ms,
                            "usage": usage, "warnings": warnings,
                        }),
                    ),
                }
            }
            Fact::CircuitOpened { agent, failures, until, .. } => event(
                EventType::CircuitOpened,
                Some(agent),
                None,
                json!({"failures": failures, "until": until}),
            ),
            Fact::CircuitClosed { agent, reason } => {
                event(EventType::CircuitClosed, Some(agent), None, json!({"reason": reason}))
            }
            Fact::IncidentOpened(incident) => event(
                EventType::IncidentOpened,
                Some(&incident.agent),
                None,
                json!({"key": incident.key, "severity": incident.severity, "title": incident.title, "since": incident.since}),
            ),
            Fact::IncidentResolved(incident) => event(
                EventType::IncidentResolved,
                Some(&incident.agent),
                None,
                json!({
                    "key": incident.key, "severity": incident.severity, "title": incident.title,
                    "since": incident.since, "count": incident.count,
                }),
            ),
            Fact::IncidentDiagnosed { agent, key, since, diagnosis } => event(
                EventType::IncidentDiagnosed,
                Some(agent),
                Some(&diagnosis.run),
                json!({
                    "key": key, "since": since, "by": diagnosis.by,
                    "finding": excerpt(std::iter::once(diagnosis.text.as_str())),
                }),
            ),
            Fact::NotificationSent { target, agent, tries, .. } => event(
                EventType::NotificationSent,
                Some(agent),
                None,
                json!({"target": target, "tries": tries}),
            ),
            Fact::NotificationFailed { target, agent, tries, error, retry_at, .. } => event(
                EventType::NotificationFailed,
                Some(agent),
                None,
                json!({"target": target, "tries": tries, "error": error, "retry_at": retry_at}),
            ),
            Fact::OutputCaptured { told: false, .. } => return Vec::new(),
            Fact::OutputCaptured { run, agent, attempt, chunks, dropped_bytes, .. } => event(
                EventType::TaskOutput,
                Some(agent),
                Some(run),
                json!({
                    "attempt": attempt, "from": chunks.first().map(|chunk| chunk.n),
                    "chunks": chunks.len(), "dropped_bytes": dropped_bytes,
                    "text": excerpt(chunks.iter().filter(|c| c.stream == Stream::Stdout).map(|c| c.text.as_str())),
                    "stderr": excerpt(chunks.iter().filter(|c| c.stream == Stream::Stderr).map(|c| c.text.as_str())),
                }),
            ),
        };
        vec![one]
    }
}

/// The beginning of some texts; `None` if there is nothing in them.
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

#[cfg(test)]
mod tests;
