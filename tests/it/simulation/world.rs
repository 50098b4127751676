//! A daemon without a system: three clocks, runners, a store that may be slow, and everything that
//! goes wrong. Virtual time goes from wake to wake.
use super::Defect;
use super::fleet::{self, Temper};
use super::model::{Model, Wrong, ensure};
use super::outside::{self, Outside};
use super::runners::{Attempt, Stage};
use super::spans::Spans;
use crate::rng::Rng;
use bgagent::domain::*;
use bgagent::engine::{Action, Command, Decision, Engine, Input, Ticket};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(super) fn secs(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

/// Where a crash strikes the next turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Crash {
    /// The facts are lost, and with them the actions.
    BeforeCommit,
    /// The facts are durable, the actions are lost.
    BeforeActions,
}

/// How a decision came to be, for the checks.
pub(super) struct Turned {
    pub(super) decision: Decision,
    pub(super) at: Now,
    pub(super) firing: bool,
    pub(super) what: What,
    /// Who wants events of it.
    pub(super) listeners: Vec<Arc<AgentSpec>>,
}

pub(super) enum What {
    Tick,
    Storage,
    Booted(Arc<Fleet>),
    Loaded(Arc<Fleet>),
    Command(Ticket, Command),
    /// The ledger said what it knows of slots ahead.
    Looked,
    Other,
}

pub struct World {
    pub(super) rng: Rng,
    pub(super) defect: Option<Defect>,
    pub(super) now: Now,
    pub(super) begun: Now,
    pub(super) engine: Option<Engine>,
    pub(super) specs: BTreeMap<AgentId, AgentSpec>,
    pub(super) left_out: BTreeMap<AgentId, AgentSpec>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) outside: Outside,
    pub(super) tempers: HashMap<AgentId, Temper>,
    pub(super) model: Model,
    pub(super) spans: Spans,
    pub(super) attempts: Vec<Attempt>,
    /// Bodies that were let go: user code ran.
    pub(super) witness: BTreeSet<(RunId, u32)>,
    /// Slots of which user code ran, and by which run.
    begun_slots: BTreeMap<(AgentId, Timestamp), RunId>,
    pub(super) waiting: HashSet<Ticket>,
    /// What the ledger is to be asked.
    looks: Vec<LookAhead>,
    pub(super) since: HashMap<RunId, SignedDuration>,
    pub(super) tickets: u64,
    pub(super) slept: bool,
    pub(super) set_forward: bool,
    pub(super) crash: Option<Crash>,
    pub(super) outage: Option<SignedDuration>,
    /// When the grace of a shutdown is over.
    pub(super) stopping: Option<SignedDuration>,
    /// The engine knows of it.
    pub(super) down: bool,
    pub(super) next_fault: SignedDuration,
    /// The wall clock was set since the last decision.
    set: bool,
    /// When the wall clock was last set, by the clock that never jumps.
    pub(super) set_at: SignedDuration,
    /// When a run of an agent last ended, by the same clock.
    pub(super) ends: HashMap<AgentId, SignedDuration>,
    pub(super) before_last: BTreeMap<AgentId, AgentRecord>,
    pub(super) lives: u64,
    pub(super) crashes: u64,
}

/// What was simulated.
#[derive(Default, Debug, PartialEq)]
pub struct Simulated {
    pub agent_years: f64,
    pub slots: u64,
    pub compared: u64,
    pub claims: u64,
    pub quiet: u64,
    pub bodies: u64,
    pub events: u64,
    pub lives: u64,
    pub crashes: u64,
    pub digest: u64,
}

/// Lets a fleet live for some days; says what is wrong if anything is.
pub fn simulate(seed: u64, days: i64, defect: Option<Defect>) -> Result<Simulated, Wrong> {
    let mut world = World::new(seed, defect);
    let end = world.now.boot + secs(days * 86_400);
    let found = world.live_until(end).and_then(|()| world.finish());
    found.map_err(|wrong| format!("seed {seed}, {} ({}): {wrong}", world.now.wall, world.model.slots))
}

