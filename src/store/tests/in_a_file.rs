//! The cases, in files of SQLite.
use super::Db;

#[allow(clippy::duplicate_mod, reason = "the same cases run against both databases")]
#[path = "cases/mod.rs"]
mod cases;
