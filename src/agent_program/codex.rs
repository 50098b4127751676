//! Output of Codex: `codex exec --json`, as of 0.171.
//!
//! An item of type `error` is a warning; only `turn.failed` ends the turn. While its provider is unreachable, it prints
//! `Reconnecting`.
use super::event::{ProgramEvent, ProgramResult};
use super::reading::{content, number, shown, text};
use crate::domain::Tokens;
use serde_json::Value;

/// Prefix of its message about a retry.
const RETRY_PREFIX: &str = "Reconnecting";

pub(super) fn events(event: &Value) -> Vec<ProgramEvent> {
    match event["type"].as_str().unwrap_or_default() {
        "thread.started" => session(event).into_iter().collect(),
        "item.started" => began(&event["item"]).into_iter().collect(),
        "item.completed" => completed(&event["item"]),
        "error" => text(event, &["message"]).map(trouble).into_iter().collect(),
        "turn.failed" => {
            let error = text(event, &["error", "message"]).unwrap_or_else(|| "it does not say why".into());
            vec![ProgramEvent::Ended(ProgramResult {
                error: Some(reason(&error)),
                ..ProgramResult::default()
            })]
        }
        "turn.completed" => {
            let tokens = Tokens {
                input: number(event, &["usage", "input_tokens"]),
                cached: number(event, &["usage", "cached_input_tokens"]),
                written: number(event, &["usage", "cache_write_input_tokens"]),
                output: number(event, &["usage", "output_tokens"]),
            };
            vec![ProgramEvent::Usage(tokens), ProgramEvent::Ended(ProgramResult::default())]
        }
        _ => Vec::new(),
    }
}

fn session(event: &Value) -> Option<ProgramEvent> {
    Some(ProgramEvent::Session { id: text(event, &["thread_id"])?, version: None })
}

fn trouble(message: String) -> ProgramEvent {
    if message.starts_with(RETRY_PREFIX) {
        ProgramEvent::Retry(message)
    } else {
        ProgramEvent::Error(reason(&message))
    }
}

/// Returns the message of a provider's error, which is passed on as JSON.
fn reason(message: &str) -> String {
    let parsed = serde_json::from_str::<Value>(message).ok();
    parsed.and_then(|error| text(&error, &["error", "message"])).unwrap_or_else(|| message.to_owned())
}

fn began(item: &Value) -> Option<ProgramEvent> {
    let (tool, args) = match item["type"].as_str()? {
        "command_execution" => ("shell".to_owned(), serde_json::json!({ "command": item["command"] })),
        "mcp_tool_call" => {
            (format!("{}/{}", shown(item.get("server")), shown(item.get("tool"))), item["arguments"].clone())
        }
        "file_change" => ("edit".to_owned(), serde_json::json!({ "changes": item["changes"] })),
        "web_search" => ("web_search".to_owned(), serde_json::json!({ "query": item["query"] })),
        _ => return None,
    };
    Some(ProgramEvent::ToolBegan { id: text(item, &["id"])?, tool, args: args.to_string() })
}

fn completed(item: &Value) -> Vec<ProgramEvent> {
    let one = match item["type"].as_str().unwrap_or_default() {
        "agent_message" => text(item, &["text"]).map(ProgramEvent::Text),
        "reasoning" => text(item, &["text"]).map(ProgramEvent::Thought),
        "error" => text(item, &["message"]).map(trouble),
        "command_execution" => {
            let code = item["exit_code"].as_i64();
            let output = shown(item.get("aggregated_output"));
            let text = match code {
                Some(0) | None => output,
                Some(code) => format!("{output}\nexit code {code}").trim_start().to_owned(),
            };
            ended(item, text, code.is_none_or(|code| code != 0))
        }
        "mcp_tool_call" => match item.get("error").filter(|error| !error.is_null()) {
            Some(error) => ended(item, content(error.get("message").or(Some(error))), true),
            None => ended(item, content(item["result"].get("content")), false),
        },
        "file_change" => ended(item, shown(item.get("status")), item["status"] != "completed"),
        "web_search" => ended(item, shown(item.get("query")), false),
        _ => None,
    };
    one.into_iter().collect()
}

fn ended(item: &Value, said: String, is_error: bool) -> Option<ProgramEvent> {
    Some(ProgramEvent::ToolEnded { id: text(item, &["id"])?, text: said, is_error, is_denied: false })
}
