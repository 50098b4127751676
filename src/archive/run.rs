//! One run: recovers interrupted steps, then moves chunk after chunk until the time is up.
use super::objects::Mended;
use super::plan::{Plan, Target};
use super::point::point;
use super::row::{self, Cell, Row};
use super::source::outcome::{DeleteMode, DeleteOutcome, places};
use super::source::table::{Bounds, CHUNK_BYTES, Filter, Table};
use super::source::{self, Db};
use super::tables::{rehearsed, without};
use super::trouble::failed;
use crate::archive::tally::Tally;
use crate::domain::{ToolError, counted};
use crate::store::Store;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often a chunk is rewritten because some of its rows changed meanwhile.
const MAX_WRITE_ATTEMPTS: u32 = 5;
/// A run fails after this many rows if none of them could be restored.
const MIN_ROWS_TO_GIVE_UP: u64 = 1_000;
/// Number of rows per page when looking for reference cycles.
const CYCLE_SEARCH_ROWS: usize = 100_000;
/// Interval between progress lines: initial and maximum.
const PROGRESS_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Maximum number of warnings in a result.
const MAX_WARNINGS: usize = 20;

/// The time limits of a run.
#[derive(Clone, Copy)]
pub(super) struct Time {
    /// No chunk begins after this.
    soft: Instant,
    /// No statement runs after this.
    pub(super) hard: Instant,
}

impl Time {
    /// Computes the limits; part of the bound is reserved for the last chunk and for the answer.
    pub(super) fn new(began: Instant, bound: Duration, most: Option<Duration>) -> Self {
        let margin = (bound / 10).clamp(Duration::from_millis(100), Duration::from_secs(10));
        let hard = began + bound.saturating_sub(margin / 2);
        let soft = began + bound.saturating_sub(margin);
        Self { soft: most.map_or(soft, |most| soft.min(began + most)), hard }
    }
}

/// A run in progress.
struct Run<'a> {
    plan: &'a Plan,
    db: Db,
    table: Table,
    target: Target,
    time: Time,
    tally: Tally,
    reporter: ProgressReporter<'a>,
}

/// Receives progress lines of a run.
pub type ProgressSink<'a> = &'a (dyn Fn(&str) + Send + Sync);

pub(super) async fn run(
    plan: &Plan,
    began: Instant,
    bound: Duration,
    tell: ProgressSink<'_>,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    let time = Time::new(began, bound, plan.max_time());
    let filter = plan.filter(crate::clock::wall());
    let mut db = source::open(plan.from(), time.hard).await?;
    let table = db.table(&plan.table).await?;
    db.lock(&table.root).await?;
    let target = plan.target((&db, &table), time.hard, store).await?;
    let mended = begin(&target, &db, &table).await?;
    let reporter = ProgressReporter::new(tell, began);
    let mut run = Run { plan, db, table, target, time, tally: Tally::default(), reporter };
    let more = run.passes(&filter).await.map_err(|error| run.with_progress(error))?;
    run.fail_if_one_way(1)?;
    run.reporter.tell(&run.plan.table.table, &run.tally, true);
    let tally = &run.tally;
    let mut warnings = mended.warnings.clone();
    warnings.extend(tally.warnings(&plan.table.table));
    warnings.extend(run.untested_warning());
    warnings.truncate(MAX_WARNINGS);
    Ok(json!({
        "table": plan.table.table,
        "to": run.target.place(),
        "moved": if plan.settings.delete { tally.rows } else { 0 },
        "copied": tally.rows,
        "chunks": tally.chunks,
        "bytes": tally.bytes,
        "stored": tally.stored,
        "changed": tally.changed,
        "conflicts": tally.conflicts,
        "locked": tally.locked,
        "referred": tally.referred,
        "refused": tally.refused,
        "mended": mended,
        "older_than": filter.before.map(|at| at.to_string()),
        "more": more,
        "seconds": began.elapsed().as_secs_f64(),
        "warnings": warnings,
    }))
}

