//! Questions about the present. Nothing here changes anything.
use super::agent::AgentState;
use super::budget::BudgetLeft;
use super::{Engine, Place};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// One agent, now.
#[derive(Debug, Clone)]
pub struct AgentNow {
    pub spec: Arc<AgentSpec>,
    /// The programs that its runs can start.
    pub walled: Walled,
    /// The row that the store keeps of it.
    pub record: AgentRecord,
    /// What it is doing.
    pub activity: Activity,
    /// How it fares.
    pub health: Health,
    /// Its runs that have not ended, oldest first.
    pub live: Vec<RunRecord>,
    /// The coming slot, without jitter.
    pub next_slot: Option<Timestamp>,
    /// When it starts next by itself, with jitter: past the slots that its calendars and hours leave out.
    pub next_start: Option<Timestamp>,
    /// If it waits for several agents: each of them, and when the run of it that counts so far ended.
    pub waits_for: Vec<(AgentId, Option<Timestamp>)>,
    /// Since when and until when nothing starts: the slots between ran already, while the clock was ahead.
    pub silent: Option<(Timestamp, Timestamp)>,
    /// US dollars that it used, or that are held for it, since midnight in the daemon's zone.
    pub usd_today: f64,
    /// Its past slots that are running one after the other.
    pub backfill: Option<BackfillNow>,
    /// Its budget or the fleet's is used up: until when nothing of it is started, and why.
    pub out_of_budget: Option<(Timestamp, String)>,
    /// A run of it waits, since no node has what it wants: why.
    pub no_node: Option<String>,
    /// That it is late, or that a run of it is slow, in words.
    pub overdue: Vec<String>,
    /// Its open incidents, in numbers.
    pub incidents: OpenIncidents,
}

/// Open incidents, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenIncidents {
    /// Critical ones that nobody has acknowledged.
    pub critical: u64,
    /// Warnings that nobody has acknowledged.
    pub warning: u64,
    /// Those that a person has acknowledged.
    pub acknowledged: u64,
}

/// A backfill that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillNow {
    pub id: Arc<str>,
    /// For so many of its slots a run was claimed.
    pub claimed: usize,
    pub count: usize,
    /// The slot that is to run next.
    pub next: Option<Timestamp>,
    /// What its runs that ended have cost, in US dollars.
    pub usd: f64,
    /// All runs together cost no more, in US dollars.
    pub max_usd: Option<f64>,
}

/// The whole fleet, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetNow {
    /// Agents by what is wanted of them.
    pub by_state: BTreeMap<Desired, u64>,
    /// Agents whose last run failed.
    pub failing: u64,
    /// Runs in flight.
    pub running: u64,
    /// Runs that wait for something.
    pub queued: u64,
    /// When the next slot is due.
    pub next_due: Option<Timestamp>,
}

/// What is measured of the fleet at one moment: little of each agent, so that the loop is held up for a moment only,
/// however many there are.
#[derive(Debug, Clone, Default)]
pub struct FleetGauges {
    /// The whole, in numbers.
    pub fleet: FleetNow,
    /// Runs that may be in flight at a time.
    pub max_parallel_runs: usize,
    /// The newest configuration was rejected.
    pub outdated: bool,
    /// Each agent, in no order.
    pub agents: Vec<AgentGauges>,
    /// Open incidents, by how bad they are.
    pub incidents: BTreeMap<Severity, u64>,
    /// Tool calls that wait for a person.
    pub approvals: usize,
    /// The fleet's limits.
    pub budget: Vec<BudgetLeft>,
}

/// What is measured of one agent.
#[derive(Debug, Clone)]
pub struct AgentGauges {
    pub agent: AgentId,
    /// How it fares.
    pub health: Health,
    /// Failed runs since the last success.
    pub failures_in_row: u32,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
    /// How long the newest run took that ended.
    pub last_duration: Option<SignedDuration>,
    /// When it starts next by itself.
    pub next_start: Option<Timestamp>,
}

