//! Delivers messages. Whom to tell of what, and when to try again, is decided elsewhere; here is only
//! how long to wait.
use crate::domain::{AgentId, NotifyTarget, NotifyTargetKind, TellOn};
use jiff::Timestamp;
use std::time::Duration;

mod desktop;
mod email;
mod file;
mod joined;
mod pace;
mod program;
mod smtp;
mod webhook;

pub use joined::{fitting, join};
pub use pace::Pace;

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Row of the outbox: the same in each try, for receivers that drop duplicates.
    pub id: i64,
    /// Of which agent.
    pub agent: AgentId,
    /// What kind of news.
    pub about: TellOn,
    /// When it happened.
    pub at: Timestamp,
    /// One line.
    pub subject: String,
    /// More lines.
    pub body: String,
    /// Receivers of a mail who have it from an earlier try: see [`SendError::reached`].
    pub reached: Vec<String>,
    /// Those that it tells together, if it is more than one; see [`join`].
    pub joined: Vec<Message>,
}

impl Message {
    /// The message as receivers get it. `text` is all of it, under the key that chat services read.
    fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "id": self.id,
            "agent": self.agent,
            "about": self.about,
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

    /// The same in each try, another for each message, also if the database is begun anew.
    fn idempotency_key(&self) -> String {
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
}

impl SendError {
    fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), worth_retrying: false, reached: Vec::new(), retry_after: None }
    }

    fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), worth_retrying: true, reached: Vec::new(), retry_after: None }
    }
}

/// Delivers one message.
pub async fn send(target: &NotifyTarget, message: &Message, timeout: Duration) -> Result<(), SendError> {
    let delivery = async {
        match &target.kind {
            NotifyTargetKind::Webhook { url, headers } => webhook::send(url, headers, message, timeout).await,
            NotifyTargetKind::Command(spec) => program::send(spec, message, timeout).await,
            NotifyTargetKind::File(path) => file::send(path, message).await,
            NotifyTargetKind::Desktop => desktop::send(message, timeout).await,
            NotifyTargetKind::Email(spec) => email::send(spec, message, timeout).await,
        }
    };
    // The senders bound their own parts, with better texts; this bounds their sum.
    match tokio::time::timeout(timeout, delivery).await {
        Ok(result) => result,
        Err(_) => Err(SendError::passing("no answer in time")),
    }
}

/// How long to wait before try number `tries + 1`; `None`: give up.
pub fn retry_delay(tries: u32) -> Option<Duration> {
    let secs = match tries {
        0 => 0,
        1 => 10,
        2 => 60,
        3 => 5 * 60,
        4 => 30 * 60,
        5 => 2 * 3600,
        6 | 7 => 6 * 3600,
        _ => return None,
    };
    Some(Duration::from_secs(secs))
}

#[cfg(test)]
mod tests;
