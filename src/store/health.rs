//! What can be said of the agents without a daemon: for monitoring.
use super::read::{Reader, agent_id, instant};
use super::{HealthRow, StoreError};
use std::path::Path;

/// Reads the health of all agents that are active, without a daemon and without changing anything.
pub fn read_health(path: &Path) -> Result<Vec<HealthRow>, StoreError> {
    if !path.exists() {
        return Err(StoreError::Other {
            doing: format!("reading {}", path.display()),
            what: "there is no database; the daemon has never run with this state folder".into(),
        });
    }
    let reader = Reader::open(path)?;
    reader.ask("reading the health of agents", |db| {
        let mut statement = db.prepare(
            "SELECT id, next_due, errors_in_row, circuit_at IS NOT NULL FROM agents WHERE desired = 'active' AND NOT removed ORDER BY id",
        )?;
        let rows = statement.query_map([], |row| {
            let due = row.get::<_, Option<i64>>(1)?;
            Ok(HealthRow {
                agent: agent_id(row, 0)?,
                next_due: due.map(|_| instant(row, 1)).transpose()?,
                errors_in_row: row.get(2)?,
                circuit_open: row.get(3)?,
            })
        })?;
        rows.collect()
    })
}
