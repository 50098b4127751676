//! ListenerPlaces for the connections of a listener that anybody on the machine can reach. Where all are taken, the oldest connection whose
//! request is not whole yet is given up for the next one: whoever connects and says nothing keeps nobody out.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// ListenerPlaces for connections. Shared.
#[derive(Clone, Debug)]
pub struct ListenerPlaces(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    most: usize,
    next: u64,
    /// By the order in which they came. `None`: its request is whole.
    open: BTreeMap<u64, Option<CancellationToken>>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub struct ConnectionPlace {
    places: ListenerPlaces,
    number: u64,
    given_up: CancellationToken,
    is_anothers: bool,
}

impl ListenerPlaces {
    /// So many.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken { most, next: 0, open: BTreeMap::new() })))
    }

    /// A place, if need be that of a connection whose request is not whole. `None`: the requests of all are.
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
        // numbers and marks: a panic leaves nothing half done
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPlace {
    /// Its request is whole: it keeps its place.
    pub fn is_whole(&self) {
        if let Some(waiting) = self.places.taken().open.get_mut(&self.number) {
            *waiting = None;
        }
    }

    /// Was another connection given up for it?
    pub fn is_anothers(&self) -> bool {
        self.is_anothers
    }

    /// Serves the connection. `None`: it was given up for another one.
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
