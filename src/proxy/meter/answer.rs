//! Reads an answer while it is streamed: the provider's usage report, and how the answer ended. Adds no delay.
use super::account::AnswerEnd;
use super::wire::ModelWire;
use crate::domain::{ErrorKind, RunError, Tokens, tokens_said};
use hyper::body::Bytes;
use serde_json::{Map, Value};

/// Maximum size of a stream event or whole answer that is parsed. The last event of a Responses stream repeats everything.
const MAX_PARSED_BYTES: usize = 16 << 20;
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Maximum tool calls that are kept by name.
const MAX_CALLS: usize = 100;
/// Maximum characters of an error that are shown.
const MAX_ERROR_CHARS: usize = 300;
/// Bytes of an answer that are kept as received.
pub(super) const MOST_KEPT: usize = 1 << 20;

/// Incremental parser of an answer.
#[derive(Debug)]
pub(super) struct AnswerReading {
    wire: ModelWire,
    form: Form,
    /// Unparsed bytes: an incomplete line, or a whole answer.
    open: Vec<u8>,
    /// The last line ended with `\r`.
    after_return: bool,
    /// The data of an incomplete event.
    event: Vec<u8>,
    /// Something exceeded the size limit.
    is_lost: bool,
    seen: Seen,
    kept: Vec<u8>,
    left_out: u64,
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Events,
    /// One value, or a list of them for Gemini.
    Json,
}

/// What was received so far.
#[derive(Debug, Default)]
struct Seen {
    /// The maximum of each usage number.
    usage: Map<String, Value>,
    /// The usage is the final total, not the initial report.
    is_final: bool,
    finish: Option<AnswerEnd>,
    text: String,
    calls: Vec<String>,
    anything: bool,
    /// The end marker was received, which follows the last event.
    is_done: bool,
}

/// The result of an answer.
#[derive(Debug)]
pub(super) struct HeardAnswer {
    pub(super) end: AnswerEnd,
    /// The usage reported by the provider.
    pub(super) tokens: Option<Tokens>,
    /// It covers the whole answer.
    pub(super) is_final: bool,
    pub(super) text: String,
    pub(super) calls: Vec<String>,
    pub(super) kept: Bytes,
    pub(super) left_out: u64,
}

impl HeardAnswer {
    /// Returns the result when there was no answer.
    pub(super) fn nothing() -> Self {
        AnswerReading::new(ModelWire::Chat, "").end(false)
    }
}

impl AnswerReading {
    /// Creates a parser; `content_type` is the answer's header.
    pub(super) fn new(wire: ModelWire, content_type: &str) -> Self {
        let form = if content_type.contains("event-stream") { Form::Events } else { Form::Json };
        Self {
            wire,
            form,
            open: Vec::new(),
            after_return: false,
            event: Vec::new(),
            is_lost: false,
            seen: Seen::default(),
            kept: Vec::new(),
            left_out: 0,
        }
    }

    /// Marks the answer as unreadable: it has a content encoding that was not requested.
    pub(super) fn unreadable(mut self) -> Self {
        self.is_lost = true;
        self
    }

