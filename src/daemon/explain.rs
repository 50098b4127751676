//! `why`: explains the verdict of a slot in one sentence.
pub(super) mod event;

use crate::domain::{Calendar, Desired, Retention, RunStatus, Schedule, Verdict, human_duration};
use crate::engine::AgentNow;
use crate::protocol::Explanation;
use crate::store::{LedgerRow, RunRow};
use jiff::{SignedDuration, Timestamp, Zoned};

/// How much of the history is kept.
pub(super) struct Kept {
    /// The retention periods.
    pub(super) retention: Retention,
    /// The oldest slot of the agent that is still recorded.
    pub(super) oldest: Option<Timestamp>,
    /// The newest slot of the agent that lies ahead of now and started a run, if no other is looked for: the clock was ahead.
    pub(super) ran_ahead: Option<Timestamp>,
}

/// Returns an explanation that is still empty.
fn empty_explanation(agent: &AgentNow) -> Explanation {
    Explanation {
        agent_id: agent.spec.id.clone(),
        sentence: String::new(),
        slot: None,
        verdict: None,
        cause: None,
        run_id: None,
        first: None,
        last: None,
        count: None,
    }
}

/// Explains the slot at or before `asked` (the newest one, if there is no `asked`), from its record
/// in the ledger and its run.
pub(super) fn explain(
    agent: &AgentNow,
    asked: Option<Timestamp>,
    row: Option<&LedgerRow>,
    run: Option<&RunRow>,
    kept: &Kept,
    now: &Zoned,
) -> Explanation {
    let id = &agent.spec.id;
    let mut explanation = empty_explanation(agent);
    if let Some(at) = asked.filter(|at| *at > now.timestamp() && row.is_none_or(|row| row.last < *at)) {
        let left_out = agent.spec.active_times.as_deref().and_then(|times| times.at(at).0);
        let left_out = left_out.map_or_else(String::new, |cause| format!(", when nothing starts ({cause})"));
        explanation.sentence = format!("{} lies ahead{left_out}; {}.", clock(at, now), coming(agent, now));
        return explanation;
    }
    let Some(row) = row else {
        explanation.sentence = match (&agent.spec.schedule, asked) {
            (Schedule::Manual, _) => {
                format!("{id} has no schedule; it runs by hand only.{}", last_of(agent, now))
            }
            (Schedule::On(on), _) => format!("{id} has no slots; it starts on {}.", on.event),
            (Schedule::Join(join), _) => format!("{id} has no slots; it starts once {}.", join.describe()),
            (Schedule::Webhook(name), _) => format!("{id} has no slots; it starts on webhook {name}."),
            (Schedule::Mcp(mcp), _) => format!("{id} has no slots; it starts on {}.", mcp.describe()),
            (Schedule::File(file), _) => format!("{id} has no slots; it starts on {}.", file.describe()),
            _ if was_judged(agent, asked.unwrap_or(now.timestamp())) => {
                let until = asked.map_or_else(String::new, |at| format!(" of {} and before", clock(at, now)));
                format!(
                    "What became of the slots of {id}{until} is not on record: {}; {}.",
                    why_not_recorded(asked.unwrap_or(now.timestamp()), kept, now),
                    coming(agent, now)
                )
            }
            (_, Some(at)) => {
                format!("{id} had no slot at or before {}; {}.", clock(at, now), coming(agent, now))
            }
            (_, None) if kept.ran_ahead.is_some() => {
                let slot = kept.ran_ahead.map_or_else(String::new, |slot| clock(slot, now));
                format!(
                    "The slot of {slot} of {id} ran already, while the clock was ahead; {}.",
                    coming(agent, now)
                )
            }
            (_, None) => format!(
                "{id} has had no slot since {}, when it was last started or its schedule changed; {}.",
                clock(agent.record.anchor.min(now.timestamp()), now),
                coming(agent, now)
            ),
        };
        add_overdue(&mut explanation, agent, asked);
        return explanation;
    };
    explanation.slot = Some(slot_of(agent, row, asked));
    explanation.verdict = Some(row.verdict);
    explanation.cause = (!row.cause.is_empty()).then(|| row.cause.clone());
    explanation.run_id = row.run;
    explanation.first = Some(row.first);
    explanation.last = Some(row.last);
    explanation.count = Some(row.count);
    let when = if row.count == 1 {
        format!("The slot of {}", clock(row.last, now))
    } else {
        format!("The {} slots from {} to {}", row.count, clock(row.first, now), clock(row.last, now))
    };
    let because = if row.cause.is_empty() { String::new() } else { format!(": {}", row.cause) };
    let what = match row.verdict {
        Verdict::Ran if row.is_all_well() => {
            let each = if row.count == 1 { "found all well" } else { "each found all well" };
            format!(
                "ran and {each}, as the run before did; nothing else is kept of it (history = \"changes\")"
            )
        }
        Verdict::Ran => ran(row, run),
        Verdict::SkippedOverlap | Verdict::SkippedCalendar => format!("did not start a run{because}"),
        Verdict::SkippedGate => format!("did not start a run{because}"),
        Verdict::SkippedPaused => format!("did not start a run{because}"),
        Verdict::MissedDowntime | Verdict::MissedSleep | Verdict::MissedClock => {
            let were = if row.count == 1 { "was" } else { "were" };
            format!("{were} missed{because}")
        }
        Verdict::RefusedBudget | Verdict::RefusedCircuit | Verdict::RefusedStorage => {
            format!("did not start a run{because}")
        }
        Verdict::Superseded => {
            let were = if row.count == 1 { "was" } else { "were" };
            format!("{were} dropped in favour of a newer slot{because}")
        }
        Verdict::Dropped => format!("did not get to run{because}"),
    };
    explanation.sentence = format!("{when} {what}.");
    if let Some(why) = agent.no_node.as_ref().filter(|_| waits(agent, row)) {
        explanation.sentence.push_str(&format!(" {}.", capital(why)));
    }
    add_overdue(&mut explanation, agent, asked);
    if let Some((since, until)) = agent.silent.filter(|_| asked.is_none_or(|asked| asked >= row.last)) {
        explanation.sentence.push_str(&format!(" {}.", capital(&quiet(since, until, now))));
    } else if asked.is_none() && agent.record.desired != Desired::Active {
        explanation.sentence.push_str(&format!(" {}.", capital(&coming(agent, now))));
    }
    explanation
}

