//! Settings and arguments of the `http` tool.
use super::arguments::{ArgumentType, CallSchema, arguments};
use super::words::HttpMethod;
use crate::domain::host::HostPattern;
use crate::domain::private_host::PrivateHost;
use crate::domain::secret_ref::TextOrSecret;
use crate::domain::words::words;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Destinations of an instance's requests, and their options.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// Hosts that are allowed if their addresses are public.
    pub hosts: Vec<HostPattern>,
    /// Hosts that are allowed although their addresses are private.
    pub allow_private: Vec<PrivateHost>,
    /// Allowed methods, in the order of [`HttpMethod`].
    pub methods: Vec<HttpMethod>,
    /// Sent with each request.
    pub headers: BTreeMap<String, TextOrSecret>,
    /// Maximum number of bytes read of an answer.
    pub max_bytes: u64,
    /// Only `https://` addresses are allowed.
    pub https_only: bool,
}

impl HttpSettings {
    /// Methods that can be allowed.
    pub const METHODS: &'static [HttpMethod] = &[
        HttpMethod::Get,
        HttpMethod::Head,
        HttpMethod::Post,
        HttpMethod::Put,
        HttpMethod::Patch,
        HttpMethod::Delete,
    ];
    /// Default of `max_bytes`.
    pub const MAX_BYTES: u64 = 1 << 20;
    /// Maximum of `max_bytes`.
    pub const LARGEST_MAX_BYTES: u64 = 8 << 20;

    /// Returns whether a secret is sent with requests.
    pub fn has_secret(&self) -> bool {
        self.headers.values().any(TextOrSecret::is_secret)
    }

    /// Returns the method of a call that names none.
    pub fn default_method(&self) -> HttpMethod {
        let usual = self.methods.iter().find(|method| **method == HttpMethod::Get);
        usual.or(self.methods.first()).copied().unwrap_or(HttpMethod::Get)
    }

    /// Returns the allowed hosts, for people and models.
    pub fn shown_hosts(&self) -> String {
        let mut all: Vec<String> = Vec::new();
        let private = self.allow_private.iter().map(|private| &private.host);
        for host in self.hosts.iter().chain(private).map(HostPattern::to_string) {
            if !all.contains(&host) {
                all.push(host);
            }
        }
        all.join(", ")
    }

    /// Returns whether a request can change anything.
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
    /// Returns whether the method is safe (RFC 9110, 9.2.1).
    pub fn only_reads(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }
}

words! {
    /// How an answer is given.
    AnswerForm {
        /// As text, also what is JSON.
        Text = "text",
        /// As a page, whatever it says of itself.
        Html = "html",
        /// As JSON, which it must be.
        Json = "json",
        /// Unchanged.
        Raw = "raw",
    }
}

arguments! {
    /// One request.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct HttpArgs {
        /// Its full address.
        pub url: String,
        /// Left out: GET, or the first that is allowed.
        pub method: Option<HttpMethod>,
        /// What the caller says of the request.
        #[serde(default)]
        #[schema(undescribed())]
        pub headers: ChosenHeaders,
        /// How the answer is given. Left out: pages as readable Markdown, JSON as JSON, all else as text. text: never as
        /// JSON. html: read it as a page whatever it claims to be. json: it must be JSON. raw: unchanged, such as the
        /// source of a page.
        #[serde(rename = "as")]
        pub form: Option<AnswerForm>,
        /// What is sent; objects and lists as JSON.
        pub body: Option<HttpBody>,
    }
}

impl HttpArgs {
    /// Returns the arguments of a call of an instance with these settings.
    pub fn schema(settings: &HttpSettings) -> CallSchema {
        let mut schema = CallSchema::of::<Self>()
            .only("method", settings.methods.iter().map(|method| method.as_str()))
            .describe("method", format!("Left out: {}.", settings.default_method()));
        let hosts = settings.shown_hosts();
        if !hosts.is_empty() {
            let described = format!("Its full address. These hosts can be asked: {hosts}.");
            schema = schema.describe("url", described);
        }
        if settings.can_change() { schema } else { schema.without("body") }
    }
}

/// Headers that a caller may choose: none of them can identify the sender, or reach another host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct ChosenHeaders(pub BTreeMap<String, String>);

impl ChosenHeaders {
    const NAMES: [&str; 5] =
        ["Accept", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match"];
}

impl ArgumentType for ChosenHeaders {
    fn schema() -> Value {
        let text = |name: &str| (name.to_owned(), json!({"type": "string"}));
        let properties: Map<String, Value> = Self::NAMES.into_iter().map(text).collect();
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}

/// Body of a request.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum HttpBody {
    /// Sent unchanged.
    Text(String),
    Json(Value),
}

impl ArgumentType for HttpBody {
    fn schema() -> Value {
        json!({"type": ["string", "object", "array"]})
    }
}
