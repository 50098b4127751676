//! The event loop: takes all waiting inputs, decides each, commits once, then acts.
//!
//! Inputs that arrive during a commit are queued, and the next turn takes them all: this grouped
//! commit needs no timer. When the store can't write, the loop keeps its current turn, makes no
//! more claims, answers questions, refuses changes, and retries.
use crate::config::RejectedFor;
use crate::daemon::event_loop::looks::Looks;
use crate::daemon::event_loop::patience::{LAST_GRACE, until};
use crate::daemon::inbox::{Answer, ChangeAsked, Condition, Message, Question};
mod cut_off;
mod looking;
mod looks;
mod patience;
mod placed;
mod stopped;
mod writing;

use super::act::Actor;
use super::clock::{self, Alarm};
use super::inbox::RunPing;
use super::views;
use crate::domain::{Entry, Fact, MemoryChange, ProcessRole, RunId};
use crate::engine::{Action, Decision, Engine, Input, Reservation, Ticket};
use crate::runner::Report;
use crate::store::{Store, StoreError, Workers};
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Maximum number of messages per commit.
const BATCH: usize = 1024;
/// Maximum number of answers cached in this life for repeated requests.
const MAX_RECENT_ANSWERS: usize = 1024;

enum Waiter {
    Client {
        answer: oneshot::Sender<Answer>,
        asked: ChangeAsked,
        warnings: Vec<String>,
    },
    Runner(oneshot::Sender<()>),
    Asker(oneshot::Sender<Result<(), crate::domain::RunError>>),
    Arrivals(oneshot::Sender<usize>),
    /// A node that waits for an order in answer to its report.
    Node {
        session: Arc<str>,
        n: u64,
    },
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
    recent: Recent,
    /// Mutations that are decided but not yet recorded, by request id, with the clients that
    /// repeated them in the meantime.
    pending: HashMap<String, Vec<oneshot::Sender<Answer>>>,
    /// Messages that arrived during a commit: the next turn begins with them.
    kept: VecDeque<Message>,
    /// Ledger lookups that the engine needs since the clock was set back.
    looks: Looks,
    shutdown: Option<Shutdown>,
    cut_off: stopped::CutOff,
    /// Runs in flight at other nodes, each with the session of its node.
    placed: HashMap<RunId, Arc<str>>,
    /// Whether the next commit is made even if there is nothing to record.
    asks_lead: bool,
}

/// Cached answers of this life for repeated requests, checked before the database. The oldest are evicted.
#[derive(Default)]
struct Recent {
    answers: HashMap<String, Answer>,
    order: VecDeque<String>,
}

impl Recent {
    fn keep(&mut self, id: String, answer: Answer) {
        if self.answers.insert(id.clone(), answer).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_RECENT_ANSWERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest); // the database has it
        }
    }
}

/// The state of a shutdown.
struct Shutdown {
    began: Instant,
    deadline: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Draining,
    Terminated,
    Killed,
}

