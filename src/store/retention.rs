//! Removes old records, oldest first, in small batches between commits.
//!
//! Ages are measured by a separate clock, which follows the wall clock but approaches it by at most
//! a day per hour of uptime ([`age_clock`]): a clock that is wrong for a while removes nothing.
//! Records that prevent a second start are kept whatever their age: see [`NEAR_MARK`].
use super::meta;
use super::sql::{Scope, Sql, SqlResult, Value, params};
use crate::domain::{Retention, micros, timestamp_of_micros, to_micros};
use jiff::{SignedDuration, Timestamp};

/// Retention of an answer to a mutation.
pub(super) const ANSWER_RETENTION: SignedDuration = SignedDuration::from_hours(24);
/// Number of rows of one table removed per batch.
const BATCH_ROWS: i64 = 500;
/// The same on a small disk, where 500 chunks of output exceed what is there.
const SMALL_BATCH_ROWS: i64 = 20;
/// Retention of a feed that is no longer read.
const FEEDS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long an arrived file is remembered after its removal: a disk that returns within this time
/// does not report its files twice.
const ARRIVALS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// An agent's records of slots within this time before its newest judged slot are kept, whatever
/// the clock says.
const NEAR_MARK: SignedDuration = SignedDuration::from_hours(24);
/// The same, if the database is too large.
const NEAR_MARK_WHEN_FULL: SignedDuration = SignedDuration::from_hours(1);
/// Hours by which the age clock approaches the wall clock per hour of uptime.
const CATCH_UP_FACTOR: i32 = 24;
const AGE_CLOCK_KEY: &str = "age_clock";

/// The daemon's uptime, as far as it matters for retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lived {
    /// The wall clock.
    pub now: Timestamp,
    /// Whether no start and no jump of the clock is so recent that the clock could be wrong: only
    /// then old records are removed.
    pub steady: bool,
    /// Uptime since the last batch.
    pub since: SignedDuration,
}

/// The slot of an agent from which on nothing is removed, less `?3`.
const KEPT_FROM: &str = "coalesce((SELECT CASE WHEN floor < judged_until THEN floor ELSE judged_until END FROM agents a WHERE a.id = agent) - ?3,
    9223372036854775807)";

/// Lists what is removed by age: tables with conditions, and the instant `?1` before which rows are old.
fn by_age(keep: &Retention, now: Timestamp) -> [(String, i64); 13] {
    let before = |span: SignedDuration| to_micros(now.checked_sub(span).unwrap_or(Timestamp::MIN));
    let rows = |text: &str, span| (text.to_owned(), before(span));
    [
        rows(
            "output WHERE id IN (SELECT o.id FROM output o WHERE o.at < ?1 AND NOT EXISTS
               (SELECT 1 FROM runs r WHERE r.id = o.run AND r.finished_at IS NULL) LIMIT ?2)",
            keep.output,
        ),
        (
            format!(
                "runs WHERE id IN (SELECT id FROM runs WHERE finished_at < ?1 AND (slot IS NULL OR slot < {KEPT_FROM}) LIMIT ?2)"
            ),
            before(keep.runs),
        ),
        (
            format!(
                "ledger WHERE (agent, first) IN (SELECT agent, first FROM ledger WHERE last < ?1 AND last < {KEPT_FROM} LIMIT ?2)"
            ),
            before(keep.runs),
        ),
        rows("backfills WHERE id IN (SELECT id FROM backfills WHERE ended_at < ?1 LIMIT ?2)", keep.runs),
        rows("incidents WHERE id IN (SELECT id FROM incidents WHERE resolved_at < ?1 LIMIT ?2)", keep.runs),
        rows(
            "steps WHERE (run, n) IN (SELECT run, n FROM steps WHERE at < ?1 AND run NOT IN (SELECT id FROM runs WHERE finished_at IS NULL) LIMIT ?2)",
            keep.transcripts,
        ),
        rows("sessions WHERE id IN (SELECT id FROM sessions WHERE at < ?1 LIMIT ?2)", keep.transcripts),
        rows("approvals WHERE id IN (SELECT id FROM approvals WHERE decided_at < ?1 LIMIT ?2)", keep.runs),
        rows(
            "questions WHERE code IN (SELECT code FROM questions q WHERE q.asked_at < ?1 AND NOT EXISTS
               (SELECT 1 FROM approvals a WHERE a.id = q.approval AND a.decided_at IS NULL) LIMIT ?2)",
            keep.runs,
        ),
        // messages that were given up
        rows("outbox WHERE id IN (SELECT id FROM outbox WHERE due IS NULL AND at < ?1 LIMIT ?2)", keep.runs),
        rows("feeds WHERE source IN (SELECT source FROM feeds WHERE at < ?1 LIMIT ?2)", FEEDS_KEPT),
        rows(
            "arrivals WHERE (source, name, agent) IN (SELECT source, name, agent FROM arrivals WHERE left_at < ?1 LIMIT ?2)",
            ARRIVALS_KEPT,
        ),
        rows("requests WHERE id IN (SELECT id FROM requests WHERE at < ?1 LIMIT ?2)", ANSWER_RETENTION),
    ]
}

