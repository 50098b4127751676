//! Values of PostgreSQL as JSON. They arrive in the server's binary format; a value that JSON can't represent
//! exactly becomes a text that the server parses as the same value.
use super::statement::{bytes_json, float_json};
use serde_json::{Map, Value};
use std::error::Error;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio_postgres::types::{FromSql, Kind, Type};

/// A received value.
pub(super) struct Came(pub(super) Value);

impl<'a> FromSql<'a> for Came {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(decode(ty, &mut Reader(raw))?))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The remaining bytes of a value.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (first, rest) = self.0.split_at_checked(count).ok_or("the value is too short")?;
        self.0 = rest;
        Ok(first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("that many were taken"))
    }

    fn i16(&mut self) -> Result<i16, String> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, String> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_be_bytes)
    }

    /// Reads a value with its length prefix; `None` for null.
    fn part(&mut self) -> Result<Option<Reader<'a>>, String> {
        match usize::try_from(self.i32()?) {
            Ok(length) => self.take(length).map(|bytes| Some(Reader(bytes))),
            Err(_) => Ok(None),
        }
    }

    fn text(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(std::mem::take(&mut self.0)).map_err(|_| "it is not UTF-8".to_owned())
    }
}

/// Maximum number of dimensions of an array in PostgreSQL.
const MAX_DIMENSIONS: i32 = 6;

/// Non-composite types that [`simple`] can decode.
const SIMPLE: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "oid",
    "xid",
    "cid",
    "float4",
    "float8",
    "text",
    "varchar",
    "bpchar",
    "name",
    "unknown",
    "xml",
    "citext",
    "char",
    "json",
    "jsonb",
    "bytea",
    "uuid",
    "numeric",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit",
    "varbit",
    "pg_lsn",
    "void",
];

/// Returns whether values of this type can be decoded. Others are requested as the server's text
/// representation.
pub(super) fn knows(ty: &Type) -> bool {
    match ty.kind() {
        Kind::Array(inner) | Kind::Domain(inner) | Kind::Range(inner) | Kind::Multirange(inner) => {
            knows(inner)
        }
        Kind::Composite(fields) => fields.iter().all(|field| knows(field.type_())),
        Kind::Enum(_) => true,
        _ => {
            let is_built_in = ty.schema() == "pg_catalog";
            SIMPLE.contains(&ty.name()) && (is_built_in || ty.name() == "citext")
        }
    }
}

fn decode(ty: &Type, from: &mut Reader<'_>) -> Result<Value, String> {
    match ty.kind() {
        Kind::Array(inner) => array(inner, from),
        Kind::Domain(inner) => decode(inner, from),
        Kind::Enum(_) => from.text().map(Value::from),
        Kind::Range(inner) => range(inner, from).map(Value::from),
        Kind::Multirange(inner) => {
            let count = from.i32()?;
            let mut parts = Vec::new();
            for _ in 0..count {
                parts.push(range(inner, &mut from.part()?.ok_or("a range is missing")?)?);
            }
            Ok(format!("{{{}}}", parts.join(",")).into())
        }
        Kind::Composite(fields) => {
            from.i32()?;
            let mut map = Map::new();
            for field in fields {
                from.i32()?;
                let value = from.part()?.map(|mut part| decode(field.type_(), &mut part)).transpose()?;
                map.insert(field.name().to_owned(), value.unwrap_or_default());
            }
            Ok(Value::Object(map))
        }
        _ => simple(ty, from),
    }
}

