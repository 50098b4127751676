//! What `status` says of the daemon itself and of what it is connected with.
use crate::child::groups::GroupSupport;
use crate::daemon::inbox::{HookTrouble, SourceTrouble, WebhookStanding};
use crate::domain::{AgentId, Fleet, RedisMemorySpec, RedisSpec};
use crate::export::ExportStanding;
use crate::protocol::{
    AncestorView, ControlGroupsView, DeliveryView, FleetLeadView, HookTroubleView, InboxView, MetricsView,
    NodeView, RedisMemoryView, RedisView, TracesView, UnheldLimitView, UntrustedServerView, WebhooksView,
};
use crate::redis_memory::MemoryStanding;
use crate::store::{FleetLead, OutboxTarget};
use crate::telemetry::{MetricsStanding, TraceStanding};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a database was a copy of.
pub(in crate::daemon) fn ancestor(one: &crate::store::Ancestor) -> AncestorView {
    AncestorView { database: one.database.clone(), until: one.until }
}

pub(in crate::daemon) fn delivery(target: OutboxTarget) -> DeliveryView {
    let OutboxTarget { target, waiting, given_up, oldest, next_try, tries, error } = target;
    DeliveryView { target, waiting, given_up, oldest, tries, next_try, error }
}

/// Where metrics are read.
pub(in crate::daemon) fn metrics(standing: MetricsStanding) -> MetricsView {
    let MetricsStanding { address, problem } = standing;
    MetricsView { address, problem }
}

/// How sending traces goes; `None`: none are sent.
pub(in crate::daemon) fn traces(standing: TraceStanding) -> Option<TracesView> {
    let TraceStanding { url, sent, dropped, waiting, problem } = standing;
    (!url.is_empty()).then_some(TracesView { url, sent, dropped, waiting, problem })
}

/// The node that leads, and the others.
pub(in crate::daemon) fn fleet_lead(lead: FleetLead, nodes: Vec<NodeView>) -> FleetLeadView {
    let FleetLead { epoch, leader, node, since, .. } = lead;
    FleetLeadView { leader: node.or_else(|| leader.clone()), place: leader, epoch, since, nodes }
}

/// How it stands with what agents remember in Redis.
pub(in crate::daemon) fn redis_memory(spec: &RedisMemorySpec, standing: MemoryStanding) -> RedisMemoryView {
    let MemoryStanding { state, problem, since, waiting } = standing;
    RedisMemoryView { url: spec.server.place(), prefix: spec.prefix.clone(), state, since, problem, waiting }
}

/// The copy of the log in Redis.
pub(in crate::daemon) fn redis(
    spec: &RedisSpec,
    standing: &ExportStanding,
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
        // one that was committed a moment ago may be there already
        lag_events: position.map(|position| newest.saturating_sub(position)),
        lag_secs: lag.map_or(0, |lag| u64::try_from(lag.as_secs()).unwrap_or(0)),
    }
}

/// What hinders control groups.
pub(in crate::daemon) fn control_groups(support: GroupSupport) -> ControlGroupsView {
    let GroupSupport { none_because, no_memory_because, no_processes_because } = support;
    ControlGroupsView { none_because, no_memory_because, no_processes_because }
}

/// The limits of programs that can't be held here.
pub(in crate::daemon) fn unheld_limits(fleet: &Fleet, support: &GroupSupport) -> Vec<UnheldLimitView> {
    let limited = fleet.programs().into_iter().filter_map(|program| {
        let (limit, why) = support.lacks(&program.sandbox.as_ref()?.limits)?;
        Some(UnheldLimitView { program: program.place(), limit: limit.into(), because: why.into() })
    });
    limited.collect()
}

/// So many deliveries to a webhook in a row that were not taken are worth to be told. Fewer may come from strangers.
const MANY_REFUSED: u64 = 5;

/// How it stands with the listener for webhooks.
pub(in crate::daemon) fn webhooks(
    standing: &WebhookStanding,
    hooks: &BTreeMap<String, HookTrouble>,
) -> WebhooksView {
    let worth = |trouble: &HookTrouble| trouble.is_blind || trouble.refused >= MANY_REFUSED;
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

/// What is wrong with what an agent waits for.
pub(in crate::daemon) fn source((agent, trouble): (&AgentId, &SourceTrouble)) -> InboxView {
    InboxView { agent_id: agent.clone(), problem: trouble.problem.clone(), since: Some(trouble.since) }
}

/// An MCP server that nobody has trusted yet, with the agents that name tools of it.
pub(in crate::daemon) fn untrusted((server, agents): (&str, Vec<&AgentId>)) -> UntrustedServerView {
    UntrustedServerView { server: server.to_owned(), agents: agents.into_iter().cloned().collect() }
}
