//! The wire format of Ollama's own `/api/chat`: its OpenAI-compatible API can't set the context length.
use super::openai::{self, Tool};
use super::reading::{Bad, add, arguments, list, object, text};
use super::shape;
use crate::domain::ToolNames;
use crate::domain::{ChatMessage, Effort, Finish, ModelTurn, ToolRequest};
use crate::llm::asked::{Asked, Wire, object_or_empty};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Value>,
    options: Options,
    stream: bool,
}

#[derive(Serialize)]
struct Options {
    num_predict: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
}

#[derive(Default, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Call<'a> {
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    arguments: &'a RawValue,
}

/// Returns the body of a request.
pub(super) fn body(asked: &Asked<'_>) -> Vec<u8> {
    let request = asked.request;
    let say = |role, content| Message { role, content, ..Message::default() };
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    messages.extend(request.system.as_deref().map(|content| say("system", content)));
    for message in &request.messages {
        match message {
            ChatMessage::User { text } => messages.push(say("user", text)),
            ChatMessage::Model(turn) => messages.push(assistant(asked, turn)),
            ChatMessage::Tools { replies } => messages.extend(replies.iter().map(|reply| Message {
                tool_name: Some(asked.names.out(&reply.name)),
                ..say("tool", &reply.text)
            })),
        }
    }
    let think = asked.settings.reasoning_effort.map(|effort| match effort {
        Effort::None => false.into(),
        Effort::Minimal => Effort::Low.as_str().into(),
        Effort::Xhigh | Effort::Max => Effort::High.as_str().into(),
        effort => effort.as_str().into(),
    });
    asked.to_json(&Body {
        model: asked.model,
        messages,
        tools: openai::tools(asked),
        format: request.output_schema.as_ref().filter(|_| shape::goes_along(Wire::Ollama, asked)),
        think,
        options: Options {
            num_predict: request.max_output_tokens,
            num_ctx: asked.settings.num_ctx,
            temperature: asked.temperature,
            top_p: asked.settings.top_p,
        },
        stream: false,
    })
}

fn assistant<'a>(asked: &Asked<'a>, turn: &'a ModelTurn) -> Message<'a> {
    let calls = turn.calls.iter().map(|call| Call {
        function: Function { name: asked.names.out(&call.name), arguments: object_or_empty(&call.arguments) },
    });
    Message {
        role: "assistant",
        content: &turn.text,
        thinking: turn.thought.as_deref().filter(|_| asked.is_own(turn) && !turn.calls.is_empty()),
        tool_calls: calls.collect(),
        tool_name: None,
    }
}

/// Reads an answer: the turn, and why it ended.
pub(super) fn answer(answer: &Value, names: &ToolNames<'_>) -> Result<(ModelTurn, Finish), Bad> {
    if answer["choices"].is_array() {
        return openai::answer(answer, names);
    }
    let message = object(answer, "message")?;
    let mut turn =
        ModelTurn { text: text(message, "content")?.unwrap_or("").to_owned(), ..ModelTurn::default() };
    add(&mut turn.thought, text(message, "thinking")?.unwrap_or(""));
    for call in list(message, "tool_calls")? {
        let function = object(call, "function")?;
        turn.calls.push(ToolRequest {
            id: text(call, "id")?.unwrap_or("").to_owned(),
            name: names.back(text(function, "name")?.unwrap_or("")),
            arguments: arguments(function.get("arguments")),
        });
    }
    let finish = match text(answer, "done_reason")? {
        Some("length") => Finish::Length,
        _ => Finish::Stop,
    };
    Ok((turn, finish))
}