impl World {
    fn new(seed: u64, defect: Option<Defect>) -> Self {
        let mut rng = Rng::new(seed);
        let start = 1_772_000_000_000_000 + rng.between(0, 20_000_000_000_000);
        let wall = Timestamp::from_microsecond(start).unwrap();
        let now = Now { wall, boot: secs(100), mono: secs(100) };
        let specs: BTreeMap<AgentId, AgentSpec> = fleet::names()
            .into_iter()
            .map(|name| (name.clone(), fleet::agent(&name, &mut rng, wall)))
            .collect();
        let parallel = rng.between(1, 6) as usize;
        let mut outside = Outside::new(seed, now);
        let mut tempers = fleet::tempers(&fleet::names(), &mut rng);
        tempers.extend(outside.tempers());
        Self {
            defect,
            now,
            begun: now,
            engine: None,
            fleet: fleet::fleet(specs.values().chain(&outside.specs), parallel),
            specs,
            left_out: BTreeMap::new(),
            outside,
            tempers,
            model: Model::default(),
            spans: Spans::default(),
            attempts: Vec::new(),
            witness: BTreeSet::new(),
            begun_slots: BTreeMap::new(),
            waiting: HashSet::new(),
            looks: Vec::new(),
            since: HashMap::new(),
            tickets: 0,
            slept: false,
            set_forward: false,
            crash: None,
            outage: None,
            stopping: None,
            down: false,
            next_fault: now.boot + secs(60),
            set: false,
            set_at: now.boot,
            ends: HashMap::new(),
            before_last: BTreeMap::new(),
            lives: 0,
            crashes: 0,
            rng,
        }
    }

    fn live_until(&mut self, end: SignedDuration) -> Result<(), Wrong> {
        while self.now.boot < end {
            if self.engine.is_none() {
                self.boot()?;
                continue;
            }
            let step = self.until_next();
            self.pass(step);
            let mut inputs = self.runners();
            inputs.extend(self.arrivals());
            if self.now.boot >= self.next_fault {
                let pause = self.rng.span(60, 40_000);
                self.next_fault = self.now.boot + secs(pause);
                inputs.extend(self.fault()?);
            }
            inputs.extend(self.goes_down_at_a_bad_time());
            inputs.extend(self.shutdown());
            if self.engine.is_some() {
                self.turn(inputs)?;
            }
        }
        Ok(())
    }

    // ---- time

    pub(super) fn pass(&mut self, span: SignedDuration) {
        self.now.wall += span;
        self.now.boot += span;
        self.now.mono += span;
    }

    pub(super) fn sleep(&mut self, span: SignedDuration) {
        self.slept = true;
        self.now.wall += span;
        self.now.boot += span;
    }

    /// Sets the wall clock, in either direction.
    pub(super) fn jump(&mut self) {
        let longest = if self.rng.chance(30) { 260_000 } else { 72_000 };
        let span = secs(self.rng.span(2, longest));
        self.set_at = self.now.boot;
        // it stays about right, as clocks do
        if self.rng.chance(50)
            == (self.now.wall < self.begun.wall + (self.now.boot - self.begun.boot) + secs(500_000))
        {
            self.now.wall += span;
            self.set_forward = true;
        } else {
            self.now.wall -= span;
        }
        self.set = true;
    }

    fn until_next(&mut self) -> SignedDuration {
        let wake = self.engine.as_ref().expect("the daemon is up").next_wake();
        let wall = wake.wall.filter(|_| self.defect != Some(Defect::Oversleeps));
        let wall = wall.map(|at| at.duration_since(self.now.wall));
        let mono = wake.mono.map(|at| at - self.now.mono);
        let attempts = self
            .attempts
            .iter()
            .filter(|a| !matches!(a.stage, Stage::AtGate(..)))
            .map(|a| a.at - self.now.mono)
            .min();
        let fault = self.next_fault - self.now.boot;
        let arrival = self.outside.next - self.now.boot;
        let grace = self.stopping.map(|at| at - self.now.mono);
        let next = [wall, mono, attempts, Some(fault), Some(arrival), grace]
            .into_iter()
            .flatten()
            .min()
            .expect("a fault comes");
        // nobody wakes to the microsecond
        let late =
            SignedDuration::from_micros(if self.rng.chance(20) { self.rng.between(0, 60_000) } else { 0 });
        next.max(SignedDuration::ZERO) + late
    }

    // ---- lives

