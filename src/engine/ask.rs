//! Queries about the current state. Nothing here changes it.
use super::agent::AgentState;
use super::budget::BudgetLeft;
use super::{Engine, Place};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// The current state of one agent.
#[derive(Debug, Clone)]
pub struct AgentNow {
    pub spec: Arc<AgentSpec>,
    pub walled: Walled,
    /// Its record as the store keeps it.
    pub record: AgentRecord,
    pub activity: Activity,
    pub health: Health,
    /// Its runs that have not ended, oldest first.
    pub live: Vec<RunRecord>,
    /// The coming slot, without jitter.
    pub next_slot: Option<Timestamp>,
    /// Its next automatic start, with jitter: slots outside its active times are skipped.
    pub next_start: Option<Timestamp>,
    /// For a join: each agent that it waits for, and when the run that counts so far ended.
    pub waits_for: Vec<(AgentId, Option<Timestamp>)>,
    /// The period in which nothing starts: its slots ran already while the clock was ahead.
    pub silent: Option<(Timestamp, Timestamp)>,
    /// US dollars used by it, or held for it, since midnight in the daemon's time zone.
    pub usd_today: f64,
    /// Its backfill in progress.
    pub backfill: Option<BackfillNow>,
    /// If its budget or the fleet's is exhausted: until when none of its runs start, and why.
    pub out_of_budget: Option<(Timestamp, String)>,
    /// Why a run of it waits for a node with the required labels.
    pub no_node: Option<String>,
    /// Descriptions of a late agent or slow runs.
    pub overdue: Vec<String>,
    pub incidents: OpenIncidents,
}

/// Counts of open incidents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenIncidents {
    /// Critical incidents not acknowledged.
    pub critical: u64,
    /// Warnings not acknowledged.
    pub warning: u64,
    /// Incidents acknowledged by a person.
    pub acknowledged: u64,
}

/// A backfill in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillNow {
    pub id: Arc<str>,
    /// Number of its slots for which a run was claimed.
    pub claimed: usize,
    pub count: usize,
    pub next: Option<Timestamp>,
    /// Cost of its ended runs, in US dollars.
    pub usd: f64,
    /// Upper bound for the cost of all runs together, in US dollars.
    pub max_usd: Option<f64>,
}

/// Counts for the whole fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetNow {
    /// Agents by desired state.
    pub by_state: BTreeMap<Desired, u64>,
    /// Agents whose last run failed.
    pub failing: u64,
    pub running: u64,
    /// Runs that wait to start.
    pub queued: u64,
    /// When the next slot is due.
    pub next_due: Option<Timestamp>,
}

/// A snapshot of the fleet's metrics: only a little of each agent, so that it takes the loop little time, however
/// many agents there are.
#[derive(Debug, Clone, Default)]
pub struct FleetGauges {
    pub fleet: FleetNow,
    /// Limit of runs in flight.
    pub max_parallel_runs: usize,
    /// The newest configuration was rejected.
    pub outdated: bool,
    /// Each agent, in no particular order.
    pub agents: Vec<AgentGauges>,
    /// Open incidents by severity.
    pub incidents: BTreeMap<Severity, u64>,
    /// Tool calls that wait for approval.
    pub approvals: usize,
    /// The fleet's limits.
    pub budget: Vec<BudgetLeft>,
}

/// Metrics of one agent.
#[derive(Debug, Clone)]
pub struct AgentGauges {
    pub agent: AgentId,
    pub health: Health,
    /// Failed runs since the last success.
    pub failures_in_row: u32,
    pub last_success: Option<Timestamp>,
    /// Duration of the run that ended last.
    pub last_duration: Option<SignedDuration>,
    /// Its next automatic start.
    pub next_start: Option<Timestamp>,
}

/// A future slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComingSlot {
    pub agent: AgentId,
    pub slot: Timestamp,
    /// Due time, with jitter.
    pub due: Timestamp,
    /// The desired state of the agent.
    pub state: Desired,
    /// A person requested to skip it.
    pub skipped: bool,
}

/// A file trigger that an agent waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedFiles {
    pub agent: AgentId,
    pub by: Arc<FileTrigger>,
    /// Number of files that it accepts at once. Also 0 if it is stopped.
    pub room: usize,
    /// It is stopped: nothing arrives until it is started.
    pub is_stopped: bool,
}

/// An MCP subscription that an agent waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedEvents {
    pub agent: AgentId,
    pub by: Arc<McpTrigger>,
    /// Number of events that it accepts at once. Also 0 if it is stopped.
    pub room: usize,
    /// It is stopped: its server is not polled until it is started.
    pub is_stopped: bool,
}

