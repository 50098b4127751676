//! The instants of a schedule. Pure arithmetic.
use super::{AgentId, FirstRun, Schedule};
use jiff::{SignedDuration, Timestamp};

/// The slots of one schedule from one anchor.
///
/// `after` and `on` have no calendar: their instants depend on events, and [`Calendar::next_after`] returns `None`.
#[derive(Clone, Copy, Debug)]
pub struct Calendar<'a> {
    pub schedule: &'a Schedule,
    /// Slot 0 of an interval.
    pub anchor: Timestamp,
    /// Whether the anchor is a slot itself.
    pub first_run: FirstRun,
}

impl Calendar<'_> {
    /// Extends the slots of an interval before the anchor, back to an instant.
    pub fn back_to(self, from: Timestamp) -> Self {
        Self {
            anchor: anchor_before(self.anchor, self.schedule.interval(), from),
            first_run: FirstRun::Now,
            ..self
        }
    }

    /// Returns the first slot strictly after `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self.schedule {
            Schedule::Manual
            | Schedule::After(_)
            | Schedule::On(_)
            | Schedule::Join(_)
            | Schedule::File(_)
            | Schedule::Webhook(_)
            | Schedule::Mcp(_) => None,
            Schedule::At(at) => (*at > after).then_some(*at),
            Schedule::Cron(cron) => cron.next_after(after),
            Schedule::Every(period) => {
                let since = after.duration_since(self.anchor).as_nanos();
                let k = since.div_euclid(period.as_nanos()) + 1;
                self.nth(*period, k.max(self.first_k()))
            }
            Schedule::Any(parts) => self.each(parts).filter_map(|part| part.next_after(after)).min(),
        }
    }

    /// Returns the last slot strictly before `before` and not before the anchor.
    pub fn prev_before(&self, before: Timestamp) -> Option<Timestamp> {
        match self.schedule {
            Schedule::Manual
            | Schedule::After(_)
            | Schedule::On(_)
            | Schedule::Join(_)
            | Schedule::File(_)
            | Schedule::Webhook(_)
            | Schedule::Mcp(_) => None,
            Schedule::At(at) => (*at < before).then_some(*at),
            Schedule::Cron(cron) => cron.prev_before(before, self.anchor),
            Schedule::Every(period) => {
                let since = before.duration_since(self.anchor).as_nanos() - 1;
                let k = since.div_euclid(period.as_nanos());
                (k >= self.first_k()).then(|| self.nth(*period, k)).flatten()
            }
            Schedule::Any(parts) => self.each(parts).filter_map(|part| part.prev_before(before)).max(),
        }
    }

    /// Returns the number of slots in `first..=last`; both are slots.
    pub fn count(&self, first: Timestamp, last: Timestamp) -> u64 {
        match self.schedule {
            Schedule::Cron(cron) => cron.count(first, last),
            Schedule::Every(period) => {
                let k = last.duration_since(first).as_nanos().div_euclid(period.as_nanos());
                u64::try_from(k).unwrap_or(0) + 1
            }
            Schedule::Any(parts) => self.count_of_any(parts, first, last),
            _ => 1,
        }
    }

    /// Counts the union of several schedules: all slots of the one with the most, and of each other those that no
    /// earlier one has.
    fn count_of_any(&self, parts: &[Schedule], first: Timestamp, last: Timestamp) -> u64 {
        let tick = SignedDuration::from_micros(1);
        let mut all: Vec<(u64, Calendar<'_>)> = self
            .each(parts)
            .filter_map(|part| {
                let begin = part.next_after(first - tick).filter(|begin| *begin <= last)?;
                let end = part.prev_before(last + tick).unwrap_or(begin);
                Some((part.count(begin, end), part))
            })
            .collect();
        all.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let mut sum = all.first().map_or(0, |(count, _)| *count);
        for (nth, (_, part)) in all.iter().enumerate().skip(1) {
            let slots = std::iter::successors(part.next_after(first - tick), |slot| part.next_after(*slot));
            let is_new = |slot: &Timestamp| {
                all[..nth].iter().all(|(_, earlier)| earlier.next_after(*slot - tick) != Some(*slot))
            };
            sum += slots.take_while(|slot| *slot <= last).filter(is_new).count() as u64;
        }
        sum.max(1)
    }

    fn each<'p>(&self, parts: &'p [Schedule]) -> impl Iterator<Item = Calendar<'p>> {
        let (anchor, first_run) = (self.anchor, self.first_run);
        parts.iter().map(move |schedule| Calendar { schedule, anchor, first_run })
    }

    fn first_k(&self) -> i128 {
        match self.first_run {
            FirstRun::Now => 0,
            FirstRun::AfterInterval => 1,
        }
    }

    fn nth(&self, period: SignedDuration, k: i128) -> Option<Timestamp> {
        let offset = period.as_nanos().checked_mul(k)?;
        let offset = SignedDuration::from_nanos(i64::try_from(offset).ok()?);
        self.anchor.checked_add(offset).ok()
    }
}

