//! Corrects answers of servers that violate the protocol before `rmcp` parses them. It accepts or rejects a result as a whole;
//! here, only an invalid tool or part is lost, and is reported.
use super::text::shown;
use super::{answer, extension};
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ContentBlock, ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage,
    Tool,
};
use serde_json::{Map, Value, json};

/// Key in `_meta` of a tool that can't be used, with the reason.
pub(super) const UNUSABLE: &str = "bgagent.unusable";

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) id: i64,
    what: What,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Begin,
    Tools,
    Call,
    Events,
    Other,
}

impl Asked {
    /// Returns the request in a message; `None`: it is not a request.
    pub(super) fn by(message: &ClientJsonRpcMessage) -> Option<Self> {
        let ClientJsonRpcMessage::Request(request) = message else { return None };
        let RequestId::Number(id) = request.id else { return None };
        let what = match &request.request {
            ClientRequest::InitializeRequest(_) => What::Begin,
            ClientRequest::ListToolsRequest(_) => What::Tools,
            ClientRequest::CallToolRequest(_) => What::Call,
            ClientRequest::CustomRequest(custom) if custom.method.starts_with(extension::METHODS) => {
                What::Events
            }
            _ => What::Other,
        };
        Some(Self { id, what })
    }

    /// Returns whether it calls a tool.
    pub(super) fn is_call(self) -> bool {
        self.what == What::Call
    }

    /// Returns the answer in the form of the protocol, whatever its `id` was.
    pub(super) fn answer(self, said: Map<String, Value>) -> ServerJsonRpcMessage {
        let mut said = said;
        let result = match (said.remove("error").filter(|error| !error.is_null()), said.remove("result")) {
            (Some(error), _) => return self.error(error_of(&error)),
            (None, Some(result)) => result,
            (None, None) => return self.error(unfit("its answer has neither `result` nor `error`")),
        };
        let result = match self.what {
            What::Begin => begun(result),
            What::Tools => tools(result),
            What::Call => called(result),
            // as a string: otherwise it would be parsed as another type of answer
            What::Events => Value::String(result.to_string()),
            What::Other => result,
        };
        let whole = json!({"jsonrpc": "2.0", "id": self.id, "result": result});
        serde_json::from_value(whole)
            .unwrap_or_else(|_| self.error(unfit("its answer does not fit the protocol")))
    }

    /// Returns this error as the answer.
    pub(super) fn error(self, error: ErrorData) -> ServerJsonRpcMessage {
        ServerJsonRpcMessage::error(error, Some(RequestId::Number(self.id)))
    }
}

fn unfit(text: &'static str) -> ErrorData {
    ErrorData::new(ErrorCode::INTERNAL_ERROR, text, None)
}

/// Parses an error in any of the forms that servers use.
pub(super) fn error_of(error: &Value) -> ErrorData {
    let code = match &error["code"] {
        Value::String(text) => text.parse().ok(),
        code => code.as_i64().and_then(|code| i32::try_from(code).ok()),
    };
    let message =
        [&error["message"], error, &error["data"], &error["error"]].into_iter().find_map(Value::as_str);
    let mut message = message.map(str::to_owned).unwrap_or_default();
    if let (None, Value::String(word)) = (code, &error["code"]) {
        message = format!("{word}: {message}");
    }
    if message.trim().is_empty() && code.is_none() {
        message = error.to_string();
    }
    ErrorData::new(ErrorCode(code.unwrap_or(ErrorCode::INTERNAL_ERROR.0)), message, None)
}

