//! Parameters of runs: declarations of an agent, and the values of a run.
use super::nearest::nearest;
use super::words::words;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// Parameters by name.
pub type ParamValues = BTreeMap<String, Value>;

words! {
    /// What a parameter of a run can be.
    ParamType {
        /// A text of at most 16 KiB.
        Text = "text",
        /// A whole number.
        Int = "int",
        /// A number.
        Number = "number",
        /// `true` or `false`.
        Bool = "bool",
        /// A day: `2026-11-01`.
        Date = "date",
        /// An instant: `2026-11-01T09:00:00+01:00`, or without an offset in the agent's zone.
        Time = "time",
    }
}

impl ParamType {
    /// Returns a description of valid values, for people.
    pub fn described(self) -> &'static str {
        match self {
            Self::Text => "a text of at most 16 KiB",
            Self::Int => "a whole number",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Date => "a date such as 2026-11-01",
            Self::Time => "a time such as 2026-11-01T09:00 or 2026-11-01T09:00:00Z",
        }
    }
}

/// The default of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamDefault {
    /// A constant.
    Value(Value),
    /// The slot of the run, or the time of its claim if it has none: as an instant, or as a day in the agent's time
    /// zone.
    Slot,
}

/// The declaration of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    pub kind: ParamType,
    /// Value if none is given. `None`: it is required.
    pub default: Option<ParamDefault>,
}

/// The declared parameters of an agent's runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsSpec {
    /// The parameters by name.
    pub all: BTreeMap<String, ParamSpec>,
    /// Time zone of days, and of times without an offset.
    pub zone: TimeZone,
}

impl ParamsSpec {
    /// Maximum number of parameters of an agent.
    pub const MOST: usize = 32;
    /// Maximum length of a text value, in bytes: it goes into the environment of a program.
    pub const LONGEST_TEXT: usize = 16 << 10;
    /// Prefix of the environment variables for programs, followed by the name in capitals.
    pub const VARIABLE: &'static str = "BGAGENT_PARAM_";

    /// Returns whether this is a valid name: lower-case letters, digits and `_`, beginning with a letter, so that
    /// different names are different environment variables.
    pub fn is_name(name: &str) -> bool {
        name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    }

