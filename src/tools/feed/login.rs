//! Logins of individual sources, by HTTP basic authentication (RFC 7617).
use super::settings;
use crate::domain::{FeedLogin, ToolError};
use crate::secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A login.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) header: HeaderValue,
}

/// Resolves the configured logins, by the address of their source.
pub(super) async fn all(
    configured: &BTreeMap<String, FeedLogin>,
    bound: Duration,
) -> Result<HashMap<String, Login>, ToolError> {
    let mut found = HashMap::new();
    for (url, FeedLogin { username, password }) in configured {
        let bound = bound.min(settings::SECRET_TIMEOUT);
        let failed = |what: &str, error: secret::SecretError| {
            ToolError::Failed(format!("no {what} for {}: {error}", super::gather::without_secrets(url)))
        };
        let user = secret::value_of(username, bound).await.map_err(|error| failed("`username`", error))?;
        let password = secret::resolve(password, bound).await.map_err(|error| failed("`password`", error))?;
        let pair = STANDARD.encode(format!("{}:{}", &*user, &*password));
        let mut header = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 is ASCII");
        header.set_sensitive(true);
        found.insert(url.clone(), Login { user: user.to_string(), header });
    }
    Ok(found)
}
