//! Schemas of tools on their way to a provider. MCP servers write them in any dialect, and an unsupported one makes a provider
//! refuse the whole request. What is lost here only narrows what fits: arguments are validated against the original schema
//! (`conversation`).
use crate::domain::{ModelRequest, ToolDef};
use crate::llm::asked::Wire;
use crate::llm::tool_schema::below::each_below;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;

mod below;
mod dialect;

/// Maximum depth of references,
const MAX_REFERENCE_DEPTH: usize = 12;
/// and maximum schemas that are visited in all: their author may be hostile.
const MAX_VISITED_SCHEMAS: usize = 4096;
/// Maximum growth by expanding references: each request pays for it.
const MAX_GROWTH: usize = 2;
/// Maximum copied bytes, as a multiple of its length, while top-level alternatives are merged.
const MAX_COPY_FACTOR: usize = 16;
/// Maximum nesting of the result; what is deeper becomes a schema that accepts anything.
const MAX_LEVELS: usize = 100;
/// Maximum alternatives that are compared to detect duplicates.
const MAX_COMPARED: usize = 64;
const MAX_KEY_CHARS: usize = 64;

/// Keywords that Gemini supports in `parametersJsonSchema` (its reference of function declarations).
const GEMINI_KEYWORDS: [&str; 21] = [
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

/// Returns the request with its tools' schemas as this wire supports them.
pub(super) fn shaped(wire: Wire, request: &ModelRequest) -> Cow<'_, ModelRequest> {
    let tools: Vec<ToolDef> =
        request.tools.iter().map(|tool| ToolDef { schema: of(wire, &tool.schema), ..tool.clone() }).collect();
    match tools == request.tools {
        true => Cow::Borrowed(request),
        false => Cow::Owned(ModelRequest { tools, ..request.clone() }),
    }
}

/// Returns a schema of arguments as this wire supports it.
pub(super) fn of(wire: Wire, schema: &Value) -> Value {
    let mut whole = schema.as_object().cloned().unwrap_or_default();
    dialect::renew(&mut whole, 0);
    if wire == Wire::Gemini {
        dialect::rename_definitions(&mut whole);
    }
    let root = Value::Object(whole.clone());
    let size = length(&root, usize::MAX);
    let mut flat = flat(whole, &root, 0, &mut WorkBudget::of(MAX_COPY_FACTOR * size));
    for word in ["not", "enum", "const", "if", "then", "else", "dependentRequired", "dependentSchemas"] {
        flat.remove(word);
    }
    flat.insert("type".into(), "object".into());
    flat.entry("properties").or_insert_with(|| json!({}));
    let mut flat = Value::Object(flat);
    if matches!(wire, Wire::Gemini | Wire::LikeOpenAi) {
        flat = without_references(flat, &root);
    }
    // Renamed keys and removed keywords can break references; and the replacements may contain references themselves. In the
    // end, none may be left.
    let left = WorkBudget::of(MAX_GROWTH * size);
    for mut left in [left, left, WorkBudget { schemas: 0, bytes: 0 }] {
        let known = flat.clone();
        resolve_lost(&mut flat, At::default(), &known, &root, &mut left);
        rename(&mut flat, 0);
        if wire == Wire::Gemini {
            only_known(&mut flat, 0);
        }
    }
    flat
}

/// What is left of the processing limits of a schema: its author may be hostile.
#[derive(Clone, Copy)]
struct WorkBudget {
    /// Schemas to visit.
    schemas: usize,
    /// Bytes to copy, as text.
    bytes: usize,
}

impl WorkBudget {
    fn of(bytes: usize) -> Self {
        Self { schemas: MAX_VISITED_SCHEMAS, bytes: bytes + 1024 }
    }

    /// Consumes one visit.
    fn look(&mut self) -> bool {
        self.schemas = self.schemas.saturating_sub(1);
        self.schemas > 0
    }

    /// Consumes the bytes of a copy; false: there are not enough, and it must not be made.
    fn copy(&mut self, value: &Value) -> bool {
        if self.schemas == 0 {
            return false;
        }
        let length = length(value, self.bytes);
        self.bytes = self.bytes.saturating_sub(length);
        if self.bytes == 0 {
            self.schemas = 0;
        }
        self.bytes > 0
    }
}

