//! One request with everything that a wire needs to encode it, and what all wires have in common.
use crate::domain::ToolNames;
use crate::domain::{ModelRequest, ModelTurn, RequestSettings};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The wire format of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    OpenAi,
    /// Servers with a compatible API.
    LikeOpenAi,
    Anthropic,
    Gemini,
    Ollama,
}

/// One request, with everything that a wire needs to encode it.
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) temperature: Option<f64>,
    pub(super) request: &'a ModelRequest,
    pub(super) names: &'a ToolNames<'a>,
    /// Send the schema of the answer, if the wire supports that. Else the system instruction has to do.
    pub(super) with_schema: bool,
    pub(super) settings: &'a RequestSettings,
    /// Identifies the model that is asked: [`super::wire::mark`].
    pub(super) mark: &'a str,
    /// Send thoughts with calls of other models as well: the provider refuses calls without.
    pub(super) with_thoughts: bool,
}

impl Asked<'_> {
    /// Encodes the body of a request, with the configured parameters.
    pub(super) fn to_json(&self, body: &impl Serialize) -> Vec<u8> {
        self.to_json_without(body, None)
    }

    /// The same, without one of the body's own keys.
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

    /// Returns whether the turn is from the model that is asked.
    pub(super) fn is_own(&self, turn: &ModelTurn) -> bool {
        turn.by.as_deref() == Some(self.mark)
    }
}

/// Merges parameters into a body; nested tables are merged recursively.
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

/// Returns arguments that are sent back to the provider. Servers parse them and would refuse the whole conversation because of
/// anything but a JSON object; the reply to the call says what was wrong with it.
pub(super) fn object_or_empty(arguments: &str) -> &RawValue {
    match serde_json::from_str::<&RawValue>(arguments) {
        Ok(raw) if raw.get().starts_with('{') => raw,
        _ => serde_json::from_str("{}").expect("an object"),
    }
}
