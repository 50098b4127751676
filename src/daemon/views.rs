//! Conversion of internal types to wire types, by noun. The only place that knows both.
mod agents;
mod answers;
pub(super) mod approvals;
mod budget;
mod configs;
mod incidents;
mod refusals;
mod runs;
mod settings;
mod skills;
pub(super) mod slots;
mod status;
mod tools;

pub(super) use agents::{History, agent, detail, source_problem, strip};
pub(super) use answers::{answer, passes, restored, stored};
pub(super) use budget::limit;
pub(super) use configs::config;
pub(super) use incidents::incident;
pub(super) use refusals::{no_such_agent, refused, removed_agent, tool_error};
pub(super) use runs::{brief_run, output, run, step};
pub(super) use skills::unused_skills;
pub(super) use slots::slot;
pub(super) use status::{
    ancestor, control_groups, delivery, fleet_lead, metrics, redis, redis_memory, source, traces,
    unheld_limits, untrusted, webhooks, workspaces,
};
pub(super) use tools::{mcp, tool, trusted};
