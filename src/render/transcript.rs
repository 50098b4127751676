//! The conversation of a run with its model, for `show`: all messages and calls, with timings, tokens and dollars.
use super::screen::{Screen, Tone, millis};
use super::words::{plain, plain_lines, usd};
use crate::domain::{Finish, LengthUnit, ModelAnswer, Step, Usage, counted, shortened};
use crate::protocol::StepView;
use std::fmt::Write as _;

/// Maximum lines per text; `--json` has all.
const MAX_LINES: usize = 40;

/// Maximum characters of a call's arguments.
const MAX_ARGS_CHARS: usize = 2000;

/// Formats the whole transcript. `over`: its run has ended, so no more steps follow.
pub(super) fn transcript(steps: &[StepView], over: bool, screen: &Screen) -> String {
    let mut text = String::new();
    // only agent programs record which session they work in
    let by_program = steps.iter().any(|step| matches!(step.step, Step::Session { .. }));
    for (at, step) in steps.iter().enumerate() {
        match &step.step {
            Step::Calling { .. } if !by_program => {}
            Step::Calling { call, .. } => {
                unfinished_call(&mut text, step, *call, &steps[at + 1..], over, screen)
            }
            Step::Asked { model, worst } => {
                if is_open(&steps[at + 1..], over) {
                    let what = screen.paint(Tone::Warn, "no answer on record, charged at its worst case");
                    head(&mut text, step, &plain(model), &what, &spent(&worst.usage(), 0), screen);
                }
            }
            Step::Begun { query, .. } => {
                head(&mut text, step, "the agent", "asked", "", screen);
                body(&mut text, query, screen, Tone::Plain);
            }
            Step::Answered { model, answer, used } => {
                answered(&mut text, step, model, answer, used, screen);
                if over {
                    missing_calls(&mut text, step, answer, &steps[at + 1..], screen);
                }
            }
            Step::Unanswered { model, error, used } => {
                let what = screen.paint(Tone::Bad, &format!("no answer: {}", error.kind));
                head(&mut text, step, &plain(model), &what, &spent(used, step.duration_ms), screen);
                body(&mut text, &error.message, screen, Tone::Bad);
            }
            Step::Called { reply, .. } => {
                let what = match reply.is_error {
                    true => screen.paint(Tone::Warn, "failed"),
                    false => screen.paint(Tone::Good, "ok"),
                };
                head(&mut text, step, &plain(&reply.name), &what, &millis_of(step.duration_ms), screen);
                call_arguments(&mut text, step.args.as_deref().unwrap_or_default(), screen);
                body(&mut text, &format!("-> {}", reply.text), screen, Tone::Plain);
            }
            Step::Handed { waits: false, .. } => {}
            Step::Handed { request, .. } => {
                head(&mut text, step, &plain(&request.name), "waits for a person", "", screen);
                call_arguments(&mut text, step.args.as_deref().unwrap_or_default(), screen);
            }
            Step::Session { id, version } => {
                let version =
                    version.as_deref().map(|version| format!(", version {version}")).unwrap_or_default();
                let what = format!("works in session {}{}", plain(id), plain(&version));
                head(&mut text, step, "the program", &what, "", screen);
            }
            Step::Told { text: said, thought } => {
                head(
                    &mut text,
                    step,
                    "the program",
                    if said.is_empty() { "thought" } else { "said" },
                    "",
                    screen,
                );
                if let Some(thought) = thought {
                    body(&mut text, thought, screen, Tone::Dim);
                }
                body(&mut text, said, screen, Tone::Plain);
            }
            Step::Kept { repository, branch, changes } => {
                let what = format!("kept as branch {} of {}", plain(branch), plain(repository));
                head(&mut text, step, "the clone", &what, "", screen);
                body(&mut text, changes, screen, Tone::Plain);
                let take = format!("merge it: git -C {repository} merge {branch}");
                body(&mut text, &take, screen, Tone::Dim);
            }
            Step::Decided { approved, reason, .. } => {
                let what = if *approved { "approved" } else { "denied" };
                head(&mut text, step, "a person", what, "", screen);
                body(&mut text, reason.as_deref().unwrap_or_default(), screen, Tone::Plain);
            }
        }
    }
    text
}

/// Formats a call of an agent program whose end was not observed, because the program was ended; calls of a model
/// follow its answer.
fn unfinished_call(
    text: &mut String,
    step: &StepView,
    call: usize,
    later: &[StepView],
    over: bool,
    screen: &Screen,
) {
    let has_end =
        later.iter().any(|later| matches!(&later.step, Step::Called { call: of, .. } if *of == call));
    let began_anew = later.iter().any(|later| matches!(later.step, Step::Session { .. }));
    if !has_end && (over || began_anew) {
        let tool = step.tool.as_deref().unwrap_or_default();
        head(text, step, &plain(tool), &screen.paint(Tone::Warn, "no result"), "", screen);
        call_arguments(text, step.args.as_deref().unwrap_or_default(), screen);
    }
}

