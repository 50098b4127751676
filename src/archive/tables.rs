//! The protocol of copying and deleting, for rows that go to another table.
//!
//! A row that is in both tables still belongs to the source. The steps of a chunk:
//!
//! 1. rows whose key has a different row at the destination are left: they are conflicts, and are reported;
//! 2. *intend*: the journal records the keys that are about to be inserted, each with the SHA-256 of its row;
//! 3. *put*: one transaction inserts them, reads them back and compares;
//! 4. *delete*: as for objects, all or none; if rows changed meanwhile, their copies are removed;
//! 5. *done*: the keys are removed from the journal.
//!
//! A run begins with the keys that are still recorded: rows that are in the source are removed from the
//! destination, if they are what was inserted there. Other rows that were since inserted under these keys
//! stay, and so do copies for which the source has a different row, unless the source shows that nothing was
//! deleted (see [`Tables::mend`]). If the state database was lost, a copy that equals its row is treated as
//! that row, and one that differs stays as a conflict. Restoring is the same with the tables exchanged, and
//! needs no journal.
use super::journal::Journal;
use super::point::point;
use super::row::{Cell, Row};
use super::source::Db;
use super::source::outcome::{DeleteMode, DeleteOutcome, Left, Why, places};
use super::source::table::{Bounds, CHUNK_BYTES, Filter, Table};
use super::trouble::failed;
use crate::archive::ask::{Range, Restored};
use crate::archive::tally::Tally;
use crate::domain::{ArchiveSettings, ToolError, hex, size};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The journal entry of a chunk in progress.
#[derive(Serialize, Deserialize)]
struct Pending {
    /// Names of the archived columns.
    columns: Vec<String>,
    /// Key columns.
    key: Vec<String>,
    /// The key of each row, and the SHA-256 of the row.
    rows: Vec<(String, String)>,
}

/// Another table as the destination.
pub(super) struct Tables {
    pub(super) db: Db,
    pub(super) table: Table,
    pub(super) journal: Journal,
}

impl Tables {
    /// Returns the location, for messages.
    pub(super) fn place(&self) -> String {
        self.journal.place().to_owned()
    }

    /// Removes copies that were inserted but not deleted at their source. Returns how many.
    ///
    /// Deletion is all or nothing. So if the source still has all keys, and at least one row is unchanged,
    /// nothing was deleted, and a row that differs was changed: its copy is removed as well. Otherwise its
    /// key may have been reused after the deletion, and the copy may be the only one of its row: it stays, as
    /// a conflict at worst.
    pub(super) async fn mend(&self, source: &Db, of: &Table) -> Result<u64, ToolError> {
        let Some(pending) = self.journal.pending().await? else { return Ok(0) };
        let Pending { columns, key, rows: named } = serde_json::from_str(&pending)
            .map_err(|error| failed(&format!("the archive's journal can't be read: {error}")))?;
        if key != of.about.key {
            return Err(failed(&format!(
                "a step was broken off that named rows by the key {key:?}, and the settings say {:?}: set `key` back to \
                 what it was until the archive has run once",
                of.about.key
            )));
        }
        // Rows are compared by the columns that they had then; columns may have been added.
        let (of, copies) = (&of.of_columns(&columns), &self.table.of_columns(&columns));
        let rows = named.iter().map(|(key, _)| of.about.key_row(key)).collect::<Result<Vec<Row>, _>>()?;
        let there = source.find(of, &rows).await?;
        let is = |row: &Option<Row>, (_, sha256): &(String, String)| {
            row.as_ref().is_some_and(|row| hash(row) == *sha256)
        };
        let same: Vec<bool> = there.iter().zip(&named).map(|(row, named)| is(row, named)).collect();
        let untouched = there.iter().all(Option::is_some) && same.contains(&true);
        let found = self.db.find(copies, &rows).await?;
        let found = found
            .into_iter()
            .zip(&named)
            .zip(same)
            .filter(|((copy, named), same)| (*same || untouched) && is(copy, named))
            .filter_map(|((copy, _), _)| copy)
            .collect();
        let count = self.erase(copies, found).await?;
        self.journal.done(0, 0).await?;
        Ok(count)
    }

    /// Removes copies of these rows, if there are any. A copy that was changed stays.
    async fn take_back(&self, rows: &[Row]) -> Result<u64, ToolError> {
        let found = self.db.find(&self.table, rows).await?;
        let copies = found
            .into_iter()
            .zip(rows)
            .filter_map(|(copy, row)| copy.filter(|copy| copy.line == row.line))
            .collect();
        self.erase(&self.table, copies).await
    }

