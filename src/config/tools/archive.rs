//! Settings of tools of type "archive_rows": what they name is looked up here, so that the tool gets addresses
//! and folders, and mistakes are found before anything runs.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{database, needs};
use crate::config::walk::{Item, Section};
use crate::domain::{TimeUnit, ToolKind, ToolSettings, ToolSpec, nearest};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Tools = BTreeMap<String, ToolSpec>;

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::ArchiveRows.as_str()]), "the built-in tool"),
    key("from", Kind::Table(FROM_KEYS), "which rows of which table"),
    key("to", Kind::Table(TO_KEYS), "where they go"),
    key("chunk_rows", Kind::Whole, "rows that are copied, verified and deleted together; default 10000"),
    key("max_rows", Kind::Whole, "rows of a run at the most"),
    key("max_time", Kind::Duration, "time of a run at the most; default: the agent's timeout"),
    key("delete", Kind::Flag, "false: a rehearsal, nothing is deleted and no copy is left"),
    key("level", Kind::Whole, "compression from 1 (fast) to 19 (small); default 3"),
];
const FROM_KEYS: &[Key] = &[
    key("sql", Kind::Text, "the database: name of a tool of type sql"),
    key("url", Kind::TextOrSecret, "or its address, as in a tool of type sql"),
    key("password", Kind::Secret, "postgres: the password"),
    key("table", Kind::Text, "the table; postgres: also schema.table"),
    key("key", Kind::Texts, "columns that tell its rows apart: the primary key, or a UNIQUE one"),
    key("column", Kind::Text, "the column that says how old a row is"),
    key("older_than", Kind::Duration, "rows older than this are archived"),
    key("unit", Kind::Word(TimeUnit::WORDS), "what numbers in `column` count since 1970; default seconds"),
    key("only", Kind::Any, "only rows with these values: { status = [\"done\", \"cancelled\"] }"),
];
const TO_KEYS: &[Key] = &[
    key("folder", Kind::Text, "a folder of its own"),
    key("s3", Kind::Text, "or a bucket: name of a tool of type s3"),
    key("prefix", Kind::Text, "s3: names of objects begin with this"),
    key("sql", Kind::Text, "or another database of the same kind: name of a tool of type sql"),
    key("url", Kind::TextOrSecret, "or its address"),
    key("password", Kind::Secret, "postgres: the password"),
    key("table", Kind::Text, "the table there, with the same columns"),
];

const FROM: &str = "from = { sql = \"app_db\", table = \"orders\", key = [\"id\"], column = \"created_at\", older_than = \"90d\" }";
const TO: &str = "to = { folder = \"archive/orders\" }";
/// Most rows of a chunk: they are held in memory.
const MOST_ROWS: u64 = 100_000;

pub(in crate::config) fn settings(section: &Section<'_>, tools: &Tools) -> Option<Value> {
    let mut out = Map::new();
    for (key, most) in [("chunk_rows", MOST_ROWS), ("max_rows", u64::MAX), ("level", 19)] {
        if let (Some(number), Some(item)) = (section.whole(key, 1), section.get(key)) {
            if number > most {
                item.refuse::<()>(format!("`{key}` is at most {most}"));
            }
            out.insert(key.into(), number.into());
        }
    }
    if let Some(time) = section.positive("max_time") {
        out.insert("max_time".into(), time.as_secs_f64().into());
    }
    let deletes = section.flag("delete").unwrap_or(true);
    out.insert("delete".into(), deletes.into());
    let from = needs(section, "archive_rows", "from", FROM)?.section(FROM_KEYS);
    let to = needs(section, "archive_rows", "to", TO)?;
    let from = from.and_then(|from| source(&from, tools, deletes));
    let to = to.section(TO_KEYS).and_then(|place| destination(to, &place, tools));
    let (from, to) = (from?, to?);
    if let (Some(there), Some(here)) = (to.get("url"), from.get("url")) {
        let is_sqlite = |url: &Value| url.as_str().map(|url| url.starts_with("sqlite:"));
        if let (Some(there), Some(here)) = (is_sqlite(there), is_sqlite(here))
            && there != here
        {
            section.file.error(
                Some(section.span.clone()),
                "rows go from SQLite to SQLite or from PostgreSQL to PostgreSQL: types would not survive"
                    .into(),
                Some("archive to a folder or to S3, or to a database of the same kind".into()),
            );
        }
        if there == here && to.get("table") == from.get("table") {
            section.file.error(Some(section.span.clone()), "`from` and `to` are the same table".into(), None);
        }
    }
    out.insert("from".into(), Value::Object(from));
    out.insert("to".into(), Value::Object(to));
    Some(Value::Object(out))
}

