//! The loop: takes all waiting inputs, decides each, commits once, then acts.
//!
//! While one commit is on its way to the disk, inputs pile up and the next turn takes them all: that
//! is the grouped commit, and it needs no timer. When the store can't write, the loop keeps the
//! turn that it has, claims nothing more, answers questions, refuses changes, and tries again.
use super::act::Actor;
use super::clock::{self, Alarm};
use super::views;
use crate::domain::{Entry, Fact, Now, ProcessRole, RunId};
use crate::engine::{Action, Command, Decision, Engine, Input, Ticket};
use crate::protocol::{Code, RpcError};
use crate::runner::Report;
use crate::store::{Store, StoreError};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How many waiting messages share one commit.
const BATCH: usize = 1024;
/// A commit that takes longer than this is no reason to leave questions unanswered.
const SLOW_COMMIT: Duration = Duration::from_millis(250);
/// Answers of this life that are kept for mutations that are sent again.
const RECENT_ANSWERS: usize = 1024;
/// How long runs get to end after TERM, when a shutdown's grace is over.
const LAST_GRACE: Duration = Duration::from_secs(7);

/// An answer on its way to a client.
pub(super) type Answer = Result<Value, RpcError>;

/// What comes to the loop.
pub(super) enum Message {
    /// A client wants something changed.
    Command { command: Command, request_id: Option<String>, answer: oneshot::Sender<Answer> },
    /// A runner tells something.
    Report(Report),
    /// A configuration was read.
    Loaded {
        fleet: Arc<crate::domain::Fleet>,
        warnings: Vec<String>,
        answer: Option<oneshot::Sender<Answer>>,
    },
    /// A configuration was refused.
    Rejected { path: String, errors: Vec<String> },
    /// Go down.
    ShutDown { reason: String, now: bool, answer: Option<oneshot::Sender<Answer>> },
}

/// A question about the present.
pub(super) type Question = Box<dyn FnOnce(&Engine, Now) + Send>;

/// What is wrong with the daemon, for `status`; shared with the handlers.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Why nothing can be written.
    pub(super) storage: Option<String>,
    /// It is going down.
    pub(super) stopping: bool,
    /// Why the newest configuration file was refused.
    pub(super) config_errors: Vec<String>,
    /// When the configuration in force was taken up.
    pub(super) config_at: Option<jiff::Timestamp>,
}

/// Both ends of the loop's inboxes, for those who talk to it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) condition: Arc<Mutex<Condition>>,
}

impl Handle {
    /// Asks the engine something; `None` if the loop has ended.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let question: Question = Box::new(move |engine, now| {
            let _ = tell.send(question(engine, now));
        });
        self.questions.send(question).await.ok()?;
        told.await.ok()
    }
}

enum Waiter {
    Client { answer: oneshot::Sender<Answer>, request_id: Option<String>, warnings: Vec<String> },
    Runner(oneshot::Sender<()>),
    Asker(oneshot::Sender<Result<(), crate::domain::RunError>>),
}

pub(super) struct EventLoop {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) actor: Actor,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) condition: Arc<Mutex<Condition>>,
    waiters: HashMap<Ticket, Waiter>,
    tickets: u64,
    recent: HashMap<String, Answer>,
    shutdown: Option<Shutdown>,
}

/// Where a shutdown stands.
struct Shutdown {
    deadline: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Draining,
    Terminated,
    Killed,
}

/// What one turn led to.
#[derive(Default)]
struct Turn {
    facts: Vec<Entry>,
    actions: Vec<Action>,
}

impl Turn {
    fn add(&mut self, decision: Decision) {
        self.facts.extend(decision.facts);
        self.actions.extend(decision.actions);
    }
}

impl EventLoop {
    pub(super) fn new(
        engine: Engine,
        store: Store,
        actor: Actor,
        inbox: mpsc::Receiver<Message>,
        questions: mpsc::Receiver<Question>,
        condition: Arc<Mutex<Condition>>,
    ) -> Self {
        Self {
            engine,
            store,
            actor,
            inbox,
            questions,
            condition,
            waiters: HashMap::new(),
            tickets: 0,
            recent: HashMap::new(),
            shutdown: None,
        }
    }

