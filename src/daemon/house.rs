//! Places for clients. There are so many and no more; whoever is idle gives way to who comes, and some
//! places are kept, so that the daemon can always be asked how it is, and told to go down.
use crate::protocol::{Code, RpcError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Clients at a time, where enough files may be open.
const MOST_CLIENTS: usize = 1024;
/// Of all files that may be open, this part is for clients.
const PART_OF_FILES: u64 = 4;
/// Places that are kept for the methods that every client may call at any time.
const KEPT: usize = 16;
/// A client that never called anything gives way after this.
const SILENT: Duration = Duration::from_secs(2);
/// One that has called, and waits for nothing, gives way after this.
const IDLE: Duration = Duration::from_secs(10);
/// A client in a kept place is waited for so long until it calls something.
pub(super) const FIRST_CALL: Duration = Duration::from_secs(5);
/// What steers the daemon. A client in a kept place may call it, and it waits for no other answers.
pub(super) const STEERS: &[&str] = &[
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

/// All places.
#[derive(Debug)]
pub(super) struct House {
    seats: Mutex<Seats>,
    most: usize,
}

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<u64, Seat>,
    next: u64,
}

#[derive(Debug)]
struct Seat {
    heard: Instant,
    has_called: bool,
    /// Calls and subscriptions that it waits for.
    work: Arc<AtomicUsize>,
    is_kept: bool,
    gone: CancellationToken,
}

impl Seat {
    /// How long nothing has held it here; `None`: something does.
    fn idle(&self, now: Instant) -> Option<Duration> {
        let idle = now.saturating_duration_since(self.heard);
        let bound = if self.has_called { IDLE } else { SILENT };
        (self.work.load(Ordering::Relaxed) == 0 && idle >= bound).then_some(idle)
    }
}

impl Seats {
    fn ordinary(&self) -> usize {
        self.taken.values().filter(|seat| !seat.is_kept).count()
    }

    /// The one who gives way: who never called before who did, and of those the one that is idle for longest.
    fn idlest(&self, now: Instant) -> Option<u64> {
        let idle = self.taken.iter().filter(|(_, seat)| !seat.is_kept);
        let idle = idle.filter_map(|(id, seat)| Some((!seat.has_called, seat.idle(now)?, *id)));
        idle.max().map(|(_, _, id)| id)
    }

    fn send_away(&mut self, id: u64) {
        if let Some(seat) = self.taken.remove(&id) {
            seat.gone.cancel();
        }
    }

    /// Is there a place that is not kept, or can one be made?
    fn has_room(&mut self, most: usize, now: Instant) -> bool {
        if self.ordinary() < most {
            return true;
        }
        let idlest = self.idlest(now);
        idlest.is_some_and(|id| {
            self.send_away(id);
            true
        })
    }
}

impl House {
    /// For as many clients as the limit of open files allows.
    pub(super) fn new() -> Arc<Self> {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let part = files.map_or(MOST_CLIENTS as u64, |files| files / PART_OF_FILES);
        Self::of(usize::try_from(part).unwrap_or(MOST_CLIENTS).clamp(8, MOST_CLIENTS))
    }

    fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { seats: Mutex::default(), most })
    }

    /// A place for who comes. `gone` is called when it has to give way.
    pub(super) fn enter(self: &Arc<Self>, gone: CancellationToken, now: Instant) -> Place {
        let mut seats = self.seats.lock().expect("no holder panics");
        let is_kept = !seats.has_room(self.most, now);
        if is_kept && seats.taken.len() - seats.ordinary() >= KEPT {
            let kept = seats.taken.iter().filter(|(_, seat)| seat.is_kept);
            let longest = kept.min_by_key(|(_, seat)| (seat.has_called, seat.heard));
            if let Some(id) = longest.map(|(id, _)| *id) {
                seats.send_away(id);
            }
        }
        let id = seats.next;
        seats.next += 1;
        let work = Arc::default();
        let seat = Seat { heard: now, has_called: false, work: Arc::clone(&work), is_kept, gone };
        seats.taken.insert(id, seat);
        Place { house: self.clone(), id, work }
    }

    /// No file may be opened any more: the idlest client gives way, however short it has been so. False: all
    /// wait for something.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        let mut seats = self.seats.lock().expect("no holder panics");
        let later = now + IDLE;
        let idlest = seats.idlest(later);
        idlest.is_some_and(|id| {
            seats.send_away(id);
            true
        })
    }
}

/// A place of one client; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    house: Arc<House>,
    id: u64,
    work: Arc<AtomicUsize>,
}

/// Something that a client waits for: as long as this lives, it does not give way.
#[derive(Debug)]
pub(super) struct Work(Arc<AtomicUsize>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// Is this one of the places that are kept?
    pub(super) fn is_kept(&self) -> bool {
        let seats = self.house.seats.lock().expect("no holder panics");
        seats.taken.get(&self.id).is_some_and(|seat| seat.is_kept)
    }

    /// The client calls `method`. An error if its place is one of those that are kept, and all others are
    /// taken still.
    pub(super) fn calls(&self, method: &str, now: Instant) -> Result<Work, RpcError> {
        let mut seats = self.house.seats.lock().expect("no holder panics");
        let is_kept = seats.taken.get(&self.id).is_some_and(|seat| seat.is_kept);
        let stays = is_kept && !seats.has_room(self.house.most, now);
        if let Some(seat) = seats.taken.get_mut(&self.id) {
            (seat.heard, seat.has_called, seat.is_kept) = (now, true, stays);
        }
        if stays && !STEERS.contains(&method) {
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

impl Drop for Place {
    fn drop(&mut self) {
        self.house.seats.lock().expect("no holder panics").taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    //! Tests with a clock of their own.
    use super::*;

    fn enter(house: &Arc<House>, now: Instant) -> (Place, CancellationToken) {
        let gone = CancellationToken::new();
        (house.enter(gone.clone(), now), gone)
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
        let now = start + SILENT + Duration::from_secs(1);
        let (fresh, _) = enter(&house, now);
        fresh.calls("list_agents", now).map(drop).expect("a place of its own");
        assert!(sent.is_cancelled() && !left.is_cancelled() && !keeps.is_cancelled());
        let later = start + IDLE + Duration::from_secs(1);
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
                let (place, gone) = enter(&house, now);
                let work = place.calls("stream_agent_events", now).unwrap();
                (place, gone, work)
            })
            .collect();
        let kept: Vec<_> = (0..=KEPT).map(|_| enter(&house, now)).collect();
        assert!(kept[0].1.is_cancelled(), "even of those that are kept the oldest gives way");
        let (last, _) = &kept[KEPT];
        for method in STEERS {
            assert!(last.calls(method, now).is_ok(), "{method}");
        }
        assert_eq!(last.calls("list_agents", now).unwrap_err().kind(), Some(Code::Refused));
        assert!(full.iter().all(|(_, gone, _)| !gone.is_cancelled()));
        let more: Vec<_> = (0..2 * KEPT).map(|_| enter(&house, now)).collect();
        assert!(!kept[KEPT].1.is_cancelled(), "who has called gives way after those who never did");
        drop((full, more));
        assert!(last.calls("list_agents", now).is_ok(), "there is room now");
    }
}
