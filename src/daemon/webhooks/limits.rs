//! Rate limits of deliveries. Pure: times are passed in.
use std::collections::HashMap;
use std::time::Duration;

/// Burst of requests per webhook…
const BURST: f64 = 120.0;
/// …and sustained requests per second.
const REQUESTS_PER_SEC: f64 = 20.0;

/// Remaining tokens of each webhook, and when they were counted.
#[derive(Debug, Default)]
pub(super) struct DeliveryPace {
    left: HashMap<String, (f64, Duration)>,
}

impl DeliveryPace {
    /// Returns whether another request of this webhook may be handled, and takes a token if so.
    pub(super) fn allows(&mut self, webhook: &str, now: Duration) -> bool {
        let (left, since) = self.left.get(webhook).copied().unwrap_or((BURST, now));
        let left = (left + now.saturating_sub(since).as_secs_f64() * REQUESTS_PER_SEC).min(BURST);
        let allows = left >= 1.0;
        self.left.insert(webhook.to_owned(), (if allows { left - 1.0 } else { left }, now));
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second_each_webhook_by_itself() {
        let mut pace = DeliveryPace::default();
        let start = Duration::from_secs(100);
        assert_eq!((0..200).filter(|_| pace.allows("a", start)).count(), 120);
        assert!(pace.allows("b", start));
        let later = start + Duration::from_millis(500);
        assert_eq!((0..200).filter(|_| pace.allows("a", later)).count(), 10);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..200).filter(|_| pace.allows("a", much_later)).count(), 120);
    }
}
