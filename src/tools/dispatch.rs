//! What holds for each call of each tool: arguments fit the schema, time and size are bounded, a panic
//! is an error of this call alone, and no secret is in what it gives.
use super::catalog::Entry;
use super::contract::ToolOutput;
use crate::blocking::panic_text;
use crate::domain::{Effect, MAX_TOOL_RESULT, MOST_NESTED, ToolError, fits_schema, is_deeper};
use crate::secret;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// The arguments of a call, which fit the schema of the tool.
pub(super) fn arguments(entry: &Entry, args: &Value) -> Result<Value, ToolError> {
    let empty = Value::Object(Map::new());
    let given = if args.is_null() { &empty } else { args };
    fits_schema("the arguments", &entry.info.schema, given)
        .map_err(|error| ToolError::Arguments(format!("tool `{}`: {error}", entry.info.name)))?;
    Ok(given.clone())
}

/// Runs a call within its bounds. It ends with this future, unless it blocks a thread. What went wrong with
/// one that does more than look is not a plain failure: see [`ToolError::may_have_happened`].
pub(super) async fn bounded(
    name: &str,
    effect: Effect,
    bound: Duration,
    call: impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
) -> Result<ToolOutput, ToolError> {
    let call = AbortOnDropHandle::new(tokio::spawn(call));
    let looks = effect == Effect::Read;
    let mut output = match tokio::time::timeout(bound, call).await {
        Ok(Ok(result)) => without_secrets(result)?,
        Ok(Err(error)) => {
            let error = format!("internal error in tool `{name}`: {}", panic_text(error));
            return without_secrets(Err(if looks {
                ToolError::Failed(error)
            } else {
                ToolError::Unsure(format!("{error}; nobody knows whether the call was carried out"))
            }));
        }
        Err(_) => {
            return Err(ToolError::Timeout {
                tool: name.to_owned(),
                secs: bound.as_secs_f64().ceil() as u64,
            });
        }
    };
    if is_deeper(&output.result, MOST_NESTED) {
        output.result = json!({
            "text": output.result.to_string(),
            "note": format!("it is nested more than {MOST_NESTED} deep, so it is given as its text"),
        });
    }
    let size = serde_json::to_vec(&output.result).map_or(usize::MAX, |text| text.len());
    if size > MAX_TOOL_RESULT {
        let (size, most) = (size.div_ceil(1024), MAX_TOOL_RESULT >> 10);
        if looks {
            return Err(ToolError::Failed(format!(
                "the result of tool `{name}` has {size} KiB, and {most} KiB are the most: ask for less"
            )));
        }
        let note = format!(
            "the call was carried out; its result is left out: it has {size} KiB, and {most} KiB are the most"
        );
        output.result = json!({"note": note});
    }
    Ok(output)
}

/// The outside world may say a secret back: a server repeats a header, a program its environment.
fn without_secrets(result: Result<ToolOutput, ToolError>) -> Result<ToolOutput, ToolError> {
    let clean = |text: String| secret::redact(&text).into_owned();
    match result {
        Ok(mut output) => {
            secret::redact_json(&mut output.result);
            for warning in &mut output.warnings {
                *warning = clean(std::mem::take(warning));
            }
            for finding in &mut output.findings {
                finding.title = clean(std::mem::take(&mut finding.title));
                finding.key = clean(std::mem::take(&mut finding.key));
            }
            Ok(output)
        }
        Err(ToolError::Failed(text)) => Err(ToolError::Failed(clean(text))),
        Err(ToolError::Unsure(text)) => Err(ToolError::Unsure(clean(text))),
        Err(ToolError::Arguments(text)) => Err(ToolError::Arguments(clean(text))),
        // They say what was called, not what came.
        Err(error @ (ToolError::Unknown(_) | ToolError::Untrusted(_) | ToolError::Timeout { .. })) => {
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of results.
    use super::*;

    #[tokio::test]
    async fn a_result_that_is_too_deep_to_be_stored_is_a_text() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for (levels, is_text) in [(MOST_NESTED, false), (MOST_NESTED + 1, true), (127, true)] {
            let given: Value = serde_json::from_str(&deep(levels)).unwrap();
            let call = async { Ok(ToolOutput::of(given)) };
            let output = bounded("x", Effect::Read, Duration::from_secs(5), call).await.unwrap();
            assert_eq!(output.result["text"].as_str(), is_text.then(|| deep(levels)).as_deref(), "{levels}");
        }
    }
}
