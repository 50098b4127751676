//! The tables of a PostgreSQL database, release by release, in the same versions as those of SQLite.

/// Versions and what leads to each; the first makes all tables at once.
pub(in crate::store) const MIGRATIONS: &[(i64, &str)] = &[
    (13, include_str!("../migrations/postgres/0013_all.sql")),
    (14, include_str!("../migrations/postgres/0014_people.sql")),
];

/// The version that this program knows.
pub(super) fn latest() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _)| *version)
}
