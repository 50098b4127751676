//! One run: settles what was broken off, then moves chunk after chunk, as far as the time goes.
use super::objects::Mended;
use super::plan::{Plan, Target};
use super::point::point;
use super::row::{self, Cell, Row};
use super::source::outcome::{How, Removed, places};
use super::source::table::{Bounds, CHUNK_BYTES, Filter, Table};
use super::source::{self, Db};
use super::tables::{rehearsed, without};
use super::trouble::failed;
use crate::archive::tally::Tally;
use crate::domain::{ToolError, counted};
use crate::store::Store;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often a chunk is written anew because rows of it changed meanwhile.
const TRIES: u32 = 5;
/// If none of so many rows can come back, no more are tried.
const ENOUGH: u64 = 1_000;
/// Rows of a page in which circles of rows are looked for.
const MANY_ROWS: usize = 100_000;
/// Between two lines of progress, at first and at the most.
const TELL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Most warnings of a result.
const WARNINGS: usize = 20;

/// The time that a run has.
#[derive(Clone, Copy)]
pub(super) struct Time {
    /// No chunk begins after this.
    soft: Instant,
    /// Nothing runs after this.
    pub(super) hard: Instant,
}

impl Time {
    /// A part of the bound is left for the last chunk and for the answer.
    pub(super) fn new(began: Instant, bound: Duration, most: Option<Duration>) -> Self {
        let margin = (bound / 10).clamp(Duration::from_millis(100), Duration::from_secs(10));
        let hard = began + bound.saturating_sub(margin / 2);
        let soft = began + bound.saturating_sub(margin);
        Self { soft: most.map_or(soft, |most| soft.min(began + most)), hard }
    }
}

/// A run on its way.
struct Run<'a> {
    plan: &'a Plan,
    db: Db,
    table: Table,
    target: Target,
    time: Time,
    tally: Tally,
    teller: Teller<'a>,
}

/// Takes lines that say how far a run is.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

pub(super) async fn run(
    plan: &Plan,
    began: Instant,
    bound: Duration,
    tell: Tell<'_>,
    store: Option<Store>,
) -> Result<Value, ToolError> {
    let time = Time::new(began, bound, plan.max_time());
    let filter = plan.filter(crate::clock::wall());
    let mut db = source::open(plan.from(), time.hard).await?;
    let table = db.table(&plan.table).await?;
    db.lock(&table.root).await?;
    let target = plan.target((&db, &table), time.hard, store).await?;
    let mended = begin(&target, &db, &table).await?;
    let teller = Teller::new(tell, began);
    let mut run = Run { plan, db, table, target, time, tally: Tally::default(), teller };
    let more = run.passes(&filter).await.map_err(|error| run.so_far(error))?;
    run.must_not_be_one_way(1)?;
    run.teller.tell(&run.plan.table.table, &run.tally, true);
    let tally = &run.tally;
    let mut warnings = mended.warnings.clone();
    warnings.extend(tally.warnings(&plan.table.table));
    warnings.extend(run.untried());
    warnings.truncate(WARNINGS);
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

/// Makes the place ours, and settles what was broken off.
pub(super) async fn begin(target: &Target, db: &Db, table: &Table) -> Result<Mended, ToolError> {
    match target {
        Target::Objects(objects, journal) => {
            journal.pending().await?;
            if journal.is_known().await? {
                objects.must_be_there().await?;
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
    /// Goes through the table. Where rows refer to others of it, those that are referred to come later: it is gone
    /// through again, in the other direction, as long as that moves any. True: there is more to do.
    async fn passes(&mut self, filter: &Filter) -> Result<bool, ToolError> {
        // Rows mostly refer to older ones, with smaller keys: from the end, a table is done at once.
        let mut backwards = self.table.is_family();
        let mut slow = 0;
        loop {
            let before = self.tally.rows;
            self.tally.referred = 0;
            // Where neither direction gets far, rows refer to each other in circles or at random: those that can only go
            // together are looked for among many.
            let wide = slow >= 2;
            let most = if wide { self.plan.chunk_rows.max(MANY_ROWS) } else { self.plan.chunk_rows };
            if self.chunks(filter, backwards, most).await? {
                return Ok(true);
            }
            let moved = self.tally.rows - before;
            slow = if moved * 4 < self.tally.referred { slow + 1 } else { 0 };
            // Without a deletion, no row stops referring.
            if self.tally.referred == 0 || (wide && moved == 0) || !self.plan.settings.delete {
                return Ok(false);
            }
            backwards = !backwards;
        }
    }

    /// Chunk after chunk. True: there is more to do.
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
                self.teller.tell(&self.plan.table.table, &self.tally, false);
                self.must_not_be_one_way(ENOUGH)?;
            }
            if end {
                return Ok(false);
            }
            // Wide rows: what did not fit need not be read again and again.
            rows_wanted = if count < rows { (count * 2).max(1) } else { (rows * 2).max(rows_wanted) };
            rows_wanted = rows_wanted.min(most);
            longest = longest.max(now.elapsed());
        }
    }

    /// If none of so many rows can come back, and no other did, that is not worth a warning.
    fn must_not_be_one_way(&self, many: u64) -> Result<(), ToolError> {
        if self.tally.rows > 0 || self.tally.refused < many {
            return Ok(());
        }
        Err(failed(&format!(
            "nothing was archived of {}: none of its rows could come back, as was tried: {}",
            self.table.about.table,
            self.tally.reasons.join("; ")
        )))
    }

    /// What was not tried, since the role may not do it.
    fn untried(&self) -> Option<String> {
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

    /// Moves the rows of a chunk; those that change meanwhile stay.
    async fn chunk(&mut self, mut rows: Vec<Row>) -> Result<(), ToolError> {
        let (objects, journal) = match &self.target {
            Target::Objects(objects, journal) => (objects, journal),
            Target::Table(tables) => {
                let deletes = self.plan.settings.delete;
                return tables.chunk(&self.db, &self.table, rows, deletes, &mut self.tally).await;
            }
        };
        for _ in 0..TRIES {
            let (manifest, whole) = objects.write(&self.table.about, rows).await?;
            rows = whole;
            let removed = if self.plan.settings.delete {
                journal.intends(manifest.object.clone()).await?;
                objects.intend(&manifest).await?;
                point("intended");
                match self.db.remove(&self.table, &rows, How::IfTheyCanComeBack).await {
                    Ok(removed) => removed,
                    Err(error) => {
                        // The database says what became of it, if it still says anything.
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
                Removed::Done => {
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
                Removed::Not(left) => {
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

    /// An error, with what was done before it.
    fn so_far(&self, error: ToolError) -> ToolError {
        match error {
            ToolError::Failed(text) if self.tally.rows > 0 => failed(&format!(
                "{text} (archived before that: {}; the next run goes on)",
                counted(self.tally.rows, "row")
            )),
            other => other,
        }
    }
}

/// Tells how far a run is: often at first, then less, so that a long one does not fill its record.
struct Teller<'a> {
    tell: Tell<'a>,
    began: Instant,
    next: Instant,
    pause: Duration,
}

impl<'a> Teller<'a> {
    fn new(tell: Tell<'a>, began: Instant) -> Self {
        Self { tell, began, next: began + TELL.0, pause: TELL.0 }
    }

    fn tell(&mut self, table: &str, tally: &Tally, last: bool) {
        let now = Instant::now();
        if !(last && tally.rows > 0 || now >= self.next) {
            return;
        }
        self.pause = (self.pause * 5 / 4).min(TELL.1);
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
