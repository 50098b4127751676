//! Slots for connections to a listener that anybody on the machine can reach. If all are taken, the oldest connection without a
//! complete request is dropped for a new one: idle connections keep nobody out.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// A limited number of slots. Shared.
#[derive(Clone, Debug)]
pub struct ListenerPlaces(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    most: usize,
    next: u64,
    /// By order of arrival. `None`: its request is complete.
    open: BTreeMap<u64, Option<CancellationToken>>,
}

/// The slot of one connection, until it is dropped.
#[derive(Debug)]
pub struct ConnectionPlace {
    places: ListenerPlaces,
    number: u64,
    given_up: CancellationToken,
    is_anothers: bool,
}

impl ListenerPlaces {
    /// Creates this many slots.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken { most, next: 0, open: BTreeMap::new() })))
    }

    /// Takes a slot, if necessary that of a connection without a complete request. `None`: all requests are complete.
    pub fn take(&self) -> Option<ConnectionPlace> {
        let mut taken = self.taken();
        let mut is_anothers = false;
        if taken.open.len() >= taken.most {
            let unfinished = taken.open.iter().find(|(_, waiting)| waiting.is_some());
            let oldest = unfinished.map(|(number, _)| *number)?;
            if let Some(Some(waiting)) = taken.open.remove(&oldest) {
                waiting.cancel();
            }
            is_anothers = true;
        }
        let (number, given_up) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.open.insert(number, Some(given_up.clone()));
        drop(taken);
        Some(ConnectionPlace { places: self.clone(), number, given_up, is_anothers })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // numbers and flags: a panic leaves no inconsistent state
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPlace {
    /// Marks its request as complete: it keeps its slot.
    pub fn is_whole(&self) {
        if let Some(waiting) = self.places.taken().open.get_mut(&self.number) {
            *waiting = None;
        }
    }

    /// Returns whether another connection was dropped for it.
    pub fn is_anothers(&self) -> bool {
        self.is_anothers
    }

    /// Serves the connection. `None`: it was dropped for another one.
    pub async fn kept<T>(&self, serving: impl Future<Output = T>) -> Option<T> {
        self.given_up.run_until_cancelled(serving).await
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.taken().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    //! Tests of who has to go.
    use super::*;

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        let places = ListenerPlaces::new(2);
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        assert!(!first.is_anothers() && !second.is_anothers());
        first.is_whole();
        let third = places.take().unwrap();
        assert!(third.is_anothers());
        assert_eq!(first.kept(async { 1 }).await, Some(1), "its request was whole");
        assert_eq!(second.kept(std::future::pending::<u8>()).await, None, "it was the oldest of the others");
        // it can't come back by what it sends now
        second.is_whole();
        drop(second);
        third.is_whole();
        assert!(places.take().is_none(), "all are at work");
        drop(first);
        let last = places.take().unwrap();
        assert!(!last.is_anothers(), "there was a free one");
    }
}
