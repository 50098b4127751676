//! A statement on an SQLite file, on a thread that ends at its deadline.
use super::rows::Rows;
use super::statement::{Statement, bytes_json, bytes_of, float_json};
use super::{guard, names};
use crate::blocking::panic_text;
use crate::domain::{SqlParams, SqlSettings, ToolError, size};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Batch, Connection, ErrorCode, InterruptHandle, OpenFlags};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Ends the thread when the caller is dropped: by the progress handler, and by an interrupt for the few loops
/// that run in one step.
#[derive(Default)]
struct CancelOnDrop {
    abandoned: Arc<AtomicBool>,
    handle: Arc<Mutex<Option<InterruptHandle>>>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        if let Some(handle) = &*self.handle.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}

pub(super) async fn run(
    path: PathBuf,
    settings: SqlSettings,
    statement: Statement,
    bound: Duration,
) -> Result<Value, ToolError> {
    let cancel_on_drop = CancelOnDrop::default();
    let place = path.display().to_string();
    let (abandoned, handle) = (cancel_on_drop.abandoned.clone(), cancel_on_drop.handle.clone());
    let deadline = Instant::now() + bound;
    let changing = Arc::new(AtomicBool::new(false));
    let begun = changing.clone();
    let work = tokio::task::spawn_blocking(move || {
        let open =
            Open::new(&path, &settings, deadline, abandoned).map_err(|error| open_error(&path, &error))?;
        *handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(open.connection.get_interrupt_handle());
        open.run(&settings, &statement, &begun)
    });
    // The thread ends itself at the deadline; shortly afterwards it is no longer awaited.
    let result = outcome(work, &changing, bound + Duration::from_millis(200)).await;
    // Names the database.
    result.map_err(|error| match error {
        ToolError::Failed(why) if !why.starts_with(&place) => failed(&format!("{place}: {why}")),
        ToolError::Unsure(why) => ToolError::Unsure(format!("{place}: {why}")),
        other => other,
    })
}

/// Returns the thread's result. An interrupted change is rolled back, unless the thread was just committing
/// it: for a thread that does not answer, that is unknown.
pub(super) async fn outcome(
    work: JoinHandle<Result<Value, ToolError>>,
    changing: &AtomicBool,
    max_wait: Duration,
) -> Result<Value, ToolError> {
    let why = match tokio::time::timeout(max_wait, work).await {
        Ok(Ok(result)) => return result,
        Ok(Err(error)) => panic_text(error),
        Err(_) => "the statement took too long: make it smaller, or use an index".into(),
    };
    Err(if changing.load(Ordering::Relaxed) {
        ToolError::Unsure(format!("{why}; nobody knows whether the change was made"))
    } else {
        ToolError::Failed(why)
    })
}

struct Open {
    connection: Connection,
    reason: guard::Reason,
}

impl Open {
    fn new(
        path: &Path,
        settings: &SqlSettings,
        deadline: Instant,
        abandoned: Arc<AtomicBool>,
    ) -> rusqlite::Result<Self> {
        let how = if settings.mode.writes() {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        } else {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        };
        let mut connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let reason = guard::protect(&mut connection, settings, deadline, abandoned)?;
        let max_wait = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(5));
        connection.busy_timeout(max_wait)?;
        Ok(Self { connection, reason })
    }

    /// Runs the statement. `changing` is set before a statement begins that changes something.
    fn run(
        &self,
        settings: &SqlSettings,
        statement: &Statement,
        changing: &AtomicBool,
    ) -> Result<Value, ToolError> {
        let said = |error: rusqlite::Error| self.explain(error, settings);
        let word = names::first_word(&statement.text);
        allowed(&word, settings)?;
        let reads_schema = word == "pragma";
        let mut batch = Batch::new(&self.connection, &statement.text);
        let mut prepared = match batch.next() {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Err(ToolError::Arguments("`sql` holds no statement".into())),
            Err(error) => return Err(said(error)),
        };
        // A second statement is refused, whatever it is.
        if !matches!(batch.next(), Ok(None)) {
            return Err(ToolError::Arguments("one statement per call: more than one was given".into()));
        }
        let reads = prepared.readonly();
        if !settings.mode.writes() && !reads {
            return Err(failed("this database is read-only here"));
        }
        if prepared.is_explain() == 0 && !reads_schema {
            guard::fit(&self.connection, &statement.text).map_err(said)?;
        }
        bind(&mut prepared, &statement.params)?;
        let names: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        let mut rows = Rows::new(names.iter().map(String::as_str), size(settings.max_rows));
        changing.store(!reads, Ordering::Relaxed);
        let mut found = prepared.raw_query();
        while let Some(row) = found.next().map_err(said)? {
            if rows.is_full() && reads {
                break;
            }
            let length = |at| match row.get_ref(at) {
                Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.len(),
                _ => 0,
            };
            // A long row is not converted to JSON only to be left out.
            if rows.has_room((0..names.len()).map(length).sum()) {
                rows.push((0..names.len()).map(|at| row.get_ref(at).map_or(Value::Null, json_of)));
            }
        }
        drop(found);
        let changed = if reads { 0 } else { self.connection.changes() };
        Ok(rows.into_result(Some(changed)))
    }

    /// Converts an error, with advice.
    fn explain(&self, error: rusqlite::Error, settings: &SqlSettings) -> ToolError {
        if let Some(why) = self.reason.take() {
            return failed(&why);
        }
        let text = match error {
            rusqlite::Error::SqlInputError { msg, sql, offset, .. } => {
                let at = usize::try_from(offset).ok().map(|at| sql.floor_char_boundary(at));
                let near = at.map(|at| sql[at..].chars().take(30).collect::<String>());
                match near.filter(|near| !near.trim().is_empty()) {
                    Some(near) => format!("{msg}, at `{}`", near.trim()),
                    None => msg,
                }
            }
            rusqlite::Error::SqliteFailure(cause, text) => match cause.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    "the database is in use by another program: try again later".into()
                }
                ErrorCode::OperationInterrupted => "the statement was ended before it was done".into(),
                ErrorCode::NotADatabase => "the file is not a SQLite database, or it is encrypted".into(),
                ErrorCode::ReadOnly => "the database is read-only".into(),
                ErrorCode::TooBig => {
                    "a value is too long: take a part of it with substr(), or compute with fewer long values at a time"
                        .into()
                }
                _ => text.unwrap_or_else(|| cause.to_string()),
            },
            other => other.to_string(),
        };
        if text.starts_with("no such table") {
            return failed(&format!("{text}; there are: {}", self.tables(settings).join(", ")));
        }
        failed(&text)
    }

    /// Returns the tables that may be queried, as many as fit into an error.
    fn tables(&self, settings: &SqlSettings) -> Vec<String> {
        const MAX_TABLES: usize = 30;
        if let Some(tables) = guard::tables(settings) {
            return tables.into_iter().take(MAX_TABLES).collect();
        }
        let all =
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'";
        let names = || {
            let mut statement = self.connection.prepare(all)?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            names.take(MAX_TABLES).collect::<rusqlite::Result<Vec<_>>>()
        };
        names().unwrap_or_default()
    }
}

