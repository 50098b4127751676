//! Decides what is due and what is allowed. Pure and deterministic: state + input + now yield facts and actions. It
//! has no I/O, no clock and no randomness of its own, and knows nothing of SQLite, sockets or models.
//!
//! # Theory of operation
//!
//! Everything that can happen is an [`Input`]; everything that follows is returned at once as a [`Decision`]. The
//! driver commits its facts in one transaction and only then performs its actions; a reply to a client is an
//! action. After a crash [`Engine::restore`] continues from what was committed: a claim without a process provably
//! never ran and is started, a run with a process is interrupted, and slots that passed get their verdicts.
//!
//! Each agent has at most one coming slot, kept in a set ordered by due time, so the cost of a decision grows with
//! what is due and not with the number of agents. Claimed runs go through one FIFO queue (`queue`); a run is set
//! aside while its agent, its lock or a pause blocks it.
mod active_times;
mod agent;
mod approval;
mod arrivals;
mod ask;
mod backfill;
mod budget;
mod circuit;
mod clock;
mod exchange;
mod incident;
mod join;
mod nodes;
mod outside;
mod own;
mod places;
mod queue;
mod reload;
mod restore;
mod retry;
mod run;
mod silence;
mod slots;
mod tell;
mod trigger;

#[cfg(test)]
mod tests;

pub use ask::{
    AgentGauges, AgentNow, AwaitedEvents, AwaitedFiles, BackfillNow, ComingSlot, FleetGauges, FleetNow,
    OpenIncidents,
};
pub use budget::BudgetLeft;
pub use exchange::{
    Action, BackfillRequest, CancelCause, ChangedAgent, Command, Decision, EventsPolled, Input, PauseEnd,
    Refusal, Reply, Reservation, Start, StopMode, Target, Ticket, Wake, Wish,
};
pub use restore::Restored;

use crate::domain::*;
use agent::AgentState;
use jiff::{SignedDuration, Timestamp};
use queue::Queue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A run that has not ended.
#[derive(Debug)]
struct Run {
    record: RunRecord,
    agent: u32,
    spec: Arc<AgentSpec>,
    place: Place,
    /// Something of its newest attempt has been recorded: a process, or the start of its body.
    begun: bool,
    /// Its body has begun at least once, in this daemon's lifetime or an earlier one.
    counted: bool,
    /// Why the current attempt evaluates nothing but the gate.
    held_back: Option<(Verdict, String)>,
    /// Start of its first attempt (`mono`).
    started_mono: Option<SignedDuration>,
    /// FIFO position: the run that was queued first has the lowest one, wherever it waits.
    turn: u64,
    /// A cancellation was requested.
    cancelled: Option<CancelCause>,
    /// Verdict and cause of the ledger record before its slot, if known and not `ran`.
    before: Option<Streak>,
    /// Start time of a run that probes first, and is recorded afterwards if there is something to record.
    looks_since: Option<Timestamp>,
    /// When the run counts as slow (`mono`), if `slow_after` is set.
    slow_at: Option<SignedDuration>,
    /// The run is slow, and that was reported.
    is_slow: bool,
}

impl Run {
    /// Returns whether anything of it was started: then it can no longer be discarded, nor held back like a new
    /// one.
    fn has_begun(&self) -> bool {
        self.record.attempt > 0 || self.counted
    }
}

/// Scheduling state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Waits until a point in time.
    Timer(SignedDuration),
    /// In the FIFO queue.
    Ready,
    /// Set aside until its agent is resumed.
    Parked,
    /// Set aside until another run of its agent has ended.
    BehindAgent,
    /// Set aside until its lock is free.
    BehindLock,
    /// Set aside until a node matches the labels that its agent requires.
    NoNode,
    /// Set aside until a person has decided about its calls, or its `total_timeout` expires.
    Waiting(Option<SignedDuration>),
    /// An attempt is in flight.
    Active,
    /// An attempt has just ended; the next state is being decided.
    Between,
}

/// Verdict and cause of consecutive slots.
type Streak = (Verdict, Box<str>);

