//! The tables of a SQLite database, release by release.

/// Migrations in order; `user_version` is the number of those applied.
pub(in crate::store) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_models.sql"),
    include_str!("../migrations/0003_told.sql"),
    include_str!("../migrations/0004_findings.sql"),
    include_str!("../migrations/0005_feeds.sql"),
    include_str!("../migrations/0006_archives.sql"),
    include_str!("../migrations/0007_history.sql"),
    include_str!("../migrations/0008_pins.sql"),
    include_str!("../migrations/0009_sessions.sql"),
    include_str!("../migrations/0010_held_output.sql"),
    include_str!("../migrations/0011_clocks.sql"),
    include_str!("../migrations/0012_elapsed.sql"),
    include_str!("../migrations/0013_untrusted.sql"),
    include_str!("../migrations/0014_people.sql"),
    include_str!("../migrations/0015_runners.sql"),
    include_str!("../migrations/0016_params.sql"),
    include_str!("../migrations/0017_people.sql"),
    include_str!("../migrations/0018_arrivals.sql"),
    include_str!("../migrations/0019_nodes.sql"),
    include_str!("../migrations/0020_memory_changes.sql"),
    include_str!("../migrations/0021_orders.sql"),
    include_str!("../migrations/0022_configs.sql"),
];
