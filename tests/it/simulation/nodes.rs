//! Nodes that run what the leader places there, in simulated hours: the real engine, and a model of the mailboxes, of the
//! loop's turns and of nodes. Nodes die, stand still beyond their lease and come back; leaders die between any two steps, or
//! stand still and try to go on. What must hold: an attempt starts once, what was reported is decided, and in peace all ends.
use crate::rng::Rng;
use bgagent::config::{self, Context};
use bgagent::domain::*;
use bgagent::engine::{Action, Decision, Engine, Input, Restored, Ticket};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

const FLEET: &str = r#"
[store]
url = "postgres://me@localhost/d?sslmode=disable"
durability = "single"
[defaults]
circuit_breaker = { open_after = 0 }
[agents.a]
where = { gpu = "h100" }
interval = 20
command = "true"
[agents.b]
where = { gpu = "h100" }
interval = 45
overlap = "parallel"
retry = { max = 1, initial = 1 }
command = "true"
[agents.c]
where = { gpu = "h100", disk = "big" }
interval = 30
overlap = "queue"
lock = "l"
command = "true"
[agents.d]
where = { disk = "big" }
interval = 70
lock = "l"
command = "true"
"#;

/// After so long a node that was not heard of is over.
const LEASE: i64 = 25;
/// So long a node trusts that it is not.
const TRUSTED: i64 = 14;

/// Deliberate defects of the mailboxes and of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// A node whose life is over can still report.
    NoFence,
    /// The engine hears that a node is lost before what it had reported is read.
    NoDrain,
    /// A program begins without the leader's word.
    NoGate,
    /// Reports are not removed with what is decided of them, but before it, so that a crash loses them.
    RemovedBefore,
    /// Orders are handed out after the commit, so that a crash loses them.
    OrderedAfter,
}

const ALL_BROKEN: [Broken; 5] =
    [Broken::NoFence, Broken::NoDrain, Broken::NoGate, Broken::RemovedBefore, Broken::OrderedAfter];

#[derive(Clone, Debug)]
enum Order {
    Start { run: RunId, attempt: u32 },
    Go { n: u64, go: bool },
}

#[derive(Clone, Debug)]
enum Said {
    Spawned {
        n: u64,
    },
    /// It did its work, or not.
    Ended {
        done: bool,
    },
}

#[derive(Clone, Debug)]
struct Report {
    id: u64,
    session: Arc<str>,
    run: RunId,
    attempt: u32,
    said: Said,
}

struct Row {
    node: LiveNode,
    seen: i64,
    over: bool,
}

/// What the database holds.
#[derive(Default)]
struct Tables {
    epoch: u64,
    agents: BTreeMap<AgentId, AgentRecord>,
    open: BTreeMap<RunId, RunRecord>,
    newest_run: Option<RunId>,
    workers: Vec<Row>,
    orders: Vec<(u64, Arc<str>, Order)>,
    reports: Vec<Report>,
    numbers: u64,
    /// How runs ended, with the last attempt.
    ended: BTreeMap<RunId, (RunStatus, u32)>,
}

impl Tables {
    fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::AgentSaved(record) => drop(self.agents.insert(record.agent.clone(), *record)),
            Fact::RunClaimed(run) => {
                self.newest_run = self.newest_run.max(Some(run.run));
                self.open.insert(run.run, *run);
            }
            Fact::RunPlaced { run, attempt, at } => {
                if let Some(open) = self.open.get_mut(&run) {
                    (open.attempt, open.node) = (attempt, at);
                }
            }
            Fact::AttemptStarted { run, attempt, started_at, process, .. } => {
                let open = self.open.get_mut(&run).expect("an open run");
                (open.status, open.attempt, open.not_before) = (RunStatus::Running, attempt, None);
                open.started_at.get_or_insert(started_at);
                open.processes.extend(process);
            }
            Fact::AttemptFailed { run, attempt, retry_at, .. } => {
                let open = self.open.get_mut(&run).expect("an open run");
                (open.status, open.attempt, open.not_before) = (RunStatus::Retrying, attempt, Some(retry_at));
                open.processes.clear();
            }
            Fact::RunEnded { run, status, attempt, .. } => {
                self.open.remove(&run);
                self.ended.insert(run, (status, attempt));
            }
            Fact::SlotRevised { run, .. } => drop(self.open.remove(&run)),
            Fact::NodeOver { session } => {
                self.workers.retain(|row| row.node.session != session);
                self.orders.retain(|(_, of, _)| *of != session);
                self.reports.retain(|report| report.session != session);
            }
            _ => {}
        }
    }

    fn restored(&self) -> Restored {
        let nodes = self.workers.iter().map(|row| LiveNode { takes: !row.over, ..row.node.clone() });
        Restored {
            agents: self.agents.values().cloned().collect(),
            open_runs: self.open.values().cloned().collect(),
            newest_run: self.newest_run,
            nodes: nodes.collect(),
            ..Restored::default()
        }
    }
}

