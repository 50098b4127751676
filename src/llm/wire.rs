//! Which wire a provider speaks, where it answers, and what all wires have in common.
use super::names::Names;
use super::reading::Bad;
use super::{anthropic, gemini, ollama, openai, usage};
use crate::domain::{Finish, ModelRequest, ModelSpec, ModelTurn, RequestSettings, Tokens};
use reqwest::Url;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// How a provider wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// OpenAI itself.
    OpenAi,
    /// Those who imitate it.
    LikeOpenAi,
    Anthropic,
    Gemini,
    /// Ollama's own.
    Ollama,
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
    pub(super) settings: &'a RequestSettings,
    /// Who is asked: [`mark`].
    pub(super) mark: &'a str,
    /// Thoughts go back with calls of another model as well: it refuses what has none.
    pub(super) with_thoughts: bool,
}

impl Asked<'_> {
    /// The body of a request, with its own parameters.
    pub(super) fn to_json(&self, body: &impl Serialize) -> Vec<u8> {
        self.to_json_without(body, None)
    }

    /// The same, with one of its own parameters left out.
    pub(super) fn to_json_without(&self, body: &impl Serialize, without: Option<&str>) -> Vec<u8> {
        const WHY: &str = "all keys are texts, and nothing else can fail";
        if self.settings.params.is_empty() {
            return serde_json::to_vec(body).expect(WHY);
        }
        let mut body = serde_json::to_value(body).expect(WHY);
        if let Some(body) = body.as_object_mut() {
            merge(body, &self.settings.params);
            if let Some(key) = without.filter(|key| self.settings.params.contains_key(*key)) {
                body.remove(key);
            }
        }
        serde_json::to_vec(&body).expect(WHY)
    }

    /// Did the model that is asked say this?
    pub(super) fn is_own(&self, turn: &ModelTurn) -> bool {
        turn.by.as_deref() == Some(self.mark)
    }
}

/// Puts parameters over a body; what both have as tables is merged.
fn merge(body: &mut Map<String, Value>, params: &Map<String, Value>) {
    for (key, value) in params {
        match (body.get_mut(key).and_then(Value::as_object_mut), value) {
            (Some(inner), Value::Object(value)) => merge(inner, value),
            _ => {
                body.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Stands for a model at an address. Nothing can be read from it: an address may hold what is secret.
pub(super) fn mark(wire: Wire, url: &Url, model: &str) -> String {
    let digest = Sha256::digest(format!("{wire:?} {url} {model}"));
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The wire of a model, and the address that answers.
pub(super) fn endpoint(spec: &ModelSpec) -> Result<(Wire, Url), String> {
    let base = spec.base_url.as_deref();
    let (wire, base) = match spec.provider.as_str() {
        "ollama" if spec.settings.num_ctx.is_some() => {
            (Wire::Ollama, base.unwrap_or("http://127.0.0.1:11434"))
        }
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
            Self::Ollama => ollama::body(asked),
        }
    }

    /// The header that holds the key, and what stands before the key in it.
    pub(super) fn key_header(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenAi | Self::LikeOpenAi | Self::Ollama => ("authorization", "Bearer "),
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
        }
    }

    /// What was used; `None` if that is not told. A request can't have used nothing: who says so does
    /// not count.
    pub(super) fn tokens(answer: &Value) -> Option<Tokens> {
        usage::read(answer).filter(|tokens| tokens.input > 0 || tokens.output > 0)
    }

    pub(super) fn answer(self, answer: &Value, names: &Names<'_>) -> Result<(ModelTurn, Finish), Bad> {
        match self {
            Self::OpenAi | Self::LikeOpenAi => openai::answer(answer, names),
            Self::Anthropic => anthropic::answer(answer, names),
            Self::Gemini => gemini::answer(answer, names),
            Self::Ollama => ollama::answer(answer, names),
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
