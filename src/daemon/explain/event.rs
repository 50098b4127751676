//! `why` of an agent that waits for events: explains what the newest of them led to.
use super::{clock, coming, empty_explanation, ran_as};
use crate::domain::{
    EventRef, EventTrigger, EventType, FileTrigger, Join, McpTrigger, Seq, Verdict, human_duration, one_line,
};
use crate::engine::AgentNow;
use crate::protocol::Explanation;
use crate::store::EventOutcome;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Maximum number of characters shown of a path.
const MAX_PATH_CHARS: usize = 300;

/// Explains the newest event up to `asked` (or now). `kept`: retention period of events.
pub(in crate::daemon) fn explain(
    agent: &AgentNow,
    on: &Awaited<'_>,
    outcome: Option<&EventOutcome>,
    asked: Option<Timestamp>,
    kept: SignedDuration,
    now: &Zoned,
) -> Explanation {
    let mut explanation = empty_explanation(agent);
    let id = &agent.spec.id;
    explanation.sentence = match outcome {
        Some(EventOutcome::Ran(run)) => {
            let event = run.claim.event.as_ref().map(|event| event.reference());
            let which = event.as_ref().map_or_else(|| on.any(), which);
            (explanation.verdict, explanation.run_id) = (Some(Verdict::Ran), Some(run.claim.run));
            format!("{which} at {} {}.", clock(run.claim.queued_at, now), ran_as(run, ""))
        }
        Some(EventOutcome::Passed { at, event, verdict, cause }) => {
            let which = event.as_ref().map_or_else(|| on.any(), which);
            (explanation.verdict, explanation.cause) = (Some(*verdict), Some(cause.clone()));
            // the cause names the event, for those who read it alone
            let why = cause
                .strip_prefix("event ")
                .and_then(|rest| rest.split_once(": "))
                .map_or(cause.as_str(), |(_, why)| why);
            format!("{which} at {} did not start a run: {why}.", clock(*at, now))
        }
        None => {
            let until = asked.map_or_else(String::new, |at| format!(" up to {}", clock(at, now)));
            format!(
                "{id} has no slots; it starts {}. Of such {}{until} nothing is on record (events are kept for {}); {}.",
                on.describe(),
                on.what(),
                human_duration(kept),
                coming(agent, now)
            )
        }
    };
    if asked.is_none() && !agent.waits_for.is_empty() {
        explanation.sentence.push_str(&waiting(agent, now));
    }
    explanation
}

/// What an agent without slots waits for.
pub(in crate::daemon) enum Awaited<'a> {
    /// Events of one type.
    Event(&'a EventTrigger),
    /// Runs of several agents.
    Join(&'a Join),
    File(&'a FileTrigger),
    /// Deliveries to the webhook of this name.
    Webhook(&'a str),
    /// Events of an MCP server.
    Mcp(&'a McpTrigger),
}

impl Awaited<'_> {
    /// Describes an event of which no more is known.
    fn any(&self) -> String {
        match self {
            Self::Event(on) => format!("The event {}", on.event),
            Self::Join(_) => format!("The event {}", EventType::AgentsJoined),
            Self::File(_) => "The arrival of a file".to_owned(),
            Self::Webhook(name) => format!("A delivery to webhook {name}"),
            Self::Mcp(mcp) => format!("An {}", mcp.describe()),
        }
    }

    /// Names what it waits for, after "such".
    fn what(&self) -> &'static str {
        match self {
            Self::Event(_) | Self::Join(_) | Self::Mcp(_) => "an event",
            Self::File(_) => "a file",
            Self::Webhook(_) => "a delivery",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Event(on) => {
                let of = on.agent.as_ref().map_or(String::new(), |agent| format!(" of {agent}"));
                format!("on {}{of}", on.event)
            }
            Self::Join(join) => format!("once {}, within {}", join.describe(), human_duration(join.within)),
            Self::File(file) => format!("on {}", file.describe()),
            Self::Webhook(name) => format!("on webhook {name}"),
            Self::Mcp(mcp) => format!("on {}", mcp.describe()),
        }
    }
}

/// Lists the runs that a join still waits for: ` Since its last start: scan ended at …, triage not yet.`
fn waiting(agent: &AgentNow, now: &Zoned) -> String {
    let of = agent.waits_for.iter().map(|(of, ended)| match ended {
        Some(at) => format!("{of} ended at {}", clock(*at, now)),
        None => format!("{of} not yet"),
    });
    format!(" Since its last start: {}.", of.collect::<Vec<_>>().join(", "))
}

/// `The event background_task_completed of backup (seq 12)`, `The arrival of /srv/inbox/a.csv (seq 12)`
fn which(event: &EventRef) -> String {
    let of = event.agent_id.as_ref().map_or(String::new(), |agent| format!(" of {agent}"));
    let seq = if event.seq == Seq(0) { String::new() } else { format!(" (seq {})", event.seq.0) };
    match &event.arrived {
        Some(name) if event.kind == EventType::WebhookReceived => {
            format!("The delivery to webhook {}{seq}", one_line(name, MAX_PATH_CHARS))
        }
        Some(name) if event.kind == EventType::McpEventReceived => {
            let (server, event) = name.split_once(' ').unwrap_or(("", name));
            format!("The event {} of MCP server {server}{seq}", one_line(event, MAX_PATH_CHARS))
        }
        Some(path) => format!("The arrival of {}{seq}", one_line(path, MAX_PATH_CHARS)),
        None => format!("The event {}{of}{seq}", event.kind),
    }
}
