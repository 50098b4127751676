//! Decodes the output of programs into events.
use super::event::ProgramEvent;
use super::lines::LineSplitter;
use super::{claude, codex, gemini, opencode};
use crate::domain::{RunnerProtocol, counted};
use serde_json::Value;

/// Maximum length of an unparsable line in messages.
const MAX_SHOWN_BYTES: usize = 200;
/// Maximum length of a text that arrives in parts.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Decodes the output of one program.
#[derive(Debug)]
pub struct Decoder {
    protocol: RunnerProtocol,
    lines: LineSplitter,
    /// Text in parts that has not ended yet.
    pending: String,
    /// Bytes that were cut off such texts.
    cut: usize,
    unread: u64,
    first_unread: Option<String>,
}

impl Decoder {
    /// Creates a decoder for a program with this protocol.
    pub fn new(protocol: RunnerProtocol) -> Self {
        Self {
            protocol,
            lines: LineSplitter::default(),
            pending: String::new(),
            cut: 0,
            unread: 0,
            first_unread: None,
        }
    }

    /// Adds a chunk of its standard output.
    pub fn push(&mut self, piece: &str) -> Vec<ProgramEvent> {
        let mut whole = Vec::new();
        self.lines.push(piece, |line| whole.push(line.to_owned()));
        whole.iter().flat_map(|line| self.line(line)).collect()
    }

    /// Finishes the output.
    pub fn finish(&mut self) -> Vec<ProgramEvent> {
        let mut last = None;
        self.lines.finish(|line| last = Some(line.to_owned()));
        let mut events: Vec<ProgramEvent> = last.iter().flat_map(|line| self.line(line)).collect();
        events.extend(self.text_so_far());
        events
    }

    /// Returns a warning about lines that were not parsed; `None`: there were none.
    pub fn unread(&self) -> Option<String> {
        let mut dropped = match self.lines.dropped {
            0 => String::new(),
            count => format!(
                "; of {} longer than {} MiB nothing",
                counted(count, "line"),
                super::lines::LONGEST >> 20
            ),
        };
        if self.cut > 0 {
            dropped.push_str(&format!("; of a text longer than {} MiB its beginning", MAX_TEXT_BYTES >> 20));
        }
        match &self.first_unread {
            Some(first) => Some(format!(
                "the program printed {}, the first: {first}{dropped}",
                match self.unread {
                    1 => "a line that is not an event".to_owned(),
                    count => format!("{count} lines that are not events"),
                }
            )),
            None if dropped.is_empty() => None,
            None => Some(format!("not all that the program printed was read{dropped}")),
        }
    }

    fn line(&mut self, line: &str) -> Vec<ProgramEvent> {
        let line = line.trim();
        if line.is_empty() {
            return Vec::new();
        }
        let event = match serde_json::from_str::<Value>(line) {
            Ok(event) if event.get("type").is_some_and(Value::is_string) => event,
            _ => {
                self.unread += 1;
                let first = || format!("`{}`", &line[..line.floor_char_boundary(MAX_SHOWN_BYTES)]);
                self.first_unread.get_or_insert_with(first);
                return Vec::new();
            }
        };
        let mut events = match self.protocol {
            RunnerProtocol::ClaudeJson => claude::events(&event),
            RunnerProtocol::CodexJson => codex::events(&event),
            RunnerProtocol::OpencodeJson => opencode::events(&event),
            RunnerProtocol::GeminiJson => match gemini::delta(&event) {
                Some(part) => {
                    let room = part.floor_char_boundary(MAX_TEXT_BYTES.saturating_sub(self.pending.len()));
                    self.pending.push_str(&part[..room]);
                    self.cut += part.len() - room;
                    return Vec::new();
                }
                None => gemini::events(&event),
            },
            RunnerProtocol::Acp => Vec::new(),
        };
        if !events.is_empty()
            && let Some(text) = self.text_so_far()
        {
            events.insert(0, text);
        }
        events
    }

    fn text_so_far(&mut self) -> Option<ProgramEvent> {
        (!self.pending.is_empty()).then(|| ProgramEvent::Text(std::mem::take(&mut self.pending)))
    }
}
