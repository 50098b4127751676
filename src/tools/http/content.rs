//! An answer as a caller gets it: pages as Markdown, JSON as JSON, text as text, limited to the size of a
//! result.
use super::page;
use crate::domain::{AnswerForm, JsonMistakes, LengthUnit, MAX_TOOL_RESULT_BYTES, read_json};
use crate::net::Fetched;
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value};

/// Maximum size of the text; the rest is for the other fields.
const MAX_TEXT_BYTES: usize = MAX_TOOL_RESULT_BYTES - (16 << 10);

/// Returns the result of the tool, whatever the answer is: in the requested form, else its text with a note.
pub(super) async fn unconditional_result(fetched: Fetched, wanted: Option<AnswerForm>) -> Value {
    let trouble = fetched.trouble.as_ref().map(|error| format!("what came next failed: {error}"));
    let (mut out, why) = match result(fetched.clone(), wanted).await {
        Ok(value) => (value, None),
        Err(why) => {
            // The raw form can't fail.
            let plain = result(fetched, Some(AnswerForm::Raw)).await.unwrap_or_default();
            (plain, Some(format!("the request was carried out, but {why}; this is its text")))
        }
    };
    let known = out["note"].as_str().map(str::to_owned);
    let notes: Vec<String> = [known, why, trouble].into_iter().flatten().collect();
    if !notes.is_empty() {
        out["note"] = notes.join("; ").into();
    }
    out
}

/// Returns the result of the tool, or why the answer does not have the requested form. `None`: the form that
/// its content type suggests.
pub(super) async fn result(fetched: Fetched, wanted: Option<AnswerForm>) -> Result<Value, String> {
    let kind = media_type(&fetched.headers);
    let mut out = Map::new();
    out.insert("status".into(), fetched.status.as_u16().into());
    out.insert("url".into(), LengthUnit::Bytes.beginning(fetched.url.as_str(), 2048).into());
    out.insert("content_type".into(), kind.clone().into());
    if let Some(to) = fetched.headers.get("location").and_then(|to| to.to_str().ok()) {
        out.insert("location".into(), LengthUnit::Bytes.beginning(to, 2048).into());
    }
    let mut truncated = fetched.truncated;
    let is_page = match wanted {
        Some(AnswerForm::Html) => true,
        None | Some(AnswerForm::Text) => matches!(kind.as_str(), "text/html" | "application/xhtml+xml"),
        Some(AnswerForm::Json | AnswerForm::Raw) => false,
    };
    if fetched.body.is_empty() {
        out.insert("text".into(), "".into());
    } else if is_page {
        let html = decoded(&fetched.body, &fetched.headers, true);
        let page = page::readable(html, fetched.url.to_string()).await?;
        if let Some(title) = page.title {
            out.insert("title".into(), LengthUnit::Bytes.beginning(&title, 500).into());
        }
        truncated |= page.truncated;
        truncated |= put_text(&mut out, &page.text);
    } else if let Some(value) = json_of(&fetched, &kind, wanted)? {
        out.insert("json".into(), value);
    } else if wanted.is_none() && is_binary(&kind, &fetched.body) {
        out.insert("bytes".into(), fetched.body.len().into());
        out.insert("note".into(), "this is not a text, and is not shown".into());
    } else {
        truncated |= put_text(&mut out, &decoded(&fetched.body, &fetched.headers, false));
    }
    if truncated {
        out.insert("truncated".into(), true.into());
    }
    Ok(Value::Object(out))
}

/// Returns the answer as JSON, if it is to be given so. One that is too large for a result is given as text.
fn json_of(fetched: &Fetched, kind: &str, wanted: Option<AnswerForm>) -> Result<Option<Value>, String> {
    let claims = kind == "application/json" || kind.ends_with("+json");
    if !(wanted == Some(AnswerForm::Json) || (wanted.is_none() && claims)) {
        return Ok(None);
    }
    let text = decoded(&fetched.body, &fetched.headers, false);
    match read_json::<Value>(text.as_bytes(), JsonMistakes::Encoding) {
        Ok(value) if value.to_string().len() <= MAX_TEXT_BYTES => Ok(Some(value)),
        _ if wanted.is_none() => Ok(None),
        Ok(_) => Err(format!("the JSON is longer than {} KiB", MAX_TEXT_BYTES >> 10)),
        Err(_) if fetched.truncated => {
            Err(format!("the JSON is longer than the {} KiB that are read", fetched.body.len() >> 10))
        }
        Err(error) => {
            Err(format!("the answer (status {}) is not valid JSON: {error}", fetched.status.as_u16()))
        }
    }
}

/// Inserts as much of a text as a result can hold. Returns whether it was truncated.
fn put_text(out: &mut Map<String, Value>, text: &str) -> bool {
    let mut room = MAX_TEXT_BYTES;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        let cost = match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            c if c < ' ' => 6,
            c => c.len_utf8(),
        };
        if cost > room {
            end = at;
            break;
        }
        room -= cost;
    }
    out.insert("text".into(), text[..end].into());
    end < text.len()
}

/// Extracts `text/html` from `text/html; charset=utf-8`.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    LengthUnit::Bytes.beginning(kind, 200).to_ascii_lowercase()
}

/// Decodes the text. The encoding is determined by a byte order mark, by the header, or by the page itself;
/// else it is UTF-8, or if the bytes are not, Windows-1252.
pub(in crate::tools) fn decoded(body: &[u8], headers: &HeaderMap, page: bool) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let of_header = charset(value).and_then(|label| Encoding::for_label(label.as_bytes()));
    let of_page = || {
        let start = String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned();
        let start = if page { start } else { String::new() };
        charset(&start).and_then(|label| Encoding::for_label(label.as_bytes()))
    };
    let guess = || if is_utf8(body) { UTF_8 } else { WINDOWS_1252 };
    let encoding = of_header.or_else(of_page).unwrap_or_else(guess);
    encoding.decode(body).0.into_owned()
}

/// Returns whether the bytes are UTF-8, possibly cut within a character.
fn is_utf8(body: &[u8]) -> bool {
    std::str::from_utf8(body).map_or_else(|error| error.error_len().is_none(), |_| true)
}

fn charset(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.split("charset=").nth(1)?.trim_start_matches(['"', '\'', ' ']);
    let label: String =
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:.".contains(*c)).collect();
    (!label.is_empty()).then_some(label)
}

fn is_binary(kind: &str, body: &[u8]) -> bool {
    let media = ["image/", "audio/", "video/", "font/"].iter().any(|start| kind.starts_with(start));
    (media && kind != "image/svg+xml")
        || matches!(
            kind,
            "application/octet-stream" | "application/zip" | "application/gzip" | "application/pdf"
        )
        || body[..body.len().min(4096)].contains(&0)
}
