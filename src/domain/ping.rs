//! External monitor (dead man's switch) that is pinged regularly, and alerts when pings stop.
use super::secret_ref::EnvValue;
use jiff::SignedDuration;

/// An endpoint that follows the conventions of healthchecks.io.
#[derive(Clone, Debug, PartialEq)]
pub struct PingSpec {
    /// Its address; often a secret itself.
    pub url: EnvValue,
    /// Interval of pings by the daemon; agents ping with each run.
    pub every: SignedDuration,
}

impl PingSpec {
    /// Default of `every`.
    pub const EVERY: SignedDuration = SignedDuration::from_mins(1);
}

/// The signal of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingSignal {
    /// A run begins.
    Start,
    /// A slot was handled, or the daemon is alive: a run completed, a gate had nothing to do, a probe found all
    /// well.
    Success,
    /// A run failed, after its retries.
    Fail,
}
