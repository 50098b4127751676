//! Accumulates the output of a program.
use super::event::{ProgramEvent, ProgramResult};

/// Maximum errors of a program that are kept.
const MAX_ERRORS: usize = 5;
/// Maximum bytes of its text that are kept: answers are shorter.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Maximum bytes of an error, a call's description, and a tool's name.
const MAX_SHOWN_BYTES: usize = 2000;
/// Maximum open calls, and denied tools, that are kept.
const MAX_CALLS: usize = 256;

/// Truncates a text at a character boundary.
fn begin(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// The accumulated output of a program.
#[derive(Clone, Debug, Default)]
pub struct HeardSoFar {
    pub session: Option<String>,
    /// The version that it reports.
    pub version: Option<String>,
    /// The text since the last tool call: the answer, if nothing follows.
    pub text: String,
    /// Its report of its end.
    pub result: Option<ProgramResult>,
    pub denied: Vec<String>,
    /// Errors that it reported, the newest last.
    pub errors: Vec<String>,
    /// Number of retries since it last made progress.
    pub retries: u64,
    /// Open calls: id and description, the oldest first.
    pub open_calls: Vec<(String, String)>,
}

impl HeardSoFar {
    /// Adds an event.
    pub fn hear(&mut self, event: &ProgramEvent) {
        if event.is_progress() {
            self.retries = 0;
        }
        match event {
            ProgramEvent::Session { id, version } => {
                self.session = Some(id.clone());
                self.version = version.clone().or_else(|| self.version.take());
            }
            ProgramEvent::Text(text) => {
                if !self.text.is_empty() {
                    self.text.push('\n');
                }
                let room = MAX_TEXT_BYTES.saturating_sub(self.text.len());
                self.text.push_str(begin(text.trim_end(), room));
            }
            ProgramEvent::ToolBegan { id, tool, args } => {
                self.text.clear();
                if self.open_calls.len() < MAX_CALLS {
                    let what = format!("{} {}", begin(tool, MAX_SHOWN_BYTES), begin(args, MAX_SHOWN_BYTES));
                    self.open_calls.push((begin(id, MAX_SHOWN_BYTES).to_owned(), what));
                }
            }
            ProgramEvent::ToolEnded { id, is_denied, .. } => {
                let open = self.open_calls.iter().position(|(open, _)| open == begin(id, MAX_SHOWN_BYTES));
                let call = open.map(|at| self.open_calls.remove(at).1);
                if *is_denied {
                    self.deny(call.as_deref().and_then(|call| call.split(' ').next()).unwrap_or("a tool"));
                }
            }
            ProgramEvent::Retry(_) => self.retries += 1,
            ProgramEvent::Error(why) => {
                self.errors.push(begin(why, MAX_SHOWN_BYTES).to_owned());
                if self.errors.len() > MAX_ERRORS {
                    self.errors.remove(0);
                }
            }
            ProgramEvent::Ended(result) => {
                result.denied.iter().for_each(|tool| self.deny(tool));
                self.result = Some(ProgramResult {
                    text: result.text.as_deref().map(|text| begin(text, MAX_TEXT_BYTES).to_owned()),
                    error: result.error.as_deref().map(|why| begin(why, MAX_SHOWN_BYTES).to_owned()),
                    denied: Vec::new(),
                });
            }
            ProgramEvent::Thought(_) | ProgramEvent::Usage(_) => {}
        }
    }

    /// Returns its answer, if there is one.
    pub fn answer(&self) -> Option<&str> {
        let repeated = self.result.as_ref().and_then(|result| result.text.as_deref());
        repeated.or(Some(self.text.as_str())).map(str::trim).filter(|text| !text.is_empty())
    }

    fn deny(&mut self, tool: &str) {
        let tool = begin(tool, MAX_SHOWN_BYTES);
        if self.denied.len() < MAX_CALLS && !self.denied.iter().any(|known| known == tool) {
            self.denied.push(tool.to_owned());
        }
    }
}
