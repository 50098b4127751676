//! Handles keys.
use super::acting;
use super::input::TopEffect;
use super::wheel;
use crate::domain::human_duration;
use crate::top::asks::{Act, TopRequestKind};
use crate::top::keytable::KEYS;
use crate::top::model::{Overlay, Prompt, PromptFor, RowKey, TopModel, TopPage, TopView, is_unwell};
use jiff::SignedDuration;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

pub(super) fn press(model: &mut TopModel, key: KeyEvent) -> Vec<TopEffect> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    model.version += 1;
    match key.code {
        KeyCode::Char('c') if control => return vec![TopEffect::Quit],
        KeyCode::Char('z') if control => return vec![TopEffect::Suspend],
        KeyCode::Char('l') if control => return vec![TopEffect::Redraw],
        _ if control => return Vec::new(),
        _ => {}
    }
    // key repeat must not answer a question
    let repeated = key.kind == KeyEventKind::Repeat;
    if model.question.is_some() {
        return if repeated { Vec::new() } else { acting::answer(model, key.code) };
    }
    if model.prompt.is_some() {
        type_key(model, key.code);
        return Vec::new();
    }
    if let Some(Overlay::Help(first)) = &mut model.overlay
        && let Some(by) = wheel::lines(key.code)
    {
        *first = first.saturating_add_signed(by).min(KEYS.len());
        return Vec::new();
    }
    if model.overlay.take().is_some() {
        // any key closes the overlay; these do nothing else
        if matches!(key.code, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?' | 'w' | ' ')) {
            return Vec::new();
        }
    }
    model.last_key = Some(model.moment.since_start);
    if !wheel::moves(model, key.code) {
        return look(model, key.code, repeated);
    }
    Vec::new()
}

/// Handles keys that navigate or act.
fn look(model: &mut TopModel, key: KeyCode, repeated: bool) -> Vec<TopEffect> {
    match key {
        KeyCode::Char('q') if model.places.is_empty() && model.view == TopView::Now => {
            return vec![TopEffect::Quit];
        }
        KeyCode::Esc | KeyCode::Backspace | KeyCode::Char('q') => up(model),
        KeyCode::Enter | KeyCode::Right => down(model),
        KeyCode::Char('?') => model.overlay = Some(Overlay::Help(0)),
        KeyCode::Char('/') => {
            model.prompt = Some(Prompt { what: PromptFor::Filter, text: model.filter.clone() });
        }
        KeyCode::Char(c @ ('f' | 's' | 'a' | 'z')) => choose(model, c),
        KeyCode::Char(' ') => {
            model.frozen = !model.frozen;
            if !model.frozen {
                model.dirty = crate::top::model::PendingRequests::everything();
                model.arrange(true);
            }
        }
        KeyCode::Char('w') => why(model),
        KeyCode::Char('l') => output(model),
        KeyCode::Char('o') => return pager(model),
        KeyCode::Char('e') => return edit(model),
        KeyCode::Char('t') => events_of(model),
        KeyCode::Char('y') => return copy(model, id_of(model)),
        KeyCode::Char('Y') => return copy(model, command_of(model)),
        KeyCode::Char(digit @ '1'..='8') => go_to(model, digit),
        KeyCode::Tab => {
            let next = (model.view.place() + 1) % TopView::ALL.len();
            show(model, TopView::ALL[next]);
        }
        KeyCode::BackTab => {
            let count = TopView::ALL.len();
            show(model, TopView::ALL[(model.view.place() + count - 1) % count]);
        }
        KeyCode::Char('n') => seek(model, true),
        KeyCode::Char('N') => seek(model, false),
        KeyCode::Char(capital) if !repeated => {
            acting::begin(model, capital);
        }
        _ => {}
    }
    Vec::new()
}

/// Changes the filter or the sort order.
fn choose(model: &mut TopModel, key: char) {
    match key {
        'f' => model.only_unwell = !model.only_unwell,
        's' => {
            model.sorting = model.sorting.next();
            model.say(format!("agents: {}", model.sorting.words()));
        }
        'a' if model.view == TopView::Incidents => {
            model.ended = !model.ended;
            model.dirty.kinds.insert(TopRequestKind::Incidents);
        }
        'z' if model.view == TopView::Slots => {
            model.span = model.span.next();
            model.known.ledger.clear();
            model.dirty.kinds.insert(TopRequestKind::Slots);
            model.asked.remove(&TopRequestKind::Slots);
        }
        _ => return,
    }
    model.arrange(true);
}

fn go_to(model: &mut TopModel, digit: char) {
    let place = digit.to_digit(10).map_or(0, |digit| digit as usize - 1);
    show(model, TopView::ALL[place]);
}

