//! The lifecycle of an agent: its state, and the effect of each command on it (section 3 of the contract).
use super::{
    Action, CancelCause, ChangedAgent, Command, Engine, PauseEnd, Place, Refusal, Reply, StopMode, Target,
    Wish,
};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Reason of a one-shot agent stopped after its slot got a verdict.
pub(super) const DONE: &str = "done";
/// Reason of a one-shot agent whose time had passed when it was loaded.
pub(super) const PAST: &str = "done: its time had passed when it was taken up";

/// The engine's state of one agent.
#[derive(Debug)]
pub(super) struct AgentState {
    pub(super) spec: Arc<AgentSpec>,
    pub(super) desired: Desired,
    pub(super) reason: Option<String>,
    pub(super) resume_at: Option<Timestamp>,
    /// The pause was requested as a duration, not as a point in time.
    pub(super) resume_after: Option<SignedDuration>,
    pub(super) held: Held,
    pub(super) anchor: Timestamp,
    /// Newest slot with a verdict. Slots up to it are not judged again, unless the clock was set back.
    pub(super) judged_until: Option<Timestamp>,
    /// Set when the clock was set back: slots up to here are not judged again, nor are those recorded in `ahead`.
    pub(super) floor: Option<Timestamp>,
    pub(super) ahead: super::clock::Ahead,
    /// The anchor before the clock was set back past it.
    pub(super) origin: Option<Timestamp>,
    pub(super) next_slot: Option<Timestamp>,
    pub(super) next_due: Option<Timestamp>,
    /// The coming slot at which it will start: the first that its active times allow.
    pub(super) next_active: Option<Timestamp>,
    pub(super) skip_next: bool,
    pub(super) last_end: Option<Timestamp>,
    pub(super) counters: Counters,
    pub(super) last_run: Option<Box<LastRun>>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) circuit: Option<CircuitRecord>,
    pub(super) told_at: Option<Timestamp>,
    /// Verdict and cause of the newest ledger record, if it was made in this lifetime and is not `ran`: equal ones
    /// extend it.
    pub(super) streak: Option<super::Streak>,
    /// The newest run that ended did so in this lifetime, with this configuration, and completed.
    pub(super) calm: bool,
    /// The newest ends of the runs that it waits for, if it joins several agents.
    pub(super) arrived: super::arrivals::Arrivals,
    /// Its runs that have not ended, oldest first.
    pub(super) live: Vec<RunId>,
    /// When a slot was due after which no run has completed yet.
    pub(super) awaited_since: Option<Timestamp>,
    /// When it will count as late (`mono`), if it does not yet.
    pub(super) late_at: Option<SignedDuration>,
    pub(super) removed: bool,
    pub(super) dirty: bool,
}

impl AgentState {
    /// Returns the state of an agent never seen before.
    pub(super) fn fresh(spec: Arc<AgentSpec>, now: Now) -> Self {
        let (desired, reason) = if spec.enabled {
            (Desired::Active, None)
        } else {
            (Desired::Stopped, Some("not enabled in the configuration".into()))
        };
        Self {
            spec,
            desired,
            reason,
            resume_at: None,
            resume_after: None,
            held: Held::No,
            anchor: now.wall,
            judged_until: None,
            floor: None,
            ahead: Default::default(),
            origin: None,
            next_slot: None,
            next_due: None,
            next_active: None,
            skip_next: false,
            last_end: None,
            counters: Counters::default(),
            last_run: None,
            last_success: None,
            circuit: None,
            told_at: None,
            streak: None,
            calm: false,
            arrived: Default::default(),
            live: Vec::new(),
            awaited_since: None,
            late_at: None,
            removed: false,
            dirty: false,
        }
    }

