//! Detects quoted parts of a text.

/// Returns whether this position is inside a Markdown fence or directly after a backtick: then it is quoted, not meant.
pub(super) fn is_quoted(text: &str, at: usize) -> bool {
    let before = &text[..at];
    let fences = before.lines().filter(|line| line.trim_start().starts_with("```")).count();
    before.ends_with('`') || fences % 2 == 1
}
