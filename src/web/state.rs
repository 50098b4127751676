//! The state shared by all requests.
use super::admission::Admission;
use super::ask::DaemonPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The style sheet of all pages.
pub(super) const STYLE: &str = include_str!("static/style.css");
/// The script of all pages.
pub(super) const SCRIPT: &str = include_str!("static/script.js");

/// The state shared by all requests.
pub(super) struct WebState {
    pub(super) admission: Admission,
    pub(super) pool: DaemonPool,
    /// Changes are enabled.
    pub(super) control: bool,
    /// Incremented with each event of the daemon.
    pub(super) changed: watch::Sender<u64>,
    /// Number of open event streams.
    pub(super) streams: AtomicUsize,
    began: Instant,
    /// When the latest request arrived, in milliseconds since the start.
    seen: AtomicU64,
    /// Hash in the names of the assets, so that a new release is not mixed with an old one.
    pub(super) assets: String,
}

/// The shared state, cheap to clone.
pub(super) type Web = Arc<WebState>;

impl WebState {
    pub(super) fn new(admission: Admission, pool: DaemonPool, control: bool) -> Self {
        use sha2::{Digest, Sha256};
        let hash = Sha256::new().chain_update(STYLE).chain_update(SCRIPT).finalize();
        Self {
            admission,
            pool,
            control,
            changed: watch::Sender::new(0),
            streams: AtomicUsize::new(0),
            began: Instant::now(),
            seen: AtomicU64::new(0),
            assets: hash[..6].iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Records a request.
    pub(super) fn seen(&self) {
        self.seen.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns after this time without a request.
    pub(super) async fn is_idle_for(&self, bound: Duration) {
        loop {
            let seen = Duration::from_millis(self.seen.load(Ordering::Relaxed));
            let idle = self.began.elapsed().saturating_sub(seen);
            let Some(left) = bound.checked_sub(idle).filter(|left| !left.is_zero()) else { return };
            tokio::time::sleep(left).await;
        }
    }
}
