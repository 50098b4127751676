//! What a server says of its tools, made ours: names that fit, texts with nothing hidden, what a call
//! may do, and which tools are offered.
use super::pins;
use super::text::{cut, plain_name, visible};
use crate::domain::Effect;
use crate::domain::fits_schema;
use crate::tools::ToolInfo;
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Longest name of a tool.
const MAX_NAME: usize = 128;
/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 8192;
/// Largest schema, in bytes of JSON: a model pays for it with each request.
const MAX_SCHEMA: usize = 64 << 10;

/// A tool of a server.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// As the server names it.
    pub(super) raw: String,
    /// As we name it, without the server.
    pub(super) name: String,
    pub(super) info: ToolInfo,
    /// It is offered although `allow` does not name it: its hints say that it destroys nothing.
    pub(super) harmless: bool,
    /// Why it can't be used at all.
    pub(super) unusable: Option<String>,
    pub(super) hash: String,
}

impl Listed {
    /// May it be used?
    pub(super) fn allowed(&self, allow: Option<&[String]>) -> bool {
        self.unusable.is_none()
            && match allow {
                Some(allow) => allow.iter().any(|name| *name == self.raw || *name == self.name),
                None => self.harmless,
            }
    }

    /// Checks arguments as far as we know JSON Schema; the server checks the rest.
    pub(super) fn check(&self, args: &Value) -> Result<(), String> {
        let mut known = self.info.schema.clone();
        forget_what_we_misread(&mut known);
        fits_schema("arguments", &known, args)
    }
}

/// All tools of a server, sorted by name.
pub(super) fn of(server: &str, tools: Vec<Tool>) -> Result<Vec<Listed>, String> {
    let mut names = BTreeSet::new();
    let mut all = Vec::with_capacity(tools.len());
    for tool in tools {
        let listed = one(server, &tool);
        if listed.name.is_empty() {
            return Err(format!("MCP server `{server}` has a tool without a name"));
        }
        if !names.insert(listed.name.clone()) {
            return Err(format!(
                "MCP server `{server}` has two tools that are both `{}` to us, so none of its tools is used",
                listed.name
            ));
        }
        all.push(listed);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn one(server: &str, tool: &Tool) -> Listed {
    let raw = tool.name.clone().into_owned();
    let name: String = plain_name(&raw).chars().take(MAX_NAME).collect();
    let none = ToolAnnotations::default();
    let hints = tool.annotations.as_ref().unwrap_or(&none);
    let says = |hint: Option<bool>| hint == Some(true);
    let mut schema = tool.schema_as_json_value();
    let told = json!({
        "readOnlyHint": hints.read_only_hint,
        "destructiveHint": hints.destructive_hint,
        "idempotentHint": hints.idempotent_hint,
    });
    let hash = pins::hash(&raw, tool.description.as_deref(), &schema, &told);
    let size = schema.to_string().len();
    let unusable = (size > MAX_SCHEMA).then(|| {
        let (kib, most) = (size.div_ceil(1024), MAX_SCHEMA >> 10);
        format!("its schema has {kib} KiB, and {most} KiB are the most")
    });
    clean(&mut schema);
    if schema.get("type").is_none() {
        schema["type"] = "object".into();
    }
    let effect = if says(hints.read_only_hint) {
        Effect::Read
    } else if says(hints.idempotent_hint) {
        Effect::Idempotent
    } else {
        Effect::Effect
    };
    let description = tool.description.as_deref().unwrap_or_default();
    Listed {
        info: ToolInfo {
            name: format!("{server}/{name}"),
            kind: None,
            effect,
            reads_when: None,
            untrusted: true,
            description: cut(&visible(description), MAX_DESCRIPTION),
            schema,
            available: unusable.is_none(),
        },
        raw,
        name,
        harmless: says(hints.read_only_hint) || hints.destructive_hint == Some(false),
        unusable,
        hash,
    }
}

/// Makes the sentences in a schema fit to be read. What decides whether arguments fit stays.
fn clean(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if matches!(key.as_str(), "description" | "title" | "$comment") => {
                        *text = visible(text);
                    }
                    value => clean(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(clean),
        _ => {}
    }
}

/// Our validator takes a key for unknown that only `patternProperties` allows.
fn forget_what_we_misread(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("patternProperties") {
                map.remove("additionalProperties");
            }
            map.values_mut().for_each(forget_what_we_misread);
        }
        Value::Array(list) => list.iter_mut().for_each(forget_what_we_misread),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is made of a server's list.
    use super::*;

    fn tool(value: Value) -> Tool {
        serde_json::from_value(value).unwrap()
    }

    fn list(tools: &[Value]) -> Result<Vec<Listed>, String> {
        of("s", tools.iter().cloned().map(tool).collect())
    }

    #[test]
    fn hints_say_what_a_call_may_do_and_what_is_offered() {
        let with = |hints: Value| {
            list(&[json!({"name": "t", "inputSchema": {"type": "object"}, "annotations": hints})])
                .unwrap()
                .remove(0)
        };
        for (hints, effect, harmless) in [
            (json!(null), Effect::Effect, false),
            (json!({}), Effect::Effect, false),
            (json!({"readOnlyHint": true}), Effect::Read, true),
            (json!({"readOnlyHint": false}), Effect::Effect, false),
            (json!({"destructiveHint": false}), Effect::Effect, true),
            (json!({"destructiveHint": true, "idempotentHint": true}), Effect::Idempotent, false),
            (json!({"destructiveHint": false, "idempotentHint": true}), Effect::Idempotent, true),
        ] {
            let tool = with(hints.clone());
            assert_eq!((tool.info.effect, tool.harmless), (effect, harmless), "{hints}");
            assert_eq!(tool.allowed(None), harmless);
            assert!(tool.allowed(Some(&["t".into()])));
            assert!(!tool.allowed(Some(&[])));
            assert!(tool.info.untrusted);
        }
    }

    #[test]
    fn names_and_texts_are_made_fit() {
        let schema = json!({"properties": {"a": {"type": "string", "description": "x\u{200b}"}}});
        let listed =
            list(&[json!({"name": "get it", "description": "a\u{202e}b", "inputSchema": schema})]).unwrap();
        assert_eq!(listed[0].info.name, "s/get_it");
        assert_eq!(listed[0].raw, "get it");
        assert_eq!(listed[0].info.description, "a\\u{202e}b");
        assert_eq!(listed[0].info.schema["properties"]["a"]["description"], "x\\u{200b}");
        assert_eq!(listed[0].info.schema["type"], "object");
        let plain = |name: &str| json!({"name": name, "inputSchema": {}});
        assert_eq!(
            list(&[plain("a b"), plain("a_b")]).unwrap_err(),
            "MCP server `s` has two tools that are both `a_b` to us, so none of its tools is used"
        );
        assert!(list(&[plain("")]).is_err());
        let big = json!({"name": "big", "inputSchema": {"$comment": "x".repeat(MAX_SCHEMA)}});
        let big = list(&[big]).unwrap().remove(0);
        assert!(!big.allowed(Some(&["big".into()])) && !big.info.available);
    }

    #[test]
    fn arguments_are_checked_where_we_can() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"$ref": "#/$defs/a"}}, "patternProperties": {"^x-": {}},
        });
        let tool = list(&[json!({"name": "t", "inputSchema": schema})]).unwrap().remove(0);
        assert_eq!(tool.check(&json!({"a": 1, "x-b": 2})), Ok(()));
        assert_eq!(tool.check(&json!({})), Err("`a` is missing".into()));
    }
}
