//! Flow control: bounds the answers and events that wait to be read, per client and in total. Bytes
//! count from when they are computed until they are written.
//!
//! Nothing more is computed for a client that has reached its share. When the total is reached,
//! clients that hold some of it and have read nothing for a while are disconnected. Requests that
//! control the daemon ([`super::house::CONTROL_METHODS`]) never wait here: their answers are small.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// Unread bytes per client from which on nothing more is computed for it.
const MAX_CLIENT_BYTES: usize = 1 << 20;
/// Unread bytes of all clients.
const MAX_TOTAL_BYTES: usize = 64 << 20;
/// Number of answers computed concurrently: their size is only known afterwards.
const MAX_CONCURRENT_ANSWERS: usize = 4;
/// An answer that takes longer than this to compute no longer delays others.
const COMPUTE_TURN_TIMEOUT: Duration = Duration::from_secs(2);
/// A client with unread data that has read nothing for this long may be disconnected when the total
/// is reached.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a waiting client checks whether another one has stalled.
const STALL_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The accounts of all clients.
#[derive(Debug)]
pub(super) struct Flow {
    accounts: Mutex<Accounts>,
    freed: Notify,
    computing: Semaphore,
    max_total: usize,
}

#[derive(Debug, Default)]
struct Accounts {
    total: usize,
    next: u64,
    clients: BTreeMap<u64, Account>,
}

/// The account of one client.
#[derive(Debug)]
struct Account {
    bytes: usize,
    /// When it last read something, or when its data first became pending.
    since: Instant,
    disconnect: CancellationToken,
}

impl Flow {
    pub(super) fn new() -> Arc<Self> {
        Self::of(MAX_TOTAL_BYTES)
    }

    fn of(max_total: usize) -> Arc<Self> {
        Arc::new(Self {
            accounts: Mutex::default(),
            freed: Notify::new(),
            computing: Semaphore::new(MAX_CONCURRENT_ANSWERS),
            max_total,
        })
    }

    /// Opens the account of a client. `disconnect` is cancelled when the client must be disconnected.
    pub(super) fn open(self: &Arc<Self>, disconnect: CancellationToken) -> Arc<Outlet> {
        let mut accounts = self.accounts();
        let id = accounts.next;
        accounts.next += 1;
        accounts
            .clients
            .insert(id, Account { bytes: 0, since: Instant::now(), disconnect: disconnect.clone() });
        Arc::new(Outlet { flow: self.clone(), id, disconnect, turn: Arc::new(Semaphore::new(1)) })
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().expect("no holder panics")
    }
}

impl Accounts {
    /// If `max_total` bytes are pending, disconnects stalled clients, those with most bytes first,
    /// until half of it is free, so that newcomers do not compete for a single place.
    fn make_room(&mut self, max_total: usize, now: Instant) -> bool {
        let mut has_disconnected = false;
        let enough = if self.total >= max_total { max_total / 2 } else { max_total };
        while self.total >= enough {
            let stalled = self.clients.iter().filter(|(_, account)| {
                account.bytes > 0 && now.saturating_duration_since(account.since) >= STALL_TIMEOUT
            });
            let Some(id) = stalled.max_by_key(|(_, account)| account.bytes).map(|(id, _)| *id) else { break };
            let Some(account) = self.clients.remove(&id) else { break };
            self.total -= account.bytes;
            account.disconnect.cancel();
            has_disconnected = true;
            tracing::warn!(
                waiting = account.bytes,
                "a client that does not read its answers was disconnected: the memory for waiting answers was used up"
            );
        }
        has_disconnected
    }
}

/// The pending data of one client. Its account is closed when the last holder drops it.
#[derive(Debug)]
pub(super) struct Outlet {
    flow: Arc<Flow>,
    id: u64,
    disconnect: CancellationToken,
    /// Serializes the computation of its answers.
    turn: Arc<Semaphore>,
}

/// Permission to compute an answer, held until the answer is counted.
pub(super) struct ComputePermit<'a> {
    _turn: Option<OwnedSemaphorePermit>,
    _computing: Option<SemaphorePermit<'a>>,
}

impl Outlet {
    /// Waits until more data may be queued for this client. Returns false if it has disconnected.
    pub(super) async fn has_room(&self) -> bool {
        loop {
            let freed = self.flow.freed.notified();
            {
                let mut accounts = self.flow.accounts();
                let Some(own) = accounts.clients.get(&self.id).map(|account| account.bytes) else {
                    return false;
                };
                if own < MAX_CLIENT_BYTES
                    && (accounts.total < self.flow.max_total
                        || accounts.make_room(self.flow.max_total, Instant::now()))
                {
                    return true;
                }
            }
            tokio::select! {
                () = self.disconnect.cancelled() => return false,
                _ = tokio::time::timeout(STALL_CHECK_INTERVAL, freed) => {}
            }
        }
    }

