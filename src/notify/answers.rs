//! Answers of people, fetched by long polling, so nothing listens here. Whether an answer is valid is decided
//! elsewhere; here it is parsed, with its origin.
use super::message::SendError;
use super::service::keys_of;
use crate::domain::{NotifyType, ServiceSpec};
use jiff::Timestamp;
use poll::PATIENCE;

mod matrix;
mod ntfy;
mod poll;
mod telegram;

pub use poll::{PersonAnswer, PolledAnswers};

/// Waits until an answer arrives at the service, or for nearly a minute. Answers before `since` are ignored.
///
/// # Errors
/// Why the service could not be polled; contains no secret.
pub async fn listen(
    spec: &ServiceSpec,
    position: Option<&str>,
    since: Timestamp,
) -> Result<PolledAnswers, SendError> {
    let keys = keys_of(spec, PATIENCE).await?;
    match spec.kind {
        NotifyType::Telegram => telegram::listen(&keys, position).await,
        NotifyType::Ntfy => ntfy::listen(&keys, position, since).await,
        NotifyType::Matrix => matrix::listen(&keys, position).await,
        kind => Err(SendError::lasting(format!("nobody can answer at a target of type \"{kind}\""))),
    }
}

/// Sends the person the outcome of their answer. `is_over`: the question is settled. If it is not, nothing was decided,
/// and nothing is posted to the chat: otherwise anyone who can post there could make the daemon post as much.
///
/// # Errors
/// Why the reply could not be sent; contains no secret.
pub async fn reply(
    spec: &ServiceSpec,
    answer: &PersonAnswer,
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