impl Engine {
    /// Returns the MCP subscriptions of all agents.
    pub fn awaited_events(&self) -> Vec<AwaitedEvents> {
        let mut all = Vec::new();
        for (agent, state) in (0u32..).zip(&self.agents).filter(|(_, state)| !state.removed) {
            let Schedule::Mcp(by) = &state.spec.schedule else { continue };
            all.push(AwaitedEvents {
                agent: state.spec.id.clone(),
                by: by.clone(),
                room: self.room_for_events(agent),
                is_stopped: state.desired == Desired::Stopped,
            });
        }
        all
    }

    /// Returns the file triggers of all agents.
    pub fn awaited_files(&self) -> Vec<AwaitedFiles> {
        let mut all = Vec::new();
        for (agent, state) in (0u32..).zip(&self.agents).filter(|(_, state)| !state.removed) {
            let Schedule::File(by) = &state.spec.schedule else { continue };
            all.push(AwaitedFiles {
                agent: state.spec.id.clone(),
                by: by.clone(),
                room: self.room_for_files(agent, by),
                is_stopped: state.desired == Desired::Stopped,
            });
        }
        all
    }

    /// Returns the state of one agent.
    pub fn agent(&self, id: &str) -> Option<AgentNow> {
        let agent = *self.by_id.get(id)?;
        Some(self.agent_now(&self.agents[agent as usize]))
    }

    /// Returns the agents that `wanted` accepts, sorted by name.
    pub fn agents(&self, wanted: impl Fn(&AgentSpec) -> bool) -> Vec<AgentNow> {
        let mut found: Vec<&AgentState> =
            self.agents.iter().filter(|state| !state.removed && wanted(&state.spec)).collect();
        found.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
        found.into_iter().map(|state| self.agent_now(state)).collect()
    }

