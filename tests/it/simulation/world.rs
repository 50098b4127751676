//! A daemon without a system: three clocks, runners, a store that may be slow, and everything that
//! goes wrong. Virtual time goes from wake to wake.
use super::Defect;
use super::fleet::{self, Temper};
use super::model::{Model, Wrong, ensure};
use super::rng::Rng;
use super::spans::{Spans, due_of};
use bgagent::domain::*;
use bgagent::engine::{Action, Command, Decision, Engine, Input, Reply, Start, StopMode, Target, Ticket};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

fn secs(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

/// Where a crash strikes the next turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    /// The facts are lost, and with them the actions.
    BeforeCommit,
    /// The facts are durable, the actions are lost.
    BeforeActions,
}

/// What one attempt will do, unless it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Starting,
    /// Waits for the word to go on.
    AtGate(Ticket, ProcessRole),
    Gate,
    Body,
}

struct Attempt {
    start: Start,
    stage: Stage,
    /// By the clock that stands still in sleep.
    at: SignedDuration,
    cancelled: bool,
}

/// How a decision came to be, for the checks.
struct Turned {
    decision: Decision,
    at: Now,
    firing: bool,
    what: What,
}

enum What {
    Tick,
    Storage,
    Booted(Arc<Fleet>),
    Loaded(Arc<Fleet>),
    Command(Ticket, Command),
    Other,
}

pub struct World {
    rng: Rng,
    defect: Option<Defect>,
    now: Now,
    begun: Now,
    engine: Option<Engine>,
    specs: BTreeMap<AgentId, AgentSpec>,
    left_out: BTreeMap<AgentId, AgentSpec>,
    fleet: Arc<Fleet>,
    tempers: HashMap<AgentId, Temper>,
    model: Model,
    spans: Spans,
    attempts: Vec<Attempt>,
    /// Bodies that were let go: user code ran.
    witness: BTreeSet<(RunId, u32)>,
    waiting: HashSet<Ticket>,
    since: HashMap<RunId, SignedDuration>,
    tickets: u64,
    slept: bool,
    set_forward: bool,
    crash: Option<Crash>,
    outage: Option<SignedDuration>,
    /// When the grace of a shutdown is over.
    stopping: Option<SignedDuration>,
    /// The engine knows of it.
    down: bool,
    next_fault: SignedDuration,
    newest_wall: Timestamp,
    before_last: BTreeMap<AgentId, AgentRecord>,
    lives: u64,
    crashes: u64,
}

