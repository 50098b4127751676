//! The days of a period, and the maximum usage of a day.
use super::basis::PastRun;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The days of a period.
pub(super) struct ForecastDays {
    pub(super) dates: Vec<Date>,
    pub(super) ends: Vec<Timestamp>,
    /// Length of each, as a fraction of a day: the first and the last may be partial.
    pub(super) lengths: Vec<f64>,
}

impl ForecastDays {
    pub(super) fn of(from: Timestamp, until: Timestamp, zone: &TimeZone) -> Self {
        let ends = ends_of_days(from, until, zone);
        let mut begin = from;
        let (mut dates, mut lengths) = (Vec::new(), Vec::new());
        for end in &ends {
            dates.push(begin.to_zoned(zone.clone()).date());
            lengths.push(end.duration_since(begin).as_secs_f64() / 86_400.0);
            begin = *end;
        }
        Self { dates, ends, lengths }
    }
}

/// Maximum usage of a day; `None`: unlimited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amounts {
    pub(super) usd: Option<f64>,
    pub(super) tokens: Option<f64>,
}

impl Amounts {
    pub(super) fn bound(&self, used: PastRun) -> PastRun {
        let bound = |used: f64, most: Option<f64>| most.map_or(used, |most| used.min(most));
        PastRun { usd: bound(used.usd, self.usd), tokens: bound(used.tokens, self.tokens) }
    }
}

/// Returns the ends of the days of a period; the last one is the end of the period.
fn ends_of_days(from: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
    let mut ends = Vec::new();
    let mut day = from.to_zoned(zone.clone()).date();
    while let Some(next) =
        day.tomorrow().ok().and_then(|next| Some((next, next.to_zoned(zone.clone()).ok()?)))
    {
        let (date, midnight) = (next.0, next.1.timestamp());
        if midnight >= until {
            break;
        }
        ends.push(midnight);
        day = date;
    }
    ends.push(until);
    ends
}
