//! Tests of the screen: what keys, answers and events do to the state, and what is drawn of it.
mod chance;
mod fleet;
mod hearing;
mod keys;
mod screens;
mod strips;

use super::asks::{TopAnswer, TopReply, TopRequest};
use super::model::{RowKey, TopModel};
use super::moment::TopMoment;
use super::theme::Theme;
use super::update::{TopEffect, TopInput, update};
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use std::time::Duration;

const NOW: &str = "2026-11-28T22:43:45Z";

/// A screen with a fleet, and a clock of its own.
struct Screenplay {
    model: TopModel,
    /// Milliseconds since the start.
    ms: u64,
    effects: Vec<TopEffect>,
}

impl Screenplay {
    /// A screen of this size, on which the fleet has just appeared.
    fn of(width: u16, height: u16, fleet: Vec<(TopRequest, TopAnswer)>) -> Self {
        let moment = TopMoment { wall: NOW.parse().unwrap(), since_start: Duration::ZERO };
        let model = TopModel::new(moment, TimeZone::UTC, "vm".into(), (width, height));
        let mut play = Self { model, ms: 0, effects: Vec::new() };
        for (ask, said) in fleet {
            play.answer(ask, said);
        }
        // what was asked for meanwhile is answered as well
        let names = play.model.known.agents.values().map(|agent| agent.agent_id.clone());
        play.model.known.with_runs = names.collect();
        play.model.asking.clear();
        play.model.dirty.agents.clear();
        play
    }

    fn usual(width: u16, height: u16) -> Self {
        Self::of(width, height, fleet::usual())
    }

    /// Time passes.
    fn wait(&mut self, ms: u64) -> &mut Self {
        self.ms += ms;
        self
    }

    fn input(&mut self, input: TopInput) -> &mut Self {
        let start: jiff::Timestamp = NOW.parse().unwrap();
        let since_start = Duration::from_millis(self.ms);
        let moment = TopMoment { wall: start + since_start, since_start };
        self.effects = update(&mut self.model, moment, input);
        self
    }

    fn answer(&mut self, ask: TopRequest, said: TopAnswer) -> &mut Self {
        self.input(TopInput::Replied(Box::new(TopReply { ask, said: Ok(said) })))
    }

    fn key(&mut self, code: KeyCode) -> &mut Self {
        self.input(TopInput::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    /// Keys, each as if a person had pressed it a second after the one before.
    fn keys(&mut self, keys: &str) -> &mut Self {
        for c in keys.chars() {
            self.wait(1000);
            self.key(match c {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                c => KeyCode::Char(c),
            });
        }
        self
    }

    /// Moves to an item.
    fn to(&mut self, key: &RowKey) -> &mut Self {
        self.keys("g");
        for _ in 0..200 {
            if self.model.list().current() == Some(key) {
                return self;
            }
            self.key(KeyCode::Down);
        }
        panic!("{key:?} is not in {:?}", self.model.list().rows());
    }

    fn at_agent(&mut self, name: &str) -> &mut Self {
        self.to(&RowKey::Agent(name.parse().unwrap()))
    }

    fn asks(&self) -> Vec<&TopRequest> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                TopEffect::Ask(ask) => Some(ask),
                _ => None,
            })
            .collect()
    }

    fn buffer(&mut self, theme: Theme) -> Buffer {
        let (width, height) = self.model.size;
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        let lines = super::draw::draw(&self.model, theme, &mut buffer);
        self.model.settle_scroll(lines);
        buffer
    }

    /// What is on the screen, without blanks at the ends of lines.
    fn text(&mut self, theme: Theme) -> String {
        text(&self.buffer(theme))
    }

    fn shown(&mut self) -> String {
        self.text(PLAIN)
    }
}

const PLAIN: Theme = Theme { color: true, ascii: false };

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut text = String::new();
    for line in buffer.content.chunks(width) {
        let mut shown = String::new();
        let mut skip = 0;
        for cell in line {
            if skip == 0 {
                shown.push_str(cell.symbol());
                skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).max(1);
            }
            skip -= 1;
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}
