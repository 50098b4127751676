//! `nodes`: one line per daemon, and remarks on anomalies.
use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::words::plain;
use crate::domain::{counted, human_duration};
use crate::protocol::{FleetLeadView, NodeRole, NodeView};
use jiff::SignedDuration;
use std::fmt::Write as _;

/// Clocks that differ by more than this are reported.
const MAX_CLOCK_OFFSET_MS: u64 = 2_000;

/// Maximum number of a node's runs that are named.
const MAX_RUN_COUNT: usize = 8;

/// Formats all nodes, and what a person should look at.
pub(crate) fn node_list(nodes: &[NodeView], screen: &Screen) -> String {
    let mut table = Table::new()
        .column("NODE")
        .column("ROLE")
        .column("VERSION")
        .column("SEEN")
        .column("CLOCK")
        .column("LAG")
        .number("RUNS")
        .shrinking("LABELS", 8)
        .shrinking_first("WHERE", 8);
    for node in nodes {
        let name = if node.is_this { format!("{}*", plain(&node.name)) } else { plain(&node.name) };
        let (tone, role) = role(node, screen);
        let clock = match node.clock_offset_ms {
            0 => "0".to_owned(),
            ms if ms.unsigned_abs() < 1000 => format!("{ms:+} ms"),
            ms => {
                let sign = if ms < 0 { '-' } else { '+' };
                let span = SignedDuration::from_millis(ms.saturating_abs());
                format!("{sign}{}", human_duration(span))
            }
        };
        let far = if is_clock_off(node) { Tone::Warn } else { Tone::Plain };
        let labels: Vec<String> = node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.row(vec![
            name.into(),
            Cell::toned(tone, role),
            node.version.as_str().into(),
            screen.relative(node.last_seen.min(screen.now)).into(),
            Cell::toned(far, clock),
            format!("{} ms", node.lag_ms).into(),
            node.runs.len().to_string().into(),
            labels.join(" ").into(),
            node.place.as_str().into(),
        ]);
    }
    let mut text = table.render(screen);
    for node in nodes.iter().filter(|node| !node.runs.is_empty()) {
        let runs = node.runs.iter().take(MAX_RUN_COUNT);
        let mut runs: Vec<String> =
            runs.map(|run| format!("{} {}", plain(run.agent_id.as_str()), run.run_id.short())).collect();
        if let Some(more) = node.runs.len().checked_sub(MAX_RUN_COUNT).filter(|more| *more > 0) {
            runs.push(format!("{more} more"));
        }
        let line = format!("{} runs {}", plain(&node.name), runs.join(", "));
        let _ = writeln!(text, "{}", screen.fold(&screen.paint(Tone::Dim, &line)));
    }
    let leader = nodes.iter().find(|node| node.role == NodeRole::Leads);
    if let Some(revision) = leader.and_then(|node| node.config_revision) {
        let line = format!("agents come from revision {revision} of the fleet's configuration");
        let _ = writeln!(text, "{}", screen.paint(Tone::Dim, &line));
    }
    for what in anomalies(nodes) {
        let _ = writeln!(text, "{}", screen.paint(Tone::Warn, &what));
    }
    text
}

/// Describes which node leads, in one line.
pub(super) fn lead_line(fleet: &FleetLeadView, screen: &Screen) -> (Tone, String) {
    let since = fleet.since.map(|since| format!(" since {}", screen.full(since))).unwrap_or_default();
    match &fleet.leader {
        Some(leader) => (Tone::Plain, format!("{} leads{since} (epoch {})", plain(leader), fleet.epoch)),
        None => (Tone::Bad, format!("no node leads{since}")),
    }
}

/// Describes the nodes in one line.
pub(super) fn nodes_line(fleet: &FleetLeadView, screen: &Screen) -> String {
    let one = |node: &NodeView| {
        let (tone, role) = role(node, screen);
        let seen = match node.role {
            NodeRole::Away => String::new(),
            NodeRole::Leads | NodeRole::StandsBy => format!(", {} ms", node.lag_ms),
        };
        screen.paint(tone, &format!("{} {role}{seen}", plain(&node.name)))
    };
    fleet.nodes.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn role(node: &NodeView, screen: &Screen) -> (Tone, String) {
    match (node.role, node.may_lead) {
        (NodeRole::Leads, _) => (Tone::Good, "leads".into()),
        (NodeRole::StandsBy, true) => (Tone::Plain, "stands by".into()),
        (NodeRole::StandsBy, false) => (Tone::Plain, "never leads".into()),
        (NodeRole::Away, _) => (Tone::Bad, format!("away since {}", screen.short_local(node.last_seen))),
    }
}

fn is_clock_off(node: &NodeView) -> bool {
    node.clock_offset_ms.unsigned_abs() > MAX_CLOCK_OFFSET_MS
}

fn anomalies(nodes: &[NodeView]) -> Vec<String> {
    let there = || nodes.iter().filter(|node| node.role != NodeRole::Away);
    let mut found = Vec::new();
    if there().next().is_some() && !there().any(|node| node.may_lead) {
        found.push("no node that is there may lead: set `leads` of [daemon] on one of them".to_owned());
    } else if !nodes.iter().any(|node| node.role == NodeRole::Leads) && there().next().is_some() {
        found.push("no node leads".to_owned());
    }
    let others: Vec<String> =
        there().filter(|node| node.other_config).map(|node| plain(&node.name)).collect();
    if !others.is_empty() {
        found.push(format!(
            "{} with another configuration than the node that leads: {}",
            counted(others.len(), "node"),
            others.join(", ")
        ));
    }
    let far: Vec<String> = there().filter(|node| is_clock_off(node)).map(|node| plain(&node.name)).collect();
    if !far.is_empty() {
        found.push(format!("clocks that are over 2 s from that of the database: {}", far.join(", ")));
    }
    found
}