    async fn erase(&self, table: &Table, mut copies: Vec<Row>) -> Result<u64, ToolError> {
        while !copies.is_empty() {
            match self.db.remove(table, &copies, DeleteMode::Plainly).await? {
                DeleteOutcome::Done => break,
                DeleteOutcome::Not(left) => without(&mut copies, &places(&left)),
            }
        }
        Ok(copies.len() as u64)
    }

    /// Moves the rows of a chunk.
    pub(super) async fn chunk(
        &self,
        source: &Db,
        of: &Table,
        mut rows: Vec<Row>,
        delete: bool,
        tally: &mut Tally,
    ) -> Result<(), ToolError> {
        let found = self.db.find(&self.table, &rows).await?;
        let differs =
            |(row, there): (&Row, &Option<Row>)| there.as_ref().is_some_and(|there| there.line != row.line);
        let conflicts: Vec<usize> = rows
            .iter()
            .zip(&found)
            .enumerate()
            .filter(|(_, pair)| differs(*pair))
            .map(|(at, _)| at)
            .collect();
        let fresh: Vec<Row> = rows
            .iter()
            .zip(&found)
            .filter(|(_, there)| there.is_none())
            .map(|(row, _)| row.clone())
            .collect();
        tally.conflicts += conflicts.len() as u64;
        without(&mut rows, &conflicts);
        let pending = Pending {
            columns: of.about.columns.iter().map(|column| column.name.clone()).collect(),
            key: of.about.key.clone(),
            rows: fresh.iter().map(|row| (of.about.key_line(row), hash(row))).collect(),
        };
        self.journal.intends(serde_json::to_string(&pending).expect("texts are JSON")).await?;
        point("intended");
        let put = self.db.put(&self.table, &fresh).await?;
        point("put");
        tally.conflicts += put.conflicts.len() as u64;
        tally.left(&refused_there(&put.refused));
        let refused = put.conflicts.iter().copied().chain(put.refused.iter().map(|(at, _)| *at));
        let refused: Vec<&Row> = refused.map(|at| &fresh[at]).collect();
        rows.retain(|row| !refused.iter().any(|refused| refused.key == row.key));
        if delete {
            self.delete(source, of, &mut rows, tally).await?;
        } else {
            self.take_back(&fresh).await?;
            self.rehearse(source, of, &mut rows, tally).await?;
        }
        let bytes = rows.iter().map(|row| row.line.len() as u64).sum();
        tally.rows += rows.len() as u64;
        tally.chunks += 1;
        if delete {
            tally.bytes += bytes;
            self.journal.done(rows.len() as u64, bytes).await?;
            point("done");
        } else {
            self.journal.done(0, 0).await?;
        }
        Ok(())
    }

    /// Deletes rows from the source that exist at the destination; for rows that are left, the copies are
    /// removed.
    async fn delete(
        &self,
        source: &Db,
        of: &Table,
        rows: &mut Vec<Row>,
        tally: &mut Tally,
    ) -> Result<(), ToolError> {
        while !rows.is_empty() {
            let removed = match source.remove(of, rows, DeleteMode::IfTheyCanComeBack).await {
                Ok(removed) => removed,
                Err(error) => {
                    // The database determines the outcome, if it can still be reached.
                    let _ = self.mend(source, of).await;
                    return Err(error);
                }
            };
            match removed {
                DeleteOutcome::Done => {
                    point("deleted");
                    break;
                }
                DeleteOutcome::Not(left) => {
                    point("differ");
                    let places = places(&left);
                    let stay: Vec<Row> = places.iter().map(|at| rows[*at].clone()).collect();
                    self.take_back(&stay).await?;
                    tally.left(&left);
                    without(rows, &places);
                }
            }
        }
        Ok(())
    }

    async fn rehearse(
        &self,
        source: &Db,
        of: &Table,
        rows: &mut Vec<Row>,
        tally: &mut Tally,
    ) -> Result<(), ToolError> {
        while !rows.is_empty() {
            match rehearsed(source, of, rows).await? {
                DeleteOutcome::Done => break,
                DeleteOutcome::Not(left) => {
                    tally.left(&left);
                    without(rows, &places(&left));
                }
            }
        }
        Ok(())
    }

