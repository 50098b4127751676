//! The output of an agent program, independent of the program's format.
use crate::domain::Tokens;

/// One event in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramEvent {
    /// Its session, which can be resumed later.
    Session {
        /// The program's own id of it.
        id: String,
        /// The version that the program reports.
        version: Option<String>,
    },
    /// A message for people.
    Text(String),
    /// A thought of the model.
    Thought(String),
    /// A tool of the program was called.
    ToolBegan {
        /// The id of the call, unique in the session.
        id: String,
        tool: String,
        /// Its arguments, as JSON.
        args: String,
    },
    /// That call has ended.
    ToolEnded {
        /// As in [`Self::ToolBegan`].
        id: String,
        /// Its result or error message.
        text: String,
        is_error: bool,
        /// It was not made, since the program's permissions deny it.
        is_denied: bool,
    },
    /// Tokens as counted by the program. The meter's count is charged.
    Usage(Tokens),
    /// It retries a request to its provider. That is no progress.
    Retry(String),
    /// It reports an error, and continues.
    Error(String),
    /// It has finished.
    Ended(ProgramResult),
}

/// A program's report of its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramResult {
    /// Its answer, if it is repeated at the end.
    pub text: Option<String>,
    pub error: Option<String>,
    /// Denied calls, by the names of their tools.
    pub denied: Vec<String>,
}

impl ProgramEvent {
    /// Returns whether it shows progress. A retry does not.
    pub fn is_progress(&self) -> bool {
        !matches!(self, Self::Retry(_))
    }

    /// Returns a copy with its texts changed. Ids of sessions and calls are kept.
    pub fn with_texts(self, change: impl Fn(String) -> String) -> Self {
        match self {
            Self::Text(text) => Self::Text(change(text)),
            Self::Thought(text) => Self::Thought(change(text)),
            Self::ToolBegan { id, tool, args } => {
                Self::ToolBegan { id, tool: change(tool), args: change(args) }
            }
            Self::ToolEnded { id, text, is_error, is_denied } => {
                Self::ToolEnded { id, text: change(text), is_error, is_denied }
            }
            Self::Retry(why) => Self::Retry(change(why)),
            Self::Error(why) => Self::Error(change(why)),
            Self::Ended(ProgramResult { text, error, denied }) => Self::Ended(ProgramResult {
                text: text.map(&change),
                error: error.map(&change),
                denied: denied.into_iter().map(change).collect(),
            }),
            Self::Session { id, version } => Self::Session { id, version: version.map(change) },
            Self::Usage(_) => self,
        }
    }
}

/// Returns whether a text has the form of all known programs' session ids. It becomes an argument of the next attempt, so it
/// must not be a path or a flag.
pub fn is_session_id(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(is_word)
}
