//! Tables of what the engine decides, written as what it says: one short line for each fact and
//! action, with instants in seconds since the bench began.
use super::*;
use std::fmt::Write as _;

/// The instant of the first reading of the clocks.
const T0: i64 = 1_800_000_000;

fn secs(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

fn t(n: i64) -> Timestamp {
    Timestamp::from_second(T0 + n).unwrap()
}

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn one(name: &str) -> Target {
    Target::One(id(name))
}

fn every(n: i64) -> Schedule {
    Schedule::Every(secs(n))
}

/// An agent that nothing stands against, changed by `with`.
fn agent(name: &str, schedule: Schedule, with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    let limits = Limits {
        timeout: secs(600),
        total_timeout: None,
        tool_call_timeout: secs(30),
        request_limit: 20,
        total_tokens_limit: 100_000,
        max_steps: 30,
        max_usd_per_run: None,
        usd_per_day: None,
        tokens_per_day: None,
        requests_per_day: None,
        max_output: 1 << 20,
    };
    let mut spec = AgentSpec {
        id: id(name),
        description: None,
        schedule,
        active_times: None,
        params: None,
        jitter: SignedDuration::ZERO,
        first_run: FirstRun::Now,
        catch_up: CatchUp { policy: CatchUpPolicy::Latest, max: 10, max_age: None, spread: None },
        overlap: Overlap::Skip,
        enabled: true,
        body: Body::Command(Arc::new(CommandSpec {
            argv: vec!["true".into()],
            env: BTreeMap::new(),
            cwd: "/".into(),
            default_cwd: false,
            stdin: None,
            sandbox: None,
        })),
        history: History::All,
        gate: None,
        success_when: Arc::from([]),
        limits: Arc::new(limits),
        retry: RetrySpec {
            max: 0,
            backoff: Backoff::Fixed,
            initial: secs(10),
            max_delay: secs(300),
            explicit: false,
        },
        circuit: CircuitSpec { open_after: 0, cooldown: secs(3600) },
        lock: None,
        notify: None,
        deliver: None,
        late_after: None,
        slow_after: None,
        ping: None,
        on_nodes: None,
        when_cut_off: None,
        control: None,
        accept_risk: None,
        config_hash: ConfigHash(0),
        line: 1,
    };
    with(&mut spec);
    spec
}

fn plain(name: &str, schedule: Schedule) -> AgentSpec {
    agent(name, schedule, |_| ())
}

fn fleet(specs: &[AgentSpec], parallel: usize) -> Arc<Fleet> {
    let mut fleet = Fleet::empty("/agents.toml".into());
    fleet.daemon.max_parallel_runs = parallel;
    fleet.agents = specs.iter().cloned().map(Arc::new).collect();
    for spec in &mut fleet.agents {
        let text = format!("{spec:?}");
        let hash = text.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        Arc::make_mut(spec).config_hash = ConfigHash(hash);
        fleet.hash.0 = fleet.hash.0.wrapping_mul(31).wrapping_add(hash);
    }
    fleet.agents.sort_by(|a, b| a.id.cmp(&b.id));
    Arc::new(fleet)
}

/// An engine, its clocks, what it said, and what a store would hold.
struct Bench {
    engine: Engine,
    fleet: Arc<Fleet>,
    now: Now,
    said: Vec<String>,
    agents: BTreeMap<AgentId, AgentRecord>,
    open: Vec<RunRecord>,
    incidents: BTreeMap<(AgentId, String), IncidentRecord>,
    ledger: ledger::Ledger,
    /// Attempts in flight, oldest first.
    active: Vec<(RunId, u32)>,
    approvals: Vec<ApprovalRecord>,
    /// Of the next life: a time of which the records were lost.
    lost: Option<LostRecords>,
    holds: Vec<HoldRecord>,
    backfills: Vec<BackfillRecord>,
    spent: Vec<SpentRow>,
    told: Vec<BudgetTold>,
    /// Answers to requests that asked for money, by ticket.
    granted: Vec<(u64, bool)>,
    /// What monitors heard, by agent.
    pings: Vec<(String, PingSignal)>,
    /// Why events started nobody.
    passed: Vec<String>,
    /// What people are told: subjects and bodies.
    messages: Vec<(String, String)>,
    /// Of what they are told, and of which problem.
    keys: Vec<(TellOn, Option<String>)>,
    /// Tokens and requests in the records of runs that ended.
    ended: Vec<(u64, u64)>,
    lives: u64,
    newest_run: Option<RunId>,
    /// Lives of nodes that the store knows.
    nodes: Vec<LiveNode>,
    /// Where attempts were started that are not started here, by session.
    placed: Vec<(RunId, Arc<str>)>,
}

impl Bench {
    fn new(specs: &[AgentSpec]) -> Self {
        Self::with_fleet(fleet(specs, 64))
    }

    fn with_fleet(fleet: Arc<Fleet>) -> Self {
        let now = Now { wall: t(0), boot: secs(0), mono: secs(0) };
        let (engine, decision) = Engine::restore(now, 1, fleet.clone(), Restored::default(), started());
        let mut bench = Self {
            engine,
            fleet,
            now,
            said: Vec::new(),
            agents: BTreeMap::new(),
            open: Vec::new(),
            incidents: BTreeMap::new(),
            ledger: Default::default(),
            active: Vec::new(),
            approvals: Vec::new(),
            holds: Vec::new(),
            backfills: Vec::new(),
            spent: Vec::new(),
            told: Vec::new(),
            granted: Vec::new(),
            pings: Vec::new(),
            passed: Vec::new(),
            messages: Vec::new(),
            keys: Vec::new(),
            ended: Vec::new(),
            lives: 1,
            newest_run: None,
            lost: None,
            nodes: Vec::new(),
            placed: Vec::new(),
        };
        bench.take(decision);
        bench
    }

    /// Lets time pass, from wake to wake.
    fn wait(&mut self, span: i64) -> &mut Self {
        let end = self.now.mono + secs(span);
        loop {
            let wake = self.engine.next_wake();
            let wall = wake.wall.map(|at| at.duration_since(self.now.wall).max(SignedDuration::ZERO));
            let mono = wake.mono.map(|at| (at - self.now.mono).max(SignedDuration::ZERO));
            let step = wall.into_iter().chain(mono).min().unwrap_or(SignedDuration::MAX);
            assert!(step > SignedDuration::ZERO, "something due was left lying: {wake:?} at {:?}", self.now);
            if step > end - self.now.mono {
                break self.pass(end - self.now.mono);
            }
            self.pass(step);
            self.tick();
        }
        self
    }

    fn pass(&mut self, span: SignedDuration) {
        self.now.wall += span;
        self.now.boot += span;
        self.now.mono += span;
    }

    fn sleep(&mut self, span: i64) -> &mut Self {
        self.now.wall += secs(span);
        self.now.boot += secs(span);
        self.tick()
    }

    fn jump(&mut self, span: i64) -> &mut Self {
        self.now.wall += secs(span);
        self.tick()
    }

    fn tick(&mut self) -> &mut Self {
        self.input(Input::Tick)
    }

    fn input(&mut self, input: Input) -> &mut Self {
        let decision = self.engine.decide(self.now, input);
        self.take(decision);
        self
    }

    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        let mut decision = self.engine.decide(self.now, Input::Command { ticket: Ticket(1), command });
        let at = decision.actions.iter().position(|action| matches!(action, Action::Reply { .. })).unwrap();
        let Action::Reply { result, .. } = decision.actions.remove(at) else { unreachable!() };
        self.take(decision);
        result
    }

    fn ok(&mut self, command: Command) -> &mut Self {
        self.command(command).unwrap();
        self
    }

    /// The oldest attempt in flight begins.
    fn begin(&mut self, nth: usize) -> &mut Self {
        let (run, attempt) = self.active[nth];
        let process = Some(Process { pid: 1, start: 1, boot: 1 });
        let role = ProcessRole::Body;
        self.input(Input::Began { run, attempt, role, process, ticket: Ticket(2) })
    }

    /// An attempt in flight ends.
    fn end(&mut self, nth: usize, end: AttemptEnd) -> &mut Self {
        self.end_with(nth, AttemptOutcome::of(end))
    }

    fn end_with(&mut self, nth: usize, outcome: AttemptOutcome) -> &mut Self {
        let (run, attempt) = self.active.remove(nth);
        self.input(Input::AttemptEnded { run, attempt, outcome: Box::new(outcome) })
    }

    fn complete(&mut self) -> &mut Self {
        self.begin(0).end(0, AttemptEnd::Completed)
    }

    fn fail(&mut self, kind: ErrorKind) -> &mut Self {
        self.begin(0).end(0, AttemptEnd::Failed(RunError::new(kind, "broken")))
    }

    fn find(&mut self, level: Level, hold_for: i64) -> &mut Self {
        let mut outcome = AttemptOutcome::of(AttemptEnd::Completed);
        let title = format!("the disk is {level}");
        outcome.findings =
            vec![Finding { key: "disk".into(), level, title, hold_for: secs(hold_for), by: FoundBy::Check }];
        self.begin(0).end_with(0, outcome)
    }

    fn reload(&mut self, specs: &[AgentSpec]) -> &mut Self {
        self.fleet = fleet(specs, 64);
        let fleet = self.fleet.clone();
        self.input(Input::FleetLoaded { fleet, ticket: None })
    }

    /// The daemon dies and comes back `after` seconds; only what was committed is left.
    fn crash(&mut self, after: i64) -> &mut Self {
        self.pass(secs(after));
        self.lives += 1;
        self.active.clear();
        let restored = Restored {
            agents: self.agents.values().cloned().collect(),
            open_runs: self.open.clone(),
            incidents: self.incidents.values().cloned().collect(),
            approvals: self.approvals.clone(),
            newest_run: self.newest_run,
            lost: self.lost.take(),
            holds: self.holds.clone(),
            backfills: self.backfills.clone(),
            spent: self.spent.clone(),
            told: self.told.clone(),
            nodes: self.nodes.clone(),
            ..Restored::default()
        };
        let (engine, decision) =
            Engine::restore(self.now, self.lives, self.fleet.clone(), restored, started());
        self.engine = engine;
        self.take(decision);
        self
    }

    fn state(&self, name: &str) -> AgentNow {
        self.engine.agent(name).unwrap()
    }

    /// What was said since the last time, without what is not asked for.
    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) -> &mut Self {
        let said = self.said();
        assert_eq!(said, lines, "at {}", self.rel(self.now.wall));
        self
    }

    fn quietly(&mut self) -> &mut Self {
        self.said.clear();
        self
    }

    fn rel(&self, at: Timestamp) -> String {
        let micros = at.duration_since(t(0)).as_micros();
        if micros % 1_000_000 == 0 {
            (micros / 1_000_000).to_string()
        } else {
            format!("{:.3}", micros as f64 / 1e6)
        }
    }

    fn name_of(&self, run: RunId) -> String {
        self.open.iter().find(|open| open.run == run).map_or("?".into(), |open| open.agent.to_string())
    }

    fn take(&mut self, decision: Decision) {
        for entry in decision.facts {
            self.say(&entry.fact);
            self.ledger.apply(&entry.fact);
            self.apply(entry.fact);
        }
        let mut looks = Vec::new();
        for action in decision.actions {
            match action {
                Action::LookAhead(asked) => looks = asked,
                Action::Ping { agent, signal, .. } => self.pings.push((agent.to_string(), signal)),
                Action::Start(start) => {
                    let what = if start.gate_only { "ask gate" } else { "start" };
                    let at = start.node.as_ref().map_or(String::new(), |node| format!(" at {node}"));
                    self.said.push(format!("{} {what} {}{at}", start.agent.id, start.attempt));
                    self.placed.extend(start.node.map(|node| (start.run, node)));
                    self.active.push((start.run, start.attempt));
                }
                Action::Cancel { run, kill } => {
                    let line = format!("{} {}", self.name_of(run), if kill { "kill" } else { "term" });
                    self.said.push(line);
                }
                Action::Granted { ticket, answer } => {
                    self.granted.push((ticket.0, answer.is_ok()));
                    self.said.push(match answer {
                        Ok(()) => "granted".into(),
                        Err(error) => format!("not granted: {}", error.kind),
                    });
                }
                Action::Go { go, .. } => assert!(go || self.engine.stopping || !self.active.is_empty()),
                Action::Reply { .. } | Action::Taken { .. } => {}
            }
        }
        if !looks.is_empty() {
            let answers = looks.into_iter().map(|look| self.ledger.look(look)).collect();
            self.input(Input::Ahead(answers));
        }
    }

    fn say(&mut self, fact: &Fact) {
        let line = match fact {
            Fact::SlotsJudged { agent, first, last, count, verdict, cause, extends, .. } => {
                let mut line = format!("{agent} {}", self.rel(*first));
                if count > &1 {
                    write!(line, "..{} x{count}", self.rel(*last)).unwrap();
                }
                write!(line, " {verdict}").unwrap();
                if !cause.is_empty() && !cause.starts_with("run ") {
                    // without the run that stands in the way: its id is no use here
                    write!(line, ": {}", cause.split(": run ").next().unwrap()).unwrap();
                }
                line + if *extends { " +" } else { "" }
            }
            Fact::SlotRevised { agent, slot, verdict, cause, quiet, .. } => {
                let slot = slot.map_or("no slot".into(), |slot| self.rel(slot));
                format!("{agent} {slot} is {verdict}: {cause}{}", if *quiet { " (quiet)" } else { "" })
            }
            Fact::SlotsTakenBack { agent, taken, .. } => format!(
                "{agent} {}..{} x{} taken back",
                self.rel(taken.first),
                self.rel(taken.last),
                taken.count
            ),
            Fact::EventPassed { agent, verdict, cause, .. } => {
                self.passed.push(cause.clone());
                format!("{agent} event passed: {verdict}")
            }
            Fact::RunClaimed(run) if run.trigger != Trigger::Schedule => {
                format!("{} claimed: {}", run.agent, run.trigger)
            }
            Fact::AttemptFailed { agent, attempt, error, retry_at, .. } => {
                let wait = retry_at.duration_since(self.now.wall).as_secs();
                assert!((0..=600).contains(&wait));
                format!("{agent} attempt {attempt} failed: {}", error.kind)
            }
            Fact::RunEnded { agent, status, .. } => format!("{agent} {status}"),
            Fact::AgentChanged(change) => {
                let why = change.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
                format!("{} {} -> {}{why}", change.agent, change.previous, change.desired)
            }
            Fact::CircuitOpened { agent, until, .. } => {
                format!("{agent} circuit open until {}", self.rel(*until))
            }
            Fact::CircuitClosed { agent, .. } => format!("{agent} circuit closed"),
            Fact::AgentLate { agent, .. } => format!("{agent} late"),
            Fact::RunSlow { agent, .. } => format!("{agent} slow"),
            Fact::Budget(news) => {
                let whose = news.agent.as_ref().map_or("fleet", |agent| agent.as_str());
                let word = if news.exhausted { "used up" } else { "warning" };
                format!("{whose} {} {word}", news.limit)
            }
            Fact::Talked(talk) => match &talk.said {
                Said::Charged { used, .. } => format!("{} charged {}", talk.agent, used.tokens()),
                Said::Resumed => format!("{} resumed", talk.agent),
                Said::Waits { .. } => format!("{} waits", talk.agent),
                Said::Decided { approved, .. } => format!("{} decided: {approved}", talk.agent),
                Said::Final { text } => format!("{} answer {text}", talk.agent),
                _ => return,
            },
            Fact::Remembered(_) => "remembered".into(),
            Fact::IncidentOpened(incident) => format!("{} incident {}", incident.agent, incident.severity),
            Fact::IncidentResolved(incident) => format!("{} incident over", incident.agent),
            Fact::IncidentDropped { agent, .. } => format!("{agent} incident was nothing"),
            Fact::IncidentDiagnosed { agent, key, diagnosis, .. } => {
                format!("{agent} {key}: {} found {}", diagnosis.by, diagnosis.text)
            }
            Fact::NotificationQueued { target, notice } => {
                let Notice { about, subject, body, key, .. } = &**notice;
                self.messages.push((subject.clone(), body.clone()));
                self.keys.push((*about, key.clone()));
                match body.split_once("\n\n") {
                    Some((_, found)) => format!("tell {target} {about} ({found})"),
                    None => format!("tell {target} {about}"),
                }
            }
            _ => return,
        };
        self.said.push(line);
    }

    fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::AgentSaved(record) => {
                self.agents.insert(record.agent.clone(), *record);
            }
            Fact::RunClaimed(run) => {
                assert!(self.newest_run < Some(run.run), "ids grow");
                self.newest_run = Some(run.run);
                self.open.push(*run);
            }
            Fact::BackfillBegan(backfill) => self.backfills.push(*backfill),
            Fact::BackfillMoved { id, claimed, usd } => {
                let backfill = self.backfills.iter_mut().find(|one| one.id == id).unwrap();
                (backfill.claimed, backfill.usd) = (claimed, usd);
            }
            Fact::BackfillEnded { id, .. } => self.backfills.retain(|one| one.id != id),
            Fact::ClockSet { by } => {
                for open in &mut self.open {
                    open.clock_moved += by;
                    open.not_before = open.not_before.map(|at| at + by);
                }
            }
            Fact::RunEnded { run, usage, .. } => {
                self.ended.push((usage.tokens(), usage.requests));
                self.approvals.retain(|one| one.run != run);
                self.open.retain(|open| open.run != run);
            }
            Fact::SlotRevised { run, .. } => self.open.retain(|open| open.run != run),
            Fact::RunPlaced { run, attempt, at } => {
                if let Some(open) = self.open.iter_mut().find(|open| open.run == run) {
                    (open.attempt, open.node) = (attempt, at);
                }
            }
            Fact::NodeOver { session } => self.nodes.retain(|node| node.session != session),
            Fact::ProcessStarted { run, process, .. } => {
                let open = self.open.iter_mut().find(|open| open.run == run).unwrap();
                open.processes.push(process);
            }
            Fact::Budget(news) => self.told.push(news.told()),
            Fact::AttemptStarted { run, attempt, started_at, process, .. } => {
                let open = self.open.iter_mut().find(|open| open.run == run).unwrap();
                open.status = RunStatus::Running;
                open.attempt = attempt;
                open.started_at.get_or_insert(started_at);
                open.processes.extend(process);
            }
            Fact::Talked(talk) => self.apply_talk(*talk),
            Fact::AttemptFailed { run, attempt, retry_at, .. } => {
                let open = self.open.iter_mut().find(|open| open.run == run).unwrap();
                open.status = RunStatus::Retrying;
                open.attempt = attempt;
                open.not_before = Some(retry_at);
                open.processes.clear();
            }
            Fact::IncidentSaved(incident) => {
                let key = (incident.agent.clone(), incident.key.clone());
                if incident.resolved_at.is_some() {
                    self.incidents.remove(&key);
                } else {
                    self.incidents.insert(key, *incident);
                }
            }
            Fact::IncidentDropped { agent, key } => {
                self.incidents.remove(&(agent, key));
            }
            _ => {}
        }
    }
}

