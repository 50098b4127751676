//! Export of events: the settings of a copy of the log in Redis, and its state.
use super::redis::RedisServer;
use super::words::words;

/// A stream in `[events.redis]` to which each event is appended, once and in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisSpec {
    pub server: RedisServer,
    /// Key of the stream.
    pub stream: String,
    /// Approximate number of entries that each stream keeps.
    pub maxlen: u64,
    /// Format of an entry.
    pub format: StreamFormat,
    /// Where a new stream begins.
    pub from: StreamFrom,
}

impl RedisSpec {
    /// Default of `stream`.
    pub const STREAM: &str = "bgagent:events";
    /// Default of `maxlen`: some hundred megabytes of memory in Redis.
    pub const MAXLEN: u64 = 1_000_000;
    /// Maximum length of a stream name, in bytes.
    pub const LONGEST_STREAM: usize = 256;

    /// Returns the key that records which database the stream is a copy of.
    pub fn mark(&self) -> String {
        format!("{}:fleet", self.stream)
    }
}

words! {
    /// What the entries of a stream look like.
    StreamFormat {
        /// One stream with all events, as `tail --json` prints them.
        Bgagent = "bgagent",
        /// A stream for each session, with the events that readers of OmniCoreAgent know.
        OmniCoreAgent = "omnicoreagent",
    }
}

/// Where a new stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFrom {
    /// After the newest event at that time.
    Now,
    /// With the event of this number, from 1.
    Event(u64),
}

impl std::fmt::Display for StreamFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Event(seq) => seq.fmt(f),
        }
    }
}

words! {
    /// How a copy of the log stands.
    ExportState {
        /// It is connected, and sends what comes.
        Connected = "connected",
        /// Something is in the way that may pass; it tries again by itself.
        Trying = "trying",
        /// Nothing is sent before somebody has put something right.
        Stopped = "stopped",
    }
}