/// The result of one turn.
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
        (inbox, questions): (mpsc::Receiver<Message>, mpsc::Receiver<Question>),
        condition: Arc<Mutex<Condition>>,
        placed: HashMap<RunId, Arc<str>>,
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
            recent: Recent::default(),
            pending: HashMap::new(),
            kept: VecDeque::new(),
            looks: Looks::default(),
            shutdown: None,
            cut_off: stopped::CutOff::default(),
            placed,
            asks_lead: false,
        }
    }

    /// Commits and performs `first`, signals `ready`, then runs until the daemon is ordered to shut
    /// down and nothing is in flight. An error is a permanent one.
    pub(super) async fn run(mut self, first: Decision, ready: oneshot::Sender<()>) -> Result<(), StoreError> {
        let ended = self.run_turns(first, ready).await;
        if ended.is_err() && !self.actor.is_idle() {
            self.abandon().await;
        }
        ended
    }

    async fn run_turns(&mut self, first: Decision, ready: oneshot::Sender<()>) -> Result<(), StoreError> {
        let mut turn = Turn::default();
        turn.add(first);
        self.carry_out(turn).await?;
        self.look_ahead().await?;
        let _ = ready.send(());
        let mut alarm = Alarm::new();
        let mut taken = Vec::with_capacity(BATCH);
        while !self.is_down() {
            let wake = self.engine.next_wake();
            let deadline = self.shutdown.as_ref().map(|shutdown| shutdown.deadline);
            tokio::select! {
                biased;
                () = std::future::ready(()), if !self.kept.is_empty() => {}
                Some(question) = self.questions.recv() => {
                    question(&self.engine, clock::now());
                    continue;
                }
                count = self.inbox.recv_many(&mut taken, BATCH) => if count == 0 { break },
                () = alarm.until(wake) => {}
                () = until(self.looks.again()) => {}
                () = until(deadline) => {}
            }
            let turn = self.take(&mut taken);
            self.carry_out(turn).await?;
            self.look_ahead().await?;
        }
        Ok(())
    }

    fn is_down(&self) -> bool {
        self.shutdown.is_some()
            && self.engine.active_here() == 0
            && self.waiters.is_empty()
            && self.kept.is_empty()
    }

    fn take(&mut self, taken: &mut Vec<Message>) -> Turn {
        let mut turn = Turn::default();
        if taken.is_empty() && self.kept.is_empty() {
            turn.add(self.engine.decide(clock::now(), Input::Tick));
        }
        for message in std::mem::take(&mut self.kept).into_iter().chain(taken.drain(..)) {
            if let Message::Reported { reports, done } = message {
                self.take_reports(&mut turn, reports, done);
            } else if let Some(input) = self.input_of(message) {
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
            Message::Command { command, asked, answer } => {
                if let Some(id) = &asked.request_id {
                    if let Some(known) = self.recent.answers.get(id) {
                        let _ = answer.send(known.clone());
                        return None;
                    }
                    if let Some(others) = self.pending.get_mut(id) {
                        others.push(answer);
                        return None;
                    }
                    self.pending.insert(id.clone(), Vec::new());
                }
                let ticket = self.wait(Waiter::Client { answer, asked, warnings: Vec::new() });
                Input::Command { ticket, command }
            }
            Message::Loaded { fleet, warnings, asked, answer } => {
                let mut condition = self.condition.lock().expect("no holder panics");
                condition.config_errors.clear();
                condition.config_missing = false;
                condition.config_waits = false;
                condition.config_at = Some(crate::clock::wall());
                drop(condition);
                self.actor.configure(&fleet);
                let ticket = answer.map(|answer| self.wait(Waiter::Client { answer, asked, warnings }));
                Input::FleetLoaded { fleet, ticket }
            }
            Message::Rejected { path, errors, why } => {
                let mut condition = self.condition.lock().expect("no holder panics");
                condition.config_missing = why == RejectedFor::Missing;
                condition.config_waits = why == RejectedFor::Trust;
                if condition.config_errors == errors {
                    return None;
                }
                condition.config_errors.clone_from(&errors);
                Input::FleetRejected { path, errors }
            }
            Message::Report(report) => self.input_of_report(report),
            Message::FilesArrived { agent, by, files, answer } => {
                let ticket = self.wait(Waiter::Arrivals(answer));
                Input::FilesArrived { agent, by, files, ticket }
            }
            Message::Delivered { delivery, answer } => {
                let ticket = self.wait(Waiter::Arrivals(answer));
                Input::Delivered { delivery, ticket }
            }
            Message::EventsPolled { agent, by, polled, answer } => {
                let ticket = self.wait(Waiter::Arrivals(answer));
                Input::EventsPolled { agent, by, polled, ticket }
            }
            Message::Noticed(finding) => Input::Noticed(finding),
            Message::Nodes(Workers { live, over }) => Input::Nodes { live, over },
            Message::Reported { .. } => unreachable!("these are taken by the turn"),
            Message::CutOff => {
                self.stop_programs();
                return None;
            }
            Message::AskLead => {
                self.asks_lead = true;
                return None;
            }
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
            Report::Ended { run, attempt, mut outcome } => {
                self.actor.ended(run);
                let asked = self.engine.is_cancelled(run);
                self.cut_off.explain(run, asked, &mut outcome);
                Input::AttemptEnded { run, attempt, outcome }
            }
            Report::Reserve { run, attempt, n, model, worst, granted } => {
                let ticket = self.wait(Waiter::Asker(granted));
                Input::Reserve(Reservation { run, attempt, n, model, worst, ticket })
            }
            Report::Settle { run, n, asked, step, took_ms, go } => {
                let ticket = self.wait(Waiter::Runner(go));
                Input::Settle { run, n, asked, step, took_ms, ticket }
            }
            Report::Found { run, findings, go } => {
                let ticket = self.wait(Waiter::Runner(go));
                Input::Found { run, findings, ticket }
            }
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
        let grace = if now {
            Duration::ZERO
        } else {
            crate::clock::to_std(self.engine.fleet().daemon.shutdown_grace)
        };
        let deadline = Instant::now() + grace;
        match &mut self.shutdown {
            Some(shutdown) if now => shutdown.deadline = deadline,
            Some(_) => {}
            None => {
                self.shutdown = Some(Shutdown { began: Instant::now(), deadline, stage: Stage::Draining });
            }
        }
    }

    /// Returns the next step of a shutdown whose grace period is over.
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

    /// Commits, then acts. Claims that the store refuses are withdrawn.
    async fn carry_out(&mut self, turn: Turn) -> Result<(), StoreError> {
        let Turn { mut facts, actions } = turn;
        let answers = self.answers(&actions, &mut facts);
        facts.extend(self.orders(&actions));
        let mut refused = HashSet::new();
        let mut newest = self.store.newest().borrow().0;
        let mut storage_is_back = false;
        if !facts.is_empty() || std::mem::take(&mut self.asks_lead) {
            let last_results = results_of(&facts);
            let over = ended_runs(&facts);
            let log_lines: Vec<_> =
                facts.iter().filter_map(|entry| super::log::line_of(&entry.fact)).collect();
            let counted = self.actor.counting.read(&facts);
            let (committed, was_down) = self.commit(facts).await?;
            self.actor.counting.count(counted);
            log_lines.iter().for_each(super::log::say);
            refused.extend(committed.refused);
            newest = committed.last.0;
            self.actor.completed(last_results);
            self.actor.remove_folders_of(over);
            storage_is_back = was_down;
        }
        let acts =
            |action: &Action| matches!(action, Action::Start(_) | Action::Go { .. } | Action::Granted { .. });
        // the process or the machine was suspended since the last commit, or there was nothing to commit
        while actions.iter().any(acts) && self.store.is_cut_off() {
            storage_is_back |= self.commit(Vec::new()).await?.1;
        }
        // start what was held back first: a run must be started before anything can end it
        self.perform(actions, answers, &refused, newest);
        let mut turn = Turn::default();
        self.forget_lost();
        if storage_is_back {
            turn.add(self.engine.decide(clock::now(), Input::StorageBack));
        }
        for run in refused {
            let agent = self.engine.run(run).map(|run| run.agent.to_string()).unwrap_or_default();
            tracing::error!(agent, %run, "its slot had been claimed before; the run is given up");
            turn.add(self.engine.decide(clock::now(), Input::ClaimRefused { run }));
        }
        if !turn.facts.is_empty() || !turn.actions.is_empty() {
            Box::pin(self.carry_out(turn)).await?;
        }
        Ok(())
    }

    /// Records answers to repeatable mutations together with their facts, except transient refusals.
    fn answers(&mut self, actions: &[Action], facts: &mut Vec<Entry>) -> HashMap<Ticket, (String, Answer)> {
        let mut answers = HashMap::new();
        for action in actions {
            let Action::Reply { ticket, result } = action else { continue };
            let Some(Waiter::Client { asked: ChangeAsked { request_id: Some(id), .. }, warnings, .. }) =
                self.waiters.get(ticket)
            else {
                continue;
            };
            let seq = self.store.newest().borrow().0;
            let answer = views::answer(result.clone(), seq, warnings.clone(), &self.engine);
            if !views::passes(&answer) {
                let at = clock::now().wall;
                let stored = serde_json::to_string(&views::stored(&answer)).expect("answers serialize");
                let fact = Fact::RequestAnswered { request_id: id.clone(), answer: stored };
                facts.push(Entry { at, fact });
            }
            answers.insert(*ticket, (id.clone(), answer));
        }
        answers
    }

    fn perform(
        &mut self,
        actions: Vec<Action>,
        mut answers: HashMap<Ticket, (String, Answer)>,
        refused: &HashSet<RunId>,
        newest: u64,
    ) {
        for action in actions {
            match action {
                Action::Start(start) if refused.contains(&start.run) || start.node.is_some() => {}
                Action::Start(start) => self.actor.start(*start, newest + 1),
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
                Action::Taken { ticket, count } => {
                    if let Some(Waiter::Arrivals(answer)) = self.waiters.remove(&ticket) {
                        let _ = answer.send(count);
                    }
                }
                Action::Ping { agent, spec, signal, run } => {
                    self.actor.ping(RunPing { agent, spec, signal, run });
                }
                Action::LookAhead(looks) => self.looks.add(looks),
                Action::Reply { ticket, result } => {
                    let waiter = self.waiters.remove(&ticket);
                    let kept = answers.remove(&ticket).map(|kept| self.keep_answer(kept, newest));
                    let Some(Waiter::Client { answer, warnings, .. }) = waiter else { continue };
                    let reply = kept.unwrap_or_else(|| views::answer(result, newest, warnings, &self.engine));
                    let _ = answer.send(reply);
                }
            }
        }
    }

    /// Caches a recorded answer and sends it to the clients that repeated the mutation. Its `seq`
    /// is the number of the newest event when it was written.
    fn keep_answer(&mut self, (id, mut answer): (String, Answer), seq: u64) -> Answer {
        if let Some(stored_seq) = answer.as_mut().ok().and_then(|view| view.get_mut("seq")) {
            *stored_seq = seq.into();
        }
        for other in self.pending.remove(&id).into_iter().flatten() {
            let _ = other.send(answer.clone());
        }
        // a transient refusal changed nothing, so a repeated request is decided anew
        if !views::passes(&answer) {
            self.recent.keep(id, answer.clone());
        }
        answer
    }
}

/// Returns the runs that have ended.
fn ended_runs(facts: &[Entry]) -> Vec<RunId> {
    let ended = |entry: &Entry| match &entry.fact {
        Fact::RunEnded { run, .. } => Some(*run),
        _ => None,
    };
    facts.iter().filter_map(ended).collect()
}

/// Returns results of completed runs, for `BGAGENT_LAST_RESULT` of the next run, and agents whose
/// memory was cleared.
fn results_of(facts: &[Entry]) -> Vec<(crate::domain::AgentId, Option<crate::domain::LastResult>)> {
    facts
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::RunEnded {
                agent,
                status: crate::domain::RunStatus::Completed,
                result,
                untrusted,
                real: true,
                ..
            } => {
                let last = |text| crate::domain::LastResult { text: Arc::from(text), untrusted: *untrusted };
                Some((agent.clone(), result.as_deref().map(last)))
            }
            Fact::Remembered(change) => match &**change {
                MemoryChange::Cleared { agent, .. } => Some((agent.clone(), None)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}
