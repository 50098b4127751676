//! Deletes rows from a table: exactly those that were read, and only if they can be restored.
use super::super::family::{self, Reference};
use super::super::outcome::{DeleteMode, DeleteOutcome, Left, Put, Why, kept, other_columns, refers};
use super::super::table::{ForeignKey, Table};
use super::put::MAX_FAILED_ROWS;
use super::text::{columns, given, key_lists, keys_equal, keys_given, own_key, row_of, texts};
use super::{Postgres, ROW_LOCK_TIMEOUT, WRITES};
use crate::archive::point::point;
use crate::archive::row::Row;
use crate::archive::trouble::failed;
use crate::domain::ToolError;
use futures_util::TryStreamExt;
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// How often a chunk is tried if the server aborts the transaction because of concurrent ones.
const MAX_ATTEMPTS: u32 = 4;
/// How long to wait for locks of others before looking for the rows that they have locked.
const FIRST_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// An error in a transaction.
pub(super) struct Trouble {
    error: ToolError,
    cause: Cause,
}

/// What caused an error.
#[derive(Clone, Copy, PartialEq)]
enum Cause {
    /// Concurrent transactions: a retry may succeed.
    Others,
    /// A lock held by others.
    Lock,
    Other,
}

impl From<ToolError> for Trouble {
    fn from(error: ToolError) -> Self {
        Self { error, cause: Cause::Other }
    }
}

impl Postgres {
    pub(in super::super) async fn remove(
        &self,
        table: &Table,
        rows: &[Row],
        how: DeleteMode,
    ) -> Result<DeleteOutcome, ToolError> {
        let (mut tries, mut locked) = (0, false);
        loop {
            tries += 1;
            // Rows locked by others are only looked for after a lock was in the way.
            let max_wait = if locked { ROW_LOCK_TIMEOUT } else { FIRST_LOCK_TIMEOUT };
            self.begin(WRITES, max_wait).await?;
            match self.remove_in(table, rows, how, locked).await {
                Ok(DeleteOutcome::Done) if how.lasts() => {
                    return self.run("COMMIT").await.map(|()| DeleteOutcome::Done);
                }
                Ok(DeleteOutcome::Done) => return self.run("ROLLBACK").await.map(|()| DeleteOutcome::Done),
                Ok(DeleteOutcome::Not(left)) => {
                    self.run("ROLLBACK").await?;
                    return self.left(table, rows, left).await;
                }
                Err(Trouble { cause: Cause::Others, .. }) if tries < MAX_ATTEMPTS => {
                    self.run("ROLLBACK").await?;
                    tokio::time::sleep(Duration::from_millis(200) * tries).await;
                }
                Err(Trouble { cause: Cause::Lock, .. }) if !locked => {
                    self.run("ROLLBACK").await?;
                    locked = true;
                }
                Err(Trouble { error, .. }) => {
                    let _ = self.run("ROLLBACK").await;
                    return Err(error);
                }
            }
        }
    }

    /// If a row that is reported as changed is still there unchanged, it can't be deleted at all.
    async fn left(&self, table: &Table, rows: &[Row], left: Vec<Left>) -> Result<DeleteOutcome, ToolError> {
        let changed = left.iter().filter(|left| left.why == Why::Changed);
        let changed: Vec<Row> = changed.map(|left| rows[left.at].clone()).collect();
        let now = self.find(table, &changed).await?;
        let same = |(row, now): &(&Row, Option<Row>)| now.as_ref().is_some_and(|now| now.line == row.line);
        match changed.iter().zip(now).find(same) {
            Some((row, _)) => Err(kept(table, row)),
            None => Ok(DeleteOutcome::Not(left)),
        }
    }