/// Returns whether a request has no answer among the later steps. The end of a daemon also ends its requests.
fn is_open(later: &[StepView], over: bool) -> bool {
    // an agent program may send several at a time, and answers can't be matched to requests: the oldest ones count as
    // unanswered
    let mut open = 1;
    for step in later {
        match step.step {
            Step::Asked { .. } => open += 1,
            Step::Answered { .. } | Step::Unanswered { .. } => open -= 1,
            _ => {}
        }
        if open == 0 {
            return false;
        }
    }
    over
}

fn answered(
    text: &mut String,
    step: &StepView,
    model: &str,
    answer: &ModelAnswer,
    used: &Usage,
    screen: &Screen,
) {
    let what = match &answer.finish {
        Finish::Stop if answer.turn.calls.is_empty() => screen.paint(Tone::Good, "answered"),
        Finish::Stop => format!("called {}", counted(answer.turn.calls.len(), "tool")),
        Finish::Length => screen.paint(Tone::Bad, "was cut off"),
        Finish::Refusal(_) => screen.paint(Tone::Bad, "refused"),
        Finish::Unreadable(_) => screen.paint(Tone::Bad, "made a call that can't be read"),
    };
    head(text, step, &plain(model), &what, &spent(used, step.duration_ms), screen);
    if let Some(thought) = &answer.turn.thought {
        body(text, thought, screen, Tone::Dim);
    }
    body(text, &answer.turn.text, screen, Tone::Plain);
}

/// Formats calls that the model requested and that no later step records: those of the answer with which a run failed,
/// and those in flight at its end.
fn missing_calls(
    text: &mut String,
    step: &StepView,
    answer: &ModelAnswer,
    later: &[StepView],
    screen: &Screen,
) {
    let turn = || later.iter().take_while(|later| !matches!(later.step, Step::Answered { .. }));
    for (at, wanted) in answer.turn.calls.iter().enumerate() {
        if turn().any(|later| matches!(&later.step, Step::Called { call, .. } if *call == at)) {
            continue;
        }
        let begun = turn().any(|later| matches!(&later.step, Step::Calling { call, .. } if *call == at));
        let what = screen.paint(Tone::Warn, if begun { "no result" } else { "not made" });
        head(text, step, &plain(&wanted.name), &what, "", screen);
        call_arguments(text, &wanted.arguments, screen);
    }
}

fn call_arguments(text: &mut String, args: &str, screen: &Screen) {
    if !matches!(args.trim(), "" | "{}") {
        body(text, &format!("<- {}", shortened(args, LengthUnit::Chars, MAX_ARGS_CHARS)), screen, Tone::Dim);
    }
}

fn head(text: &mut String, step: &StepView, who: &str, what: &str, cost: &str, screen: &Screen) {
    let time = step.at.to_zoned(screen.zone.clone()).strftime("%H:%M:%S").to_string();
    let cost = if cost.is_empty() { String::new() } else { format!("  {}", screen.paint(Tone::Dim, cost)) };
    let _ = writeln!(
        text,
        "{:>3}  {}  {} {what}{cost}",
        step.n,
        screen.paint(Tone::Dim, &time),
        screen.paint(Tone::Strong, who)
    );
}

fn body(text: &mut String, said: &str, screen: &Screen, tone: Tone) {
    let said = plain_lines(said.trim());
    for line in said.lines().take(MAX_LINES) {
        let _ = writeln!(text, "     {}", screen.paint(tone, line));
    }
    let more = said.lines().count().saturating_sub(MAX_LINES);
    if more > 0 {
        let _ = writeln!(text, "     {}", screen.paint(Tone::Dim, &format!("… {more} more lines: --json")));
    }
}

fn millis_of(ms: u64) -> String {
    millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn spent(used: &Usage, took_ms: u64) -> String {
    let mut parts = Vec::new();
    if took_ms > 0 {
        parts.push(millis_of(took_ms));
    }
    if used.requests > 1 {
        parts.push(counted(usize::try_from(used.requests).unwrap_or(usize::MAX), "request"));
    }
    if used.tokens() > 0 {
        parts.push(format!("{} in, {} out", used.input_tokens, used.output_tokens));
    }
    if used.usd > 0.0 {
        parts.push(usd(used.usd));
    }
    parts.join(", ")
}
