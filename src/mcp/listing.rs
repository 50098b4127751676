//! Sanitizes a server's tool list: valid names, texts without hidden characters, effects of calls, and which tools are offered.
use super::about::About;
use super::text::{cut, plain_name, visible};
use super::{mend, pins};
use crate::domain::{Effect, McpEffect, ToolInfo, fits_schema, glob, nearest};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum tools of a server.
const MAX_TOOLS: usize = 1000;
/// Maximum bytes of a server's list: names, descriptions, and schemas as JSON. As values, schemas take many times as much
/// memory.
const MAX_LIST_BYTES: usize = 4 << 20;
/// Maximum length of a tool name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Maximum length of a description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 8192;
/// Maximum size of a schema, in bytes of JSON: it costs tokens with each request.
const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// Which tools of a server may be used, and their effects, according to the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) allow: Option<Vec<String>>,
    pub(super) deny: Vec<String>,
    pub(super) effects: BTreeMap<String, McpEffect>,
}

impl Rules {
    /// Returns a warning for each entry that matches none of these names.
    pub(super) fn without_effect(&self, server: &str, all: &[&str]) -> Vec<String> {
        let of = |key: &'static str, patterns: &mut dyn Iterator<Item = &String>| {
            let idle = patterns.filter(|pattern| !all.iter().any(|name| names(pattern, name)));
            let say = |pattern: &String| {
                let near = nearest(pattern, all.iter().copied()).filter(|_| !is_pattern(pattern));
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                format!(
                    "no tool of MCP server `{server}` is `{pattern}`, which `{key}` of [mcp.{server}] names{near}"
                )
            };
            idle.map(say).collect::<Vec<_>>()
        };
        let mut all = of("allow", &mut self.allow.iter().flatten());
        all.extend(of("deny", &mut self.deny.iter()));
        all.extend(of("effects", &mut self.effects.keys()));
        all
    }

    /// Returns the effect of a tool with these names by `effects`: the entry of its name, else the strictest of the matching
    /// patterns, else the worst effect.
    pub(super) fn class(&self, raw: &str, name: &str) -> Effect {
        let exact = [raw, name].into_iter().find_map(|name| self.effects.get(name));
        let fitting =
            || self.effects.iter().filter(|(pattern, _)| names(pattern, raw) || names(pattern, name));
        let word = exact.or_else(|| fitting().map(|(_, word)| word).max());
        word.map_or(Effect::Effect, |word| word.class())
    }
}

/// Returns whether this name or pattern of the configuration matches such a tool. A name may contain `*`, too.
fn names(pattern: &str, name: &str) -> bool {
    pattern == name || glob(pattern, name)
}

/// Returns whether it can match several tools.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// A tool of a server.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// As the server names it.
    pub(super) raw: String,
    /// Its sanitized name, without the server.
    pub(super) name: String,
    /// With the strictest effect: see [`Listed::info`].
    info: ToolInfo,
    /// The lower bound of its effect according to its hints, whatever `effects` says.
    least: Effect,
    /// It is offered although `allow` does not name it: its hints say that it is not destructive.
    pub(super) harmless: bool,
    /// Why it can't be used at all.
    pub(super) unusable: Option<String>,
    pub(super) hash: String,
    /// The hashed content, for comparison by people.
    pub(super) about: Arc<About>,
}

impl Listed {
    /// Returns its description, with its effect by `effects`, or by its hints if those are stricter.
    pub(super) fn info(&self, rules: &Rules) -> ToolInfo {
        ToolInfo { effect: self.effect(rules), ..self.info.clone() }
    }

    /// Returns its name with that of its server.
    pub(super) fn full_name(&self) -> &str {
        &self.info.name
    }

    /// Returns the worst effect of a call.
    pub(super) fn effect(&self, rules: &Rules) -> Effect {
        rules.class(&self.raw, &self.name).max(self.least)
    }

    /// Returns a warning if its hints are stricter than `effects`.
    pub(super) fn stricter(&self, server: &str, rules: &Rules) -> Option<String> {
        let (said, is) = (rules.class(&self.raw, &self.name), self.effect(rules));
        (said != is).then(|| {
            format!(
                "tool `{server}/{}` counts as `{is}`: `effects` of [mcp.{server}] says `{said}`, and the server says that it \
                 may do more",
                self.name
            )
        })
    }

    /// Returns whether it may be used.
    pub(super) fn allowed(&self, rules: &Rules) -> bool {
        self.unusable.is_none()
            && !self.is_one_of(&rules.deny)
            && rules.allow.as_ref().map_or(self.is_harmless(rules), |allow| self.is_one_of(allow))
    }

