//! Runs: claimed, queued in one FIFO order, started, ended. Only [`Engine::dispatch`] decides which may start.
use super::places::Placement;
use super::{Action, Engine, Place, Refusal, Run, Start};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The queue of runs that are ready to start, and what blocks the others.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: BTreeMap<u64, RunId>,
    /// By turn, those that run at other nodes: what the leader has in hand does not hold them up.
    elsewhere: BTreeMap<u64, RunId>,
    /// Turns that were given.
    turns: u64,
    /// The position that a waiting run of this agent passed on to a newer one.
    given_up: Option<(u32, u64)>,
    /// By agent: runs that wait until another run of it has ended.
    behind_agent: HashMap<u32, Vec<RunId>>,
    /// By agent: runs that wait until it is resumed.
    parked: HashMap<u32, Vec<RunId>>,
    locks: HashMap<Arc<str>, Lock>,
    active: usize,
}

#[derive(Debug)]
struct Lock {
    holder: RunId,
    waiting: Vec<RunId>,
}

/// The properties of a run at its claim.
#[derive(Debug)]
pub(super) struct RunClaim {
    pub(super) trigger: Trigger,
    pub(super) slot: Option<Timestamp>,
    /// The past slot of a backfill.
    pub(super) past: Option<PastSlot>,
    /// Earliest start, by the clock that stops during suspend.
    pub(super) not_before: Option<SignedDuration>,
    pub(super) event: Option<Arc<Event>>,
    /// Replaces the configured query.
    pub(super) query: Option<Arc<str>>,
    /// `None`: the defaults.
    pub(super) params: Option<Arc<ParamValues>>,
    pub(super) mode: RunMode,
}

impl RunClaim {
    /// Returns one with only a trigger.
    pub(super) fn of(trigger: Trigger) -> Self {
        let (slot, past, not_before, event, query, params) = (None, None, None, None, None, None);
        Self { trigger, slot, past, not_before, event, query, params, mode: RunMode::Normal }
    }
}

impl super::agent::AgentState {
    /// Returns the parameters of a run, given these; missing ones get their defaults as of this moment.
    pub(super) fn params_of(
        &self,
        given: &ParamValues,
        moment: Timestamp,
    ) -> Result<Option<Arc<ParamValues>>, Refusal> {
        let Some(spec) = &self.spec.params else {
            let Some(name) = given.keys().next() else { return Ok(None) };
            let why = format!("agent `{}` has no parameters, and so no `{name}`", self.spec.id);
            return Err(Refusal::Params(why));
        };
        let values = spec.values(given, moment);
        let refused = |why| Refusal::Params(format!("agent `{}`: {why}", self.spec.id));
        values.map(|values| Some(Arc::new(values))).map_err(refused)
    }

    /// Returns the parameters of a run that was not started manually. The configuration has a default for each.
    fn default_params(&self, moment: Timestamp) -> Option<Arc<ParamValues>> {
        self.params_of(&ParamValues::new(), moment).ok().flatten()
    }
}

impl Queue {
    /// Returns the number of runs in flight.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Removes a run from the list that it waits in.
    fn forget(&mut self, id: RunId, run: &Run) {
        let aside = match run.place {
            Place::Ready => {
                self.ready.remove(&run.turn);
                self.elsewhere.remove(&run.turn);
                return;
            }
            Place::Timer(_) | Place::Waiting(_) | Place::NoNode | Place::Active | Place::Between => return,
            Place::BehindLock => {
                if let Some(lock) = run.spec.lock.as_ref().and_then(|lock| self.locks.get_mut(lock)) {
                    lock.waiting.retain(|other| *other != id);
                }
                return;
            }
            Place::BehindAgent => &mut self.behind_agent,
            Place::Parked => &mut self.parked,
        };
        if let Some(line) = aside.get_mut(&run.agent) {
            line.retain(|other| *other != id);
            if line.is_empty() {
                aside.remove(&run.agent);
            }
        }
    }
}

