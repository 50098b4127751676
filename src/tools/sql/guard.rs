//! What SQLite may do for a call, and how much of it. An allow-list: the authorizer is asked for each
//! thing that a statement would do while it is compiled, and what is not known to be harmless is denied.
//! The file is opened read-only besides, and limits bound the rest.
//!
//! Theory of operation: a progress handler runs every few steps of SQLite's machine. It ends a statement
//! when its time is up, when nobody waits for it, or when the process grew too much meanwhile. One step
//! may make one value, so the longest value bounds what can happen between two looks; functions whose one
//! step could take minutes are replaced (see `functions`).
use super::Settings;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest value, in bytes. A few of them fit between two looks of the progress handler.
const MAX_VALUE: i32 = 4 << 20;
/// Steps between two looks.
const STEPS: i32 = 8;
/// By how much a statement may make the process grow, in bytes, when it is seen.
const MAX_GROWTH: u64 = 24 << 20;
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_millis(1);

/// Why a statement was denied or ended: the first reason counts.
#[derive(Clone, Default)]
pub(super) struct Reason(Arc<Mutex<Option<String>>>);

impl Reason {
    fn set(&self, text: impl FnOnce() -> String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(text);
    }

    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Puts all guards on a connection that was just opened.
pub(super) fn protect(
    connection: &mut Connection,
    settings: &Settings,
    deadline: Instant,
    left: Arc<AtomicBool>,
) -> Result<Reason> {
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, 500),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_VDBE_OP, 50_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 1000),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 20),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false)?;
    // A misspelt column in double quotes is an error instead of a text.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    super::functions::replace_slow_ones(connection)?;
    let reason = Reason::default();
    let rules = Rules { writes: settings.writes, ddl: settings.ddl, tables: settings.tables.clone() };
    let why = reason.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| match rules.judge(&context) {
        Ok(()) => Authorization::Allow,
        Err(text) => {
            why.set(|| text);
            Authorization::Deny
        }
    }))?;
    let mut watch = Watch::new(deadline, left, reason.clone());
    connection.progress_handler(STEPS, Some(move || watch.must_end()))?;
    Ok(reason)
}

/// What is allowed.
struct Rules {
    writes: bool,
    ddl: bool,
    tables: Option<BTreeSet<String>>,
}

impl Rules {
    fn judge(&self, context: &AuthContext<'_>) -> Result<(), String> {
        match context.action {
            AuthAction::Select | AuthAction::Recursive => Ok(()),
            AuthAction::Read { table_name, .. } => self.table(table_name),
            AuthAction::Function { function_name } => function(function_name),
            AuthAction::Pragma { pragma_name, pragma_value } => self.pragma(pragma_name, pragma_value),
            AuthAction::Insert { table_name }
            | AuthAction::Delete { table_name }
            | AuthAction::Update { table_name, .. } => self.write(table_name),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
                Err("no other database can be attached, and VACUUM is not allowed".into())
            }
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
                Err("each statement is a transaction of its own".into())
            }
            action => self.definition(&action),
        }
    }

    fn write(&self, table: &str) -> Result<(), String> {
        if !self.writes {
            return Err("this database is read-only here".into());
        }
        if table.to_lowercase().starts_with("sqlite_") {
            // SQLite keeps its definitions there itself; by hand they can't be changed (DEFENSIVE).
            return if self.ddl { Ok(()) } else { Err(NO_DDL.into()) };
        }
        self.table(table)
    }

    fn definition(&self, action: &AuthAction<'_>) -> Result<(), String> {
        if !self.writes {
            return Err("this database is read-only here".into());
        }
        let harmless = match action {
            AuthAction::CreateTable { .. }
            | AuthAction::CreateIndex { .. }
            | AuthAction::CreateView { .. }
            | AuthAction::CreateTrigger { .. }
            | AuthAction::DropTable { .. }
            | AuthAction::DropIndex { .. }
            | AuthAction::DropView { .. }
            | AuthAction::DropTrigger { .. }
            | AuthAction::AlterTable { .. }
            | AuthAction::Reindex { .. }
            | AuthAction::Analyze { .. } => true,
            AuthAction::CreateVtable { module_name, .. } | AuthAction::DropVtable { module_name, .. } => {
                ["fts3", "fts4", "fts5", "rtree"].iter().any(|known| known.eq_ignore_ascii_case(module_name))
            }
            _ => return Err("such a statement is not allowed".into()),
        };
        if harmless && self.ddl { Ok(()) } else { Err(NO_DDL.into()) }
    }

    /// Views and triggers are no way around the list: what they touch must be in it as well. The name that
    /// SQLite says for whom it asks could be that of a common table expression.
    fn table(&self, name: &str) -> Result<(), String> {
        let name = name.to_lowercase();
        let Some(tables) = &self.tables else {
            return if name == "sqlite_dbpage" { Err("raw pages can't be read".into()) } else { Ok(()) };
        };
        let of_search = || {
            const SHADOWS: &[&str] = &[
                "data", "idx", "content", "docsize", "config", "segments", "segdir", "stat", "node", "rowid",
                "parent",
            ];
            name.rsplit_once('_').is_some_and(|(table, end)| tables.contains(table) && SHADOWS.contains(&end))
        };
        let of_sqlite = matches!(name.as_str(), "json_each" | "json_tree")
            || (name.starts_with("pragma_") && name != "pragma_table_list")
            || (self.ddl && name.starts_with("sqlite_"));
        if tables.contains(&name) || of_sqlite || of_search() {
            return Ok(());
        }
        let list: Vec<&str> = tables.iter().map(String::as_str).collect();
        Err(format!("table `{name}` is not among those that may be used here: {}", list.join(", ")))
    }

    fn pragma(&self, name: &str, value: Option<&str>) -> Result<(), String> {
        let name = name.to_lowercase();
        let allowed = match (name.as_str(), value) {
            ("table_info" | "table_xinfo" | "index_list" | "foreign_key_list", Some(table)) => {
                return self.table(table);
            }
            ("index_info" | "index_xinfo", Some(_)) => true,
            ("table_list" | "database_list", None) => self.tables.is_none(),
            ("table_list", Some(table)) => return self.table(table),
            (
                "data_version" | "user_version" | "schema_version" | "application_id" | "encoding"
                | "page_count" | "page_size" | "freelist_count" | "compile_options" | "function_list"
                | "collation_list",
                None,
            ) => true,
            _ => false,
        };
        if allowed { Ok(()) } else { Err(format!("PRAGMA {name} is not allowed in this form")) }
    }
}