/// Claims the location, and recovers interrupted steps.
pub(super) async fn begin(target: &Target, db: &Db, table: &Table) -> Result<Mended, ToolError> {
    match target {
        Target::Objects(objects, journal) => {
            journal.pending().await?;
            if journal.is_known().await? {
                objects.require_present().await?;
            }
            let database = db.identity().await?;
            let database = database.ok_or_else(|| failed("the database must be locked first"))?;
            objects.claim(&table.about, &database).await?;
            let mended = objects.mend(db, table).await?;
            journal.done(0, 0).await?;
            Ok(mended)
        }
        Target::Table(tables) => {
            let undone = tables.mend(db, table).await?;
            Ok(Mended { undone, ..Mended::default() })
        }
    }
}

impl Run<'_> {
    /// Goes through the table. If rows refer to other rows of it, those can be moved only after the rows that
    /// refer to them: further passes follow, in alternating directions, as long as rows are moved. Returns
    /// whether there is more to do.
    async fn passes(&mut self, filter: &Filter) -> Result<bool, ToolError> {
        // Rows mostly refer to older ones with smaller keys: backwards, one pass is usually enough.
        let mut backwards = self.table.has_self_references();
        let mut slow = 0;
        loop {
            let before = self.tally.rows;
            self.tally.referred = 0;
            // If neither direction makes progress, rows refer to each other in cycles or at random: larger
            // pages are needed to find rows that can only be moved together.
            let wide = slow >= 2;
            let most = if wide { self.plan.chunk_rows.max(CYCLE_SEARCH_ROWS) } else { self.plan.chunk_rows };
            if self.chunks(filter, backwards, most).await? {
                return Ok(true);
            }
            let moved = self.tally.rows - before;
            slow = if moved * 4 < self.tally.referred { slow + 1 } else { 0 };
            // Without deletion, references never go away.
            if self.tally.referred == 0 || (wide && moved == 0) || !self.plan.settings.delete {
                return Ok(false);
            }
            backwards = !backwards;
        }
    }

    /// Moves chunk after chunk in one direction. Returns whether there is more to do.
    async fn chunks(&mut self, filter: &Filter, backwards: bool, most: usize) -> Result<bool, ToolError> {
        let mut after: Option<Vec<Cell>> = None;
        let mut longest = Duration::ZERO;
        let mut rows_wanted = most;
        loop {
            let left =
                self.plan.settings.max_rows.map_or(u64::MAX, |most| most.saturating_sub(self.tally.rows));
            let now = Instant::now();
            if left == 0 || now + longest * 2 > self.time.soft {
                let one = Bounds { rows: 1, bytes: 1, backwards };
                let next = self.db.page(&self.table, filter, after.as_deref(), one).await?;
                return Ok(next.late || !next.rows.is_empty());
            }
            let rows = rows_wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
            let bounds = Bounds { rows, bytes: CHUNK_BYTES, backwards };
            let page = self.db.page(&self.table, filter, after.as_deref(), bounds).await?;
            let (count, end) = (page.rows.len(), page.end);
            if page.late {
                return Ok(true);
            }
            if let Some(last) = page.rows.last() {
                after = Some(last.key.clone());
            }
            let mut rows_here = page.rows;
            let referred = self.db.referred(&self.table, &rows_here).await?;
            self.tally.referred += referred.len() as u64;
            without(&mut rows_here, &referred);
            if !rows_here.is_empty() {
                self.chunk(rows_here).await?;
                self.tally.last.clone_from(&after);
                self.reporter.tell(&self.plan.table.table, &self.tally, false);
                self.fail_if_one_way(MIN_ROWS_TO_GIVE_UP)?;
            }
            if end {
                return Ok(false);
            }
            // Wide rows: don't repeatedly fetch rows that do not fit.
            rows_wanted = if count < rows { (count * 2).max(1) } else { (rows * 2).max(rows_wanted) };
            rows_wanted = rows_wanted.min(most);
            longest = longest.max(now.elapsed());
        }
    }

    /// Fails if none of at least `many` rows can be restored and none was moved; a warning would not be
    /// enough.
    fn fail_if_one_way(&self, many: u64) -> Result<(), ToolError> {
        if self.tally.rows > 0 || self.tally.refused < many {
            return Ok(());
        }
        Err(failed(&format!(
            "nothing was archived of {}: none of its rows could come back, as was tried: {}",
            self.table.about.table,
            self.tally.reasons.join("; ")
        )))
    }

    /// Returns a warning if restoring could not be tested for lack of privileges.
    fn untested_warning(&self) -> Option<String> {
        let table = &self.table;
        let why = match () {
            () if self.tally.rows == 0 || table.can_put() => return None,
            () => "it may not INSERT",
        };
        Some(format!(
            "whether the rows of {} can be put back was not tried: the role of `url` can't do that ({why})",
            table.about.table
        ))
    }

    /// Moves the rows of a chunk; rows that change meanwhile are left.
    async fn chunk(&mut self, mut rows: Vec<Row>) -> Result<(), ToolError> {
        let (objects, journal) = match &self.target {
            Target::Objects(objects, journal) => (objects, journal),
            Target::Table(tables) => {
                let deletes = self.plan.settings.delete;
                return tables.chunk(&self.db, &self.table, rows, deletes, &mut self.tally).await;
            }
        };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let (manifest, whole) = objects.write(&self.table.about, rows).await?;
            rows = whole;
            let removed = if self.plan.settings.delete {
                journal.intends(manifest.object.clone()).await?;
                objects.intend(&manifest).await?;
                point("intended");
                match self.db.remove(&self.table, &rows, DeleteMode::IfTheyCanComeBack).await {
                    Ok(removed) => removed,
                    Err(error) => {
                        // The database determines the outcome, if it can still be reached.
                        if objects.mend(&self.db, &self.table).await.is_ok() {
                            let _ = journal.done(0, 0).await;
                        }
                        return Err(error);
                    }
                }
            } else {
                rehearsed(&self.db, &self.table, &rows).await?
            };
            match removed {
                DeleteOutcome::Done => {
                    point("deleted");
                    if self.plan.settings.delete {
                        objects.seal(&manifest).await?;
                        journal.done(manifest.rows, manifest.bytes).await?;
                    } else {
                        objects.discard(&manifest).await?;
                    }
                    point("done");
                    self.tally.rows += manifest.rows;
                    self.tally.chunks += 1;
                    self.tally.bytes += manifest.bytes;
                    self.tally.stored += manifest.stored;
                    return Ok(());
                }
                DeleteOutcome::Not(left) => {
                    point("differ");
                    objects.discard(&manifest).await?;
                    journal.done(0, 0).await?;
                    self.tally.left(&left);
                    without(&mut rows, &places(&left));
                    if rows.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        self.tally.changed += rows.len() as u64;
        Ok(())
    }

    /// Adds to an error what was done before it.
    fn with_progress(&self, error: ToolError) -> ToolError {
        match error {
            ToolError::Failed(text) if self.tally.rows > 0 => failed(&format!(
                "{text} (archived before that: {}; the next run goes on)",
                counted(self.tally.rows, "row")
            )),
            other => other,
        }
    }
}

/// Reports progress: often at first, then less, so that a long run does not flood its record.
struct ProgressReporter<'a> {
    tell: ProgressSink<'a>,
    began: Instant,
    next: Instant,
    pause: Duration,
}

impl<'a> ProgressReporter<'a> {
    fn new(tell: ProgressSink<'a>, began: Instant) -> Self {
        Self { tell, began, next: began + PROGRESS_INTERVALS.0, pause: PROGRESS_INTERVALS.0 }
    }

    fn tell(&mut self, table: &str, tally: &Tally, last: bool) {
        let now = Instant::now();
        if !(last && tally.rows > 0 || now >= self.next) {
            return;
        }
        self.pause = (self.pause * 5 / 4).min(PROGRESS_INTERVALS.1);
        self.next = now + self.pause;
        let seconds = now.duration_since(self.began).as_secs_f64().max(0.001);
        let at = tally.last.iter().flatten().map(row::shown).collect::<Vec<_>>().join(", ");
        (self.tell)(&format!(
            "{table}: {} archived in {}, {:.1} MB as {:.1} MB, {:.0} rows/s, at key {at}",
            counted(tally.rows, "row"),
            counted(tally.chunks, "chunk"),
            tally.bytes as f64 / 1e6,
            tally.stored as f64 / 1e6,
            tally.rows as f64 / seconds,
        ));
    }
}
