//! The schema of an answer on its way to a provider: in a supported form, and not again to a provider that has refused it.
//! Validation is never left to the provider: `conversation` checks each answer.
use crate::llm::asked::{Asked, Wire};
use reqwest::StatusCode;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Keywords that Anthropic supports ("JSON Schema limitations" of its page on structured outputs). Others only narrow what
/// fits, so they can be omitted from the request.
const ANTHROPIC_KEYWORDS: [&str; 17] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "definitions",
    "default",
    "title",
    "description",
    "format",
    "pattern",
];

/// Keywords that OpenAI supports with `strict` ("Supported schemas" of its page on structured outputs).
const STRICT_KEYWORDS: [&str; 16] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "title",
    "description",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
];

/// Returns the schema in a form that Anthropic accepts: with closed objects, and without unsupported keywords. `None`: it can't
/// be expressed, since closing an object would forbid keys that it may have.
pub(super) fn for_anthropic(schema: &Value) -> Option<Value> {
    closed(schema, false, &|key, value| match key {
        // only these numeric values are supported
        "minItems" => value.as_u64().is_some_and(|least| least <= 1),
        key => ANTHROPIC_KEYWORDS.contains(&key),
    })
}

/// Returns the schema in the form that OpenAI enforces: closed objects with all keys required. `None`: it is not of that form,
/// so it can only be a hint.
pub(super) fn strict(schema: &Value) -> Option<Value> {
    let closed = closed(schema, false, &|_, _| true)?;
    (closed["type"] == "object" && closed.get("anyOf").is_none() && is_strict(&closed)).then_some(closed)
}

fn is_strict(schema: &Value) -> bool {
    let Some(map) = schema.as_object() else { return false };
    let required = map.get("required").and_then(Value::as_array);
    let is_required = |key: &str| required.is_some_and(|keys| keys.iter().any(|known| known == key));
    map.keys().all(|key| STRICT_KEYWORDS.contains(&key.as_str()))
        && properties(map).all(|(key, _)| is_required(key))
        && schemas(map).all(is_strict)
}

