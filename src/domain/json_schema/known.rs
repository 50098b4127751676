//! Checks whether a schema is fully supported: a keyword that is not checked must not look like a guarantee.
use super::parts::{lookup, pattern_of};
use crate::domain::nearest;
use serde_json::{Map, Value};

/// Keywords with subschemas: as the value, in a list, or in a table.
const SCHEMA_KEYWORDS: [&str; 10] = [
    "additionalProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
];
const SCHEMA_LIST_KEYWORDS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const SCHEMA_TABLE_KEYWORDS: [&str; 5] =
    ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];
const COUNT_KEYWORDS: [&str; 8] = [
    "minItems",
    "maxItems",
    "minContains",
    "maxContains",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
];
const NUMBER_KEYWORDS: [&str; 5] =
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
/// Keywords with values that are validated individually.
const OTHER_KEYWORDS: [&str; 8] =
    ["type", "enum", "const", "required", "dependentRequired", "uniqueItems", "pattern", "$ref"];
/// Annotations: they don't restrict values.
const ANNOTATIONS: [&str; 15] = [
    "$schema",
    "$id",
    "$comment",
    "$vocabulary",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "$anchor",
];
/// Standard keywords that are not supported here.
const UNSUPPORTED_KEYWORDS: [&str; 6] = [
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "unevaluatedProperties",
    "unevaluatedItems",
    "dependencies",
];
const TYPES: [&str; 7] = ["object", "array", "string", "boolean", "null", "number", "integer"];

/// Checks that [`super::fits_schema`] supports all of the schema.
///
/// # Errors
/// The message says what is not supported first, with its path in the schema.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    look(schema, schema, "")
}

fn look(root: &Value, schema: &Value, path: &str) -> Result<(), String> {
    let map = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(map) => map,
        other => return Err(format!("{}a schema is a table, or true or false, not {other}", before(path))),
    };
    if map.contains_key("$ref") && leads_back(root, schema, &mut Vec::new(), &mut Vec::new()) {
        return Err(format!("{}its `$ref` leads back to itself, so nothing could fit", before(path)));
    }
    for (key, value) in map {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        keyword(root, map, key, value, &at)?;
    }
    Ok(())
}

fn keyword(root: &Value, map: &Map<String, Value>, key: &str, value: &Value, at: &str) -> Result<(), String> {
    let wants = |what: &str| Err(format!("`{at}` must be {what}, not {value}"));
    match key {
        // A list is from an older draft.
        "items" if value.is_array() => look_at_list(root, value, at)?,
        _ if SCHEMA_KEYWORDS.contains(&key) => look(root, value, at)?,
        _ if SCHEMA_LIST_KEYWORDS.contains(&key) => match value.as_array() {
            Some(list) if !list.is_empty() => look_at_list(root, value, at)?,
            _ => return wants("a list of schemas"),
        },
        _ if SCHEMA_TABLE_KEYWORDS.contains(&key) => {
            let Some(table) = value.as_object() else { return wants("a table of schemas") };
            for (name, schema) in table {
                if key == "patternProperties" {
                    regex(name, at)?;
                }
                look(root, schema, &format!("{at}.{name}"))?;
            }
        }
        _ if COUNT_KEYWORDS.contains(&key) => {
            if super::numbers::whole(value).is_none() {
                return wants("a whole number from 0");
            }
        }
        "multipleOf" if value.as_f64().is_none_or(|step| step <= 0.0) => return wants("a number above 0"),
        _ if NUMBER_KEYWORDS.contains(&key) => {
            if !value.is_number() {
                return wants("a number");
            }
        }
        "type" => types(value, at)?,
        "enum" if !value.is_array() => return wants("a list of values"),
        "required" if !is_names(value) => return wants("a list of keys"),
        "dependentRequired" if !value.as_object().is_some_and(|table| table.values().all(is_names)) => {
            return wants("a table of lists of keys");
        }
        "uniqueItems" if !value.is_boolean() => return wants("true or false"),
        "pattern" => match value.as_str() {
            Some(pattern) => regex(pattern, at)?,
            None => return wants("a text"),
        },
        "$ref" => match value.as_str() {
            Some(reference) if lookup(root, reference).is_some() => {}
            _ => return wants("\"#\", or \"#/\" and a path to what is in this schema"),
        },
        _ if UNSUPPORTED_KEYWORDS.contains(&key) => {
            return Err(format!("`{at}` is not checked here; say it in other words"));
        }
        _ => return misspelt(map, key, at),
    }
    Ok(())
}

fn look_at_list(root: &Value, list: &Value, path: &str) -> Result<(), String> {
    let list = list.as_array().into_iter().flatten().enumerate();
    list.into_iter().try_for_each(|(at, schema)| look(root, schema, &format!("{path}[{at}]")))
}

/// Accepts other keywords as annotations, unless they look like a misspelled known one.
fn misspelt(map: &Map<String, Value>, key: &str, at: &str) -> Result<(), String> {
    let known = SCHEMA_KEYWORDS
        .iter()
        .chain(&SCHEMA_LIST_KEYWORDS)
        .chain(&SCHEMA_TABLE_KEYWORDS)
        .chain(&COUNT_KEYWORDS)
        .chain(&NUMBER_KEYWORDS)
        .chain(&OTHER_KEYWORDS)
        .copied();
    if known.clone().chain(ANNOTATIONS).any(|known| known == key) {
        return Ok(());
    }
    match nearest(key, known.filter(|known| !map.contains_key(*known))) {
        Some(near) => Err(format!("`{at}` is not a keyword of JSON Schema; did you mean `{near}`?")),
        None => Ok(()),
    }
}

fn types(value: &Value, at: &str) -> Result<(), String> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let unknown = list.iter().find(|word| !word.as_str().is_some_and(|word| TYPES.contains(&word)));
    match unknown {
        None if !list.is_empty() => Ok(()),
        _ => Err(format!("`{at}` must be one of {}, or a list of them, not {value}", TYPES.join(", "))),
    }
}

fn is_names(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

fn regex(pattern: &str, at: &str) -> Result<(), String> {
    match pattern_of(pattern) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{at}`: the pattern {pattern} can't be used here: {error}")),
    }
}

/// Returns whether a schema refers to itself without descending into the value. `trail` is the path so far; `fine`
/// are schemas known not to.
fn leads_back<'a>(
    root: &'a Value,
    schema: &'a Value,
    trail: &mut Vec<&'a Value>,
    fine: &mut Vec<&'a Value>,
) -> bool {
    let Some(map) = schema.as_object() else { return false };
    let is_in = |list: &[&Value]| list.iter().any(|known| std::ptr::eq(*known, schema));
    if is_in(trail) {
        return true;
    }
    if is_in(fine) {
        return false;
    }
    trail.push(schema);
    let referred = map.get("$ref").and_then(Value::as_str).and_then(|at| lookup(root, at));
    let one = ["not", "if", "then", "else"].into_iter().filter_map(|key| map.get(key));
    let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| map.get(key)?.as_array()).flatten();
    let tables = map.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let found = referred
        .into_iter()
        .chain(one)
        .chain(lists)
        .chain(tables)
        .any(|next| leads_back(root, next, trail, fine));
    trail.pop();
    fine.push(schema);
    found
}

fn before(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("`{path}`: ") }
}
