//! Resolving the settings of tools: secrets are looked up.
use crate::domain::{TextOrSecret, ToolError};
use crate::secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::time::Duration;

/// Timeout for resolving a secret.
pub(super) const SECRET_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns configured headers, with secrets resolved.
pub(super) async fn headers(
    configured: &BTreeMap<String, TextOrSecret>,
    bound: Duration,
) -> Result<HeaderMap, ToolError> {
    let mut all = HeaderMap::new();
    for (name, value) in configured {
        let value = secret::value_of(value, bound.min(SECRET_TIMEOUT))
            .await
            .map_err(|error| ToolError::Failed(format!("no value for the header `{name}`: {error}")))?;
        let (Ok(header), Ok(mut value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) else {
            return Err(ToolError::Failed(format!(
                "the value of the header `{name}` has characters that a header can't hold"
            )));
        };
        value.set_sensitive(true);
        all.insert(header, value);
    }
    Ok(all)
}

/// The error for calling a tool that needs settings by its own name.
pub(super) fn missing(kind: &str) -> ToolError {
    ToolError::Failed(format!(
        "tool `{kind}` does nothing without settings: define a table such as [tools.my_{kind}] with \
         type = \"{kind}\", and call that"
    ))
}
