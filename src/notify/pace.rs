//! How many messages a receiver gets in a time. Pure: time is an argument.
use std::time::Duration;
use tokio::time::Instant;

/// Messages that may go one after the other when there were none for a while.
const AT_ONCE: u32 = 4;

/// The pace of one receiver.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Messages that may go now.
    tokens: f64,
    /// When that was counted.
    counted: Instant,
    /// Nothing goes before this: the receiver wants to be left alone, or has just got one.
    not_before: Instant,
}

impl Pace {
    /// Of a receiver that has got nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { tokens: f64::from(AT_ONCE), counted: now, not_before: now }
    }

    /// How many messages may go, one after the other; 0: look again at [`Self::next`]. `per_minute` is the most of a
    /// minute; `None`: there is no bound.
    pub fn room(&mut self, now: Instant, per_minute: Option<u32>) -> usize {
        let Some(per_minute) = per_minute else {
            return if now < self.not_before { 0 } else { usize::MAX };
        };
        let grown = now.saturating_duration_since(self.counted).as_secs_f64() * f64::from(per_minute) / 60.0;
        self.tokens = (self.tokens + grown).min(f64::from(per_minute.clamp(1, AT_ONCE)));
        self.counted = now;
        if now < self.not_before || self.tokens < 1.0 { 0 } else { self.tokens as usize }
    }

    /// When there is room for one. Right after [`Self::room`].
    pub fn next(&self, per_minute: Option<u32>) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0);
        let wait = per_minute.map_or(0.0, |per_minute| missing * 60.0 / f64::from(per_minute.max(1)));
        // a little more, so that what is counted then is whole
        self.not_before.max(self.counted + Duration::from_secs_f64(wait) + Duration::from_millis(1))
    }

    /// One has gone; the next one not before `apart` has passed.
    pub fn sent(&mut self, now: Instant, apart: Duration) {
        self.tokens = (self.tokens - 1.0).max(0.0);
        self.not_before = self.not_before.max(now + apart);
    }

    /// The receiver wants to be left alone for so long.
    pub fn wait(&mut self, now: Instant, time: Duration) {
        self.not_before = self.not_before.max(now + time);
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the pace.
    use super::*;

    #[test]
    fn a_few_go_at_once_and_then_one_at_a_time() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.room(now, Some(10)), 4);
        for left in [3, 2, 1, 0] {
            pace.sent(now, Duration::ZERO);
            assert_eq!(pace.room(now, Some(10)), left);
        }
        assert!((5990..6010).contains(&(pace.next(Some(10)) - now).as_millis()));
        now = pace.next(Some(10));
        assert_eq!(pace.room(now, Some(10)), 1);
        now += Duration::from_secs(3600);
        assert_eq!(pace.room(now, Some(10)), 4);
        assert_eq!(pace.room(now, Some(1)), 1);
        assert_eq!(pace.room(now, None), usize::MAX);
    }

    #[test]
    fn what_the_receiver_wants_counts() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.sent(now, Duration::from_secs(1));
        assert_eq!(pace.room(now, Some(600)), 0);
        assert_eq!(pace.next(Some(600)), now + Duration::from_secs(1));
        pace.wait(now, Duration::from_secs(90));
        assert_eq!((pace.room(now, None), pace.next(None)), (0, now + Duration::from_secs(90)));
        assert_eq!(pace.room(now + Duration::from_secs(90), None), usize::MAX);
    }
}
