//! Limits the number of clients. Idle clients are disconnected in favour of new ones, and some
//! places are reserved, so that the daemon can always be queried and shut down.
use crate::protocol::{Code, RpcError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Maximum number of clients, if the limit of open files allows it.
const MAX_CLIENTS: usize = 1024;
/// Clients may use one part in this many of the limit of open files.
const FILE_LIMIT_DIVISOR: u64 = 4;
/// Number of reserved places, for the methods that every client may call at any time.
const RESERVED_PLACES: usize = 16;
/// Idle time after which a client that has never called anything may be disconnected.
const SILENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle time after which a client that has called, and waits for nothing, may be disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client in a reserved place has for its first call.
pub(super) const FIRST_CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Methods that control the daemon. A client in a reserved place may call them, and they wait for
/// no other answers.
pub(super) const CONTROL_METHODS: &[&str] = &[
    "hello",
    "ping",
    "shutdown",
    "get_daemon_status",
    "get_agent_status",
    "start_agent",
    "pause_agent",
    "resume_agent",
    "stop_agent",
    "cancel_run",
    "reload_config",
    "decide_approval",
];

/// The connected clients.
#[derive(Debug)]
pub(super) struct House {
    clients: Mutex<ConnectedClients>,
    most: usize,
}

#[derive(Debug, Default)]
struct ConnectedClients {
    taken: BTreeMap<u64, ClientState>,
    next: u64,
}

#[derive(Debug)]
struct ClientState {
    last_call: Instant,
    has_called: bool,
    /// Number of calls and subscriptions in progress.
    work: Arc<AtomicUsize>,
    is_kept: bool,
    disconnect: CancellationToken,
}

impl ClientState {
    /// Returns how long the client has been idle; `None` if it may not be disconnected.
    fn idle(&self, now: Instant) -> Option<Duration> {
        let idle = now.saturating_duration_since(self.last_call);
        let bound = if self.has_called { IDLE_TIMEOUT } else { SILENT_TIMEOUT };
        (self.work.load(Ordering::Relaxed) == 0 && idle >= bound).then_some(idle)
    }
}

impl ConnectedClients {
    fn ordinary(&self) -> usize {
        self.taken.values().filter(|client| !client.is_kept).count()
    }

    /// Returns the client to disconnect: one that never called anything before one that did, then
    /// the one idle for longest.
    fn idlest(&self, now: Instant) -> Option<u64> {
        let idle = self.taken.iter().filter(|(_, client)| !client.is_kept);
        let idle = idle.filter_map(|(id, client)| Some((!client.has_called, client.idle(now)?, *id)));
        idle.max().map(|(_, _, id)| id)
    }

    fn disconnect_client(&mut self, id: u64) {
        if let Some(client) = self.taken.remove(&id) {
            client.disconnect.cancel();
        }
    }

    /// Returns whether an ordinary place is free, or can be freed.
    fn has_room(&mut self, most: usize, now: Instant) -> bool {
        if self.ordinary() < most {
            return true;
        }
        let idlest = self.idlest(now);
        idlest.is_some_and(|id| {
            self.disconnect_client(id);
            true
        })
    }
}

impl House {
    /// Admits as many clients as the limit of open files allows.
    pub(super) fn new() -> Arc<Self> {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let part = files.map_or(MAX_CLIENTS as u64, |files| files / FILE_LIMIT_DIVISOR);
        Self::of(usize::try_from(part).unwrap_or(MAX_CLIENTS).clamp(8, MAX_CLIENTS))
    }

    fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { clients: Mutex::default(), most })
    }

    /// Admits a client. `disconnect` is cancelled when the client must be disconnected.
    pub(super) fn enter(self: &Arc<Self>, disconnect: CancellationToken, now: Instant) -> ClientPlace {
        let mut clients = self.clients.lock().expect("no holder panics");
        let is_kept = !clients.has_room(self.most, now);
        if is_kept && clients.taken.len() - clients.ordinary() >= RESERVED_PLACES {
            let kept = clients.taken.iter().filter(|(_, client)| client.is_kept);
            let longest = kept.min_by_key(|(_, client)| (client.has_called, client.last_call));
            if let Some(id) = longest.map(|(id, _)| *id) {
                clients.disconnect_client(id);
            }
        }
        let id = clients.next;
        clients.next += 1;
        let work = Arc::default();
        let client =
            ClientState { last_call: now, has_called: false, work: Arc::clone(&work), is_kept, disconnect };
        clients.taken.insert(id, client);
        ClientPlace { house: self.clone(), id, work }
    }

    /// Disconnects the idlest client, however briefly idle, because no more files can be opened.
    /// Returns false if all clients wait for something.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        let mut clients = self.clients.lock().expect("no holder panics");
        let later = now + IDLE_TIMEOUT;
        let idlest = clients.idlest(later);
        idlest.is_some_and(|id| {
            clients.disconnect_client(id);
            true
        })
    }
}

