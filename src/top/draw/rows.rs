//! The lines of the lists.
use super::paint::{RowColumns, distance, toned};
use crate::domain::{AgentId, Desired, LoggedEvent, RunStatus, counted};
use crate::protocol::{AgentView, LimitView, RunView, UsageView};
use crate::render::{Screen, Tone, logged_line, millis, plain, usd};
use crate::top::model::{
    Gist, RowGroup, RowKey, TopModel, TopView, UsedBy, calm, gist, is_own, of_run, progress, under_way,
};
use crate::top::theme::{RowMark, Theme};
use jiff::Timestamp;
use ratatui::text::Line;
use unicode_width::UnicodeWidthStr;

/// RowColumns of a bar.
const BAR: usize = 6;

/// A line of a list in so many columns. The cursor is told by a sign as well, for terminals without reverse video.
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
        RowKey::Slot(agent, micros) => slot(model, theme, agent, *micros, &mut line),
        RowKey::Used(by, name) => used(model, theme, *by, name, &mut line),
        RowKey::Event(seq) => event(model, *seq, &mut line),
        RowKey::Run(run) => match model.known.run_row(*run) {
            Some(view) if model.view == TopView::Now => running(model, theme, view, &mut line),
            Some(view) => run_row(model, theme, view, &mut line),
            None => gone(key, &mut line),
        },
        key => match gist(&model.known, key, model.moment.wall) {
            Some(gist) => item(model, theme, key, &gist, &mut line),
            None => gone(key, &mut line),
        },
    }
    line.line()
}

/// The line that says how many more there are.
pub(super) fn more(count: usize) -> Line<'static> {
    toned(format!("   … {count} more: ↓ or G"), Tone::Dim)
}

/// What is said of a list without lines.
pub(super) fn nothing(model: &TopModel) -> Line<'static> {
    if !model.filter.is_empty() || model.only_unwell {
        return toned(" nothing matches; Esc shows all", Tone::Dim);
    }
    let text = match model.view {
        TopView::Now | TopView::Agents => " no agents yet: `bgagent init` writes a file to begin with",
        TopView::Runs => " no runs yet",
        TopView::Slots => " nothing is due within a day",
        TopView::Incidents => " no incidents",
        TopView::Approvals => " nothing waits for a person",
        TopView::Spending => " nothing was spent",
        TopView::Log => " no events yet",
    };
    toned(text, Tone::Dim)
}

/// The first view as plain text, whole: one text for each line.
pub(in crate::top) fn plain_lines(model: &TopModel, theme: Theme, width: usize) -> Vec<String> {
    // its clock stands at the end of the line: not beyond what people look at
    let mut lines = vec![super::frame::header(model, theme, width.min(100))];
    lines.extend(model.list().rows().iter().map(|key| row(model, theme, key, width, false)));
    lines.iter().map(|line| theme.text(line.to_string().trim_end())).collect()
}

fn title(model: &TopModel, group: RowGroup) -> String {
    let known = &model.known;
    let calm = |held: bool| calm(known, held, model.moment.wall).count();
    match group {
        RowGroup::Needs if model.needs.is_empty() => "NOTHING NEEDS YOU".into(),
        RowGroup::Needs => format!("NEEDS YOU {}", model.needs.len()),
        RowGroup::Running => format!("RUNNING {}", under_way(known).count()),
        RowGroup::Well => format!("WELL {}   last, next, today", calm(false)),
        RowGroup::Held => format!("HELD BACK {}", calm(true)),
        RowGroup::Limits => "LIMITS OF THE FLEET".into(),
        RowGroup::ByAgent => "TODAY BY AGENT".into(),
        RowGroup::ByModel => "TODAY BY MODEL".into(),
        RowGroup::ByDay => "BY DAY".into(),
    }
}

/// RowColumns for names: as many as the longest needs, within bounds.
fn name_width(model: &TopModel, room: usize) -> usize {
    let longest = model.known.agents.values().map(|agent| agent.agent_id.as_str().len()).max().unwrap_or(0);
    let incidents = model.known.incidents.iter().filter(|one| one.resolved_at.is_none() && !is_own(one));
    let longest = incidents.map(|one| plain(&one.key).width()).fold(longest, usize::max);
    longest.clamp(8, (room / 3).clamp(12, 30))
}

