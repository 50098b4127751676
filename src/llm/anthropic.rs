//! The wire format of Anthropic's Messages.
use super::names::call_ids;
use super::reading::{Bad, add, arguments, list, text};
use super::shape;
use crate::domain::ToolNames;
use crate::domain::{ChatMessage, Effort, Finish, ModelTurn, ToolRequest};
use crate::llm::asked::{Asked, Wire, object_or_empty};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Key of [`ModelTurn::opaque`].
const WIRE: &str = "anthropic";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<System<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Config<'a>>,
}

#[derive(Serialize)]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

/// The system prompt; as blocks if the cache is to include it.
#[derive(Serialize)]
#[serde(untagged)]
enum System<'a> {
    Text(&'a str),
    Blocks([Cached<Ours<'a>>; 1]),
}

/// A cache breakpoint: the provider caches everything up to the end of this block.
#[derive(Serialize)]
struct Cached<T> {
    #[serde(flatten)]
    block: T,
    cache_control: CacheControl,
}

#[derive(Serialize)]
struct CacheControl {
    r#type: &'static str,
}

fn cached<T>(block: T) -> Cached<T> {
    Cached { block, cache_control: CacheControl { r#type: "ephemeral" } }
}

#[derive(Serialize)]
struct Format {
    r#type: &'static str,
    schema: Value,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Ours(Ours<'a>),
    Last(Cached<Ours<'a>>),
    /// A block as received from the provider.
    Theirs(&'a Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Ours<'a> {
    Text {
        text: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: Cow<'a, str>,
        input: &'a RawValue,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
struct Tool<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    input_schema: &'a Value,
}

/// Returns the body of a request.
pub(super) fn body(asked: &Asked<'_>) -> Vec<u8> {
    let request = asked.request;
    let ids = call_ids(&request.messages, |turn| asked.is_own(turn));
    let mut messages = Vec::with_capacity(request.messages.len());
    for (message, ids) in request.messages.iter().zip(&ids) {
        let (role, content) = match message {
            ChatMessage::User { text } => ("user", vec![Block::Ours(Ours::Text { text })]),
            ChatMessage::Model(turn) => ("assistant", blocks(asked, turn, ids)),
            ChatMessage::Tools { replies } => {
                let result = replies.iter().zip(ids).map(|(reply, id)| {
                    Block::Ours(Ours::ToolResult {
                        tool_use_id: id,
                        content: &reply.text,
                        is_error: reply.is_error,
                    })
                });
                ("user", result.collect())
            }
        };
        // Empty text blocks are rejected by the API.
        let says =
            |block: &Block<'_>| !matches!(block, Block::Ours(Ours::Text { text }) if text.trim().is_empty());
        let content: Vec<_> = content.into_iter().filter(says).collect();
        if !content.is_empty() {
            messages.push(Message { role, content });
        }
    }
    let tools = request.tools.iter().map(|tool| Tool {
        name: asked.names.out(&tool.name),
        description: &tool.description,
        input_schema: &tool.schema,
    });
    let schema = request.output_schema.as_ref().filter(|_| shape::goes_along(Wire::Anthropic, asked));
    let format = schema.and_then(shape::for_anthropic).map(|schema| Format { r#type: "json_schema", schema });
    let effort = asked.settings.reasoning_effort.and_then(effort);
    let cache = asked.settings.cache;
    if cache {
        end_of_cache(&mut messages);
    }
    let system = request.system.as_deref().filter(|text| !text.is_empty());
    let body = Body {
        model: asked.model,
        max_tokens: request.max_output_tokens,
        system: system.map(|text| match cache {
            true => System::Blocks([cached(Ours::Text { text })]),
            false => System::Text(text),
        }),
        messages,
        tools: tools.collect(),
        temperature: asked.temperature,
        top_p: asked.settings.top_p,
        output_config: (format.is_some() || effort.is_some()).then_some(Config { effort, format }),
    };
    let without = (!may_think(asked)).then_some("thinking");
    asked.to_json_without(&body, without)
}

/// Returns the provider's name of an effort.
fn effort(effort: Effort) -> Option<&'static str> {
    match effort {
        Effort::None => None,
        Effort::Minimal => Some(Effort::Low.as_str()),
        effort => Some(effort.as_str()),
    }
}

/// Puts the cache breakpoint at the newest message: the next request begins with the same messages.
fn end_of_cache(messages: &mut [Message<'_>]) {
    let Some(content) = messages.last_mut().map(|message| &mut message.content) else { return };
    match content.pop() {
        Some(Block::Ours(ours)) => content.push(Block::Last(cached(ours))),
        other => content.extend(other),
    }
}

/// Returns whether thinking may be enabled. Thinking requires that the thoughts that led to tool calls are sent back with the
/// results: after calls of another model there are none, so it is disabled for this answer.
fn may_think(asked: &Asked<'_>) -> bool {
    let mut newest = asked.request.messages.iter().rev();
    match (newest.next(), newest.next()) {
        (Some(ChatMessage::Tools { .. }), Some(ChatMessage::Model(turn))) => {
            asked.is_own(turn) && turn.opaque[WIRE]["thoughts"].is_array()
        }
        _ => true,
    }
}

/// Returns the blocks of a turn in order: text first, then the calls, with the thoughts in their positions.
fn blocks<'a>(asked: &Asked<'a>, turn: &'a ModelTurn, ids: &'a [Cow<'a, str>]) -> Vec<Block<'a>> {
    let kept = &turn.opaque[WIRE];
    // Thoughts are signed for the model that had them.
    let thoughts: &[Value] = match kept["thoughts"].as_array() {
        Some(thoughts) if asked.is_own(turn) => thoughts,
        _ => &[],
    };
    let at = |place: usize| {
        let here = thoughts.iter().filter(move |thought| thought["place"] == place);
        here.map(|thought| Block::Theirs(&thought["block"]))
    };
    let mut blocks: Vec<Block<'a>> = at(0).collect();
    blocks.push(Block::Ours(Ours::Text { text: &turn.text }));
    for (place, (call, id)) in turn.calls.iter().zip(ids).enumerate() {
        blocks.extend(at(place + 1));
        blocks.push(Block::Ours(Ours::ToolUse {
            id,
            name: asked.names.out(&call.name),
            input: object_or_empty(&call.arguments),
        }));
    }
    blocks
}

/// Reads an answer: the turn, and why it ended.
pub(super) fn answer(answer: &Value, names: &ToolNames<'_>) -> Result<(ModelTurn, Finish), Bad> {
    if !answer["content"].is_array() {
        return Err(Bad("`content` is missing or not a list".into()));
    }
    let mut turn = ModelTurn::default();
    let mut thoughts = Vec::new();
    for block in list(answer, "content")? {
        match text(block, "type")? {
            Some("text") => turn.text.push_str(text(block, "text")?.unwrap_or("")),
            Some("tool_use") => turn.calls.push(ToolRequest {
                id: text(block, "id")?.unwrap_or("").to_owned(),
                name: names.back(text(block, "name")?.unwrap_or("")),
                arguments: arguments(block.get("input")),
            }),
            Some("thinking" | "redacted_thinking") => {
                add(&mut turn.thought, text(block, "thinking")?.unwrap_or(""));
                // 0: before the text; otherwise before the call of this number, from 1.
                let first = turn.text.is_empty() && turn.calls.is_empty();
                let place = if first { 0 } else { turn.calls.len() + 1 };
                thoughts.push(json!({"place": place, "block": block}));
            }
            Some(_) => {}
            None => return Err(Bad("a block of `content` has no `type`".into())),
        }
    }
    if !thoughts.is_empty() {
        turn.opaque = json!({ WIRE: {"thoughts": thoughts} });
    }
    let finish = match text(answer, "stop_reason")? {
        Some("max_tokens" | "model_context_window_exceeded") => Finish::Length,
        Some("refusal") => Finish::Refusal(match turn.text.trim() {
            "" => "the model refuses to answer".into(),
            said => said.to_owned(),
        }),
        _ => Finish::Stop,
    };
    Ok((turn, finish))
}
