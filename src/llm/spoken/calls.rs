//! Tool calls in the text of an answer, in the formats that models use.
use super::python::{code, python};
use super::quoted::is_quoted;
use crate::llm::spoken::written::{Written, first_json, is_of_name, plain};
use serde_json::{Map, Value};

/// Maximum marks that are examined: the text may be large and crafted to be slow to parse.
const MAX_MARKS: usize = 64;
/// Maximum calls that are parsed; fewer are made.
const MAX_CALLS: usize = 100;
/// What a text contains.
pub(super) enum Found {
    Nothing,
    /// These calls, after this many bytes of other text.
    Calls {
        before: usize,
        calls: Vec<Written>,
    },
    /// Something that looks like a call but can't be parsed, or may only be quoted.
    Unreadable,
}

/// What must be known of the request to distinguish calls from answers.
pub(super) struct Tools<'a> {
    pub(super) none: bool,
    /// Returns whether this is the name of a tool, as providers know it.
    pub(super) known: &'a dyn Fn(&str) -> bool,
    /// Returns whether this fits the schema of the answer.
    pub(super) is_answer: &'a dyn Fn(&Value) -> bool,
}

/// The beginnings of calls in the templates of models. They do not occur in answers.
const MARKS: [&str; 31] = [
    "<tool_call>",
    "<tool_calls>",
    "<TOOLCALL>",
    "<function_call>",
    "<function_calls>",
    "<functioncall>",
    "<tool_use>",
    "<tool_code>",
    "<function=",
    "<invoke name=",
    "<minimax:tool_call>",
    "<seed:tool_call>",
    "<longcat_tool_call>",
    "<start_function_call>",
    "<|tool_call|>",
    "<|tool_call>",
    "<|tool_calls|>",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|tool▁calls▁begin|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜DSML｜",
    "<|DSML|",
    "[TOOL_CALLS]",
    "[TOOL_REQUEST]",
    "<|python_tag|>",
    "<|START_ACTION|>",
    "<|action_start|>",
    "<|channel|>commentary to=",
    "✿FUNCTION✿",
];

/// Keys for the name of a tool, and for its arguments.
const NAME_KEYS: [&str; 6] = ["name", "tool_name", "function_name", "tool", "function", "action"];
const ARGUMENT_KEYS: [&str; 8] =
    ["arguments", "parameters", "args", "params", "input", "tool_input", "action_input", "kwargs"];
/// Keys that may accompany them.
const OTHER_KEYS: [&str; 8] =
    ["id", "type", "index", "call_id", "tool_call_id", "thought", "thoughts", "reasoning"];

/// Searches for calls.
pub(super) fn read(text: &str, tools: &Tools<'_>) -> Found {
    let places = MARKS.iter().flat_map(|mark| text.match_indices(mark)).map(|(at, _)| at);
    let mut places: Vec<usize> = places.collect();
    places.sort_unstable();
    if let Some(before) = places.into_iter().take(MAX_MARKS).find(|at| !is_quoted(text, *at)) {
        let calls = marked(&text[before..]);
        let begins_line = text[..before].rsplit('\n').next().is_none_or(|line| line.trim().is_empty());
        return match calls {
            Some(calls) => Found::Calls { before, calls },
            // The text may be about the mark itself.
            None if !begins_line => Found::Nothing,
            None => Found::Unreadable,
        };
    }
    if tools.none {
        return Found::Nothing;
    }
    unmarked(text, tools)
}

/// Parses the calls of a text that begins with a mark; `None` if any of them can't be parsed.
fn marked(text: &str) -> Option<Vec<Written>> {
    let calls = if text.contains("invoke name=") {
        invoked(text)?
    } else if text.contains("<function=") {
        functions(text)?
    } else if text.contains("<arg_key>") {
        keyed(text)?
    } else {
        by_json(text).filter(|calls| !calls.is_empty()).or_else(|| python(code(text)))?
    };
    (!calls.is_empty()).then_some(calls)
}