/// Where the leader's look at the mailbox stands.
enum Look {
    /// It begins anew.
    Begins,
    /// It knows who is there and who is over, and reads what they said.
    Reads(Vec<LiveNode>, Vec<Arc<str>>),
}

struct Leader {
    engine: Engine,
    epoch: u64,
    tickets: HashMap<u64, (Arc<str>, u64)>,
    given: u64,
    look: Look,
    told: Option<(Vec<LiveNode>, Vec<Arc<str>>)>,
}

enum Phase {
    /// Its process waits at its gate.
    AtGate { n: u64 },
    /// It has begun.
    Runs { until: i64 },
}

struct Node {
    name: &'static str,
    labels: Labels,
    session: Option<Arc<str>>,
    /// It stands still until then.
    still: i64,
    trusted: i64,
    runs: BTreeMap<(RunId, u32), Phase>,
    unsent: VecDeque<(RunId, u32, Said)>,
    said: u64,
    after: u64,
}

struct World {
    rng: Rng,
    broken: Option<Broken>,
    fleet: Arc<Fleet>,
    now: Now,
    began: Timestamp,
    tables: Tables,
    leader: Option<Leader>,
    /// One that stood still while another one took the lead.
    old: Option<Leader>,
    nodes: Vec<Node>,
    sessions: u64,
    /// What really began.
    witness: BTreeSet<(RunId, u32)>,
    /// Ends that a node has in the mailbox.
    reported: BTreeSet<(RunId, u32)>,
    /// What is wrong.
    wrong: Vec<String>,
    faults: bool,
}

