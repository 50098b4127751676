//! Unambiguous mistakes of models: a decorated tool name, doubly encoded JSON arguments, a number as a string. They are
//! corrected on arrival, so that the conversation, its journal and the provider see valid calls. Anything else is returned to
//! the model as an error.
use super::tool_schema::{legal_keys, target};
use crate::domain::ToolNames;
use crate::domain::{JsonMistakes, ModelTurn, fits_part, fits_schema, read_json};
use serde_json::{Map, Number, Value};
use std::cell::Cell;

/// Prefixes that models add to tool names.
const NAME_PREFIXES: [&str; 12] = [
    "functions.",
    "functions:",
    "functions/",
    "function.",
    "tools.",
    "tools:",
    "tool.",
    "default_api.",
    "default_api:",
    "mcp__",
    "mcp.",
    "api.",
];
/// Keys that models wrap arguments in.
const WRAPPER_KEYS: [&str; 8] =
    ["arguments", "args", "parameters", "params", "input", "tool_input", "kwargs", "properties"];
/// Longer names, in bytes, are not a tool's: each suffix is compared with each tool.
const MAX_NAME_BYTES: usize = 512;
/// Maximum depth of a value.
const MAX_DEPTH: usize = 32;
/// Maximum steps for the arguments of one call: a schema may have nested alternatives.
const MAX_STEPS: u32 = 60_000;
/// Bytes of a copy that count as one step.
const BYTES_PER_STEP: usize = 64;

/// Corrects the calls of a turn.
pub(super) fn mend(turn: &mut ModelTurn, names: &ToolNames<'_>) {
    for call in &mut turn.calls {
        if !names.tools.iter().any(|tool| tool.name == call.name)
            && let Some(meant) = tool_named(&call.name, names)
        {
            call.name = meant.to_owned();
        }
        if let Some(tool) = names.tools.iter().find(|tool| tool.name == call.name)
            && let Some(arguments) = arguments(&call.arguments, &tool.schema)
        {
            call.arguments = arguments;
        }
    }
}

/// Returns the intended tool, if it is unambiguous.
fn tool_named<'a>(said: &str, names: &ToolNames<'a>) -> Option<&'a str> {
    if said.len() > MAX_NAME_BYTES {
        return None;
    }
    let said = said.split("<|").next().unwrap_or_default();
    let said =
        said.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '*' | '<' | '>'));
    let said = said.strip_suffix("()").unwrap_or(said);
    // a suffix with the index of the call
    let said = said
        .rsplit_once(':')
        .filter(|(_, n)| n.bytes().all(|d| d.is_ascii_digit()))
        .map_or(said, |(name, _)| name);
    let mut bare = said;
    loop {
        if let Some(found) = alike(bare, names) {
            return Some(found);
        }
        match NAME_PREFIXES.iter().find_map(|before| bare.strip_prefix(before)) {
            Some(rest) => bare = rest,
            None => break,
        }
    }
    // Its server or another prefix is missing or added.
    let last = |name: &str| key(name.rsplit(['/', '.', ':']).next().unwrap_or(name));
    only(names, |tool, _| last(tool) == last(bare) && !last(bare).is_empty())
}

fn alike<'a>(said: &str, names: &ToolNames<'a>) -> Option<&'a str> {
    let exact = |tool: &str, out: &str| tool == said || out == said;
    only(names, exact).or_else(|| only(names, |tool, out| key(tool) == key(said) || key(out) == key(said)))
}

fn only<'a>(names: &ToolNames<'a>, fits: impl Fn(&str, &str) -> bool) -> Option<&'a str> {
    let mut all = names.tools.iter().filter(|tool| fits(&tool.name, &names.out(&tool.name)));
    let first = all.next()?;
    all.next().is_none().then_some(first.name.as_str())
}

