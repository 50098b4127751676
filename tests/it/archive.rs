//! `archive_rows` on real databases and folders: rows move, types survive, nothing is lost or doubled,
//! whatever happens between.
use bgagent::archive::{self, Ask as ArchiveAsk, Range as ArchiveRange};
use bgagent::config::{self, Context};
use bgagent::tools::{CallContext, Tools};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod back;
mod back_postgres;
mod check;
mod crash;
mod daemon;
mod edges;
mod edges_postgres;
mod edges_settings;
mod fit;
mod identity;
mod postgres;
mod s3;
mod sqlite;
mod tables;

/// A configuration's tools.
fn tools(folder: &Path, text: &str) -> Tools {
    let context = Context::system("2026-06-01T12:00:00Z".parse().expect("a time"));
    let loaded = config::parse(text.to_owned(), &folder.join("agents.toml"), &context);
    Tools::new(&loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet)
}

/// What is wrong with a configuration.
fn mistakes(text: &str) -> String {
    let context = Context::system("2026-06-01T12:00:00Z".parse().expect("a time"));
    match config::parse(text.to_owned(), Path::new("/etc/bgagent/agents.toml"), &context) {
        Ok(_) => "none".into(),
        Err(rejected) => rejected
            .diagnostics
            .iter()
            .map(|one| format!("{} ({})\n", one.message, one.hint.as_deref().unwrap_or_default()))
            .collect(),
    }
}

async fn archive(tools: &Tools, name: &str) -> Result<Value, String> {
    let context = CallContext { timeout: Some(Duration::from_secs(120)), ..CallContext::default() };
    let output = tools.call(name, &json!({}), &context).await;
    output.map(|output| output.result).map_err(|error| error.to_string())
}

async fn ask(tools: &Tools, name: &str, ask: &ArchiveAsk) -> Result<Value, String> {
    let settings = tools.settings(name).and_then(|settings| archive::settings(name, settings, &json!({})));
    let settings = settings.map_err(|error| error.to_string())?;
    let answer = archive::ask(name, settings, ask.clone(), Duration::from_secs(60), None).await;
    answer.map_err(|error| error.to_string())
}

async fn restore(tools: &Tools, name: &str, range: ArchiveRange) -> Result<Value, String> {
    ask(tools, name, &ArchiveAsk::Restore { range, dry_run: false }).await
}

/// A folder with an SQLite database and the settings of an archive of its table `t`.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn db(&self) -> rusqlite::Connection {
        let db = rusqlite::Connection::open(self.path("app.db")).expect("a database");
        db.busy_timeout(Duration::from_secs(10)).expect("a timeout");
        db
    }

    /// With more settings of the tool.
    fn tools(&self, more: &str) -> Tools {
        tools(self.folder.path(), &settings(more))
    }
}

fn settings(more: &str) -> String {
    format!(
        "[tools.old]\ntype = \"archive_rows\"\n\
         from = {{ url = \"sqlite:app.db\", table = \"t\", key = [\"id\"], column = \"at\", older_than = \"90d\" }}\n\
         to = {{ folder = \"archive\" }}\n{more}\n"
    )
}

/// A table `t` with rows 1 to `count`, every second one of them old.
fn fill(db: &rusqlite::Connection, count: i64) {
    db.execute_batch(&format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, at TEXT NOT NULL, note TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO t SELECT i, CASE WHEN i % 2 THEN datetime('now', '-200 days') ELSE datetime('now') END,
           'row ' || i FROM n;"
    ))
    .expect("a table");
}
