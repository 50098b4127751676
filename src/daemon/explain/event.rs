//! `why` of an agent that waits for events: what became of the newest of them.
use super::{clock, coming, nothing_of, ran_as};
use crate::domain::{EventRef, EventTrigger, Seq, Verdict, human_duration};
use crate::engine::AgentNow;
use crate::protocol::Explanation;
use crate::store::EventOutcome;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Explains the newest event up to `asked` (or now). `kept`: for how long events are.
pub(in crate::daemon) fn explain(
    agent: &AgentNow,
    on: &EventTrigger,
    outcome: Option<&EventOutcome>,
    asked: Option<Timestamp>,
    kept: SignedDuration,
    now: &Zoned,
) -> Explanation {
    let mut told = nothing_of(agent);
    let id = &agent.spec.id;
    let of = on.agent.as_ref().map_or(String::new(), |agent| format!(" of {agent}"));
    told.sentence = match outcome {
        Some(EventOutcome::Ran(run)) => {
            let event = run.claim.event.as_ref().map(|event| event.reference());
            let which = event.as_ref().map_or_else(|| on.event.to_string(), which);
            (told.verdict, told.run_id) = (Some(Verdict::Ran), Some(run.claim.run));
            format!("The event {which} at {} {}.", clock(run.claim.queued_at, now), ran_as(run, ""))
        }
        Some(EventOutcome::Passed { at, event, verdict, cause }) => {
            let which = event.as_ref().map_or_else(|| on.event.to_string(), which);
            (told.verdict, told.cause) = (Some(*verdict), Some(cause.clone()));
            // the cause names the event, for those who read it alone
            let why = cause
                .strip_prefix("event ")
                .and_then(|rest| rest.split_once(": "))
                .map_or(cause.as_str(), |(_, why)| why);
            format!("The event {which} at {} did not start a run: {why}.", clock(*at, now))
        }
        None => {
            let until = asked.map_or_else(String::new, |at| format!(" up to {}", clock(at, now)));
            format!(
                "{id} has no slots; it starts on {}{of}. Of such an event{until} nothing is on record (events are kept for {}); \
                 {}.",
                on.event,
                human_duration(kept),
                coming(agent, now)
            )
        }
    };
    told
}

/// `background_task_completed of backup (seq 12)`
fn which(event: &EventRef) -> String {
    let of = event.agent_id.as_ref().map_or(String::new(), |agent| format!(" of {agent}"));
    let seq = if event.seq == Seq(0) { String::new() } else { format!(" (seq {})", event.seq.0) };
    format!("{}{of}{seq}", event.kind)
}
