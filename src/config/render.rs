//! Diagnostics with their source lines, in the style of a compiler.
use super::diagnostic::Diagnostic;
use crate::domain::is_misleading;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::borrow::Cow;
use std::path::Path;

/// Renders diagnostics; `text` is the configuration, `path` its name.
pub fn render(diagnostics: &[Diagnostic], text: &str, path: &Path, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let name = harmless(&path.display().to_string()).into_owned();
    let text = harmless(text);
    let text = &*text;
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = if diagnostic.is_error { Level::ERROR } else { Level::WARNING };
        let mut group = level
            .primary_title(harmless(&diagnostic.message).into_owned())
            .elements(std::iter::empty::<annotate_snippets::Element<'_>>());
        if let Some(span) = &diagnostic.span {
            let start = text.floor_char_boundary(span.start.min(text.len()));
            let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
            // A table is shown by its header.
            let end = text[start..end].find('\n').map_or(end, |line| start + line);
            let snippet =
                Snippet::source(text).path(name.clone()).annotation(AnnotationKind::Primary.span(start..end));
            group = group.element(snippet);
        }
        // Without a position there is no snippet that the hint could be attached to.
        let beside = diagnostic.hint.as_ref().filter(|_| diagnostic.span.is_some());
        if let Some(hint) = beside {
            group = group.element(Level::HELP.message(harmless(hint).into_owned()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push('\n');
        if let (Some(hint), None) = (&diagnostic.hint, &diagnostic.span) {
            let hint = Level::HELP.primary_title(harmless(hint).into_owned());
            out.push_str(
                &renderer.render(&[hint.elements(std::iter::empty::<annotate_snippets::Element<'_>>())]),
            );
            out.push('\n');
        }
    }
    out
}

/// Returns a text of the same length in bytes in which nothing controls a terminal or disguises other text:
/// this may be the first time that anyone sees an untrusted file.
fn harmless(text: &str) -> Cow<'_, str> {
    // The library replaces the other control characters below 32 by pictures.
    let acts = |c: char| (c.is_control() && !matches!(c, '\n' | '\t' | '\r')) || is_misleading(c);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let in_place_of = |c: char| match c.len_utf8() {
        1 => "?",
        2 => "\u{b7}",
        3 => "\u{fffd}",
        _ => "\u{fffd}?",
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { out.push_str(in_place_of(c)) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    //! Tests of terminal output.
    use super::*;

    #[test]
    fn nothing_of_a_hostile_file_acts_on_a_terminal() {
        let hostile = "a\u{9b}2J\u{85}\u{1b}[2J\u{7f}\u{202e}\u{61c}\u{e0041}\u{e0101}\u{200b}é";
        let text = format!("[agents.x]\n{hostile} = 1 # {hostile}\n");
        let at = text.find('=').unwrap();
        let one = Diagnostic {
            message: format!("`{hostile}` is no key"),
            hint: Some(hostile.to_owned()),
            span: Some(11..at),
            is_error: true,
            line: 2,
            column: 1,
            key: None,
        };
        let whole = Diagnostic { span: None, ..one.clone() };
        for diagnostic in [one, whole] {
            let shown = render(&[diagnostic], &text, Path::new("x\u{9b}.toml"), false);
            let acts = |c: char| (c.is_control() && c != '\n') || is_misleading(c);
            assert_eq!(shown.chars().find(|c| acts(*c)), None, "{shown:?}");
            assert!(shown.contains('é'), "{shown}");
        }
        assert_eq!(harmless(hostile).len(), hostile.len(), "spans stay where they are");
    }
}
