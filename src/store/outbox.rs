//! The outbox: messages for people, each kept until it is delivered or given up.
//!
//! Among the waiting messages for one target about one problem (`key`), the newest supersedes the
//! earlier ones: those are not due while it waits, and are deleted when it is sent. Messages that
//! were joined in an attempt with an unknown outcome are exempt: they are repeated unchanged, so
//! that a receiver recognizes them.
use super::error::StoreError;
use super::rows::{agent_id, instant, maybe, maybe_run, word};
use super::sql::{Sql, SqlResult, SqlRow, params};
use super::{OutboxHead, OutboxRow, OutboxTarget, SurplusResult};
use crate::domain::{Notice, TellOn, Urgency, timestamp_of_micros, to_micros};
use crate::store::reader::Reader;
use jiff::{SignedDuration, Timestamp};

/// Upper bound of the wait until the next attempt.
const MAX_RETRY_DELAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a message that was given up is reported.
const GIVEN_UP_REPORTED_FOR: SignedDuration = SignedDuration::from_hours(48);

/// Condition of a row that is not superseded.
const NOT_SUPERSEDED: &str = "(outbox.joined IS NOT NULL OR NOT EXISTS (SELECT 1 FROM outbox AS newer WHERE newer.target = outbox.target
   AND newer.agent = outbox.agent AND newer.key = outbox.key AND newer.id > outbox.id AND newer.due IS NOT NULL))";
/// Condition of a waiting row that is superseded by row ?1.
const SUPERSEDED: &str =
    "id < ?1 AND due IS NOT NULL AND joined IS NULL AND EXISTS (SELECT 1 FROM outbox AS newer WHERE newer.id = ?1
   AND newer.target = outbox.target AND newer.agent = outbox.agent AND newer.key = outbox.key)";

pub(super) fn queued(db: &Sql, at: Timestamp, target: &str, notice: &Notice) -> SqlResult<()> {
    let run = notice.run.as_ref().map(|run| run.as_bytes().as_slice());
    db.run(
        "INSERT INTO outbox(target, agent, about, at, subject, body, tries, due, run, key, urgency, approval)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?4, ?7, ?8, ?9, ?10)",
        params![
            target,
            notice.agent.as_str(),
            notice.about.as_str(),
            to_micros(at),
            notice.subject,
            notice.body,
            run,
            notice.key,
            notice.urgency.as_str(),
            notice.approval
        ],
    )?;
    Ok(())
}

pub(super) fn sent(db: &Sql, id: i64) -> SqlResult<()> {
    db.run(&format!("DELETE FROM outbox WHERE id = ?1 OR ({SUPERSEDED})"), params![id])?;
    Ok(())
}

pub(super) fn failed(
    db: &Sql,
    id: i64,
    tries: u32,
    error: &str,
    retry_at: Option<Timestamp>,
) -> SqlResult<()> {
    if retry_at.is_none() {
        let sql = format!("UPDATE outbox SET due = NULL, error = ?2 WHERE {SUPERSEDED}");
        db.run(&sql, params![id, error])?;
    }
    db.run(
        "UPDATE outbox SET tries = ?2, due = ?3, error = ?4 WHERE id = ?1",
        params![id, tries, retry_at.map(to_micros), error],
    )?;
    Ok(())
}

/// Marks rows that are about to be sent as one message, with the number of characters of each.
pub(super) fn joined(db: &Sql, rows: &[i64], each: usize) -> SqlResult<()> {
    let each = i64::try_from(each).unwrap_or(i64::MAX);
    for id in rows {
        let sql = "UPDATE outbox SET joined = ?2, joined_each = ?3 WHERE id = ?1 AND due IS NOT NULL";
        db.run(sql, params![*id, rows[0], each])?;
    }
    Ok(())
}

/// Releases rows that were refused as one message.
pub(super) fn parted(db: &Sql, rows: &[i64]) -> SqlResult<()> {
    for id in rows {
        db.run("UPDATE outbox SET joined = NULL, joined_each = NULL WHERE id = ?1", params![*id])?;
    }
    Ok(())
}