impl Engine {
    /// Returns the id of a new run. Ids increase even if the clock was set back: the timestamp within them then
    /// stands still (RFC 9562, section 6.2).
    pub(super) fn next_id(&mut self, now: Now) -> RunId {
        self.made += 1;
        let wall = now.wall.as_millisecond();
        let is_full = self.made & RunId::COUNTS_WITHIN_A_MS == 0;
        self.newest_id = wall.max(self.newest_id + i64::from(is_full));
        RunId::make(self.newest_id, self.seed, self.made)
    }

    /// Claims a run: its record is durable before anything of it starts.
    pub(super) fn claim(&mut self, now: Now, agent: u32, claim: RunClaim) -> RunId {
        let RunClaim { trigger, slot, past, not_before, event, query, params, mode } = claim;
        let id = self.next_id(now);
        let state = &mut self.agents[agent as usize];
        let params = params.or_else(|| {
            state.default_params(slot.or(past.as_ref().map(|past| past.slot)).unwrap_or(now.wall))
        });
        let record = RunRecord {
            run: id,
            agent: state.spec.id.clone(),
            trigger,
            slot,
            status: RunStatus::Queued,
            attempt: 0,
            queued_at: now.wall,
            started_at: None,
            not_before: not_before.map(|mono| now.wall + (mono - now.mono)),
            clock_moved: SignedDuration::ZERO,
            chain: self.chain,
            event,
            query,
            params,
            past,
            session: state.spec.body.asks_models().then(|| state.spec.session()),
            mode,
            config_hash: state.spec.config_hash,
            processes: Vec::new(),
            used: Usage::default(),
            in_doubt: Vec::new(),
            node: None,
        };
        state.live.push(id);
        let before = if slot.is_some() { state.streak.take() } else { None };
        let spec = state.spec.clone();
        let place = Place::Ready;
        let run = Run {
            held_back: None,
            record: record.clone(),
            agent,
            spec,
            place,
            begun: false,
            counted: false,
            started_mono: None,
            turn: 0,
            cancelled: None,
            before,
            looks_since: None,
            slow_at: None,
            is_slow: false,
        };
        self.runs.insert(id, run);
        self.push(now, Fact::RunClaimed(Box::new(record)));
        if matches!(self.agents[agent as usize].spec.schedule, Schedule::After(_)) {
            self.schedule(agent, None); // the next slot follows from the end of this run
        }
        let inherited = self.queue.given_up.take().filter(|(of, _)| *of == agent && not_before.is_none());
        match inherited {
            Some((_, turn)) => self.insert_ready(id, turn),
            None => self.enqueue(id, not_before),
        }
        id
    }

    /// Passes on the position of a waiting run that is about to be cancelled for a newer one of its agent.
    /// Otherwise an agent with slots more frequent than its turns would starve.
    pub(super) fn pass_on_position(&mut self, id: RunId) {
        let run = &self.runs[&id];
        if matches!(
            run.place,
            Place::Ready | Place::BehindLock | Place::BehindAgent | Place::NoNode | Place::Parked
        ) {
            let other = self.queue.given_up.filter(|(of, _)| *of == run.agent);
            self.queue.given_up = Some((run.agent, other.map_or(run.turn, |(_, turn)| turn.min(run.turn))));
        }
    }

    pub(super) fn enqueue(&mut self, id: RunId, not_before: Option<SignedDuration>) {
        let run = self.runs.get_mut(&id).expect("only known runs are queued");
        if let Place::Timer(at) = run.place {
            self.timers.remove(&(at, id));
        }
        match not_before {
            Some(at) => {
                run.place = Place::Timer(at);
                self.timers.insert((at, id));
            }
            None => {
                self.queue.turns += 1;
                self.insert_ready(id, self.queue.turns);
            }
        }
    }

    fn insert_ready(&mut self, id: RunId, turn: u64) {
        let run = self.runs.get_mut(&id).expect("only known runs are queued");
        run.place = Place::Ready;
        run.turn = turn;
        let is_elsewhere = self.nodes.is_elsewhere(&run.spec);
        let line = if is_elsewhere { &mut self.queue.elsewhere } else { &mut self.queue.ready };
        let other = line.insert(turn, id);
        assert!(!cfg!(checked) || other.is_none(), "each has a turn of its own");
    }