    /// Returns the names of all agents, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &AgentId> {
        self.by_id.keys()
    }

    /// Returns whether an agent of this name existed once and is no longer configured.
    pub fn was_removed(&self, id: &str) -> bool {
        !self.by_id.contains_key(id)
            && (self.gone.keys().any(|gone| gone.as_str() == id)
                || self.agents.iter().any(|state| state.removed && state.spec.id.as_str() == id))
    }

    /// Returns whether the newest configuration was rejected, so that an older one is in force.
    pub fn outdated(&self) -> bool {
        self.outdated
    }

    /// Returns a run that has not ended.
    pub fn run(&self, id: RunId) -> Option<&RunRecord> {
        self.runs.get(&id).map(|run| &run.record)
    }

    /// Returns the runs with an attempt in flight, oldest first.
    pub fn in_flight(&self) -> Vec<(RunId, AgentId)> {
        let active = self.runs.values().filter(|run| run.place == Place::Active);
        let mut all: Vec<(RunId, AgentId)> =
            active.map(|run| (run.record.run, run.record.agent.clone())).collect();
        all.sort();
        all
    }

    /// Returns whether a cancellation of this run was requested.
    pub fn is_cancelled(&self, id: RunId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.cancelled.is_some())
    }

    /// Returns whether the programs of this run must be stopped when another daemon may lead.
    pub fn stops_when_cut_off(&self, id: RunId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.spec.stops_when_cut_off())
    }

    /// Returns the counts for the whole fleet.
    pub fn fleet_now(&self) -> FleetNow {
        let mut now = FleetNow { next_due: self.due.first().map(|&(at, _)| at), ..FleetNow::default() };
        for state in self.agents.iter().filter(|state| !state.removed) {
            *now.by_state.entry(state.desired).or_default() += 1;
            now.failing += u64::from(state.health() != Health::Ok);
        }
        now.running = self.queue.active() as u64;
        now.queued = self.runs.len() as u64 - now.running;
        now
    }

    /// Returns the metrics of the fleet.
    pub fn gauges(&self, at: Timestamp) -> FleetGauges {
        let agents = self.agents.iter().filter(|state| !state.removed).map(|state| AgentGauges {
            agent: state.spec.id.clone(),
            health: state.health(),
            failures_in_row: state.counters.errors_in_row,
            last_success: state.last_success,
            last_duration: state.last_run.as_ref().map(|run| run.duration),
            next_start: state.next_active.map(|slot| state.due_of(slot)),
        });
        let of_agents = self.incidents.values().flat_map(BTreeMap::values);
        let mut incidents = BTreeMap::new();
        for incident in of_agents.chain(self.own_incidents.values()).filter(|one| one.opened_at.is_some()) {
            *incidents.entry(incident.severity).or_default() += 1;
        }
        FleetGauges {
            fleet: self.fleet_now(),
            max_parallel_runs: self.fleet.daemon.max_parallel_runs,
            outdated: self.outdated,
            agents: agents.collect(),
            incidents,
            approvals: self.approvals.len(),
            budget: self.budget_left(None, at),
        }
    }

    /// Returns up to `most` coming slots, due by `until`, of the agents whose names `wanted` accepts, in order.
    pub fn coming(&self, wanted: impl Fn(&str) -> bool, until: Timestamp, most: usize) -> Vec<ComingSlot> {
        // ordered by due time: jitter may change the order of the slots
        let mut heap: BinaryHeap<Reverse<(Timestamp, &AgentId, u32, Timestamp)>> = (0u32..)
            .zip(&self.agents)
            .filter(|(_, state)| !state.removed && wanted(state.spec.id.as_str()))
            .filter_map(|(agent, state)| {
                let slot = state.next_active?;
                Some(Reverse((state.due_of(slot), &state.spec.id, agent, slot)))
            })
            .collect();
        let mut found = Vec::new();
        while let Some(Reverse((due, id, agent, slot))) = heap.pop().filter(|next| next.0.0 <= until) {
            if found.len() == most {
                break;
            }
            let state = &self.agents[agent as usize];
            let first = state.next_active == Some(slot);
            found.push(ComingSlot {
                agent: id.clone(),
                slot,
                due,
                state: state.desired,
                skipped: first && state.skip_next,
            });
            if let Some(next) = state.next_after(slot).and_then(|next| state.first_active(next)) {
                heap.push(Reverse((state.due_of(next), id, agent, next)));
            }
        }
        found
    }

    /// Returns the backfill of an agent that is in progress.
    fn backfill_of(&self, agent: &AgentId) -> Option<BackfillNow> {
        let backfill = self.backfills.get(agent)?;
        Some(BackfillNow {
            id: backfill.id.clone(),
            claimed: backfill.claimed,
            count: backfill.slots.len(),
            next: backfill.next(),
            usd: backfill.usd,
            max_usd: backfill.max_usd,
        })
    }

    fn agent_now(&self, state: &AgentState) -> AgentNow {
        let mut activity = Activity::Idle;
        let mut live = Vec::with_capacity(state.live.len());
        for run in state.live.iter().filter_map(|id| self.runs.get(id)) {
            let doing = match (run.place, run.record.status) {
                (Place::Active, _) => Activity::Running,
                (_, RunStatus::Retrying) => Activity::Retrying,
                (_, RunStatus::WaitingApproval) => Activity::WaitingApproval,
                _ => Activity::Queued,
            };
            activity = dominant_activity(activity, doing);
            live.push(run.record.clone());
        }
        AgentNow {
            spec: state.spec.clone(),
            walled: Walled::of_agent(&self.fleet, &state.spec),
            record: state.record(),
            activity,
            health: state.health(),
            live,
            next_slot: state.next_slot,
            next_start: state.next_active.map(|slot| state.due_of(slot)),
            waits_for: state.waits_for(),
            silent: state.silence(),
            usd_today: self.usd_today(&state.spec),
            backfill: self.backfill_of(&state.spec.id),
            out_of_budget: self.out_of_budget(&state.spec),
            no_node: self.no_node(&state.live),
            overdue: self.overdue(&state.spec.id),
            incidents: self.open_incidents(&state.spec.id),
        }
    }

    fn open_incidents(&self, agent: &AgentId) -> OpenIncidents {
        let mut open = OpenIncidents::default();
        let known = self.by_id.get(agent).and_then(|index| self.incidents.get(index));
        for incident in known.into_iter().flat_map(BTreeMap::values).filter(|incident| incident.is_open()) {
            match (incident.acked_at, incident.severity) {
                (Some(_), _) => open.acknowledged += 1,
                (None, Severity::Critical) => open.critical += 1,
                (None, Severity::Warning) => open.warning += 1,
            }
        }
        open
    }

    /// Returns until when a run waits for a person, by the wall clock; `None` if it waits without a deadline, or
    /// does not wait.
    pub fn waits_until(&self, run: RunId, now: Now) -> Option<Timestamp> {
        match self.runs.get(&run)?.place {
            Place::Waiting(Some(until)) => now.wall.checked_add(until - now.mono).ok(),
            _ => None,
        }
    }
}

fn dominant_activity(a: Activity, b: Activity) -> Activity {
    let rank = |activity| match activity {
        Activity::Running => 4,
        Activity::WaitingApproval => 3,
        Activity::Retrying => 2,
        Activity::Queued => 1,
        Activity::Idle => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}
