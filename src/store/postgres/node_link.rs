//! The connection of a node to the tables shared by nodes: it registers the node, and carries calls
//! forwarded to the leader. It writes no records, so it needs no lead.
use super::node::{identity, shown};
use super::nodes;
use super::server::{Purpose, StoreServer};
use super::session::Session;
use crate::clock;
use crate::domain::{AppliedConfig, NodeName, NodeSpec, to_micros};
use crate::store::configs;
use crate::store::error::StoreError;
use crate::store::nodes::FleetLead;
use crate::store::place::Where;
use crate::store::sql::{Sql, SqlConnection, SqlErrorKind, SqlResult, params};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// How often a node renews its registration.
pub const NODE_RENEWAL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// Number of digits of the state folder's number that distinguish nodes of one machine.
const SUFFIX_DIGITS: usize = 6;

/// The description of a node.
#[derive(Debug, Clone)]
pub struct NodeDescription {
    /// Its name and labels, and whether it may lead.
    pub spec: NodeSpec,
    pub version: &'static str,
    /// The newest version of the protocol that it supports.
    pub protocol: u32,
    /// Hash of its configuration at the start.
    pub config: String,
    /// Runs that it takes at a time.
    pub places: u64,
}

/// The result of joining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeJoined {
    /// It has joined the nodes.
    Yes,
    /// There are no tables of this release yet.
    NoTables,
    /// Another daemon is registered under this name.
    Taken {
        name: String,
        /// Its machine and its state folder.
        by: String,
        /// When it was last seen, by the clock of the database, in microseconds.
        seen: i64,
    },
}

/// An error of work that may have been done all the same.
#[derive(Debug)]
pub struct UncertainError {
    pub error: StoreError,
    /// Whether the connection was lost after the work was sent.
    pub may_be_done: bool,
}

/// A connection with exclusive access.
type ExclusiveConnection = Arc<tokio::sync::Mutex<Option<Session>>>;

/// The connection of a node, opened when needed and reopened when lost.
pub struct NodeLink {
    pub(super) server: Arc<StoreServer>,
    pub(super) about: NodeDescription,
    pub(super) me: String,
    name: Mutex<NodeName>,
    /// Hash of the configuration in force, and its revision; 0: the node's own file.
    config: Mutex<(String, u64)>,
    /// Runs that it takes at a time.
    places: AtomicU64,
    /// One life of the node.
    pub(super) session: String,
    started_at: Timestamp,
    open: ExclusiveConnection,
    /// For large data: it delays only other large data.
    freight: ExclusiveConnection,
    bell: watch::Sender<u64>,
    hears_asks: AtomicBool,
    /// Whether the connection does not listen to all required channels.
    is_stale: AtomicBool,
    clock_offset_ms: AtomicI64,
    lag_ms: AtomicI64,
}

impl NodeLink {
    /// Creates the link of a daemon to its records; `None`: they are in a file.
    ///
    /// # Errors
    /// The identity of the daemon can't be read or written.
    pub fn to(place: &Where, about: NodeDescription) -> Result<Option<Arc<Self>>, StoreError> {
        let Some(spec) = &place.server else { return Ok(None) };
        let server = Arc::new(StoreServer::of(spec, place.state_dir()));
        let me = identity(&server.state_dir)?;
        let host = rustix::system::uname();
        let name = about.spec.name.clone();
        let name = name.unwrap_or_else(|| NodeName::of_host(&host.nodename().to_string_lossy()));
        Ok(Some(Arc::new(Self {
            server,
            me,
            name: Mutex::new(name),
            config: Mutex::new((about.config.clone(), 0)),
            places: AtomicU64::new(about.places),
            about,
            session: Uuid::new_v4().simple().to_string(),
            started_at: clock::wall(),
            open: Arc::default(),
            freight: Arc::default(),
            bell: watch::channel(0).0,
            hears_asks: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            clock_offset_ms: AtomicI64::new(0),
            lag_ms: AtomicI64::new(0),
        })))
    }

    /// Where the records are.
    pub fn place(&self) -> String {
        self.server.place().display().to_string()
    }

