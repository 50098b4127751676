//! Arrivals from outside with a recorded outcome: they are not reported again, in this life or a later one.
use super::error::StoreError;
use super::rows::agent_id;
use super::sql::{Sql, SqlResult, params};
use crate::domain::{AgentId, Event, Payload, to_micros};
use crate::store::reader::Reader;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Value of `source` for files.
const FILE_SOURCE: &str = "file";
/// Value of `source` for the cursor of an MCP server: `mark` is the cursor, empty if there is none.
const CURSOR_SOURCE: &str = "cursor";

/// A file that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedFile {
    pub agent: AgentId,
    /// Its path on arrival.
    pub path: String,
    pub mark: String,
    /// Whether it has been removed.
    pub is_gone: bool,
}

/// The latest cursor of a server. `None`: the server has no cursors, and reports only new events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCursor(pub Option<String>);

/// Returns the value of `source` for deliveries to a webhook.
fn of_webhook(name: &str) -> String {
    format!("webhook {name}")
}

/// Returns the value of `source` for events of an MCP server.
fn of_server(server: &str, event: &str) -> String {
    format!("mcp {server} {event}")
}

/// Records an arrival. A delivery exists only for a moment, so it is remembered from now on for as
/// long as a removed file.
pub(super) fn arrived(db: &Sql, event: &Event, mark: &str, at: Timestamp) -> SqlResult<()> {
    let (source, name, left_at) = match &event.payload {
        Payload::FileArrived(file) => (FILE_SOURCE.to_owned(), &file.path, None),
        Payload::WebhookReceived(one) => (of_webhook(&one.webhook), &one.delivery, Some(to_micros(at))),
        Payload::McpEventReceived(one) => (of_server(&one.server, &one.event), &one.id, Some(to_micros(at))),
        _ => return Ok(()),
    };
    let agent = event.agent_id.as_ref().map_or("", AgentId::as_str);
    db.run(
        "INSERT INTO arrivals(source, name, agent, mark, left_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT(source, name, agent) DO UPDATE SET mark = excluded.mark, left_at = excluded.left_at",
        params![source, name, agent, mark, left_at],
    )
}

/// Records the cursor of a server, and deletes that of the agent's former events, since each agent has one.
pub(super) fn cursor_moved(db: &Sql, agent: &AgentId, source: &str, cursor: Option<&str>) -> SqlResult<()> {
    db.run(
        "DELETE FROM arrivals WHERE source = ?1 AND agent = ?2 AND name <> ?3",
        params![CURSOR_SOURCE, agent.as_str(), source],
    )?;
    db.run(
        "INSERT INTO arrivals(source, name, agent, mark, left_at) VALUES (?1, ?2, ?3, ?4, NULL)
         ON CONFLICT(source, name, agent) DO UPDATE SET mark = excluded.mark",
        params![CURSOR_SOURCE, source, agent.as_str(), cursor.unwrap_or("")],
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
            params![FILE_SOURCE, path, agent.as_str(), to_micros(at)],
        )?;
    }
    // it may have been forgotten in the meantime, and would count as new after the next start
    for (path, mark) in back {
        db.run(
            "INSERT INTO arrivals(source, name, agent, mark, left_at) VALUES (?1, ?2, ?3, ?4, NULL)
             ON CONFLICT(source, name, agent) DO UPDATE SET mark = excluded.mark, left_at = excluded.left_at",
            params![FILE_SOURCE, path, agent.as_str(), mark],
        )?;
    }
    Ok(())
}

impl Reader {
    /// Returns whether a webhook received this delivery before, as far as that is remembered.
    ///
    /// # Errors
    /// An error of the database.
    pub fn was_delivered(&self, webhook: &str, id: &str) -> Result<bool, StoreError> {
        self.ask("reading what was delivered", |db| {
            let sql = "SELECT 1 FROM arrivals WHERE source = ?1 AND name = ?2 LIMIT 1";
            Ok(db.row(sql, params![of_webhook(webhook), id], |row| row.get::<i64>(0))?.is_some())
        })
    }

    /// Returns the cursor of an agent's events; `source`: see [`crate::domain::McpTrigger::key`].
    /// `None`: never read.
    ///
    /// # Errors
    /// An error of the database.
    pub fn event_cursor(&self, agent: &AgentId, source: &str) -> Result<Option<EventCursor>, StoreError> {
        self.ask("reading where events go on", |db| {
            let sql = "SELECT mark FROM arrivals WHERE source = ?1 AND name = ?2 AND agent = ?3";
            let mark =
                db.row(sql, params![CURSOR_SOURCE, source, agent.as_str()], |row| row.get::<String>(0))?;
            Ok(mark.map(|mark| EventCursor(Some(mark).filter(|mark| !mark.is_empty()))))
        })
    }

    /// Returns those of these event ids of a server that an agent has received before, as far as
    /// that is remembered.
    ///
    /// # Errors
    /// An error of the database.
    pub fn known_events(
        &self,
        agent: &AgentId,
        (server, event): (&str, &str),
        ids: &[String],
    ) -> Result<BTreeSet<String>, StoreError> {
        let source = of_server(server, event);
        self.ask("reading which events have been", |db| {
            let sql = "SELECT 1 FROM arrivals WHERE source = ?1 AND name = ?2 AND agent = ?3";
            let mut known = BTreeSet::new();
            for id in ids {
                let row = db.row(sql, params![source, id, agent.as_str()], |row| row.get::<i64>(0))?;
                if row.is_some() {
                    known.insert(id.clone());
                }
            }
            Ok(known)
        })
    }

    /// Returns all files that have arrived, as far as they are remembered.
    ///
    /// # Errors
    /// An error of the database.
    pub fn arrived_files(&self) -> Result<Vec<ArrivedFile>, StoreError> {
        self.ask("reading which files have arrived", |db| {
            db.rows(
                "SELECT agent, name, mark, left_at FROM arrivals WHERE source = ?1 ORDER BY agent, name",
                params![FILE_SOURCE],
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
