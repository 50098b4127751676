//! Settings of the `sql` tool.
use super::words::ToolMode;
use crate::domain::secret_ref::{SecretRef, TextOrSecret};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// A database, and what may be done there.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlSettings {
    /// `sqlite:` with an absolute path, or `postgres://`.
    pub url: TextOrSecret,
    /// PostgreSQL: where the password is found.
    pub password: Option<SecretRef>,
    /// What statements may do.
    pub mode: ToolMode,
    /// Rows of a result.
    pub max_rows: u64,
    /// Time of a statement.
    pub timeout: SignedDuration,
    /// Statements by name. In `read_write` mode no others run, if there are any.
    pub statements: BTreeMap<String, String>,
    /// SQLite: nothing but these tables and views is touched; `None`: all are.
    pub tables: Option<Vec<String>>,
    /// Statements may create, change and drop tables.
    pub ddl: bool,
}

impl SqlSettings {
    /// `max_rows` where nothing is said.
    pub const MAX_ROWS: u64 = 1000;
    /// Largest `max_rows`.
    pub const LARGEST_MAX_ROWS: u64 = 100_000;
    /// `timeout` where nothing is said.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

    /// For this database, all else as where nothing is said.
    pub fn of(url: TextOrSecret) -> Self {
        Self {
            url,
            password: None,
            mode: ToolMode::ReadOnly,
            max_rows: Self::MAX_ROWS,
            timeout: Self::TIMEOUT,
            statements: BTreeMap::new(),
            tables: None,
            ddl: false,
        }
    }
}