    pub(super) fn boot(&mut self) -> Result<(), Wrong> {
        let down = if self.rng.chance(20) { self.rng.span(3600, 300_000) } else { self.rng.span(1, 600) };
        self.pass(secs(down));
        if self.rng.chance(15) {
            self.jump();
        }
        if self.rng.chance(15) {
            self.edit();
        }
        self.attempts.clear();
        self.outside.forget_offers();
        self.waiting.clear();
        self.looks.clear();
        self.since.clear();
        (self.crash, self.outage, self.stopping) = (None, None, None);
        if self.rng.chance(10) {
            self.crash = Some(*self.rng.pick(&[Crash::BeforeCommit, Crash::BeforeActions]));
        }
        (self.slept, self.set_forward, self.down) = (false, false, false);
        self.lives += 1;
        let mut restored = self.model.restored();
        match self.defect {
            Some(Defect::StaleRow | Defect::ClaimsNotUnique) => {
                for record in &mut restored.agents {
                    if let Some(old) = self.before_last.get(&record.agent) {
                        record.judged_until = old.judged_until;
                    }
                }
                self.before_last = self.model.agents.clone();
            }
            Some(Defect::JoinForgotten) => restored.arrivals.clear(),
            Some(Defect::FloorLost) => restored.agents.iter_mut().for_each(|record| record.floor = None),
            Some(Defect::PrunedAhead) => self.model.prune_ahead(self.now.wall),
            Some(Defect::ProcessForgotten) => {
                for run in &mut restored.open_runs {
                    if run.status == RunStatus::Running {
                        (run.status, run.attempt) = (RunStatus::Queued, run.attempt - 1);
                        run.processes.clear();
                    }
                }
            }
            _ => {}
        }
        let started = Fact::DaemonStarted { version: "1".into(), pid: 1, down_since: None, clean: true };
        let (engine, decision) = Engine::restore(self.now, self.lives, self.fleet.clone(), restored, started);
        self.engine = Some(engine);
        let (listeners, what) = (self.listeners(&decision), What::Booted(self.fleet.clone()));
        let turned = Turned { decision, at: self.now, firing: true, what, listeners };
        self.check_decision(&turned)?;
        self.carry_out(vec![turned])
    }

    // ---- decide, commit, act

    pub(super) fn turn(&mut self, inputs: Vec<Input>) -> Result<(), Wrong> {
        let inputs = if inputs.is_empty() { vec![Input::Tick] } else { inputs };
        let mut turned = Vec::new();
        for input in inputs {
            let what = match &input {
                Input::Tick => What::Tick,
                Input::StorageBack => What::Storage,
                Input::FleetLoaded { fleet, .. } => What::Loaded(fleet.clone()),
                Input::Command { ticket, command } => What::Command(*ticket, command.clone()),
                Input::Ahead(_) => What::Looked,
                _ => What::Other,
            };
            let began = matches!(&input, Input::Began { .. });
            let answers =
                matches!(&input, Input::Command { .. } | Input::FleetLoaded { ticket: Some(_), .. });
            // a shutdown's own decision still looks at what was due before it
            let firing = !self.down;
            self.down |= matches!(input, Input::ShutDown { .. });
            let decision = self.engine.as_mut().expect("the daemon is up").decide(self.now, input);
            let goes = decision.actions.iter().filter(|action| matches!(action, Action::Go { .. })).count();
            let replies =
                decision.actions.iter().filter(|action| matches!(action, Action::Reply { .. })).count();
            ensure!(goes == usize::from(began), "{goes} words to go on");
            ensure!(replies == usize::from(answers), "{replies} answers");
            let starts = decision.actions.iter().any(|action| matches!(action, Action::Start(_)));
            ensure!(!(starts && self.down), "something starts while the daemon goes down");
            let listeners = self.listeners(&decision);
            let turn = Turned { decision, at: self.now, firing, what, listeners };
            self.check_decision(&turn)?;
            (self.slept, self.set_forward) = (false, false);
            turned.push(turn);
        }
        self.carry_out(turned)
    }

