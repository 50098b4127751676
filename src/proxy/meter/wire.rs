//! The wires between agent programs and their model providers: their requests, destinations, and error formats.
use crate::domain::Provider;
use hyper::Method;
use serde_json::{Value, json};

/// The protocol between an agent program and its model's provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelWire {
    /// Anthropic's Messages: Claude Code.
    Messages,
    /// OpenAI's Responses: Codex.
    Responses,
    /// OpenAI's Chat Completions, and compatible servers: opencode, goose.
    Chat,
    /// Google's generateContent: Gemini CLI.
    Gemini,
}

impl ModelWire {
    /// Returns the wires that a provider supports, the usual one first.
    pub fn of(provider: Provider) -> &'static [Self] {
        match provider {
            Provider::Anthropic => &[Self::Messages],
            Provider::OpenAi | Provider::OpenAiCompatible | Provider::Ollama => {
                &[Self::Chat, Self::Responses]
            }
            Provider::Gemini => &[Self::Gemini],
        }
    }

    /// Returns the path after the meter's address in the base URL that programs are configured with for this wire. Programs for
    /// Messages and Gemini append the version themselves.
    pub fn base_path(self) -> &'static str {
        match self {
            Self::Messages | Self::Gemini => "",
            Self::Responses | Self::Chat => "/v1",
        }
    }

    /// Returns its name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "Anthropic Messages",
            Self::Responses => "OpenAI Responses",
            Self::Chat => "OpenAI Chat Completions",
            Self::Gemini => "Gemini generateContent",
        }
    }

    /// Returns an error in the provider's format.
    pub(super) fn error(self, status: u16, message: &str) -> Value {
        let kind = match status {
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        match self {
            Self::Messages => json!({ "type": "error", "error": { "type": kind, "message": message } }),
            Self::Responses | Self::Chat => {
                json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
            }
            Self::Gemini => {
                let word = match status {
                    504 => "DEADLINE_EXCEEDED",
                    500.. => "UNAVAILABLE",
                    _ => "INVALID_ARGUMENT",
                };
                json!({ "error": { "code": status, "message": message, "status": word } })
            }
        }
    }

    /// Returns the same as an event of a stream that has begun.
    pub(super) fn error_event(self, status: u16, message: &str) -> String {
        match self {
            Self::Messages => format!("event: error\ndata: {}\n\n", self.error(status, message)),
            Self::Responses => {
                let event = json!({ "type": "error", "code": null, "message": message, "param": null });
                format!("event: error\ndata: {event}\n\n")
            }
            Self::Chat | Self::Gemini => format!("data: {}\n\n", self.error(status, message)),
        }
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// An answer of a model. For Gemini, the path names the model, and whether the answer is a stream.
    Answer {
        /// From the path.
        model: Option<String>,
    },
    /// Something that costs nothing: a list of models, a count of tokens.
    LookUp,
}

/// A request that the meter supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) wire: ModelWire,
    pub(super) asks: Asks,
    /// The path after the provider's address and version.
    pub(super) path: String,
}

/// Returns the route of a request; `wires`: those of the provider. `None`: it is not supported.
pub(super) fn route(wires: &[ModelWire], method: &Method, path: &str) -> Option<Route> {
    let path = path.strip_prefix('/')?;
    let rest = ["v1/", "v1beta/", "v1alpha/"].iter().find_map(|version| path.strip_prefix(version));
    let path = rest.unwrap_or(path);
    let speaks = |wire: ModelWire| wires.contains(&wire).then_some(wire);
    let found = |wire, asks| Some(Route { wire, asks, path: format!("/{path}") });
    let answer = || Asks::Answer { model: None };
    if *method == Method::GET {
        let id = path.strip_prefix("models/");
        let is_list = path == "models" || id.is_some_and(is_name);
        return found(wires.first().copied().filter(|_| is_list)?, Asks::LookUp);
    }
    if *method != Method::POST {
        return None;
    }
    match path {
        "messages" => found(speaks(ModelWire::Messages)?, answer()),
        "messages/count_tokens" => found(speaks(ModelWire::Messages)?, Asks::LookUp),
        "responses" => found(speaks(ModelWire::Responses)?, answer()),
        "chat/completions" => found(speaks(ModelWire::Chat)?, answer()),
        _ => {
            let (model, method) = path.split_once(':').filter(|(model, _)| is_name(model))?;
            let wire = speaks(ModelWire::Gemini)?;
            let model = model.strip_prefix("models/")?.to_owned();
            match method {
                "generateContent" | "streamGenerateContent" => {
                    found(wire, Asks::Answer { model: Some(model) })
                }
                "countTokens" => found(wire, Asks::LookUp),
                _ => None,
            }
        }
    }
}

