//! Delivery of results to people: `deliver` of an agent.
use super::excerpt::{LengthUnit, cut_at_sentence};
use super::expected::{Expect, first_unmet};
use super::ids::RunId;
use super::novelty::at_path;
use super::template::{as_text, filled};
use serde_json::{Value, json};

/// Maximum length of a title, in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Maximum length of a text in the outbox, in bytes: a command's result, and a line that says that it is cut. Each target sends as
/// much of it as its service accepts.
const MAX_TEXT_BYTES: usize = (64 << 10) + 256;

/// Recipients of a completed run's result, conditions, and templates.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliverSpec {
    /// Names of `[notify.…]` tables.
    pub to: Vec<String>,
    /// Conditions on the result; empty: it is always sent.
    pub when: Vec<Expect>,
    /// Template of the title, one line.
    pub title: String,
    /// Template of the text.
    pub text: String,
}

/// Values for the placeholders of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryFacts {
    /// The fields `result`, `gate` and `run`.
    root: Value,
}

impl DeliveryFacts {
    /// Returns the values of a completed run. JSON objects and lists have fields; everything else is text. `run`
    /// has the fields of `OF_RUN`.
    pub fn new(result: Option<&str>, gate: Option<&str>, run: Value) -> Self {
        Self { root: json!({ "result": value_of(result), "gate": value_of(gate), "run": run }) }
    }

    /// Returns the value of a placeholder; `None`: it is not one of a delivery.
    fn value(&self, place: &str) -> Option<String> {
        let first = place.split('.').next().unwrap_or_default();
        self.root.get(first)?;
        Some(at_path(&self.root, place).map(reads).unwrap_or_default())
    }

    /// Returns the value that `when` is evaluated on: a result that is an object, or `result` as a single field
    /// otherwise.
    fn looked_at(&self) -> Value {
        match &self.root["result"] {
            Value::Object(fields) => Value::Object(fields.clone()),
            other => json!({ "result": other }),
        }
    }
}

impl DeliverSpec {
    /// Default of the title.
    pub const TITLE: &str = "{run.agent}";
    /// Default of the text.
    pub const TEXT: &str = "{result}";
    /// Names that placeholders begin with.
    pub const PLACES: &[&str] = &["result", "gate", "run"];
    /// Fields of `{run.…}`.
    pub const OF_RUN: &[&str] = &[
        "id",
        "agent",
        "attempt",
        "trigger",
        "slot",
        "started_at",
        "finished_at",
        "duration",
        "requests",
        "tokens",
        "usd",
        "exit_code",
        "warnings",
    ];

    /// Returns whether there is a placeholder for the output of the gate.
    pub fn uses_gate(&self) -> bool {
        [&self.title, &self.text].iter().any(|text| text.contains("{gate}") || text.contains("{gate."))
    }

    /// Returns whether it depends on the result being an object with fields.
    pub fn reads_fields(&self) -> bool {
        !self.when.is_empty() || [&self.title, &self.text].iter().any(|text| text.contains("{result."))
    }

    /// Returns title and text; `None` if the result is not to be sent.
    pub fn words(&self, facts: &DeliveryFacts, run: RunId) -> Option<(String, String)> {
        if first_unmet(&self.when, &facts.looked_at()).is_some() {
            return None;
        }
        let title = filled(&self.title, |place| facts.value(place));
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        let title = if title.is_empty() { as_text(&facts.root["run"]["agent"]) } else { title };
        let text = filled(&self.text, |place| facts.value(place));
        let title = match title.char_indices().nth(MAX_TITLE_CHARS) {
            Some((end, _)) => format!("{}…", &title[..end]),
            None => title,
        };
        let text =
            cut_at_sentence(text.trim(), LengthUnit::Bytes, MAX_TEXT_BYTES, &rest_of(run)).into_owned();
        Some((title, text))
    }
}

