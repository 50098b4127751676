//! Totals of a run, and the warnings that follow from them.
use super::row::Cell;
use super::source::outcome::{Left, Why};
use crate::domain::counted;

/// Totals of a run so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
    pub(super) stored: u64,
    pub(super) changed: u64,
    pub(super) conflicts: u64,
    pub(super) locked: u64,
    /// In the last pass over the whole table.
    pub(super) referred: u64,
    pub(super) refused: u64,
    /// Why rows could not be restored; a few examples.
    pub(super) reasons: Vec<String>,
    pub(super) last: Option<Vec<Cell>>,
}

/// Maximum number of reasons reported for rows that could not be restored.
const MAX_REASONS: usize = 3;

impl Tally {
    /// Counts rows that were left.
    pub(super) fn left(&mut self, left: &[Left]) {
        for one in left {
            match &one.why {
                Why::Changed => self.changed += 1,
                Why::Locked => self.locked += 1,
                Why::Referred => self.referred += 1,
                Why::OneWay(why) => {
                    self.refused += 1;
                    if self.reasons.len() < MAX_REASONS {
                        self.reasons.push(why.clone());
                    }
                }
            }
        }
    }

    /// Returns warnings about rows that were left.
    pub(super) fn warnings(&self, table: &str) -> Vec<String> {
        let rows = |count: u64| counted(count, "row");
        let of = [
            (
                self.changed,
                format!("{} changed during the copying: left for the next run", rows(self.changed)),
            ),
            (
                self.locked,
                format!("left for the next run: {} of {table}, locked by another program", rows(self.locked)),
            ),
            (
                self.referred,
                format!(
                    "kept in {table}: {} that other rows of the table refer to, which stay as well",
                    rows(self.referred)
                ),
            ),
            (
                self.refused,
                format!(
                    "kept in {table}: {}, which could not come back: {}",
                    rows(self.refused),
                    self.reasons.join("; ")
                ),
            ),
            (
                self.conflicts,
                format!(
                    "{} not moved: other rows at the destination have the same key, or another unique value in common, or \
                     a trigger there keeps them out",
                    rows(self.conflicts)
                ),
            ),
        ];
        of.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect()
    }
}
