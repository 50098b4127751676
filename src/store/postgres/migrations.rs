//! The tables of a PostgreSQL database by release, with the same version numbers as for SQLite.

/// Migrations by version; the first one creates all tables.
pub(in crate::store) const MIGRATIONS: &[(i64, &str)] = &[
    (13, include_str!("../migrations/postgres/0013_all.sql")),
    (14, include_str!("../migrations/postgres/0014_people.sql")),
    (15, include_str!("../migrations/postgres/0015_runners.sql")),
    (16, include_str!("../migrations/postgres/0016_params.sql")),
    (17, include_str!("../migrations/postgres/0017_people.sql")),
    (18, include_str!("../migrations/postgres/0018_arrivals.sql")),
    (19, include_str!("../migrations/postgres/0019_nodes.sql")),
    (20, include_str!("../migrations/postgres/0020_memory_changes.sql")),
    (21, include_str!("../migrations/postgres/0021_orders.sql")),
    (22, include_str!("../migrations/postgres/0022_configs.sql")),
];

/// Returns the latest version that this program knows.
pub(super) fn latest() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _)| *version)
}

#[cfg(test)]
mod tests {
    //! Both databases have the same versions.
    use super::*;
    use crate::store::sqlite::testing;

    #[test]
    fn each_release_is_known_to_both_databases() {
        assert_eq!(usize::try_from(latest()), Ok(testing::MIGRATIONS.len()));
    }
}
