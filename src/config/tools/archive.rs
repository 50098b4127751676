//! Settings of tools of type "archive_rows": references to other tools are resolved here, so that the tool
//! gets addresses and folders, and mistakes are found before anything runs.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{database, needs};
use crate::config::walk::{Item, Section};
use crate::domain::{
    ArchiveSettings, ArchiveSource, ArchiveTarget, Database, OneOrMany, TextOrSecret, TimeUnit, ToolKind,
    ToolSettings, ToolSpec, nearest,
};
use std::collections::BTreeMap;

type Tools = BTreeMap<String, ToolSpec>;

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::ArchiveRows.as_str()]), "the built-in tool"),
    key("from", Kind::Table(FROM_KEYS), "which rows of which table"),
    key("to", Kind::Table(TO_KEYS), "where they go"),
    key("chunk_rows", Kind::Whole, "rows that are copied, verified and deleted together; default {}")
        .with(&[ArchiveSettings::CHUNK_ROWS]),
    key("max_rows", Kind::Whole, "at most this many rows per run"),
    key("max_time", Kind::Duration, "at most this long per run; default: the agent's timeout"),
    key("delete", Kind::Flag, "false: a rehearsal, nothing is deleted and no copy is left"),
    key("level", Kind::Whole, "compression from 1 (fast) to {} (small); default {}")
        .with(&[ArchiveSettings::LARGEST_LEVEL, ArchiveSettings::LEVEL]),
];
const FROM_KEYS: &[Key] = &[
    key("sql", Kind::Text, "the database: name of a tool of type sql"),
    key("url", Kind::TextOrSecret, "or its address, as in a tool of type sql"),
    key("password", Kind::Secret, "postgres: the password"),
    key("table", Kind::Text, "the table; postgres: also schema.table"),
    key("key", Kind::Texts, "columns that identify a row: the primary key, or a UNIQUE one"),
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

const FROM_EXAMPLE: &str = "from = { sql = \"app_db\", table = \"orders\", key = [\"id\"], column = \"created_at\", older_than = \"90d\" }";
const TO_EXAMPLE: &str = "to = { folder = \"archive/orders\" }";

pub(in crate::config) fn settings(section: &Section<'_>, tools: &Tools) -> Option<ArchiveSettings> {
    let up_to = |key: &'static str, most: u64| {
        let (number, item) = (section.whole(key, 1)?, section.get(key)?);
        if number > most {
            item.refuse::<()>(format!("`{key}` is at most {most}"));
        }
        Some(number)
    };
    let chunk_rows = up_to("chunk_rows", ArchiveSettings::LARGEST_CHUNK_ROWS);
    let level = up_to("level", ArchiveSettings::LARGEST_LEVEL);
    let (max_rows, max_time) = (section.whole("max_rows", 1), section.positive("max_time"));
    let delete = section.flag("delete").unwrap_or(ArchiveSettings::DELETE);
    let from = needs(section, "archive_rows", "from", FROM_EXAMPLE)?.section(FROM_KEYS);
    let to = needs(section, "archive_rows", "to", TO_EXAMPLE)?;
    let from = from.and_then(|from| source(&from, tools, delete));
    let to = to.section(TO_KEYS).and_then(|place| destination(to, &place, tools));
    let (from, to) = (from?, to?);
    if let ArchiveTarget::Table { database, table } = &to {
        check_destination_table(section, &from, database, table);
    }
    Some(ArchiveSettings {
        from,
        to,
        chunk_rows: chunk_rows.unwrap_or(ArchiveSettings::CHUNK_ROWS),
        max_rows,
        max_time,
        delete,
        level: level.unwrap_or(ArchiveSettings::LEVEL),
    })
}

/// Reports a table that these rows can't go to.
fn check_destination_table(section: &Section<'_>, from: &ArchiveSource, there: &Database, table: &str) {
    let is_sqlite = |url: &TextOrSecret| match url {
        TextOrSecret::Text(url) => Some(url.starts_with("sqlite:")),
        TextOrSecret::Secret(_) => None,
    };
    let here = &from.database.url;
    if let (Some(there), Some(here)) = (is_sqlite(&there.url), is_sqlite(here))
        && there != here
    {
        section.file.error(
            Some(section.span.clone()),
            "rows go from SQLite to SQLite or from PostgreSQL to PostgreSQL: types would not survive".into(),
            Some("archive to a folder or to S3, or to a database of the same kind".into()),
        );
    }
    if there.url == *here && table == from.table {
        section.file.error(Some(section.span.clone()), "`from` and `to` are the same table".into(), None);
    }
}

fn report_missing(section: &Section<'_>, key: &str, of: &str, example: &str) {
    let keys: Vec<&str> = key.split("` or `").collect();
    section.missing::<()>(&keys, format!("`{of}` needs `{key}`"), Some(format!("as in {example}")));
}