fn simple(ty: &Type, from: &mut Reader<'_>) -> Result<Value, String> {
    Ok(match ty.name() {
        "bool" => (from.array::<1>()? != [0]).into(),
        "int2" => from.i16()?.into(),
        "int4" => from.i32()?.into(),
        "int8" => from.i64()?.into(),
        "oid" | "xid" | "cid" => u32::from_be_bytes(from.array()?).into(),
        "float4" => {
            // Its shortest text, so that 0.1 stays 0.1.
            let number = f32::from_be_bytes(from.array()?);
            float_json(number.to_string().parse().unwrap_or(f64::from(number)))
        }
        "float8" => float_json(f64::from_be_bytes(from.array()?)),
        "text" | "varchar" | "bpchar" | "name" | "unknown" | "xml" | "citext" => from.text()?.into(),
        "char" => char::from(from.array::<1>()?[0]).to_string().into(),
        "json" => json(from.text()?),
        "jsonb" => {
            from.take(1)?;
            json(from.text()?)
        }
        "bytea" => bytes_json(std::mem::take(&mut from.0)),
        "uuid" => uuid::Uuid::from_bytes(from.array()?).to_string().into(),
        "numeric" => numeric(from)?.into(),
        "date" => match from.i32()? {
            i32::MAX => "infinity".into(),
            i32::MIN => "-infinity".into(),
            days => date(i64::from(days), "").into(),
        },
        "time" => clock(from.i64()?).into(),
        "timetz" => {
            let time = clock(from.i64()?);
            format!("{time}{}", zone(from.i32()?.wrapping_neg())).into()
        }
        "timestamp" => timestamp(from.i64()?, "").into(),
        "timestamptz" => timestamp(from.i64()?, "Z").into(),
        "interval" => interval(from.i64()?, from.i32()?, from.i32()?).into(),
        "inet" | "cidr" => address(from)?.into(),
        "macaddr" | "macaddr8" => {
            let parts: Vec<String> = from.0.iter().map(|byte| format!("{byte:02x}")).collect();
            parts.join(":").into()
        }
        "bit" | "varbit" => {
            let count = usize::try_from(from.i32()?).unwrap_or(0);
            if count > 8 * from.0.len() {
                return Err("the value is too short".into());
            }
            let bit = |at: usize| from.0.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
            (0..count).map(|at| if bit(at) { '1' } else { '0' }).collect::<String>().into()
        }
        "pg_lsn" => {
            let place = from.i64()? as u64;
            format!("{:X}/{:X}", place >> 32, place & 0xffff_ffff).into()
        }
        "void" => Value::Null,
        // Only if the server could not be asked for its text: see `knows`.
        _ => match std::str::from_utf8(from.0) {
            Ok(text) if !text.contains(|c: char| c.is_control()) => text.into(),
            _ => bytes_json(std::mem::take(&mut from.0)),
        },
    })
}

/// Parses JSON, unless it has a number that would lose digits: then it is returned as text.
fn json(text: &str) -> Value {
    let keeps_digits = |number: &str| {
        let digits = number.split(['e', 'E']).next().unwrap_or(number);
        let count = digits.chars().filter(char::is_ascii_digit).skip_while(|c| *c == '0').count();
        count <= 15 || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
    };
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[at..];
        if let Some(inside) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = inside.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &inside[end + 1..]);
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
        if !keeps_digits(&rest[..end]) {
            return text.into();
        }
        rest = &rest[end..];
    }
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn array(inner: &Type, from: &mut Reader<'_>) -> Result<Value, String> {
    let count = from.i32()?;
    if count > MAX_DIMENSIONS {
        return Err("the array has too many dimensions".into());
    }
    from.take(8)?;
    let mut sizes = Vec::new();
    for _ in 0..count {
        sizes.push(from.i32()?);
        from.i32()?;
    }
    if sizes.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    // Each element has at least its length prefix: bytes with a larger count are invalid.
    let all = sizes.iter().try_fold(1, |all: usize, size| all.checked_mul(usize::try_from(*size).ok()?));
    match all {
        Some(0) => return Ok(Value::Array(Vec::new())),
        Some(all) if all <= from.0.len() / 4 => {}
        _ => return Err("the value is too short".into()),
    }
    nested(inner, &sizes, from)
}

