//! Access to a model's provider for agent programs, which have a protocol of their own.
use super::asked::Wire;
use super::gate;
use super::{FAR_FUTURE, Models};
use crate::domain::{ErrorKind, RunError};
use crate::secret::Secret;
use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use std::time::Duration;
use tokio::time::Instant;

/// Access to the provider of a model.
pub struct ProviderAccess {
    /// Its address with its version: `https://api.anthropic.com/v1`.
    pub base: Url,
    /// Its connections are shared by all requests to this model.
    pub client: Client,
    /// Credentials, and other configured headers.
    pub headers: HeaderMap,
    /// The values of those that are secret.
    pub secrets: Vec<Secret>,
}

/// A slot among the concurrent requests of a model, held while this lives.
#[derive(Debug)]
pub struct RequestPlace(#[expect(dead_code, reason = "it is kept, not looked at")] gate::Place);

impl Models {
    /// Returns access to the provider of this table's model; its key is resolved anew.
    ///
    /// # Errors
    /// There is no such table, its address is invalid, or its key is not available within `bound`.
    pub async fn access(&self, name: &str, bound: Duration) -> Result<ProviderAccess, RunError> {
        let model = self.models.get(name).ok_or_else(|| no_table(name))?;
        let named = |error| model.named(error).error;
        let deadline = Instant::now() + bound.min(FAR_FUTURE);
        let (wire, url) =
            model.endpoint.as_ref().map_err(|why| named(super::lasting(ErrorKind::Config, why.as_str())))?;
        let client = model.client(url).map_err(named)?;
        let (headers, secrets) = model.headers(*wire, deadline).await.map_err(named)?;
        Ok(ProviderAccess { base: base(*wire, url), client, headers, secrets })
    }

    /// Waits for a slot in `max_parallel_requests` and `requests_per_minute` of a model.
    ///
    /// # Errors
    /// There is none before the deadline.
    pub async fn enter(&self, name: &str, deadline: Instant) -> Result<RequestPlace, RunError> {
        let model = self.models.get(name).ok_or_else(|| no_table(name))?;
        let place = model.enter(deadline, true).await.map_err(|error| model.named(error).error)?;
        Ok(RequestPlace(place))
    }
}

fn no_table(name: &str) -> RunError {
    RunError::new(ErrorKind::Config, format!("there is no [models.{name}]"))
}

/// Returns the base address of a wire's own requests.
fn base(wire: Wire, url: &Url) -> Url {
    let path = url.path();
    let begins = match wire {
        Wire::OpenAi | Wire::LikeOpenAi => path.trim_end_matches("/chat/completions").to_owned(),
        Wire::Anthropic => path.trim_end_matches("/messages").to_owned(),
        // Ollama also supports OpenAI's wire
        Wire::Ollama => format!("{}/v1", path.trim_end_matches("/api/chat")),
        // the last two segments name the model
        Wire::Gemini => path.rsplitn(3, '/').nth(2).unwrap_or_default().to_owned(),
    };
    let mut base = url.clone();
    base.set_path(&begins);
    base
}

#[cfg(test)]
mod tests {
    //! Tests of addresses.
    use super::*;

    #[test]
    fn the_address_of_a_wire_ends_with_its_version() {
        for (wire, endpoint, expected) in [
            (Wire::Anthropic, "https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1"),
            (Wire::OpenAi, "https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
            (Wire::LikeOpenAi, "http://h:1/openai/v1/chat/completions", "http://h:1/openai/v1"),
            (Wire::Ollama, "http://127.0.0.1:11434/api/chat", "http://127.0.0.1:11434/v1"),
            (
                Wire::Gemini,
                "https://g.example/v1beta/models/gemini-2.5-pro:generateContent",
                "https://g.example/v1beta",
            ),
        ] {
            assert_eq!(base(wire, &endpoint.parse().unwrap()).as_str(), expected);
        }
    }
}
