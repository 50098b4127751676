//! What is too old goes, oldest first, in small pieces between commits.
//!
//! How old something is follows from a clock of its own, which goes with the wall clock but comes no more than a day
//! closer to it with each hour that the daemon has lived through ([`age_clock`]): one that is wrong for a while takes
//! nothing away. What protects from a second start stays whatever its age: see [`NEAR_MARK`].
use crate::domain::{Retention, micros, timestamp_of_micros, to_micros};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::path::Path;

/// How long an answer to a mutation is kept.
pub(super) const ANSWERS_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Rows of one table that one piece removes.
const PIECE: i64 = 500;
/// The same on a small disk, where 500 pieces of output are more than there is.
const SMALL_PIECE: i64 = 20;
/// How long a feed is kept that nobody asks for.
const FEEDS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// An agent's records of slots that are no older than this, before its newest judged slot, stay whatever the clock says.
const NEAR_MARK: SignedDuration = SignedDuration::from_hours(24);
/// The same, where the database is too large.
const NEAR_MARK_WHEN_FULL: SignedDuration = SignedDuration::from_hours(1);
/// How much closer to the wall clock an hour of life brings the clock of ages, in hours.
const CATCHES_UP: i32 = 24;
/// Free pages that one piece gives back to the file system.
const PAGES: i64 = 256;

/// What the daemon has lived through, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lived {
    /// The wall clock.
    pub now: Timestamp,
    /// Neither a start nor a jump of the clock is so near that the clock could be wrong: what is old may go.
    pub steady: bool,
    /// For how long it has lived since the last piece.
    pub since: SignedDuration,
}

/// The slot of an agent from which on nothing is removed, less `?3`.
const MARK: &str = "coalesce((SELECT min(coalesce(floor, judged_until), judged_until) FROM agents a WHERE a.id = agent) - ?3,
    9223372036854775807)";

/// What is removed by age: the table, and which rows are older than `?1`.
fn by_age(keep: &Retention, now: Timestamp) -> [(String, i64); 10] {
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
                "runs WHERE id IN (SELECT id FROM runs WHERE finished_at < ?1 AND (slot IS NULL OR slot < {MARK}) LIMIT ?2)"
            ),
            before(keep.runs),
        ),
        (
            format!(
                "ledger WHERE (agent, first) IN (SELECT agent, first FROM ledger WHERE last < ?1 AND last < {MARK} LIMIT ?2)"
            ),
            before(keep.runs),
        ),
        rows("incidents WHERE id IN (SELECT id FROM incidents WHERE resolved_at < ?1 LIMIT ?2)", keep.runs),
        rows(
            "steps WHERE (run, n) IN (SELECT run, n FROM steps WHERE at < ?1 AND run NOT IN (SELECT id FROM runs WHERE finished_at IS NULL) LIMIT ?2)",
            keep.transcripts,
        ),
        rows("sessions WHERE id IN (SELECT id FROM sessions WHERE at < ?1 LIMIT ?2)", keep.transcripts),
        rows("approvals WHERE id IN (SELECT id FROM approvals WHERE decided_at < ?1 LIMIT ?2)", keep.runs),
        // messages that were given up
        rows("outbox WHERE id IN (SELECT id FROM outbox WHERE due IS NULL AND at < ?1 LIMIT ?2)", keep.runs),
        rows("feeds WHERE source IN (SELECT source FROM feeds WHERE at < ?1 LIMIT ?2)", FEEDS_KEPT),
        rows("requests WHERE id IN (SELECT id FROM requests WHERE at < ?1 LIMIT ?2)", ANSWERS_KEPT),
    ]
}

