//! Places in configured texts that are filled when an attempt begins: `{event.a.b}`, `{gate}` and `{param.NAME}`.
//!
//! One pass: what was filled in is never looked at again, so that an event can't smuggle in a
//! place of its own.
use crate::conversation::prompt;
use crate::domain::ParamValues;
use crate::domain::novelty::at_path;
pub(super) use crate::domain::template::as_text;
use crate::domain::template::filled;
use serde_json::Value;
use std::sync::Arc;

/// What places are filled with.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The event that started the run; null if none did.
    pub(super) event: Value,
    /// The parameters of the run.
    pub(super) params: Option<Arc<ParamValues>>,
    /// What the gate gave, as text.
    pub(super) gate: String,
    /// That may come from outside.
    pub(super) untrusted_gate: bool,
}

/// What an event says of itself; all else that it carries may come from outside.
const OF_THE_EVENT: &[&str] =
    &["event.type", "event.seq", "event.ts", "event.agent_id", "event.run_id", "event.session_id"];

/// A copy of `value` with the places in all its strings filled; keys stay as they are.
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

/// A copy of `value` with nothing filled but what a person gave: the parameters of the run.
pub(super) fn fill_params(value: &Value, places: &Places) -> Value {
    map_texts(value, &|text| filled(text, |name| param(name, places)))
}

/// `text` with its places filled. Braces around anything else stay as they are; a path that leads
/// nowhere becomes empty.
pub(super) fn fill_text(text: &str, places: &Places) -> String {
    filled(text, |name| value_at(name, places))
}

/// A query with its places filled, and whether words from outside came into it. Those are marked.
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
            OF_THE_EVENT.contains(&name)
                || (name.starts_with("after.") && name.matches('.').count() == 2 && of_run)
        };
        let trusted = match name {
            "gate" => !places.untrusted_gate,
            // as the query itself, they are what a person asks for
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

/// The parameter that stands for the place of this name; `None`: the run has no such parameter.
fn param(name: &str, places: &Places) -> Option<String> {
    places.params.as_ref()?.get(name.strip_prefix("param.")?).map(as_text)
}

/// What stands for the place of this name; `None`: it is no place.
fn value_at(name: &str, places: &Places) -> Option<String> {
    match name {
        "gate" => Some(places.gate.clone()),
        "event" => Some(as_text(&places.event)),
        _ if name.starts_with("param.") => param(name, places),
        _ => {
            // the runs that were waited for are a part of the event that tells that all have ended
            let in_event = match name.strip_prefix("after.") {
                Some(path) => format!("payload.after.{path}"),
                None => name.strip_prefix("event.")?.to_owned(),
            };
            // a field of the event itself, or else of what it says; which never stands for what is ours
            let said = at_path(&places.event, &in_event);
            let carried = || at_path(places.event.get("payload")?, &in_event);
            let said = if OF_THE_EVENT.contains(&name) { said } else { said.or_else(carried) };
            Some(said.map(as_text).unwrap_or_default())
        }
    }
}
