//! One HTTP request and its whole answer, bounded in time and size. What is sent and what an answer means is left to others.
use super::trouble::{passing, too_late, unusable};
use crate::domain::{ErrorKind, ModelError};
use crate::net;
use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode, Url};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Timeout for connecting.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// Idle timeout within an answer. It does not apply before the first byte, while the provider is generating: that is limited by
/// the overall timeout.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// Maximum size of an answer, decompressed.
pub(super) const MAX_ANSWER: usize = 8 << 20;

const MAX_ERROR_BYTES: usize = 64 << 10;

/// The time limits of an exchange.
pub(super) struct Patience {
    pub(super) until: Instant,
    /// Describes the limit, for the message: "the 60 s of `request_timeout`".
    pub(super) limit: String,
    /// [`IDLE`], except in tests.
    pub(super) idle: Duration,
}

/// The response to a request.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Sends a request and reads the response. An answer with an error status counts as an answer, even if its body is lost.
pub(super) async fn exchange(
    client: &Client,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    patience: &Patience,
) -> Result<Answered, ModelError> {
    let sending = client.post(url).headers(headers).body(body).send();
    let mut response = match timeout_at(patience.until, sending).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(unsent(&error)),
        Err(_) => return Err(too_late(format!("no answer within {}", patience.limit), true)),
    };
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let body = match status.is_success() {
        true => read(response, MAX_ANSWER, patience).await?,
        false => read(response, MAX_ERROR_BYTES, patience).await.unwrap_or_default(),
    };
    Ok(Answered { status, headers, body })
}

fn unsent(error: &reqwest::Error) -> ModelError {
    if error.is_connect() {
        return match error.is_timeout() {
            true => too_late(format!("can't connect within {} s", CONNECT.as_secs()), false),
            false => passing(ErrorKind::Network, net::describe(error)),
        };
    }
    // Once connected, it is unknown how much of the request has arrived.
    let sent = !error.is_builder();
    ModelError { may_cost: sent, ..passing(ErrorKind::Network, net::describe(error)) }
}

async fn read(mut response: Response, most: usize, patience: &Patience) -> Result<Vec<u8>, ModelError> {
    let too_large = || unusable(format!("it is larger than {} MiB", MAX_ANSWER >> 20));
    let announced = response.content_length().unwrap_or(0);
    if announced > most as u64 {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    loop {
        let until = patience.until.min(Instant::now() + patience.idle);
        match timeout_at(until, response.chunk()).await {
            Ok(Ok(None)) => return Ok(body),
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() > most => return Err(too_large()),
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            Ok(Err(error)) => {
                return Err(ModelError {
                    may_cost: true,
                    ..passing(ErrorKind::Network, net::describe(&error))
                });
            }
            Err(_) if until == patience.until => {
                return Err(too_late(format!("no whole answer within {}", patience.limit), true));
            }
            Err(_) => {
                let idle = patience.idle.as_secs_f64();
                return Err(too_late(format!("the answer stopped: nothing came for {idle} s"), true));
            }
        }
    }
}
