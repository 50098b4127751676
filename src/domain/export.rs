//! Where else events go: what is configured of a copy of the log in Redis, and how it stands.
use super::redis::RedisServer;
use super::words::words;

/// `[events.redis]`: a stream to which each event is appended, once and in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisSpec {
    pub server: RedisServer,
    /// Key of the stream.
    pub stream: String,
    /// About how many entries each stream keeps.
    pub maxlen: u64,
    /// What an entry looks like.
    pub format: StreamFormat,
    /// Where a stream begins that there was not.
    pub from: StreamFrom,
}

impl RedisSpec {
    /// `stream` where nothing is said of it.
    pub const STREAM: &str = "bgagent:events";
    /// `maxlen` where nothing is said of it: some hundred megabytes of Redis's memory.
    pub const MAXLEN: u64 = 1_000_000;
    /// Longest name of a stream, in bytes.
    pub const LONGEST_STREAM: usize = 256;

    /// The key beside the stream that says which database of ours it is a copy of.
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

/// Where a stream begins that there was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFrom {
    /// After the newest event of that moment.
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
