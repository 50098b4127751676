//! The metrics, by name. Names follow Prometheus's conventions (prometheus.io/docs/practices/naming): base units,
//! `_total` for counters. The list is documented in docs/TELEMETRY.md; a test compares the two.
use super::exposition::{Exposition, MetricType, Samples, seconds};
use super::tally::{AgentTally, BUCKETS, Durations, FleetTally, ModelTally, OTHER};
use crate::domain::{AgentId, Desired, Health, Severity};
use crate::engine::{AgentGauges, FleetGauges};
use crate::store::{OutboxTarget, Stats};
use crate::telemetry::TraceStatus;
use MetricType::{Counter, Gauge, Histogram};
use jiff::Timestamp;

/// The data of all metrics at one moment.
#[derive(Clone, Debug)]
pub struct FleetSnapshot {
    /// Release of the daemon.
    pub version: &'static str,
    /// When it started.
    pub started_at: Timestamp,
    /// When its configuration was applied.
    pub config_at: Timestamp,
    /// Its records can be written.
    pub can_write: bool,
    /// Number of connected clients.
    pub clients: u64,
    /// Gauges from the engine.
    pub gauges: FleetGauges,
    pub tally: FleetTally,
    /// Names of all notification targets.
    pub receivers: Vec<String>,
    /// State of sending traces; `None`: never configured.
    pub traces: Option<TraceStatus>,
    /// Statistics from the store; `None`: it can't be read.
    pub stored: Option<(Stats, Vec<OutboxTarget>)>,
}

/// Formats the metrics for Prometheus.
pub fn text(mut of: FleetSnapshot) -> String {
    of.gauges.agents.retain(|agent| of.tally.has_series(&agent.agent));
    of.gauges.agents.sort_by(|a, b| a.agent.cmp(&b.agent));
    let mut text = Exposition::default();
    daemon(&mut text, &of);
    records(&mut text, &of);
    fleet(&mut text, &of);
    budget(&mut text, &of.gauges);
    counters(&mut text, &of.tally);
    requests(&mut text, &of.tally);
    durations(&mut text, &of.tally.durations);
    agents(&mut text, &of.gauges.agents);
    text.finish()
}

fn daemon(text: &mut Exposition, of: &FleetSnapshot) {
    text.family("bgagent_build_info", Gauge, "The release of the daemon; always 1.", |samples| {
        samples.add(&[("version", of.version)], 1);
    });
    let help = "When the daemon started, and its counters began.";
    text.gauge("bgagent_start_time_seconds", help, seconds(of.started_at));
    let help = "When the configuration in force was applied.";
    text.gauge("bgagent_config_applied_timestamp_seconds", help, seconds(of.config_at));
    let help = "1: the newest configuration file was rejected, an older one is in force.";
    text.gauge("bgagent_config_rejected", help, u8::from(of.gauges.outdated));
    text.gauge("bgagent_clients", "Clients that are connected to the socket.", of.clients);
    let help = "Commits of the scheduling loop.";
    text.counter("bgagent_commits_total", help, of.tally.commits);
    let help = "Spans of traces: taken by the collector, or given up.";
    text.family("bgagent_trace_spans_total", Counter, help, |samples| {
        if let Some(traces) = &of.traces {
            samples.add(&[("outcome", "sent")], traces.sent);
            samples.add(&[("outcome", "dropped")], traces.dropped);
        }
    });
}

fn records(text: &mut Exposition, of: &FleetSnapshot) {
    let help = "1: what happens can be recorded; 0: nothing new is started.";
    text.gauge("bgagent_records_writable", help, u8::from(of.can_write));
    let Some((stats, outbox)) = &of.stored else { return };
    let help = "Number of the newest event of the log.";
    text.gauge("bgagent_newest_event_seq", help, stats.newest_seq);
    text.gauge("bgagent_database_bytes", "Size of the database with its log.", stats.bytes);
    let of_target = |name: &str| outbox.iter().find(|target| target.target == name);
    let each = |samples: &mut Samples<'_>, value: fn(&OutboxTarget) -> u64| {
        for name in &of.receivers {
            samples.add(&[("target", name)], of_target(name).map_or(0, value));
        }
    };
    let help = "Messages that wait for delivery.";
    text.family("bgagent_outbox_waiting", Gauge, help, |samples| each(samples, |target| target.waiting));
    let help = "Messages that were given up within two days.";
    text.family("bgagent_outbox_given_up", Gauge, help, |samples| each(samples, |target| target.given_up));
}

fn fleet(text: &mut Exposition, of: &FleetSnapshot) {
    let FleetGauges { fleet, max_parallel_runs, incidents, approvals, .. } = &of.gauges;
    text.family("bgagent_agents", Gauge, "Agents by what is wanted of them.", |samples| {
        for state in Desired::ALL {
            samples.add(&[("state", state.as_str())], fleet.by_state.get(state).unwrap_or(&0));
        }
    });
    let help = "Agents whose last run failed, those with an open circuit included.";
    text.gauge("bgagent_agents_failing", help, fleet.failing);
    let help = "Agents without series of their own: they are counted together as agent=\"other\".";
    text.gauge("bgagent_agents_without_series", help, of.tally.without);
    text.gauge("bgagent_runs_in_flight", "Runs whose attempt is in flight.", fleet.running);
    text.gauge("bgagent_runs_queued", "Runs that wait for a place, a lock or their time.", fleet.queued);
    let help = "Runs that may be in flight at a time.";
    text.gauge("bgagent_runs_in_flight_max", help, max_parallel_runs);
    text.family("bgagent_incidents_open", Gauge, "Open incidents by severity.", |samples| {
        for severity in Severity::ALL {
            samples.add(&[("severity", severity.as_str())], incidents.get(severity).unwrap_or(&0));
        }
    });
    text.gauge("bgagent_approvals_waiting", "Tool calls that wait for a person.", approvals);
}

