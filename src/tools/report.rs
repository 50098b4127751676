//! `report`: an agent opens, updates or resolves an incident.
use super::contract::{Call, CallContext, ToolError, ToolOutput};
use crate::domain::{AgentId, Finding, FoundBy, Level, RunId};
use crate::store::{Reader, Store, StoreError};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Longest key, and longest title with its detail, in bytes.
const LONGEST: (usize, usize) = (128, 2000);

/// So many problems that were not open a run may open once it has read data from outside.
pub(super) const MOST_OPENED: u64 = 5;

pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "key": {"type": "string", "description": "Names the problem: the same key in each run, for example `disk:/data`."},
            "severity": {"type": "string", "enum": ["ok", "warning", "critical"], "description": "`ok` resolves it."},
            "title": {"type": "string", "description": "One line for a person."},
            "detail": {"type": "string", "description": "What was seen, and what to do."},
        },
        "required": ["key", "severity", "title"],
        "additionalProperties": false,
    })
}

pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let text = |key: &str| call.args[key].as_str().unwrap_or_default().trim().to_owned();
    let (key, title, detail) = (text("key"), text("title"), text("detail"));
    if key.is_empty() || key.len() > LONGEST.0 {
        return Err(ToolError::Arguments(format!("`key` must have 1 to {} bytes", LONGEST.0)));
    }
    let mut title = if detail.is_empty() { title } else { format!("{title}: {detail}") };
    title.truncate(title.floor_char_boundary(LONGEST.1));
    let level = match call.args["severity"].as_str() {
        Some("critical") => Level::Crit,
        Some("warning") => Level::Warn,
        _ => Level::Ok,
    };
    let CallContext { agent, run, store, untrusted, .. } = call.context;
    let (Some(agent), Some(store)) = (agent, store) else {
        return Err(ToolError::Failed(
            "incidents belong to agents: only a run of one can report; `bgagent incidents` lists them".into(),
        ));
    };
    if untrusted {
        may_report(&store, &agent, run, &key, level).await?;
    }
    let mut result = json!({"key": key, "state": if level == Level::Ok { "resolved" } else { "open" }});
    if level == Level::Ok {
        let open = read(&store, move |reader| reader.open_keys(&agent)).await?;
        if !open.contains(&key) {
            result = json!({"key": key, "state": "was not open", "open": open});
        }
    }
    let by = if untrusted { FoundBy::UntrustedReport } else { FoundBy::Report };
    let finding = Finding { key, level, title, hold_for: SignedDuration::ZERO, by };
    Ok(ToolOutput { findings: vec![finding], ..ToolOutput::of(result) })
}

/// What a run may still report that has read data from outside: nothing about what a check has found, and not any number
/// of problems.
async fn may_report(
    store: &Store,
    agent: &AgentId,
    run: Option<RunId>,
    key: &str,
    level: Level,
) -> Result<(), ToolError> {
    let (of, asked) = (agent.clone(), key.to_owned());
    let found_by = read(store, move |reader| reader.found_by(&of, &asked)).await?;
    match (found_by, run) {
        (Some(FoundBy::Check), _) => Err(ToolError::Failed(
            "refused: a check has found the problem of this key, and it says when that is over; this run has read data \
             from outside, so it can only report under keys of its own"
                .into(),
        )),
        (None, Some(run)) if level != Level::Ok => {
            let opened = read(store, move |reader| reader.opened_in(run)).await?;
            if opened < MOST_OPENED {
                return Ok(());
            }
            Err(ToolError::Failed(format!(
                "refused: this run has opened {opened} incidents after it had read data from outside, and that is the \
                 most; say what is left in one of those, or in your answer"
            )))
        }
        _ => Ok(()),
    }
}

async fn read<T: Send + 'static>(
    store: &Store,
    question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ToolError> {
    store.read(question).await.map_err(|error| ToolError::Failed(error.to_string()))
}
