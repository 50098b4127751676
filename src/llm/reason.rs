//! Why a provider gives no answer, according to its body: the messages, wherever they are, and the category of the error.
//! Consequences are left to `trouble`.
use crate::domain::{JsonMistakes, read_json};
use serde_json::Value;

/// The category of an error, if the body identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The account has no credit.
    Credit,
    /// The request exceeds the context length.
    Context,
    /// There is no such model.
    Missing,
    /// A filter blocked the request or its answer.
    Filter,
    /// The key is not accepted.
    Key,
    Other,
}

/// The error described by a body.
#[derive(Debug)]
pub(super) struct Reason {
    /// The provider's messages, as received.
    pub(super) text: String,
    pub(super) cause: Cause,
    /// A status in the body that differs from the HTTP status.
    pub(super) status: Option<u16>,
    pub(super) json: Value,
}

/// Keys that may contain messages, the more important ones first.
const KEYS: [&str; 22] = [
    "error",
    "errors",
    "message",
    "msg",
    "detail",
    "error_description",
    "error_message",
    "error_msg",
    "status_msg",
    "errorMessage",
    "Message",
    "title",
    "fault",
    "faultstring",
    "base_resp",
    "metadata",
    "raw",
    "reasons",
    "inner_error",
    "innererror",
    "cause",
    "failure_reason",
];

/// Parts of a message that are shown.
const MAX_PARTS: usize = 4;

impl Reason {
    /// Reads an answer with an error status.
    pub(super) fn of(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        match read_json(body, JsonMistakes::Encoding) {
            Ok(json) => Self::in_json(json),
            Err(_) => Self::new(plain(&text), &[], Value::Null),
        }
    }

    /// Reads an answer with a success status that contains an error; some gateways return those.
    pub(super) fn within(json: &Value) -> Option<Self> {
        let is_there =
            |error: &Value| !matches!(error, Value::Null | Value::Bool(_)) && !texts(error).is_empty();
        let choice = &json["choices"][0]["error"];
        let has_answer = ["choices", "content", "candidates", "message", "output", "response"]
            .iter()
            .any(|key| json[*key].is_array() || json[*key].is_object());
        let failed = json["base_resp"]["status_code"].as_i64().is_some_and(|code| code != 0);
        let says_so = ["errors", "detail", "message", "msg"].iter().any(|key| is_there(&json[*key]));
        if is_there(choice) {
            return Some(Self::in_json(serde_json::json!({ "error": choice })));
        }
        (is_there(&json["error"]) || failed || (!has_answer && says_so)).then(|| Self::in_json(json.clone()))
    }

    fn in_json(json: Value) -> Self {
        let json = match json {
            Value::Array(mut list) if list.len() == 1 => list.remove(0),
            json => json,
        };
        let mut codes = Vec::new();
        collect_codes(&json, 0, &mut codes);
        Self::new(texts(&json).join(": "), &codes, json)
    }

    fn new(text: String, codes: &[String], json: Value) -> Self {
        let status = status(codes, &text);
        Self { cause: cause(codes, &text, &json), text, status, json }
    }
}

/// Returns the text of a body that is not JSON, or the title of an HTML page.
fn plain(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let Some(at) = lower.find("<title>") else {
        let is_page = lower.trim_start().starts_with('<');
        return if is_page { String::new() } else { text.trim().to_owned() };
    };
    let title = &text[at + "<title>".len()..];
    title.split('<').next().unwrap_or_default().trim().to_owned()
}

/// Returns all messages, without duplicates.
fn texts(json: &Value) -> Vec<String> {
    let mut all = Vec::new();
    collect_texts(json, 0, &mut all);
    let mut kept: Vec<String> = Vec::new();
    for text in all {
        if !kept.iter().any(|known| known.contains(&text)) {
            kept.push(text);
        }
    }
    kept.truncate(MAX_PARTS);
    kept
}

