//! Settings and arguments of the `feed` tool.
use super::arguments::{ArgumentType, CallSchema, arguments};
use super::json;
use crate::domain::private_host::PrivateHost;
use crate::domain::secret_ref::{SecretRef, TextOrSecret};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

arguments! {
    /// What a call asks for. In the settings of an instance: what holds for each call that does not say otherwise; its
    /// addresses are those of all calls.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct FeedArgs {
        /// Addresses of RSS, Atom or JSON feeds, at most {}.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(filled(&[&Self::MAX_URLS]))]
        pub urls: Option<Vec<String>>,
        /// Most items of the result, the newest. Left out: {}.
        #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
        #[schema(at_least(1).at_most(Self::LARGEST_MAX_ITEMS).filled(&[&Self::MAX_ITEMS]))]
        pub max_items: Option<u64>,
        /// Most items of each source, the newest. Left out: all.
        #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
        #[schema(at_least(1).at_most(Self::LARGEST_MAX_ITEMS))]
        pub max_per_source: Option<u64>,
        /// Items with an older date are left out: a duration such as "36h" or "7d" (or seconds) before now, or a time such
        /// as "2026-11-24T08:00:00Z".
        #[serde(skip_serializing_if = "Option::is_none")]
        pub since: Option<Since>,
        /// Most characters of each summary; 0: none. Left out: {}.
        #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
        #[schema(at_most(Self::LARGEST_MAX_SUMMARY).filled(&[&Self::MAX_SUMMARY]))]
        pub max_summary: Option<u64>,
    }
}

/// A time, absolute or relative to now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`since` must be whole seconds, a duration such as \"36h\" or a time such as \"2026-11-24T09:00:00Z\""
)]
pub enum Since {
    /// Seconds before now.
    Seconds(#[serde(deserialize_with = "json::seconds")] i64),
    /// A duration or a time; arguments in the configuration may contain placeholders.
    Text(String),
}

impl ArgumentType for Since {
    fn schema() -> Value {
        json!({"type": ["string", "integer"]})
    }
}

impl FeedArgs {
    /// Maximum number of addresses of one call, or of one instance.
    pub const MAX_URLS: usize = 200;
    /// Default of `max_items`.
    pub const MAX_ITEMS: u64 = 50;
    /// Maximum of `max_items` and `max_per_source`.
    pub const LARGEST_MAX_ITEMS: u64 = 1000;
    /// Default of `max_summary`.
    pub const MAX_SUMMARY: u64 = 500;
    /// Maximum of `max_summary`.
    pub const LARGEST_MAX_SUMMARY: u64 = 2000;

    /// Returns the arguments of a call of an instance with these fixed values.
    pub fn schema(fixed: &Self) -> CallSchema {
        let mut schema = CallSchema::of::<Self>();
        schema = match &fixed.urls {
            Some(_) => schema.without("urls"),
            None => schema.require("urls"),
        };
        if let Some(most) = fixed.max_items {
            let usual = most.min(Self::MAX_ITEMS);
            let described = format!("Most items of the result, the newest. Left out: {usual}.");
            schema = schema.at_most("max_items", most).describe("max_items", described);
        }
        schema
    }

    /// Returns these arguments, with missing ones taken from `others`.
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

/// The settings of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedSettings {
    /// Fixed arguments and defaults for each call.
    pub fixed: FeedArgs,
    /// Hosts that are allowed although their addresses are private. A source with a literal address need not be
    /// among them.
    pub allow_private: Vec<PrivateHost>,
    /// Logins by source address; each source is also in the list of addresses.
    pub logins: BTreeMap<String, FeedLogin>,
    /// Sent to each source, but not to other hosts on redirect.
    pub headers: BTreeMap<String, TextOrSecret>,
    /// Timeout per source.
    pub timeout: SignedDuration,
    /// Maximum number of bytes read from one source.
    pub max_bytes: u64,
}

/// A login by HTTP basic authentication (RFC 7617).
#[derive(Clone, Debug, PartialEq)]
pub struct FeedLogin {
    pub username: TextOrSecret,
    /// Location of the password.
    pub password: SecretRef,
}

impl FeedSettings {
    /// Default of `timeout`.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(15);
    /// Default of `max_bytes`.
    pub const MAX_BYTES: u64 = 5 << 20;
    /// Maximum of `max_bytes`.
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
