//! Tests of the bound, and of what can't be bounded.
use super::*;
use crate::domain::json_at_most;
use serde_json::{Value, json};

fn weight(wire: ModelWire, key: &str, value: &Value) -> Weight {
    let mut weight = Weight::default();
    weight.add(wire, key, &value.to_string()).unwrap();
    weight
}

#[test]
fn a_text_is_as_much_as_its_tokenizers_bound_however_it_is_escaped() {
    let text = "Grüße, \u{fdfa}\u{fdfa} und नमस्ते";
    let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let mut weight = Weight::default();
    weight.add(ModelWire::Messages, "system", &format!("\"{escaped}\"")).unwrap();
    assert!(weight.tokens >= text_at_most(text), "{weight:?}");
    let tools = json!([{"name": "read", "input_schema": {"type": "object", "maximum": 12.5, "x": [1, -2, null, true]}}]);
    let weight = self::weight(ModelWire::Messages, "tools", &tools);
    let by_json = json_at_most(&tools);
    assert!(weight.tokens >= by_json * 8 / 10 && weight.tokens < 2 * by_json, "{weight:?} {by_json}");
}

#[test]
fn a_number_is_as_much_as_its_digits() {
    for digits in ["7".repeat(300), format!("0.{}1", "0".repeat(5000)), format!("-1{}e-400", "0".repeat(300))]
    {
        let mut weight = Weight::default();
        let json = format!("[{{\"type\":\"tool_use\",\"input\":{{\"say \\\" 5\":[{digits}]}}}}]");
        weight.add(ModelWire::Messages, "messages", &json).unwrap();
        let most = digits.len() as u64;
        assert!((most..most + 60).contains(&weight.tokens), "{weight:?}");
    }
}

