//! The effect of a clock change on a schedule: local times that it skips or repeats.
use super::{ClockChange, CronSchedule};
use jiff::{SignedDuration, Timestamp};

/// Maximum number of local times listed for one change.
const MAX_TIMES: usize = 4;

impl CronSchedule {
    /// Returns the first clock change after `now`, and not after `until`, that skips or repeats local times of this
    /// schedule. An hourly schedule is not affected, and has none.
    pub fn clock_change(&self, now: Timestamp, until: Timestamp) -> Option<ClockChange> {
        if self.text.hourly {
            return None;
        }
        self.zone.following(now).take_while(|change| change.timestamp() <= until).find_map(|change| {
            let at = change.timestamp();
            let before = self.zone.to_offset(at - SignedDuration::from_micros(1)).to_datetime(at);
            let then = change.offset().to_datetime(at);
            let skipped = then > before;
            let (from, to) = if skipped { (before, then) } else { (then, before) };
            let mut times = Vec::new();
            let mut next = self.next_local(from, true);
            while let Some(time) = next.filter(|time| *time < to && times.len() <= MAX_TIMES) {
                times.push(time);
                next = self.next_local(time, false);
            }
            let more = times.len() > MAX_TIMES;
            times.truncate(MAX_TIMES);
            (!times.is_empty()).then_some(ClockChange { times, more, skipped, then, fixed: self.text.fixed })
        })
    }
}