    /// Adds the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = MOST_KEPT - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.left_out += bytes.len().saturating_sub(room) as u64;
        match self.form {
            Form::Json => self.fill(bytes),
            Form::Events => self.lines(bytes),
        }
    }

    fn fill(&mut self, bytes: &[u8]) {
        if self.open.len() + bytes.len() > MAX_PARSED_BYTES {
            self.is_lost = true;
            self.open = Vec::new();
        }
        if !self.is_lost {
            self.open.extend_from_slice(bytes);
        }
    }

    fn lines(&mut self, mut bytes: &[u8]) {
        loop {
            if std::mem::take(&mut self.after_return) {
                // the second half of `\r\n`
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else { break };
            let line = &bytes[..at];
            if self.open.is_empty() {
                self.line(line);
            } else {
                self.fill(line);
                let whole = std::mem::take(&mut self.open);
                self.line(&whole);
            }
            self.after_return = bytes[at] == b'\r';
            bytes = &bytes[at + 1..];
            if bytes.is_empty() {
                return;
            }
        }
        self.fill(bytes);
    }

    fn line(&mut self, line: &[u8]) {
        if line.is_empty() {
            return self.end_event();
        }
        let Some(data) = line.strip_prefix(b"data:") else { return };
        let data = data.strip_prefix(b" ").unwrap_or(data);
        if self.event.len() + data.len() > MAX_PARSED_BYTES {
            self.is_lost = true;
            self.event = Vec::new();
            return;
        }
        if !self.event.is_empty() {
            self.event.push(b'\n');
        }
        self.event.extend_from_slice(data);
    }

    fn end_event(&mut self) {
        let event = std::mem::take(&mut self.event);
        if event.is_empty() {
            return;
        }
        self.seen.anything = true;
        self.seen.is_done |= event == b"[DONE]";
        if let Ok(value) = serde_json::from_slice::<Value>(&event) {
            self.seen.take(self.wire, &value);
        }
    }

    /// Returns whether no event is incomplete: an event of our own may be appended.
    pub(super) fn is_between_events(&self) -> bool {
        self.open.is_empty() && self.event.is_empty()
    }

    /// Finishes the answer. `whole`: it arrived completely.
    pub(super) fn end(mut self, whole: bool) -> HeardAnswer {
        match self.form {
            Form::Events => self.end_event(),
            Form::Json => {
                self.seen.anything |= !self.open.is_empty();
                match serde_json::from_slice::<Value>(&self.open) {
                    Ok(Value::Array(values)) => {
                        values.iter().for_each(|value| self.seen.take(self.wire, value))
                    }
                    Ok(value) => self.seen.take(self.wire, &value),
                    Err(_) => {}
                }
            }
        }
        let usage = Value::Object(std::mem::take(&mut self.seen.usage));
        // a request can't have used nothing: a usage of zero does not count
        let tokens = tokens_said(&usage).filter(|tokens| tokens.input > 0 || tokens.output > 0);
        let tokens = tokens.map(|tokens| all_iterations(&usage, tokens));
        // in these wires usage may come with each part
        let is_over =
            whole || self.seen.is_done || matches!(self.wire, ModelWire::Messages | ModelWire::Responses);
        let is_said = match &self.seen.finish {
            Some(AnswerEnd::Failed(_)) => self.wire != ModelWire::Chat,
            Some(_) => true,
            None => false,
        };
        let end = self.seen.ended(whole, self.is_lost);
        HeardAnswer {
            is_final: self.seen.is_final && is_over && is_said && tokens.is_some(),
            end,
            tokens: tokens.map(Tokens::believed),
            text: self.seen.text,
            calls: self.seen.calls,
            kept: self.kept.into(),
            left_out: self.left_out,
        }
    }
}

/// Sums up iterations: a provider that runs its model several times for one request lists them, and omits some from the totals
/// ("Compaction" of Anthropic's documentation).
fn all_iterations(usage: &Value, said: Tokens) -> Tokens {
    let each = usage["iterations"].as_array().into_iter().flatten().filter_map(tokens_said);
    let all = each.map(Tokens::believed).fold(Tokens::default(), |sum, one| Tokens {
        input: sum.input.saturating_add(one.input),
        cached: sum.cached.saturating_add(one.cached),
        written: sum.written.saturating_add(one.written),
        output: sum.output.saturating_add(one.output),
    });
    if all.input.saturating_add(all.output) > said.input.saturating_add(said.output) { all } else { said }
}

/// Returns a provider's error message.
pub(super) fn error_said(body: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let json = if json.is_array() { &json[0] } else { &json };
    let places = [&json["error"]["message"], &json["error"], &json["message"], &json["detail"]];
    let said = places.into_iter().find_map(Value::as_str);
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * MAX_ERROR_CHARS)]);
    said.unwrap_or(text.trim()).chars().take(MAX_ERROR_CHARS).collect()
}

impl Seen {
    fn ended(&mut self, whole: bool, is_lost: bool) -> AnswerEnd {
        let says_nothing = self.text.trim().is_empty() && self.calls.is_empty();
        let failed = |kind, message: &str| AnswerEnd::Failed(RunError::new(kind, message));
        match self.finish.take() {
            Some(AnswerEnd::Complete) if says_nothing => AnswerEnd::Empty,
            Some(end) => end,
            None if is_lost => failed(
                ErrorKind::BadResponse,
                "the answer can't be read: it is too large, or compressed in a way that nobody asked for",
            ),
            None if !whole => failed(ErrorKind::Network, "the answer broke off"),
            None if !self.anything => AnswerEnd::Empty,
            None => failed(ErrorKind::BadResponse, "the answer ended without saying that it is whole"),
        }
    }

