//! Opening the store, for as long as it takes: a server that can't be reached is waited for, and so is the lead of another daemon.
use super::failure::Failure;
use super::signals::{ProcessSignals, Signal};
use super::{lock, systemd};
use crate::config::Paths;
use crate::store::{Restored, Store, StoreError, Where};
use std::time::Duration;

/// Between two tries to reach the server of the store.
const REACH_AGAIN: Duration = Duration::from_secs(2);

/// Between two looks of a standby at who leads.
const STANDBY_AGAIN: Duration = Duration::from_secs(5);

/// Between two tries to take a lead that is about to end.
const LEAD_AGAIN: Duration = Duration::from_millis(200);

/// What a daemon waits for before it can open its store.
#[derive(Clone, PartialEq, Eq)]
enum WaitsFor {
    /// The server.
    Reach,
    /// The lead, which another daemon has: this one is a standby.
    Lead(String),
}

/// Opens the store. A server that nobody can reach is waited for, and so is the lead of another daemon. True: it was waited
/// for. `None`: a signal came first.
pub(super) async fn open_store(
    place: Where,
    paths: &Paths,
    signals: &mut ProcessSignals,
) -> Result<Option<(Store, Restored, bool)>, Failure> {
    let mut waits: Option<WaitsFor> = None;
    loop {
        let at = place.clone();
        let mut opening = tokio::task::spawn_blocking(move || Store::open_at(&at));
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened.map_err(|error| Failure::Internal(error.to_string()))?,
                () = tokio::time::sleep(systemd::ALIVE_EVERY), if waits.is_some() => systemd::alive(),
            }
        };
        let pause = match opened {
            Ok((store, restored)) => return Ok(Some((store, restored, waits.is_some()))),
            Err(StoreError::Taken { by, left_secs, place }) => {
                stand_by(&mut waits, &by, &place, paths);
                Duration::from_secs(left_secs).clamp(LEAD_AGAIN, STANDBY_AGAIN)
            }
            Err(error) if may_pass(&error, waits.is_some()) => {
                if waits.replace(WaitsFor::Reach) != Some(WaitsFor::Reach) {
                    tracing::error!(%error, "the daemon starts as soon as it can be reached; trying again");
                }
                systemd::waiting(&error.to_string());
                REACH_AGAIN
            }
            Err(error) => return Err(error.into()),
        };
        systemd::alive();
        let again = tokio::time::sleep(pause);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                signal = signals.next() => if matches!(signal, Signal::Stop { .. }) { return Ok(None) },
            }
        }
    }
}

/// Is this waited for? A daemon that has waited already is there for when things are as they should be again: it ends only for
/// what a person has to put right.
fn may_pass(error: &StoreError, has_waited: bool) -> bool {
    matches!(error, StoreError::Unreachable { .. })
        || (has_waited && (error.is_passing() || matches!(error, StoreError::NotDurable { .. })))
}

/// Says once for each leader that this daemon stands by.
fn stand_by(waits: &mut Option<WaitsFor>, leader: &str, place: &str, paths: &Paths) {
    let lead = Some(WaitsFor::Lead(leader.to_owned()));
    if *waits == lead {
        return;
    }
    *waits = lead;
    tracing::info!(
        leader,
        place,
        "standing by: another daemon leads; this one takes over when that shuts down or its lease is over"
    );
    if let Err(error) = lock::write_standby_file(paths, leader) {
        tracing::warn!(%error, "{} can't be written", paths.daemon_json().display());
    }
    systemd::standing_by(leader);
}
