//! What a call gave, as JSON that fits into a conversation: texts joined, structure kept, pictures and
//! files named but not inlined, all of it bounded.
use super::text::{shown, visible};
use crate::tools::dispatch::MAX_RESULT;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::{Map, Value};

/// Room for the words around a text that is cut.
const SPARE: usize = 1024;

/// The result, or what the server says went wrong.
pub(super) fn of(result: CallToolResult) -> Result<Value, String> {
    let text =
        result.content.iter().map(block).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    if result.is_error == Some(true) {
        let text = if text.is_empty() {
            result.structured_content.map_or_else(String::new, |value| value.to_string())
        } else {
            visible(&text)
        };
        return Err(if text.trim().is_empty() {
            "it failed and does not say why".into()
        } else {
            fit(text, 4096)
        });
    }
    let mut object = Map::new();
    if let Some(structured) = result.structured_content.filter(|value| !value.is_null()) {
        // Servers repeat the structure as text for clients that don't know it.
        let repeated = serde_json::from_str::<Value>(&text).is_ok_and(|value| value == structured);
        let size = structured.to_string().len();
        if size > MAX_RESULT - SPARE {
            let note = format!("{} KiB, more than a result may have", size.div_ceil(1024));
            object.insert("structured_left_out".into(), note.into());
        } else {
            object.insert("structured".into(), structured);
            if repeated {
                return Ok(Value::Object(object));
            }
        }
    }
    let used = Value::Object(object.clone()).to_string().len();
    object.insert("text".into(), fit(text, MAX_RESULT.saturating_sub(used + SPARE)).into());
    Ok(Value::Object(object))
}

/// The text, cut so that it has at most so many bytes as JSON; it says so.
fn fit(text: String, most: usize) -> String {
    let whole = text.len();
    let mut kept = text;
    loop {
        let size = Value::from(kept.as_str()).to_string().len();
        if size <= most || kept.is_empty() {
            break;
        }
        // Some characters take more room as JSON than others, so this may take a few rounds.
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
            ResourceContents::TextResourceContents { uri, text, .. } => {
                format!("[text {}, {} bytes, left out]", shown(uri), text.len())
            }
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                let kind = mime_type.as_deref().unwrap_or("unknown type");
                format!("[file {}: {}]", shown(uri), described("data", kind, blob.len()))
            }
            _ => "[resource, left out]".into(),
        },
        ContentBlock::ResourceLink(link) => {
            let about = link.description.as_deref().or(link.title.as_deref()).unwrap_or(&link.name);
            format!("[link {}: {}]", shown(&link.uri), shown(about))
        }
        _ => "[content of an unknown kind, left out]".into(),
    }
}

/// `base64` bytes carry three quarters of that.
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
                "[image, image/png, 3 bytes, left out]\n[link file:///x: x]\n[text file:///y, 4 bytes, left out]"
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
    fn results_are_cut_to_fit() {
        for piece in ["x", "ä\u{1}\"", "漢"] {
            let long = piece.repeat(MAX_RESULT);
            let value = result(json!({"content": [{"type": "text", "text": long}]})).unwrap();
            let size = value.to_string().len();
            assert!(size <= MAX_RESULT && size > MAX_RESULT / 2, "{size}");
            assert!(value["text"].as_str().unwrap().contains("[cut: "));
        }
        let value =
            result(json!({"content": [], "structuredContent": {"a": "x".repeat(MAX_RESULT)}})).unwrap();
        assert_eq!(value["structured_left_out"], "257 KiB, more than a result may have");
    }
}