/// The position in a schema: nesting depth, and followed references.
#[derive(Clone, Copy, Default)]
struct At {
    level: usize,
    behind: usize,
}

impl At {
    fn below(self) -> Self {
        Self { level: self.level + 1, ..self }
    }

    fn behind(self) -> Self {
        Self { behind: self.behind + 1, ..self }
    }
}

/// Returns the bytes of a value as text, counted up to `most`.
fn length(value: &Value, most: usize) -> usize {
    struct Counted {
        bytes: usize,
        most: usize,
    }
    impl io::Write for Counted {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.bytes = self.bytes.saturating_add(text.len());
            if self.bytes < self.most { Ok(text.len()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted { bytes: 0, most };
    match serde_json::to_writer(&mut counted, value) {
        Ok(()) => counted.bytes,
        Err(_) => most,
    }
}

/// Returns the names of an object's arguments as providers accept them, in order: letters, digits, `_`, `.` and `-`.
pub(super) fn legal_keys(properties: &Map<String, Value>) -> Vec<(&str, String)> {
    let mut taken: HashSet<String> = properties.keys().filter(|key| is_legal(key)).cloned().collect();
    // the last number used per prefix: there may be thousands
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let legal = |key: &String| {
        if is_legal(key) {
            return key.clone();
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
        let mut base: String = key.chars().map(plain).take(MAX_KEY_CHARS - 4).collect();
        if base.is_empty() {
            base.push('_');
        }
        let number = numbers.entry(base.clone()).or_insert(0);
        loop {
            *number += 1;
            let name = if *number == 1 { base.clone() } else { format!("{base}_{number}") };
            if taken.insert(name.clone()) {
                return name;
            }
        }
    };
    let names: Vec<String> = properties.keys().map(legal).collect();
    properties.keys().map(String::as_str).zip(names).collect()
}

fn is_legal(key: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !key.is_empty() && key.len() <= MAX_KEY_CHARS && key.chars().all(is_plain)
}

/// Returns the target of a reference into this document.
pub(super) fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    root.pointer(pointer)
        .or_else(|| root.pointer(&pointer.replace("%24", "$").replace("%20", " ")))
        .filter(|at| at.is_object())
}

/// Removes alternatives at the top: returns one object with the arguments of all of them, and a sentence about which belong
/// together.
fn flat(
    mut schema: Map<String, Value>,
    root: &Value,
    deep: usize,
    left: &mut WorkBudget,
) -> Map<String, Value> {
    if !left.look() || deep > MAX_REFERENCE_DEPTH {
        for word in ["$ref", "allOf", "anyOf", "oneOf"] {
            schema.remove(word);
        }
        return schema;
    }
    let mut branch = |branch: &Value| match branch.as_object().filter(|_| left.copy(branch)) {
        Some(found) => flat(found.clone(), root, deep + 1, left),
        None => Map::new(),
    };
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

/// Describes the arguments that alternatives require.
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

/// Merges another schema of the same value. `both`: the value must fit both.
fn join(into: &mut Map<String, Value>, other: Map<String, Value>, both: bool) {
    for (key, value) in other {
        match (key.as_str(), value) {
            ("properties", Value::Object(more)) => {
                let Some(known) = into.entry("properties").or_insert_with(|| json!({})).as_object_mut()
                else {
                    continue;
                };
                for (name, schema) in more {
                    match known.get_mut(&name) {
                        Some(there) => also(there, schema, if both { "allOf" } else { "anyOf" }),
                        None => {
                            known.insert(name, schema);
                        }
                    }
                }
            }
            ("required", more) => require(into, list(Some(more)).into_iter().filter_map(text).collect()),
            // if it applies to a part, it does not apply to the whole
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

/// Adds an alternative schema of a value. Several of them are siblings, not nested.
fn also(there: &mut Value, schema: Value, word: &str) {
    if *there == schema {
        return;
    }
    match there.as_object_mut().filter(|map| map.len() == 1).and_then(|map| map.get_mut(word)) {
        Some(Value::Array(all)) => {
            if all.len() > MAX_COMPARED || !all.contains(&schema) {
                all.push(schema);
            }
        }
        _ => {
            let first = there.take();
            *there = json!({word: [first, schema]});
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

/// Expands all references, if that does not make the schema much longer. A recursive one becomes a schema that accepts
/// anything.
fn without_references(schema: Value, root: &Value) -> Value {
    let size = length(&schema, usize::MAX);
    let most = MAX_GROWTH * size + 1024;
    let (mut whole, mut left) = (schema.clone(), WorkBudget::of(MAX_GROWTH * size + size));
    if let Some(map) = whole.as_object_mut() {
        map.remove("$defs");
        map.remove("definitions");
    }
    write_out(&mut whole, At::default(), root, &mut left);
    if left.schemas > 0 && length(&whole, most + 1) <= most { whole } else { schema }
}

fn write_out(schema: &mut Value, at: At, root: &Value, left: &mut WorkBudget) {
    let may = left.look();
    let Some(map) = schema.as_object_mut() else { return };
    if !may {
        return;
    }
    if at.level > MAX_LEVELS {
        return map.clear();
    }
    let mut at = at;
    while let Some(Value::String(reference)) = map.remove("$ref") {
        let Some(found) = target(root, &reference).filter(|_| at.behind < MAX_REFERENCE_DEPTH && left.look())
        else {
            break;
        };
        at = at.behind();
        take_in(map, found, left);
    }
    each_below(map, &mut |below| write_out(below, at.below(), root, left));
}

/// Merges the target of a reference with its siblings.
fn take_in(map: &mut Map<String, Value>, found: &Value, left: &mut WorkBudget) {
    for (key, value) in found.as_object().into_iter().flatten() {
        if !map.contains_key(key) && left.copy(value) {
            map.insert(key.clone(), value.clone());
        }
    }
}

/// Replaces broken references by their original target, or a schema that accepts anything.
fn resolve_lost(schema: &mut Value, at: At, known: &Value, root: &Value, left: &mut WorkBudget) {
    let may = left.look();
    let Some(map) = schema.as_object_mut() else { return };
    if at.level > MAX_LEVELS {
        return map.clear();
    }
    let mut at = at;
    if let Some(reference) = map.get("$ref").and_then(Value::as_str).map(str::to_owned)
        && target(known, &reference).is_none()
    {
        map.remove("$ref");
        if let Some(found) = target(root, &reference).filter(|_| at.behind < MAX_REFERENCE_DEPTH && may) {
            take_in(map, found, left);
        }
        at = at.behind();
    }
    each_below(map, &mut |below| resolve_lost(below, at.below(), known, root, left));
}

fn rename(schema: &mut Value, deep: usize) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(properties) = map.get("properties").and_then(Value::as_object)
        && properties.keys().any(|key| !is_legal(key))
    {
        let names: HashMap<String, String> =
            legal_keys(properties).into_iter().map(|(key, legal)| (key.to_owned(), legal)).collect();
        let renamed: Map<String, Value> =
            properties.iter().map(|(key, below)| (names[key].clone(), below.clone())).collect();
        let legal = |key: String| names.get(&key).cloned().unwrap_or(key);
        let keys: Vec<String> = required(map).into_iter().map(legal).collect();
        if !keys.is_empty() {
            map.insert("required".into(), keys.into());
        }
        map.insert("properties".into(), renamed.into());
    }
    if deep < MAX_LEVELS {
        each_below(map, &mut |below| rename(below, deep + 1));
    }
}

/// Keeps only keywords that Gemini supports, in its form.
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
    let refers = map.contains_key("$ref");
    map.retain(|key, _| GEMINI_KEYWORDS.contains(&key.as_str()) && (!refers || key.starts_with('$')));
    let named = map.get("properties").and_then(Value::as_object);
    let is_named = |key: &String| named.is_some_and(|named| named.contains_key(key));
    let keys: Vec<String> = required(map).into_iter().filter(is_named).collect();
    match keys.is_empty() {
        true => drop(map.remove("required")),
        false => drop(map.insert("required".into(), keys.into())),
    }
    if deep < MAX_LEVELS {
        each_below(map, &mut |below| only_known(below, deep + 1));
    }
}

#[cfg(test)]
mod tests;
