//! A configuration that somebody wants to apply to the fleet: what they are told of it.
use super::inbox::{Answer, ChangeAsked};
use crate::config::{Loaded, Rejected, changes_of};
use crate::domain::{AppliedConfig, Fleet};
use crate::protocol::{ApplyView, Code, RpcError};
use tokio::sync::oneshot;

/// What somebody wants to apply.
pub(super) struct ApplyAsked {
    /// It has no number yet.
    pub(super) config: AppliedConfig,
    /// The newest revision that they know of.
    pub(super) after: Option<u64>,
    /// They only want to see what it changes.
    pub(super) dry_run: bool,
    /// What they are told.
    pub(super) answer: oneshot::Sender<Answer>,
    /// By what the change is known.
    pub(super) asked: ChangeAsked,
}

impl ApplyAsked {
    /// What can be said at once: somebody else was faster, or it is in force already.
    pub(super) fn at_once(&self, current: &Fleet) -> Option<Answer> {
        let newest = current.newest_revision();
        if self.after.is_some_and(|after| after != newest) {
            let by = current.applied.as_ref().map_or("somebody", |applied| &applied.by);
            let what = format!("revision {newest} was applied meanwhile, by {by}; nothing was changed");
            let hint = "look at what your configuration changes of it: bgagent apply --dry-run FILE";
            return Some(Err(RpcError::new(Code::Refused, what).hint(hint)));
        }
        let is_in_force = match (&self.config.text, current.revision_in_force()) {
            (None, None) => true,
            (Some(_), Some(known)) => known.text == self.config.text,
            _ => false,
        };
        is_in_force.then(|| value(ApplyView { revision: newest, ..ApplyView::default() }))
    }
}

/// What it would change.
pub(super) fn plan(current: &Fleet, loaded: &Loaded, warnings: Vec<String>) -> Answer {
    let changes = changes_of(current, &loaded.fleet);
    value(ApplyView {
        revision: current.newest_revision(),
        changed: true,
        added: changes.added,
        modified: changes.changed,
        removed: changes.removed,
        rights: changes.rights,
        warnings,
    })
}

fn value(view: ApplyView) -> Answer {
    serde_json::to_value(view).map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

/// Why it is not applied.
pub(super) fn invalid(rejected: &Rejected, errors: Vec<String>) -> RpcError {
    let what = format!("{} is invalid; the configuration in force stays", rejected.path.display());
    let diagnostics = rejected.diagnostics.iter().map(|one| one.to_json(&rejected.path)).collect();
    RpcError::new(Code::InvalidConfig, what).errors(errors).diagnostics(diagnostics)
}
