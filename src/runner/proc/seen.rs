//! A process seen in a scan.
use crate::domain::RunId;
use std::sync::OnceLock;

/// A live process (not a zombie).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runner) struct Seen {
    pub(in crate::runner) pid: u32,
    pub(in crate::runner) start: u64,
    pub(in crate::runner) parent: u32,
    pub(in crate::runner) group: u32,
    pub(in crate::runner) session: u32,
    /// The run id in its initial environment; for a helper, the id of its daemon.
    pub(in crate::runner) run: Option<RunId>,
}

impl Seen {
    /// Returns PID and start time, which distinguish it from a later process with the same PID.
    pub(in crate::runner) fn key(&self) -> (u32, u64) {
        (self.pid, self.start)
    }

    /// Returns whether it is an adopted orphan that no running program can have started. What a program leaves behind is
    /// adopted by its keeper; an orphan that arrives here has lost its keeper.
    pub(in crate::runner) fn is_stray(&self) -> bool {
        let since = ADOPTS_SINCE.get().copied().flatten();
        self.parent == std::process::id()
            && since.is_some_and(|since| self.start >= since)
            && crate::child::is_nobodys(self.pid)
    }

    /// Returns whether it is in the group or session that `leader` leads or led.
    pub(in crate::runner) fn belongs_to(&self, leader: u32) -> bool {
        self.group == leader || self.session == leader
    }
}

/// The start time of this process, if all orphans that it adopts come from programs it has started. `None`: it had children
/// before it started any, or it is PID 1 and adopts everyone's.
pub(super) static ADOPTS_SINCE: OnceLock<Option<u64>> = OnceLock::new();
