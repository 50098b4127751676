//! Identifiers. Each has its own type, so that they can't be confused.
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Name of an agent: 1 to 64 of a to z, A to Z, 0 to 9, `_`, `-` and `.`. Cheap to clone.
///
/// A new one in a configuration can't have a leading `-`; a database may contain one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AgentId(Arc<str>);

/// A text that is not a valid [`AgentId`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid agent name: {why}", why = Self::why(self))]
pub struct InvalidAgentId(pub String);

/// Maximum length of a name, in characters.
const MAX_AGENT_ID_CHARS: usize = 64;

impl InvalidAgentId {
    /// Returns what is wrong with the name, and what is allowed.
    pub fn why(&self) -> String {
        const RIGHT: &str = "use letters from a to z and A to Z, digits, `_`, `-` and `.`";
        match self.0.chars().count() {
            0 => format!("it is empty; {RIGHT}"),
            _ if !self.0.chars().all(is_allowed) => RIGHT.to_owned(),
            length => format!("it has {length} characters, {MAX_AGENT_ID_CHARS} are allowed"),
        }
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

impl FromStr for AgentId {
    type Err = InvalidAgentId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if (1..=MAX_AGENT_ID_CHARS).contains(&s.len()) && s.chars().all(is_allowed) {
            Ok(Self(s.into()))
        } else {
            Err(InvalidAgentId(s.to_owned()))
        }
    }
}

impl TryFrom<String> for AgentId {
    type Error = InvalidAgentId;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl AgentId {
    /// Returns the name as written in `agents.toml`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for AgentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Identity of one run: a UUIDv7 (RFC 9562), so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(uuid::Uuid);

/// A text that is not a [`RunId`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id (a UUID as `bgagent runs` shows it)")]
pub struct InvalidRunId(pub String);

impl RunId {
    /// Mask of the count's low bits, which follow the milliseconds and order the ids within one of them.
    pub const COUNTS_WITHIN_A_MS: u64 = 0xFFF;

    /// Returns the id of run number `count` of a process with this `seed`, at `unix_ms`. Pure: the same arguments
    /// give the same id.
    pub fn make(unix_ms: i64, seed: u64, count: u64) -> Self {
        let ms = u64::try_from(unix_ms).unwrap_or(0);
        let mut bytes = [0u8; 10];
        bytes[..2].copy_from_slice(&((count & Self::COUNTS_WITHIN_A_MS) as u16).to_be_bytes());
        bytes[2..].copy_from_slice(&mix(seed ^ mix(count)).to_be_bytes());
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid())
    }

    /// Returns the smallest id of a run created at this instant or later.
    pub fn first_at(instant: jiff::Timestamp) -> Self {
        let ms = u64::try_from(instant.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid())
    }

    /// Returns the timestamp within it, in milliseconds since 1970 (RFC 9562, section 5.7).
    pub fn unix_ms(&self) -> i64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        i64::from_be_bytes(bytes)
    }

    /// Returns the 16 bytes that the store keeps.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Creates an id from the 16 bytes of [`RunId::as_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// Returns the last eight hexadecimal digits: shown in tables, and enough to distinguish runs.
    pub fn short(&self) -> String {
        let text = self.0.simple().to_string();
        text[24..].to_owned()
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): spreads a counter over 64 bits.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl FromStr for RunId {
    type Err = InvalidRunId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self).map_err(|_| InvalidRunId(s.to_owned()))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Position of an event in the one gap-free order that all readers see. The first event is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Identifies a configuration of an agent: the first 8 bytes of a SHA-256 over its resolved configuration. Shown as
/// 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfigHash(pub u64);

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
