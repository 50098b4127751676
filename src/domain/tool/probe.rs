//! Checks of the `probe` tool, as configured: missing fields stay `None`, and their defaults are defined here.
use super::arguments::{ArgumentType, CallSchema, Property, arguments};
use super::json;
use super::words::{DiskMetric, HttpMethod, ProbeType};
use crate::domain::sandbox::Sandbox;
use crate::domain::secret_ref::TextOrSecret;
use jiff::SignedDuration;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

arguments! {
    /// What all calls of an instance check. It also stands in the arguments of a call.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ProbeSettings {
        /// The checks.
        #[serde(deserialize_with = "checks")]
        #[schema(not_empty().undescribed())]
        pub checks: Vec<ProbeCheck>,
    }

    /// One check.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ProbeCheck {
        /// Name of the problem; default: the type and what is checked.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
        /// From here on it is a warning. disk, memory: percent used; load: 1-minute load per core; http, tcp: milliseconds;
        /// process: how many.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub warn: Option<f64>,
        /// From here on it is critical.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub crit: Option<f64>,
        /// A problem ends only when the value is no longer above this; default: warn.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub clear: Option<f64>,
        /// How long it must be bad before it is an incident: seconds, or a text such as 5m.
        #[serde(rename = "for", default, deserialize_with = "hold_for")]
        #[serde(serialize_with = "json::opt_secs::serialize", skip_serializing_if = "Option::is_none")]
        pub hold_for: Option<SignedDuration>,
        /// Longest time of the check; default {} seconds.
        #[serde(default, deserialize_with = "timeout")]
        #[serde(serialize_with = "json::opt_secs::serialize", skip_serializing_if = "Option::is_none")]
        #[schema(filled(&[&Self::TIMEOUT.as_secs()]))]
        pub timeout: Option<SignedDuration>,
        /// What is checked.
        #[serde(flatten)]
        pub target: ProbeTarget,
    }

    /// What is checked.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    pub enum ProbeTarget {
        /// The file system that a folder is on.
        Disk {
            /// a folder on the file system.
            #[serde(serialize_with = "json::shown")]
            path: PathBuf,
            /// what is counted; default {}.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(filled(&[&Self::METRIC]))]
            metric: Option<DiskMetric>,
            /// true: something must be mounted at the path; false: nothing need be. Left out: what was mounted there once,
            /// or stands in /etc/fstab, must be.
            #[serde(skip_serializing_if = "Option::is_none")]
            mounted: Option<bool>,
        },
        /// Memory in use, in percent.
        Memory,
        /// Load of a minute, per core.
        Load,
        /// An HTTP address; its value is milliseconds.
        Http(Box<WebCheck>),
        /// A TCP port; its value is milliseconds.
        Tcp {
            /// name or address.
            host: String,
            /// port.
            #[serde(deserialize_with = "port")]
            #[schema(at_least(1))]
            port: u16,
        },
        /// How many processes there are.
        Process {
            /// name of the program or of its script; with a blank or a slash in it: a part of the whole command line.
            #[serde(rename = "process")]
            name: String,
            /// how many there must be; default {}.
            #[serde(default, deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
            #[schema(filled(&[&Self::MIN]))]
            min: Option<u64>,
        },
        /// A unit of systemd.
        Systemd {
            /// name of the unit.
            unit: String,
            /// a unit of the user's own manager.
            #[serde(skip_serializing_if = "Option::is_none")]
            user: Option<bool>,
        },
        /// A program.
        Command {
            /// a list runs directly, a text by /bin/sh. Exit status 0 is good, 1 a warning, all else critical.
            #[serde(rename = "command", deserialize_with = "argv")]
            #[schema(or_one().not_empty())]
            argv: Vec<String>,
            /// the walls around it; an empty one gives it the system's programs alone.
            #[serde(default, deserialize_with = "walls", skip_serializing_if = "Option::is_none")]
            sandbox: Option<Arc<Sandbox>>,
        },
    }

    /// What is asked over HTTP, and what the answer must be.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct WebCheck {
        /// what is fetched.
        pub url: String,
        /// default {}.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(filled(&[&Self::METHOD]))]
        pub method: Option<HttpMethod>,
        /// sent along; values are texts or references to secrets.
        #[serde(default, deserialize_with = "headers", skip_serializing_if = "BTreeMap::is_empty")]
        pub headers: BTreeMap<String, TextOrSecret>,
        /// the right status, or several; default 200 to 399.
        #[serde(default, deserialize_with = "statuses", skip_serializing_if = "Option::is_none")]
        #[schema(each_within(100, 599).or_one().not_empty())]
        pub status: Option<Vec<u16>>,
        /// a text that the first 1 MiB of the answer must have.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub contains: Option<String>,
        /// a text that the first 1 MiB of the answer must not have.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub not_contains: Option<String>,
        /// a warning when the certificate is good for fewer days.
        #[serde(default, deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
        #[schema(at_least(1))]
        pub tls_days: Option<u64>,
    }
}

