//! A table of a PostgreSQL server. Every value is read as the server's text representation and inserted from
//! that text, so that any type is preserved. One connection is used, which also holds the lock: the lock is
//! released once the server has ended whatever that connection was still executing.
use super::table::{Bounds, Filter, Page, Table, TableSpec};
use crate::archive::row::{Cell, Row};
use crate::archive::trouble::explain;
use crate::archive::trouble::failed;
use crate::domain::{SecretRef, ToolError};
use crate::postgres::{Address, Link};
use futures_util::TryStreamExt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use text::{columns, given, key_lists, keys_equal, keys_given, row_of};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

mod identity;
mod look;
mod page;
mod pooler;
mod put;
mod remove;
mod text;

/// How long to wait for another archive, or for what a killed one has left running on the server.
const ARCHIVE_LOCK_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait for another program's lock.
const ROW_LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Values are represented the same on each server, with all digits. Rows hidden by a row security policy
/// would be taken for archived ones, so the server reports an error instead of hiding any. Deletions must
/// survive a crash of the server. All settings last for one transaction: a pooler may lend the connection to
/// others afterwards.
const SETTINGS: &str = "SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL IntervalStyle = 'postgres'; \
    SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; \
    SET LOCAL xmlbinary = 'base64'; SET LOCAL xmloption = 'content'; SET LOCAL lc_monetary = 'C'; \
    SET LOCAL array_nulls = on; SET LOCAL row_security = off; SET LOCAL synchronous_commit = on; \
    SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL quote_all_identifiers = off";
/// Modes of read-only and of writing transactions.
const READS: &str = "READ ONLY ISOLATION LEVEL READ COMMITTED";
const WRITES: &str = "READ WRITE ISOLATION LEVEL READ COMMITTED";

/// An open connection.
pub(in crate::archive) struct Postgres {
    link: Link,
    /// The address, without user and password.
    source: String,
    deadline: Instant,
    /// Process id of our server process.
    pid: i32,
    /// Newer servers detect a closed client connection even while they execute a statement.
    detects_disconnect: bool,
    /// A trial transaction is open.
    trying: AtomicBool,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Each step is awaited, so nothing is running now unless the call itself was dropped: then closing
        // the connection is enough, and a cancel request could only come too late.
        self.link.is_done();
    }
}

impl Postgres {
    pub(super) async fn open(
        url: &str,
        password: Option<&SecretRef>,
        deadline: Instant,
    ) -> Result<Self, ToolError> {
        let address = Address::of(url, password, Duration::from_secs(30)).await?;
        let (again, source) = (address.clone(), address.place.clone());
        let opening =
            tokio::time::timeout(Duration::from_secs(30), Link::open_for(address, usize::MAX)).await;
        let silent = || failed(&format!("{source}: the database did not answer within 30 s"));
        let link = opening.map_err(|_| silent())??;
        let mut db = Self {
            link,
            source,
            deadline,
            pid: 0,
            detects_disconnect: false,
            trying: AtomicBool::new(false),
        };
        let sql = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.inet_client_port(), \
             pg_catalog.current_setting('client_connection_check_interval', true) IS NOT NULL";
        let row = db.client().query_one(sql, &[]).await.map_err(|error| db.say(&error, sql))?;
        (db.pid, db.detects_disconnect) = (row.get(0), row.get(2));
        let port: Option<i32> = row.get(1);
        // A pooler or proxy connects to the server from its own port.
        if port.is_none() || port != db.link.local_port().map(i32::from) {
            db.refuse_pooler(again).await?;
        }
        Ok(db)
    }

    /// Begins a transaction with its own settings.
    async fn begin(&self, how: &str, max_wait: Duration) -> Result<(), ToolError> {
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis();
        let check_interval = match self.detects_disconnect {
            true => "SET LOCAL client_connection_check_interval = '1s'; ",
            false => "",
        };
        let sql = format!(
            "BEGIN {how}; {SETTINGS}; {check_interval}SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}",
            max_wait.as_millis(),
            left.clamp(1, i32::MAX as u128)
        );
        self.run(&sql).await
    }

    /// Runs queries in a read-only transaction, or in the trial transaction if one is open.
    async fn reading<T>(&self, work: impl Future<Output = Result<T, ToolError>>) -> Result<T, ToolError> {
        if self.trying.load(Ordering::Relaxed) {
            return work.await;
        }
        self.begin(READS, ROW_LOCK_TIMEOUT).await?;
        let result = work.await;
        let ended = self.run("ROLLBACK").await;
        result.and_then(|result| ended.map(|()| result))
    }

