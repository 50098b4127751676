//! The frame around the list: the state of the fleet, the views, keys and questions.
use super::paint::{RowColumns, distance};
use crate::domain::{RunStatus, counted};
use crate::overview::Rank;
use crate::render::{Tone, plain, usd};
use crate::top::model::{Connected, PromptFor, RowKey, TopModel, TopPage, TopView, gist, key_of};
use crate::top::theme::{RowMark, Theme, style};
use crate::top::update::{ANSWERS, question_lines};
use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

/// The number of items of each kind.
struct Counts {
    bad: usize,
    warn: usize,
    asks: usize,
    running: usize,
}

fn counts(model: &TopModel) -> Counts {
    let of = |ranks: &[Rank]| model.judged.count(ranks);
    let running = model.known.live.iter().filter(|run| run.status == RunStatus::Running).count();
    Counts {
        bad: of(&[Rank::Critical, Rank::CircuitOpen, Rank::Failing]),
        warn: of(&[Rank::Warning, Rank::Undelivered, Rank::NoBudget, Rank::Deaf, Rank::Silent]),
        asks: of(&[Rank::Asks]),
        running,
    }
}

/// Draws only counts, on a screen that has no room for more.
pub(super) fn tiny(model: &TopModel, theme: Theme, buffer: &mut Buffer) {
    if buffer.area.is_empty() {
        return;
    }
    let area = buffer.area;
    let text = short_counts(model, theme);
    let text = if model.connected == Connected::Yes { text } else { format!("away {text}") };
    buffer.set_stringn(0, 0, text, area.width.into(), Style::new());
    // below them the most urgent items, as far as there is room
    let names = model.judged.needs.iter().filter_map(|need| {
        let gist = gist(&model.known, &key_of(&need.kind), model.moment.wall)?;
        Some(format!("{}{}", gist.mark.sign(theme.ascii), gist.name))
    });
    for (y, name) in (1..area.height).zip(names) {
        buffer.set_stringn(0, y, name, area.width.into(), Style::new());
    }
}

/// Formats the counts: `✗6 ?1 ▶2`.
fn short_counts(model: &TopModel, theme: Theme) -> String {
    let counts = counts(model);
    let parts = [
        (RowMark::Of(Rank::Failing), counts.bad),
        (RowMark::Of(Rank::Warning), counts.warn),
        (RowMark::Of(Rank::Asks), counts.asks),
        (RowMark::Of(Rank::Busy), counts.running),
    ];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(mark, count)| format!("{}{count}", mark.sign(theme.ascii)))
        .collect();
    if shown.is_empty() { RowMark::Of(Rank::Well).sign(theme.ascii).to_owned() } else { shown.join(" ") }
}

/// Draws the first line. If it does not fit, the least important parts are left out.
pub(super) fn header(model: &TopModel, theme: Theme, width: usize) -> Line<'static> {
    let clock = clock(model, width);
    let mut line = RowColumns::new(width.saturating_sub(clock.width() + 1));
    line.text(" ", Tone::Plain);
    if width >= 46 {
        line.text("bgagent ", Tone::Strong);
    }
    if width >= 70 && !model.host.is_empty() {
        line.text(&format!("{} ", plain(&model.host)), Tone::Plain);
    }
    match &model.connected {
        Connected::Yes => standing(model, theme, width, &mut line),
        Connected::Away(since) => {
            let at = time(model, *since);
            let away = distance(*since, model.moment.wall);
            line.text(&format!(" daemon away since {at} ({away}), reconnecting "), Tone::Bad);
        }
        Connected::Lost(why) => {
            line.text(&format!(" connection lost: {why} "), Tone::Bad);
        }
    }
    let room = line.room();
    line.gap(room);
    let mut line = line.line();
    line.push_span(Span::styled(clock, style(Tone::Plain)));
    line
}

