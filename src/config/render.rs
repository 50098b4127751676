//! Diagnostics with their source lines, as a compiler shows them.
use super::diagnostic::Diagnostic;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::path::Path;

/// Renders diagnostics; `text` is what they are about, `path` its name.
pub fn render(diagnostics: &[Diagnostic], text: &str, path: &Path, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let name = path.display().to_string();
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = if diagnostic.is_error { Level::ERROR } else { Level::WARNING };
        let mut group = level
            .primary_title(diagnostic.message.clone())
            .elements(std::iter::empty::<annotate_snippets::Element<'_>>());
        if let Some(span) = &diagnostic.span {
            let start = text.floor_char_boundary(span.start.min(text.len()));
            let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
            // a table is shown by its head
            let end = text[start..end].find('\n').map_or(end, |line| start + line);
            let snippet =
                Snippet::source(text).path(name.clone()).annotation(AnnotationKind::Primary.span(start..end));
            group = group.element(snippet);
        }
        // without a place there is no gutter that the hint could hang on
        let beside = diagnostic.hint.as_ref().filter(|_| diagnostic.span.is_some());
        if let Some(hint) = beside {
            group = group.element(Level::HELP.message(hint.clone()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push('\n');
        if let (Some(hint), None) = (&diagnostic.hint, &diagnostic.span) {
            let hint = Level::HELP.primary_title(hint.clone());
            out.push_str(
                &renderer.render(&[hint.elements(std::iter::empty::<annotate_snippets::Element<'_>>())]),
            );
            out.push('\n');
        }
    }
    out
}
