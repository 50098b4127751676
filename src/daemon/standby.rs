//! Opens the store, for as long as it takes: waits while the server is unreachable, or another
//! daemon leads. A standby meanwhile listens, answers from the records, and forwards the rest to
//! the leader.
use super::desk::SharedServices;
use super::failure::Failure;
use super::forward::Forwarder;
use super::inbox::Message;
use super::placed::worker::Worker;
use super::placed::workplace::{Configured, WorkerContext};
use super::reading::{self, ReadOnly};
use super::services::Role;
use super::signals::{ProcessSignals, Signal};
use super::snapshot::Snapshot;
use super::trust::TrustGate;
use super::{in_force, listen, lock, nodes, systemd};
use crate::config::Paths;
use crate::domain::{AppliedConfig, Fleet};
use crate::store::{FleetLead, NodeJoined, NodeLink, Restored, Store, StoreError, Where};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Delay between attempts to reach the server of the store.
const REACH_INTERVAL: Duration = Duration::from_secs(2);

/// How often a standby checks who leads.
const LEAD_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Delay between attempts to take a lead that is about to end.
const TAKE_LEAD_INTERVAL: Duration = Duration::from_millis(200);

/// How often a node checks whether its name is free.
const NAME_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long work in progress may delay the shutdown.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What a daemon waits for before it can open its store.
#[derive(Clone, PartialEq, Eq)]
enum WaitsFor {
    Reach,
    /// The lead of another daemon: this one is a standby. Empty: no daemon leads, and this one may not.
    Lead(String),
}

/// The socket of a standby, which stays in use when it takes the lead.
pub(super) struct Serving {
    pub(super) desk: Arc<SharedServices>,
    pub(super) task: JoinHandle<()>,
}

/// An opened store.
pub(super) struct OpenedStore {
    pub(super) store: Store,
    pub(super) restored: Restored,
    /// Whether the daemon had to wait.
    pub(super) waited: bool,
    /// The socket, if clients are already served.
    pub(super) serving: Option<Serving>,
    /// Messages of clients that have not noticed yet that this daemon leads.
    pub(super) asked: Option<mpsc::Receiver<Message>>,
    /// Runs what an earlier leader has placed at this node.
    pub(super) worker: Option<Worker>,
}

/// A daemon that waits for its store.
pub(super) struct Waiting<'a> {
    pub(super) place: Where,
    pub(super) paths: &'a Paths,
    pub(super) fleet: Arc<Fleet>,
    pub(super) trust: TrustGate,
    /// The connection to the other nodes; `None`: the records are in a file.
    pub(super) link: Option<Arc<NodeLink>>,
    pub(super) down: CancellationToken,
    waits: Option<WaitsFor>,
    is_joined: bool,
    serving: Option<Serving>,
    /// Runs what the leader places at this node.
    worker: Option<Worker>,
    /// Messages of clients to a standby: requests to shut down.
    asked: Option<mpsc::Receiver<Message>>,
    /// The attempt to open the store in progress.
    opening: Option<JoinHandle<Result<(Store, Restored), StoreError>>>,
    /// The daemon with the name of this node, and when it was last seen.
    namesake: Option<(String, i64)>,
    /// The file of the configuration, and the revision of the fleet's, as they were read last.
    read: (Option<FileState>, Option<Arc<AppliedConfig>>),
}

/// By what a change of a file is noticed.
type FileState = (u64, u64, Option<std::time::SystemTime>);

/// What comes of one look, and of what it leads to.
enum StepResult {
    /// The store is open.
    Opened(Box<(Store, Restored)>),
    /// Wait, and check again.
    Wait(Duration),
}

