//! One request with all that a wire needs to write it down, and what all wires have in common.
use crate::domain::ToolNames;
use crate::domain::{ModelRequest, ModelTurn, RequestSettings};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// How a provider wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    OpenAi,
    /// Those who imitate it.
    LikeOpenAi,
    Anthropic,
    Gemini,
    Ollama,
}

/// One request, with all that a wire needs to write it down.
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) temperature: Option<f64>,
    pub(super) request: &'a ModelRequest,
    pub(super) names: &'a ToolNames<'a>,
    /// Say which schema the answer must fit, if the wire has a word for that. Else the system instruction
    /// has to do.
    pub(super) with_schema: bool,
    pub(super) settings: &'a RequestSettings,
    /// Who is asked: [`super::wire::mark`].
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

/// Arguments on their way back to the provider. Servers read them: what is no JSON object would make
/// them refuse the whole conversation, and the reply to the call says what was wrong with it.
pub(super) fn object_or_empty(arguments: &str) -> &RawValue {
    match serde_json::from_str::<&RawValue>(arguments) {
        Ok(raw) if raw.get().starts_with('{') => raw,
        _ => serde_json::from_str("{}").expect("an object"),
    }
}
