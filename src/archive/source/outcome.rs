//! What came of removing and of putting rows, and what is said of it.
use super::super::row::{Row, shown};
use super::failed;
use super::table::{Referrer, Table};
use crate::domain::ToolError;

/// What is done beside removing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum How {
    /// Rows go that stand elsewhere, and are needed here no more.
    Plainly,
    /// They can come back only if they can be put: that is tried first, within the same transaction, and undone.
    IfTheyCanComeBack,
    /// The same, and all of it is undone.
    OnlyToSee,
}

impl How {
    /// Is the way back tried?
    pub(super) fn tries(self) -> bool {
        self != Self::Plainly
    }

    /// Is it done in the end?
    pub(super) fn lasts(self) -> bool {
        self != Self::OnlyToSee
    }
}

/// What came of removing rows.
#[derive(Debug, PartialEq)]
pub(in super::super) enum Removed {
    /// All of them are gone.
    Done,
    /// None is gone, because of these.
    Not(Vec<Left>),
}

/// A row that stays, so that the others can go without it.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Left {
    /// Its place among those that were to go.
    pub(in super::super) at: usize,
    pub(in super::super) why: Why,
}

/// Why a row stays.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Why {
    /// It is not what it was.
    Changed,
    /// Another program has locked it.
    Locked,
    /// Other rows of the table refer to it, and those stay.
    Referred,
    /// It could not be put back; and why.
    OneWay(String),
}

impl Removed {
    /// None is gone: those at these places are not what they were.
    pub(super) fn changed(places: &[usize]) -> Self {
        Self::left(places, &Why::Changed)
    }

    pub(super) fn left(places: &[usize], why: &Why) -> Self {
        Self::Not(places.iter().map(|at| Left { at: *at, why: why.clone() }).collect())
    }
}

/// Places of rows that stay, in order.
pub(in super::super) fn places(left: &[Left]) -> Vec<usize> {
    let mut places: Vec<usize> = left.iter().map(|left| left.at).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// What came of putting rows.
#[derive(Debug, Default, PartialEq)]
pub(in super::super) struct Put {
    /// So many are new.
    pub(in super::super) fresh: u64,
    /// So many were there already, and equal.
    pub(in super::super) there: u64,
    /// Places of those that can't be put: another row has their key, or another unique value of theirs.
    pub(in super::super) conflicts: Vec<usize>,
    /// Places of those that the table does not take, and why.
    pub(in super::super) refused: Vec<(usize, String)>,
}

impl Put {
    /// Rows that were put and came out as they had been are the only ones that may go.
    pub(super) fn one_way(self, table: &Table, rows: &[Row]) -> Vec<Left> {
        let taken = self.conflicts.into_iter().map(|at| (at, taken(table, &rows[at])));
        let left = taken.chain(self.refused);
        left.map(|(at, why)| Left { at, why: Why::OneWay(why) }).collect()
    }
}

/// A row, for people.
pub(in super::super) fn name(table: &Table, row: &Row) -> String {
    let key: Vec<String> = row.key.iter().map(shown).collect();
    format!("row {} of {}", key.join(", "), table.about.table)
}

/// What a referring row says when rows that it refers to are to go.
pub(super) fn refers(referrer: &Referrer, table: &Table) -> ToolError {
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

/// What stands under another key than the one that was put.
pub(super) fn displaced(table: &Table, row: &Row) -> String {
    format!(
        "{}: a trigger or a rule of the table changes the keys of rows, or puts them elsewhere",
        name(table, row)
    )
}

pub(super) fn kept_out(table: &Table, row: &Row) -> String {
    format!("{}: a trigger or a rule of the table keeps it out", name(table, row))
}

pub(super) fn taken(table: &Table, row: &Row) -> String {
    format!(
        "{}: another row has its key, or another unique value in common, or a trigger or a rule keeps it out",
        name(table, row)
    )
}

/// A value of a column that was not there when the rows were read would be lost with them.
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
