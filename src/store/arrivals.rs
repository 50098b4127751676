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

/// What stands in `source` of what was delivered to a webhook.
fn of_webhook(name: &str) -> String {
    format!("webhook {name}")
}

/// A delivery is there for a moment only: it is remembered from now on for as long as a file that is gone.
pub(super) fn arrived(db: &Sql, event: &Event, mark: &str, at: Timestamp) -> SqlResult<()> {
    let (source, name, left_at) = match &event.payload {
        Payload::FileArrived(file) => (FILE.to_owned(), &file.path, None),
        Payload::WebhookReceived(one) => (of_webhook(&one.webhook), &one.delivery, Some(to_micros(at))),
        _ => return Ok(()),
    };
    let agent = event.agent_id.as_ref().map_or("", AgentId::as_str);
    db.run(
        "INSERT INTO arrivals(source, name, agent, mark, left_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT(source, name, agent) DO UPDATE SET mark = excluded.mark, left_at = excluded.left_at",
        params![source, name, agent, mark, left_at],
    )
}

pub(super) fn left(
    db: &Sql,
    agent: &AgentId,
    gone: &[String],
    back: &[(String, String)],
    at: Timestamp,
) -> SqlResult<()> {
    for path in gone {
        db.run(
            "UPDATE arrivals SET left_at = ?4 WHERE source = ?1 AND name = ?2 AND agent = ?3",
            params![FILE, path, agent.as_str(), to_micros(at)],
        )?;
    }
    // what was known of one may have been removed meanwhile, and would be a new file after the next start
    for (path, mark) in back {
        db.run(
            "INSERT INTO arrivals(source, name, agent, mark, left_at) VALUES (?1, ?2, ?3, ?4, NULL)
             ON CONFLICT(source, name, agent) DO UPDATE SET mark = excluded.mark, left_at = excluded.left_at",
            params![FILE, path, agent.as_str(), mark],
        )?;
    }
    Ok(())
}

impl Reader {
    /// Was this delivered to a webhook before, as far as that is remembered?
    ///
    /// # Errors
    /// What the database says.
    pub fn was_delivered(&self, webhook: &str, id: &str) -> Result<bool, StoreError> {
        self.ask("reading what was delivered", |db| {
            let sql = "SELECT 1 FROM arrivals WHERE source = ?1 AND name = ?2 LIMIT 1";
            Ok(db.row(sql, params![of_webhook(webhook), id], |row| row.get::<i64>(0))?.is_some())
        })
    }

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
