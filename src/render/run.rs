//! `runs` and `show`.
use super::screen::{Screen, Tone, millis, status_word};
use super::table::{Cell, Table};
use super::words::{bytes, cut, plain, plain_lines, result_words, usd};
use crate::domain::{EventType, Level, RunError, RunStatus, Stream, Usage, counted, params_in_words};
use crate::protocol::{ChunkView, OutputView, RunDetail, RunView};
use std::fmt::Write as _;

/// Formats the table of `runs`.
pub(crate) fn run_list(runs: &[RunView], screen: &Screen) -> String {
    let mut table = Table::new()
        .column("RUN")
        .shrinking_last("AGENT", 10)
        .column("STATUS")
        .column("STARTED")
        .number("TOOK")
        .shrinking("TRIGGER", 5)
        .shrinking("RESULT", 6);
    for run in runs {
        let shown = run.error.as_ref().filter(|_| run.status != RunStatus::WaitingApproval);
        let said = match (shown, &run.result) {
            (Some(error), _) => error_words(run.status, error),
            (None, Some(result)) => result_words(result),
            (None, None) => String::new(),
        };
        table.row(vec![
            run.run_id.short().into(),
            Cell::toned(Tone::Strong, run.agent_id.as_str()),
            status_cell(run),
            screen.relative(run.started_at.unwrap_or(run.queued_at)).into(),
            run.duration_ms.map(|ms| took(run.status, ms)).unwrap_or_default().into(),
            trigger_text(run).into(),
            // cut even without a terminal
            cut(&said).into(),
        ]);
    }
    table.render(screen)
}

/// Describes why a run did not complete: `exit_status: it ended with 3`. A cancelled run did not fail.
pub(crate) fn error_words(status: RunStatus, error: &RunError) -> String {
    match status {
        RunStatus::Cancelled => plain(&error.message),
        _ => format!("{}: {}", error.kind, plain(&error.message)),
    }
}

/// Formats how long a run took. If it was interrupted by the end of the daemon, its end is known only to be before the
/// next start.
pub(crate) fn took(status: RunStatus, ms: i64) -> String {
    match status {
        RunStatus::Interrupted => format!("at most {}", millis(ms)),
        _ => millis(ms),
    }
}

/// Returns the status cell. A probe with findings has completed, but what it watches is not well.
fn status_cell(run: &RunView) -> Cell {
    let found = run.result.as_deref().filter(|_| run.status == RunStatus::Completed).and_then(found_level);
    match found {
        Some(Level::Crit) => Cell::toned(Tone::Bad, "found crit"),
        Some(Level::Warn) => Cell::toned(Tone::Warn, "found warn"),
        _ => Cell::toned(Tone::of_run(run.status), status_word(run.status)),
    }
}

/// Returns the level that a probe found.
pub(crate) fn found_level(result: &str) -> Option<Level> {
    let value: serde_json::Value = serde_json::from_str(result).ok()?;
    value.get("checks")?.as_array()?;
    Level::parse(value.get("status")?.as_str()?)
}

/// Describes why the run was started, and its parameters: `manual day=2026-11-01`, `a.csv arrived`.
fn trigger_text(run: &RunView) -> String {
    let trigger = if run.backfill_id.is_some() { "backfill" } else { run.trigger.as_str() };
    let mut text = run.mode.as_deref().map_or(trigger.to_owned(), plain);
    match arrived(run) {
        Some((EventType::WebhookReceived, name)) => text = format!("webhook {}", cut(&plain(name))),
        Some((EventType::McpEventReceived, name)) => text = cut(&plain(name)),
        Some((_, path)) => {
            text = format!("{} arrived", cut(&plain(path.rsplit('/').next().unwrap_or(path))));
        }
        None => {}
    }
    if !run.params.is_empty() {
        let _ = write!(text, " {}", cut(&params_in_words(&run.params)));
    }
    text
}

/// Returns the arrival that started the run.
fn arrived(run: &RunView) -> Option<(EventType, &str)> {
    let event = run.event.as_ref()?;
    Some((event.kind, event.arrived.as_deref()?))
}