/// Mentions that the agent is late or slow, unless the question is about the past.
fn add_overdue(explanation: &mut Explanation, agent: &AgentNow, asked: Option<Timestamp>) {
    if asked.is_none() {
        agent
            .overdue
            .iter()
            .for_each(|words| explanation.sentence.push_str(&format!(" The agent is {words}.")));
    }
}

/// Describes the last run of an agent without slots: ` Run 1f2e3d4c is running.`, ` Its last run,
/// 1f2e3d4c, completed at …`.
fn last_of(agent: &AgentNow, now: &Zoned) -> String {
    if let Some(run) = agent.live.last() {
        return format!(" Run {} {}.", run.run.short(), does(run.status));
    }
    let Some(last) = &agent.record.last_run else { return " It has not run yet.".to_owned() };
    let why = last.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
    format!(
        " Its last run, {}, {} at {}{why}.",
        last.run.short(),
        does(last.status),
        clock(last.finished_at, now)
    )
}

/// Returns whether the run of this record is queued.
fn waits(agent: &AgentNow, row: &LedgerRow) -> bool {
    let is_queued = |status| matches!(status, RunStatus::Queued | RunStatus::Retrying);
    row.run.is_some_and(|run| agent.live.iter().any(|live| live.run == run && is_queued(live.status)))
}

/// Adds the backfill run of the slot, or of a later one that the ledger does not have because its
/// agent did not exist yet.
pub(super) fn add_backfill(
    explanation: &mut Explanation,
    asked: Option<Timestamp>,
    run: &RunRow,
    now: &Zoned,
) {
    let Some(slot) = run.claim.any_slot() else { return };
    let is_of_record = explanation.slot == Some(slot);
    let is_later = asked.is_some() && explanation.slot.is_none_or(|known| known < slot);
    if !is_of_record && !is_later {
        return;
    }
    let which = if is_of_record { "It".to_owned() } else { format!("The slot of {}", clock(slot, now)) };
    let did = ran_as(run, "");
    explanation.sentence.push_str(&format!(" {which} was backfilled: that {did}."));
    if explanation.run_id.is_none() {
        explanation.run_id = Some(run.claim.run);
    }
}

/// Explains, as far as possible, why slots that had a verdict are no longer recorded.
fn why_not_recorded(at: Timestamp, kept: &Kept, now: &Zoned) -> String {
    let retention = kept.retention.runs;
    let oldest = kept
        .oldest
        .map_or_else(String::new, |oldest| format!(", the oldest that is kept is of {}", clock(oldest, now)));
    if now.timestamp().duration_since(at) > retention {
        return format!(
            "`retention.runs` of [daemon] keeps records for {}{oldest}",
            human_duration(retention)
        );
    }
    format!(
        "`retention.runs` of [daemon] would still keep it ({}){oldest}; the database may have grown past `max_db_size`, or \
         the record was taken back or removed",
        human_duration(retention)
    )
}