    fn carry_out(&mut self, turned: Vec<Turned>) -> Result<(), Wrong> {
        let wake = self.engine.as_ref().expect("the daemon is up").next_wake();
        ensure!(wake.wall.is_none_or(|at| at > self.now.wall), "due at {:?}, but left lying", wake.wall);
        ensure!(wake.mono.is_none_or(|at| at > self.now.mono), "due at {:?}, but left lying", wake.mono);
        let has_facts = turned.iter().any(|turn| !turn.decision.facts.is_empty());
        let crash = if has_facts { self.crash.take() } else { None };
        if self.defect == Some(Defect::AnswersEarly) {
            for action in turned.iter().flat_map(|turn| &turn.decision.actions) {
                self.outside.answered(action)?;
            }
        }
        if self.defect == Some(Defect::ActsBeforeCommit) && crash == Some(Crash::BeforeCommit) {
            for turn in &turned {
                self.witness_early(&turn.decision);
            }
        }
        if crash == Some(Crash::BeforeCommit) {
            if self.defect == Some(Defect::HalfCommitted) {
                for turn in &turned {
                    let half = turn.decision.facts.len() / 2;
                    for entry in &turn.decision.facts[..half] {
                        self.model.apply(entry, self.defect)?;
                    }
                }
            }
            self.die();
            return Ok(());
        }
        let outage = if has_facts { self.outage.take() } else { None };
        if let Some(span) = outage {
            self.pass(span);
            if self.rng.chance(20) {
                self.sleep(secs(500));
            }
        }
        let mut refused = HashSet::new();
        for turn in &turned {
            refused.extend(self.commit(turn)?);
        }
        let set = std::mem::take(&mut self.set);
        if let Some(turn) = turned.last().filter(|turn| !matches!(turn.what, What::Booted(_))) {
            self.spans.clock(turn.at.wall, set, &self.model);
        }
        if crash == Some(Crash::BeforeActions) {
            self.die();
            return Ok(());
        }
        for turn in turned {
            for action in turn.decision.actions {
                self.act(action, &refused)?;
            }
        }
        ensure!(self.waiting.is_empty(), "{} runners wait for a word that never comes", self.waiting.len());
        if outage.is_some() {
            self.turn(vec![Input::StorageBack])?;
        }
        if self.engine.is_some() {
            let refused: Vec<Input> = refused.into_iter().map(|run| Input::ClaimRefused { run }).collect();
            if !refused.is_empty() {
                self.turn(refused)?;
            }
        }
        let looks = std::mem::take(&mut self.looks);
        if self.engine.is_some() && !looks.is_empty() {
            let mut answers: Vec<Ahead> = looks.into_iter().map(|look| self.model.ahead(look)).collect();
            if self.defect == Some(Defect::LooksNowhere) {
                answers = answers.iter().map(|answer| Ahead::new(answer.look().clone(), None)).collect();
            }
            self.turn(vec![Input::Ahead(answers)])?;
        }
        if self.engine.is_some() && self.rng.chance(10) {
            self.audit()?;
        }
        Ok(())
    }

    fn commit(&mut self, turn: &Turned) -> Result<Vec<RunId>, Wrong> {
        let (mut refused, mut stored) = (Vec::new(), Vec::new());
        for entry in &turn.decision.facts {
            let breaks = self.rng.chance(2);
            match (self.defect, &entry.fact) {
                (Some(Defect::EndLost), Fact::RunEnded { .. }) if breaks => continue,
                (Some(Defect::WellLost), Fact::SlotRevised { verdict: Verdict::Ran, .. }) if breaks => {
                    continue;
                }
                (Some(Defect::VerdictTwice), Fact::SlotsJudged { .. }) if breaks => {
                    self.model.apply(entry, self.defect)?;
                }
                (Some(Defect::VerdictLost), Fact::SlotsJudged { verdict, .. })
                    if breaks && *verdict != Verdict::Ran =>
                {
                    continue;
                }
                (Some(Defect::TakenBackLost), Fact::SlotsTakenBack { .. }) => continue,
                (Some(Defect::RowLost), Fact::AgentSaved(_)) if breaks => continue,
                (Some(Defect::DeafGoingDown), fact) if self.down && is_outcome(fact) => continue,
                (Some(Defect::EventPassedLost), Fact::EventPassed { .. }) if breaks => continue,
                (Some(Defect::WrongCount), Fact::AgentSaved(record)) if breaks => {
                    let mut record = record.clone();
                    record.counters.errors += 1;
                    self.model.apply(&Entry { at: entry.at, fact: Fact::AgentSaved(record) }, self.defect)?;
                    continue;
                }
                _ => {}
            }
            if let Fact::AttemptStarted { run, agent, slot: Some(slot), .. } = &entry.fact
                && self.model.is_open(*run).is_none_or(|open| open.record.past.is_none())
            {
                let first = *self.begun_slots.entry((agent.clone(), *slot)).or_insert(*run);
                ensure!(first == *run, "{agent}: slot {slot} runs a second time");
            }
            if let Fact::RunEnded { agent, .. } | Fact::SlotRevised { agent, .. } = &entry.fact {
                self.ends.insert(agent.clone(), turn.at.boot);
            }
            refused.extend(self.model.apply(entry, self.defect)?);
            stored.push(entry);
        }
        self.check_outcomes(turn, &stored)?;
        self.model.chains.check()?;
        let now = turn.at.wall;
        // what an agent missed that was changed or removed while the daemon was down can't be known:
        // nobody has its old schedule any more
        if turn.firing && !matches!(turn.what, What::Booted(_)) {
            self.spans.reached(now);
        }
        if matches!(turn.what, What::Booted(_)) {
            self.spans.booted(now, &self.model);
        }
        match &turn.what {
            What::Booted(fleet) => self.spans.configured(now, fleet, false, &self.model),
            What::Loaded(fleet) if turn.firing => self.spans.configured(now, fleet, true, &self.model),
            What::Command(ticket, command) if turn.firing => {
                self.command_done(now, *ticket, command, &turn.decision)?
            }
            _ => {}
        }
        if matches!(turn.what, What::Looked) {
            self.spans.answered();
        }
        // what the clock's jump means for a one-shot is known when the ledger has answered
        let mut asks = false;
        for action in &turn.decision.actions {
            let Action::LookAhead(looks) = action else { continue };
            self.spans.asks(looks.iter().map(|look| look.spec.id.clone()));
            asks = true;
        }
        // the reference follows a clock that was set when all of the turn is stored
        if !asks && !self.set {
            self.spans.check_states(&self.model)?;
        }
        Ok(refused)
    }