fn missing(section: &Section<'_>, key: &str, of: &str, example: &str) {
    let keys: Vec<&str> = key.split("` or `").collect();
    section.missing::<()>(&keys, format!("`{of}` needs `{key}`"), Some(format!("as in {example}")));
}

fn source(section: &Section<'_>, tools: &Tools, deletes: bool) -> Option<Map<String, Value>> {
    let mut out = Map::new();
    if !address(section, tools, deletes, "from", &mut out) {
        return None;
    }
    for key in ["table", "column"] {
        match section.get(key) {
            None => missing(section, key, "from", FROM),
            Some(item) => {
                if let Some(text) = item.text() {
                    name(item, text)?;
                    out.insert(key.into(), text.into());
                }
            }
        }
    }
    match section.get("key") {
        None => missing(section, "key", "from", FROM),
        Some(item) => {
            let columns = item.texts()?;
            if columns.is_empty() {
                return item.refuse_with("`key` is empty".into(), "key = [\"id\"]".into());
            }
            let mut sorted = columns.clone();
            sorted.sort();
            sorted.dedup();
            if sorted.len() < columns.len() {
                return item.refuse("`key` names a column twice".into());
            }
            columns.iter().try_for_each(|column| name(item, column))?;
            out.insert("key".into(), json!(columns));
        }
    }
    match section.get("older_than") {
        None => missing(section, "older_than", "from", FROM),
        Some(_) => {
            out.insert("older_than".into(), section.positive("older_than")?.as_secs_f64().into());
        }
    }
    if let Some(unit) = section.word::<TimeUnit>("unit") {
        out.insert("unit".into(), unit.as_str().into());
    }
    if let Some(item) = section.get("only") {
        out.insert("only".into(), only(item)?);
    }
    let whole = ["table", "column", "key", "older_than"].iter().all(|key| out.contains_key(*key));
    whole.then_some(out)
}

fn name(item: Item<'_>, text: &str) -> Option<()> {
    if text.is_empty() || text.contains('\0') {
        return item.refuse(format!("`{}` has a name that is empty or holds a NUL byte", item.name));
    }
    Some(())
}

/// Values are bound, so nothing here is SQL.
fn only(item: Item<'_>) -> Option<Value> {
    let refuse = || {
        item.refuse_with::<()>(
            "`only` names columns with a value or a list of values: texts, whole numbers, true or false"
                .into(),
            "only = { status = [\"done\", \"cancelled\"] }".into(),
        );
    };
    let plain = |value: &Value| value.is_string() || value.is_boolean() || value.is_i64();
    let value = Item { name: "only", ..item }.table().map(|_| item.json())?;
    let fits = |value: &Value| match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(plain),
        value => plain(value),
    };
    let columns = value.as_object()?;
    if columns.is_empty() || !columns.values().all(fits) {
        refuse();
        return None;
    }
    Some(value)
}