    /// Commits and performs `first`, says so through `ready`, then runs until the daemon is told to
    /// go down and nothing is in flight any more. An error is one that does not pass.
    pub(super) async fn run(mut self, first: Decision, ready: oneshot::Sender<()>) -> Result<(), StoreError> {
        let mut turn = Turn::default();
        turn.add(first);
        self.carry_out(turn).await?;
        let _ = ready.send(());
        let mut alarm = Alarm::new();
        let mut taken = Vec::with_capacity(BATCH);
        while !self.is_down() {
            let wake = self.engine.next_wake();
            let deadline = self.shutdown.as_ref().map(|shutdown| shutdown.deadline);
            tokio::select! {
                biased;
                Some(question) = self.questions.recv() => {
                    question(&self.engine, clock::now());
                    continue;
                }
                count = self.inbox.recv_many(&mut taken, BATCH) => if count == 0 { break },
                () = alarm.until(wake) => {}
                () = until(deadline) => {}
            }
            let turn = self.take(&mut taken);
            self.carry_out(turn).await?;
        }
        Ok(())
    }

    fn is_down(&self) -> bool {
        self.shutdown.is_some() && self.engine.active_runs() == 0 && self.waiters.is_empty()
    }

    fn take(&mut self, taken: &mut Vec<Message>) -> Turn {
        let mut turn = Turn::default();
        if taken.is_empty() {
            turn.add(self.engine.decide(clock::now(), Input::Tick));
        }
        for message in taken.drain(..) {
            if let Some(input) = self.input_of(message) {
                turn.add(self.engine.decide(clock::now(), input));
            }
        }
        if let Some(input) = self.shutdown_step() {
            turn.add(self.engine.decide(clock::now(), input));
        }
        turn
    }

    fn input_of(&mut self, message: Message) -> Option<Input> {
        Some(match message {
            Message::Command { command, request_id, answer } => {
                if let Some(known) = request_id.as_ref().and_then(|id| self.recent.get(id)) {
                    let _ = answer.send(known.clone());
                    return None;
                }
                let ticket = self.wait(Waiter::Client { answer, request_id, warnings: Vec::new() });
                Input::Command { ticket, command }
            }
            Message::Loaded { fleet, warnings, answer } => {
                let mut condition = self.condition.lock().expect("no holder panics");
                condition.config_errors.clear();
                condition.config_at = Some(jiff::Timestamp::now());
                drop(condition);
                self.actor.configure(&fleet);
                let ticket =
                    answer.map(|answer| self.wait(Waiter::Client { answer, request_id: None, warnings }));
                Input::FleetLoaded { fleet, ticket }
            }
            Message::Rejected { path, errors } => {
                let mut condition = self.condition.lock().expect("no holder panics");
                if condition.config_errors == errors {
                    return None;
                }
                condition.config_errors.clone_from(&errors);
                Input::FleetRejected { path, errors }
            }
            Message::Report(report) => self.input_of_report(report),
            Message::ShutDown { reason, now, answer } => {
                if let Some(answer) = answer {
                    let _ = answer.send(Ok(Value::Object(Default::default())));
                }
                self.begin_shutdown(now);
                Input::ShutDown { reason }
            }
        })
    }

    fn input_of_report(&mut self, report: Report) -> Input {
        match report {
            Report::Spawned { run, attempt, role, process, go } => {
                let ticket = self.wait(Waiter::Runner(go));
                Input::Began { run, attempt, role, process: Some(process), ticket }
            }
            Report::Began { run, attempt, go } => {
                let ticket = self.wait(Waiter::Runner(go));
                Input::Began { run, attempt, role: ProcessRole::Body, process: None, ticket }
            }
            Report::Ended { run, attempt, outcome } => {
                self.actor.ended(run);
                Input::AttemptEnded { run, attempt, outcome }
            }
            Report::Reserve { run, attempt, n, model, worst, granted } => {
                let ticket = self.wait(Waiter::Asker(granted));
                Input::Reserve { run, attempt, n, model, worst, ticket }
            }
            Report::Settle { run, n, step, took_ms, go } => {
                let ticket = self.wait(Waiter::Runner(go));
                Input::Settle { run, n, step, took_ms, ticket }
            }
            Report::Found { run, findings } => Input::Found { run, findings },
            Report::Output { .. } | Report::Journal { .. } => unreachable!("these go straight to the store"),
        }
    }

