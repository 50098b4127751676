//! What the endpoint says, in the words of each wire.
use super::{Said, Wire};
use serde_json::{Value, json};

pub(super) fn answer(wire: Wire, said: &Said) -> Value {
    match wire {
        Wire::OpenAi => openai(said),
        Wire::Anthropic => anthropic(said),
        Wire::Gemini => gemini(said),
    }
}

fn openai(said: &Said) -> Value {
    let calls: Vec<Value> = said
        .calls
        .iter()
        .map(|(id, name, arguments)| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
        })
        .collect();
    let mut message = json!({"role": "assistant", "content": said.text});
    if !calls.is_empty() {
        message["content"] = Value::Null;
        message["tool_calls"] = calls.into();
    }
    if let Some(thought) = &said.thought {
        message["reasoning_content"] = thought.as_str().into();
    }
    if let Some(refusal) = &said.refusal {
        message["refusal"] = refusal.as_str().into();
    }
    let regular = if said.calls.is_empty() { "stop" } else { "tool_calls" };
    let finish = said.finish.unwrap_or(regular);
    let mut answer = json!({
        "id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    });
    if let Some(used) = said.used {
        let output = used.output + used.thoughts;
        answer["usage"] = json!({
            "prompt_tokens": used.input, "completion_tokens": output,
            "total_tokens": used.input.saturating_add(output),
            "prompt_tokens_details": {"cached_tokens": used.cached},
        });
    }
    answer
}

fn anthropic(said: &Said) -> Value {
    let mut content = Vec::new();
    if let Some(thought) = &said.thought {
        content.push(json!({"type": "thinking", "thinking": thought, "signature": "signed"}));
    }
    let text = said.refusal.as_deref().unwrap_or(&said.text);
    if !text.is_empty() {
        content.push(json!({"type": "text", "text": text}));
    }
    for (id, name, arguments) in &said.calls {
        let input: Value = serde_json::from_str(arguments).unwrap_or_default();
        content.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
    }
    let stop = match (&said.refusal, said.finish) {
        (Some(_), _) => "refusal",
        (None, Some("length")) => "max_tokens",
        (None, Some(other)) => other,
        (None, None) if said.calls.is_empty() => "end_turn",
        (None, None) => "tool_use",
    };
    let mut answer =
        json!({"id": "x", "type": "message", "role": "assistant", "content": content, "stop_reason": stop});
    if let Some(used) = said.used {
        answer["usage"] = json!({
            "input_tokens": used.input.saturating_sub(used.cached), "cache_read_input_tokens": used.cached,
            "cache_creation_input_tokens": 0, "output_tokens": used.output + used.thoughts,
        });
    }
    answer
}

fn gemini(said: &Said) -> Value {
    let mut parts = Vec::new();
    if let Some(thought) = &said.thought {
        parts.push(json!({"text": thought, "thought": true}));
    }
    if !said.text.is_empty() {
        parts.push(json!({"text": said.text}));
    }
    for (at, (id, name, arguments)) in said.calls.iter().enumerate() {
        let args: Value = serde_json::from_str(arguments).unwrap_or_default();
        let mut part = json!({"functionCall": {"id": id, "name": name, "args": args}});
        if at == 0 && said.thought.is_some() {
            part["thoughtSignature"] = "signed".into();
        }
        parts.push(part);
    }
    let finish = match (&said.refusal, said.finish) {
        (Some(_), _) => "SAFETY",
        (None, Some("length")) => "MAX_TOKENS",
        (None, _) => "STOP",
    };
    let mut candidate = json!({"finishReason": finish, "index": 0});
    if !parts.is_empty() {
        candidate["content"] = json!({"role": "model", "parts": parts});
    }
    let mut answer = json!({"candidates": [candidate]});
    if let Some(used) = said.used {
        answer["usageMetadata"] = json!({
            "promptTokenCount": used.input, "cachedContentTokenCount": used.cached,
            "candidatesTokenCount": used.output, "thoughtsTokenCount": used.thoughts,
        });
    }
    answer
}
