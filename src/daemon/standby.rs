//! Opening the store, for as long as it takes: a server that can't be reached is waited for, and so is the lead of another
//! daemon. A daemon that stands by listens meanwhile, answers from the records, and forwards the rest to the leader.
use super::desk::Desk;
use super::failure::Failure;
use super::forward::Forwarder;
use super::inbox::Message;
use super::reading::{self, ReadOnly};
use super::services::Role;
use super::signals::{ProcessSignals, Signal};
use super::snapshot::Snapshot;
use super::trust::TrustGate;
use super::{listen, lock, systemd};
use crate::config::Paths;
use crate::domain::Fleet;
use crate::store::{FleetLead, NodeJoined, NodeLink, Restored, Store, StoreError, Where};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two tries to reach the server of the store.
const REACH_AGAIN: Duration = Duration::from_secs(2);

/// Between two looks of a standby at who leads.
const STANDBY_AGAIN: Duration = Duration::from_secs(5);

/// Between two tries to take a lead that is about to end.
const LEAD_AGAIN: Duration = Duration::from_millis(200);

/// What a daemon waits for before it can open its store.
#[derive(Clone, PartialEq, Eq)]
enum WaitsFor {
    /// The server.
    Reach,
    /// The lead, which another daemon has: this one is a standby. Empty: nobody has it, and this one may not.
    Lead(String),
}

/// The socket of a daemon that stood by, which goes on when it leads.
pub(super) struct Serving {
    pub(super) desk: Arc<Desk>,
    pub(super) task: JoinHandle<()>,
}

/// A store that was opened.
pub(super) struct OpenedStore {
    pub(super) store: Store,
    pub(super) restored: Restored,
    /// It was waited for.
    pub(super) waited: bool,
    /// Clients are served already.
    pub(super) serving: Option<Serving>,
}

/// A daemon on the way to its store.
pub(super) struct Waiting<'a> {
    pub(super) place: Where,
    pub(super) paths: &'a Paths,
    pub(super) fleet: Arc<Fleet>,
    pub(super) trust: TrustGate,
    /// To the other nodes; `None`: the records are in a file.
    pub(super) link: Option<Arc<NodeLink>>,
    pub(super) down: CancellationToken,
    waits: Option<WaitsFor>,
    is_joined: bool,
    serving: Option<Serving>,
    /// What clients ask of a daemon that stands by: its end.
    asked: Option<mpsc::Receiver<Message>>,
}

