//! JSON forms of tools' settings and arguments.
use crate::domain::duration::parse_duration;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::Value;
use std::path::Path;

/// Durations as seconds; a text such as `5m` is accepted as well.
pub(super) mod secs {
    use super::duration;
    use jiff::SignedDuration;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    pub fn serialize<S: Serializer>(span: &SignedDuration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(span.as_secs_f64())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SignedDuration, D::Error> {
        let value = Value::deserialize(from)?;
        duration(&value).ok_or_else(|| D::Error::custom(format!("{value} is not a duration")))
    }
}

/// Like [`secs`], but optional.
pub(super) mod opt_secs {
    use super::secs;
    use jiff::SignedDuration;
    use serde::{Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(span: &Option<SignedDuration>, to: S) -> Result<S::Ok, S::Error> {
        span.map(|span| span.as_secs_f64()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SignedDuration>, D::Error> {
        secs::deserialize(from).map(Some)
    }
}

/// Parses a duration: seconds, or a text such as `90s`, `5m`, `1h30m` or `7d`. Never negative.
pub(super) fn duration(value: &Value) -> Option<SignedDuration> {
    match value {
        Value::String(text) => parse_duration(text).ok(),
        value => SignedDuration::try_from_secs_f64(value.as_f64()?).ok().filter(|span| !span.is_negative()),
    }
}

/// Serializes a path for people.
pub(super) fn shown<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

/// Parses an optional integer. As in JSON Schema (Validation, 6.1.1), 5.0 is one.
pub(super) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(from)? else { return Ok(None) };
    let of_real =
        |number: f64| (number.fract() == 0.0 && (0.0..=MAX_EXACT).contains(&number)).then_some(number as u64);
    let whole = number.as_u64().or_else(|| number.as_f64().and_then(of_real));
    whole.map(Some).ok_or_else(|| serde::de::Error::custom(format!("{number} is not a whole number")))
}

/// Like [`whole`], but required.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    whole(from)?.ok_or_else(|| serde::de::Error::custom("a whole number is missing"))
}

/// Parses integer seconds, which may be negative.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    let of_real = |number: f64| (number.fract() == 0.0 && number.abs() <= MAX_EXACT).then_some(number as i64);
    let whole = number.as_i64().or_else(|| number.as_f64().and_then(of_real));
    whole.ok_or_else(|| serde::de::Error::custom(format!("{number} is not a whole number")))
}

/// Up to here floating-point integers are exact.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
