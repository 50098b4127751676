//! What is told, and why it was not delivered.
use crate::domain::{AgentId, RunId, TellOn, Urgency};
use jiff::Timestamp;
use std::time::Duration;

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Row of the outbox: the same in each try, for receivers that drop duplicates.
    pub id: i64,
    /// Of which agent.
    pub agent: AgentId,
    /// What kind of news.
    pub about: TellOn,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The problem that it tells of.
    pub key: Option<String>,
    /// The run that it tells of.
    pub run: Option<RunId>,
    /// When it happened.
    pub at: Timestamp,
    pub subject: String,
    pub body: String,
    /// Receivers of a mail who have it from an earlier try: see [`SendError::reached`].
    pub reached: Vec<String>,
    /// Those that it tells together, if it is more than one; see [`super::join`].
    pub joined: Vec<Message>,
    /// The one-time code of an answer, if it asks about a call and can be answered.
    pub question: Option<String>,
}

impl Message {
    /// The message as receivers get it. `text` is all of it, under the key that chat services read.
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

    /// The problem that it tells of; of a joined message all of them, with commas between.
    pub(super) fn keys(&self) -> String {
        let mut keys: Vec<&str> =
            self.joined.iter().chain([self]).filter_map(|message| message.key.as_deref()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.join(",")
    }

    /// Commands that show more.
    fn links(&self) -> serde_json::Value {
        match (self.run, &self.key) {
            (Some(run), _) => serde_json::json!({ "show": format!("bgagent show {run}") }),
            (None, Some(_)) if self.joined.is_empty() => serde_json::json!({ "show": "bgagent incidents" }),
            _ => serde_json::json!({}),
        }
    }

    /// The same in each try, another for each message, also if the database is begun anew.
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
    /// What went wrong; no secret in it.
    pub message: String,
    /// False: trying again can't help.
    pub worth_retrying: bool,
    /// Receivers of a mail who got it nevertheless; the next try leaves them out.
    pub reached: Vec<String>,
    /// The receiver wants nothing before this has passed.
    pub retry_after: Option<Duration>,
    /// It may have the message nevertheless: there was no answer, or one that says nothing of it.
    pub in_doubt: bool,
}

impl SendError {
    /// Trying again can't help.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            worth_retrying: false,
            reached: Vec::new(),
            retry_after: None,
            in_doubt: false,
        }
    }

    /// Trying again may help.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            worth_retrying: true,
            reached: Vec::new(),
            retry_after: None,
            in_doubt: false,
        }
    }

    /// As [`Self::passing`], of a message that the receiver may have.
    pub(super) fn in_doubt(message: impl Into<String>) -> Self {
        Self { in_doubt: true, ..Self::passing(message) }
    }
}
