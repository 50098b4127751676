//! Times that hold for each server.
use std::time::Duration;

/// Times that hold for each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A server that was not used for so long is stopped.
    pub idle: Duration,
    /// How long a server that is stopped may take before it is asked (SIGTERM), and again before it
    /// is killed.
    pub patience: Duration,
    /// The pause before the second start after a failure; it doubles from then on.
    pub back_off: Duration,
    /// So many starts after a failure within `window`, and then no more until some of it has passed.
    pub restarts: usize,
    pub window: Duration,
    /// How long a server that did not answer a call in time may take to answer a ping.
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
