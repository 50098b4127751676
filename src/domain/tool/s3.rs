//! Settings and arguments of the `s3` tool.
use super::arguments::{CallSchema, arguments};
use super::json;
use super::words::ToolMode;
use crate::domain::secret_ref::{SecretRef, TextOrSecret};
use crate::domain::words::words;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A bucket, or a prefix in one, and the allowed operations. It is also part of the arguments of an archive without
/// a table; there, fields with default values are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct S3Settings {
    pub bucket: String,
    /// Allowed operations.
    pub mode: ToolMode,
    /// Address of the server; `None`: Amazon's in this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default = "S3Settings::region", skip_serializing_if = "S3Settings::is_usual_region")]
    pub region: String,
    /// Key prefix, as a folder; nothing outside of it is accessible. Without slashes at its ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Identifies the credentials. `None`: requests are not signed, for public buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<TextOrSecret>,
    /// The secret part of the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretRef>,
    /// Only with temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
    /// The bucket is in the path rather than in the host name. `None`: depends on the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Maximum number of bytes of an object that one call reads or writes.
    #[serde(default = "S3Settings::max_bytes", skip_serializing_if = "S3Settings::is_usual_max_bytes")]
    pub max_bytes: u64,
    /// Timeout of one operation, including retries.
    #[serde(default = "S3Settings::timeout", skip_serializing_if = "S3Settings::is_usual_timeout")]
    #[serde(with = "json::secs")]
    pub timeout: SignedDuration,
}

impl S3Settings {
    /// Default of `region`.
    pub const REGION: &str = "us-east-1";
    /// Default of `max_bytes`.
    pub const MAX_BYTES: u64 = 100 << 10;
    /// Maximum of `max_bytes`.
    pub const LARGEST_MAX_BYTES: u64 = 64 << 20;
    /// Default of `timeout`.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

    /// Returns the settings for this bucket, with defaults.
    pub fn of(bucket: String) -> Self {
        Self {
            bucket,
            mode: ToolMode::ReadOnly,
            endpoint: None,
            region: Self::region(),
            prefix: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            path_style: None,
            max_bytes: Self::MAX_BYTES,
            timeout: Self::TIMEOUT,
        }
    }

    fn region() -> String {
        Self::REGION.to_owned()
    }

    fn is_usual_region(region: &String) -> bool {
        region == Self::REGION
    }

    fn max_bytes() -> u64 {
        Self::MAX_BYTES
    }

    fn is_usual_max_bytes(most: &u64) -> bool {
        *most == Self::MAX_BYTES
    }

    fn timeout() -> SignedDuration {
        Self::TIMEOUT
    }

    fn is_usual_timeout(timeout: &SignedDuration) -> bool {
        *timeout == Self::TIMEOUT
    }
}

words! {
    /// What is done with objects.
    S3Op {
        /// Objects are listed.
        List = "list",
        /// An object is read.
        Get = "get",
        /// What is known of an object is read, without its content.
        Head = "head",
        /// An object is written.
        Put = "put",
    }
}

impl S3Op {
    /// Returns the operations that only read.
    pub fn reads() -> Vec<String> {
        Self::ALL.iter().filter(|op| **op != Self::Put).map(|op| op.as_str().to_owned()).collect()
    }
}

arguments! {
    /// One operation.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct S3Args {
        /// head: what is known of an object, without its content.
        pub op: S3Op,
        /// For get, head and put: the object.
        pub key: Option<String>,
        /// For list: what the keys begin with; left out: all.
        pub prefix: Option<String>,
        /// For list: only keys after this one.
        pub after: Option<String>,
        /// For list: at most so many; left out: {}.
        #[serde(default, deserialize_with = "json::whole")]
        #[schema(at_least(1).at_most(Self::LARGEST_MAX).filled(&[&Self::MAX]))]
        pub max: Option<u64>,
        /// For put: the content, as text.
        pub text: Option<String>,
        /// For put: the content, in base64.
        pub base64: Option<String>,
        /// For put: what it is.
        pub content_type: Option<String>,
    }
}

impl S3Args {
    /// Default of `max`.
    pub const MAX: u64 = 100;
    /// Maximum of `max`.
    pub const LARGEST_MAX: u64 = 1000;

    /// Returns the arguments of a call of an instance; without settings: of the most permissive one.
    pub fn schema(settings: Option<&S3Settings>) -> CallSchema {
        let mut schema = CallSchema::of::<Self>();
        if let Some(S3Settings { bucket, prefix, .. }) = settings {
            let place = match prefix {
                Some(prefix) => format!("In `{bucket}`, beneath `{prefix}/`."),
                None => format!("In `{bucket}`."),
            };
            let described = format!("{} {place}", schema.description("op"));
            schema = schema.describe("op", described);
        }
        match settings.is_none_or(|settings| settings.mode.writes()) {
            true => schema,
            false => {
                schema.only("op", S3Op::reads()).without("text").without("base64").without("content_type")
            }
        }
    }

    /// Returns the names of arguments in this call that its operation does not use.
    pub fn surplus(&self) -> Vec<&'static str> {
        let given = [
            ("key", self.key.is_some(), self.op == S3Op::List),
            ("prefix", self.prefix.is_some(), self.op != S3Op::List),
            ("after", self.after.is_some(), self.op != S3Op::List),
            ("max", self.max.is_some(), self.op != S3Op::List),
            ("text", self.text.is_some(), self.op != S3Op::Put),
            ("base64", self.base64.is_some(), self.op != S3Op::Put),
            ("content_type", self.content_type.is_some(), self.op != S3Op::Put),
        ];
        let surplus = given.into_iter().filter(|(_, is_given, is_idle)| *is_given && *is_idle);
        surplus.map(|(name, ..)| name).collect()
    }
}
