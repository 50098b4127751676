//! `deliver` of an agent: who receives its results, when, and with which text.
use super::walk::{Item, Section};
use super::{checks, keys};
use crate::config::values::refers;
use crate::domain::template::places;
use crate::domain::*;
use serde_json::Value;
use std::sync::Arc;

/// What is known about the runs whose results are sent.
pub(super) struct Runs<'a> {
    pub(super) fleet: &'a Fleet,
    /// `None` if it has an error.
    pub(super) body: Option<&'a Body>,
    pub(super) has_gate: bool,
}

/// The form of a run's result, as far as the configuration determines it.
enum Shape<'a> {
    /// JSON that matches this schema.
    Schema(&'a Value),
    /// A model's text.
    Text,
    /// Output of a tool or a program.
    Unknown,
}

impl Runs<'_> {
    fn shape(&self) -> Shape<'_> {
        match self.body {
            Some(Body::Query(query)) => query.output_schema.as_ref().map_or(Shape::Text, Shape::Schema),
            Some(Body::Runner(_)) => Shape::Text,
            _ => Shape::Unknown,
        }
    }

    /// Returns advice for a field of an answer that is a text.
    fn hint_of_text(&self, whole: &str) -> String {
        match self.body {
            Some(Body::Runner(_)) => whole.to_owned(),
            _ => format!("give it an `output_schema` that has the field, or {whole}"),
        }
    }
}

pub(super) fn deliver(section: &Section<'_>, runs: &Runs<'_>) -> Option<Arc<DeliverSpec>> {
    let section = section.get("deliver")?.section(keys::DELIVER)?;
    let Some(list) = section.get("to") else {
        let hint = "name [notify.…] tables: to = [\"me\"]".to_owned();
        return section.missing(&["to"], "`deliver` needs `to`".into(), Some(hint));
    };
    let mut to: Vec<String> = Vec::new();
    for item in list.items().unwrap_or_default() {
        let Some(name) = item.text() else { continue };
        refers(item, name, "notify target", runs.fleet.notify.keys().map(String::as_str));
        if !to.iter().any(|known| known == name) {
            to.push(name.to_owned());
        }
    }
    if to.is_empty() && list.items().is_some_and(|items| items.is_empty()) {
        return list
            .refuse_with("`to` is empty".into(), "name a [notify.…] table, or leave `deliver` out".into());
    }
    let when = section.get("when").and_then(|item| when(item, runs)).unwrap_or_default();
    let words = |name, usual: &str| {
        let item = section.get(name);
        let text = item.and_then(|item| item.text());
        if let (Some(item), Some(text)) = (item, text) {
            places(text).for_each(|place| check_placeholder(item, place, runs));
        }
        text.unwrap_or(usual).to_owned()
    };
    let (title, text) = (words("title", DeliverSpec::TITLE), words("text", DeliverSpec::TEXT));
    Some(Arc::new(DeliverSpec { to, when, title, text }))
}

fn when(item: Item<'_>, runs: &Runs<'_>) -> Option<Vec<Expect>> {
    let all = checks::expect(item, false)?;
    for (field, _) in item.table()? {
        let (span, field) = (field.span(), field.get_ref().as_ref());
        match runs.shape() {
            Shape::Schema(schema) if !has_field(schema, schema, field) => {
                let message = format!("`when` looks at `{field}`, which `output_schema` does not have");
                item.file.error(Some(span), message, suggestion(schema, field));
            }
            Shape::Text if field != "result" => {
                let message = format!("`when` looks at `{field}`, and the answer of this agent is a text");
                item.file.warn(span, message, Some(runs.hint_of_text("look at `result`")));
            }
            _ => {}
        }
    }
    Some(all)
}

/// Reports an invalid placeholder.
fn check_placeholder(item: Item<'_>, place: &str, runs: &Runs<'_>) {
    let (first, rest) = place.split_once('.').map_or((place, None), |(first, rest)| (first, Some(rest)));
    let (message, hint) = match (first, rest) {
        ("gate", _) if !runs.has_gate => {
            ("this agent has no `gate`".to_owned(), Some("leave the place out, or add a gate".to_owned()))
        }
        ("run", rest) => {
            let field = rest.unwrap_or_default();
            if DeliverSpec::OF_RUN.contains(&field) {
                return;
            }
            let hint = match nearest(field, DeliverSpec::OF_RUN.iter().copied()) {
                Some(near) => format!("did you mean `{{run.{near}}}`?"),
                None => format!("a run has {}", DeliverSpec::OF_RUN.join(", ")),
            };
            ("a run has no such field".to_owned(), Some(hint))
        }
        ("result", Some(field)) => match runs.shape() {
            Shape::Schema(schema) if !has_field(schema, schema, field) => {
                (format!("`output_schema` has no `{field}`"), suggestion(schema, field))
            }
            Shape::Text => {
                let message = format!("`{{{place}}}` will be empty: the answer of this agent is a text");
                return item.file.warn(item.span(), message, Some(runs.hint_of_text("write {result}")));
            }
            _ => return,
        },
        ("result" | "gate", _) => return,
        (other, _) => {
            let hint = match nearest(other, DeliverSpec::PLACES.iter().copied()) {
                Some(near) => format!("did you mean `{{{near}{}}}`?", &place[other.len()..]),
                None => "there are {result}, {result.FIELD}, {gate}, {gate.FIELD} and {run.FIELD}".to_owned(),
            };
            ("nothing fills it".to_owned(), Some(hint))
        }
    };
    item.file.error(Some(item.span()), format!("unknown placeholder `{{{place}}}`: {message}"), hint);
}

/// Suggests the field that may be meant, or lists all.
fn suggestion(schema: &Value, field: &str) -> Option<String> {
    let first = field.split('.').next().unwrap_or_default();
    let names: Vec<&str> = schema.get("properties")?.as_object()?.keys().map(String::as_str).collect();
    Some(match nearest(first, names.iter().copied()) {
        Some(near) if near != first => format!("did you mean `{near}`?"),
        _ => format!("it has {}", names.join(", ")),
    })
}

/// Returns whether a value that matches this schema may have this path. If the schema leaves that open, it
/// may.
fn has_field(root: &Value, schema: &Value, path: &str) -> bool {
    const OPEN: &[&str] = &["anyOf", "oneOf", "allOf", "if", "not", "patternProperties", "$dynamicRef"];
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        // One step only: a reference to a reference counts as open.
        Some(to) => match to.strip_prefix('#').and_then(|to| root.pointer(to)) {
            Some(there) if there.get("$ref").is_none() => there,
            _ => return true,
        },
        None => schema,
    };
    let Some(keywords) = schema.as_object() else { return true };
    if OPEN.iter().any(|word| keywords.contains_key(*word)) {
        return true;
    }
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let goes_on = |within: &Value| rest.is_none_or(|rest| has_field(root, within, rest));
    if step.parse::<usize>().is_ok()
        && let Some(items) = keywords.get("items")
    {
        return goes_on(items);
    }
    if let Some(properties) = keywords.get("properties").and_then(Value::as_object) {
        let others = keywords.get("additionalProperties").filter(|others| **others != Value::Bool(false));
        return match (properties.get(step), others) {
            (Some(within), _) => goes_on(within),
            (None, others) => others.is_some(),
        };
    }
    let plain = ["string", "number", "integer", "boolean", "null"];
    !keywords.get("type").and_then(Value::as_str).is_some_and(|kind| plain.contains(&kind))
}