/// Removes one batch; returns true if there is more to do.
pub(super) fn prune(db: &Sql, keep: Retention, lived: Lived) -> SqlResult<bool> {
    let piece = db.begin(Scope::Write)?;
    let mut more = false;
    if lived.steady {
        more |= prune_old(&*piece, &keep, lived)?;
    }
    if piece.used_bytes()? > keep.max_db_size {
        more |= shrink(&*piece, BATCH_ROWS)?;
    }
    piece.commit()?;
    Ok(more)
}

/// Advances and returns the age clock: the wall clock, unless that is further ahead than the uptime
/// allows. It is never set back by a wall clock that is temporarily behind.
fn age_clock(db: &Sql, lived: Lived) -> SqlResult<Timestamp> {
    let before = match meta::value(db, AGE_CLOCK_KEY)?.and_then(|text| text.parse().ok()) {
        Some(before) => Some(before),
        // the first time: the end of the previous life
        None => db.row(
            "SELECT at FROM events WHERE seq < (SELECT max(seq) FROM events WHERE type = 'daemon_started')
             ORDER BY seq DESC LIMIT 1",
            &[],
            |row| row.get(0),
        )?,
    };
    let before = before.map(timestamp_of_micros);
    let now = before.map_or(lived.now, |before| {
        let reached = lived.since.checked_mul(CATCH_UP_FACTOR).and_then(|span| before.checked_add(span).ok());
        reached.map_or(lived.now, |reached| reached.min(lived.now))
    });
    let reached = before.map_or(now, |before| before.max(now));
    meta::set(db, AGE_CLOCK_KEY, &to_micros(reached).to_string())?;
    Ok(now)
}

fn prune_old(db: &Sql, keep: &Retention, lived: Lived) -> SqlResult<bool> {
    let now = age_clock(db, lived)?;
    let mut more = false;
    let near = micros(NEAR_MARK);
    for (rows, before) in by_age(keep, now) {
        let values = [before, BATCH_ROWS, near].map(Value::Integer);
        let values = if rows.contains("?3") { &values[..] } else { &values[..2] };
        if rows.starts_with("ledger ") {
            remember_pruned(db, &rows, values)?;
        }
        let removed = db.change(&format!("DELETE FROM {rows}"), values)?;
        more |= removed as i64 == BATCH_ROWS;
    }
    let oldest_kept = to_micros(now.checked_sub(keep.events).unwrap_or(Timestamp::MIN));
    Ok(more | events(db, oldest_kept, lived.now)?)
}

