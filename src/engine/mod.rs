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
mod agent;
mod ask;
mod circuit;
mod incident;
mod queue;
mod reload;
mod restore;
mod retry;
mod run;
mod slots;
mod tell;
mod trigger;

#[cfg(test)]
mod tests;

pub use ask::{AgentNow, ComingSlot, FleetNow};
pub use restore::Restored;

use crate::domain::*;
use agent::AgentState;
use jiff::{SignedDuration, Timestamp};
use queue::Queue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Time passed, nothing else.
    Tick,
    /// A client asked for something; the reply goes to `ticket`.
    Command {
        /// Whom to answer.
        ticket: Ticket,
        /// What was asked.
        command: Command,
    },
    /// A runner started a process, which waits, or the body of an attempt without a process.
    Began {
        /// Of which run.
        run: RunId,
        /// In which attempt.
        attempt: u32,
        /// What for.
        role: ProcessRole,
        /// The process, if there is one.
        process: Option<Process>,
        /// Who waits for the word to go on.
        ticket: Ticket,
    },
    /// A runner finished an attempt; nothing of it lives any more.
    AttemptEnded {
        /// Of which run.
        run: RunId,
        /// Which.
        attempt: u32,
        /// How.
        outcome: Box<AttemptOutcome>,
    },
    /// The store refused a claim: its slot had been claimed before.
    ClaimRefused {
        /// Which.
        run: RunId,
    },
    /// A valid configuration; `ticket` is answered if somebody asked for it.
    FleetLoaded {
        /// What it says.
        fleet: Arc<Fleet>,
        /// Whom to answer.
        ticket: Option<Ticket>,
    },
    /// A configuration was refused.
    FleetRejected {
        /// The file.
        path: String,
        /// Every error.
        errors: Vec<String>,
    },
    /// The store could not write for a while, and can again. Slots that passed meanwhile were
    /// refused.
    StorageBack,
    /// Claim nothing more; the daemon goes down.
    ShutDown {
        /// Why.
        reason: String,
    },
    /// End every run in flight: the grace of a shutdown is over.
    EndRuns {
        /// At once, without TERM.
        kill: bool,
    },
}

/// Names somebody who waits for an answer. Opaque to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// One agent or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The agent of this name.
    One(AgentId),
    /// Every agent.
    All,
}

/// What a client can ask of the engine.
#[derive(Clone, Debug)]
pub enum Command {
    /// Section 3 of the contract.
    Start(Target, Option<String>),
    /// Section 3; with when it resumes by itself.
    Pause(Target, Option<String>, Option<Timestamp>),
    /// Section 3.
    Resume(Target, Option<String>),
    /// Section 3.
    Stop(Target, Option<String>, StopMode),
    /// A manual run, with a query instead of the configured one.
    Run(AgentId, Option<Arc<str>>),
    /// Ends one run; true: without TERM.
    Cancel(RunId, bool),
    /// Leaves out the next slot.
    Skip(AgentId),
    /// A person took note of an incident.
    Ack(Option<AgentId>, String),
}

/// What becomes of a run in flight when its agent is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// TERM, grace, KILL.
    Terminate,
    /// It finishes.
    Drain,
    /// KILL.
    Kill,
}

/// What to record and what to do, in that order.
#[derive(Debug, Default)]
pub struct Decision {
    /// Commit these together.
    pub facts: Vec<Entry>,
    /// Then do these, in order.
    pub actions: Vec<Action>,
}

/// What the shell does for the engine.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Start an attempt of a claimed run.
    Start(Box<Start>),
    /// End an attempt in flight. True: without TERM.
    Cancel {
        /// Of which run.
        run: RunId,
        /// Without TERM.
        kill: bool,
    },
    /// Let the one who waits at `ticket` go on, or not.
    Go {
        /// Who.
        ticket: Ticket,
        /// False: the run was cancelled meanwhile.
        go: bool,
    },
    /// Answer a client.
    Reply {
        /// Whom.
        ticket: Ticket,
        /// What became of its command.
        result: Result<Reply, Refusal>,
    },
}

/// An attempt to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Which run.
    pub run: RunId,
    /// Of which agent, with the configuration that it was claimed with.
    pub agent: Arc<AgentSpec>,
    /// From 1.
    pub attempt: u32,
    /// Why the run exists.
    pub trigger: Trigger,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
    /// Instead of the configured query.
    pub query: Option<Arc<str>>,
    /// The event that started it.
    pub event: Option<Arc<str>>,
    /// What is left of `total_timeout`.
    pub time_left: Option<SignedDuration>,
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Of one agent.
    Changed(ChangedAgent),
    /// Of all agents.
    AllChanged(Vec<(AgentId, Result<ChangedAgent, Refusal>)>),
    /// A manual run was claimed; the note says what is odd about it.
    RunClaimed {
        /// Which.
        run: RunId,
        /// True: it waits for something.
        queued: bool,
        /// For people.
        note: Option<String>,
    },
    /// A run is being ended, or has ended.
    Cancelling {
        /// Which.
        run: RunId,
    },
    /// A slot will be left out.
    WillSkip {
        /// Which.
        slot: Timestamp,
        /// False: that was so before.
        changed: bool,
    },
    /// An incident as it is now.
    Incident(Box<IncidentRecord>),
    /// A configuration was taken up.
    Reloaded {
        /// New agents.
        added: Vec<AgentId>,
        /// Agents that are different now.
        changed: Vec<AgentId>,
        /// Agents that are gone.
        removed: Vec<AgentId>,
    },
}

