//! Memory of agents between runs, and where it is stored.
use super::words::words;

words! {
    /// How an agent remembers.
    MemoryMode {
        /// Nothing is kept between runs.
        None = "none",
        /// The last successful answer.
        LastResult = "last_result",
        /// The conversation.
        Session = "session",
    }
}

words! {
    /// Where an agent's session and notes are kept.
    MemoryStore {
        /// With the other records of the daemon.
        Database = "database",
        /// In `[memory.redis]`, for all fleets that use it.
        Redis = "redis",
    }
}

/// What an agent remembers between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    None,
    LastResult,
    /// The conversation, up to this many tokens.
    Session {
        max_tokens: u64,
        store: MemoryStore,
    },
}

impl Memory {
    /// Returns the mode.
    pub fn mode(self) -> MemoryMode {
        match self {
            Self::None => MemoryMode::None,
            Self::LastResult => MemoryMode::LastResult,
            Self::Session { .. } => MemoryMode::Session,
        }
    }

    /// Returns where it is stored.
    pub fn store(self) -> MemoryStore {
        match self {
            Self::None | Self::LastResult => MemoryStore::Database,
            Self::Session { store, .. } => store,
        }
    }
}
