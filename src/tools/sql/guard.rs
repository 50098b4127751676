//! What SQLite may do for a call, and how much of it. An allow-list: the authorizer is asked for each
//! thing that a statement would do while it is compiled, and what is not known to be harmless is denied.
//! The file is opened read-only besides, and limits bound the rest.
//!
//! Theory of operation: a progress handler ends a statement when its time is up, when nobody waits for it,
//! or when the process grew too much meanwhile. What it puts aside to sort or to compare is memory, never a file, so that
//! this holds for it as well. SQLite calls it where its program jumps, so a program
//! without a jump runs to its end: what such a one may cost is bounded by the longest value, which is the
//! shorter the more values the program makes ([`fit`]). Functions whose one step could take minutes are
//! replaced (see `functions`).
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

/// Longest value, in bytes.
const MAX_VALUE: usize = 2 << 20;
/// All values that a statement can make at a time.
const MAX_VALUES: usize = 12 << 20;
/// Longest value of a statement that is as large as one can be.
const MIN_VALUE: usize = 4 << 10;
/// Longest program of a statement, in instructions.
const MAX_PROGRAM: i32 = 10_000;
/// Steps between two looks.
const STEPS: i32 = 8;
/// By how much the process may grow while a statement runs that gathers values of many rows into one, in
/// bytes. Not all of those keep to the longest value while they gather.
const MAX_GROWTH: u64 = 36 << 20;
/// The same for others: what they sort and compare, and something else may have grown.
pub(super) const MAX_GROWTH_OF_OTHERS: u64 = 256 << 20;
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
    settings: &SqlSettings,
    deadline: Instant,
    left: Arc<AtomicBool>,
) -> Result<Reason> {
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE as i32),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, 500),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_VDBE_OP, MAX_PROGRAM),
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
    super::functions::replace_slow_ones(connection)?;
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
    let mut watch = Watch::new(deadline, left, gathers, reason.clone());
    connection.progress_handler(STEPS, Some(move || watch.must_end()))?;
    Ok(reason)
}

/// What alone may be touched, as SQLite compares names; `None`: everything.
pub(super) fn tables(settings: &SqlSettings) -> Option<BTreeSet<String>> {
    let tables = settings.tables.as_ref()?;
    Some(tables.iter().map(|table| table.to_lowercase()).collect())
}

/// Bounds the values of a statement by how many its program can hold. Gives the bound.
pub(super) fn fit(connection: &Connection, statement: &str) -> Result<usize> {
    /// Instructions that leave a value of any length behind.
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
    let most = (MAX_VALUES / count.max(1)).clamp(MIN_VALUE, MAX_VALUE);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(most).unwrap_or(i32::MAX))?;
    Ok(most)
}

/// What is allowed.
struct Rules {
    writes: bool,
    ddl: bool,
    tables: Option<BTreeSet<String>>,
    /// Set when a statement gathers values of many rows into one.
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

    /// Views and triggers don't lead around the list: what they touch must be in it as well. The name that
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

    fn function(&self, name: &str) -> Result<(), String> {
        // Those of ALTER TABLE; SQLite lets nobody but itself call them.
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

/// Statements that run now, over all connections: each may make the process grow.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// Looks whether a statement must end.
struct Watch {
    deadline: Instant,
    /// Nobody waits any more.
    left: Arc<AtomicBool>,
    gathers: Arc<AtomicBool>,
    reason: Reason,
    memory: Option<File>,
    before: u64,
    looked: Instant,
}

impl Watch {
    fn new(deadline: Instant, left: Arc<AtomicBool>, gathers: Arc<AtomicBool>, reason: Reason) -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        let memory = File::open("/proc/self/statm").ok();
        let before = memory.as_ref().and_then(resident).unwrap_or(0);
        Self { deadline, left, gathers, reason, memory, before, looked: Instant::now() }
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
        let gathers = self.gathers.load(Ordering::Relaxed);
        let most = if gathers { MAX_GROWTH } else { MAX_GROWTH_OF_OTHERS };
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