    /// What the node is called.
    pub fn name(&self) -> NodeName {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another configuration is in force from now on: its hash, its revision (0: the node's own file), and how many runs
    /// the node takes at a time.
    pub fn configured(&self, hash: String, revision: u64, places: u64) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = (hash, revision);
        self.places.store(places, Ordering::Relaxed);
    }

    pub(super) fn places(&self) -> i64 {
        i64::try_from(self.places.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
    }

    fn config(&self) -> (String, u64) {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether this node may take the lead.
    pub fn may_lead(&self) -> bool {
        self.about.spec.leads
    }

    /// Returns a receiver that changes when there may be answers to fetch or, for the leader, calls.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }

    /// Registers the node. A default name that is in use by another daemon of the machine gets a suffix.
    pub async fn join(self: &Arc<Self>) -> Result<NodeJoined, StoreError> {
        let joined = self.with("joining the nodes", Self::join_now).await?;
        if !matches!(joined, NodeJoined::Taken { .. }) || self.about.spec.name.is_some() {
            return Ok(joined);
        }
        let number = self.me.rsplit(' ').next().unwrap_or_default();
        let apart = self.name().apart(&number[..number.len().min(SUFFIX_DIGITS)]);
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = apart;
        self.with("joining the nodes", Self::join_now).await
    }

    fn join_now(&self, session: &Session) -> SqlResult<NodeJoined> {
        let db: &Sql = session;
        // the newest of what is written here
        if !db.exists("SELECT 1 WHERE to_regclass('configs') IS NOT NULL", &[])? {
            return Ok(NodeJoined::NoTables);
        }
        self.measure(db)?;
        let name = self.name();
        let labels = serde_json::to_string(&self.about.spec.labels).unwrap_or_default();
        let (config, revision) = self.config();
        let joined = db.change(
            "INSERT INTO nodes(name, identity, session, version, protocol, labels, leads, config, started_at, seen,
               clock_offset_ms, lag_ms, revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, now(), ?10, ?11, ?12)
             ON CONFLICT(name) DO UPDATE SET identity = excluded.identity, session = excluded.session,
               version = excluded.version, protocol = excluded.protocol, labels = excluded.labels, leads = excluded.leads,
               config = excluded.config, started_at = excluded.started_at, seen = excluded.seen,
               clock_offset_ms = excluded.clock_offset_ms, lag_ms = excluded.lag_ms, revision = excluded.revision
             WHERE nodes.identity = excluded.identity OR nodes.seen < now() - interval '25 seconds'",
            params![
                name.as_str(),
                self.me,
                self.session,
                self.about.version,
                self.about.protocol,
                labels,
                self.about.spec.leads,
                config,
                to_micros(self.started_at),
                self.clock_offset_ms.load(Ordering::Relaxed),
                self.lag_ms.load(Ordering::Relaxed),
                revision as i64
            ],
        )?;
        if joined == 0 {
            let by = "SELECT identity, CAST(extract(epoch FROM seen) * 1000000 AS BIGINT) FROM nodes WHERE name = ?1";
            let by = db.row(by, params![name.as_str()], |row| Ok((row.get::<String>(0)?, row.get(1)?)))?;
            let (by, seen) = by.unwrap_or_default();
            return Ok(NodeJoined::Taken { name: name.to_string(), by: shown(&by).to_owned(), seen });
        }
        // delete former names of this node, and nodes that have been away for long
        db.run("DELETE FROM nodes WHERE identity = ?1 AND name <> ?2", params![self.me, name.as_str()])?;
        db.run("DELETE FROM nodes WHERE seen < now() - interval '7 days'", &[])?;
        Ok(NodeJoined::Yes)
    }

    /// Renews the registration, and returns the lead. `None`: the node is no longer registered.
    pub async fn renew(self: &Arc<Self>) -> Result<Option<FleetLead>, StoreError> {
        self.with("renewing the node", |link, session| {
            let db: &Sql = session;
            let (config, revision) = link.config();
            let renewed = db.change(
                "UPDATE nodes SET seen = now(), clock_offset_ms = ?3, lag_ms = ?4, config = ?5, revision = ?6 WHERE name = ?1 AND session = ?2",
                params![
                    link.name().as_str(),
                    link.session,
                    link.clock_offset_ms.load(Ordering::Relaxed),
                    link.lag_ms.load(Ordering::Relaxed),
                    config,
                    revision as i64
                ],
            )?;
            let lead = link.measure(db)?;
            Ok((renewed > 0).then_some(lead))
        })
        .await
    }

    /// The newest revision of the fleet's configuration, if it is another one than this; 0: there is none.
    pub async fn applied_other_than(
        self: &Arc<Self>,
        known: u64,
    ) -> Result<Option<AppliedConfig>, StoreError> {
        let read = self.with("reading the configuration of the fleet", move |_, session| {
            let db: &Sql = session;
            let newest = "SELECT coalesce(max(revision), 0) FROM configs";
            let newest: i64 = db.one(newest, &[], |row| row.get(0))?;
            if newest.unsigned_abs() == known { Ok(None) } else { configs::newest(db) }
        });
        read.await
    }

    /// Is this daemon the one of whom `lead` speaks?
    pub fn is_me(&self, lead: &FleetLead) -> bool {
        lead.leader.as_deref() == Some(shown(&self.me))
    }

    /// Returns the lead, without renewing anything.
    pub async fn lead(self: &Arc<Self>) -> Result<FleetLead, StoreError> {
        self.with("asking who leads", |link, session| link.measure(session)).await
    }

    /// Removes the registration.
    pub async fn leave(self: &Arc<Self>) -> Result<(), StoreError> {
        self.with("leaving the nodes", |link, session| {
            let name = link.name();
            let gone = "DELETE FROM nodes WHERE name = ?1 AND session = ?2";
            session.change(gone, params![name.as_str(), link.session]).map(|_| ())
        })
        .await
    }

    /// Returns the lead, and measures the clock offset and the latency.
    fn measure(&self, db: &Sql) -> SqlResult<FleetLead> {
        let (asked, at) = (clock::boot(), clock::wall());
        let lead = nodes::fleet_lead(db)?;
        let took = clock::boot() - asked;
        let middle = at + took / 2;
        let whole = |span: jiff::SignedDuration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.clock_offset_ms.store(whole(middle.duration_since(lead.now)), Ordering::Relaxed);
        self.lag_ms.store(whole(took), Ordering::Relaxed);
        Ok(lead)
    }

    /// Makes the connection listen for calls, since this node leads from now on.
    pub fn listen_for_calls(&self) {
        self.hears_asks.store(true, Ordering::Relaxed);
        self.is_stale.store(true, Ordering::Relaxed);
    }

    pub(super) fn calls_channel(&self) -> String {
        format!("{}_asks", self.channel())
    }

    pub(super) fn channel_of(&self, session: &str) -> String {
        format!("{}_{}", self.channel(), &session[..session.len().min(16)])
    }

    /// Returns the prefix of channel names. Channels belong to the whole database, and their names
    /// must be short.
    fn channel(&self) -> String {
        let digest = Sha256::digest(self.server.schema().as_bytes());
        digest[..6].iter().fold("bgagent_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
    }

    /// Opens a connection. The one for large data does not listen.
    fn connect(&self, is_freight: bool) -> Result<Session, StoreError> {
        let session = self.server.connect(Purpose::Write)?;
        if is_freight {
            return Ok(session);
        }
        let mut channels = vec![self.channel_of(&self.session)];
        if self.hears_asks.load(Ordering::Relaxed) {
            channels.push(self.calls_channel());
        }
        session.listen(&channels, self.bell.clone()).map_err(self.server.says("listening"))?;
        // notifications in the meantime were missed
        self.bell.send_modify(|rings| *rings += 1);
        Ok(session)
    }

    /// Runs work on the connection, off the async threads. The work must be idempotent: it is
    /// repeated once if the connection is lost.
    pub(super) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        work: impl Fn(&Self, &Session) -> SqlResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.attempt(doing, work).await.map_err(|unknown| unknown.error)
    }

    /// Runs work with large data, like [`NodeLink::with`].
    pub(super) async fn with_large<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        work: impl Fn(&Self, &Session) -> SqlResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.attempt_by(true, doing, work).await.map_err(|unknown| unknown.error)
    }

    /// Runs work like [`NodeLink::with`]; an error tells whether it may have been done all the same.
    pub(super) async fn attempt<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        work: impl Fn(&Self, &Session) -> SqlResult<T> + Send + 'static,
    ) -> Result<T, UncertainError> {
        self.attempt_by(false, doing, work).await
    }

