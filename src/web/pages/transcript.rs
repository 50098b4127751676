//! The conversation of a run, step by step, and what took its time and money.
use crate::domain::{Finish, Step, Usage, counted};
use crate::protocol::StepView;
use crate::web::html::{Moment, block, line, money, shell, span};

/// An entry of the transcript.
#[derive(Default)]
pub(super) struct StepLine {
    pub(super) n: u64,
    pub(super) class: &'static str,
    pub(super) who: String,
    pub(super) at: String,
    pub(super) title: String,
    pub(super) thought: String,
    pub(super) text: String,
    /// Shown in monospace: arguments and results of tools.
    pub(super) code: String,
    pub(super) args: String,
    pub(super) meta: String,
    /// It brought in external data.
    pub(super) outside: bool,
}

/// A row of the breakdown of time and money.
pub(super) struct CostRow {
    pub(super) n: u64,
    pub(super) name: String,
    pub(super) class: &'static str,
    /// Left and width out of 1000.
    pub(super) left: u64,
    pub(super) width: u64,
    pub(super) took: String,
    pub(super) usd: String,
}

/// Returns the rows of some steps.
pub(super) fn rows(steps: &[StepView], moment: &Moment) -> Vec<StepLine> {
    steps.iter().filter_map(|step| row(step, moment)).collect()
}

fn row(view: &StepView, moment: &Moment) -> Option<StepLine> {
    let mut row = StepLine { n: view.n, at: moment.when(view.at).local, class: "dim", ..StepLine::default() };
    let took = if view.duration_ms > 0 { span(view.duration_ms as i64) } else { String::new() };
    match &view.step {
        Step::Asked { .. } | Step::Calling { .. } => return None,
        Step::Begun { query, untrusted, .. } => {
            row.who = "asked".into();
            row.text = block(query);
            row.outside = *untrusted;
        }
        Step::Answered { model, answer, used } => {
            row.who = line(model);
            row.class = "busy";
            row.text = block(&answer.turn.text);
            row.thought = answer.turn.thought.as_deref().map(block).unwrap_or_default();
            row.title = match &answer.finish {
                Finish::Stop if answer.turn.calls.is_empty() => String::new(),
                Finish::Stop => format!("calls {}", counted(answer.turn.calls.len(), "tool")),
                Finish::Length => "was cut off".into(),
                Finish::Refusal(why) => format!("refused: {}", line(why)),
                Finish::Unreadable(why) => format!("can't be read: {}", line(why)),
            };
            row.meta = meta(&took, used);
        }
        Step::Unanswered { model, error, used } => {
            row.who = format!("{}: no answer", line(model));
            row.class = "bad";
            row.title = error.kind.to_string();
            row.text = block(&error.message);
            row.meta = meta(&took, used);
        }
        Step::Called { reply, untrusted, .. } => {
            row.who = line(&reply.name);
            row.class = if reply.is_error { "bad" } else { "ok" };
            row.title = if reply.is_error { "failed".into() } else { String::new() };
            row.args = view.args.as_deref().map(block).unwrap_or_default();
            row.code = readable(&reply.text);
            row.meta = took;
            row.outside = *untrusted;
        }
        Step::Handed { waits: false, .. } => return None,
        Step::Handed { request, .. } => {
            row.who = line(&request.name);
            row.class = "ask";
            row.title = "waits for a person".into();
            row.args = view.args.as_deref().map(block).unwrap_or_default();
        }
        Step::Session { id, version } => {
            row.who = "program".into();
            let version =
                version.as_deref().map(|version| format!(", version {}", line(version))).unwrap_or_default();
            row.title = format!("works in session {}{version}", line(id));
        }
        Step::Told { text, thought } => {
            row.who = "program".into();
            row.class = "busy";
            row.text = block(text);
            row.thought = thought.as_deref().map(block).unwrap_or_default();
        }
        Step::Kept { repository, branch, changes } => {
            row.who = "changes".into();
            row.class = "ok";
            row.title = format!("kept as branch {} of {}", line(branch), line(repository));
            row.code = block(changes);
            row.meta = format!("git -C {} merge {}", shell(repository), shell(branch));
        }
        Step::Decided { approved, reason, .. } => {
            row.who = "a person".into();
            row.class = "ask";
            row.title = if *approved { "approved".into() } else { "denied".into() };
            row.text = reason.as_deref().map(block).unwrap_or_default();
        }
    }
    Some(row)
}

