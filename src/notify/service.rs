//! Formats a message for a service: the rows of `domain::service`, filled in.
use super::message::{Message, SendError};
use super::post::{Post, Reads, post};
use super::question::{add_buttons, how_to_answer, parts};
use crate::domain::template::filled;
use crate::domain::{NotifyType, ServicePreset, ServiceSpec, TellOn, Urgency, cut_at_sentence, rest_of};
use crate::secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Characters that are not escaped in a path segment (RFC 3986, 3.3), except those with a meaning there.
const PATH_SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Maximum length of a title; that of a joined message is the longest.
const MAX_TITLE_CHARS: usize = 200;

pub(super) async fn send(spec: &ServiceSpec, message: &Message, timeout: Duration) -> Result<(), SendError> {
    let preset = spec.preset();
    let keys = keys_of(spec, timeout).await?;
    let url = address(preset, &keys, message)?;
    let mut headers = HeaderMap::new();
    if let (Some((name, value)), Some(token)) = (preset.token_header, keys.get("token")) {
        authorize(&mut headers, name, value, token)?;
    }
    let hidden: Vec<String> = keys.get("token").cloned().into_iter().collect();
    let bodies = match &message.question {
        Some(code) => question(preset, &keys, message, code),
        None => vec![body(preset, &keys, message)],
    };
    for body in bodies {
        post(Post {
            method: preset.method,
            url: url.clone(),
            headers: headers.clone(),
            body,
            hidden: hidden.clone(),
            reads: Reads { retry_after: preset.retry_after, moved_to: preset.moved_to, is_ok: true },
            timeout,
        })
        .await?;
    }
    Ok(())
}

/// Returns the settings of an account, with its secrets resolved.
pub(super) async fn keys_of(
    spec: &ServiceSpec,
    timeout: Duration,
) -> Result<BTreeMap<&'static str, String>, SendError> {
    let mut keys = BTreeMap::new();
    for (name, value) in &spec.keys {
        let value = secret::value_of(value, timeout)
            .await
            .map_err(|error| SendError::passing(format!("no `{name}`: {error}")))?;
        keys.insert(*name, value.expose().trim().to_owned());
    }
    Ok(keys)
}

/// Adds the header with the token.
pub(super) fn authorize(
    headers: &mut HeaderMap,
    name: &str,
    value: &str,
    token: &str,
) -> Result<(), SendError> {
    let bad = || SendError::lasting("`token` has characters that a header can't hold");
    let mut value = HeaderValue::from_str(&value.replace("{token}", token)).map_err(|_| bad())?;
    value.set_sensitive(true);
    headers.insert(HeaderName::try_from(name).unwrap_or(AUTHORIZATION), value);
    Ok(())
}

fn address(
    preset: &ServicePreset,
    keys: &BTreeMap<&str, String>,
    message: &Message,
) -> Result<Url, SendError> {
    let text = filled(preset.url, |place| match place {
        "url" => {
            let url = keys.get("url").map(String::as_str).or(preset.usual_url)?;
            // a template that is only `{url}` is used unchanged
            Some(if preset.url == "{url}" { url.to_owned() } else { url.trim_end_matches('/').to_owned() })
        }
        "idempotency_key" => Some(encoded(&message.idempotency_key())),
        other => keys.get(other).map(|value| encoded(value)),
    });
    let mut url = super::post::url_of(&text)?;
    for (name, value) in preset.query {
        if !url.query_pairs().any(|(known, _)| known == *name) {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Ok(url)
}

/// Encodes a text as a path segment.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PATH_SEGMENT).to_string()
}

/// The values of a message for templates.
pub(super) struct MessageFields<'a> {
    message: &'a Message,
    title: String,
    text: String,
    /// The value of `{priority}`.
    priority: u8,
}

impl<'a> MessageFields<'a> {
    pub(super) fn of(message: &'a Message, priority: [u8; 3]) -> Self {
        // without a body, the subject becomes the text: no service accepts a message without text
        let (title, text) = match message.body.trim() {
            "" => (message.agent.to_string(), message.subject.clone()),
            body => (message.subject.clone(), body.to_owned()),
        };
        let title = match title.char_indices().nth(MAX_TITLE_CHARS) {
            Some((end, _)) => format!("{}…", &title[..end]),
            None => title,
        };
        let priority = match message.urgency {
            Urgency::Info => priority[0],
            Urgency::Warning => priority[1],
            Urgency::Critical => priority[2],
        };
        Self { message, title, text, priority }
    }

    /// Returns the value of a placeholder; `None`: it does not belong to a message.
    pub(super) fn value(&self, place: &str) -> Option<Value> {
        let message = self.message;
        Some(match place {
            "title" | "subject" => self.title.clone().into(),
            "text" | "body" => self.text.clone().into(),
            "priority" => self.priority.into(),
            "severity" => message.urgency.as_str().into(),
            "state" => message.about.state().as_str().into(),
            "about" => message.about.as_str().into(),
            "agent" => message.agent.as_str().into(),
            "key" => message.keys().into(),
            "run" => message.run.map(|run| run.to_string()).unwrap_or_default().into(),
            "at" => message.at.to_string().into(),
            "idempotency_key" => message.idempotency_key().into(),
            _ => return None,
        })
    }
}

