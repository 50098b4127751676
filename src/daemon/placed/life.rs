//! One session of a node that runs attempts placed by the leader: takes orders, runs attempts as
//! the leader would, and reports.
//!
//! A runner's report becomes a row of `reports` before anything follows from it here; permission to
//! go on comes as an order, which the leader has written with its decision. The node trusts its
//! session for 14 seconds after its last renewal; after that it opens no gate, and stops its
//! programs ([`guard`]). The leader declares it lost after 25 seconds.
use super::left::RunNotes;
use super::wire::{OrderText, ReportBody, ReportText, StartText};
use super::workplace::{Configured, WorkEnds, WorkerContext, agent_as_there};
use crate::child;
use crate::clock;
use crate::domain::{
    AgentSpec, AttemptEnd, AttemptOutcome, Body, ErrorKind, LastResult, LoggedEvent, RunError, RunId, Trigger,
};
use crate::engine::CancelCause;
use crate::runner::{self, Brief, Report, Shared, StopOrder};
use crate::store::{Store, WorkOrder};
use jiff::SignedDuration;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// How long a node trusts its session, counted from when it asked for the renewal.
const TRUST_PERIOD: SignedDuration = SignedDuration::from_secs(14);
/// How often it renews its session if it reports nothing else.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// Polling interval of orders, where no notification arrives.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Between TERM and KILL of programs that are stopped because the node is cut off.
const CUT_OFF_GRACE: Duration = Duration::from_secs(3);
/// How long runs have to end after TERM, once the configured grace period is over.
const LAST_GRACE: Duration = Duration::from_secs(7);
/// How long the end of a program by a foreign signal is held back, in case the daemon is being shut down too.
const FOREIGN_SIGNAL_DELAY: Duration = Duration::from_millis(300);
/// Maximum number of unsent reports; beyond that, runners are blocked.
const MAX_UNSENT_REPORTS: usize = 1024;
/// Maximum number of reports sent at once.
const MAX_REPORTS_PER_BATCH: usize = 128;

/// Why a session ended.
pub(super) enum SessionEnd {
    /// The daemon shuts down.
    Down,
    /// The leader declared the session lost.
    Lost,
}

/// An attempt in flight.
struct Flight {
    attempt: u32,
    stop: watch::Sender<StopOrder>,
    stops_when_cut_off: bool,
    /// The cause for which the leader has ordered its end.
    told: Option<CancelCause>,
    /// Why this node stopped it without an order.
    stopped: Option<&'static str>,
    /// Whether its end is held back, in case the daemon is being shut down too.
    is_waited_for: bool,
}

/// All attempts in flight.
#[derive(Default)]
struct Flights {
    all: Mutex<HashMap<RunId, Flight>>,
    /// Until when the session is trusted, in milliseconds of [`clock::boot`].
    until_ms: AtomicI64,
    /// Whether the session was declared lost.
    is_lost: AtomicBool,
}

/// How long a shutdown may take to notify the leader.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
const CUT_OFF_REASON: &str =
    "stopped: the database could not be reached for so long that the leader may have given the run up";
const SHUTDOWN_REASON: &str = "the daemon of the node was told to go down, and the run was not done in time; whether its work was done is unknown";

impl Flights {
    fn all(&self) -> MutexGuard<'_, HashMap<RunId, Flight>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    fn extend_trust(&self, asked: SignedDuration) {
        let until = i64::try_from((asked + TRUST_PERIOD).as_millis()).unwrap_or(i64::MAX);
        self.until_ms.fetch_max(until, Ordering::AcqRel);
    }

    /// Returns whether the leader may have declared this session lost.
    fn is_cut_off(&self) -> bool {
        let until = i128::from(self.until_ms.load(Ordering::Acquire));
        self.is_lost.load(Ordering::Acquire) || clock::boot().as_millis() >= until
    }

    fn stop(&self, run: RunId, order: StopOrder, told: Option<CancelCause>, why: Option<&'static str>) {
        if let Some(flight) = self.all().get_mut(&run) {
            flight.told = flight.told.or(told);
            flight.stopped = flight.stopped.or(why);
            flight.stop.send_if_modified(|current| {
                let grows = order > *current;
                if grows {
                    *current = order;
                }
                grows
            });
        }
    }

    fn stop_all(&self, order: StopOrder, why: &'static str, only_cut_off: bool) -> usize {
        let wanted = |flight: &Flight| !only_cut_off || flight.stops_when_cut_off;
        let runs: Vec<RunId> =
            self.all().iter().filter(|(_, flight)| wanted(flight)).map(|(run, _)| *run).collect();
        runs.iter().for_each(|run| self.stop(*run, order, None, Some(why)));
        runs.len()
    }
}

