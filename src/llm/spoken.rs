//! Parts of an answer's text that are not part of the answer: thoughts in tags, and tool calls written as text, which local
//! models produce if their server does not know their template. Whether such a call is allowed, and what follows if it can't be
//! parsed, is left to the callers.
mod calls;
mod python;
mod quoted;
mod thoughts;
mod written;

use crate::domain::ToolNames;
use crate::domain::{Finish, ModelRequest, ModelTurn, ToolRequest, fits_schema};
use calls::{Found, Tools};

/// Extracts thoughts and calls from the text of a turn. A call that can't be parsed ends it as [`Finish::Unreadable`].
pub(super) fn sort(
    turn: &mut ModelTurn,
    finish: Finish,
    request: &ModelRequest,
    names: &ToolNames<'_>,
) -> Finish {
    if let Some((answer, thought)) = thoughts::split(&turn.text) {
        turn.text = answer;
        match &mut turn.thought {
            Some(before) => *before = format!("{before}\n{thought}"),
            None => turn.thought = Some(thought).filter(|thought| !thought.is_empty()),
        }
    }
    if !turn.calls.is_empty() || matches!(finish, Finish::Refusal(_)) {
        return finish;
    }
    let known = |name: &str| {
        let name = names.back(name);
        request.tools.iter().any(|tool| tool.name == name)
    };
    let is_answer = |value: &serde_json::Value| {
        let schema = request.output_schema.as_ref();
        schema.is_some_and(|schema| fits_schema("the answer", schema, value).is_ok())
    };
    let tools = Tools { none: request.tools.is_empty(), known: &known, is_answer: &is_answer };
    let unreadable = |why: &str| match &finish {
        Finish::Length => Finish::Length,
        _ => Finish::Unreadable(why.to_owned()),
    };
    match calls::read(&turn.text, &tools) {
        Found::Nothing => finish,
        Found::Unreadable => unreadable("a call of a tool is written in its text, and can't be read there"),
        Found::Calls { .. } if tools.none => {
            unreadable("a call of a tool is written in its text, and there are no tools")
        }
        Found::Calls { before, calls } => {
            let text = turn.text[..before].trim_end().to_owned();
            turn.text = text;
            let request = |call: written::Written| ToolRequest {
                id: String::new(),
                name: names.back(&call.name),
                arguments: call.arguments,
            };
            turn.calls = calls.into_iter().map(request).collect();
            finish
        }
    }
}

#[cfg(test)]
mod tests;
