//! The schema of an answer on its way to a provider: in a form that it takes, and not again to one that
//! refused it. Whether an answer fits is never left to the provider: `conversation` checks that.
use super::wire::{Asked, Wire};
use reqwest::StatusCode;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
/// not know. `None`: it has an object whose keys are free, which can't be said there.
pub(super) fn for_anthropic(schema: &Value) -> Option<Value> {
    closed(schema, &|key, value| match key {
        // of the numbers only these
        "minItems" => value.as_u64().is_some_and(|least| least <= 1),
        key => ANTHROPIC.contains(&key),
    })
}

/// The schema in the form that OpenAI holds an answer to exactly: closed objects, all of their keys
/// required. `None`: it is not of that form, so it can only be a hint.
pub(super) fn strict(schema: &Value) -> Option<Value> {
    let closed = closed(schema, &|_, _| true)?;
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
/// are wanted. `None` if an object leaves its keys free.
fn closed(schema: &Value, wanted: &dyn Fn(&str, &Value) -> bool) -> Option<Value> {
    let Some(map) = schema.as_object() else { return Some(schema.clone()) };
    let mut map: Map<String, Value> =
        map.iter().filter(|(key, value)| wanted(key, value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let is_object = match map.get("type") {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
        None => map.contains_key("properties"),
    };
    if is_object {
        match map.get("additionalProperties") {
            Some(Value::Bool(false)) => {}
            None if properties(&map).next().is_some() => {
                map.insert("additionalProperties".into(), false.into());
            }
            _ => return None,
        }
    }
    for key in ["properties", "$defs", "definitions"] {
        for schema in map.get_mut(key).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            *schema = closed(schema, wanted)?;
        }
    }
    for key in ["anyOf", "allOf"] {
        for schema in map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            *schema = closed(schema, wanted)?;
        }
    }
    if let Some(items) = map.get_mut("items") {
        *items = closed(items, wanted)?;
    }
    Some(Value::Object(map))
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
        Wire::LikeOpenAi | Wire::Gemini => request.tools.is_empty() || request.only_answer,
    }
}

/// Is this an answer to the schema? `said` are the provider's words. A request that is refused as faulty
/// may be one because of it: whoever has a newer field to refuse words that as he likes.
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
        401..=403 | 408 | 409 | 425 | 429 | 503 | 529 => false,
        _ => {
            let said = said.to_lowercase();
            WORDS.iter().any(|word| said.contains(word))
        }
    }
}

/// The schemas that the provider of a model has refused. It is asked without them as long as the daemon
/// lives.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashSet<u64>>);

impl Refused {
    /// Was a request like this one refused for its schema?
    pub(super) fn knows(&self, asked: &Asked<'_>) -> bool {
        self.all().contains(&mark(asked))
    }

    /// The same request was taken without its schema. `true`: that is news.
    pub(super) fn learn(&self, asked: &Asked<'_>) -> bool {
        /// More than a fleet has; they only cost a request that is refused once more.
        const MOST: usize = 10_000;
        let mut all = self.all();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(mark(asked))
    }

    fn all(&self) -> MutexGuard<'_, HashSet<u64>> {
        // Each change is one call: a panic leaves nothing half done.
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
        for status in [401, 403, 429, 503] {
            assert!(!refuses(status, "response_format"), "{status}");
        }
        assert!(refuses(500, "Failed to parse Grammar") && !refuses(500, "oh"));
        assert!(refuses(404, "No endpoints found that can handle the requested parameters."));
        assert!(!refuses(404, "model not found"));
        assert!(refuses(200, "`response_format` is not supported") && !refuses(200, "overloaded"));
    }
}