    /// Adds the source to an error.
    fn say(&self, error: &tokio_postgres::Error, sql: &str) -> ToolError {
        self.about("", explain(error, sql))
    }

    /// Adds the table and the source to an error.
    fn say_of(&self, table: &Table, error: &tokio_postgres::Error, sql: &str) -> ToolError {
        self.about(&format!("table {} of ", table.about.table), explain(error, sql))
    }

    fn about(&self, what: &str, error: ToolError) -> ToolError {
        match error {
            ToolError::Failed(text) => failed(&format!("{what}{}: {text}", self.source)),
            other => other,
        }
    }

    fn client(&self) -> &Client {
        &self.link.client
    }

    pub(super) async fn lock(&mut self, table: &str) -> Result<(), ToolError> {
        let sql = "SELECT pg_try_advisory_lock(hashtextextended('bgagent archive ' || $1::text, 0))";
        let until = (Instant::now() + ARCHIVE_LOCK_TIMEOUT).min(self.deadline);
        loop {
            let row = self.client().query_one(sql, &[&table]).await.map_err(|error| self.say(&error, sql))?;
            if row.get(0) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(failed(&format!(
                    "another archive works on table {table} of {}: it is left to finish; try again later",
                    self.source
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn table(&self, spec: &TableSpec) -> Result<Table, ToolError> {
        let look = async {
            let (oid, quoted) = self.find_table(spec).await?;
            // With an empty search path, type names are schema-qualified, so that they are valid anywhere.
            self.run("SET LOCAL search_path = ''").await?;
            let table = self.look(spec, oid, quoted).await?;
            self.named(oid, table).await
        };
        self.reading(look).await
    }

    async fn run(&self, sql: &str) -> Result<(), ToolError> {
        self.client().batch_execute(sql).await.map_err(|error| self.say(&error, ""))
    }

    pub(super) async fn page(
        &self,
        table: &Table,
        filter: &Filter,
        after: Option<&[Cell]>,
        bounds: Bounds,
    ) -> Result<Page, ToolError> {
        let (sql, values) = page::statement(table, filter, after, bounds);
        self.reading(self.page_in(table, &sql, values, bounds)).await
    }

    async fn page_in(
        &self,
        table: &Table,
        sql: &str,
        values: Vec<Option<String>>,
        bounds: Bounds,
    ) -> Result<Page, ToolError> {
        // The time may run out while the server searches for rows: that is not a failure.
        let late_or = |error: tokio_postgres::Error| match error.code() == Some(&SqlState::QUERY_CANCELED) {
            true => Ok(Page { rows: Vec::new(), end: false, late: true }),
            false => Err(self.say_of(table, &error, sql)),
        };
        let statement = match self.client().prepare(sql).await {
            Ok(statement) => statement,
            Err(error) => return late_or(error),
        };
        let found = self.client().query_raw(&statement, values.into_iter().map(page::Sent)).await;
        let mut found = match found {
            Ok(found) => pin!(found),
            Err(error) => return late_or(error),
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
                Err(error) => return late_or(error),
            }
        }
    }

    pub(super) async fn find(&self, table: &Table, rows: &[Row]) -> Result<Vec<Option<Row>>, ToolError> {
        self.reading(self.find_in(table, rows)).await
    }

    async fn find_in(&self, table: &Table, rows: &[Row]) -> Result<Vec<Option<Row>>, ToolError> {
        let mut all: Vec<Option<Row>> = vec![None; rows.len()];
        let sql = format!(
            "SELECT {}, k.place FROM {} AS t JOIN {} ON {}",
            columns(table),
            table.quoted,
            keys_given(table),
            keys_equal(table)
        );
        let say = |error: tokio_postgres::Error| self.say_of(table, &error, &sql);
        let statement = self.client().prepare(&sql).await.map_err(say)?;
        for (from, rows) in rows.chunks(10_000).enumerate() {
            let lists = key_lists(rows);
            for found in self.client().query(&statement, &given(&lists)).await.map_err(say)? {
                let place: i64 = found.get(table.about.columns.len());
                let place = from * 10_000 + usize::try_from(place).unwrap_or(1) - 1;
                all[place] = Some(row_of(table, &found)?);
            }
        }
        Ok(all)
    }

    pub(super) async fn referred(&self, table: &Table, rows: &[Row]) -> Result<Vec<usize>, ToolError> {
        self.reading(self.referred_in(table, rows)).await
    }
}
