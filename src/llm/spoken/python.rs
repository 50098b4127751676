//! Tool calls in Python syntax, which some models were trained to write.
use crate::llm::spoken::written::{Written, first_json, is_of_name, plain};
use serde_json::{Map, Value};

/// Parses Python calls, alone or in a list: `x(a=1, b="c")`. `None`: it is something else.
pub(super) fn python(text: &str) -> Option<Vec<Written>> {
    listed(text, true)
}

/// `printed`: the arguments of `print` are parsed as well. Not nested: a text could repeat it any number of times.
fn listed(text: &str, printed: bool) -> Option<Vec<Written>> {
    let text = text.trim();
    let mut rest = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).trim();
    let mut calls = Vec::new();
    while !rest.is_empty() {
        let open = rest.find('(')?;
        let name = plain(&rest[..open]);
        if name.is_empty() || !name.chars().all(is_of_name) {
            return None;
        }
        let parts = parts(&rest[open + 1..])?;
        if let ("print", [only], true) = (name, parts.inside.as_slice(), printed) {
            calls.extend(listed(only, false)?);
        } else {
            let mut args = Map::new();
            for part in &parts.inside {
                let (key, value) = part.split_once('=')?;
                args.insert(key.trim().to_owned(), literal(value.trim())?);
            }
            calls.push(Written { name: name.to_owned(), arguments: Value::Object(args).to_string() });
        }
        rest = rest[open + 1 + parts.length..]
            .trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
    }
    (!calls.is_empty()).then_some(calls)
}

/// The comma-separated content of brackets.
struct Parts<'a> {
    inside: Vec<&'a str>,
    /// Including the closing bracket.
    length: usize,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let (mut inside, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    let (mut quote, mut escapes) = (None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escapes => escapes = false,
            (Some(_), '\\') => escapes = true,
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')') if depth == 0 => {
                inside.push(text[start..at].trim());
                inside.retain(|part| !part.is_empty());
                return Some(Parts { inside, length: at + 1 });
            }
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                inside.push(text[start..at].trim());
                start = at + 1;
            }
            (None, _) => {}
        }
    }
    None
}

/// Parses a Python or JSON literal.
fn literal(text: &str) -> Option<Value> {
    match text {
        "True" => return Some(true.into()),
        "False" => return Some(false.into()),
        "None" => return Some(Value::Null),
        _ => {}
    }
    if let Some(inside) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        let inside = inside.replace("\\'", "'").replace('"', "\\\"");
        return first_json(&format!("\"{inside}\"")).map(|(value, _)| value);
    }
    let (value, length) = first_json(text)?;
    (length == text.len()).then_some(value)
}

/// Returns the content of code tags.
pub(super) fn code(text: &str) -> &str {
    let text = text.trim();
    let text = ["<|python_tag|>", "<tool_code>", "<|channel|>"]
        .iter()
        .find_map(|mark| text.strip_prefix(mark))
        .unwrap_or(text);
    let ends = ["</tool_code>", "<|eom_id|>", "<|eot_id|>"];
    ends.iter().find_map(|end| text.trim_end().strip_suffix(end)).unwrap_or(text).trim()
}
