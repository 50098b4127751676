//! Schemas of tools on their way to a provider. Servers write them in any dialect, and one that a provider does not
//! take makes it refuse the whole request. What is lost here only narrows what fits: arguments are checked against
//! the schema as it was (`conversation`).
use super::wire::Wire;
use crate::domain::{ModelRequest, ToolDef};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

mod dialect;

/// So deep are references followed,
const MOST_DEEP: usize = 12;
/// and so many schemas are looked at in all: who wrote them may be hostile.
const MOST_STEPS: usize = 4096;
/// With references written out, a schema may be this many times as long: each request pays for it.
const MOST_LONGER: usize = 2;
/// Longest name of an argument that each provider takes.
const MAX_KEY: usize = 64;

/// Keywords that Gemini takes in `parametersJsonSchema` (its reference of function declarations).
const GEMINI: [&str; 21] = [
    "$defs",
    "$ref",
    "type",
    "format",
    "title",
    "description",
    "enum",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "anyOf",
    "properties",
    "additionalProperties",
    "required",
    "minLength",
    "maxLength",
    "pattern",
    "default",
];

/// The request with its tools' schemas as this wire takes them.
pub(super) fn shaped(wire: Wire, request: &ModelRequest) -> Cow<'_, ModelRequest> {
    let tools: Vec<ToolDef> =
        request.tools.iter().map(|tool| ToolDef { schema: of(wire, &tool.schema), ..tool.clone() }).collect();
    match tools == request.tools {
        true => Cow::Borrowed(request),
        false => Cow::Owned(ModelRequest { tools, ..request.clone() }),
    }
}

/// A schema of arguments as this wire takes it.
pub(super) fn of(wire: Wire, schema: &Value) -> Value {
    let mut whole = schema.as_object().cloned().unwrap_or_default();
    dialect::renew(&mut whole, 0);
    let root = Value::Object(whole.clone());
    let mut flat = flat(whole, &root, 0, &mut { MOST_STEPS });
    for word in ["not", "enum", "const", "if", "then", "else", "dependentRequired", "dependentSchemas"] {
        flat.remove(word);
    }
    flat.insert("type".into(), "object".into());
    flat.entry("properties").or_insert_with(|| json!({}));
    let mut flat = Value::Object(flat);
    if matches!(wire, Wire::Gemini | Wire::LikeOpenAi) {
        flat = without_references(flat, &root);
    }
    let known = flat.clone();
    resolve_lost(&mut flat, &known, &root, 0, &mut { MOST_STEPS });
    rename(&mut flat, 0);
    if wire == Wire::Gemini {
        only_known(&mut flat, 0);
    }
    flat
}

/// The names of an object's arguments as providers take them, in order: letters, digits, `_`, `.` and `-`.
pub(super) fn legal_keys(properties: &Map<String, Value>) -> Vec<(&str, String)> {
    let mut taken: Vec<String> = properties.keys().filter(|key| is_legal(key)).cloned().collect();
    let legal = |key: &String| {
        if is_legal(key) {
            return key.clone();
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
        let mut base: String = key.chars().map(plain).take(MAX_KEY - 4).collect();
        if base.is_empty() {
            base.push('_');
        }
        let mut name = base.clone();
        let mut number = 1;
        while taken.contains(&name) {
            number += 1;
            name = format!("{base}_{number}");
        }
        taken.push(name.clone());
        name
    };
    let names: Vec<String> = properties.keys().map(legal).collect();
    properties.keys().map(String::as_str).zip(names).collect()
}

fn is_legal(key: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !key.is_empty() && key.len() <= MAX_KEY && key.chars().all(is_plain)
}

/// What stands behind a reference into this document.
pub(super) fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    root.pointer(pointer)
        .or_else(|| root.pointer(&pointer.replace("%24", "$").replace("%20", " ")))
        .filter(|at| at.is_object())
}