/// Returns the delay of one slot of one agent: at least 0 and less than `bound`, deterministic for an agent and
/// slot. FNV-1a over both, so that it needs no state and is stable across restarts.
pub fn jitter_of(agent: &AgentId, slot: Timestamp, bound: SignedDuration) -> SignedDuration {
    let bound = bound.as_micros();
    if bound <= 0 {
        return SignedDuration::ZERO;
    }
    let slot = slot.as_microsecond().to_be_bytes();
    let hash = agent.as_str().bytes().chain(slot).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // the high bits of FNV are better than the low ones
    let part = (i128::from(hash >> 11) * bound) >> 53;
    SignedDuration::from_micros(i64::try_from(part).unwrap_or(0))
}

/// Moves slot 0 of an interval by whole periods to before this instant.
fn anchor_before(anchor: Timestamp, period: Option<SignedDuration>, from: Timestamp) -> Timestamp {
    let Some(period) = period.filter(|_| from < anchor) else { return anchor };
    let periods = anchor.duration_since(from).as_nanos().div_euclid(period.as_nanos()) + 1;
    let back = periods.checked_mul(period.as_nanos()).and_then(|nanos| i64::try_from(nanos).ok());
    back.and_then(|nanos| anchor.checked_sub(SignedDuration::from_nanos(nanos)).ok()).unwrap_or(anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_never_drift() {
        let anchor = Timestamp::from_microsecond(1_800_000_000_123_456).unwrap();
        let schedule = Schedule::Every(SignedDuration::from_secs(60));
        let calendar = Calendar { schedule: &schedule, anchor, first_run: FirstRun::Now };
        let late = anchor + SignedDuration::from_millis(60_000 * 1000 + 999);
        let next = calendar.next_after(late).unwrap();
        assert_eq!(next.duration_since(anchor), SignedDuration::from_secs(60 * 1001));
        assert_eq!(calendar.prev_before(next), Some(anchor + SignedDuration::from_secs(60_000)));
        assert_eq!(calendar.count(anchor, next), 1002);
        assert_eq!(calendar.next_after(anchor - SignedDuration::from_hours(5)), Some(anchor));
        assert_eq!(calendar.prev_before(anchor), None);
    }

    #[test]
    fn jitter_is_bounded_and_the_same_each_time() {
        let id: AgentId = "news".parse().unwrap();
        let bound = SignedDuration::from_secs(5);
        let mut seen = std::collections::BTreeSet::new();
        for k in 0..1000 {
            let slot = Timestamp::from_second(1_800_000_000 + k * 60).unwrap();
            let jitter = jitter_of(&id, slot, bound);
            assert!(jitter >= SignedDuration::ZERO && jitter < bound);
            assert_eq!(jitter, jitter_of(&id, slot, bound));
            seen.insert(jitter.as_millis() / 500);
        }
        assert_eq!(seen.len(), 10, "all tenths of the bound occur");
    }
}
