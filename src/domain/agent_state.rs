//! Desired state, activity and health of an agent (section 3 of the contract).
use super::words::words;

words! {
    /// What a person (or the end of a one-shot) wants of an agent. Survives restarts.
    Desired {
        /// Slots start runs.
        Active = "active",
        /// Slots pass by; the anchor stays.
        Paused = "paused",
        /// No slots.
        Stopped = "stopped",
    }
}

/// Mark of `pause --all` on a paused agent, for the next `resume --all`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    #[default]
    No = 0,
    /// Paused by `pause --all`.
    ByAll = 1,
    /// Paused before, and stays paused.
    Kept = 2,
}

words! {
    /// What an agent is doing.
    Activity {
        /// Nothing.
        Idle = "idle",
        /// A run waits for its place.
        Queued = "queued",
        /// A run is in flight.
        Running = "running",
        /// An attempt failed, the next one waits.
        Retrying = "retrying",
        /// A tool call waits for a person.
        WaitingApproval = "waiting_approval",
    }
}

words! {
    /// How an agent fares.
    Health {
        /// Its last run did its work, or there was none.
        Ok = "ok",
        /// Its last run failed.
        Failing = "failing",
        /// It failed too often in a row; its slots are refused for a while.
        CircuitOpen = "circuit_open",
    }
}
