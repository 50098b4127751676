//! Reading the rows of `nodes` and `fleet`.
use super::node::shown;
use crate::domain::{AgentId, RunId, timestamp_of_micros};
use crate::store::error::StoreError;
use crate::store::nodes::{FleetLead, NodeRow};
use crate::store::reader::Reader;
use crate::store::rows::{agent_id, run_id};
use crate::store::sql::{Sql, SqlResult};

impl Reader {
    /// Returns the nodes that share the records, by name. Only for records on a server.
    pub fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.ask("reading which nodes there are", nodes)
    }

    /// Returns the lead. Only for records on a server.
    pub fn lead(&self) -> Result<FleetLead, StoreError> {
        self.ask("reading who leads", fleet_lead)
    }
}

/// Returns all nodes, by name; none for tables of a release without nodes.
fn nodes(db: &Sql) -> SqlResult<Vec<NodeRow>> {
    if !db.exists("SELECT 1 WHERE to_regclass('nodes') IS NOT NULL", &[])? {
        return Ok(Vec::new());
    }
    let sql = "SELECT n.name, n.identity, n.version, n.protocol, n.labels, n.leads,
           n.identity = f.leader AND f.expires > now(), n.seen > now() - interval '25 seconds', n.config, n.started_at,
           CAST(extract(epoch FROM n.seen) * 1000000 AS BIGINT), n.clock_offset_ms, n.lag_ms,
           CAST(coalesce(to_jsonb(n) ->> 'revision', '0') AS BIGINT)
         FROM nodes n CROSS JOIN fleet f ORDER BY n.name";
    let in_hand = runs_in_hand(db)?;
    db.rows(sql, &[], |row| {
        let name: String = row.get(0)?;
        let leads: bool = row.get(6)?;
        let at = |(node, _): &&(Option<String>, (RunId, AgentId))| match node {
            Some(node) => *node == name,
            None => leads,
        };
        let runs = in_hand.iter().filter(at).map(|(_, run)| run.clone()).collect();
        let identity: String = row.get(1)?;
        let labels: String = row.get(4)?;
        Ok(NodeRow {
            name,
            runs,
            place: shown(&identity).to_owned(),
            version: row.get(2)?,
            protocol: row.get(3)?,
            labels: serde_json::from_str(&labels).unwrap_or_default(),
            may_lead: row.get(5)?,
            leads,
            is_there: row.get(7)?,
            config: row.get(8)?,
            started_at: timestamp_of_micros(row.get(9)?),
            seen: timestamp_of_micros(row.get(10)?),
            clock_offset_ms: row.get(11)?,
            lag_ms: row.get(12)?,
            revision: row.get::<i64>(13)?.unsigned_abs(),
        })
    })
}

/// A run in flight, with its node. `None`: the leader.
type RunInHand = (Option<String>, (RunId, AgentId));

fn runs_in_hand(db: &Sql) -> SqlResult<Vec<RunInHand>> {
    let sql = "SELECT CASE WHEN node_session IS NULL THEN NULL ELSE node END, id, agent FROM runs
         WHERE finished_at IS NULL AND (status = 'running' OR node_session IS NOT NULL) ORDER BY id";
    db.rows(sql, &[], |row| Ok((row.get(0)?, (run_id(row, 1)?, agent_id(row, 2)?))))
}

/// Returns the lead.
pub(super) fn fleet_lead(db: &Sql) -> SqlResult<FleetLead> {
    let sql = "SELECT epoch, leader, leader <> '' AND expires > now(), (SELECT name FROM nodes WHERE identity = leader LIMIT 1),
           CAST(extract(epoch FROM CASE WHEN leader <> '' AND expires > now() THEN led_since ELSE expires END) * 1000000 AS BIGINT),
           CAST(extract(epoch FROM now()) * 1000000 AS BIGINT),
           CAST(ceil(greatest(extract(epoch FROM expires - now()), 0)) AS BIGINT)
         FROM fleet";
    db.one(sql, &[], |row| {
        let leader: String = row.get(1)?;
        let leads: bool = row.get(2)?;
        let since: Option<i64> = row.get(4)?;
        Ok(FleetLead {
            epoch: row.get::<i64>(0)?.unsigned_abs(),
            leader: leads.then(|| shown(&leader).to_owned()),
            node: row.get::<Option<String>>(3)?.filter(|_| leads),
            since: since.filter(|since| *since > 0).map(timestamp_of_micros),
            now: timestamp_of_micros(row.get(5)?),
            left_secs: row.get::<i64>(6)?.unsigned_abs(),
        })
    })
}

/// Returns whether none of the live nodes may lead.
pub(in crate::store) fn nobody_may_lead(db: &Sql) -> SqlResult<bool> {
    let all = nodes(db)?;
    let mut there = all.iter().filter(|node| node.is_there).peekable();
    Ok(there.peek().is_some() && !there.any(|node| node.may_lead))
}
