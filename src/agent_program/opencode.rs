//! Output of opencode: `opencode run --format json`, as of 1.18.
//!
//! A tool call is one line, printed when it has ended. Usage of titles and sub-agents is not reported. There is no final line:
//! the step whose reason is not `tool-calls` is the last one.
use super::event::{ProgramEvent, ProgramResult};
use super::reading::{number, shown, text};
use crate::domain::Tokens;
use serde_json::Value;

/// Part of its message about a call denied by its own rules.
const DENIED_TEXT: &str = "rule which prevents";

pub(super) fn events(event: &Value) -> Vec<ProgramEvent> {
    let part = &event["part"];
    match event["type"].as_str().unwrap_or_default() {
        "step_start" => {
            let id = text(event, &["sessionID"]);
            id.map(|id| ProgramEvent::Session { id, version: None }).into_iter().collect()
        }
        "text" => text(part, &["text"]).map(ProgramEvent::Text).into_iter().collect(),
        "reasoning" => text(part, &["text"]).map(ProgramEvent::Thought).into_iter().collect(),
        "tool_use" => tool(part).unwrap_or_default(),
        "step_finish" => finish(part),
        "error" => {
            vec![ProgramEvent::Ended(ProgramResult { error: Some(error(event)), ..ProgramResult::default() })]
        }
        _ => Vec::new(),
    }
}

fn tool(part: &Value) -> Option<Vec<ProgramEvent>> {
    let (id, state) = (text(part, &["callID"])?, &part["state"]);
    let is_error = state["status"] == "error";
    let said = shown(state.get(if is_error { "error" } else { "output" }));
    let exit = state["metadata"]["exit"].as_i64().filter(|code| *code != 0);
    let is_denied = is_error && said.contains(DENIED_TEXT);
    let tool = text(part, &["tool"])?;
    Some(vec![
        ProgramEvent::ToolBegan { id: id.clone(), tool, args: state["input"].to_string() },
        ProgramEvent::ToolEnded { id, text: said, is_error: is_error || exit.is_some(), is_denied },
    ])
}

fn finish(part: &Value) -> Vec<ProgramEvent> {
    let cached = number(part, &["tokens", "cache", "read"]);
    let written = number(part, &["tokens", "cache", "write"]);
    let mut events = vec![ProgramEvent::Usage(Tokens {
        input: number(part, &["tokens", "input"]) + cached + written,
        cached,
        written,
        output: number(part, &["tokens", "output"]) + number(part, &["tokens", "reasoning"]),
    })];
    if part["reason"] != "tool-calls" {
        events.push(ProgramEvent::Ended(ProgramResult::default()));
    }
    events
}

fn error(event: &Value) -> String {
    let said = text(event, &["error", "data", "message"]).or_else(|| text(event, &["error", "name"]));
    said.unwrap_or_else(|| shown(event.get("error")))
}
