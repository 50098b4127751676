//! HTTP clients that are shared by probes, notifiers and models, and the guard for requests whose address is untrusted. What is
//! sent, and what an answer means, is left to the callers.
use crate::domain::HttpMethod;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::tls::TlsInfo;
use reqwest::{Client, ClientBuilder, Method, Response, Url};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::Decode;

mod address;
mod describe;
mod dial;
mod fetch;
mod guard;
mod lookup;
mod places;
mod roots;
#[cfg(test)]
pub(crate) mod testing;

pub use describe::{MAX_REDIRECTS, describe, origin};
pub use dial::connect;
pub use fetch::{Bounds, Fetched, Request, Unanswered, attempt, is_same, next, send};
pub use guard::{Allow, GuardError, check, guarded_client};
pub use places::{ConnectionPlace, ListenerPlaces};
pub use roots::trusted_roots;

/// Whether redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Never: the request is meant for this address only.
    Refuse,
    /// Up to [`MAX_REDIRECTS`] times.
    Follow,
}

/// Converts a method.
pub fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
    }
}

/// Resolves a host to addresses, each with the port; a name server that does not respond only blocks its callers.
///
/// # Errors
/// The error of the system.
pub async fn lookup_host(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let all = lookup::addresses(host, port).await?;
    Ok(all.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// Returns a client for `url`. Each request uses a new connection, so that a probe has the same experience as a new client.
/// Addresses of this machine are never requested through a proxy.
///
/// Certificates are checked against the system's roots. A machine without any still gets a client: plain HTTP works, and HTTPS
/// fails with an unknown issuer. Such a client is not cached, so that roots that are installed later are used.
pub fn client(url: &Url, redirects: Redirects) -> Result<Client, String> {
    static KEPT: [OnceLock<Client>; 4] = [const { OnceLock::new() }; 4];
    let direct = is_this_machine(url);
    let kept = &KEPT[usize::from(direct) + 2 * usize::from(redirects == Redirects::Follow)];
    if let Some(client) = kept.get() {
        return Ok(client.clone());
    }
    let builder =
        || builder(direct, redirects).connect_timeout(Duration::from_secs(30)).pool_max_idle_per_host(0);
    match builder().build() {
        Ok(client) => Ok(kept.get_or_init(|| client).clone()),
        Err(_) => builder().tls_certs_only([]).build().map_err(|error| unmade(&error)),
    }
}

/// Returns a client for `url` that keeps its connections for later requests. It follows no redirect: requests are meant for
/// this address only. Addresses of this machine are never requested through a proxy.
///
/// Each call creates a new client: callers with many requests should keep it.
pub fn pooled(url: &Url, connect_timeout: Duration) -> Result<Client, String> {
    kept(url, connect_timeout, true)
}

/// The same, but bodies are returned byte for byte as sent: what is stored compressed stays so.
pub fn verbatim(url: &Url, connect_timeout: Duration) -> Result<Client, String> {
    kept(url, connect_timeout, false)
}

fn kept(url: &Url, connect_timeout: Duration, gzip: bool) -> Result<Client, String> {
    let direct = is_this_machine(url);
    let builder = || {
        builder(direct, Redirects::Refuse)
            .gzip(gzip)
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(Duration::from_secs(60))
    };
    let plain = url.scheme() == "http";
    // Nothing on this path is encrypted: the system's roots need not be loaded.
    let made = if plain && direct { builder().tls_certs_only([]).build() } else { builder().build() };
    match made {
        Ok(client) => Ok(client),
        // A machine without roots can still use plain HTTP.
        Err(_) if plain => builder().tls_certs_only([]).build().map_err(|error| unmade(&error)),
        Err(error) => Err(unmade(&error)),
    }
}

fn builder(direct: bool, redirects: Redirects) -> ClientBuilder {
    // A second installation is refused by rustls and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("bgagent/", env!("CARGO_PKG_VERSION"));
    let lookup = std::sync::Arc::new(lookup::ByThreads);
    let builder =
        Client::builder().dns_resolver(lookup).tls_info(true).user_agent(agent).redirect(match redirects {
            Redirects::Refuse => Policy::none(),
            Redirects::Follow => Policy::limited(MAX_REDIRECTS),
        });
    if direct { builder.no_proxy() } else { builder }
}

fn unmade(error: &reqwest::Error) -> String {
    format!("can't make an HTTP client: {}", describe(error))
}

/// Returns when the server's certificate expires; `None`: the connection was not encrypted.
pub fn certificate_ends(answer: &Response) -> Option<Timestamp> {
    let info = answer.extensions().get::<TlsInfo>()?;
    let certificate = Certificate::from_der(info.peer_certificate()?).ok()?;
    let ends = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    Timestamp::from_second(i64::try_from(ends.as_secs()).ok()?).ok()
}

/// Returns how long a response asks to wait (RFC 9110, 10.2.3): `Retry-After` in seconds or as a date. Some servers send
/// fractions of a second.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.ceil()).ok();
    }
    let until = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    Duration::try_from(until.duration_since(now)).ok()
}

/// Returns whether its host is this machine, by name or by a loopback address.
pub fn is_this_machine(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
