//! JSON for people: what fits into a line is one.
use serde_json::Value;

/// Columns of a page.
const WIDTH: usize = 110;

/// A message, broken where it is too long for one line; further lines are indented by so much and more.
pub(super) fn shown(message: &Value, indent: usize) -> String {
    let mut out = String::new();
    let line = one_line(message);
    let rest = ["result", "params"].into_iter().find(|key| message.get(key).is_some());
    match rest {
        // what is the same in all of them does not need lines of its own
        Some(rest) if message.get("jsonrpc").is_some() && indent + line.chars().count() > WIDTH => {
            let mut head = message.clone();
            let value = head.as_object_mut().and_then(|head| head.remove(rest)).unwrap_or_default();
            out.push_str(one_line(&head).trim_end_matches('}'));
            out.push_str(&format!(", \"{rest}\": "));
            write(&mut out, &value, indent, WIDTH);
            out.push('}');
        }
        _ => write(&mut out, message, indent, 0),
    }
    out
}

/// `used` columns of the line stand before it already.
fn write(out: &mut String, value: &Value, indent: usize, used: usize) {
    let line = one_line(value);
    if indent + used + line.chars().count() <= WIDTH || line.starts_with(['[', '{']) && line.len() == 2 {
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

/// What says what it is comes first; objects have no order of their own.
fn in_order(fields: &serde_json::Map<String, Value>) -> Vec<(&str, &Value)> {
    const FIRST: [&str; 11] = [
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
    let place = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut fields: Vec<(&str, &Value)> = fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
    fields.sort_by_key(|(key, _)| place(key));
    fields
}
