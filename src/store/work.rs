//! Orders to nodes and reports of nodes, as far as they are written with the leader's decisions.
//! Records in a file have only one daemon, so there are neither.
use super::sql::{Sql, SqlResult, params};
use crate::domain::{LiveNode, Seq};

/// Writes an order for a node. Its fencing token exceeds that of any earlier attempt.
pub(super) fn ordered(db: &Sql, session: &str, order: &str, newest: Seq) -> SqlResult<()> {
    if !db.has_nodes() {
        return Ok(());
    }
    db.run(
        "INSERT INTO orders(session, fence, body) VALUES (?1, ?2, ?3)",
        params![session, newest.0 as i64 + 1, order],
    )?;
    db.run("SELECT pg_notify(bell, '') FROM workers WHERE session = ?1", params![session])
}

/// Removes reports that are decided.
pub(super) fn taken(db: &Sql, ids: &[i64]) -> SqlResult<()> {
    if !db.has_nodes() {
        return Ok(());
    }
    ids.iter().try_for_each(|id| db.run("DELETE FROM reports WHERE id = ?1", params![*id]))
}

/// Removes what is left of a node's session.
pub(super) fn over(db: &Sql, session: &str) -> SqlResult<()> {
    if !db.has_nodes() {
        return Ok(());
    }
    [
        "DELETE FROM orders WHERE session = ?1",
        "DELETE FROM reports WHERE session = ?1",
        "DELETE FROM workers WHERE session = ?1",
    ]
    .into_iter()
    .try_for_each(|sql| db.run(sql, params![session]))
}

/// Runs that a node takes at a time; 0: it is of a release that does not say.
pub(super) fn places(said: i64) -> usize {
    usize::try_from(said).ok().filter(|places| *places > 0).unwrap_or(usize::MAX)
}

/// Lives of nodes of which not all is decided yet.
pub(super) fn live(db: &Sql) -> SqlResult<Vec<LiveNode>> {
    if !db.has_nodes() {
        return Ok(Vec::new());
    }
    db.rows(
        "SELECT session, node, labels, over = 0 AND drains = 0, places FROM workers ORDER BY session",
        &[],
        |row| {
            let labels: String = row.get(2)?;
            Ok(LiveNode {
                session: row.get::<String>(0)?.into(),
                name: row.get::<String>(1)?.into(),
                labels: serde_json::from_str(&labels).unwrap_or_default(),
                takes: row.get(3)?,
                places: places(row.get(4)?),
            })
        },
    )
}