    /// Returns the state of an agent from its stored record.
    pub(super) fn known(spec: Arc<AgentSpec>, record: AgentRecord) -> Self {
        Self {
            spec,
            desired: record.desired,
            reason: record.reason,
            resume_at: record.resume_at,
            resume_after: record.resume_after,
            held: record.held,
            anchor: record.anchor,
            judged_until: record.judged_until,
            floor: record.floor,
            ahead: Default::default(),
            origin: record.origin,
            next_slot: None,
            next_due: None,
            next_active: None,
            skip_next: record.skip_next,
            last_end: record.last_end,
            counters: record.counters,
            last_run: record.last_run.map(Box::new),
            last_success: record.last_success,
            circuit: record.circuit,
            told_at: record.told_at,
            streak: None,
            calm: false,
            arrived: Default::default(),
            live: Vec::new(),
            awaited_since: record.awaited_since.filter(|_| !record.removed),
            late_at: None,
            removed: false,
            dirty: false,
        }
    }

    /// Returns the record to store.
    pub(super) fn record(&self) -> AgentRecord {
        AgentRecord {
            agent: self.spec.id.clone(),
            desired: self.desired,
            reason: self.reason.clone(),
            resume_at: self.resume_at,
            resume_after: self.resume_after,
            awaited_since: self.awaited_since,
            held: self.held,
            anchor: self.anchor,
            judged_until: self.judged_until,
            floor: self.floor,
            origin: self.origin,
            silent: self.silence().is_some(),
            schedule: self.spec.schedule.describe(),
            next_due: self.next_due,
            skip_next: self.skip_next,
            last_end: self.last_end,
            counters: self.counters,
            last_run: self.last_run.as_deref().cloned(),
            last_success: self.last_success,
            circuit: self.circuit,
            told_at: self.told_at,
            removed: self.removed,
            config_hash: self.spec.config_hash,
        }
    }

    pub(super) fn calendar(&self) -> Calendar<'_> {
        Calendar { schedule: &self.spec.schedule, anchor: self.anchor, first_run: self.spec.first_run }
    }

    /// Returns whether this is a one-shot agent that has finished.
    pub(super) fn is_done(&self) -> bool {
        self.desired == Desired::Stopped
            && self.reason.as_deref().is_some_and(|why| why == DONE || why == PAST)
    }

    /// Returns whether runs of this trigger must not go on because the agent was stopped or removed. Manual runs go
    /// on, and so does the run of a one-shot agent.
    pub(super) fn is_over(&self, trigger: Trigger) -> bool {
        let stopped = self.desired == Desired::Stopped && !self.is_done() && trigger != Trigger::Manual;
        stopped || self.removed
    }

    /// Returns the cause for slots that pass while it is paused.
    pub(super) fn why_paused(&self) -> String {
        self.reason.as_ref().map_or("paused".to_owned(), |reason| format!("paused: {reason}"))
    }

    /// Returns when a slot is due: with its jitter, and before the next slot.
    pub(super) fn due_of(&self, slot: Timestamp) -> Timestamp {
        if self.spec.jitter.is_zero() {
            return slot;
        }
        let room =
            self.calendar().next_after(slot).map_or(self.spec.jitter, |next| next.duration_since(slot));
        slot + jitter_of(&self.spec.id, slot, self.spec.jitter.min(room))
    }

    pub(super) fn health(&self) -> Health {
        match (self.circuit, self.counters.errors_in_row) {
            (Some(_), _) => Health::CircuitOpen,
            (None, 0) => Health::Ok,
            (None, _) => Health::Failing,
        }
    }
}

impl Engine {
    pub(super) fn command(&mut self, now: Now, command: Command) -> Result<Reply, Refusal> {
        if self.stopping {
            return Err(Refusal::ShuttingDown);
        }
        match command {
            Command::Want { target, wish, reason } => {
                if let Wish::Pause { until: Some(until) } = wish {
                    can_end(now, until)?;
                }
                match target {
                    Target::One(id) => {
                        let agent = self.index(&id)?;
                        self.command_one(now, agent, wish, reason, false).map(Reply::Changed)
                    }
                    Target::All => Ok(Reply::AllChanged(self.command_all(now, wish, reason.as_ref()))),
                }
            }
            Command::Run { agent, query, params, mode } => {
                self.run_by_hand(now, &agent, query, &params, mode)
            }
            Command::Backfill(wish) => self.begin_backfill(now, wish),
            Command::Decide { id, approve, reason, by } => {
                self.decide_approval(now, &id, approve, reason, by)
            }
            Command::Cancel { run, kill } => self.cancel_by_hand(now, run, kill),
            Command::Skip { agent } => self.skip_next(&agent),
            Command::Forget { agent } => self.clear_memory(now, &agent),
            Command::Ack { agent, key } => self
                .acknowledge_own_incident(now, agent.as_ref(), &key)
                .unwrap_or_else(|| self.ack(now, agent.as_ref(), &key)),
        }
    }

