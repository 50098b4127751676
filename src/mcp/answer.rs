//! The result of a call, as JSON that fits into a conversation: texts joined, including those of resources, structured content
//! without its textual copy, images and other data named but not inlined, all of it bounded.
use super::text::{cut, shown, visible};
use crate::domain::MAX_TOOL_RESULT_BYTES;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::{Map, Value};

/// Room for the text around a truncated text.
const SPARE_BYTES: usize = 1024;
/// Maximum characters that are shown of an unknown part.
const MAX_UNKNOWN_PART_CHARS: usize = 2000;

/// Returns the result, or the error that the server reports.
pub(super) fn of(result: CallToolResult) -> Result<Value, String> {
    let structured = result.structured_content.filter(|value| !value.is_null());
    let parts: Vec<String> = result.content.iter().map(block).filter(|text| !text.is_empty()).collect();
    if result.is_error == Some(true) {
        let said = structured
            .filter(|value| parts.is_empty() || !repeats(value, &parts))
            .map(|value| value.to_string());
        let text = parts.into_iter().map(|text| visible(&text)).chain(said).collect::<Vec<_>>().join("\n");
        return Err(if text.trim().is_empty() {
            "it failed and does not say why".into()
        } else {
            fit(text, 4096)
        });
    }
    let mut object = Map::new();
    let mut parts = parts;
    if let Some(structured) = structured {
        let size = structured.to_string().len();
        if size > MAX_TOOL_RESULT_BYTES - SPARE_BYTES {
            let note = format!("{} KiB, more than a result may have", size.div_ceil(1024));
            object.insert("structured_left_out".into(), note.into());
        } else {
            // Servers repeat structured content as text for clients that don't support it.
            if repeats(&structured, &[parts.join("\n")]) {
                parts.clear();
            }
            parts.retain(|part| !repeats(&structured, std::slice::from_ref(part)));
            object.insert("structured".into(), structured);
            if parts.is_empty() {
                return Ok(Value::Object(object));
            }
        }
    }
    let used = Value::Object(object.clone()).to_string().len();
    object.insert(
        "text".into(),
        fit(parts.join("\n"), MAX_TOOL_RESULT_BYTES.saturating_sub(used + SPARE_BYTES)).into(),
    );
    Ok(Value::Object(object))
}

/// Returns whether each of these texts repeats the structured content: as a whole, one of its values, or an item of a list in
/// it.
fn repeats(structured: &Value, texts: &[String]) -> bool {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let values: Vec<&Value> = structured.as_object().map(|map| map.values().collect()).unwrap_or_default();
    let within = |said: &Value| {
        said == structured
            || values.contains(&said)
            || items(structured).contains(said)
            || values.iter().any(|value| value.as_array().is_some_and(|items| items.contains(said)))
    };
    texts.iter().all(|text| {
        let parsed = serde_json::from_str::<Value>(text).is_ok_and(|said| within(&said));
        parsed || within(&Value::from(text.as_str())) || within(&Value::from(text.trim()))
    })
}

/// Truncates a text to a number of bytes as JSON, and marks the truncation.
fn fit(text: String, most: usize) -> String {
    let whole = text.len();
    let mut kept = text;
    loop {
        let size = Value::from(kept.as_str()).to_string().len();
        if size <= most || kept.is_empty() {
            break;
        }
        // Some characters take more space as JSON than others, so this may take a few rounds.
        let share = kept.len() as f64 * most as f64 / size as f64;
        let room = (share as usize).min(kept.len() - 1);
        kept.truncate((0..=room).rev().find(|at| kept.is_char_boundary(*at)).unwrap_or(0));
    }
    if kept.len() < whole {
        kept.push_str(&format!("\n[cut: {} KiB of {} KiB]", kept.len() / 1024, whole.div_ceil(1024)));
    }
    kept
}

fn block(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => described("image", &image.mime_type, image.data.len()),
        ContentBlock::Audio(audio) => described("audio", &audio.mime_type, audio.data.len()),
        ContentBlock::Resource(resource) => match &resource.resource {
            ResourceContents::TextResourceContents { uri, text, mime_type, .. } => {
                embedded(uri, mime_type.as_deref(), text)
            }
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                match mime_type.as_deref().filter(|kind| is_text(kind)).and_then(|_| text_of(blob)) {
                    Some(text) => embedded(uri, mime_type.as_deref(), &text),
                    None => {
                        let kind = mime_type.as_deref().unwrap_or("unknown type");
                        format!("[resource {}: {}]", shown(uri), described("data", kind, blob.len()))
                    }
                }
            }
            _ => "[resource, left out]".into(),
        },
        ContentBlock::ResourceLink(link) => {
            let size = link.size.map(|size| format!("{size} bytes"));
            let about = [
                Some(link.name.as_str()),
                link.title.as_deref().filter(|title| *title != link.name),
                link.description.as_deref(),
                link.mime_type.as_deref(),
                size.as_deref(),
            ];
            let about: Vec<String> =
                about.into_iter().flatten().filter(|text| !text.is_empty()).map(shown).collect();
            match about.is_empty() {
                true => format!("[link {}]", shown(&link.uri)),
                false => format!("[link {}: {}]", shown(&link.uri), about.join(", ")),
            }
        }
        _ => "[content of an unknown kind, left out]".into(),
    }
}

/// Returns a placeholder for an unknown part: its name, and as much of it as is readable.
pub(super) fn odd(part: &Value) -> String {
    let kind = part["type"].as_str().unwrap_or("a part");
    match (kind, part["data"].as_str()) {
        ("image" | "audio", Some(data)) => {
            described(kind, part["mimeType"].as_str().unwrap_or("unknown type"), data.len())
        }
        _ => format!(
            "[{}, not known here: {}]",
            shown(kind),
            cut(&visible(&part.to_string()), MAX_UNKNOWN_PART_CHARS)
        ),
    }
}

