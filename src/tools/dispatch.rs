//! The dispatcher: what applies to each call of each tool. Arguments match the schema, and the call is
//! bounded as `crate::bounded` says.
use super::catalog::Entry;
use super::contract::ToolOutput;
use crate::bounded;
use crate::domain::{Effect, ToolError, fits_schema};
use crate::secret;
use serde_json::{Map, Value};
use std::time::Duration;

/// Validates the arguments of a call against the schema of the tool.
pub(super) fn arguments(entry: &Entry, args: &Value) -> Result<Value, ToolError> {
    let empty = Value::Object(Map::new());
    let given = if args.is_null() { &empty } else { args };
    fits_schema("the arguments", &entry.info.schema, given)
        .map_err(|error| ToolError::Arguments(format!("tool `{}`: {error}", entry.info.name)))?;
    Ok(given.clone())
}

/// Runs a call within its bounds. Secrets are redacted from its output.
pub(super) async fn bounded(
    name: &str,
    effect: Effect,
    bound: Duration,
    call: impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
) -> Result<ToolOutput, ToolError> {
    let mut output = bounded::bounded(name, effect, bound, call).await?;
    let clean = |text: &mut String| *text = secret::redact(text).into_owned();
    output.warnings.iter_mut().for_each(clean);
    for finding in &mut output.findings {
        clean(&mut finding.title);
        clean(&mut finding.key);
    }
    output.result = bounded::fitting(name, effect, output.result)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    //! Tests of results.
    use super::*;
    use crate::domain::MOST_NESTED;

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
