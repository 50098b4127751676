//! A table of an SQLite file. Keys are compared by the collation of their unique index, so that "the row with
//! this key" is one row, whatever collation the column has.
use super::outcome::{DeleteMode, DeleteOutcome, Put};
use super::table::{Bounds, Filter, Page, Table, TableSpec, quote};
use crate::archive::row::{Cell, Row};
use crate::archive::source::sqlite::statement::{
    Trouble, bind, columns, is_late, one, row_of, select_by_key,
};
use crate::archive::trouble::failed;
use crate::blocking::panic_text;
use crate::domain::ToolError;
use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

mod identity;
mod lock;
mod look;
mod put;
mod remove;
mod statement;

/// GLOB pattern of texts that begin with a date. SQLite's functions also accept a mere time of day (of 1
/// January 2000), a number (of days since 4714 BC) and more as an instant; what those mean in a table is not
/// known.
const DATE_GLOB: &str = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*";
/// How long to wait for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for another archive; the lock of a killed one is released at once.
const ARCHIVE_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// An open file.
pub(in crate::archive) struct Sqlite {
    inner: Arc<Mutex<Inner>>,
    path: PathBuf,
    /// The content of the lock file; known while the lock is held.
    identity: Option<String>,
    /// Interrupts running statements when the caller is dropped.
    interrupted: Arc<AtomicBool>,
}

struct Inner {
    db: Connection,
    /// Held as long as a statement may run, even after the caller was dropped.
    lock: Option<File>,
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }
}

impl Sqlite {
    pub(super) async fn open(path: PathBuf, deadline: Instant) -> Result<Self, ToolError> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let (of, stop) = (path.clone(), interrupted.clone());
        let open = move || -> rusqlite::Result<Connection> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut db = Connection::open_with_flags(&of, flags)?;
            db.busy_timeout(BUSY_TIMEOUT)?;
            // Deletions must survive a power failure, whatever the file's owner prefers. Foreign keys are
            // checked before rows are deleted (see `remove`). Programs may have them disabled, so that
            // dangling references are legal: such rows must be restorable too.
            db.execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY;",
            )?;
            db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            db.progress_handler(
                10_000,
                Some(move || stop.load(Ordering::Relaxed) || Instant::now() > deadline),
            )?;
            Ok(db)
        };
        let db = tokio::task::spawn_blocking(open)
            .await
            .map_err(|error| ToolError::Failed(panic_text(error)))?
            .map_err(|error| tool_error(&error, &path))?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { db, lock: None })), path, identity: None, interrupted })
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Path) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let (inner, path) = (self.inner.clone(), self.path.clone());
        let done = tokio::task::spawn_blocking(move || {
            let inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            // A missing column is an error, instead of being read as a string literal in each row.
            inner.db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            let result = work(&inner.db, &path);
            if !inner.db.is_autocommit() {
                // After an error, roll back whatever is open.
                let _ = inner.db.execute_batch("ROLLBACK");
            }
            result
        });
        done.await.map_err(|error| Trouble::Tool(ToolError::Failed(panic_text(error))))?
    }

    async fn done<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Path) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, ToolError> {
        self.work(work).await.map_err(|trouble| match trouble {
            Trouble::Tool(error) => error,
            Trouble::Sql(error) => tool_error(&error, &self.path),
            Trouble::Ended(_, why) => put::ended(&why),
        })
    }

    /// Locks a file beside the database. The file is never removed: otherwise two processes could hold the
    /// lock.
    pub(super) async fn lock(&mut self, table: &str) -> Result<(), ToolError> {
        let path = self.lock_path()?;
        let cant = |what: String| failed(&format!("{}: {what}", path.display()));
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(|error| cant(format!("the archive's lock can't be made: {error}")))?;
        let deadline = Instant::now() + ARCHIVE_LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(cant(format!("it can't be locked: {error}"))),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(failed(&format!(
                        "another archive works on this database ({table}): it is left to finish; try again later"
                    )));
                }
            }
        }
        let identity = lock::database_id(&mut file, &path);
        self.identity =
            Some(identity.map_err(|error| cant(format!("it can't be read or written: {error}")))?);
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).lock = Some(file);
        Ok(())
    }

    pub(super) async fn table(&self, spec: TableSpec) -> Result<Table, ToolError> {
        self.done(move |db, path| look::look(db, path, &spec)).await
    }

    pub(super) async fn page(
        &self,
        table: Table,
        filter: Filter,
        after: Option<Vec<Cell>>,
        bounds: Bounds,
    ) -> Result<Page, ToolError> {
        let page = self.work(move |db, _| page(db, &table, &filter, after.as_deref(), bounds)).await;
        match page {
            Ok(page) => Ok(page),
            Err(Trouble::Sql(error)) if is_late(&error) => {
                Ok(Page { rows: Vec::new(), end: false, late: true })
            }
            Err(Trouble::Sql(error)) => Err(tool_error(&error, &self.path)),
            Err(Trouble::Tool(error)) => Err(error),
            Err(Trouble::Ended(_, why)) => Err(put::ended(&why)),
        }
    }

    pub(super) async fn find(
        &self,
        table: Table,
        keys: Vec<Vec<Cell>>,
    ) -> Result<Vec<Option<Row>>, ToolError> {
        self.done(move |db, _| {
            let mut select = db.prepare(&select_by_key(&table))?;
            keys.iter().map(|key| one(&mut select, &table, key).map_err(Trouble::Sql)).collect()
        })
        .await
    }

    pub(super) async fn referred(&self, table: Table, rows: Vec<Row>) -> Result<Vec<usize>, ToolError> {
        self.done(move |db, _| remove::referred(db, &table, &rows)).await
    }

    pub(super) async fn remove(
        &self,
        table: Table,
        rows: Vec<Row>,
        how: DeleteMode,
    ) -> Result<DeleteOutcome, ToolError> {
        self.done(move |db, _| remove::remove(db, &table, &rows, how)).await
    }

    /// Inserts rows; if `lasts` is false, it is rolled back.
    pub(super) async fn put(&self, table: Table, rows: Vec<Row>, lasts: bool) -> Result<Put, ToolError> {
        self.done(move |db, _| put::put(db, &table, &rows, lasts)).await
    }

    pub(super) async fn dangling(&self, table: Table) -> Result<u64, ToolError> {
        self.done(move |db, _| look::dangling(db, &table)).await
    }
}

