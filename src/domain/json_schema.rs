//! Checks a value against a JSON Schema. The part of JSON Schema 2020-12 that our own tools use, and
//! what answers are usually asked to fit: `type`, `required`, `properties`, `additionalProperties` as
//! a boolean, `enum`, `const`, `items`, `minItems`, `maxItems`, `minLength`, `maxLength`, `minimum`,
//! `maximum`. Other keywords are not looked at. A model reads the errors and tries again, so each says
//! what would be right.
use super::nearest::nearest;
use serde_json::{Map, Value};

/// All that does not fit, the first five of it. `whole` is what the errors call the value:
/// "the arguments".
pub fn fits_schema(whole: &str, schema: &Value, value: &Value) -> Result<(), String> {
    let mut found = Found { whole, errors: Vec::new() };
    check(schema, value, "", &mut found);
    let Found { mut errors, .. } = found;
    if errors.is_empty() {
        return Ok(());
    }
    let more = errors.len().saturating_sub(MAX_ERRORS);
    errors.truncate(MAX_ERRORS);
    let mut text = errors.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    Err(text)
}

/// So many errors are told at a time.
const MAX_ERRORS: usize = 5;

/// What was found so far.
struct Found<'a> {
    whole: &'a str,
    errors: Vec<String>,
}

impl Found<'_> {
    fn push(&mut self, error: String) {
        self.errors.push(error);
    }

    fn name(&self, path: &str) -> String {
        if path.is_empty() { self.whole.to_owned() } else { format!("`{path}`") }
    }
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    if let Some(wanted) = schema.get("type") {
        let wanted: Vec<&str> = match wanted {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        };
        if !wanted.iter().any(|wanted| is_a(value, wanted)) {
            let wanted: Vec<&str> = wanted.into_iter().map(with_article).collect();
            found.push(format!("{} must be {}, not {}", found.name(path), wanted.join(" or "), shown(value)));
            return;
        }
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        found.push(one_of(&found.name(path), allowed, value));
        return;
    }
    if let Some(wanted) = schema.get("const").filter(|wanted| *wanted != value) {
        found.push(format!("{} must be {wanted}, not {}", found.name(path), shown(value)));
        return;
    }
    match value {
        Value::Object(map) => check_object(schema, map, path, found),
        Value::Array(list) => check_array(schema, list, path, found),
        Value::String(text) => check_length(schema, text.chars().count() as u64, path, found),
        Value::Number(number) => check_number(schema, number.as_f64().unwrap_or(0.0), path, found),
        _ => {}
    }
}

fn check_object(schema: &Value, map: &Map<String, Value>, path: &str, found: &mut Found) {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if let Some(key) = required.as_str().filter(|key| !map.contains_key(*key)) {
            found.push(format!("`{}` is missing", below(path, key)));
        }
    }
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    for (key, value) in map {
        match properties.get(key) {
            Some(schema) => check(schema, value, &below(path, key), found),
            None if closed => found.push(unknown_key(&found.name(path), key, properties)),
            None => {}
        }
    }
}

fn check_array(schema: &Value, list: &[Value], path: &str, found: &mut Found) {
    let bound = |key| schema.get(key).and_then(Value::as_u64);
    let items = |number| if number == 1 { "item" } else { "items" };
    let length = list.len() as u64;
    if let Some(least) = bound("minItems").filter(|least| length < *least) {
        let items = items(least);
        found.push(format!("{} must have at least {least} {items}, not {length}", found.name(path)));
    }
    if let Some(most) = bound("maxItems").filter(|most| length > *most) {
        found.push(format!("{} must have at most {most} {}, not {length}", found.name(path), items(most)));
    }
    if let Some(schema) = schema.get("items") {
        for (at, item) in list.iter().enumerate() {
            check(schema, item, &format!("{path}[{at}]"), found);
        }
    }
}

fn check_length(schema: &Value, length: u64, path: &str, found: &mut Found) {
    let bound = |key| schema.get(key).and_then(Value::as_u64);
    if let Some(least) = bound("minLength").filter(|least| length < *least) {
        found.push(format!("{} must be at least {least} characters long, not {length}", found.name(path)));
    }
    if let Some(most) = bound("maxLength").filter(|most| length > *most) {
        found.push(format!("{} must be at most {most} characters long, not {length}", found.name(path)));
    }
}

fn check_number(schema: &Value, number: f64, path: &str, found: &mut Found) {
    if let Some(least) =
        schema.get("minimum").filter(|least| least.as_f64().is_some_and(|least| number < least))
    {
        found.push(format!("{} must be at least {least}, not {number}", found.name(path)));
    }
    if let Some(most) = schema.get("maximum").filter(|most| most.as_f64().is_some_and(|most| number > most)) {
        found.push(format!("{} must be at most {most}, not {number}", found.name(path)));
    }
}

