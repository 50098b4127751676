//! Metadata of the database: its identity, of what it was a copy, whether it was closed cleanly.
use super::sql::{Scope, Sql, SqlResult, params};
use super::{Ancestor, WentBack};
use crate::domain::LostRecords;
use jiff::Timestamp;

/// Maximum number of recorded ancestors; older ones are forgotten.
const MAX_ANCESTORS: usize = 32;
/// When this copy was made.
pub(super) const COPIED_AT: &str = "copied_at";
/// When `store restore` put this copy in the place of a database; kept until a daemon has opened it.
pub(super) const PUT_BACK_AT: &str = "put_back_at";
/// `yes` if the last daemon closed it cleanly.
pub(super) const CLEAN: &str = "clean";
/// Identity of the database.
pub(super) const DATABASE: &str = "database";
/// Where its records were moved.
pub(super) const MOVED_TO: &str = "moved_to";
/// From where all records were moved to it; kept until that database is marked as moved.
pub(super) const MOVING_FROM: &str = "moving_from";
const ANCESTORS: &str = "ancestors";

/// Returns the value of `key`.
pub(super) fn value(db: &Sql, key: &str) -> SqlResult<Option<String>> {
    db.row("SELECT value FROM meta WHERE key = ?1", params![key], |row| row.get(0))
}

/// Sets the value of `key`.
pub(super) fn set(db: &Sql, key: &str, value: &str) -> SqlResult<()> {
    db.run(
        "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        params![key, value],
    )
}

/// Removes `key`.
pub(super) fn forget(db: &Sql, key: &str) -> SqlResult<()> {
    db.run("DELETE FROM meta WHERE key = ?1", params![key])
}

/// Marks the database as open. A restored copy gets a new identity: event numbers of the two can't
/// be compared beyond the newest one that they share.
pub(super) fn take_up(db: &Sql, went_back: Option<&WentBack>) -> SqlResult<()> {
    let change = db.begin(Scope::Write)?;
    if let Some(WentBack { newest, .. }) = went_back {
        let mut all = ancestors(&*change)?;
        all.insert(0, Ancestor { database: identity(&*change)?, until: newest.0 });
        all.truncate(MAX_ANCESTORS);
        set(&*change, ANCESTORS, &serde_json::to_string(&all).unwrap_or_default())?;
        set(&*change, DATABASE, &uuid::Uuid::now_v7().to_string())?;
        forget(&*change, COPIED_AT)?;
        forget(&*change, PUT_BACK_AT)?;
    }
    set(&*change, CLEAN, "no")?;
    change.commit()
}

/// Returns the period that is unknown to a copy that no daemon has opened yet: from its newest
/// event until it was put in place, if that is known.
pub(super) fn lost(db: &Sql, newest: Option<Timestamp>) -> SqlResult<Option<LostRecords>> {
    let instant =
        |key: &str| -> SqlResult<Option<Timestamp>> { Ok(value(db, key)?.and_then(|at| at.parse().ok())) };
    let (Some(_), Some(since)) = (instant(COPIED_AT)?, newest) else { return Ok(None) };
    Ok(Some(LostRecords { since, until: instant(PUT_BACK_AT)?.filter(|until| *until >= since) }))
}

/// Returns the databases of which it is a copy, newest first.
pub(super) fn ancestors(db: &Sql) -> SqlResult<Vec<Ancestor>> {
    let text = value(db, ANCESTORS)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Returns the identity; a new database gets one.
pub(super) fn identity(db: &Sql) -> SqlResult<String> {
    let fresh = uuid::Uuid::now_v7().to_string();
    db.run(
        "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO NOTHING",
        params![DATABASE, fresh],
    )?;
    Ok(value(db, DATABASE)?.unwrap_or(fresh))
}