impl Reader {
    /// Returns due messages: per receiver at most `max`, critical ones first, then the oldest;
    /// joined messages are complete.
    pub fn outbox_due(&self, now: Timestamp, max: usize) -> Result<Vec<OutboxHead>, StoreError> {
        self.ask("reading the outbox", |db| {
            // a later due time exceeds any retry delay: the clock was ahead when it was written
            let wrong = to_micros(now.checked_add(MAX_RETRY_DELAY).unwrap_or(Timestamp::MAX));
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let sql = format!(
                "SELECT id, target, about, urgency, joined, joined_each, approval IS NOT NULL FROM (
                   SELECT id, target, about, urgency, joined, joined_each, approval, due, row_number() OVER (PARTITION BY target
                     ORDER BY CASE urgency WHEN 'critical' THEN 0 ELSE 1 END, due, id) AS place
                   FROM outbox WHERE (due <= ?1 OR due > ?3) AND {NOT_SUPERSEDED}
                 ) AS ranked WHERE place <= ?2 OR joined IS NOT NULL ORDER BY due, id"
            );
            db.rows(&sql, params![to_micros(now), max, wrong], |row| {
                let each = row.get::<Option<i64>>(5)?.map(|each| usize::try_from(each).unwrap_or(usize::MAX));
                Ok(OutboxHead {
                    id: row.get(0)?,
                    target: row.get(1)?,
                    about: word(row, 2, TellOn::parse)?,
                    urgency: word(row, 3, Urgency::parse)?,
                    joined: row.get::<Option<i64>>(4)?.zip(each),
                    asks: row.get(6)?,
                })
            })
        })
    }

    /// Returns these messages, as far as they still wait.
    pub fn outbox_rows(&self, ids: &[i64]) -> Result<Vec<OutboxRow>, StoreError> {
        self.ask("reading the outbox", |db| {
            let sql = "SELECT id, target, agent, about, at, subject, body, tries, due, run, key, urgency, approval FROM outbox
               WHERE id = ?1 AND due IS NOT NULL";
            let found = ids.iter().map(|id| db.row(sql, params![*id], row));
            Ok(found.collect::<SqlResult<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    /// Returns results that wait behind more than `most` newer ones of the same target, oldest
    /// first, limited to a batch.
    pub fn outbox_surplus(&self, most: usize) -> Result<Vec<SurplusResult>, StoreError> {
        self.ask("reading the outbox", |db| {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let sql = "SELECT id, target, agent, run, tries FROM (
                 SELECT id, target, agent, run, tries, row_number() OVER (PARTITION BY target ORDER BY id DESC) AS place
                 FROM outbox WHERE about = 'completed' AND due IS NOT NULL
               ) AS ranked WHERE place > ?1 ORDER BY id LIMIT 500";
            db.rows(sql, params![most], |row| {
                Ok(SurplusResult {
                    id: row.get(0)?,
                    target: row.get(1)?,
                    agent: agent_id(row, 2)?,
                    run: maybe_run(row, 3)?,
                    tries: row.get(4)?,
                })
            })
        })
    }

    /// Returns when the next message after `now` is due.
    pub fn outbox_next(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.ask("reading the outbox", |db| {
            let sql = format!("SELECT min(due) FROM outbox WHERE due > ?1 AND {NOT_SUPERSEDED}");
            let next: Option<i64> = db.one(&sql, params![to_micros(now)], |row| row.get(0))?;
            Ok(next.map(timestamp_of_micros))
        })
    }

    /// Returns the state of each target with messages that wait or were given up recently.
    pub fn outbox_targets(&self, now: Timestamp) -> Result<Vec<OutboxTarget>, StoreError> {
        self.ask("reading the outbox", |db| {
            let sql = format!(
                "SELECT target, count(due), count(*) - count(due), min(at), min(due),
                   max(CASE WHEN due IS NULL THEN 0 ELSE tries END)
                 FROM outbox WHERE (due IS NULL AND at >= ?1) OR (due IS NOT NULL AND {NOT_SUPERSEDED})
                 GROUP BY target ORDER BY target"
            );
            let since = to_micros(now.checked_sub(GIVEN_UP_REPORTED_FOR).unwrap_or(Timestamp::MIN));
            let mut targets = db.rows(&sql, params![since], |row| {
                Ok(OutboxTarget {
                    target: row.get(0)?,
                    waiting: row.get::<i64>(1)?.unsigned_abs(),
                    given_up: row.get::<i64>(2)?.unsigned_abs(),
                    oldest: instant(row, 3)?,
                    next_try: maybe(row, 4)?,
                    tries: row.get(5)?,
                    error: None,
                })
            })?;
            for target in &mut targets {
                target.error = db.row(
                    "SELECT error FROM outbox WHERE target = ?1 AND error IS NOT NULL ORDER BY id DESC LIMIT 1",
                    params![target.target],
                    |row| row.get(0),
                )?;
            }
            Ok(targets)
        })
    }
}

fn row(row: &SqlRow<'_>) -> SqlResult<OutboxRow> {
    Ok(OutboxRow {
        id: row.get(0)?,
        target: row.get(1)?,
        agent: agent_id(row, 2)?,
        about: word(row, 3, TellOn::parse)?,
        at: instant(row, 4)?,
        subject: row.get(5)?,
        body: row.get(6)?,
        tries: row.get(7)?,
        due: instant(row, 8)?,
        run: maybe_run(row, 9)?,
        key: row.get(10)?,
        urgency: word(row, 11, Urgency::parse)?,
        approval: row.get(12)?,
    })
}
