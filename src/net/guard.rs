//! The guard of requests whose address is untrusted: from a model, a feed, a server's redirect.
//!
//! Theory of operation. A URL is parsed once, and the host found by the parser is the one that is checked, resolved and
//! connected to. Ambiguous text is refused rather than interpreted. A name is resolved once; if any of its addresses is not
//! public, the request is refused, unless the configuration lists this host as private. The connection goes to exactly the
//! addresses that were checked, never through a proxy. `fetch` repeats all this for each redirect.
//!
//! Which hosts are allowed, and what is sent with a request, is left to the callers.
use super::address::{is_private, is_public};
use crate::domain::{HostPattern, PrivateHost};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Maximum length of a URL, in bytes.
const MAX_URL_BYTES: usize = 8192;

/// The allowed destinations.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    /// `None`: every public host.
    hosts: Option<Vec<HostPattern>>,
    /// Allowed in addition, on these ports.
    also: Vec<HostPattern>,
    private: Vec<PrivateHost>,
    https_only: bool,
}

impl Allow {
    /// Allows every public host, on the usual ports.
    pub fn public() -> Self {
        Self::default()
    }

    /// Allows only these hosts, and only while their addresses are public. A pattern without a port stands for 80 and 443.
    pub fn hosts(hosts: Vec<HostPattern>) -> Self {
        Self { hosts: Some(hosts), ..Self::default() }
    }

    /// Also allows these hosts with private, loopback or link-local addresses, as far as their entries permit.
    pub fn and_private(mut self, hosts: Vec<PrivateHost>) -> Self {
        self.private.extend(hosts);
        self
    }

    /// Also allows these hosts, on any port that they specify, while their addresses are public.
    pub fn and(mut self, hosts: Vec<HostPattern>) -> Self {
        self.also.extend(hosts);
        self
    }

    /// Refuses plain HTTP, except to hosts that may be private.
    pub fn https_only(mut self, only: bool) -> Self {
        self.https_only = only;
        self
    }

    /// Checks host and port. Returns the matching private hosts.
    fn judge(&self, host: &str, port: u16) -> Result<Vec<PrivateHost>, GuardError> {
        let usual = matches!(port, 80 | 443);
        let open = |pattern: &HostPattern| pattern.port().map_or(usual, |only| only == port);
        let named = |private: &&PrivateHost| private.host.fits(host) && open(&private.host);
        let private: Vec<PrivateHost> = self.private.iter().filter(named).cloned().collect();
        if !private.is_empty() {
            return Ok(private);
        }
        let listed = self.also.iter().chain(self.hosts.iter().flatten());
        let mut fitting = listed.filter(|pattern| pattern.fits(host)).peekable();
        let is_known = fitting.peek().is_some()
            || self.hosts.is_none()
            || self.private.iter().any(|private| private.host.fits(host));
        if fitting.any(open) || (self.hosts.is_none() && usual) {
            return Ok(private);
        }
        let host = host.to_owned();
        if is_known { Err(GuardError::Port { host, port }) } else { Err(GuardError::Host { host }) }
    }
}

/// Why a request was not made, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The URL is invalid or not allowed; says why.
    #[error("{0}")]
    Address(String),
    /// The host is not on the list.
    #[error("the host {host} is not allowed")]
    Host { host: String },
    /// The host is on the list, but this port is not.
    #[error(
        "port {port} of {host} is not allowed: ports other than 80 and 443 are listed as \"{host}:{port}\""
    )]
    Port { host: String, port: u16 },
    /// The host has an address that is not public.
    #[error(
        "the host {host} is at {address}, which is not a public address; only hosts that are listed as private may be there"
    )]
    Private {
        host: String,
        /// The first such address.
        address: IpAddr,
    },
    /// The request contains a secret, and could be read on its way.
    #[error(
        "secrets are not sent to {host} over plain HTTP: write https://, or, if it is in your own network, name it in \
         `allow_private`"
    )]
    InTheClear { host: String },
    /// The name can't be resolved.
    #[error("the name {host} can't be resolved: {cause}")]
    Unresolved {
        host: String,
        /// The error of the resolver.
        cause: String,
    },
    /// There are too many redirects, or one that can't be followed; says which.
    #[error("{0}")]
    Redirect(String),
    #[error("no answer in time")]
    Timeout,
    /// It failed on the way.
    #[error("{0}")]
    Failed(String),
}

