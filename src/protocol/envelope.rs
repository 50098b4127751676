//! The envelope of JSON-RPC 2.0 (jsonrpc.org/specification): calls, responses, notifications,
//! errors. Batches are not used.
use crate::domain::{described, doc_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A parsed call. Notifications from clients (no id) are calls without a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Returned in the response: a number, a string or null; absent for a notification.
    pub id: Option<Value>,
    pub method: String,
    pub params: Value,
}

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $about:literal])* $code:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $about])* $code,)* }

        impl $name {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// Returns the number on the wire.
            pub fn number(self) -> i32 {
                match self { $(Self::$code => $number,)* }
            }

            /// Returns the code of a number; `None` for a number of a newer daemon.
            pub fn of(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$code),)* _ => None }
            }

            /// Returns the description for the protocol reference.
            pub(super) fn about(self) -> String {
                match self { $(Self::$code => doc_text(&[$($about),*]),)* }
            }
        }
    };
}

codes! {
    /// The numbers of errors (section 10).
    Code {
        /// The line is not JSON.
        Parse = -32700,
        /// It is JSON, but not a call; or the line is longer than the bound, and then the connection is closed.
        InvalidRequest = -32600,
        /// No such method: the daemon may be an older one.
        NoSuchMethod = -32601,
        /// The method takes other parameters, or other values of them.
        InvalidParams = -32602,
        /// A fault of the daemon, or of the disk under its database.
        Internal = -32603,
        /// No such agent. The hint has the nearest name.
        NoSuchAgent = 1,
        /// No such run, or several whose ids end in the same way.
        NoSuchRun = 2,
        /// The state does not allow it: a run that has ended is not cancelled.
        WrongState = 3,
        /// The configuration is invalid; the one before it stays in force. `data.errors` has every mistake.
        InvalidConfig = 4,
        /// A budget or a policy refuses it, nothing can be recorded now, or there are too many clients.
        Refused = 5,
        /// The daemon is shutting down.
        ShuttingDown = 6,
        /// No common version of the protocol. The hint says which side is older.
        Protocol = 7,
        /// No node of the fleet leads, or the leader has not accepted the call in time. Nothing has happened, and nothing will.
        NoLeader = 8,
    }
}

impl Code {
    /// Returns whether the error is transient: the same call may succeed later, and its
    /// `request_id` is not used up.
    pub fn passes(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Refused | Self::Internal | Self::NoLeader)
    }
}

described! {
    /// An error as a client sees it. Its shape is frozen.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
    #[error("{message}")]
    pub struct RpcError {
        /// Its number, to branch on.
        pub code: i32,
        /// What went wrong, for people. Never parse it.
        pub message: String,
        /// What else there is to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub data: Option<Box<ErrorData>>,
    }

    /// What stands beside an error's message.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ErrorData {
        /// What to do about it, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub hint: Option<String>,
        /// Every error of a configuration, with the place and the line, for people.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub errors: Vec<String>,
        /// The same for programs: objects with `severity`, `line`, `column`, `message` and `hint`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub diagnostics: Vec<Value>,
        /// True: what was asked for is decided, and will be done as soon as it can be recorded. Asked for again, without
        /// the same `request_id`, it would be done twice.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub pending: bool,
    }
}

impl RpcError {
    /// Creates an error with a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code: code.number(), message: message.into(), data: None }
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.get_or_insert_default().hint = Some(hint.into());
        self
    }

    /// Adds a list of errors.
    pub fn errors(mut self, errors: Vec<String>) -> Self {
        self.data.get_or_insert_default().errors = errors;
        self
    }

    /// Adds the errors as objects.
    pub fn diagnostics(mut self, diagnostics: Vec<Value>) -> Self {
        self.data.get_or_insert_default().diagnostics = diagnostics;
        self
    }

    /// Marks the call as decided but not yet recorded.
    pub fn pending(mut self) -> Self {
        self.data.get_or_insert_default().pending = true;
        self
    }

    /// Is it decided, and not yet recorded?
    pub fn is_pending(&self) -> bool {
        self.data.as_ref().is_some_and(|data| data.pending)
    }

    /// Which branch to take; `None` for a number that this version does not know.
    pub fn kind(&self) -> Option<Code> {
        Code::of(self.code)
    }
}

