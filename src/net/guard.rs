//! The guard of requests whose address somebody else chose: a model, a feed, a server's redirect.
//!
//! Theory of operation. An address is parsed once, and the host that the parser found is the one that is
//! judged, looked up and connected to. What is odd about its text is refused rather than understood. A
//! name is looked up once; if any of its addresses is not public, the request is refused, unless the
//! configuration names this host as one that may be private. The connection goes to exactly the
//! addresses that were judged, never through a proxy. `fetch` does all this again for each redirect.
//!
//! Which hosts are allowed, and what goes with a request, is for the callers to say.
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

/// Longest address, in bytes.
const LONGEST: usize = 8192;

/// What may be asked.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    /// `None`: every host that is public.
    hosts: Option<Vec<HostPattern>>,
    /// On these ports, too.
    also: Vec<HostPattern>,
    private: Vec<PrivateHost>,
    https_only: bool,
}

impl Allow {
    /// Every public host, on the usual ports.
    pub fn public() -> Self {
        Self::default()
    }

    /// These hosts only, and only while their addresses are public. A pattern without a port stands for
    /// 80 and 443.
    pub fn hosts(hosts: Vec<HostPattern>) -> Self {
        Self { hosts: Some(hosts), ..Self::default() }
    }

    /// These hosts too, also when their addresses are private, loopback or link-local, as far as they admit them.
    pub fn and_private(mut self, hosts: Vec<PrivateHost>) -> Self {
        self.private.extend(hosts);
        self
    }

    /// These hosts too, on any port that they name, while their addresses are public.
    pub fn and(mut self, hosts: Vec<HostPattern>) -> Self {
        self.also.extend(hosts);
        self
    }

    /// No plain HTTP, but to hosts that may be private.
    pub fn https_only(mut self, only: bool) -> Self {
        self.https_only = only;
        self
    }

    /// May this host be asked on this port? With those of the private hosts that it is.
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

/// Why a request was not made, or gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The text is not an address that may be asked; says why.
    #[error("{0}")]
    Address(String),
    /// The host is not on the list.
    #[error("the host {host} is not allowed")]
    Host {
        /// As the address names it.
        host: String,
    },
    /// The host is on the list, this port is not.
    #[error(
        "port {port} of {host} is not allowed: ports other than 80 and 443 are listed as \"{host}:{port}\""
    )]
    Port {
        /// As the address names it.
        host: String,
        port: u16,
    },
    /// The host has an address that is not public.
    #[error(
        "the host {host} is at {address}, which is not a public address; only hosts that are listed as private may be there"
    )]
    Private {
        /// As the address names it.
        host: String,
        /// The first such address.
        address: IpAddr,
    },
    /// A secret goes along, and everybody on the way could read it.
    #[error(
        "secrets are not sent to {host} over plain HTTP: write https://, or, if it is in your own network, name it in \
         `allow_private`"
    )]
    InTheClear {
        /// As the address names it.
        host: String,
    },
    /// The name leads nowhere.
    #[error("the name {host} can't be resolved: {cause}")]
    Unresolved {
        /// As the address names it.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// There are too many redirects, or one that can't be followed; says which.
    #[error("{0}")]
    Redirect(String),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// It failed on the way.
    #[error("{0}")]
    Failed(String),
}

/// Judges the address as far as it can be judged without looking it up.
pub fn check(text: &str, allow: &Allow) -> Result<Url, GuardError> {
    judge(text, allow).map(|(url, _)| url)
}

/// The address, and the private hosts that its host is.
fn judge(text: &str, allow: &Allow) -> Result<(Url, Vec<PrivateHost>), GuardError> {
    let refuse = |why: String| Err(GuardError::Address(why));
    if text.len() > LONGEST {
        return refuse(format!("the address is longer than {} KiB", LONGEST >> 10));
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

/// What is in no address, and what can't be seen in one.
pub(super) fn is_odd(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || c == '\\'
        || crate::domain::is_unseen(c)
        || matches!(c, '\u{fffc}' | '\u{fffd}')
}

/// Is the host that the parser found the one that the text shows?
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
    // What is not ASCII in a name becomes `xn--…`; where it does not, it only dressed up as something.
    let international = host.split('.').any(|label| label.starts_with("xn--"));
    if !shown.is_ascii() && !international {
        return Err(format!("write the host as {host}"));
    }
    Ok(())
}

/// Addresses of a name.
pub(super) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// How names are looked up, and which addresses count as public. The tests have others.
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

    /// Judges an address and all that its host leads to.
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

/// A host that was judged by its name.
#[derive(Clone)]
pub(super) struct Target {
    host: String,
    port: u16,
    private: Vec<PrivateHost>,
    dialer: Dialer,
}

impl Target {
    /// Its addresses, if all of them may be asked.
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

/// An address that may be asked, with the only addresses at which it is.
pub(super) struct Vetted {
    pub(super) url: Url,
    target: Target,
    pub(super) addresses: Vec<IpAddr>,
}

impl Vetted {
    /// Can nobody else read what is sent there: by encryption, or since it stays on this machine or in a network that a
    /// person named?
    pub(super) fn keeps_secrets(&self) -> bool {
        self.url.scheme() == "https"
            || !self.target.private.is_empty()
            || self.addresses.iter().all(IpAddr::is_loopback)
    }

    /// A client that reaches these addresses and no others.
    pub(super) fn client(&self) -> Result<Client, GuardError> {
        let pinned = Pinned { host: self.target.host.clone(), addresses: self.addresses.clone() };
        build(&self.url, || bare().dns_resolver(Arc::new(pinned.clone())))
    }
}

/// Gives what was judged, and only for the name that was judged.
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

/// Looks up and judges for each connection anew.
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

/// A client for many requests to one host, for those who need a client of their own. It reaches no other
/// host by name, follows no redirects, and judges the addresses of its host for each connection. Whoever
/// uses it must keep to the address that comes with it: a host that is written as a number is not looked
/// up and so not judged again.
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

/// Certificates are checked against the system's roots; see [`super::client`].
fn build(url: &Url, builder: impl Fn() -> ClientBuilder) -> Result<Client, GuardError> {
    // A second installation is refused by rustls and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Reading the roots takes a while, and plain HTTP has no use for them.
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
