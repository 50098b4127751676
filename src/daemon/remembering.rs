//! Keeps the agents' memory in Redis while it is configured, and reports failures.
use super::exports::report_level_changes;
use super::inbox::Message;
use crate::domain::{ExportState, Finding, Fleet, FoundBy, IncidentRecord, Level, human_duration};
use crate::redis_memory::{MemoryProgress, MemorySender, MemoryStanding};
use crate::store::Store;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A delay of changes from which on the daemon reports a problem.
const MAX_DELAY: SignedDuration = SignedDuration::from_mins(1);
/// How long a shutdown waits for the last changes. The remaining ones follow in the next life.
pub(super) const CHANGES_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends changes until the daemon shuts down.
pub(super) async fn run(
    store: Store,
    progress: Arc<MemoryProgress>,
    mut fleets: watch::Receiver<Arc<Fleet>>,
    inbox: mpsc::Sender<Message>,
    down: CancellationToken,
) {
    // an incident of an earlier life may be over, and the memory no longer configured
    let mut reported = None;
    loop {
        let spec = fleets.borrow_and_update().memory.clone();
        let sender = spec.clone().map(|spec| MemorySender::new(store.clone(), spec, progress.clone()));
        let sending = async {
            match &sender {
                Some(sender) => {
                    sender.run().await;
                }
                None => {
                    progress.clear();
                    std::future::pending().await
                }
            }
        };
        let is_another = async {
            // false: the loop that holds the configuration has ended
            while fleets.changed().await.is_ok() {
                if fleets.borrow_and_update().memory != spec {
                    return true;
                }
            }
            false
        };
        let goes_on = tokio::select! {
            () = sending => true,
            () = report_level_changes(|now| finding(progress.now().as_ref(), now), &inbox, &mut reported) => true,
            another = is_another => another,
            () = down.cancelled() => false,
        };
        if !goes_on {
            let is_connected = |standing: MemoryStanding| standing.state == ExportState::Connected;
            if let Some(sender) = sender.filter(|_| progress.now().is_some_and(is_connected)) {
                let _ = tokio::time::timeout(CHANGES_SHUTDOWN_TIMEOUT, sender.catch_up()).await;
            }
            return;
        }
    }
}

/// Returns the state as a finding; `None` if it is neither better nor worse.
fn finding(standing: Option<&MemoryStanding>, now: Timestamp) -> Option<Finding> {
    let of = |level, title| Finding {
        key: IncidentRecord::REDIS_MEMORY.into(),
        level,
        title,
        hold_for: SignedDuration::ZERO,
        by: FoundBy::Check,
    };
    let Some(standing) = standing else { return Some(of(Level::Ok, String::new())) };
    let problem = standing.problem.as_deref().unwrap_or_default();
    match standing.state {
        ExportState::Connected => Some(of(Level::Ok, String::new())),
        ExportState::Stopped => {
            Some(of(Level::Crit, format!("what agents remember in Redis can't be had: {problem}")))
        }
        ExportState::Trying if now.duration_since(standing.since) >= MAX_DELAY => {
            let late =
                human_duration(SignedDuration::from_mins(now.duration_since(standing.since).as_mins()));
            Some(of(Level::Crit, format!("what agents remember in Redis can't be had for {late}: {problem}")))
        }
        ExportState::Trying => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_had_for_a_minute_or_is_stopped_is_a_problem() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let standing = |state, since: &str| MemoryStanding {
            state,
            problem: (state != ExportState::Connected).then(|| "it can't be reached".into()),
            since: at(since),
            waiting: 0,
        };
        use ExportState::*;
        let now = at("2026-11-23T09:05:00Z");
        for (standing, level) in [
            (None, Some(Level::Ok)),
            (Some(standing(Connected, "2026-11-23T09:00:00Z")), Some(Level::Ok)),
            (Some(standing(Trying, "2026-11-23T09:04:01Z")), None),
            (Some(standing(Trying, "2026-11-23T09:04:00Z")), Some(Level::Crit)),
            (Some(standing(Stopped, "2026-11-23T09:05:00Z")), Some(Level::Crit)),
        ] {
            let found = finding(standing.as_ref(), now);
            assert_eq!(found.as_ref().map(|found| found.level), level, "{standing:?} {found:?}");
        }
    }
}
