//! Which wire a provider speaks, where it answers, and what all wires have in common.
use super::names::Names;
use super::reading::Bad;
use super::{anthropic, gemini, openai};
use crate::domain::{Finish, ModelRequest, ModelSpec, ModelTurn, Tokens};
use reqwest::Url;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// How a provider wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// OpenAI itself.
    OpenAi,
    /// Those who imitate it.
    LikeOpenAi,
    Anthropic,
    Gemini,
}

/// One request, with all that a wire needs to write it down.
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) temperature: Option<f64>,
    pub(super) request: &'a ModelRequest,
    pub(super) names: &'a Names<'a>,
    /// Say which schema the answer must fit, if the wire has a word for that. Else the system instruction
    /// has to do.
    pub(super) with_schema: bool,
}

impl Asked<'_> {
    /// The body of a request.
    pub(super) fn to_json(&self, body: &impl Serialize) -> Vec<u8> {
        serde_json::to_vec(body).expect("all keys are texts, and nothing else can fail")
    }
}

/// The wire of a model, and the address that answers.
pub(super) fn endpoint(spec: &ModelSpec) -> Result<(Wire, Url), String> {
    let base = spec.base_url.as_deref();
    let (wire, base) = match spec.provider.as_str() {
        "openai" => (Wire::OpenAi, base.unwrap_or("https://api.openai.com/v1")),
        "ollama" => (Wire::LikeOpenAi, base.unwrap_or("http://127.0.0.1:11434/v1")),
        "anthropic" => (Wire::Anthropic, base.unwrap_or("https://api.anthropic.com/v1")),
        "gemini" => (Wire::Gemini, base.unwrap_or("https://generativelanguage.googleapis.com/v1beta")),
        "openai-compatible" => match base {
            Some(base) => (Wire::LikeOpenAi, base),
            None => return Err("it needs `base_url`: where does the provider answer?".into()),
        },
        other => return Err(format!("there is no provider `{other}`")),
    };
    let mut url = Url::parse(base).map_err(|error| format!("`base_url` is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("`base_url` must begin with http:// or https://".into());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let path = match wire {
        Wire::OpenAi | Wire::LikeOpenAi => {
            let path = path.trim_end_matches("/chat/completions");
            let version = if spec.provider == "ollama" && !path.ends_with("/v1") { "/v1" } else { "" };
            format!("{path}{version}/chat/completions")
        }
        Wire::Anthropic => {
            let path = path.trim_end_matches("/messages").trim_end_matches("/v1");
            format!("{path}/v1/messages")
        }
        Wire::Gemini => {
            let version = if path.is_empty() { "/v1beta" } else { "" };
            let folder = if spec.model.contains('/') { "" } else { "models/" };
            // `set_path` escapes what has no place in a path.
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
        }
    }

    /// The header that holds the key, and what stands before the key in it.
    pub(super) fn key_header(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenAi | Self::LikeOpenAi => ("authorization", "Bearer "),
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
        }
    }

    /// What was used; `None` if that is not told. A request can't have used nothing: who says so does
    /// not count.
    pub(super) fn tokens(self, answer: &Value) -> Option<Tokens> {
        let tokens = match self {
            Self::OpenAi | Self::LikeOpenAi => openai::tokens(answer),
            Self::Anthropic => anthropic::tokens(answer),
            Self::Gemini => gemini::tokens(answer),
        }?;
        (tokens.input > 0 || tokens.output > 0)
            .then(|| Tokens { cached: tokens.cached.min(tokens.input), ..tokens })
    }

    pub(super) fn answer(
        self,
        answer: &Value,
        names: &Names<'_>,
        model: &str,
    ) -> Result<(ModelTurn, Finish), Bad> {
        match self {
            Self::OpenAi | Self::LikeOpenAi => openai::answer(answer, names, model),
            Self::Anthropic => anthropic::answer(answer, names, model),
            Self::Gemini => gemini::answer(answer, names),
        }
    }
}

/// Arguments on their way back to the provider. Servers read them: what is no JSON object would make
/// them refuse the whole conversation, and the reply to the call says what was wrong with it.
pub(super) fn object_or_empty(arguments: &str) -> &RawValue {
    match serde_json::from_str::<&RawValue>(arguments) {
        Ok(raw) if raw.get().starts_with('{') => raw,
        _ => serde_json::from_str("{}").expect("an object"),
    }
}
