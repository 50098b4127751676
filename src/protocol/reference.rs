//! `docs/PROTOCOL.md`: the protocol for authors of clients in other languages. Parameters, results,
//! events and errors are described by the doc comments of their types; examples are parsed and
//! serialized again by those types; the prose around them is in `reference/*.md`.
mod shown;
mod tables;
#[cfg(test)]
mod tests;

use super::codec::MAX_LINE;
use super::envelope::{Code, RpcError};
use super::method::{MethodDescription, MethodGroup};
use super::methods::{PROTOCOLS, described_methods};
use super::views::{EventNote, GapNote, PositionNote};
use crate::domain::{Described, EVENT_EXAMPLES, EventType, LoggedEvent, Payload, Shape};
use serde::Deserialize;
use serde_json::Value;
use shown::shown;
use std::fmt::Write as _;
use tables::{Glossary, Side, clean, each_name, fields_of, link, table};

/// An example call and its answer for each method, as sent on the wire.
const EXAMPLES: &str = include_str!("reference/examples.jsonl");

const INTRODUCTION: &str = include_str!("reference/introduction.md");
const FRAMING: &str = include_str!("reference/framing.md");
const ERRORS: &str = include_str!("reference/errors.md");
const FOLLOWING: &str = include_str!("reference/following.md");
const EVENTS: &str = include_str!("reference/events.md");

/// A call of a method, and its answer.
#[derive(Deserialize)]
struct Example {
    method: String,
    params: Value,
    result: Value,
}

fn examples() -> Vec<Example> {
    EXAMPLES.lines().map(|line| serde_json::from_str(line).expect("examples are JSON")).collect()
}

/// Returns the whole document.
pub fn markdown() -> String {
    let groups = described_methods();
    let mut glossary = Glossary::default();
    let mut body = String::new();
    body += &filled(FRAMING);
    body += &errors(&mut glossary);
    body += &following(&mut glossary);
    let examples = examples();
    let shared = shared(&groups);
    for group in &groups {
        methods(&mut body, group, &examples, &shared, &mut glossary);
    }
    events(&mut body, &mut glossary);
    glossary.write(&mut body);
    let text = format!("{}{}\n{body}", filled(INTRODUCTION), contents(&body));
    let text = each_name(&text, |name| {
        let is_described = body.contains(&format!("\n### {name}\n"));
        if is_described { link(name, name) } else { format!("`{name}`") }
    });
    text.trim_end().to_owned() + "\n"
}

/// Fills in the constants of a chapter.
fn filled(text: &str) -> String {
    let protocols: Vec<String> = PROTOCOLS.iter().map(u32::to_string).collect();
    let text = text.replace("{max_line}", &MAX_LINE.to_string());
    text.replace("{protocols}", &protocols.join(", ")).trim_end().to_owned() + "\n\n"
}

/// Returns the table of contents, with methods and events by name.
fn contents(body: &str) -> String {
    let mut out = String::from("## Contents\n\n");
    let mut names: Vec<&str> = Vec::new();
    let flush = |out: &mut String, names: &mut Vec<&str>| {
        if !names.is_empty() {
            let links: Vec<String> = names.iter().map(|name| link(name, name)).collect();
            let _ = writeln!(out, "  {}", links.join(", "));
            names.clear();
        }
    };
    let mut in_code = false;
    for line in body.lines() {
        in_code ^= line.starts_with("```");
        if in_code {
            continue;
        }
        if let Some(title) = line.strip_prefix("## ") {
            flush(&mut out, &mut names);
            let _ = writeln!(out, "- {}", link(title, title));
        } else if let Some(name) = line.strip_prefix("### ") {
            names.push(name);
        }
    }
    flush(&mut out, &mut names);
    out
}

fn errors(glossary: &mut Glossary) -> String {
    let mut codes = String::from("| Code | Passes by itself | What it means |\n|---:|---|---|\n");
    for code in Code::ALL {
        let passes = if code.passes() { "yes" } else { "" };
        let _ = writeln!(codes, "| {} | {passes} | {} |", code.number(), clean(&code.about()));
    }
    let Shape::Object(error) = RpcError::shape() else { return String::new() };
    let fields = table(&error.fields, Side::Answer, glossary);
    filled(ERRORS).replace("{codes}", codes.trim_end()).replace("{error}", fields.trim_end())
}

fn following(glossary: &mut Glossary) -> String {
    let mut fields = |shape: Shape| match shape {
        Shape::Object(note) => table(&note.fields, Side::Answer, glossary).trim_end().to_owned(),
        _ => String::new(),
    };
    filled(FOLLOWING)
        .replace("{event_note}", &fields(EventNote::shape()))
        .replace("{position_note}", &fields(PositionNote::shape()))
        .replace("{gap_note}", &fields(GapNote::shape()))
}