/// Stops programs while the session is not trusted, whatever the state of the connection to the database.
async fn guard(flights: Arc<Flights>) {
    let mut since: Option<Instant> = None;
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        if !flights.is_cut_off() {
            since = None;
            continue;
        }
        let is_news = since.is_none();
        let began = *since.get_or_insert_with(Instant::now);
        let kill = began.elapsed() >= CUT_OFF_GRACE;
        let order = if kill { StopOrder::Kill } else { StopOrder::Terminate };
        let runs = flights.stop_all(order, CUT_OFF_REASON, true);
        if is_news && runs > 0 {
            tracing::error!(
                runs,
                "the database has not answered for 14 s, so the leader may give this node's runs up: stopping programs"
            );
        }
        if flights.is_lost.load(Ordering::Acquire) && flights.is_empty() {
            return;
        }
    }
}

/// A session in progress.
pub(super) struct WorkerSession {
    context: Arc<WorkerContext>,
    notes: RunNotes,
    id: String,
    flights: Arc<Flights>,
    reports: mpsc::Sender<Report>,
    reported: mpsc::Receiver<Report>,
    /// Reports not yet sent, by number.
    unsent: VecDeque<(u64, String)>,
    /// Number of the last report.
    n: u64,
    /// Attempts waiting for permission to go on, by report number.
    waiting: HashMap<u64, oneshot::Sender<()>>,
    /// Attempts waiting until their reports are recorded.
    durable: VecDeque<(u64, oneshot::Sender<()>)>,
    /// Id of the newest order taken.
    after: i64,
    /// Whether the daemon was ordered to shut down.
    goes_down: bool,
    renewed: Instant,
}

impl WorkerSession {
    /// Starts a session. `asked`: when it was requested, by [`clock::boot`].
    pub(super) fn new(
        context: Arc<WorkerContext>,
        notes: RunNotes,
        id: String,
        asked: SignedDuration,
    ) -> Self {
        let (reports, reported) = mpsc::channel(1024);
        let flights = Arc::new(Flights::default());
        flights.extend_trust(asked);
        Self {
            context,
            notes,
            id,
            flights,
            reports,
            reported,
            unsent: VecDeque::new(),
            n: 0,
            waiting: HashMap::new(),
            durable: VecDeque::new(),
            after: 0,
            goes_down: false,
            renewed: Instant::now(),
        }
    }