    fn act(&mut self, action: Action, refused: &HashSet<RunId>) -> Result<(), Wrong> {
        match action {
            Action::Start(start) if refused.contains(&start.run) => {}
            Action::LookAhead(looks) => {
                self.looks.retain(|old| looks.iter().all(|new| new.spec.id != old.spec.id));
                self.looks.extend(looks);
            }
            Action::Granted { .. } => return Err("a run without a model asked for money".into()),
            Action::Start(start) => {
                if self.defect == Some(Defect::StartTwice) && self.rng.chance(5) {
                    self.begin_attempt((*start).clone())?;
                }
                if self.defect == Some(Defect::StartLost) && self.rng.chance(5) {
                    return Ok(());
                }
                self.begin_attempt(*start)?;
            }
            Action::Cancel { run, kill } => {
                let soon = self.now.mono
                    + SignedDuration::from_millis(if kill { 5 } else { self.rng.between(10, 5000) });
                if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.start.run == run) {
                    attempt.cancelled = true;
                    attempt.at = attempt.at.min(soon);
                }
            }
            Action::Go { ticket, go } => {
                if self.defect == Some(Defect::GoLost) && self.rng.chance(5) {
                    return Ok(());
                }
                ensure!(self.waiting.remove(&ticket), "{ticket:?} gets a word twice, or never asked");
                self.go(ticket, go)?;
            }
            Action::Taken { .. } if self.defect == Some(Defect::AnswersEarly) => {}
            Action::Taken { .. } => self.outside.answered(&action)?,
            Action::Reply { .. } | Action::Ping { .. } => {}
        }
        Ok(())
    }

    /// User code that ran although nothing was written.
    fn witness_early(&mut self, decision: &Decision) {
        for entry in &decision.facts {
            if let Fact::AttemptStarted { run, attempt, .. } = &entry.fact {
                self.witness.insert((*run, *attempt));
            }
        }
    }

    /// Everything is accounted for.
    fn finish(&mut self) -> Result<Simulated, Wrong> {
        (self.crash, self.outage) = (None, None);
        while self.engine.is_none() {
            self.boot()?;
        }
        self.turn(Vec::new())?;
        self.finish_outside()?;
        if self.engine.is_some() {
            self.audit()?;
        }
        let compared = self.spans.check_ledger(&self.model)?;
        let days = (self.now.boot - self.begun.boot).as_secs_f64() / 86_400.0;
        Ok(Simulated {
            agent_years: days / 365.25 * (self.fleet.agents.len() as f64),
            slots: self.model.slots,
            compared,
            claims: self.model.claims,
            quiet: self.model.quiet,
            bodies: self.witness.len() as u64,
            events: self.model.events,
            lives: self.lives,
            crashes: self.crashes,
            digest: self.model.digest,
        })
    }
}

/// What becomes of an event of the fleet that an agent waits for.
fn is_outcome(fact: &Fact) -> bool {
    match fact {
        Fact::RunClaimed(run) => run.trigger == Trigger::Event && !outside::names().contains(&run.agent),
        Fact::EventPassed { agent, .. } => !outside::names().contains(agent),
        _ => false,
    }
}
