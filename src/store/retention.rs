//! What is too old goes, oldest first, in small pieces between commits.
use super::read::ANSWERS_KEPT;
use crate::domain::{Retention, to_micros};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Rows of one table that one piece removes.
const PIECE: i64 = 500;
/// Free pages that one piece gives back to the file system.
const PAGES: i64 = 256;

/// What is removed by age: the table, and which rows are older than `?1`.
fn by_age(keep: &Retention, now: Timestamp) -> [(&'static str, i64); 6] {
    let before = |span: SignedDuration| to_micros(now.checked_sub(span).unwrap_or(Timestamp::MIN));
    [
        (
            "output WHERE id IN (SELECT id FROM output WHERE at < ?1 AND run IN (SELECT id FROM runs WHERE finished_at IS NOT NULL) LIMIT ?2)",
            before(keep.output),
        ),
        (
            "output WHERE id IN (SELECT o.id FROM output o LEFT JOIN runs r ON r.id = o.run WHERE o.at < ?1 AND r.id IS NULL LIMIT ?2)",
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
        more |= shrink(&piece)?;
    }
    piece.commit()?;
    let free: i64 = db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > PAGES {
        // each step gives back one page
        let mut pages = db.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
        let mut rows = pages.query([])?;
        while rows.next()?.is_some() {}
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
    let gone = db
        .prepare_cached(
            "DELETE FROM events WHERE seq < (SELECT max(seq) FROM events)
             AND seq < (SELECT min(seq) FROM events) + ?2
             AND seq < coalesce((SELECT seq FROM events WHERE at >= ?1 ORDER BY seq LIMIT 1), 9223372036854775807)",
        )?
        .execute([before, PIECE])?;
    Ok(gone as i64 == PIECE)
}

/// The database is too large: the oldest goes, whatever its age.
fn shrink(db: &Connection) -> rusqlite::Result<bool> {
    let mut gone = db
        .prepare_cached("DELETE FROM output WHERE id IN (SELECT id FROM output WHERE run IN (SELECT id FROM runs WHERE finished_at IS NOT NULL) ORDER BY id LIMIT ?1)")?
        .execute([PIECE])?;
    gone += db
        .prepare_cached("DELETE FROM events WHERE seq < (SELECT max(seq) FROM events) AND seq < (SELECT min(seq) FROM events) + ?1")?
        .execute([PIECE])?;
    gone += db
        .prepare_cached("DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at LIMIT ?1)")?
        .execute([PIECE / 10])?;
    Ok(gone > 0)
}

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
