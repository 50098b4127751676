//! How often deliveries are taken. Pure: times come from outside.
use std::collections::HashMap;
use std::time::Duration;

/// Requests of one webhook that may come at once…
const AT_ONCE: f64 = 120.0;
/// …and so many a second after that.
const A_SECOND: f64 = 20.0;

/// What is left to each webhook.
#[derive(Debug, Default)]
pub(super) struct DeliveryPace {
    left: HashMap<String, (f64, Duration)>,
}

impl DeliveryPace {
    /// May another request of this webhook be looked at?
    pub(super) fn allows(&mut self, webhook: &str, now: Duration) -> bool {
        let (left, since) = self.left.get(webhook).copied().unwrap_or((AT_ONCE, now));
        let left = (left + now.saturating_sub(since).as_secs_f64() * A_SECOND).min(AT_ONCE);
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
