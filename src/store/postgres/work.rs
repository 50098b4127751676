//! The mailboxes between the leader and the nodes that run placed attempts: `orders` and `reports`.
//!
//! A worker's session is a row of `workers`. Each of its transactions begins by updating that row,
//! and fails if the session is over; so the reports of a session read after it was declared over
//! are complete. Orders are written, and reports removed, by the leader's own transactions,
//! together with the facts that cause this.
use super::node_link::NodeLink;
use super::session::Session;
use crate::domain::LiveNode;
use crate::store::error::StoreError;
use crate::store::sql::{Scope, Sql, SqlResult, params};
use crate::store::work::places;
use std::sync::Arc;

/// Maximum number of reports read at once.
const MAX_REPORT_ROWS: i64 = 500;
/// Maximum number of orders read at once.
const MAX_ORDER_ROWS: i64 = 500;

/// An order for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkOrder {
    /// Its id, which grows.
    pub id: i64,
    /// A fencing token higher than that of any attempt decided earlier.
    pub fence: u64,
    /// The order, serialized by the daemon.
    pub body: String,
}

/// A report of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenReport {
    pub id: i64,
    /// The session of the node.
    pub session: Arc<str>,
    /// The report, serialized by the daemon.
    pub body: String,
}

/// The nodes that run placed attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workers {
    /// Nodes with a live session.
    pub live: Vec<LiveNode>,
    /// Sessions that are over: they report nothing more.
    pub over: Vec<Arc<str>>,
}

impl NodeLink {
    /// Begins a session of this node as a worker. Earlier ones are over: the holder of the lock of
    /// the state folder is its only daemon.
    pub async fn begin_work(self: &Arc<Self>, session: String) -> Result<(), StoreError> {
        self.with("beginning to work", move |link, connection| {
            let db: &Sql = connection;
            let change = db.begin(Scope::Write)?;
            let labels = serde_json::to_string(&link.about.spec.labels).unwrap_or_default();
            change.run(
                "UPDATE workers SET over = 1 WHERE identity = ?1 AND session <> ?2",
                params![link.me, session],
            )?;
            change.run(
                "INSERT INTO workers(session, node, identity, labels, bell, seen, reported, drains, over, places)
                 VALUES (?1, ?2, ?3, ?4, ?5, now(), 0, 0, 0, ?6) ON CONFLICT(session) DO NOTHING",
                params![
                    session,
                    link.name().as_str(),
                    link.me,
                    labels,
                    link.channel_of(&link.session),
                    link.places()
                ],
            )?;
            link.ring_leader(&*change)?;
            change.commit()
        })
        .await
    }

    /// Sends reports, numbered without gaps from 1, and renews the session; idempotent. Returns
    /// false if the session is over, and then nothing was written.
    pub async fn report(
        self: &Arc<Self>,
        session: String,
        reports: Vec<(u64, String)>,
    ) -> Result<bool, StoreError> {
        self.with("reporting", move |link, connection| link.report_now(connection, &session, &reports)).await
    }

    fn report_now(&self, connection: &Session, session: &str, reports: &[(u64, String)]) -> SqlResult<bool> {
        let db: &Sql = connection;
        let change = db.begin(Scope::Write)?;
        // locked until the commit: declaring the session over waits for it, and then sees what was written
        let known = "SELECT reported FROM workers WHERE session = ?1 AND over = 0 FOR UPDATE";
        let Some(known) = change.row(known, params![session], |row| row.get::<i64>(0))? else {
            return Ok(false);
        };
        let mut newest = known;
        for (n, body) in reports.iter().filter(|(n, _)| *n as i64 > known) {
            change.run("INSERT INTO reports(session, body) VALUES (?1, ?2)", params![session, body])?;
            newest = newest.max(*n as i64);
        }
        change.run(
            "UPDATE workers SET seen = now(), reported = ?2, places = ?3 WHERE session = ?1",
            params![session, newest, self.places()],
        )?;
        if newest > known {
            self.ring_leader(&*change)?;
        }
        change.commit()?;
        Ok(true)
    }