    /// Restores the rows of a range.
    pub(super) async fn restore(
        &self,
        source: &Db,
        of: &Table,
        range: &Range,
        dry_run: bool,
        chunk_rows: usize,
        done: &mut Restored,
    ) -> Result<(), ToolError> {
        if !range.key.is_empty() {
            let rows = self.by_key(range).await?;
            return self.put_back(source, of, rows, dry_run, done).await;
        }
        let filter = Filter { before: range.to, from: range.from, only: Vec::new() };
        let bounds = Bounds { rows: chunk_rows, bytes: CHUNK_BYTES, backwards: false };
        let mut after: Option<Vec<Cell>> = None;
        loop {
            let page = self.db.page(&self.table, &filter, after.as_deref(), bounds).await?;
            if page.late {
                return Err(failed("the time was up: restore again to go on"));
            }
            after = page.rows.last().map(|row| row.key.clone()).or(after);
            self.put_back(source, of, page.rows, dry_run, done).await?;
            if page.end {
                return Ok(());
            }
        }
    }

    /// Finds the row with a key as a person types it.
    async fn by_key(&self, range: &Range) -> Result<Vec<Row>, ToolError> {
        let number = |text: &String| text.parse().map_or_else(|_| Cell::Text(text.clone()), Cell::Integer);
        let forms = [
            range.key.iter().map(|text| Cell::Text(text.clone())).collect::<Vec<Cell>>(),
            range.key.iter().map(number).collect(),
        ];
        for key in forms {
            if self.table.about.kind == super::row::Kind::Postgres
                && key.iter().any(|cell| !matches!(cell, Cell::Text(_)))
            {
                continue;
            }
            let wanted = Row { key, line: Vec::new(), at: None };
            let found = self.db.find(&self.table, &[wanted]).await?;
            if let Some(row) = found.into_iter().flatten().next() {
                return Ok(vec![row]);
            }
        }
        Ok(Vec::new())
    }

    async fn put_back(
        &self,
        source: &Db,
        of: &Table,
        mut rows: Vec<Row>,
        dry_run: bool,
        done: &mut Restored,
    ) -> Result<(), ToolError> {
        if dry_run || rows.is_empty() {
            done.count(&rows, source.try_put(of, &rows).await?);
            return Ok(());
        }
        let put = source.put(of, &rows).await?;
        point("put");
        let stay = done.count(&rows, put);
        without(&mut rows, &stay);
        self.erase(&self.table, rows).await.map(drop)
    }

    /// Counts rows of the table and those that are in the source as well, and finds the oldest and newest
    /// instants.
    pub(super) async fn count(&self, source: Option<(&Db, &Table)>) -> Result<Counted, ToolError> {
        let mut counted = Counted::default();
        let mut after: Option<Vec<Cell>> = None;
        let bounds = Bounds { rows: size(ArchiveSettings::CHUNK_ROWS), bytes: CHUNK_BYTES, backwards: false };
        loop {
            let page = self.db.page(&self.table, &Filter::default(), after.as_deref(), bounds).await?;
            if page.late {
                return Err(failed("the time was up before all rows were counted"));
            }
            after = page.rows.last().map(|row| row.key.clone()).or(after);
            counted.rows += page.rows.len() as u64;
            let span = || page.rows.iter().filter_map(|row| row.at);
            counted.oldest = counted.oldest.into_iter().chain(span()).min();
            counted.newest = counted.newest.into_iter().chain(span()).max();
            if let Some((db, table)) = source {
                counted.both += db.find(table, &page.rows).await?.iter().flatten().count() as u64;
            }
            if page.end {
                return Ok(counted);
            }
        }
    }
}

/// Returns the hash by which a row is recognized.
fn hash(row: &Row) -> String {
    hex(&Sha256::digest(&row.line))
}

/// Counts for a destination table.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) rows: u64,
    pub(super) both: u64,
    pub(super) oldest: Option<Timestamp>,
    pub(super) newest: Option<Timestamp>,
}

/// Converts rows that the destination refused.
fn refused_there(refused: &[(usize, String)]) -> Vec<Left> {
    let at_destination = |why: &String| Why::OneWay(format!("the destination does not take {why}"));
    refused.iter().map(|(at, why)| Left { at: *at, why: at_destination(why) }).collect()
}

/// Removes the rows at these positions, which are sorted.
pub(super) fn without(rows: &mut Vec<Row>, places: &[usize]) {
    let mut at = 0;
    rows.retain(|_| {
        at += 1;
        places.binary_search(&(at - 1)).is_err()
    });
}

/// Checks what would happen to the rows, if the role has the privileges for it.
pub(super) async fn rehearsed(db: &Db, table: &Table, rows: &[Row]) -> Result<DeleteOutcome, ToolError> {
    if !table.can_delete() {
        return Ok(DeleteOutcome::Done);
    }
    db.remove(table, rows, DeleteMode::OnlyToSee).await
}
