//! Types and numbers as JSON Schema defines them: 1 and 1.0 are equal, and both are integers.
use serde_json::Value;

/// Returns whether the value has this `type`.
pub(super) fn is_a(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        // 5.0 is an integer too (JSON Schema 2020-12, section 4.2.3 of the core).
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    }
}

/// Parses a count, even if written as 2.0.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let of =
        |number: f64| (number.fract() == 0.0 && (0.0..=MAX_EXACT).contains(&number)).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(of))
}

/// Up to here each integer is exact as a float.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns whether two values are equal in JSON.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || ((one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}

/// Returns whether the number is a multiple of the step, with tolerance for rounding: 0.3 is one of 0.1.
pub(super) fn is_multiple(number: f64, step: f64) -> bool {
    if step <= 0.0 {
        return true;
    }
    let times = number / step;
    times.is_finite() && (times - times.round()).abs() <= times.abs().max(1.0) * 4.0 * f64::EPSILON
}