    /// Merges usage numbers: each wire reports some at the beginning and others at the end, and some are repeated with growing
    /// values.
    fn usage(&mut self, said: &Value) {
        fn larger(into: &mut Map<String, Value>, from: &Map<String, Value>) {
            for (key, value) in from {
                match (into.get_mut(key), value) {
                    (Some(Value::Object(into)), Value::Object(from)) => larger(into, from),
                    (_, Value::Null) => {}
                    (Some(known), value) if value.as_f64() < known.as_f64() => {}
                    _ => {
                        into.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        if let Some(said) = said.as_object() {
            larger(&mut self.usage, said);
        }
    }

    fn say(&mut self, text: &Value) {
        let Some(text) = text.as_str() else { return };
        let room = MAX_TEXT_BYTES - self.text.len();
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn call(&mut self, name: &Value) {
        if self.calls.len() < MAX_CALLS {
            self.calls.push(name.as_str().unwrap_or("?").chars().take(100).collect());
        }
    }

    fn fail(&mut self, error: &Value) {
        let said =
            [&error["message"], error].into_iter().find_map(Value::as_str).unwrap_or("it does not say why");
        let words = ["type", "code"].map(|key| error[key].as_str().unwrap_or_default());
        let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
        let kind = match () {
            () if has(&["rate_limit_error", "rate_limit_exceeded"]) => ErrorKind::RateLimit,
            () if has(&["authentication_error", "permission_error", "insufficient_quota"]) => ErrorKind::Auth,
            () => ErrorKind::Provider,
        };
        let said: String = said.chars().take(MAX_ERROR_CHARS).collect();
        let message = format!("the provider broke its answer off: {said}");
        self.finish = Some(AnswerEnd::Failed(RunError::new(kind, message)));
    }

    fn finished(&mut self, end: AnswerEnd) {
        // an error is final, whatever follows
        if !matches!(self.finish, Some(AnswerEnd::Failed(_))) {
            self.finish = Some(end);
        }
    }

    fn take(&mut self, wire: ModelWire, value: &Value) {
        match wire {
            ModelWire::Messages => self.messages(value),
            ModelWire::Responses => self.responses(value),
            ModelWire::Chat => self.chat(value),
            ModelWire::Gemini => self.gemini(value),
        }
    }

    fn messages(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.usage(&event["message"]["usage"]),
            "content_block_start" => self.block(&event["content_block"]),
            "content_block_delta" => self.say(&event["delta"]["text"]),
            "message_delta" => {
                self.usage(&event["usage"]);
                self.is_final |= event["usage"]["output_tokens"].is_number();
                self.stopped(&event["delta"]["stop_reason"]);
            }
            "message" => {
                self.usage(&event["usage"]);
                self.is_final = true;
                event["content"].as_array().into_iter().flatten().for_each(|block| self.block(block));
                self.stopped(&event["stop_reason"]);
            }
            "error" => self.fail(&event["error"]),
            _ => {}
        }
    }

    fn block(&mut self, block: &Value) {
        match block["type"].as_str() {
            Some("tool_use" | "server_tool_use" | "mcp_tool_use") => self.call(&block["name"]),
            _ => self.say(&block["text"]),
        }
    }

    fn stopped(&mut self, reason: &Value) {
        let Some(reason) = reason.as_str() else { return };
        self.finished(match reason {
            "max_tokens" | "model_context_window_exceeded" => AnswerEnd::CutOff,
            "refusal" => AnswerEnd::Refused("the model refuses".into()),
            _ => AnswerEnd::Complete,
        });
    }

    fn responses(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" => self.say(&event["delta"]),
            "response.output_item.done" => self.item(&event["item"], false),
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.whole_response(&event["response"], false);
            }
            "error" if event["error"].is_object() => self.fail(&event["error"]),
            "error" => self.fail(event),
            _ if event["object"] == "response" => self.whole_response(event, true),
            _ if event["error"].is_object() => self.fail(&event["error"]),
            _ => {}
        }
    }

    /// Reads a complete response. `says`: its texts were not streamed before.
    fn whole_response(&mut self, response: &Value, says: bool) {
        self.usage(&response["usage"]);
        self.is_final = true;
        if says {
            response["output"].as_array().into_iter().flatten().for_each(|item| self.item(item, true));
        }
        let reason = response["incomplete_details"]["reason"].as_str().unwrap_or_default();
        match (response["status"].as_str(), reason) {
            (Some("completed"), _) => self.finished(AnswerEnd::Complete),
            (Some("incomplete"), "content_filter") => {
                self.finished(AnswerEnd::Refused("a filter of the provider cut the answer".into()));
            }
            (Some("incomplete"), _) => self.finished(AnswerEnd::CutOff),
            _ => self.fail(&response["error"]),
        }
    }

    fn item(&mut self, item: &Value, says: bool) {
        let kind = item["type"].as_str().unwrap_or_default();
        if kind.ends_with("_call") {
            self.call(if item["name"].is_string() { &item["name"] } else { &item["type"] });
        }
        for part in item["content"].as_array().into_iter().flatten() {
            if part["type"] == "refusal" {
                let said = part["refusal"].as_str().unwrap_or_default().chars().take(300).collect();
                self.finished(AnswerEnd::Refused(said));
            } else if says && kind == "message" {
                self.say(&part["text"]);
            }
        }
    }

    fn chat(&mut self, value: &Value) {
        if value["error"].is_object() || value["error"].is_string() {
            return self.fail(&value["error"]);
        }
        if value["usage"].is_object() {
            self.usage(&value["usage"]);
            self.is_final = true;
        }
        for choice in value["choices"].as_array().into_iter().flatten() {
            let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
            self.say(&said["content"]);
            for call in said["tool_calls"].as_array().into_iter().flatten() {
                if call["function"]["name"].is_string() || call["custom"]["name"].is_string() {
                    self.call(&call["function"]["name"]);
                }
            }
            if said["function_call"]["name"].is_string() {
                self.call(&said["function_call"]["name"]);
            }
            if let Some(refusal) = said["refusal"].as_str().filter(|text| !text.is_empty()) {
                self.finished(AnswerEnd::Refused(refusal.chars().take(300).collect()));
            }
            match choice["finish_reason"].as_str() {
                None => {}
                Some("length") => self.finished(AnswerEnd::CutOff),
                Some("content_filter") => {
                    self.finished(AnswerEnd::Refused("a filter of the provider cut the answer".into()));
                }
                Some("error") => self.fail(&choice["error"]),
                Some(_) if matches!(self.finish, Some(AnswerEnd::Refused(_))) => {}
                Some(_) => self.finished(AnswerEnd::Complete),
            }
        }
    }

    fn gemini(&mut self, value: &Value) {
        if value["error"].is_object() {
            return self.fail(&value["error"]);
        }
        self.usage(&value["usageMetadata"]);
        if let Some(reason) = value["promptFeedback"]["blockReason"].as_str() {
            self.is_final = true;
            self.finished(AnswerEnd::Refused(format!("the provider held the question back ({reason})")));
        }
        for candidate in value["candidates"].as_array().into_iter().flatten() {
            for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
                if part["functionCall"].is_object() {
                    self.call(&part["functionCall"]["name"]);
                } else if part["thought"] != true {
                    self.say(&part["text"]);
                }
            }
            let Some(reason) = candidate["finishReason"].as_str() else { continue };
            self.finished(match reason {
                "STOP" => AnswerEnd::Complete,
                "MAX_TOKENS" => AnswerEnd::CutOff,
                "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => {
                    AnswerEnd::Failed(RunError::new(
                        ErrorKind::BadResponse,
                        format!("the model called a tool in a way that nobody can read ({reason})"),
                    ))
                }
                other => {
                    AnswerEnd::Refused(format!("a filter of the provider held the answer back ({other})"))
                }
            });
        }
        self.is_final |= self.finish.is_some() && value["usageMetadata"].is_object();
    }
}

#[cfg(test)]
#[path = "answer/tests.rs"]
mod tests;
