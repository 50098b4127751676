//! The readers of a store: a few connections that are kept open, and more while many ask.
use super::error::StoreError;
use super::reader::Reader;
use std::sync::{Mutex, PoisonError, RwLock, RwLockWriteGuard};

/// Readers that are kept open.
const KEPT: usize = 4;

/// The database, as its readers know it.
pub(super) trait ReaderSource: Send + Sync {
    /// Another connection that can only read.
    fn open(&self) -> Result<Reader, StoreError>;

    /// What an error is at a second look.
    fn confirm(&self, error: StoreError) -> StoreError;
}

/// Where questions are asked.
pub(super) struct Readers {
    source: Box<dyn ReaderSource>,
    idle: Mutex<Vec<Reader>>,
    /// Held by each that reads; the writer takes it to have all readers closed.
    open: RwLock<()>,
}

impl Readers {
    pub(super) fn of(source: Box<dyn ReaderSource>) -> Self {
        Self { source, idle: Mutex::new(Vec::new()), open: RwLock::new(()) }
    }

    /// Closes all, when their questions are answered. None is opened as long as the guard lives.
    pub(super) fn close_all(&self) -> RwLockWriteGuard<'_, ()> {
        let guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        self.close_idle();
        guard
    }

    /// Closes those that nobody asks.
    pub(super) fn close_idle(&self) {
        self.idle.lock().expect("no holder panics").clear();
    }

    /// One that can still be asked.
    fn idle(&self) -> Option<Reader> {
        let mut idle = self.idle.lock().expect("no holder panics");
        idle.retain(|reader| reader.db.is_open());
        idle.pop()
    }

    /// Asks one that is idle, or a new one. Damage that is reported is looked at again.
    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.ask_once(question).map_err(|error| if error.is_damage() { self.confirm(error) } else { error })
    }

    fn ask_once<T>(&self, question: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // a question that panics poisons nothing
        let _open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let idle = self.idle();
        let reader = match idle {
            Some(reader) => reader,
            None => self.source.open()?,
        };
        // one that has failed is not asked again
        let answer = question(&reader)?;
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < KEPT {
            idle.push(reader);
        }
        Ok(answer)
    }

    /// What an error is at a second look.
    pub(super) fn confirm(&self, error: StoreError) -> StoreError {
        self.source.confirm(error)
    }
}
