//! JSON formatted for readers: a value that fits on one line is not broken.
use serde_json::Value;

const MAX_LINE_COLUMNS: usize = 110;

/// Formats a message, breaking lines that are too long; continuation lines are indented by at least
/// `indent` columns.
pub(super) fn shown(message: &Value, indent: usize) -> String {
    let mut out = String::new();
    let line = one_line(message);
    let rest = ["result", "params"].into_iter().find(|key| message.get(key).is_some());
    match rest {
        // the constant part of an envelope stays on one line
        Some(rest)
            if message.get("jsonrpc").is_some() && indent + line.chars().count() > MAX_LINE_COLUMNS =>
        {
            let mut head = message.clone();
            let value = head.as_object_mut().and_then(|head| head.remove(rest)).unwrap_or_default();
            out.push_str(one_line(&head).trim_end_matches('}'));
            out.push_str(&format!(", \"{rest}\": "));
            write(&mut out, &value, indent, MAX_LINE_COLUMNS);
            out.push('}');
        }
        _ => write(&mut out, message, indent, 0),
    }
    out
}

/// Writes a value after `used` columns of the current line.
fn write(out: &mut String, value: &Value, indent: usize, used: usize) {
    let line = one_line(value);
    if indent + used + line.chars().count() <= MAX_LINE_COLUMNS
        || line.starts_with(['[', '{']) && line.len() == 2
    {
        out.push_str(&line);
        return;
    }
    let inner = " ".repeat(indent + 2);
    match value {
        Value::Object(fields) => {
            out.push('{');
            for (at, (key, value)) in in_order(fields).into_iter().enumerate() {
                let key = format!("{}: ", Value::from(key));
                out.push_str(if at == 0 { "\n" } else { ",\n" });
                out.push_str(&inner);
                out.push_str(&key);
                write(out, value, indent + 2, key.chars().count());
            }
            out.push_str(&format!("\n{}}}", " ".repeat(indent)));
        }
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                out.push_str(if at == 0 { "\n" } else { ",\n" });
                out.push_str(&inner);
                write(out, value, indent + 2, 0);
            }
            out.push_str(&format!("\n{}]", " ".repeat(indent)));
        }
        _ => out.push_str(&line),
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = in_order(fields)
                .into_iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key), one_line(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(one_line).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Sorts fields with identifying keys first, since JSON objects are unordered.
fn in_order(fields: &serde_json::Map<String, Value>) -> Vec<(&str, &Value)> {
    const LEADING_KEYS: [&str; 11] = [
        "jsonrpc",
        "id",
        "method",
        "seq",
        "ts",
        "type",
        "agent_id",
        "run_id",
        "session_id",
        "params",
        "payload",
    ];
    let rank = |key: &str| LEADING_KEYS.iter().position(|first| *first == key).unwrap_or(LEADING_KEYS.len());
    let mut fields: Vec<(&str, &Value)> = fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
    fields.sort_by_key(|(key, _)| rank(key));
    fields
}
