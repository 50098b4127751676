//! Revisions of the configuration of a fleet, as they are kept.
use super::error::StoreError;
use super::reader::Reader;
use super::sql::{Sql, SqlResult, SqlRow, params};
use crate::domain::{AppliedConfig, ConfigHash, timestamp_of_micros, to_micros};

const COLUMNS: &str = "revision, at, applied_by, origin, hash, text";

/// One was applied. The oldest give way.
pub(super) fn stored(db: &Sql, applied: &AppliedConfig) -> SqlResult<()> {
    db.run(
        "INSERT INTO configs(revision, at, applied_by, origin, hash, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            applied.revision as i64,
            to_micros(applied.at),
            applied.by,
            applied.origin,
            applied.hash.to_string(),
            applied.text.as_deref()
        ],
    )?;
    let last = applied.revision.saturating_sub(AppliedConfig::KEPT);
    db.run("DELETE FROM configs WHERE revision <= ?1", params![last as i64])
}

/// The newest one.
pub(super) fn newest(db: &Sql) -> SqlResult<Option<AppliedConfig>> {
    db.row(&format!("SELECT {COLUMNS} FROM configs ORDER BY revision DESC LIMIT 1"), &[], applied)
}

fn applied(row: &SqlRow<'_>) -> SqlResult<AppliedConfig> {
    let (revision, hash, text): (i64, String, Option<String>) = (row.get(0)?, row.get(4)?, row.get(5)?);
    Ok(AppliedConfig {
        revision: revision.unsigned_abs(),
        at: timestamp_of_micros(row.get(1)?),
        by: row.get(2)?,
        origin: row.get(3)?,
        hash: ConfigHash(u64::from_str_radix(&hash, 16).unwrap_or_default()),
        text: text.map(Into::into),
    })
}

impl Reader {
    /// The newest revision of the fleet's configuration; `None`: none was ever applied.
    pub fn applied_config(&self) -> Result<Option<AppliedConfig>, StoreError> {
        self.ask("reading the configuration of the fleet", newest)
    }

    /// The newest so many revisions, newest first.
    pub fn configs(&self, limit: u64) -> Result<Vec<AppliedConfig>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM configs ORDER BY revision DESC LIMIT ?1");
        self.ask("reading configurations of the fleet", |db| db.rows(&sql, params![limit as i64], applied))
    }

    /// One revision; `None`: there is none of that number, or none any more.
    pub fn config(&self, revision: u64) -> Result<Option<AppliedConfig>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM configs WHERE revision = ?1");
        let asked = i64::try_from(revision).unwrap_or(i64::MAX);
        self.ask("reading a configuration of the fleet", |db| db.row(&sql, params![asked], applied))
    }
}