impl Bench {
    fn apply_talk(&mut self, talk: Talk) {
        let mut spend = |asked: u64, day, used: &Usage| {
            self.spent.push(SpentRow { day, agent: talk.agent.clone(), used: *used });
            if let Some(open) = self.open.iter_mut().find(|open| open.run == talk.run) {
                open.used.add(used);
            }
            self.holds.retain(|hold| (hold.run, hold.n) != (talk.run, asked));
        };
        match talk.said {
            Said::Held { n, model, worst, day } => {
                self.holds.push(HoldRecord {
                    run: talk.run,
                    agent: talk.agent.clone(),
                    n,
                    model,
                    worst,
                    day,
                });
            }
            Said::Settled { asked, step, day, .. } => {
                if let Step::Answered { used, .. } | Step::Unanswered { used, .. } = *step {
                    spend(asked, day, &used);
                }
            }
            Said::Charged { asked, used, day, .. } => spend(asked, day, &used),
            Said::Waits { wanted } => {
                let open = self.open.iter_mut().find(|open| open.run == talk.run).unwrap();
                open.status = RunStatus::WaitingApproval;
                let at = self.now.wall;
                self.approvals.extend(wanted.into_iter().map(|wanted| ApprovalRecord {
                    run: talk.run,
                    agent: talk.agent.clone(),
                    wanted,
                    requested_at: at,
                }));
            }
            Said::Decided { id, .. } => self.approvals.retain(|one| one.wanted.id != id),
            _ => {}
        }
    }
}

fn started() -> Fact {
    Fact::DaemonStarted { version: "1".into(), pid: 1, down_since: None, clean: true }
}

mod active_times;
mod backfill;
mod clocks;
mod commands;
mod fairness;
mod files;
mod gauges;
mod history;
mod joins;
mod ledger;
mod money;
mod nodes;
mod own;
mod params;
mod reloads;
mod reports;
mod runs;
mod silence;
mod telling;
mod times;