fn collect_texts(value: &Value, depth: u8, all: &mut Vec<String>) {
    const MAX_DEPTH: u8 = 8;
    if depth > MAX_DEPTH || all.len() > 2 * MAX_PARTS {
        return;
    }
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => collect_texts(&inner, depth + 1, all),
            _ => all.extend(Some(plain(text)).filter(|text| !text.is_empty())),
        },
        Value::Array(list) => list.iter().take(MAX_PARTS).for_each(|one| collect_texts(one, depth + 1, all)),
        Value::Object(map) => {
            for key in KEYS {
                if let Some(inner) = map.get(key) {
                    collect_texts(inner, depth + 1, all);
                }
            }
            // keyed by field name
            let is_table = depth > 0 && !KEYS.iter().any(|key| map.contains_key(*key));
            if is_table && map.values().all(|value| value.is_array()) {
                map.values().for_each(|inner| collect_texts(inner, depth + 1, all));
            }
        }
        _ => {}
    }
}

/// Collects codes, types and status numbers, in lower case.
fn collect_codes(value: &Value, depth: u8, all: &mut Vec<String>) {
    const MAX_DEPTH: u8 = 8;
    const WHERE: [&str; 9] =
        ["code", "type", "status", "status_code", "http_status", "reason", "Code", "__type", "error_code"];
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::String(text) => {
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(text) {
                collect_codes(&inner, depth + 1, all);
            }
        }
        Value::Array(list) => list.iter().take(8).for_each(|one| collect_codes(one, depth + 1, all)),
        Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    Value::String(text) if WHERE.contains(&key.as_str()) => all.push(text.to_lowercase()),
                    Value::Number(number) if WHERE.contains(&key.as_str()) => all.push(number.to_string()),
                    Value::String(text) if key == "error" && !text.contains(' ') => {
                        all.push(text.to_lowercase())
                    }
                    _ => {}
                }
                collect_codes(inner, depth + 1, all);
            }
        }
        _ => {}
    }
}

fn cause(codes: &[String], text: &str, json: &Value) -> Cause {
    let text = text.to_lowercase();
    let has = |known: &[&str]| codes.iter().any(|code| known.contains(&code.as_str()));
    let says = |known: &[&str]| known.iter().any(|words| text.contains(words));
    let metadata = &json["error"]["metadata"];
    let flagged = metadata["reasons"].is_array() || metadata["flagged_input"].is_string();
    if flagged || has(&FILTER_CODES) || says(&FILTER_WORDS) {
        Cause::Filter
    } else if has(&CREDIT_CODES) || says(&CREDIT_WORDS) {
        Cause::Credit
    } else if has(&CONTEXT_CODES) || says(&CONTEXT_WORDS) {
        Cause::Context
    } else if has(&KEY_CODES) || says(&KEY_WORDS) {
        Cause::Key
    } else if has(&MISSING_CODES) || (text.contains("model") && says(&MISSING_WORDS)) {
        Cause::Missing
    } else {
        Cause::Other
    }
}

const FILTER_CODES: [&str; 9] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "moderation_blocked",
    "data_inspection_failed",
    "datainspectionfailed",
    "prohibited_content",
    "sensitive_content",
    "input_moderation",
];
const FILTER_WORDS: [&str; 11] = [
    "content management policy",
    "content filter",
    "content policy",
    "was flagged",
    "flagged by",
    "requires moderation",
    "safety system",
    "inappropriate content",
    "prohibited content",
    "violates our usage",
    "violates the usage",
];
const CREDIT_CODES: [&str; 10] = [
    "insufficient_quota",
    "insufficient_credits",
    "insufficient_balance",
    "insufficient_funds",
    "credit_balance_too_low",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "payment_required",
    "402",
];
const CREDIT_WORDS: [&str; 13] = [
    "credit balance",
    "insufficient credit",
    "insufficient balance",
    "insufficient account balance",
    "insufficient funds",
    "insufficient quota",
    "not enough credit",
    "out of credit",
    "requires more credits",
    "no credits",
    "billing hard limit",
    "payment required",
    "balance is not enough",
];
const CONTEXT_CODES: [&str; 7] = [
    "context_length_exceeded",
    "context_window_exceeded",
    "model_context_window_exceeded",
    "exceed_context_size_error",
    "string_above_max_length",
    "request_too_large",
    "413",
];
const CONTEXT_WORDS: [&str; 14] = [
    "maximum context",
    "context length",
    "context window",
    "context size",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "too many tokens",
    "input token count",
    "exceeds the maximum number of tokens",
    "reduce the length",
    "max_model_len",
    "longer than the maximum",
    "exceeds maximum input length",
];
const KEY_CODES: [&str; 6] = [
    "invalid_api_key",
    "api_key_invalid",
    "authentication_error",
    "unauthenticated",
    "unauthorized",
    "invalid_authentication_error",
];
const KEY_WORDS: [&str; 4] =
    ["api key not valid", "incorrect api key", "invalid api key", "api key not found"];
