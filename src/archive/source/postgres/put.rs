//! Inserts as many rows as the table accepts. Rows that it refuses are reported by key, and do not prevent
//! the others.
use super::super::outcome::{Put, altered, displaced, name, skipped_by_trigger};
use super::super::table::{Table, quote};
use super::{Postgres, ROW_LOCK_TIMEOUT, WRITES};
use crate::archive::row::{self, Cell, Kind, Row};
use crate::archive::trouble::explain;
use crate::archive::trouble::failed;
use crate::domain::ToolError;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

/// The number of rows of a chunk that may fail one by one before a deletion is given up: the remaining ones
/// would most likely fail too.
pub(super) const MAX_FAILED_ROWS: usize = 1_000;
/// The number of skipped rows for which the reason is determined.
const MAX_DIAGNOSED_ROWS: usize = 20;

/// Rows that are inserted together.
struct Part {
    places: Vec<usize>,
    /// A conflict is an error, instead of silently skipping the row.
    plainly: bool,
}

/// The result of inserting a set of rows.
enum Tried {
    /// All are stored unchanged.
    Done,
    /// None was inserted, because of these.
    Without { refused: Vec<(usize, String)>, missing: Vec<usize> },
    /// None was inserted, and the rows responsible are not known.
    Failed { why: String, is_taken: bool, waits: bool },
}

impl Postgres {
    pub(in super::super) async fn put(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        self.begin(WRITES, ROW_LOCK_TIMEOUT).await?;
        self.must_be_same_session().await?;
        let put = self.put_in(table, rows, usize::MAX).await;
        self.run(if put.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        put
    }

    /// Tries to insert rows, and rolls it back.
    pub(in super::super) async fn try_put(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        if self.trying.load(Ordering::Relaxed) {
            return self.put_in(table, rows, usize::MAX).await;
        }
        self.begin(WRITES, ROW_LOCK_TIMEOUT).await?;
        let put = self.put_in(table, rows, usize::MAX).await;
        self.run("ROLLBACK").await?;
        put
    }

    pub(in super::super) async fn begin_trial(&self) -> Result<(), ToolError> {
        self.begin(WRITES, ROW_LOCK_TIMEOUT).await?;
        self.trying.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(in super::super) async fn end_trial(&self) -> Result<(), ToolError> {
        match self.trying.swap(false, Ordering::Relaxed) {
            true => self.run("ROLLBACK").await,
            false => Ok(()),
        }
    }

    /// Inserts the rows that can be inserted; gives up after `most` rows that can't.
    pub(super) async fn put_in(&self, table: &Table, rows: &[Row], most: usize) -> Result<Put, ToolError> {
        let mut put = Put::default();
        let mut wanted = Vec::new();
        for (at, (row, now)) in rows.iter().zip(self.find_in(table, rows).await?).enumerate() {
            match now {
                None => wanted.push(at),
                Some(now) if now.line == row.line => put.there += 1,
                Some(_) => put.conflicts.push(at),
            }
        }
        // Rows that refer to a missing one may succeed after others were inserted.
        let part = |places: Vec<usize>| Part { places, plainly: table.ability.put_plainly };
        let mut waiting = vec![part(wanted)];
        loop {
            let before = put.fresh;
            let waits = self.put_parts(table, rows, waiting, most, &mut put).await?;
            if waits.is_empty() || put.fresh == before {
                put.refused.extend(waits);
                break;
            }
            waiting = vec![part(waits.into_iter().map(|(at, _)| at).collect())];
        }
        put.conflicts.sort_unstable();
        put.refused.sort_unstable();
        Ok(put)
    }

    /// Inserts sets of rows; failures are isolated by bisection. Returns rows that refer to a missing one.
    async fn put_parts(
        &self,
        table: &Table,
        rows: &[Row],
        mut parts: Vec<Part>,
        most: usize,
        put: &mut Put,
    ) -> Result<Vec<(usize, String)>, ToolError> {
        let (mut waiting, mut asked, mut failed) = (Vec::new(), 0, 0);
        while let Some(Part { places: part, plainly }) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            if failed >= most {
                let why = |at: usize| {
                    format!("{}: not tried, after {most} rows that can't be put", name(table, &rows[at]))
                };
                put.refused.extend(part.into_iter().map(|at| (at, why(at))));
                continue;
            }
            match self.try_part(table, rows, &part, plainly).await? {
                Tried::Done => put.fresh += part.len() as u64,
                Tried::Without { refused, missing } => {
                    let gone: BTreeSet<usize> =
                        refused.iter().map(|(at, _)| *at).chain(missing.iter().copied()).collect();
                    put.refused.extend(refused);
                    let rest = part.into_iter().filter(|at| !gone.contains(at)).collect();
                    parts.push(Part { places: rest, plainly });
                    if plainly {
                        put.refused
                            .extend(missing.into_iter().map(|at| (at, skipped_by_trigger(table, &rows[at]))));
                        continue;
                    }
                    // Another row or a trigger may be the reason: a plain INSERT returns an error that says
                    // which.
                    for at in missing {
                        asked += 1;
                        match asked <= MAX_DIAGNOSED_ROWS {
                            true => parts.push(Part { places: vec![at], plainly: true }),
                            false => put.conflicts.push(at),
                        }
                    }
                }
                Tried::Failed { .. } if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(Part { places: second.to_vec(), plainly });
                    parts.push(Part { places: first.to_vec(), plainly });
                }
                Tried::Failed { is_taken: true, .. } => put.conflicts.push(part[0]),
                Tried::Failed { why, waits, .. } => {
                    failed += 1;
                    let said = (part[0], format!("{}: {why}", name(table, &rows[part[0]])));
                    if waits { waiting.push(said) } else { put.refused.push(said) }
                }
            }
        }
        Ok(waiting)
    }