/// What became of one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedAgent {
    /// Whose.
    pub agent: AgentId,
    /// Before.
    pub previous: Desired,
    /// Now.
    pub state: Desired,
    /// False: it already was so.
    pub changed: bool,
    /// For people: "already active".
    pub note: Option<String>,
}

/// A command that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such agent.
    #[error("no agent named `{0}`")]
    NoSuchAgent(AgentId),
    /// No such run in flight.
    #[error("run {0} is not in flight")]
    NoSuchRun(RunId),
    /// No such incident.
    #[error("no open incident `{0}`")]
    NoSuchIncident(String),
    /// The state does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// The agent needs something that this version does not have.
    #[error("{0}")]
    Unavailable(String),
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

/// When [`Engine::decide`] must be called at the latest, if nothing else happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// By the wall clock: slots, timed pauses.
    pub wall: Option<Timestamp>,
    /// By the clock that stands still in sleep: retries, catch-ups.
    pub mono: Option<SignedDuration>,
}

/// A run that has not ended.
#[derive(Debug)]
struct Run {
    record: RunRecord,
    agent: u32,
    spec: Arc<AgentSpec>,
    place: Place,
    /// Its body began at least once, in this life or an earlier one.
    counted: bool,
    /// `mono` of its first attempt's start.
    started_mono: Option<SignedDuration>,
    /// It was asked to end.
    cancelled: Option<CancelCause>,
    /// Verdict and cause of the ledger's record before its slot, if that is known and not `ran`.
    before: Option<Streak>,
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
    /// An attempt is in flight.
    Active,
    /// An attempt has just ended; where the run goes is being decided.
    Between,
}

/// The verdict of slots in a row, and its cause.
type Streak = (Verdict, Box<str>);

/// Who wants a run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CancelCause {
    Person,
    NewerSlot,
    Shutdown,
}

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
    /// Runs that wait for their time.
    timers: BTreeSet<(SignedDuration, RunId)>,
    runs: HashMap<RunId, Run>,
    queue: Queue,
    incidents: HashMap<u32, BTreeMap<String, IncidentRecord>>,
    /// Agents that an event of this type starts.
    triggers: HashMap<EventType, Vec<u32>>,
    last: Now,
    seed: u64,
    made: u64,
    stopping: bool,
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
        debug_assert!(self.out.facts.is_empty() && self.depths.is_empty());
        let missed = match input {
            Input::StorageBack => Some(Verdict::RefusedStorage),
            _ => slots::cause_of(Gap::between(self.last, now)),
        };
        self.follow_clock(now);
        self.chain = 0;
        if !self.stopping {
            self.resume_due(now);
            self.fire(now, missed);
            self.release_timers(now);
        }
        match input {
            Input::Tick | Input::StorageBack => {}
            Input::Command { ticket, command } => {
                let result = self.command(now, command);
                self.out.actions.push(Action::Reply { ticket, result });
            }
            Input::Began { run, attempt, role, process, ticket } => {
                let go = self.began(now, run, attempt, role, process);
                self.out.actions.push(Action::Go { ticket, go });
            }
            Input::AttemptEnded { run, attempt, outcome } => self.attempt_ended(now, run, attempt, *outcome),
            Input::ClaimRefused { run } => self.claim_refused(now, run),
            Input::FleetLoaded { fleet, ticket } => {
                let result =
                    if self.stopping { Err(Refusal::ShuttingDown) } else { Ok(self.reload(now, fleet)) };
                if let Some(ticket) = ticket {
                    self.out.actions.push(Action::Reply { ticket, result });
                }
            }
            Input::FleetRejected { path, errors } => self.push(now, Fact::ConfigRejected { path, errors }),
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
        Wake { wall: slot.into_iter().chain(resume).min(), mono: self.timers.first().map(|&(at, _)| at) }
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
        self.trigger(now);
        self.release_timers(now); // a retry without delay
        self.dispatch(now);
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
        if let Some(due) = state.next_due {
            self.due.remove(&(due, agent));
        }
        state.next_slot = slot;
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
        let mut active: Vec<RunId> =
            self.runs.iter().filter(|(_, run)| run.place == Place::Active).map(|(id, _)| *id).collect();
        active.sort_unstable();
        for id in active {
            self.runs.get_mut(&id).expect("listed above").cancelled.get_or_insert(CancelCause::Shutdown);
            self.out.actions.push(Action::Cancel { run: id, kill });
        }
    }
}