    fn clear_memory(&mut self, now: Now, id: &AgentId) -> Result<Reply, Refusal> {
        let spec = &self.agents[self.index(id)? as usize].spec;
        let change = MemoryChange::Cleared {
            agent: spec.id.clone(),
            session: spec.session(),
            store: spec.memory_store(),
        };
        self.push(now, Fact::Remembered(Box::new(change)));
        Ok(Reply::Forgotten)
    }

    /// Applies a command to all agents. `pause --all` marks which agents it paused and which were paused before;
    /// `resume --all` then resumes exactly the former. Without any mark it resumes all.
    fn command_all(
        &mut self,
        now: Now,
        wish: Wish,
        reason: Option<&String>,
    ) -> Vec<(AgentId, Result<ChangedAgent, Refusal>)> {
        let is_marked = |agent: &AgentState| agent.held != Held::No && !agent.removed;
        let any_held = self.agents.iter().any(is_marked);
        let mut ids: Vec<(AgentId, u32)> =
            self.by_id.iter().map(|(id, agent)| (id.clone(), *agent)).collect();
        ids.sort();
        ids.retain(|(_, agent)| {
            let state = &self.agents[*agent as usize];
            match wish {
                Wish::Resume => state.desired == Desired::Paused && (state.held == Held::ByAll || !any_held),
                Wish::Pause { .. } => state.desired != Desired::Stopped,
                Wish::Start => !state.is_done(),
                Wish::Stop { .. } => true,
            }
        });
        if wish == Wish::Resume {
            for agent in 0..u32::try_from(self.agents.len()).expect("fewer than 2^32 agents") {
                if self.agents[agent as usize].held == Held::Kept {
                    self.agents[agent as usize].held = Held::No;
                    self.touch(agent);
                }
            }
        }
        let one = |(id, agent)| (id, self.command_one(now, agent, wish, reason.cloned(), true));
        ids.into_iter().map(one).collect()
    }

    /// Implements the table of section 3, row by row.
    fn command_one(
        &mut self,
        now: Now,
        agent: u32,
        wish: Wish,
        reason: Option<String>,
        all: bool,
    ) -> Result<ChangedAgent, Refusal> {
        use Desired::{Active, Paused, Stopped};
        let state = &self.agents[agent as usize];
        let desired = state.desired;
        match (wish, desired) {
            (Wish::Start, Stopped) => self.start_stopped(now, agent, reason),
            (Wish::Start | Wish::Resume, Paused) => Ok(self.become_(now, agent, Active, reason, None)),
            (Wish::Start | Wish::Resume, Active) => {
                let closed = self.close_circuit(now, agent, "closed by hand");
                let note =
                    if closed { "already active; its circuit is closed now" } else { "already active" };
                Ok(self.unchanged(agent, note))
            }
            (Wish::Resume, Stopped) => {
                let id = &state.spec.id;
                Err(Refusal::WrongState(format!("agent is stopped; use start: `bgagent start {id}`")))
            }
            (Wish::Pause { .. }, Stopped) => Err(Refusal::WrongState("agent is stopped".into())),
            (Wish::Pause { until }, Active) => {
                let changed = self.become_(now, agent, Paused, reason, until);
                self.agents[agent as usize].held = if all { Held::ByAll } else { Held::No };
                Ok(changed)
            }
            (Wish::Pause { until }, Paused) => {
                let note = if all && until.is_none() && state.resume_at.is_some() {
                    // a pause of the whole fleet must not end early for one agent by an older timer
                    let reason = state.reason.clone();
                    self.set_pause(now, agent, reason, None);
                    "already paused; it no longer resumes by itself"
                } else if (reason.is_some() || until.is_some()) && !all {
                    let reason = reason.or_else(|| state.reason.clone());
                    if until.is_some() {
                        self.set_pause(now, agent, reason, until);
                    } else {
                        self.agents[agent as usize].reason = reason;
                        self.touch(agent);
                    }
                    "already paused; reason and end are updated"
                } else {
                    if all && state.held == Held::No {
                        self.agents[agent as usize].held = Held::Kept;
                        self.touch(agent);
                    }
                    "already paused"
                };
                Ok(self.unchanged(agent, note))
            }
            (Wish::Stop { mode }, Active | Paused) => Ok(self.stop_agent(now, agent, reason, mode)),
            (Wish::Stop { mode }, Stopped) => {
                let (ended, _) = self.end_live(now, agent, mode, "the agent was stopped");
                let how = if mode == StopMode::Kill { "killed" } else { "ended" };
                let note = match ended {
                    0 => "already stopped".to_owned(),
                    ended => format!("already stopped; {} being {how}", counted(ended, "run")),
                };
                Ok(self.unchanged(agent, &note))
            }
        }
    }

