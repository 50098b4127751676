//! Checks of other machines: HTTP addresses and TCP ports.
use super::level::Thresholds;
use super::measured::{Measured, plain};
use super::spec::{address, host_and_port, shown};
use crate::domain::{HttpMethod, Level, TextOrSecret, WebCheck, counted};
use crate::net::{self, Allow, GuardError, Redirects};
use crate::secret;
use crate::tools::http::decoded;
use crate::tools::system_metrics::tenth;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Maximum number of bytes read of an answer.
const MAX_BODY_BYTES: usize = 1 << 20;

pub(super) async fn http(web: &WebCheck, bound: Duration, thresholds: &Thresholds) -> Measured {
    let url = match address(&web.url) {
        Ok(url) => url,
        Err(why) => return Measured::failed(why),
    };
    let name = shown(&url);
    // A check that expects a redirect must see it. A secret is for this address only.
    let wants_redirect = web.status.iter().flatten().any(|status| (300..400).contains(status));
    let has_secret = web.headers.values().any(TextOrSecret::is_secret);
    let stays = wants_redirect || has_secret;
    if has_secret && url.scheme() == "http" && !net::is_this_machine(&url) {
        return Measured::failed(format!(
            "{name} can't be asked: secrets are not sent over plain HTTP; write https://"
        ));
    }
    let headers = match headers(web, bound).await {
        Ok(headers) => headers,
        Err(error) => return Measured::failed(format!("{name} can't be asked: {error}")),
    };
    let started = Instant::now();
    let mut answer = match ask(&url, web.method.unwrap_or(WebCheck::METHOD), headers, !stays).await {
        Ok(answer) => answer,
        Err(why) => return Measured::failed(format!("{name}{why}")),
    };
    let got = answer.status().as_u16();
    if stays && !wants_redirect && (300..400).contains(&got) {
        return Measured::failed(format!(
            "{name} answered {got}, and secrets are not sent on: check the final address"
        ));
    }
    if !is_right(&web.status, got) {
        let wanted = match &web.status {
            None => "200 to 399".to_owned(),
            Some(list) => list.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
        };
        return Measured::failed(format!("{name} answered {got}, not {wanted}"));
    }
    let mut body = Vec::new();
    while body.len() < MAX_BODY_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY_BYTES - body.len())]),
            Ok(None) => break,
            Err(error) => return Measured::failed(format!("{name}: {}", net::describe(&error))),
        }
    }
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    if let Some(says) = wrong_text(web, answer.headers(), &body) {
        let title = format!("{name} answered {got} {says}");
        return Measured { level: Level::Crit, value: Some(ms), unit: Some("ms"), title };
    }
    let measured =
        Measured::judged(thresholds, ms, "ms", format!("{name} answered {got} in {} ms", plain(tenth(ms))));
    match web.tls_days {
        Some(days) => with_certificate(&name, measured, days, net::certificate_ends(&answer)),
        None => measured,
    }
}

/// Sends the request, and follows redirects if wanted. The target of a redirect is untrusted: on the same
/// host it is followed as it is; any other is subject to the same guard as in the `http` tool, and gets no
/// headers.
///
/// # Errors
/// The rest of a sentence that begins with the name of the check.
async fn ask(url: &Url, method: HttpMethod, headers: HeaderMap, follows: bool) -> Result<Response, String> {
    let client = net::client(url, Redirects::Refuse).map_err(|error| format!(" can't be asked: {error}"))?;
    let failed = |error: reqwest::Error| format!(": {}", net::describe(&error));
    let (mut at, mut method) = (url.clone(), net::method(method));
    let asked = client.request(method.clone(), at.clone()).headers(headers.clone());
    let mut answer = asked.send().await.map_err(failed)?;
    for _ in 0..net::MAX_REDIRECTS {
        let misled = |error: GuardError| format!(": {error}; check the final address itself");
        let to = if follows { net::next(&at, &answer).map_err(misled)? } else { None };
        let Some(to) = to else { return Ok(answer) };
        let status = answer.status().as_u16();
        if (status == 303 && method != Method::HEAD)
            || (matches!(status, 301 | 302) && method == Method::POST)
        {
            method = Method::GET;
        }
        answer = if net::is_same(url, &to) {
            let client =
                net::client(&to, Redirects::Refuse).map_err(|error| format!(" can't be asked: {error}"))?;
            let asked = client.request(method.clone(), to.clone()).headers(headers.clone());
            asked.send().await.map_err(failed)?
        } else if matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
            let guarded = net::guarded_client(to.as_str(), &Allow::public()).await;
            let (client, url) = guarded.map_err(misled)?;
            client.request(method.clone(), url).send().await.map_err(failed)?
        } else {
            return Err(format!(": {method} is not repeated at {}, where it redirects to", net::origin(&to)));
        };
        at = to;
    }
    match net::next(&at, &answer) {
        Ok(None) => Ok(answer),
        _ => Err(format!(": more than {} redirects", net::MAX_REDIRECTS)),
    }
}