fn budget(text: &mut Exposition, gauges: &FleetGauges) {
    let mut family = |name, help, value: fn(&crate::engine::BudgetLeft) -> f64| {
        text.family(name, Gauge, help, |samples| {
            for limit in &gauges.budget {
                samples.add(&[("limit", limit.limit)], value(limit));
            }
        });
    };
    let help = "What a limit of [budget] allows: dollars, tokens or requests, as its key says.";
    family("bgagent_budget_allowed", help, |limit| limit.allowed);
    let help = "What of it is used or held, this day or month.";
    family("bgagent_budget_used", help, |limit| limit.used);
    let help = "What of it is held for requests under way, at their worst.";
    family("bgagent_budget_held", help, |limit| limit.held);
}

fn counters(text: &mut Exposition, tally: &FleetTally) {
    let help = "Runs that ended, by agent and how. Rehearsals and replays are not counted.";
    text.family("bgagent_runs_total", Counter, help, |samples| {
        for (agent, one) in each_agent(tally) {
            for (status, count) in &one.runs {
                samples.add(&[("agent", agent), ("status", status.as_str())], count);
            }
        }
    });
    let help = "Slots by agent and verdict. One with a run is counted when the run begins.";
    text.family("bgagent_slots_total", Counter, help, |samples| {
        for (agent, one) in each_agent(tally) {
            for (verdict, count) in &one.slots {
                samples.add(&[("agent", agent), ("verdict", verdict.as_str())], count);
            }
        }
    });
}

fn requests(text: &mut Exposition, tally: &FleetTally) {
    let help = "Requests to models that ended, by agent, model and how.";
    text.family("bgagent_model_requests_total", Counter, help, |samples| {
        for (agent, model, one) in each_model(tally) {
            for (outcome, count) in &one.requests {
                let labels = [("agent", agent), ("model", model), ("outcome", outcome.as_str())];
                samples.add(&labels, count);
            }
        }
    });
    let help = "Tokens that were charged. Those of type cached_input are part of type input.";
    text.family("bgagent_tokens_total", Counter, help, |samples| {
        for (agent, model, ModelTally { used, .. }) in each_model(tally) {
            let kinds = [
                ("input", used.input_tokens),
                ("cached_input", used.cached_tokens),
                ("output", used.output_tokens),
            ];
            for (kind, count) in kinds {
                samples.add(&[("agent", agent), ("model", model), ("type", kind)], count);
            }
        }
    });
    let help = "US dollars that were charged; 0 for a model without a price.";
    text.family("bgagent_cost_usd_total", Counter, help, |samples| {
        for (agent, model, one) in each_model(tally) {
            samples.add(&[("agent", agent), ("model", model)], one.used.usd);
        }
    });
}

fn durations(text: &mut Exposition, durations: &Durations) {
    let help = "How long runs took, all attempts and waits between them, of all agents together.";
    text.family("bgagent_run_duration_seconds", Histogram, help, |samples| {
        let mut so_far = 0;
        for (bound, count) in BUCKETS.iter().zip(durations.counts) {
            so_far += count;
            samples.add_part("_bucket", &[("le", &bound.to_string())], so_far);
        }
        samples.add_part("_bucket", &[("le", "+Inf")], durations.count);
        samples.add_part("_sum", &[], durations.sum);
        samples.add_part("_count", &[], durations.count);
    });
}

fn agents(text: &mut Exposition, agents: &[AgentGauges]) {
    let mut family = |name, help, value: fn(&AgentGauges) -> Option<f64>| {
        text.family(name, Gauge, help, |samples| {
            for one in agents {
                if let Some(value) = value(one) {
                    samples.add(&[("agent", one.agent.as_str())], value);
                }
            }
        });
    };
    let help = "Failed runs of an agent since its last success.";
    family("bgagent_agent_failures_in_row", help, |one| Some(f64::from(one.failures_in_row)));
    let help = "1: the circuit of the agent is open, its slots are refused.";
    family("bgagent_agent_circuit_open", help, |one| Some(f64::from(one.health == Health::CircuitOpen)));
    let help = "When a run of the agent last completed.";
    family("bgagent_agent_last_success_timestamp_seconds", help, |one| one.last_success.map(seconds));
    let help = "How long the newest run took that ended.";
    let value = |one: &AgentGauges| one.last_duration.map(|duration| duration.as_secs_f64());
    family("bgagent_agent_last_run_duration_seconds", help, value);
    let help = "When the agent starts next by itself.";
    family("bgagent_agent_next_start_timestamp_seconds", help, |one| one.next_start.map(seconds));
}

fn each_agent(tally: &FleetTally) -> impl Iterator<Item = (&str, &AgentTally)> {
    tally.agents.iter().map(|(agent, one)| (agent.as_ref().map_or(OTHER, AgentId::as_str), one))
}

fn each_model(tally: &FleetTally) -> impl Iterator<Item = (&str, &str, &ModelTally)> {
    each_agent(tally)
        .flat_map(|(agent, one)| one.models.iter().map(move |(model, one)| (agent, &**model, one)))
}

#[cfg(test)]
mod tests;
