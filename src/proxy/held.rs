//! What is known of one program at its proxy: its key, where it may go, and what it asked for.
use crate::domain::ProgramOwner;
use crate::net::Allow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

/// So many places are reported for one program. What it is refused beyond that is only answered.
const MOST_REPORTED: usize = 32;
/// So many places are counted for one program.
const MOST_COUNTED: usize = 1000;
/// So much of a place is kept: a name has 253 characters at most.
const LONGEST: usize = 300;
/// So many reports wait to be taken; more are only logged.
const WAITING: usize = 1024;

/// A place among those that the proxy serves at a time, as long as any part of a connection lives.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// A place that a program was not connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whose program it is.
    pub owner: ProgramOwner,
    /// Its name.
    pub program: String,
    /// Host and port, as the program named them.
    pub place: String,
    /// Why.
    pub reason: String,
}

static REPORTS: OnceLock<mpsc::Sender<Denial>> = OnceLock::new();

/// What is refused from now on. Once, before anything is started; a second call gets nothing.
pub fn denials() -> mpsc::Receiver<Denial> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let _ = REPORTS.set(sender);
    receiver
}

#[derive(Debug)]
pub(super) struct Held {
    /// What a request must say, in the form of its header.
    pub(super) credentials: String,
    pub(super) key: String,
    pub(super) allow: Allow,
    pub(super) reaches_this_machine: bool,
    pub(super) owner: ProgramOwner,
    pub(super) program: String,
    pub(super) seen: Mutex<Seen>,
    pub(super) ended: CancellationToken,
}

/// What was asked so far, by place.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: BTreeMap<String, u64>,
    pub(super) refused: BTreeSet<String>,
}

impl Held {
    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    pub(super) fn connected(&self, place: &str) {
        let mut seen = self.seen();
        if seen.connections.len() < MOST_COUNTED || seen.connections.contains_key(place) {
            *seen.connections.entry(place.to_owned()).or_default() += 1;
        }
    }

    /// Counts and reports a refusal. Returns what the program is told.
    pub(super) fn refuse(&self, place: &str, reason: &str) -> String {
        let place = &place[..place.floor_char_boundary(LONGEST)];
        let is_new = {
            let mut seen = self.seen();
            seen.refused.len() < MOST_REPORTED && seen.refused.insert(place.to_owned())
        };
        if is_new {
            let (owner, program) = (self.owner.clone(), self.program.clone());
            tracing::warn!(table = %owner.table, %program, %place, %reason, "the sandbox refused a connection");
            let denial = Denial { owner, program, place: place.to_owned(), reason: reason.to_owned() };
            if let Some(reports) = REPORTS.get() {
                let _ = reports.try_send(denial);
            }
        }
        let table = if self.owner.table.is_empty() { "its table" } else { &self.owner.table };
        format!(
            "bgagent: the sandbox of {table} does not connect to {place}: {reason}. To allow it, write net = [\"{place}\"] into \
             the `sandbox` of {table}.\n"
        )
    }
}
