//! Pages opened from a line: an agent, a run, an incident, an approval, an event.
use super::paint::{distance, from_ansi, paragraph, toned};
use super::rows::screen;
use super::runs;
use crate::domain::{AgentId, Effect, Health};
use crate::protocol::{AgentDetail, ApprovalView, IncidentView};
use crate::render::{Tone, agent_detail, effect_words, plain, plain_lines};
use crate::top::model::{RowKey, TopModel, TopPage, gist};
use crate::top::theme::{Theme, style};
use ratatui::text::{Line, Span};
use serde_json::Value;

/// Lines of output on the page of an agent.
const OUTPUT_TAIL_LINES: usize = 8;

/// Draws the open page in lines of this width.
pub(super) fn page(model: &TopModel, theme: Theme, width: usize) -> Vec<Line<'static>> {
    // a space before each line
    let room = width.saturating_sub(1).max(1);
    let lines = match model.places.last() {
        Some(TopPage::Agent(id)) => agent(model, theme, id, room),
        Some(TopPage::Run(_, run, false)) => runs::page(model, theme, *run, room),
        Some(TopPage::Run(_, run, true)) => runs::output(model, *run, room),
        Some(TopPage::Incident(agent, key)) => {
            let found = model.known.incidents.iter().find(|one| one.agent_id == *agent && one.key == *key);
            found.map_or_else(removed, |one| incident(model, theme, one, room))
        }
        Some(TopPage::Approval(id)) => {
            let found = model.known.approvals.iter().find(|one| one.id == *id);
            found.map_or_else(removed, |one| approval(model, one, room))
        }
        Some(TopPage::Event(seq)) => event(model, *seq, room),
        None => Vec::new(),
    };
    lines.into_iter().map(indented).collect()
}

fn indented(mut line: Line<'static>) -> Line<'static> {
    line.spans.insert(0, Span::raw(" "));
    line
}

fn removed() -> Vec<Line<'static>> {
    vec![toned("it has ended; Esc goes back", Tone::Dim)]
}

/// Draws the page of an agent: why it fails, the end of its output, and then the text of `status`.
pub(super) fn agent(model: &TopModel, theme: Theme, id: &AgentId, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(gist) = gist(&model.known, &RowKey::Agent(id.clone()), model.moment.wall) {
        let since =
            gist.since.map(|at| format!(", {} ago", distance(at, model.moment.wall))).unwrap_or_default();
        lines.push(Line::from(vec![
            Span::styled(format!("{} {id}   ", gist.mark.sign(theme.ascii)), style(Tone::Strong)),
            Span::styled(format!("{}{since}", gist.state), style(gist.tone)),
        ]));
    }
    let Some(detail) = model.known.detail_of(id) else {
        lines.push(toned("…", Tone::Dim));
        return lines;
    };
    failure(model, detail, width, &mut lines);
    lines.push(Line::default());
    let text = agent_detail(detail, &screen(model, width));
    // its first line repeats the heading
    let rest: String = text.split_inclusive('\n').skip(1).collect();
    lines.push(toned(plain(&detail.agent.schedule), Tone::Plain));
    lines.extend(from_ansi(&rest, width));
    lines
}

fn failure(model: &TopModel, detail: &AgentDetail, width: usize, lines: &mut Vec<Line<'static>>) {
    let agent = &detail.agent;
    let last = agent.last_run.as_ref().filter(|last| last.error.is_some());
    let Some(error) = last.and_then(|last| last.error.as_ref()) else { return };
    lines.push(Line::default());
    lines.extend(paragraph(&plain(&error.message), 0, width, Tone::Bad));
    let run = last.and_then(|last| last.run_id).and_then(|run| model.known.run_of(run));
    if let Some(tail) =
        run.map(|run| runs::tail(&run.output.chunks, OUTPUT_TAIL_LINES)).filter(|tail| !tail.is_empty())
    {
        lines.push(Line::default());
        lines.push(toned("last lines of its output", Tone::Dim));
        for line in tail {
            lines.extend(paragraph(&line, 2, width, Tone::Plain));
        }
    }
    if let (Health::CircuitOpen, Some(until)) = (agent.health, agent.circuit_until) {
        let text = format!(
            "tries again in {}; slots until then are refused: U tries now",
            distance(until, model.moment.wall)
        );
        lines.push(Line::default());
        lines.extend(paragraph(&text, 0, width, Tone::Warn));
    }
}