/// Returns whether a slot at or before `asked` had a verdict, recorded or not.
fn was_judged(agent: &AgentNow, asked: Timestamp) -> bool {
    let Some(judged) = agent.record.judged_until else { return false };
    match calendar(agent).prev_before(asked + SignedDuration::from_micros(1)) {
        Some(slot) => judged <= asked || slot <= judged,
        // since it was started, or its schedule changed, there was none; before that, there was
        None => judged <= asked && asked < agent.record.anchor,
    }
}

fn calendar(agent: &AgentNow) -> Calendar<'_> {
    let spec = &agent.spec;
    Calendar { schedule: &spec.schedule, anchor: agent.record.anchor, first_run: spec.first_run }
}

/// Returns the slot at or before `asked` among those of the record; its first one, if the present
/// schedule does not tell.
fn slot_of(agent: &AgentNow, row: &LedgerRow, asked: Option<Timestamp>) -> Timestamp {
    let Some(asked) = asked.filter(|asked| row.count > 1 && *asked < row.last) else { return row.last };
    calendar(agent)
        .prev_before(asked + SignedDuration::from_micros(1))
        .map_or(row.first, |slot| slot.max(row.first))
}

fn ran(row: &LedgerRow, run: Option<&RunRow>) -> String {
    let made_up = if row.cause.is_empty() { String::new() } else { format!(" ({})", row.cause) };
    match run {
        Some(run) => ran_as(run, &made_up),
        None => format!("started a run{made_up}, of which there is no record any more"),
    }
}

/// `started run 1f2e3d4c, which completed after 3s`
fn ran_as(run: &RunRow, made_up: &str) -> String {
    let short = run.claim.run.short();
    let end = match (&run.error, run.duration) {
        (Some(error), _) => format!(": {}", error.message),
        (None, Some(took)) => format!(" after {}", human_duration(took)),
        (None, None) => String::new(),
    };
    let attempts =
        if run.claim.attempt > 1 { format!(" in attempt {}", run.claim.attempt) } else { String::new() };
    format!("started run {short}{made_up}, which {}{attempts}{end}", does(run.claim.status))
}

/// Describes what a run does or did, after "which".
fn does(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "is queued",
        RunStatus::Running => "is running",
        RunStatus::Retrying => "waits for its next attempt",
        RunStatus::WaitingApproval => "waits for a person",
        RunStatus::Completed => "completed",
        RunStatus::Failed => "failed",
        RunStatus::TimedOut => "timed out",
        RunStatus::Cancelled => "was cancelled",
        RunStatus::Interrupted => "was interrupted",
        RunStatus::Unverified => "finished, but its proof failed",
    }
}

/// Describes what comes next, as the second half of a sentence.
fn coming(agent: &AgentNow, now: &Zoned) -> String {
    let reason = agent.record.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
    match (agent.record.desired, agent.next_start) {
        (Desired::Stopped, _) => format!("it is stopped{reason}"),
        (Desired::Paused, _) => format!("it is paused{reason}"),
        (Desired::Active, Some(_)) if agent.silent.is_some() => {
            agent.silent.map_or_else(String::new, |(since, until)| quiet(since, until, now))
        }
        (Desired::Active, Some(due)) => {
            format!(
                "it is due at {}, in {}",
                clock(due, now),
                human_duration(due.duration_since(now.timestamp()))
            )
        }
        (Desired::Active, None) if agent.next_slot.is_some() => {
            let times = agent.spec.active_times.as_deref();
            let cause = agent.next_slot.and_then(|slot| times?.at(slot).0).unwrap_or_default();
            format!("none of its next slots is at a time at which it may start ({cause})")
        }
        (Desired::Active, None) if !agent.live.is_empty() => "a run is in flight".into(),
        (Desired::Active, None) => "it is never due by itself".into(),
    }
}

/// Explains why nothing starts for a while.
fn quiet(since: Timestamp, until: Timestamp, now: &Zoned) -> String {
    format!(
        "it is silent since {} until {}: the clock was ahead and was set back, and its slots until then ran already",
        clock(since, now),
        clock(until, now)
    )
}

/// Formats an instant in the time zone of the client.
fn clock(at: Timestamp, now: &Zoned) -> String {
    at.to_zoned(now.time_zone().clone()).strftime("%a %Y-%m-%d %H:%M:%S %:z").to_string()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
