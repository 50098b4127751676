//! The configuration that is in force on this machine: its file, and over it what was applied to its fleet.
use super::trust::TrustGate;
use crate::config::{self, Context, Loaded, Paths, Rejected};
use crate::domain::AppliedConfig;
use crate::store::{Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// Why it can't be told.
#[derive(Debug)]
pub(super) enum Unread {
    /// The file, or the revision, is refused.
    Rejected(Box<Rejected>),
    /// The records can't be read.
    Store(StoreError),
    /// It ended in the middle.
    Internal(String),
}

impl Unread {
    /// In a sentence.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Rejected(rejected) => {
                let first = rejected.diagnostics.iter().find(|one| one.is_error);
                let first = first.map(|one| one.message.clone()).unwrap_or_default();
                format!("{} was rejected: {first}", rejected.path.display())
            }
            Self::Store(error) => error.to_string(),
            Self::Internal(what) => what.clone(),
        }
    }
}

/// The file as it is now, with the newest revision of the fleet.
pub(super) async fn read(paths: &Paths, trust: &TrustGate, store: &Store) -> Result<Loaded, Unread> {
    let (paths, trust) = (paths.clone(), trust.clone());
    let state = paths.state_dir.clone();
    let own = tokio::task::spawn_blocking(move || own_file(&paths, &trust)).await;
    let own = own.map_err(|error| Unread::Internal(error.to_string()))?.map_err(Unread::Rejected)?;
    with_newest(own, &state, store).await
}

/// The file of this machine as it is now, as far as a person has trusted it.
pub(super) fn own_file(paths: &Paths, trust: &TrustGate) -> Result<Loaded, Box<Rejected>> {
    let context = Context::system(crate::clock::wall()).of_state(&paths.state_dir);
    config::load(&paths.config, &context).and_then(|loaded| trust.admit(loaded))
}

/// What is in force with this file.
pub(super) async fn with_newest(own: Loaded, state: &Path, store: &Store) -> Result<Loaded, Unread> {
    if own.fleet.store.is_none() {
        return Ok(own);
    }
    let applied = store.read(|reader| reader.applied_config()).await.map_err(Unread::Store)?;
    let state = state.to_owned();
    let joined = tokio::task::spawn_blocking(move || joined(own, applied.map(Arc::new), &state)).await;
    joined.map_err(|error| Unread::Internal(error.to_string()))?.map_err(Unread::Rejected)
}

/// The same, of a revision that is at hand.
pub(super) fn joined(
    own: Loaded,
    applied: Option<Arc<AppliedConfig>>,
    state: &Path,
) -> Result<Loaded, Box<Rejected>> {
    config::with_applied(own, applied, &Context::system(crate::clock::wall()).of_state(state))
}
