//! A connection to SQLite: its values, its rows, and its errors.
use crate::store::sql::{
    ColumnKind, Columns, Each, Scope, Sql, SqlConnection, SqlError, SqlErrorKind, SqlResult, Value, params,
};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, params_from_iter};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// A connection to a file.
pub(in crate::store) struct Link {
    pub(in crate::store) db: rusqlite::Connection,
    path: PathBuf,
}

impl Link {
    /// Wraps a connection to the file at `path`.
    pub(super) fn new(db: rusqlite::Connection, path: PathBuf) -> Self {
        Self { db, path }
    }

    /// Closes the connection; later statements find an empty database.
    pub(super) fn let_go(&mut self) -> SqlResult<()> {
        drop(std::mem::replace(&mut self.db, rusqlite::Connection::open_in_memory()?));
        Ok(())
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => SqlErrorKind::Full,
            Some(ErrorCode::ReadOnly) => SqlErrorKind::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SqlErrorKind::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SqlErrorKind::Corrupt,
            Some(
                ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ApiMisuse,
            ) => SqlErrorKind::Refused,
            _ => SqlErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Columns for rusqlite::Row<'_> {
    fn integer(&self, at: usize) -> SqlResult<Option<i64>> {
        Ok(self.get(at)?)
    }

    fn real(&self, at: usize) -> SqlResult<Option<f64>> {
        Ok(self.get(at)?)
    }

    fn text(&self, at: usize) -> SqlResult<Option<&str>> {
        Ok(self.get_ref(at)?.as_str_or_null().map_err(rusqlite::Error::from)?)
    }

    fn blob(&self, at: usize) -> SqlResult<Option<&[u8]>> {
        Ok(self.get_ref(at)?.as_blob_or_null().map_err(rusqlite::Error::from)?)
    }
}

/// Returns whether a row was refused by a rule about slots.
fn is_of_rules(error: &rusqlite::Error) -> bool {
    const REFUSED: [i32; 3] = [
        rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER,
        rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE,
        rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
    ];
    matches!(error, rusqlite::Error::SqliteFailure(why, _) if REFUSED.contains(&why.extended_code))
}

impl SqlConnection for Link {
    fn run(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<()> {
        self.change(sql, values).map(|_| ())
    }

    fn change(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64> {
        Ok(self.db.prepare_cached(sql)?.execute(params_from_iter(values))? as u64)
    }

    fn change_unless_refused(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64> {
        match self.db.prepare_cached(sql)?.execute(params_from_iter(values)) {
            Err(error) if is_of_rules(&error) => Ok(0),
            changed => Ok(changed? as u64),
        }
    }

    fn each(&self, sql: &str, values: &[Value<'_>], each: &mut Each<'_>) -> SqlResult<()> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if each(row)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn open_transaction(&self, scope: Scope) -> SqlResult<()> {
        let begin = match scope {
            Scope::Read => "BEGIN DEFERRED",
            Scope::Write => "BEGIN IMMEDIATE",
        };
        self.run(begin, &[])
    }

    fn commit_transaction(&self) -> SqlResult<()> {
        self.run("COMMIT", &[])
    }

    fn roll_back(&self) {
        // SQLite may have ended the transaction already
        if !self.db.is_autocommit() {
            let _ = self.run("ROLLBACK", &[]);
        }
    }

    fn is_open(&self) -> bool {
        true
    }

    fn hex(&self, column: &str) -> String {
        format!("hex({column})")
    }

    fn columns_of(&self, table: &str) -> SqlResult<Vec<(String, ColumnKind)>> {
        let db: &Sql = self;
        db.rows("SELECT name, type FROM pragma_table_info(?1)", params![table], |row| {
            let kind = match row.text(1)? {
                Some("INTEGER") => ColumnKind::Integer,
                Some("REAL") => ColumnKind::Real,
                Some("BLOB") => ColumnKind::Blob,
                _ => ColumnKind::Text,
            };
            Ok((row.get(0)?, kind))
        })
    }

    fn last_number(&self, table: &str) -> SqlResult<i64> {
        let db: &Sql = self;
        // a table without AUTOINCREMENT is not listed: its next number follows the greatest
        let kept =
            db.row("SELECT seq FROM sqlite_sequence WHERE name = ?1", params![table], |row| row.get(0))?;
        match kept {
            Some(last) => Ok(last),
            None => db.one(&format!("SELECT coalesce(max(id), 0) FROM {table}"), &[], |row| row.get(0)),
        }
    }

    fn set_last_number(&self, table: &str, last: i64) -> SqlResult<()> {
        let db: &Sql = self;
        let counts = "SELECT 1 FROM sqlite_schema WHERE name = ?1 AND sql LIKE '%AUTOINCREMENT%'";
        if !db.exists(counts, params![table])? {
            return Ok(());
        }
        self.run("DELETE FROM sqlite_sequence WHERE name = ?1", params![table])?;
        self.run("INSERT INTO sqlite_sequence(name, seq) VALUES (?1, ?2)", params![table, last])
    }

    fn part(&self) -> SqlResult<()> {
        crate::store::meta::set(self, crate::store::meta::CLEAN, "yes")?;
        let db: &Sql = self;
        db.one("PRAGMA wal_checkpoint(TRUNCATE)", &[], |_| Ok(()))
    }

    fn used_bytes(&self) -> SqlResult<u64> {
        let one = |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let pages = one("PRAGMA page_count")? - one("PRAGMA freelist_count")?;
        Ok((pages * one("PRAGMA page_size")?).max(0) as u64)
    }

    fn size(&self) -> SqlResult<u64> {
        Ok(super::files::size(&self.path))
    }
}