impl World {
    fn new(seed: u64, broken: Option<Broken>) -> Self {
        let began: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        let loaded = config::parse(FLEET.to_owned(), "/agents.toml".as_ref(), &Context::system(began));
        let fleet = loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet;
        let labels = |all: &[(&str, &str)]| -> Labels {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let node = |name, labels| Node {
            name,
            labels,
            session: None,
            still: 0,
            trusted: 0,
            runs: BTreeMap::new(),
            unsent: VecDeque::new(),
            said: 0,
            after: 0,
        };
        let gpu = ("gpu", "h100");
        let disk = ("disk", "big");
        Self {
            rng: Rng::new(seed),
            broken,
            fleet: Arc::new(fleet),
            now: Now { wall: began, boot: SignedDuration::ZERO, mono: SignedDuration::ZERO },
            began,
            tables: Tables::default(),
            leader: None,
            old: None,
            nodes: vec![
                node("x", labels(&[gpu])),
                node("y", labels(&[gpu, disk])),
                node("z", labels(&[disk, gpu])),
            ],
            sessions: 0,
            witness: BTreeSet::new(),
            reported: BTreeSet::new(),
            wrong: Vec::new(),
            faults: true,
        }
    }

    fn secs(&self) -> i64 {
        self.now.wall.duration_since(self.began).as_secs()
    }

    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    fn pass(&mut self, millis: i64) {
        let span = SignedDuration::from_millis(millis);
        self.now.wall += span;
        self.now.boot += span;
        self.now.mono += span;
    }

    /// A daemon takes the lead.
    fn lead(&mut self) {
        self.tables.epoch += 1;
        let started = Fact::DaemonStarted { version: "1".into(), pid: 1, down_since: None, clean: true };
        let (engine, first) =
            Engine::restore(self.now, self.tables.epoch, self.fleet.clone(), self.tables.restored(), started);
        let mut leader = Leader {
            engine,
            epoch: self.tables.epoch,
            tickets: HashMap::new(),
            given: 0,
            look: Look::Begins,
            told: None,
        };
        if self.carry_out(&mut leader, vec![first], &[]) {
            self.leader = Some(leader);
        }
    }

    /// A turn: all of it is written, or nothing. False: the leader is one no more.
    fn carry_out(&mut self, leader: &mut Leader, decisions: Vec<Decision>, taken: &[u64]) -> bool {
        let dies = self.faults && self.rng.chance(1);
        let dies_first = self.rng.chance(50);
        if self.is(Broken::RemovedBefore) {
            self.tables.reports.retain(|report| !taken.contains(&report.id));
        }
        // fenced, or dead before it is written
        if leader.epoch != self.tables.epoch || dies && dies_first {
            return false;
        }
        self.tables.reports.retain(|report| !taken.contains(&report.id));
        let mut orders = Vec::new();
        for decision in decisions {
            for action in decision.actions {
                match action {
                    Action::Start(start) => {
                        let session = start.node.clone().expect("all agents want a node");
                        orders.push((session, Order::Start { run: start.run, attempt: start.attempt }));
                    }
                    Action::Go { ticket, go } => {
                        let (session, n) = leader.tickets.remove(&ticket.0).expect("a node waits");
                        orders.push((session, Order::Go { n, go }));
                    }
                    _ => {}
                }
            }
            decision.facts.into_iter().for_each(|entry| self.tables.apply(entry.fact));
        }
        for row in self.tables.workers.iter().filter(|row| !row.over) {
            let is_there = |run: &&RunRecord| {
                run.node.as_ref().is_some_and(|at| at.session.as_ref() == Some(&row.node.session))
            };
            let runs = self.tables.open.values().filter(is_there).count();
            if runs > row.node.places {
                self.wrong
                    .push(format!("{} has {runs} runs and takes {}", row.node.session, row.node.places));
            }
        }
        if dies && self.is(Broken::OrderedAfter) {
            return false;
        }
        for (session, order) in orders {
            self.tables.numbers += 1;
            self.tables.orders.push((self.tables.numbers, session, order));
        }
        !dies
    }

    fn step_of_leader(&mut self, mut leader: Leader) -> Option<Leader> {
        let now = self.now;
        if self.rng.chance(40) {
            let tick = leader.engine.decide(now, Input::Tick);
            let goes_on = self.carry_out(&mut leader, vec![tick], &[]);
            return goes_on.then_some(leader);
        }
        match std::mem::replace(&mut leader.look, Look::Begins) {
            Look::Begins => {
                let secs = self.secs();
                for row in &mut self.tables.workers {
                    row.over |= row.seen < secs - LEASE;
                }
                let over = self.tables.workers.iter().filter(|row| row.over);
                let over = over.map(|row| row.node.session.clone()).collect();
                let live = self.tables.workers.iter().filter(|row| !row.over);
                leader.look = Look::Reads(live.map(|row| row.node.clone()).collect(), over);
                Some(leader)
            }
            Look::Reads(live, over) => {
                let most = 1 + self.rng.below(4);
                let reports: Vec<Report> = self.tables.reports.iter().take(most).cloned().collect();
                let is_known = leader.told.as_ref().is_some_and(|told| *told == (live.clone(), over.clone()));
                if !reports.is_empty() && (!self.is(Broken::NoDrain) || is_known) {
                    leader.look = Look::Reads(live, over);
                    return self.decide_reports(leader, reports);
                }
                if is_known {
                    return Some(leader);
                }
                let told = (live.clone(), over.clone());
                let decision = leader.engine.decide(now, Input::Nodes { live, over });
                leader.told = Some(told);
                let goes_on = self.carry_out(&mut leader, vec![decision], &[]);
                goes_on.then_some(leader)
            }
        }
    }

    fn decide_reports(&mut self, mut leader: Leader, reports: Vec<Report>) -> Option<Leader> {
        let mut decisions = Vec::new();
        let ids: Vec<u64> = reports.iter().map(|report| report.id).collect();
        for Report { session, run, attempt, said, .. } in reports {
            let has = leader.engine.session_of(run).is_some_and(|has| *has == session)
                && leader.engine.run(run).is_some_and(|record| record.attempt == attempt);
            leader.given += 1;
            let ticket = leader.given;
            match said {
                Said::Spawned { n } => {
                    leader.tickets.insert(ticket, (session, n));
                    if has {
                        let process = Some(Process { pid: 1, start: 1, boot: 1 });
                        let (role, ticket) = (ProcessRole::Body, Ticket(ticket));
                        let began = Input::Began { run, attempt, role, process, ticket };
                        decisions.push(leader.engine.decide(self.now, began));
                    } else {
                        let actions = vec![Action::Go { ticket: Ticket(ticket), go: false }];
                        decisions.push(Decision { facts: Vec::new(), actions });
                    }
                }
                Said::Ended { done } if has => {
                    let end = if done { AttemptEnd::Completed } else { AttemptEnd::Cancelled };
                    let outcome = Box::new(AttemptOutcome::of(end));
                    let ended = Input::AttemptEnded { run, attempt, outcome };
                    decisions.push(leader.engine.decide(self.now, ended));
                }
                Said::Ended { .. } => {}
            }
        }
        let goes_on = self.carry_out(&mut leader, decisions, &ids);
        goes_on.then_some(leader)
    }

    fn step_of_node(&mut self, at: usize) {
        let secs = self.secs();
        if self.nodes[at].still > secs {
            return;
        }
        let Some(session) = self.nodes[at].session.clone() else { return self.begin(at) };
        match self.rng.below(3) {
            0 => self.hand_over(at, &session),
            1 => self.take_orders(at, &session),
            _ => {
                let node = &mut self.nodes[at];
                // cut off, it ends what it has
                let is_cut_off = node.trusted <= secs;
                let ends =
                    |phase: &Phase| matches!(phase, Phase::Runs { until } if *until <= secs || is_cut_off);
                let ended: Vec<(RunId, u32)> =
                    node.runs.iter().filter(|(_, phase)| ends(phase)).map(|(key, _)| *key).collect();
                for (run, attempt) in ended {
                    node.runs.remove(&(run, attempt));
                    node.unsent.push_back((run, attempt, Said::Ended { done: !is_cut_off }));
                }
            }
        }
    }

    fn begin(&mut self, at: usize) {
        self.sessions += 1;
        let secs = self.secs();
        let node = &mut self.nodes[at];
        let session: Arc<str> = format!("{}{}", node.name, self.sessions).into();
        let live = LiveNode {
            name: node.name.into(),
            session: session.clone(),
            labels: node.labels.clone(),
            places: 1 + self.sessions as usize % 3,
            takes: true,
        };
        let of_node = self.tables.workers.iter_mut().filter(|row| &*row.node.name == node.name);
        of_node.for_each(|row| row.over = true);
        self.tables.workers.push(Row { node: live, seen: secs, over: false });
        node.runs.clear();
        node.unsent.clear();
        (node.session, node.trusted, node.after) = (Some(session), secs + TRUSTED, 0);
    }

    fn hand_over(&mut self, at: usize, session: &Arc<str>) {
        let secs = self.secs();
        let fences = !self.is(Broken::NoFence);
        let node = &mut self.nodes[at];
        let row = self.tables.workers.iter_mut().find(|row| row.node.session == *session);
        let is_over = row.as_ref().is_none_or(|row| row.over);
        if is_over && fences {
            node.session = None;
            node.runs.clear();
            node.unsent.clear();
            return;
        }
        if let Some(row) = row {
            row.seen = secs;
        }
        node.trusted = secs + TRUSTED;
        for (run, attempt, said) in node.unsent.drain(..) {
            if matches!(said, Said::Ended { done: true }) {
                self.reported.insert((run, attempt));
            }
            self.tables.numbers += 1;
            let (id, session) = (self.tables.numbers, session.clone());
            self.tables.reports.push(Report { id, session, run, attempt, said });
        }
    }

    fn take_orders(&mut self, at: usize, session: &Arc<str>) {
        let secs = self.secs();
        let gates = !self.is(Broken::NoGate);
        let node = &mut self.nodes[at];
        let orders: Vec<(u64, Order)> = self
            .tables
            .orders
            .iter()
            .filter(|(id, of, _)| of == session && *id > node.after)
            .map(|(id, _, order)| (*id, order.clone()))
            .collect();
        for (id, order) in orders {
            node.after = id;
            match order {
                Order::Start { run, attempt } => {
                    node.said += 1;
                    let n = node.said;
                    node.unsent.push_back((run, attempt, Said::Spawned { n }));
                    node.runs.insert((run, attempt), Phase::AtGate { n });
                    if !gates {
                        let until = secs + self.rng.span(1, 60);
                        node.runs.insert((run, attempt), Phase::Runs { until });
                        if !self.witness.insert((run, attempt)) {
                            self.wrong.push(format!("{} attempt {attempt} started twice", run.short()));
                        }
                    }
                }
                Order::Go { n, go } => {
                    let waiting = node
                        .runs
                        .iter()
                        .find(|(_, phase)| matches!(phase, Phase::AtGate { n: other } if *other == n))
                        .map(|(key, _)| *key);
                    let Some((run, attempt)) = waiting else { continue };
                    if !go || node.trusted <= secs {
                        node.runs.remove(&(run, attempt));
                        node.unsent.push_back((run, attempt, Said::Ended { done: false }));
                        continue;
                    }
                    let until = secs + self.rng.span(1, 60);
                    node.runs.insert((run, attempt), Phase::Runs { until });
                    if !self.witness.insert((run, attempt)) {
                        self.wrong.push(format!("{} attempt {attempt} started twice", run.short()));
                    }
                }
            }
        }
        let after = node.after;
        self.tables.orders.retain(|(id, of, _)| of != session || *id > after);
    }

    fn fault(&mut self) {
        let at = self.rng.below(self.nodes.len());
        match self.rng.below(5) {
            // a node dies, with all that it had
            0 => {
                let still = self.secs() + self.rng.span(1, 60);
                let node = &mut self.nodes[at];
                (node.session, node.still) = (None, still);
                node.runs.clear();
                node.unsent.clear();
            }
            // a node stands still, for less or for more than its lease
            1 | 2 => self.nodes[at].still = self.secs() + self.rng.span(2, 90),
            3 => self.leader = None,
            _ => {
                // another one leads, and the old one does not know
                self.old = self.leader.take();
            }
        }
    }

    fn step(&mut self) {
        let millis = self.rng.span(5, 3000);
        self.pass(millis);
        if self.faults && self.rng.chance(2) {
            self.fault();
        }
        match self.leader.take() {
            Some(leader) => self.leader = self.step_of_leader(leader),
            None if self.rng.chance(30) => self.lead(),
            None => {}
        }
        if let Some(old) = self.old.take() {
            self.old = self.step_of_leader(old);
        }
        for at in 0..self.nodes.len() {
            self.step_of_node(at);
        }
    }

    /// What is wrong after all ended in peace.
    fn is_live(&self, session: &str) -> bool {
        self.tables.workers.iter().any(|row| &*row.node.session == session && !row.over)
    }

    fn check(&mut self) {
        for (run, attempt) in &self.reported {
            match self.tables.ended.get(run) {
                Some((RunStatus::Completed, ended)) if ended == attempt => {}
                // it is being read: of a life that is over all was read
                _ if self
                    .tables
                    .reports
                    .iter()
                    .any(|report| report.run == *run && self.is_live(&report.session)) => {}
                other => {
                    self.wrong.push(format!(
                        "{} attempt {attempt} was reported as completed, and is {other:?}",
                        run.short()
                    ));
                }
            }
        }
        for (run, (status, attempt)) in &self.tables.ended {
            if *status == RunStatus::Completed && !self.witness.contains(&(*run, *attempt)) {
                self.wrong.push(format!("{} attempt {attempt} completed and never began", run.short()));
            }
        }
        let secs = self.secs();
        for run in self.tables.open.values() {
            let age = self.now.wall.duration_since(run.queued_at).as_secs();
            if age > 600 && secs > 900 {
                self.wrong.push(format!("{} of {} has no end after {age} s", run.run.short(), run.agent));
            }
        }
        for (node, left) in [("orders", self.tables.orders.len()), ("reports", self.tables.reports.len())] {
            if left > 200 {
                self.wrong.push(format!("{left} {node} are left"));
            }
        }
    }
}

/// Some hours with faults, then half an hour in peace. What is wrong after it.
fn simulate(seed: u64, broken: Option<Broken>) -> (Vec<String>, usize) {
    let mut world = World::new(seed, broken);
    for _ in 0..6000 {
        world.step();
        if !world.wrong.is_empty() {
            return (world.wrong, world.witness.len());
        }
    }
    world.faults = false;
    world.old = None;
    let end = world.secs() + 1800;
    while world.secs() < end {
        world.step();
    }
    world.check();
    (world.wrong, world.witness.len())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn through_nodes_that_die_and_stand_still_each_attempt_starts_once_and_what_is_reported_is_decided() {
    let first = number("BGAGENT_SIM_SEED");
    let cases = if first.is_some() { 1 } else { number("BGAGENT_SIM_CASES").unwrap_or(12) };
    let mut starts = 0;
    for seed in first.unwrap_or(1)..first.unwrap_or(1) + cases {
        let (wrong, started) = simulate(seed, None);
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
        starts += started;
    }
    println!("{cases} seeds, {starts} starts");
    assert!(starts > 100, "{starts}");
}

/// Without a fence, a drain, a gate, or one transaction for what belongs together, something is lost or doubled, and that is
/// seen.
#[test]
fn each_part_of_the_protocol_is_needed() {
    for broken in ALL_BROKEN {
        let found = (1..60).find(|seed| !simulate(*seed, Some(broken)).0.is_empty());
        assert!(found.is_some(), "nothing is wrong with {broken:?}");
    }
}