/// The place of one client, freed when dropped.
#[derive(Debug)]
pub(super) struct ClientPlace {
    house: Arc<House>,
    id: u64,
    work: Arc<AtomicUsize>,
}

/// Work in progress for a client: it is not disconnected while this lives.
#[derive(Debug)]
pub(super) struct Work(Arc<AtomicUsize>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ClientPlace {
    /// Returns whether the place is a reserved one.
    pub(super) fn is_kept(&self) -> bool {
        let clients = self.house.clients.lock().expect("no holder panics");
        clients.taken.get(&self.id).is_some_and(|client| client.is_kept)
    }

    /// Registers a call of `method`. Returns an error if the place is reserved, all ordinary ones
    /// are still taken, and the method does not control the daemon.
    pub(super) fn calls(&self, method: &str, now: Instant) -> Result<Work, RpcError> {
        let mut clients = self.house.clients.lock().expect("no holder panics");
        let is_kept = clients.taken.get(&self.id).is_some_and(|client| client.is_kept);
        let stays = is_kept && !clients.has_room(self.house.most, now);
        if let Some(client) = clients.taken.get_mut(&self.id) {
            (client.last_call, client.has_called, client.is_kept) = (now, true, stays);
        }
        if stays && !CONTROL_METHODS.contains(&method) {
            let most = self.house.most;
            let error = RpcError::new(
                Code::Refused,
                format!("all places for clients are taken ({most}), and each waits for something"),
            );
            return Err(error.hint(
                "end some of the other clients (`bgagent tail`), and ask again; the daemon can still be controlled: pause, \
                 stop, status, shutdown",
            ));
        }
        self.work.fetch_add(1, Ordering::Relaxed);
        Ok(Work(self.work.clone()))
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.house.clients.lock().expect("no holder panics").taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    //! Tests with a clock of their own.
    use super::*;

    fn enter(house: &Arc<House>, now: Instant) -> (ClientPlace, CancellationToken) {
        let disconnect = CancellationToken::new();
        (house.enter(disconnect.clone(), now), disconnect)
    }

    #[test]
    fn who_never_called_gives_way_first_and_who_waits_never() {
        let house = House::of(3);
        let start = Instant::now();
        let (waits, keeps) = enter(&house, start);
        let work = waits.calls("stream_agent_events", start).unwrap();
        let (called, left) = enter(&house, start);
        drop(called.calls("list_agents", start).unwrap());
        let (_silent, sent) = enter(&house, start + Duration::from_secs(1));
        let now = start + SILENT_TIMEOUT + Duration::from_secs(1);
        let (fresh, _) = enter(&house, now);
        fresh.calls("list_agents", now).map(drop).expect("a place of its own");
        assert!(sent.is_cancelled() && !left.is_cancelled() && !keeps.is_cancelled());
        let later = start + IDLE_TIMEOUT + Duration::from_secs(1);
        let (_more, _) = enter(&house, later);
        assert!(left.is_cancelled() && !keeps.is_cancelled());
        drop(work);
    }

    #[test]
    fn in_a_full_house_the_daemon_can_still_be_ended() {
        let house = House::of(2);
        let now = Instant::now();
        let full: Vec<_> = (0..2)
            .map(|_| {
                let (place, disconnect) = enter(&house, now);
                let work = place.calls("stream_agent_events", now).unwrap();
                (place, disconnect, work)
            })
            .collect();
        let kept: Vec<_> = (0..=RESERVED_PLACES).map(|_| enter(&house, now)).collect();
        assert!(kept[0].1.is_cancelled(), "even of those that are kept the oldest gives way");
        let (last, _) = &kept[RESERVED_PLACES];
        for method in CONTROL_METHODS {
            assert!(last.calls(method, now).is_ok(), "{method}");
        }
        assert_eq!(last.calls("list_agents", now).unwrap_err().kind(), Some(Code::Refused));
        assert!(full.iter().all(|(_, disconnect, _)| !disconnect.is_cancelled()));
        let more: Vec<_> = (0..2 * RESERVED_PLACES).map(|_| enter(&house, now)).collect();
        assert!(
            !kept[RESERVED_PLACES].1.is_cancelled(),
            "who has called gives way after those who never did"
        );
        drop((full, more));
        assert!(last.calls("list_agents", now).is_ok(), "there is room now");
    }
}
