//! Network destinations that a sandboxed program may connect to: `api.github.com:443`, `*.example.org`,
//! `10.1.2.3:8080`, `nas.lan:8443=10.1.2.0/24`.
//!
//! A name allows public addresses only. Private ones must be written literally, or as a range after the name.
use super::host::HostPattern;
use super::private_host::PrivateHost;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One entry of `net`. Without a port it covers ports 80 and 443.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetTarget {
    /// Only at public addresses.
    Public(HostPattern),
    /// Also at the private addresses that it admits.
    Private(PrivateHost),
}

impl NetTarget {
    /// Parses an entry.
    ///
    /// # Errors
    /// The first text says what is wrong, the second what to write.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        if text.contains('=') {
            return PrivateHost::parse(text).map(Self::Private);
        }
        let host = HostPattern::parse(text)?;
        Ok(PrivateHost::literal(host.clone()).map_or(Self::Public(host), Self::Private))
    }

    /// Returns its host.
    pub fn host(&self) -> &HostPattern {
        match self {
            Self::Public(host) => host,
            Self::Private(private) => &private.host,
        }
    }

    /// Returns whether it allows a cloud metadata service, which hands out credentials.
    pub fn is_metadata(&self) -> bool {
        match self {
            Self::Public(_) => false,
            Self::Private(private) => private.is_metadata(),
        }
    }

    /// Returns whether it is the machine that the daemon runs on.
    pub fn is_this_machine(&self) -> bool {
        self.host().fits("localhost") || self.host().address().is_some_and(|address| address.is_loopback())
    }
}

impl fmt::Display for NetTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public(host) => host.fmt(f),
            Self::Private(private) => private.fmt(f),
        }
    }
}

impl TryFrom<String> for NetTarget {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|(what, instead)| format!("{what}; {instead}"))
    }
}

impl From<NetTarget> for String {
    fn from(target: NetTarget) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what an entry stands for.
    use super::*;

    #[test]
    fn private_addresses_must_be_written_out() {
        for (text, private, here) in [
            ("api.github.com:443", false, false),
            ("*.example.org", false, false),
            ("nas.lan", false, false),
            ("nas.lan:8443=10.1.2.0/24", true, false),
            ("10.1.2.3:8080", true, false),
            ("127.0.0.1:8080", true, true),
            ("[::1]:8080", true, true),
            ("localhost:8080", true, true),
        ] {
            let target = NetTarget::parse(text).unwrap();
            assert_eq!(matches!(target, NetTarget::Private(_)), private, "{text}");
            assert_eq!(target.is_this_machine(), here, "{text}");
            let written = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<NetTarget>(&written).unwrap(), target, "{text}");
        }
        for (text, metadata) in [
            ("169.254.169.254:80", true),
            ("a.example:80=169.254.169.254", true),
            ("10.1.2.3", false),
            ("a.example", false),
        ] {
            assert_eq!(NetTarget::parse(text).unwrap().is_metadata(), metadata, "{text}");
        }
        for text in ["", "*", "https://a.example/", "a.example:0", "*.lan.example=10.0.0.0/8", "a.example=x"]
        {
            assert!(NetTarget::parse(text).is_err(), "{text}");
        }
    }
}
