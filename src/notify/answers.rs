//! Answers of people, fetched by long poll: nothing listens here. Whether an answer counts is decided elsewhere; here it is
//! read, and told where it came from.
use super::message::SendError;
use super::service::keys_of;
use crate::domain::{NotifyType, ServiceSpec};
use jiff::Timestamp;
use poll::PATIENCE;

mod matrix;
mod ntfy;
mod poll;
mod telegram;

pub use poll::{HeardAnswers, PersonsAnswer};

/// Waits until somebody at the service says something, or for the better part of a minute. `since`: nothing before this matters.
///
/// # Errors
/// Why the service could not be asked; no secret in it.
pub async fn listen(
    spec: &ServiceSpec,
    position: Option<&str>,
    since: Timestamp,
) -> Result<HeardAnswers, SendError> {
    let keys = keys_of(spec, PATIENCE).await?;
    match spec.kind {
        NotifyType::Telegram => telegram::listen(&keys, position).await,
        NotifyType::Ntfy => ntfy::listen(&keys, position, since).await,
        NotifyType::Matrix => matrix::listen(&keys, position).await,
        kind => Err(SendError::lasting(format!("nobody can answer at a target of type \"{kind}\""))),
    }
}

/// Tells whoever answered what came of it. `is_over`: the question needs no answer any more. If it is not, nothing was
/// decided, and nothing is written to the chat: whoever can write there could have the daemon write as much.
///
/// # Errors
/// Why they could not be told; no secret in it.
pub async fn reply(
    spec: &ServiceSpec,
    answer: &PersonsAnswer,
    text: &str,
    is_over: bool,
) -> Result<(), SendError> {
    let keys = keys_of(spec, PATIENCE).await?;
    match spec.kind {
        NotifyType::Telegram => telegram::reply(&keys, answer, text, is_over).await,
        NotifyType::Ntfy if is_over => ntfy::reply(&keys, text).await,
        NotifyType::Matrix if is_over => matrix::reply(&keys, answer, text).await,
        _ => Ok(()),
    }
}
