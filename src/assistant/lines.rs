//! Lines of JSON-RPC 2.0 as MCP has them: what comes in, bounded, and the forms of what goes out.
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read};

/// Longest line that is taken. A proposal is the longest thing that is said here.
pub(super) const LONGEST_LINE: usize = 1 << 20;
/// Messages of one line (a batch) that are looked at.
const LARGEST_BATCH: usize = 32;

/// Codes of errors (JSON-RPC 2.0, section 5.1).
pub(super) const PARSE_ERROR: i64 = -32_700;
pub(super) const INVALID_REQUEST: i64 = -32_600;
pub(super) const NO_SUCH_METHOD: i64 = -32_601;
pub(super) const INVALID_PARAMS: i64 = -32_602;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// Reads line by line, and holds no more than one.
pub(super) struct InputLines<R> {
    from: BufReader<R>,
}

impl<R: Read> InputLines<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from: BufReader::new(from) }
    }

    /// The next line without its end. What follows the last line end counts as a line.
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

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum HeardMessage {
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    /// Nobody waits for an answer.
    Notification {
        method: String,
        params: Value,
    },
    /// An error to send; what was heard is no message.
    Wrong(Value),
}

/// All messages of a line: one, or those of a batch, which the protocol of 2025-03-26 has. Answers, to questions that are never
/// asked, are passed over.
pub(super) fn heard(line: &[u8]) -> Vec<HeardMessage> {
    if line.trim_ascii().is_empty() {
        return Vec::new();
    }
    match serde_json::from_slice(line) {
        Ok(Value::Array(batch)) if batch.is_empty() || batch.len() > LARGEST_BATCH => {
            let what = format!("a batch has 1 to {LARGEST_BATCH} messages");
            vec![HeardMessage::Wrong(error(&Value::Null, INVALID_REQUEST, &what))]
        }
        Ok(Value::Array(batch)) => batch.into_iter().filter_map(message).collect(),
        Ok(value) => message(value).into_iter().collect(),
        Err(cause) => {
            vec![HeardMessage::Wrong(error(&Value::Null, PARSE_ERROR, &format!("not JSON: {cause}")))]
        }
    }
}

fn message(mut value: Value) -> Option<HeardMessage> {
    let id = value.get("id").cloned();
    let wrong = |what: &str| {
        let id = id.clone().filter(|id| id.is_string() || id.is_i64() || id.is_u64()).unwrap_or(Value::Null);
        Some(HeardMessage::Wrong(error(&id, INVALID_REQUEST, what)))
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
        None => Some(HeardMessage::Notification { method, params }),
        Some(id) if id.is_string() || id.is_i64() || id.is_u64() => {
            Some(HeardMessage::Request { id, method, params })
        }
        Some(_) => wrong("`id` must be a text or a whole number"),
    }
}

/// An answer.
pub(super) fn answer(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// An answer that says no.
pub(super) fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}