fn show(model: &mut TopModel, view: TopView) {
    model.view = view;
    model.places.clear();
    (model.scroll, model.follow) = (0, false);
    use TopRequestKind as K;
    model.dirty.kinds.extend([K::Runs, K::Next, K::Usage, K::Incidents, K::Slots]);
    model.arrange(true);
}

fn seek(model: &mut TopModel, forward: bool) {
    let height = model.height();
    let unwell: Vec<RowKey> =
        model.list().rows().iter().filter(|key| is_unwell(model, key)).cloned().collect();
    model.list_mut().seek(forward, height, |key| unwell.contains(key));
}

/// Goes up: from a page to where it was opened, from a view to the first.
fn up(model: &mut TopModel) {
    (model.scroll, model.follow) = (0, false);
    if model.places.pop().is_some() {
        return;
    }
    if !model.filter.is_empty() || model.only_unwell {
        model.filter.clear();
        model.only_unwell = false;
        model.arrange(true);
    } else if model.view != TopView::Now {
        show(model, TopView::Now);
    }
}

/// Goes down: from a row to its page, from an agent to its run.
fn down(model: &mut TopModel) {
    let focus = match (model.places.last(), model.focus()) {
        (Some(TopPage::Run(..) | TopPage::Event(_)), _) | (_, None) => return,
        (_, Some(focus)) => focus,
    };
    let on_page = !model.places.is_empty();
    let place = match focus {
        RowKey::Agent(_) | RowKey::Approval(_) if on_page => newest_failed_or_newest(model),
        RowKey::Incident(agent, _) if on_page => known_agent(model, agent),
        RowKey::Agent(agent) | RowKey::Strip(agent) => known_agent(model, agent),
        RowKey::Incident(agent, key) => Some(TopPage::Incident(agent, key)),
        RowKey::Approval(id) => Some(TopPage::Approval(id)),
        RowKey::Run(run) => {
            model.known.run_row(run).map(|view| TopPage::Run(view.agent_id.clone(), run, false))
        }
        RowKey::Used(..) => model.focused_agent().map(TopPage::Agent),
        RowKey::Event(seq) => Some(TopPage::Event(seq)),
        RowKey::Rest(_) => return show(model, TopView::Agents),
        RowKey::Target(_) | RowKey::Daemon | RowKey::Proposals | RowKey::Title(_) => None,
    };
    if let Some(place) = place {
        open(model, place);
    }
}

fn known_agent(model: &TopModel, agent: crate::domain::AgentId) -> Option<TopPage> {
    model.known.agents.contains_key(&agent).then_some(TopPage::Agent(agent))
}

/// Returns the run to open for an agent: the failed one if its last run failed, else the newest.
fn newest_failed_or_newest(model: &TopModel) -> Option<TopPage> {
    if let Some(TopPage::Agent(agent)) = model.places.last()
        && let Some(view) = model.known.agents.get(agent)
        && let Some(last) = view.last_run.as_ref().filter(|last| last.error.is_some())
        && let Some(run) = last.run_id
    {
        return Some(TopPage::Run(agent.clone(), run, false));
    }
    model.focused_run().map(|(agent, run)| TopPage::Run(agent, run, false))
}

fn open(model: &mut TopModel, place: TopPage) {
    let follows = matches!(place, TopPage::Run(_, _, true));
    model.places.push(place);
    (model.scroll, model.follow) = (0, follows);
}

fn output(model: &mut TopModel) {
    if let Some(TopPage::Run(_, _, only_output)) = model.places.last_mut() {
        *only_output = !*only_output;
        (model.scroll, model.follow) = (0, *only_output);
        return;
    }
    match model.focused_run() {
        Some((agent, run)) => open(model, TopPage::Run(agent, run, true)),
        None => model.say("no run is selected"),
    }
}

fn why(model: &mut TopModel) {
    match model.focused_agent() {
        Some(agent) => {
            model.known.why = None;
            model.dirty.kinds.insert(TopRequestKind::Why);
            model.overlay = Some(Overlay::Why(agent));
        }
        None => model.say("no agent is selected"),
    }
}

fn pager(model: &mut TopModel) -> Vec<TopEffect> {
    let run = match model.places.last() {
        Some(TopPage::Run(_, run, _)) => Some(*run),
        _ => None,
    };
    let chunks = match run {
        Some(run) => match (&model.known.output, model.known.run_of(run)) {
            (Some(output), _) if output.run == run => Some(&output.chunks),
            (_, Some(detail)) => Some(&detail.output.chunks),
            _ => None,
        },
        None => None,
    };
    match chunks.filter(|chunks| !chunks.is_empty()) {
        Some(chunks) => {
            let text: String = chunks.iter().map(|chunk| crate::render::plain_lines(&chunk.text)).collect();
            vec![TopEffect::Pager(text)]
        }
        None => {
            model.say("the pager shows the output of a run: open one with l");
            Vec::new()
        }
    }
}