    /// Returns orders after this one, oldest first, and removes those up to it.
    pub async fn orders(self: &Arc<Self>, session: String, after: i64) -> Result<Vec<WorkOrder>, StoreError> {
        self.with("fetching orders", move |_, connection| {
            let db: &Sql = connection;
            if after > 0 {
                db.run("DELETE FROM orders WHERE session = ?1 AND id <= ?2", params![session, after])?;
            }
            db.rows(
                "SELECT id, fence, body FROM orders WHERE session = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                params![session, after, MAX_ORDER_ROWS],
                |row| {
                    let fence = row.get::<i64>(1)?.unsigned_abs();
                    Ok(WorkOrder { id: row.get(0)?, fence, body: row.get(2)? })
                },
            )
        })
        .await
    }

    /// Marks the session as draining, so that nothing new is placed here.
    pub async fn drain_work(self: &Arc<Self>, session: String) -> Result<(), StoreError> {
        self.with("going down", move |link, connection| {
            let db: &Sql = connection;
            let change = db.begin(Scope::Write)?;
            change.run("UPDATE workers SET drains = 1 WHERE session = ?1", params![session])?;
            link.ring_leader(&*change)?;
            change.commit()
        })
        .await
    }

    /// Ends the session, when no attempt of it is in flight.
    pub async fn end_work(self: &Arc<Self>, session: String) -> Result<(), StoreError> {
        self.with("going down", move |link, connection| {
            let db: &Sql = connection;
            let change = db.begin(Scope::Write)?;
            change.run("UPDATE workers SET over = 1 WHERE session = ?1", params![session])?;
            link.ring_leader(&*change)?;
            change.commit()
        })
        .await
    }

    /// Returns the workers. Those not seen for 25 seconds, by the database's clock, are declared over.
    pub async fn workers(self: &Arc<Self>) -> Result<Workers, StoreError> {
        self.with("looking for nodes", |_, connection| {
            let db: &Sql = connection;
            db.run(
                // a session that hangs in a transaction is skipped until that has ended, so that
                // others need not wait
                "UPDATE workers SET over = 1 WHERE session IN (SELECT session FROM workers
                   WHERE over = 0 AND seen < now() - interval '25 seconds' FOR UPDATE SKIP LOCKED)",
                &[],
            )?;
            let mut workers = Workers::default();
            let sql =
                "SELECT session, node, labels, drains = 0, over = 0, places FROM workers ORDER BY session";
            for (node, is_live) in db.rows(sql, &[], |row| {
                let labels: String = row.get(2)?;
                let node = LiveNode {
                    session: row.get::<String>(0)?.into(),
                    name: row.get::<String>(1)?.into(),
                    labels: serde_json::from_str(&labels).unwrap_or_default(),
                    takes: row.get(3)?,
                    places: places(row.get(5)?),
                };
                Ok((node, row.get::<bool>(4)?))
            })? {
                match is_live {
                    true => workers.live.push(node),
                    false => workers.over.push(node.session),
                }
            }
            Ok(workers)
        })
        .await
    }

    /// Returns the oldest undecided reports, those of each session in order; the flag says whether
    /// there may be more.
    pub async fn reports(self: &Arc<Self>) -> Result<(Vec<TakenReport>, bool), StoreError> {
        self.with("reading reports", |_, connection| {
            let db: &Sql = connection;
            let sql = "SELECT id, session, body FROM reports ORDER BY id LIMIT ?1";
            let reports = db.rows(sql, params![MAX_REPORT_ROWS], |row| {
                Ok(TakenReport { id: row.get(0)?, session: row.get::<String>(1)?.into(), body: row.get(2)? })
            })?;
            let is_all = (reports.len() as i64) < MAX_REPORT_ROWS;
            Ok((reports, !is_all))
        })
        .await
    }

    fn ring_leader(&self, db: &Sql) -> SqlResult<()> {
        db.run("SELECT pg_notify(?1, '')", params![self.calls_channel()])
    }
}