const NO_DDL: &str = "tables can't be created, changed or dropped here";

/// Functions that compute and do nothing else.
const FUNCTIONS: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "bm25",
    "ceil",
    "ceiling",
    "changes",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "highlight",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_each",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_tree",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_patch",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "julianday",
    "lag",
    "last_insert_rowid",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "match",
    "matchinfo",
    "max",
    "median",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "offsets",
    "percent_rank",
    "percentile",
    "percentile_cont",
    "percentile_disc",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "snippet",
    "soundex",
    "sqlite_version",
    "sqrt",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "subtype",
    "sum",
    "tan",
    "tanh",
    "time",
    "timediff",
    "total",
    "total_changes",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unistr",
    "unistr_quote",
    "unixepoch",
    "unlikely",
    "upper",
];

fn function(name: &str) -> Result<(), String> {
    if FUNCTIONS.binary_search(&name.to_lowercase().as_str()).is_ok() {
        return Ok(());
    }
    Err(format!("the function `{name}` is not allowed"))
}

/// Statements that run now, over all connections: each may make the process grow.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// Looks whether a statement must end.
struct Watch {
    deadline: Instant,
    /// Nobody waits any more.
    left: Arc<AtomicBool>,
    reason: Reason,
    memory: Option<File>,
    before: u64,
    looked: Instant,
}

impl Watch {
    fn new(deadline: Instant, left: Arc<AtomicBool>, reason: Reason) -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        let memory = File::open("/proc/self/statm").ok();
        let before = memory.as_ref().and_then(resident).unwrap_or(0);
        Self { deadline, left, reason, memory, before, looked: Instant::now() }
    }

    fn must_end(&mut self) -> bool {
        if self.left.load(Ordering::Relaxed) {
            return true;
        }
        let now = Instant::now();
        if now >= self.deadline {
            self.reason.set(|| "it took too long: make it smaller, or use an index".into());
            return true;
        }
        if now.duration_since(self.looked) < LOOK {
            return false;
        }
        self.looked = now;
        let most = MAX_GROWTH * RUNNING.load(Ordering::Relaxed).max(1);
        let grown = self.memory.as_ref().and_then(resident).unwrap_or(0).saturating_sub(self.before);
        if grown > most {
            self.reason.set(|| "it needs too much memory: ask for fewer or shorter values".into());
            return true;
        }
        false
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory of this process in bytes: the second number of proc_pid_statm(5), in pages.
fn resident(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let count = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..count]).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    //! Tests of the list of functions.
    #[test]
    fn the_functions_are_sorted() {
        assert!(super::FUNCTIONS.is_sorted());
    }
}
