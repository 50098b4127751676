//! Delivers messages to notification targets. Who is notified of what, and when to retry, is decided elsewhere; only
//! the retry delays are here.
use crate::domain::{NotifyTarget, NotifyTargetKind};
use joined::LONGEST;
use std::time::Duration;

mod answers;
mod desktop;
mod email;
mod file;
mod joined;
mod message;
mod pace;
mod ping;
mod post;
mod program;
mod question;
mod service;
mod smtp;
mod webhook;

pub use answers::{PersonAnswer, PolledAnswers, listen, reply};
pub use joined::{fitting, join, may_join};
pub use message::{Message, SendError};
pub use pace::Pace;
pub use ping::ping;

/// Delivers one message to the target of this name.
pub async fn send(
    name: &str,
    target: &NotifyTarget,
    message: &Message,
    timeout: Duration,
) -> Result<(), SendError> {
    let delivery = async {
        match &target.kind {
            NotifyTargetKind::Webhook(spec) => webhook::send(spec, message, timeout).await,
            NotifyTargetKind::Service(spec) => service::send(spec, message, timeout).await,
            NotifyTargetKind::Command(spec) => program::send(name, spec, message, timeout).await,
            NotifyTargetKind::File(path) => file::send(path, message).await,
            NotifyTargetKind::Desktop => desktop::send(message, timeout).await,
            NotifyTargetKind::Email(spec) => email::send(spec, message, timeout).await,
        }
    };
    // The senders have their own timeouts, with better messages; this one bounds the total.
    match tokio::time::timeout(timeout, delivery).await {
        Ok(result) => result,
        Err(_) => Err(SendError::in_doubt("no answer in time")),
    }
}

/// Returns whether the target can take the whole message.
pub fn fits_whole(target: Option<&NotifyTarget>, message: &Message) -> bool {
    match target.map(|target| &target.kind) {
        Some(NotifyTargetKind::Service(spec)) => service::fits(spec.preset(), message),
        _ => message.body.chars().count() <= LONGEST,
    }
}

/// Returns the delay before attempt number `tries + 1`; `None`: give up.
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
