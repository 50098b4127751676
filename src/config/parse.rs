//! From a text to a fleet, or to all that is wrong with it.
use super::context::Context;
use super::loaded::{Loaded, Rejected, RejectedFor};
use super::{conceal, document, resolve, spans};
use std::ops::Range;
use std::path::Path;

/// Parses, validates and resolves a text; `path` names it in messages and is the base of relative paths.
pub fn parse(text: String, path: &Path, context: &Context<'_>) -> Result<Loaded, Box<Rejected>> {
    let (fleet, mut diagnostics, secrets, given) = {
        let (root, errors) = toml::de::DeTable::parse_recoverable(&text);
        let file = document::File::new(&text, path, context);
        let mut doubled: Option<Range<usize>> = None;
        for error in &errors {
            let span = error.span();
            if error.message() != "duplicate key" {
                file.error(span, error.message().to_owned(), None);
                continue;
            }
            // the keys of a table that is there twice are no further mistakes
            let at = span.as_ref().map_or(0, |span| span.start);
            if doubled.as_ref().is_some_and(|table| table.contains(&at)) {
                continue;
            }
            let double = spans::double(&text, span.clone().unwrap_or(0..0));
            doubled = double.table.clone().or(doubled);
            file.error(Some(double.span), double.message, Some(double.hint));
        }
        // what follows a syntax error is not to be trusted
        let fleet = errors.is_empty().then(|| resolve::fleet(&file, root.get_ref()));
        let (mut diagnostics, secrets) = file.into_findings();
        diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        // of what one mistake in the syntax brings, the first is the mistake
        if fleet.is_none() {
            diagnostics.dedup_by_key(|diagnostic| diagnostic.line);
        }
        // what is wrong in [defaults] is found once for each agent
        let mut told = std::collections::HashSet::new();
        diagnostics.retain(|one| told.insert((one.line, one.column, one.message.clone())));
        for one in diagnostics.iter_mut().filter(|_| fleet.is_some()) {
            one.key = one.span.as_ref().and_then(|span| spans::key_at(root.get_ref(), span.start));
        }
        (fleet, diagnostics, secrets, spans::given(root.get_ref()))
    };
    let shown = conceal::conceal(&text, secrets, &mut diagnostics);
    match fleet {
        Some(fleet) if diagnostics.iter().all(|diagnostic| !diagnostic.is_error) => {
            Ok(Loaded { fleet, text, shown, warnings: diagnostics, given })
        }
        _ => {
            let path = path.to_owned();
            Err(Box::new(Rejected { path, text, shown, diagnostics, why: RejectedFor::Errors }))
        }
    }
}
