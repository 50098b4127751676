//! Keeps the folders of runs within `retention.workspaces`: the oldest work that could not be brought back goes, and that is
//! recorded before. Folders of runs that are not over stay: if those alone take more, that is an incident.
use super::act::commit_with_retry;
use super::clock;
use super::inbox::{Handle, Message};
use crate::child::run_folders::{KeptWork, WorkspaceSums, workspaces_in};
use crate::domain::{
    AgentId, Entry, Fact, Finding, Fleet, FoundBy, IncidentRecord, Level, RunId, human_bytes,
};
use crate::store::{FoundRun, Store};
use jiff::SignedDuration;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often it is looked what they take.
const EVERY: Duration = Duration::from_secs(600);
/// The first look is not at once: a start has better things to do.
const AT_FIRST: Duration = Duration::from_secs(5);

/// Looks until the daemon goes down, also when the configuration has another bound.
pub(super) async fn look_after(
    store: Store,
    handle: Handle,
    state: PathBuf,
    mut fleets: watch::Receiver<Arc<Fleet>>,
    down: CancellationToken,
) {
    let (mut wait, mut told) = (AT_FIRST, Level::Hold);
    loop {
        let of_now = |fleets: &mut watch::Receiver<Arc<Fleet>>| {
            fleets.borrow_and_update().daemon.retention.workspaces()
        };
        let before = of_now(&mut fleets);
        let another_bound = async {
            while fleets.changed().await.is_ok() {
                if of_now(&mut fleets) != before {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = down.cancelled() => return,
            () = clock::sleep(wait) => {}
            () = another_bound => {}
        }
        let bound = of_now(&mut fleets);
        let Some(sums) = kept_within(&store, &state, bound).await else { return };
        handle.condition.lock().expect("no holder panics").workspaces = Some((sums, bound));
        let finding = finding(&sums, bound);
        // an incident of an earlier life may be over, which is why the first word is said whatever it is
        if finding.level != told {
            told = finding.level;
            let _ = handle.inbox.send(Message::Noticed(finding)).await;
        }
        wait = EVERY;
    }
}

/// Removes what is beyond the bound. Returns what is taken then; `None`: the daemon goes down.
async fn kept_within(store: &Store, state: &Path, bound: u64) -> Option<WorkspaceSums> {
    let folder = state.to_owned();
    let mut found = tokio::task::spawn_blocking(move || workspaces_in(&folder)).await.ok()?;
    let goes = found.beyond(bound).len();
    for work in found.kept.drain(..goes) {
        let KeptWork { folder, run, attempt, bytes } = work.clone();
        let (folder, agent) = (folder.display().to_string(), agent_of(store, run).await);
        tracing::warn!(
            %run, attempt, %folder, bytes,
            "work that could not be brought back is removed: the folders of runs take more than `retention.workspaces` ({})",
            human_bytes(bound)
        );
        let fact = Fact::WorkspaceRemoved { run, agent, attempt, folder, bytes, bound };
        if !commit_with_retry(store, vec![Entry { at: clock::now().wall, fact }]).await {
            return None;
        }
        tokio::task::spawn_blocking(move || work.remove()).await.ok()?;
    }
    Some(found.sums())
}

async fn agent_of(store: &Store, run: RunId) -> Option<AgentId> {
    let found = store.read(move |reader| reader.find_run(&run.to_string())).await.ok()?;
    if let FoundRun::One(run) = found { Some(run.claim.agent) } else { None }
}

/// Whether the folders of runs that are not over take more than all may.
fn finding(sums: &WorkspaceSums, bound: u64) -> Finding {
    let is_beyond = sums.total() > bound;
    let title = format!(
        "the folders of runs that are not over ({}) and sessions take {}, more than `retention.workspaces` ({}): end runs, or raise it",
        sums.runs,
        human_bytes(sums.total()),
        human_bytes(bound)
    );
    Finding {
        key: IncidentRecord::WORKSPACES.into(),
        level: if is_beyond { Level::Warn } else { Level::Ok },
        title: if is_beyond { title } else { String::new() },
        hold_for: SignedDuration::ZERO,
        by: FoundBy::Check,
    }
}