    /// Returns why it may not be used, if so; completes a sentence about it.
    pub(super) fn why_not(&self, server: &str, rules: &Rules) -> Option<String> {
        if let Some(why) = &self.unusable {
            return Some(format!("can't be used: {why}"));
        }
        if self.is_one_of(&rules.deny) {
            return Some(format!("is in `deny` of [mcp.{server}]"));
        }
        match &rules.allow {
            Some(allow) if !self.is_one_of(allow) => Some(format!("is not in `allow` of [mcp.{server}]")),
            None if !self.is_harmless(rules) => {
                Some(format!("may destroy something, so it must be named in `allow` of [mcp.{server}]"))
            }
            _ => None,
        }
    }

    /// Returns whether it is harmless, by its hints or by the configuration.
    fn is_harmless(&self, rules: &Rules) -> bool {
        self.harmless || self.effect(rules) != Effect::Effect
    }

    fn is_one_of(&self, patterns: &[String]) -> bool {
        patterns.iter().any(|pattern| names(pattern, &self.raw) || names(pattern, &self.name))
    }

    /// Validates arguments; what can't be checked here is left to the server.
    pub(super) fn check(&self, args: &Value) -> Result<(), String> {
        fits_schema("arguments", &self.info.schema, args)
    }
}

/// Collects the tools of a server, page by page: excess data is dropped before the next page is read.
pub(super) struct List<'a> {
    server: &'a str,
    names: BTreeSet<String>,
    all: Vec<Listed>,
    /// Bytes received so far, including what was dropped.
    bytes: usize,
}

impl<'a> List<'a> {
    pub(super) fn of(server: &'a str) -> Self {
        Self { server, names: BTreeSet::new(), all: Vec::new(), bytes: 0 }
    }

    /// Adds a page.
    pub(super) fn add(&mut self, page: Vec<Tool>) -> Result<(), String> {
        let server = self.server;
        for tool in page {
            let schema = serde_json::to_string(&*tool.input_schema).unwrap_or_default();
            let described = tool.description.as_ref().map_or(0, |text| text.len());
            self.bytes += tool.name.len() + described + schema.len();
            if self.all.len() >= MAX_TOOLS || self.bytes > MAX_LIST_BYTES {
                return Err(format!(
                    "MCP server `{server}` has more than {MAX_TOOLS} tools, or its list more than {} MiB",
                    MAX_LIST_BYTES >> 20
                ));
            }
            let mut listed = one(server, &tool, schema);
            if !self.names.insert(listed.name.clone()) {
                // the first one keeps its name
                let text = format!("another tool of the server is `{}` as well", listed.info.name);
                listed.unusable.get_or_insert(text);
                listed.info.available = false;
            }
            self.all.push(listed);
        }
        Ok(())
    }

    /// Returns all of them, sorted by name.
    pub(super) fn done(mut self) -> Vec<Listed> {
        self.all.sort_by(|a, b| (&a.name, a.unusable.is_some()).cmp(&(&b.name, b.unusable.is_some())));
        self.all
    }
}

/// Creates a tool; `schema`: its schema as text.
fn one(server: &str, tool: &Tool, schema: String) -> Listed {
    // Only a prefix is kept of a name that is too long.
    let raw = tool.name[..tool.name.floor_char_boundary(MAX_NAME_BYTES)].to_owned();
    let name: String = plain_name(&raw).chars().take(MAX_NAME_BYTES).collect();
    let none = ToolAnnotations::default();
    let hints = tool.annotations.as_ref().unwrap_or(&none);
    let says = |hint: Option<bool>| hint == Some(true);
    let told = json!({
        "readOnlyHint": hints.read_only_hint,
        "destructiveHint": hints.destructive_hint,
        "idempotentHint": hints.idempotent_hint,
    });
    let size = schema.len();
    let is_big = size > MAX_SCHEMA_BYTES;
    // Only its text is used: as a value it takes many times the memory.
    let mut schema = if is_big { Value::String(schema) } else { tool.schema_as_json_value() };
    let hash = pins::hash(&tool.name, tool.description.as_deref(), &schema, &told);
    let about = About::of(tool.description.as_deref().unwrap_or_default(), &schema, &told);
    let told_by_us =
        tool.meta.as_ref().and_then(|meta| meta.0.get(mend::UNUSABLE)?.as_str().map(str::to_owned));
    let unusable = if told_by_us.is_some() {
        told_by_us
    } else if name.is_empty() {
        Some("it has no name".into())
    } else if is_big {
        schema = json!({});
        let (kib, most) = (size.div_ceil(1024), MAX_SCHEMA_BYTES >> 10);
        Some(format!("its schema has {kib} KiB, and {most} KiB are the most"))
    } else if raw.len() < tool.name.len() {
        Some(format!("its name has {} bytes, and {MAX_NAME_BYTES} are the most", tool.name.len()))
    } else {
        no_object(&schema)
    };
    clean(&mut schema);
    if schema.get("type").is_none() {
        schema["type"] = "object".into();
    }
    let description = tool.description.as_deref().unwrap_or_default();
    Listed {
        info: ToolInfo {
            name: format!("{server}/{name}"),
            kind: None,
            effect: Effect::Effect,
            reads_when: None,
            untrusted: true,
            takes_all_time: false,
            description: cut(&visible(description), MAX_DESCRIPTION_CHARS),
            schema,
            available: unusable.is_none(),
        },
        raw,
        name,
        least: least(hints),
        harmless: says(hints.read_only_hint) || hints.destructive_hint == Some(false),
        unusable,
        hash,
        about: Arc::new(about),
    }
}

