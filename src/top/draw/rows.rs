//! Draws the lines of the lists.
use super::paint::{RowColumns, distance, toned};
use crate::domain::{AgentId, Desired, LoggedEvent, RunStatus, counted};
use crate::overview::Rank;
use crate::protocol::{AgentView, LimitView, RunView, UsageView};
use crate::render::{Screen, Tone, logged_line, millis, plain, usd};
use crate::top::asks::MOST_RUNS;
use crate::top::model::{
    ItemSummary, RowGroup, RowKey, TopModel, TopView, UsedBy, calm, gist, of_run, progress, strip, tally,
    under_way,
};
use crate::top::theme::{RowMark, SlotOutcome, Theme};
use jiff::Timestamp;
use ratatui::text::Line;

/// Width in columns of an item's state: `circuit open 9×`.
const STATE_COLUMNS: usize = 15;
/// Width in columns of an agent's newest runs.
const RECENT_COLUMNS: usize = 20;
/// Width of a bar in columns.
const BAR_COLUMNS: usize = 6;

/// Draws a line of a list in this width. The cursor is also marked by a sign, for terminals without reverse video.
pub(super) fn row(
    model: &TopModel,
    theme: Theme,
    key: &RowKey,
    width: usize,
    selected: bool,
) -> Line<'static> {
    let mut line = RowColumns::new(width);
    if let RowKey::Title(group) = key {
        line.text(" ", Tone::Plain).text(&title(model, *group), Tone::Strong);
        return line.line();
    }
    line.text(if selected { ">" } else { " " }, Tone::Strong);
    match key {
        RowKey::Rest(group) => rest(model, theme, *group, &mut line),
        RowKey::Strip(agent) => strip_row(model, theme, agent, &mut line),
        RowKey::Used(by, name) => used(model, theme, *by, name, &mut line),
        RowKey::Event(seq) => event(model, *seq, &mut line),
        RowKey::Run(run) => match model.known.run_row(*run) {
            Some(view) if model.view == TopView::Now => running(model, theme, view, &mut line),
            Some(view) => run_row(model, theme, view, &mut line),
            None => removed(key, &mut line),
        },
        key => match gist(&model.known, key, model.moment.wall) {
            Some(gist) => item(model, theme, key, &gist, &mut line),
            None => removed(key, &mut line),
        },
    }
    line.line()
}

/// Draws the line that says how many more rows there are.
pub(super) fn more(count: usize) -> Line<'static> {
    toned(format!("   … {count} more: ↓ or G"), Tone::Dim)
}

/// Draws the line of an empty list.
pub(super) fn nothing(model: &TopModel) -> Line<'static> {
    if !model.filter.is_empty() || model.only_unwell {
        return toned(" nothing matches; Esc shows all", Tone::Dim);
    }
    let text = match model.view {
        TopView::Now | TopView::Agents => " no agents yet: `bgagent init` writes a file to begin with",
        TopView::Runs => " no runs yet",
        TopView::Slots => " no agent has slots",
        TopView::Incidents => " no incidents",
        TopView::Approvals => " nothing waits for a person",
        TopView::Spending => " nothing was spent",
        TopView::Log => " no events yet",
    };
    toned(text, Tone::Dim)
}

/// Returns the first view as plain text, in full: one text per line.
pub(in crate::top) fn plain_lines(model: &TopModel, theme: Theme, width: usize) -> Vec<String> {
    // the clock is at the end of the line, which must stay in the visible part
    let mut lines = vec![super::frame::header(model, theme, width.min(100))];
    lines.extend(model.list().rows().iter().map(|key| row(model, theme, key, width, false)));
    lines.iter().map(|line| theme.text(line.to_string().trim_end())).collect()
}

