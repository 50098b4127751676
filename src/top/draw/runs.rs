//! The page of a run: its outcome, the reason, and then its course.
use super::paint::{from_ansi, paragraph, toned};
use super::rows::screen;
use crate::domain::RunId;
use crate::protocol::{ChunkView, RunDetail};
use crate::render::{Tone, left_out, plain, plain_lines, result_text, run_detail, usd};
use crate::top::model::{TopModel, of_run, progress};
use crate::top::theme::{Theme, style};
use ratatui::text::{Line, Span};

/// Draws the page of a run.
pub(super) fn page(model: &TopModel, theme: Theme, run: RunId, width: usize) -> Vec<Line<'static>> {
    let Some(detail) = model.known.run_of(run) else { return vec![toned("…", Tone::Dim)] };
    let view = &detail.run;
    let gist = of_run(view);
    let mut head = vec![
        Span::styled(format!("{} {}   ", gist.mark.sign(theme.ascii), view.agent_id), style(Tone::Strong)),
        Span::styled(gist.state.clone(), style(gist.tone)),
    ];
    if !view.status.is_final() {
        head.push(Span::raw(format!("   {}", progress(&model.known, view, model.moment.wall).0)));
    }
    if view.usage.usd > 0.0 {
        head.push(Span::raw(format!("   {}", usd(view.usage.usd))));
    }
    let mut lines = vec![Line::from(head)];
    lines.extend(outcome(detail, width));
    lines.push(Line::default());
    let text = run_detail(&without_result(detail), &screen(model, width));
    // its first line repeats the heading
    let rest: String = text.split_inclusive('\n').skip(1).collect();
    lines.push(toned(view.run_id.to_string(), Tone::Dim));
    lines.extend(from_ansi(&rest, width));
    lines
}

/// Draws the error or the result.
fn outcome(detail: &RunDetail, width: usize) -> Vec<Line<'static>> {
    let run = &detail.run;
    let mut lines = Vec::new();
    if let Some(error) = &run.error {
        lines.push(Line::default());
        lines.extend(paragraph(&plain(&error.message), 0, width, Tone::Bad));
        let tail = tail(&detail.output.chunks, 5);
        if !tail.is_empty() {
            lines.push(toned("last lines of its output", Tone::Dim));
            lines.extend(tail.iter().flat_map(|line| paragraph(line, 2, width, Tone::Plain)));
        }
    }
    // the result of a command is the end of its output, which is shown below
    let is_shown = run.error.is_none() && run.exit_code.is_none();
    if let Some(result) = run.result.as_deref().filter(|text| is_shown && !text.trim().is_empty()) {
        lines.push(Line::default());
        lines.extend(paragraph(&plain_lines(&result_text(result)), 0, width, Tone::Plain));
    }
    lines
}

/// Removes what is shown above from the details below.
fn without_result(detail: &RunDetail) -> RunDetail {
    let mut detail = detail.clone();
    detail.run.result = None;
    detail.run.error = None;
    detail
}

/// Draws the output of a run.
pub(super) fn output(model: &TopModel, run: RunId, width: usize) -> Vec<Line<'static>> {
    let Some(output) = model.known.output.as_ref().filter(|output| output.run == run) else {
        return vec![toned("…", Tone::Dim)];
    };
    if output.chunks.is_empty() {
        let text = if output.has_more { "…" } else { "no output" };
        return vec![toned(text, Tone::Dim)];
    }
    let mut text = String::new();
    for chunk in &output.chunks {
        text.push_str(&plain_lines(&chunk.text));
    }
    let mut lines = from_ansi(&text, width);
    if output.dropped_bytes > 0 {
        lines.extend(paragraph(&left_out(output.dropped_bytes), 0, width, Tone::Warn));
    }
    lines
}

/// Returns the last lines of the output that are not blank.
pub(super) fn tail(chunks: &[ChunkView], count: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut text = String::new();
    // the last lines are in the newest chunks
    for chunk in chunks.iter().rev() {
        text.insert_str(0, &chunk.text);
        if text.lines().filter(|line| !line.trim().is_empty()).count() > count || text.len() > 64 << 10 {
            break;
        }
    }
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in &all[all.len().saturating_sub(count)..] {
        lines.push(plain(line.trim_end()));
    }
    lines
}

/// Summarizes a run in the pane.
pub(super) fn summary(model: &TopModel, theme: Theme, run: RunId, width: usize) -> Vec<Line<'static>> {
    let Some(view) = model.known.run_row(run) else { return Vec::new() };
    let gist = of_run(view);
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{} {}   ", gist.mark.sign(theme.ascii), view.agent_id), style(Tone::Strong)),
        Span::styled(gist.state.clone(), style(gist.tone)),
    ])];
    lines.push(toned(format!("run {}, {}, attempt {}", run.short(), view.trigger, view.attempt), Tone::Dim));
    if !view.status.is_final() {
        lines.push(toned(progress(&model.known, view, model.moment.wall).0, Tone::Busy));
    }
    if let Some(words) = model.known.last_words.get(&run) {
        lines.push(Line::default());
        lines.extend(paragraph(words, 0, width, Tone::Plain));
    }
    if !gist.cause.is_empty() {
        lines.push(Line::default());
        let tone = if view.error.is_some() { Tone::Bad } else { Tone::Plain };
        lines.extend(paragraph(&gist.cause, 0, width, tone));
    }
    lines
}
