//! Decides what is due and what is allowed. Pure and deterministic: state + input + now give facts
//! and actions; no I/O, no clock, no randomness of its own, and no knowledge of SQLite, sockets or
//! models.
//!
//! # Theory of operation
//!
//! Everything that can happen is an [`Input`]; everything that follows comes back at once as a
//! [`Decision`]. The driver commits its facts in one transaction and only then performs its
//! actions; a reply to a client is an action. After a crash [`Engine::restore`] continues from what
//! was committed: a claim without a process provably never ran and is started, a run with a process
//! is interrupted, slots that passed are judged.
//!
//! Each agent has at most one coming slot, kept in a set ordered by due time, so the cost of a turn
//! grows with what is due and not with the number of agents. A claimed run goes through one queue
//! (`queue`), in order; it waits aside where its agent, its lock or a pause holds it back.
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
    Action, BackfillWish, CancelCause, ChangedAgent, Command, Decision, EventsPolled, Input, PauseEnd,
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
    /// Something of its newest attempt is on record: a process, or that its body began.
    begun: bool,
    /// Its body began at least once, in this life or an earlier one.
    counted: bool,
    /// Why the attempt under way asks nothing but the gate.
    held_back: Option<(Verdict, String)>,
    /// `mono` of its first attempt's start.
    started_mono: Option<SignedDuration>,
    /// Its turn in the line: who came first has the lower one, wherever it waits.
    turn: u64,
    /// It was asked to end.
    cancelled: Option<CancelCause>,
    /// Verdict and cause of the ledger's record before its slot, if that is known and not `ran`.
    before: Option<Streak>,
    /// It looks first, and is put on record afterwards if there is something to record: since when.
    looks_since: Option<Timestamp>,
    /// When it is slow (`mono`), if it may be.
    slow_at: Option<SignedDuration>,
    /// It is slow, and that was told.
    is_slow: bool,
}

impl Run {
    /// Something of it was started: it can't be forgotten any more, nor held back like a new one.
    fn has_begun(&self) -> bool {
        self.record.attempt > 0 || self.counted
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Waits for its time.
    Timer(SignedDuration),
    /// In the queue.
    Ready,
    /// Aside, until its agent is resumed.
    Parked,
    /// Aside, until another run of its agent has ended.
    BehindAgent,
    /// Aside, until its lock is free.
    BehindLock,
    /// Aside, until a node has what its agent wants.
    NoNode,
    /// Aside, until a person has decided about its calls, or until its `total_timeout` is over.
    Waiting(Option<SignedDuration>),
    /// An attempt is in flight.
    Active,
    /// An attempt has just ended; where the run goes is being decided.
    Between,
}

/// The verdict of slots in a row, and its cause.
type Streak = (Verdict, Box<str>);

/// The whole scheduling state of one daemon. Single-threaded by design.
pub struct Engine {
    fleet: Arc<Fleet>,
    agents: Vec<AgentState>,
    by_id: HashMap<AgentId, u32>,
    /// Agents of earlier lives that are no longer configured, for the day when a name comes back.
    gone: BTreeMap<AgentId, AgentRecord>,
    /// Coming slot of each agent that has one, by due time.
    due: BTreeSet<(Timestamp, u32)>,
    /// Agents that are paused until a time.
    resumes: BTreeSet<(Timestamp, u32)>,
    /// Runs that wait for their time, or for a person up to that time.
    timers: BTreeSet<(SignedDuration, RunId)>,
    /// Agents of which a run that completes is awaited, by when they are late (`mono`).
    late: BTreeSet<(SignedDuration, u32)>,
    /// Runs in flight, by when they are slow.
    slow: BTreeSet<(SignedDuration, RunId)>,
    /// Agents for which the ledger is to be asked what it knows of slots ahead.
    looks: BTreeSet<u32>,
    /// The ledger is being asked.
    asking: bool,
    /// A time of which the records were lost.
    lost: Option<LostRecords>,
    /// Why slots that pass meanwhile are missed.
    unseen: Option<Verdict>,
    runs: HashMap<RunId, Run>,
    queue: Queue,
    nodes: places::Nodes,
    incidents: HashMap<u32, BTreeMap<String, IncidentRecord>>,
    /// Open ones of the daemon itself, by their keys.
    own_incidents: BTreeMap<String, IncidentRecord>,
    /// Those under way, by the agent whose slots they are.
    backfills: BTreeMap<AgentId, BackfillRecord>,
    money: budget::Money,
    /// Calls that wait for a person, by the id of the wish.
    approvals: BTreeMap<String, (RunId, ApprovalWanted)>,
    /// Since when (`mono`) runs wait for a person.
    asked_at: BTreeMap<RunId, SignedDuration>,
    /// Agents that an event of this type starts.
    triggers: HashMap<EventType, Vec<u32>>,
    /// Agents that wait for runs of this one, among others.
    joins: HashMap<AgentId, Vec<u32>>,
    last: Now,
    /// Since when, by the clock that never jumps, there was neither a start nor a jump of the wall clock.
    steady_since: SignedDuration,
    seed: u64,
    made: u64,
    /// The time within the newest run's id, in milliseconds since 1970.
    newest_id: i64,
    stopping: bool,
    /// The newest file was invalid, and what is in force is older.
    outdated: bool,
    /// How many event-started runs led to what is decided now.
    chain: u8,
    dirty: Vec<u32>,
    /// Depth of the chain for each fact of the decision at hand.
    depths: Vec<u8>,
    out: Decision,
}

impl Engine {
    /// Takes one input at one time; returns everything that follows from it.
    pub fn decide(&mut self, now: Now, input: Input) -> Decision {
        assert!(!cfg!(checked) || (self.out.facts.is_empty() && self.depths.is_empty()));
        let missed = match input {
            Input::StorageBack => Some(Verdict::RefusedStorage),
            _ => slots::cause_of(Gap::between(self.last, now)),
        };
        self.unseen = missed.or(self.unseen); // it is forgotten again where nothing is asked
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
                answers.into_iter().for_each(|answer| self.looked_ahead(now, answer));
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
            Input::Nodes { live, over } => self.nodes_are(now, live, over),
            Input::ToldToEnd { run, cause } => self.told_to_end(run, cause),
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

    /// When to call again if nothing else happens.
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

    /// For how long there was neither a start nor a jump of the wall clock.
    pub fn steady_for(&self, now: Now) -> SignedDuration {
        let unseen = Gap::between(self.last, now).jumped.abs() > slots::NOISE;
        if unseen { SignedDuration::ZERO } else { now.boot - self.steady_since }
    }

    /// The configuration in force.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// Runs whose attempt is in flight.
    pub fn active_runs(&self) -> usize {
        self.queue.active()
    }

    /// Follows up what the input led to, until nothing more follows; then hands it over.
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

    /// Sets the coming slot of an agent, and its place in the order.
    fn schedule(&mut self, agent: u32, slot: Option<Timestamp>) {
        let before = self.agents[agent as usize].next_due;
        self.place(agent, slot);
        if self.agents[agent as usize].next_due != before {
            self.touch(agent);
        }
    }

    /// The same, for an agent whose row may know it already.
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
        // what a node has in hand goes on there: the next leader hears of it
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
