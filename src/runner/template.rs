//! Placeholders in configured texts that are filled when an attempt begins: `{event.a.b}`, `{gate}` and `{param.NAME}`.
//!
//! Single pass: what was filled in is not expanded again, so that an event can't inject a placeholder.
use crate::conversation::prompt;
use crate::domain::ParamValues;
use crate::domain::novelty::at_path;
pub(super) use crate::domain::template::as_text;
use crate::domain::template::filled;
use serde_json::Value;
use std::sync::Arc;

/// The values of placeholders.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The event that started the run; null if none did.
    pub(super) event: Value,
    pub(super) params: Option<Arc<ParamValues>>,
    /// The gate's output, as text.
    pub(super) gate: String,
    /// The gate's output may come from outside.
    pub(super) untrusted_gate: bool,
}

/// Fields set by the daemon; everything else in an event may come from outside.
const OWN_EVENT_FIELDS: &[&str] =
    &["event.type", "event.seq", "event.ts", "event.agent_id", "event.run_id", "event.session_id"];

/// Returns a copy of `value` with the placeholders in all its strings filled; keys stay as they are.
pub(super) fn fill(value: &Value, places: &Places) -> Value {
    map_texts(value, &|text| fill_text(text, places))
}

fn map_texts(value: &Value, fill: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text)),
        Value::Array(items) => items.iter().map(|item| map_texts(item, fill)).collect(),
        Value::Object(fields) => {
            let filled = fields.iter().map(|(key, value)| (key.clone(), map_texts(value, fill)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

/// Returns a copy of `value` with only the run's parameters filled, which a person gave.
pub(super) fn fill_params(value: &Value, places: &Places) -> Value {
    map_texts(value, &|text| filled(text, |name| param(name, places)))
}

/// Returns `text` with its placeholders filled. Braces around anything else stay as they are; a path that does not exist yields
/// an empty text.
pub(super) fn fill_text(text: &str, places: &Places) -> String {
    filled(text, |name| value_at(name, places))
}

/// Returns a query with its placeholders filled, and whether untrusted text was inserted. Such text is marked.
pub(super) fn fill_query(text: &str, places: &Places) -> (String, bool) {
    let mut untrusted = false;
    let query = filled(text, |name| {
        let value = value_at(name, places)?;
        let source = match name {
            "gate" => "the gate",
            _ => "an event",
        };
        let is_ours = |name: &str| {
            let of_run = [".run_id", ".status", ".finished_at"].iter().any(|field| name.ends_with(field));
            OWN_EVENT_FIELDS.contains(&name)
                || (name.starts_with("after.") && name.matches('.').count() == 2 && of_run)
        };
        let trusted = match name {
            "gate" => !places.untrusted_gate,
            // like the query itself, they are what a person asks for
            name => is_ours(name) || param(name, places).is_some(),
        };
        if trusted || value.is_empty() {
            return Some(value);
        }
        untrusted = true;
        Some(prompt::data(source, &value))
    });
    (query, untrusted)
}

/// Returns the run's parameter for this placeholder; `None`: there is no such parameter.
fn param(name: &str, places: &Places) -> Option<String> {
    places.params.as_ref()?.get(name.strip_prefix("param.")?).map(as_text)
}

/// Returns the value of this placeholder; `None`: it is not a placeholder.
fn value_at(name: &str, places: &Places) -> Option<String> {
    match name {
        "gate" => Some(places.gate.clone()),
        "event" => Some(as_text(&places.event)),
        _ if name.starts_with("param.") => param(name, places),
        _ => {
            // joined runs are a part of the payload of the event that reports the end of all
            let in_event = match name.strip_prefix("after.") {
                Some(path) => format!("payload.after.{path}"),
                None => name.strip_prefix("event.")?.to_owned(),
            };
            // a field of the event itself, else of its payload, which never overrides the former
            let said = at_path(&places.event, &in_event);
            let carried = || at_path(places.event.get("payload")?, &in_event);
            let said = if OWN_EVENT_FIELDS.contains(&name) { said } else { said.or_else(carried) };
            Some(said.map(as_text).unwrap_or_default())
        }
    }
}