    fn wait(&mut self, waiter: Waiter) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiters.insert(ticket, waiter);
        ticket
    }

    fn begin_shutdown(&mut self, now: bool) {
        self.condition.lock().expect("no holder panics").stopping = true;
        let grace = if now { Duration::ZERO } else { to_std(self.engine.fleet().daemon.shutdown_grace) };
        let deadline = Instant::now() + grace;
        match &mut self.shutdown {
            Some(shutdown) if now => shutdown.deadline = deadline,
            Some(_) => {}
            None => self.shutdown = Some(Shutdown { deadline, stage: Stage::Draining }),
        }
    }

    /// The next step of a shutdown whose grace is over.
    fn shutdown_step(&mut self) -> Option<Input> {
        let shutdown = self.shutdown.as_mut().filter(|shutdown| shutdown.deadline <= Instant::now())?;
        shutdown.deadline = Instant::now() + LAST_GRACE;
        let (next, kill) = match shutdown.stage {
            Stage::Draining => (Stage::Terminated, false),
            Stage::Terminated | Stage::Killed => (Stage::Killed, true),
        };
        shutdown.stage = next;
        Some(Input::EndRuns { kill })
    }

    /// Commits, then acts. What the store refuses is taken back.
    async fn carry_out(&mut self, turn: Turn) -> Result<(), StoreError> {
        let Turn { mut facts, actions } = turn;
        let answers = self.answers(&actions, &mut facts);
        let mut refused = HashSet::new();
        let mut newest = self.store.newest().borrow().0;
        let mut storage_is_back = false;
        if !facts.is_empty() {
            let last_results = results_of(&facts);
            let told: Vec<_> = facts.iter().filter_map(|entry| super::log::line_of(&entry.fact)).collect();
            let (committed, was_down) = self.commit(facts).await?;
            told.iter().for_each(super::log::say);
            refused.extend(committed.refused);
            newest = committed.newest.0;
            self.actor.completed(last_results);
            storage_is_back = was_down;
        }
        // what was held back comes first: a run must be started before anything can end it
        self.perform(actions, answers, &refused, newest);
        let mut turn = Turn::default();
        if storage_is_back {
            turn.add(self.engine.decide(clock::now(), Input::StorageBack));
        }
        for run in refused {
            tracing::error!(%run, "its slot had been claimed before; the run is given up");
            turn.add(self.engine.decide(clock::now(), Input::ClaimRefused { run }));
        }
        if !turn.facts.is_empty() || !turn.actions.is_empty() {
            Box::pin(self.carry_out(turn)).await?;
        }
        Ok(())
    }

    /// Answers to mutations that may be sent again become durable with what they answer.
    fn answers(&mut self, actions: &[Action], facts: &mut Vec<Entry>) -> HashMap<Ticket, Answer> {
        let mut answers = HashMap::new();
        for action in actions {
            let Action::Reply { ticket, result } = action else { continue };
            let Some(Waiter::Client { request_id: Some(id), .. }) = self.waiters.get(ticket) else {
                continue;
            };
            let seq = self.store.newest().borrow().0;
            let answer = views::answer(result.clone(), seq, Vec::new(), &self.engine);
            let at = clock::now().wall;
            let stored = serde_json::to_string(&views::stored(&answer)).expect("answers serialize");
            facts.push(Entry { at, fact: Fact::RequestAnswered { request_id: id.clone(), answer: stored } });
            if self.recent.len() >= RECENT_ANSWERS {
                self.recent.clear(); // the database has them all
            }
            self.recent.insert(id.clone(), answer.clone());
            answers.insert(*ticket, answer);
        }
        answers
    }

    fn perform(
        &mut self,
        actions: Vec<Action>,
        mut answers: HashMap<Ticket, Answer>,
        refused: &HashSet<RunId>,
        newest: u64,
    ) {
        for action in actions {
            match action {
                Action::Start(start) if refused.contains(&start.run) => {}
                Action::Start(start) => self.actor.start(*start),
                Action::Cancel { run, kill } => self.actor.cancel(run, kill),
                Action::Go { ticket, go } => {
                    if let (Some(Waiter::Runner(open)), true) = (self.waiters.remove(&ticket), go) {
                        let _ = open.send(());
                    }
                }
                Action::Granted { ticket, answer } => {
                    if let Some(Waiter::Asker(granted)) = self.waiters.remove(&ticket) {
                        let _ = granted.send(answer);
                    }
                }
                Action::Reply { ticket, result } => {
                    let Some(Waiter::Client { answer, warnings, .. }) = self.waiters.remove(&ticket) else {
                        continue;
                    };
                    let told = answers
                        .remove(&ticket)
                        .unwrap_or_else(|| views::answer(result, newest, warnings, &self.engine));
                    let _ = answer.send(told);
                }
            }
        }
    }

    /// Commits, for as long as it takes. True: the store could not write for a while.
    async fn commit(&mut self, facts: Vec<Entry>) -> Result<(crate::store::Committed, bool), StoreError> {
        let mut was_down = false;
        let mut pause = Duration::from_millis(200);
        loop {
            match self.while_answering(self.store.clone(), facts.clone()).await {
                Ok(committed) => {
                    if was_down {
                        tracing::warn!("the database can be written again");
                        self.condition.lock().expect("no holder panics").storage = None;
                    }
                    return Ok((committed, was_down));
                }
                Err(error) if error.is_passing() => {
                    if !was_down {
                        tracing::error!(%error, "nothing can be recorded, so nothing new is started; trying again");
                    }
                    was_down = true;
                    self.condition.lock().expect("no holder panics").storage = Some(error.to_string());
                    self.wait_degraded(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A commit; questions are answered only if it takes long, so that nobody is told what is not
    /// yet written.
    async fn while_answering(
        &mut self,
        store: Store,
        facts: Vec<Entry>,
    ) -> Result<crate::store::Committed, StoreError> {
        let commit = store.commit(facts);
        tokio::pin!(commit);
        let slow = tokio::time::sleep(SLOW_COMMIT);
        tokio::pin!(slow);
        let mut is_slow = false;
        loop {
            tokio::select! {
                biased;
                done = &mut commit => return done,
                () = &mut slow, if !is_slow => is_slow = true,
                Some(question) = self.questions.recv(), if is_slow => question(&self.engine, clock::now()),
            }
        }
    }

    /// The store can't write: questions are answered, changes are refused, the rest waits.
    async fn wait_degraded(&mut self, pause: Duration) {
        let until = tokio::time::sleep(pause);
        tokio::pin!(until);
        self.refuse_waiting_clients();
        loop {
            tokio::select! {
                () = &mut until => return,
                Some(question) = self.questions.recv() => question(&self.engine, clock::now()),
            }
        }
    }

    /// Clients whose change is decided but not written are told so, and not left waiting.
    fn refuse_waiting_clients(&mut self) {
        let problem = self.condition.lock().expect("no holder panics").storage.clone().unwrap_or_default();
        let waiting: Vec<Ticket> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| matches!(waiter, Waiter::Client { .. }))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in waiting {
            if let Some(Waiter::Client { answer, .. }) = self.waiters.remove(&ticket) {
                let error = RpcError::new(Code::Refused, format!("nothing can be recorded: {problem}")).hint(
                    "the change is kept and recorded as soon as the database can be written; free some space",
                );
                let _ = answer.send(Err(error));
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn to_std(span: jiff::SignedDuration) -> Duration {
    Duration::try_from(span).unwrap_or(Duration::ZERO)
}

/// Results of runs that completed, for `BGAGENT_LAST_RESULT` of the next.
fn results_of(facts: &[Entry]) -> Vec<(crate::domain::AgentId, Option<Arc<str>>)> {
    facts
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::RunEnded { agent, status: crate::domain::RunStatus::Completed, result, .. } => {
                Some((agent.clone(), result.as_deref().map(Arc::from)))
            }
            _ => None,
        })
        .collect()
}
