//! Cron expressions as people write them, parsed by rules of our own and normalized to the one form that the cron
//! library gets: numbers. Unsupported syntax of other schedulers is rejected by `foreign`, which says what to write
//! instead.
//!
//! Rules: crontab(5), and these extensions with their usual meaning: ranges that wrap (`FRI-MON`, `22-2`), full
//! names, `a/n` (from `a` on), `?`, `L`, `LW`, `15W`, `FRI#2`, `FRIL`, `+` before the weekday (day AND weekday),
//! and a last field `*` for the year.
use super::error::CronError;
use super::foreign;

/// A normalized expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// Second, minute, hour, day, month, weekday.
    pub(super) fields: [String; 6],
    /// How day and weekday are combined.
    pub(super) days: Days,
    /// Minute and hour are not wildcards: they are fixed times of the day.
    pub(super) fixed: bool,
    /// The hour is a bare wildcard.
    pub(super) hourly: bool,
}

/// How day and weekday are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Days {
    /// At most one is restricted, or one begins with `*`: both must match.
    Plain,
    /// Both are restricted: either may match (crontab(5)).
    Either,
    /// Both are restricted, and `+` requires both to match.
    Both,
}

/// Definition of a field of an expression.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Valid values, for people.
    values: &'static str,
    low: u32,
    /// The largest valid number.
    high: u32,
    /// The largest number that a wildcard or a wrapping range reaches.
    top: u32,
    /// Names of its values, starting at `low`.
    names: &'static [&'static str],
    /// The next larger unit, at which steps restart.
    unit: &'static str,
    /// What to write instead of a step longer than that unit.
    instead: &'static str,
}

const MONTHS: &[&str] = &[
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
];
const WEEKDAYS: &[&str] =
    &["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];

/// Indexes of day and weekday in [`FIELDS`].
const DAY: usize = 3;
const WEEKDAY: usize = 5;

/// The fields and their values (crontab(5)).
pub(super) const FIELDS: [Field; 6] = [
    field(
        "second",
        "0 to 59",
        (0, 59, 59),
        &[],
        "minute",
        "`interval = \"…\"` for a period of more than a minute",
    ),
    field(
        "minute",
        "0 to 59",
        (0, 59, 59),
        &[],
        "hour",
        "`interval = \"90m\"` for a period of more than an hour",
    ),
    field("hour", "0 to 23", (0, 23, 23), &[], "day", "`interval = \"…\"` for a period of more than a day"),
    field(
        "day",
        "1 to 31",
        (1, 31, 31),
        &[],
        "month",
        "`interval = \"…\"` for a period of more than a month, or name the days",
    ),
    field("month", "1 to 12 or JAN to DEC", (1, 12, 12), MONTHS, "year", "the months by name"),
    field("weekday", "0 to 7 or SUN to SAT", (0, 7, 6), WEEKDAYS, "week", "the weekdays by name"),
];

const fn field(
    name: &'static str,
    values: &'static str,
    (low, high, top): (u32, u32, u32),
    names: &'static [&'static str],
    unit: &'static str,
    instead: &'static str,
) -> Field {
    Field { name, values, low, high, top, names, unit, instead }
}

/// Nicknames of crontab(5), with the equivalent five fields.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Parses an expression. If it uses the syntax of another scheduler, the error says what to write.
pub(super) fn read(expression: &str) -> Result<Text, CronError> {
    let tokens: Vec<&str> = expression.split_whitespace().collect();
    let error = match read_tokens(&tokens) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    Err(foreign::explain(&tokens, |tokens| read_tokens(tokens).is_ok()).unwrap_or(error))
}

fn read_tokens(tokens: &[&str]) -> Result<Text, CronError> {
    match tokens {
        [nickname] if nickname.starts_with('@') => {
            let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(nickname));
            let Some((_, fields)) = known else {
                let known = "@yearly, @monthly, @weekly, @daily, @midnight and @hourly";
                return Err(CronError::Syntax(format!("`{nickname}` is none of {known}")));
            };
            read_fields(&fields.split(' ').collect::<Vec<_>>())
        }
        [_, _, _, _, _] | [_, _, _, _, _, _] => read_fields(tokens),
        // Quartz has the year after the weekday
        [fields @ .., "*" | "?"] if fields.len() == 6 => read_fields(fields),
        [] => Err(CronError::Syntax("it is empty".into())),
        _ => Err(CronError::Syntax(format!(
            "it has {} fields; 5 are needed (minute hour day month weekday), or 6 with seconds first",
            tokens.len()
        ))),
    }
}

/// Parses five fields, or six with seconds first.
fn read_fields(given: &[&str]) -> Result<Text, CronError> {
    let all: Vec<&str> = if given.len() == 5 { [&["0"], given].concat() } else { given.to_vec() };
    let mut fields: [String; 6] = Default::default();
    for (at, text) in all.iter().enumerate() {
        let text = if at == WEEKDAY { text.strip_prefix('+').unwrap_or(text) } else { text };
        fields[at] = FIELDS[at].canonical(text, at)?;
    }
    let wild = |at: usize| all[at].starts_with(['*', '?']) || all[at].starts_with("+*");
    let days = match (wild(DAY) || wild(WEEKDAY), all[WEEKDAY].starts_with('+')) {
        (true, _) => Days::Plain,
        (false, true) => Days::Both,
        (false, false) => Days::Either,
    };
    Ok(Text { fields, days, fixed: !wild(1) && !wild(2), hourly: all[2] == "*" })
}

