//! One operation on a bucket: signed, sent, its response read up to a limit; retried while that can help and time is left. All
//! operations are idempotent.
use super::error::{S3Error, S3ErrorKind, refused};
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, Response, Url};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Maximum attempts per operation.
const MAX_ATTEMPTS: u32 = 5;
/// The first delay between two attempts; it doubles.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(200);
/// Maximum bytes that are read of an error response.
const MAX_REFUSAL_BYTES: usize = 16 << 10;

/// How much of a response's body is read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// Maximum length in bytes.
    pub(super) most: usize,
    /// Truncate longer bodies. False: they are an error.
    pub(super) cut: bool,
}

/// A successful response.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) truncated: bool,
}

/// Sends a request, with a new signature for each attempt.
pub(super) async fn exchange(
    client: &Client,
    request: Request,
    sign: impl Fn() -> Url,
    reading: Reading,
    bound: Duration,
) -> Result<Answer, S3Error> {
    let deadline = Instant::now() + bound;
    let mut tries = 0;
    loop {
        tries += 1;
        let left = deadline.saturating_duration_since(Instant::now());
        // Leaves time for another attempt if a server hangs.
        let share = if tries < MAX_ATTEMPTS { left.mul_f64(0.6) } else { left };
        let mut again = request.try_clone().expect("its body is in memory");
        *again.url_mut() = sign();
        let tried = tokio::time::timeout(share, once(client, again, reading)).await;
        let error = match tried.unwrap_or_else(|_| Err(S3Error::late())) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let wait = error.retry_after.unwrap_or_default().max(backoff(tries));
        let left = deadline.saturating_duration_since(Instant::now());
        if tries == MAX_ATTEMPTS || !error.kind.is_passing() || wait >= left {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
    }
}

/// Returns the delay: doubled with each attempt, with some jitter.
fn backoff(tries: u32) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    let spread = 0.75 + f64::from(nanos % 1000) / 2000.0;
    (FIRST_RETRY_DELAY * 2_u32.pow(tries - 1)).mul_f64(spread)
}

async fn once(client: &Client, request: Request, reading: Reading) -> Result<Answer, S3Error> {
    let mut answer = client.execute(request).await.map_err(|error| S3Error::unsent(&error))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    if !status.is_success() {
        // An error response without a readable body is an error response, too.
        let (body, _) = read(&mut answer, MAX_REFUSAL_BYTES).await.unwrap_or_default();
        return Err(refused(status, &headers, &body));
    }
    let declared = answer.content_length().unwrap_or(0);
    if declared > reading.most as u64 && !reading.cut {
        return Err(too_large(&format!("{declared} bytes"), reading.most));
    }
    let (body, truncated) = read(&mut answer, reading.most).await?;
    if truncated && !reading.cut {
        return Err(too_large("more", reading.most));
    }
    Ok(Answer { headers, body, truncated })
}

fn too_large(has: &str, most: usize) -> S3Error {
    S3Error::new(S3ErrorKind::TooLarge, format!("it has {has}, and {most} bytes are the most here"))
}

/// Returns the body, or its beginning if it is longer.
async fn read(answer: &mut Response, most: usize) -> Result<(Vec<u8>, bool), S3Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| S3Error::unsent(&error))? {
        let room = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}
