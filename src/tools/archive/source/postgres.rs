//! A table of a PostgreSQL server. Every value is read as the text that the server writes for it, and put back
//! from it, so that any type survives. One connection, which also holds the lock: it is free again when the
//! server has ended whatever that connection still did.
use super::{
    Bounds, Filter, Page, Put, Removed, Table, TableSpec, altered, kept, other_columns, quote, refers,
};
use crate::domain::SecretRef;
use crate::tools::ToolError;
use crate::tools::archive::row::{self, Cell, Column, Kind, Row, write_line};
use crate::tools::archive::{failed, point};
use crate::tools::sql::link::Link;
use crate::tools::sql::postgres::{config, explain};
use futures_util::TryStreamExt;
use std::collections::HashMap;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

mod identity;
mod look;
mod page;

/// How long another archive, or what a killed one has left on the server, is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);
/// How often a chunk is tried when the server ends its transaction because of others.
const TRIES: u32 = 4;
/// How values are written: the same on each server, with all digits. Rows that a policy hides would be taken
/// for archived ones, so where one would hide any, the server says so instead. What is deleted must stay
/// deleted when the server falls.
const SETTINGS: &str = "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; \
    SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmlbinary = 'base64'; \
    SET lc_monetary = 'C'; SET row_security = off; SET synchronous_commit = on; SET lock_timeout = '10s'; \
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
    SET idle_in_transaction_session_timeout = '60s'; \
    SET quote_all_identifiers = off";

/// An open connection.
pub(in crate::tools::archive) struct Postgres {
    link: Link,
    /// Where it is, without user and password.
    source: String,
    deadline: Instant,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Each step is waited for, so that nothing runs now, unless the call itself was dropped: then the
        // connection's end is enough, and a cancellation could only come too late.
        self.link.is_done();
    }
}

impl Postgres {
    pub(super) async fn open(
        url: &str,
        password: Option<&SecretRef>,
        deadline: Instant,
    ) -> Result<Self, ToolError> {
        let config = config(url, password, Duration::from_secs(30)).await?;
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split(['?', '#']).next().unwrap_or_default();
        let source = format!("postgres://{}", host.rsplit_once('@').map_or(host, |(_, host)| host));
        let opening = tokio::time::timeout(Duration::from_secs(30), Link::open_for(config, usize::MAX)).await;
        let link = opening.map_err(|_| failed("the database did not answer within 30 s"))??;
        let db = Self { link, source, deadline };
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().clamp(1, i32::MAX as u128);
        let set = format!("{SETTINGS}; SET statement_timeout = {left}");
        db.client().batch_execute(&set).await.map_err(|error| explain(&error, &set))?;
        // Newer servers notice that we are gone also while they work; older ones do without.
        let _ = db.client().batch_execute("SET client_connection_check_interval = '1s'").await;
        Ok(db)
    }

    fn client(&self) -> &Client {
        &self.link.client
    }