#[test]
fn a_picture_is_bounded_by_what_providers_make_of_it() {
    let png = format!("iVBORw0KGgo{}", "A".repeat(400_000));
    let messages = json!([{"role": "user", "content": [{"type": "image", "source":
        {"type": "base64", "media_type": "image/png", "data": png}}]}]);
    let weight = self::weight(ModelWire::Messages, "messages", &messages);
    assert!((PICTURE_MESSAGES..PICTURE_MESSAGES + 200).contains(&weight.tokens), "{weight:?}");
    assert_eq!(weight.refers_to, None);
    for (wire, key, value) in [
        (
            ModelWire::Chat,
            "messages",
            json!([{"content": [{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{png}")}}]}]),
        ),
        (
            ModelWire::Responses,
            "input",
            json!([{"content": [{"type": "input_image", "image_url": format!("data:image/png;base64,{png}")}]}]),
        ),
        (
            ModelWire::Gemini,
            "contents",
            json!([{"parts": [{"inlineData": {"mimeType": "image/png", "data": png}}]}]),
        ),
    ] {
        let weight = self::weight(wire, key, &value);
        assert!((PICTURE..PICTURE + 200).contains(&weight.tokens), "{wire:?} {weight:?}");
        assert_eq!(weight.refers_to, None, "{wire:?}");
    }
}

/// A source of a block of Anthropic's.
fn block(kind: &str, source: Value) -> Value {
    json!([{"role": "user", "content": [{"type": kind, "source": source}]}])
}

#[test]
fn a_file_is_known_by_what_the_schema_says_it_is_and_not_by_how_it_looks() {
    let looks = format!("iVBORw0KGgo{}", " one two".repeat(10_000));
    for (wire, key, text) in [
        (
            ModelWire::Messages,
            "messages",
            block("document", json!({"type": "text", "media_type": "text/plain", "data": looks})),
        ),
        (
            ModelWire::Messages,
            "messages",
            json!([{"content": [{"type": "redacted_thinking", "data": looks}]}]),
        ),
        (ModelWire::Messages, "messages", json!([{"content": [{"type": "text", "text": looks}]}])),
        (
            ModelWire::Messages,
            "messages",
            json!([{"content": [{"type": "tool_use", "input": {"source": {"type": "base64", "media_type": "image/png", "data": looks}}}]}]),
        ),
        (
            ModelWire::Gemini,
            "contents",
            json!([{"parts": [{"inlineData": {"mimeType": "text/plain", "data": looks}}]}]),
        ),
        (ModelWire::Chat, "messages", json!([{"content": looks}])),
        (ModelWire::Responses, "input", json!([{"type": "function_call_output", "output": looks}])),
    ] {
        let weight = weight(wire, key, &text);
        assert!(weight.tokens >= text_at_most(&looks) && weight.unbounded.is_none(), "{wire:?} {weight:?}");
    }
    // readers take the first or the last
    let twice = r#"[{"source":{"type":"text","data":"x","type":"base64","media_type":"image/png"}}]"#;
    let error = Weight::default().add(ModelWire::Messages, "messages", twice).unwrap_err().to_string();
    assert!(error.contains("`type` comes twice"), "{error}");
    let twice = r#"[{"inlineData":{"mimeType":"text/plain","mime_type":"image/png","data":"x"}}]"#;
    assert!(Weight::default().add(ModelWire::Gemini, "contents", twice).is_err());
}

#[test]
fn documents_are_held_at_what_a_model_can_take() {
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ"});
    for (wire, key, value) in [
        (ModelWire::Messages, "messages", json!([block("document", pdf.clone()), block("document", pdf)])),
        (
            ModelWire::Responses,
            "input",
            json!([{"content": [{"type": "input_file", "file_data": "data:application/pdf;base64,JVBE"}]}]),
        ),
        (
            ModelWire::Chat,
            "messages",
            json!([{"content": [{"type": "file", "file": {"file_data": "JVBE"}}]}]),
        ),
        (
            ModelWire::Gemini,
            "contents",
            json!([{"parts": [{"inline_data": {"mime_type": "application/pdf", "data": "JVBE"}}]}]),
        ),
    ] {
        let weight = weight(wire, key, &value);
        assert!((DOCUMENTS..DOCUMENTS + 500).contains(&weight.at_most()), "{wire:?} {weight:?}");
    }
}

#[test]
fn what_nothing_bounds_is_named() {
    for (wire, key, value, named) in [
        (
            ModelWire::Messages,
            "messages",
            block("image", json!({"type": "base64", "media_type": "video/mp4", "data": "x"})),
            "video/mp4",
        ),
        (
            ModelWire::Messages,
            "messages",
            block("image", json!({"media_type": "image/png", "data": "x"})),
            "`data`",
        ),
        (
            ModelWire::Messages,
            "messages",
            json!([{"content": [{"type": "container_upload", "id": "x"}]}]),
            "container_upload",
        ),
        (
            ModelWire::Chat,
            "messages",
            json!([{"content": [{"type": "input_audio", "input_audio": {"data": "x", "format": "mp3"}}]}]),
            "`data`",
        ),
        (
            ModelWire::Chat,
            "messages",
            json!([{"content": [{"type": "text", "video_url": {"url": "data:video/mp4;base64,x"}}]}]),
            "`url`",
        ),
        (
            ModelWire::Chat,
            "messages",
            json!([{"content": [{"type": "image_url", "image_url": {"url": "data:image/svg+xml,x"}}]}]),
            "`url`",
        ),
        (
            ModelWire::Responses,
            "input",
            json!([{"content": [{"type": "input_hologram", "x": "y"}]}]),
            "input_hologram",
        ),
        (
            ModelWire::Gemini,
            "contents",
            json!([{"parts": [{"inlineData": {"mimeType": "audio/mp3", "data": "x"}}]}]),
            "audio/mp3",
        ),
        (ModelWire::Gemini, "contents", json!([{"parts": [{"inlineData": {"data": "x"}}]}]), "`inlinedata`"),
    ] {
        let weight = weight(wire, key, &value);
        let what = weight.unbounded.unwrap_or_else(|| panic!("{value} passes"));
        assert!(what.contains(named) || named == "`inlinedata`", "{what}");
    }
}

#[test]
fn what_is_not_in_the_request_is_named() {
    for (wire, key, value) in [
        (
            ModelWire::Messages,
            "messages",
            json!([{"content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/x"}}]}]),
        ),
        (
            ModelWire::Messages,
            "messages",
            json!([{"content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]),
        ),
        (
            ModelWire::Messages,
            "messages",
            json!([{"content": [{"type": "container_upload", "file_id": "file_1"}]}]),
        ),
        (ModelWire::Chat, "messages", json!([{"content": [{"image_url": {"url": "https://a.example/x"}}]}])),
        (
            ModelWire::Responses,
            "input",
            json!([{"content": [{"type": "input_file", "file_url": "https://a.example"}]}]),
        ),
        (ModelWire::Responses, "input", json!([{"type": "item_reference", "id": "msg_1"}])),
        (ModelWire::Gemini, "contents", json!([{"parts": [{"fileData": {"fileUri": "gs://x"}}]}])),
        (ModelWire::Gemini, "contents", json!([{"parts": [{"file_data": {"file_uri": "gs://x"}}]}])),
    ] {
        assert!(weight(wire, key, &value).refers_to.is_some(), "{value}");
    }
    // the same words in what a tool is given or gives
    for (wire, key, value) in [
        (
            ModelWire::Messages,
            "messages",
            json!([{"content": [{"type": "tool_use", "input": {"source": {"url": "https://a.example"}, "file_id": "x"}}]}]),
        ),
        (
            ModelWire::Messages,
            "tools",
            json!([{"input_schema": {"properties": {"file_id": {"type": "string", "default": "x"}}}}]),
        ),
        (ModelWire::Chat, "tools", json!([{"function": {"parameters": {"properties": {"file_id": "x"}}}}])),
        (
            ModelWire::Gemini,
            "contents",
            json!([{"parts": [{"functionCall": {"args": {"fileUri": "x"}}}, {"functionResponse": {"response": {"fileUri": "x"}}}]}]),
        ),
    ] {
        assert_eq!(weight(wire, key, &value).refers_to, None, "{value}");
    }
}

#[test]
fn a_cache_for_an_hour_is_seen() {
    let system = json!([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
    assert!(weight(ModelWire::Messages, "system", &system).long_cache);
    let system = json!([{"type": "text", "text": "ttl 1h", "cache_control": {"type": "ephemeral"}}]);
    assert!(!weight(ModelWire::Messages, "system", &system).long_cache);
}