/// A message from the daemon.
#[derive(Debug, Clone)]
pub enum Message {
    /// The answer to a call.
    Response(Response),
    /// An event or a note for a subscription.
    Notification(Notification),
}

/// The response to a call.
#[derive(Debug, Clone)]
pub struct Response {
    /// The id of the call.
    pub id: Value,
    /// The result; left unparsed, since its type depends on the call.
    pub result: Result<Box<RawValue>, RpcError>,
    /// A remark on the response, for people, for example that it may be out of date.
    pub note: Option<String>,
}

/// A message that is not a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub method: String,
    pub params: Value,
}

/// Parses a call. An error includes the id to respond to (null if there is none).
pub fn decode_call(line: &[u8]) -> Result<Call, (Value, RpcError)> {
    let invalid = |id: Value, what: &str| {
        (id, RpcError::new(Code::InvalidRequest, format!("not a JSON-RPC 2.0 call: {what}")))
    };
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| (Value::Null, RpcError::new(Code::Parse, format!("not JSON: {error}"))))?;
    let Value::Object(mut object) = value else {
        return Err(invalid(Value::Null, "an object is needed (batches are not supported)"));
    };
    let id = object.remove("id");
    let back = match &id {
        Some(id @ (Value::String(_) | Value::Number(_))) => id.clone(),
        _ => Value::Null,
    };
    if !matches!(id, None | Some(Value::Null | Value::String(_) | Value::Number(_))) {
        return Err(invalid(back, "`id` must be a number, a string or null"));
    }
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid(back, "`jsonrpc` must be \"2.0\""));
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Err(invalid(back, "`method` must be a string"));
    };
    let params = object.remove("params").unwrap_or(Value::Null);
    if !matches!(params, Value::Object(_) | Value::Null) {
        let error = RpcError::new(Code::InvalidParams, "`params` must be an object");
        return Err((back, error));
    }
    Ok(Call { id, method, params })
}

/// Returns the line (with its terminator) that answers call `id`.
pub fn response_line(id: &Value, result: Result<impl Serialize, RpcError>) -> String {
    noted_response_line(id, result, None)
}

/// Returns the same line as [`response_line`], with an optional remark on the answer.
pub fn noted_response_line(
    id: &Value,
    result: Result<impl Serialize, RpcError>,
    note: Option<&str>,
) -> String {
    #[derive(Serialize)]
    struct Wire<'a, T> {
        jsonrpc: &'static str,
        id: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<T>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<RpcError>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
    }
    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    line(&Wire { jsonrpc: "2.0", id, result, error, note })
}

/// Returns the line (with its terminator) of a call; the inverse of [`decode_call`].
pub(super) fn call_line(id: u64, method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Wire<'a, T> {
        jsonrpc: &'static str,
        id: u64,
        method: &'a str,
        params: &'a T,
    }
    line(&Wire { jsonrpc: "2.0", id, method, params })
}

/// Returns the line (with its terminator) of a notification.
pub fn notification_line(method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Wire<'a, T> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a T,
    }
    line(&Wire { jsonrpc: "2.0", method, params })
}

fn line(message: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string(message).expect("wire types have string keys and no failing serializers");
    text.push('\n');
    text
}

impl Message {
    /// Parses a line from the daemon.
    pub fn decode(line: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Wire {
            id: Option<Value>,
            method: Option<String>,
            #[serde(default)]
            params: Value,
            result: Option<Box<RawValue>>,
            error: Option<RpcError>,
            note: Option<String>,
        }
        let wire: Wire = serde_json::from_slice(line)?;
        Ok(match wire.method {
            Some(method) => Self::Notification(Notification { method, params: wire.params }),
            None => Self::Response(Response {
                id: wire.id.unwrap_or(Value::Null),
                note: wire.note,
                result: match wire.error {
                    Some(error) => Err(error),
                    None => Ok(wire.result.unwrap_or_else(|| RawValue::NULL.to_owned())),
                },
            }),
        })
    }
}