fn title(model: &TopModel, group: RowGroup) -> String {
    let known = &model.known;
    let calm = |held: bool| calm(known, &model.judged, held).count();
    match group {
        RowGroup::Needs if model.judged.needs.is_empty() => "NOTHING NEEDS YOU".into(),
        RowGroup::Needs => format!("NEEDS YOU {}", model.judged.needs.len()),
        RowGroup::Running => {
            let more = if known.live.len() as u64 >= MOST_RUNS { " and more" } else { "" };
            match under_way(known).count() {
                // those that have ended stay listed while the user moves in the list
                0 => "NOTHING RUNS".into(),
                count => format!("RUNNING {count}{more}"),
            }
        }
        RowGroup::Well => format!("WELL {}   last, next, newest runs, today", calm(false)),
        RowGroup::Held => format!("HELD BACK {}", calm(true)),
        RowGroup::Slots => {
            let key = "z: 1 hour, 6 hours, 24 hours, 7 days";
            format!("SLOTS OF THE LAST {}   {key}", model.span.words().to_uppercase())
        }
        RowGroup::Limits => "LIMITS OF THE FLEET".into(),
        RowGroup::ByAgent => "TODAY BY AGENT".into(),
        RowGroup::ByModel => "TODAY BY MODEL".into(),
        RowGroup::ByDay => "BY DAY".into(),
    }
}

/// Returns the width of the name column: that of the longest name, within bounds.
fn name_width(model: &TopModel, room: usize) -> usize {
    model.judged.longest_name.clamp(8, (room / 3).clamp(12, 30))
}

/// Draws the row of an agent or of an item that needs a person.
fn item(model: &TopModel, theme: Theme, key: &RowKey, gist: &ItemSummary, line: &mut RowColumns) {
    let room = line.room();
    line.text(gist.mark.sign(theme.ascii), gist.tone).text(" ", Tone::Plain);
    if room < 29 {
        line.text(&gist.name, Tone::Plain);
        return;
    }
    line.left(&gist.name, name_width(model, room), Tone::Plain).gap(1);
    let is_calm = !gist.mark.needs_someone();
    if let (RowKey::Agent(agent), true, ..45) = (key, is_calm, room) {
        // there is no cause, so the state takes its room
        line.left(&gist.state, 8, gist.tone);
        let since = gist.since.map(|at| distance(at, model.moment.wall)).unwrap_or_default();
        line.right(&since, 4, Tone::Plain).gap(1);
        let next = model.known.agents.get(agent).map(|agent| next(agent, model.moment.wall));
        line.right(&next.unwrap_or_default(), line.room().min(9), Tone::Plain);
        return;
    }
    if room >= 45 {
        line.left(&gist.state, STATE_COLUMNS, gist.tone);
        let since = gist.since.map(|at| distance(at, model.moment.wall)).unwrap_or_default();
        line.right(&since, 4, Tone::Plain).gap(2);
    }
    if let (RowKey::Agent(agent), true) = (key, is_calm || model.view == TopView::Agents)
        && let Some(agent) = model.known.agents.get(agent).filter(|_| room >= 60)
    {
        line.right(&next(agent, model.moment.wall), 9, Tone::Plain).gap(2);
        if room >= 70 && is_calm && agent.state == Desired::Active {
            recent(theme, agent, line);
        }
    }
    let cause = match key {
        RowKey::Incident(_, _) if model.view == TopView::Incidents => {
            let count = model.known.incidents.iter().find(|one| {
                matches!(key, RowKey::Incident(agent, key) if one.agent_id == *agent && one.key == *key)
            });
            let count = count.map(|one| format!("{:>4}×  ", one.count)).unwrap_or_default();
            format!("{count}{}", gist.cause)
        }
        _ => gist.cause.clone(),
    };
    line.text(&cause, if is_calm { Tone::Dim } else { Tone::Plain });
}

/// Draws the newest runs, the newest on the right.
fn recent(theme: Theme, agent: &AgentView, line: &mut RowColumns) {
    let runs = &agent.recent[agent.recent.len().saturating_sub(RECENT_COLUMNS)..];
    line.gap(RECENT_COLUMNS - runs.len());
    for run in runs {
        let beat = match run.status {
            RunStatus::Completed => SlotOutcome::Ran,
            RunStatus::Cancelled => SlotOutcome::Skipped,
            status if status.is_failure() => SlotOutcome::Failed,
            _ => SlotOutcome::Running,
        };
        let (sign, tone) = beat.sign(theme.ascii);
        line.text(sign, tone);
    }
    line.gap(2);
}