impl ArgumentType for Box<WebCheck> {
    fn schema() -> Value {
        WebCheck::schema()
    }

    fn properties() -> Vec<Property> {
        WebCheck::properties()
    }
}

impl ArgumentType for Sandbox {
    fn schema() -> Value {
        json!({"type": "object"})
    }
}

impl ProbeSettings {
    /// Returns the arguments of a call of an instance; none if the settings define the checks.
    pub fn schema(settings: Option<&Self>) -> CallSchema {
        if settings.is_some() { CallSchema::default() } else { CallSchema::of::<Self>() }
    }
}

impl ProbeCheck {
    /// Default of `timeout`.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);
}

impl WebCheck {
    /// Default of `method`.
    pub const METHOD: HttpMethod = HttpMethod::Get;
}

impl ProbeTarget {
    /// Default of `metric`.
    pub const METRIC: DiskMetric = DiskMetric::Used;
    /// Default of `min`.
    pub const MIN: u64 = 1;

    /// Returns its type.
    pub fn kind(&self) -> ProbeType {
        match self {
            Self::Disk { .. } => ProbeType::Disk,
            Self::Memory => ProbeType::Memory,
            Self::Load => ProbeType::Load,
            Self::Http(_) => ProbeType::Http,
            Self::Tcp { .. } => ProbeType::Tcp,
            Self::Process { .. } => ProbeType::Process,
            Self::Systemd { .. } => ProbeType::Systemd,
            Self::Command { .. } => ProbeType::Command,
        }
    }
}

impl ProbeType {
    /// Returns the keys of a check of this type in addition to the common ones, each with whether it is required.
    pub fn keys(self) -> impl Iterator<Item = (&'static str, bool)> {
        static FORMS: LazyLock<Vec<(String, Vec<Property>)>> = LazyLock::new(ProbeTarget::forms);
        let properties = FORMS.iter().filter(move |(form, _)| form == self.as_str()).flat_map(|(_, all)| all);
        properties.map(|property| (property.name(), property.is_required()))
    }

    /// Returns whether it measures a number that can be compared with thresholds.
    pub fn has_value(self) -> bool {
        !matches!(self, Self::Systemd | Self::Command)
    }

    /// Returns the defaults of `warn` and `crit`; `None`: nothing is compared by default.
    pub fn thresholds(self) -> Option<(f64, f64)> {
        match self {
            Self::Disk => Some((80.0, 90.0)),
            Self::Memory => Some((85.0, 95.0)),
            Self::Load => Some((2.0, 4.0)),
            _ => None,
        }
    }
}

/// Keys of thresholds, only for checks that measure a number.
const THRESHOLDS: [&str; 3] = ["warn", "crit", "clear"];
/// Keys common to all checks.
const COMMON_KEYS: [&str; 4] = ["type", "name", "for", "timeout"];