fn is_a(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        // 5.0 is an integer too (JSON Schema 2020-12, section 4.2.3 of the core).
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

fn one_of(name: &str, allowed: &[Value], value: &Value) -> String {
    let words: Vec<String> =
        allowed.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
    let mut text = format!("{name} must be one of {}, not {}", words.join(", "), shown(value));
    if let Some(near) = value.as_str().and_then(|word| nearest(word, words.iter().map(String::as_str))) {
        text.push_str(&format!(" (did you mean `{near}`?)"));
    }
    text
}

fn unknown_key(name: &str, key: &str, properties: &Map<String, Value>) -> String {
    let start = format!("{name} can't have `{}`", cut(key));
    if let Some(near) = nearest(key, properties.keys().map(String::as_str)) {
        return format!("{start}; did you mean `{near}`?");
    }
    if properties.is_empty() {
        return format!("{start}: nothing can be set there");
    }
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    format!("{start}; it can have {}", known.join(", "))
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn with_article(kind: &str) -> &str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        other => other,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        Value::String(text) => format!("the text \"{}\"", cut(text)),
        other => other.to_string(),
    }
}

fn cut(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    //! Tests of the validator.
    use super::*;
    use serde_json::json;

    #[test]
    fn says_what_would_be_right() {
        let schema = json!({
            "type": "object",
            "required": ["checks"],
            "additionalProperties": false,
            "properties": {
                "top": {"type": "integer", "minimum": 0, "maximum": 50},
                "checks": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "required": ["type"],
                    "properties": {
                        "type": {"enum": ["disk", "memory"]},
                        "for": {"type": ["number", "string"]},
                        "deep": {"type": "object", "properties": {}, "additionalProperties": false},
                    },
                }},
            },
        });
        let good = [
            json!({"checks": [{"type": "disk"}]}),
            json!({"checks": [{"type": "disk", "for": "5m"}, {"type": "memory", "for": 5.5}], "top": 50}),
            json!({"checks": [{"type": "disk", "unheard": 1, "deep": {}}], "top": 0.0}),
        ];
        for value in good {
            assert_eq!(fits_schema("the arguments", &schema, &value), Ok(()), "{value}");
        }
        let bad = [
            (json!(null), "the arguments must be an object, not null"),
            (json!([]), "the arguments must be an object, not a list"),
            (json!({}), "`checks` is missing"),
            (json!({"checks": []}), "`checks` must have at least 1 item, not 0"),
            (json!({"checks": {}}), "`checks` must be a list, not an object"),
            (json!({"checks": [7]}), "`checks[0]` must be an object, not 7"),
            (json!({"checks": [{}]}), "`checks[0].type` is missing"),
            (
                json!({"checks": [{"type": "disk"}, {"type": "dsk"}]}),
                "`checks[1].type` must be one of disk, memory, not the text \"dsk\" (did you mean `disk`?)",
            ),
            (json!({"checks": [{"type": 1}]}), "`checks[0].type` must be one of disk, memory, not 1"),
            (
                json!({"checks": [{"type": "disk", "for": true}]}),
                "`checks[0].for` must be a number or a text, not true",
            ),
            (
                json!({"checks": [{"type": "disk", "deep": {"a": 1}}]}),
                "`checks[0].deep` can't have `a`: nothing can be set there",
            ),
            (json!({"checks": [{"type": "disk"}], "top": 51}), "`top` must be at most 50, not 51"),
            (json!({"checks": [{"type": "disk"}], "top": -1}), "`top` must be at least 0, not -1"),
            (json!({"checks": [{"type": "disk"}], "top": 1.5}), "`top` must be a whole number, not 1.5"),
            (
                json!({"checks": [{"type": "disk"}], "tpo": 1}),
                "the arguments can't have `tpo`; did you mean `top`?",
            ),
            (
                json!({"check_list": [], "xyzzy": 1}),
                "`checks` is missing; the arguments can't have `check_list`; it can have checks, top; \
                 the arguments can't have `xyzzy`; it can have checks, top",
            ),
        ];
        for (value, says) in bad {
            assert_eq!(fits_schema("the arguments", &schema, &value).unwrap_err(), says, "{value}");
        }
    }

    #[test]
    fn bounds_of_texts_and_lists() {
        let schema = json!({"type": "object", "properties": {
            "text": {"type": "string", "minLength": 2, "maxLength": 3},
            "list": {"maxItems": 1},
            "version": {"const": 1},
        }});
        assert_eq!(fits_schema("x", &schema, &json!({"text": "äöü", "list": [1], "version": 1})), Ok(()));
        let bad = [
            (json!({"text": "a"}), "`text` must be at least 2 characters long, not 1"),
            (json!({"text": "abcd"}), "`text` must be at most 3 characters long, not 4"),
            (json!({"list": [1, 2]}), "`list` must have at most 1 item, not 2"),
            (json!({"version": 2}), "`version` must be 1, not 2"),
            (json!(1), "the answer must be an object, not 1"),
        ];
        for (value, says) in bad {
            assert_eq!(fits_schema("the answer", &schema, &value).unwrap_err(), says, "{value}");
        }
    }

    #[test]
    fn many_errors_are_cut() {
        let schema = json!({"items": {"type": "string"}});
        let text = fits_schema("x", &schema, &json!([1, 2, 3, 4, 5, 6, 7])).unwrap_err();
        assert!(text.ends_with("`[4]` must be a text, not 5; and 2 more"), "{text}");
        let long = json!("x".repeat(1000));
        assert!(fits_schema("x", &json!({"type": "number"}), &long).unwrap_err().len() < 120);
    }
}
