//! Expectations on the result of a gate or a proof, and conditions of a delivery.
use super::excerpt::{LengthUnit, shortened};
use super::novelty::at_path;
use super::words::words;
use serde_json::Value;
use std::cmp::Ordering;

/// One condition on a field of a result: `expect = { rows = { gte = 1 } }`, `expect = { exit_code = 0 }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Path of the field: `exit_code`, `stdout`, `rows.0.count`.
    pub field: String,
    pub compare: Compare,
    pub value: serde_json::Value,
}

words! {
    /// How a field is compared with a value.
    Compare {
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Lte = "lte",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Gte = "gte",
        /// A text that contains, or a list that has.
        Contains = "contains",
    }
}

/// Returns the first condition that `found` does not meet, as a sentence for people.
pub fn first_unmet(expect: &[Expect], found: &Value) -> Option<String> {
    expect.iter().find_map(|one| {
        let value = at_path(found, &one.field);
        if value.is_some_and(|value| holds(one.compare, value, &one.value)) {
            return None;
        }
        // An absent field is not equal to anything.
        if value.is_none() && one.compare == Compare::Ne {
            return None;
        }
        let wanted = format!("`{}` {} {}", one.field, words_of(one.compare), excerpt(&one.value));
        Some(match value {
            Some(value) => format!("{wanted} was expected, but it is {}", excerpt(value)),
            None => format!("{wanted} was expected, but there is no such field"),
        })
    })
}

/// Returns whether a value is empty: `null`, `[]`, `{}` or `""`.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Evaluates a condition. A list is compared with a number by its length.
fn holds(compare: Compare, found: &Value, wanted: &Value) -> bool {
    let length = found.as_array().filter(|_| wanted.is_number() && compare != Compare::Contains);
    let length = length.map(|items| Value::from(items.len()));
    let found = length.as_ref().unwrap_or(found);
    match compare {
        Compare::Eq => equal(found, wanted),
        Compare::Ne => !equal(found, wanted),
        Compare::Lt => order(found, wanted).is_some_and(Ordering::is_lt),
        Compare::Lte => order(found, wanted).is_some_and(Ordering::is_le),
        Compare::Gt => order(found, wanted).is_some_and(Ordering::is_gt),
        Compare::Gte => order(found, wanted).is_some_and(Ordering::is_ge),
        Compare::Contains => match (found, wanted) {
            (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
            (Value::String(text), Value::Number(part)) => text.contains(&part.to_string()),
            (Value::Array(items), wanted) => items.iter().any(|item| equal(item, wanted)),
            _ => false,
        },
    }
}

/// Compares numbers by value (`1` and `1.0`), even if the found one is text: the output of a command is always
/// text.
fn equal(found: &Value, wanted: &Value) -> bool {
    match (number(found, wanted), wanted.as_f64()) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => found == wanted,
    }
}

fn order(found: &Value, wanted: &Value) -> Option<Ordering> {
    match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
        _ => number(found, wanted)?.partial_cmp(&wanted.as_f64()?),
    }
}

fn number(found: &Value, wanted: &Value) -> Option<f64> {
    match found {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if wanted.is_number() => text.trim().parse().ok(),
        _ => None,
    }
}

fn words_of(compare: Compare) -> &'static str {
    match compare {
        Compare::Eq => "equal to",
        Compare::Ne => "not equal to",
        Compare::Lt => "less than",
        Compare::Lte => "at most",
        Compare::Gt => "greater than",
        Compare::Gte => "at least",
        Compare::Contains => "containing",
    }
}

/// Returns a value shortened for a message.
fn excerpt(value: &Value) -> String {
    shortened(&value.to_string(), LengthUnit::Bytes, 200).into_owned()
}