    /// Waits for a turn to compute an answer of any length. `None`: the client has disconnected.
    pub(super) async fn may_compute(&self) -> Option<ComputePermit<'_>> {
        let turn = tokio::select! {
            () = self.disconnect.cancelled() => return None,
            turn = self.turn.clone().acquire_owned() => turn.ok(),
        };
        if !self.has_room().await {
            return None;
        }
        let computing = tokio::time::timeout(COMPUTE_TURN_TIMEOUT, self.flow.computing.acquire()).await;
        Some(ComputePermit { _turn: turn, _computing: computing.ok().and_then(Result::ok) })
    }

    /// Counts a line that is to be written.
    pub(super) fn waits(&self, bytes: usize) {
        let mut accounts = self.flow.accounts();
        let now = Instant::now();
        let Some(account) = accounts.clients.get_mut(&self.id) else { return };
        if account.bytes == 0 {
            account.since = now;
        }
        account.bytes += bytes;
        accounts.total += bytes;
        accounts.make_room(self.flow.max_total.saturating_add(MAX_CLIENT_BYTES), now);
    }

    /// Notes that the client has read part of a line.
    pub(super) fn reads(&self) {
        if let Some(account) = self.flow.accounts().clients.get_mut(&self.id) {
            account.since = Instant::now();
        }
    }

    /// Subtracts a line that has been written, or never will be.
    pub(super) fn done(&self, bytes: usize) {
        let mut accounts = self.flow.accounts();
        let Some(account) = accounts.clients.get_mut(&self.id) else { return };
        let bytes = bytes.min(account.bytes);
        account.bytes -= bytes;
        accounts.total -= bytes;
        drop(accounts);
        self.flow.freed.notify_waiters();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut accounts = self.flow.accounts();
        if let Some(account) = accounts.clients.remove(&self.id) {
            accounts.total -= account.bytes;
        }
        drop(accounts);
        self.flow.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    //! Who waits, and who gives way.
    use super::*;

    fn client(flow: &Arc<Flow>) -> (Arc<Outlet>, CancellationToken) {
        let disconnect = CancellationToken::new();
        (flow.open(disconnect.clone()), disconnect)
    }

    async fn is_held_up(outlet: &Outlet) -> bool {
        tokio::time::timeout(STALL_CHECK_INTERVAL / 2, outlet.has_room()).await.is_err()
    }

    #[tokio::test]
    async fn who_has_its_share_waits_and_others_do_not() {
        let flow = Flow::of(MAX_TOTAL_BYTES);
        let ((full, _), (other, _)) = (client(&flow), client(&flow));
        full.waits(MAX_CLIENT_BYTES);
        assert!(is_held_up(&full).await);
        assert!(!is_held_up(&other).await);
        full.done(MAX_CLIENT_BYTES / 2);
        assert!(!is_held_up(&full).await);
        full.done(MAX_CLIENT_BYTES);
        assert_eq!(flow.accounts().total, 0);
    }

    #[tokio::test]
    async fn who_reads_nothing_gives_way_when_all_is_taken_and_who_reads_does_not() {
        let flow = Flow::of(2 * MAX_CLIENT_BYTES);
        let ((stalled, let_go), (slow, kept), (comes, _)) = (client(&flow), client(&flow), client(&flow));
        stalled.waits(MAX_CLIENT_BYTES);
        slow.waits(MAX_CLIENT_BYTES);
        assert!(is_held_up(&comes).await, "neither has stalled yet");
        let waits = tokio::spawn(async move { comes.has_room().await });
        while !let_go.is_cancelled() {
            slow.reads();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(waits.await.expect("no panic"));
        assert!(!kept.is_cancelled());
        assert!(!stalled.has_room().await, "it is gone");
        stalled.done(MAX_CLIENT_BYTES);
        assert_eq!(flow.accounts().total, MAX_CLIENT_BYTES);
        drop((stalled, slow));
        assert_eq!(flow.accounts().total, 0);
    }

    #[tokio::test]
    async fn one_answer_at_a_time_is_computed_for_a_client_and_few_for_all() {
        let flow = Flow::of(MAX_TOTAL_BYTES);
        let clients: Vec<_> = (0..=MAX_CONCURRENT_ANSWERS).map(|_| client(&flow)).collect();
        let first = clients[0].0.may_compute().await.expect("room");
        let again = tokio::time::timeout(STALL_CHECK_INTERVAL / 2, clients[0].0.may_compute()).await;
        assert!(again.is_err());
        drop(first);
        let mut all = Vec::new();
        for (outlet, _) in &clients[1..] {
            all.push(outlet.may_compute().await.expect("room"));
        }
        let more = tokio::time::timeout(STALL_CHECK_INTERVAL / 2, clients[0].0.may_compute()).await;
        assert!(more.is_err());
        drop(all);
        assert!(clients[0].0.may_compute().await.is_some());
    }
}
