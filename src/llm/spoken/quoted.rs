//! Is a part of a text shown, and not meant?

/// Is this place of a text within a fence of Markdown, or right behind a back-tick? Then it is shown, not meant.
pub(super) fn is_quoted(text: &str, at: usize) -> bool {
    let before = &text[..at];
    let fences = before.lines().filter(|line| line.trim_start().starts_with("```")).count();
    before.ends_with('`') || fences % 2 == 1
}