    /// Deletes rows and compares what was deleted, in one statement: the returned rows were locked.
    async fn remove_in(
        &self,
        table: &Table,
        rows: &[Row],
        how: DeleteMode,
        locked: bool,
    ) -> Result<DeleteOutcome, Trouble> {
        self.must_be_same_session().await?;
        let acts = !table.referrers.is_empty() || table.own.iter().any(|own| !own.action.is_empty());
        if acts || (table.ability.lock && (locked || !table.own.is_empty())) {
            let left = self.lock_rows(table, rows).await?;
            if !left.is_empty() {
                return Ok(DeleteOutcome::Not(left));
            }
        } else if locked {
            let left = self.locked_rows(table, rows).await?;
            if !left.is_empty() {
                return Ok(DeleteOutcome::left(&left, &Why::Locked));
            }
        }
        for referrer in &table.referrers {
            self.refuse_referrer(table, referrer, rows).await?;
        }
        let referred = self.referred_in(table, rows).await?;
        if !referred.is_empty() {
            return Ok(DeleteOutcome::left(&referred, &Why::Referred));
        }
        let differ = self.delete(table, rows).await?;
        if !differ.is_empty() {
            return Ok(DeleteOutcome::changed(&differ));
        }
        self.verify_deleted(table, rows).await?;
        if how.tries() && table.ability.put {
            self.run("SAVEPOINT way_back").await?;
            let put: Put = self.put_in(table, rows, MAX_FAILED_ROWS).await?;
            let left = put.not_restorable(table, rows);
            if !left.is_empty() {
                return Ok(DeleteOutcome::Not(left));
            }
            self.run("ROLLBACK TO SAVEPOINT way_back").await?;
        }
        // Check deferred constraints now, while an error can still be attributed to a table.
        let sql = "SET CONSTRAINTS ALL IMMEDIATE";
        self.client().batch_execute(sql).await.map_err(|error| self.trouble(table, &error, sql))?;
        Ok(DeleteOutcome::Done)
    }

    /// Locks the rows. Returns those that others have locked, and those that no longer exist.
    async fn lock_rows(&self, table: &Table, rows: &[Row]) -> Result<Vec<Left>, Trouble> {
        let sql = format!(
            "SELECT k.place FROM {} AS t JOIN {} ON {} FOR UPDATE OF t SKIP LOCKED",
            table.quoted,
            keys_given(table),
            keys_equal(table)
        );
        let lists = key_lists(rows);
        let found = self.client().query(&sql, &given(&lists)).await;
        let found = found.map_err(|error| self.trouble(table, &error, &sql))?;
        let ours: HashSet<usize> =
            found.iter().map(|row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(1) - 1).collect();
        let others: Vec<usize> = (0..rows.len()).filter(|at| !ours.contains(at)).collect();
        let asked: Vec<Row> = others.iter().map(|at| rows[*at].clone()).collect();
        let there = self.find_in(table, &asked).await?;
        let why = |now: Option<Row>| if now.is_some() { Why::Locked } else { Why::Changed };
        Ok(others.into_iter().zip(there).map(|(at, now)| Left { at, why: why(now) }).collect())
    }

    /// Returns rows that others may have locked, for a role without the privilege to lock: the locker's
    /// transaction id is in xmax.
    async fn locked_rows(&self, table: &Table, rows: &[Row]) -> Result<Vec<usize>, Trouble> {
        // Transaction ids have 32 bits; the latest transaction with that id is meant. An aborted one holds no
        // lock.
        let sql = format!(
            "SELECT k.place FROM {} AS t JOIN {} ON {} CROSS JOIN \
               (SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) - 1 AS last) AS b \
             WHERE t.xmax::text <> '0' AND pg_catalog.txid_status( \
               b.last - ((b.last - t.xmax::text::bigint) & 4294967295)) IS DISTINCT FROM 'aborted'",
            table.quoted,
            keys_given(table),
            keys_equal(table)
        );
        let lists = key_lists(rows);
        let found = self.client().query(&sql, &given(&lists)).await;
        let found = found.map_err(|error| self.trouble(table, &error, &sql))?;
        let mut places: Vec<usize> =
            found.iter().map(|row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(1) - 1).collect();
        places.sort_unstable();
        Ok(places)
    }

    async fn refuse_referrer(
        &self,
        table: &Table,
        referrer: &ForeignKey,
        rows: &[Row],
    ) -> Result<(), Trouble> {
        let ask = format!(
            "SELECT 1 FROM {} AS c JOIN {} AS t ON {} JOIN {} ON {} LIMIT 1",
            referrer.table,
            table.quoted,
            join(referrer),
            keys_given(table),
            keys_equal(table)
        );
        let lists = key_lists(rows);
        let found = self.client().query_opt(&ask, &given(&lists)).await;
        match found.map_err(|error| self.trouble(table, &error, &ask))? {
            Some(_) => Err(refers(referrer, table).into()),
            None => Ok(()),
        }
    }

