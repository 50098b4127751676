//! Exports events to Redis while it is configured, and reports when they don't arrive.
use super::inbox::Message;
use crate::clock;
use crate::domain::{ExportState, Finding, FoundBy, IncidentRecord, Level, RedisSpec, human_duration};
use crate::export::{ExportProgress, ExportStatus, Exporter};
use crate::store::{Ancestor, Store};
use jiff::SignedDuration;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// An export delay from which on the daemon reports a problem.
const MAX_EXPORT_DELAY: SignedDuration = SignedDuration::from_mins(5);
/// How often the delay is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a shutdown waits for the last events. The remaining ones follow in the next life.
pub(super) const EVENTS_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// What is exported, and where its progress is reported.
pub(super) struct Copied {
    /// Identity of the database.
    pub(super) database: String,
    /// The databases of which it is a copy.
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) progress: Arc<ExportProgress>,
}

/// Exports events until the daemon shuts down.
pub(super) async fn run(
    store: Store,
    copied: Copied,
    mut specs: watch::Receiver<Option<Arc<RedisSpec>>>,
    inbox: mpsc::Sender<Message>,
    down: CancellationToken,
) {
    // an incident of an earlier life may be over, and the export no longer configured
    let mut reported = None;
    loop {
        let spec = specs.borrow_and_update().clone();
        let exporter = spec.map(|spec| {
            let Copied { database, ancestors, progress } = &copied;
            Exporter::new(store.clone(), spec, database.clone(), ancestors.clone(), progress.clone())
        });
        let sending = async {
            match &exporter {
                Some(exporter) => {
                    exporter.run().await;
                }
                None => {
                    copied.progress.clear();
                    std::future::pending().await
                }
            }
        };
        let goes_down = tokio::select! {
            () = sending => false,
            () = report_level_changes(|now| finding(copied.progress.now().as_ref(), now), &inbox, &mut reported) => false,
            // the loop that holds the configuration has ended
            changed = specs.changed() => changed.is_err(),
            () = down.cancelled() => true,
        };
        if goes_down {
            let is_connected = |standing: ExportStatus| standing.state == ExportState::Connected;
            if let Some(exporter) = exporter.filter(|_| copied.progress.now().is_some_and(is_connected)) {
                let _ = tokio::time::timeout(EVENTS_SHUTDOWN_TIMEOUT, exporter.catch_up()).await;
            }
            return;
        }
    }
}

/// Reports a problem of the daemon itself to the engine whenever its level changes.
pub(super) async fn report_level_changes(
    look: impl Fn(jiff::Timestamp) -> Option<Finding>,
    inbox: &mpsc::Sender<Message>,
    reported: &mut Option<Level>,
) {
    let mut looks = tokio::time::interval(CHECK_INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(finding) = look(clock::wall()) else { continue };
        if *reported != Some(finding.level) {
            *reported = Some(finding.level);
            let _ = inbox.send(Message::Noticed(finding)).await;
        }
    }
}

/// Returns the state of the export as a finding; `None` if it is not known yet.
fn finding(standing: Option<&ExportStatus>, now: jiff::Timestamp) -> Option<Finding> {
    let of = |level, title| Finding {
        key: IncidentRecord::REDIS.into(),
        level,
        title,
        hold_for: SignedDuration::ZERO,
        by: FoundBy::Check,
    };
    let Some(standing) = standing else { return Some(of(Level::Ok, String::new())) };
    let problem = standing.problem.as_deref().unwrap_or("they come faster than they can be sent");
    if standing.state == ExportState::Stopped {
        return Some(of(Level::Crit, format!("no event is copied to Redis: {problem}")));
    }
    let behind = standing.behind_since.map(|since| now.duration_since(since));
    match behind {
        Some(behind) if behind >= MAX_EXPORT_DELAY => {
            let late = human_duration(SignedDuration::from_mins(behind.as_mins()));
            Some(of(Level::Warn, format!("events have not been copied to Redis for {late}: {problem}")))
        }
        // between two attempts, nothing has improved
        Some(_) if standing.state == ExportState::Trying => None,
        _ => Some(of(Level::Ok, String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Seq;

    #[test]
    fn what_is_late_or_stopped_is_a_problem() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let now = at("2026-11-23T09:05:00Z");
        let standing = |state, behind: Option<&str>| ExportStatus {
            state,
            problem: (state != ExportState::Connected).then(|| "it can't be reached".into()),
            since: at("2026-11-23T09:00:00Z"),
            position: Some(Seq(7)),
            behind_since: behind.map(at),
        };
        use ExportState::*;
        let cases = [
            (None, Some(Level::Ok)),
            (Some(standing(Connected, None)), Some(Level::Ok)),
            (Some(standing(Connected, Some("2026-11-23T09:04:59Z"))), Some(Level::Ok)),
            (Some(standing(Connected, Some("2026-11-23T09:00:00Z"))), Some(Level::Warn)),
            (Some(standing(Trying, Some("2026-11-23T09:00:00.000001Z"))), None),
            (Some(standing(Trying, Some("2026-11-23T09:00:00Z"))), Some(Level::Warn)),
            (Some(standing(Trying, None)), Some(Level::Ok)),
            (Some(standing(Stopped, None)), Some(Level::Crit)),
        ];
        for (standing, level) in cases {
            let found = finding(standing.as_ref(), now);
            assert_eq!(found.as_ref().map(|found| found.level), level, "{standing:?} {found:?}");
        }
    }
}
