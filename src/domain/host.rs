//! Host patterns in the configuration: `api.github.com`, `*.example.org`, `example.org:8443`, `10.1.2.3`,
//! `[::1]:8080`.
//!
//! Whether a connection is allowed is decided where it is made.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// A host, or all subdomains of one; optionally restricted to one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    name: Name,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// Lower case, ASCII, without a trailing dot.
    Host(String),
    /// The part after `*`, with its dot.
    Below(String),
    Address(IpAddr),
}

impl HostPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The first text says what is wrong, the second what to write.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let refuse = |what: &str, instead: &str| Err((format!("\"{text}\" {what}"), instead.to_owned()));
        if text.contains("://") {
            return refuse(
                "is an address, and a host is wanted",
                "write \"example.org\" for https://example.org/",
            );
        }
        if text.contains('/') {
            return refuse("is not a host", "write each host by itself, without a path or a mask");
        }
        if !text.is_ascii() {
            return refuse(
                "has letters that no host has",
                "write its ASCII form, which begins with \"xn--\"",
            );
        }
        let Some((host, port)) = split(text) else {
            return refuse("has no valid port", "write \"example.org:8443\", or \"[::1]:8443\" for IPv6");
        };
        let host = host.to_ascii_lowercase();
        if let Ok(address) = host.parse() {
            return Ok(Self { name: Name::Address(address), port });
        }
        if host == "*" || host == "*." {
            return refuse("is every host", "name the hosts, or all below one: \"*.example.org\"");
        }
        let (name, below) = match host.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (host.as_str(), false),
        };
        if let Err(what) = is_name(name) {
            return refuse(
                what,
                "write \"example.org\", \"*.example.org\", \"example.org:8443\" or \"10.1.2.3\"",
            );
        }
        if below && !name.contains('.') {
            return refuse("is too wide", "name at least two parts: \"*.example.org\"");
        }
        let name = if below { Name::Below(format!(".{name}")) } else { Name::Host(host) };
        Ok(Self { name, port })
    }

    /// Returns whether the host of a URL matches. `host` is in the form of URLs: lower case, IPv6 in brackets.
    pub fn fits(&self, host: &str) -> bool {
        match &self.name {
            Name::Host(name) => name == host,
            Name::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            Name::Address(IpAddr::V4(address)) => host.parse::<Ipv4Addr>().ok().as_ref() == Some(address),
            Name::Address(IpAddr::V6(address)) => {
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                host.and_then(|host| host.parse::<Ipv6Addr>().ok()).as_ref() == Some(address)
            }
        }
    }

    /// Returns the only port that it allows, if it has one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the IP address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        if let Name::Address(address) = self.name { Some(address) } else { None }
    }

    /// Returns whether it matches a single host.
    pub fn is_single(&self) -> bool {
        !matches!(self.name, Name::Below(_))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Host(name) => f.write_str(name)?,
            Name::Below(end) => write!(f, "*{end}")?,
            Name::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Name::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Splits host and port. IPv6 needs no brackets without a port.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |text: &str| -> Option<u16> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| digits && *port != 0)
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(text) => Some((host, Some(port(text)?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, None));
    }
    match text.split_once(':') {
        Some((host, text)) => Some((host, Some(port(text)?))),
        None => Some((text, None)),
    }
}

/// Checks that this is a valid host name. One whose last part is a number would be parsed as an IP address.
fn is_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 253 {
        return Err("is not a host");
    }
    for label in name.split('.') {
        let good =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if label.is_empty() || label.len() > 63 || !label.bytes().all(good) {
            return Err("is not a host");
        }
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return Err("is neither a name nor an address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Tests of host patterns.
    use super::*;

    #[test]
    fn good_ones_are_read_and_shown() {
        for (text, shown) in [
            ("api.github.com", "api.github.com"),
            ("API.GitHub.com", "api.github.com"),
            ("*.example.org", "*.example.org"),
            ("*.example.org:8443", "*.example.org:8443"),
            ("nas.local", "nas.local"),
            ("nas", "nas"),
            ("my_host:80", "my_host:80"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:8080", "10.1.2.3:8080"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("[FE80::0:1]:8080", "[fe80::1]:8080"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1password.com", "1password.com"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn bad_ones_are_refused() {
        for (text, says) in [
            ("", "is not a host"),
            ("*", "is every host"),
            ("*:443", "is every host"),
            ("*.", "is every host"),
            ("*.org", "is too wide"),
            ("*example.org", "is not a host"),
            ("a.*.org", "is not a host"),
            ("*.*.example.org", "is not a host"),
            ("*.0.0.1", "is neither"),
            ("example.org.", "is not a host"),
            (".example.org", "is not a host"),
            ("a..b", "is not a host"),
            ("https://example.org", "is an address"),
            ("example.org/path", "is not a host"),
            ("10.0.0.0/8", "is not a host"),
            ("user@example.org", "is not a host"),
            ("example.org:", "no valid port"),
            ("example.org:0", "no valid port"),
            ("example.org:+1", "no valid port"),
            ("example.org:99999", "no valid port"),
            ("[::1", "no valid port"),
            ("[::1]x", "no valid port"),
            ("[example.org]", "no valid port"),
            ("bücher.example", "letters"),
            ("127.1", "is neither"),
            ("2130706433", "is neither"),
            ("0x7f.1", "is neither"),
            ("127.0.0.01", "is neither"),
            ("1.2.3.4.5", "is neither"),
            ("exa mple.org", "is not a host"),
            ("exam\0ple.org", "is not a host"),
        ] {
            let (error, hint) = HostPattern::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
            assert!(!hint.is_empty());
        }
    }

    #[test]
    fn fits_what_it_names() {
        let fits = |pattern: &str, host: &str| HostPattern::parse(pattern).unwrap().fits(host);
        assert!(fits("a.example.org", "a.example.org"));
        assert!(!fits("a.example.org", "b.a.example.org"));
        assert!(fits("*.example.org", "a.example.org"));
        assert!(fits("*.example.org", "b.a.example.org"));
        assert!(!fits("*.example.org", "example.org"));
        assert!(!fits("*.example.org", ".example.org"));
        assert!(!fits("*.example.org", "evilexample.org"));
        assert!(!fits("*.example.org", "a.example.org.evil.net"));
        assert!(fits("::1", "[::1]"));
        assert!(!fits("::1", "::1"));
        assert!(fits("10.1.2.3", "10.1.2.3"));
        assert!(!fits("10.1.2.3", "10.1.2.30"));
    }
}