    /// Works until the daemon shuts down, or the session is lost.
    pub(super) async fn work(mut self, ends: &WorkEnds) -> SessionEnd {
        let guarding = tokio::spawn(guard(self.flights.clone()));
        let mut bell = self.context.link.bell();
        let mut going: Option<ShutdownProgress> = None;
        loop {
            let is_full = self.unsent.len() >= MAX_UNSENT_REPORTS;
            let deadline = going.as_ref().map(|going| going.deadline);
            let mut looks = true;
            tokio::select! {
                Some(report) = self.reported.recv(), if !is_full => {
                    looks = false;
                    self.take(report);
                    while self.unsent.len() < MAX_UNSENT_REPORTS && let Ok(report) = self.reported.try_recv() {
                        self.take(report);
                    }
                }
                _ = bell.changed() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = ends.drain.cancelled(), if going.is_none() => {
                    self.goes_down = true;
                    going = Some(ShutdownProgress::within(self.context.configured().fleet.daemon.shutdown_grace));
                    let drained = self.context.link.drain_work(self.id.clone());
                    match tokio::time::timeout(LEAVE_TIMEOUT, drained).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "the leader could not be told that this node goes down");
                        }
                        Err(_) => tracing::debug!("the database does not answer while this node goes down"),
                    }
                }
                () = ends.now.cancelled(), if going.as_ref().is_some_and(|going| going.order == StopOrder::None) => {
                    going = Some(ShutdownProgress::within(SignedDuration::ZERO));
                }
                () = until(deadline) => {}
            }
            let has_nothing = self.flights.is_empty() && self.unsent.is_empty();
            let lives = tokio::select! {
                lives = self.exchange(looks) => lives,
                // a server that does not answer must not delay the shutdown of an idle node
                () = ends.drain.cancelled(), if has_nothing => {
                    going.get_or_insert_with(|| ShutdownProgress::within(SignedDuration::ZERO));
                    true
                }
            };
            if !lives {
                self.abandon();
                return if going.is_some() { SessionEnd::Down } else { SessionEnd::Lost };
            }
            let Some(going) = &mut going else { continue };
            if self.flights.is_empty() && self.unsent.is_empty() || going.is_over(&self.flights) {
                guarding.abort();
                let ended = self.context.link.end_work(self.id.clone());
                match tokio::time::timeout(LEAVE_TIMEOUT, ended).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "the leader could not be told that this node is gone");
                    }
                    Err(_) => tracing::debug!("the database does not answer while this node goes down"),
                }
                return SessionEnd::Down;
            }
        }
    }

    /// Sends reports, renews the session, and takes orders. Returns false if the session is over.
    async fn exchange(&mut self, looks: bool) -> bool {
        while !self.unsent.is_empty() || self.renewed.elapsed() >= RENEW_INTERVAL || self.flights.is_cut_off()
        {
            match self.send_reports().await {
                Some(true) => {}
                Some(false) => return false,
                None => return true,
            }
            if self.unsent.is_empty() {
                break;
            }
        }
        if !looks {
            return true;
        }
        loop {
            let orders = match self.context.link.orders(self.id.clone(), self.after).await {
                Ok(orders) => orders,
                Err(error) => {
                    tracing::debug!(%error, "orders of the leader could not be fetched");
                    return true;
                }
            };
            if orders.is_empty() {
                break;
            }
            for order in orders {
                self.after = self.after.max(order.id);
                self.execute(order).await;
            }
        }
        true
    }

    /// Sends a batch of reports. `None`: unknown whether the session is alive. False: it is over.
    async fn send_reports(&mut self) -> Option<bool> {
        let reports: Vec<(u64, String)> = self.unsent.iter().take(MAX_REPORTS_PER_BATCH).cloned().collect();
        let (count, newest) = (reports.len(), reports.last().map_or(0, |(n, _)| *n));
        let asked = clock::boot();
        match self.context.link.report(self.id.clone(), reports).await {
            Ok(true) => {}
            Ok(false) => return Some(false),
            Err(error) => {
                tracing::debug!(%error, "reports could not be handed over");
                return None;
            }
        }
        self.flights.extend_trust(asked);
        self.renewed = Instant::now();
        self.unsent.drain(..count);
        let handed = self.durable.iter().take_while(|(n, _)| *n <= newest).count();
        for (_, done) in self.durable.drain(..handed) {
            let _ = done.send(());
        }
        Some(true)
    }

    fn queue_report(&mut self, run: RunId, attempt: u32, said: impl FnOnce(u64) -> ReportBody) -> u64 {
        self.n += 1;
        let report = ReportText { run, attempt, said: said(self.n) };
        self.unsent.push_back((self.n, serde_json::to_string(&report).expect("reports serialize")));
        self.n
    }

    /// Handles a report of a runner.
    fn take(&mut self, report: Report) {
        match report {
            Report::Spawned { run, attempt, role, process, go } => {
                let n = self.queue_report(run, attempt, |n| ReportBody::spawned(n, role, process));
                self.waiting.insert(n, go);
            }
            Report::Began { run, attempt, go } => {
                let n = self.queue_report(run, attempt, |n| ReportBody::Began { n });
                self.waiting.insert(n, go);
            }
            Report::Output { output, done } => {
                let (run, attempt) = (output.run, output.attempt);
                let n = self.queue_report(run, attempt, |_| ReportBody::Output((*output).into()));
                self.durable.push_back((n, done));
            }
            Report::Ended { run, attempt, outcome } if outcome.ended_by_others && self.must_wait(run) => {
                let reports = self.reports.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(FOREIGN_SIGNAL_DELAY).await;
                    let _ = reports.send(Report::Ended { run, attempt, outcome }).await;
                });
            }
            Report::Ended { run, attempt, outcome } => self.ended(run, attempt, *outcome),
            Report::Found { run, findings, go } => {
                let attempt = self.flights.all().get(&run).map(|flight| flight.attempt);
                let Some(attempt) = attempt else { return };
                let n = self.queue_report(run, attempt, |n| ReportBody::Found { n, findings });
                self.waiting.insert(n, go);
            }
            Report::Journal { .. } | Report::Reserve { .. } | Report::Settle { .. } => {
                tracing::error!("a model is asked, which is not done here");
            }
        }
    }

    /// Returns true once per attempt.
    fn must_wait(&self, run: RunId) -> bool {
        let mut all = self.flights.all();
        all.get_mut(&run).is_some_and(|flight| !std::mem::replace(&mut flight.is_waited_for, true))
    }

    fn ended(&mut self, run: RunId, attempt: u32, mut outcome: AttemptOutcome) {
        let flight = self.flights.all().remove(&run);
        let told = flight.as_ref().and_then(|flight| flight.told);
        let by_us = flight.and_then(|flight| flight.stopped).filter(|_| was_cut_short(&outcome));
        let with_us = (self.goes_down && outcome.ended_by_others).then_some(SHUTDOWN_REASON);
        if let (Some(why), None) = (by_us.or(with_us), told) {
            outcome.end = AttemptEnd::Failed(RunError::new(ErrorKind::Interrupted, why));
        }
        self.queue_report(run, attempt, |_| ReportBody::Ended { outcome: Box::new(outcome.into()), told });
        self.notes.forget(run);
        tokio::task::spawn_blocking(move || child::run_folders::remove_run_folder(run));
    }

    async fn execute(&mut self, order: WorkOrder) {
        match serde_json::from_str(&order.body) {
            Ok(OrderText::Start(start)) => self.start(*start, order.fence).await,
            Ok(OrderText::Stop { run, kill, cause }) => {
                let order = if kill { StopOrder::Kill } else { StopOrder::Terminate };
                self.flights.stop(run, order, cause, None);
            }
            Ok(OrderText::Go { n, go }) => {
                let waiting = self.waiting.remove(&n);
                // otherwise dropped: then it must not go on
                if let Some(waiting) = waiting.filter(|_| go && !self.flights.is_cut_off()) {
                    let _ = waiting.send(());
                }
            }
            Err(error) => {
                tracing::error!(%error, "the leader orders what this release does not understand");
            }
        }
    }

    async fn start(&mut self, start: StartText, fence: u64) {
        let found =
            agent_as_there(&self.context, start.agent.as_str(), (start.config_hash(), start.revision)).await;
        let found = found.and_then(|found| match self.notes.note(start.run) {
            Ok(()) => Ok(found),
            Err(error) => {
                Err(format!("node {} can't note what it has in hand: {error}", self.context.name()))
            }
        });
        let (agent, configured) = match found {
            Ok(found) => found,
            Err(why) => {
                tracing::warn!(agent = %start.agent, run = %start.run, "{why}");
                let outcome = AttemptOutcome::of(AttemptEnd::Failed(RunError::new(ErrorKind::Config, why)));
                let (run, attempt) = (start.run, start.attempt);
                self.queue_report(run, attempt, |_| ReportBody::Ended {
                    outcome: Box::new(outcome.into()),
                    told: None,
                });
                return;
            }
        };
        let (stop, stopped) = watch::channel(StopOrder::None);
        let stops_when_cut_off = agent.stops_when_cut_off();
        let flight = Flight {
            attempt: start.attempt,
            stop,
            stops_when_cut_off,
            told: None,
            stopped: None,
            is_waited_for: false,
        };
        self.flights.all().insert(start.run, flight);
        let Configured { fleet, tools, models, .. } = configured;
        let store = self.context.store.clone();
        let reports = self.reports.clone();
        let shared = Shared { fleet, tools, models, store: Some(store.clone()), memory: None, reports };
        tokio::spawn(async move {
            let brief = brief(agent, start, fence, &store).await;
            runner::attempt(brief, shared, stopped).await;
        });
    }

    /// Handles the loss of the session: nothing that it reports arrives any more. Programs end,
    /// except those that may go on.
    fn abandon(self) {
        self.flights.is_lost.store(true, Ordering::Release);
        let Self { notes, flights, mut reported, reports, .. } = self;
        drop(reports);
        tokio::spawn(async move {
            // senders waiting for a reply get none
            while let Some(report) = reported.recv().await {
                if let Report::Ended { run, .. } = report {
                    flights.all().remove(&run);
                    notes.forget(run);
                }
            }
        });
    }
}

