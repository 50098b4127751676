//! Quiet hours of a notification target.
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// From one time of the day to another, past midnight if that comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: Time,
    to: Time,
}

impl QuietHours {
    /// Parses `22:00-07:00`. `None` if it is invalid, or covers the whole day.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (time(from)?, time(to)?);
        (from != to).then_some(Self { from, to })
    }

    /// Returns when they end, which is after `now`; `None` if it is not quiet now.
    pub fn until(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.to_zoned(zone.clone());
        if !self.holds(local.time()) {
            return None;
        }
        let mut day = local.date();
        if local.time() >= self.to {
            day = day.checked_add(1.day()).ok()?;
        }
        let end = day.to_datetime(self.to);
        let usual = zone.to_ambiguous_timestamp(end).compatible().ok()?;
        // when the clock is set back, the first occurrence may have passed
        let end = if usual > now { usual } else { zone.to_ambiguous_timestamp(end).later().ok()? };
        // when the clock is set forward, the end may be skipped
        let jump = zone.following(now).next().map(|transition| transition.timestamp());
        let ends_there = |at: &Timestamp| *at < end && !self.holds(at.to_zoned(zone.clone()).time());
        Some(jump.filter(ends_there).unwrap_or(end))
    }

    /// Returns whether it is quiet at this time of the day.
    fn holds(self, time: Time) -> bool {
        match self.from < self.to {
            true => self.from <= time && time < self.to,
            false => time >= self.from || time < self.to,
        }
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || minute.len() != 2 || !digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

impl std::fmt::Display for QuietHours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let two = |time: Time| format!("{:02}:{:02}", time.hour(), time.minute());
        write!(f, "{}-{}", two(self.from), two(self.to))
    }
}

#[cfg(test)]
mod tests {
    //! Tests of when it is quiet.
    use super::*;

    #[test]
    fn a_night_ends_in_the_morning() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let until = |hours: &str, now: &str| {
            let end = QuietHours::parse(hours).unwrap().until(now.parse().unwrap(), &zone);
            end.map(|end| end.to_zoned(zone.clone()).strftime("%d %H:%M").to_string())
        };
        let night = "22:00-07:00";
        for (now, end) in [
            ("2026-11-24T20:59:59Z", None),
            ("2026-11-24T21:00:00Z", Some("25 07:00")),
            ("2026-11-24T23:30:00Z", Some("25 07:00")),
            ("2026-11-25T05:59:59Z", Some("25 07:00")),
            ("2026-11-25T06:00:00Z", None),
            // the night in which clocks are set forward, and the one in which they are set back
            ("2026-03-28T22:00:00Z", Some("29 07:00")),
            ("2026-10-25T00:30:00Z", Some("25 07:00")),
        ] {
            assert_eq!(until(night, now).as_deref(), end, "{now}");
        }
        assert_eq!(until("9:30-12:00", "2026-11-24T09:00:00Z").as_deref(), Some("24 12:00"));
        assert_eq!(until("9:30-12:00", "2026-11-24T11:00:00Z"), None);
        assert_eq!(until("00:00-24:00".replace("24", "23").as_str(), "2026-11-24T22:30:00Z"), None);
    }

    #[test]
    fn quiet_hours_end_after_now_in_every_night() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for night in ["2026-10-24T20:00:00Z", "2026-03-28T20:00:00Z", "2026-11-24T20:00:00Z"] {
            let start: Timestamp = night.parse().unwrap();
            for hours in ["22:00-02:30", "01:00-02:30", "02:15-02:45", "02:00-03:00", "22:00-07:00"] {
                let quiet = QuietHours::parse(hours).unwrap();
                for minute in 0..(12 * 60) {
                    let now = start + jiff::SignedDuration::from_mins(minute);
                    let Some(end) = quiet.until(now, &zone) else { continue };
                    assert!(end > now, "{hours}: at {now} they end at {end}");
                    let moment = jiff::SignedDuration::from_secs(1);
                    assert_eq!(quiet.until(end, &zone), None, "{hours}: it is quiet at their end, {end}");
                    assert!(quiet.until(end - moment, &zone).is_some(), "{hours}: they end before {end}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "22:00", "22:00-22:00", "22-7", "24:00-07:00", "22:60-07:00", "22:0-07:00", "-1:00-7:00"]
        {
            assert_eq!(QuietHours::parse(text), None, "{text}");
        }
        assert_eq!(
            QuietHours::parse("22:00 - 7:05").map(|hours| hours.to_string()).as_deref(),
            Some("22:00-07:05")
        );
    }
}