/// Returns a name without case and punctuation.
fn key(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

/// Returns corrected arguments. `None`: they are valid as they are, or can't be corrected.
fn arguments(sent: &str, schema: &Value) -> Option<String> {
    let text = sent.trim();
    let strict: Option<Value> = serde_json::from_str(text).ok();
    let fit = |value: &Value| fits_schema("arguments", schema, value).is_ok();
    if text.is_empty()
        || strict.as_ref().is_some_and(|value| value.is_null() || (value.is_object() && fit(value)))
    {
        return None;
    }
    let was_read = strict.is_some();
    let read = strict.or_else(|| parse_loosely(text))?;
    let mended = Correction { root: schema, left: Cell::new(MAX_STEPS) }.value(
        unwrapped(read.clone(), schema),
        schema,
        0,
    );
    match fit(&mended) && mended.is_object() {
        true => Some(mended.to_string()),
        // errors in its values are more useful to the model than errors in its syntax
        false => (!was_read && read.is_object()).then(|| read.to_string()),
    }
}

/// Parses JSON with mistakes: in a fence, with a trailing comma, repeated.
fn parse_loosely(text: &str) -> Option<Value> {
    let inside = text.trim_start_matches("```json").trim_matches('`').trim();
    let inside =
        inside.strip_prefix("json").filter(|rest| rest.trim_start().starts_with('{')).unwrap_or(inside);
    read_json(inside.as_bytes(), JsonMistakes::All).ok().or_else(|| repeated(inside))
}

/// Parses several concatenated values: duplicates, or empty ones before the right one.
fn repeated(text: &str) -> Option<Value> {
    let all: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    let mut all = all.ok()?;
    all.retain(|value| value.as_object().is_none_or(|map| !map.is_empty()));
    all.dedup();
    match all.len() {
        1 => all.pop(),
        _ => None,
    }
}

/// Returns the arguments without their wrapper.
fn unwrapped(value: Value, schema: &Value) -> Value {
    let mut value = value;
    for _ in 0..4 {
        value = match value {
            Value::String(text) => match text.trim() {
                "" => Value::Object(Map::new()),
                trimmed => match parse_loosely(trimmed) {
                    Some(inner) => inner,
                    None => return Value::String(text),
                },
            },
            Value::Array(mut one) if one.len() == 1 => one.remove(0),
            Value::Array(none) if none.is_empty() => Value::Object(Map::new()),
            Value::Null => Value::Object(Map::new()),
            Value::Object(mut map) => {
                let is_argument = |key: &str| !schema["properties"][key].is_null();
                let named =
                    |key: &String| matches!(key.as_str(), "name" | "tool" | "type" | "function" | "id");
                let others = map.keys().filter(|key| !WRAPPER_KEYS.contains(&key.as_str()));
                let only_around = others.clone().all(|key| named(key) && !is_argument(key));
                let around: Vec<&str> =
                    WRAPPER_KEYS.into_iter().filter(|key| map.contains_key(*key)).collect();
                match around[..] {
                    [key]
                        if only_around
                            && !is_argument(key)
                            && (map[key].is_object() || map[key].is_string()) =>
                    {
                        map.remove(key).unwrap_or_default()
                    }
                    _ => return Value::Object(map),
                }
            }
            other => return other,
        };
    }
    value
}

struct Correction<'a> {
    root: &'a Value,
    /// Steps that are left; at zero, values stay as they are.
    left: Cell<u32>,
}

