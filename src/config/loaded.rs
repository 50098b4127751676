//! The result of reading a configuration: a fleet, or why there is none.
use super::diagnostic::Diagnostic;
use crate::domain::Fleet;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A valid configuration, with its warnings.
#[derive(Debug)]
pub struct Loaded {
    pub fleet: Fleet,
    /// The text it was read from.
    pub text: String,
    /// The text as it can be shown: secrets are masked, with each byte at its position.
    pub shown: String,
    pub warnings: Vec<Diagnostic>,
    /// Which tables it has, and which keys they: `daemon`, `daemon.node`.
    pub given: BTreeSet<String>,
}

/// A configuration that is not in force because of errors.
#[derive(Debug)]
pub struct Rejected {
    pub path: PathBuf,
    /// Its text, as far as it could be read.
    pub text: String,
    /// The text as it can be shown: secrets are masked, with each byte at its position.
    pub shown: String,
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    pub why: RejectedFor,
}

/// Why a configuration is not in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedFor {
    /// It can't be read, or it has errors.
    Errors,
    /// There is no such file.
    Missing,
    /// Others can write it, or a folder or link on its path.
    Owner,
    /// It may do more than a person has approved.
    Trust,
}

impl Rejected {
    /// Returns whether the file could not even be read.
    pub fn is_unreadable(&self) -> bool {
        self.text.is_empty() && self.diagnostics.iter().all(|one| one.is_error && one.span.is_none())
    }
}