/// Formats a result of known shape as text: output of a program as it was written, not as one line of JSON.
fn readable(text: &str) -> String {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return block(text) };
    let field =
        |name: &str| value.get(name).and_then(|field| field.as_str()).filter(|field| !field.is_empty());
    if let (Some(map), true) =
        (value.as_object(), value.get("stdout").is_some() || value.get("stderr").is_some())
    {
        let code = map.get("exit_code").filter(|code| code.as_i64() != Some(0));
        let parts = [
            field("stdout").map(str::to_owned),
            field("stderr").map(str::to_owned),
            code.map(|code| format!("exit code {code}")),
        ];
        return block(&parts.into_iter().flatten().collect::<Vec<_>>().join("\n"));
    }
    match &value {
        serde_json::Value::String(text) => block(text),
        serde_json::Value::Object(_) | serde_json::Value::Array(_) => {
            block(&serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned()))
        }
        _ => block(text),
    }
}

fn meta(took: &str, used: &Usage) -> String {
    let mut parts: Vec<String> = [took.to_owned()].into_iter().filter(|part| !part.is_empty()).collect();
    if used.input_tokens > 0 {
        let cached = if used.cached_tokens > 0 {
            format!(", {} of them cached", used.cached_tokens)
        } else {
            String::new()
        };
        parts.push(format!("{} tokens in{cached}", used.input_tokens));
    }
    if used.output_tokens > 0 {
        parts.push(format!("{} out", used.output_tokens));
    }
    if used.usd > 0.0 {
        parts.push(money(used.usd));
    }
    parts.join(" · ")
}

/// Returns requests and calls on a common time axis, with the cost of each.
pub(super) fn costs(steps: &[StepView]) -> Vec<CostRow> {
    let timed: Vec<(&StepView, i64, i64)> = steps
        .iter()
        .filter(|step| {
            matches!(step.step, Step::Answered { .. } | Step::Unanswered { .. } | Step::Called { .. })
        })
        .map(|step| {
            let end = step.at.as_millisecond();
            (step, end - step.duration_ms as i64, end)
        })
        .collect();
    let (Some(first), Some(last)) =
        (timed.iter().map(|row| row.1).min(), timed.iter().map(|row| row.2).max())
    else {
        return Vec::new();
    };
    let used = |step: &StepView| match &step.step {
        Step::Answered { used, .. } | Step::Unanswered { used, .. } => used.usd,
        _ => 0.0,
    };
    let scale = 1000.0 / (last - first).max(1) as f64;
    let row = |(step, begin, end): (&StepView, i64, i64)| {
        let (name, class) = match &step.step {
            Step::Answered { model, .. } => (line(model), "f-busy"),
            Step::Unanswered { model, .. } => (line(model), "f-bad"),
            Step::Called { reply, .. } => (line(&reply.name), if reply.is_error { "f-bad" } else { "f-ok" }),
            _ => (String::new(), "f-idle"),
        };
        let width = ((end - begin) as f64 * scale).max(3.0) as u64;
        CostRow {
            n: step.n,
            name,
            class,
            left: (((begin - first) as f64 * scale) as u64).min(1000 - width.min(1000)),
            width: width.min(1000),
            took: span(step.duration_ms as i64),
            usd: if used(step) > 0.0 { money(used(step)) } else { String::new() },
        }
    };
    timed.into_iter().map(row).collect()
}
