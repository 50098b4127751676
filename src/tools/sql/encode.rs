//! JSON values as parameters of PostgreSQL. The server infers the type of each parameter from the statement,
//! so each value is sent as text, which the server parses like a literal.
use super::statement::bytes_of;
use crate::domain::hex;
use serde_json::Value;
use std::error::Error;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type};

/// A value to bind.
#[derive(Debug)]
pub(super) struct Bound(pub(super) Value);

impl ToSql for Bound {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = text(&self.0, ty)? else { return Ok(IsNull::Yes) };
        if text.contains('\0') {
            return Err("PostgreSQL can't store a text with a NUL character".into());
        }
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// Formats a value as the server parses it; `None` for null.
fn text(value: &Value, ty: &Type) -> Result<Option<String>, String> {
    if value.is_null() {
        return Ok(None);
    }
    if matches!(*ty, Type::JSON | Type::JSONB) {
        // A text that contains an object or a list is passed as JSON.
        let is_json = |text: &str| {
            text.trim_start().starts_with(['{', '['])
                && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        };
        return Ok(Some(match value {
            Value::String(text) if is_json(text) => text.clone(),
            other => other.to_string(),
        }));
    }
    if let Some(bytes) = bytes_of(value) {
        return Ok(Some(format!("\\x{}", hex(&bytes?))));
    }
    if let (Kind::Array(inner), Value::Array(items)) = (ty.kind(), value) {
        return array(items, inner).map(Some);
    }
    Ok(Some(match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }))
}

/// Formats `{"a","b",NULL}`: see "Array Input and Output Syntax" of PostgreSQL.
fn array(items: &[Value], inner: &Type) -> Result<String, String> {
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        parts.push(match item {
            Value::Array(items) if !matches!(*inner, Type::JSON | Type::JSONB) => array(items, inner)?,
            _ => match text(item, inner)? {
                None => "NULL".to_owned(),
                Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            },
        });
    }
    Ok(format!("{{{}}}", parts.join(",")))
}

#[cfg(test)]
mod tests {
    //! Tests of values.
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_the_server_reads_them() {
        for (value, ty, becomes) in [
            (json!(null), Type::INT4, None),
            (json!(9_007_199_254_740_993_i64), Type::INT8, Some("9007199254740993")),
            (json!(true), Type::BOOL, Some("true")),
            (json!("1.50"), Type::NUMERIC, Some("1.50")),
            (json!({"base64": "AP8="}), Type::BYTEA, Some("\\x00ff")),
            (json!({"a": 1}), Type::JSONB, Some("{\"a\":1}")),
            (json!("{\"a\": 1}"), Type::JSONB, Some("{\"a\": 1}")),
            (json!("x"), Type::JSON, Some("\"x\"")),
            (json!(["a\"b", null, "c\\d"]), Type::TEXT_ARRAY, Some("{\"a\\\"b\",NULL,\"c\\\\d\"}")),
            (json!([[1, 2], [3, 4]]), Type::INT4_ARRAY, Some("{{\"1\",\"2\"},{\"3\",\"4\"}}")),
            (json!([1]), Type::TEXT, Some("[1]")),
        ] {
            assert_eq!(text(&value, &ty).unwrap().as_deref(), becomes, "{value} {ty}");
        }
        assert!(text(&json!({"base64": "!"}), &Type::BYTEA).is_err());
    }
}
