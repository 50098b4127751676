//! The view without a screen: the first view as text, once, or followed by a line per change. For scripts, logs and
//! screen readers.
use super::asks::{TopAnswer, TopReply, TopRequest};
use super::draw::plain_lines;
use super::link::TopLink;
use super::model::{Connected, PendingRequests, RowKey, TopModel, gist, key_of};
use super::moment::TopMoment;
use super::options::{TopFailure, TopOptions};
use super::theme::RowMark;
use super::update::{TopEffect, TopInput, update};
use crate::client::{Address, ClientError, Connection, Timeouts};
use crate::overview::Rank;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// Width in columns without a terminal: enough for a complete cause.
const DEFAULT_WIDTH_COLUMNS: usize = 400;
/// Delay before changes are printed, so that those of one moment are printed together.
const CHANGE_DELAY: Duration = Duration::from_millis(250);

/// Returns the first view as text.
pub(super) fn once(address: &Address, options: &TopOptions) -> Result<String, ClientError> {
    let mut model = model(options, Instant::now());
    load(address, &mut model)?;
    Ok(text(&mut model, options))
}

fn model(options: &TopOptions, start: Instant) -> TopModel {
    let width = u16::try_from(options.width.unwrap_or(DEFAULT_WIDTH_COLUMNS)).unwrap_or(u16::MAX);
    // at this width there is no pane, whatever the width of the lines
    let size = (width.min(119), u16::MAX);
    TopModel::new(moment(start), options.zone.clone(), options.host.clone(), size)
}

fn moment(start: Instant) -> TopMoment {
    TopMoment { wall: crate::clock::wall(), since_start: start.elapsed() }
}

fn load(address: &Address, model: &mut TopModel) -> Result<(), ClientError> {
    let mut connection = Connection::open(address, Timeouts::default())?;
    for ask in [
        TopRequest::Daemon,
        TopRequest::Agents(Vec::new()),
        TopRequest::Incidents(false),
        TopRequest::Approvals,
        TopRequest::Live,
    ] {
        let said: TopAnswer = ask.ask(&mut connection)?;
        let now = TopMoment { wall: crate::clock::wall(), ..model.moment };
        update(model, now, TopInput::Replied(Box::new(TopReply { ask, said: Ok(said) })));
    }
    // pending requests were dropped; when following, everything is requested again
    model.asking.clear();
    model.asked.clear();
    model.dirty = PendingRequests::everything();
    Ok(())
}

fn text(model: &mut TopModel, options: &TopOptions) -> String {
    model.arrange(true);
    let lines = plain_lines(model, options.theme, options.width.unwrap_or(DEFAULT_WIDTH_COLUMNS));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The printed state of each item: a change is printed again.
type PrintedStates = BTreeMap<RowKey, (String, String)>;

/// Prints the first view as text, and then a line per change, until the output is closed.
pub(super) fn follow(
    address: &Address,
    options: &TopOptions,
    out: &mut impl Write,
) -> Result<(), TopFailure> {
    let start = Instant::now();
    let link = TopLink::start(address, None)?;
    let mut model = model(options, start);
    load(address, &mut model)?;
    out.write_all(text(&mut model, options).as_bytes())?;
    out.flush()?;
    let mut printed = state(&model);
    let mut connected = model.connected.clone();
    loop {
        let mut inputs: Vec<TopInput> =
            link.inputs.recv_timeout(Duration::from_secs(1)).into_iter().collect();
        if !inputs.is_empty() {
            std::thread::sleep(CHANGE_DELAY);
        }
        inputs.extend(link.inputs.try_iter());
        inputs.push(TopInput::Tick);
        for input in inputs {
            for effect in update(&mut model, moment(start), input) {
                if let TopEffect::Ask(ask) = effect {
                    link.ask(ask);
                }
            }
        }
        let mut lines = Vec::new();
        if connected != model.connected {
            lines.push((RowMark::Of(Rank::Warning), connection_words(&connected, &model.connected)));
            connected = model.connected.clone();
        }
        // while the daemon is away, the state is unknown
        if connected == Connected::Yes && model.asking.is_empty() {
            let now = state(&model);
            lines.extend(changes(&printed, &now, &model));
            printed = now;
        }
        for (mark, line) in &lines {
            let time = model.moment.wall.to_zoned(options.zone.clone()).strftime("%H:%M:%S").to_string();
            let line = format!("{time} {} {line}", mark.sign(options.theme.ascii));
            writeln!(out, "{}", options.theme.text(&line))?;
        }
        if !lines.is_empty() {
            out.flush()?;
        }
        if let Connected::Lost(_) = &connected {
            return Ok(());
        }
    }
}

fn connection_words(before: &Connected, now: &Connected) -> String {
    match (before, now) {
        (_, Connected::Away(_)) => "the daemon has gone away; reconnecting".into(),
        (_, Connected::Lost(why)) => format!("the connection is lost: {why}"),
        (Connected::Away(since), Connected::Yes) => {
            let away = crate::clock::wall().duration_since(*since);
            format!("the daemon is back after {}", crate::domain::human_duration(away))
        }
        (_, Connected::Yes) => "the daemon is back".into(),
    }
}

/// Returns the items that need a person, with the state to print.
fn state(model: &TopModel) -> PrintedStates {
    let needs = model.judged.needs.iter().filter_map(|need| {
        let key = key_of(&need.kind);
        let gist = gist(&model.known, &key, model.moment.wall)?;
        // another failure in a row does not count as a change of state
        let state = gist.state.trim_end_matches(|c: char| c.is_ascii_digit() || c == '×' || c == ' ');
        Some((key, (gist.name, state.to_owned())))
    });
    needs.collect()
}

fn changes(before: &PrintedStates, now: &PrintedStates, model: &TopModel) -> Vec<(RowMark, String)> {
    let mut lines = Vec::new();
    for (key, words) in now {
        if before.get(key) != Some(words)
            && let Some(gist) = gist(&model.known, key, model.moment.wall)
        {
            let cause = if gist.cause.is_empty() { String::new() } else { format!(": {}", gist.cause) };
            lines.push((gist.mark, format!("{} {}{cause}", gist.name, gist.state)));
        }
    }
    for (key, (name, state)) in before {
        if !now.contains_key(key) {
            lines.push((RowMark::Of(Rank::Well), format!("{name} no longer needs you (was: {state})")));
        }
    }
    lines
}
