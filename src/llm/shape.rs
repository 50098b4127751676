//! The schema of an answer on its way to a provider: in a form that it takes, and not again to one that
//! refused it. Whether an answer fits is never left to the provider: `conversation` checks that.
use crate::llm::asked::{Asked, Wire};
use reqwest::StatusCode;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Keywords that Anthropic takes ("JSON Schema limitations" of its page on structured outputs). Others
/// only narrow what fits, so an answer may be asked for without them.
const ANTHROPIC: [&str; 17] = [
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

/// Keywords that OpenAI takes with `strict` ("Supported schemas" of its page on structured outputs).
const STRICT: [&str; 16] = [
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

/// The schema in a form that Anthropic takes: with closed objects, and without keywords that it does
/// not know. `None`: it can't be said there, since closing an object would forbid keys that it may have.
pub(super) fn for_anthropic(schema: &Value) -> Option<Value> {
    closed(schema, false, &|key, value| match key {
        // of the numbers only these
        "minItems" => value.as_u64().is_some_and(|least| least <= 1),
        key => ANTHROPIC.contains(&key),
    })
}

/// The schema in the form that OpenAI holds an answer to exactly: closed objects, all of their keys
/// required. `None`: it is not of that form, so it can only be a hint.
pub(super) fn strict(schema: &Value) -> Option<Value> {
    let closed = closed(schema, false, &|_, _| true)?;
    (closed["type"] == "object" && closed.get("anyOf").is_none() && is_strict(&closed)).then_some(closed)
}

fn is_strict(schema: &Value) -> bool {
    let Some(map) = schema.as_object() else { return false };
    let required = map.get("required").and_then(Value::as_array);
    let is_required = |key: &str| required.is_some_and(|keys| keys.iter().any(|known| known == key));
    map.keys().all(|key| STRICT.contains(&key.as_str()))
        && properties(map).all(|(key, _)| is_required(key))
        && schemas(map).all(is_strict)
}

/// With `additionalProperties = false` wherever an object's keys are named, and only the keywords that
/// are wanted. `None` if that would forbid keys that an object may have. `shared`: another schema speaks
/// of the same value, and may name other keys.
fn closed(schema: &Value, shared: bool, wanted: &dyn Fn(&str, &Value) -> bool) -> Option<Value> {
    let Some(whole) = schema.as_object() else { return Some(schema.clone()) };
    let is_closed = whole.get("additionalProperties") == Some(&Value::Bool(false));
    let close = is_object(whole) && !is_closed;
    // Beside `patternProperties`, `false` is only said of keys that have no pattern.
    let has_patterns = is_object(whole) && whole.contains_key("patternProperties");
    if has_patterns || (close && (shared || !names_all_keys(whole))) {
        return None;
    }
    // What stands there is closed as well.
    if whole.contains_key("$ref") && (shared || !is_alone("$ref", whole)) {
        return None;
    }
    // Without the first word, the second one is about all items.
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

/// Are `properties` all the keys that such an object is meant to have?
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

/// Is there nothing else in this schema that speaks of an object's keys?
fn is_alone(key: &str, map: &Map<String, Value>) -> bool {
    let speaks = |key: &str| {
        matches!(key, "properties" | "required" | "additionalProperties" | "minProperties")
            || speaks_of_more(key)
    };
    !map.keys().any(|other| other != key && speaks(other))
}

/// Keywords by which an object may have keys that `properties` beside them do not name.
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

/// The schemas right below.
fn schemas(map: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let any_of = map.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    properties(map).map(|(_, schema)| schema).chain(any_of).chain(map.get("items"))
}

/// Does a request say in its wire's own words which schema the answer must fit?
///
/// OpenAI and Anthropic hold only the last words to it. Elsewhere it holds for whatever is said, so a
/// model could not call its tools any more (Ollama, vLLM), or both together are refused (Gemini 2): there
/// it goes along when no call is wanted.
pub(super) fn goes_along(wire: Wire, asked: &Asked<'_>) -> bool {
    let request = asked.request;
    let Some(schema) = request.output_schema.as_ref().filter(|_| asked.with_schema) else { return false };
    match wire {
        Wire::OpenAi => true,
        Wire::Anthropic => for_anthropic(schema).is_some(),
        Wire::LikeOpenAi | Wire::Gemini | Wire::Ollama => request.tools.is_empty() || request.only_answer,
    }
}

/// Is this an answer to the schema? `said` are the provider's words. A request that is refused as faulty
/// may be one because of it: whoever has a newer field to refuse words that as he likes. Any other status
/// may follow work that costs something, so the same is not asked once more.
pub(super) fn may_refuse_it(status: StatusCode, said: &str) -> bool {
    const WORDS: [&str; 8] = [
        "schema",
        "grammar",
        "response_format",
        "response format",
        "response mime type",
        "output_config",
        "structured",
        // OpenRouter, when no provider of the model takes it
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

/// How long a refusal is remembered. Providers learn too, and now and then a request is refused for a
/// reason that passes.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The schemas that the provider of a model has refused, and when. For a while it is asked without them.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashMap<u64, Instant>>);

impl Refused {
    /// Was a request like this one refused for its schema, not long before `now`?
    pub(super) fn knows(&self, asked: &Asked<'_>, now: Instant) -> bool {
        self.all().get(&mark(asked)).is_some_and(|then| now < *then + REMEMBERED)
    }

    /// The same request was taken without its schema. `true`: that is news.
    pub(super) fn learn(&self, asked: &Asked<'_>, now: Instant) -> bool {
        /// More than a fleet has; they only cost a request that is refused once more.
        const MOST: usize = 10_000;
        let mut all = self.all();
        all.retain(|_, then| now < *then + REMEMBERED);
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(mark(asked), now).is_none()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        // Each change leaves a whole map: a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for the model, the schema, and whether there are tools beside it: one may be refused where
/// another is taken.
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
