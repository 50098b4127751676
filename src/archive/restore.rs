//! Answers requests to an archive, and restores rows.
use super::look;
use super::object::Manifest;
use super::objects::Objects;
use super::plan::{Plan, Target};
use super::point::point;
use super::row::Row;
use super::run::Time;
use super::source::table::Table;
use super::source::{self, Db};
use super::trouble::failed;
use crate::archive::ask::{Ask, DamagedObject, Range, Restored};
use crate::domain::{ToolError, counted};
use crate::store::Store;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(super) async fn answer(
    plan: &Plan,
    ask: &Ask,
    began: Instant,
    bound: Duration,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    let time = Time::new(began, bound, None);
    match ask {
        Ask::List | Ask::Verify => {
            // Listing objects needs only the storage: the database may no longer exist.
            if let Some(objects) = plan.objects().await? {
                if *ask == Ask::List {
                    return look::list(&objects).await;
                }
                let source = async {
                    let db = source::open(plan.from(), time.hard).await?;
                    let table = db.table(&plan.table).await?;
                    Ok((db, table))
                };
                return look::verify(&objects, source.await).await;
            }
            let db = source::open(plan.from(), time.hard).await?;
            let table = db.table(&plan.table).await?;
            match plan.target((&db, &table), time.hard, store).await? {
                Target::Objects(objects, _) => look::list(&objects).await,
                Target::Table(tables) => look::counted(&tables, &db, &table, *ask == Ask::Verify).await,
            }
        }
        Ask::Restore { range, dry_run } => {
            if range.key.len() > plan.table.key.len()
                || (!range.key.is_empty() && range.key.len() < plan.table.key.len())
            {
                return Err(ToolError::Arguments(format!(
                    "the key has {} columns ({}), and {} values were given",
                    plan.table.key.len(),
                    plan.table.key.join(", "),
                    range.key.len()
                )));
            }
            let mut db = source::open(plan.from(), time.hard).await?;
            let table = db.table(&plan.table).await?;
            if !dry_run {
                db.lock(&table.root).await?;
            }
            let target = plan.target((&db, &table), time.hard, store).await?;
            if let Target::Objects(objects, _) = &target {
                objects.require_owner(Some(&table.about)).await?;
            }
            if !dry_run {
                super::run::begin(&target, &db, &table).await?;
            }
            Restoring { target, db, table, range, dry_run: *dry_run }.run(plan).await
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

impl Restoring<'_> {
    async fn run(self, plan: &Plan) -> Result<Value, ToolError> {
        let mut done = Restored::default();
        if self.dry_run {
            self.db.begin_trial(&self.table).await?;
        }
        self.all(plan, &mut done).await.map_err(|error| self.with_progress(error, &done))?;
        if self.dry_run {
            self.db.end_trial().await?;
        }
        let found = done.rows + done.there + done.conflicts;
        if !self.range.key.is_empty() && found + done.refused > 0 {
            // The requested row was found, so it is in none of the damaged objects.
            done.damaged.clear();
        }
        if !done.damaged.is_empty() && found + done.refused == 0 {
            return Err(failed(&format!(
                "nothing {} put back: {}",
                if self.dry_run { "would be" } else { "was" },
                done.damaged.iter().map(|one| one.problem.as_str()).collect::<Vec<_>>().join("; ")
            )));
        }
        if done.refused > 0 && done.rows + done.there + done.conflicts == 0 {
            return Err(failed(&format!(
                "nothing {} put back: the table does not take the rows: {}",
                if self.dry_run { "would be" } else { "was" },
                done.reasons.join("; ")
            )));
        }
        let mut notes = done.notes();
        if done.rows > 0 && !self.dry_run {
            let dangling = self.db.dangling(&self.table).await?;
            if dangling > 0 {
                notes.push(format!(
                    "{} refer to rows that are not there, as SQLite allows where a program leaves its foreign keys off",
                    counted(dangling, "value") + " of " + &self.table.about.table
                ));
            }
        }
        Ok(json!({
            "table": plan.table.table,
            "restored": done.rows,
            "there": done.there,
            "conflicts": done.conflicts,
            "refused": done.refused,
            "objects": done.objects,
            "damaged": done.damaged,
            "dry_run": self.dry_run,
            "notes": notes,
        }))
    }

    /// Adds to an error what was done before it.
    fn with_progress(&self, error: ToolError, done: &Restored) -> ToolError {
        match error {
            ToolError::Failed(text) if done.rows > 0 && !self.dry_run => {
                failed(&format!("{text} (put back before that: {})", counted(done.rows, "row")))
            }
            other => other,
        }
    }

    async fn all(&self, plan: &Plan, done: &mut Restored) -> Result<(), ToolError> {
        loop {
            let before = done.rows;
            (done.conflicts, done.refused, done.ageless, done.objects) = (0, 0, 0, 0);
            (done.examples, done.reasons, done.damaged) = Default::default();
            match &self.target {
                Target::Objects(objects, _) => {
                    let mut manifests = objects.each_manifest().await?;
                    if self.table.has_self_references() {
                        // Rows were archived before the rows that they refer to.
                        manifests.reverse();
                    }
                    for (name, manifest) in manifests {
                        match manifest {
                            Ok(manifest) if self.range.may_be_in(&manifest) => {
                                self.object(objects, &manifest, done).await?;
                            }
                            Ok(_) => {}
                            Err(error) => done.damaged.push(DamagedObject {
                                object: name,
                                rows: None,
                                problem: error.to_string(),
                            }),
                        }
                    }
                }
                Target::Table(tables) => {
                    let (of, rows) = (&self.table, plan.chunk_rows);
                    tables.restore(&self.db, of, self.range, self.dry_run, rows, done).await?;
                }
            }
            // A refused row may refer to one that has been restored by now.
            if done.refused == 0 || done.rows == before || self.dry_run {
                return Ok(());
            }
        }
    }

    async fn object(
        &self,
        objects: &Objects,
        manifest: &Manifest,
        done: &mut Restored,
    ) -> Result<(), ToolError> {
        // A damaged object does not prevent restoring the others.
        let read = match objects.shelf.get(&manifest.object).await? {
            Some(bytes) => objects.rows(manifest, &bytes),
            None => Err(failed(&format!("{}: {} is missing", objects.shelf.place(), manifest.object))),
        };
        let rows = match read {
            Ok(rows) => rows,
            Err(error) => {
                let (object, rows) = (manifest.object.clone(), Some(manifest.rows));
                done.damaged.push(DamagedObject { object, rows, problem: error.to_string() });
                return Ok(());
            }
        };
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
            done.count(&wanted, self.db.try_put(&table, &wanted).await?);
            return Ok(());
        }
        objects.intend_restore(manifest).await?;
        point("restoring");
        let put = match self.db.put(&table, &wanted).await {
            Ok(put) => put,
            Err(error) => {
                // The database determines the outcome, if it can still be reached.
                let _ = objects.mend(&self.db, &self.table).await;
                return Err(error);
            }
        };
        point("put");
        let none = put.fresh + put.there == 0;
        let stay = done.count(&wanted, put);
        if none {
            return objects.seal(manifest).await;
        }
        rest.extend(stay.into_iter().map(|at| (places[at], wanted[at].clone())));
        rest.sort_unstable_by_key(|(place, _)| *place);
        objects.keep_rest(manifest, rest.into_iter().map(|(_, row)| row).collect()).await
    }
}