/// The whole scheduling state of one daemon. Single-threaded by design.
pub struct Engine {
    fleet: Arc<Fleet>,
    agents: Vec<AgentState>,
    by_id: HashMap<AgentId, u32>,
    /// Agents that are no longer configured, kept in case their names come back.
    gone: BTreeMap<AgentId, AgentRecord>,
    /// Agents with a coming slot, by its due time.
    due: BTreeSet<(Timestamp, u32)>,
    /// Agents with a timed pause, by its end.
    resumes: BTreeSet<(Timestamp, u32)>,
    /// Runs that wait for a point in time, or for a person with a deadline.
    timers: BTreeSet<(SignedDuration, RunId)>,
    /// Agents expected to complete a run, by the time when they count as late (`mono`).
    late: BTreeSet<(SignedDuration, u32)>,
    /// Runs in flight, by the time when they count as slow (`mono`).
    slow: BTreeSet<(SignedDuration, RunId)>,
    /// Agents whose future slots are to be looked up in the ledger.
    looks: BTreeSet<u32>,
    /// A ledger lookup is in flight.
    asking: bool,
    /// A period whose records were lost.
    lost: Option<LostRecords>,
    /// Verdict for the slots that pass until the ledger has answered.
    unseen: Option<Verdict>,
    runs: HashMap<RunId, Run>,
    queue: Queue,
    nodes: places::Nodes,
    incidents: HashMap<u32, BTreeMap<String, IncidentRecord>>,
    /// Open incidents of the daemon itself, by key.
    own_incidents: BTreeMap<String, IncidentRecord>,
    /// Backfills in progress, by agent.
    backfills: BTreeMap<AgentId, BackfillRecord>,
    money: budget::Money,
    /// Calls that wait for a person, by approval id.
    approvals: BTreeMap<String, (RunId, ApprovalWanted)>,
    /// When (`mono`) each run began to wait for a person.
    asked_at: BTreeMap<RunId, SignedDuration>,
    /// Agents started by events, by event type.
    triggers: HashMap<EventType, Vec<u32>>,
    /// Agents with a join on runs of the key agent.
    joins: HashMap<AgentId, Vec<u32>>,
    last: Now,
    /// When, by the clock that never jumps, the engine last started or the wall clock last jumped.
    steady_since: SignedDuration,
    seed: u64,
    made: u64,
    /// Timestamp within the newest run id, in milliseconds since 1970.
    newest_id: i64,
    stopping: bool,
    /// The newest configuration file was invalid; an older one is in force.
    outdated: bool,
    /// Number of event-started runs that led to the current decision.
    chain: u8,
    dirty: Vec<u32>,
    /// Chain depth of each fact of the current decision.
    depths: Vec<u8>,
    out: Decision,
}

impl Engine {
    /// Decides about one input at one time; returns everything that follows from it.
    pub fn decide(&mut self, now: Now, input: Input) -> Decision {
        assert!(!cfg!(checked) || (self.out.facts.is_empty() && self.depths.is_empty()));
        let missed = match input {
            Input::StorageBack => Some(Verdict::RefusedStorage),
            _ => slots::missed_verdict(Gap::between(self.last, now)),
        };
        self.unseen = missed.or(self.unseen); // cleared again by `settle` unless a lookup is in flight
        self.follow_clock(now);
        self.chain = 0;
        if !self.stopping {
            self.resume_due(now);
            self.fire(now, missed);
            self.release_timers(now);
            self.watch(now);
        }
        match input {
            Input::Tick | Input::StorageBack => {}
            Input::Ahead(answers) => {
                self.asking = false;
                let missed = missed.or(self.unseen.take());
                answers.into_iter().for_each(|answer| self.ledger_answered(now, answer));
                if !self.stopping {
                    self.fire(now, missed);
                }
            }
            Input::Command { ticket, command } => {
                let result = self.command(now, command);
                self.out.actions.push(Action::Reply { ticket, result });
            }
            Input::Began { run, attempt, role, process, ticket } => {
                let go = self.began(now, run, attempt, role, process);
                self.out.actions.push(Action::Go { ticket, go });
            }
            Input::AttemptEnded { run, attempt, outcome } => self.attempt_ended(now, run, attempt, *outcome),
            Input::Reserve(wish) => self.reserve(now, wish),
            Input::Settle { run, n, asked, step, took_ms, ticket } => {
                self.settle_request(now, run, (n, asked), *step, took_ms);
                self.out.actions.push(Action::Go { ticket, go: true });
            }
            Input::Found { run, findings, ticket } => {
                if let Some(known) = self.runs.get(&run) {
                    self.chain = known.record.chain;
                    self.findings(now, known.agent, run, &findings);
                }
                self.out.actions.push(Action::Go { ticket, go: true });
            }
            Input::FilesArrived { agent, by, files, ticket } => {
                let count = self.files_arrived(now, &agent, &by, files);
                self.out.actions.push(Action::Taken { ticket, count });
            }
            Input::Delivered { delivery, ticket } => {
                let count = self.delivered(now, &delivery);
                self.out.actions.push(Action::Taken { ticket, count });
            }
            Input::EventsPolled { agent, by, polled, ticket } => {
                let count = self.events_polled(now, &agent, &by, polled);
                self.out.actions.push(Action::Taken { ticket, count });
            }
            Input::Noticed(finding) => self.noticed(now, finding),
            Input::Nodes { live, over } => self.update_nodes(now, live, over),
            Input::ToldToEnd { run, cause } => self.cancellation_reported(run, cause),
            Input::ClaimRefused { run } => self.claim_refused(now, run),
            Input::FleetLoaded { fleet, ticket } => {
                self.outdated = false;
                let result =
                    if self.stopping { Err(Refusal::ShuttingDown) } else { Ok(self.reload(now, fleet)) };
                if let Some(ticket) = ticket {
                    self.out.actions.push(Action::Reply { ticket, result });
                }
            }
            Input::FleetRejected { path, errors } => {
                self.outdated = true;
                self.push(now, Fact::ConfigRejected { path, errors });
            }
            Input::ShutDown { reason } => self.shut_down(now, reason),
            Input::EndRuns { kill } => self.end_runs(kill),
        }
        self.settle(now)
    }