async fn headers(web: &WebCheck, bound: Duration) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
    for (name, value) in &web.headers {
        let text = secret::value_of(value, bound).await;
        let text = text.map_err(|error| format!("no value for the header `{name}`: {error}"))?;
        let value = HeaderValue::from_str(&text);
        let mut value =
            value.map_err(|_| format!("the header `{name}` has characters that none can hold"))?;
        value.set_sensitive(true);
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` can't name a header"))?;
        all.insert(name, value);
    }
    Ok(all)
}

/// Checks the text of an answer, decoded or as raw bytes, and returns what is wrong with it.
fn wrong_text(web: &WebCheck, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_page = kind.is_empty() || kind.contains("html") || kind.contains("xml");
    let text = decoded(body, headers, is_page);
    let has = |wanted: &str| text.contains(wanted) || has(body, wanted.as_bytes());
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(60).collect::<String>();
    let within = if body.len() >= MAX_BODY_BYTES { " in its first 1 MiB" } else { "" };
    let not_empty = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
    match (&web.contains, not_empty(&web.not_contains)) {
        (Some(wanted), _) if !has(wanted) => Some(format!("without \"{}\"{within}", short(wanted))),
        (_, Some(unwanted)) if has(&unwanted) => Some(format!("with \"{}\"", short(&unwanted))),
        _ => None,
    }
}

/// Adds the certificate's expiry to the result; if it is soon, that is a warning, unless the result is worse.
pub(super) fn with_certificate(
    name: &str,
    measured: Measured,
    days: u64,
    ends: Option<Timestamp>,
) -> Measured {
    let Some(ends) = ends else {
        return Measured::failed(format!("{name}: the end of its certificate can't be read"));
    };
    let left = ends.duration_since(crate::clock::wall()).as_hours() / 24;
    let until = ends.strftime("%Y-%m-%d");
    let said =
        format!("its certificate is good for {}, until {until}", counted(left.max(0).unsigned_abs(), "day"));
    let is_soon = u64::try_from(left).is_ok_and(|left| left < days) || left < 0;
    if is_soon && matches!(measured.level, Level::Ok | Level::Hold | Level::Warn) {
        let title = format!("{name}: {said} (warn below {})", counted(days, "day"));
        return Measured { level: Level::Warn, value: Some(left as f64), unit: Some("days"), title };
    }
    Measured { title: format!("{}; {said}", measured.title), ..measured }
}

pub(super) async fn tcp(host: &str, port: u16, thresholds: &Thresholds) -> Measured {
    let name = host_and_port(host, port);
    let started = Instant::now();
    match TcpStream::connect((host, port)).await {
        Ok(_) => {
            let ms = started.elapsed().as_secs_f64() * 1000.0;
            Measured::judged(
                thresholds,
                ms,
                "ms",
                format!("{name} accepted a connection in {} ms", plain(tenth(ms))),
            )
        }
        Err(cause) => Measured::failed(format!("{name} can't be reached: {cause}")),
    }
}

fn is_right(status: &Option<Vec<u16>>, got: u16) -> bool {
    match status {
        None => (200..400).contains(&got),
        Some(list) => list.contains(&got),
    }
}

fn has(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}