/// Where a database is: by the name of a tool, or by its address. False: an error was noted.
fn address(
    section: &Section<'_>,
    tools: &Tools,
    writes: bool,
    of: &str,
    out: &mut Map<String, Value>,
) -> bool {
    match (section.get("sql"), section.get("url")) {
        (Some(item), Some(_)) => {
            item.refuse::<()>(format!(
                "`{of}` has both `sql` and `url`: one of them says where the database is"
            ));
            false
        }
        (None, None) => {
            missing(section, "sql` or `url", of, if of == "from" { FROM } else { TO });
            false
        }
        (None, Some(item)) => {
            if let Some(secret) = section.get("password").and_then(|item| item.secret()) {
                out.insert("password".into(), secret.to_json());
            }
            let found = database(item);
            let ok = found.is_some();
            out.extend(found.map(|url| ("url".to_owned(), url.to_json())));
            ok
        }
        (Some(item), None) => {
            let Some(ToolSettings::Sql(Some(settings))) = named(item, ToolKind::Sql, tools) else {
                return false;
            };
            if writes && !settings.mode.writes() {
                item.refuse_with::<()>(
                    format!("tool `{}` only reads, and archived rows are deleted and written", item.text().unwrap_or("")),
                    format!("give `{of}` the database's `url` instead, so that agents with that tool still only read"),
                );
                return false;
            }
            out.insert("url".into(), settings.url.to_json());
            out.extend(settings.password.as_ref().map(|secret| ("password".to_owned(), secret.to_json())));
            true
        }
    }
}

/// The settings of a tool of this type.
fn named<'t>(item: Item<'_>, kind: ToolKind, tools: &'t Tools) -> Option<&'t ToolSettings> {
    let name = item.text()?;
    match tools.get(name) {
        Some(spec) if spec.kind == kind => Some(&spec.settings),
        Some(spec) => item.refuse(format!("tool `{name}` is of type \"{}\", not \"{kind}\"", spec.kind)),
        None => {
            let names = || tools.iter().filter(|(_, spec)| spec.kind == kind).map(|(name, _)| name.as_str());
            let hint = match nearest(name, names()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("define it in [tools.{name}] with type = \"{kind}\""),
            };
            if item.file.is_broken("tools", name) {
                return None;
            }
            item.refuse_with(format!("there is no tool `{name}`"), hint)
        }
    }
}

fn destination(item: Item<'_>, section: &Section<'_>, tools: &Tools) -> Option<Map<String, Value>> {
    let mut out = Map::new();
    let kinds: Vec<&str> =
        ["folder", "s3", "sql", "url"].into_iter().filter(|key| section.table.get(*key).is_some()).collect();
    let [kind] = kinds[..] else {
        return item.refuse_with(
            "`to` needs exactly one of `folder`, `s3`, `sql` and `url`".into(),
            format!("as in {TO}, to = {{ s3 = \"backups\", prefix = \"orders\" }}, or to = {{ sql = \"warehouse\", table = \"orders_old\" }}"),
        );
    };
    let fits: &[&str] = match kind {
        "folder" => &["folder"],
        "s3" => &["s3", "prefix"],
        "sql" => &["sql", "table"],
        _ => &["url", "password", "table"],
    };
    if let Some((key, _)) = section.table.iter().find(|(key, _)| !fits.contains(&key.get_ref().as_ref())) {
        section.file.error(Some(key.span()), format!("`{}` does not go with `{kind}`", key.get_ref()), None);
        return None;
    }
    match kind {
        "folder" => {
            let folder = section.get("folder")?;
            let text = folder.text()?;
            if text.trim().is_empty() {
                return folder.refuse_with("`folder` is empty".into(), TO.into());
            }
            out.insert("folder".into(), folder.file.expand(text, folder.span()).display().to_string().into());
        }
        "s3" => {
            let item = section.get("s3")?;
            let ToolSettings::S3(Some(settings)) = named(item, ToolKind::S3, tools)? else { return None };
            if !settings.mode.writes() {
                return item.refuse_with(
                    format!("tool `{}` only reads", item.text().unwrap_or("")),
                    "define another one with mode = \"read_write\"; agents need not be given it".into(),
                );
            }
            out.insert("s3".into(), serde_json::to_value(settings).expect("names of its fields are texts"));
            if let Some(prefix) = section.text("prefix") {
                out.insert("prefix".into(), prefix.trim_matches('/').into());
            }
        }
        _ => {
            if !address(section, tools, true, "to", &mut out) {
                return None;
            }
            let Some(table) = section.get("table") else {
                missing(section, "table", "to", "to = { sql = \"warehouse\", table = \"orders_old\" }");
                return None;
            };
            name(table, table.text()?)?;
            out.insert("table".into(), table.text()?.into());
        }
    }
    Some(out)
}