fn begun(result: Value) -> Value {
    let Value::Object(mut result) = result else { return result };
    let name = |about: &Value, key: &str| about[key].as_str().unwrap_or("?").to_owned();
    let about = result.get("serverInfo").cloned().unwrap_or_default();
    let about = json!({"name": name(&about, "name"), "version": name(&about, "version")});
    result.insert("serverInfo".into(), about);
    // It is asked for its tools whatever capabilities it declares.
    let said = result.get("capabilities").cloned().unwrap_or_default();
    let mut capabilities = json!({"tools": {}});
    // drafts of the extension declared it beside the other capabilities
    if !said["extensions"][extension::EXTENSION].is_null() || !said["events"].is_null() {
        capabilities["extensions"] = json!({extension::EXTENSION: {}});
    }
    result.insert("capabilities".into(), capabilities);
    result.retain(|key, value| match key.as_str() {
        "protocolVersion" => value.is_string(),
        "instructions" => value.is_string(),
        "_meta" => false,
        _ => true,
    });
    Value::Object(result)
}

fn tools(result: Value) -> Value {
    let (listed, cursor) = match result {
        Value::Object(mut result) => (result.remove("tools"), result.remove("nextCursor")),
        list @ Value::Array(_) => (Some(list), None),
        other => return other,
    };
    let listed = match listed {
        Some(Value::Array(listed)) => listed,
        Some(Value::Object(named)) => named.into_iter().map(|(name, tool)| with_name(name, tool)).collect(),
        _ => Vec::new(),
    };
    let cursor = match cursor {
        Some(Value::String(cursor)) => Some(cursor),
        Some(Value::Number(cursor)) => Some(cursor.to_string()),
        _ => None,
    };
    let mut result = json!({"tools": listed.into_iter().map(tool).collect::<Vec<_>>()});
    if let Some(cursor) = cursor {
        result["nextCursor"] = cursor.into();
    }
    result
}

fn with_name(name: String, mut tool: Value) -> Value {
    if let Some(tool) = tool.as_object_mut() {
        tool.entry("name").or_insert(name.into());
    }
    tool
}

/// Returns a tool with its valid parts; one that can't be used contains the reason.
fn tool(said: Value) -> Value {
    if serde_json::from_value::<Tool>(said.clone()).is_ok() {
        let mut said = said;
        // reserved for our own use
        if let Some(meta) = said.get_mut("_meta").and_then(Value::as_object_mut) {
            meta.remove(UNUSABLE);
        }
        return said;
    }
    let name = said["name"].as_str().unwrap_or("unnamed").to_owned();
    let mut mended = json!({"name": name, "inputSchema": {"type": "object"}});
    let mut why = said["name"].as_str().is_none().then(|| "it has no name".to_owned());
    if let Some(description) = said["description"].as_str() {
        mended["description"] = description.into();
    }
    match said.get("inputSchema").or_else(|| said.get("input_schema")) {
        Some(schema @ Value::Object(_)) => mended["inputSchema"] = schema.clone(),
        None | Some(Value::Null) => {}
        Some(other) => {
            why.get_or_insert_with(|| {
                format!("its `inputSchema` is not an object but {}", shown(&other.to_string()))
            });
        }
    }
    if let Some(hints) = said["annotations"].as_object() {
        // drops hints that are not booleans
        mended["annotations"] = hints.iter().filter(|(_, hint)| hint.is_boolean()).map(clone).collect();
    }
    if let Some(why) = why {
        mended["_meta"] = json!({UNUSABLE: why});
    }
    mended
}

