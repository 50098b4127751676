//! A process that was seen to live.
use crate::domain::RunId;
use std::sync::OnceLock;

/// A process that lives (zombies don't).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runner) struct Seen {
    pub(in crate::runner) pid: u32,
    pub(in crate::runner) start: u64,
    pub(in crate::runner) parent: u32,
    /// Its process group.
    pub(in crate::runner) group: u32,
    pub(in crate::runner) session: u32,
    /// The run id in the environment that it was started with; of a helper, the id of its daemon.
    pub(in crate::runner) run: Option<RunId>,
}

impl Seen {
    /// Tells it from a later process with the same number.
    pub(in crate::runner) fn key(&self) -> (u32, u64) {
        (self.pid, self.start)
    }

    /// Is it an orphan that was adopted, and that nobody who lives can have started? What a program leaves behind comes to
    /// its keeper; so whoever comes here has lost that one.
    pub(in crate::runner) fn is_stray(&self) -> bool {
        let since = ADOPTS_SINCE.get().copied().flatten();
        self.parent == std::process::id()
            && since.is_some_and(|since| self.start >= since)
            && crate::child::is_nobodys(self.pid)
    }

    /// Is it in the group or session that `leader` leads or led?
    pub(in crate::runner) fn belongs_to(&self, leader: u32) -> bool {
        self.group == leader || self.session == leader
    }
}

/// The start of this process, if each orphan that it gets is one of its own doing. `None`: it had children before it
/// started any, or it is the first of its system and gets everybody's.
pub(super) static ADOPTS_SINCE: OnceLock<Option<u64>> = OnceLock::new();