/// Returns whether an attempt was ended from outside before its work was done.
fn was_cut_short(outcome: &AttemptOutcome) -> bool {
    match &outcome.end {
        AttemptEnd::Cancelled => true,
        AttemptEnd::Failed(error) => error.kind == ErrorKind::Interrupted,
        _ => false,
    }
}

/// The state of a shutdown.
struct ShutdownProgress {
    deadline: Instant,
    /// The last order given to runs in flight.
    order: StopOrder,
}

impl ShutdownProgress {
    fn within(grace: SignedDuration) -> Self {
        let grace = Duration::try_from(grace).unwrap_or(Duration::ZERO);
        Self { deadline: Instant::now() + grace, order: StopOrder::None }
    }

    /// Takes the next step of the shutdown, if it is due. Returns true if there is none left.
    fn is_over(&mut self, flights: &Flights) -> bool {
        if Instant::now() < self.deadline {
            return false;
        }
        self.order = match self.order {
            StopOrder::None => StopOrder::Terminate,
            StopOrder::Terminate => StopOrder::Kill,
            StopOrder::Kill => return true,
        };
        self.deadline = Instant::now() + LAST_GRACE;
        flights.stop_all(self.order, SHUTDOWN_REASON, false);
        false
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Returns the event that started a run, retrying until it can be read: without it, the run would
/// be a different one.
async fn event_of(run: RunId, store: &Store) -> Option<LoggedEvent> {
    loop {
        match store.read(move |reader| reader.event_of(run)).await {
            Ok(event) => return event,
            Err(error) => tracing::warn!(%run, %error, "its event can't be read yet"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns what an attempt needs to know, completed from the records.
async fn brief(agent: Arc<AgentSpec>, start: StartText, fence: u64, store: &Store) -> Brief {
    let last_result = match agent.body {
        Body::Tool(_) => None,
        Body::Query(_) | Body::Command(_) | Body::Runner(_) => last_result(&agent, store).await,
    };
    let event = match start.trigger {
        Trigger::Event => event_of(start.run, store).await,
        _ => None,
    };
    Brief {
        run: start.run,
        agent,
        attempt: start.attempt,
        trigger: start.trigger,
        slot: start.slot,
        query: start.query,
        params: start.params.map(Arc::new),
        mode: start.mode,
        event,
        last_result,
        time_left: start.time_left_ms.map(SignedDuration::from_millis),
        looks_first: start.looks_first,
        gate_only: start.gate_only,
        fence,
        traceparent: start.traceparent,
    }
}

async fn last_result(agent: &AgentSpec, store: &Store) -> Option<LastResult> {
    let id = agent.id.clone();
    let read = store.read(move |reader| reader.last_result(&id)).await;
    read.unwrap_or_else(|error| {
        tracing::warn!(agent = %agent.id, %error, "its last result could not be read");
        None
    })
}
