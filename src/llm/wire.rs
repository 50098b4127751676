//! The wire format and address of each provider, and what all wires have in common.
use super::reading::Bad;
use super::{anthropic, gemini, ollama, openai};
use crate::domain::ToolNames;
use crate::domain::{Finish, ModelSpec, ModelTurn, Provider, Tokens, hex, tokens_said};
use crate::llm::asked::{Asked, Wire};
use reqwest::Url;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Returns an id for a model at an address. It is a hash, since an address may contain secrets.
pub(super) fn mark(wire: Wire, url: &Url, model: &str) -> String {
    hex(&Sha256::digest(format!("{wire:?} {url} {model}"))[..6])
}

/// Returns the wire of a model, and the URL for requests.
pub(super) fn endpoint(spec: &ModelSpec) -> Result<(Wire, Url), String> {
    let base = spec.base_url.as_deref();
    let (wire, base) = match spec.provider {
        Provider::Ollama if spec.settings.num_ctx.is_some() => {
            (Wire::Ollama, base.unwrap_or("http://127.0.0.1:11434"))
        }
        Provider::OpenAi => (Wire::OpenAi, base.unwrap_or("https://api.openai.com/v1")),
        Provider::Ollama => (Wire::LikeOpenAi, base.unwrap_or("http://127.0.0.1:11434/v1")),
        Provider::Anthropic => (Wire::Anthropic, base.unwrap_or("https://api.anthropic.com/v1")),
        Provider::Gemini => {
            (Wire::Gemini, base.unwrap_or("https://generativelanguage.googleapis.com/v1beta"))
        }
        Provider::OpenAiCompatible => match base {
            Some(base) => (Wire::LikeOpenAi, base),
            None => return Err("it needs `base_url`: where does the provider answer?".into()),
        },
    };
    let mut url = Url::parse(base).map_err(|error| format!("`base_url` is not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("`base_url` must begin with http:// or https://".into());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let path = match wire {
        Wire::OpenAi | Wire::LikeOpenAi => {
            let path = path.trim_end_matches("/chat/completions");
            let version =
                if spec.provider == Provider::Ollama && !path.ends_with("/v1") { "/v1" } else { "" };
            format!("{path}{version}/chat/completions")
        }
        Wire::Ollama => {
            let path = path.trim_end_matches("/chat/completions").trim_end_matches("/v1");
            format!("{}/api/chat", path.trim_end_matches("/api/chat"))
        }
        Wire::Anthropic => {
            let path = path.trim_end_matches("/messages").trim_end_matches("/v1");
            format!("{path}/v1/messages")
        }
        Wire::Gemini => {
            let version = if path.is_empty() { "/v1beta" } else { "" };
            let folder = if spec.model.contains('/') { "" } else { "models/" };
            // `set_path` escapes what is not allowed in a path.
            format!("{path}{version}/{folder}{}:generateContent", spec.model)
        }
    };
    url.set_path(&path);
    Ok((wire, url))
}

impl Wire {
    pub(super) fn body(self, asked: &Asked<'_>) -> Vec<u8> {
        match self {
            Self::OpenAi | Self::LikeOpenAi => openai::body(asked, self),
            Self::Anthropic => anthropic::body(asked),
            Self::Gemini => gemini::body(asked),
            Self::Ollama => ollama::body(asked),
        }
    }

    /// Returns the header that holds the key, and the prefix of its value.
    pub(super) fn key_header(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenAi | Self::LikeOpenAi | Self::Ollama => ("authorization", "Bearer "),
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
        }
    }

    /// Returns the usage; `None` if the answer does not report it. A request can't have used nothing: zero usage is ignored.
    pub(super) fn tokens(answer: &Value) -> Option<Tokens> {
        tokens_said(answer).filter(|tokens| tokens.input > 0 || tokens.output > 0)
    }

    pub(super) fn answer(self, answer: &Value, names: &ToolNames<'_>) -> Result<(ModelTurn, Finish), Bad> {
        match self {
            Self::OpenAi | Self::LikeOpenAi => openai::answer(answer, names),
            Self::Anthropic => anthropic::answer(answer, names),
            Self::Gemini => gemini::answer(answer, names),
            Self::Ollama => ollama::answer(answer, names),
        }
    }
}