    /// Returns positions of rows that are referred to by rows of the table that are not among them, or that
    /// stay.
    pub(super) async fn referred_in(&self, table: &Table, rows: &[Row]) -> Result<Vec<usize>, ToolError> {
        let mut references: Vec<Reference> = Vec::new();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let lists = key_lists(rows);
        for own in &table.own {
            let sql = format!(
                "SELECT k.place, {} FROM {} AS c JOIN {} AS t ON {} JOIN {} ON {}",
                own_key(table, "c"),
                own.table,
                table.quoted,
                join(own),
                keys_given(table),
                keys_equal(table)
            );
            let found = self.client().query(&sql, &given(&lists)).await;
            for row in found.map_err(|error| self.say_of(table, &error, &sql))? {
                let key: Vec<String> = (0..table.keys.len()).map(|at| row.get(at + 1)).collect();
                let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or(1) - 1;
                references.push((format!("{key:?}"), place));
            }
        }
        let places =
            rows.iter().enumerate().map(|(at, row)| (format!("{:?}", texts(&row.key)), at)).collect();
        Ok(family::referred(&places, &references))
    }

    /// Deletes rows. Returns the positions of those that have changed or no longer exist.
    async fn delete(&self, table: &Table, rows: &[Row]) -> Result<Vec<usize>, Trouble> {
        let sql = format!(
            "DELETE FROM {} AS t USING {} WHERE {} RETURNING {}",
            table.quoted,
            keys_given(table),
            keys_equal(table),
            columns(table)
        );
        let say = |error: tokio_postgres::Error| self.trouble(table, &error, &sql);
        let lists = key_lists(rows);
        let statement = self.client().prepare(&sql).await.map_err(say)?;
        let mut deleted = pin!(self.client().query_raw(&statement, given(&lists)).await.map_err(say)?);
        let places: HashMap<Vec<String>, usize> =
            rows.iter().enumerate().map(|(at, row)| (texts(&row.key), at)).collect();
        let mut same = vec![false; rows.len()];
        let mut count = 0;
        while let Some(row) = deleted.try_next().await.map_err(say)? {
            let row = row_of(table, &row)?;
            count += 1;
            if let Some(at) = places.get(&texts(&row.key)) {
                same[*at] = rows[*at].line == row.line;
            }
        }
        point("deleting");
        let differ: Vec<usize> =
            same.iter().enumerate().filter(|(_, same)| !**same).map(|(at, _)| at).collect();
        if differ.is_empty() && count > rows.len() {
            return Err(failed(&format!(
                "the key of {} does not tell its rows apart: with {} rows {count} would be deleted; nothing was \
                 deleted",
                table.about.table,
                rows.len()
            ))
            .into());
        }
        Ok(differ)
    }

    /// Checks, after a deletion, which prevents others from altering the table, that the columns are those
    /// that were read, and that the rows no longer exist.
    async fn verify_deleted(&self, table: &Table, rows: &[Row]) -> Result<(), ToolError> {
        let (names, does_more) = self.now(table).await?;
        if names != table.all {
            return Err(other_columns(table));
        }
        if does_more {
            // A trigger or a rule may have inserted a row again.
            let there = self.find_in(table, rows).await?;
            if let Some((row, _)) = rows.iter().zip(&there).find(|(_, there)| there.is_some()) {
                return Err(kept(table, row));
            }
        }
        Ok(())
    }

    fn trouble(&self, table: &Table, error: &tokio_postgres::Error, sql: &str) -> Trouble {
        let code = error.code();
        let is = |known: &[SqlState]| code.is_some_and(|code| known.contains(code));
        let said = match self.say_of(table, error, sql) {
            ToolError::Failed(text) if is(&[SqlState::FOREIGN_KEY_VIOLATION]) => failed(&format!(
                "rows of another table refer to rows that are to be archived: archive or remove those first, nothing of \
                 this chunk was deleted ({text})"
            )),
            ToolError::Failed(text) if is(&[SqlState::LOCK_NOT_AVAILABLE]) => failed(&format!(
                "the table, or what its rows need, was locked by another program for {} s: try again later ({text})",
                ROW_LOCK_TIMEOUT.as_secs()
            )),
            other => other,
        };
        let cause = match () {
            () if is(&[SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE]) => {
                Cause::Others
            }
            () if is(&[SqlState::LOCK_NOT_AVAILABLE]) => Cause::Lock,
            () => Cause::Other,
        };
        Trouble { error: said, cause }
    }
}

/// The join condition between referring and referenced rows.
fn join(referrer: &ForeignKey) -> String {
    let parts = referrer.columns.iter().map(|(from, to)| format!("c.{from} = t.{to}"));
    parts.collect::<Vec<_>>().join(" AND ")
}
