//! The JSON Schema of `agents.toml`, from the table of keys.
use super::keys::{self, Key, Kind};
use super::tools;
use crate::domain::ToolKind;
use serde_json::{Map, Value, json};

/// Generates the JSON Schema (2020-12) of `agents.toml`, for editors.
pub fn schema() -> Value {
    let mut root = object(keys::TOP);
    let named = |keys: &[Key]| json!({"type": "object", "additionalProperties": object(keys)});
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("agents.toml of bgagent");
    root["properties"]["models"] = named(keys::MODEL);
    root["properties"]["runners"] = named(keys::RUNNER);
    root["properties"]["mcp"] = named(keys::MCP);
    root["properties"]["notify"] = named(keys::NOTIFY);
    root["properties"]["webhooks"] = named(keys::HOOK);
    root["properties"]["calendars"] = named(keys::CALENDAR);
    root["properties"]["agents"] = named(keys::AGENT);
    let kinds = ToolKind::WORDS;
    let settings: Vec<Value> = tools::SETTINGS
        .iter()
        .map(|(kind, keys)| json!({"if": {"properties": {"type": {"const": kind}}}, "then": object(keys)}))
        .collect();
    root["properties"]["tools"] = json!({
        "type": "object",
        "additionalProperties": {
            "type": "object", "required": ["type"], "properties": {"type": {"enum": kinds}}, "allOf": settings,
        },
    });
    root
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut value = of(key.kind);
            value["description"] = json!(key.doc());
            (key.name.to_owned(), value)
        })
        .collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn of(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Whole => json!({"type": "integer", "minimum": 0}),
        Kind::WholeOr(words) => json!({"oneOf": [{"type": "integer", "minimum": 1}, {"enum": words}]}),
        Kind::Number => json!({"type": "number", "minimum": 0}),
        Kind::Duration | Kind::Size => json!({"type": ["integer", "string"]}),
        Kind::Word(words) => json!({"enum": words}),
        Kind::WordOrText(words) => json!({"anyOf": [{"enum": words}, {"type": "string"}]}),
        Kind::Secret => secret(),
        Kind::TextOrSecret => json!({"oneOf": [{"type": "string"}, secret()]}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Words(words) => json!({"type": "array", "items": {"enum": words}}),
        Kind::Command => {
            json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})
        }
        Kind::Texts2 => json!({"type": "object"}),
        Kind::NamedTexts => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Kind::NamedWords(words) => json!({"type": "object", "additionalProperties": {"enum": words}}),
        Kind::NamedWordOr(words, keys) => {
            json!({"type": "object", "additionalProperties": {"oneOf": [{"enum": words}, object(keys)]}})
        }
        Kind::Table(keys) => object(keys),
        Kind::FlagOr(keys) => json!({"oneOf": [{"type": "boolean"}, object(keys)]}),
        Kind::WordOr(words, keys) => json!({"oneOf": [{"enum": words}, object(keys)]}),
        Kind::Tables(keys) => json!({"type": "array", "items": object(keys)}),
        Kind::Named(keys) => json!({"type": "object", "additionalProperties": object(keys)}),
        Kind::Any => json!({}),
    }
}

fn secret() -> Value {
    json!({
        "type": "object", "minProperties": 1, "maxProperties": 1,
        "properties": {
            "env": {"type": "string"}, "file": {"type": "string"}, "credential": {"type": "string"},
            "command": {"type": "array", "items": {"type": "string"}},
        },
        "additionalProperties": false,
    })
}
