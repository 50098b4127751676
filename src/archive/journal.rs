//! What an archive keeps in the state database: which rows it has inserted into another table and not yet
//! deleted from their own, and how much it has moved in total. Archives of objects do not need it, since
//! their intents are stored with the objects; the journal then only keeps two archives of one table from
//! interfering with each other.
use super::trouble::failed;
use crate::domain::{ArchiveState, ArchiveStep, Entry, Fact, ToolError};
use crate::store::{Store, StoreError};

/// The journal of one archive; without a state database, it keeps nothing.
pub(super) struct Journal {
    store: Option<Store>,
    source: String,
    place: String,
}

impl Journal {
    pub(super) fn new(store: Option<Store>, source: String, place: String) -> Self {
        Self { store, source, place }
    }

    /// Returns where the rows go.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Returns the step that was begun and not finished. An error if another archive of the same table has
    /// one.
    pub(super) async fn pending(&self) -> Result<Option<String>, ToolError> {
        let Some(store) = &self.store else { return Ok(None) };
        let source = self.source.clone();
        let all = store.read(move |reader| reader.archives_pending(&source)).await.map_err(store_error)?;
        if let Some((other, _)) = all.iter().find(|(place, _)| *place != self.place) {
            return Err(failed(&format!(
                "an archive of {} to {other} was broken off: let it run again first, so that it can finish or undo \
                 what it began",
                self.source
            )));
        }
        Ok(all.into_iter().next().map(|(_, pending)| pending))
    }

    /// Returns whether this archive has begun a step and not finished it.
    pub(super) async fn is_pending(&self) -> Result<bool, ToolError> {
        let Some(store) = &self.store else { return Ok(false) };
        let source = self.source.clone();
        let all = store.read(move |reader| reader.archives_pending(&source)).await.map_err(store_error)?;
        Ok(all.iter().any(|(place, _)| *place == self.place))
    }

    /// Returns whether rows have been moved to this place, or were about to be.
    pub(super) async fn is_known(&self) -> Result<bool, ToolError> {
        let Some(store) = &self.store else { return Ok(false) };
        let place = self.place.clone();
        store.read(move |reader| reader.archives_at(&place)).await.map_err(store_error)
    }

    /// Records what is about to happen.
    pub(super) async fn intends(&self, keys: String) -> Result<(), ToolError> {
        self.write(ArchiveState::Intends { keys }).await
    }

    /// Records that the step is complete.
    pub(super) async fn done(&self, rows: u64, bytes: u64) -> Result<(), ToolError> {
        self.write(ArchiveState::Done { rows, bytes }).await
    }

    async fn write(&self, doing: ArchiveState) -> Result<(), ToolError> {
        let Some(store) = &self.store else { return Ok(()) };
        let step = ArchiveStep { source: self.source.clone(), place: self.place.clone(), doing };
        let entry = Entry { at: crate::clock::wall(), fact: Fact::Archived(Box::new(step)) };
        store.commit(vec![entry]).await.map(drop).map_err(store_error)
    }
}

fn store_error(error: StoreError) -> ToolError {
    failed(&format!("the archive's journal: {error}"))
}