/// A slot that is to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComingSlot {
    pub agent: AgentId,
    pub slot: Timestamp,
    /// With its jitter.
    pub due: Timestamp,
    /// What is wanted of the agent.
    pub state: Desired,
    /// A person asked to leave it out.
    pub skipped: bool,
}

/// The files that an agent waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedFiles {
    pub agent: AgentId,
    pub by: Arc<FileTrigger>,
    /// How many it takes at once. 0 also where it is stopped.
    pub room: usize,
    /// It is stopped: until it is started, nothing arrives for it.
    pub is_stopped: bool,
}

/// The events of an MCP server that an agent waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedEvents {
    pub agent: AgentId,
    pub by: Arc<McpTrigger>,
    /// How many it takes at once. 0 also where it is stopped.
    pub room: usize,
    /// It is stopped: until it is started, its server is not asked.
    pub is_stopped: bool,
}

impl Engine {
    /// The events of MCP servers that agents wait for.
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

    /// The files that agents wait for.
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

    /// One agent.
    pub fn agent(&self, id: &str) -> Option<AgentNow> {
        let agent = *self.by_id.get(id)?;
        Some(self.agent_now(&self.agents[agent as usize]))
    }

    /// The agents that `wanted` accepts, sorted by name.
    pub fn agents(&self, wanted: impl Fn(&AgentSpec) -> bool) -> Vec<AgentNow> {
        let mut found: Vec<&AgentState> =
            self.agents.iter().filter(|state| !state.removed && wanted(&state.spec)).collect();
        found.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
        found.into_iter().map(|state| self.agent_now(state)).collect()
    }

    /// Names of all agents, in no order.
    pub fn names(&self) -> impl Iterator<Item = &AgentId> {
        self.by_id.keys()
    }

    /// Was there an agent of this name, in this life or an earlier one, that the configuration has no more?
    pub fn was_removed(&self, id: &str) -> bool {
        !self.by_id.contains_key(id)
            && (self.gone.keys().any(|gone| gone.as_str() == id)
                || self.agents.iter().any(|state| state.removed && state.spec.id.as_str() == id))
    }

    /// Whether the newest configuration was rejected, so that an older one is in force.
    pub fn outdated(&self) -> bool {
        self.outdated
    }

    /// A run that has not ended.
    pub fn run(&self, id: RunId) -> Option<&RunRecord> {
        self.runs.get(&id).map(|run| &run.record)
    }

    /// Runs whose attempt is in flight, oldest first.
    pub fn in_flight(&self) -> Vec<(RunId, AgentId)> {
        let active = self.runs.values().filter(|run| run.place == Place::Active);
        let mut all: Vec<(RunId, AgentId)> =
            active.map(|run| (run.record.run, run.record.agent.clone())).collect();
        all.sort();
        all
    }

    /// Was this run asked to end?
    pub fn is_cancelled(&self, id: RunId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.cancelled.is_some())
    }

    /// Are the programs of this run to be stopped when another daemon may lead?
    pub fn stops_when_cut_off(&self, id: RunId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.spec.stops_when_cut_off())
    }

    /// The fleet in numbers.
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

    /// What is measured of the fleet.
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

    /// The coming slots of the agents whose name `wanted` accepts, in order, up to `until`.
    pub fn coming(&self, wanted: impl Fn(&str) -> bool, until: Timestamp, most: usize) -> Vec<ComingSlot> {
        // in the order in which they are due: jitter may turn that of the slots around
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

    /// The backfill of an agent that is under way.
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
            activity = more_telling(activity, doing);
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

    /// Until when a run waits for a person, by the wall clock as it goes now; `None`: for as long as it takes, or it
    /// does not wait.
    pub fn waits_until(&self, run: RunId, now: Now) -> Option<Timestamp> {
        match self.runs.get(&run)?.place {
            Place::Waiting(Some(until)) => now.wall.checked_add(until - now.mono).ok(),
            _ => None,
        }
    }
}

fn more_telling(a: Activity, b: Activity) -> Activity {
    let rank = |activity| match activity {
        Activity::Running => 4,
        Activity::WaitingApproval => 3,
        Activity::Retrying => 2,
        Activity::Queued => 1,
        Activity::Idle => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}