/// Sets `additionalProperties = false` wherever an object's keys are named, and keeps only `wanted` keywords. `None` if that
/// would forbid keys that an object may have. `shared`: another schema applies to the same value, and may name other keys.
fn closed(schema: &Value, shared: bool, wanted: &dyn Fn(&str, &Value) -> bool) -> Option<Value> {
    let Some(whole) = schema.as_object() else { return Some(schema.clone()) };
    let is_closed = whole.get("additionalProperties") == Some(&Value::Bool(false));
    let close = is_object(whole) && !is_closed;
    // Beside `patternProperties`, `false` only applies to keys that match no pattern.
    let has_patterns = is_object(whole) && whole.contains_key("patternProperties");
    if has_patterns || (close && (shared || !names_all_keys(whole))) {
        return None;
    }
    // The referenced schema is closed as well.
    if whole.contains_key("$ref") && (shared || !is_alone("$ref", whole)) {
        return None;
    }
    // Without `prefixItems`, `items` would apply to all items.
    if whole.contains_key("prefixItems") && whole.contains_key("items") {
        return None;
    }
    let mut map: Map<String, Value> =
        whole.iter().filter(|(key, value)| wanted(key, value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if close {
        map.insert("additionalProperties".into(), false.into());
    }
    for key in ["properties", "$defs", "definitions"] {
        for schema in map.get_mut(key).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            *schema = closed(schema, false, wanted)?;
        }
    }
    for key in ["anyOf", "allOf"] {
        let members = map.get_mut(key).and_then(Value::as_array_mut);
        let several = key == "allOf" && members.as_ref().is_some_and(|members| members.len() > 1);
        let shared = shared || several || !is_alone(key, whole);
        for schema in members.into_iter().flatten() {
            *schema = closed(schema, shared, wanted)?;
        }
    }
    if let Some(items) = map.get_mut("items") {
        *items = closed(items, false, wanted)?;
    }
    Some(Value::Object(map))
}

fn is_object(map: &Map<String, Value>) -> bool {
    match map.get("type") {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
        None => map.contains_key("properties") || map.contains_key("additionalProperties"),
    }
}

/// Returns whether `properties` lists all keys that such an object is meant to have.
fn names_all_keys(map: &Map<String, Value>) -> bool {
    let Some(named) = map.get("properties").and_then(Value::as_object).filter(|named| !named.is_empty())
    else {
        return false;
    };
    let mut required = map.get("required").and_then(Value::as_array).into_iter().flatten();
    !map.contains_key("additionalProperties")
        && !map.keys().any(|key| speaks_of_more(key))
        && required.all(|key| key.as_str().is_some_and(|key| named.contains_key(key)))
}

/// Returns whether no other keyword of this schema concerns the object's keys.
fn is_alone(key: &str, map: &Map<String, Value>) -> bool {
    let speaks = |key: &str| {
        matches!(key, "properties" | "required" | "additionalProperties" | "minProperties")
            || speaks_of_more(key)
    };
    !map.keys().any(|other| other != key && speaks(other))
}

/// Returns whether a keyword allows keys that `properties` beside it do not name.
fn speaks_of_more(key: &str) -> bool {
    const WORDS: [&str; 11] = [
        "oneOf",
        "anyOf",
        "allOf",
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "not",
        "if",
        "patternProperties",
        "propertyNames",
        "dependencies",
    ];
    WORDS.contains(&key) || key.starts_with("dependent") || key.starts_with("unevaluated")
}

fn properties(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// Returns the direct subschemas.
fn schemas(map: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let any_of = map.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    properties(map).map(|(_, schema)| schema).chain(any_of).chain(map.get("items"))
}

/// Returns whether the request contains the schema of the answer.
///
/// OpenAI and Anthropic only enforce it on the final answer. Elsewhere it applies to all output, so a model could no longer
/// call tools (Ollama, vLLM), or the combination is refused (Gemini 2): there it is only sent when no call is wanted.
pub(super) fn goes_along(wire: Wire, asked: &Asked<'_>) -> bool {
    let request = asked.request;
    let Some(schema) = request.output_schema.as_ref().filter(|_| asked.with_schema) else { return false };
    match wire {
        Wire::OpenAi => true,
        Wire::Anthropic => for_anthropic(schema).is_some(),
        Wire::LikeOpenAi | Wire::Gemini | Wire::Ollama => request.tools.is_empty() || request.only_answer,
    }
}

/// Returns whether the schema may be the cause of this answer; `said` is the provider's message. Providers word this refusal
/// differently, and only refusals as an invalid request are considered: any other status may follow work that costs something,
/// so the request is not repeated.
pub(super) fn may_refuse_it(status: StatusCode, said: &str) -> bool {
    const WORDS: [&str; 8] = [
        "schema",
        "grammar",
        "response_format",
        "response format",
        "response mime type",
        "output_config",
        "structured",
        // OpenRouter, when no provider of the model supports it
        "requested parameters",
    ];
    match status.as_u16() {
        400 | 422 => true,
        404 => {
            let said = said.to_lowercase();
            WORDS.iter().any(|word| said.contains(word))
        }
        _ => false,
    }
}

/// How long a refusal is remembered. Providers add support over time, and some refusals have temporary causes.
const REFUSAL_TTL: Duration = Duration::from_secs(3600);

/// The schemas that the provider of a model has refused, and when. They are omitted for a while.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashMap<u64, Instant>>);

impl Refused {
    /// Returns whether a request like this was refused for its schema, recently before `now`.
    pub(super) fn knows(&self, asked: &Asked<'_>, now: Instant) -> bool {
        self.all().get(&mark(asked)).is_some_and(|then| now < *then + REFUSAL_TTL)
    }

    /// Records that the same request was accepted without its schema. Returns `true` if that is new.
    pub(super) fn learn(&self, asked: &Asked<'_>, now: Instant) -> bool {
        /// More than a fleet has; forgetting them only costs another refused request.
        const MAX_REFUSALS: usize = 10_000;
        let mut all = self.all();
        all.retain(|_, then| now < *then + REFUSAL_TTL);
        if all.len() >= MAX_REFUSALS {
            all.clear();
        }
        all.insert(mark(asked), now).is_none()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        // Each change leaves a valid map: a panic leaves no inconsistent state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes the model, the schema, and whether there are tools: each combination may be refused or accepted.
fn mark(asked: &Asked<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    asked.model.hash(&mut hasher);
    asked.request.tools.is_empty().hash(&mut hasher);
    asked.request.output_schema.as_ref().map(Value::to_string).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    //! Tests of schemas in the forms that providers take.
    use super::*;
    use crate::domain::ToolNames;
    use crate::domain::{ModelRequest, RequestSettings};
    use serde_json::json;

    #[test]
    fn objects_are_closed_and_strange_words_left_out() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object", "required": ["n"], "minProperties": 1,
            "properties": {
                "n": {"type": "integer", "minimum": 0},
                // keys, not keywords
                "minimum": {"type": ["object", "null"], "properties": {"maxLength": {"type": "string", "maxLength": 5}}},
                "list": {"type": "array", "minItems": 1, "items": {"type": "array", "minItems": 2, "items": {
                    "anyOf": [{"type": "null"}, {"properties": {"a": {"const": 1}}}],
                }}},
            },
        });
        let taken = json!({
            "type": "object", "required": ["n"], "additionalProperties": false,
            "properties": {
                "n": {"type": "integer"},
                "minimum": {
                    "type": ["object", "null"], "additionalProperties": false,
                    "properties": {"maxLength": {"type": "string"}},
                },
                "list": {"type": "array", "minItems": 1, "items": {"type": "array", "items": {
                    "anyOf": [{"type": "null"}, {"properties": {"a": {"const": 1}}, "additionalProperties": false}],
                }}},
            },
        });
        assert_eq!(for_anthropic(&schema), Some(taken));
    }

    #[test]
    fn free_keys_are_not_taken_away() {
        let free = [
            json!({"type": "object"}),
            json!({"type": "object", "properties": {}}),
            json!({"type": "object", "properties": {"a": {}}, "additionalProperties": true}),
            json!({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}}),
            json!({"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "object"}]}}),
            json!({"type": "object", "properties": {"a": {"type": ["null", "object"]}}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}),
        ];
        for schema in free {
            assert_eq!((for_anthropic(&schema), strict(&schema)), (None, None), "{schema}");
        }
        let empty = json!({"type": "object", "additionalProperties": false});
        assert_eq!(for_anthropic(&empty).as_ref(), Some(&empty));
    }

    #[test]
    fn keys_that_are_named_elsewhere_are_not_taken_away() {
        let x = json!({"properties": {"x": {}}, "required": ["x"]});
        let y = json!({"properties": {"y": {}}, "required": ["y"]});
        let beside = |word: &str, value: Value| {
            let mut schema =
                json!({"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]});
            schema[word] = value;
            schema
        };
        let mut wide = vec![
            beside("required", json!(["kind", "x"])),
            json!({"allOf": [x, y]}),
            json!({"allOf": [x, {"required": ["z"]}]}),
            json!({"allOf": [{"anyOf": [x, y]}, {"required": ["z"]}]}),
            json!({"allOf": [{"$ref": "#/$defs/x"}, {"$ref": "#/$defs/y"}], "$defs": {"x": x, "y": y}}),
            json!({"anyOf": [x], "oneOf": [y]}),
            json!({"anyOf": [x], "required": ["y"]}),
            // closed by itself, but not its alternatives
            json!({"properties": {"x": {}, "y": {}}, "additionalProperties": false, "anyOf": [x, y]}),
            json!({"properties": {"x": {}}, "additionalProperties": false, "$ref": "#/$defs/x", "$defs": {"x": x}}),
            json!({"properties": {"x": {}}, "additionalProperties": false, "patternProperties": {"^y": {}}}),
            json!({"type": "array", "prefixItems": [{"type": "string"}], "items": false}),
        ];
        for (word, value) in [
            ("oneOf", json!([x, y])),
            ("anyOf", json!([x, y])),
            ("allOf", json!([x])),
            ("$ref", json!("#/properties/kind")),
            ("not", x.clone()),
            ("if", x.clone()),
            ("patternProperties", json!({"^x": {}})),
            ("propertyNames", json!({"pattern": "^x"})),
            ("dependentSchemas", json!({"kind": x})),
            ("dependencies", json!({"kind": ["x"]})),
            ("unevaluatedProperties", json!({"type": "string"})),
        ] {
            wide.push(beside(word, value));
        }
        for schema in wide {
            assert_eq!(for_anthropic(&schema), None, "{schema}");
            let deep = json!({"type": "object", "properties": {"deep": schema}, "required": ["deep"]});
            assert_eq!((for_anthropic(&deep), strict(&deep)), (None, None), "{deep}");
        }
    }

    #[test]
    fn what_names_its_keys_in_one_place_is_taken() {
        let closed = |name: &str| json!({"properties": {name: {}}, "additionalProperties": false});
        for (schema, taken) in [
            (
                json!({"anyOf": [{"properties": {"x": {}}}, {"properties": {"y": {}}}]}),
                json!({"anyOf": [closed("x"), closed("y")]}),
            ),
            (
                json!({"title": "t", "allOf": [{"properties": {"x": {}}}]}),
                json!({"title": "t", "allOf": [closed("x")]}),
            ),
            (
                json!({"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"x": {}}}}}),
                json!({"$ref": "#/$defs/x", "$defs": {"x": closed("x")}}),
            ),
            // closed by itself: what is left out can't have named more
            (
                json!({"properties": {"x": {}}, "additionalProperties": false, "oneOf": [{"required": ["x"]}, {}]}),
                closed("x"),
            ),
            (
                json!({"allOf": [closed("x"), {"required": ["x"]}]}),
                json!({"allOf": [closed("x"), {"required": ["x"]}]}),
            ),
        ] {
            assert_eq!(for_anthropic(&schema), Some(taken), "{schema}");
        }
    }

    #[test]
    fn a_refusal_is_forgotten_after_an_hour() {
        let request = ModelRequest {
            system: None,
            messages: Vec::new(),
            tools: Vec::new(),
            max_output_tokens: 1,
            output_schema: Some(json!({})),
            only_answer: false,
        };
        let names = ToolNames::of(&[]);
        let asked = Asked {
            model: "m",
            temperature: None,
            request: &request,
            names: &names,
            with_schema: true,
            settings: &RequestSettings::default(),
            mark: "",
            with_thoughts: false,
        };
        let (refused, start) = (Refused::default(), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert!(!refused.knows(&asked, start));
        assert!(refused.learn(&asked, start) && !refused.learn(&asked, start));
        assert!(refused.knows(&asked, at(59)) && !refused.knows(&asked, at(60)));
        assert!(refused.learn(&asked, at(60)) && refused.knows(&asked, at(119)));
    }

    #[test]
    fn only_what_is_whole_is_strict() {
        let whole = json!({"type": "object", "required": ["a", "b"], "properties": {
            "a": {"type": "string"},
            "b": {"type": "array", "items": {"type": "object", "required": ["c"], "properties": {"c": {"enum": [1]}}}},
        }});
        let strict_whole = strict(&whole).expect("strict");
        assert_eq!(strict_whole["additionalProperties"], false);
        assert_eq!(strict_whole["properties"]["b"]["items"]["additionalProperties"], false);
        let not_whole = [
            json!({"type": "object", "required": ["a"], "properties": {"a": {}, "b": {}}}),
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "array", "items": {
                "type": "object", "properties": {"c": {}}}}}}),
            json!({"type": "object", "required": ["a"], "properties": {"a": {"uniqueItems": true}}}),
            json!({"type": "array", "items": {"type": "string"}}),
            json!({"type": "object", "required": ["a"], "properties": {"a": true}}),
        ];
        for schema in not_whole {
            assert_eq!(strict(&schema), None, "{schema}");
        }
    }

    #[test]
    fn what_may_be_a_refusal() {
        let refuses = |status, said| may_refuse_it(StatusCode::from_u16(status).expect("a status"), said);
        for status in [400, 422] {
            assert!(refuses(status, "no"));
        }
        for status in [200, 401, 403, 429, 500, 503] {
            assert!(!refuses(status, "`response_format`: failed to parse grammar"), "{status}");
        }
        assert!(refuses(404, "No endpoints found that can handle the requested parameters."));
        assert!(!refuses(404, "model not found"));
    }
}