/// Describes the next run: `in 12s`, `now`, `on event`; `try 8m` while the circuit is open; in brackets if it follows a pause.
fn next(agent: &AgentView, now: Timestamp) -> String {
    if let Some(until) = agent.circuit_until.filter(|until| *until > now) {
        return format!("try {}", distance(until, now));
    }
    match (agent.next_run, agent.resume_at) {
        (Some(at), _) if at <= now => "now".into(),
        (Some(at), _) => format!("in {}", distance(at, now)),
        (None, Some(at)) => format!("(in {})", distance(at, now)),
        (None, None) if agent.schedule.starts_with("on ") => "on event".into(),
        (None, None) => "–".into(),
    }
}

fn rest(model: &TopModel, theme: Theme, group: RowGroup, line: &mut RowColumns) {
    let held = group == RowGroup::Held;
    let count = calm(&model.known, &model.judged, held).count();
    let (mark, word) =
        if held { (RowMark::Of(Rank::Paused), "held back") } else { (RowMark::Of(Rank::Well), "well") };
    line.text(mark.sign(theme.ascii), mark.tone());
    line.text(&format!(" {} {word}: Enter lists all agents", counted(count, "agent")), Tone::Plain);
}

fn running(model: &TopModel, theme: Theme, run: &RunView, line: &mut RowColumns) {
    let gist = of_run(run);
    let room = line.room();
    line.text(gist.mark.sign(theme.ascii), gist.tone).text(" ", Tone::Plain);
    if room < 29 {
        line.text(&gist.name, Tone::Plain);
        return;
    }
    line.left(&gist.name, name_width(model, room), Tone::Plain).gap(1);
    let (text, share) = progress(&model.known, run, model.moment.wall);
    line.left(&text, 17, gist.tone).gap(1);
    if let Some(share) = share.filter(|_| room >= 60) {
        let tone = if share > 1.0 { Tone::Warn } else { Tone::Busy };
        line.text(&theme.bar(share, BAR_COLUMNS), tone).gap(1);
    }
    line.text(model.known.last_words.get(&run.run_id).map_or("", String::as_str), Tone::Dim);
}

fn run_row(model: &TopModel, theme: Theme, run: &RunView, line: &mut RowColumns) {
    let gist = of_run(run);
    let room = line.room();
    line.text(gist.mark.sign(theme.ascii), gist.tone).text(" ", Tone::Plain);
    if room < 29 {
        line.text(&gist.name, Tone::Plain);
        return;
    }
    if room >= 45 {
        line.left(&run.run_id.short(), 9, Tone::Dim);
    }
    line.left(&gist.name, name_width(model, room), Tone::Plain).gap(1);
    if room >= 60 {
        line.left(&gist.state, 12, gist.tone);
        let since = gist.since.map(|at| distance(at, model.moment.wall)).unwrap_or_default();
        line.right(&since, 4, Tone::Plain);
        line.right(&run.duration_ms.map(millis).unwrap_or_default(), 8, Tone::Dim).gap(2);
    }
    if room >= 90 && run.usage.usd > 0.0 {
        line.text(&format!("{}  ", usd(run.usage.usd)), Tone::Plain);
    }
    line.text(&gist.cause, if run.status == RunStatus::Completed { Tone::Dim } else { Tone::Plain });
}

/// Draws the row of an agent's slots: their strip, the next slot, and the counts by outcome.
fn strip_row(model: &TopModel, theme: Theme, agent: &AgentId, line: &mut RowColumns) {
    let room = line.room();
    let now = model.moment.wall;
    if let Some(gist) = gist(&model.known, &RowKey::Agent(agent.clone()), now) {
        line.text(gist.mark.sign(theme.ascii), gist.tone).text(" ", Tone::Plain);
    }
    let names = if room < 45 { 8 } else { name_width(model, room) };
    line.left(agent.as_str(), names, Tone::Plain).gap(1);
    let records = model.known.ledger.of(agent).unwrap_or_default();
    let numbers = if room >= 90 { 30 } else { 0 };
    let coming = if room >= 45 { 9 } else { 0 };
    let parts = line.room().saturating_sub(numbers + coming + 1);
    // equal neighbours are combined into one text
    let mut beats = strip(records, model.span, now, parts).into_iter().peekable();
    while let Some(beat) = beats.next() {
        let (sign, tone) = beat.sign(theme.ascii);
        let mut text = sign.to_owned();
        while beats.next_if_eq(&beat).is_some() {
            text.push_str(sign);
        }
        line.text(&text, tone);
    }
    if coming > 0 {
        let next = model.known.agents.get(agent).map(|view| next(view, now)).unwrap_or_default();
        line.right(&next, coming, Tone::Plain);
    }
    if numbers > 0 {
        line.gap(1);
        for (beat, count) in tally(records) {
            line.text(&format!(" {count} {}", beat.word()), beat.sign(theme.ascii).1);
        }
    }
}