impl Correction<'_> {
    /// Returns the value in the form that its schema requires, if it can be converted.
    fn value(&self, value: Value, schema: &Value, deep: usize) -> Value {
        if deep > MAX_DEPTH || self.left.get() == 0 || !schema.is_object() || self.fits(&value, schema) {
            return value;
        }
        if let Some(reference) = schema["$ref"].as_str() {
            return match target(self.root, reference) {
                Some(found) => self.value(value, found, deep + 1),
                None => value,
            };
        }
        let branches = |word: &str| schema[word].as_array().map(Vec::as_slice).unwrap_or_default();
        let forms = || branches("anyOf").iter().chain(branches("oneOf"));
        let copy = forms().next().map_or(0, |_| value.to_string().len() / BYTES_PER_STEP);
        for branch in forms() {
            self.left.set(self.left.get().saturating_sub(u32::try_from(copy).unwrap_or(u32::MAX)));
            if self.left.get() == 0 {
                return value;
            }
            let mended = self.value(value.clone(), branch, deep + 1);
            if self.fits(&mended, branch) {
                return mended;
            }
        }
        let parts = branches("allOf");
        let value = parts.iter().fold(value, |value, part| self.value(value, part, deep + 1));
        let value = self.kind(value, schema, deep);
        match value {
            Value::Object(map) => Value::Object(self.object(map, schema, deep)),
            Value::Array(items) => {
                let each = |item| self.value(item, &schema["items"], deep + 1);
                Value::Array(items.into_iter().map(each).collect())
            }
            Value::String(text) => Value::String(word_of(text, schema)),
            other => other,
        }
    }

    fn fits(&self, value: &Value, schema: &Value) -> bool {
        let mut left = self.left.get();
        let fits = fits_part(self.root, schema, value, &mut left);
        self.left.set(left);
        fits
    }

    /// Converts the value to one of the required types.
    fn kind(&self, value: Value, schema: &Value, deep: usize) -> Value {
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ if schema["properties"].is_object() => vec!["object"],
            _ => return value,
        };
        let wants = |kind: &str| kinds.contains(&kind);
        if kinds.iter().any(|kind| is_of(&value, kind)) {
            return value;
        }
        let item = |value: Value| Value::Array(vec![self.value(value, &schema["items"], deep + 1)]);
        match value {
            Value::String(text) => {
                let read = scalar(text.trim(), &wants).or_else(|| {
                    let inner = parse_loosely(text.trim())?;
                    kinds.iter().any(|kind| is_of(&inner, kind)).then_some(inner)
                });
                match read {
                    Some(read) => read,
                    None if wants("array") => item(Value::String(text)),
                    None => Value::String(text),
                }
            }
            Value::Number(number) if wants("string") => Value::String(number.to_string()),
            Value::Bool(is) if wants("string") => Value::String(is.to_string()),
            Value::Array(mut one) if one.len() == 1 && !wants("array") => one.remove(0),
            Value::Null => Value::Null,
            other if wants("array") => item(other),
            other => other,
        }
    }

    fn object(&self, map: Map<String, Value>, schema: &Value, deep: usize) -> Map<String, Value> {
        let Some(properties) = schema["properties"].as_object() else { return map };
        let required =
            |key: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|known| known == key));
        let legal = legal_keys(properties);
        let mut mended = Map::new();
        let sent: Vec<String> = map.keys().cloned().collect();
        for (key, value) in map {
            let key = match properties.contains_key(&key) {
                true => key,
                false => {
                    let free = |name: &str| !sent.iter().any(|sent| sent == name);
                    let meant = |(name, legal): &&(&str, String)| {
                        (*legal == key || name.eq_ignore_ascii_case(key.trim())) && free(name)
                    };
                    let mut all = legal.iter().filter(meant);
                    match (all.next(), all.next()) {
                        (Some((name, _)), None) => (*name).to_owned(),
                        _ => key,
                    }
                }
            };
            let Some(below) = properties.get(&key) else {
                mended.insert(key, value);
                continue;
            };
            let value = self.value(value, below, deep + 1);
            let says_nothing = value.is_null()
                || value.as_str().is_some_and(|text| matches!(text.trim(), "" | "null" | "None"));
            if says_nothing && !required(&key) && !self.fits(&value, below) {
                continue;
            }
            mended.insert(key, value);
        }
        mended
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// Parses a text as a number, boolean or null.
fn scalar(text: &str, wants: &impl Fn(&str) -> bool) -> Option<Value> {
    if wants("integer") || wants("number") {
        let number = serde_json::from_str::<Number>(text).ok().map(Value::Number);
        if let Some(number) = number.filter(|number| wants("number") || is_of(number, "integer")) {
            return Some(number);
        }
    }
    match text.to_ascii_lowercase().as_str() {
        "true" if wants("boolean") => Some(true.into()),
        "false" if wants("boolean") => Some(false.into()),
        "null" | "none" if wants("null") => Some(Value::Null),
        _ => None,
    }
}