/// Parses `<invoke name="x"><parameter name="k">v</parameter></invoke>`, under any prefix.
fn invoked(text: &str) -> Option<Vec<Written>> {
    let mut calls = Vec::new();
    for part in text.split("invoke name=").skip(1) {
        let (name, rest) = quoted(part)?;
        // truncated calls are not made
        let (inside, _) = rest.split_once("invoke>").or_else(|| rest.split_once("function_calls>"))?;
        let mut args = Map::new();
        for part in inside.split("parameter name=").skip(1) {
            let (key, rest) = quoted(part)?;
            let (attributes, rest) = rest.split_once('>')?;
            let (value, _) = rest.split_once("parameter>")?.0.rsplit_once("</")?;
            let as_text = attributes.contains("string=\"true\"");
            args.insert(key.to_owned(), if as_text { value.into() } else { value_of(value) });
        }
        calls.push(Written { name: plain(name).to_owned(), arguments: Value::Object(args).to_string() });
    }
    Some(calls)
}

/// Returns the quoted text, and the rest.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mark = text.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
    text[1..].split_once(mark)
}

/// Parses `<function=x>{…}</function>`, or with `<parameter=k>v</parameter>` inside.
fn functions(text: &str) -> Option<Vec<Written>> {
    let mut calls = Vec::new();
    for part in text.split("<function=").skip(1) {
        let (name, rest) = part.split_once('>')?;
        let inside = rest.split_once("</function>").or_else(|| rest.split_once("</tool_call>"));
        let whole = inside.map(|(inside, _)| inside);
        let name = plain(name.trim().trim_matches(['"', '\''])).to_owned();
        if rest.contains("<parameter=") {
            let mut args = Map::new();
            for part in whole?.split("<parameter=").skip(1) {
                let (key, rest) = part.split_once('>')?;
                let value = rest.split("</parameter>").next().unwrap_or(rest);
                args.insert(key.trim().trim_matches(['"', '\'']).to_owned(), value_of(value));
            }
            calls.push(Written { name, arguments: Value::Object(args).to_string() });
            continue;
        }
        let inside = whole.unwrap_or(rest).trim();
        let arguments = match inside {
            "" if whole.is_some() => "{}".to_owned(),
            inside => first_json(inside)?.0.to_string(),
        };
        calls.push(Written { name, arguments });
    }
    Some(calls)
}

/// Parses `<tool_call>x<arg_key>k</arg_key><arg_value>v</arg_value></tool_call>`.
fn keyed(text: &str) -> Option<Vec<Written>> {
    let mut calls = Vec::new();
    for part in text.split("<tool_call>").skip(1) {
        let (inside, _) = part.split_once("</tool_call>")?;
        let name = inside.split(['<', '\n']).next()?.trim();
        let mut args = Map::new();
        for pair in inside.split("<arg_key>").skip(1) {
            let (key, rest) = pair.split_once("</arg_key>")?;
            let (_, value) = rest.split_once("<arg_value>")?;
            let (value, _) = value.split_once("</arg_value>")?;
            args.insert(key.trim().to_owned(), value_of(value));
        }
        calls.push(Written { name: plain(name).to_owned(), arguments: Value::Object(args).to_string() });
    }
    Some(calls)
}

/// Parses a value between tags: JSON if it is a number, a list or the like, else text.
fn value_of(text: &str) -> Value {
    let inside = text.strip_prefix('\n').unwrap_or(text);
    let inside = inside.strip_suffix('\n').unwrap_or(inside);
    match serde_json::from_str::<Value>(inside.trim()) {
        Ok(Value::String(_)) | Err(_) => inside.into(),
        Ok(value) => value,
    }
}