    /// Returns the names of required parameters.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter(|(_, spec)| spec.default.is_none()).map(|(name, _)| name.as_str())
    }

    /// Returns the values of a run, for this slot or time of claim.
    ///
    /// # Errors
    /// The message says which name or value is invalid, and what would be valid.
    pub fn values(&self, given: &ParamValues, moment: Timestamp) -> Result<ParamValues, String> {
        if let Some(unknown) = given.keys().find(|name| !self.all.contains_key(*name)) {
            let near = nearest(unknown, self.all.keys().map(String::as_str));
            let near = near.map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "there is no parameter `{unknown}`{near} The parameters are {}",
                self.describe()
            ));
        }
        let mut values = ParamValues::new();
        for (name, spec) in &self.all {
            let value = match (given.get(name), &spec.default) {
                (Some(value), _) => spec.kind.fit(value, &self.zone).ok_or_else(|| {
                    let shown = super::template::as_text(value);
                    let shown = &shown[..shown.floor_char_boundary(100)];
                    format!("the parameter `{name}` can't be `{shown}`: it is {}", spec.kind.described())
                })?,
                (None, Some(ParamDefault::Value(value))) => value.clone(),
                (None, Some(ParamDefault::Slot)) => spec.kind.of_moment(moment, &self.zone),
                (None, None) => {
                    let which = spec.kind.described();
                    return Err(format!(
                        "the parameter `{name}` is missing: it is {which}. The parameters are {}",
                        self.describe()
                    ));
                }
            };
            values.insert(name.clone(), value);
        }
        Ok(values)
    }

    /// Returns a text such as `day: date (default: that of the slot), n: int (required)`.
    pub fn describe(&self) -> String {
        let one = |(name, spec): (&String, &ParamSpec)| match &spec.default {
            None => format!("{name}: {} (required)", spec.kind),
            Some(ParamDefault::Slot) => format!("{name}: {} (default: that of the slot)", spec.kind),
            Some(ParamDefault::Value(value)) => {
                format!("{name}: {} (default: {})", spec.kind, super::template::as_text(value))
            }
        };
        self.all.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl ParamType {
    /// Returns the normalized value, if it is of this type. A text is parsed according to the type, so that it can
    /// come from a command line.
    pub fn fit(self, value: &Value, zone: &TimeZone) -> Option<Value> {
        let text = value.as_str();
        let whole = || value.as_i64().or_else(|| text?.parse().ok()).map(Value::from);
        match self {
            Self::Text => {
                let is_fine = |text: &&str| text.len() <= ParamsSpec::LONGEST_TEXT && !text.contains('\0');
                text.filter(is_fine).map(Value::from)
            }
            Self::Int => whole(),
            Self::Number => whole().or_else(|| {
                let number = value.as_f64().or_else(|| text?.parse().ok())?;
                Number::from_f64(number).map(Value::Number)
            }),
            Self::Bool => value.as_bool().or_else(|| text?.parse().ok()).map(Value::Bool),
            Self::Date => {
                let date: Date = text?.parse().ok()?;
                // rejects a time after the date, and other notations
                (date.to_string() == text?).then(|| Value::from(text))
            }
            Self::Time => {
                let local = || text?.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok();
                let instant: Timestamp =
                    text?.parse().ok().or_else(|| local().map(|local| local.timestamp()))?;
                Some(self.of_moment(instant, zone))
            }
        }
    }

    /// Returns the instant as a value of this type.
    fn of_moment(self, moment: Timestamp, zone: &TimeZone) -> Value {
        match self {
            Self::Date => moment.to_zoned(zone.clone()).date().to_string().into(),
            _ => moment.display_with_offset(zone.to_offset(moment)).to_string().into(),
        }
    }
}

/// Formats values as `day=2026-11-01 n=3`, for a line on a screen.
pub fn params_in_words(values: &ParamValues) -> String {
    let one = |(name, value): (&String, &Value)| format!("{name}={}", super::template::as_text(value));
    values.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    //! What fits which type.
    use super::*;
    use serde_json::json;

    fn spec(all: &[(&str, ParamType, Option<ParamDefault>)]) -> ParamsSpec {
        let one = |(name, kind, default): &(&str, ParamType, Option<ParamDefault>)| {
            ((*name).to_owned(), ParamSpec { kind: *kind, default: default.clone() })
        };
        ParamsSpec { all: all.iter().map(one).collect(), zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    #[test]
    fn values_are_of_their_type_or_refused() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        use ParamType::*;
        for (kind, given, kept) in [
            (Text, json!("a b"), Some(json!("a b"))),
            (Text, json!(""), Some(json!(""))),
            (Text, json!(3), None),
            (Text, json!("a\0"), None),
            (Text, json!("x".repeat(16 << 10)), Some(json!("x".repeat(16 << 10)))),
            (Text, json!("x".repeat((16 << 10) + 1)), None),
            (Int, json!("-3"), Some(json!(-3))),
            (Int, json!(7), Some(json!(7))),
            (Int, json!(7.5), None),
            (Int, json!("7.0"), None),
            (Int, json!(" 7"), None),
            (Int, json!("9223372036854775808"), None),
            (Number, json!("3"), Some(json!(3))),
            (Number, json!("0.25"), Some(json!(0.25))),
            (Number, json!("inf"), None),
            (Number, json!("NaN"), None),
            (Bool, json!("true"), Some(json!(true))),
            (Bool, json!(false), Some(json!(false))),
            (Bool, json!("yes"), None),
            (Date, json!("2026-11-01"), Some(json!("2026-11-01"))),
            (Date, json!("2026-11-31"), None),
            (Date, json!("2026-11-01T09:00:00"), None),
            (Date, json!("20261101"), None),
            (Time, json!("2026-11-01T09:00"), Some(json!("2026-11-01T09:00:00+01:00"))),
            (Time, json!("2026-07-01T09:00:00Z"), Some(json!("2026-07-01T11:00:00+02:00"))),
            (Time, json!("soon"), None),
            (Date, json!(null), None),
        ] {
            assert_eq!(kind.fit(&given, &zone), kept, "{kind} {given}");
        }
    }

    #[test]
    fn what_is_not_given_has_its_default_or_is_refused() {
        let spec = spec(&[
            ("day", ParamType::Date, Some(ParamDefault::Slot)),
            ("n", ParamType::Int, None),
            ("region", ParamType::Text, Some(ParamDefault::Value(json!("eu")))),
        ]);
        // already the next day in Berlin
        let slot: Timestamp = "2026-11-01T23:30:00Z".parse().unwrap();
        let given = |text: &str| serde_json::from_str::<ParamValues>(text).unwrap();
        let values = spec.values(&given(r#"{"n": "3"}"#), slot).unwrap();
        assert_eq!(params_in_words(&values), "day=2026-11-02 n=3 region=eu");
        assert_eq!(spec.required().collect::<Vec<_>>(), ["n"]);
        for (text, says) in [
            ("{}", "the parameter `n` is missing: it is a whole number"),
            (r#"{"n": 3, "dya": "x"}"#, "there is no parameter `dya`; did you mean `day`?"),
            (r#"{"n": "many"}"#, "the parameter `n` can't be `many`: it is a whole number"),
        ] {
            let error = spec.values(&given(text), slot).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
        assert_eq!(
            spec.describe(),
            "day: date (default: that of the slot), n: int (required), region: text (default: eu)"
        );
    }

    #[test]
    fn a_name_is_one_variable() {
        for (name, is_one) in
            [("day", true), ("a_1", true), ("Day", false), ("1a", false), ("a-b", false), ("", false)]
        {
            assert_eq!(ParamsSpec::is_name(name), is_one, "{name}");
        }
    }
}
