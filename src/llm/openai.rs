//! The wire format of OpenAI's Chat Completions, which most servers support with small differences: only what all of them
//! accept is sent, and answers are parsed leniently.
use super::names::call_ids;
use super::reading::{Bad, add, arguments, list, object, text};
use super::shape;
use crate::domain::ToolNames;
use crate::domain::{ChatMessage, Effort, Finish, ModelTurn, ToolDef, ToolRequest};
use crate::llm::asked::{Asked, Wire, object_or_empty};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Key of [`ModelTurn::opaque`].
const WIRE: &str = "openai";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    stream: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning_content: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning_details: Option<&'a Value>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CallFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a Value>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: Cow<'a, str>,
    arguments: &'a str,
}

#[derive(Serialize)]
pub(super) struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    json_schema: FormatSchema<'a>,
}

#[derive(Serialize)]
struct FormatSchema<'a> {
    name: &'static str,
    /// The schema is enforced; otherwise it is a hint for OpenAI.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    schema: Cow<'a, Value>,
}

/// Returns the body of a request. OpenAI itself has newer names than compatible servers.
pub(super) fn body(asked: &Asked<'_>, wire: Wire) -> Vec<u8> {
    let official = wire == Wire::OpenAi;
    let request = asked.request;
    let ids = call_ids(&request.messages, |turn| asked.is_own(turn));
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    messages.extend(request.system.as_deref().map(|content| Message::System { content }));
    for (message, ids) in request.messages.iter().zip(&ids) {
        match message {
            ChatMessage::User { text } => messages.push(Message::User { content: text }),
            ChatMessage::Model(turn) => messages.push(assistant(asked, turn, ids)),
            ChatMessage::Tools { replies } => {
                messages.extend(
                    replies
                        .iter()
                        .zip(ids)
                        .map(|(reply, id)| Message::Tool { tool_call_id: id, content: &reply.text }),
                );
            }
        }
    }
    let schema = request.output_schema.as_ref().filter(|_| shape::goes_along(wire, asked));
    // The schema rules out calls here; compatible servers are told so explicitly.
    let no_calls = schema.is_some() && !official && !request.tools.is_empty();
    let body = Body {
        model: asked.model,
        messages,
        tools: tools(asked),
        max_completion_tokens: official.then_some(request.max_output_tokens),
        max_tokens: (!official).then_some(request.max_output_tokens),
        temperature: asked.temperature,
        top_p: asked.settings.top_p,
        reasoning_effort: asked.settings.reasoning_effort,
        response_format: schema.map(format),
        tool_choice: no_calls.then_some("none"),
        stream: false,
    };
    asked.to_json(&body)
}

/// Returns the tools, in the format that Ollama also uses.
pub(super) fn tools<'a>(asked: &Asked<'a>) -> Vec<Tool<'a>> {
    let tool = |tool: &'a ToolDef| Tool {
        r#type: "function",
        function: Function {
            name: asked.names.out(&tool.name),
            description: &tool.description,
            parameters: &tool.schema,
        },
    };
    asked.request.tools.iter().map(tool).collect()
}

fn format(schema: &Value) -> Format<'_> {
    let strict = shape::strict(schema);
    Format {
        r#type: "json_schema",
        json_schema: FormatSchema {
            name: "answer",
            strict: strict.is_some(),
            schema: strict.map_or(Cow::Borrowed(schema), Cow::Owned),
        },
    }
}

