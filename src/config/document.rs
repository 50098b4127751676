//! The document being read: positions of its lines, resolution of its paths, and all problems found in it.
use super::context::Context;
use super::diagnostic::Diagnostic;
use super::spans::any_span;
use crate::domain::SecretRef;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeValue;

/// The file being read, and the problems found in it.
pub(super) struct File<'c> {
    pub(super) path: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) context: &'c Context<'c>,
    text: &'c str,
    /// Byte position of each line's start.
    lines: Vec<usize>,
    found: RefCell<Vec<Diagnostic>>,
    /// Ranges of errors.
    errors: RefCell<Vec<Range<usize>>>,
    /// Tables with an error in them, by kind and name: references to them are not reported. The name `*`
    /// stands for all of a kind.
    broken: RefCell<BTreeSet<(String, String)>>,
    /// Literal secrets in the file.
    secrets: RefCell<Vec<Range<usize>>>,
    /// References to secrets, without duplicates.
    references: RefCell<Vec<SecretRef>>,
}

impl<'c> File<'c> {
    pub(super) fn new(text: &'c str, path: &Path, context: &'c Context<'c>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        Self {
            path: path.to_owned(),
            folder,
            context,
            text,
            lines,
            found: RefCell::default(),
            errors: RefCell::default(),
            broken: RefCell::default(),
            secrets: RefCell::default(),
            references: RefCell::default(),
        }
    }

    /// Returns all problems, and the ranges of literal secrets.
    pub(super) fn into_findings(self) -> (Vec<Diagnostic>, Vec<Range<usize>>) {
        (self.found.into_inner(), self.secrets.into_inner())
    }

    /// Records a reference to a secret.
    pub(super) fn refers_to(&self, secret: &SecretRef) {
        let mut all = self.references.borrow_mut();
        if !all.contains(secret) {
            all.push(secret.clone());
        }
    }

    /// Returns the references to secrets, in the order of the file.
    pub(super) fn references(&self) -> Vec<SecretRef> {
        self.references.borrow().clone()
    }

    /// Marks a range to be masked whenever the file is shown.
    pub(super) fn hide(&self, span: Range<usize>) {
        self.secrets.borrow_mut().push(span);
    }

    /// Returns the number of errors so far.
    pub(super) fn errors(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Returns whether there is an error within this key or its value.
    pub(super) fn has_error_in(&self, key: Range<usize>, value: &Spanned<DeValue<'_>>) -> bool {
        let errors = self.errors.borrow();
        let meets = |span: &Range<usize>| {
            errors.iter().any(|error| {
                error.start < span.end.max(span.start + 1) && span.start < error.end.max(error.start + 1)
            })
        };
        !errors.is_empty() && (meets(&key) || any_span(value, &meets))
    }

    /// Records that there is an error in a table, so that references to it are not reported.
    pub(super) fn mark_broken(&self, kind: &str, name: &str) {
        self.broken.borrow_mut().insert((kind.to_owned(), name.to_owned()));
    }

    /// Returns whether there is an error in the table of this kind and name.
    pub(super) fn is_broken(&self, kind: &str, name: &str) -> bool {
        let broken = self.broken.borrow();
        !broken.is_empty()
            && [name, "*"].iter().any(|name| broken.contains(&(kind.to_owned(), (*name).to_owned())))
    }

    pub(super) fn error(&self, span: Option<Range<usize>>, message: String, hint: Option<String>) {
        self.note(true, span, message, hint);
    }

    pub(super) fn warn(&self, span: Range<usize>, message: String, hint: Option<String>) {
        self.note(false, Some(span), message, hint);
    }

    /// Reports a warning about the file as a whole.
    pub(super) fn warn_whole(&self, message: String, hint: Option<String>) {
        self.note(false, None, message, hint);
    }

    fn note(&self, is_error: bool, span: Option<Range<usize>>, message: String, hint: Option<String>) {
        let (line, column) = span.as_ref().map_or((0, 0), |span| self.place(span.start));
        if is_error {
            self.errors.borrow_mut().push(span.clone().unwrap_or(0..0));
        }
        self.found.borrow_mut().push(Diagnostic { is_error, message, span, line, column, key: None, hint });
    }

    /// Returns the line and column of a byte position, both from 1.
    pub(super) fn place(&self, at: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines[line - 1];
        let at = self.text.floor_char_boundary(at.min(self.text.len()));
        let column = self.text[start.min(at)..at].chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// Resolves a path in the file: relative to its folder, `~` and `${VAR}` expanded.
    pub(super) fn expand(&self, text: &str, span: Range<usize>) -> PathBuf {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, tail)) = after.split_once('}') else {
                self.error(Some(span.clone()), "`${` without `}`".into(), None);
                break;
            };
            match (self.context.env)(name) {
                Some(value) => out.push_str(&value),
                None => self.error(
                    Some(span.clone()),
                    format!("the variable `{name}` is not set"),
                    Some("set it where the daemon runs, or write the path out".into()),
                ),
            }
            rest = tail;
        }
        out.push_str(rest);
        let path = match out.strip_prefix("~/") {
            Some(below) => self.context.home.join(below),
            None if out == "~" => self.context.home.clone(),
            None => self.folder.join(&out),
        };
        path.components().filter(|part| *part != std::path::Component::CurDir).collect()
    }
}
