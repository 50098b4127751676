//! The cases, on a server of PostgreSQL.
use super::server::Db;

#[allow(clippy::duplicate_mod, reason = "the same cases run against both databases")]
#[path = "cases/mod.rs"]
mod cases;
