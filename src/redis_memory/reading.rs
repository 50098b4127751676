//! Reads the memory of agents.
use super::server::MemoryServer;
use crate::domain::{AgentId, MemoryPlace, MemoryPlaceContent, Note, RedisMemorySpec, SessionRow};
use crate::redis::Hitch;
use crate::store::{Store, StoreError};
use std::sync::Arc;

/// Memory can't be read: where it is, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what it remembers is in Redis at {place} ([memory.redis]) and can't be read: {why}")]
pub struct MemoryUnavailable {
    place: String,
    why: String,
}

/// The memory that is shared by agents of this fleet and others.
#[derive(Clone)]
pub struct RedisMemory {
    store: Store,
    spec: Arc<RedisMemorySpec>,
}

impl RedisMemory {
    /// Creates it for the configured server; changes that were not sent yet are in `store`.
    pub fn new(store: Store, spec: Arc<RedisMemorySpec>) -> Self {
        Self { store, spec }
    }

    /// Returns the newest messages of a session, oldest first.
    ///
    /// # Errors
    /// It can't be read at the moment.
    pub async fn session(&self, session: &str, most: usize) -> Result<Vec<SessionRow>, MemoryUnavailable> {
        Ok(self.content(MemoryPlace::session(session)).await?.session(most))
    }

    /// Returns the notes of an agent, sorted by key; or only that of `key`.
    ///
    /// # Errors
    /// They can't be read at the moment.
    pub async fn notes(&self, agent: &AgentId, key: Option<&str>) -> Result<Vec<Note>, MemoryUnavailable> {
        let mut notes = self.content(MemoryPlace::notes(agent)).await?.notes();
        notes.retain(|note| key.is_none_or(|key| note.key == key));
        Ok(notes)
    }

    async fn content(&self, place: MemoryPlace) -> Result<MemoryPlaceContent, MemoryUnavailable> {
        self.read(place)
            .await
            .map_err(|hitch| MemoryUnavailable { place: self.spec.server.place(), why: hitch.to_string() })
    }

    /// Reads Redis first, then the unsent changes: what is sent in between is found in the second step.
    async fn read(&self, place: MemoryPlace) -> Result<MemoryPlaceContent, Hitch> {
        let fleet = self.store.read(|reader| reader.identity()).await.map_err(unread)?;
        let mut server = MemoryServer::open(&self.spec, fleet).await?;
        let (mut content, position) = server.read(&place).await?;
        let own = self.store.read(move |reader| {
            // a number that was never assigned here: the database is an older copy, and its changes may be missing there
            let after = if position.0 > reader.last_memory_change()? { 0 } else { position.0 };
            reader.memory_changes_of(&place, after)
        });
        own.await.map_err(unread)?.into_iter().for_each(|row| content.make(row.change));
        Ok(content)
    }
}

pub(super) fn unread(error: StoreError) -> Hitch {
    Hitch::passing(format!("the database can't be read: {error}"))
}