/// Describes the end of a run in one line: `news: run 1f2e3d4c completed, 41s, $0.0130`.
pub(crate) fn outcome_line(run: &RunView, screen: &Screen) -> String {
    let mut text = format!(
        "{}: run {} {}",
        screen.agent(&run.agent_id),
        run.run_id.short(),
        screen.paint(Tone::of_run(run.status), &run.status.as_str().replace('_', " "))
    );
    if let Some(error) = &run.error {
        let _ = write!(text, ": {}", plain(&error.message));
    }
    if run.attempt > 1 {
        let _ = write!(text, ", after {} attempts", run.attempt);
    }
    if let Some(ms) = run.duration_ms {
        let _ = write!(text, ", {}", took(run.status, ms));
    }
    if run.usage.usd > 0.0 {
        let _ = write!(text, ", {}", usd(run.usage.usd));
    }
    screen.fold(&text) + "\n"
}

/// Formats the page of `show`.
pub(crate) fn run_detail(detail: &RunDetail, screen: &Screen) -> String {
    let run = &detail.run;
    let mut text = format!(
        "{}   {}   {}\n",
        screen.paint(Tone::Strong, &run.run_id.to_string()),
        screen.agent(&run.agent_id),
        screen.paint(Tone::of_run(run.status), &run.status.as_str().replace('_', " "))
    );
    let mut line = |key: &str, value: &str| {
        let key = screen.paint(Tone::Dim, &format!("{key:<8}"));
        let _ = writeln!(text, "  {key}  {value}");
    };
    // while the run waits for approval, the error of an earlier attempt does not apply
    if let Some(error) = run.error.as_ref().filter(|_| run.status != RunStatus::WaitingApproval) {
        line("error", &screen.paint(Tone::Bad, &error_words(run.status, error)));
    }
    let slot = run.slot.map(|at| format!(", slot {}", screen.local(at))).unwrap_or_default();
    let mode = run.mode.as_deref().map(|mode| format!(", {}", plain(mode))).unwrap_or_default();
    let backfill =
        run.backfill_id.as_deref().map(|id| format!(", backfill {}", plain(id))).unwrap_or_default();
    let from = match arrived(run) {
        Some((EventType::WebhookReceived, name)) => format!(", webhook {}", plain(name)),
        Some((EventType::McpEventReceived, name)) => format!(", event {}", plain(name)),
        Some((_, path)) => format!(", {} arrived", plain(path)),
        None => String::new(),
    };
    line("because", &format!("{}{from}{mode}{slot}{backfill}", run.trigger));
    if !run.params.is_empty() {
        line("params", &plain(&params_in_words(&run.params)));
    }
    line("queued", &screen.full(run.queued_at));
    if let Some(at) = run.started_at {
        line("started", &screen.full(at));
    }
    if let Some(at) = run.not_before.filter(|at| *at > screen.now) {
        line("goes on", &screen.full(at));
    }
    if let Some(at) = run.finished_at {
        let took = run.duration_ms.map(|ms| format!(", took {}", took(run.status, ms))).unwrap_or_default();
        line("ended", &format!("{}{took}", screen.full(at)));
    }
    if let Some(node) = &run.node {
        line("node", &plain(node));
    }
    if run.attempt > 1 {
        line("attempts", &run.attempt.to_string());
    }
    if let Some(code) = run.exit_code {
        line("exit", &code.to_string());
    }
    if run.usage != Usage::default() {
        line("used", &used(&run.usage));
    }
    if let Some(model) = &run.model {
        let mode = run.mode.as_ref().map(|mode| format!(" ({})", plain(mode))).unwrap_or_default();
        line("model", &format!("{}{mode}", plain(model)));
    }
    if let Some(session) = &run.session_id {
        line("session", &plain(session));
    }
    line("config", &plain(&run.config_hash).chars().take(8).collect::<String>());
    for warning in &run.warnings {
        line("warning", &screen.paint(Tone::Warn, &plain(warning)));
    }
    text = screen.fold(&text);
    result_section(&mut text, detail, screen);
    let talks = !detail.steps.is_empty();
    let events: Vec<_> = detail
        .events
        .iter()
        .filter(|event| {
            event.known() != Some(EventType::TaskOutput)
                && !(talks && event.known().is_some_and(is_in_transcript))
        })
        .collect();
    if !events.is_empty() {
        section(&mut text, "course", screen);
        for event in events {
            text.push_str(&super::event::logged_line(event, screen));
        }
    }
    if talks {
        section(&mut text, "transcript", screen);
        text.push_str(&super::transcript::transcript(&detail.steps, run.status.is_final(), screen));
    }
    if !detail.output.chunks.is_empty() || detail.output.dropped_bytes > 0 {
        section(&mut text, "output", screen);
        text.push_str(&output(&detail.output, screen));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if detail.output.dropped_bytes > 0 {
            let note = format!("-- {}", left_out(detail.output.dropped_bytes));
            let _ = writeln!(text, "{}", screen.paint(Tone::Warn, &note));
        }
    }
    text
}

