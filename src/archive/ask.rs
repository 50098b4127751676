//! Requests to an archive, and the result of restoring.
use super::object::Manifest;
use super::row::{self, Row};
use super::source::outcome::Put;
use crate::domain::counted;
use jiff::Timestamp;
use serde::Serialize;

/// A request to an archive.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    List,
    /// Checks that every object exists and is intact.
    Verify,
    /// Restores these rows into the table.
    Restore {
        range: Range,
        /// Only report what would be restored.
        dry_run: bool,
    },
}

/// Selects rows to restore.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Range {
    /// Not older than this, by the age column.
    pub from: Option<Timestamp>,
    /// Older than this.
    pub to: Option<Timestamp>,
    /// With this key: a value for each of its columns.
    pub key: Vec<String>,
}

impl Range {
    pub(super) fn holds(&self, row: &Row) -> bool {
        let late_enough = self.from.is_none_or(|from| row.at.is_some_and(|at| at >= from));
        let early_enough = self.to.is_none_or(|to| row.at.is_some_and(|at| at < to));
        let is_key = self.key.is_empty() || row.key.iter().map(row::shown).eq(self.key.iter().cloned());
        late_enough && early_enough && is_key
    }

    /// Returns whether an object can contain such rows.
    pub(super) fn may_be_in(&self, manifest: &Manifest) -> bool {
        let too_old = self.from.is_some_and(|from| manifest.newest.is_some_and(|newest| newest < from));
        let too_new = self.to.is_some_and(|to| manifest.oldest.is_some_and(|oldest| oldest >= to));
        !too_old && !too_new
    }
}

/// Maximum number of rows reported by key.
const MAX_EXAMPLES: usize = 3;

/// The result of restoring rows.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) rows: u64,
    pub(super) there: u64,
    pub(super) conflicts: u64,
    pub(super) refused: u64,
    /// Rows without a known age, which no time range includes.
    pub(super) ageless: u64,
    /// Keys of rows that conflict with existing ones.
    pub(super) examples: Vec<String>,
    /// Why rows were refused.
    pub(super) reasons: Vec<String>,
    pub(super) objects: u64,
    /// Objects that can't be read, so that nothing of them can be restored.
    pub(super) damaged: Vec<DamagedObject>,
}

/// An object that can't be read back as it was written.
#[derive(Debug, Serialize)]
pub(super) struct DamagedObject {
    /// Name of the object, or of its manifest.
    pub(super) object: String,
    /// How many rows were written to it; unknown if its manifest can't be read.
    pub(super) rows: Option<u64>,
    pub(super) problem: String,
}

impl Restored {
    /// Adds what was restored, or would be. Returns the positions of rows that stay archived, in order.
    pub(super) fn count(&mut self, rows: &[Row], put: Put) -> Vec<usize> {
        self.rows += put.fresh;
        self.there += put.there;
        let mut stay = put.conflicts;
        for at in &stay {
            self.conflicts += 1;
            if self.examples.len() < MAX_EXAMPLES {
                self.examples.push(rows[*at].key.iter().map(row::shown).collect::<Vec<_>>().join(", "));
            }
        }
        for (at, why) in put.refused {
            self.refused += 1;
            if self.reasons.len() < MAX_EXAMPLES {
                self.reasons.push(why);
            }
            stay.push(at);
        }
        stay.sort_unstable();
        stay
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.conflicts > 0 {
            notes.push(format!(
                "still archived: {}, since other rows of the table have the same key, or another unique value in \
                 common, or a trigger keeps them out: {}",
                counted(self.conflicts, "row"),
                self.examples.join("; ")
            ));
        }
        if self.refused > 0 {
            notes.push(format!(
                "still archived: {}, which the table does not take: {}",
                counted(self.refused, "row"),
                self.reasons.join("; ")
            ));
        }
        for one in &self.damaged {
            let rows = one.rows.map_or_else(|| "its rows".to_owned(), |rows| counted(rows, "row"));
            notes.push(format!(
                "still archived: {rows} of {}, which can't be read: {}",
                one.object, one.problem
            ));
        }
        if self.ageless > 0 {
            notes.push(format!(
                "still archived: {}, whose age is not known, so that no range of time holds them; ask for them by key, \
                 or for all",
                counted(self.ageless, "row")
            ));
        }
        if self.rows > 0 {
            notes.push(
                "rows that are old enough are archived again by the next run of an agent: pause it to keep them"
                    .to_owned(),
            );
        }
        notes
    }
}
