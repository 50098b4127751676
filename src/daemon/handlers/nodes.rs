//! The nodes that share the records.
use super::answers::store_error;
use crate::daemon::services::{Role, Services};
use crate::daemon::views;
use crate::domain::{AgentId, NodeName, RunId};
use crate::protocol::{FleetLeadView, NodeRole, NodeRunView, NodeView, PROTOCOLS, RpcError};
use crate::store::NodeRow;
use std::collections::BTreeMap;

/// Returns all nodes; there is one if the records are in a file.
pub(super) async fn list_nodes(services: &Services) -> Result<Vec<NodeView>, RpcError> {
    if services.records.server.is_none() {
        return Ok(vec![only_node(services).await]);
    }
    let rows = services.store.read(|reader| reader.nodes()).await.map_err(store_error)?;
    let ours = rows.iter().find(|row| row.leads).map(|row| row.config.clone());
    let me =
        services.link.as_ref().filter(|_| !matches!(services.role, Role::AtRest(_))).map(|link| link.name());
    Ok(rows.into_iter().map(|row| of_row(row, ours.as_deref(), me.as_ref())).collect())
}

/// Returns the leader and the other nodes; `None` if the records are in a file.
pub(super) async fn fleet_lead(services: &Services) -> Option<Result<FleetLeadView, RpcError>> {
    services.records.server.as_ref()?;
    Some(match services.store.read(|reader| reader.lead()).await.map_err(store_error) {
        Ok(lead) => list_nodes(services).await.map(|nodes| views::fleet_lead(lead, nodes)),
        Err(error) => Err(error),
    })
}

fn of_row(row: NodeRow, config_of_leader: Option<&str>, me: Option<&NodeName>) -> NodeView {
    let role = match (row.leads, row.is_there) {
        (true, _) => NodeRole::Leads,
        (false, true) => NodeRole::StandsBy,
        (false, false) => NodeRole::Away,
    };
    NodeView {
        role,
        is_this: me.is_some_and(|me| me.as_str() == row.name),
        other_config: config_of_leader.is_some_and(|config| config != row.config),
        config_revision: (row.revision > 0).then_some(row.revision),
        name: row.name,
        place: row.place,
        version: row.version,
        protocol: row.protocol,
        labels: row.labels,
        runs: row.runs.into_iter().map(node_run).collect(),
        may_lead: row.may_lead,
        config_hash: row.config,
        started_at: row.started_at,
        last_seen: row.seen,
        clock_offset_ms: row.clock_offset_ms,
        lag_ms: row.lag_ms.unsigned_abs(),
    }
}

fn node_run((run_id, agent_id): (RunId, AgentId)) -> NodeRunView {
    NodeRunView { run_id, agent_id }
}

/// Returns the only node of a fleet with records in a file.
async fn only_node(services: &Services) -> NodeView {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let known = services.handle.ask(|engine, _| (engine.fleet().clone(), engine.in_flight())).await;
    let (fleet, runs) = known.unzip();
    let spec = fleet.as_ref().map(|fleet| fleet.daemon.node.clone()).unwrap_or_default();
    let now = crate::clock::wall();
    let (role, last_seen) = match services.role {
        Role::AtRest(since) => (NodeRole::Away, since.unwrap_or(now)),
        Role::Leads | Role::StandsBy(_) => (NodeRole::Leads, now),
    };
    NodeView {
        name: spec.name.unwrap_or_else(|| NodeName::of_host(&host)).to_string(),
        role,
        is_this: role == NodeRole::Leads,
        place: format!("{host} {}", services.paths.state_dir.display()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: *PROTOCOLS.last().expect("there is one"),
        labels: BTreeMap::clone(&spec.labels),
        runs: runs.unwrap_or_default().into_iter().map(node_run).collect(),
        may_lead: true,
        config_hash: fleet.map(|fleet| fleet.hash.to_string()).unwrap_or_default(),
        config_revision: None,
        other_config: false,
        started_at: services.started_at,
        last_seen,
        clock_offset_ms: 0,
        lag_ms: 0,
    }
}
