//! How many tokens a request may be sent as, at the most: by its texts, with what is said in pictures and documents. What
//! can't be seen in it, since the provider has it or fetches it, is named.
use super::wire::ModelWire;
use crate::domain::text_at_most;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Tokens of a picture, whatever its size in bytes: providers scale what is larger.
const PICTURE_MESSAGES: u64 = 5_000;
/// The same at others. "Calculating costs" of OpenAI's page on vision: ten thousand patches at the original detail.
const PICTURE: u64 = 12_000;
/// Tokens of a document beside its bytes: each page is shown as a picture, too, and pages can be few bytes.
const DOCUMENT: u64 = 50_000;
/// How base64 of a picture begins: PNG, JPEG, GIF, WebP.
const PICTURES: [&str; 4] = ["iVBORw0", "/9j/", "R0lGOD", "UklGR"];
/// How base64 of a PDF begins.
const PDF: &str = "JVBERi";

/// What a part of a request weighs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// The most tokens that it is.
    pub(super) tokens: u64,
    /// What is meant by it and does not stand in it.
    pub(super) refers_to: Option<String>,
    /// A cache that lives for an hour is asked for: writing to it costs twice the price of what is sent.
    pub(super) long_cache: bool,
}

impl Weight {
    /// Adds a value that stands under this key of a request.
    pub(super) fn add(&mut self, wire: ModelWire, key: &str, json: &str) -> Result<(), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let opaque = is_data(wire, key, true);
        Part { sum: self, wire, above: "", under: key, opaque }.deserialize(&mut reader)?;
        reader.end()
    }

    fn plus(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }
}

/// A value, with the key that it stands under and the one above that. Within `opaque` keys mean nothing: it is data of a
/// tool.
struct Part<'a> {
    sum: &'a mut Weight,
    wire: ModelWire,
    above: &'a str,
    under: &'a str,
    opaque: bool,
}

impl Part<'_> {
    fn text(&mut self, text: &str) {
        if !self.opaque && self.under == "ttl" && text == "1h" {
            self.sum.long_cache = true;
        }
        match if self.opaque { Means::Text } else { self.means(text) } {
            Means::Text => self.sum.plus(text_at_most(text).saturating_add(2)),
            Means::Data(data) => self.sum.plus(data_at_most(self.wire, data)),
            Means::Elsewhere => {
                let short: String = text.chars().take(80).collect();
                self.sum.refers_to.get_or_insert(format!("`{}` = {short:?}", self.under));
            }
        }
    }

    fn means<'t>(&self, text: &'t str) -> Means<'t> {
        let data_or_elsewhere =
            || match text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) {
                true => Means::Data(text.split_once(',').map_or(text, |(_, data)| data)),
                false => Means::Elsewhere,
            };
        match (self.wire, self.above, self.under) {
            (ModelWire::Messages, "source", "data") => Means::Data(text),
            (ModelWire::Messages, "source", "url") | (ModelWire::Messages, _, "file_id") => Means::Elsewhere,
            (ModelWire::Responses | ModelWire::Chat, _, "file_id" | "file_url") => Means::Elsewhere,
            (ModelWire::Responses, _, "type") if text == "item_reference" => Means::Elsewhere,
            (ModelWire::Responses | ModelWire::Chat, _, "image_url")
            | (ModelWire::Responses | ModelWire::Chat, "image_url", "url") => data_or_elsewhere(),
            (ModelWire::Responses | ModelWire::Chat, _, "file_data")
            | (ModelWire::Responses | ModelWire::Chat, "input_audio", "data") => {
                Means::Data(text.split_once(',').map_or(text, |(_, data)| data))
            }
            (ModelWire::Gemini, "inlineData" | "inline_data", "data") => Means::Data(text),
            (ModelWire::Gemini, _, "fileUri" | "file_uri") => Means::Elsewhere,
            _ => Means::Text,
        }
    }
}

enum Means<'a> {
    Text,
    /// Base64 of a file.
    Data(&'a str),
    /// Something that is not in the request.
    Elsewhere,
}

fn data_at_most(wire: ModelWire, data: &str) -> u64 {
    let bytes = data.len() as u64;
    if PICTURES.iter().any(|start| data.starts_with(start)) {
        return if wire == ModelWire::Messages { PICTURE_MESSAGES } else { PICTURE };
    }
    if data.starts_with(PDF) { bytes.saturating_add(DOCUMENT) } else { bytes }
}

/// Is what stands under this key data of a tool, in which keys have no meaning for the provider? `top`: it is a key of the
/// request itself.
fn is_data(wire: ModelWire, key: &str, top: bool) -> bool {
    match wire {
        ModelWire::Messages => matches!(key, "input" | "input_schema" | "schema"),
        ModelWire::Responses | ModelWire::Chat => !top && matches!(key, "parameters" | "schema"),
        ModelWire::Gemini => matches!(
            key,
            "args"
                | "response"
                | "parameters"
                | "parametersJsonSchema"
                | "parameters_json_schema"
                | "responseSchema"
                | "response_schema"
                | "responseJsonSchema"
                | "response_json_schema"
        ),
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.sum.plus(2);
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.sum.plus(2);
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.sum.plus(u64::from(number.checked_ilog10().unwrap_or(0)) + 2);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.sum.plus(u64::from(number.unsigned_abs().checked_ilog10().unwrap_or(0)) + 3);
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        // 17 digits, a sign, a point and an exponent
        self.sum.plus(26);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.sum.plus(2);
        let Self { sum, wire, above, under, opaque } = self;
        while seq.next_element_seed(Part { sum, wire, above, under, opaque })?.is_some() {
            sum.plus(1);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.sum.plus(2);
        while let Some(key) = map.next_key::<String>()? {
            self.sum.plus(text_at_most(&key).saturating_add(4));
            let opaque = self.opaque || is_data(self.wire, &key, false);
            let part = Part { sum: self.sum, wire: self.wire, above: self.under, under: &key, opaque };
            map.next_value_seed(part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        let pdf =
            json!([{"content": [{"type": "document", "source": {"type": "base64", "data": "JVBERi0xLjQ"}}]}]);
        assert!(self::weight(ModelWire::Messages, "messages", &pdf).tokens > DOCUMENT);
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
            (
                ModelWire::Chat,
                "messages",
                json!([{"content": [{"image_url": {"url": "https://a.example/x"}}]}]),
            ),
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
            (
                ModelWire::Chat,
                "tools",
                json!([{"function": {"parameters": {"properties": {"file_id": "x"}}}}]),
            ),
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
        let system =
            json!([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
        assert!(weight(ModelWire::Messages, "system", &system).long_cache);
        let system = json!([{"type": "text", "text": "ttl 1h", "cache_control": {"type": "ephemeral"}}]);
        assert!(!weight(ModelWire::Messages, "system", &system).long_cache);
    }
}