/// What was simulated.
#[derive(Default, Debug, PartialEq)]
pub struct Simulated {
    pub agent_years: f64,
    pub slots: u64,
    pub compared: u64,
    pub claims: u64,
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
        Self {
            defect,
            now,
            begun: now,
            engine: None,
            fleet: fleet::fleet(&specs, parallel),
            specs,
            left_out: BTreeMap::new(),
            tempers: fleet::tempers(&mut rng),
            model: Model::default(),
            spans: Spans::default(),
            attempts: Vec::new(),
            witness: BTreeSet::new(),
            waiting: HashSet::new(),
            since: HashMap::new(),
            tickets: 0,
            slept: false,
            set_forward: false,
            crash: None,
            outage: None,
            stopping: None,
            down: false,
            next_fault: now.boot + secs(60),
            newest_wall: wall,
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
            if self.now.boot >= self.next_fault {
                let pause = self.rng.span(60, 40_000);
                self.next_fault = self.now.boot + secs(pause);
                inputs.extend(self.fault()?);
            }
            inputs.extend(self.shutdown());
            if self.engine.is_some() {
                self.turn(inputs)?;
            }
        }
        Ok(())
    }

    // ---- time

    fn pass(&mut self, span: SignedDuration) {
        self.now.wall += span;
        self.now.boot += span;
        self.now.mono += span;
        self.newest_wall = self.newest_wall.max(self.now.wall);
    }

    fn sleep(&mut self, span: SignedDuration) {
        self.slept = true;
        self.now.wall += span;
        self.now.boot += span;
        self.newest_wall = self.newest_wall.max(self.now.wall);
    }

    /// Sets the wall clock, never a day or more before the newest instant that it has shown.
    fn jump(&mut self) {
        let span = secs(self.rng.span(2, 72_000));
        if self.rng.chance(50) {
            self.now.wall += span;
            self.set_forward = true;
        } else {
            self.now.wall = (self.now.wall - span).max(self.newest_wall - secs(80_000));
        }
        self.newest_wall = self.newest_wall.max(self.now.wall);
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
        let grace = self.stopping.map(|at| at - self.now.mono);
        let next =
            [wall, mono, attempts, Some(fault), grace].into_iter().flatten().min().expect("a fault comes");
        // nobody wakes to the microsecond
        let late =
            SignedDuration::from_micros(if self.rng.chance(20) { self.rng.between(0, 60_000) } else { 0 });
        next.max(SignedDuration::ZERO) + late
    }

    // ---- what goes wrong

    fn fault(&mut self) -> Result<Vec<Input>, Wrong> {
        match self.rng.between(0, 100) {
            0..40 => return Ok(self.command()),
            40..50 => {
                let span = secs(self.rng.span(2, 200_000));
                self.sleep(span);
            }
            50..60 => self.jump(),
            60..64 => {
                self.sleep(secs(3000));
                self.jump();
            }
            64..78 => {
                // in a turn that has something to lose, or out of the blue
                match self.rng.between(0, 3) {
                    0 => self.crash = Some(Crash::BeforeCommit),
                    1 => self.crash = Some(Crash::BeforeActions),
                    _ => self.die(),
                }
            }
            78..86 => self.outage = Some(secs(self.rng.span(1, 20_000))),
            86..95 if self.stopping.is_none() => {
                self.edit();
                let ticket = self.rng.chance(50).then(|| self.ticket());
                return Ok(vec![Input::FleetLoaded { fleet: self.fleet.clone(), ticket }]);
            }
            95..97 => {
                let errors = vec!["line 1: no".into()];
                return Ok(vec![Input::FleetRejected { path: "/agents.toml".into(), errors }]);
            }
            _ if self.stopping.is_none() => {
                self.stopping = Some(self.now.mono + secs(30));
                return Ok(vec![Input::ShutDown { reason: "asked".into() }]);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn shutdown(&mut self) -> Option<Input> {
        let deadline = self.stopping?;
        if self.attempts.is_empty() {
            self.engine = None;
            return None;
        }
        (deadline <= self.now.mono).then(|| {
            self.stopping = Some(self.now.mono + secs(7));
            Input::EndRuns { kill: self.rng.chance(30) }
        })
    }

    fn die(&mut self) {
        self.crashes += 1;
        self.engine = None;
    }

    fn edit(&mut self) {
        let names: Vec<AgentId> = self.specs.keys().cloned().collect();
        let parallel = if self.rng.chance(20) {
            self.rng.between(1, 6) as usize
        } else {
            self.fleet.daemon.max_parallel_runs
        };
        for _ in 0..self.rng.between(0, 3) {
            let name = self.rng.pick(&names).clone();
            let Some(spec) = self.specs.get(&name).cloned() else { continue };
            if self.rng.chance(30) {
                self.specs.remove(&name);
                self.left_out.insert(name, spec);
            } else {
                self.specs.insert(name, fleet::edited(&spec, &mut self.rng, self.now.wall));
            }
        }
        let gone: Vec<AgentId> = self.left_out.keys().cloned().collect();
        for name in gone {
            if self.rng.chance(40) {
                let spec = self.left_out.remove(&name).unwrap();
                let spec = if self.rng.chance(50) {
                    fleet::edited(&spec, &mut self.rng, self.now.wall)
                } else {
                    spec
                };
                self.specs.insert(name, spec);
            }
        }
        self.fleet = fleet::fleet(&self.specs, parallel);
    }

    fn command(&mut self) -> Vec<Input> {
        let name = self.rng.pick(&fleet::names()).clone();
        let target = if self.rng.chance(15) { Target::All } else { Target::One(name.clone()) };
        let reason = self.rng.chance(30).then(|| "because".to_owned());
        let open = self.model.open.len() as i64;
        let command = match self.rng.between(0, 12) {
            0..3 => Command::Start(target, reason),
            3 => Command::Pause(target, reason, None),
            4 => {
                let until = self.now.wall + secs(self.rng.span(1, 100_000));
                Command::Pause(target, reason, Some(until))
            }
            5..7 => Command::Resume(target, reason),
            7 => Command::Stop(
                target,
                reason,
                *self.rng.pick(&[StopMode::Terminate, StopMode::Drain, StopMode::Kill]),
            ),
            8 => Command::Run(name, None),
            9 if open > 0 => {
                let at = self.rng.between(0, open) as usize;
                Command::Cancel(self.model.open[at].record.run, self.rng.chance(50))
            }
            10 => Command::Ack(None, "disk".into()),
            _ => Command::Skip(name),
        };
        let ticket = self.ticket();
        vec![Input::Command { ticket, command }]
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    // ---- lives

    fn boot(&mut self) -> Result<(), Wrong> {
        let down = if self.rng.chance(20) { self.rng.span(3600, 300_000) } else { self.rng.span(1, 600) };
        self.pass(secs(down));
        if self.rng.chance(15) {
            self.jump();
        }
        if self.rng.chance(15) {
            self.edit();
        }
        self.attempts.clear();
        self.waiting.clear();
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
        let started = Fact::DaemonStarted { version: "1".into(), pid: 1 };
        let (engine, decision) = Engine::restore(self.now, self.lives, self.fleet.clone(), restored, started);
        self.engine = Some(engine);
        let turned = Turned { decision, at: self.now, firing: true, what: What::Booted(self.fleet.clone()) };
        self.check_decision(&turned)?;
        self.carry_out(vec![turned])
    }

    // ---- runners

    /// What attempts have to tell by now.
    fn runners(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        let mut at = 0;
        while at < self.attempts.len() {
            if matches!(self.attempts[at].stage, Stage::AtGate(..)) || self.attempts[at].at > self.now.mono {
                at += 1;
                continue;
            }
            let start = self.attempts[at].start.clone();
            let temper = self.tempers[&start.agent.id];
            let ended = |end| Input::AttemptEnded {
                run: start.run,
                attempt: start.attempt,
                outcome: Box::new(AttemptOutcome::of(end)),
            };
            let gate = temper.closes_gate > 0;
            match self.attempts[at].stage {
                _ if self.attempts[at].cancelled && self.rng.chance(90) => {
                    self.attempts.remove(at);
                    inputs.push(ended(AttemptEnd::Cancelled));
                }
                Stage::Starting if self.rng.chance(2) => {
                    self.attempts.remove(at);
                    inputs
                        .push(ended(AttemptEnd::Failed(RunError::new(ErrorKind::Spawn, "no such program"))));
                }
                Stage::Starting => {
                    let role = if gate { ProcessRole::Gate } else { ProcessRole::Body };
                    inputs.push(self.begin(at, role));
                    at += 1;
                }
                Stage::Gate if self.rng.chance(temper.closes_gate) => {
                    self.attempts.remove(at);
                    inputs.push(ended(AttemptEnd::GateClosed));
                }
                Stage::Gate => {
                    inputs.push(self.begin(at, ProcessRole::Body));
                    at += 1;
                }
                Stage::Body => {
                    self.attempts.remove(at);
                    let mut outcome = AttemptOutcome::of(self.end_of(temper));
                    let level = *self.rng.pick(&[Level::Ok, Level::Hold, Level::Warn, Level::Crit]);
                    if start.agent.id.as_str() == "anchor" {
                        let hold_for = secs(if self.rng.chance(50) { 0 } else { 4000 });
                        outcome.findings.push(Finding {
                            key: "disk".into(),
                            level,
                            title: format!("{level}"),
                            hold_for,
                        });
                    }
                    let outcome = Box::new(outcome);
                    inputs.push(Input::AttemptEnded { run: start.run, attempt: start.attempt, outcome });
                }
                Stage::AtGate(..) => unreachable!("left out above"),
            }
        }
        inputs
    }

    fn end_of(&mut self, temper: Temper) -> AttemptEnd {
        use ErrorKind::{ExitStatus, Network, Timeout, Tool, Unverified};
        if self.rng.chance(temper.fails) {
            let kind = *self.rng.pick(&[Timeout, Network, ExitStatus, Tool, Unverified]);
            AttemptEnd::Failed(RunError::new(kind, "broken"))
        } else {
            AttemptEnd::Completed
        }
    }

    fn begin(&mut self, at: usize, role: ProcessRole) -> Input {
        let ticket = self.ticket();
        self.waiting.insert(ticket);
        self.attempts[at].stage = Stage::AtGate(ticket, role);
        let Start { run, attempt, .. } = self.attempts[at].start;
        let process = Process { pid: (self.tickets % 30_000) as u32, start: self.tickets, boot: 1 };
        // some bodies have no process
        let process = (self.defect.is_some() || self.rng.chance(70)).then_some(process);
        Input::Began { run, attempt, role, process, ticket }
    }

    // ---- decide, commit, act

    fn turn(&mut self, inputs: Vec<Input>) -> Result<(), Wrong> {
        let inputs = if inputs.is_empty() { vec![Input::Tick] } else { inputs };
        let mut turned = Vec::new();
        for input in inputs {
            let what = match &input {
                Input::Tick => What::Tick,
                Input::StorageBack => What::Storage,
                Input::FleetLoaded { fleet, .. } => What::Loaded(fleet.clone()),
                Input::Command { ticket, command } => What::Command(*ticket, command.clone()),
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
            let turn = Turned { decision, at: self.now, firing, what };
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
        if self.engine.is_some() && self.rng.chance(10) {
            self.audit()?;
        }
        Ok(())
    }

    fn commit(&mut self, turn: &Turned) -> Result<Vec<RunId>, Wrong> {
        let mut refused = Vec::new();
        for entry in &turn.decision.facts {
            let breaks = self.rng.chance(2);
            match (self.defect, &entry.fact) {
                (Some(Defect::EndLost), Fact::RunEnded { .. }) if breaks => continue,
                (Some(Defect::VerdictTwice), Fact::SlotsJudged { .. }) if breaks => {
                    self.model.apply(entry, self.defect)?;
                }
                (Some(Defect::VerdictLost), Fact::SlotsJudged { verdict, .. })
                    if breaks && *verdict != Verdict::Ran =>
                {
                    continue;
                }
                (Some(Defect::RowLost), Fact::AgentSaved(_)) if breaks => continue,
                (Some(Defect::WrongCount), Fact::AgentSaved(record)) if breaks => {
                    let mut record = record.clone();
                    record.counters.errors += 1;
                    self.model.apply(&Entry { at: entry.at, fact: Fact::AgentSaved(record) }, self.defect)?;
                    continue;
                }
                _ => {}
            }
            refused.extend(self.model.apply(entry, self.defect)?);
        }
        let now = turn.at.wall;
        // what an agent missed that was changed or removed while the daemon was down can't be known:
        // nobody has its old schedule any more
        if turn.firing && !matches!(turn.what, What::Booted(_)) {
            self.spans.reached(now);
        }
        match &turn.what {
            What::Booted(fleet) => self.spans.configured(now, fleet, false),
            What::Loaded(fleet) if turn.firing => self.spans.configured(now, fleet, true),
            What::Command(ticket, command) if turn.firing => {
                self.command_done(now, *ticket, command, &turn.decision)?
            }
            _ => {}
        }
        self.spans.check_states(&self.model)?;
        Ok(refused)
    }

    /// Follows a command in the reference, and compares the answer.
    fn command_done(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        command: &Command,
        decision: &Decision,
    ) -> Result<(), Wrong> {
        let answer = decision.actions.iter().find_map(|action| match action {
            Action::Reply { ticket: to, result } if *to == ticket => Some(result),
            _ => None,
        });
        let Some(answer) = answer else { return Err("a command without an answer".into()) };
        match command {
            Command::Start(Target::One(id), _) => {
                let accepted = self.spans.start(now, id, false);
                ensure!(answer.is_ok() == accepted, "start {id} should be {accepted}: {answer:?}");
            }
            Command::Start(Target::All, _) => {
                for id in self.spans.ids() {
                    self.spans.start(now, &id, true);
                }
            }
            Command::Stop(Target::One(id), ..) => self.spans.stop(now, id),
            Command::Stop(Target::All, ..) => {
                for id in self.spans.ids() {
                    self.spans.stop(now, &id);
                }
            }
            _ => {}
        }
        if let Ok(Reply::Changed(changed)) = answer {
            let row = &self.model.agents[&changed.agent];
            ensure!(
                row.desired == changed.state,
                "{changed:?} was answered, but the row says {}",
                row.desired
            );
            ensure!(changed.changed == (changed.previous != changed.state), "{changed:?}");
        }
        Ok(())
    }

    fn act(&mut self, action: Action, refused: &HashSet<RunId>) -> Result<(), Wrong> {
        match action {
            Action::Start(start) if refused.contains(&start.run) => {}
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
            Action::Reply { .. } => {}
        }
        Ok(())
    }

    fn begin_attempt(&mut self, start: Start) -> Result<(), Wrong> {
        let (run, id) = (start.run, &start.agent.id);
        let Some(open) = self.model.is_open(run) else { return Err(format!("{run} starts without a claim")) };
        ensure!(
            open.record.attempt + 1 == start.attempt,
            "attempt {} of {run} follows on {}",
            start.attempt,
            open.record.attempt
        );
        ensure!(open.record.agent == *id && open.record.slot == start.slot, "{run} starts as another");
        for other in &self.attempts {
            ensure!(other.start.run != run, "{run} of {id} is in flight twice");
            let lock = start.agent.lock.as_ref();
            ensure!(lock.is_none() || lock != other.start.agent.lock.as_ref(), "{lock:?} has two holders");
            ensure!(
                other.start.agent.id != *id || start.agent.overlap == Overlap::Parallel,
                "{id} runs twice at a time, its overlap is {:?}",
                start.agent.overlap
            );
        }
        ensure!(
            self.attempts.len() < self.fleet.daemon.max_parallel_runs,
            "more runs than may run at a time"
        );
        let at = self.now.mono + SignedDuration::from_millis(self.rng.between(1, 300));
        self.attempts.push(Attempt { start, stage: Stage::Starting, at, cancelled: false });
        Ok(())
    }

    fn go(&mut self, ticket: Ticket, go: bool) -> Result<(), Wrong> {
        let found = self
            .attempts
            .iter_mut()
            .find(|attempt| matches!(attempt.stage, Stage::AtGate(waits, _) if waits == ticket));
        let Some(attempt) = found else { return Err("a word to nobody".into()) };
        let Stage::AtGate(_, role) = attempt.stage else { unreachable!("found above") };
        let temper = self.tempers[&attempt.start.agent.id];
        if !go {
            attempt.cancelled = true;
            attempt.at = self.now.mono;
            attempt.stage = Stage::Starting;
            return Ok(());
        }
        attempt.stage = if role == ProcessRole::Gate { Stage::Gate } else { Stage::Body };
        let longest = if role == ProcessRole::Gate { 5 } else { temper.longest };
        if !attempt.cancelled {
            attempt.at = self.now.mono + SignedDuration::from_millis(self.rng.span(5, longest * 1000));
        }
        if role == ProcessRole::Body {
            let (run, number) = (attempt.start.run, attempt.start.attempt);
            ensure!(self.witness.insert((run, number)), "attempt {number} of {run} did its work twice");
            let begun =
                self.model.is_open(run).is_some_and(|open| open.begun && open.record.attempt == number);
            ensure!(begun, "attempt {number} of {run} does its work, but nobody wrote that it began");
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

    // ---- checks

    fn check_decision(&self, turn: &Turned) -> Result<(), Wrong> {
        let (mut claims, mut events) = (HashMap::<AgentId, u64>::new(), Vec::new());
        for entry in &turn.decision.facts {
            match &entry.fact {
                Fact::SlotsJudged { verdict, cause, agent, .. } => {
                    let legal = match verdict {
                        Verdict::MissedDowntime => matches!(turn.what, What::Booted(_)),
                        Verdict::MissedSleep => self.slept,
                        Verdict::MissedClock => self.set_forward,
                        Verdict::RefusedStorage => matches!(turn.what, What::Storage),
                        Verdict::Superseded => !cause.contains("busy"),
                        _ => true,
                    };
                    ensure!(legal, "{agent}: {verdict}, {cause}: nothing of the kind happened");
                }
                Fact::RunClaimed(run) => {
                    if let Some(slot) = run.slot {
                        let engine = self.engine.as_ref().expect("the daemon is up");
                        let spec =
                            engine.agent(run.agent.as_str()).map(|agent| (agent.spec, agent.record.anchor));
                        // a reload may have changed or removed the agent
                        if let (Some((spec, anchor)), false) = (spec, matches!(turn.what, What::Loaded(_))) {
                            let late = turn.at.wall.duration_since(due_of(&spec, anchor, slot));
                            ensure!(
                                late >= SignedDuration::ZERO,
                                "{}: slot {slot} starts {late:?} early",
                                run.agent
                            );
                            ensure!(
                                run.trigger == Trigger::CatchUp || late <= secs(5),
                                "{}: slot {slot} starts {late:?} late as if it were on time",
                                run.agent
                            );
                        }
                    }
                    if run.trigger == Trigger::Event {
                        ensure!((1..=8).contains(&run.chain) && run.event.is_some(), "{run:?}");
                        *claims.entry(run.agent.clone()).or_default() += 1;
                    }
                }
                Fact::EventPassed { agent, .. } => {
                    *claims.entry(agent.clone()).or_default() += 1;
                    continue;
                }
                _ => {}
            }
            events.extend(Event::telling(entry));
        }
        if !matches!(turn.what, What::Tick | What::Other) || self.down {
            return Ok(());
        }
        // an agent that waits for events starts, or is told of, once for each of them
        let engine = self.engine.as_ref().expect("the daemon is up");
        for spec in engine.agents(|_| true).into_iter().map(|agent| agent.spec) {
            let Schedule::On(on) = &spec.schedule else { continue };
            let active = self.model.agents.get(&spec.id).is_some_and(|row| row.desired == Desired::Active);
            let changed =
                turn.decision.facts.iter().any(
                    |entry| matches!(&entry.fact, Fact::AgentChanged(change) if change.agent == spec.id),
                );
            if !active || changed {
                continue;
            }
            let wanted = events.iter().filter(|event| {
                event.kind == on.event
                    && event.agent_id.as_ref() != Some(&spec.id)
                    && (on.agent.is_none() || on.agent == event.agent_id)
            });
            let wanted = wanted.count() as u64;
            let got = claims.get(&spec.id).copied().unwrap_or(0);
            ensure!(
                wanted == got,
                "{}: {wanted} events, but {got} of them started something or were told",
                spec.id
            );
        }
        Ok(())
    }

    /// The engine and what was committed say the same.
    fn audit(&mut self) -> Result<(), Wrong> {
        let engine = self.engine.as_ref().expect("the daemon is up");
        let mut live = 0;
        for name in fleet::names() {
            let Some(agent) = engine.agent(name.as_str()) else { continue };
            let row = &self.model.agents[&name];
            ensure!(*row == agent.record, "{name} was changed, but not saved: {row:?} is {:?}", agent.record);
            live += agent.live.len();
            for run in &agent.live {
                ensure!(
                    self.model.is_open(run.run).is_some(),
                    "{name}: the store knows nothing of {}",
                    run.run
                );
                let waits = run.status == RunStatus::Queued && row.desired == Desired::Active;
                if waits && self.stopping.is_none() {
                    let since = *self.since.entry(run.run).or_insert(self.now.mono);
                    ensure!(self.now.mono - since < secs(2 * 86_400), "{name}: {} waits for ever", run.run);
                } else {
                    self.since.remove(&run.run);
                }
            }
            let periodic = matches!(row_schedule(&agent.spec), Some(true));
            if periodic && row.desired != Desired::Stopped && agent.live.is_empty() && self.stopping.is_none()
            {
                ensure!(agent.next_slot.is_some(), "{name} has no coming slot");
            }
        }
        let gone =
            self.model.open.iter().filter(|open| engine.agent(open.record.agent.as_str()).is_none()).count();
        ensure!(live + gone == self.model.open.len(), "{live} runs live, {} are open", self.model.open.len());
        ensure!(
            engine.active_runs() == self.attempts.len(),
            "{} runs are in flight, but {} attempts",
            engine.active_runs(),
            self.attempts.len()
        );
        Ok(())
    }

    /// Everything is accounted for.
    fn finish(&mut self) -> Result<Simulated, Wrong> {
        (self.crash, self.outage) = (None, None);
        while self.engine.is_none() {
            self.boot()?;
        }
        self.turn(Vec::new())?;
        if self.engine.is_some() {
            self.audit()?;
        }
        let compared = self.spans.check_ledger(&self.model)?;
        let days = (self.now.boot - self.begun.boot).as_secs_f64() / 86_400.0;
        Ok(Simulated {
            agent_years: days / 365.25 * fleet::names().len() as f64,
            slots: self.model.slots,
            compared,
            claims: self.model.claims,
            bodies: self.witness.len() as u64,
            events: self.model.events,
            lives: self.lives,
            crashes: self.crashes,
            digest: self.model.digest,
        })
    }
}

/// Whether it has a next slot for ever.
fn row_schedule(spec: &AgentSpec) -> Option<bool> {
    match spec.schedule {
        Schedule::Every(_) | Schedule::Cron(_) | Schedule::After(_) => Some(true),
        _ => None,
    }
}