/// Checks a URL as far as possible without resolving its host.
pub fn check(text: &str, allow: &Allow) -> Result<Url, GuardError> {
    judge(text, allow).map(|(url, _)| url)
}

/// Returns the URL, and the matching private hosts.
fn judge(text: &str, allow: &Allow) -> Result<(Url, Vec<PrivateHost>), GuardError> {
    let refuse = |why: String| Err(GuardError::Address(why));
    if text.len() > MAX_URL_BYTES {
        return refuse(format!("the address is longer than {} KiB", MAX_URL_BYTES >> 10));
    }
    if let Some(odd) = text.chars().find(|c| is_odd(*c)) {
        return refuse(format!(
            "the address has {}, which no address has: write it percent-encoded",
            odd.escape_unicode()
        ));
    }
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let rest = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
        (Some(_), _) => &text["https://".len()..],
        (None, Some(_)) => &text["http://".len()..],
        (None, None) => return refuse("the address must begin with http:// or https://".into()),
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') {
        return refuse("the address must not name a user or a password".into());
    }
    if authority.contains('%') {
        return refuse("the host must not be percent-encoded".into());
    }
    if authority.is_empty() {
        return refuse("the address has no host".into());
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return refuse(format!("the address is not a URL: {error}")),
    };
    let Some(host) = url.host_str() else { return refuse("the address has no host".into()) };
    let more =
        !url.username().is_empty() || url.password().is_some() || !matches!(url.scheme(), "http" | "https");
    if more {
        return refuse("the address must be a plain http:// or https:// address".into());
    }
    plain_host(authority, host).map_err(GuardError::Address)?;
    let port = url.port_or_known_default().unwrap_or(0);
    let private = allow.judge(host, port)?;
    if allow.https_only && url.scheme() != "https" && private.is_empty() {
        return refuse(format!("only https:// addresses are allowed for {host}"));
    }
    Ok((url, private))
}

/// Returns whether a character is invalid or invisible in a URL.
pub(super) fn is_odd(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || c == '\\'
        || crate::domain::is_unseen(c)
        || matches!(c, '\u{fffc}' | '\u{fffd}')
}

/// Checks that the host found by the parser is the one that the text shows.
fn plain_host(authority: &str, host: &str) -> Result<(), String> {
    if host.ends_with('.') {
        return Err("the host must not end with a dot".into());
    }
    if host.len() > 253
        || host.split('.').any(|label| label.is_empty() || label.len() > 63) && !host.starts_with('[')
    {
        return Err("the host is not a name that can be looked up".into());
    }
    let shown = if authority.starts_with('[') {
        authority.split_inclusive(']').next().unwrap_or(authority)
    } else {
        authority.split(':').next().unwrap_or(authority)
    };
    let is_v4 = host.parse::<std::net::Ipv4Addr>().is_ok();
    if is_v4 && shown != host {
        return Err(format!("write the address as {host}"));
    }
    // Non-ASCII names become `xn--…`; where that does not happen, they only look like something else.
    let international = host.split('.').any(|label| label.starts_with("xn--"));
    if !shown.is_ascii() && !international {
        return Err(format!("write the host as {host}"));
    }
    Ok(())
}

/// The future of a name's addresses.
pub(super) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// How names are resolved, and which addresses are public. Tests replace both.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) lookup: Arc<dyn Fn(String, u16) -> Found + Send + Sync>,
    pub(super) is_public: fn(IpAddr) -> bool,
}

impl Dialer {
    pub(super) fn system() -> Self {
        let lookup = |host: String, port: u16| -> Found { Box::pin(super::lookup::addresses(host, port)) };
        Self { lookup: Arc::new(lookup), is_public }
    }

    /// Checks a URL and all addresses of its host.
    pub(super) async fn vet(&self, text: &str, allow: &Allow) -> Result<Vetted, GuardError> {
        let (url, private) = judge(text, allow)?;
        let target = Target {
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or(0),
            private,
            dialer: self.clone(),
        };
        let addresses = target.addresses().await?;
        Ok(Vetted { url, target, addresses })
    }
}