/// Returns the lower bound of the effect of a tool with these hints. Reassuring hints are ignored; admissions count, but not
/// beside `readOnlyHint`, where the others have no meaning (MCP, "ToolAnnotations").
fn least(hints: &ToolAnnotations) -> Effect {
    if hints.read_only_hint == Some(true) {
        Effect::Read
    } else if hints.destructive_hint == Some(true) || hints.idempotent_hint == Some(false) {
        Effect::Effect
    } else if hints.read_only_hint == Some(false) {
        Effect::Idempotent
    } else {
        Effect::Read
    }
}

/// Returns why such a schema is not one of arguments, which are always an object.
fn no_object(schema: &Value) -> Option<String> {
    let is_object = match &schema["type"] {
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        _ => true,
    };
    (!is_object).then(|| format!("its arguments would be no object but {}", schema["type"]))
}

/// Sanitizes the texts in a schema. Parts that affect validation are kept.
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

#[cfg(test)]
mod tests {
    //! Tests of what is made of a server's list.
    use super::*;

    fn tool(value: Value) -> Tool {
        serde_json::from_value(value).unwrap()
    }

    fn list(tools: &[Value]) -> Result<Vec<Listed>, String> {
        let mut list = List::of("s");
        // each on a page of its own
        tools.iter().try_for_each(|value| list.add(vec![tool(value.clone())]))?;
        Ok(list.done())
    }

    fn rules(allow: &[&str], deny: &[&str]) -> Rules {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Rules { allow: Some(texts(allow)), deny: texts(deny), ..Rules::default() }
    }

    #[test]
    fn what_names_nothing_is_told() {
        let told =
            rules(&["get_*", "put_all", "list"], &["x*"]).without_effect("s", &["get_a", "list", "put_al"]);
        assert_eq!(
            told,
            [
                "no tool of MCP server `s` is `put_all`, which `allow` of [mcp.s] names; did you mean `put_al`?",
                "no tool of MCP server `s` is `x*`, which `deny` of [mcp.s] names",
            ]
        );
    }

    #[test]
    fn hints_say_what_is_offered_and_never_that_a_call_is_harmless() {
        let with = |hints: Value| {
            list(&[json!({"name": "t", "inputSchema": {"type": "object"}, "annotations": hints})])
                .unwrap()
                .remove(0)
        };
        for (hints, harmless) in [
            (json!(null), false),
            (json!({}), false),
            (json!({"readOnlyHint": true}), true),
            (json!({"readOnlyHint": false}), false),
            (json!({"destructiveHint": false}), true),
            (json!({"destructiveHint": true, "idempotentHint": true}), false),
            (json!({"destructiveHint": false, "idempotentHint": true}), true),
        ] {
            let tool = with(hints.clone());
            let none = Rules::default();
            assert_eq!((tool.info(&none).effect, tool.harmless), (Effect::Effect, harmless), "{hints}");
            assert_eq!(tool.allowed(&none), harmless);
            for (allow, deny, is) in [
                (&["t"][..], &[][..], true),
                (&[], &[], false),
                (&["*"], &[], true),
                (&["t*"], &["u*"], true),
                (&["u"], &[], false),
                (&["*"], &["t"], false),
                (&["t"], &["?"], false),
            ] {
                assert_eq!(tool.allowed(&rules(allow, deny)), is, "{allow:?} {deny:?}");
                assert_eq!(tool.why_not("s", &rules(allow, deny)).is_none(), is);
            }
            assert!(tool.info.untrusted);
        }
    }