/// The result of one check of who leads.
enum LeadCheck {
    /// Try to open the store.
    Open,
    /// Wait, and check again.
    Wait(Duration),
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        place: Where,
        paths: &'a Paths,
        (fleet, trust): (Arc<Fleet>, TrustGate),
        link: Option<Arc<NodeLink>>,
        down: CancellationToken,
    ) -> Self {
        Self {
            place,
            paths,
            fleet,
            trust,
            link,
            down,
            waits: None,
            is_joined: false,
            serving: None,
            worker: None,
            asked: None,
            opening: None,
            namesake: None,
            read: (None, None),
        }
    }

    /// Opens the store. `None`: a signal or a client asked this daemon to end first.
    pub(super) async fn open(mut self, signals: &mut ProcessSignals) -> Result<Option<OpenedStore>, Failure> {
        let opened = self.open_or_end(signals).await;
        if !matches!(opened, Ok(Some(_))) {
            match (self.worker.take(), &opened) {
                (Some(worker), Ok(_)) => worker.go_down(signals).await,
                (Some(worker), Err(_)) => worker.end().await,
                (None, _) => {}
            }
            self.down.cancel();
            if let Some(serving) = self.serving.take() {
                let _ = tokio::time::timeout(END_TIMEOUT, serving.task).await;
            }
        }
        let (serving, worker) = (self.serving.take(), self.worker.take());
        let waited = self.waits.is_some();
        let asked = self.asked.take();
        Ok(opened?.map(|(store, restored)| OpenedStore { store, restored, waited, serving, worker, asked }))
    }

    async fn open_or_end(
        &mut self,
        signals: &mut ProcessSignals,
    ) -> Result<Option<(Store, Restored)>, Failure> {
        loop {
            // a server may hang, so stop requests are handled meanwhile; opening a file either
            // succeeds or fails
            let mut asked = self.asked.take();
            let may_hang = self.place.server.is_some();
            let stepped = tokio::select! {
                biased;
                stepped = self.step() => Some(stepped),
                () = shutdown_requested(signals, &mut asked), if may_hang => None,
            };
            self.asked = self.asked.take().or(asked);
            let pause = match stepped {
                None => {
                    self.close_opening_store().await;
                    return Ok(None);
                }
                Some(stepped) => match stepped? {
                    StepResult::Opened(opened) => return self.opened(*opened, signals).await,
                    StepResult::Wait(pause) => pause,
                },
            };
            systemd::alive();
            if self.wait(pause, signals).await {
                return Ok(None);
            }
        }
    }

    /// Checks once who leads, and if it is this daemon's turn, tries once to open the store.
    async fn step(&mut self) -> Result<StepResult, Failure> {
        let looked = match self.waits.is_some() {
            true => with_keepalive(self.check_lead()).await,
            false => self.check_lead().await,
        };
        match looked? {
            LeadCheck::Wait(pause) => {
                self.read_config().await;
                Ok(StepResult::Wait(pause))
            }
            LeadCheck::Open => match self.try_open().await? {
                Ok(opened) => Ok(StepResult::Opened(Box::new(opened))),
                Err(pause) => Ok(StepResult::Wait(pause)),
            },
        }
    }

    /// Completes the takeover: the store is open, and this daemon leads. Joins the nodes if it
    /// could not before. `None`: it was asked to end.
    async fn opened(
        &mut self,
        opened: (Store, Restored),
        signals: &mut ProcessSignals,
    ) -> Result<Option<(Store, Restored)>, Failure> {
        loop {
            // asked while the store was being opened
            let asked = self.asked.as_mut().and_then(|asked| asked.try_recv().ok());
            if asked.is_some_and(answer_shutdown) {
                return self.close(&opened.0).await.map(|()| None);
            }
            let Some(link) = self.link.clone().filter(|_| !self.is_joined) else { return Ok(Some(opened)) };
            let taken = match link.join().await {
                Ok(NodeJoined::Taken { name, by, seen }) => self.handle_name_conflict(name, by, seen),
                Ok(NodeJoined::Yes | NodeJoined::NoTables) => return Ok(Some(opened)),
                // retried later
                Err(error) => {
                    tracing::warn!(%error, "the node could not join the others yet");
                    return Ok(Some(opened));
                }
            };
            let end = match taken {
                Ok(pause) => self.wait(pause, signals).await,
                Err(failure) => {
                    self.close(&opened.0).await?;
                    return Err(failure);
                }
            };
            if end {
                return self.close(&opened.0).await.map(|()| None);
            }
        }
    }

    /// Gives up the lead.
    async fn close(&self, store: &Store) -> Result<(), Failure> {
        if let Ok(closed) = tokio::time::timeout(END_TIMEOUT, store.close()).await {
            closed?;
        }
        Ok(())
    }

    /// Waits for a store that is being opened and closes it, so that an ending daemon does not keep the lead.
    async fn close_opening_store(&mut self) {
        let Some(opening) = self.opening.take() else { return };
        if let Ok(Ok(Ok((store, _)))) = tokio::time::timeout(END_TIMEOUT, opening).await {
            let _ = self.close(&store).await;
        }
    }

    /// Waits. Returns true if the daemon was asked to end.
    async fn wait(&mut self, pause: Duration, signals: &mut ProcessSignals) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = shutdown_requested(signals, &mut self.asked) => true,
        }
    }

    /// Publishes the hash of the configuration that would be in force if this daemon led, for
    /// `bgagent nodes`.
    async fn read_config(&mut self) {
        let Some(link) = &self.link else { return };
        let path = self.paths.config.clone();
        let found = std::fs::metadata(&path).ok().map(|found| {
            use std::os::unix::fs::MetadataExt;
            (found.ino(), found.len(), found.modified().ok())
        });
        let known = self.read.1.as_ref().map_or(0, |applied| applied.revision);
        let newest = if self.is_joined { link.applied_other_than(known).await } else { Ok(None) };
        let is_other = match newest {
            Ok(None) => self.read.0 != found,
            Ok(Some(applied)) => {
                self.read.1 = Some(Arc::new(applied));
                true
            }
            Err(error) => return tracing::debug!(%error, "the configuration of the fleet can't be read yet"),
        };
        if found.is_none() || !is_other {
            return;
        }
        self.read.0 = found;
        let (paths, trust, applied) = (self.paths.clone(), self.trust.clone(), self.read.1.clone());
        let read = tokio::task::spawn_blocking(move || {
            in_force::own_file(&paths, &trust)
                .and_then(|own| in_force::joined(own, applied, &paths.state_dir))
        });
        if let Ok(Ok(loaded)) = read.await {
            nodes::told(link, &loaded.fleet);
        }
    }

    /// Handles another daemon with the name of this node. It may be an earlier life of this one
    /// whose state folder is gone; a daemon that is no longer seen releases the name. Returns how
    /// long to wait before the next check.
    fn handle_name_conflict(&mut self, name: String, by: String, seen: i64) -> Result<Duration, Failure> {
        match self.namesake.replace((by.clone(), seen)) {
            Some((_, before)) if before != seen => return Err(Failure::SameName { name, by }),
            Some(_) => {}
            None => tracing::warn!(
                name,
                by,
                "another daemon has the name of this node; this one starts if that is not heard of for 25 s"
            ),
        }
        systemd::waiting(&format!("waiting for the name {name}, which {by} has"));
        Ok(NAME_CHECK_INTERVAL)
    }

    /// Joins the nodes, and checks who leads: while another daemon does, there is no need to try.
    async fn check_lead(&mut self) -> Result<LeadCheck, Failure> {
        let Some(link) = self.link.clone() else { return Ok(LeadCheck::Open) };
        if !self.is_joined {
            match link.join().await {
                Ok(NodeJoined::Yes) => self.is_joined = true,
                // errors are reported when the store is opened
                Ok(NodeJoined::NoTables) | Err(_) if link.may_lead() => return Ok(LeadCheck::Open),
                Ok(NodeJoined::NoTables) => {
                    self.stand_by("").await?;
                    return Ok(LeadCheck::Wait(LEAD_CHECK_INTERVAL));
                }
                Err(error) => return Ok(self.note_unreachable(&error)),
                Ok(NodeJoined::Taken { name, by, seen }) => {
                    return self.handle_name_conflict(name, by, seen).map(LeadCheck::Wait);
                }
            }
        }
        let lead = match link.renew().await {
            Ok(Some(lead)) => lead,
            Ok(None) => {
                // its row was removed: join again
                self.is_joined = false;
                return Ok(LeadCheck::Wait(TAKE_LEAD_INTERVAL));
            }
            Err(error) if !link.may_lead() => return Ok(self.note_unreachable(&error)),
            Err(_) => return Ok(LeadCheck::Open),
        };
        let knows = match (&self.waits, &lead.leader) {
            (Some(WaitsFor::Lead(known)), Some(leader)) => known == leader,
            _ => false,
        };
        if link.may_lead() && !(knows && lead.left_secs > 0) {
            return Ok(LeadCheck::Open);
        }
        // retried also where it could not listen so far
        if !link.may_lead() || self.serving.is_none() {
            let leader = lead.leader.clone().unwrap_or_default();
            self.stand_by(&leader).await?;
        }
        Ok(LeadCheck::Wait(check_interval(&lead, link.may_lead())))
    }

    async fn try_open(&mut self) -> Result<Result<(Store, Restored), Duration>, Failure> {
        let at = self.place.clone();
        let opening = self.opening.insert(tokio::task::spawn_blocking(move || Store::open_at(&at)));
        let opened = match self.waits {
            Some(_) => with_keepalive(opening).await,
            None => opening.await,
        };
        self.opening = None;
        match opened.map_err(|error| Failure::Internal(error.to_string()))? {
            Ok(opened) => Ok(Ok(opened)),
            Err(StoreError::Taken { by, left_secs, .. }) => {
                self.stand_by(&by).await?;
                Ok(Err(Duration::from_secs(left_secs).clamp(TAKE_LEAD_INTERVAL, LEAD_CHECK_INTERVAL)))
            }
            Err(error) if may_pass(&error, self.waits.is_some()) => {
                let LeadCheck::Wait(pause) = self.note_unreachable(&error) else {
                    return Ok(Err(REACH_INTERVAL));
                };
                Ok(Err(pause))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn note_unreachable(&mut self, error: &StoreError) -> LeadCheck {
        if self.waits.replace(WaitsFor::Reach) != Some(WaitsFor::Reach) {
            tracing::error!(%error, "the daemon starts as soon as it can be reached; trying again");
        }
        systemd::waiting(&error.to_string());
        LeadCheck::Wait(REACH_INTERVAL)
    }

    /// Serves clients, and logs once per leader that this daemon stands by.
    async fn stand_by(&mut self, leader: &str) -> Result<(), Failure> {
        if self.serving.is_none() {
            self.serve(leader).await?;
        }
        let lead = Some(WaitsFor::Lead(leader.to_owned()));
        if self.waits == lead {
            return Ok(());
        }
        self.waits = lead;
        if let Some(serving) = &self.serving {
            serving.desk.follows(leader);
        }
        self.publish_socket(leader);
        let place = self.place.place();
        if leader.is_empty() {
            tracing::warn!(place, "standing by: no daemon leads, and this one may not (`leads` of [daemon])");
        } else {
            tracing::info!(
                leader,
                place,
                "standing by: another daemon leads; this one takes over when that shuts down or its lease is over"
            );
        }
        systemd::standing_by(leader);
        Ok(())
    }

    fn publish_socket(&self, leader: &str) {
        if let Err(error) = lock::write_standby_file(self.paths, leader) {
            tracing::warn!(%error, "{} can't be written", self.paths.daemon_json().display());
        }
    }

    /// Starts to listen, if the tables exist.
    async fn serve(&mut self, leader: &str) -> Result<(), Failure> {
        let Some(link) = self.link.clone().filter(|_| self.is_joined) else { return Ok(()) };
        let at = self.place.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open_to_follow(&at)).await;
        let (store, restored) = match opened.map_err(|error| Failure::Internal(error.to_string()))? {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, "the records can't be read yet");
                return Ok(());
            }
        };
        match in_force::read(self.paths, &self.trust, &store).await {
            Ok(loaded) => self.fleet = Arc::new(loaded.fleet),
            Err(unread) => {
                tracing::warn!("the configuration as it was at the start is used: {}", unread.why())
            }
        }
        let forwarder = Forwarder::new(link.clone());
        let of = ReadOnly {
            store: store.clone(),
            records: self.place.clone(),
            database: restored.database.clone(),
            ancestors: restored.ancestors.clone(),
            role: Role::StandsBy(forwarder.clone()),
            link: Some(link.clone()),
        };
        let with = (self.paths.clone(), self.trust.clone());
        let snapshot = match Snapshot::of(store.clone(), restored, with, self.fleet.clone()).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::debug!(%error, "the records can't be read yet");
                return Ok(());
            }
        };
        let listener = listen::bind(&self.paths.socket).await?;
        // before the socket is monitored, which writes the file if it is missing
        self.publish_socket(leader);
        let (inbox, asked) = mpsc::channel(16);
        let (questions, waiting) = mpsc::channel(1024);
        let services = Arc::new(reading::services(self.paths, &self.fleet, of, (inbox, questions)));
        let desk = SharedServices::new(services, Some(leader.to_owned()), &self.down);
        tokio::spawn(snapshot.answer(waiting));
        tokio::spawn(forwarder.run());
        let reading = store.clone();
        tokio::spawn(store.look_for_events());
        let serving = listen::serve(listener, self.paths.clone(), desk.clone(), self.down.clone());
        self.serving = Some(Serving { desk, task: tokio::spawn(serving) });
        self.asked = Some(asked);
        let me = super::own_id::identity(self.paths);
        let (paths, trust) = (self.paths.clone(), self.trust.clone());
        let configured = Mutex::new(Configured::of(self.fleet.clone()));
        self.worker =
            Some(Worker::start(WorkerContext { link, store: reading, paths, trust, me, configured }));
        Ok(())
    }
}

