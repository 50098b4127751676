//! Settings of the `s3` tool.
use super::json;
use super::words::ToolMode;
use crate::domain::secret_ref::{SecretRef, TextOrSecret};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A bucket, or a folder of keys in one, and what may be done there. It stands in the arguments of an archive that
/// no table describes, where a field is left out that is as where nothing is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct S3Settings {
    /// Name of the bucket.
    pub bucket: String,
    /// What may be done there.
    pub mode: ToolMode,
    /// Address of the server; `None`: Amazon's in this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region.
    #[serde(default = "S3Settings::region", skip_serializing_if = "S3Settings::is_usual_region")]
    pub region: String,
    /// Folder of keys; nothing outside of it is reached. Without slashes at its ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Names the credentials. `None`: nothing is signed, for buckets that are open to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<TextOrSecret>,
    /// The secret half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretRef>,
    /// For credentials that were lent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
    /// The bucket is named in the path rather than in the host. `None`: as this endpoint likes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Bytes of an object that one call reads or writes.
    #[serde(default = "S3Settings::max_bytes", skip_serializing_if = "S3Settings::is_usual_max_bytes")]
    pub max_bytes: u64,
    /// Time of one operation with its tries.
    #[serde(default = "S3Settings::timeout", skip_serializing_if = "S3Settings::is_usual_timeout")]
    #[serde(with = "json::secs")]
    pub timeout: SignedDuration,
}

impl S3Settings {
    /// `region` where nothing is said.
    pub const REGION: &str = "us-east-1";
    /// `max_bytes` where nothing is said.
    pub const MAX_BYTES: u64 = 100 << 10;
    /// Largest `max_bytes`.
    pub const LARGEST_MAX_BYTES: u64 = 64 << 20;
    /// `timeout` where nothing is said.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

    /// For this bucket, all else as where nothing is said.
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