/// Without alternatives at the top: one object with the arguments of all of them, and a sentence about what
/// goes together.
fn flat(mut schema: Map<String, Value>, root: &Value, deep: usize, left: &mut usize) -> Map<String, Value> {
    *left = left.saturating_sub(1);
    if deep > MOST_DEEP || *left == 0 {
        for word in ["$ref", "allOf", "anyOf", "oneOf"] {
            schema.remove(word);
        }
        return schema;
    }
    let mut branch =
        |branch: &Value| flat(branch.as_object().cloned().unwrap_or_default(), root, deep + 1, left);
    if let Some(Value::String(reference)) = schema.remove("$ref")
        && let Some(found) = target(root, &reference)
    {
        join(&mut schema, branch(found), true);
    }
    for part in list(schema.remove("allOf")) {
        join(&mut schema, branch(&part), true);
    }
    for word in ["anyOf", "oneOf"] {
        let branches: Vec<Map<String, Value>> = list(schema.remove(word)).iter().map(&mut branch).collect();
        let Some(first) = branches.first() else { continue };
        let all: Vec<Vec<String>> = branches.iter().map(required).collect();
        let common: Vec<String> =
            required(first).into_iter().filter(|key| all.iter().all(|keys| keys.contains(key))).collect();
        let hint = hint(word, &all);
        for mut branch in branches {
            branch.remove("required");
            branch.remove("description");
            join(&mut schema, branch, false);
        }
        require(&mut schema, common);
        say(&mut schema, &hint);
    }
    schema
}

/// In words, what alternatives need.
fn hint(word: &str, all: &[Vec<String>]) -> String {
    let only = if word == "oneOf" { "Exactly one" } else { "At least one" };
    let sets: Vec<String> =
        all.iter().filter(|keys| !keys.is_empty()).map(|keys| keys.join(" and ")).collect();
    match sets.len() == all.len() && all.len() > 1 {
        true => format!("{only} of these is needed: {}.", sets.join("; or ")),
        false => String::new(),
    }
}

fn say(schema: &mut Map<String, Value>, hint: &str) {
    if hint.is_empty() {
        return;
    }
    let said = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let said = format!("{said} {hint}").trim().to_owned();
    schema.insert("description".into(), said.into());
}

/// Takes in another schema of the same value. `both`: each of the two must fit.
fn join(into: &mut Map<String, Value>, other: Map<String, Value>, both: bool) {
    for (key, value) in other {
        match (key.as_str(), value) {
            ("properties", Value::Object(more)) => {
                let Some(known) = into.entry("properties").or_insert_with(|| json!({})).as_object_mut()
                else {
                    continue;
                };
                for (name, schema) in more {
                    match known.get(&name) {
                        Some(there) if *there != schema => {
                            let word = if both { "allOf" } else { "anyOf" };
                            let joined = json!({word: [there.clone(), schema]});
                            known.insert(name, joined);
                        }
                        Some(_) => {}
                        None => {
                            known.insert(name, schema);
                        }
                    }
                }
            }
            ("required", more) => require(into, list(Some(more)).into_iter().filter_map(text).collect()),
            // where it is said of a part, it does not hold of the whole
            ("additionalProperties" | "$defs" | "definitions", value) if key != "additionalProperties" => {
                into.entry(key).or_insert(value);
            }
            ("additionalProperties" | "unevaluatedProperties", _) => {}
            (_, value) => {
                into.entry(key).or_insert(value);
            }
        }
    }
}

fn require(schema: &mut Map<String, Value>, keys: Vec<String>) {
    let mut all = required(schema);
    all.extend(keys);
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|key| seen.insert(key.clone()));
    if !all.is_empty() {
        schema.insert("required".into(), all.into());
    }
}

