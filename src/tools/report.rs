//! `report`: an agent opens, updates or resolves an incident.
use super::contract::{Call, ToolError, ToolOutput};
use crate::domain::{Finding, Level};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Longest key, and longest title with its detail, in bytes.
const LONGEST: (usize, usize) = (128, 2000);

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
    let (Some(agent), Some(store)) = (call.context.agent, call.context.store) else {
        return Err(ToolError::Failed(
            "incidents belong to agents: only a run of one can report; `bgagent incidents` lists them".into(),
        ));
    };
    let mut result = json!({"key": key, "state": if level == Level::Ok { "resolved" } else { "open" }});
    if level == Level::Ok {
        let open = store.read(move |reader| reader.open_keys(&agent)).await;
        let open = open.map_err(|error| ToolError::Failed(error.to_string()))?;
        if !open.contains(&key) {
            result = json!({"key": key, "state": "was not open", "open": open});
        }
    }
    let finding = Finding { key, level, title, hold_for: SignedDuration::ZERO };
    Ok(ToolOutput { findings: vec![finding], ..ToolOutput::of(result) })
}
