//! What a change of the clock does to a schedule: local times that it skips, or that come twice.
use super::{ClockChange, CronSchedule};
use jiff::{SignedDuration, Timestamp};

/// Local times of one change that are told apart; of more there are only these.
const TIMES: usize = 4;

impl CronSchedule {
    /// The first change of the clock after `now`, and not after `until`, that skips or repeats local
    /// times of this schedule. A schedule of each hour just goes on, and has none.
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
            while let Some(time) = next.filter(|time| *time < to && times.len() <= TIMES) {
                times.push(time);
                next = self.next_local(time, false);
            }
            let more = times.len() > TIMES;
            times.truncate(TIMES);
            (!times.is_empty()).then_some(ClockChange { times, more, skipped, then, fixed: self.text.fixed })
        })
    }
}
