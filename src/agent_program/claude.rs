//! Output of Claude Code: `claude --print --output-format stream-json --verbose`, as of 2.1.
//!
//! A message is split into several lines, one per block. `subtype` of the last line is `success` even if `is_error` is true.
use super::event::{ProgramEvent, ProgramResult};
use super::reading::{content, number, shown, text};
use crate::domain::Tokens;
use serde_json::Value;

pub(super) fn events(event: &Value) -> Vec<ProgramEvent> {
    match event["type"].as_str().unwrap_or_default() {
        "system" => system(event).into_iter().collect(),
        "assistant" => assistant(event),
        "user" => blocks(event).filter_map(tool_result).collect(),
        "result" => result(event),
        _ => Vec::new(),
    }
}

fn system(event: &Value) -> Option<ProgramEvent> {
    match event["subtype"].as_str()? {
        "init" => Some(ProgramEvent::Session {
            id: text(event, &["session_id"])?,
            version: text(event, &["claude_code_version"]),
        }),
        "api_retry" => Some(ProgramEvent::Retry(format!(
            "attempt {} of {}, status {}",
            number(event, &["attempt"]),
            number(event, &["max_retries"]),
            shown(event.get("error_status"))
        ))),
        _ => None,
    }
}

fn blocks(event: &Value) -> impl Iterator<Item = &Value> {
    event["message"]["content"].as_array().into_iter().flatten()
}

fn assistant(event: &Value) -> Vec<ProgramEvent> {
    // its own error messages are in the result, too
    if event["message"]["model"] == "<synthetic>" {
        return Vec::new();
    }
    let by_sub_agent = event["parent_tool_use_id"].is_string();
    let one = |block: &Value| match block["type"].as_str()? {
        // the text of a sub-agent is for its parent agent
        "text" if by_sub_agent => text(block, &["text"]).map(ProgramEvent::Thought),
        "text" => text(block, &["text"]).map(ProgramEvent::Text),
        "thinking" => text(block, &["thinking"]).map(ProgramEvent::Thought),
        "tool_use" => Some(ProgramEvent::ToolBegan {
            id: text(block, &["id"])?,
            tool: text(block, &["name"])?,
            args: block["input"].to_string(),
        }),
        _ => None,
    };
    blocks(event).filter_map(one).collect()
}

fn tool_result(block: &Value) -> Option<ProgramEvent> {
    if block["type"] != "tool_result" {
        return None;
    }
    let said = content(block.get("content"));
    let is_error = block["is_error"] == true;
    // the program's own message; denials are in the result as well
    let is_denied = is_error && said.starts_with("Permission to use ");
    Some(ProgramEvent::ToolEnded { id: text(block, &["tool_use_id"])?, text: said, is_error, is_denied })
}

fn result(event: &Value) -> Vec<ProgramEvent> {
    let said = text(event, &["result"]);
    let failed = event["is_error"] == true || event["subtype"] != "success";
    let denied = event["permission_denials"].as_array().into_iter().flatten();
    let tokens = Tokens {
        input: ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
            .iter()
            .map(|name| number(event, &["usage", name]))
            .sum(),
        cached: number(event, &["usage", "cache_read_input_tokens"]),
        written: number(event, &["usage", "cache_creation_input_tokens"]),
        output: number(event, &["usage", "output_tokens"]),
    };
    let result = ProgramResult {
        error: failed.then(|| said.clone().unwrap_or_else(|| shown(event.get("subtype")))),
        text: said.filter(|_| !failed),
        denied: denied.filter_map(|one| text(one, &["tool_name"])).collect(),
    };
    vec![ProgramEvent::Usage(tokens), ProgramEvent::Ended(result)]
}
