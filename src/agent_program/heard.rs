//! What a program has said so far, added up.
use super::event::{ProgramEvent, ProgramResult};

/// Most errors of a program that are kept.
const ERRORS: usize = 5;
/// Most of what it said that is kept: an answer is shorter.
const TEXT: usize = 1 << 20;
/// Most of an error, of what a call was, and of a tool's name.
const SHOWN: usize = 2000;
/// Most calls without an end, and most denied tools.
const CALLS: usize = 256;

/// The begin of a text, without a part of a character.
fn begin(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What was heard of a program.
#[derive(Clone, Debug, Default)]
pub struct HeardSoFar {
    pub session: Option<String>,
    /// The version that it says it has.
    pub version: Option<String>,
    /// What it said since the last call of a tool: its answer, if nothing follows.
    pub text: String,
    /// How it says that it ended.
    pub result: Option<ProgramResult>,
    /// Tools whose calls were denied.
    pub denied: Vec<String>,
    /// What it said was wrong, the newest last.
    pub errors: Vec<String>,
    /// How often it has said that it tries again, since it last got on.
    pub retries: u64,
    /// Calls without an end: what each was, the oldest first.
    pub open_calls: Vec<(String, String)>,
}

impl HeardSoFar {
    /// Takes notice of an event.
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
                let room = TEXT.saturating_sub(self.text.len());
                self.text.push_str(begin(text.trim_end(), room));
            }
            ProgramEvent::ToolBegan { id, tool, args } => {
                self.text.clear();
                if self.open_calls.len() < CALLS {
                    let what = format!("{} {}", begin(tool, SHOWN), begin(args, SHOWN));
                    self.open_calls.push((begin(id, SHOWN).to_owned(), what));
                }
            }
            ProgramEvent::ToolEnded { id, is_denied, .. } => {
                let open = self.open_calls.iter().position(|(open, _)| open == begin(id, SHOWN));
                let call = open.map(|at| self.open_calls.remove(at).1);
                if *is_denied {
                    self.deny(call.as_deref().and_then(|call| call.split(' ').next()).unwrap_or("a tool"));
                }
            }
            ProgramEvent::Retry(_) => self.retries += 1,
            ProgramEvent::Error(why) => {
                self.errors.push(begin(why, SHOWN).to_owned());
                if self.errors.len() > ERRORS {
                    self.errors.remove(0);
                }
            }
            ProgramEvent::Ended(result) => {
                result.denied.iter().for_each(|tool| self.deny(tool));
                self.result = Some(ProgramResult {
                    text: result.text.as_deref().map(|text| begin(text, TEXT).to_owned()),
                    error: result.error.as_deref().map(|why| begin(why, SHOWN).to_owned()),
                    denied: Vec::new(),
                });
            }
            ProgramEvent::Thought(_) | ProgramEvent::Usage(_) => {}
        }
    }

    /// Its answer, if it has given one.
    pub fn answer(&self) -> Option<&str> {
        let repeated = self.result.as_ref().and_then(|result| result.text.as_deref());
        repeated.or(Some(self.text.as_str())).map(str::trim).filter(|text| !text.is_empty())
    }

    fn deny(&mut self, tool: &str) {
        let tool = begin(tool, SHOWN);
        if self.denied.len() < CALLS && !self.denied.iter().any(|known| known == tool) {
            self.denied.push(tool.to_owned());
        }
    }
}