    /// Returns when to call `decide` again if nothing else happens.
    pub fn next_wake(&self) -> Wake {
        if self.stopping {
            return Wake::default();
        }
        let slot = self.due.first().map(|&(at, _)| at);
        let resume = self.resumes.first().map(|&(at, _)| at);
        let late = self.late.first().map(|&(at, _)| at);
        let runs = [self.timers.first(), self.slow.first()].into_iter().flatten().map(|&(at, _)| at);
        Wake { wall: slot.into_iter().chain(resume).min(), mono: runs.chain(late).min() }
    }

    /// Returns the time since the last start or jump of the wall clock.
    pub fn steady_for(&self, now: Now) -> SignedDuration {
        let unseen = Gap::between(self.last, now).jumped.abs() > slots::NOISE;
        if unseen { SignedDuration::ZERO } else { now.boot - self.steady_since }
    }

    /// Returns the configuration in force.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// Returns the number of runs with an attempt in flight.
    pub fn active_runs(&self) -> usize {
        self.queue.active()
    }

    /// Processes the consequences of the input until none are left, and returns the decision.
    fn settle(&mut self, now: Now) -> Decision {
        self.release_timers(now); // a retry without delay
        self.go_on_with_backfills(now);
        self.trigger(now);
        self.dispatch(now);
        self.look_ahead(now);
        self.unseen = self.unseen.filter(|_| self.asking);
        self.last = now;
        self.save_dirty(now);
        self.depths.clear();
        std::mem::take(&mut self.out)
    }

    fn push(&mut self, now: Now, fact: Fact) {
        self.out.facts.push(Entry { at: now.wall, fact });
        self.depths.push(self.chain);
    }

    /// Marks an agent whose row must be written at the end of the decision.
    fn touch(&mut self, agent: u32) {
        let state = &mut self.agents[agent as usize];
        if !state.dirty {
            state.dirty = true;
            self.dirty.push(agent);
        }
    }

    fn save_dirty(&mut self, now: Now) {
        for agent in std::mem::take(&mut self.dirty) {
            let state = &mut self.agents[agent as usize];
            state.dirty = false;
            let fact = Fact::AgentSaved(Box::new(state.record()));
            self.out.facts.push(Entry { at: now.wall, fact });
        }
    }

    /// Sets the coming slot of an agent and its position in the due order; marks its row dirty if the due time
    /// changed.
    fn schedule(&mut self, agent: u32, slot: Option<Timestamp>) {
        let before = self.agents[agent as usize].next_due;
        self.place(agent, slot);
        if self.agents[agent as usize].next_due != before {
            self.touch(agent);
        }
    }

    /// Does the same without marking the row, for an agent whose row may already have this slot.
    fn place(&mut self, agent: u32, slot: Option<Timestamp>) {
        let state = &mut self.agents[agent as usize];
        if matches!(state.ahead, clock::Ahead::Asked { .. }) {
            self.looks.insert(agent);
        }
        if let Some(due) = state.next_due {
            self.due.remove(&(due, agent));
        }
        let before = std::mem::replace(&mut state.next_slot, slot);
        state.next_active = state.look_ahead_of(before);
        state.next_due = slot.map(|slot| state.due_of(slot));
        if let Some(due) = state.next_due {
            self.due.insert((due, agent));
        }
    }

    fn index(&self, id: &AgentId) -> Result<u32, Refusal> {
        self.by_id.get(id).copied().ok_or_else(|| Refusal::NoSuchAgent(id.clone()))
    }

    fn shut_down(&mut self, now: Now, reason: String) {
        if !self.stopping {
            self.stopping = true;
            self.push(now, Fact::DaemonStopping { reason });
        }
    }

    fn end_runs(&mut self, kill: bool) {
        // an attempt on a node continues there: the next leader receives its reports
        let is_here = |run: &Run| run.place == Place::Active && run.record.node.is_none();
        let mut active: Vec<RunId> =
            self.runs.iter().filter(|(_, run)| is_here(run)).map(|(id, _)| *id).collect();
        active.sort_unstable();
        for id in active {
            self.runs.get_mut(&id).expect("listed above").cancelled.get_or_insert(CancelCause::Shutdown);
            self.out.actions.push(Action::Cancel { run: id, kill });
        }
    }
}