/// Returns the enum value that matches regardless of case.
fn word_of(text: String, schema: &Value) -> String {
    let words = schema["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut alike =
        words.iter().filter_map(Value::as_str).filter(|word| word.eq_ignore_ascii_case(text.trim()));
    match (alike.next(), alike.next()) {
        (Some(word), None) => word.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    //! Tests of slips.
    use super::*;
    use crate::domain::{ToolDef, ToolRequest};
    use serde_json::json;

    #[test]
    fn a_name_without_end_is_that_of_no_tool() {
        let tools = [ToolDef { name: "http".into(), description: String::new(), schema: json!({}) }];
        let names = ToolNames::of(&tools);
        assert_eq!(tool_named(&("tool.".repeat(20) + "http"), &names), Some("http"));
        let began = crate::testing::worked();
        assert_eq!(tool_named(&("tool.".repeat(200_000) + "http"), &names), None);
        let took = crate::testing::worked() - began;
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn alternatives_within_alternatives_end_in_time() {
        let again = json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["b"]});
        let schema = json!({"anyOf": [again, again, again, again]});
        let sent = "{\"a\":".repeat(40) + "1" + &"}".repeat(40);
        let began = crate::testing::worked();
        assert_eq!(arguments(&sent, &schema), None);
        assert_eq!(arguments(&sent.replace('1', "1,"), &schema), Some(sent));
        let took = crate::testing::worked() - began;
        assert!(took < std::time::Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn references_to_any_place_are_followed() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"n": {"type": "integer"}}},
            "b": {"type": "object", "properties": {"n": {"$ref": "#/properties/a/properties/n"}, "m": {"type": "integer"}}},
        }});
        let given = arguments("{\"b\": {\"n\": \"5\", \"m\": \"6\"}}", &schema).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&given).unwrap(), json!({"b": {"n": 5, "m": 6}}));
    }

    #[test]
    fn a_name_with_something_around_it_is_the_tool() {
        let tool = |name: &str| ToolDef { name: name.into(), description: String::new(), schema: json!({}) };
        let tools: Vec<ToolDef> =
            ["system_metrics", "gh/search_issues", "a/list", "b/list", "http"].map(tool).into();
        let names = ToolNames::of(&tools);
        for (said, meant) in [
            ("system_metrics", "system_metrics"),
            (" system_metrics\n", "system_metrics"),
            ("`system_metrics()`", "system_metrics"),
            ("functions.system_metrics", "system_metrics"),
            ("functions.system_metrics:0", "system_metrics"),
            ("default_api.system_metrics", "system_metrics"),
            ("system_metrics<|channel|>commentary", "system_metrics"),
            ("System-Metrics", "system_metrics"),
            ("gh/search_issues", "gh/search_issues"),
            ("gh.search_issues", "gh/search_issues"),
            ("mcp__gh__search_issues", "gh/search_issues"),
            ("functions.gh_search_issues", "gh/search_issues"),
            ("search_issues", "gh/search_issues"),
            // which of the two?
            ("list", "list"),
            ("a_list", "a/list"),
            ("reboot", "reboot"),
            ("", ""),
        ] {
            let call = ToolRequest { id: "1".into(), name: said.into(), arguments: "{}".into() };
            let mut turn = ModelTurn { calls: vec![call], ..ModelTurn::default() };
            mend(&mut turn, &names);
            assert_eq!(turn.calls[0].name, meant, "{said}");
        }
    }

    fn check(schema: &Value, sent: &str, meant: Option<Value>) {
        let given =
            arguments(sent, schema).map(|text| serde_json::from_str::<Value>(&text).expect("it is JSON"));
        assert_eq!(given, meant, "{sent}");
    }

    #[test]
    fn arguments_with_a_slip_are_those_that_are_meant() {
        let schema = json!({
            "type": "object", "required": ["q"], "additionalProperties": false,
            "properties": {
                "q": {"type": "string"}, "n": {"type": "integer"}, "x": {"type": "number"}, "all": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}}, "in": {"$ref": "#/$defs/In"},
                "kind": {"enum": ["Open", "Closed"]}, "who": {"type": ["string", "null"]},
                "range": {"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"to": {"type": "integer"}}}]},
                "a b": {"type": "string"},
            },
            "$defs": {"In": {"type": "object", "properties": {"deep": {"type": "integer"}}}},
        });
        for (sent, meant) in [
            (r#""{\"q\": \"a\"}""#, json!({"q": "a"})),
            (r#""\"{\\\"q\\\": \\\"a\\\"}\"""#, json!({"q": "a"})),
            ("{\"q\": \"one\ntwo\"}", json!({"q": "one\ntwo"})),
            ("```json\n{\"q\": \"a\"}\n```", json!({"q": "a"})),
            (r#"{"q": "a", "tags": ["x",],}"#, json!({"q": "a", "tags": ["x"]})),
            (r#"{'q': 'a', 'all': True}"#, json!({"q": "a", "all": true})),
            (r#"{}{"q": "a"}"#, json!({"q": "a"})),
            (r#"{"q": "a"}{"q": "a"}"#, json!({"q": "a"})),
            (r#"{"arguments": {"q": "a"}}"#, json!({"q": "a"})),
            (r#"{"name": "t", "parameters": "{\"q\": \"a\"}"}"#, json!({"q": "a"})),
            (r#"[{"q": "a"}]"#, json!({"q": "a"})),
            (r#"{"q": "a", "n": null, "tags": null}"#, json!({"q": "a"})),
            (r#"{"q": "a", "n": "", "in": "null"}"#, json!({"q": "a"})),
            (
                r#"{"q": "a", "n": "5", "x": "2.5", "all": "False"}"#,
                json!({"q": "a", "n": 5, "x": 2.5, "all": false}),
            ),
            (r#"{"q": 17}"#, json!({"q": "17"})),
            (r#"{"q": ["a"]}"#, json!({"q": "a"})),
            (r#"{"q": "a", "tags": "x"}"#, json!({"q": "a", "tags": ["x"]})),
            (r#"{"q": "a", "tags": "[\"x\", \"y\"]"}"#, json!({"q": "a", "tags": ["x", "y"]})),
            (r#"{"q": "a", "in": "{\"deep\": \"1\"}"}"#, json!({"q": "a", "in": {"deep": 1}})),
            (r#"{"q": "a", "range": {"to": "3"}}"#, json!({"q": "a", "range": {"to": 3}})),
            (r#"{"q": "a", "kind": "open"}"#, json!({"q": "a", "kind": "Open"})),
            (r#"{"q": "a", "who": null, "n": "1"}"#, json!({"q": "a", "who": null, "n": 1})),
            (r#"{"Q ": "a", "a_b": "c"}"#, json!({"q": "a", "a b": "c"})),
        ] {
            check(&schema, sent, Some(meant));
        }
        // In order, or beyond mending: as they were sent.
        for sent in [
            r#"{"q": "a"}"#,
            "",
            "null",
            r#"{"q": null}"#,
            r#"{"n": 1}"#,
            r#"{"q": "a", "n": "five"}"#,
            r#"{"q": "a", "n": 1.5}"#,
            r#"{"q": "a", "z": 1}"#,
            r#"{"q": "a"#,
            "nonsense",
            r#"{"q": "a"}{"q": "b"}"#,
            "[1, 2]",
            r#"{"q": ["a", "b"]}"#,
        ] {
            check(&schema, sent, None);
        }
        // Its values are wrong, and the model is to hear of that.
        check(&schema, r#"{"q": "a", "z": 1,}"#, Some(json!({"q": "a", "z": 1})));
        check(&json!({"type": "object"}), "[]", Some(json!({})));
    }
}
