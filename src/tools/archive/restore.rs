//! What a person asks of an archive: what is in it, is it whole, and put rows of it back.
use super::object::Manifest;
use super::objects::Objects;
use super::row::{self, Row};
use super::run::Time;
use super::source::{self, Db, Table};
use super::tables::Tables;
use super::{Settings, Target, failed, point};
use crate::store::Store;
use crate::tools::ToolError;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is asked of an archive.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Its objects.
    List,
    /// Is every object there and whole?
    Verify,
    /// Put these rows back into the table.
    Restore {
        /// Which.
        range: Range,
        /// Only say what would be put back.
        dry_run: bool,
    },
}

/// Which rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Range {
    /// Not older than this, by the column of the age.
    pub from: Option<Timestamp>,
    /// Older than this.
    pub to: Option<Timestamp>,
    /// With this key: a value for each of its columns.
    pub key: Vec<String>,
}

impl Range {
    fn holds(&self, row: &Row) -> bool {
        let late_enough = self.from.is_none_or(|from| row.at.is_some_and(|at| at >= from));
        let early_enough = self.to.is_none_or(|to| row.at.is_some_and(|at| at < to));
        let is_key = self.key.is_empty() || row.key.iter().map(row::shown).eq(self.key.iter().cloned());
        late_enough && early_enough && is_key
    }

    /// Can an object hold such rows?
    fn may_be_in(&self, manifest: &Manifest) -> bool {
        let too_old = self.from.is_some_and(|from| manifest.newest.is_some_and(|newest| newest < from));
        let too_new = self.to.is_some_and(|to| manifest.oldest.is_some_and(|oldest| oldest >= to));
        !too_old && !too_new
    }
}

pub(super) async fn answer(
    settings: &Settings,
    ask: &Ask,
    began: Instant,
    bound: Duration,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    let time = Time::new(began, bound, None);
    match ask {
        Ask::List | Ask::Verify => {
            // Of objects nothing more is asked than of their place: the database may be gone.
            if let Some(objects) = settings.objects().await? {
                if *ask == Ask::List {
                    return list(&objects).await;
                }
                let source = async {
                    let db = source::open(&settings.from, time.hard).await?;
                    let table = db.table(&settings.table).await?;
                    Ok((db, table))
                };
                return verify(&objects, source.await).await;
            }
            let db = source::open(&settings.from, time.hard).await?;
            let table = db.table(&settings.table).await?;
            match settings.target((&db, &table), time.hard, store).await? {
                Target::Objects(objects, _) => list(&objects).await,
                Target::Table(tables) => counted(&tables, &db, &table, *ask == Ask::Verify).await,
            }
        }
        Ask::Restore { range, dry_run } => {
            if range.key.len() > settings.table.key.len()
                || (!range.key.is_empty() && range.key.len() < settings.table.key.len())
            {
                return Err(ToolError::Arguments(format!(
                    "the key has {} columns ({}), and {} values were given",
                    settings.table.key.len(),
                    settings.table.key.join(", "),
                    range.key.len()
                )));
            }
            let mut db = source::open(&settings.from, time.hard).await?;
            let table = db.table(&settings.table).await?;
            if !dry_run {
                db.lock(&table.root).await?;
            }
            let target = settings.target((&db, &table), time.hard, store).await?;
            if !dry_run {
                super::run::begin(&target, &db, &table).await?;
            }
            Restoring { target, db, table, range, dry_run: *dry_run }.run(settings).await
        }
    }
}

async fn list(objects: &Objects) -> Result<Value, ToolError> {
    let manifests = objects.manifests().await?;
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
        "pending": objects.pending().await?,
    }))
}

async fn counted(tables: &Tables, db: &Db, table: &Table, verify: bool) -> Result<Value, ToolError> {
    let counted = tables.count(verify.then_some((db, table))).await?;
    let mut found = json!({
        "place": tables.place(),
        "rows": counted.rows,
        "oldest": counted.oldest,
        "newest": counted.newest,
        "pending": 0,
    });
    if verify {
        found["ok"] = (counted.both == 0).into();
        found["problems"] = match counted.both {
            0 => json!([]),
            both => json!([format!(
                "{both} rows are in both tables: an interrupted step that the next run settles, or keys that were \
                 used again"
            )]),
        };
    }
    Ok(found)
}

