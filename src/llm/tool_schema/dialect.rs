//! Converts older and looser dialects of JSON Schema to draft 2020-12.
use super::below::each_below;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Deeper than any schema that a parser accepts.
const MAX_DEPTH: usize = 130;

/// Converts a schema and its subschemas to draft 2020-12. What can't be expressed is removed.
pub(super) fn renew(schema: &mut Map<String, Value>, deep: usize) {
    if deep > MAX_DEPTH {
        return schema.clear();
    }
    schema.retain(|key, value| is_well_said(key, value));
    types(schema);
    bounds(schema);
    items(schema);
    if schema.remove("nullable") == Some(Value::Bool(true)) {
        or_null(schema);
    }
    properties(schema);
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), value) {
            (
                "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas",
                Value::Object(named),
            ) => {
                named.values_mut().for_each(|below| renew_value(below, deep));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(all)) => {
                all.iter_mut().for_each(|below| renew_value(below, deep));
            }
            (
                "items"
                | "additionalProperties"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames",
                below,
            ) => {
                renew_value(below, deep);
            }
            _ => {}
        }
    }
}

/// Moves the older keyword `definitions` into `$defs`, with all references, for providers that only know the latter.
pub(super) fn rename_definitions(root: &mut Map<String, Value>) {
    let Some(Value::Object(old)) = root.remove("definitions") else { return };
    let Value::Object(defs) = root.entry("$defs").or_insert_with(|| json!({})) else { return };
    let mut names: HashMap<String, String> = HashMap::new();
    for (name, schema) in old {
        let mut free = name.clone();
        while defs.contains_key(&free) {
            free.push('_');
        }
        defs.insert(free.clone(), schema);
        names.insert(name, free);
    }
    refer_anew(root, &names);
}

fn refer_anew(schema: &mut Map<String, Value>, names: &HashMap<String, String>) {
    if let Some(Value::String(reference)) = schema.get_mut("$ref")
        && let Some(rest) = reference.strip_prefix("#/definitions/")
    {
        let (name, further) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let plain = name.replace("~1", "/").replace("~0", "~");
        let new = match names.get(&plain) {
            Some(new) if *new != plain => new.replace('~', "~0").replace('/', "~1"),
            _ => name.to_owned(),
        };
        *reference = format!("#/$defs/{new}{further}");
    }
    each_below(schema, &mut |below| {
        if let Some(below) = below.as_object_mut() {
            refer_anew(below, names);
        }
    });
}

fn renew_value(schema: &mut Value, deep: usize) {
    match schema {
        Value::Object(map) => renew(map, deep + 1),
        Value::Bool(_) => {}
        Value::String(kind) => {
            let kind = known_type(kind);
            *schema = kind.map_or_else(|| json!({}), |kind| json!({"type": kind}));
        }
        _ => *schema = json!({}),
    }
}

/// Returns whether a keyword has a value of its type. Unknown keywords are kept.
fn is_well_said(key: &str, value: &Value) -> bool {
    match key {
        // keywords of a whole document, and one of draft 7 without an equivalent
        "$schema" | "$id" | "id" | "$vocabulary" | "$comment" | "$anchor" | "$dynamicAnchor"
        | "dependencies" => false,
        "title" | "description" | "format" | "pattern" | "$ref" | "contentEncoding" | "contentMediaType" => {
            value.is_string()
        }
        "enum" | "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
            value.as_array().is_some_and(|all| !all.is_empty())
        }
        "examples" => value.is_array(),
        "deprecated" | "readOnly" | "writeOnly" | "uniqueItems" | "nullable" => value.is_boolean(),
        "$defs" | "definitions" | "patternProperties" | "dependentSchemas" | "dependentRequired" => {
            value.is_object()
        }
        "additionalProperties" | "not" | "if" | "then" | "else" | "contains" | "propertyNames" => {
            value.is_object() || value.is_boolean()
        }
        "$dynamicRef" | "$recursiveRef" => false,
        _ => true,
    }
}

