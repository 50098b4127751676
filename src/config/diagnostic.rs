//! One error or warning, with its place.
use std::path::Path;

/// One error or warning, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// Error or warning.
    pub is_error: bool,
    /// What is wrong.
    pub message: String,
    /// Where: byte range in the text.
    pub span: Option<std::ops::Range<usize>>,
    /// Line, from 1; 0 if there is no place.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The key that it is about, with dots: `agents.news.cron`.
    pub key: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// About a file as a whole.
    pub(crate) fn of_file(message: String, hint: Option<String>) -> Self {
        Self { is_error: true, message, span: None, line: 0, column: 0, key: None, hint }
    }

    /// A warning about a key, whose place in the file is not at hand.
    pub(crate) fn of_key(key: String, message: String, hint: String) -> Self {
        let (span, line, column) = (None, 0, 0);
        Self { is_error: false, message, span, line, column, key: Some(key), hint: Some(hint) }
    }

    /// For programs. `help` and `hint` are the same.
    pub fn to_json(&self, file: &Path) -> serde_json::Value {
        serde_json::json!({
            "severity": if self.is_error { "error" } else { "warning" }, "file": file, "line": self.line,
            "column": self.column, "key": self.key, "message": self.message, "help": self.hint,
            "hint": self.hint,
        })
    }
}
