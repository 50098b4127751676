//! What comes of reading a configuration: a fleet, or why there is none.
use super::diagnostic::Diagnostic;
use crate::domain::Fleet;
use std::path::PathBuf;

/// A valid configuration, and what deserves a second look.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub fleet: Fleet,
    /// The text it was read from.
    pub text: String,
    /// The same, fit to be shown: without what looks like a secret, and with each byte in its place.
    pub shown: String,
    pub warnings: Vec<Diagnostic>,
}

/// A configuration that is not in force, because of errors.
#[derive(Debug)]
pub struct Rejected {
    pub path: PathBuf,
    /// Its text, as far as it could be read.
    pub text: String,
    /// The same, fit to be shown: without what looks like a secret, and with each byte in its place.
    pub shown: String,
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// What kind of reason it is.
    pub why: RejectedFor,
}

/// Why a configuration is not in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedFor {
    /// It can't be read, or there are mistakes in it.
    Errors,
    /// There is no such file.
    Missing,
    /// Others can write it, or what leads to it.
    Owner,
    /// It may do more than a person has said yes to.
    Trust,
}

impl Rejected {
    /// Could the file not even be read?
    pub fn is_unreadable(&self) -> bool {
        self.text.is_empty() && self.diagnostics.iter().all(|one| one.is_error && one.span.is_none())
    }
}
