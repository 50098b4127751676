//! What is too old goes, oldest first, in small pieces between commits.
use super::read::ANSWERS_KEPT;
use crate::domain::{Retention, to_micros};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Rows of one table that one piece removes.
const PIECE: i64 = 500;
/// The same on a small disk, where 500 pieces of output are more than there is.
const SMALL_PIECE: i64 = 20;
/// How long a feed is kept that nobody asks for.
const FEEDS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Free pages that one piece gives back to the file system.
const PAGES: i64 = 256;

/// What is removed by age: the table, and which rows are older than `?1`.
fn by_age(keep: &Retention, now: Timestamp) -> [(&'static str, i64); 10] {
    let before = |span: SignedDuration| to_micros(now.checked_sub(span).unwrap_or(Timestamp::MIN));
    [
        (
            "output WHERE id IN (SELECT o.id FROM output o WHERE o.at < ?1 AND NOT EXISTS
               (SELECT 1 FROM runs r WHERE r.id = o.run AND r.finished_at IS NULL) LIMIT ?2)",
            before(keep.output),
        ),
        ("runs WHERE id IN (SELECT id FROM runs WHERE finished_at < ?1 LIMIT ?2)", before(keep.runs)),
        (
            "ledger WHERE (agent, first) IN (SELECT agent, first FROM ledger WHERE last < ?1 LIMIT ?2)",
            before(keep.runs),
        ),
        (
            "incidents WHERE id IN (SELECT id FROM incidents WHERE resolved_at < ?1 LIMIT ?2)",
            before(keep.runs),
        ),
        (
            "steps WHERE (run, n) IN (SELECT run, n FROM steps WHERE at < ?1 AND run NOT IN (SELECT id FROM runs WHERE finished_at IS NULL) LIMIT ?2)",
            before(keep.transcripts),
        ),
        ("sessions WHERE id IN (SELECT id FROM sessions WHERE at < ?1 LIMIT ?2)", before(keep.transcripts)),
        (
            "approvals WHERE id IN (SELECT id FROM approvals WHERE decided_at < ?1 LIMIT ?2)",
            before(keep.runs),
        ),
        // messages that were given up
        (
            "outbox WHERE id IN (SELECT id FROM outbox WHERE due IS NULL AND at < ?1 LIMIT ?2)",
            before(keep.runs),
        ),
        ("feeds WHERE source IN (SELECT source FROM feeds WHERE at < ?1 LIMIT ?2)", before(FEEDS_KEPT)),
        ("requests WHERE id IN (SELECT id FROM requests WHERE at < ?1 LIMIT ?2)", before(ANSWERS_KEPT)),
    ]
}

/// One piece; true if there is more to do.
pub(super) fn prune(
    db: &mut Connection,
    path: &Path,
    keep: Retention,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let piece = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut more = false;
    for (rows, before) in by_age(&keep, now) {
        let gone = piece.prepare_cached(&format!("DELETE FROM {rows}"))?.execute([before, PIECE])?;
        more |= gone as i64 == PIECE;
    }
    let oldest_kept = to_micros(now.checked_sub(keep.events).unwrap_or(Timestamp::MIN));
    more |= events(&piece, oldest_kept)?;
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

/// Events go from the oldest end only, so that what is kept has no gap; the newest always stays,
/// because its number is where the next one begins.
fn events(db: &Connection, before: i64) -> rusqlite::Result<bool> {
    let gone = db.prepare_cached(OLD_EVENTS)?.execute([before, PIECE])?;
    Ok(gone as i64 == PIECE)
}

/// Looks no further than one piece: the bounds are one, since SQLite walks along one only.
const OLD_EVENTS: &str = "DELETE FROM events WHERE seq < min((SELECT max(seq) FROM events),
    (SELECT min(seq) FROM events) + ?2,
    coalesce((SELECT seq FROM events WHERE at >= ?1 AND seq < (SELECT min(seq) FROM events) + ?2
      ORDER BY seq LIMIT 1), 9223372036854775807))";

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
    gone += db
        .prepare_cached("DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at LIMIT ?1)")?
        .execute([piece / 10])?;
    gone += db
        .prepare_cached("DELETE FROM ledger WHERE (agent, first) IN (SELECT agent, first FROM ledger ORDER BY last LIMIT ?1)")?
        .execute([piece / 10])?;
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
        db.execute_batch(include_str!("migrations/0001_first.sql")).unwrap();
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
        let output = by_age(&Retention::default(), Timestamp::UNIX_EPOCH)[0].0;
        for (sql, values, expected) in [
            (OLD_EVENTS, vec![1 << 40, 100], 100),
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
