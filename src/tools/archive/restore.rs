//! What a person asks of an archive: what is in it, is it whole, and put rows of it back.
use super::object::Manifest;
use super::objects::Objects;
use super::row::{self, Row};
use super::run::Time;
use super::source::{self, Db, Table};
use super::{Settings, failed, point};
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
) -> Result<Value, ToolError> {
    let objects = settings.objects().await?;
    match ask {
        Ask::List => list(&objects).await,
        Ask::Verify => verify(&objects).await,
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
            let time = Time::new(began, bound, None);
            let mut db = source::open(&settings.from, time.hard).await?;
            let table = db.table(&settings.table).await?;
            if !dry_run {
                db.lock(&settings.table.table).await?;
                objects.claim(&table.about).await?;
                objects.mend(&db, &table).await?;
            }
            Restoring { objects, db, table, range, dry_run: *dry_run }.run(settings).await
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

async fn verify(objects: &Objects) -> Result<Value, ToolError> {
    let manifests = objects.manifests().await?;
    let (mut rows, mut problems) = (0, Vec::new());
    for manifest in &manifests {
        let checked = match objects.shelf.get(&manifest.object).await? {
            None => Err(failed(&format!("{}: it is missing", manifest.object))),
            Some(bytes) => objects.rows(manifest, &bytes).map(|found| found.len()),
        };
        match checked {
            Ok(count) => rows += count,
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok(json!({
        "place": objects.shelf.place(),
        "objects": manifests.len(),
        "rows": rows,
        "pending": objects.pending().await?,
        "ok": problems.is_empty(),
        "problems": problems,
    }))
}

struct Restoring<'a> {
    objects: Objects,
    db: Db,
    table: Table,
    range: &'a Range,
    dry_run: bool,
}

/// What came of it.
#[derive(Default)]
struct Restored {
    rows: u64,
    there: u64,
    conflicts: u64,
    examples: Vec<String>,
    objects: u64,
}

impl Restoring<'_> {
    async fn run(self, settings: &Settings) -> Result<Value, ToolError> {
        let mut done = Restored::default();
        for manifest in self.objects.manifests().await? {
            if self.range.may_be_in(&manifest) {
                self.object(&manifest, &mut done).await?;
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

    async fn object(&self, manifest: &Manifest, done: &mut Restored) -> Result<(), ToolError> {
        let bytes = self.objects.shelf.fetch(&manifest.object).await?;
        let rows = self.objects.rows(manifest, &bytes)?;
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
            for (row, there) in wanted.iter().zip(there) {
                match there {
                    None => done.rows += 1,
                    Some(now) if now.line == row.line => done.there += 1,
                    Some(_) => done.conflict(row),
                }
            }
            return Ok(());
        }
        self.objects.intend_restore(manifest).await?;
        point("restoring");
        let put = self.db.put(&table, &wanted).await?;
        point("put");
        if put.fresh + put.there == 0 {
            put.conflicts.iter().for_each(|at| done.conflict(&wanted[*at]));
            return self.objects.seal(manifest).await;
        }
        done.rows += put.fresh;
        done.there += put.there;
        for at in put.conflicts {
            done.conflict(&wanted[at]);
            rest.push(wanted[at].clone());
        }
        self.objects.keep_rest(manifest, rest).await
    }
}

impl Restored {
    fn conflict(&mut self, row: &Row) {
        self.conflicts += 1;
        if self.examples.len() < 3 {
            self.examples.push(row.key.iter().map(row::shown).collect::<Vec<_>>().join(", "));
        }
    }
}