fn standing(model: &TopModel, theme: Theme, width: usize, line: &mut RowColumns) {
    if width < 70 {
        line.text(&short_counts(model, theme), Tone::Strong);
        if width >= 30 {
            line.text(&format!(" of {}", model.known.agents.len()), Tone::Plain);
        }
        return;
    }
    let counts = counts(model);
    let parts = [
        (RowMark::Of(Rank::Failing), counts.bad, "critical", Tone::Bad),
        (
            RowMark::Of(Rank::Warning),
            counts.warn,
            if counts.warn == 1 { "warning" } else { "warnings" },
            Tone::Warn,
        ),
        (RowMark::Of(Rank::Asks), counts.asks, "to decide", Tone::Warn),
        (RowMark::Of(Rank::Busy), counts.running, "running", Tone::Busy),
    ];
    for (mark, count, word, tone) in parts.into_iter().filter(|(_, count, ..)| *count > 0) {
        let word = if width >= 110 || mark == RowMark::Of(Rank::Failing) {
            format!(" {word}")
        } else {
            String::new()
        };
        line.text(&format!(" {} {count}{word} ", mark.sign(theme.ascii)), tone);
    }
    let agents = counted(model.known.agents.len(), "agent");
    let well = if model.judged.needs.is_empty() { " all is well " } else { "" };
    let spent = spent(model).map(|spent| format!(" {spent} ")).unwrap_or_default();
    let short = spent.replace(" today", "");
    for (texts, tone) in [
        ([well, ""], Tone::Good),
        ([&format!(" {agents} "), ""], Tone::Plain),
        ([&spent, &short], Tone::Plain),
    ] {
        // the longest text that fits, or none
        if let Some(text) = texts.iter().find(|text| text.width() <= line.room()) {
            line.text(text, tone);
        }
    }
}

/// Describes today's spending: `$0.49 of $1.20 today`.
fn spent(model: &TopModel) -> Option<String> {
    let daemon = model.known.daemon.as_ref()?;
    if let Some(limit) = daemon.budget.iter().find(|limit| limit.limit == "usd_per_day") {
        return Some(format!("{} of {} today", usd(limit.used), usd(limit.allowed)));
    }
    let today: f64 = model.known.agents.values().map(|agent| agent.cost_today_usd).sum();
    (today > 0.0).then(|| format!("{} today", usd(today)))
}

fn clock(model: &TopModel, width: usize) -> String {
    let time = time(model, model.moment.wall);
    match width {
        _ if model.frozen => format!("frozen {time}"),
        30.. => time,
        _ => String::new(),
    }
}

fn time(model: &TopModel, at: Timestamp) -> String {
    at.to_zoned(model.zone.clone()).strftime("%H:%M:%S").to_string()
}

/// Draws the tabs of the views, or the path to the open page.
pub(super) fn tabs(model: &TopModel, width: usize) -> Line<'static> {
    if !model.places.is_empty() {
        return crumbs(model, width);
    }
    let known = &model.known;
    let count = |view: TopView| match view {
        TopView::Incidents => known.incidents.iter().filter(|one| one.resolved_at.is_none()).count(),
        TopView::Approvals => known.approvals.len(),
        _ => 0,
    };
    let tab = |(at, view): (usize, &TopView), long: bool| {
        let name = if long || *view == model.view { view.name() } else { "" };
        let count = match count(*view) {
            0 => String::new(),
            count => format!(" ({count})"),
        };
        let text = format!("{} {name}", at + 1).trim_end().to_owned() + &count;
        if *view == model.view { format!("[{text}]") } else { text }
    };
    let all = |long: bool| TopView::ALL.iter().enumerate().map(|one| tab(one, long)).collect::<Vec<_>>();
    let wide = |tabs: &[String], gap: usize| tabs.iter().map(|tab| tab.width() + gap).sum::<usize>() < width;
    // names and counts with two spaces between them, or one, or numbers alone
    let long = all(true);
    let (tabs, gap) = match () {
        () if wide(&long, 2) => (long, 2),
        () if wide(&long, 1) => (long, 1),
        () => (all(false), 1),
    };
    let mut spans = Vec::new();
    for (view, text) in TopView::ALL.iter().zip(tabs) {
        let is_open = *view == model.view;
        let style = if is_open { Style::new().add_modifier(Modifier::BOLD) } else { style(Tone::Dim) };
        spans.push(Span::raw(" ".repeat(gap)));
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

fn crumbs(model: &TopModel, width: usize) -> Line<'static> {
    let name = |place: &TopPage| match place {
        TopPage::Agent(agent) => agent.to_string(),
        TopPage::Run(agent, run, output) => {
            let output = if *output { " output" } else { "" };
            match model.places.iter().any(|one| matches!(one, TopPage::Agent(of) if of == agent)) {
                true => format!("run {}{output}", run.short()),
                false => format!("{agent} run {}{output}", run.short()),
            }
        }
        TopPage::Incident(_, key) => plain(key),
        TopPage::Approval(id) => format!("approval {}", plain(id)),
        TopPage::Event(seq) => format!("event {seq}"),
    };
    let mut line = RowColumns::new(width);
    line.text(&format!(" {}", model.view.name()), Tone::Dim);
    for (at, place) in model.places.iter().enumerate() {
        let tone = if at + 1 == model.places.len() { Tone::Strong } else { Tone::Dim };
        line.text(" › ", Tone::Dim).text(&name(place), tone);
    }
    line.line()
}