/// Returns the wire that a path belongs to, whether the provider supports it or not: for the format of a refusal.
pub(super) fn wire_of(path: &str) -> Option<ModelWire> {
    let has = |part: &str| path.contains(part);
    match () {
        () if has("/messages") => Some(ModelWire::Messages),
        () if has("/responses") => Some(ModelWire::Responses),
        () if has("/chat/completions") => Some(ModelWire::Chat),
        () if has("enerateContent") || has(":countTokens") => Some(ModelWire::Gemini),
        () => None,
    }
}

/// Returns whether a part of a path is a plain name, without traversal.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@');
    !text.is_empty() && text.len() <= 200 && text.chars().all(is_plain) && !text.contains("..")
}

#[cfg(test)]
mod tests {
    //! Tests of what is answered for.
    use super::*;

    #[test]
    fn each_wire_has_its_requests_and_no_others() {
        let all = [ModelWire::Messages, ModelWire::Responses, ModelWire::Chat, ModelWire::Gemini];
        let post = |path: &str| route(&all, &Method::POST, path).map(|route| (route.wire, route.asks));
        let answer = |wire| Some((wire, Asks::Answer { model: None }));
        for path in ["/v1/messages", "/messages"] {
            assert_eq!(post(path), answer(ModelWire::Messages));
        }
        assert_eq!(post("/v1/messages/count_tokens"), Some((ModelWire::Messages, Asks::LookUp)));
        assert_eq!(post("/v1/responses"), answer(ModelWire::Responses));
        assert_eq!(post("/chat/completions"), answer(ModelWire::Chat));
        for method in ["generateContent", "streamGenerateContent"] {
            let model = Some("gemini-2.5-pro".to_owned());
            let expected = Some((ModelWire::Gemini, Asks::Answer { model }));
            assert_eq!(post(&format!("/v1beta/models/gemini-2.5-pro:{method}")), expected);
        }
        assert_eq!(post("/v1beta/models/x:countTokens"), Some((ModelWire::Gemini, Asks::LookUp)));
        for odd in [
            "/",
            "",
            "/v1/files",
            "/v1/messages/batches",
            "/v1/responses/resp_1/cancel",
            "/v1/embeddings",
            "/v1beta/models/x:embedContent",
            "/v1beta/models/../files:generateContent",
            "/v1beta/cachedContents",
            "/v1/messages/../files",
            "/v1/v1/messages",
            "/v1beta/models/a%2f..:generateContent",
            "/v1/completions",
        ] {
            assert_eq!(post(odd), None, "{odd}");
        }
        assert_eq!(
            route(&all[..1], &Method::POST, "/v1/responses"),
            None,
            "its provider does not speak that"
        );
        let get = |path: &str| route(&all[1..2], &Method::GET, path).map(|route| route.asks);
        assert_eq!(get("/v1/models"), Some(Asks::LookUp));
        assert_eq!(get("/v1/models/gpt-5"), Some(Asks::LookUp));
        for odd in ["/v1/files", "/v1/models/../files", "/v1/messages"] {
            assert_eq!(get(odd), None, "{odd}");
        }
        for method in [Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            assert_eq!(route(&all, &method, "/v1/messages"), None);
        }
    }
}