    fn unchanged(&self, agent: u32, note: &str) -> ChangedAgent {
        let state = &self.agents[agent as usize];
        ChangedAgent {
            agent: state.spec.id.clone(),
            previous: state.desired,
            state: state.desired,
            changed: false,
            note: Some(note.to_owned()),
        }
    }

    fn start_stopped(
        &mut self,
        now: Now,
        agent: u32,
        reason: Option<String>,
    ) -> Result<ChangedAgent, Refusal> {
        let state = &mut self.agents[agent as usize];
        if let Some(at) = state.spec.schedule.last_moment()
            && (at <= now.wall || (!state.needs_ledger(now.wall) && state.has_had(at)))
        {
            return Err(Refusal::WrongState(format!(
                "the time of this one-shot agent has passed ({at}); change `at`, or use `bgagent run {}`",
                state.spec.id
            )));
        }
        (state.anchor, state.origin) = (now.wall, None);
        state.streak = None;
        state.calm = false;
        state.skip_next = false;
        let slot = state.first_slot(now);
        self.schedule(agent, slot);
        let changed = self.become_(now, agent, Desired::Active, reason, None);
        self.close_circuit(now, agent, "the agent was started");
        self.fire(now, None);
        Ok(changed)
    }

    fn stop_agent(&mut self, now: Now, agent: u32, reason: Option<String>, mode: StopMode) -> ChangedAgent {
        self.drop_pending(now, agent, "the agent was stopped");
        self.drop_arrivals(now, agent, "the agent was stopped");
        self.schedule(agent, None);
        let mut changed = self.become_(now, agent, Desired::Stopped, reason, None);
        let (ended, left) = self.end_live(now, agent, mode, "the agent was stopped");
        changed.note = match (ended, left) {
            (0, 0) => None,
            (0, left) => Some(format!("{} in flight will finish", counted(left, "run"))),
            (ended, _) => Some(format!("{} being ended", counted(ended, "run"))),
        };
        changed
    }

    /// Ends the runs of an agent: those in flight are cancelled (or left, with `Drain`), waiting ones are dropped
    /// with a verdict. Returns how many were ended and how many go on.
    pub(super) fn end_live(&mut self, now: Now, agent: u32, mode: StopMode, why: &str) -> (usize, usize) {
        let id = self.agents[agent as usize].spec.id.clone();
        self.end_backfill(now, &id, Some(why));
        let (mut ended, mut left) = (0, 0);
        for id in self.agents[agent as usize].live.clone() {
            let run = self.runs.get_mut(&id).expect("live runs are known");
            if run.place != Place::Active {
                self.drop_waiting(now, id, why);
                ended += 1;
            } else if mode == StopMode::Drain {
                left += 1;
            } else {
                run.cancelled.get_or_insert(CancelCause::Person);
                self.out.actions.push(Action::Cancel { run: id, kill: mode == StopMode::Kill });
                ended += 1;
            }
        }
        (ended, left)
    }