/// Draws the pending question in full, in as many lines as it needs.
pub(super) fn question(model: &TopModel, width: usize) -> Vec<Line<'static>> {
    let Some(question) = &model.question else { return Vec::new() };
    let mut texts = question_lines(model, &question.act, width);
    let last = texts.pop().unwrap_or_default();
    let mut lines: Vec<Line<'static>> =
        texts.iter().map(|text| super::paint::toned(format!(" {text}"), Tone::Warn)).collect();
    let mut line = RowColumns::new(width);
    line.text(" ", Tone::Plain);
    line.text(last.strip_suffix(ANSWERS).unwrap_or(&last), Tone::Warn).text(ANSWERS, Tone::Strong);
    lines.push(line.line());
    lines
}

/// Draws the last line: a prompt, a message, or the keys that apply.
pub(super) fn foot(model: &TopModel, width: usize) -> Line<'static> {
    if let Some(prompt) = &model.prompt {
        let label = match &prompt.what {
            PromptFor::Filter => "/".to_owned(),
            PromptFor::Pause(agent) => format!("Pause {agent} for (30m, 2h; empty: until resumed): "),
            PromptFor::Deny(_) => "Why is it denied (the model is told; may be empty): ".to_owned(),
        };
        let mut line = RowColumns::new(width);
        line.text(" ", Tone::Plain).text(&label, Tone::Warn);
        // the end of the typed text stays visible
        let typed = plain(&prompt.text);
        let skip = (typed.width() + 1).saturating_sub(line.room());
        let shown: String = typed.chars().skip(skip).collect();
        line.text(&shown, Tone::Plain).text("_", Tone::Strong);
        return line.line();
    }
    if let Some((text, _)) = &model.message {
        let mut line = RowColumns::new(width);
        line.text(" ", Tone::Plain).text(&plain(text), Tone::Strong);
        return line.line();
    }
    keys(model, width)
}

/// Describes the filter of the list.
fn filter(model: &TopModel) -> Option<String> {
    let text = match model.filter.as_str() {
        "" => String::new(),
        filter => format!(" /{}", plain(filter)),
    };
    let unwell = if model.only_unwell { " only what is not well" } else { "" };
    Some(format!("{text}{unwell}  ")).filter(|text| !text.trim().is_empty())
}

fn keys(model: &TopModel, width: usize) -> Line<'static> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    match model.places.last() {
        None => all.extend([("Enter", "open"), ("w", "why"), ("l", "output"), ("/", "find")]),
        Some(TopPage::Agent(_)) => all.extend([("Enter", "run"), ("l", "output"), ("w", "why")]),
        Some(TopPage::Run(..)) => all.extend([("l", "output"), ("o", "pager"), ("G", "end")]),
        Some(TopPage::Incident(..) | TopPage::Approval(_)) => all.extend([("Enter", "more"), ("w", "why")]),
        Some(TopPage::Event(_)) => {}
    }
    if model.may_act() {
        match model.focus() {
            Some(RowKey::Approval(_)) => all.extend([("A", "approve"), ("D", "deny")]),
            Some(RowKey::Incident(..)) => all.push(("C", "acknowledge")),
            Some(RowKey::Agent(_)) => all.extend([("R", "run"), ("P", "pause")]),
            Some(RowKey::Run(run)) if model.known.run_row(run).is_some_and(|run| !run.status.is_final()) => {
                all.push(("X", "cancel"));
            }
            _ => {}
        }
    }
    let leave = if model.places.is_empty() && model.view == TopView::Now { "quit" } else { "back" };
    all.extend([("?", "keys"), ("q", leave)]);
    let mut line = RowColumns::new(width);
    if let Some(filter) = filter(model).filter(|_| model.places.is_empty()) {
        line.text(&filter, Tone::Warn);
        all.truncate(1);
        all.push(("Esc", "shows all"));
    }
    let long: usize = all.iter().map(|(key, word)| key.width() + word.width() + 3).sum();
    for (key, word) in all {
        line.text(" ", Tone::Plain).text(key, Tone::Strong);
        if long <= width {
            line.text(" ", Tone::Plain).text(word, Tone::Dim);
        }
        line.text(" ", Tone::Plain);
    }
    line.line()
}