fn required(schema: &Map<String, Value>) -> Vec<String> {
    list(schema.get("required").cloned()).into_iter().filter_map(text).collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// All references written out, if that does not make it much longer. One that leads back to itself becomes
/// anything.
fn without_references(schema: Value, root: &Value) -> Value {
    let (mut whole, mut left) = (schema.clone(), MOST_STEPS);
    write_out(&mut whole, root, 0, &mut left);
    if let Some(map) = whole.as_object_mut() {
        map.remove("$defs");
        map.remove("definitions");
    }
    let size = |value: &Value| value.to_string().len();
    if left > 0 && size(&whole) <= MOST_LONGER * size(&schema) + 1024 { whole } else { schema }
}

fn write_out(schema: &mut Value, root: &Value, deep: usize, left: &mut usize) {
    *left = left.saturating_sub(1);
    let Some(map) = schema.as_object_mut() else { return };
    if *left == 0 {
        return;
    }
    if let Some(Value::String(reference)) = map.remove("$ref")
        && deep < MOST_DEEP
        && let Some(Value::Object(found)) = target(root, &reference)
    {
        for (key, value) in found {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
        if map.contains_key("$ref") {
            return write_out(schema, root, deep + 1, left);
        }
        each_below(map, &mut |below| write_out(below, root, deep + 1, left));
        return;
    }
    each_below(map, &mut |below| write_out(below, root, deep, left));
}

/// References that lead nowhere any more: what stood there, or anything.
fn resolve_lost(schema: &mut Value, known: &Value, root: &Value, deep: usize, left: &mut usize) {
    *left = left.saturating_sub(1);
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(reference) = map.get("$ref").and_then(Value::as_str).map(str::to_owned)
        && target(known, &reference).is_none()
    {
        map.remove("$ref");
        if let Some(Value::Object(found)) = target(root, &reference).filter(|_| deep < MOST_DEEP && *left > 0)
        {
            for (key, value) in found {
                map.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        each_below(map, &mut |below| resolve_lost(below, known, root, deep + 1, left));
        return;
    }
    each_below(map, &mut |below| resolve_lost(below, known, root, deep, left));
}

fn rename(schema: &mut Value, deep: usize) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(properties) = map.get("properties").and_then(Value::as_object)
        && properties.keys().any(|key| !is_legal(key))
    {
        let names: Vec<(String, String)> =
            legal_keys(properties).into_iter().map(|(key, legal)| (key.to_owned(), legal)).collect();
        let renamed: Map<String, Value> =
            names.iter().map(|(key, legal)| (legal.clone(), properties[key].clone())).collect();
        let legal = |key: String| {
            names.iter().find(|(known, _)| *known == key).map_or(key.clone(), |(_, legal)| legal.clone())
        };
        let keys: Vec<String> = required(map).into_iter().map(legal).collect();
        if !keys.is_empty() {
            map.insert("required".into(), keys.into());
        }
        map.insert("properties".into(), renamed.into());
    }
    if deep < 100 {
        each_below(map, &mut |below| rename(below, deep + 1));
    }
}

/// Only words that Gemini knows, said as it knows them.
fn only_known(schema: &mut Value, deep: usize) {
    if *schema == Value::Bool(true) {
        *schema = json!({});
    }
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(only) = map.remove("const") {
        map.entry("enum").or_insert_with(|| json!([only]));
    }
    for word in ["oneOf", "allOf"] {
        let branches = list(map.remove(word));
        match (word, branches.len()) {
            ("allOf", _) => branches.into_iter().for_each(|branch| {
                join(map, branch.as_object().cloned().unwrap_or_default(), true);
            }),
            (_, 0) => {}
            _ => {
                map.entry("anyOf").or_insert(branches.into());
            }
        }
    }
    if let Some(low) = map.remove("exclusiveMinimum") {
        map.entry("minimum").or_insert(low);
    }
    if let Some(high) = map.remove("exclusiveMaximum") {
        map.entry("maximum").or_insert(high);
    }
    map.retain(|key, _| GEMINI.contains(&key.as_str()));
    let named: Vec<String> = map
        .get("properties")
        .and_then(Value::as_object)
        .map(|all| all.keys().cloned().collect())
        .unwrap_or_default();
    let keys: Vec<String> = required(map).into_iter().filter(|key| named.contains(key)).collect();
    match keys.is_empty() {
        true => drop(map.remove("required")),
        false => drop(map.insert("required".into(), keys.into())),
    }
    if deep < 100 {
        each_below(map, &mut |below| only_known(below, deep + 1));
    }
}

/// The schemas right below this one.
fn each_below(map: &mut Map<String, Value>, act: &mut dyn FnMut(&mut Value)) {
    for (key, value) in map.iter_mut() {
        match (key.as_str(), value) {
            (
                "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas",
                Value::Object(named),
            ) => {
                named.values_mut().for_each(&mut *act);
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(all)) => {
                all.iter_mut().for_each(&mut *act)
            }
            (
                "items"
                | "additionalProperties"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties",
                below,
            ) => act(below),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
