//! Time limits for each server.
use std::time::Duration;

/// Time limits for each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A server that is idle for this long is stopped.
    pub idle: Duration,
    /// Timeout before a server that is being stopped gets SIGTERM, and again before it gets SIGKILL.
    pub patience: Duration,
    /// Delay before the second start after a failure; it doubles from then on.
    pub back_off: Duration,
    /// Maximum starts after a failure within `window`; no more until some of it has passed.
    pub restarts: usize,
    pub window: Duration,
    /// Timeout for a ping, after a server has not answered a call in time.
    pub ping: Duration,
}

impl Limits {
    /// Those of the daemon.
    pub const DAEMON: Self = Self {
        idle: Duration::from_secs(60),
        patience: Duration::from_secs(2),
        back_off: Duration::from_secs(1),
        restarts: 5,
        window: Duration::from_secs(600),
        ping: Duration::from_secs(2),
    };
}
