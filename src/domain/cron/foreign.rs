//! Syntax of other schedulers that people copy into `cron`, and what to write instead: crontab lines with their
//! command, `@reboot`, `@every`, time zones before the expression, Jenkins' `H`, random values, years, and
//! calendars of systemd.timer(5).
use super::error::CronError;

/// Explains these tokens, if they have a known foreign syntax. `reads` returns whether tokens are a valid
/// expression.
pub(super) fn explain(tokens: &[&str], reads: impl Fn(&[&str]) -> bool) -> Option<CronError> {
    let first = *tokens.first()?;
    nickname(first, tokens)
        .or_else(|| zone_before(first, tokens))
        .or_else(|| dashes(tokens))
        .or_else(|| trailing_tokens(tokens, &reads))
        .or_else(|| calendar(tokens))
        .or_else(|| hashed(tokens))
}

fn instead(what: impl Into<String>, instead: impl Into<String>) -> Option<CronError> {
    Some(CronError::Foreign { what: what.into(), instead: instead.into() })
}

/// Recognizes `@reboot` and `@every 5m`.
fn nickname(first: &str, tokens: &[&str]) -> Option<CronError> {
    match (first.to_ascii_lowercase().as_str(), tokens) {
        ("@reboot", _) => instead(
            "`@reboot` is not a time",
            "in the place of `cron`: on = \"daemon_started\", which is whenever the daemon starts",
        ),
        ("@every" | "every", [_, rest @ ..]) => {
            let span: String = rest.concat();
            let whole = span.strip_suffix("minutes").or(span.strip_suffix("minute"));
            let span = whole.map_or(span.clone(), |number| format!("{number}m"));
            let good = !span.is_empty() && span.chars().all(|c| c.is_ascii_digit() || "smhdw".contains(c));
            let span =
                if good && span.starts_with(|c: char| c.is_ascii_digit()) { span.as_str() } else { "5m" };
            instead(
                format!("`{first}` is an interval, not a time"),
                format!("in the place of `cron`: interval = \"{span}\""),
            )
        }
        _ => None,
    }
}

/// Recognizes `TZ=Europe/Berlin 0 9 * * *` and `CRON_TZ=…`.
fn zone_before(first: &str, tokens: &[&str]) -> Option<CronError> {
    let (name, zone) = first.split_once('=')?;
    if !matches!(name, "TZ" | "CRON_TZ") {
        return None;
    }
    let zone = zone.trim_matches(['"', '\'']);
    instead(
        format!("`{name}=` has no place in an expression"),
        format!(
            "give the zone a key of its own: cron = \"{}\" and timezone = \"{zone}\"",
            tokens[1..].join(" ")
        ),
    )
}

/// Recognizes dashes that a word processor substituted for `-`.
fn dashes(tokens: &[&str]) -> Option<CronError> {
    let text = tokens.join(" ");
    let dash = text.chars().find(|c| matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}'))?;
    instead(format!("`{dash}` is not the dash of a range"), format!("cron = \"{}\"", text.replace(dash, "-")))
}

/// Recognizes a crontab line with its command, or an unsupported year.
fn trailing_tokens(tokens: &[&str], reads: &impl Fn(&[&str]) -> bool) -> Option<CronError> {
    let lengths: &[usize] = if tokens.first()?.starts_with('@') { &[1] } else { &[6, 5] };
    let whole = |length: &&usize| tokens.len() > **length && reads(&tokens[..**length]);
    let length = *lengths.iter().find(whole)?;
    let (fields, rest) = tokens.split_at(length);
    let fields = fields.join(" ");
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match rest {
        // six fields that end with the year contain a `?`; otherwise they begin with seconds
        [year] if !year.starts_with(|c: char| c.is_ascii_digit() || c == '*') => {
            trailing_command(&fields, rest, length)
        }
        [year] if length == 5 && !fields.contains('?') && !(digits(year) && year.len() == 4) => None,
        [year] => instead(
            format!("its last field, `{year}`, is a year, and years are not counted"),
            format!("cron = \"{fields}\"; what is due once has `at`"),
        ),
        _ => trailing_command(&fields, rest, length),
    }
}

