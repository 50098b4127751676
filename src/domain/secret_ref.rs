//! References to secrets, or plain texts instead.
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Location of a secret, never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// In this environment variable of the daemon.
    Env(String),
    /// In this file, mode 0600 or stricter.
    File(PathBuf),
    /// In `$CREDENTIALS_DIRECTORY` under this name (systemd.exec(5), `LoadCredential=`).
    Credential(String),
    /// On the standard output of this program.
    Command(Vec<String>),
}

impl SecretRef {
    /// Returns the form in the settings of a tool.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Env(name) => json!({ "env": name }),
            Self::File(path) => json!({ "file": path.display().to_string() }),
            Self::Credential(name) => json!({ "credential": name }),
            Self::Command(argv) => json!({ "command": argv }),
        }
    }

    /// Parses the form in the settings of a tool.
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let command = || {
            let argv = value.get("command")?.as_array()?;
            argv.iter().map(|part| part.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        text("env")
            .map(Self::Env)
            .or_else(|| text("file").map(|path| Self::File(path.into())))
            .or_else(|| text("credential").map(Self::Credential))
            .or_else(|| command().map(Self::Command))
    }
}

/// Value of an environment variable.
pub type EnvValue = TextOrSecret;

/// A plain text, or a reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextOrSecret {
    Text(String),
    /// Resolved when it is used.
    Secret(SecretRef),
}

impl TextOrSecret {
    /// Returns whether it is a reference to a secret.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// Returns the form in the settings of a tool: a text, or a table with the location of the secret.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Secret(secret) => secret.to_json(),
        }
    }

    /// Parses the form in the settings of a tool.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value.as_str() {
            Some(text) => Some(Self::Text(text.to_owned())),
            None => SecretRef::from_json(value).map(Self::Secret),
        }
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(to)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        Self::from_json(&value).ok_or_else(|| D::Error::custom("a reference to a secret is missing"))
    }
}

impl Serialize for TextOrSecret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(to)
    }
}

impl<'de> Deserialize<'de> for TextOrSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        Self::from_json(&value)
            .ok_or_else(|| D::Error::custom("it must be a text or a reference to a secret"))
    }
}