const MISSING_CODES: [&str; 6] = [
    "model_not_found",
    "model_not_exist",
    "model_not_exists",
    "modelnotfound",
    "deploymentnotfound",
    "invalid_model",
];
const MISSING_WORDS: [&str; 6] =
    ["does not exist", "not found", "not exist", "unknown model", "not a valid model", "no such model"];

/// Returns the status that codes or messages correspond to.
fn status(codes: &[String], text: &str) -> Option<u16> {
    let mut numbers = codes.iter().filter_map(|code| code.parse().ok());
    if let Some(number) = numbers.find(|number| (400..600).contains(number)) {
        return Some(number);
    }
    let known = |code: &String| STATUS.iter().find(|(word, _)| code == word).map(|(_, status)| *status);
    if let Some(status) = codes.iter().find_map(known) {
        return Some(status);
    }
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["rate limit", "rate-limit", "too many requests"]) {
        Some(429)
    } else if says(&["overloaded", "at capacity", "temporarily unavailable"]) {
        Some(503)
    } else if says(&["timed out", "timeout"]) {
        Some(504)
    } else {
        None
    }
}

/// Providers' names for HTTP statuses.
const STATUS: [(&str, u16); 23] = [
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("rate_limited", 429),
    ("too_many_requests", 429),
    ("resource_exhausted", 429),
    ("insufficient_quota", 402),
    ("overloaded_error", 529),
    ("overloaded", 503),
    ("unavailable", 503),
    ("service_unavailable", 503),
    ("api_error", 500),
    ("server_error", 500),
    ("internal", 500),
    ("internal_server_error", 500),
    ("deadline_exceeded", 504),
    ("timeout_error", 504),
    ("invalid_request_error", 400),
    ("invalid_argument", 400),
    ("authentication_error", 401),
    ("unauthenticated", 401),
    ("permission_error", 403),
    ("permission_denied", 403),
    ("not_found_error", 404),
];

#[cfg(test)]
mod tests {
    //! Bodies of errors, as providers send them.
    use super::*;
    use serde_json::json;

    #[test]
    fn the_words_are_found_wherever_they_stand() {
        for (body, text) in [
            (json!({"error": {"message": "no"}}), "no"),
            (json!([{"error": {"message": "no"}}]), "no"),
            (json!({"error": "no"}), "no"),
            (json!({"error": {"message": {"detail": "no"}}}), "no"),
            (json!({"message": "no"}), "no"),
            (json!({"detail": "no"}), "no"),
            (json!({"detail": [{"loc": ["body"], "msg": "no"}]}), "no"),
            (json!({"errors": [{"message": "no"}]}), "no"),
            (json!({"errors": ["no", "never"]}), "no: never"),
            (json!({"errors": {"model": ["no"]}}), "no"),
            (json!({"message": {"detail": [{"msg": "no"}]}}), "no"),
            (json!({"object": "error", "message": "no", "code": 400}), "no"),
            (json!({"base_resp": {"status_code": 1004, "status_msg": "no"}}), "no"),
            (json!({"fault": {"faultstring": "no"}}), "no"),
            (
                json!({"error": {"message": "Provider returned error", "metadata": {"raw": "{\"error\":{\"message\":\"no\"}}"}}}),
                "Provider returned error: no",
            ),
            (json!({"error": {"message": "Outer", "metadata": {"raw": "no\n"}}}), "Outer: no"),
            (json!({"error": {"message": "{\"error\": {\"message\": \"no\"}}"}}), "no"),
            (
                json!({"error": {"code": "x", "message": "no", "innererror": {"code": "y", "message": "no"}}}),
                "no",
            ),
        ] {
            assert_eq!(Reason::of(body.to_string().as_bytes()).text, text, "{body}");
        }
        assert_eq!(Reason::of(b"upstream connect error\n").text, "upstream connect error");
        assert_eq!(
            Reason::of(b"<html><head><title>502 Bad Gateway</title></head></html>").text,
            "502 Bad Gateway"
        );
        assert_eq!(Reason::of(b"<html><body>x</body></html>").text, "");
    }

