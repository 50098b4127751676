//! The readers of a store: a few connections that are kept open, and more under load.
use super::error::StoreError;
use super::reader::Reader;
use std::sync::{Mutex, PoisonError, RwLock, RwLockWriteGuard};

/// Maximum number of idle readers kept open.
const MAX_IDLE_READERS: usize = 4;

/// The database from which readers are opened.
pub(super) trait ReaderSource: Send + Sync {
    /// Opens another read-only connection.
    fn open(&self) -> Result<Reader, StoreError>;

    /// Verifies an error.
    fn confirm(&self, error: StoreError) -> StoreError;
}

/// The pool of readers.
pub(super) struct Readers {
    source: Box<dyn ReaderSource>,
    idle: Mutex<Vec<Reader>>,
    /// Held by each query; the writer locks it exclusively to have all readers closed.
    open: RwLock<()>,
}

impl Readers {
    pub(super) fn of(source: Box<dyn ReaderSource>) -> Self {
        Self { source, idle: Mutex::new(Vec::new()), open: RwLock::new(()) }
    }

    /// Closes all readers once their queries are answered. None is opened while the guard lives.
    pub(super) fn close_all(&self) -> RwLockWriteGuard<'_, ()> {
        let guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        self.close_idle();
        guard
    }

    /// Closes idle readers.
    pub(super) fn close_idle(&self) {
        self.idle.lock().expect("no holder panics").clear();
    }

    /// Returns an idle reader that is still usable.
    fn idle(&self) -> Option<Reader> {
        let mut idle = self.idle.lock().expect("no holder panics");
        idle.retain(|reader| reader.db.is_open());
        idle.pop()
    }

    /// Runs a query on an idle reader, or on a new one, and verifies reported damage.
    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.ask_once(question).map_err(|error| if error.is_damage() { self.confirm(error) } else { error })
    }

    fn ask_once<T>(&self, question: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // a panic in a query leaves nothing inconsistent
        let _open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let idle = self.idle();
        let reader = match idle {
            Some(reader) => reader,
            None => self.source.open()?,
        };
        // a reader that has failed is dropped
        let answer = question(&reader)?;
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < MAX_IDLE_READERS {
            idle.push(reader);
        }
        Ok(answer)
    }

    /// Verifies an error.
    pub(super) fn confirm(&self, error: StoreError) -> StoreError {
        self.source.confirm(error)
    }
}
