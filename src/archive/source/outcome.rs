//! Results of deleting and inserting rows, and the messages about them.
use super::super::row::{Row, shown};
use super::failed;
use super::table::{ForeignKey, Table};
use crate::domain::ToolError;

/// How rows are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum DeleteMode {
    /// Deletes rows that are stored elsewhere, without further checks.
    Plainly,
    /// Deletes rows only if they can be inserted again: that is tried first, in the same transaction, and
    /// rolled back.
    IfTheyCanComeBack,
    /// As `IfTheyCanComeBack`, but the deletion is rolled back too.
    OnlyToSee,
}

impl DeleteMode {
    /// Returns whether inserting the rows again is tried.
    pub(super) fn tries(self) -> bool {
        self != Self::Plainly
    }

    /// Returns whether the deletion is committed.
    pub(super) fn lasts(self) -> bool {
        self != Self::OnlyToSee
    }
}

/// The result of deleting rows.
#[derive(Debug, PartialEq)]
pub(in super::super) enum DeleteOutcome {
    /// All of them were deleted.
    Done,
    /// None was deleted, because of these.
    Not(Vec<Left>),
}

/// A row that is left, so that the others can be deleted without it.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Left {
    /// Its position among the rows to be deleted.
    pub(in super::super) at: usize,
    pub(in super::super) why: Why,
}

/// Why a row is left.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Why {
    /// It differs from what was read.
    Changed,
    /// Another program has locked it.
    Locked,
    /// Other rows of the table refer to it, and those stay.
    Referred,
    /// It could not be restored, for this reason.
    OneWay(String),
}

impl DeleteOutcome {
    /// None was deleted: the rows at these positions have changed.
    pub(super) fn changed(places: &[usize]) -> Self {
        Self::left(places, &Why::Changed)
    }

    pub(super) fn left(places: &[usize], why: &Why) -> Self {
        Self::Not(places.iter().map(|at| Left { at: *at, why: why.clone() }).collect())
    }
}

/// Returns positions of rows that are left, sorted.
pub(in super::super) fn places(left: &[Left]) -> Vec<usize> {
    let mut places: Vec<usize> = left.iter().map(|left| left.at).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The result of inserting rows.
#[derive(Debug, Default, PartialEq)]
pub(in super::super) struct Put {
    /// Number of rows that were inserted.
    pub(in super::super) fresh: u64,
    /// Number of rows that already existed, with equal content.
    pub(in super::super) there: u64,
    /// Positions of rows that conflict: another row has their key, or another unique value of theirs.
    pub(in super::super) conflicts: Vec<usize>,
    /// Positions of rows that the table refused, and why.
    pub(in super::super) refused: Vec<(usize, String)>,
}

impl Put {
    /// Returns the rows that could not be restored unchanged; only the others may be deleted.
    pub(super) fn not_restorable(self, table: &Table, rows: &[Row]) -> Vec<Left> {
        let taken = self.conflicts.into_iter().map(|at| (at, taken(table, &rows[at])));
        let left = taken.chain(self.refused);
        left.map(|(at, why)| Left { at, why: Why::OneWay(why) }).collect()
    }
}

/// Formats a row's key and table for messages.
pub(in super::super) fn name(table: &Table, row: &Row) -> String {
    let key: Vec<String> = row.key.iter().map(shown).collect();
    format!("row {} of {}", key.join(", "), table.about.table)
}

/// The error for rows whose deletion would affect referring rows.
pub(super) fn refers(referrer: &ForeignKey, table: &Table) -> ToolError {
    let does = match referrer.action.as_str() {
        "" => "",
        "CASCADE" => ", and deleting those would delete them (ON DELETE CASCADE)",
        "SET NULL" => ", and deleting those would change them (ON DELETE SET NULL)",
        _ => ", and deleting those would change them (ON DELETE SET DEFAULT)",
    };
    failed(&format!(
        "rows of {} refer to rows that are to be archived of table {}{does}: archive or remove the referring rows first",
        referrer.table, table.about.table
    ))
}

pub(super) fn altered(table: &Table, row: &Row) -> String {
    format!(
        "{} is not what was put: a trigger, a default or a type of the table changes it",
        name(table, row)
    )
}

/// The message for a row that is stored under another key than the one it was inserted with.
pub(super) fn displaced(table: &Table, row: &Row) -> String {
    format!(
        "{}: a trigger or a rule of the table changes the keys of rows, or puts them elsewhere",
        name(table, row)
    )
}

pub(super) fn skipped_by_trigger(table: &Table, row: &Row) -> String {
    format!("{}: a trigger or a rule of the table keeps it out", name(table, row))
}

pub(super) fn taken(table: &Table, row: &Row) -> String {
    format!(
        "{}: another row has its key, or another unique value in common, or a trigger or a rule keeps it out",
        name(table, row)
    )
}

/// The error for columns that were added meanwhile: their values would be lost with the rows.
pub(super) fn other_columns(table: &Table) -> ToolError {
    failed(&format!(
        "the columns of table {} changed while its rows were copied: nothing of this chunk was deleted, and the next \
         run takes the rows as they are then",
        table.about.table
    ))
}

pub(super) fn kept(table: &Table, row: &Row) -> ToolError {
    failed(&format!(
        "{} can't be deleted: a trigger, a rule or a policy of the table keeps it; nothing was deleted",
        name(table, row)
    ))
}