    #[test]
    fn what_kind_of_reason_it_is() {
        for (error, cause) in [
            (
                json!({"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}),
                Cause::Credit,
            ),
            (
                json!({"code": "insufficient_quota", "message": "You exceeded your current quota"}),
                Cause::Credit,
            ),
            (json!({"code": 402, "message": "Insufficient credits"}), Cause::Credit),
            (json!({"message": "Insufficient Balance"}), Cause::Credit),
            (json!({"code": "content_filter", "message": "The prompt triggered it"}), Cause::Filter),
            (json!({"message": "Your input was flagged", "metadata": {"reasons": ["x"]}}), Cause::Filter),
            (
                json!({"code": "context_length_exceeded", "message": "This model's maximum context length is 8192 tokens."}),
                Cause::Context,
            ),
            (json!({"message": "prompt is too long: 210000 tokens > 200000 maximum"}), Cause::Context),
            (json!({"message": "the request exceeds the available context size"}), Cause::Context),
            (json!({"message": "model \"llama9\" not found, try pulling it first"}), Cause::Missing),
            (
                json!({"message": "The model `gpt-9` does not exist or you do not have access to it."}),
                Cause::Missing,
            ),
            (json!({"message": "bad", "details": [{"reason": "API_KEY_INVALID"}]}), Cause::Key),
            (json!({"message": "temperature must be below 2"}), Cause::Other),
            (
                json!({"message": "Rate limit reached for requests", "code": "rate_limit_exceeded"}),
                Cause::Other,
            ),
        ] {
            let body = json!({ "error": error }).to_string();
            assert_eq!(Reason::of(body.as_bytes()).cause, cause, "{body}");
        }
    }

    #[test]
    fn errors_in_the_clothes_of_a_success() {
        for (body, status) in [
            (json!({"error": {"message": "Rate limit exceeded", "code": 429}}), Some(429)),
            (json!({"error": {"message": "x", "code": "429"}}), Some(429)),
            (json!({"error": {"message": "x", "status": "RESOURCE_EXHAUSTED"}}), Some(429)),
            (
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
                Some(529),
            ),
            (json!({"error": "the service is overloaded"}), Some(503)),
            (
                json!({"choices": [{"error": {"message": "x", "code": 502}, "message": {"content": ""}}]}),
                Some(502),
            ),
            (json!({"object": "error", "message": "x", "code": 400}), Some(400)),
            (json!({"detail": "x"}), None),
            (json!({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}), None),
        ] {
            let reason = Reason::within(&body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(reason.status, status, "{body}");
        }
        for body in [
            json!({"choices": [{"message": {"content": "x"}}], "error": null}),
            json!({"choices": [{"message": {"content": "x"}}], "error": false}),
            json!({"choices": [{"message": {"content": "x"}}], "error": {}, "message": "ok"}),
            json!({"content": [{"type": "text", "text": "x"}], "type": "message"}),
            json!({"message": {"role": "assistant", "content": "x"}, "done": true}),
            json!({"choices": [{"message": {"content": "x"}}], "base_resp": {"status_code": 0, "status_msg": "success"}}),
            json!({}),
        ] {
            assert!(Reason::within(&body).is_none(), "{body}");
        }
    }
}
