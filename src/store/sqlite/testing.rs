//! Access to SQLite internals for tests.
pub(in crate::store) use super::examine::changed_since;
pub(in crate::store) use super::files::beside;
pub(in crate::store) use super::link::Link;
pub(in crate::store) use super::migrations::MIGRATIONS;
pub(in crate::store) use super::open::migrate;
pub(in crate::store) use crate::store::mark::{MarkFile, read_mark};

/// Creates all tables in memory.
pub(in crate::store) fn in_memory() -> Link {
    let db = rusqlite::Connection::open_in_memory().expect("memory");
    for sql in MIGRATIONS {
        db.execute_batch(sql).expect("the migrations run");
    }
    Link::new(db, "memory".into())
}
