//! Incidents: open problems with a key.
use super::words::words;
use super::{AgentId, RunId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

words! {
    /// How bad an open incident is.
    Severity {
        /// Worth a look.
        Warning = "warning",
        /// Needs a person.
        Critical = "critical",
    }
}

words! {
    /// Who found a problem.
    FoundBy {
        /// A check of the configuration, or the daemon itself.
        Check = "check",
        /// An agent reported it.
        Report = "report",
        /// An agent reported it that had read data from outside.
        UntrustedReport = "untrusted_report",
    }
}

impl FoundBy {
    /// Returns whether an agent reported it, rather than a check.
    pub fn is_report(self) -> bool {
        self != Self::Check
    }

    /// Returns whether its content may come from outside.
    pub fn is_untrusted(self) -> bool {
        self == Self::UntrustedReport
    }
}

words! {
    /// What one check measured, compared with its thresholds.
    Level {
        /// On the good side of `clear`.
        Ok = "ok",
        /// Between `clear` and `warn`: good if it was good, bad if it was bad (hysteresis).
        Hold = "hold",
        /// Past `warn`.
        Warn = "warn",
        /// Past `crit`.
        Crit = "crit",
    }
}

/// Result of one check of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable key of the problem, unique within the agent: `disk:/`, `tcp:db:5432`.
    pub key: String,
    /// Where the measurement stands.
    pub level: Level,
    /// One line for people: `/ is 93 % full (warn at 80 %)`.
    pub title: String,
    /// How long it must persist before it opens an incident. In seconds on the wire.
    #[serde(with = "seconds")]
    pub hold_for: SignedDuration,
    #[serde(default = "by_check")]
    pub by: FoundBy,
}

fn by_check() -> FoundBy {
    FoundBy::Check
}

mod seconds {
    use super::SignedDuration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(span: &SignedDuration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(span.as_secs_f64())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SignedDuration, D::Error> {
        let secs = f64::deserialize(from)?;
        SignedDuration::try_from_secs_f64(secs).map_err(serde::de::Error::custom)
    }
}

/// An incident as the store keeps it, one row for each (agent, key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRecord {
    pub agent: AgentId,
    pub key: String,
    pub severity: Severity,
    /// What is wrong, as last reported.
    pub title: String,
    /// When the problem was first seen.
    pub since: Timestamp,
    /// When it had persisted for long enough. `None`: still pending.
    pub opened_at: Option<Timestamp>,
    /// When the problem was last seen.
    pub seen_at: Timestamp,
    /// How often the problem was seen.
    pub count: u64,
    /// When it was resolved. `None`: open or pending.
    pub resolved_at: Option<Timestamp>,
    /// When a person acknowledged it.
    pub acked_at: Option<Timestamp>,
    /// When people were last notified.
    pub told_at: Option<Timestamp>,
    /// Newest diagnosis by an agent.
    pub diagnosis: Option<Diagnosis>,
    /// Its origin; an untrusted report that changed it takes precedence.
    pub by: FoundBy,
    /// The run whose report opened it.
    pub run: Option<RunId>,
}

/// Diagnosis of an incident: the result of an agent that it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    pub by: AgentId,
    pub run: RunId,
    pub at: Timestamp,
    /// Text of the result.
    pub text: String,
}

/// Agent name of the daemon's own incidents.
const DAEMON: &str = "bgagent";
/// Keys of the daemon's own incidents. An agent of that name keeps all others for itself.
const OWN_KEYS: &[&str] = &[
    IncidentRecord::REDIS,
    IncidentRecord::REDIS_MEMORY,
    IncidentRecord::WEBHOOKS,
    IncidentRecord::WORKSPACES,
];
/// Beginnings of such keys, before a name.
const OWN_KEY_PREFIXES: &[&str] = &[IncidentRecord::NOTIFY, IncidentRecord::ANSWERS, IncidentRecord::SOURCE];

impl IncidentRecord {
    /// Incident key: events can't be exported to Redis.
    pub const REDIS: &str = "redis:events";
    /// Incident key: agents' memory in Redis is unavailable.
    pub const REDIS_MEMORY: &str = "redis:memory";
    /// Prefix of the title of an incident about a failing agent, followed by the error.
    pub const FAILS: &str = "the agent fails: ";
    /// Incident key prefix, followed by the name of an agent: it is late.
    pub const LATE: &str = "late:";
    /// Incident key prefix, followed by the name of an agent: one of its runs is slow.
    pub const SLOW: &str = "slow:";
    /// Incident key prefix, followed by the name of a `[notify.…]` table: messages can't be delivered.
    pub const NOTIFY: &str = "notify:";
    /// Incident key prefix, followed by the name of a `[notify.…]` table: answers can't be received.
    pub const ANSWERS: &str = "answers:";
    /// Incident key prefix, followed by the name of an agent: its source outside the fleet can't deliver.
    pub const SOURCE: &str = "source:";
    /// Incident key: webhooks can't be received.
    pub const WEBHOOKS: &str = "webhooks:listener";
    /// Key of the incident that the folders of runs take more than they may.
    pub const WORKSPACES: &str = "workspaces";

    /// Returns the agent name of the daemon's own incidents.
    pub fn of_daemon() -> AgentId {
        DAEMON.parse().expect("it can name an agent")
    }

    /// Returns whether it is about the daemon itself.
    pub fn is_of_daemon(&self) -> bool {
        let begins = |start: &&str| self.key.starts_with(*start);
        let is_own = OWN_KEYS.contains(&self.key.as_str()) || OWN_KEY_PREFIXES.iter().any(begins);
        self.agent.as_str() == DAEMON && is_own
    }

    /// Returns whether it was opened and is not resolved.
    pub fn is_open(&self) -> bool {
        self.opened_at.is_some() && self.resolved_at.is_none()
    }
}