impl Field {
    /// Returns the field in numbers: `*`, or a list of values, with `L`, `W` and `#` unchanged.
    fn canonical(&self, text: &str, at: usize) -> Result<String, CronError> {
        if text == "*" || (text == "?" && matches!(at, DAY | WEEKDAY)) {
            return Ok("*".into());
        }
        let mut values = Vec::new();
        for part in text.split(',') {
            if part.is_empty() {
                return Err(CronError::Syntax(format!(
                    "`{text}` in the {} field has an empty place",
                    self.name
                )));
            }
            for value in self.part(part, text, at)? {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        Ok(values.join(","))
    }

    /// Returns the values of one part of a list.
    fn part(&self, part: &str, whole: &str, at: usize) -> Result<Vec<String>, CronError> {
        let wrong = || CronError::Syntax(format!("`{part}` is not a valid {}: {}", self.name, self.values));
        if let Some(special) = self.special(part, at) {
            return special.map(|special| vec![special]);
        }
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => (range, Some(number(step).ok_or_else(wrong)?)),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.top),
            Some((from, to)) => (self.value(from).ok_or_else(wrong)?, self.value(to).ok_or_else(wrong)?),
            // open-ended, as in Quartz
            None if step.is_some() => (self.value(range).ok_or_else(wrong)?, self.top),
            None => {
                let value = self.value(range).ok_or_else(wrong)?;
                (value, value)
            }
        };
        match step {
            Some(0) => {
                return Err(CronError::Syntax(format!(
                    "`{part}` in the {} field has a step of 0",
                    self.name
                )));
            }
            Some(step) if step > self.top - self.low => {
                return Err(CronError::MisleadingStep {
                    field: whole.to_owned(),
                    name: self.name,
                    unit: self.unit,
                    first: from,
                    instead: self.instead,
                });
            }
            _ => {}
        }
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
        Ok(self.walk(from, to).step_by(step).map(|value| value.to_string()).collect())
    }

    /// Returns the values of a range, which may wrap around.
    fn walk(&self, from: u32, to: u32) -> impl Iterator<Item = u32> + use<> {
        let size = self.top - self.low + 1;
        let (low, to) = (self.low, to - self.low);
        // a Sunday written as 7 is the last day of a range, or the first if the range begins with it
        let first = (from - low) % size;
        let count = match to {
            to if to % size == first => 0,
            to if to > first => to - first,
            to => to + size - first,
        };
        // but `0-7` is the whole week
        let count = if to == size && from == low { size - 1 } else { count };
        (0..=count).map(move |k| low + (first + k) % size)
    }

    /// Parses a number, or a name abbreviated to three letters or more.
    fn value(&self, text: &str) -> Option<u32> {
        if let Some(number) = number(text) {
            return (self.low..=self.high).contains(&number).then_some(number);
        }
        let text = text.to_ascii_uppercase();
        if text.len() < 3 {
            return None;
        }
        let at = self.names.iter().position(|name| name.starts_with(&text))?;
        Some(self.low + u32::try_from(at).ok()?)
    }

    /// Parses values relative to the end or the weeks of a month: `L`, `LW`, `15W`; `FRIL`, `FRI#2`.
    fn special(&self, part: &str, at: usize) -> Option<Result<String, CronError>> {
        let upper = part.to_ascii_uppercase();
        let wrong =
            |why: &str| Some(Err(CronError::Syntax(format!("`{part}` in the {} field: {why}", self.name))));
        match at {
            DAY if upper == "L" || upper == "LW" => Some(Ok(upper)),
            DAY if upper.starts_with("L-") => wrong("days before the last one can't be counted"),
            DAY => {
                let day = upper.strip_suffix('W')?;
                match self.value(day) {
                    Some(day) => Some(Ok(format!("{day}W"))),
                    None => wrong("before `W` stands a day, 1 to 31, or `L`"),
                }
            }
            WEEKDAY if upper == "L" => {
                wrong("say which weekday is to be the last of the month, as in `FRIL`")
            }
            WEEKDAY => {
                let (day, nth) = match upper.split_once('#') {
                    Some((day, nth)) => (day, nth),
                    // a name does not end in `L`
                    None => (upper.strip_suffix('L')?, "L"),
                };
                match (self.value(day).map(|day| day % 7), nth) {
                    (Some(day), "L") => Some(Ok(format!("{day}L"))),
                    (Some(day), nth) if matches!(number(nth), Some(1..=5)) => {
                        Some(Ok(format!("{day}#{nth}")))
                    }
                    (Some(_), _) => wrong("behind `#` stands which one of the month, 1 to 5, or `L`"),
                    (None, _) => wrong("before `#` or `L` stands one weekday, as in `FRI#2`"),
                }
            }
            _ => None,
        }
    }
}

/// Parses digits and nothing else, of any length.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