/// Refuses statements for which the authorizer is not called, such as an empty REINDEX.
fn allowed(word: &str, settings: &SqlSettings) -> Result<(), ToolError> {
    let reads = ["select", "with", "values", "explain", "pragma"].contains(&word);
    let changes = ["insert", "replace", "update", "delete"].contains(&word);
    let defines = ["create", "drop", "alter", "reindex", "analyze"].contains(&word);
    if reads || word.is_empty() || settings.mode.writes() && (changes || settings.ddl && defines) {
        return Ok(());
    }
    let why = match (settings.mode.writes(), defines) {
        (false, _) => {
            "this database is read-only here: use SELECT, WITH, VALUES, EXPLAIN or PRAGMA table_info"
        }
        (true, true) => "tables can't be created, changed or dropped here",
        (true, false) => "only SELECT, INSERT, REPLACE, UPDATE and DELETE run here",
    };
    Err(failed(why))
}

fn open_error(path: &Path, error: &rusqlite::Error) -> ToolError {
    failed(&format!(
        "{} can't be opened: {error}; check its owner and mode, and those of its folder",
        path.display()
    ))
}

fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}

/// Binds the parameters; it is an error if the number of values differs.
fn bind(statement: &mut rusqlite::Statement<'_>, params: &SqlParams) -> Result<(), ToolError> {
    let refuse = |why: String| ToolError::Arguments(format!("`params`: {why}"));
    let count = statement.parameter_count();
    let mut values = Vec::with_capacity(count);
    match params {
        SqlParams::List(list) => {
            if list.len() != count {
                return Err(refuse(format!(
                    "the statement has {count} parameters, and {} values were given",
                    list.len()
                )));
            }
            for (at, value) in list.iter().enumerate() {
                values.push(sql_value(value).map_err(|why| refuse(format!("value {}: {why}", at + 1)))?);
            }
        }
        SqlParams::Named(map) => {
            let mut used = Vec::new();
            for at in 1..=count {
                let name = statement.parameter_name(at).unwrap_or("?");
                let bare = name.trim_start_matches([':', '@', '$', '?']);
                let found = map.get_key_value(bare).or_else(|| map.get_key_value(name));
                let Some((key, value)) = found else {
                    return Err(refuse(format!("`{bare}` is missing")));
                };
                used.push(key);
                values.push(sql_value(value).map_err(|why| refuse(format!("`{bare}`: {why}")))?);
            }
            if let Some(extra) = map.keys().find(|key| !used.contains(key)) {
                return Err(refuse(format!("the statement has no parameter `{extra}`")));
            }
        }
    }
    for (at, value) in values.into_iter().enumerate() {
        let bound = statement.raw_bind_parameter(at + 1, ToSqlOutput::Owned(value));
        bound.map_err(|error| refuse(format!("value {}: {error}", at + 1)))?;
    }
    Ok(())
}

fn sql_value(value: &Value) -> Result<SqlValue, String> {
    if let Some(bytes) = bytes_of(value) {
        return bytes.map(SqlValue::Blob);
    }
    Ok(match value {
        Value::Null => SqlValue::Null,
        Value::Bool(flag) => SqlValue::Integer((*flag).into()),
        Value::String(text) => SqlValue::Text(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => SqlValue::Integer(whole),
            (None, _) if number.is_u64() => {
                return Err(format!("{number} is larger than the largest integer of SQLite"));
            }
            (None, Some(real)) => SqlValue::Real(real),
            (None, None) => return Err(format!("{number} is not a number of SQLite")),
        },
        Value::Array(_) | Value::Object(_) => SqlValue::Text(value.to_string()),
    })
}

pub(super) fn json_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => float_json(number),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => bytes_json(bytes),
        },
        ValueRef::Blob(bytes) => bytes_json(bytes),
    }
}