/// A host that was checked by its name.
#[derive(Clone)]
pub(super) struct Target {
    host: String,
    port: u16,
    private: Vec<PrivateHost>,
    dialer: Dialer,
}

impl Target {
    /// Returns its addresses, if all of them are allowed.
    async fn addresses(&self) -> Result<Vec<IpAddr>, GuardError> {
        let literal = self.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let found = match literal {
            Ok(address) => Ok(vec![address]),
            Err(_) => (self.dialer.lookup)(self.host.clone(), self.port).await,
        };
        let unresolved = |cause: String| GuardError::Unresolved { host: self.host.clone(), cause };
        let found = found.map_err(|error| unresolved(error.to_string()))?;
        if found.is_empty() {
            return Err(unresolved("it has no address".into()));
        }
        let named = |address| self.private.iter().any(|private| private.admits(address));
        let good =
            |address: IpAddr| (self.dialer.is_public)(address) || (is_private(address) && named(address));
        match found.iter().find(|address| !good(**address)) {
            Some(address) => Err(GuardError::Private { host: self.host.clone(), address: *address }),
            None => Ok(found),
        }
    }
}

/// A URL that may be requested, with the only addresses to connect to.
pub(super) struct Vetted {
    pub(super) url: Url,
    target: Target,
    pub(super) addresses: Vec<IpAddr>,
}

impl Vetted {
    /// Returns whether nobody else can read what is sent there: because of encryption, or since it stays on this machine or in
    /// a network that the configuration names.
    pub(super) fn keeps_secrets(&self) -> bool {
        self.url.scheme() == "https"
            || !self.target.private.is_empty()
            || self.addresses.iter().all(IpAddr::is_loopback)
    }

    /// Creates a client that only connects to these addresses.
    pub(super) fn client(&self) -> Result<Client, GuardError> {
        let pinned = Pinned { host: self.target.host.clone(), addresses: self.addresses.clone() };
        build(&self.url, || bare().dns_resolver(Arc::new(pinned.clone())))
    }
}

/// Resolves the name that was checked to the addresses that were checked.
#[derive(Clone)]
struct Pinned {
    host: String,
    addresses: Vec<IpAddr>,
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let found: Result<Addrs, _> = if name.as_str() == self.host {
            let all: Vec<_> = self.addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect();
            Ok(Box::new(all.into_iter()))
        } else {
            Err(format!("{} was not judged", name.as_str()).into())
        };
        Box::pin(std::future::ready(found))
    }
}

/// Resolves and checks for each connection.
#[derive(Clone)]
struct Guarded(Target);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let target = self.0.clone();
        Box::pin(async move {
            if name.as_str() != target.host {
                return Err(format!("{} was not judged", name.as_str()).into());
            }
            let all = target.addresses().await?;
            Ok(Box::new(all.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Creates a client for many requests to one host. It connects to no other host by name, follows no redirects, and checks the
/// addresses of its host for each connection. Callers must only use the URL that is returned with it: a numeric host is not
/// resolved and so not checked again.
pub async fn guarded_client(text: &str, allow: &Allow) -> Result<(Client, Url), GuardError> {
    let vetted = Dialer::system().vet(text, allow).await?;
    let guarded = Guarded(vetted.target.clone());
    let client = build(&vetted.url, || bare().dns_resolver(Arc::new(guarded.clone())))?;
    Ok((client, vetted.url))
}

fn bare() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("bgagent/", env!("CARGO_PKG_VERSION")))
        .tls_info(true)
        .connect_timeout(Duration::from_secs(15))
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
}

/// Builds a client that checks certificates against the system's roots; see [`super::client`].
fn build(url: &Url, builder: impl Fn() -> ClientBuilder) -> Result<Client, GuardError> {
    // A second installation is refused by rustls and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Loading the roots takes a while, and plain HTTP does not need them.
    let with_roots = if url.scheme() == "https" { builder().build().ok() } else { None };
    match with_roots {
        Some(client) => Ok(client),
        None => builder().tls_certs_only([]).build().map_err(|error| {
            GuardError::Failed(format!("can't make an HTTP client: {}", super::describe(&error)))
        }),
    }
}

#[cfg(test)]
mod tests;
