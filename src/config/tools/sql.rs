//! Settings of `[tools.…]` tables of type "sql": which database, and what is allowed there.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{database, needs};
use crate::config::walk::Section;
use crate::domain::{SqlSettings, TextOrSecret, ToolKind, ToolMode};
use std::collections::BTreeMap;

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Sql.as_str()]), "the built-in tool"),
    key("url", Kind::TextOrSecret, "sqlite:PATH or postgres://user@host/db, or a reference to a secret"),
    key("password", Kind::Secret, "postgres: the password"),
    key("mode", Kind::Word(ToolMode::WORDS), "read_only (default) or read_write"),
    key("max_rows", Kind::Whole, "rows of a result; default {}").with(&[SqlSettings::MAX_ROWS]),
    key("timeout", Kind::Duration, "one statement; default {} s")
        .with(&[SqlSettings::TIMEOUT.as_secs().unsigned_abs()]),
    key("statements", Kind::Texts2, "named statements with :parameters; in read_write mode only these run"),
    key("tables", Kind::Texts, "sqlite: only these tables and views"),
    key("ddl", Kind::Flag, "read_write: statements may create, change and drop tables"),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<SqlSettings> {
    let mode = section.word("mode").unwrap_or(ToolMode::ReadOnly);
    let max_rows = section.get("max_rows").and_then(|rows| match rows.whole(1)? {
        most if most > SqlSettings::LARGEST_MAX_ROWS => {
            rows.refuse(format!("`max_rows` is at most {}", SqlSettings::LARGEST_MAX_ROWS))
        }
        most => Some(most),
    });
    let ddl = section.flag("ddl").unwrap_or(false);
    if let (Some(item), true, false) = (section.get("ddl"), ddl, mode.writes()) {
        item.refuse_with::<()>("`ddl` changes the database".into(), "add mode = \"read_write\"".into());
    }
    let password = section.get("password").and_then(|item| item.secret());
    let statements = statements(section);
    let timeout = section.positive("timeout").unwrap_or(SqlSettings::TIMEOUT);
    let item = needs(section, "sql", "url", "url = \"sqlite:app.db\" or \"postgres://user@host/db\"");
    let url = item.and_then(database);
    if let Some(TextOrSecret::Text(url)) = &url {
        check_database_kind(section, url.starts_with("sqlite:"));
    }
    let tables = section.texts("tables");
    let max_rows = max_rows.unwrap_or(SqlSettings::MAX_ROWS);
    Some(SqlSettings { url: url?, password, mode, max_rows, timeout, statements, tables, ddl })
}

/// Reports keys that are for another kind of database.
fn check_database_kind(section: &Section<'_>, is_sqlite: bool) {
    for (key, of_sqlite, kind) in [("password", false, "postgres"), ("tables", true, "sqlite")] {
        if let Some(item) = section.get(key).filter(|_| is_sqlite != of_sqlite) {
            item.refuse_with::<()>(
                format!("`{key}` is for a {kind} database"),
                match key {
                    "tables" => "give the database's role only the tables that it may see".into(),
                    _ => "leave it out".into(),
                },
            );
        }
    }
}

fn statements(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, text) in section.values("statements") {
        let item = section.get("statements");
        match (text, item) {
            (TextOrSecret::Text(text), _) if !text.trim().is_empty() => drop(all.insert(name, text)),
            (_, Some(item)) => {
                item.refuse::<()>(format!("statement `{name}` must be a text that is not empty"));
            }
            _ => {}
        }
    }
    all
}
