//! The services that sessions use: the socket and the sessions stay the same when a standby takes the lead.
use super::services::Services;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The services in use, and whether this daemon leads.
pub(super) struct SharedServices {
    current: Mutex<Current>,
    /// Number of connected clients.
    pub(super) clients: Arc<AtomicU64>,
}

struct Current {
    services: Arc<Services>,
    /// The daemon that leads while this one stands by; empty if there is none.
    standby_of: Option<String>,
    /// Cancelled when clients must be disconnected.
    sessions: CancellationToken,
}

impl SharedServices {
    /// Serves clients until `down`. `standby_of`: the daemon that leads, if this one stands by.
    pub(super) fn new(
        services: Arc<Services>,
        standby_of: Option<String>,
        down: &CancellationToken,
    ) -> Arc<Self> {
        let clients = services.clients.clone();
        let current = Mutex::new(Current { services, standby_of, sessions: down.child_token() });
        Arc::new(Self { current, clients })
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the services that answer the next call.
    pub(super) fn services(&self) -> Arc<Services> {
        self.current().services.clone()
    }

    /// Returns the token of a new session; it is cancelled when the client must be disconnected.
    pub(super) fn guest(&self) -> CancellationToken {
        self.current().sessions.child_token()
    }

    /// Returns the daemon that leads while this one stands by.
    pub(super) fn standby_of(&self) -> Option<String> {
        self.current().standby_of.clone()
    }

    /// Records a new leader; this daemon remains a standby.
    pub(super) fn follows(&self, leader: &str) {
        self.current().standby_of = Some(leader.to_owned());
    }

    /// Makes this daemon the leader. Clients stay connected, unless the identity of the database has changed.
    pub(super) fn leads(&self, services: Arc<Services>, down: &CancellationToken) {
        let mut current = self.current();
        current.standby_of = None;
        if services.database != current.services.database {
            current.sessions.cancel();
            current.sessions = down.child_token();
        }
        current.services = services;
    }
}