/// Deserializes the checks in the arguments of a call. An error names the check and what would be valid.
fn checks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ProbeCheck>, D::Error> {
    let read = |(at, map): (usize, Map<String, Value>)| {
        let check = check_keys(&map)
            .and_then(|()| ProbeCheck::deserialize(Value::Object(map)).map_err(|error| error.to_string()));
        check.map_err(|error| D::Error::custom(format!("`checks[{at}]`: {error}")))
    };
    Vec::<Map<String, Value>>::deserialize(from)?.into_iter().enumerate().map(read).collect()
}

fn check_keys(map: &Map<String, Value>) -> Result<(), String> {
    let word = map.get("type").and_then(Value::as_str).unwrap_or_default();
    let kind = ProbeType::parse(word).ok_or_else(|| format!("there is no type `{word}`"))?;
    for key in map.keys().map(String::as_str) {
        let is_threshold = THRESHOLDS.contains(&key);
        let is_known = COMMON_KEYS.contains(&key) || kind.keys().any(|(name, _)| name == key);
        if !(is_known || kind.has_value() && is_threshold) {
            let why = if is_threshold { ": there is no number to compare" } else { "" };
            return Err(format!("a check of type `{kind}` can't have `{key}`{why}"));
        }
    }
    let says_something = |name: &str| match map.get(name) {
        None => false,
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Array(list)) => list.first().is_some_and(|first| first != ""),
        Some(_) => true,
    };
    match kind.keys().find(|(name, is_needed)| *is_needed && !says_something(name)) {
        Some((name, _)) => Err(format!("a check of type `{kind}` needs `{name}`")),
        None => Ok(()),
    }
}

fn hold_for<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SignedDuration>, D::Error> {
    let value = Value::deserialize(from)?;
    json::duration(&value).map(Some).ok_or_else(|| not_a_duration("for", &value))
}

fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SignedDuration>, D::Error> {
    let value = Value::deserialize(from)?;
    let timeout = json::duration(&value).filter(|timeout| timeout.is_positive());
    timeout.map(Some).ok_or_else(|| not_a_duration("timeout", &value))
}

fn not_a_duration<E: Error>(key: &str, value: &Value) -> E {
    E::custom(format!(
        "`{key}` must be a number of seconds or a text such as \"90s\", \"5m\", \"1h30m\", \"7d\", not {value}"
    ))
}

fn port<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    u16::try_from(json::number(from)?).map_err(|_| D::Error::custom("`port` must be at most 65535"))
}

/// Deserializes one status, or several.
fn statuses<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u16>>, D::Error> {
    let list = match Value::deserialize(from)? {
        Value::Array(list) => list,
        one => vec![one],
    };
    let status = |value: Value| json::number(value).ok().and_then(|number| u16::try_from(number).ok());
    let list: Option<Vec<u16>> = list.into_iter().map(status).collect();
    list.map(Some)
        .ok_or_else(|| D::Error::custom("`status` must be a status from 100 to 599, or a list of them"))
}

fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, TextOrSecret>, D::Error> {
    let header = |(name, value): (String, Value)| match TextOrSecret::from_json(&value) {
        Some(value) => Ok((name, value)),
        None => {
            let why = format!("the header `{name}` must be a text or a reference to a secret");
            Err(D::Error::custom(why))
        }
    };
    Map::<String, Value>::deserialize(from)?.into_iter().map(header).collect()
}

/// Deserializes a program with arguments, or a shell script.
fn argv<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::String(script) => Ok(vec!["/bin/sh".into(), "-c".into(), script]),
        list => Vec::deserialize(list).map_err(|error| D::Error::custom(format!("`command`: {error}"))),
    }
}

fn walls<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<Sandbox>>, D::Error> {
    let walls =
        Sandbox::deserialize(from).map_err(|error| D::Error::custom(format!("`sandbox`: {error}")))?;
    Ok(Some(Arc::new(walls)))
}
