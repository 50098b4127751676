//! What a person asks of an archive, and the way back.
use super::object::Manifest;
use super::objects::Objects;
use super::row::{self, Row};
use super::run::Time;
use super::source::{self, Db, Table};
use super::{Settings, Target, look, point};
use crate::domain::counted;
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
                    return look::list(&objects).await;
                }
                let source = async {
                    let db = source::open(&settings.from, time.hard).await?;
                    let table = db.table(&settings.table).await?;
                    Ok((db, table))
                };
                return look::verify(&objects, source.await).await;
            }
            let db = source::open(&settings.from, time.hard).await?;
            let table = db.table(&settings.table).await?;
            match settings.target((&db, &table), time.hard, store).await? {
                Target::Objects(objects, _) => look::list(&objects).await,
                Target::Table(tables) => look::counted(&tables, &db, &table, *ask == Ask::Verify).await,
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
            if let Target::Objects(objects, _) = &target {
                objects.must_be_of(Some(&table.about)).await?;
            }
            if !dry_run {
                super::run::begin(&target, &db, &table).await?;
            }
            Restoring { target, db, table, range, dry_run: *dry_run }.run(settings).await
        }
    }
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
    /// Rows that no range of time holds.
    ageless: u64,
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
                "still archived: {}, since other rows of the table have the same key, or another unique value in \
                 common, or a trigger keeps them out: {}",
                counted(done.conflicts, "row"),
                done.examples.join("; ")
            ));
        }
        if done.ageless > 0 {
            notes.push(format!(
                "still archived: {}, whose age can't be told, so that no range of time holds them; ask for them by key, \
                 or for all",
                counted(done.ageless, "row")
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
        if self.range.key.is_empty() && (self.range.from.is_some() || self.range.to.is_some()) {
            done.ageless += rows.iter().filter(|row| row.at.is_none()).count() as u64;
        }
        let (wanted, mut rest): (Vec<_>, Vec<_>) =
            rows.into_iter().enumerate().partition(|(_, row)| self.range.holds(row));
        let (places, wanted): (Vec<usize>, Vec<Row>) = wanted.into_iter().unzip();
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
            rest.push((places[at], wanted[at].clone()));
        }
        rest.sort_unstable_by_key(|(place, _)| *place);
        objects.keep_rest(manifest, rest.into_iter().map(|(_, row)| row).collect()).await
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