/// Explains a command after the expression, or what looks like one.
fn trailing_command(fields: &str, rest: &[&str], length: usize) -> Option<CronError> {
    let place = if length == 1 { "nickname".to_owned() } else { format!("{length} fields") };
    instead(
        format!("`{}` behind its {place} is not part of an expression", rest.join(" ")),
        format!("cron = \"{fields}\", and what runs in `command`"),
    )
}

/// Recognizes Jenkins' `H`, and `~` of other schedulers.
fn hashed(tokens: &[&str]) -> Option<CronError> {
    let is_h = |token: &&&str| {
        token.split(',').any(|part| part == "H" || part.starts_with("H/") || part.starts_with("H("))
    };
    let token = tokens.iter().find(is_h).or_else(|| tokens.iter().find(|token| token.contains('~')))?;
    instead(
        format!("`{token}` leaves the value to the scheduler"),
        "write a value, and spread agents that share it by jitter = \"10m\"",
    )
}

/// Recognizes `Mon..Fri 09:00`, `*-*-* 02:30`, `daily`: OnCalendar of systemd.timer(5).
fn calendar(tokens: &[&str]) -> Option<CronError> {
    const WORDS: &[(&str, &str)] = &[
        ("minutely", "* * * * *"),
        ("hourly", "@hourly"),
        ("daily", "@daily"),
        ("midnight", "@daily"),
        ("weekly", "0 0 * * MON"),
        ("monthly", "@monthly"),
        ("quarterly", "0 0 1 1,4,7,10 *"),
        ("semiannually", "0 0 1 1,7 *"),
        ("yearly", "@yearly"),
        ("annually", "@yearly"),
    ];
    const WHAT: &str = "this is a calendar of systemd, not a cron expression";
    if let [word] = tokens
        && let Some((_, cron)) = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))
    {
        return instead(WHAT, format!("cron = \"{cron}\""));
    }
    let time = tokens.iter().position(|token| token.contains(':'));
    if time.is_none() && !tokens.iter().any(|token| token.contains("..")) {
        return None;
    }
    match translated(tokens) {
        Some(cron) => instead(WHAT, format!("cron = \"{cron}\"")),
        None => instead(WHAT, "for example cron = \"0 9 * * MON-FRI\" for Mon..Fri 09:00"),
    }
}

/// Translates `[weekdays] [year-month-day] hour:minute[:second]` to fields. The year must be `*`.
fn translated(tokens: &[&str]) -> Option<String> {
    let (time, before) = tokens.split_last()?;
    let (date, weekdays) = match before {
        [] => ("*-*-*", "*"),
        [date] if date.contains('-') => (*date, "*"),
        [weekdays] => ("*-*-*", *weekdays),
        [weekdays, date] => (*date, *weekdays),
        _ => return None,
    };
    let date = date.strip_prefix("*-").filter(|rest| rest.contains('-')).unwrap_or(date);
    let (month, day) = date.split_once('-')?;
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next());
    let is_field =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || "*/,.".contains(c));
    if parts.next().is_some() || ![month, day, hour, minute].into_iter().all(is_field) {
        return None;
    }
    let plain = |text: &str| {
        let text = text.replace("..", "-");
        let text = text.strip_prefix("0/").map(|step| format!("*/{step}")).unwrap_or(text);
        // removes a leading zero
        if text.len() == 2 && text.starts_with('0') { text[1..].to_owned() } else { text }
    };
    // there, day and weekday must both match
    let both = if weekdays != "*" && day != "*" { "+" } else { "" };
    let weekdays = both.to_owned() + &weekdays.replace("..", "-").to_ascii_uppercase();
    let second = second.map(plain).filter(|second| second != "0");
    let seconds = second.map(|second| second + " ").unwrap_or_default();
    Some(format!("{seconds}{} {} {} {} {weekdays}", plain(minute), plain(hour), plain(day), plain(month)))
}
