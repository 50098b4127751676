//! Views for `status`: the daemon itself and its connections.
use crate::child::groups::GroupSupport;
use crate::child::run_folders::WorkspaceSums;
use crate::daemon::inbox::{HookTrouble, SourceTrouble, WebhookStanding};
use crate::domain::{AgentId, Fleet, RedisMemorySpec, RedisSpec};
use crate::export::ExportStatus;
use crate::protocol::{
    AncestorView, ControlGroupsView, DeliveryView, FleetLeadView, HookTroubleView, InboxView, MetricsView,
    NodeView, RedisMemoryView, RedisView, TracesView, UnheldLimitView, UntrustedServerView, WebhooksView,
    WorkspacesView,
};
use crate::redis_memory::MemoryStanding;
use crate::store::{FleetLead, OutboxTarget};
use crate::telemetry::{MetricsStanding, TraceStatus};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Converts the predecessor of a copied database.
pub(in crate::daemon) fn ancestor(one: &crate::store::Ancestor) -> AncestorView {
    AncestorView { database: one.database.clone(), until: one.until }
}

pub(in crate::daemon) fn delivery(target: OutboxTarget) -> DeliveryView {
    let OutboxTarget { target, waiting, given_up, oldest, next_try, tries, error } = target;
    DeliveryView { target, waiting, given_up, oldest, tries, next_try, error }
}

/// What the folders of runs take, and may.
pub(in crate::daemon) fn workspaces((sums, bound): &(WorkspaceSums, u64)) -> WorkspacesView {
    let (bytes, bound) = (sums.total(), *bound);
    WorkspacesView {
        bytes,
        bound,
        runs: sums.runs,
        kept: sums.kept_folders,
        sessions: sums.sessions,
        cut: sums.is_cut,
    }
}

/// Where metrics are read.
pub(in crate::daemon) fn metrics(standing: MetricsStanding) -> MetricsView {
    let MetricsStanding { address, problem } = standing;
    MetricsView { address, problem }
}

/// Converts the progress of the trace export; `None`: traces are off.
pub(in crate::daemon) fn traces(standing: TraceStatus) -> Option<TracesView> {
    let TraceStatus { url, sent, dropped, waiting, problem } = standing;
    (!url.is_empty()).then_some(TracesView { url, sent, dropped, waiting, problem })
}

/// Converts the leader and the other nodes.
pub(in crate::daemon) fn fleet_lead(lead: FleetLead, nodes: Vec<NodeView>) -> FleetLeadView {
    let FleetLead { epoch, leader, node, since, .. } = lead;
    FleetLeadView { leader: node.or_else(|| leader.clone()), place: leader, epoch, since, nodes }
}

/// Converts the state of the agents' memory in Redis.
pub(in crate::daemon) fn redis_memory(spec: &RedisMemorySpec, standing: MemoryStanding) -> RedisMemoryView {
    let MemoryStanding { state, problem, since, waiting } = standing;
    RedisMemoryView { url: spec.server.place(), prefix: spec.prefix.clone(), state, since, problem, waiting }
}

/// Converts the state of the export to Redis.
pub(in crate::daemon) fn redis(
    spec: &RedisSpec,
    standing: &ExportStatus,
    newest: u64,
    now: Timestamp,
) -> RedisView {
    let position = standing.position.map(|seq| seq.0);
    let lag = standing.behind_since.map(|since| now.duration_since(since));
    RedisView {
        url: spec.server.place(),
        stream: spec.stream.clone(),
        format: spec.format,
        state: standing.state,
        since: standing.since,
        problem: standing.problem.clone(),
        position,
        // an event committed a moment ago may be exported already
        lag_events: position.map(|position| newest.saturating_sub(position)),
        lag_secs: lag.map_or(0, |lag| u64::try_from(lag.as_secs()).unwrap_or(0)),
    }
}

/// Converts the limitations of control groups.
pub(in crate::daemon) fn control_groups(support: GroupSupport) -> ControlGroupsView {
    let GroupSupport { none_because, no_memory_because, no_processes_because } = support;
    ControlGroupsView { none_because, no_memory_because, no_processes_because }
}

/// Returns the limits of programs that can't be enforced here.
pub(in crate::daemon) fn unheld_limits(fleet: &Fleet, support: &GroupSupport) -> Vec<UnheldLimitView> {
    let limited = fleet.programs().into_iter().filter_map(|program| {
        let (limit, why) = support.lacks(&program.sandbox.as_ref()?.limits)?;
        Some(UnheldLimitView { program: program.place(), limit: limit.into(), because: why.into() })
    });
    limited.collect()
}

/// Number of consecutively refused deliveries to a webhook from which on they are reported. Fewer
/// may come from strangers.
const REPORTED_REFUSAL_COUNT: u64 = 5;

/// Converts the state of the webhook listener.
pub(in crate::daemon) fn webhooks(
    standing: &WebhookStanding,
    hooks: &BTreeMap<String, HookTrouble>,
) -> WebhooksView {
    let worth = |trouble: &HookTrouble| trouble.is_blind || trouble.refused >= REPORTED_REFUSAL_COUNT;
    let refused = hooks.iter().filter(|(_, trouble)| worth(trouble)).map(|(name, trouble)| HookTroubleView {
        webhook: name.clone(),
        refused: trouble.refused,
        last: trouble.last.clone(),
        since: trouble.since,
        blind: trouble.is_blind,
    });
    WebhooksView {
        address: standing.address.to_string(),
        problem: standing.problem.as_ref().map(|(problem, _)| problem.clone()),
        refused: refused.collect(),
    }
}

/// Converts a problem of an agent's source.
pub(in crate::daemon) fn source((agent, trouble): (&AgentId, &SourceTrouble)) -> InboxView {
    InboxView { agent_id: agent.clone(), problem: trouble.problem.clone(), since: Some(trouble.since) }
}

/// Converts an untrusted MCP server, with the agents that use its tools.
pub(in crate::daemon) fn untrusted((server, agents): (&str, Vec<&AgentId>)) -> UntrustedServerView {
    UntrustedServerView { server: server.to_owned(), agents: agents.into_iter().cloned().collect() }
}
