//! Where else events go: what is configured of a copy of the log in Redis, and how it stands.
use super::secret_ref::{EnvValue, SecretRef};
use super::words::words;
use std::path::PathBuf;

/// `[events.redis]`: a stream to which each event is appended, once and in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisSpec {
    /// Where the server listens.
    pub address: RedisAddress,
    /// Number of the database there.
    pub database: u32,
    /// Name of the user; `None`: the one that Redis calls `default`.
    pub username: Option<EnvValue>,
    /// Password of the user.
    pub password: Option<SecretRef>,
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

    /// The server and the database there, without secrets: `rediss://cache.internal:6379/0`.
    pub fn place(&self) -> String {
        match &self.address {
            RedisAddress::Socket(path) => format!("unix://{}?db={}", path.display(), self.database),
            RedisAddress::Host { host, port, tls } => {
                let (scheme, host) = (if *tls { "rediss" } else { "redis" }, bracketed(host));
                format!("{scheme}://{host}:{port}/{}", self.database)
            }
        }
    }

    /// The key beside the stream that says which database of ours it is a copy of.
    pub fn mark(&self) -> String {
        format!("{}:fleet", self.stream)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Where a Redis server listens.
#[derive(Clone, Debug, PartialEq)]
pub enum RedisAddress {
    /// On the network.
    Host {
        /// Its name, or its address without brackets.
        host: String,
        /// The port there.
        port: u16,
        /// The connection is encrypted from the first byte.
        tls: bool,
    },
    /// At a socket of this machine.
    Socket(PathBuf),
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
