//! Arguments of `report`.
use super::arguments::{CallSchema, arguments};
use crate::domain::words::words;
use serde::Deserialize;

words! {
    /// How bad an agent finds what it reports.
    ReportSeverity {
        /// It is over.
        Ok = "ok",
        /// Worth a look.
        Warning = "warning",
        /// Needs a person.
        Critical = "critical",
    }
}

arguments! {
    /// A problem, or its end.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ReportArgs {
        /// Names the problem: the same key in each run, for example `disk:/data`.
        pub key: String,
        /// `ok` resolves it.
        pub severity: ReportSeverity,
        /// One line for a person.
        pub title: String,
        /// What was seen, and what to do.
        pub detail: Option<String>,
    }
}

impl ReportArgs {
    /// Maximum length of a key.
    pub const LONGEST_KEY_BYTES: usize = 128;
    /// Maximum length of a title with its detail; a longer one is cut.
    pub const MAX_TITLE_BYTES: usize = 2000;

    /// Returns the arguments of a call.
    pub fn schema() -> CallSchema {
        CallSchema::of::<Self>()
    }
}