    #[test]
    fn effects_come_from_the_configuration_and_hints_only_tighten_them() {
        use Effect::{Effect as Any, Idempotent, Read};
        let entries = [("t", McpEffect::Read), ("keep", McpEffect::Idempotent), ("put it", McpEffect::Send)];
        let mut rules =
            Rules { effects: entries.map(|(name, word)| (name.to_owned(), word)).into(), ..Rules::default() };
        let with = |name: &str, hints: Value| {
            list(&[json!({"name": name, "inputSchema": {"type": "object"}, "annotations": hints})])
                .unwrap()
                .remove(0)
        };
        for (name, hints, effect, offered) in [
            ("t", json!(null), Read, true),
            ("t", json!({"readOnlyHint": true, "destructiveHint": true}), Read, true),
            ("t", json!({"readOnlyHint": false}), Idempotent, true),
            ("t", json!({"readOnlyHint": false, "idempotentHint": false}), Any, false),
            ("t", json!({"destructiveHint": true}), Any, false),
            ("keep", json!({"readOnlyHint": true}), Idempotent, true),
            ("keep", json!({"destructiveHint": true, "idempotentHint": true}), Any, false),
            ("put it", json!({"readOnlyHint": true}), Any, true),
            ("put_it", json!(null), Any, false),
            ("other", json!({"readOnlyHint": true}), Any, true),
        ] {
            let tool = with(name, hints.clone());
            assert_eq!(tool.info(&rules).effect, effect, "{name} {hints}");
            assert_eq!(tool.allowed(&rules), offered, "{name} {hints}");
            let said = rules.class(&tool.raw, &tool.name);
            assert_eq!(tool.stricter("s", &rules).is_some(), said != effect, "{name} {hints}");
        }
        // its own name counts before patterns, and of patterns the strictest
        rules.effects.extend([("k*".into(), McpEffect::Read), ("ke*".into(), McpEffect::Effect)]);
        assert_eq!(rules.class("keep", "keep"), Idempotent);
        assert_eq!((rules.class("key", "key"), rules.class("kill", "kill")), (Any, Read));
        let idle = rules.without_effect("s", &["t", "keep", "key", "kill", "put_it"]);
        let said =
            "no tool of MCP server `s` is `put it`, which `effects` of [mcp.s] names; did you mean `put_it`?";
        assert_eq!(idle, [said]);
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
        let twice = list(&[plain("a b"), plain("a_b"), plain("c")]).unwrap();
        let unusable: Vec<_> =
            twice.iter().map(|tool| (tool.raw.as_str(), tool.unusable.as_deref())).collect();
        let why = "another tool of the server is `s/a_b` as well";
        assert_eq!(unusable, [("a b", None), ("a_b", Some(why)), ("c", None)]);
        assert_eq!(list(&[plain("")]).unwrap()[0].unusable.as_deref(), Some("it has no name"));
        let big = json!({"name": "big", "inputSchema": {"$comment": "x".repeat(MAX_SCHEMA_BYTES)}});
        let big = list(&[big]).unwrap().remove(0);
        assert!(!big.allowed(&rules(&["big"], &[])) && !big.info.available);
        let long = list(&[plain(&"n".repeat(129))]).unwrap().remove(0);
        assert!(!long.allowed(&rules(&["*"], &[])) && long.raw.len() == 128, "{long:?}");
        assert!(list(&[plain(&"n".repeat(128))]).unwrap()[0].unusable.is_none());
    }

    #[test]
    fn a_list_is_bounded_as_a_whole() {
        let zeros = |name: usize, bytes: usize| json!({"name": format!("t{name}"), "inputSchema": {"title": "0".repeat(bytes)}});
        // What is too large is not kept, and still counts.
        let listed = list(&[zeros(0, 3 << 20)]).unwrap().remove(0);
        assert_eq!(listed.info.schema, json!({"type": "object"}));
        assert!(listed.unusable.unwrap().contains("3073 KiB"));
        let error = list(&[zeros(0, 3 << 20), zeros(1, 3 << 20)]).unwrap_err();
        assert!(error.contains("more than 4 MiB"), "{error}");
        let small: Vec<Value> = (0..70).map(|name| zeros(name, 63 << 10)).collect();
        assert!(list(&small[..60]).is_ok() && list(&small).is_err());
        let many: Vec<Value> = (0..1001).map(|name| zeros(name, 0)).collect();
        assert!(list(&many[..1000]).is_ok() && list(&many).is_err());
        // Another schema that is too large is another tool.
        let hash = |bytes| list(&[zeros(0, bytes)]).unwrap().remove(0).hash;
        assert!(hash(100 << 10) != hash(101 << 10) && hash(100 << 10) == hash(100 << 10));
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
