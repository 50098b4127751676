//! What an agent program says, in no program's form.
use crate::domain::Tokens;

/// One thing that it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramEvent {
    /// Its session, by which it can go on later.
    Session {
        /// The program's own name for it.
        id: String,
        /// The version that the program says it has.
        version: Option<String>,
    },
    /// Something for people to read.
    Text(String),
    /// Something that the model thought.
    Thought(String),
    /// A tool of the program was called.
    ToolBegan {
        /// Names the call within the session.
        id: String,
        /// Name of the tool there.
        tool: String,
        /// Its arguments, as JSON.
        args: String,
    },
    /// That call has its end.
    ToolEnded {
        /// As in [`Self::ToolBegan`].
        id: String,
        /// What it gave, or what went wrong.
        text: String,
        /// It went wrong.
        is_error: bool,
        /// It was not made, since the program's permissions do not allow it.
        is_denied: bool,
    },
    /// Tokens, by the program's own count. The meter's count is what is charged.
    Usage(Tokens),
    /// It asks its provider again after a failure. That is no progress.
    Retry(String),
    /// It says that something is wrong, and goes on.
    Error(String),
    /// It is done.
    Ended(ProgramResult),
}

/// How a program says that it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramResult {
    /// Its answer, where it is repeated at the end.
    pub text: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Calls that were denied, by the names of their tools.
    pub denied: Vec<String>,
}

impl ProgramEvent {
    /// Does it show that the program is getting on with its work? Trying again is silence.
    pub fn is_progress(&self) -> bool {
        !matches!(self, Self::Retry(_))
    }

    /// The same with its texts changed. What names a session or a call is no text.
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

/// Is it the name of a session, as all known programs give them? It becomes an argument of the next attempt, and a path or
/// a flag must not.
pub fn is_session_id(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(is_word)
}