fn embedded(uri: &str, kind: Option<&str>, text: &str) -> String {
    let kind = kind.map(|kind| format!(", {}", shown(kind))).unwrap_or_default();
    format!("[resource {}{kind}]\n{text}", shown(uri))
}

fn is_text(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || ["json", "xml", "yaml", "toml", "javascript"].iter().any(|format| kind.ends_with(format))
}

fn text_of(base64: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(base64).ok()?).ok()
}

/// Describes omitted data; `base64` bytes encode three quarters of that.
fn described(what: &str, kind: &str, base64: usize) -> String {
    format!("[{what}, {}, {} bytes, left out]", shown(kind), base64 / 4 * 3)
}

#[cfg(test)]
mod tests {
    //! Tests of results.
    use super::*;
    use serde_json::json;

    fn result(value: Value) -> Result<Value, String> {
        of(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn results_are_text_and_structure() {
        let text = |text: &str| json!({"type": "text", "text": text});
        assert_eq!(result(json!({"content": [text("a"), text("b")]})), Ok(json!({"text": "a\nb"})));
        assert_eq!(result(json!({"content": []})), Ok(json!({"text": ""})));
        assert_eq!(
            result(json!({"content": [text("{\"a\": 1}")], "structuredContent": {"a": 1}})),
            Ok(json!({"structured": {"a": 1}}))
        );
        assert_eq!(
            result(json!({"content": [text("one")], "structuredContent": {"a": 1}})),
            Ok(json!({"structured": {"a": 1}, "text": "one"}))
        );
        let blocks = json!([
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            {"type": "resource_link", "uri": "file:///x", "name": "x"},
            {"type": "resource", "resource": {"uri": "file:///y", "text": "long"}},
        ]);
        assert_eq!(
            result(json!({"content": blocks})),
            Ok(json!({"text":
                "[image, image/png, 3 bytes, left out]\n[link file:///x: x]\n[resource file:///y]\nlong"
            }))
        );
        assert_eq!(
            result(json!({"content": [text("no such row")], "isError": true})),
            Err("no such row".into())
        );
        assert_eq!(
            result(json!({"content": [], "isError": true})),
            Err("it failed and does not say why".into())
        );
    }

    #[test]
    fn resources_are_read() {
        let given =
            |part: Value| result(json!({"content": [part]})).unwrap()["text"].as_str().unwrap().to_owned();
        let resource = |resource: Value| given(json!({"type": "resource", "resource": resource}));
        assert_eq!(
            resource(json!({"uri": "repo://README", "mimeType": "text/plain", "text": "# Plan\nMonday"})),
            "[resource repo://README, text/plain]\n# Plan\nMonday"
        );
        let blob = |kind: &str, blob: &str| resource(json!({"uri": "x:y", "mimeType": kind, "blob": blob}));
        assert_eq!(blob("application/json", "eyJhIjogMX0="), "[resource x:y, application/json]\n{\"a\": 1}");
        for (kind, data) in [("application/zip", "AAAA"), ("text/plain", "/////w==")] {
            assert!(blob(kind, data).ends_with(" bytes, left out]]"), "{}", blob(kind, data));
        }
        let link = json!({
            "type": "resource_link", "uri": "file:///x", "name": "x", "title": "X", "description": "all of it",
            "mimeType": "text/csv", "size": 7,
        });
        assert_eq!(given(link), "[link file:///x: x, X, all of it, text/csv, 7 bytes]");
    }

    #[test]
    fn what_is_structured_is_said_once() {
        let both = |texts: &[&str], structured: Value| {
            let content: Vec<Value> =
                texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
            let given = result(json!({"content": content, "structuredContent": structured})).unwrap();
            assert_eq!(given["structured"], structured);
            given.get("text").cloned().unwrap_or_default()
        };
        let nothing = Value::Null;
        assert_eq!(both(&["line 1\nline 2\n"], json!({"content": "line 1\nline 2\n"})), nothing);
        assert_eq!(both(&["1", "2"], json!({"result": [1, 2]})), nothing);
        assert_eq!(both(&["[1,2]"], json!([1, 2])), nothing);
        assert_eq!(both(&["{\n  \"a\": 1\n}"], json!({"a": 1})), nothing);
        assert_eq!(both(&["{\"b\": 2}", "{\"b\": 3}"], json!({"rows": [{"b": 2}, {"b": 3}]})), nothing);
        assert_eq!(both(&[], json!({"a": 1})), nothing);
        assert_eq!(both(&["2 rows", "{\"a\": 1}"], json!({"a": 1})), "2 rows");
        let wrong = result(json!({"content": [], "structuredContent": {"why": "x"}, "isError": true}));
        assert_eq!(wrong, Err("{\"why\":\"x\"}".into()));
    }

    #[test]
    fn results_are_cut_to_fit() {
        for piece in ["x", "ä\u{1}\"", "漢"] {
            let long = piece.repeat(MAX_TOOL_RESULT_BYTES);
            let value = result(json!({"content": [{"type": "text", "text": long}]})).unwrap();
            let size = value.to_string().len();
            assert!(size <= MAX_TOOL_RESULT_BYTES && size > MAX_TOOL_RESULT_BYTES / 2, "{size}");
            assert!(value["text"].as_str().unwrap().contains("[cut: "));
        }
        let value =
            result(json!({"content": [], "structuredContent": {"a": "x".repeat(MAX_TOOL_RESULT_BYTES)}}))
                .unwrap();
        assert_eq!(value["structured_left_out"], "257 KiB, more than a result may have");
    }
}
