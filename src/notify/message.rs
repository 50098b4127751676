//! The messages, and the errors of a delivery.
use crate::domain::{AgentId, RunId, TellOn, Urgency};
use jiff::Timestamp;
use std::time::Duration;

/// A message for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Row of the outbox: the same in each attempt, for receivers that drop duplicates.
    pub id: i64,
    /// The agent that it is about.
    pub agent: AgentId,
    /// The kind of message.
    pub about: TellOn,
    pub urgency: Urgency,
    /// The key of the problem that it is about.
    pub key: Option<String>,
    /// The run that it is about.
    pub run: Option<RunId>,
    /// When it happened.
    pub at: Timestamp,
    pub subject: String,
    pub body: String,
    /// Recipients of a mail who received it in an earlier attempt: see [`SendError::reached`].
    pub reached: Vec<String>,
    /// The messages that it joins, if more than one; see [`super::join`].
    pub joined: Vec<Message>,
    /// The one-time code of an answer, if it asks about a call and can be answered.
    pub question: Option<String>,
}

impl Message {
    /// Returns the message as receivers get it. `text` is the whole text, under the key that chat services read.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "id": self.id,
            "agent": self.agent,
            "about": self.about,
            "severity": self.urgency,
            "state": self.about.state(),
            "key": self.key,
            "run_id": self.run,
            "links": self.links(),
            "at": self.at,
            "subject": self.subject,
            "body": self.body,
            "text": format!("{}\n{}", self.subject, self.body),
        });
        if !self.joined.is_empty() {
            json["joined"] = self.joined.iter().map(Self::to_json).collect();
        }
        json
    }

    /// Returns the key of the problem; for a joined message all keys, separated by commas.
    pub(super) fn keys(&self) -> String {
        let mut keys: Vec<&str> =
            self.joined.iter().chain([self]).filter_map(|message| message.key.as_deref()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.join(",")
    }

    /// Returns commands that show more.
    fn links(&self) -> serde_json::Value {
        match (self.run, &self.key) {
            (Some(run), _) => serde_json::json!({ "show": format!("bgagent show {run}") }),
            (None, Some(_)) if self.joined.is_empty() => serde_json::json!({ "show": "bgagent incidents" }),
            _ => serde_json::json!({}),
        }
    }

    /// Returns a key that is the same in each attempt and unique per message, even if the database is recreated.
    pub(super) fn idempotency_key(&self) -> String {
        let key = format!("bgagent-{}-{}", self.id, self.at.as_microsecond());
        match self.joined.last() {
            Some(last) => format!("{key}-{}-{}", self.joined.len(), last.id),
            None => key,
        }
    }
}

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// What went wrong; contains no secret.
    pub message: String,
    /// False: a retry can't help.
    pub worth_retrying: bool,
    /// Recipients of a mail who received it nevertheless; the next attempt omits them.
    pub reached: Vec<String>,
    /// The receiver accepts nothing before this has passed.
    pub retry_after: Option<Duration>,
    /// It may have been delivered nevertheless: there was no response, or one that leaves it open.
    pub in_doubt: bool,
}

impl SendError {
    /// Returns a permanent error.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            worth_retrying: false,
            reached: Vec::new(),
            retry_after: None,
            in_doubt: false,
        }
    }

    /// Returns a transient error.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            worth_retrying: true,
            reached: Vec::new(),
            retry_after: None,
            in_doubt: false,
        }
    }

    /// Returns a transient error for a message that may have been delivered.
    pub(super) fn in_doubt(message: impl Into<String>) -> Self {
        Self { in_doubt: true, ..Self::passing(message) }
    }
}
