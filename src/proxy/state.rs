//! What is known of one program at its proxy: its key, where it may go, and what it asked for.
use super::meter::MeterState;
use crate::domain::{NetTarget, ProgramOwner};
use crate::net::{Allow, GuardError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// So many places are reported for one program. What it is refused beyond that is only answered.
const MOST_REPORTED: usize = 32;
/// So many places are counted for one program.
const MOST_COUNTED: usize = 1000;
/// So much of a place is kept: a name has 253 characters at most.
const LONGEST: usize = 300;
/// So many reports wait to be taken; more are only logged.
const WAITING: usize = 1024;

/// A place that a program was not connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whose program it is.
    pub owner: ProgramOwner,
    pub program: String,
    /// Host and port, as the program named them.
    pub place: String,
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
pub(super) struct PassState {
    /// What a request must say, in the form of its header.
    pub(super) credentials: String,
    pub(super) key: String,
    pub(super) allow: Allow,
    pub(super) reaches_this_machine: bool,
    pub(super) owner: ProgramOwner,
    pub(super) program: String,
    /// As many names as it may look up at a time.
    pub(super) lookups: Arc<Semaphore>,
    pub(super) seen: Mutex<Seen>,
    pub(super) ended: CancellationToken,
    /// What stands there for the provider of a model.
    pub(super) meter: Option<Arc<MeterState>>,
}

/// What was asked so far, by place.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: BTreeMap<String, u64>,
    /// With what the program was told.
    pub(super) refused: BTreeMap<String, String>,
}

impl PassState {
    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    pub(super) fn connected(&self, place: &str) {
        let mut seen = self.seen();
        if seen.connections.len() < MOST_COUNTED || seen.connections.contains_key(place) {
            *seen.connections.entry(place.to_owned()).or_default() += 1;
        }
    }

    /// Keeps and reports a refusal. Returns what the program is told.
    pub(super) fn refuse(&self, place: &str, why: &GuardError) -> String {
        let place = &place[..place.floor_char_boundary(LONGEST)];
        let table = if self.owner.table.is_empty() { "its table" } else { &self.owner.table };
        let reason = match why {
            GuardError::Host { .. } | GuardError::Port { .. } => "it is not listed in `net`".to_owned(),
            other => other.to_string(),
        };
        let mut told = format!("the sandbox of {table} does not connect to {place}: {reason}");
        if let Some(entry) = would_allow(place, why) {
            told.push_str(&format!("; add \"{entry}\" to `net` in the `sandbox` of {table} if it should"));
        }
        let is_new = {
            let mut seen = self.seen();
            let is_new = seen.refused.len() < MOST_REPORTED && !seen.refused.contains_key(place);
            if is_new {
                seen.refused.insert(place.to_owned(), told.clone());
            }
            is_new
        };
        if is_new {
            let (owner, program) = (self.owner.clone(), self.program.clone());
            let denial = Denial { owner, program, place: place.to_owned(), reason };
            if REPORTS.get().is_some_and(|reports| reports.try_send(denial).is_err()) {
                tracing::warn!(%table, "too much was refused at once to be recorded: {told}");
            }
        }
        format!("bgagent: {told}.\n")
    }
}

/// The entry of `net` that would allow it. What is no address, or leads to where clouds keep their keys, is not
/// advised.
pub(super) fn would_allow(place: &str, why: &GuardError) -> Option<String> {
    match why {
        GuardError::Host { .. } | GuardError::Port { .. } => {
            let target = NetTarget::parse(place).ok()?;
            (!target.is_metadata()).then(|| target.to_string())
        }
        GuardError::Private { address, .. } => {
            let target = NetTarget::parse(&format!("{place}={address}")).ok()?;
            (!target.is_metadata()).then(|| target.to_string())
        }
        _ => None,
    }
}
