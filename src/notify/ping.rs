//! A ping to another monitor, by the conventions of healthchecks.io (healthchecks.io/docs/http_api): the URL itself for
//! success, `/start` and `/fail` appended, and `rid` for the run.
use super::message::SendError;
use super::post::{Post, Reads, post, url_of};
use crate::domain::{EnvValue, PingSignal, RunId};
use crate::secret;
use reqwest::header::HeaderMap;
use std::time::Duration;

/// Sends a ping. Of the run, only its id leaves the machine.
pub async fn ping(
    url: &EnvValue,
    signal: PingSignal,
    run: Option<RunId>,
    timeout: Duration,
) -> Result<(), SendError> {
    let url = secret::value_of(url, timeout)
        .await
        .map_err(|error| SendError::passing(format!("no address: {error}")))?;
    let mut url = url_of(url.expose())?;
    if let (Some(suffix), Ok(mut path)) = (suffix(signal), url.path_segments_mut()) {
        path.pop_if_empty().push(suffix);
    }
    if let Some(run) = run {
        url.query_pairs_mut().append_pair("rid", &run.to_string());
    }
    let (headers, body, hidden, reads) = (HeaderMap::new(), String::new(), Vec::new(), Reads::default());
    post(Post { method: "GET", url, headers, body, hidden, reads, timeout }).await
}

fn suffix(signal: PingSignal) -> Option<&'static str> {
    match signal {
        PingSignal::Start => Some("start"),
        PingSignal::Success => None,
        PingSignal::Fail => Some("fail"),
    }
}
