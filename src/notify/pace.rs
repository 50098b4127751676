//! The rate limit of a target. Pure: time is an argument.
use std::time::Duration;
use tokio::time::Instant;

/// Maximum burst after a period without messages.
const MAX_BURST_COUNT: u32 = 4;

/// The rate limit of one target: a token bucket.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Messages that may be sent now.
    tokens: f64,
    /// When the tokens were last updated.
    counted: Instant,
    /// Nothing is sent before this: the receiver asked to wait, or has just received one.
    not_before: Instant,
}

impl Pace {
    /// Creates the limit of a target that has received nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { tokens: f64::from(MAX_BURST_COUNT), counted: now, not_before: now }
    }

    /// Returns how many messages may be sent in a row; if 0, check again at [`Self::next`]. `per_minute` is the maximum
    /// per minute; `None`: unlimited.
    pub fn room(&mut self, now: Instant, per_minute: Option<u32>) -> usize {
        let Some(per_minute) = per_minute else {
            return if now < self.not_before { 0 } else { usize::MAX };
        };
        let grown = now.saturating_duration_since(self.counted).as_secs_f64() * f64::from(per_minute) / 60.0;
        self.tokens = (self.tokens + grown).min(f64::from(per_minute.clamp(1, MAX_BURST_COUNT)));
        self.counted = now;
        if now < self.not_before || self.tokens < 1.0 { 0 } else { self.tokens as usize }
    }

    /// Returns when a message may be sent. Call right after [`Self::room`].
    pub fn next(&self, per_minute: Option<u32>) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0);
        let wait = per_minute.map_or(0.0, |per_minute| missing * 60.0 / f64::from(per_minute.max(1)));
        // a margin, so that a full token has accumulated by then
        self.not_before.max(self.counted + Duration::from_secs_f64(wait) + Duration::from_millis(1))
    }

    /// Records a sent message; the next one may follow only after `apart`.
    pub fn sent(&mut self, now: Instant, apart: Duration) {
        self.tokens = (self.tokens - 1.0).max(0.0);
        self.not_before = self.not_before.max(now + apart);
    }

    /// Suspends sending for this time, as the receiver asked.
    pub fn wait(&mut self, now: Instant, time: Duration) {
        self.not_before = self.not_before.max(now + time);
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the rate limit.
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