    /// Queues the runs whose time has come, and ends those whose approval deadline has passed.
    pub(super) fn release_timers(&mut self, now: Now) {
        while let Some(&(at, id)) = self.timers.first().filter(|(at, _)| *at <= now.mono) {
            self.timers.remove(&(at, id));
            if matches!(self.runs.get(&id).map(|run| run.place), Some(Place::Waiting(_))) {
                self.approval_expired(now, id);
            } else {
                self.enqueue(id, None);
            }
        }
    }

    /// The next run in turn that there may be room for: each node has its own.
    fn next_ready(&mut self) -> Option<RunId> {
        let has_room = self.active_here() < self.fleet.daemon.max_parallel_runs;
        let first = |line: &BTreeMap<u64, RunId>| line.keys().next().copied();
        let here = first(&self.queue.ready).filter(|_| has_room);
        match (here, first(&self.queue.elsewhere)) {
            (Some(here), there) if there.is_none_or(|there| here < there) => self.queue.ready.remove(&here),
            (_, Some(there)) => self.queue.elsewhere.remove(&there),
            (_, None) => None,
        }
    }

    /// Starts runs in their turn while there is room. One that its agent, its lock or a pause holds back goes
    /// aside, and comes back to its turn when that ends.
    pub(super) fn dispatch(&mut self, now: Now) {
        while !self.stopping {
            let Some(id) = self.next_ready() else { return };
            let run = self.runs.get_mut(&id).expect("queued runs are known");
            let agent = run.agent;
            let state = &self.agents[agent as usize];
            if state.desired == Desired::Paused && run.record.trigger != Trigger::Manual && !run.has_begun() {
                run.place = Place::Parked;
                self.queue.parked.entry(agent).or_default().push(id);
                continue;
            }
            let serial = run.spec.overlap != Overlap::Parallel;
            // a run between two attempts blocks new runs, but not another run between two attempts
            let began = matches!(run.record.status, RunStatus::Retrying | RunStatus::Running);
            let holds = |other: &Run| {
                let between = matches!(other.record.status, RunStatus::Retrying | RunStatus::WaitingApproval);
                other.place == Place::Active || (!began && between)
            };
            if serial && state.live.iter().any(|other| *other != id && holds(&self.runs[other])) {
                self.runs.get_mut(&id).expect("known").place = Place::BehindAgent;
                self.queue.behind_agent.entry(agent).or_default().push(id);
                continue;
            }
            let Some(spot) = self.nodes.spot_for(&self.runs[&id].spec) else {
                self.wait_for_node(id);
                continue;
            };
            if let Some(name) = self.runs[&id].spec.lock.clone() {
                match self.queue.locks.get_mut(&name) {
                    Some(lock) if lock.holder != id => {
                        lock.waiting.push(id);
                        self.runs.get_mut(&id).expect("known").place = Place::BehindLock;
                        continue;
                    }
                    Some(_) => {}
                    None => {
                        self.queue.locks.insert(name, Lock { holder: id, waiting: Vec::new() });
                    }
                }
            }
            self.start(now, id, spot);
        }
    }

    /// Reserves capacity and the lock for a run in flight.
    pub(super) fn occupy(&mut self, id: RunId) {
        self.queue.active += 1;
        self.queue.turns += 1;
        let run = self.runs.get_mut(&id).expect("the caller looked it up");
        run.turn = self.queue.turns;
        if let Some(name) = run.spec.lock.clone() {
            self.queue.locks.entry(name).or_insert(Lock { holder: id, waiting: Vec::new() });
        }
    }

