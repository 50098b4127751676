//! Settings and arguments of the `feed` tool.
use super::json;
use crate::domain::private_host::PrivateHost;
use crate::domain::secret_ref::{SecretRef, TextOrSecret};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a call asks for. In the settings of an instance: what holds for each call that does not say otherwise; its
/// addresses are those of all calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedArgs {
    /// Addresses of feeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// Items of the result. In settings it is a bound, too.
    #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u64>,
    /// Items of each source; `None`: all.
    #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
    pub max_per_source: Option<u64>,
    /// Items with an older date are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Characters of a summary; 0: none.
    #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
    pub max_summary: Option<u64>,
}

/// A time, or how long before now it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`since` must be whole seconds, a duration such as \"36h\" or a time such as \"2026-11-24T09:00:00Z\""
)]
pub enum Since {
    /// Seconds before now.
    Seconds(#[serde(deserialize_with = "json::seconds")] i64),
    /// A duration or a time; in arguments from the configuration it may have places to fill.
    Text(String),
}

impl FeedArgs {
    /// Addresses of one call, or of one instance.
    pub const MOST_URLS: usize = 200;
    /// `max_items` where nothing is said.
    pub const MAX_ITEMS: u64 = 50;
    /// Largest `max_items` and `max_per_source`.
    pub const LARGEST_MAX_ITEMS: u64 = 1000;
    /// `max_summary` where nothing is said.
    pub const MAX_SUMMARY: u64 = 500;
    /// Largest `max_summary`.
    pub const LARGEST_MAX_SUMMARY: u64 = 2000;

    /// These, and `others` for what they leave out.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            urls: self.urls.or_else(|| others.urls.clone()),
            max_items: self.max_items.or(others.max_items),
            max_per_source: self.max_per_source.or(others.max_per_source),
            since: self.since.or_else(|| others.since.clone()),
            max_summary: self.max_summary.or(others.max_summary),
        }
    }
}

/// What the configuration says of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedSettings {
    /// What holds for each call.
    pub fixed: FeedArgs,
    /// Hosts that may be asked although their addresses are private. One that is written as an address need not be among
    /// them.
    pub allow_private: Vec<PrivateHost>,
    /// Logins, by the address of their source, which is among the others.
    pub logins: BTreeMap<String, FeedLogin>,
    /// Sent to each source, and not on to other hosts.
    pub headers: BTreeMap<String, TextOrSecret>,
    /// Time of one source.
    pub timeout: SignedDuration,
    /// Bytes that are read of one source.
    pub max_bytes: u64,
}

/// A login by HTTP's basic authentication (RFC 7617).
#[derive(Clone, Debug, PartialEq)]
pub struct FeedLogin {
    /// The user.
    pub username: TextOrSecret,
    /// Where the password is found.
    pub password: SecretRef,
}

impl FeedSettings {
    /// `timeout` where nothing is said.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(15);
    /// `max_bytes` where nothing is said.
    pub const MAX_BYTES: u64 = 5 << 20;
    /// Largest `max_bytes`.
    pub const LARGEST_MAX_BYTES: u64 = 20 << 20;
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            fixed: FeedArgs::default(),
            allow_private: Vec::new(),
            logins: BTreeMap::new(),
            headers: BTreeMap::new(),
            timeout: Self::TIMEOUT,
            max_bytes: Self::MAX_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of arguments.
    use super::*;
    use serde_json::json;

    #[test]
    fn a_model_may_write_whole_seconds_as_it_likes() {
        let since = |value: serde_json::Value| serde_json::from_value::<Since>(value);
        assert_eq!(since(json!(3600)).expect("seconds"), Since::Seconds(3600));
        assert_eq!(since(json!(3600.0)).expect("seconds"), Since::Seconds(3600));
        assert_eq!(since(json!("36h")).expect("a text"), Since::Text("36h".into()));
        for wrong in [json!(0.5), json!(1e300), json!(true), json!([1])] {
            let error = since(wrong.clone()).expect_err("no time").to_string();
            assert!(error.contains("`since` must be whole seconds, a duration"), "{wrong}: {error}");
        }
    }
}
