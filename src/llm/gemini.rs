//! The wire format of Gemini's `generateContent`.
use super::reading::{Bad, add, arguments, list, text};
use super::shape;
use crate::domain::ToolNames;
use crate::domain::{ChatMessage, Effort, Finish, ModelTurn, ToolReply, ToolRequest};
use crate::llm::asked::{Asked, Wire, object_or_empty};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Key of [`ModelTurn::opaque`].
const WIRE: &str = "gemini";

/// Replaces the signature of a call made by another model: newer models refuse a turn whose first call has none ("Thought
/// signatures" of Gemini's documentation).
const UNSIGNED: &str = "skip_thought_signature_validator";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tools<'a>; 1]>,
    generation_config: Config<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    name: Cow<'a, str>,
    args: &'a RawValue,
}

#[derive(Serialize)]
struct Response<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    name: Cow<'a, str>,
    response: Said<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Said<'a> {
    Result(&'a str),
    Error(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Function<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    parameters_json_schema: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    max_output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Thinking<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Thinking<'a> {
    ThinkingLevel(&'a str),
    ThinkingBudget(u64),
}

/// Returns the provider's settings for an effort.
fn thinking(effort: Effort) -> Thinking<'static> {
    match effort {
        Effort::None => Thinking::ThinkingBudget(0),
        Effort::Xhigh | Effort::Max => Thinking::ThinkingLevel(Effort::High.as_str()),
        effort => Thinking::ThinkingLevel(effort.as_str()),
    }
}

/// Returns the body of a request.
pub(super) fn body(asked: &Asked<'_>) -> Vec<u8> {
    let request = asked.request;
    let said = |text| Part { text: Some(text), ..Part::default() };
    let mut contents = Vec::with_capacity(request.messages.len());
    let mut own = true;
    for message in &request.messages {
        let (role, parts) = match message {
            ChatMessage::User { text } => ("user", vec![said(text)]),
            ChatMessage::Model(turn) => {
                own = asked.is_own(turn);
                ("model", parts(asked, turn))
            }
            ChatMessage::Tools { replies } => {
                let parts = replies.iter().map(|reply| response(asked.names, reply, own));
                ("user", parts.collect())
            }
        };
        if !parts.is_empty() {
            contents.push(Content { role: Some(role), parts });
        }
    }
    let functions: Vec<_> = request
        .tools
        .iter()
        .map(|tool| Function {
            name: asked.names.out(&tool.name),
            description: &tool.description,
            parameters_json_schema: &tool.schema,
        })
        .collect();
    let schema = request.output_schema.as_ref().filter(|_| shape::goes_along(Wire::Gemini, asked));
    let system = request.system.as_deref().filter(|text| !text.is_empty());
    asked.to_json(&Body {
        system_instruction: system.map(|text| Content { role: None, parts: vec![said(text)] }),
        contents,
        tools: (!functions.is_empty()).then_some([Tools { function_declarations: functions }]),
        generation_config: Config {
            max_output_tokens: request.max_output_tokens,
            temperature: asked.temperature,
            top_p: asked.settings.top_p,
            thinking_config: asked.settings.reasoning_effort.map(thinking),
            response_mime_type: schema.map(|_| "application/json"),
            response_json_schema: schema,
        },
    })
}

fn parts<'a>(asked: &Asked<'a>, turn: &'a ModelTurn) -> Vec<Part<'a>> {
    let own = asked.is_own(turn);
    let kept = if own { &turn.opaque[WIRE] } else { &Value::Null };
    let mut parts = Vec::with_capacity(turn.calls.len() + 1);
    let signature = kept["text"].as_str();
    if !turn.text.is_empty() || signature.is_some() {
        parts.push(Part { text: Some(&turn.text), thought_signature: signature, ..Part::default() });
    }
    for (place, call) in turn.calls.iter().enumerate() {
        parts.push(Part {
            function_call: Some(Call {
                id: if own { &call.id } else { "" },
                name: asked.names.out(&call.name),
                args: object_or_empty(&call.arguments),
            }),
            thought_signature: match own {
                true => kept["calls"][place].as_str(),
                false => (place == 0).then_some(UNSIGNED),
            },
            ..Part::default()
        });
    }
    parts
}

/// Returns the result of a call; `own`: the call is from this model, so that its id is valid.
fn response<'a>(names: &ToolNames<'a>, reply: &'a ToolReply, own: bool) -> Part<'a> {
    let text = reply.text.as_str();
    Part {
        function_response: Some(Response {
            id: if own { &reply.id } else { "" },
            name: names.out(&reply.name),
            response: if reply.is_error { Said::Error(text) } else { Said::Result(text) },
        }),
        ..Part::default()
    }
}

/// Reads an answer: the turn, and why it ended.
pub(super) fn answer(answer: &Value, names: &ToolNames<'_>) -> Result<(ModelTurn, Finish), Bad> {
    let Some(candidate) = list(answer, "candidates")?.first() else {
        return match text(&answer["promptFeedback"], "blockReason")? {
            Some(why) => {
                let why = format!("the provider does not take this question: {why}");
                Ok((ModelTurn::default(), Finish::Refusal(why)))
            }
            None => Err(Bad("`candidates` is missing".into())),
        };
    };
    let mut turn = ModelTurn::default();
    let (mut of_calls, mut of_text) = (Vec::new(), None);
    let content = candidate.get("content").unwrap_or(&Value::Null);
    if !(content.is_object() || content.is_null()) {
        return Err(Bad("`content` is not an object".into()));
    }
    for part in list(content, "parts")? {
        let signature = text(part, "thoughtSignature")?;
        let said = text(part, "text")?.unwrap_or("");
        if let Some(call) = part.get("functionCall") {
            turn.calls.push(ToolRequest {
                id: text(call, "id")?.unwrap_or("").to_owned(),
                name: names.back(text(call, "name")?.unwrap_or("")),
                arguments: arguments(call.get("args")),
            });
            of_calls.push(signature);
        } else if part["thought"] == true {
            add(&mut turn.thought, said);
        } else {
            turn.text.push_str(said);
            of_text = signature.or(of_text);
        }
    }
    if of_text.is_some() || of_calls.iter().any(Option::is_some) {
        turn.opaque = json!({ WIRE: {"text": of_text, "calls": of_calls} });
    }
    let finish = match text(candidate, "finishReason")? {
        None | Some("STOP" | "FINISH_REASON_UNSPECIFIED") => Finish::Stop,
        Some("MAX_TOKENS") => Finish::Length,
        Some(why) if why.contains("CALL") || why.contains("SIGNATURE") => {
            Finish::Unreadable(format!("the model made a call that its provider can't read ({})", word(why)))
        }
        Some(why) => Finish::Refusal(format!("the provider held the answer back: {}", word(why))),
    };
    Ok((turn, finish))
}

/// Returns the identifier at the beginning of the text, and nothing else.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end.min(40)]
}