/// What comes of one look at who leads.
enum Look {
    /// Try to open the store.
    Open,
    /// Wait, and look again.
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
        let (waits, is_joined, serving, asked) = (None, false, None, None);
        Self { place, paths, fleet, trust, link, down, waits, is_joined, serving, asked }
    }

    /// Opens the store. `None`: a signal came first, or a client that wanted this daemon to end.
    pub(super) async fn open(mut self, signals: &mut ProcessSignals) -> Result<Option<OpenedStore>, Failure> {
        let opened = self.open_or_end(signals).await;
        if !matches!(opened, Ok(Some(_))) {
            self.down.cancel();
            if let Some(serving) = self.serving.take() {
                let _ = tokio::time::timeout(Duration::from_secs(2), serving.task).await;
            }
        }
        let serving = self.serving.take();
        let waited = self.waits.is_some();
        Ok(opened?.map(|(store, restored)| OpenedStore { store, restored, waited, serving }))
    }

    async fn open_or_end(
        &mut self,
        signals: &mut ProcessSignals,
    ) -> Result<Option<(Store, Restored)>, Failure> {
        loop {
            let has_waited = self.waits.is_some();
            let looked = match has_waited {
                true => alive_meanwhile(self.look()).await,
                false => self.look().await,
            };
            let pause = match looked? {
                Look::Wait(pause) => pause,
                Look::Open => match self.try_open().await? {
                    Ok(opened) => return Ok(Some(opened)),
                    Err(pause) => pause,
                },
            };
            systemd::alive();
            if self.wait(pause, signals).await {
                return Ok(None);
            }
        }
    }

    /// True: somebody wants the daemon to end.
    async fn wait(&mut self, pause: Duration, signals: &mut ProcessSignals) -> bool {
        let again = tokio::time::sleep(pause);
        tokio::pin!(again);
        loop {
            let asked = async {
                match &mut self.asked {
                    Some(asked) => asked.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut again => return false,
                signal = signals.next() => if matches!(signal, Signal::Stop { .. }) { return true },
                message = asked => if let Some(Message::ShutDown { answer, .. }) = message {
                    if let Some(answer) = answer {
                        let _ = answer.send(Ok(Value::Object(Default::default())));
                    }
                    return true;
                },
            }
        }
    }

    /// Joins the nodes, and asks who leads: while another one does, nobody need try to.
    async fn look(&mut self) -> Result<Look, Failure> {
        let Some(link) = self.link.clone() else { return Ok(Look::Open) };
        if !self.is_joined {
            match link.join().await {
                Ok(NodeJoined::Yes) => self.is_joined = true,
                // what is wrong is said when the store is opened
                Ok(NodeJoined::NoTables) | Err(_) if link.may_lead() => return Ok(Look::Open),
                Ok(NodeJoined::NoTables) => {
                    self.stand_by("").await?;
                    return Ok(Look::Wait(STANDBY_AGAIN));
                }
                Err(error) => return Ok(self.unreached(&error)),
                Ok(NodeJoined::Taken { name, by }) => return Err(Failure::SameName { name, by }),
            }
        }
        let lead = match link.renew().await {
            Ok(Some(lead)) => lead,
            Ok(None) => {
                // its row was removed: it joins again
                self.is_joined = false;
                return Ok(Look::Wait(LEAD_AGAIN));
            }
            Err(error) if !link.may_lead() => return Ok(self.unreached(&error)),
            Err(_) => return Ok(Look::Open),
        };
        let knows = match (&self.waits, &lead.leader) {
            (Some(WaitsFor::Lead(known)), Some(leader)) => known == leader,
            _ => false,
        };
        if link.may_lead() && !(knows && lead.left_secs > 0) {
            return Ok(Look::Open);
        }
        // also where it could not listen so far
        if !link.may_lead() || self.serving.is_none() {
            let leader = lead.leader.clone().unwrap_or_default();
            self.stand_by(&leader).await?;
        }
        Ok(Look::Wait(pause_of(&lead, link.may_lead())))
    }

    async fn try_open(&mut self) -> Result<Result<(Store, Restored), Duration>, Failure> {
        let at = self.place.clone();
        let opening = tokio::task::spawn_blocking(move || Store::open_at(&at));
        let opened = match self.waits {
            Some(_) => alive_meanwhile(opening).await,
            None => opening.await,
        };
        match opened.map_err(|error| Failure::Internal(error.to_string()))? {
            Ok(opened) => Ok(Ok(opened)),
            Err(StoreError::Taken { by, left_secs, .. }) => {
                self.stand_by(&by).await?;
                Ok(Err(Duration::from_secs(left_secs).clamp(LEAD_AGAIN, STANDBY_AGAIN)))
            }
            Err(error) if may_pass(&error, self.waits.is_some()) => {
                let Look::Wait(pause) = self.unreached(&error) else { return Ok(Err(REACH_AGAIN)) };
                Ok(Err(pause))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn unreached(&mut self, error: &StoreError) -> Look {
        if self.waits.replace(WaitsFor::Reach) != Some(WaitsFor::Reach) {
            tracing::error!(%error, "the daemon starts as soon as it can be reached; trying again");
        }
        systemd::waiting(&error.to_string());
        Look::Wait(REACH_AGAIN)
    }

    /// Serves clients, and says once for each leader that this daemon stands by.
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
        self.say_where(leader);
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

    fn say_where(&self, leader: &str) {
        if let Err(error) = lock::write_standby_file(self.paths, leader) {
            tracing::warn!(%error, "{} can't be written", self.paths.daemon_json().display());
        }
    }

    /// Listens, if the tables are there for it.
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
        let forwarder = Forwarder::new(link.clone());
        let of = ReadOnly {
            store: store.clone(),
            records: self.place.clone(),
            database: restored.database.clone(),
            ancestors: restored.ancestors.clone(),
            role: Role::StandsBy(forwarder.clone()),
            link: Some(link),
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
        // before the socket is looked after: that writes it where it is missing
        self.say_where(leader);
        let (inbox, asked) = mpsc::channel(16);
        let (questions, waiting) = mpsc::channel(1024);
        let services = Arc::new(reading::services(self.paths, &self.fleet, of, (inbox, questions)));
        let desk = Desk::new(services, Some(leader.to_owned()), &self.down);
        tokio::spawn(snapshot.answer(waiting));
        tokio::spawn(forwarder.run());
        tokio::spawn(store.look_for_events());
        let serving = listen::serve(listener, self.paths.clone(), desk.clone(), self.down.clone());
        self.serving = Some(Serving { desk, task: tokio::spawn(serving) });
        self.asked = Some(asked);
        Ok(())
    }
}

/// Tells the watchdog that all is well while something takes its time.
async fn alive_meanwhile<T>(work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(systemd::ALIVE_EVERY) => systemd::alive(),
        }
    }
}

/// When to look again who leads. A lead that is about to end is looked at more often by whoever may take it.
fn pause_of(lead: &FleetLead, may_lead: bool) -> Duration {
    match may_lead {
        true => Duration::from_secs(lead.left_secs).clamp(LEAD_AGAIN, STANDBY_AGAIN),
        false => STANDBY_AGAIN,
    }
}

/// Is this waited for? A daemon that has waited already is there for when things are as they should be again: it ends only for
/// what a person has to put right.
fn may_pass(error: &StoreError, has_waited: bool) -> bool {
    matches!(error, StoreError::Unreachable { .. })
        || (has_waited && (error.is_passing() || matches!(error, StoreError::NotDurable { .. })))
}