fn nested(inner: &Type, sizes: &[i32], from: &mut Reader<'_>) -> Result<Value, String> {
    let Some((size, deeper)) = sizes.split_first() else {
        return Ok(match from.part()? {
            Some(mut part) => decode(inner, &mut part)?,
            None => Value::Null,
        });
    };
    (0..*size).map(|_| nested(inner, deeper, from)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// Formats a range as the server does: `[1,5)`.
fn range(inner: &Type, from: &mut Reader<'_>) -> Result<String, String> {
    const EMPTY: u8 = 1;
    const LOWER_INCLUSIVE: u8 = 2;
    const UPPER_INCLUSIVE: u8 = 4;
    const LOWER_INFINITE: u8 = 8;
    const UPPER_INFINITE: u8 = 16;
    let [flags] = from.array()?;
    if flags & EMPTY != 0 {
        return Ok("empty".into());
    }
    let mut bound = |infinite: u8| -> Result<String, String> {
        if flags & infinite != 0 {
            return Ok(String::new());
        }
        let value = from.part()?.map(|mut part| decode(inner, &mut part)).transpose()?;
        Ok(match value.unwrap_or_default() {
            Value::String(text) if text.contains([' ', ',', '"', '(', ')', '[', ']', '\\']) => {
                format!("{text:?}")
            }
            Value::String(text) => text,
            other => other.to_string(),
        })
    };
    let (low, high) = (bound(LOWER_INFINITE)?, bound(UPPER_INFINITE)?);
    let open = if flags & LOWER_INCLUSIVE != 0 { '[' } else { '(' };
    let close = if flags & UPPER_INCLUSIVE != 0 { ']' } else { ')' };
    Ok(format!("{open}{low},{high}{close}"))
}

/// Formats groups of four decimal digits, the first multiplied by 10000 to the power of `weight`.
fn numeric(from: &mut Reader<'_>) -> Result<String, String> {
    let count = from.i16()?;
    let weight = i32::from(from.i16()?);
    let sign = from.i16()? as u16;
    let scale = usize::try_from(from.i16()?).unwrap_or(0);
    match sign {
        0xC000 => return Ok("NaN".into()),
        0xD000 => return Ok("Infinity".into()),
        0xF000 => return Ok("-Infinity".into()),
        _ => {}
    }
    let groups = (0..count).map(|_| from.i16()).collect::<Result<Vec<_>, _>>()?;
    let group = |power: i32| {
        let at = usize::try_from(weight - power).ok();
        at.and_then(|at| groups.get(at)).copied().unwrap_or(0)
    };
    let mut whole = String::new();
    for power in (0..=weight.max(0)).rev() {
        let _ = write!(whole, "{:04}", group(power));
    }
    let mut fraction = String::new();
    let mut power = -1;
    while fraction.len() < scale {
        let _ = write!(fraction, "{:04}", group(power));
        power -= 1;
    }
    fraction.truncate(scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let minus = if sign == 0x4000 { "-" } else { "" };
    Ok(if fraction.is_empty() { format!("{minus}{whole}") } else { format!("{minus}{whole}.{fraction}") })
}

const DAY_US: i64 = 86_400_000_000;

/// Formats days since 2000-01-01, followed by `rest`. Works for all years that the server supports.
fn date(days: i64, rest: &str) -> String {
    // Howard Hinnant's civil_from_days, with years that begin in March.
    let days = days + 10_957 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // There is no year 0.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02}{rest}{era}")
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".into(),
        i64::MIN => "-infinity".into(),
        _ => date(micros.div_euclid(DAY_US), &format!("T{}{zone}", clock(micros.rem_euclid(DAY_US)))),
    }
}

fn clock(micros: i64) -> String {
    let (secs, micros) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60);
    if micros != 0 {
        let _ = write!(text, ".{micros:06}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

fn zone(east: i32) -> String {
    let sign = if east < 0 { '-' } else { '+' };
    let secs = east.abs();
    let text = format!("{sign}{:02}:{:02}", secs / 3600, secs / 60 % 60);
    if secs % 60 == 0 { text } else { format!("{text}:{:02}", secs % 60) }
}

/// Formats ISO 8601, with a sign at each part as PostgreSQL parses it.
fn interval(micros: i64, days: i32, months: i32) -> String {
    let mut text = String::from("P");
    for (number, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if number != 0 {
            let _ = write!(text, "{number}{unit}");
        }
    }
    if micros != 0 {
        text.push('T');
        let (hours, minutes) = (micros / 3_600_000_000, micros / 60_000_000 % 60);
        let rest = micros % 60_000_000;
        for (number, unit) in [(hours, 'H'), (minutes, 'M')] {
            if number != 0 {
                let _ = write!(text, "{number}{unit}");
            }
        }
        if rest != 0 {
            let minus = if rest < 0 { "-" } else { "" };
            let rest = rest.unsigned_abs();
            let fraction = format!("{:06}", rest % 1_000_000);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let _ = write!(text, "{minus}{}{point}{fraction}S", rest / 1_000_000);
        }
    }
    if text == "P" { "PT0S".into() } else { text }
}

fn address(from: &mut Reader<'_>) -> Result<String, String> {
    let [family, bits, is_network, length] = from.array()?;
    let (text, all) = if family == 2 && length == 4 {
        (Ipv4Addr::from(from.array::<4>()?).to_string(), 32)
    } else {
        (Ipv6Addr::from(from.array::<16>()?).to_string(), 128)
    };
    Ok(if bits == all && is_network == 0 { text } else { format!("{text}/{bits}") })
}

#[cfg(test)]
mod tests {
    //! Formats that can be tested without a server.
    use super::*;

    #[test]
    fn times_have_their_forms() {
        assert_eq!(date(0, ""), "2000-01-01");
        assert_eq!(date(-730_119, ""), "0001-01-01");
        assert_eq!(date(-730_120, ""), "0001-12-31 BC");
        assert_eq!(timestamp(-1, "Z"), "1999-12-31T23:59:59.999999Z");
        assert_eq!(timestamp(i64::MAX, ""), "infinity");
        assert_eq!(zone(-19_800), "-05:30");
        assert_eq!(interval(0, 0, 0), "PT0S");
        assert_eq!(interval(-3_661_500_000, 3, 14), "P1Y2M3DT-1H-1M-1.5S");
    }

    #[test]
    fn json_keeps_all_digits() {
        assert!(json("{\"a\": [1, 2.5, \"12345678901234567890123\"]}").is_object());
        assert!(json("[9223372036854775807, 18446744073709551615, -1.5e300]").is_array());
        assert!(json("[0.1234567890123456789]").is_string());
        assert!(json("{\"a\\\"1\": 123456789012345678901234}").is_string());
    }

    #[test]
    fn a_few_bytes_are_no_large_value() {
        let array = |sizes: &[i32]| {
            let head = [i32::try_from(sizes.len()).unwrap(), 0, 23];
            let sizes = sizes.iter().flat_map(|size| [*size, 1]);
            head.into_iter().chain(sizes).flat_map(i32::to_be_bytes).collect::<Vec<u8>>()
        };
        let read = |bytes: &[u8]| decode(&Type::INT4_ARRAY, &mut Reader(bytes));
        assert_eq!(read(&array(&[])), Ok(serde_json::json!([])));
        assert_eq!(read(&array(&[2, 0])), Ok(serde_json::json!([])));
        for sizes in [&[i32::MAX][..], &[i32::MAX, i32::MAX, 1], &[-1], &[1; 7], &[1; 100_000]] {
            assert!(read(&array(sizes)).is_err(), "{} dimensions", sizes.len());
        }
        assert_eq!(read(&array(&[i32::MAX, 0])), Ok(serde_json::json!([])));
        let bits = i32::MAX.to_be_bytes();
        assert!(decode(&Type::VARBIT, &mut Reader(&bits)).is_err());
        let mut bits = 9_i32.to_be_bytes().to_vec();
        bits.extend([0x80, 0x80]);
        assert_eq!(decode(&Type::VARBIT, &mut Reader(&bits)), Ok("100000001".into()));
    }

    #[test]
    fn short_values_are_errors() {
        for ty in [Type::INT8, Type::NUMERIC, Type::UUID, Type::INT4_ARRAY, Type::INET, Type::INT4_RANGE] {
            assert!(decode(&ty, &mut Reader(&[0])).is_err(), "{ty}");
        }
    }
}