/// Opens the agent's table of the configuration in the editor.
fn edit(model: &mut TopModel) -> Vec<TopEffect> {
    let agent = model.focused_agent();
    let detail = agent.as_ref().and_then(|agent| model.known.detail_of(agent));
    let line = detail.and_then(|detail| detail.defined_at.rsplit_once(':')?.1.parse().ok());
    let path = model.known.daemon.as_ref().map(|daemon| daemon.config_path.clone());
    match (path, line) {
        (Some(path), Some(line)) => vec![TopEffect::Edit(path, line)],
        _ => {
            model.say("open an agent first: Enter");
            Vec::new()
        }
    }
}

/// Shows the log of this agent only.
fn events_of(model: &mut TopModel) {
    match model.focused_agent() {
        Some(agent) => {
            model.filter = agent.to_string();
            show(model, TopView::Log);
        }
        None => model.say("no agent is selected"),
    }
}

fn copy(model: &mut TopModel, text: Option<String>) -> Vec<TopEffect> {
    match text {
        Some(text) => {
            model.say(format!("copied: {text}"));
            vec![TopEffect::Copy(text)]
        }
        None => Vec::new(),
    }
}

/// Returns the id of the item.
fn id_of(model: &TopModel) -> Option<String> {
    Some(match model.focus()? {
        RowKey::Approval(id) => id,
        RowKey::Incident(_, key) => key,
        RowKey::Run(run) => run.to_string(),
        RowKey::Target(name) | RowKey::Used(_, name) => name,
        RowKey::Event(seq) => seq.to_string(),
        _ => model.focused_agent()?.to_string(),
    })
    .map(|id| crate::render::plain(&id))
}

/// Returns the command that shows the item.
pub(super) fn command_of(model: &TopModel) -> Option<String> {
    let agent = || model.focused_agent();
    Some(match model.focus()? {
        RowKey::Approval(_) => "bgagent approvals".into(),
        RowKey::Incident(..) => "bgagent incidents".into(),
        RowKey::Run(run) => format!("bgagent show {}", run.short()),
        RowKey::Strip(_) => format!("bgagent why {}", agent()?),
        RowKey::Used(..) => "bgagent usage".into(),
        RowKey::Event(seq) => format!("bgagent tail --from {seq}"),
        RowKey::Target(_) | RowKey::Daemon => "bgagent status".into(),
        RowKey::Proposals => "bgagent proposals".into(),
        _ => format!("bgagent status {}", agent()?),
    })
}

fn type_key(model: &mut TopModel, key: KeyCode) {
    let Some(prompt) = &mut model.prompt else { return };
    match key {
        KeyCode::Char(c) if !c.is_control() && prompt.text.len() < 500 => prompt.text.push(c),
        KeyCode::Backspace => {
            prompt.text.pop();
        }
        KeyCode::Esc => {
            if model.prompt.take().is_some_and(|prompt| prompt.what == PromptFor::Filter) {
                model.filter.clear();
                model.arrange(true);
            }
            return;
        }
        KeyCode::Enter => {
            if let Some(prompt) = model.prompt.take() {
                finish(model, prompt);
            }
            return;
        }
        _ => return,
    }
    if let Some(Prompt { what: PromptFor::Filter, text }) = &model.prompt {
        model.filter = text.clone();
        model.arrange(true);
    }
}

fn finish(model: &mut TopModel, prompt: Prompt) {
    match prompt.what {
        PromptFor::Filter => {}
        PromptFor::Deny(id) => acting::ask(model, Act::Deny(id, prompt.text.trim().to_owned())),
        PromptFor::Pause(agent) => match prompt.text.trim() {
            "" => acting::ask(model, Act::Pause(agent, None)),
            text => match span(text) {
                Some(ms) => acting::ask(model, Act::Pause(agent, Some(ms))),
                None => model.say(format!(
                    "`{}` is not a duration: write 90s, 30m, 2h or 7d",
                    crate::render::plain(text)
                )),
            },
        },
    }
}

/// Parses a duration such as `90s`, `30m`, `2h`, `7d` into milliseconds; not zero.
fn span(text: &str) -> Option<u64> {
    let span: SignedDuration = crate::domain::parse_duration(text).ok()?;
    u64::try_from(span.as_millis()).ok().filter(|ms| *ms > 0 && !human_duration(span).is_empty())
}