/// Records up to where each agent's ledger was pruned: an earlier slot may have run, whatever the clock says.
fn remember_pruned(db: &Sql, rows: &str, values: &[Value<'_>]) -> SqlResult<()> {
    db.run(
        &format!(
            "INSERT INTO pruned(agent, until) SELECT agent, max(last) FROM {rows} GROUP BY agent
             ON CONFLICT(agent) DO UPDATE SET until =
               CASE WHEN excluded.until > pruned.until THEN excluded.until ELSE pruned.until END"
        ),
        values,
    )
}

/// Returns the oldest and the newest event, if there are any.
fn seq_bounds(db: &Sql) -> SqlResult<Option<(i64, i64)>> {
    let end = |sql: &str| db.one(sql, &[], |row| row.get::<Option<i64>>(0));
    Ok(end("SELECT min(seq) FROM events")?.zip(end("SELECT max(seq) FROM events")?))
}

/// Removes old events from the oldest end only, so that there are no gaps; the newest is always
/// kept, because numbering continues from it. An event dated ahead of `now`, written while the
/// clock was wrong, is removed along with an older one after it. Examines only a few batches.
fn events(db: &Sql, before: i64, now: Timestamp) -> SqlResult<bool> {
    let Some((oldest, newest)) = seq_bounds(db)? else { return Ok(false) };
    let horizon = oldest + 4 * BATCH_ROWS;
    let young = db.row(
        "SELECT seq FROM events WHERE at >= ?1 AND at <= ?3 AND seq < ?2 ORDER BY seq LIMIT 1",
        params![before, horizon, to_micros(now)],
        |row| row.get(0),
    )?;
    let last_old = db.row(
        "SELECT seq FROM events WHERE at < ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1",
        params![before, young.unwrap_or(horizon)],
        |row| row.get::<i64>(0),
    )?;
    let Some(last_old) = last_old else { return Ok(false) };
    events_before(db, newest.min(oldest + BATCH_ROWS).min(last_old + 1))
        .map(|removed| removed as i64 == BATCH_ROWS)
}

fn events_before(db: &Sql, end: i64) -> SqlResult<u64> {
    db.change("DELETE FROM events WHERE seq < ?1", params![end])
}

/// Removes one small batch, oldest first, whatever its age, because the disk is full; returns true
/// if there is more to do.
pub(super) fn shrink_batch(db: &Sql) -> SqlResult<bool> {
    let piece = db.begin(Scope::Write)?;
    // output takes most space and is missed least: history is removed only when no output is left
    let more =
        piece.change(OLDEST_OUTPUT, params![SMALL_BATCH_ROWS])? > 0 || shrink(&*piece, SMALL_BATCH_ROWS)?;
    piece.commit()?;
    Ok(more)
}

/// Removes the oldest records, whatever their age, because the database is too large.
fn shrink(db: &Sql, piece: i64) -> SqlResult<bool> {
    let mut removed = db.change(OLDEST_OUTPUT, params![piece])?;
    removed += db.change(
        "DELETE FROM steps WHERE (run, n) IN (SELECT run, n FROM steps WHERE run NOT IN (SELECT id FROM runs WHERE finished_at IS NULL) ORDER BY at LIMIT ?1)",
        params![piece],
    )?;
    if let Some((oldest, newest)) = seq_bounds(db)? {
        removed += events_before(db, newest.min(oldest + piece))?;
    }
    // the ledger near the newest judged slot prevents a second start of the slot even without the
    // record of its run
    removed += db.change(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at LIMIT ?1)",
        params![piece / 10],
    )?;
    let ledger = format!(
        "ledger WHERE (agent, first) IN (SELECT agent, first FROM ledger WHERE last < ?1 AND last < {KEPT_FROM} ORDER BY last LIMIT ?2)"
    );
    let values = [i64::MAX, piece / 10, micros(NEAR_MARK_WHEN_FULL)].map(Value::Integer);
    remember_pruned(db, &ledger, &values)?;
    removed += db.change(&format!("DELETE FROM {ledger}"), &values)?;
    Ok(removed > 0)
}

const OLDEST_OUTPUT: &str = "DELETE FROM output WHERE id IN (SELECT o.id FROM output o WHERE EXISTS
    (SELECT 1 FROM runs r WHERE r.id = o.run AND r.finished_at IS NOT NULL) ORDER BY o.id LIMIT ?1)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::testing;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A piece costs what it removes, not what there is.
    #[test]
    fn a_piece_looks_at_no_more_than_it_removes() {
        let mut link = testing::in_memory();
        link.db
            .execute_batch(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
             INSERT INTO events(seq, at, type, payload) SELECT n, n, 'x', '{}' FROM n;
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
             INSERT INTO runs(id, agent, trigger, status, attempt, queued_at, finished_at, chain, config_hash)
               SELECT CAST(printf('%016d', n) AS BLOB), 'a', 'manual', 'completed', 1, n, n, 0, 0 FROM n;
             INSERT INTO output(run, attempt, n, stream, at, text)
               SELECT id, 1, 1, 'stdout', 1, '' FROM runs ORDER BY id LIMIT 100;",
            )
            .unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        // called once in ten steps
        let handler = move || counted.fetch_add(10, Ordering::Relaxed) == u64::MAX;
        link.db.progress_handler(10, Some(handler)).unwrap();
        let db: &Sql = &link;
        let output = &by_age(&Retention::default(), Timestamp::UNIX_EPOCH)[0].0;
        let remove_output = format!("DELETE FROM {output}");
        let of_events = |end: i64| events_before(db, end);
        let later = Timestamp::from_microsecond(1 << 41).unwrap();
        type Piece<'a> = Box<dyn Fn() -> SqlResult<u64> + 'a>;
        let pieces: [(&str, u64, Piece<'_>); 4] = [
            ("old events", 500, Box::new(|| events(db, 1 << 40, later).map(|_| 500))),
            ("the oldest events", 100, Box::new(|| of_events(601))),
            ("old output", 50, Box::new(|| db.change(&remove_output, params![1_i64 << 40, 50_i64]))),
            ("the oldest output", 50, Box::new(|| db.change(OLDEST_OUTPUT, params![50_i64]))),
        ];
        for (what, expected, piece) in pieces {
            count.store(0, Ordering::Relaxed);
            assert_eq!(piece().unwrap(), expected, "{what}");
            let steps = count.load(Ordering::Relaxed);
            assert!((1..30_000).contains(&steps), "{steps} steps: {what}");
        }
        assert_eq!(seq_bounds(db).unwrap(), Some((601, 20_000)));
    }
}