    fn start(&mut self, now: Now, id: RunId, spot: Placement) {
        self.queue.active += 1;
        let run = self.runs.get_mut(&id).expect("queued runs are known");
        run.place = Place::Active;
        run.begun = false;
        run.record.status = RunStatus::Running;
        run.record.not_before = None;
        run.record.attempt += 1;
        let agent = run.agent;
        let began = *run.started_mono.get_or_insert(now.mono);
        let node = if let Placement::At(session) = &spot { Some(session.clone()) } else { None };
        self.placed(now, id, spot);
        self.watch_run(now, id);
        let run = &self.runs[&id];
        let looks_first = run.spec.history == History::Changes
            && run.record.trigger == Trigger::Schedule
            && run.record.attempt == 1
            && self.agents[run.agent as usize].calm;
        let by_slot = run.record.slot.is_some() && run.record.trigger != Trigger::Manual;
        let may_ask = by_slot && !run.counted;
        let asks_gate = may_ask && self.has_looking_gate(agent);
        let held_back = if asks_gate { self.held_back(now, agent) } else { None };
        let gate_only = held_back.is_some();
        let run = self.runs.get_mut(&id).expect("queued runs are known");
        run.held_back = held_back;
        run.looks_since = looks_first.then_some(now.wall);
        let time_left =
            run.spec.limits.total_timeout.map(|total| (total - (now.mono - began)).max(SignedDuration::ZERO));
        let run = &self.runs[&id];
        let start = Start {
            run: id,
            agent: self.spec_within_backfill(run),
            attempt: run.record.attempt,
            trigger: run.record.trigger,
            slot: run.record.any_slot(),
            query: run.record.query.clone(),
            params: run.record.params.clone(),
            mode: run.record.mode.clone(),
            event: run.record.event.clone(),
            time_left,
            looks_first,
            gate_only,
            node,
        };
        self.out.actions.push(Action::Start(Box::new(start)));
    }

    /// Removes a run from all data structures; the next run of its agent may start.
    pub(super) fn forget(&mut self, now: Now, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        if let Place::Timer(at) | Place::Waiting(Some(at)) = run.place {
            self.timers.remove(&(at, id));
        }
        self.queue.forget(id, &run);
        if run.place == Place::NoNode {
            self.nodes.forget(id);
        }
        self.forget_approvals(id);
        let agent = run.agent;
        let state = &mut self.agents[agent as usize];
        state.live.retain(|other| *other != id);
        state.last_end = Some(now.wall);
        if let Schedule::After(delay) = state.spec.schedule
            && state.desired != Desired::Stopped
            && !state.removed
            && state.live.is_empty()
        {
            let slot = now.wall.checked_add(delay).ok();
            if let super::clock::Ahead::Asked { due } = &mut state.ahead {
                *due = slot;
            } else {
                let slot = slot.map(|slot| state.first_free_instant(slot));
                self.schedule(agent, slot);
            }
        }
        self.release_behind(agent);
        self.touch(agent);
        Some(run)
    }

    /// Releases the capacity, the lock and the agent of a run that is no longer in flight.
    pub(super) fn release_capacity(&mut self, now: Now, id: RunId) {
        self.left_node(now, id);
        let run = self.runs.get_mut(&id).expect("the caller looked it up");
        run.place = Place::Between;
        let agent = run.agent;
        self.queue.active -= 1;
        if let Some(name) = run.spec.lock.clone()
            && let Some(lock) = self.queue.locks.get_mut(&name)
            && lock.holder == id
        {
            let lock = self.queue.locks.remove(&name).expect("just seen");
            self.put_back(lock.waiting);
        }
        self.release_behind(agent);
    }

    fn release_behind(&mut self, agent: u32) {
        let behind = self.queue.behind_agent.remove(&agent);
        self.put_back(behind.unwrap_or_default());
    }

    pub(super) fn unpark(&mut self, agent: u32) {
        let parked = self.queue.parked.remove(&agent);
        self.put_back(parked.unwrap_or_default());
    }

    pub(super) fn put_back(&mut self, aside: Vec<RunId>) {
        for id in aside {
            let turn = self.runs.get(&id).expect("waiting runs are known").turn;
            self.insert_ready(id, turn);
        }
    }
}
