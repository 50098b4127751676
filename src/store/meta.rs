//! What the database says of itself: which one it is, what it was a copy of, whether it was closed in order.
use super::sql::{Scope, Sql, SqlResult, params};
use super::{Ancestor, WentBack};
use crate::domain::LostRecords;
use jiff::Timestamp;

/// Databases of which this one was a copy once; older ones are forgotten.
const MOST_ANCESTORS: usize = 32;
/// Since when a copy lies apart from what it was made of.
pub(super) const COPIED_AT: &str = "copied_at";
/// When `store restore` put this copy in the place of a database, until a daemon has taken it up.
pub(super) const PUT_BACK_AT: &str = "put_back_at";
/// `yes`, if its last daemon closed it.
pub(super) const CLEAN: &str = "clean";
/// Its identity.
pub(super) const DATABASE: &str = "database";
/// Where it goes on since it was copied there.
pub(super) const MOVED_TO: &str = "moved_to";
/// From where all records were moved to it, until the database there is marked as moved.
pub(super) const MOVING_FROM: &str = "moving_from";
const ANCESTORS: &str = "ancestors";

/// What is said of `key`.
pub(super) fn value(db: &Sql, key: &str) -> SqlResult<Option<String>> {
    db.row("SELECT value FROM meta WHERE key = ?1", params![key], |row| row.get(0))
}

/// Says something of `key`, whatever was said before.
pub(super) fn set(db: &Sql, key: &str, value: &str) -> SqlResult<()> {
    db.run(
        "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        params![key, value],
    )
}

/// Says nothing of `key` any more.
pub(super) fn forget(db: &Sql, key: &str) -> SqlResult<()> {
    db.run("DELETE FROM meta WHERE key = ?1", params![key])
}

/// Marks the database as open, and as another one than before if it is a copy that was put in place:
/// numbers of events of the two can't be compared, beyond the newest that they share.
pub(super) fn take_up(db: &Sql, went_back: Option<&WentBack>) -> SqlResult<()> {
    let change = db.begin(Scope::Write)?;
    if let Some(WentBack { newest, .. }) = went_back {
        let mut all = ancestors(&*change)?;
        all.insert(0, Ancestor { database: identity(&*change)?, until: newest.0 });
        all.truncate(MOST_ANCESTORS);
        set(&*change, ANCESTORS, &serde_json::to_string(&all).unwrap_or_default())?;
        set(&*change, DATABASE, &uuid::Uuid::now_v7().to_string())?;
        forget(&*change, COPIED_AT)?;
        forget(&*change, PUT_BACK_AT)?;
    }
    set(&*change, CLEAN, "no")?;
    change.commit()
}

/// The time of which a copy that no daemon has taken up yet knows nothing: from its newest event on, until it was put in place,
/// if that is known.
pub(super) fn lost(db: &Sql, newest: Option<Timestamp>) -> SqlResult<Option<LostRecords>> {
    let instant =
        |key: &str| -> SqlResult<Option<Timestamp>> { Ok(value(db, key)?.and_then(|at| at.parse().ok())) };
    let (Some(_), Some(since)) = (instant(COPIED_AT)?, newest) else { return Ok(None) };
    Ok(Some(LostRecords { since, until: instant(PUT_BACK_AT)?.filter(|until| *until >= since) }))
}

/// What this database was a copy of, newest first.
pub(super) fn ancestors(db: &Sql) -> SqlResult<Vec<Ancestor>> {
    let text = value(db, ANCESTORS)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Its identity; a new database gets one.
pub(super) fn identity(db: &Sql) -> SqlResult<String> {
    let fresh = uuid::Uuid::now_v7().to_string();
    db.run(
        "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO NOTHING",
        params![DATABASE, fresh],
    )?;
    Ok(value(db, DATABASE)?.unwrap_or(fresh))
}
