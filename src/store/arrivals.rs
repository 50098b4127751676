//! What has arrived from outside and has its outcome: it is no news when it is found again, in this life or a later one.
use super::error::StoreError;
use super::rows::agent_id;
use super::sql::{Sql, SqlResult, params};
use crate::domain::{AgentId, Event, Payload, to_micros};
use crate::store::reader::Reader;
use jiff::Timestamp;

/// What stands in `source` of a file.
const FILE: &str = "file";

/// A file that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedFile {
    /// Whose.
    pub agent: AgentId,
    /// Where it lay.
    pub path: String,
    /// See [`crate::domain::FoundFile::mark`].
    pub mark: String,
    /// It lies there no longer.
    pub is_gone: bool,
}

pub(super) fn file(db: &Sql, event: &Event, mark: &str) -> SqlResult<()> {
    let (Payload::FileArrived(file), Some(agent)) = (&event.payload, &event.agent_id) else { return Ok(()) };
    db.run(
        "INSERT INTO arrivals(source, name, agent, mark) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT(source, name, agent) DO UPDATE SET mark = excluded.mark, left_at = NULL",
        params![FILE, file.path, agent.as_str(), mark],
    )
}

pub(super) fn left(
    db: &Sql,
    agent: &AgentId,
    gone: &[String],
    back: &[String],
    at: Timestamp,
) -> SqlResult<()> {
    let of = |path: &String, at: Option<i64>| {
        db.run(
            "UPDATE arrivals SET left_at = ?4 WHERE source = ?1 AND name = ?2 AND agent = ?3",
            params![FILE, path, agent.as_str(), at],
        )
    };
    gone.iter().try_for_each(|path| of(path, Some(to_micros(at))))?;
    back.iter().try_for_each(|path| of(path, None))
}

impl Reader {
    /// All files that have arrived, as far as they are remembered.
    ///
    /// # Errors
    /// What the database says.
    pub fn arrived_files(&self) -> Result<Vec<ArrivedFile>, StoreError> {
        self.ask("reading which files have arrived", |db| {
            db.rows(
                "SELECT agent, name, mark, left_at FROM arrivals WHERE source = ?1 ORDER BY agent, name",
                params![FILE],
                |row| {
                    Ok(ArrivedFile {
                        agent: agent_id(row, 0)?,
                        path: row.get(1)?,
                        mark: row.get(2)?,
                        is_gone: row.get::<Option<i64>>(3)?.is_some(),
                    })
                },
            )
        })
    }
}
