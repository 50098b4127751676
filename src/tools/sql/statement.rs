//! The statement to run, its parameters, and the representation of bytes and numbers in JSON.
use crate::domain::{SqlArgs, SqlParams, SqlSettings, ToolError};
use serde_json::{Value, json};

/// Maximum length of a statement, in bytes.
const MAX_SQL_BYTES: usize = 100_000;

/// A statement to run.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) params: SqlParams,
}

impl Statement {
    pub(super) fn of(args: SqlArgs, settings: &SqlSettings) -> Result<Self, ToolError> {
        let refuse = |why: &str| Err(ToolError::Arguments(why.to_owned()));
        let text = match (args.sql, args.statement) {
            (Some(_), Some(_)) => return refuse("give either `sql` or `statement`, not both"),
            (None, None) => return refuse("`sql` is missing"),
            (Some(text), None) => text,
            (None, Some(name)) => match settings.statements.get(&name) {
                Some(text) => text.clone(),
                None => return refuse("there is no such `statement`"),
            },
        };
        if text.len() > MAX_SQL_BYTES {
            return refuse("the statement is longer than 100000 bytes: bind long values as `params`");
        }
        if text.contains('\0') {
            return refuse("the statement has a NUL byte");
        }
        Ok(Self { text, params: args.params })
    }
}

/// Decodes `{"base64": "…"}`, the representation of bytes in JSON in both directions.
pub(super) fn bytes_of(value: &Value) -> Option<Result<Vec<u8>, String>> {
    use base64::Engine;
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let text = map.get("base64")?.as_str()?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    Some(decoded.map_err(|error| format!("its base64 can't be read: {error}")))
}

/// Encodes bytes: see [`bytes_of`].
pub(super) fn bytes_json(bytes: &[u8]) -> Value {
    use base64::Engine;
    json!({"base64": base64::engine::general_purpose::STANDARD.encode(bytes)})
}

/// Converts a number; one that JSON can't represent becomes a text.
pub(super) fn float_json(number: f64) -> Value {
    if number.is_nan() {
        return "NaN".into();
    }
    match serde_json::Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None => (if number > 0.0 { "Infinity" } else { "-Infinity" }).into(),
    }
}