    async fn try_part(
        &self,
        table: &Table,
        rows: &[Row],
        part: &[usize],
        plainly: bool,
    ) -> Result<Tried, ToolError> {
        self.run("SAVEPOINT part").await?;
        let tried = match self.insert(table, rows, part, plainly).await? {
            Ok(count) => self.compare(table, rows, part, count).await?,
            Err(error) => self.is_of_rows(table, &error)?,
        };
        let end = match tried {
            Tried::Done => "RELEASE SAVEPOINT part",
            _ => "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part",
        };
        self.run(end).await?;
        Ok(tried)
    }

    /// Inserts rows, and checks deferred constraints. Returns how many were inserted, or the server's error.
    async fn insert(
        &self,
        table: &Table,
        rows: &[Row],
        part: &[usize],
        plainly: bool,
    ) -> Result<Result<u64, tokio_postgres::Error>, ToolError> {
        let about = &table.about;
        let names: Vec<String> = about.columns.iter().map(|column| quote(&column.name)).collect();
        let casts: Vec<String> =
            table.casts.iter().enumerate().map(|(at, cast)| format!("v.c{at}::{}", cast.put)).collect();
        let lists: Vec<String> = (1..=names.len()).map(|at| format!("${at}::text[]")).collect();
        let given_names: Vec<String> = (0..names.len()).map(|at| format!("c{at}")).collect();
        let sql = format!(
            "INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest({}) AS v({}){}",
            table.quoted.strip_prefix("ONLY ").unwrap_or(&table.quoted),
            names.join(", "),
            casts.join(", "),
            lists.join(", "),
            given_names.join(", "),
            if plainly { "" } else { " ON CONFLICT DO NOTHING" }
        );
        let mut values: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(part.len()); names.len()];
        for at in part {
            let cells = row::read_line(Kind::Postgres, &about.columns, &rows[*at].line)?;
            for (list, cell) in values.iter_mut().zip(cells) {
                list.push(match cell {
                    Cell::Null => None,
                    Cell::Text(text) => Some(text),
                    other => return Err(failed(&format!("{other:?} is not a value of PostgreSQL"))),
                });
            }
        }
        let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|list| list as _).collect();
        let count = match self.client().execute(&sql, &parameters).await {
            Ok(count) => count,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.client().batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await.map(|()| count))
    }

    /// Checks that the rows are stored unchanged. `count` is the number of inserted rows reported by the
    /// server.
    async fn compare(
        &self,
        table: &Table,
        rows: &[Row],
        part: &[usize],
        count: u64,
    ) -> Result<Tried, ToolError> {
        let wanted: Vec<Row> = part.iter().map(|at| rows[*at].clone()).collect();
        let (mut refused, mut missing) = (Vec::new(), Vec::new());
        let mut seen = 0;
        for (at, now) in part.iter().zip(self.find_in(table, &wanted).await?) {
            match now {
                None => missing.push(*at),
                Some(now) => {
                    seen += 1;
                    if now.line != rows[*at].line {
                        refused.push((*at, altered(table, &rows[*at])));
                    }
                }
            }
        }
        if refused.is_empty() && missing.is_empty() {
            return Ok(Tried::Done);
        }
        if count > seen {
            // A row is stored under another key than the one it was inserted with, and it is not known which.
            refused.extend(missing.drain(..).map(|at| (at, displaced(table, &rows[at]))));
        }
        Ok(Tried::Without { refused, missing })
    }

    /// Returns an outcome if the error is due to the content of the rows; otherwise it is an error of the
    /// whole operation.
    fn is_of_rows(&self, table: &Table, error: &tokio_postgres::Error) -> Result<Tried, ToolError> {
        let is_of_rows = |code: &SqlState| {
            *code != SqlState::INSUFFICIENT_PRIVILEGE
                && ["21", "22", "23", "2F", "38", "39", "42", "44", "0A", "P0"].contains(&&code.code()[..2])
        };
        let Some(code) = error.code().filter(|code| is_of_rows(code)) else {
            return Err(self.say_of(table, error, ""));
        };
        let why = match explain(error, "") {
            ToolError::Failed(text) => text,
            other => return Err(other),
        };
        Ok(Tried::Failed {
            why,
            is_taken: [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION].contains(code),
            waits: *code == SqlState::FOREIGN_KEY_VIOLATION,
        })
    }
}