/// Returns where to find the rest of a text that was cut.
pub fn rest_of(run: RunId) -> String {
    format!("The rest: bgagent show {}", run.short())
}

fn value_of(text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Formats a value for people: a list of plain values becomes lines.
fn reads(value: &Value) -> String {
    match value {
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(|item| format!("- {}", as_text(item))).collect::<Vec<_>>().join("\n")
        }
        Value::Array(_) | Value::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        plain => as_text(plain),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is sent of a result.
    use super::*;
    use crate::domain::Compare;

    fn spec(title: &str, text: &str, when: Vec<Expect>) -> DeliverSpec {
        DeliverSpec { to: vec!["me".into()], when, title: title.into(), text: text.into() }
    }

    fn words(spec: &DeliverSpec, result: Option<&str>) -> Option<(String, String)> {
        let run = RunId::from_bytes([7; 16]);
        let facts = DeliveryFacts::new(
            result,
            Some("{\"items\":[{\"id\":1}]}"),
            json!({"agent": "news", "usd": 0.5}),
        );
        spec.words(&facts, run)
    }

    #[test]
    fn places_are_filled_from_the_result_the_gate_and_the_run() {
        let spec = spec(
            "{result.title}\n of {run.agent}",
            "{result.list}\n{gate.items.0.id} {result.no} {run.usd} {x}",
            vec![],
        );
        let (title, text) = words(&spec, Some(r#"{"title": "A {run.usd}", "list": ["a", 2]}"#)).unwrap();
        assert_eq!(title, "A {run.usd} of news", "one line, and what was filled in is not filled again");
        assert_eq!(text, "- a\n- 2\n1  0.5 {x}");
    }

    #[test]
    fn a_text_is_a_result_too() {
        let plain = spec(DeliverSpec::TITLE, DeliverSpec::TEXT, vec![]);
        assert_eq!(words(&plain, Some("all is well\n")), Some(("news".into(), "all is well".into())));
        assert_eq!(words(&plain, Some("42")), Some(("news".into(), "42".into())));
        assert_eq!(words(&plain, None), Some(("news".into(), String::new())));
        assert_eq!(words(&plain, Some(r#"{"a":1}"#)).unwrap().1, "{\n  \"a\": 1\n}");
        assert!(!plain.reads_fields());
        let none = spec("{result.title}", "{result.x}", vec![]);
        assert!(none.reads_fields());
        assert_eq!(words(&none, Some("plain")), Some(("news".into(), String::new())));
    }

    #[test]
    fn only_what_is_asked_for_is_sent() {
        let when = |field: &str, compare, value| Expect { field: field.into(), compare, value };
        let some = spec("t", "x", vec![when("items", Compare::Gte, json!(1))]);
        assert!(words(&some, Some(r#"{"items":[1]}"#)).is_some());
        for result in [Some(r#"{"items":[]}"#), Some(r#"{"other":1}"#), Some("text"), None] {
            assert_eq!(words(&some, result), None);
        }
        let text = spec("t", "x", vec![when("result", Compare::Contains, json!("ALERT"))]);
        assert!(words(&text, Some("an ALERT")).is_some());
        assert!(words(&text, Some("calm")).is_none());
        let list = spec("t", "x", vec![when("result", Compare::Gt, json!(1))]);
        assert!(words(&list, Some("[1, 2]")).is_some() && words(&list, Some("[1]")).is_none());
    }

    #[test]
    fn a_long_text_says_where_the_rest_is() {
        let plain = spec("{result}", "{result}", vec![]);
        let (title, text) = words(&plain, Some(&"A sentence of words. ".repeat(5000))).unwrap();
        assert!(title.chars().count() == MAX_TITLE_CHARS + 1 && title.ends_with('…'), "{title}");
        assert!(
            text.len() <= MAX_TEXT_BYTES && text.ends_with("of words. …\n\nThe rest: bgagent show 07070707"),
            "{}",
            &text[MAX_TEXT_BYTES - 90..]
        );
    }
}