fn known_type(said: &str) -> Option<&'static str> {
    Some(match said.to_ascii_lowercase().as_str() {
        "object" | "dict" | "map" | "struct" | "record" => "object",
        "array" | "list" | "tuple" | "set" => "array",
        "string" | "str" | "text" | "date" | "datetime" | "uuid" | "uri" | "url" | "file" | "enum" => {
            "string"
        }
        "integer" | "int" | "long" | "int32" | "int64" => "integer",
        "number" | "float" | "double" | "decimal" => "number",
        "boolean" | "bool" => "boolean",
        "null" | "none" | "nil" => "null",
        _ => return None,
    })
}

fn types(schema: &mut Map<String, Value>) {
    let Some(said) = schema.remove("type") else { return };
    let said = match said {
        Value::Array(all) => all,
        one => vec![one],
    };
    let mut known: Vec<&str> = Vec::new();
    for kind in &said {
        match kind.as_str().map(known_type) {
            Some(Some(kind)) if !known.contains(&kind) => known.push(kind),
            Some(Some(_)) => {}
            // anything
            Some(None) | None => return,
        }
    }
    match known[..] {
        [] => {}
        [kind] => drop(schema.insert("type".into(), kind.into())),
        _ => drop(schema.insert("type".into(), known.into())),
    }
}

/// Converts draft 4, where an exclusive bound is a boolean beside the bound; some write numbers as strings.
fn bounds(schema: &mut Map<String, Value>) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match schema.get(exclusive) {
            Some(Value::Bool(true)) => match schema.remove(bound) {
                Some(number) => drop(schema.insert(exclusive.into(), number)),
                None => drop(schema.remove(exclusive)),
            },
            Some(Value::Bool(false)) => drop(schema.remove(exclusive)),
            _ => {}
        }
    }
    const NUMBERS: [&str; 11] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ];
    for word in NUMBERS {
        let Some(value) = schema.get(word).filter(|value| !value.is_number()) else { continue };
        match value.as_str().and_then(|text| serde_json::from_str::<serde_json::Number>(text.trim()).ok()) {
            Some(number) => drop(schema.insert(word.into(), number.into())),
            None => drop(schema.remove(word)),
        }
    }
}

/// Converts a list under `items` to `prefixItems`. An empty list accepts anything.
fn items(schema: &mut Map<String, Value>) {
    let more = schema.remove("additionalItems");
    match schema.remove("items") {
        Some(Value::Array(first)) => {
            if !first.is_empty() {
                schema.insert("prefixItems".into(), first.into());
            }
            if let Some(more @ (Value::Object(_) | Value::Bool(_))) = more {
                schema.insert("items".into(), more);
            }
        }
        Some(items @ (Value::Object(_) | Value::Bool(_) | Value::String(_))) => {
            schema.insert("items".into(), items);
        }
        _ => {}
    }
    let is_list = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "array"),
        kind => kind == Some(&Value::from("array")),
    };
    if is_list && !schema.contains_key("items") {
        schema.insert("items".into(), json!({}));
    }
}

fn or_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(all)) = schema.get_mut("enum")
        && !all.contains(&Value::Null)
    {
        all.push(Value::Null);
    }
    match schema.get_mut("type") {
        Some(Value::Array(kinds)) if !kinds.iter().any(|kind| kind == "null") => kinds.push("null".into()),
        Some(kind @ Value::String(_)) => *kind = json!([kind.clone(), "null"]),
        _ => {}
    }
}

/// Converts `properties` to an object, and `required` to a list beside it: in draft 3 it is a boolean of each property.
fn properties(schema: &mut Map<String, Value>) {
    let mut required: Vec<String> = match schema.remove("required") {
        Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    match schema.get_mut("properties") {
        Some(Value::Object(named)) => {
            for (key, below) in named.iter_mut() {
                if let Some(map) = below.as_object_mut()
                    && map.get("required").is_some_and(|said| !said.is_array())
                    && map.remove("required") == Some(Value::Bool(true))
                    && !required.contains(key)
                {
                    required.push(key.clone());
                }
            }
        }
        Some(other) => *other = json!({}),
        None => {}
    }
    let mut seen = std::collections::BTreeSet::new();
    required.retain(|key| seen.insert(key.clone()));
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
}