    pub(super) async fn lock(&mut self, table: &str) -> Result<(), ToolError> {
        let sql = "SELECT pg_try_advisory_lock(hashtextextended('bgagent archive ' || $1::text, 0))";
        let until = (Instant::now() + LOCK_PATIENCE).min(self.deadline);
        loop {
            let row = self.client().query_one(sql, &[&table]).await.map_err(|error| explain(&error, sql))?;
            if row.get(0) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(failed(&format!(
                    "another archive works on table {table} of this database: it is left to finish; try again later"
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn table(&self, spec: &TableSpec) -> Result<Table, ToolError> {
        let (oid, quoted) = self.find_table(spec).await?;
        // With an empty path, names of types are written whole, so that they can be read anywhere.
        self.run("BEGIN READ ONLY; SET LOCAL search_path = ''").await?;
        let mut looked = self.look(spec, oid, quoted).await;
        if let Ok(table) = looked {
            looked = self.named(oid, table).await;
        }
        self.run("ROLLBACK").await?;
        looked
    }

    async fn run(&self, sql: &str) -> Result<(), ToolError> {
        self.client().batch_execute(sql).await.map_err(|error| explain(&error, sql))
    }

    pub(super) async fn page(
        &self,
        table: &Table,
        filter: &Filter,
        after: Option<&[Cell]>,
        bounds: Bounds,
    ) -> Result<Page, ToolError> {
        let (sql, values) = page::statement(table, filter, after, bounds.rows);
        let say = |error: tokio_postgres::Error| explain(&error, &sql);
        let statement = self.client().prepare(&sql).await.map_err(say)?;
        let found = self.client().query_raw(&statement, values.into_iter().map(page::Sent)).await;
        let mut found = match found {
            Ok(found) => pin!(found),
            Err(error) => return late_or(&error, &sql),
        };
        let (mut rows, mut bytes) = (Vec::new(), 0);
        loop {
            match found.try_next().await {
                Ok(Some(row)) => {
                    let row = row_of(table, &row)?;
                    bytes += row.line.len();
                    rows.push(row);
                    if bytes >= bounds.bytes {
                        return Ok(Page { rows, end: false, late: false });
                    }
                }
                Ok(None) => {
                    let end = rows.len() < bounds.rows;
                    return Ok(Page { rows, end, late: false });
                }
                Err(error) => return late_or(&error, &sql),
            }
        }
    }

    pub(super) async fn find(&self, table: &Table, rows: &[Row]) -> Result<Vec<Option<Row>>, ToolError> {
        let mut all: Vec<Option<Row>> = vec![None; rows.len()];
        let sql = format!(
            "SELECT {}, k.place FROM {} AS t JOIN {} ON {}",
            columns(table),
            table.quoted,
            keys_given(table),
            keys_equal(table)
        );
        let statement = self.prepare(&sql).await?;
        for (from, rows) in rows.chunks(10_000).enumerate() {
            let lists = key_lists(rows)?;
            let found = self.client().query(&statement, &given(&lists)).await;
            for found in found.map_err(|error| explain(&error, &sql))? {
                let place: i64 = found.get(table.about.columns.len());
                let place = from * 10_000 + usize::try_from(place).unwrap_or(1) - 1;
                all[place] = Some(row_of(table, &found)?);
            }
        }
        Ok(all)
    }

    async fn prepare(&self, sql: &str) -> Result<Statement, ToolError> {
        self.client().prepare(sql).await.map_err(|error| explain(&error, sql))
    }

    pub(super) async fn remove(&self, table: &Table, rows: &[Row]) -> Result<Removed, ToolError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.run("BEGIN READ WRITE ISOLATION LEVEL READ COMMITTED").await?;
            match self.remove_in(table, rows).await {
                Ok(Removed::Done) => return self.run("COMMIT").await.map(|()| Removed::Done),
                Ok(Removed::Differ(places)) => {
                    self.run("ROLLBACK").await?;
                    // What is still there as it was can't be deleted at all.
                    let differ: Vec<Row> = places.iter().map(|at| rows[*at].clone()).collect();
                    let now = self.find(table, &differ).await?;
                    let same = |(row, now): &(&Row, Option<Row>)| {
                        now.as_ref().is_some_and(|now| now.line == row.line)
                    };
                    return match differ.iter().zip(now).find(same) {
                        Some((row, _)) => Err(kept(table, row)),
                        None => Ok(Removed::Differ(places)),
                    };
                }
                Err(Trouble { others: true, .. }) if tries < TRIES => {
                    self.run("ROLLBACK").await?;
                    tokio::time::sleep(Duration::from_millis(200) * tries).await;
                }
                Err(Trouble { error, .. }) => {
                    let _ = self.run("ROLLBACK").await;
                    return Err(error);
                }
            }
        }
    }

    /// Deletes and looks at what was deleted, in one statement: what it gives was locked.
    async fn remove_in(&self, table: &Table, rows: &[Row]) -> Result<Removed, Trouble> {
        let lists = key_lists(rows)?;
        for referrer in &table.referrers {
            let lock = format!(
                "SELECT 1 FROM {} AS t JOIN {} ON {} FOR UPDATE OF t",
                table.quoted,
                keys_given(table),
                keys_equal(table)
            );
            self.client().execute(&lock, &given(&lists)).await.map_err(|error| trouble(&error, &lock))?;
            let join: Vec<String> =
                referrer.columns.iter().map(|(from, to)| format!("c.{from} = t.{to}")).collect();
            let ask = format!(
                "SELECT 1 FROM {} AS c JOIN {} AS t ON {} JOIN {} ON {} LIMIT 1",
                referrer.table,
                table.quoted,
                join.join(" AND "),
                keys_given(table),
                keys_equal(table)
            );
            let found = self.client().query_opt(&ask, &given(&lists)).await;
            if found.map_err(|error| trouble(&error, &ask))?.is_some() {
                return Err(refers(referrer).into());
            }
        }
        let sql = format!(
            "DELETE FROM {} AS t USING {} WHERE {} RETURNING {}",
            table.quoted,
            keys_given(table),
            keys_equal(table),
            columns(table)
        );
        let statement = self.prepare(&sql).await?;
        let parameters = given(&lists);
        let deleted = self.client().query_raw(&statement, parameters).await;
        let mut deleted = pin!(deleted.map_err(|error| trouble(&error, &sql))?);
        let places: HashMap<Vec<String>, usize> =
            rows.iter().enumerate().map(|(at, row)| (texts(&row.key), at)).collect();
        let mut same = vec![false; rows.len()];
        let mut count = 0;
        while let Some(row) = deleted.try_next().await.map_err(|error| trouble(&error, &sql))? {
            let row = row_of(table, &row)?;
            count += 1;
            if let Some(at) = places.get(&texts(&row.key)) {
                same[*at] = rows[*at].line == row.line;
            }
        }
        point("deleting");
        let differ: Vec<usize> =
            same.iter().enumerate().filter(|(_, same)| !**same).map(|(at, _)| at).collect();
        if !differ.is_empty() {
            return Ok(Removed::Differ(differ));
        }
        if count > rows.len() {
            return Err(failed(&format!(
                "the key of {} does not tell its rows apart: with {} rows {count} would be deleted; nothing was \
                 deleted",
                table.about.table,
                rows.len()
            ))
            .into());
        }
        self.is_done_by_now(table, rows).await?;
        Ok(Removed::Done)
    }

    /// After a deletion, which keeps others from altering the table: are its columns those that were read, and are
    /// the rows gone?
    async fn is_done_by_now(&self, table: &Table, rows: &[Row]) -> Result<(), ToolError> {
        let (names, does_more) = self.now(table).await?;
        if names != table.all {
            return Err(other_columns(table));
        }
        if does_more {
            // a trigger or a rule may have put a row in again
            let there = self.find(table, rows).await?;
            if let Some((row, _)) = rows.iter().zip(&there).find(|(_, there)| there.is_some()) {
                return Err(kept(table, row));
            }
        }
        Ok(())
    }

    pub(super) async fn put(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        self.run("BEGIN READ WRITE ISOLATION LEVEL READ COMMITTED").await?;
        let put = self.put_in(table, rows).await;
        self.run(if put.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        put
    }

    async fn put_in(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        let about = &table.about;
        let names: Vec<String> = about.columns.iter().map(|column| quote(&column.name)).collect();
        let casts: Vec<String> =
            table.casts.iter().enumerate().map(|(at, kind)| format!("v.c{at}::{kind}")).collect();
        let lists: Vec<String> = (1..=names.len()).map(|at| format!("${at}::text[]")).collect();
        let given_names: Vec<String> = (0..names.len()).map(|at| format!("c{at}")).collect();
        let of_key = |name: &String| about.columns.iter().find(|column| column.name == *name);
        let keys: Vec<String> = about.key.iter().filter_map(of_key).map(as_text).collect();
        let sql = format!(
            "INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest({}) AS v({}) \
             ON CONFLICT DO NOTHING RETURNING {}",
            table.quoted.strip_prefix("ONLY ").unwrap_or(&table.quoted),
            names.join(", "),
            casts.join(", "),
            lists.join(", "),
            given_names.join(", "),
            keys.join(", ")
        );
        let mut values: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(rows.len()); names.len()];
        for row in rows {
            let cells = row::read_line(Kind::Postgres, &about.columns, &row.line)?;
            for (list, cell) in values.iter_mut().zip(cells) {
                list.push(match cell {
                    Cell::Null => None,
                    Cell::Text(text) => Some(text),
                    other => return Err(failed(&format!("{other:?} is no value of PostgreSQL"))),
                });
            }
        }
        let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|list| list as _).collect();
        let fresh = self.client().query(&sql, &parameters).await.map_err(|error| explain(&error, ""))?;
        let fresh: std::collections::HashSet<Vec<String>> =
            fresh.iter().map(|row| (0..keys.len()).map(|at| row.get(at)).collect()).collect();
        let mut put = Put::default();
        for (at, (row, now)) in rows.iter().zip(self.find(table, rows).await?).enumerate() {
            let same = now.is_some_and(|now| now.line == row.line);
            match (fresh.contains(&texts(&row.key)), same) {
                (true, true) => put.fresh += 1,
                (false, true) => put.there += 1,
                (true, false) => return Err(altered(table, row)),
                (false, false) => put.conflicts.push(at),
            }
        }
        if put.fresh != fresh.len() as u64 {
            // a row stands under another key than the one that was put
            return Err(failed(&format!(
                "a trigger of {} changes the keys of rows; nothing was put",
                about.table
            )));
        }
        Ok(put)
    }
}

/// What went wrong in a transaction.
struct Trouble {
    error: ToolError,
    /// It was because of what others did at that time: a further try may work.
    others: bool,
}

impl From<ToolError> for Trouble {
    fn from(error: ToolError) -> Self {
        Self { error, others: false }
    }
}

fn trouble(error: &tokio_postgres::Error, sql: &str) -> Trouble {
    let code = error.code();
    let others = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
    let others = code.is_some_and(|code| others.contains(code));
    let said = match (code, explain(error, sql)) {
        (Some(code), ToolError::Failed(text)) if *code == SqlState::FOREIGN_KEY_VIOLATION => {
            failed(&format!(
                "rows of another table refer to rows that are to be archived: archive or remove those first, nothing of \
             this chunk was deleted ({text})"
            ))
        }
        (Some(code), _) if *code == SqlState::LOCK_NOT_AVAILABLE => {
            failed("rows that are to be archived were locked by another program for 10 s: try again later")
        }
        (_, other) => other,
    };
    Trouble { error: said, others }
}

/// The time of the run was up while rows were looked for: that is no failure.
fn late_or(error: &tokio_postgres::Error, sql: &str) -> Result<Page, ToolError> {
    if error.code() == Some(&SqlState::QUERY_CANCELED) {
        return Ok(Page { rows: Vec::new(), end: false, late: true });
    }
    Err(explain(error, sql))
}

/// The columns as texts.
fn columns(table: &Table) -> String {
    table.about.columns.iter().map(as_text).collect::<Vec<_>>().join(", ")
}

/// A column as a text, as its type writes it. A cast would cut the blanks off the end of a `character`, also of one
/// by a domain, and a type that somebody made may have a cast of its own: names of such types have a schema.
fn as_text(column: &Column) -> String {
    let name = format!("t.{}", quote(&column.name));
    let is_character =
        column.kind.starts_with("character(") || column.kind == "bpchar" || column.kind == "character";
    match is_character || column.kind.contains('.') {
        // A composite whose fields are all NULL is none, whatever `IS NULL` says.
        true => format!("CASE WHEN pg_catalog.num_nulls({name}) = 0 THEN pg_catalog.concat({name}) END"),
        false => format!("{name}::text"),
    }
}

/// The keys that are given, as a table `k`.
fn keys_given(table: &Table) -> String {
    let count = table.keys.len();
    let lists: Vec<String> = (1..=count).map(|at| format!("${at}::text[]")).collect();
    let names: Vec<String> = (0..count).map(|at| format!("k{at}")).collect();
    format!("unnest({}) WITH ORDINALITY AS k({}, place)", lists.join(", "), names.join(", "))
}

fn keys_equal(table: &Table) -> String {
    let kind = |name: &String| {
        let place = table.about.columns.iter().position(|column| column.name == *name);
        place.map_or("text", |at| table.casts[at].as_str())
    };
    let parts = table.keys.iter().zip(&table.about.key).enumerate();
    let parts = parts.map(|(at, (key, name))| format!("{key} = k.k{at}::{}", kind(name)));
    parts.collect::<Vec<_>>().join(" AND ")
}

/// The rows' keys, as a list for each column.
fn key_lists(rows: &[Row]) -> Result<Vec<Vec<String>>, ToolError> {
    let mut lists: Vec<Vec<String>> = Vec::new();
    for row in rows {
        lists.resize(row.key.len(), Vec::new());
        for (list, text) in lists.iter_mut().zip(texts(&row.key)) {
            list.push(text);
        }
    }
    Ok(lists)
}

fn given(lists: &[Vec<String>]) -> Vec<&(dyn ToSql + Sync)> {
    lists.iter().map(|list| list as _).collect()
}

fn texts(key: &[Cell]) -> Vec<String> {
    key.iter().map(row::shown).collect()
}

fn row_of(table: &Table, found: &tokio_postgres::Row) -> Result<Row, ToolError> {
    let cells: Vec<Cell> = (0..table.about.columns.len())
        .map(|at| {
            let text: Option<String> = found.try_get(at).map_err(|error| explain(&error, ""))?;
            Ok(text.map_or(Cell::Null, Cell::Text))
        })
        .collect::<Result<_, ToolError>>()?;
    let mut line = Vec::new();
    write_line(Kind::Postgres, &table.about.columns, cells.iter(), &mut line);
    Ok(table.about.row_of(&cells, line))
}
