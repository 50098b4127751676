//! Keeps the database small: removes old records in small batches, between commits. Nothing is
//! removed for its age within an hour after a start or a jump of the clock, since the clock may be
//! wrong.
use super::clock;
use crate::daemon::inbox::{Handle, Message};
use crate::store::{Lived, Store, StoreError};
use jiff::SignedDuration;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often old records are looked for.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);
/// Delay of the first pruning, so as not to slow down a start.
const FIRST_DELAY: Duration = Duration::from_secs(20);
/// Pause between two batches, so that commits of runs wait for one at most.
const BATCH_PAUSE: Duration = Duration::from_millis(20);

/// How often the files of the database are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Checks the files of the database until the daemon shuts down, so that a removed file is noticed
/// even when nothing is written.
pub(super) async fn look_after(store: Store, handle: Handle, down: CancellationToken) {
    let mut every = tokio::time::interval(CHECK_INTERVAL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = down.cancelled() => return,
            _ = every.tick() => {}
        }
        let found = store.look().await.err().filter(|error| !matches!(error, StoreError::Closed));
        if matches!(found, Some(StoreError::Fenced { .. })) {
            let _ = handle.inbox.send(Message::AskLead).await;
        }
        let mut condition = handle.condition.lock().expect("no holder panics");
        match (&found, &condition.files) {
            (Some(error), None) => {
                let hint = error.hint().unwrap_or_default();
                tracing::error!(%error, hint, "the database is not as it should be");
            }
            (None, Some(_)) => tracing::warn!("the database is as it should be again"),
            _ => {}
        }
        condition.files = found.map(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        });
    }
}

/// How often the lead is checked.
const LEAD_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Has the programs of runs stopped while the daemon is cut off from its database. Separate from
/// [`look_after`], which waits for the database.
pub(super) async fn watch_lead(store: Store, handle: Handle, down: CancellationToken) {
    let mut every = tokio::time::interval(LEAD_CHECK_INTERVAL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_cut_off = false;
    loop {
        tokio::select! {
            () = down.cancelled() => return,
            _ = every.tick() => {}
        }
        let is_cut_off = store.is_cut_off();
        if (is_cut_off || was_cut_off) && handle.inbox.send(Message::CutOff).await.is_err() {
            return;
        }
        was_cut_off = is_cut_off;
    }
}

/// How long the clock must have run evenly before it is trusted.
const STEADY_PERIOD: SignedDuration = SignedDuration::from_hours(1);

/// Prunes until the daemon shuts down.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut wait = FIRST_DELAY;
    let mut looked = clock::now().boot;
    loop {
        tokio::select! {
            () = down.cancelled() => return,
            () = clock::sleep(wait) => {}
        }
        let asked = handle.ask(|engine, now| (engine.fleet().daemon.retention, engine.steady_for(now), now));
        let Some((keep, steady, now)) = asked.await else { return };
        let since = now.boot - std::mem::replace(&mut looked, now.boot);
        let lived = Lived { now: now.wall, steady: steady >= STEADY_PERIOD, since };
        wait = match store.prune(keep, lived).await {
            Ok(true) => BATCH_PAUSE,
            Ok(false) => PRUNE_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "what is too old could not be removed");
                PRUNE_INTERVAL
            }
        };
    }
}
