//! The state of one program at its proxy: its key, its allowed destinations, and what it requested.
use super::meter::MeterState;
use crate::domain::{NetTarget, ProgramOwner};
use crate::net::{Allow, GuardError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Maximum destinations that are reported per program. Further refusals are only answered.
const MAX_REPORTED_TARGETS: usize = 32;
/// Maximum destinations that are counted per program.
const MAX_COUNTED_TARGETS: usize = 1000;
/// Bytes that are kept of a destination: a host name has 253 characters at most.
const MAX_TARGET_BYTES: usize = 300;
/// Maximum queued reports; further ones are only logged.
const MAX_QUEUED_REPORTS: usize = 1024;

/// A destination that a program was not connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub owner: ProgramOwner,
    pub program: String,
    /// Host and port, as the program named them.
    pub place: String,
    pub reason: String,
}

static REPORTS: OnceLock<mpsc::Sender<Denial>> = OnceLock::new();

/// Returns the channel of future refusals. Called once, before anything is started; a second call gets nothing.
pub fn denials() -> mpsc::Receiver<Denial> {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_REPORTS);
    let _ = REPORTS.set(sender);
    receiver
}

#[derive(Debug)]
pub(super) struct PassState {
    /// The expected `Proxy-Authorization` header.
    pub(super) credentials: String,
    pub(super) key: String,
    pub(super) allow: Allow,
    pub(super) reaches_this_machine: bool,
    pub(super) owner: ProgramOwner,
    pub(super) program: String,
    /// Permits for concurrent DNS lookups.
    pub(super) lookups: Arc<Semaphore>,
    pub(super) seen: Mutex<Seen>,
    pub(super) ended: CancellationToken,
    /// Serves requests for the provider of a model.
    pub(super) meter: Option<Arc<MeterState>>,
}

/// What was requested so far, by destination.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: BTreeMap<String, u64>,
    /// With the message to the program.
    pub(super) refused: BTreeMap<String, String>,
}

impl PassState {
    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    pub(super) fn connected(&self, place: &str) {
        let mut seen = self.seen();
        if seen.connections.len() < MAX_COUNTED_TARGETS || seen.connections.contains_key(place) {
            *seen.connections.entry(place.to_owned()).or_default() += 1;
        }
    }

    /// Records and reports a refusal. Returns the message to the program.
    pub(super) fn refuse(&self, place: &str, why: &GuardError) -> String {
        let place = &place[..place.floor_char_boundary(MAX_TARGET_BYTES)];
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
            let is_new = seen.refused.len() < MAX_REPORTED_TARGETS && !seen.refused.contains_key(place);
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

/// Returns the entry of `net` that would allow it. None is suggested for invalid addresses and cloud metadata services.
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