/// Parses JSON that names its tool, or arguments after a tool's name.
fn by_json(text: &str) -> Option<Vec<Written>> {
    let mut calls = Vec::new();
    let (mut rest, mut lead_from) = (text, text);
    while let Some(at) = rest.find(['{', '[']).filter(|_| calls.len() < MAX_CALLS) {
        // marks contain brackets, too
        if MARKS.iter().any(|mark| mark.starts_with('[') && rest[at..].starts_with(mark))
            || ["[ARGS]", "[CALL_ID]", "[END_TOOL_REQUEST]", "[/TOOL_CALLS]"]
                .iter()
                .any(|mark| rest[at..].starts_with(mark))
        {
            rest = &rest[at + 1..];
            continue;
        }
        let lead = &lead_from[..lead_from.len() - rest.len() + at];
        let Some((value, read)) = first_json(&rest[at..]) else {
            // prose, or an invented tool result, may follow
            return (!calls.is_empty() && named(lead).is_none() && !has_mark(lead)).then_some(calls);
        };
        match (as_calls(&value, false), named(lead)) {
            (Some(several), _) => calls.extend(several),
            (None, Some(name)) if value.is_object() => {
                calls.push(Written { name: name.to_owned(), arguments: value.to_string() });
            }
            _ if calls.is_empty() => return None,
            _ => return Some(calls),
        }
        rest = &rest[at + read..];
        lead_from = rest;
    }
    Some(calls)
}

fn has_mark(text: &str) -> bool {
    MARKS.iter().any(|mark| text.contains(mark))
}

