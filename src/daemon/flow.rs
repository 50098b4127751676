//! How much of answers and events may wait to be read. What is computed and not yet written counts, for each client and
//! for all of them.
//!
//! A client that has its share waits before more is computed for it. When all together have theirs, those give way who
//! hold some of it and have read nothing for a while. Requests that steer the daemon ([`super::house::STEERS`]) never
//! wait here: their answers are small.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// Bytes that wait for one client: with so many, nothing more is computed for it.
const MOST_OF_ONE: usize = 1 << 20;
/// Bytes that wait for all clients.
const MOST_OF_ALL: usize = 64 << 20;
/// Answers that are computed at a time: what they come to is known only afterwards.
const COMPUTED_AT_A_TIME: usize = 4;
/// A question that takes this long to answer holds up no others.
const LONG: Duration = Duration::from_secs(2);
/// Who has read nothing for this long while something waits for it gives way when all places are taken.
const STALLED: Duration = Duration::from_secs(1);
/// How often who waits for others looks whether one of them has stalled.
const LOOK: Duration = Duration::from_millis(200);

/// The books of all clients.
#[derive(Debug)]
pub(super) struct Flow {
    books: Mutex<Books>,
    freed: Notify,
    computing: Semaphore,
    most: usize,
}

#[derive(Debug, Default)]
struct Books {
    total: usize,
    next: u64,
    clients: BTreeMap<u64, Account>,
}

/// Of one client.
#[derive(Debug)]
struct Account {
    bytes: usize,
    /// When it last read something, or when something first had to wait for it.
    since: Instant,
    gone: CancellationToken,
}

impl Flow {
    pub(super) fn new() -> Arc<Self> {
        Self::of(MOST_OF_ALL)
    }

    fn of(most: usize) -> Arc<Self> {
        Arc::new(Self {
            books: Mutex::default(),
            freed: Notify::new(),
            computing: Semaphore::new(COMPUTED_AT_A_TIME),
            most,
        })
    }

    /// Accounts for one more client. `gone` is called when it has to give way.
    pub(super) fn open(self: &Arc<Self>, gone: CancellationToken) -> Arc<Outlet> {
        let mut books = self.books();
        let id = books.next;
        books.next += 1;
        books.clients.insert(id, Account { bytes: 0, since: Instant::now(), gone: gone.clone() });
        Arc::new(Outlet { flow: self.clone(), id, gone, turn: Arc::new(Semaphore::new(1)) })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no holder panics")
    }
}

impl Books {
    /// If `most` waits, sends away those who hold most and read nothing, until half of it is free: who comes does not
    /// have to race others for the place of one.
    fn make_room(&mut self, most: usize, now: Instant) -> bool {
        let mut sent_away = false;
        let enough = if self.total >= most { most / 2 } else { most };
        while self.total >= enough {
            let stalled = self.clients.iter().filter(|(_, account)| {
                account.bytes > 0 && now.saturating_duration_since(account.since) >= STALLED
            });
            let Some(id) = stalled.max_by_key(|(_, account)| account.bytes).map(|(id, _)| *id) else { break };
            let Some(account) = self.clients.remove(&id) else { break };
            self.total -= account.bytes;
            account.gone.cancel();
            sent_away = true;
            tracing::warn!(
                waiting = account.bytes,
                "a client that does not read its answers was disconnected: the memory for waiting answers was used up"
            );
        }
        sent_away
    }
}

/// What waits for one client. Its account is closed when the last holder drops it.
#[derive(Debug)]
pub(super) struct Outlet {
    flow: Arc<Flow>,
    id: u64,
    gone: CancellationToken,
    /// One answer at a time is computed for it.
    turn: Arc<Semaphore>,
}

/// Leave to compute an answer, until it is counted.
pub(super) struct Leave<'a> {
    _turn: Option<OwnedSemaphorePermit>,
    _computing: Option<SemaphorePermit<'a>>,
}

impl Outlet {
    /// Waits until more may wait for this client. False: it is gone.
    pub(super) async fn has_room(&self) -> bool {
        loop {
            let freed = self.flow.freed.notified();
            {
                let mut books = self.flow.books();
                let Some(own) = books.clients.get(&self.id).map(|account| account.bytes) else {
                    return false;
                };
                if own < MOST_OF_ONE
                    && (books.total < self.flow.most || books.make_room(self.flow.most, Instant::now()))
                {
                    return true;
                }
            }
            tokio::select! {
                () = self.gone.cancelled() => return false,
                _ = tokio::time::timeout(LOOK, freed) => {}
            }
        }
    }

