//! A Redis server, as sections of the configuration define it.
use super::secret_ref::{EnvValue, SecretRef};
use std::path::PathBuf;

/// Address of a Redis server, and login.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisServer {
    /// Purpose of the server.
    pub section: RedisSection,
    /// Where it listens.
    pub address: RedisAddress,
    /// Number of the database.
    pub database: u32,
    /// User name; `None`: Redis's `default` user.
    pub username: Option<EnvValue>,
    pub password: Option<SecretRef>,
}

impl RedisServer {
    /// Returns the server and its database, without secrets: `rediss://cache.internal:6379/0`.
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

/// The section of the configuration that defines a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisSection {
    /// `[events.redis]`: the export of the log.
    Events,
    /// `[memory.redis]`: agents' memory.
    Memory,
}

impl RedisSection {
    /// Returns the section header in the file.
    pub fn header(self) -> &'static str {
        match self {
            Self::Events => "[events.redis]",
            Self::Memory => "[memory.redis]",
        }
    }

    /// Returns the configuration key that names the daemon's data there.
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
        port: u16,
        /// The connection is encrypted from the first byte.
        tls: bool,
    },
    /// At a Unix socket of this machine.
    Socket(PathBuf),
}

/// A store in `[memory.redis]` for sessions and notes of agents with `store = "redis"`.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisMemorySpec {
    pub server: RedisServer,
    /// Prefix of all keys.
    pub prefix: String,
}

impl RedisMemorySpec {
    /// Default of `prefix`.
    pub const PREFIX: &str = "bgagent:memory";
    /// Maximum length of a prefix, in bytes.
    pub const MAX_PREFIX_BYTES: usize = 256;
}
