//! A Redis server, as a part of the configuration names it.
use super::secret_ref::{EnvValue, SecretRef};
use std::path::PathBuf;

/// Where a Redis server is, and as whom the daemon logs in there.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisServer {
    /// What the server is for.
    pub section: RedisSection,
    /// Where it listens.
    pub address: RedisAddress,
    /// Number of the database there.
    pub database: u32,
    /// Name of the user; `None`: the one that Redis calls `default`.
    pub username: Option<EnvValue>,
    /// Password of the user.
    pub password: Option<SecretRef>,
}

impl RedisServer {
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
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The table of the configuration that names a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisSection {
    /// `[events.redis]`: the copy of the log.
    Events,
    /// `[memory.redis]`: what agents remember.
    Memory,
}

impl RedisSection {
    /// The table as it stands in the file.
    pub fn header(self) -> &'static str {
        match self {
            Self::Events => "[events.redis]",
            Self::Memory => "[memory.redis]",
        }
    }

    /// The key that says what the daemon's data are called there.
    pub fn name_key(self) -> &'static str {
        match self {
            Self::Events => "stream",
            Self::Memory => "prefix",
        }
    }
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

/// `[memory.redis]`: where sessions and notes of agents with `store = "redis"` are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisMemorySpec {
    pub server: RedisServer,
    /// What all keys there begin with.
    pub prefix: String,
}

impl RedisMemorySpec {
    /// `prefix` where nothing is said of it.
    pub const PREFIX: &str = "bgagent:memory";
    /// Longest prefix, in bytes.
    pub const LONGEST_PREFIX: usize = 256;
}
