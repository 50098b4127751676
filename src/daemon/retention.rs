//! Keeps the database small: old things go in small pieces, between commits. Nothing goes for its age within an hour
//! after a start or a jump of the clock, since the clock may be wrong.
use super::clock;
use crate::daemon::inbox::{Handle, Message};
use crate::store::{Lived, Store, StoreError};
use jiff::SignedDuration;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often we look for what is too old.
const EVERY: Duration = Duration::from_secs(600);
/// The first look is not at once: a start has better things to do.
const AT_FIRST: Duration = Duration::from_secs(20);
/// Between two pieces, so that commits of runs are never behind more than one.
const BREATHE: Duration = Duration::from_millis(20);

/// How often the files of the database are looked after.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks after the files of the database until the daemon goes down: one that was taken away is noticed
/// also when there is nothing to write.
pub(super) async fn look_after(store: Store, handle: Handle, down: CancellationToken) {
    let mut every = tokio::time::interval(LOOK_EVERY);
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

/// How often the lead is looked at.
const LOOK_AT_LEAD: Duration = Duration::from_secs(1);

/// Has the programs of runs stopped while the daemon is cut off from its database. Apart from [`look_after`], which waits for
/// the database.
pub(super) async fn watch_lead(store: Store, handle: Handle, down: CancellationToken) {
    let mut every = tokio::time::interval(LOOK_AT_LEAD);
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

/// For so long the clock must have gone on evenly before it is believed.
const STEADY: SignedDuration = SignedDuration::from_hours(1);

/// Prunes until the daemon goes down.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut wait = AT_FIRST;
    let mut looked = clock::now().boot;
    loop {
        tokio::select! {
            () = down.cancelled() => return,
            () = clock::sleep(wait) => {}
        }
        let asked = handle.ask(|engine, now| (engine.fleet().daemon.retention, engine.steady_for(now), now));
        let Some((keep, steady, now)) = asked.await else { return };
        let since = now.boot - std::mem::replace(&mut looked, now.boot);
        let lived = Lived { now: now.wall, steady: steady >= STEADY, since };
        wait = match store.prune(keep, lived).await {
            Ok(true) => BREATHE,
            Ok(false) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "what is too old could not be removed");
                EVERY
            }
        };
    }
}
