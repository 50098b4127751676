//! Settings of `[tools.…]` tables of type "sql": which database, and what may be done there.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{common, database, mode, needs};
use crate::config::walk::Section;
use crate::domain::{TextOrSecret, ToolKind, ToolMode};
use serde_json::{Map, Value, json};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Sql.as_str()]), "the built-in tool"),
    key("url", Kind::TextOrSecret, "sqlite:PATH or postgres://user@host/db, or a reference to a secret"),
    key("password", Kind::Secret, "postgres: the password"),
    key("mode", Kind::Word(ToolMode::WORDS), "read_only (default) or read_write"),
    key("max_rows", Kind::Whole, "rows of a result; default 1000"),
    key("timeout", Kind::Duration, "one statement; default 10 s"),
    key("statements", Kind::Texts2, "named statements with :parameters; in read_write mode only these run"),
    key("tables", Kind::Texts, "sqlite: only these tables and views"),
    key("ddl", Kind::Flag, "read_write: statements may create, change and drop tables"),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<Value> {
    let mut out = Map::new();
    common(section, &mut out);
    let writes = mode(section, &mut out);
    if let Some(rows) = section.get("max_rows") {
        match rows.whole(1) {
            Some(most) if most > 100_000 => {
                rows.refuse::<()>("`max_rows` is at most 100000".into());
            }
            Some(most) => drop(out.insert("max_rows".into(), most.into())),
            None => {}
        }
    }
    if let Some(ddl) = section.get("ddl") {
        let wanted = section.flag("ddl").unwrap_or(false);
        if wanted && !writes {
            ddl.refuse_with::<()>("`ddl` changes the database".into(), "add mode = \"read_write\"".into());
        }
        out.insert("ddl".into(), wanted.into());
    }
    if let Some(secret) = section.get("password").and_then(|item| item.secret()) {
        out.insert("password".into(), secret.to_json());
    }
    if section.get("statements").is_some() {
        out.insert("statements".into(), statements(section));
    }
    let item = needs(section, "sql", "url", "url = \"sqlite:app.db\" or \"postgres://user@host/db\"");
    if let Some(url) = item.and_then(database) {
        let is_postgres = url.as_str().map(|url| !url.starts_with("sqlite:"));
        for (key, of_postgres, kind) in [("password", true, "postgres"), ("tables", false, "sqlite")] {
            if let (Some(item), Some(is_postgres)) = (section.get(key), is_postgres)
                && is_postgres != of_postgres
            {
                item.refuse_with::<()>(
                    format!("`{key}` is for a {kind} database"),
                    match key {
                        "tables" => "give the database's role only the tables that it may see".into(),
                        _ => "leave it out".into(),
                    },
                );
            }
        }
        out.insert("url".into(), url);
    }
    if let Some(tables) = section.get("tables").and_then(|item| item.texts()) {
        out.insert("tables".into(), json!(tables));
    }
    Some(Value::Object(out))
}

fn statements(section: &Section<'_>) -> Value {
    let mut all = Map::new();
    for (name, text) in section.values("statements") {
        let item = section.get("statements");
        match (text, item) {
            (TextOrSecret::Text(text), _) if !text.trim().is_empty() => {
                all.insert(name, text.into());
            }
            (_, Some(item)) => {
                item.refuse::<()>(format!("statement `{name}` must be a text that is not empty"));
            }
            _ => {}
        }
    }
    Value::Object(all)
}