/// Fills in the placeholders of JSON: a string that is only a placeholder becomes the value itself.
pub(super) fn fill(template: &Value, value_of: &impl Fn(&str) -> Option<Value>) -> Value {
    match template {
        Value::String(text) => {
            let alone = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match alone.and_then(value_of) {
                Some(value) => value,
                None => Value::String(filled(text, |place| {
                    value_of(place).map(|value| crate::domain::template::as_text(&value))
                })),
            }
        }
        Value::Array(items) => items.iter().map(|item| fill(item, value_of)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), fill(value, value_of))).collect()
        }
        other => other.clone(),
    }
}

/// Formats the body, within the limit of the service: longer text is cut after a sentence.
fn body(preset: &ServicePreset, keys: &BTreeMap<&str, String>, message: &Message) -> String {
    let template: Value = serde_json::from_str(preset.body).expect("a row of the table");
    let mut words = MessageFields::of(message, preset.priority);
    let rest = match message.about {
        // a call that can't be read in full can't be decided
        TellOn::ApprovalRequested => {
            "It is too long to be decided here. All of it: bgagent approvals".to_owned()
        }
        _ => message.run.map_or_else(|| "The rest: bgagent incidents".to_owned(), rest_of),
    };
    let whole = words.text.clone();
    let (limit, unit) = preset.most;
    let mut most = unit.size(&whole);
    loop {
        let text = write(&template, preset, keys, &words).to_string();
        let field = text_size(preset, keys, &words);
        if (field <= limit && text.len() <= preset.most_bytes) || most == 0 {
            return text;
        }
        // escaping may lengthen the text: shorten it in proportion, and a little more
        let part = (limit as f64 / field as f64).min(preset.most_bytes as f64 / text.len() as f64).min(1.0);
        most = ((most as f64 * part * 0.98) as usize).min(most - 1);
        words.text = cut_at_sentence(&whole, unit, most, &rest).into_owned();
    }
}

/// Formats a question with its buttons, in one message or several; if the service can't take all of it, as an ordinary
/// message.
fn question(
    preset: &ServicePreset,
    keys: &BTreeMap<&str, String>,
    message: &Message,
    code: &str,
) -> Vec<String> {
    let template: Value = serde_json::from_str(preset.body).expect("a row of the table");
    let mut words = MessageFields::of(message, preset.priority);
    words.text.push_str(&how_to_answer(preset.kind, code));
    let mut whole = write(&template, preset, keys, &words);
    add_buttons(preset.kind, keys, code, &mut whole);
    let whole = whole.to_string();
    if text_size(preset, keys, &words) <= preset.most.0 && whole.len() <= preset.most_bytes {
        return vec![whole];
    }
    let several = match preset.kind {
        NotifyType::Telegram => parts(&words.text, preset.escaping, preset.most.1),
        _ => None,
    };
    let Some(several) = several else { return vec![body(preset, keys, message)] };
    let (title, count) = (words.title.clone(), several.len());
    let mut bodies = Vec::with_capacity(count);
    for (number, part) in (1..).zip(several) {
        (words.title, words.text) = (format!("{title} ({number} of {count})"), part);
        let mut json = write(&template, preset, keys, &words);
        if number == count {
            add_buttons(preset.kind, keys, code, &mut json);
        }
        bodies.push(json.to_string());
    }
    bodies
}

fn write(
    template: &Value,
    preset: &ServicePreset,
    keys: &BTreeMap<&str, String>,
    words: &MessageFields<'_>,
) -> Value {
    fill(template, &|place| match (place, keys.get(place)) {
        ("title" | "text", _) => {
            let value = words.value(place)?;
            Some(preset.escaping.written(value.as_str().unwrap_or_default()).into())
        }
        ("chat", Some(chat)) => Some(chat.parse::<i64>().map_or_else(|_| chat.clone().into(), Value::from)),
        (_, Some(key)) if place != "token" => Some(key.clone().into()),
        _ => words.value(place),
    })
}

/// Returns the size of the field with the text, in the unit of the service.
fn text_size(preset: &ServicePreset, keys: &BTreeMap<&str, String>, words: &MessageFields<'_>) -> usize {
    fn find(value: &Value) -> Option<&str> {
        match value {
            Value::String(text) => text.contains("{text}").then_some(text.as_str()),
            Value::Array(items) => items.iter().find_map(find),
            Value::Object(fields) => fields.values().find_map(find),
            _ => None,
        }
    }
    let template: Value = serde_json::from_str(preset.body).expect("a row of the table");
    let field = find(&template).unwrap_or_default();
    let json = write(&Value::String(field.to_owned()), preset, keys, words);
    preset.most.1.size(json.as_str().unwrap_or_default())
}

/// Returns whether the service accepts the whole message.
pub(super) fn fits(preset: &ServicePreset, message: &Message) -> bool {
    let words = MessageFields::of(message, preset.priority);
    let keys = BTreeMap::new();
    let template: Value = serde_json::from_str(preset.body).expect("a row of the table");
    // the account's settings are unknown here; they are short
    const MAX_KEYS_BYTES: usize = 500;
    text_size(preset, &keys, &words) <= preset.most.0
        && write(&template, preset, &keys, &words).to_string().len() + MAX_KEYS_BYTES <= preset.most_bytes
}
