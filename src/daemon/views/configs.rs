//! Revisions of the configuration of a fleet.
use crate::domain::AppliedConfig;
use crate::protocol::ConfigView;

/// One, without its text.
pub(in crate::daemon) fn config(applied: &AppliedConfig) -> ConfigView {
    ConfigView {
        revision: applied.revision,
        at: applied.at,
        by: applied.by.clone(),
        origin: applied.origin.clone(),
        hash: applied.hash.to_string(),
        withdrawn: applied.text.is_none(),
        text: None,
    }
}
