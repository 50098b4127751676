//! The mailboxes between the node that leads and those that run what it places there: `orders` and `reports`.
//!
//! A life of a node as one that runs things is a session: a row of `workers`. Each transaction of it begins by moving that
//! row, and raises where the session is over; so what is read of a session after it was declared over is all that there will
//! ever be. Orders are written by the leader's own transactions, with what they follow from, and so are reports removed.
use super::node_link::NodeLink;
use super::session::Session;
use crate::domain::LiveNode;
use crate::store::error::StoreError;
use crate::store::sql::{Scope, Sql, SqlResult, params};
use std::sync::Arc;

/// Reports that are read at a time.
const MOST_REPORTS: i64 = 500;
/// Orders that are read at a time.
const MOST_ORDERS: i64 = 500;

/// An order for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkOrder {
    /// Its number: it grows.
    pub id: i64,
    /// More than that of any attempt that was decided before.
    pub fence: u64,
    /// What, in the words of the daemon.
    pub body: String,
}

/// Something that a node has reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenReport {
    pub id: i64,
    /// The life of the node.
    pub session: Arc<str>,
    /// What, in the words of the daemon.
    pub body: String,
}

/// All that run what is placed there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workers {
    /// Those that are there.
    pub live: Vec<LiveNode>,
    /// Sessions that are over: they report nothing more.
    pub over: Vec<Arc<str>>,
}

impl NodeLink {
    /// Begins a life of this node as one that runs things. Earlier ones are over: who has the lock of the state folder is the
    /// only daemon of it.
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
                "INSERT INTO workers(session, node, identity, labels, bell, seen, reported, drains, over)
                 VALUES (?1, ?2, ?3, ?4, ?5, now(), 0, 0, 0) ON CONFLICT(session) DO NOTHING",
                params![session, link.name().as_str(), link.me, labels, link.channel_of(&link.session)],
            )?;
            link.ring_leader(&*change)?;
            change.commit()
        })
        .await
    }

    /// Hands over what is reported, numbered without gaps from 1, and says that the node is there. Done twice, each report is
    /// there once. False: the session is over, and nothing of it was written.
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
        // locked to the end: whoever declares it over waits, and then sees what was written
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
            "UPDATE workers SET seen = now(), reported = ?2 WHERE session = ?1",
            params![session, newest],
        )?;
        if newest > known {
            self.ring_leader(&*change)?;
        }
        change.commit()?;
        Ok(true)
    }

    /// Orders after this one, oldest first; those up to it are removed.
    pub async fn orders(self: &Arc<Self>, session: String, after: i64) -> Result<Vec<WorkOrder>, StoreError> {
        self.with("fetching orders", move |_, connection| {
            let db: &Sql = connection;
            if after > 0 {
                db.run("DELETE FROM orders WHERE session = ?1 AND id <= ?2", params![session, after])?;
            }
            db.rows(
                "SELECT id, fence, body FROM orders WHERE session = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                params![session, after, MOST_ORDERS],
                |row| {
                    let fence = row.get::<i64>(1)?.unsigned_abs();
                    Ok(WorkOrder { id: row.get(0)?, fence, body: row.get(2)? })
                },
            )
        })
        .await
    }

    /// Nothing new is to be placed here.
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

    /// The session is over: nothing of it is in hand any more.
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

    /// All that run what is placed there. Who was not heard of for 25 seconds, by the database's clock, is over from now on.
    pub async fn workers(self: &Arc<Self>) -> Result<Workers, StoreError> {
        self.with("looking for nodes", |_, connection| {
            let db: &Sql = connection;
            db.run(
                // one that hangs in a transaction is over when that has ended: others are not to wait for it
                "UPDATE workers SET over = 1 WHERE session IN (SELECT session FROM workers
                   WHERE over = 0 AND seen < now() - interval '25 seconds' FOR UPDATE SKIP LOCKED)",
                &[],
            )?;
            let mut workers = Workers::default();
            let sql = "SELECT session, node, labels, drains = 0, over = 0 FROM workers ORDER BY session";
            for (node, is_live) in db.rows(sql, &[], |row| {
                let labels: String = row.get(2)?;
                let node = LiveNode {
                    session: row.get::<String>(0)?.into(),
                    name: row.get::<String>(1)?.into(),
                    labels: serde_json::from_str(&labels).unwrap_or_default(),
                    takes: row.get(3)?,
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

    /// The oldest reports that are not decided yet, each session's in their order. True: there may be more.
    pub async fn reports(self: &Arc<Self>) -> Result<(Vec<TakenReport>, bool), StoreError> {
        self.with("reading reports", |_, connection| {
            let db: &Sql = connection;
            let sql = "SELECT id, session, body FROM reports ORDER BY id LIMIT ?1";
            let reports = db.rows(sql, params![MOST_REPORTS], |row| {
                Ok(TakenReport { id: row.get(0)?, session: row.get::<String>(1)?.into(), body: row.get(2)? })
            })?;
            let is_all = (reports.len() as i64) < MOST_REPORTS;
            Ok((reports, !is_all))
        })
        .await
    }

    fn ring_leader(&self, db: &Sql) -> SqlResult<()> {
        db.run("SELECT pg_notify(?1, '')", params![self.channel_of_asks()])
    }
}