/// Reads every object. Where the database answers, no row of an object may be in the table as well.
async fn verify(objects: &Objects, source: Result<(Db, Table), ToolError>) -> Result<Value, ToolError> {
    let manifests = objects.manifests().await?;
    let (mut rows, mut problems, mut notes) = (0, Vec::new(), Vec::new());
    if let Err(error) = &source {
        notes.push(format!("not compared with the table: {error}"));
    }
    for manifest in &manifests {
        let checked = match objects.shelf.get(&manifest.object).await? {
            None => Err(failed(&format!("{}: it is missing", manifest.object))),
            Some(bytes) => objects.rows(manifest, &bytes),
        };
        match (checked, &source) {
            (Ok(found), Ok((db, table))) => {
                rows += found.len();
                let both = in_both(db, table, manifest, &found).await?;
                if both > 0 {
                    problems.push(format!(
                        "{}: {both} rows of it are in the table as well: was the database set back to an earlier state?",
                        manifest.object
                    ));
                }
            }
            (Ok(found), Err(_)) => rows += found.len(),
            (Err(error), _) => problems.push(error.to_string()),
        }
    }
    Ok(json!({
        "place": objects.shelf.place(),
        "objects": manifests.len(),
        "rows": rows,
        "pending": objects.pending().await?,
        "ok": problems.is_empty(),
        "problems": problems,
        "notes": notes,
    }))
}

async fn in_both(db: &Db, table: &Table, manifest: &Manifest, rows: &[Row]) -> Result<usize, ToolError> {
    let Ok(table) = table.as_archived(&manifest.about) else { return Ok(0) };
    let there = db.find(&table, rows).await?;
    Ok(rows
        .iter()
        .zip(there)
        .filter(|(row, there)| there.as_ref().is_some_and(|now| now.line == row.line))
        .count())
}

struct Restoring<'a> {
    target: Target,
    db: Db,
    table: Table,
    range: &'a Range,
    dry_run: bool,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) rows: u64,
    pub(super) there: u64,
    conflicts: u64,
    examples: Vec<String>,
    objects: u64,
}

impl Restoring<'_> {
    async fn run(self, settings: &Settings) -> Result<Value, ToolError> {
        let mut done = Restored::default();
        match &self.target {
            Target::Objects(objects, _) => {
                for manifest in objects.manifests().await? {
                    if self.range.may_be_in(&manifest) {
                        self.object(objects, &manifest, &mut done).await?;
                    }
                }
            }
            Target::Table(tables) => {
                let of = &self.table;
                tables
                    .restore(&self.db, of, self.range, self.dry_run, settings.chunk_rows, &mut done)
                    .await?;
            }
        }
        let mut notes = Vec::new();
        if done.conflicts > 0 {
            notes.push(format!(
                "{} rows stay archived: other rows of the table have their key, or another unique value of theirs: {}",
                done.conflicts,
                done.examples.join("; ")
            ));
        }
        if done.rows > 0 {
            notes.push(
                "rows that are old enough are archived again by the next run of an agent: pause it to keep them"
                    .to_owned(),
            );
        }
        Ok(json!({
            "table": settings.table.table,
            "restored": done.rows,
            "there": done.there,
            "conflicts": done.conflicts,
            "objects": done.objects,
            "dry_run": self.dry_run,
            "notes": notes,
        }))
    }

    async fn object(
        &self,
        objects: &Objects,
        manifest: &Manifest,
        done: &mut Restored,
    ) -> Result<(), ToolError> {
        let bytes = objects.shelf.fetch(&manifest.object).await?;
        let rows = objects.rows(manifest, &bytes)?;
        drop(bytes);
        let (wanted, mut rest): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| self.range.holds(row));
        if wanted.is_empty() {
            return Ok(());
        }
        done.objects += 1;
        let table = self.table.as_archived(&manifest.about)?;
        if self.dry_run {
            let there = self.db.find(&table, &wanted).await?;
            done.count(&wanted, there);
            return Ok(());
        }
        objects.intend_restore(manifest).await?;
        point("restoring");
        let put = self.db.put(&table, &wanted).await?;
        point("put");
        if put.fresh + put.there == 0 {
            put.conflicts.iter().for_each(|at| done.conflict(&wanted[*at]));
            return objects.seal(manifest).await;
        }
        done.rows += put.fresh;
        done.there += put.there;
        for at in put.conflicts {
            done.conflict(&wanted[at]);
            rest.push(wanted[at].clone());
        }
        objects.keep_rest(manifest, rest).await
    }
}

impl Restored {
    /// What would become of rows, by what is there.
    pub(super) fn count(&mut self, rows: &[Row], there: Vec<Option<Row>>) {
        for (row, there) in rows.iter().zip(there) {
            match there {
                None => self.rows += 1,
                Some(now) if now.line == row.line => self.there += 1,
                Some(_) => self.conflict(row),
            }
        }
    }

    pub(super) fn conflict(&mut self, row: &Row) {
        self.conflicts += 1;
        if self.examples.len() < 3 {
            self.examples.push(row.key.iter().map(row::shown).collect::<Vec<_>>().join(", "));
        }
    }
}