fn tool_error(error: &rusqlite::Error, path: &Path) -> ToolError {
    let text = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "the database is in use by another program: try again later".into()
        }
        Some(ErrorCode::OperationInterrupted) => "the time was up; nothing of this step was done".into(),
        Some(ErrorCode::NotADatabase) => "the file is not a SQLite database, or it is encrypted".into(),
        Some(ErrorCode::ReadOnly) => "it is read-only, and archived rows are deleted from it".into(),
        Some(ErrorCode::DiskFull) => "its disk is full; nothing of this step was done".into(),
        _ => error.to_string(),
    };
    failed(&format!("{}: {text}", path.display()))
}

fn page(
    db: &Connection,
    table: &Table,
    filter: &Filter,
    after: Option<&[Cell]>,
    bounds: Bounds,
) -> Result<Page, Trouble> {
    look::check_filter(db, table, filter)?;
    let mut values: Vec<Cell> = Vec::new();
    let mut place = |value: Cell| {
        values.push(value);
        format!("?{}", values.len())
    };
    let mut tests: Vec<String> =
        table.about.key.iter().map(|key| format!("{} IS NOT NULL", quote(key))).collect();
    for (at, sign) in [(filter.before, "<"), (filter.from, ">=")] {
        if let Some(at) = at {
            let (text, number) = instants(at, table.about.unit.per_second());
            let column = quote(&table.about.column);
            let (text, number) = (place(text), place(number));
            tests.push(format!(
                "CASE typeof({column}) WHEN 'text' THEN {column} GLOB '{DATE_GLOB}' AND unixepoch({column}) {sign} {text} \
                 WHEN 'integer' THEN {column} {sign} {number} WHEN 'real' THEN {column} {sign} {number} ELSE 0 END"
            ));
        }
    }
    for (name, wanted) in &filter.only {
        let list: Vec<String> = wanted.iter().map(|value| place(plain(value))).collect();
        tests.push(format!("{} IN ({})", quote(name), list.join(", ")));
    }
    if let Some(after) = after {
        let list: Vec<String> = after.iter().map(|cell| place(cell.clone())).collect();
        let sign = if bounds.backwards { "<" } else { ">" };
        tests.push(format!("({}) {sign} ({})", table.keys.join(", "), list.join(", ")));
    }
    let order = if bounds.backwards { " DESC" } else { "" };
    let order: Vec<String> = table.keys.iter().map(|key| format!("{key}{order}")).collect();
    let text = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}",
        columns(table),
        table.quoted,
        tests.join(" AND "),
        order.join(", "),
        bounds.rows
    );
    let mut statement = db.prepare(&text)?;
    bind(&mut statement, &values)?;
    let mut found = statement.raw_query();
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let row = row_of(table, row)?;
        bytes += row.line.len();
        rows.push(row);
        if bytes >= bounds.bytes {
            return Ok(Page { rows, end: false, late: false });
        }
    }
    let end = rows.len() < bounds.rows;
    Ok(Page { rows, end, late: false })
}

/// Returns an instant as compared with texts and with numbers: in whole seconds, so that no row counts as
/// older than it is.
fn instants(at: Timestamp, per_second: i64) -> (Cell, Cell) {
    let seconds = at.as_second();
    (Cell::Integer(seconds), Cell::Integer(seconds.saturating_mul(per_second)))
}

fn plain(value: &serde_json::Value) -> Cell {
    match value {
        serde_json::Value::Bool(flag) => Cell::Integer((*flag).into()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cell::Integer(whole),
            (None, Some(real)) => Cell::Real(real),
            (None, None) => Cell::Null,
        },
        serde_json::Value::String(text) => Cell::Text(text.clone()),
        _ => Cell::Null,
    }
}