    /// Waits for its turn to compute an answer of any length. `None`: the client is gone.
    pub(super) async fn may_compute(&self) -> Option<Leave<'_>> {
        let turn = tokio::select! {
            () = self.gone.cancelled() => return None,
            turn = self.turn.clone().acquire_owned() => turn.ok(),
        };
        if !self.has_room().await {
            return None;
        }
        let computing = tokio::time::timeout(LONG, self.flow.computing.acquire()).await;
        Some(Leave { _turn: turn, _computing: computing.ok().and_then(Result::ok) })
    }

    /// Counts a line that is to be written.
    pub(super) fn waits(&self, bytes: usize) {
        let mut books = self.flow.books();
        let now = Instant::now();
        let Some(account) = books.clients.get_mut(&self.id) else { return };
        if account.bytes == 0 {
            account.since = now;
        }
        account.bytes += bytes;
        books.total += bytes;
        books.make_room(self.flow.most.saturating_add(MOST_OF_ONE), now);
    }

    /// The client has read some of a line.
    pub(super) fn reads(&self) {
        if let Some(account) = self.flow.books().clients.get_mut(&self.id) {
            account.since = Instant::now();
        }
    }

    /// A line is written, or will never be.
    pub(super) fn done(&self, bytes: usize) {
        let mut books = self.flow.books();
        let Some(account) = books.clients.get_mut(&self.id) else { return };
        let bytes = bytes.min(account.bytes);
        account.bytes -= bytes;
        books.total -= bytes;
        drop(books);
        self.flow.freed.notify_waiters();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut books = self.flow.books();
        if let Some(account) = books.clients.remove(&self.id) {
            books.total -= account.bytes;
        }
        drop(books);
        self.flow.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    //! Who waits, and who gives way.
    use super::*;

    fn client(flow: &Arc<Flow>) -> (Arc<Outlet>, CancellationToken) {
        let gone = CancellationToken::new();
        (flow.open(gone.clone()), gone)
    }

    async fn is_held_up(outlet: &Outlet) -> bool {
        tokio::time::timeout(LOOK / 2, outlet.has_room()).await.is_err()
    }

    #[tokio::test]
    async fn who_has_its_share_waits_and_others_do_not() {
        let flow = Flow::of(MOST_OF_ALL);
        let ((full, _), (other, _)) = (client(&flow), client(&flow));
        full.waits(MOST_OF_ONE);
        assert!(is_held_up(&full).await);
        assert!(!is_held_up(&other).await);
        full.done(MOST_OF_ONE / 2);
        assert!(!is_held_up(&full).await);
        full.done(MOST_OF_ONE);
        assert_eq!(flow.books().total, 0);
    }

    #[tokio::test]
    async fn who_reads_nothing_gives_way_when_all_is_taken_and_who_reads_does_not() {
        let flow = Flow::of(2 * MOST_OF_ONE);
        let ((stalled, let_go), (slow, kept), (comes, _)) = (client(&flow), client(&flow), client(&flow));
        stalled.waits(MOST_OF_ONE);
        slow.waits(MOST_OF_ONE);
        assert!(is_held_up(&comes).await, "neither has stalled yet");
        let waits = tokio::spawn(async move { comes.has_room().await });
        while !let_go.is_cancelled() {
            slow.reads();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(waits.await.expect("no panic"));
        assert!(!kept.is_cancelled());
        assert!(!stalled.has_room().await, "it is gone");
        stalled.done(MOST_OF_ONE);
        assert_eq!(flow.books().total, MOST_OF_ONE);
        drop((stalled, slow));
        assert_eq!(flow.books().total, 0);
    }

    #[tokio::test]
    async fn one_answer_at_a_time_is_computed_for_a_client_and_few_for_all() {
        let flow = Flow::of(MOST_OF_ALL);
        let clients: Vec<_> = (0..=COMPUTED_AT_A_TIME).map(|_| client(&flow)).collect();
        let first = clients[0].0.may_compute().await.expect("room");
        let again = tokio::time::timeout(LOOK / 2, clients[0].0.may_compute()).await;
        assert!(again.is_err());
        drop(first);
        let mut all = Vec::new();
        for (outlet, _) in &clients[1..] {
            all.push(outlet.may_compute().await.expect("room"));
        }
        let more = tokio::time::timeout(LOOK / 2, clients[0].0.may_compute()).await;
        assert!(more.is_err());
        drop(all);
        assert!(clients[0].0.may_compute().await.is_some());
    }
}
