//! Settings of the `http` tool.
use super::words::HttpMethod;
use crate::domain::host::HostPattern;
use crate::domain::private_host::PrivateHost;
use crate::domain::secret_ref::TextOrSecret;
use std::collections::BTreeMap;

/// Where requests of an instance may go, and what goes with them.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// Hosts that may be asked, where their addresses are public.
    pub hosts: Vec<HostPattern>,
    /// Hosts that may be asked although their addresses are private.
    pub allow_private: Vec<PrivateHost>,
    /// Methods that may be used, in the order of [`HttpMethod`].
    pub methods: Vec<HttpMethod>,
    /// Sent with each request.
    pub headers: BTreeMap<String, TextOrSecret>,
    /// Bytes that are read of an answer.
    pub max_bytes: u64,
    /// Addresses must begin with `https://`.
    pub https_only: bool,
}

impl HttpSettings {
    /// Methods that may be allowed.
    pub const METHODS: &'static [HttpMethod] = &[
        HttpMethod::Get,
        HttpMethod::Head,
        HttpMethod::Post,
        HttpMethod::Put,
        HttpMethod::Patch,
        HttpMethod::Delete,
    ];
    /// `max_bytes` where nothing is said.
    pub const MAX_BYTES: u64 = 1 << 20;
    /// Largest `max_bytes`.
    pub const LARGEST_MAX_BYTES: u64 = 8 << 20;

    /// Whether a secret goes along with a request.
    pub fn has_secret(&self) -> bool {
        self.headers.values().any(TextOrSecret::is_secret)
    }

    /// The method of a call that names none.
    pub fn default_method(&self) -> HttpMethod {
        let usual = self.methods.iter().find(|method| **method == HttpMethod::Get);
        usual.or(self.methods.first()).copied().unwrap_or(HttpMethod::Get)
    }

    /// Whether a request can change anything.
    pub fn can_change(&self) -> bool {
        self.methods.iter().any(|method| !method.only_reads())
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            allow_private: Vec::new(),
            methods: vec![HttpMethod::Get, HttpMethod::Head],
            headers: BTreeMap::new(),
            max_bytes: Self::MAX_BYTES,
            https_only: false,
        }
    }
}

impl HttpMethod {
    /// Whether it changes nothing (RFC 9110, 9.2.1).
    pub fn only_reads(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }
}