/// Returns the objects that several methods return or embed: each is described once.
fn shared(groups: &[MethodGroup]) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    for method in groups.iter().flat_map(|group| &group.methods) {
        let fields = fields_of(&method.reply);
        let flat = fields.iter().filter(|field| field.is_flat).map(|field| &field.shape);
        let of_list = match &method.reply {
            Shape::List(inner) => &**inner,
            other => other,
        };
        found.extend(flat.chain([of_list]).filter_map(|shape| match shape {
            Shape::Object(object) => Some(object.name),
            _ => None,
        }));
    }
    found.sort_unstable();
    found.chunk_by(|one, other| one == other).filter(|same| same.len() > 1).map(|same| same[0]).collect()
}

fn methods(
    out: &mut String,
    group: &MethodGroup,
    examples: &[Example],
    shared: &[&str],
    glossary: &mut Glossary,
) {
    let _ = writeln!(out, "## Methods: {}\n\n{}\n", group.title.to_lowercase(), group.about);
    for method in &group.methods {
        let _ = writeln!(out, "### {}\n\n{}\n", method.name, clean(&method.about));
        let params = fields_of(&method.params);
        if params.is_empty() {
            out.push_str("Takes no parameters.\n\n");
        } else {
            out.push_str(&table(&params, Side::Parameters, glossary));
        }
        answer(out, method, shared, glossary);
        for example in examples.iter().filter(|example| example.method == method.name) {
            let call = serde_json::json!({
                "jsonrpc": "2.0", "id": 1, "method": example.method, "params": example.params,
            });
            let answer = serde_json::json!({"jsonrpc": "2.0", "id": 1, "result": example.result});
            let _ = writeln!(out, "```text\n--> {}\n<-- {}\n```\n", shown(&call, 4), shown(&answer, 4));
        }
    }
}

fn answer(out: &mut String, method: &MethodDescription, shared: &[&str], glossary: &mut Glossary) {
    let is_shared = |shape: &Shape| matches!(shape, Shape::Object(object) if shared.contains(&object.name));
    match &method.reply {
        Shape::Object(object) if object.fields.is_empty() => {
            out.push_str("The answer is an empty object.\n\n")
        }
        object if is_shared(object) => {
            let _ = writeln!(out, "The answer: {}.\n", glossary.name(object));
        }
        Shape::List(inner) if is_shared(inner) => {
            let _ = writeln!(out, "The answer is an array of {}.\n", glossary.name(inner));
        }
        Shape::Object(object) => {
            let _ = writeln!(out, "The answer, {}:\n", decapitalized(&clean(&object.about)));
            out.push_str(&table(&object.fields, Side::Answer, glossary));
        }
        Shape::List(inner) => {
            let Shape::Object(object) = &**inner else { return };
            let _ = writeln!(out, "The answer is an array. Each of its objects:\n");
            out.push_str(&table(&object.fields, Side::Answer, glossary));
        }
        other => {
            let _ = writeln!(out, "The answer: {}.\n", glossary.name(other));
        }
    }
}

/// Makes a sentence fit into the middle of another one.
fn decapitalized(sentence: &str) -> String {
    let mut letters = sentence.trim_end_matches('.').chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + letters.as_str())
}

fn events(out: &mut String, glossary: &mut Glossary) {
    let Shape::Object(envelope) = LoggedEvent::shape() else { return };
    let envelope = table(&envelope.fields, Side::Answer, glossary);
    out.push_str(&filled(EVENTS).replace("{envelope}", envelope.trim_end()));
    let Shape::Words(kinds) = EventType::shape() else { return };
    for (kind, (word, about)) in EventType::ALL.iter().zip(&kinds.words) {
        let _ = writeln!(out, "### {word}\n\n{}\n", clean(about));
        let payload = Payload::shape_of(*kind);
        if let Shape::Object(object) = &payload
            && object.about != *about
        {
            let _ = writeln!(out, "{}\n", clean(&object.about));
        }
        let fields = fields_of(&payload);
        out.push_str(&table(&fields, Side::Answer, glossary));
        for example in forms(*kind) {
            let _ = writeln!(out, "```json\n{}\n```\n", shown(&example, 0));
        }
    }
}

/// Returns one example of an event for each distinct set of fields.
fn forms(kind: EventType) -> Vec<Value> {
    let mut forms: Vec<Value> = Vec::new();
    let keys = |event: &Value| {
        event["payload"].as_object().map(|payload| payload.keys().cloned().collect::<Vec<_>>())
    };
    for line in EVENT_EXAMPLES.lines() {
        let event: Value = serde_json::from_str(line).expect("examples are JSON");
        if event["type"] == kind.as_str() && forms.iter().all(|form| keys(form) != keys(&event)) {
            forms.push(event);
        }
    }
    forms
}
