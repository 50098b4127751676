//! How long a daemon may trust its lead without asking the database.
use jiff::SignedDuration;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// How long a daemon trusts its lead, counted from when it asked for it. Other daemons wait for 25
/// s, by the database's clock: in between, programs of the old leader are stopped, which takes at
/// most 6 s, and clocks may run at different rates.
const TRUST_PERIOD: SignedDuration = SignedDuration::from_secs(14);

/// Until when a daemon may trust its lead, by a clock that counts suspended time. Extended with each renewal.
#[derive(Debug, Clone, Default)]
pub(super) struct LeadTime {
    until_ms: Arc<AtomicI64>,
}

impl LeadTime {
    /// Records a lead that was requested at `asked`, by [`crate::clock::boot`], and granted.
    pub(super) fn given(&self, asked: SignedDuration) {
        let until = i64::try_from((asked + TRUST_PERIOD).as_millis()).unwrap_or(i64::MAX);
        self.until_ms.fetch_max(until, Ordering::AcqRel);
    }

    /// Returns whether another daemon may lead at `now`.
    pub(super) fn is_over(&self, now: SignedDuration) -> bool {
        now.as_millis() >= i128::from(self.until_ms.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_trusted_from_when_it_was_asked_for() {
        let time = LeadTime::default();
        let at = SignedDuration::from_secs;
        assert!(time.is_over(at(0)));
        time.given(at(100));
        assert!(!time.is_over(at(113)) && time.is_over(at(114)));
        // an answer that came late says less than the one before
        time.given(at(99));
        assert!(!time.is_over(at(113)));
    }
}