/// Something that needs a person, or an agent.
fn item(model: &TopModel, theme: Theme, key: &RowKey, gist: &Gist, line: &mut RowColumns) {
    let room = line.room();
    line.text(gist.mark.sign(theme.ascii), gist.tone).text(" ", Tone::Plain);
    if room < 29 {
        line.text(&gist.name, Tone::Plain);
        return;
    }
    line.left(&gist.name, name_width(model, room), Tone::Plain).gap(1);
    if room >= 45 {
        line.left(&gist.state, 12, gist.tone);
        let since = gist.since.map(|at| distance(at, model.moment.wall)).unwrap_or_default();
        line.right(&since, 4, Tone::Plain).gap(2);
    }
    let is_calm = !matches!(gist.mark, RowMark::Bad | RowMark::Warn | RowMark::Decide);
    if let (RowKey::Agent(agent), true) = (key, is_calm || model.view == TopView::Agents)
        && let Some(agent) = model.known.agents.get(agent).filter(|_| room >= 60)
    {
        line.right(&next(agent, model.moment.wall), 9, Tone::Plain).gap(2);
        if room >= 100 {
            line.left(&plain(&agent.schedule), 24, Tone::Dim).gap(2);
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

/// `in 12s`, `now`, `on event`; in brackets what comes only after a pause.
fn next(agent: &AgentView, now: Timestamp) -> String {
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
    let count = calm(&model.known, held, model.moment.wall).count();
    let (mark, word) = if held { (RowMark::Paused, "held back") } else { (RowMark::Well, "well") };
    line.text(mark.sign(theme.ascii), if held { Tone::Warn } else { Tone::Good });
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
        line.text(&theme.bar(share, BAR), tone).gap(1);
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

fn slot(model: &TopModel, theme: Theme, agent: &AgentId, micros: i64, line: &mut RowColumns) {
    let found =
        model.known.next.iter().find(|slot| slot.agent_id == *agent && slot.slot.as_microsecond() == micros);
    let Some(slot) = found else { return };
    let room = line.room();
    let mark =
        if slot.note.is_some() || slot.state != Desired::Active { RowMark::Warn } else { RowMark::None };
    line.text(mark.sign(theme.ascii), if mark == RowMark::Warn { Tone::Warn } else { Tone::Dim }).gap(1);
    let now = model.moment.wall;
    let due = if slot.due <= now { "now".to_owned() } else { format!("in {}", distance(slot.due, now)) };
    line.right(&due, 7, Tone::Plain).gap(2);
    if room >= 45 {
        let at = slot.due.to_zoned(model.zone.clone());
        let today = now.to_zoned(model.zone.clone()).date() == at.date();
        let form = if today { "%H:%M:%S" } else { "%a %H:%M" };
        line.left(&at.strftime(form).to_string(), 9, Tone::Dim).gap(1);
    }
    line.left(agent.as_str(), name_width(model, room), Tone::Plain).gap(1);
    let note = match (&slot.note, slot.state) {
        (Some(note), _) => plain(note),
        (None, Desired::Active) => {
            let schedule = model.known.agents.get(agent).map(|view| plain(&view.schedule));
            line.text(&schedule.unwrap_or_default(), Tone::Dim);
            return;
        }
        (None, state) => format!("the agent is {state}"),
    };
    line.text(&note, Tone::Warn);
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

/// An event in the words of `tail`.
fn event_text(model: &TopModel, event: &LoggedEvent, width: usize) -> String {
    logged_line(event, &screen(model, width))
}

/// What `render` writes for.
pub(super) fn screen(model: &TopModel, width: usize) -> Screen {
    Screen {
        width: Some(width.max(20)),
        color: true,
        now: model.moment.wall,
        zone: model.zone.clone(),
        raw: false,
    }
}

/// Something that was there, and is shown until the list is put in order.
fn gone(key: &RowKey, line: &mut RowColumns) {
    let name = match key {
        RowKey::Agent(agent) => agent.to_string(),
        RowKey::Incident(_, name) | RowKey::Approval(name) | RowKey::Target(name) | RowKey::Server(name) => {
            plain(name)
        }
        RowKey::Run(run) => run.short(),
        _ => String::new(),
    };
    line.text(&format!("  {name} (gone)"), Tone::Dim);
}
