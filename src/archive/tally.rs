//! What a run has done so far, and what of it a person should know.
use super::row::Cell;
use super::source::outcome::{Left, Why};
use crate::domain::counted;

/// What a run has done so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
    pub(super) stored: u64,
    pub(super) changed: u64,
    pub(super) conflicts: u64,
    pub(super) locked: u64,
    /// Of the last time that the whole table was gone through.
    pub(super) referred: u64,
    pub(super) refused: u64,
    /// Why rows could not come back; a few of them.
    pub(super) reasons: Vec<String>,
    pub(super) last: Option<Vec<Cell>>,
}

/// Most rows that are reported with why they could not come back.
const REASONS: usize = 3;

impl Tally {
    /// Rows that stay.
    pub(super) fn left(&mut self, left: &[Left]) {
        for one in left {
            match &one.why {
                Why::Changed => self.changed += 1,
                Why::Locked => self.locked += 1,
                Why::Referred => self.referred += 1,
                Why::OneWay(why) => {
                    self.refused += 1;
                    if self.reasons.len() < REASONS {
                        self.reasons.push(why.clone());
                    }
                }
            }
        }
    }

    /// What a person should know of rows that stay.
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