fn assistant<'a>(asked: &Asked<'a>, turn: &'a ModelTurn, ids: &'a [Cow<'a, str>]) -> Message<'a> {
    let kept = &turn.opaque[WIRE];
    // Fields that one model requires are refused by another one.
    let is_own = asked.is_own(turn);
    let kept = if is_own { kept } else { &Value::Null };
    let calls = turn.calls.iter().zip(ids).enumerate().map(|(place, (call, id))| Call {
        id,
        r#type: "function",
        function: CallFunction {
            name: asked.names.out(&call.name),
            arguments: object_or_empty(&call.arguments).get(),
        },
        extra_content: kept["extra"].get(place).filter(|extra| !extra.is_null()),
    });
    Message::Assistant {
        content: (!turn.text.is_empty() || turn.calls.is_empty()).then_some(turn.text.as_str()),
        tool_calls: calls.collect(),
        // Models that reason in this field require it with calls (and may refuse the request otherwise). If there was no
        // reasoning, send a blank: an empty text counts as missing.
        reasoning_content: match turn.thought.as_deref() {
            _ if turn.calls.is_empty() => None,
            thought if kept["thought_back"] == true => thought,
            thought if asked.with_thoughts => Some(thought.unwrap_or(" ")),
            _ => None,
        },
        reasoning_details: kept.get("reasoning_details"),
    }
}

/// Reads an answer: the turn, and why it ended.
pub(super) fn answer(answer: &Value, names: &ToolNames<'_>) -> Result<(ModelTurn, Finish), Bad> {
    let choice = list(answer, "choices")?.first().ok_or_else(|| Bad("`choices` is missing".into()))?;
    let message = object(choice, "message")?;
    let mut turn = ModelTurn::default();
    content(message, &mut turn)?;
    for word in ["reasoning_content", "reasoning", "thinking"] {
        if turn.thought.is_none() {
            // Some use the same key for objects: those are not thoughts to show.
            add(&mut turn.thought, message[word].as_str().unwrap_or(""));
        }
    }
    let mut extra = Vec::new();
    for call in list(message, "tool_calls")? {
        let function = object(call, "function")?;
        turn.calls.push(ToolRequest {
            id: text(call, "id")?.unwrap_or("").to_owned(),
            name: names.back(text(function, "name")?.unwrap_or("")),
            arguments: arguments(function.get("arguments")),
        });
        extra.push(call.get("extra_content").cloned().unwrap_or_default());
    }
    keep(message, extra, &mut turn);
    let refusal = text(message, "refusal")?.filter(|refusal| !refusal.is_empty());
    let finish = match (text(choice, "finish_reason")?, refusal) {
        (_, Some(refusal)) => Finish::Refusal(refusal.to_owned()),
        (Some("length" | "model_length" | "max_tokens" | "max_output_tokens"), None) => Finish::Length,
        (Some("content_filter"), None) => {
            Finish::Refusal("the provider's filter held the answer back".into())
        }
        _ => Finish::Stop,
    };
    Ok((turn, finish))
}

/// Reads content: a text, or parts of text and thoughts.
fn content(message: &Value, turn: &mut ModelTurn) -> Result<(), Bad> {
    if !matches!(message.get("content"), Some(Value::Array(_))) {
        turn.text = text(message, "content")?.unwrap_or("").to_owned();
        return Ok(());
    }
    for part in list(message, "content")? {
        match text(part, "type")? {
            Some("text") => turn.text.push_str(text(part, "text")?.unwrap_or("")),
            Some("thinking") => match part.get("thinking") {
                Some(Value::Array(parts)) => {
                    for part in parts {
                        add(&mut turn.thought, text(part, "text")?.unwrap_or(""));
                    }
                }
                _ => add(&mut turn.thought, text(part, "thinking")?.unwrap_or("")),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Keeps what has to be sent back with this turn.
fn keep(message: &Value, extra: Vec<Value>, turn: &mut ModelTurn) {
    let mut kept = serde_json::Map::new();
    if message["reasoning_content"].is_string() && !turn.calls.is_empty() {
        kept.insert("thought_back".into(), true.into());
    }
    if message["reasoning_details"].is_array() {
        kept.insert("reasoning_details".into(), message["reasoning_details"].clone());
    }
    if extra.iter().any(|extra| !extra.is_null()) {
        kept.insert("extra".into(), extra.into());
    }
    if !kept.is_empty() {
        turn.opaque = json!({ WIRE: kept });
    }
}