/// Returns when a signal or a client asks the daemon to end.
async fn shutdown_requested(signals: &mut ProcessSignals, asked: &mut Option<mpsc::Receiver<Message>>) {
    loop {
        let message = async {
            match asked {
                Some(asked) => asked.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = signals.next() => if matches!(signal, Signal::Stop { .. }) { return },
            message = message => match message {
                Some(message) => if answer_shutdown(message) { return },
                None => *asked = None,
            },
        }
    }
}

/// Returns whether a message is a shutdown request, and answers it.
fn answer_shutdown(message: Message) -> bool {
    let Message::ShutDown { answer, .. } = message else { return false };
    if let Some(answer) = answer {
        let _ = answer.send(Ok(Value::Object(Default::default())));
    }
    true
}

/// Pings the watchdog while something takes long.
async fn with_keepalive<T>(work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(systemd::WATCHDOG_INTERVAL) => systemd::alive(),
        }
    }
}

/// Returns when to check the lead again. A daemon that may lead checks more often when the lease is
/// about to end.
fn check_interval(lead: &FleetLead, may_lead: bool) -> Duration {
    match may_lead {
        true => Duration::from_secs(lead.left_secs).clamp(TAKE_LEAD_INTERVAL, LEAD_CHECK_INTERVAL),
        false => LEAD_CHECK_INTERVAL,
    }
}

/// Returns whether to wait for an error to pass. A daemon that has already waited keeps waiting for
/// any transient problem: it ends only for errors that a person has to fix.
fn may_pass(error: &StoreError, has_waited: bool) -> bool {
    matches!(error, StoreError::Unreachable { .. })
        || (has_waited && (error.is_passing() || matches!(error, StoreError::NotDurable { .. })))
}
