//! Settings and arguments of the `sql` tool.
use super::arguments::{ArgumentType, CallSchema, arguments};
use super::words::ToolMode;
use crate::domain::secret_ref::{SecretRef, TextOrSecret};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A database, and the allowed operations.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlSettings {
    /// `sqlite:` with an absolute path, or `postgres://`.
    pub url: TextOrSecret,
    /// PostgreSQL: location of the password.
    pub password: Option<SecretRef>,
    /// What statements may do.
    pub mode: ToolMode,
    /// Maximum number of rows of a result.
    pub max_rows: u64,
    /// Timeout of a statement.
    pub timeout: SignedDuration,
    /// Statements by name. If there are any, no others run in `read_write` mode.
    pub statements: BTreeMap<String, String>,
    /// SQLite: only these tables and views are accessible; `None`: all are.
    pub tables: Option<Vec<String>>,
    /// Statements may create, alter and drop tables.
    pub ddl: bool,
}

impl SqlSettings {
    /// Default of `max_rows`.
    pub const MAX_ROWS: u64 = 1000;
    /// Maximum of `max_rows`.
    pub const LARGEST_MAX_ROWS: u64 = 100_000;
    /// Default of `timeout`.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

    /// Returns the settings for this database, with defaults.
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

arguments! {
    /// One statement.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SqlArgs {
        /// One SQL statement. Pass values in `params`: SQLite takes ?1 or :name, PostgreSQL $1 or :name.
        pub sql: Option<String>,
        /// A statement that is defined already.
        pub statement: Option<String>,
        /// Values of the parameters: a list by position, or an object by name. Bytes are {"base64": "…"}.
        #[serde(default)]
        pub params: SqlParams,
    }
}

impl SqlArgs {
    /// Returns the arguments of a call of an instance; without settings: of the most permissive one.
    pub fn schema(settings: Option<&SqlSettings>) -> CallSchema {
        let all = CallSchema::of::<Self>();
        let Some(settings) = settings else { return all.without("statement").require("sql") };
        let SqlSettings { mode, tables, statements, .. } = settings;
        let mut text = all.description("sql").to_owned();
        if !mode.writes() {
            text.push_str(" Only statements that read.");
        }
        if let Some(tables) = tables {
            text.push_str(&format!(" Tables: {}.", tables.join(", ")));
        }
        if statements.is_empty() {
            return all.without("statement").require("sql").describe("sql", text);
        }
        let list: Vec<String> = statements.iter().map(|(name, text)| format!("{name}: {text}")).collect();
        let named = format!("{} {}", all.description("statement"), list.join("; "));
        let all = all.only("statement", statements.keys()).describe("statement", named);
        match mode.writes() {
            true => all.without("sql").require("statement"),
            false => all.describe("sql", text),
        }
    }
}

/// Values for the parameters of a statement.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum SqlParams {
    List(Vec<Value>),
    /// By name, without its `:`, `@` or `$`.
    Named(Map<String, Value>),
}

impl Default for SqlParams {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl ArgumentType for SqlParams {
    fn schema() -> Value {
        json!({"type": ["array", "object"]})
    }
}
