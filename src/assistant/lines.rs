//! JSON-RPC 2.0 messages in lines, as MCP has them: bounded input, and the forms of output.
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read};

/// Maximum length of a line in bytes. The largest messages are proposals.
pub(super) const LONGEST_LINE: usize = 1 << 20;
/// Maximum number of messages in a line (a batch).
const MAX_BATCH_COUNT: usize = 32;

/// Error codes (JSON-RPC 2.0, section 5.1).
pub(super) const PARSE_ERROR: i64 = -32_700;
pub(super) const INVALID_REQUEST: i64 = -32_600;
pub(super) const NO_SUCH_METHOD: i64 = -32_601;
pub(super) const INVALID_PARAMS: i64 = -32_602;

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// Reads line by line, and buffers at most one.
pub(super) struct InputLines<R> {
    from: BufReader<R>,
}

impl<R: Read> InputLines<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from: BufReader::new(from) }
    }

    /// Returns the next line without its end. An unterminated last line counts as a line.
    pub(super) fn next(&mut self) -> io::Result<InputLine> {
        let mut line = Vec::new();
        self.part(&mut line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(InputLine::Whole(line));
        }
        if line.len() <= LONGEST_LINE {
            return Ok(if line.is_empty() { InputLine::End } else { InputLine::Whole(line) });
        }
        while line.last().is_some_and(|last| *last != b'\n') {
            line.clear();
            self.part(&mut line)?;
        }
        Ok(InputLine::TooLong)
    }

    fn part(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        Read::take(&mut self.from, LONGEST_LINE as u64 + 1).read_until(b'\n', line)?;
        Ok(())
    }
}

/// A parsed message.
#[derive(Debug, PartialEq)]
pub(super) enum InputMessage {
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    /// No answer is expected.
    Notification {
        method: String,
        params: Value,
    },
    /// Not a valid message; the error to send.
    Wrong(Value),
}

/// Parses the messages of a line: one, or those of a batch, which exist in protocol 2025-03-26. Responses are ignored,
/// since no requests are sent to clients.
pub(super) fn heard(line: &[u8]) -> Vec<InputMessage> {
    if line.trim_ascii().is_empty() {
        return Vec::new();
    }
    match serde_json::from_slice(line) {
        Ok(Value::Array(batch)) if batch.is_empty() || batch.len() > MAX_BATCH_COUNT => {
            let what = format!("a batch has 1 to {MAX_BATCH_COUNT} messages");
            vec![InputMessage::Wrong(error(&Value::Null, INVALID_REQUEST, &what))]
        }
        Ok(Value::Array(batch)) => batch.into_iter().filter_map(message).collect(),
        Ok(value) => message(value).into_iter().collect(),
        Err(cause) => {
            vec![InputMessage::Wrong(error(&Value::Null, PARSE_ERROR, &format!("not JSON: {cause}")))]
        }
    }
}

fn message(mut value: Value) -> Option<InputMessage> {
    let id = value.get("id").cloned();
    let wrong = |what: &str| {
        let id = id.clone().filter(|id| id.is_string() || id.is_i64() || id.is_u64()).unwrap_or(Value::Null);
        Some(InputMessage::Wrong(error(&id, INVALID_REQUEST, what)))
    };
    let is_answer = value.get("result").is_some() || value.get("error").is_some();
    if value.is_object() && is_answer && value.get("method").is_none() {
        return None;
    }
    if value["jsonrpc"] != "2.0" {
        return wrong("not a message of JSON-RPC 2.0");
    }
    let Some(method) = value["method"].as_str().map(str::to_owned) else {
        return wrong("`method` is missing");
    };
    let params = value["params"].take();
    match id {
        None => Some(InputMessage::Notification { method, params }),
        Some(id) if id.is_string() || id.is_i64() || id.is_u64() => {
            Some(InputMessage::Request { id, method, params })
        }
        Some(_) => wrong("`id` must be a text or a whole number"),
    }
}

/// Returns a response with a result.
pub(super) fn answer(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// Returns an error response.
pub(super) fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}
