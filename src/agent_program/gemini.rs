//! Output of Gemini CLI: `gemini -o stream-json`, as of 0.61.
//!
//! The model's text arrives in parts. The last line says `success` even if the answer was cut off or filtered.
use super::event::{ProgramEvent, ProgramResult};
use super::reading::{number, shown, text};
use crate::domain::Tokens;
use serde_json::Value;

/// Returns a part of the model's text.
pub(super) fn delta(event: &Value) -> Option<&str> {
    let is_part = event["type"] == "message" && event["role"] == "assistant";
    is_part.then(|| event["content"].as_str()).flatten()
}

pub(super) fn events(event: &Value) -> Vec<ProgramEvent> {
    let one = match event["type"].as_str().unwrap_or_default() {
        "init" => text(event, &["session_id"]).map(|id| ProgramEvent::Session { id, version: None }),
        "tool_use" => began(event),
        "tool_result" => ended(event),
        "error" => text(event, &["message"]).map(ProgramEvent::Error),
        "result" => return result(event),
        _ => None,
    };
    one.into_iter().collect()
}

fn began(event: &Value) -> Option<ProgramEvent> {
    Some(ProgramEvent::ToolBegan {
        id: text(event, &["tool_id"])?,
        tool: text(event, &["tool_name"])?,
        args: event["parameters"].to_string(),
    })
}

fn ended(event: &Value) -> Option<ProgramEvent> {
    let is_error = event["status"] != "success";
    let error = event.get("error").filter(|_| is_error);
    let is_denied = error.is_some_and(|error| error.to_string().contains("policy_violation"));
    let said =
        error.and_then(|error| text(error, &["message"])).unwrap_or_else(|| shown(event.get("output")));
    Some(ProgramEvent::ToolEnded { id: text(event, &["tool_id"])?, text: said, is_error, is_denied })
}

fn result(event: &Value) -> Vec<ProgramEvent> {
    let failed = event["status"] != "success";
    let why = || text(event, &["error", "message"]).unwrap_or_else(|| shown(event.get("status")));
    let tokens = Tokens {
        input: number(event, &["stats", "input_tokens"]),
        cached: number(event, &["stats", "cached"]),
        written: 0,
        output: number(event, &["stats", "output_tokens"]),
    };
    let result = ProgramResult { error: failed.then(why), ..ProgramResult::default() };
    vec![ProgramEvent::Usage(tokens), ProgramEvent::Ended(result)]
}
