//! An error or warning, with its position.
use std::path::Path;

/// An error or warning, with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub is_error: bool,
    pub message: String,
    /// Byte range in the text.
    pub span: Option<std::ops::Range<usize>>,
    /// Line, from 1; 0 if there is no position.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The key that it is about, with dots: `agents.news.cron`.
    pub key: Option<String>,
    /// Advice on how to fix it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error about a file as a whole.
    pub(crate) fn of_file(message: String, hint: Option<String>) -> Self {
        Self { is_error: true, message, span: None, line: 0, column: 0, key: None, hint }
    }

    /// A warning about a key whose position in the file is not known.
    pub(crate) fn of_key(key: String, message: String, hint: String) -> Self {
        let (span, line, column) = (None, 0, 0);
        Self { is_error: false, message, span, line, column, key: Some(key), hint: Some(hint) }
    }

    /// Formats it for programs. `help` and `hint` are the same.
    pub fn to_json(&self, file: &Path) -> serde_json::Value {
        serde_json::json!({
            "severity": if self.is_error { "error" } else { "warning" }, "file": file, "line": self.line,
            "column": self.column, "key": self.key, "message": self.message, "help": self.hint,
            "hint": self.hint,
        })
    }
}