fn clone((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// Returns a result with valid parts. One that declares another type of result is left as it is.
fn called(result: Value) -> Value {
    let Value::Object(mut result) = result else {
        let text = match result {
            Value::Null => return json!({"content": []}),
            Value::String(text) => text,
            other => other.to_string(),
        };
        return json!({"content": [text_block(text)]});
    };
    let kind = result.get("resultType").and_then(Value::as_str).unwrap_or("complete");
    if kind != "complete" || result.contains_key("task") {
        return Value::Object(result);
    }
    let content = result.remove("content");
    let is_error = match result.remove("isError") {
        Some(Value::Bool(is)) => is,
        Some(Value::String(word)) => word.eq_ignore_ascii_case("true"),
        _ => false,
    };
    // `toolResult` is used by the oldest servers
    let structured = result.remove("structuredContent").or_else(|| result.remove("toolResult"));
    let parts = match content {
        Some(Value::Array(parts)) => parts,
        None | Some(Value::Null) if structured.is_some() => Vec::new(),
        None | Some(Value::Null) => {
            result.retain(|key, _| !matches!(key.as_str(), "_meta" | "resultType"));
            if result.is_empty() { Vec::new() } else { vec![Value::Object(result).to_string().into()] }
        }
        Some(other) => vec![other],
    };
    let mut whole = json!({"content": parts.into_iter().map(part).collect::<Vec<_>>(), "isError": is_error});
    if let Some(structured) = structured {
        whole["structuredContent"] = structured;
    }
    whole
}

/// Returns a part of a known type, or a text instead.
fn part(said: Value) -> Value {
    let known = |part: &Value| serde_json::from_value::<ContentBlock>(part.clone()).is_ok();
    if known(&said) {
        return said;
    }
    let mut said = match said {
        Value::String(text) => return text_block(text),
        said => said,
    };
    if let Some(fields) = said.as_object_mut() {
        fields.retain(|key, value| {
            !matches!(key.as_str(), "annotations" | "_meta" | "icons") && !value.is_null()
        });
        match fields.get("text").and_then(Value::as_str) {
            Some(text) if !fields.contains_key("type") => return text_block(text.to_owned()),
            _ => {}
        }
        if fields.get("type") == Some(&Value::from("resource_link")) {
            fields.entry("name").or_insert("".into());
        }
        if let Some(Value::Object(resource)) = fields.get_mut("resource") {
            resource.entry("uri").or_insert("".into());
            resource.retain(|key, value| {
                matches!(key.as_str(), "uri" | "mimeType" | "text" | "blob") && !value.is_null()
            });
        }
    }
    if known(&said) { said } else { text_block(answer::odd(&said)) }
}

fn text_block(text: String) -> Value {
    json!({"type": "text", "text": text})
}

#[cfg(test)]
mod tests {
    //! Tests of what is put right.
    use super::*;
    use rmcp::model::ServerResult;

    fn answered(what: What, said: Value) -> Result<Value, (i32, String)> {
        let Value::Object(said) = said else { panic!("an object") };
        match (Asked { id: 7, what }).answer(said) {
            ServerJsonRpcMessage::Response(response) => {
                assert_eq!(response.id, RequestId::Number(7));
                match response.result {
                    ServerResult::CallToolResult(result) => Ok(serde_json::to_value(result).unwrap()),
                    ServerResult::ListToolsResult(result) => Ok(serde_json::to_value(result).unwrap()),
                    other => Ok(serde_json::to_value(other).unwrap()),
                }
            }
            ServerJsonRpcMessage::Error(error) => Err((error.error.code.0, error.error.message.into_owned())),
            other => panic!("{other:?}"),
        }
    }

    fn parts(result: Value) -> Vec<String> {
        let given = answered(What::Call, json!({"result": result})).expect("it is an answer");
        let parts = given["content"].as_array().expect("a list").iter();
        parts
            .map(|part| part["text"].as_str().map_or_else(|| part["type"].to_string(), str::to_owned))
            .collect()
    }

    #[test]
    fn an_odd_part_loses_only_itself() {
        let tail = json!({"type": "text", "text": "tail"});
        for (part, stands) in [
            (
                json!({"type": "video", "url": "x"}),
                "[video, not known here: {\"type\":\"video\",\"url\":\"x\"}]",
            ),
            (json!({"type": "image", "data": "AAAA"}), "[image, unknown type, 3 bytes, left out]"),
            (json!({"type": "text", "text": "hi", "annotations": {"priority": "high"}, "_meta": 1}), "hi"),
            (json!({"text": "no type"}), "no type"),
            (json!("bare"), "bare"),
            (json!({"type": "resource", "resource": {"text": "inside"}}), "\"resource\""),
            (json!({"type": "resource_link", "uri": "file:///a"}), "\"resource_link\""),
            (json!(null), "[a part, not known here: null]"),
        ] {
            assert_eq!(parts(json!({"content": [part, tail]})), [stands, "tail"], "{part}");
        }
        assert_eq!(parts(json!({"content": "plain"})), ["plain"]);
        assert_eq!(parts(json!({"content": {"type": "text", "text": "alone"}})), ["alone"]);
        assert_eq!(parts(json!({"content": null})), [""; 0]);
        assert_eq!(parts(json!({})), [""; 0]);
        assert_eq!(parts(json!(null)), [""; 0]);
        assert_eq!(parts(json!("text")), ["text"]);
        assert_eq!(parts(json!([1, 2])), ["[1,2]"]);
        assert_eq!(parts(json!({"rows": 3})), ["{\"rows\":3}"]);
        let given =
            answered(What::Call, json!({"result": {"toolResult": {"a": 1}, "isError": "true"}})).unwrap();
        assert_eq!(given["structuredContent"], json!({"a": 1}));
        assert_eq!(given["isError"], true);
    }

    #[test]
    fn an_odd_tool_loses_only_itself() {
        let good =
            json!({"name": "good", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
        let list = |tool: Value| {
            let given = answered(What::Tools, json!({"result": {"tools": [tool, good]}})).expect("a list");
            assert_eq!(given["tools"][1], good);
            given["tools"][0].clone()
        };
        let plain = json!({"name": "t", "inputSchema": {"type": "object"}});
        assert_eq!(list(json!({"name": "t", "inputSchema": null})), plain);
        assert_eq!(list(json!({"name": "t"})), plain);
        assert_eq!(
            list(json!({"name": "t", "inputSchema": {"type": "object"}, "outputSchema": "x", "icons": 1})),
            plain
        );
        let hints = json!({"name": "t", "annotations": {"readOnlyHint": "true", "idempotentHint": true}});
        assert_eq!(list(hints)["annotations"], json!({"idempotentHint": true}));
        assert_eq!(
            list(json!({"name": "t", "inputSchema": "none"}))["_meta"][UNUSABLE],
            "its `inputSchema` is not an object but \"none\""
        );
        assert_eq!(list(json!({"description": "x"}))["_meta"][UNUSABLE], "it has no name");
        assert_eq!(list(json!(17))["_meta"][UNUSABLE], "it has no name");
        let said = json!({"name": "t", "inputSchema": {}, "_meta": {UNUSABLE: "x"}});
        assert_eq!(list(said)["_meta"], json!({}), "only we say that");
        let paged = answered(What::Tools, json!({"result": {"tools": [], "nextCursor": 3}})).unwrap();
        assert_eq!(paged["nextCursor"], "3");
    }

    #[test]
    fn errors_of_all_forms_are_answers() {
        for (error, code, says) in [
            (json!({"code": -32603, "message": "locked"}), -32603, "locked"),
            (json!({"code": "E_FAIL", "message": "no"}), -32603, "E_FAIL: no"),
            (json!({"code": "-5", "message": "no"}), -5, "no"),
            (json!({"code": -1}), -1, ""),
            (json!("plain"), -32603, "plain"),
            (json!({"why": 1}), -32603, "{\"why\":1}"),
        ] {
            assert_eq!(answered(What::Call, json!({"error": error})), Err((code, says.into())), "{error}");
        }
        let says = "its answer has neither `result` nor `error`";
        assert_eq!(answered(What::Call, json!({"id": 7})), Err((-32603, says.into())));
    }

    #[test]
    fn a_beginning_that_says_little_is_one() {
        let given = answered(
            What::Begin,
            json!({"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": null}}}),
        );
        assert_eq!(given.unwrap()["serverInfo"], json!({"name": "?", "version": "?"}));
    }
}
