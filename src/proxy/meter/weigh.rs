//! How many tokens a request may be sent as, at the most: by its texts, and by bounds of its pictures and documents. What
//! can't be seen in it, since the provider has it or fetches it, and what nothing bounds, is named.
use super::media::{self, DOCUMENTS, Means, PICTURE, PICTURE_MESSAGES, is_file, is_known_part};
use super::object::folded;
use super::wire::ModelWire;
use crate::domain::text_at_most;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// So much of a text is looked at to see what it is.
const BEGIN: usize = 100;

/// What a part of a request weighs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// The most tokens that it is, without documents.
    pub(super) tokens: u64,
    /// It has documents: together they are no more than [`DOCUMENTS`].
    pub(super) documents: bool,
    /// What is meant by it and does not stand in it.
    pub(super) refers_to: Option<String>,
    /// What has no bound.
    pub(super) unbounded: Option<String>,
    /// A cache that lives for an hour is asked for: writing to it costs twice the price of what is sent.
    pub(super) long_cache: bool,
}

impl Weight {
    /// Adds a value that stands under this key of a request.
    pub(super) fn add(&mut self, wire: ModelWire, key: &str, json: &str) -> Result<(), serde_json::Error> {
        self.plus(digits(json));
        let mut reader = serde_json::Deserializer::from_str(json);
        let under = folded(key);
        let opaque = is_data(wire, &under, true);
        Part { sum: self, wire, under: &under, opaque, kept: None }.deserialize(&mut reader)?;
        reader.end()
    }

    /// The most tokens that all of it is.
    pub(super) fn at_most(&self) -> u64 {
        self.tokens.saturating_add(if self.documents { DOCUMENTS } else { 0 })
    }

    fn plus(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn text(&mut self, text: &str) {
        self.plus(text_at_most(text).saturating_add(2));
    }

    /// Adds what an object says that is no plain text.
    fn said(&mut self, wire: ModelWire, above: &str, said: &SaidOfFile) {
        for (key, file) in &said.files {
            let shown = || format!("`{key}` = {:?}", file.begin.chars().take(80).collect::<String>());
            match media::means(wire, above, key, said.kind(), said.media(), &file.begin) {
                Means::Text => self.plus(file.as_text),
                Means::Picture if wire == ModelWire::Messages => self.plus(PICTURE_MESSAGES),
                Means::Picture => self.plus(PICTURE),
                Means::Document => self.documents = true,
                Means::Elsewhere => {
                    self.refers_to.get_or_insert_with(shown);
                }
                Means::Unbounded => {
                    self.unbounded.get_or_insert_with(|| match said.media() {
                        Some(media) => format!("{}, of type `{media}`", shown()),
                        None => shown(),
                    });
                }
            }
        }
        match said.kind() {
            Some(kind) if above == "content" && !is_known_part(wire, kind) => {
                self.unbounded.get_or_insert_with(|| format!("`type` = {kind:?} in `content`"));
            }
            Some("item_reference") if wire == ModelWire::Responses => {
                self.refers_to.get_or_insert_with(|| "`type` = \"item_reference\"".into());
            }
            // a picture that the provider has made
            Some("image_generation_call") if wire == ModelWire::Responses => self.plus(PICTURE),
            _ => {}
        }
    }
}

/// A text of which it is not known yet what it is.
struct KeptText {
    begin: String,
    as_text: u64,
}

/// What an object says that matters for what a text in it is.
#[derive(Default)]
struct SaidOfFile {
    kind: Option<KeptText>,
    media: Option<KeptText>,
    files: Vec<(String, KeptText)>,
}

impl SaidOfFile {
    fn kind(&self) -> Option<&str> {
        self.kind.as_ref().map(|text| text.begin.as_str())
    }

    fn media(&self) -> Option<&str> {
        self.media.as_ref().map(|text| text.begin.as_str())
    }

    /// Notes the text of a key. False: it has come already, and readers take one or the other.
    fn note(&mut self, key: &str, text: KeptText) -> bool {
        match key {
            "type" => self.kind.replace(text).is_none(),
            "mediatype" | "mimetype" => self.media.replace(text).is_none(),
            _ => {
                let is_new = self.files.iter().all(|(known, _)| known != key);
                self.files.push((key.to_owned(), text));
                is_new
            }
        }
    }
}

/// A value, with the key that it stands under. Within `opaque` keys mean nothing: it is data of a tool. Keys are
/// [`folded`].
struct Part<'a> {
    sum: &'a mut Weight,
    wire: ModelWire,
    under: &'a str,
    opaque: bool,
    /// Where a text is put of which it is not known yet what it is.
    kept: Option<&'a mut Option<KeptText>>,
}

/// Characters of numbers outside of texts: one can have any number of digits, and be read here as one of few.
fn digits(json: &str) -> u64 {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'0'..=b'9' | b'-' | b'+' | b'.' | b'E' | b'e' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

/// Is what stands under this key data of a tool, in which keys have no meaning for the provider? `top`: it is a key of the
/// request itself.
fn is_data(wire: ModelWire, key: &str, top: bool) -> bool {
    match wire {
        ModelWire::Messages => matches!(key, "input" | "inputschema" | "schema"),
        ModelWire::Responses | ModelWire::Chat => !top && matches!(key, "parameters" | "schema"),
        ModelWire::Gemini => matches!(
            key,
            "args"
                | "response"
                | "parameters"
                | "parametersjsonschema"
                | "responseschema"
                | "responsejsonschema"
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

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let Self { sum, under, opaque, kept, .. } = self;
        if !opaque && under == "ttl" && text == "1h" {
            sum.long_cache = true;
        }
        match kept {
            Some(kept) => {
                let begin = text[..text.floor_char_boundary(BEGIN)].to_owned();
                *kept = Some(KeptText { begin, as_text: text_at_most(text).saturating_add(2) });
            }
            None => sum.text(text),
        }
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

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.sum.plus(2);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.sum.plus(2);
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.sum.plus(2);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.sum.plus(2);
        let Self { sum, wire, under, opaque, .. } = self;
        while seq.next_element_seed(Part { sum, wire, under, opaque, kept: None })?.is_some() {
            sum.plus(1);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { sum, wire, under, opaque, .. } = self;
        sum.plus(2);
        let mut said = SaidOfFile::default();
        while let Some(key) = map.next_key::<String>()? {
            sum.plus(text_at_most(&key).saturating_add(4));
            if opaque {
                map.next_value_seed(Part { sum, wire, under: "", opaque, kept: None })?;
                continue;
            }
            let key = folded(&key);
            let is_label = matches!(key.as_str(), "type" | "mediatype" | "mimetype");
            let mut text = None;
            let kept = (is_label || is_file(wire, under, &key)).then_some(&mut text);
            map.next_value_seed(Part { sum, wire, under: &key, opaque: is_data(wire, &key, false), kept })?;
            if let Some(text) = text {
                if is_label {
                    sum.plus(text.as_text);
                }
                if !said.note(&key, text) {
                    return Err(de::Error::custom(format_args!("the key `{key}` comes twice in `{under}`")));
                }
            }
        }
        sum.said(wire, under, &said);
        Ok(())
    }
}

#[cfg(test)]
#[path = "weigh/tests.rs"]
mod tests;
