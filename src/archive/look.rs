//! Lists and verifies the content of an archive.
use super::object::Manifest;
use super::objects::{Objects, QUARANTINE, id};
use super::row::Row;
use super::source::Db;
use super::source::table::Table;
use super::tables::Tables;
use super::trouble::failed;
use crate::domain::{ToolError, counted as words};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Lists the objects that count.
pub(super) async fn list(objects: &Objects) -> Result<Value, ToolError> {
    objects.require_owner(None).await?;
    let (mut manifests, mut problems) = (Vec::new(), Vec::new());
    for (_, manifest) in objects.each_manifest().await? {
        match manifest {
            Ok(manifest) => manifests.push(manifest),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let sum = |of: fn(&Manifest) -> u64| manifests.iter().map(of).sum::<u64>();
    let shown: Vec<Value> = manifests
        .iter()
        .map(|one| {
            json!({
                "object": one.object, "rows": one.rows, "bytes": one.bytes, "stored": one.stored,
                "first": one.first, "last": one.last, "oldest": one.oldest, "newest": one.newest,
                "written_at": one.written_at,
            })
        })
        .collect();
    Ok(json!({
        "place": objects.shelf.place(),
        "objects": shown,
        "rows": sum(|one| one.rows),
        "bytes": sum(|one| one.bytes),
        "stored": sum(|one| one.stored),
        "pending": objects.pending().await?.len(),
        "problems": problems,
    }))
}

/// Counts the rows in the destination table of an archive.
pub(super) async fn counted(
    tables: &Tables,
    db: &Db,
    table: &Table,
    verify: bool,
) -> Result<Value, ToolError> {
    let counted = tables.count(verify.then_some((db, table))).await?;
    let mut found = json!({
        "place": tables.place(),
        "rows": counted.rows,
        "oldest": counted.oldest,
        "newest": counted.newest,
        "pending": u64::from(tables.journal.is_pending().await?),
    });
    if verify {
        found["ok"] = (counted.both == 0).into();
        found["problems"] = match counted.both {
            0 => json!([]),
            both => json!([format!(
                "{} in both tables: an interrupted step that the next run settles, or keys that were used again",
                words(both, "row")
            )]),
        };
    }
    Ok(found)
}

/// The result of verifying an archive.
#[derive(Default)]
struct Found {
    rows: usize,
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Found {
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Verifies every object. If the database can be reached, no row of an object may be in the table as well.
pub(super) async fn verify(
    objects: &Objects,
    source: Result<(Db, Table), ToolError>,
) -> Result<Value, ToolError> {
    let mut found = Found::default();
    let source = match source {
        Ok(source) => Some(source),
        Err(error) => {
            found.notes.push(format!("not compared with the table: {error}"));
            None
        }
    };
    objects.require_owner(source.as_ref().map(|(_, table)| &table.about)).await?;
    let pending = objects.pending().await?;
    let mut manifests = objects.each_manifest().await?;
    let count = manifests.len();
    if let Some((db, table)) = &source {
        db.begin_trial(table).await?;
    }
    if source.as_ref().is_some_and(|(_, table)| table.has_self_references()) {
        // Rows were archived before the rows that they refer to.
        manifests.reverse();
    }
    for (_, manifest) in manifests {
        match manifest {
            Ok(manifest) => verify_one(objects, &manifest, &source, &pending, &mut found).await?,
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    if let Some((db, _)) = &source {
        db.end_trial().await?;
    }
    for name in objects.strays().await? {
        let all_there = match &source {
            Some((db, table)) => objects.is_all_there(db, table, &name).await?,
            None => false,
        };
        // A run may have continued with it meanwhile.
        if !objects.strays().await?.contains(&name) {
            continue;
        }
        if all_there {
            found
                .notes
                .push(format!("{name} was broken off and counts for nothing: the next run removes it"));
        } else {
            found.problems.push(format!(
                "{name} has no manifest, so that its rows are not counted, and not all of them are known to be elsewhere"
            ));
        }
    }
    let aside = objects.shelf.list(QUARANTINE).await?.len();
    if aside > 0 {
        found.notes.push(format!(
            "not counted: {} in {QUARANTINE}, where runs have put what they said why; remove what you do not need",
            words(aside, "file")
        ));
    }
    Ok(json!({
        "place": objects.shelf.place(),
        "objects": count,
        "rows": found.rows,
        "pending": pending.len(),
        "ok": found.problems.is_empty(),
        "problems": found.problems,
        "notes": found.notes,
    }))
}

async fn verify_one(
    objects: &Objects,
    manifest: &Manifest,
    source: &Option<(Db, Table)>,
    pending: &BTreeSet<String>,
    found: &mut Found,
) -> Result<(), ToolError> {
    let checked = match objects.shelf.get(&manifest.object).await? {
        None => Err(failed(&format!("{}: it is missing", manifest.object))),
        Some(bytes) => objects.rows(manifest, &bytes),
    };
    let rows = match checked {
        Ok(rows) => rows,
        Err(error) => {
            found.problems.push(error.to_string());
            return Ok(());
        }
    };
    found.rows += rows.len();
    if !manifest.is_of(&rows) {
        found.problems.push(format!(
            "{}: the keys and times that its manifest names are not those of its rows, and a range may miss some",
            manifest.object
        ));
    }
    // While rows are being restored, they may be in both places.
    let Some((db, table)) = source.as_ref().filter(|_| !pending.contains(id(manifest))) else {
        return Ok(());
    };
    if let Err(error) = would_come_back(db, table, manifest, &rows, found).await {
        found.note(format!("not compared with the table: {error}"));
    }
    Ok(())
}

/// Checks that rows are in one place only, and can be restored into the table as it is now: it tries that,
/// and rolls it back.
async fn would_come_back(
    db: &Db,
    table: &Table,
    manifest: &Manifest,
    rows: &[Row],
    found: &mut Found,
) -> Result<(), ToolError> {
    let object = &manifest.object;
    let table = match table.as_archived(&manifest.about) {
        Ok(table) => table,
        Err(error) => {
            found
                .problems
                .push(format!("{object}: it can't be put back into the table as it is now: {error}"));
            return Ok(());
        }
    };
    let both = if table.can_put() {
        let put = db.try_put(&table, rows).await?;
        if !put.refused.is_empty() {
            let reasons: Vec<&str> = put.refused.iter().take(3).map(|(_, why)| why.as_str()).collect();
            found.problems.push(format!(
                "{object}: {} of it can't be put back into the table as it is now: {}",
                words(put.refused.len(), "row"),
                reasons.join("; ")
            ));
        }
        if !put.conflicts.is_empty() {
            found.note(format!(
                "{object}: {} of it can't be put back as long as others of the table have their keys, or other unique \
                 values in common, or a trigger keeps them out",
                words(put.conflicts.len(), "row")
            ));
        }
        put.there
    } else {
        found.note(format!(
            "whether rows can be put back into {} was not tried: the role of `url` may not INSERT",
            table.about.table
        ));
        in_both(db, &table, rows).await?
    };
    if both > 0 {
        found.problems.push(format!(
            "{object}: {} of it in the table as well: was the database set back to an earlier state?",
            words(both, "row")
        ));
    }
    Ok(())
}

async fn in_both(db: &Db, table: &Table, rows: &[Row]) -> Result<u64, ToolError> {
    let there = db.find(table, rows).await?;
    let is_same = |(row, there): &(&Row, Option<Row>)| there.as_ref().is_some_and(|now| now.line == row.line);
    Ok(rows.iter().zip(there).filter(is_same).count() as u64)
}