/// One piece; true if there is more to do.
pub(super) fn prune(
    db: &mut Connection,
    path: &Path,
    keep: Retention,
    lived: Lived,
) -> rusqlite::Result<bool> {
    let piece = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut more = false;
    if lived.steady {
        more |= old(&piece, &keep, lived)?;
    }
    if used(&piece)? > keep.max_db_size {
        more |= shrink(&piece, PIECE)?;
    }
    piece.commit()?;
    let free: i64 = db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > PAGES {
        give_back(db)?;
        more = true;
    }
    // the log grows while readers hold it; give it back when it is large
    if size(path) > keep.max_db_size {
        let _ = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    Ok(more)
}

/// What it is o'clock for what is kept: the wall clock, unless that is further ahead than what was lived through. What
/// was reached stays reached: a clock that is behind for a while does not set it back.
fn age_clock(db: &Connection, lived: Lived) -> rusqlite::Result<Timestamp> {
    let before: Option<String> =
        db.query_row("SELECT value FROM meta WHERE key = 'age_clock'", [], |row| row.get(0)).optional()?;
    let before = match before.and_then(|text| text.parse().ok()) {
        Some(before) => Some(before),
        // the first time: where the life before this one ended
        None => db
            .query_row(
                "SELECT at FROM events WHERE seq < (SELECT max(seq) FROM events WHERE type = 'daemon_started')
                 ORDER BY seq DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()?,
    };
    let before = before.map(timestamp_of_micros);
    let now = before.map_or(lived.now, |before| {
        let reached = lived.since.checked_mul(CATCHES_UP).and_then(|span| before.checked_add(span).ok());
        reached.map_or(lived.now, |reached| reached.min(lived.now))
    });
    let reached = before.map_or(now, |before| before.max(now));
    db.prepare_cached("INSERT OR REPLACE INTO meta(key, value) VALUES ('age_clock', ?1)")?
        .execute([to_micros(reached).to_string()])?;
    Ok(now)
}

fn old(db: &Connection, keep: &Retention, lived: Lived) -> rusqlite::Result<bool> {
    let now = age_clock(db, lived)?;
    let mut more = false;
    let near = micros(NEAR_MARK);
    for (rows, before) in by_age(keep, now) {
        if rows.starts_with("ledger ") {
            remember_pruned(db, &rows, &[before, PIECE, near])?;
        }
        let mut delete = db.prepare_cached(&format!("DELETE FROM {rows}"))?;
        let values = &[before, PIECE, near][..delete.parameter_count()];
        let gone = delete.execute(rusqlite::params_from_iter(values))?;
        more |= gone as i64 == PIECE;
    }
    let oldest_kept = to_micros(now.checked_sub(keep.events).unwrap_or(Timestamp::MIN));
    Ok(more | events(db, oldest_kept, lived.now)?)
}

/// Up to where the ledger of each agent is no longer kept: a slot up to there may have run, whatever the clock says.
fn remember_pruned(db: &Connection, rows: &str, values: &[i64]) -> rusqlite::Result<()> {
    db.prepare_cached(&format!(
        "INSERT INTO pruned(agent, until) SELECT agent, max(last) FROM {rows} GROUP BY agent
         ON CONFLICT DO UPDATE SET until = max(until, excluded.until)"
    ))?
    .execute(rusqlite::params_from_iter(values))
    .map(|_| ())
}

/// Events go from the oldest end only, so that what is kept has no gap; the newest always stays,
/// because its number is where the next one begins. One from ahead of now (`?3`), written while the
/// clock was wrong, goes with an older one after it.
fn events(db: &Connection, before: i64, now: Timestamp) -> rusqlite::Result<bool> {
    let gone = db.prepare_cached(OLD_EVENTS)?.execute([before, PIECE, to_micros(now)])?;
    Ok(gone as i64 == PIECE)
}

/// Looks no further than a few pieces: the bounds are one, since SQLite walks along one only.
const OLD_EVENTS: &str = "DELETE FROM events WHERE seq < min((SELECT max(seq) FROM events),
    (SELECT min(seq) FROM events) + ?2,
    1 + coalesce((SELECT seq FROM events WHERE at < ?1 AND seq < coalesce(
        (SELECT seq FROM events WHERE at >= ?1 AND at <= ?3 AND seq < (SELECT min(seq) FROM events) + 4 * ?2 ORDER BY seq LIMIT 1),
        (SELECT min(seq) FROM events) + 4 * ?2) ORDER BY seq DESC LIMIT 1), -1))";

/// Gives a piece of the free pages back to the file system.
fn give_back(db: &Connection) -> rusqlite::Result<()> {
    // each step gives back one page
    let mut pages = db.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = pages.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// One piece on the way to a database of `most` bytes, for a disk that is full; true if there is more to
/// do.
pub(super) fn shrink_to(db: &mut Connection, most: u64) -> rusqlite::Result<bool> {
    let mut more = false;
    if used(db)? > most {
        let piece = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // output is most of it, and missed least: history goes when there is none of it left
        more =
            piece.prepare_cached(OLDEST_OUTPUT)?.execute([SMALL_PIECE])? > 0 || shrink(&piece, SMALL_PIECE)?;
        piece.commit()?;
    }
    let free: i64 = db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > 0 {
        give_back(db)?;
    }
    Ok(more || free > PAGES)
}

/// The database is too large: the oldest goes, whatever its age.
fn shrink(db: &Connection, piece: i64) -> rusqlite::Result<bool> {
    let mut gone = db.prepare_cached(OLDEST_OUTPUT)?.execute([piece])?;
    gone += db
        .prepare_cached("DELETE FROM steps WHERE (run, n) IN (SELECT run, n FROM steps WHERE run NOT IN (SELECT id FROM runs WHERE finished_at IS NULL) ORDER BY at LIMIT ?1)")?
        .execute([piece])?;
    gone += db.prepare_cached(OLDEST_EVENTS)?.execute([piece])?;
    // the ledger near the newest judged slot keeps a slot from a second start, without the record of its run, too
    gone += db
        .prepare_cached("DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at LIMIT ?1)")?
        .execute([piece / 10])?;
    let ledger = format!(
        "ledger WHERE (agent, first) IN (SELECT agent, first FROM ledger WHERE last < ?1 AND last < {MARK} ORDER BY last LIMIT ?2)"
    );
    let values = [i64::MAX, piece / 10, micros(NEAR_MARK_WHEN_FULL)];
    remember_pruned(db, &ledger, &values)?;
    gone += db.prepare_cached(&format!("DELETE FROM {ledger}"))?.execute(values)?;
    Ok(gone > 0)
}

const OLDEST_EVENTS: &str =
    "DELETE FROM events WHERE seq < min((SELECT max(seq) FROM events), (SELECT min(seq) FROM events) + ?1)";
const OLDEST_OUTPUT: &str = "DELETE FROM output WHERE id IN (SELECT o.id FROM output o WHERE EXISTS
    (SELECT 1 FROM runs r WHERE r.id = o.run AND r.finished_at IS NOT NULL) ORDER BY o.id LIMIT ?1)";

/// Bytes that hold something.
fn used(db: &Connection) -> rusqlite::Result<u64> {
    let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let pages = one("PRAGMA page_count")? - one("PRAGMA freelist_count")?;
    Ok((pages * one("PRAGMA page_size")?).max(0) as u64)
}

/// Bytes of the database with its log.
pub(super) fn size(path: &Path) -> u64 {
    let of = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |found| found.len())
    };
    of("") + of("-wal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    /// A piece costs what it removes, not what there is.
    #[test]
    fn a_piece_looks_at_no_more_than_it_removes() {
        let db = Connection::open_in_memory().unwrap();
        for sql in super::super::open::MIGRATIONS {
            db.execute_batch(sql).unwrap();
        }
        db.execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
             INSERT INTO events(seq, at, type, payload) SELECT n, n, 'x', '{}' FROM n;
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
             INSERT INTO runs(id, agent, trigger, status, attempt, queued_at, finished_at, chain, config_hash)
               SELECT CAST(printf('%016d', n) AS BLOB), 'a', 'manual', 'completed', 1, n, n, 0, 0 FROM n;
             INSERT INTO output(run, attempt, n, stream, at, text)
               SELECT id, 1, 1, 'stdout', 1, '' FROM runs ORDER BY id LIMIT 100;",
        )
        .unwrap();
        let steps = |sql: &str, values: &[i64]| {
            let mut statement = db.prepare(sql).unwrap();
            let gone = statement.execute(rusqlite::params_from_iter(values)).unwrap();
            (gone, statement.get_status(StatementStatus::VmStep))
        };
        let output = &by_age(&Retention::default(), Timestamp::UNIX_EPOCH)[0].0;
        for (sql, values, expected) in [
            (OLD_EVENTS, vec![1 << 40, 100, 1 << 41], 100),
            (OLDEST_EVENTS, vec![100], 100),
            (&*format!("DELETE FROM {output}"), vec![1 << 40, 50], 50),
            (OLDEST_OUTPUT, vec![50], 50),
        ] {
            let (gone, steps) = steps(sql, &values);
            assert_eq!(gone, expected, "{sql}");
            assert!(steps < 10_000, "{steps} steps: {sql}");
        }
    }
}
