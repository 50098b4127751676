//! Inspects a table of an SQLite file: its columns, its unique key, and foreign keys that refer to it.
use super::super::names::readings;
use super::super::table::{
    Cast, Filter, ForeignKey, Read, Table, TablePrivileges, TableSpec, about, check_columns, has_column,
    no_key, no_table, null_key, quote,
};
use super::statement::Trouble;
use crate::archive::row::{Column, Kind};
use crate::archive::trouble::failed;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// Inspects a table, and checks that it can be archived.
pub(super) fn look(db: &Connection, path: &Path, spec: &TableSpec) -> Result<Table, Trouble> {
    let spec = &TableSpec { table: real_name(db, path, spec)?, ..spec.clone() };
    let mut columns = Vec::new();
    let mut primary: Vec<(i64, String, bool)> = Vec::new();
    let mut not_null = Vec::new();
    let mut info =
        db.prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid")?;
    let mut rows = info.query([&spec.table])?;
    while let Some(row) = rows.next()? {
        let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
        let (required, place, hidden): (bool, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        if hidden != 0 {
            if spec.key.contains(&name) || spec.column == name {
                return Err(failed(&format!(
                    "column `{name}` of {} is generated: rows are known and old by columns that are stored as they were \
                     given",
                    spec.table
                ))
                .into());
            }
            continue;
        }
        if place > 0 {
            primary.push((place, name.clone(), kind.eq_ignore_ascii_case("integer")));
        }
        if required {
            not_null.push(name.clone());
        }
        columns.push(Column { name, kind });
    }
    check_columns(spec, &columns)?;
    let all = columns.iter().map(|column| column.name.clone()).collect();
    let keys = keys(db, spec, &primary)?;
    let without_rowid: bool = db.query_row(
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
        [&spec.table],
        |row| row.get(0),
    )?;
    let is_rowid = primary.len() == 1 && primary[0].2 && !without_rowid;
    for name in &spec.key {
        let of_primary = primary.iter().any(|(_, known, _)| known == name);
        let never = not_null.contains(name) || (of_primary && (without_rowid || is_rowid));
        if !never {
            let ask = format!("SELECT 1 FROM {} WHERE {} IS NULL LIMIT 1", quote(&spec.table), quote(name));
            let mut ask = db.prepare(&ask)?;
            if ask.exists([])? {
                return Err(null_key(spec, name).into());
            }
        }
    }
    let (own, referrers) = referrers(db, &spec.table)?;
    Ok(Table {
        casts: columns.iter().map(|column| Cast { read: Read::Plain, put: column.kind.clone() }).collect(),
        about: about(Kind::Sqlite, format!("sqlite:{}", path.display()), spec, columns),
        quoted: quote(&spec.table),
        keys,
        root: spec.table.clone(),
        all,
        ability: TablePrivileges::ALL,
        own,
        referrers,
    })
}

/// Returns names of the columns that the table has now, without generated ones.
pub(super) fn names(db: &Connection, table: &Table) -> rusqlite::Result<Vec<String>> {
    let mut info =
        db.prepare_cached("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid")?;
    info.query_map([&table.root], |row| row.get(0))?.collect()
}

/// Returns whether the table has triggers.
pub(super) fn has_triggers(db: &Connection, table: &Table) -> rusqlite::Result<bool> {
    let ask = "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE";
    db.prepare_cached(ask)?.exists([&table.root])
}

/// Checks that the columns of a filter exist; generated ones are allowed.
pub(super) fn check_filter(db: &Connection, table: &Table, filter: &Filter) -> Result<(), Trouble> {
    if filter.only.is_empty() {
        return Ok(());
    }
    let name = &table.about.table;
    let mut info = db.prepare_cached("SELECT name FROM pragma_table_xinfo(?1)")?;
    let known: Vec<String> = info.query_map([name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for (wanted, _) in &filter.only {
        has_column(name, known.iter().map(String::as_str), wanted)?;
    }
    Ok(())
}

/// Returns expressions of the key columns, with the collation of the unique index that distinguishes rows.
fn keys(db: &Connection, spec: &TableSpec, primary: &[(i64, String, bool)]) -> Result<Vec<String>, Trouble> {
    let same =
        |names: &[String]| names.len() == spec.key.len() && spec.key.iter().all(|key| names.contains(key));
    let mut indexes =
        db.prepare("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" = 1 AND partial = 0")?;
    let names: Vec<String> =
        indexes.query_map([&spec.table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for index in names {
        let mut parts =
            db.prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno")?;
        let parts: Vec<(Option<String>, String)> = parts
            .query_map([&index], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let columns: Vec<String> = parts.iter().filter_map(|(name, _)| name.clone()).collect();
        if columns.len() == parts.len() && same(&columns) {
            let collation = |key: &String| {
                let found = parts.iter().find(|(name, _)| name.as_ref() == Some(key));
                found.map_or("BINARY", |(_, collation)| collation)
            };
            return Ok(spec
                .key
                .iter()
                .map(|key| format!("{} COLLATE {}", quote(key), quote(collation(key))))
                .collect());
        }
    }
    // The rowid itself has no index of its own.
    let names: Vec<String> = primary.iter().map(|(_, name, _)| name.clone()).collect();
    if primary.len() == 1 && primary[0].2 && same(&names) {
        return Ok(spec.key.iter().map(|key| quote(key)).collect());
    }
    Err(no_key(spec).into())
}

/// Counts the rows of the table that refer to rows that do not exist.
pub(super) fn dangling(db: &Connection, table: &Table) -> Result<u64, Trouble> {
    let ask = "SELECT count(*) FROM pragma_foreign_key_check(?1)";
    // A foreign key that does not match its parent table can't be checked.
    let count: i64 = db.query_row(ask, [&table.root], |row| row.get(0)).unwrap_or(0);
    Ok(count.unsigned_abs())
}

/// Returns foreign keys of the table to itself, and those of other tables to it.
fn referrers(db: &Connection, table: &str) -> Result<(Vec<ForeignKey>, Vec<ForeignKey>), Trouble> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    let mut tables =
        db.prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for other in tables {
        let mut list = db.prepare(
            "SELECT id, \"from\", \"to\", on_delete, seq FROM pragma_foreign_key_list(?1)
             WHERE \"table\" = ?2 COLLATE NOCASE ORDER BY id, seq",
        )?;
        let mut rows = list.query([&other, table])?;
        let mut last = None;
        let found: &mut Vec<ForeignKey> =
            if other.eq_ignore_ascii_case(table) { &mut own } else { &mut others };
        while let Some(row) = rows.next()? {
            let (id, from, to): (i64, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let to = match to {
                Some(to) => to,
                None => {
                    // The primary key is meant, column by column.
                    let place = row.get::<_, i64>(4)? + 1;
                    let ask = "SELECT name FROM pragma_table_info(?1) WHERE pk = ?2";
                    let found = db.query_row(ask, (table, place), |row| row.get(0)).optional()?;
                    found.ok_or_else(|| {
                        let other = quote(&other);
                        failed(&format!("the foreign key of {other} does not fit the primary key of {table}"))
                    })?
                }
            };
            if last != Some(id) {
                let action: String = row.get(3)?;
                let action =
                    if ["NO ACTION", "RESTRICT"].contains(&action.as_str()) { String::new() } else { action };
                found.push(ForeignKey { table: quote(&other), columns: Vec::new(), action });
                last = Some(id);
            }
            let referrer = found.last_mut().expect("one was pushed");
            referrer.columns.push((quote(&from), quote(&to)));
        }
    }
    Ok((own, others))
}

/// Finds the table with that name. Returns the name as the database has it.
fn real_name(db: &Connection, path: &Path, spec: &TableSpec) -> Result<String, Trouble> {
    let mut all = db.prepare("SELECT name, type FROM pragma_table_list WHERE schema = 'main'")?;
    let names: Vec<(String, String)> =
        all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    // Only the schema `main` is in this file; an attached one would be another file.
    let wanted: Vec<String> = readings(&spec.table)
        .into_iter()
        .filter_map(|mut parts| match (parts.pop(), parts.pop()) {
            (Some(name), None) => Some(name),
            (Some(name), Some(schema)) if schema.eq_ignore_ascii_case("main") => Some(name),
            _ => None,
        })
        .collect();
    let exact = wanted.iter().find_map(|wanted| names.iter().find(|(name, _)| name == wanted));
    let any = exact.or_else(|| {
        wanted.iter().find_map(|wanted| names.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)))
    });
    match any {
        Some((name, kind)) if kind == "table" => Ok(name.clone()),
        Some((name, kind)) => {
            let kind = if kind == "view" { "view".to_owned() } else { format!("{kind} table") };
            Err(failed(&format!("`{name}` is a {kind}: only the rows of a table can be archived")).into())
        }
        None => {
            let fit = |(name, kind): &(String, String)| kind == "table" && !name.starts_with("sqlite_");
            let names: Vec<String> = names.into_iter().filter(fit).map(|(name, _)| name).collect();
            Err(no_table(&spec.table, &path.display().to_string(), &names).into())
        }
    }
}