    /// Changes the desired state of an agent, and records it.
    pub(super) fn become_(
        &mut self,
        now: Now,
        agent: u32,
        to: Desired,
        reason: Option<String>,
        until: Option<PauseEnd>,
    ) -> ChangedAgent {
        let previous = self.agents[agent as usize].desired;
        self.set_pause(now, agent, reason.clone(), until);
        let state = &mut self.agents[agent as usize];
        state.desired = to;
        state.held = Held::No;
        let change = AgentChange {
            agent: state.spec.id.clone(),
            previous,
            desired: to,
            reason,
            resume_at: state.resume_at,
            run_count: state.counters.runs,
            error_count: state.counters.errors,
            last_run: state.last_run.as_ref().map(|last| last.finished_at),
            next_run: state.next_active.map(|slot| state.due_of(slot)).filter(|_| to == Desired::Active),
        };
        let id = state.spec.id.clone();
        self.push(now, Fact::AgentChanged(Box::new(change)));
        // an agent that is not to run is not late; a one-shot agent has had its only slot, and still may be
        if to != Desired::Active && !matches!(self.agents[agent as usize].spec.schedule, Schedule::At(_)) {
            self.cancel_expectation(now, agent);
        }
        if to == Desired::Active {
            self.unpark(agent);
        }
        ChangedAgent { agent: id, previous, state: to, changed: true, note: None }
    }

    fn set_pause(&mut self, now: Now, agent: u32, reason: Option<String>, until: Option<PauseEnd>) {
        let state = &mut self.agents[agent as usize];
        state.reason = reason;
        let (at, after) = match until {
            Some(PauseEnd::At(at)) => (Some(at), None),
            Some(PauseEnd::After(span)) => (now.wall.checked_add(span).ok(), Some(span)),
            None => (None, None),
        };
        state.resume_after = after;
        self.move_resume(agent, at);
        self.touch(agent);
    }

    /// Sets or clears the end of its pause.
    pub(super) fn move_resume(&mut self, agent: u32, at: Option<Timestamp>) {
        let state = &mut self.agents[agent as usize];
        if let Some(old) = std::mem::replace(&mut state.resume_at, at) {
            self.resumes.remove(&(old, agent));
        }
        // a removed agent is resumed only after its name comes back
        self.resumes.extend(at.filter(|_| !state.removed).map(|at| (at, agent)));
    }

    /// Resumes the agents whose pause has expired.
    pub(super) fn resume_due(&mut self, now: Now) {
        while let Some(&(at, agent)) = self.resumes.first().filter(|(at, _)| *at <= now.wall) {
            self.resumes.remove(&(at, agent));
            // slots up to the end of the pause passed while it was paused
            self.pass_pause(now, agent, at);
            if self.agents[agent as usize].desired == Desired::Paused {
                self.become_(now, agent, Desired::Active, Some("the pause ended".into()), None);
                self.agents[agent as usize].reason = None;
            }
        }
    }

    fn skip_next(&mut self, id: &AgentId) -> Result<Reply, Refusal> {
        let agent = self.index(id)?;
        let state = &mut self.agents[agent as usize];
        let Some(slot) = state.next_active.filter(|_| state.desired == Desired::Active) else {
            return Err(Refusal::WrongState(format!("agent `{id}` has no coming slot to skip")));
        };
        let changed = !state.skip_next;
        state.skip_next = true;
        self.touch(agent);
        Ok(Reply::WillSkip { agent: id.clone(), slot, changed })
    }
}

/// Checks that a pause can have this end.
fn can_end(now: Now, until: PauseEnd) -> Result<(), Refusal> {
    match until {
        PauseEnd::At(until) if until <= now.wall => {
            Err(Refusal::WrongState(format!("the pause would end in the past ({until})")))
        }
        PauseEnd::After(span) if !span.is_positive() || now.wall.checked_add(span).is_err() => {
            let span = human_duration(span);
            Err(Refusal::WrongState(format!(
                "a pause can't last {span}: it must be longer than zero, and end before the year 10000"
            )))
        }
        PauseEnd::At(_) | PauseEnd::After(_) => Ok(()),
    }
}
