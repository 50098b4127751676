//! Slots and their verdicts.
use super::words::words;

words! {
    /// The one recorded outcome of a slot (section 4 of the contract).
    Verdict {
        /// It started a run.
        Ran = "ran",
        /// A run of the agent was in flight.
        SkippedOverlap = "skipped_overlap",
        /// The gate said that there is nothing to do.
        SkippedGate = "skipped_gate",
        /// The agent was paused, or a person skipped this slot.
        SkippedPaused = "skipped_paused",
        /// A calendar or the hours of the agent leave it out.
        SkippedCalendar = "skipped_calendar",
        /// The daemon was not running.
        MissedDowntime = "missed_downtime",
        /// The machine slept.
        MissedSleep = "missed_sleep",
        /// The wall clock was set forward.
        MissedClock = "missed_clock",
        /// A budget was used up.
        RefusedBudget = "refused_budget",
        /// The agent's circuit was open after too many failures in a row.
        RefusedCircuit = "refused_circuit",
        /// The daemon was up but could not write.
        RefusedStorage = "refused_storage",
        /// Caught up by a newer slot.
        Superseded = "superseded",
        /// The queue was full, or the agent was stopped before the run began.
        Dropped = "dropped",
    }
}

impl Verdict {
    /// Returns whether only the first of consecutive slots gets an event: for verdicts that can repeat for long
    /// without new information.
    pub fn is_quiet_in_a_row(self) -> bool {
        matches!(self, Self::SkippedPaused | Self::SkippedGate | Self::SkippedCalendar | Self::RefusedCircuit)
    }

    /// Returns whether the slot passed unseen.
    pub fn is_missed(self) -> bool {
        matches!(self, Self::MissedDowntime | Self::MissedSleep | Self::MissedClock | Self::RefusedStorage)
    }
}