fn used(model: &TopModel, theme: Theme, by: UsedBy, name: &str, line: &mut RowColumns) {
    let spent = &model.known.spent;
    let views = match by {
        UsedBy::Limit => {
            let limits = model.known.daemon.iter().flat_map(|daemon| &daemon.budget);
            if let Some(limit) = limits.into_iter().find(|limit| limit.limit == name) {
                limit_row(theme, limit, line);
            }
            return;
        }
        UsedBy::Agent => &spent.agents,
        UsedBy::Model => &spent.models,
        UsedBy::Day => &spent.days,
    };
    let Some(view) = views.iter().find(|view| view.key == name) else { return };
    let most = views.iter().map(|view| view.usage.usd).fold(0.0, f64::max);
    usage_row(model, theme, view, most, line);
}

fn usage_row(model: &TopModel, theme: Theme, view: &UsageView, most: f64, line: &mut RowColumns) {
    let room = line.room();
    line.gap(1).left(&plain(&view.key), name_width(model, room).max(10), Tone::Plain).gap(1);
    let unknown = !view.without_price.is_empty() && view.usage.usd == 0.0;
    line.right(&if unknown { "no price".into() } else { usd(view.usage.usd) }, 8, Tone::Plain).gap(2);
    if room >= 60 {
        let share = if most > 0.0 { view.usage.usd / most } else { 0.0 };
        line.text(&theme.bar(share, 12), Tone::Busy).gap(2);
    }
    if let Some(limit) = view.limits.first().filter(|_| room >= 100) {
        line.left(
            &crate::render::limit_line(limit),
            40,
            if limit.left <= 0.0 { Tone::Bad } else { Tone::Dim },
        )
        .gap(2);
    }
    let usage = &view.usage;
    let tokens = format!("{} in, {} out", usage.input_tokens, usage.output_tokens);
    line.text(
        &format!("{}  {}  {tokens}", counted(view.runs, "run"), counted(usage.requests, "request")),
        Tone::Dim,
    );
}

fn limit_row(theme: Theme, limit: &LimitView, line: &mut RowColumns) {
    let share = if limit.allowed > 0.0 { limit.used / limit.allowed } else { 0.0 };
    let tone = match share {
        1.0.. => Tone::Bad,
        0.8.. => Tone::Warn,
        _ => Tone::Good,
    };
    line.gap(1);
    if line.room() >= 60 {
        line.text(&theme.bar(share, 20), tone).text(&format!(" {:>3.0} %  ", share * 100.0), Tone::Plain);
    }
    line.text(&crate::render::limit_line(limit), Tone::Plain);
}

fn event(model: &TopModel, seq: u64, line: &mut RowColumns) {
    let Some(event) = model.event(seq) else { return };
    let text = event_text(model, event, line.room().saturating_sub(1));
    let text = super::paint::from_ansi(&text, usize::MAX);
    if let Some(first) = text.into_iter().next() {
        line.spans(first.spans);
    }
}

/// Formats an event as `tail` does.
fn event_text(model: &TopModel, event: &LoggedEvent, width: usize) -> String {
    logged_line(event, &screen(model, width))
}

/// Returns the screen that `render` formats for.
pub(super) fn screen(model: &TopModel, width: usize) -> Screen {
    Screen {
        width: Some(width.max(20)),
        color: true,
        now: model.moment.wall,
        zone: model.zone.clone(),
        raw: false,
    }
}

/// Draws the row of a removed item, which stays until the list is rearranged.
fn removed(key: &RowKey, line: &mut RowColumns) {
    let name = match key {
        RowKey::Agent(agent) => agent.to_string(),
        RowKey::Incident(_, name) | RowKey::Approval(name) | RowKey::Target(name) => plain(name),
        RowKey::Run(run) => run.short(),
        _ => String::new(),
    };
    line.text(&format!("  {name} (gone)"), Tone::Dim);
}