fn source(section: &Section<'_>, tools: &Tools, deletes: bool) -> Option<ArchiveSource> {
    let database = address(section, tools, deletes, "from")?;
    let text = |key: &'static str| {
        let Some(item) = section.get(key) else {
            report_missing(section, key, "from", FROM_EXAMPLE);
            return None;
        };
        let text = item.text()?;
        name(item, text)?;
        Some(text.to_owned())
    };
    let (table, column, key) = (text("table"), text("column"), key_columns(section));
    let older_than = match section.get("older_than") {
        None => {
            report_missing(section, "older_than", "from", FROM_EXAMPLE);
            None
        }
        Some(_) => section.positive("older_than"),
    };
    let unit = section.word::<TimeUnit>("unit");
    let only = match section.get("only") {
        None => BTreeMap::new(),
        Some(item) => only(item)?,
    };
    Some(ArchiveSource {
        database,
        table: table?,
        key: key?,
        column: column?,
        older_than: older_than?,
        unit,
        only,
    })
}

fn key_columns(section: &Section<'_>) -> Option<Vec<String>> {
    let Some(item) = section.get("key") else {
        report_missing(section, "key", "from", FROM_EXAMPLE);
        return None;
    };
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
    Some(columns)
}

fn name(item: Item<'_>, text: &str) -> Option<()> {
    if text.is_empty() || text.contains('\0') {
        return item.refuse(format!("`{}` has a name that is empty or holds a NUL byte", item.name));
    }
    Some(())
}

/// Parses `only`. Its values are bound, so nothing here is SQL.
fn only(item: Item<'_>) -> Option<BTreeMap<String, OneOrMany>> {
    let item = Item { name: "only", ..item };
    item.table()?;
    let columns: Option<BTreeMap<String, OneOrMany>> = serde_json::from_value(item.json()).ok();
    let says = |values: &OneOrMany| !matches!(values, OneOrMany::Many(list) if list.is_empty());
    let columns = columns.filter(|columns| !columns.is_empty() && columns.values().all(says));
    if columns.is_none() {
        item.refuse_with::<()>(
            "`only` names columns with a value or a list of values: texts, whole numbers, true or false"
                .into(),
            "only = { status = [\"done\", \"cancelled\"] }".into(),
        );
    }
    columns
}

/// Parses the address of a database: by the name of a tool, or directly.
fn address(section: &Section<'_>, tools: &Tools, writes: bool, of: &str) -> Option<Database> {
    match (section.get("sql"), section.get("url")) {
        (Some(item), Some(_)) => {
            item.refuse(format!("`{of}` has both `sql` and `url`: one of them says where the database is"))
        }
        (None, None) => {
            report_missing(section, "sql` or `url", of, if of == "from" { FROM_EXAMPLE } else { TO_EXAMPLE });
            None
        }
        (None, Some(item)) => {
            let password = section.get("password").and_then(|item| item.secret());
            Some(Database { url: database(item)?, password })
        }
        (Some(item), None) => {
            let ToolSettings::Sql(Some(settings)) = named(item, ToolKind::Sql, tools)? else { return None };
            if writes && !settings.mode.writes() {
                return item.refuse_with(
                    format!("tool `{}` only reads, and archived rows are deleted and written", item.text().unwrap_or("")),
                    format!("give `{of}` the database's `url` instead, so that agents with that tool still only read"),
                );
            }
            Some(Database { url: settings.url.clone(), password: settings.password.clone() })
        }
    }
}

/// Returns the settings of a tool of this type.
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

fn destination(item: Item<'_>, section: &Section<'_>, tools: &Tools) -> Option<ArchiveTarget> {
    let kinds: Vec<&str> =
        ["folder", "s3", "sql", "url"].into_iter().filter(|key| section.table.get(*key).is_some()).collect();
    let [kind] = kinds[..] else {
        return item.refuse_with(
            "`to` needs exactly one of `folder`, `s3`, `sql` and `url`".into(),
            format!("as in {TO_EXAMPLE}, to = {{ s3 = \"backups\", prefix = \"orders\" }}, or to = {{ sql = \"warehouse\", table = \"orders_old\" }}"),
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
    Some(match kind {
        "folder" => {
            let folder = section.get("folder")?;
            let text = folder.text()?;
            if text.trim().is_empty() {
                return folder.refuse_with("`folder` is empty".into(), TO_EXAMPLE.into());
            }
            ArchiveTarget::Folder { folder: folder.file.expand(text, folder.span()).display().to_string() }
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
            let prefix = section.text("prefix").map(|prefix| prefix.trim_matches('/').to_owned());
            ArchiveTarget::Bucket { s3: Box::new(settings.clone()), prefix }
        }
        _ => {
            let database = address(section, tools, true, "to")?;
            let Some(table) = section.get("table") else {
                report_missing(
                    section,
                    "table",
                    "to",
                    "to = { sql = \"warehouse\", table = \"orders_old\" }",
                );
                return None;
            };
            let text = table.text()?;
            name(table, text)?;
            ArchiveTarget::Table { database, table: text.to_owned() }
        }
    })
}
