//! What SQLite may do for a call, and how much of it. An allow-list: while a statement is compiled, the
//! authorizer is asked for each action, and whatever is not known to be harmless is denied. In addition, the
//! file is opened read-only, and limits bound the rest.
//!
//! Theory of operation: a progress handler ends a statement when its time is up, when its caller was dropped,
//! or when the process has grown too much meanwhile. Temporary data for sorting and comparing is kept in
//! memory, never in a file, so that this applies to it as well. SQLite calls the handler where its program
//! jumps, so a program without a jump runs to its end: its cost is bounded by the maximum length of values,
//! which is the smaller the more values the program creates ([`fit`]). Functions of which a single step could
//! take minutes are replaced (see `functions`).
use crate::domain::SqlSettings;
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

/// Maximum length of a value, in bytes.
const MAX_VALUE_BYTES: usize = 2 << 20;
/// Maximum of all values that a statement can hold at a time, in bytes.
const MAX_TOTAL_VALUE_BYTES: usize = 12 << 20;
/// Maximum length of a value in the largest possible statement, in bytes.
const MIN_VALUE_BYTES: usize = 4 << 10;
/// Maximum length of a statement's program, in instructions.
const MAX_INSTRUCTIONS: i32 = 10_000;
/// Number of instructions between two calls of the progress handler.
const INSTRUCTIONS_PER_CHECK: i32 = 8;
/// By how much the process may grow while a statement runs that aggregates values of many rows into one, in
/// bytes. Some aggregates exceed the maximum length of a value while they run.
const MAX_AGGREGATE_GROWTH_BYTES: u64 = 36 << 20;
/// The same for other statements, which sort and compare; other parts of the process may have grown as well.
pub(super) const MAX_GROWTH_BYTES: u64 = 256 << 20;
/// Interval between two checks of the memory.
const MEMORY_CHECK_INTERVAL: Duration = Duration::from_millis(1);

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

/// Sets all guards on a connection that was just opened.
pub(super) fn protect(
    connection: &mut Connection,
    settings: &SqlSettings,
    deadline: Instant,
    abandoned: Arc<AtomicBool>,
) -> Result<Reason> {
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES as i32),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, 500),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_VDBE_OP, MAX_INSTRUCTIONS),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 64),
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
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    super::functions::replace_slow_functions(connection)?;
    let reason = Reason::default();
    let gathers = Arc::new(AtomicBool::new(false));
    let rules = Rules {
        writes: settings.mode.writes(),
        ddl: settings.ddl,
        tables: tables(settings),
        gathers: gathers.clone(),
    };
    let why = reason.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| match rules.judge(&context) {
        Ok(()) => Authorization::Allow,
        Err(text) => {
            why.set(|| text);
            Authorization::Deny
        }
    }))?;
    let mut watch = Watch::new(deadline, abandoned, gathers, reason.clone());
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || watch.must_end()))?;
    Ok(reason)
}

/// Returns the only tables that may be touched, as SQLite compares names; `None`: all tables.
pub(super) fn tables(settings: &SqlSettings) -> Option<BTreeSet<String>> {
    let tables = settings.tables.as_ref()?;
    Some(tables.iter().map(|table| table.to_lowercase()).collect())
}

/// Limits the length of values depending on how many of them the statement's program can hold. Returns the
/// limit.
pub(super) fn fit(connection: &Connection, statement: &str) -> Result<usize> {
    /// Instructions that produce a value of any length.
    const MAKERS: &[&str] = &[
        "Function",
        "PureFunc",
        "Concat",
        "Copy",
        "Cast",
        "AggStep",
        "AggStep1",
        "AggFinal",
        "AggValue",
        "Column",
        "VColumn",
        "MakeRecord",
        "RowData",
        "SorterData",
    ];
    let mut explained = connection.prepare(&format!("EXPLAIN {statement}"))?;
    let mut rows = explained.raw_query();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += usize::from(MAKERS.contains(&row.get_ref(1)?.as_str().unwrap_or_default()));
    }
    let most = (MAX_TOTAL_VALUE_BYTES / count.max(1)).clamp(MIN_VALUE_BYTES, MAX_VALUE_BYTES);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(most).unwrap_or(i32::MAX))?;
    Ok(most)
}

/// What is allowed.
struct Rules {
    writes: bool,
    ddl: bool,
    tables: Option<BTreeSet<String>>,
    /// Set when a statement aggregates values of many rows into one.
    gathers: Arc<AtomicBool>,
}

impl Rules {
    fn judge(&self, context: &AuthContext<'_>) -> Result<(), String> {
        match context.action {
            AuthAction::Select | AuthAction::Recursive => Ok(()),
            AuthAction::Read { table_name, .. } => self.table(table_name),
            AuthAction::Function { function_name } => self.function(function_name),
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
            // SQLite itself stores definitions there; they can't be changed directly (DEFENSIVE).
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

    /// Checks that a table is in the list. Views and triggers don't bypass it: the tables that they touch
    /// must be in it as well. The name that SQLite passes as the origin of an access could be that of a
    /// common table expression.
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

    fn function(&self, name: &str) -> Result<(), String> {
        // Internal functions of ALTER TABLE; SQLite does not allow anything else to call them.
        const OF_ALTER: &[&str] =
            &["sqlite_rename_", "sqlite_drop_column", "sqlite_add_constraint", "sqlite_fail"];
        let of_alter = || self.ddl && OF_ALTER.iter().any(|start| name.starts_with(start));
        let small = name.to_lowercase();
        if FUNCTIONS.binary_search(&small.as_str()).is_ok() || of_alter() {
            if small.contains("group_") || small == "string_agg" {
                self.gathers.store(true, Ordering::Relaxed);
            }
            return Ok(());
        }
        Err(format!("the function `{name}` is not allowed"))
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

/// Pure functions.
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

/// Number of running statements, over all connections: each may make the process grow.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// Checks whether a statement must end.
struct Watch {
    deadline: Instant,
    /// The caller was dropped.
    abandoned: Arc<AtomicBool>,
    gathers: Arc<AtomicBool>,
    reason: Reason,
    memory: Option<File>,
    before: u64,
    looked: Instant,
}

impl Watch {
    fn new(deadline: Instant, abandoned: Arc<AtomicBool>, gathers: Arc<AtomicBool>, reason: Reason) -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        let memory = File::open("/proc/self/statm").ok();
        let before = memory.as_ref().and_then(resident).unwrap_or(0);
        Self { deadline, abandoned, gathers, reason, memory, before, looked: Instant::now() }
    }

    fn must_end(&mut self) -> bool {
        if self.abandoned.load(Ordering::Relaxed) {
            return true;
        }
        let now = Instant::now();
        if now >= self.deadline {
            self.reason.set(|| "it took too long: make it smaller, or use an index".into());
            return true;
        }
        if now.duration_since(self.looked) < MEMORY_CHECK_INTERVAL {
            return false;
        }
        self.looked = now;
        let gathers = self.gathers.load(Ordering::Relaxed);
        let most = if gathers { MAX_AGGREGATE_GROWTH_BYTES } else { MAX_GROWTH_BYTES };
        let most = most * RUNNING.load(Ordering::Relaxed).max(1);
        let grown = self.memory.as_ref().and_then(resident).unwrap_or(0).saturating_sub(self.before);
        if grown > most {
            self.reason
                .set(|| "it needs too much memory: ask for fewer or shorter values, or sort fewer".into());
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

/// Returns the memory of this process in bytes: the second number of proc_pid_statm(5), in pages.
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
