//! `approvals`: each call in full, with what a person needs to know for the decision.
use super::screen::{Screen, Tone};
use super::words::{plain, plain_lines};
use crate::domain::Effect;
use crate::protocol::ApprovalView;
use serde_json::Value;
use std::fmt::Write as _;

/// Maximum length of a value beside its key; longer ones, or those with several lines, are below it.
const MAX_INLINE_CHARS: usize = 60;

/// Formats all calls, one block each.
pub(crate) fn approval_list(calls: &[ApprovalView], screen: &Screen) -> String {
    let blocks: Vec<String> = calls.iter().map(|call| block(call, screen)).collect();
    blocks.join("\n")
}

fn block(call: &ApprovalView, screen: &Screen) -> String {
    let mut text = head(call, screen) + "\n";
    let mut line = |key: &str, value: &str| {
        let key = screen.paint(Tone::Dim, &format!("{key:<8}"));
        let _ = writeln!(text, "  {key}  {value}");
    };
    line("id", &plain(&call.id));
    line("run", &call.run_id.short());
    line("tool", &plain(&call.tool));
    if let Some(effect) = call.effect {
        line("effect", effect_words(effect));
    }
    if call.untrusted {
        let by = match &call.read_before[..] {
            [] => String::new(),
            tools => format!(", by {}", plain(&tools.join(", "))),
        };
        line("read", &screen.paint(Tone::Warn, &format!("data from outside was read before{by}")));
    }
    let text = screen.fold(&text) + &arguments(&call.args, screen);
    if call.decided_at.is_some() {
        return text;
    }
    let id = plain(&call.id);
    let orders = format!("bgagent approve {id}    bgagent deny {id} --reason …");
    text + &screen.fold(&screen.paint(Tone::Dim, &orders)) + "\n"
}

/// Formats the heading: `mail-triage asks, 3 min ago; it waits until Tue 2026-11-24 09:00:00 (in 3 h)`.
fn head(call: &ApprovalView, screen: &Screen) -> String {
    let agent = call.agent_id.as_ref().map(|agent| screen.agent(agent)).unwrap_or_default();
    let asked = call.requested_at.map(|at| format!(", {}", screen.relative(at))).unwrap_or_default();
    let rest = match (call.decided_at, call.approved) {
        (Some(at), approved) => {
            let word = if approved == Some(true) { "approved" } else { "denied" };
            let by = call.decided_by.as_deref().map(|by| format!(" by {}", plain(by))).unwrap_or_default();
            let why = call.reason.as_deref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
            format!("; {word}{by} {}{why}", screen.relative(at))
        }
        (None, _) => match call.waits_until {
            Some(until) => format!("; it waits until {}", screen.full(until)),
            None => "; it waits for as long as it takes".to_owned(),
        },
    };
    screen.fold(&format!("{agent} asks{asked}{rest}"))
}

/// Describes what a call may do, for the person who decides.
pub(crate) fn effect_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "reads, changes nothing",
        Effect::Idempotent => "changes something; repeating it changes nothing more",
        Effect::Effect => "can't be taken back",
    }
}

/// Formats the arguments in full, short ones first, so that none is hidden behind a long one.
fn arguments(args: &Value, screen: &Screen) -> String {
    let Value::Object(args) = args else {
        return argument("args", &format_value(args), screen);
    };
    let mut all: Vec<(&String, String)> =
        args.iter().map(|(key, value)| (key, format_value(value))).collect();
    all.sort_by_key(|(_, value)| is_long(value));
    all.iter().map(|(key, value)| argument(&plain(key), value, screen)).collect()
}

fn is_long(value: &str) -> bool {
    value.contains('\n') || value.chars().count() > MAX_INLINE_CHARS
}

/// Formats a value: strings as they are, everything else as JSON.
fn format_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => {
            serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
        }
        other => other.to_string(),
    }
}

fn argument(key: &str, value: &str, screen: &Screen) -> String {
    let name = screen.paint(Tone::Strong, &format!("{key:<8}"));
    let shown = plain_lines(value);
    if !is_long(value) {
        return screen.fold(&format!("  {name}  {shown}\n"));
    }
    let mut text = format!("  {name}\n");
    for line in shown.lines() {
        text.push_str(&screen.fold(&format!("    {line}\n")));
    }
    text
}
