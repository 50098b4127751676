//! Another monitor that hears that all goes on, and says so when it hears nothing.
use super::secret_ref::EnvValue;
use jiff::SignedDuration;

/// Where a monitor is asked, by the conventions of healthchecks.io.
#[derive(Clone, Debug, PartialEq)]
pub struct PingSpec {
    /// Its address; often a secret itself.
    pub url: EnvValue,
    /// How often it hears of the daemon; of agents it hears with each run.
    pub every: SignedDuration,
}

impl PingSpec {
    /// `every` where nothing is said of it.
    pub const EVERY: SignedDuration = SignedDuration::from_mins(1);
}

/// What a monitor hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingSignal {
    /// A run begins.
    Start,
    /// A slot was handled, or the daemon lives: a run completed, a gate had nothing to do, a look found all well.
    Success,
    /// A run failed, after its retries.
    Fail,
}
