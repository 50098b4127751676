//! The rules for tool calls and archive queries: time and result size are limited, a panic is an error of this call alone, and
//! the output contains no secret.
use crate::blocking::panic_text;
use crate::domain::{Effect, MAX_TOOL_RESULT_BYTES, MOST_NESTED, ToolError, is_deeper};
use crate::secret;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// Runs a call with a timeout. It is cancelled with this future, unless it blocks a thread. Errors of calls with side effects
/// are special: see [`ToolError::may_have_happened`].
pub async fn bounded<T: Send + 'static>(
    name: &str,
    effect: Effect,
    bound: Duration,
    call: impl Future<Output = Result<T, ToolError>> + Send + 'static,
) -> Result<T, ToolError> {
    let call = AbortOnDropHandle::new(tokio::spawn(call));
    match tokio::time::timeout(bound, call).await {
        Ok(Ok(result)) => result.map_err(without_secrets),
        Ok(Err(error)) => {
            let error = format!("internal error in tool `{name}`: {}", panic_text(error));
            Err(without_secrets(match effect {
                Effect::Read => ToolError::Failed(error),
                Effect::Idempotent | Effect::Effect => {
                    ToolError::Unsure(format!("{error}; nobody knows whether the call was carried out"))
                }
            }))
        }
        Err(_) => Err(ToolError::Timeout { tool: name.to_owned(), secs: bound.as_secs_f64().ceil() as u64 }),
    }
}

/// Returns the result in a form that may be passed on: without secrets, within the limits of depth and size.
pub fn fitting(name: &str, effect: Effect, mut result: Value) -> Result<Value, ToolError> {
    secret::redact_json(&mut result);
    if is_deeper(&result, MOST_NESTED) {
        result = json!({
            "text": result.to_string(),
            "note": format!("it is nested more than {MOST_NESTED} deep, so it is given as its text"),
        });
    }
    let size = serde_json::to_vec(&result).map_or(usize::MAX, |text| text.len());
    if size <= MAX_TOOL_RESULT_BYTES {
        return Ok(result);
    }
    let (size, most) = (size.div_ceil(1024), MAX_TOOL_RESULT_BYTES >> 10);
    match effect {
        Effect::Read => Err(ToolError::Failed(format!(
            "the result of tool `{name}` has {size} KiB, and {most} KiB are the most: ask for less"
        ))),
        Effect::Idempotent | Effect::Effect => Ok(json!({"note": format!(
            "the call was carried out; its result is left out: it has {size} KiB, and {most} KiB are the most"
        )})),
    }
}

/// Redacts secrets in an error: servers repeat headers, programs their environment.
fn without_secrets(error: ToolError) -> ToolError {
    let clean = |text: String| secret::redact(&text).into_owned();
    match error {
        ToolError::Failed(text) => ToolError::Failed(clean(text)),
        ToolError::Unsure(text) => ToolError::Unsure(clean(text)),
        ToolError::Arguments(text) => ToolError::Arguments(clean(text)),
        // these messages contain what was called, not what was returned
        error @ (ToolError::Unknown(_) | ToolError::Untrusted(_) | ToolError::Timeout { .. }) => error,
    }
}