/// Returns the name before arguments: `functions.x:0`, `x[ARGS]`, `to=functions.x`, `function<sep>x`.
fn named(lead: &str) -> Option<&str> {
    let lead = match lead.rsplit_once("to=") {
        Some((_, name)) => name.split(|c: char| c.is_whitespace() || c == '<').next()?,
        None => lead,
    };
    let mut lead = lead.trim_end();
    loop {
        let shorter = lead
            .strip_suffix("```json")
            .or_else(|| lead.strip_suffix("```"))
            .or_else(|| lead.strip_suffix("[ARGS]"))
            .or_else(|| lead.strip_suffix("✿ARGS✿:"))
            .or_else(|| lead.strip_suffix("<|tool_call_argument_begin|>"))
            .or_else(|| lead.strip_suffix("<｜tool▁sep｜>"))
            .or_else(|| lead.strip_suffix("<|tool▁sep|>"))
            .or_else(|| lead.strip_suffix("json"));
        match shorter {
            Some(shorter) => lead = shorter.trim_end(),
            None => break,
        }
    }
    let lead = lead.rsplit_once("✿FUNCTION✿:").map_or(lead, |(_, name)| name);
    let (lead, number) = lead.rsplit_once(':').unwrap_or((lead, ""));
    if !number.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let start = lead
        .rfind(|c: char| !is_of_name(c))
        .map_or(0, |at| at + lead[at..].chars().next().map_or(1, char::len_utf8));
    let name = plain(&lead[start..]);
    (!name.is_empty() && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')).then_some(name)
}

/// Parses the calls of a text without marks: JSON that calls known tools, or "Action" and "Action Input" steps, or a Python
/// call; nothing else in the text. A call after other text may only be a quotation.
fn unmarked(text: &str, tools: &Tools<'_>) -> Found {
    let whole = text.trim();
    let inside = unfenced(whole).unwrap_or(whole);
    if let Some(calls) = only_json(inside, tools) {
        return Found::Calls { before: 0, calls };
    }
    if let Some(found) = acted(text, tools) {
        return found;
    }
    if let Some(calls) = python(inside).filter(|calls| calls.iter().all(|call| (tools.known)(&call.name))) {
        return Found::Calls { before: 0, calls };
    }
    let last = last_fence(whole).or_else(|| {
        let line = whole.rfind("\n{").or_else(|| whole.rfind("\n["))?;
        Some(whole[line..].trim())
    });
    let is_call =
        |text| only_json(text, tools).is_some_and(|calls| calls.iter().all(|call| (tools.known)(&call.name)));
    if last.is_some_and(is_call) { Found::Unreadable } else { Found::Nothing }
}

/// Returns the content of a Markdown fence, if the text is one.
fn unfenced(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("```")?.strip_suffix("```")?;
    let (tag, inside) = inside.split_once('\n')?;
    (!inside.contains("```") && tag.trim().chars().all(is_of_name)).then(|| inside.trim())
}

/// Returns the content of a fence at the end of a text.
fn last_fence(text: &str) -> Option<&str> {
    let text = text.strip_suffix("```")?;
    let (_, inside) = text[text.rfind("```")?..].split_once('\n')?;
    Some(inside.trim())
}

/// Parses calls, if the text is nothing else.
fn only_json(text: &str, tools: &Tools<'_>) -> Option<Vec<Written>> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let (mut calls, mut rest) = (Vec::new(), text);
    while !rest.is_empty() && calls.len() < MAX_CALLS {
        let (value, read) = first_json(rest)?;
        if (tools.is_answer)(&value) {
            return None;
        }
        calls.extend(as_calls(&value, true)?);
        rest = rest[read..].trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
    }
    // an answer may have such keys by chance: then the tool is unknown and its arguments are not an object
    let is_one = |call: &Written| (tools.known)(&call.name) || call.arguments.starts_with('{');
    (!calls.is_empty() && calls.iter().all(is_one)).then_some(calls)
}

/// Parses "Action: x" and "Action Input: {…}", each on a line.
fn acted(text: &str, tools: &Tools<'_>) -> Option<Found> {
    let line = |word: &str| {
        let start =
            if text.starts_with(word) { Some(0) } else { text.rfind(&format!("\n{word}")).map(|at| at + 1) };
        start.map(|at| (at, &text[at + word.len()..]))
    };
    let (at, action) = line("Action:")?;
    let (_, input) = line("Action Input:").or_else(|| line("Action input:"))?;
    let name = plain(action.split('\n').next()?.trim().trim_matches('`'));
    if !(tools.known)(name) {
        return None;
    }
    let arguments = match first_json(input.trim_start()) {
        Some((value @ Value::Object(_), _)) => value.to_string(),
        _ => return Some(Found::Unreadable),
    };
    Some(Found::Calls { before: at, calls: vec![Written { name: name.to_owned(), arguments }] })
}

/// Returns the calls that a JSON value represents. `strict`: there must be nothing else in it.
fn as_calls(value: &Value, strict: bool) -> Option<Vec<Written>> {
    if let Some(list) = value.as_array() {
        let calls = list.iter().map(|one| as_calls(one, strict)).collect::<Option<Vec<_>>>()?;
        return (!calls.is_empty()).then(|| calls.into_iter().flatten().collect());
    }
    let map = value.as_object()?;
    if let Some(inner) = ["tool_calls", "tool_call", "function_call"].iter().find_map(|key| map.get(*key)) {
        return as_calls(inner, strict);
    }
    if let Some(function) = map.get("function").filter(|function| function.is_object()) {
        return as_calls(function, strict);
    }
    let (name_key, name) = NAME_KEYS.iter().find_map(|key| Some((*key, map.get(*key)?.as_str()?)))?;
    let given = ARGUMENT_KEYS.iter().find_map(|key| Some((*key, map.get(*key)?)));
    let is_known = |key: &str| {
        key == name_key || given.is_some_and(|(given, _)| given == key) || OTHER_KEYS.contains(&key)
    };
    if strict && !map.keys().all(|key| is_known(key)) {
        return None;
    }
    let name = plain(name);
    if name.is_empty() || !name.chars().all(is_of_name) {
        return None;
    }
    let arguments = match given {
        None | Some((_, Value::Null)) => String::new(),
        Some((_, Value::String(text))) => text.clone(),
        Some((_, value)) => value.to_string(),
    };
    Some(vec![Written { name: name.to_owned(), arguments }])
}
