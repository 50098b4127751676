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
    /// Did an agent say so, rather than a check?
    pub fn is_report(self) -> bool {
        self != Self::Check
    }

    /// May what is said of it come from outside?
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

/// What one check of a probe found, this time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name of the problem, unique within the agent: `disk:/`, `tcp:db:5432`.
    pub key: String,
    /// Where the measurement stands.
    pub level: Level,
    /// One line for people: `/ is 93 % full (warn at 80 %)`.
    pub title: String,
    /// How long it must hold before it opens an incident. In seconds on the wire.
    #[serde(with = "seconds")]
    pub hold_for: SignedDuration,
    /// Who found it.
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
    /// What is wrong, as last told.
    pub title: String,
    /// First time that it was seen bad.
    pub since: Timestamp,
    /// When it had been bad for long enough. `None`: still pending.
    pub opened_at: Option<Timestamp>,
    /// When it was last seen bad.
    pub seen_at: Timestamp,
    /// How often it was seen bad.
    pub count: u64,
    /// When it ended. `None`: open or pending.
    pub resolved_at: Option<Timestamp>,
    /// When a person took note.
    pub acked_at: Option<Timestamp>,
    /// When it was last told to somebody.
    pub told_at: Option<Timestamp>,
    /// What an agent found out about it, as last said.
    pub diagnosis: Option<Diagnosis>,
    /// Who found it; a report from outside that changed it counts.
    pub by: FoundBy,
    /// The run whose report opened it.
    pub run: Option<RunId>,
}

/// What an agent that an incident started found out about it: its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    pub by: AgentId,
    /// In which run.
    pub run: RunId,
    pub at: Timestamp,
    /// In its own words.
    pub text: String,
}

/// What stands for the daemon where an incident has its agent.
const DAEMON: &str = "bgagent";
/// Keys of the daemon's own incidents. An agent of that name keeps all others for itself.
const OWN_KEYS: &[&str] = &[IncidentRecord::REDIS, IncidentRecord::REDIS_MEMORY, IncidentRecord::WEBHOOKS];
/// Beginnings of such keys, before a name.
const OWN_STARTS: &[&str] = &[IncidentRecord::NOTIFY, IncidentRecord::ANSWERS, IncidentRecord::SOURCE];

impl IncidentRecord {
    /// Key of the incident that events don't get to Redis.
    pub const REDIS: &str = "redis:events";
    /// Key of the incident that what agents remember in Redis can't be had.
    pub const REDIS_MEMORY: &str = "redis:memory";
    /// Before what went wrong: the title of the incident that an agent itself fails.
    pub const FAILS: &str = "the agent fails: ";
    /// Before the name of an agent: key of the incident that it is late.
    pub const LATE: &str = "late:";
    /// Before the name of an agent: key of the incident that a run of it is slow.
    pub const SLOW: &str = "slow:";
    /// Before the name of a `[notify.…]` table: key of the incident that messages don't get to it.
    pub const NOTIFY: &str = "notify:";
    /// The same: key of the incident that answers of it can't be heard.
    pub const ANSWERS: &str = "answers:";
    /// Before the name of an agent: key of the incident that what it waits for can't come from outside.
    pub const SOURCE: &str = "source:";
    /// Key of the incident that no webhook can be delivered.
    pub const WEBHOOKS: &str = "webhooks:listener";

    /// The daemon, where an incident has its agent.
    pub fn of_daemon() -> AgentId {
        DAEMON.parse().expect("it can name an agent")
    }

    /// Is it about the daemon itself?
    pub fn is_of_daemon(&self) -> bool {
        let begins = |start: &&str| self.key.starts_with(*start);
        let is_own = OWN_KEYS.contains(&self.key.as_str()) || OWN_STARTS.iter().any(begins);
        self.agent.as_str() == DAEMON && is_own
    }

    /// Opened and not resolved.
    pub fn is_open(&self) -> bool {
        self.opened_at.is_some() && self.resolved_at.is_none()
    }
}
