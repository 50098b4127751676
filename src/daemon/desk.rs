//! What clients talk to: the same socket and the same sessions, also when a daemon that stood by takes the lead.
use super::services::Services;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// What answers clients now.
pub(super) struct Desk {
    now: Mutex<Now>,
    /// How many clients are connected.
    pub(super) clients: Arc<AtomicU64>,
}

struct Now {
    services: Arc<Services>,
    /// The daemon that leads while this one stands by; empty: nobody does.
    standby_of: Option<String>,
    /// Clients are served until this is cancelled.
    guests: CancellationToken,
}

impl Desk {
    /// Serves clients until `down`. `standby_of`: the daemon that leads, if this one stands by.
    pub(super) fn new(
        services: Arc<Services>,
        standby_of: Option<String>,
        down: &CancellationToken,
    ) -> Arc<Self> {
        let clients = services.clients.clone();
        let now = Mutex::new(Now { services, standby_of, guests: down.child_token() });
        Arc::new(Self { now, clients })
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who answers the next call.
    pub(super) fn services(&self) -> Arc<Services> {
        self.now().services.clone()
    }

    /// For a client that comes now: it is cancelled when it has to go.
    pub(super) fn guest(&self) -> CancellationToken {
        self.now().guests.child_token()
    }

    /// The daemon that leads while this one stands by.
    pub(super) fn standby_of(&self) -> Option<String> {
        self.now().standby_of.clone()
    }

    /// Another daemon leads now; this one stands by as before.
    pub(super) fn follows(&self, leader: &str) {
        self.now().standby_of = Some(leader.to_owned());
    }

    /// From now on this daemon leads. Clients stay, unless the database is another one than they were told.
    pub(super) fn leads(&self, services: Arc<Services>, down: &CancellationToken) {
        let mut now = self.now();
        now.standby_of = None;
        if services.database != now.services.database {
            now.guests.cancel();
            now.guests = down.child_token();
        }
        now.services = services;
    }
}