fn result_section(text: &mut String, detail: &RunDetail, screen: &Screen) {
    let result = detail.run.result.as_ref().filter(|result| !result.trim().is_empty());
    let Some(result) = result else { return };
    section(text, "result", screen);
    let result = result.trim_end();
    let _ = writeln!(text, "{}", if screen.raw { result.into() } else { plain_lines(result) });
    if let Some(note) = cut_result(detail) {
        let _ = writeln!(text, "{}", screen.paint(Tone::Dim, &note));
    }
}

/// Returns a note if a command's result is not all of its output: only the end is kept as the result.
pub(crate) fn cut_result(detail: &RunDetail) -> Option<String> {
    let run = &detail.run;
    let result = run.result.as_deref()?.trim_end();
    // only commands have an exit code
    run.exit_code?;
    let of_result = |chunk: &&ChunkView| chunk.stream == Stream::Stdout && chunk.attempt == run.attempt;
    let chunks = || detail.output.chunks.iter().filter(of_result);
    let written: usize = chunks().map(|chunk| chunk.text.len()).sum();
    let blank: usize = chunks()
        .rev()
        .scan(true, |goes_on, chunk| {
            let rest = chunk.text.trim_end().len();
            let blank = if *goes_on { chunk.text.len() - rest } else { 0 };
            *goes_on &= rest == 0;
            Some(blank)
        })
        .sum();
    (written - blank > result.len()).then(|| {
        format!(
            "-- the last {} of its output; {}: bgagent logs {}",
            bytes(result.len() as u64),
            if detail.output.dropped_bytes > 0 { "what was kept of it" } else { "all of it" },
            run.run_id.short()
        )
    })
}

/// Returns whether the transcript shows this event in full.
fn is_in_transcript(kind: EventType) -> bool {
    matches!(
        kind,
        EventType::ModelRequest
            | EventType::ModelResponse
            | EventType::AgentThought
            | EventType::AgentMessage
            | EventType::ToolCallStarted
            | EventType::ToolCallResult
            | EventType::ToolCallError
            | EventType::FinalAnswer
            | EventType::ApprovalDecided
    )
}

fn section(text: &mut String, title: &str, screen: &Screen) {
    let _ = writeln!(text, "\n{}", screen.paint(Tone::Strong, title));
}

/// Formats usage: `3 requests, 1200 tokens in (800 cached), 90 out, $0.0130`.
fn used(usage: &Usage) -> String {
    format!(
        "{}, {} tokens in ({} cached), {} out, {}",
        counted(usage.requests, "request"),
        usage.input_tokens,
        usage.cached_tokens,
        usage.output_tokens,
        usd(usage.usd)
    )
}

/// Returns the note that output is missing.
pub(crate) fn left_out(dropped_bytes: u64) -> String {
    format!(
        "{} of output were not kept: it was more than `max_output` (its head and its tail are kept), or it could not \
         be recorded",
        bytes(dropped_bytes)
    )
}

/// Formats output as written, with control sequences escaped even if it does not go to a terminal: what is written to a
/// file today is on a terminal tomorrow. In raw mode, nothing is escaped.
pub(crate) fn output(view: &OutputView, screen: &Screen) -> String {
    let mut text = String::new();
    for chunk in &view.chunks {
        let shown = if screen.raw { chunk.text.clone() } else { plain_lines(&chunk.text) };
        if chunk.stream == Stream::Stderr && screen.color {
            // line by line, so that the following text is not dimmed
            for line in shown.split_inclusive('\n') {
                let end = if line.ends_with('\n') { "\n" } else { "" };
                text.push_str(&screen.paint(Tone::Dim, line.trim_end_matches('\n')));
                text.push_str(end);
            }
        } else {
            text.push_str(&shown);
        }
    }
    text
}
