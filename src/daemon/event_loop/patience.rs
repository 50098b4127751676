//! Timeouts of the loop.
use std::time::{Duration, Instant};

/// How long runs have to end after TERM, once the grace period of a shutdown is over.
pub(super) const LAST_GRACE: Duration = Duration::from_secs(7);

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