/// Draws the page of an incident: what was measured, since when, how often, and the diagnosis.
pub(super) fn incident(
    model: &TopModel,
    theme: Theme,
    one: &IncidentView,
    width: usize,
) -> Vec<Line<'static>> {
    let now = model.moment.wall;
    let key = RowKey::Incident(one.agent_id.clone(), one.key.clone());
    let mut lines = Vec::new();
    if let Some(gist) = gist(&model.known, &key, now) {
        lines.push(Line::from(vec![
            Span::styled(format!("{} {}   ", gist.mark.sign(theme.ascii), gist.name), style(Tone::Strong)),
            Span::styled(format!("{}, {}", gist.state, distance(one.since, now)), style(gist.tone)),
        ]));
    }
    lines.push(Line::default());
    if one.untrusted {
        lines.extend(paragraph("reported by a run that had read data from outside:", 0, width, Tone::Warn));
    }
    lines.extend(paragraph(&plain(&one.title), 0, width, Tone::Plain));
    lines.push(Line::default());
    let mut fact = |name: &str, text: String| {
        lines.extend(from_ansi(&format!("{name:<9}{text}"), width));
    };
    let screen = screen(model, width);
    fact("seen by", format!("{}, {} times, last {}", one.agent_id, one.count, screen.relative(one.seen_at)));
    fact("since", screen.full(one.since));
    if let Some(at) = one.acked_at {
        fact("acked", screen.full(at));
    }
    if let Some(at) = one.resolved_at {
        fact("resolved", screen.full(at));
    }
    if let Some(next) = model.known.agents.get(&one.agent_id).and_then(|agent| agent.next_run) {
        fact("looks", format!("again {}", screen.relative(next)));
    }
    if let Some(found) = &one.finding {
        lines.push(Line::default());
        let head =
            format!("{} found, {}, run {}", found.agent_id, screen.relative(found.at), found.run_id.short());
        lines.push(toned(head, Tone::Strong));
        lines.extend(paragraph(&plain_lines(&found.text), 2, width, Tone::Plain));
    }
    lines
}

/// Draws the page of a pending call in full, whatever its length.
pub(super) fn approval(model: &TopModel, one: &ApprovalView, width: usize) -> Vec<Line<'static>> {
    let agent = one.agent_id.as_ref().map_or("?", AgentId::as_str);
    let since = one.requested_at.map(|at| format!(", {} ago", distance(at, model.moment.wall)));
    let mut lines = vec![
        Line::from(vec![
            Span::styled(format!("? {agent} "), style(Tone::Strong)),
            Span::styled(format!("asks{}", since.unwrap_or_default()), style(Tone::Warn)),
        ]),
        Line::default(),
        toned(plain(&one.tool), Tone::Strong),
    ];
    lines.extend(arguments(&one.args, width));
    lines.push(Line::default());
    if let Some(effect) = one.effect {
        let tone = if effect == Effect::Effect { Tone::Warn } else { Tone::Plain };
        lines.extend(paragraph(effect_words(effect), 0, width, tone));
    }
    if one.untrusted {
        let by = match &one.read_before[..] {
            [] => String::new(),
            tools => format!(", by {}", plain(&tools.join(", "))),
        };
        lines.extend(paragraph(&format!("data from outside was read before{by}"), 0, width, Tone::Warn));
    }
    let waits = match one.waits_until {
        Some(until) => format!("it waits until {}", screen(model, width).full(until)),
        None => "it waits for as long as it takes".to_owned(),
    };
    lines.extend(paragraph(&waits, 0, width, Tone::Plain));
    lines.push(Line::default());
    lines.push(toned(format!("run {}   id {}", one.run_id.short(), plain(&one.id)), Tone::Dim));
    let keys =
        if model.may_act() { "A approves, D denies, Enter shows the run" } else { "Enter shows the run" };
    lines.extend(paragraph(keys, 0, width, Tone::Dim));
    lines
}

fn arguments(args: &Value, width: usize) -> Vec<Line<'static>> {
    let Some(object) = args.as_object() else {
        return paragraph(&plain(&args.to_string()), 2, width, Tone::Plain);
    };
    let text = |value: &Value| match value.as_str() {
        Some(text) => plain_lines(text),
        None => plain_lines(&serde_json::to_string_pretty(value).unwrap_or_default()),
    };
    let mut all: Vec<(&String, String)> = object.iter().map(|(key, value)| (key, text(value))).collect();
    // short texts first, so that a long one can't push them out of sight
    all.sort_by_key(|(_, text)| text.len());
    let mut lines = Vec::new();
    for (key, text) in all {
        lines.push(toned(format!("  {}", plain(key)), Tone::Dim));
        lines.extend(paragraph(&text, 4, width, Tone::Plain));
    }
    lines
}

fn event(model: &TopModel, seq: u64, width: usize) -> Vec<Line<'static>> {
    let Some(event) = model.event(seq) else { return removed() };
    let mut lines = vec![toned(
        format!(
            "{}  {}",
            plain(&event.kind),
            event.ts.to_zoned(model.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S")
        ),
        Tone::Strong,
    )];
    if let Some(agent) = &event.agent_id {
        lines.push(toned(format!("agent {agent}"), Tone::Plain));
    }
    if let Some(run) = &event.run_id {
        lines.push(toned(format!("run {run}"), Tone::Plain));
    }
    lines.push(Line::default());
    lines.extend(arguments(&event.payload, width));
    lines
}
