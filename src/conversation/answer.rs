//! Judges the final answer of a model: whether it is one, and whether it matches the schema.
use super::brief::bad_response;
use crate::domain::{ErrorKind, Finish, ModelAnswer, RunError, fits_schema};
use serde_json::Value;

/// The judgement of a turn without calls.
pub(super) enum Verdict {
    /// It is the final answer.
    Final(String),
    /// It is a failure.
    Failed(RunError),
    /// It does not match the schema; the text says why.
    Unfit(String),
    /// It is unusable. `say` is sent back to the model, if there is anything to say; `error` ends the run if that
    /// does not help.
    Again { say: Option<String>, error: RunError },
}

/// Judges a turn without calls that was limited to `max_output_tokens`.
pub(super) fn judge(answer: &ModelAnswer, schema: Option<&Value>, max_output_tokens: u64) -> Verdict {
    let text = answer.turn.text.trim();
    if answer.finish == Finish::Length {
        let what = match text.is_empty() && answer.turn.thought.is_some() {
            true => "thoughts were cut off before there was an answer",
            false => "answer was cut off",
        };
        return Verdict::Failed(bad_response(format!(
            "{what} at max_output_tokens = {max_output_tokens}; raise `max_output_tokens` of the \
             model (and `total_tokens_limit` of the agent if that leaves less), or ask for less"
        )));
    }
    if let Finish::Unreadable(why) = &answer.finish {
        return unreadable(why, text);
    }
    if text.is_empty() {
        let message = "the model answered with neither text nor a tool call";
        return Verdict::Again { say: None, error: RunError::new(ErrorKind::EmptyAnswer, message) };
    }
    let Some(schema) = schema else { return Verdict::Final(text.to_owned()) };
    match serde_json::from_str::<Value>(unfenced(text)) {
        Err(error) => Verdict::Unfit(format!("the answer is not valid JSON: {error}")),
        Ok(value) => match fits_schema("the answer", schema, &value) {
            Ok(()) => Verdict::Final(value.to_string()),
            Err(error) => Verdict::Unfit(error),
        },
    }
}

/// Handles an unreadable call. If it was written as text, the model is told so; otherwise the same request is
/// repeated once.
fn unreadable(why: &str, text: &str) -> Verdict {
    let say = (!text.is_empty()).then(|| {
        "Your answer holds a call of a tool as text, and so it was not made. If you want the call, make it by the \
         interface for tools; otherwise answer without it."
            .to_owned()
    });
    let kind = if say.is_some() { ErrorKind::CallAsText } else { ErrorKind::BadResponse };
    Verdict::Again { say, error: RunError::new(kind, format!("the model's answer is not used: {why}")) }
}

/// Returns the message to the model when its answer does not match the schema.
pub(super) fn ask_to_fit(why: &str) -> String {
    format!(
        "Your answer does not fit the schema that was asked for: {why}. Answer again with nothing but JSON \
         that fits."
    )
}

/// Returns the error for a second answer that does not match either.
pub(super) fn unfit_again(why: &str) -> RunError {
    bad_response(format!("the answer does not fit `output_schema`, not even when asked again: {why}"))
}

/// Returns the error for a refusal by the model or a filter of its provider.
pub(super) fn refused(why: &str, said: &str) -> RunError {
    let text = [why.trim(), said.trim()].into_iter().find(|text| !text.is_empty());
    let message = match text {
        Some(text) => format!("the model refused to answer: {}", super::reply::short(text, 500)),
        None => "the model refused to answer and did not say why".into(),
    };
    RunError::new(ErrorKind::Provider, message)
}

/// Returns the content of a Markdown code fence, if the text is one: models often wrap JSON in it.
fn unfenced(text: &str) -> &str {
    let inside = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    let Some((tag, inside)) = inside.and_then(|text| text.split_once('\n')) else { return text };
    if tag.trim().is_empty() || tag.trim().eq_ignore_ascii_case("json") { inside.trim() } else { text }
}