    async fn attempt_by<T: Send + 'static>(
        self: &Arc<Self>,
        is_freight: bool,
        doing: &'static str,
        work: impl Fn(&Self, &Session) -> SqlResult<T> + Send + 'static,
    ) -> Result<T, UncertainError> {
        let link = self.clone();
        let line = if is_freight { &self.freight } else { &self.open };
        // wait without a thread: the blocking pool is small
        let mut open = line.clone().lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            if !is_freight && link.is_stale.swap(false, Ordering::Relaxed) {
                *open = None;
            }
            let mut again = open.is_some();
            let mut may_be_done = false;
            loop {
                let session = match open.take().filter(SqlConnection::is_open) {
                    Some(session) => session,
                    None => {
                        link.connect(is_freight).map_err(|error| UncertainError { error, may_be_done })?
                    }
                };
                match work(&link, &session) {
                    Ok(done) => {
                        *open = Some(session);
                        return Ok(done);
                    }
                    Err(error) => {
                        let is_lost = error.kind == SqlErrorKind::Lost;
                        may_be_done |= is_lost;
                        if is_lost && std::mem::take(&mut again) {
                            continue;
                        }
                        let error = StoreError::of(error, link.server.place(), doing);
                        return Err(UncertainError { error, may_be_done });
                    }
                }
            }
        });
        done.await.unwrap_or_else(|panic| {
            let error = StoreError::Other { doing: doing.into(), what: panic.to_string() };
            Err(UncertainError { error, may_be_done: true })
        })
    }
}
