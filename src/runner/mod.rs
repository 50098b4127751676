//! Makes one attempt of a run happen: gate, body, proof. Starts programs, reads what they print,
//! ends them, and cleans up after a daemon that died.
//!
//! # Theory of operation
//!
//! Everything that must be durable before it takes effect is a [`Report`] with a sender in it: the
//! attempt stops until the other side has written the report and answers. A program is started
//! by a keeper ([`crate::child::trampoline`]), which waits for permission; that is given after the answer to
//! [`Report::Spawned`]. If this process dies first, the keeper sees the end of its connection and ends: a program whose
//! process is not on record never ran.
//!
//! What is started stays below its keeper, is in a session that this leads, and carries its run id in its environment. The
//! keeper ends all that is below it; who has lost a keeper is found in `/proc`, and told apart by its start time.
//! No process is ever signalled by its number alone.
//!
//! Left to others: when an attempt is due or retried (`engine`), writing reports down (`daemon`),
//! what tools do (`tools`).
mod asking;
mod attempt;
mod broken;
mod calling;
mod command;
mod env;
mod model;
#[cfg(target_os = "linux")]
mod orphans;
mod output;
mod proc;
mod program;
mod reap;
mod report;
mod spawn;
mod stop;
mod talk;
mod template;
pub mod trial;

pub use report::{Brief, Report, Shared, StopOrder};

use crate::domain::{AttemptEnd, AttemptOutcome, ErrorKind, Process, RunError, RunId};
use std::collections::HashSet;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Runs one attempt: gate, body, proof. Always ends with [`Report::Ended`], also when it panics.
pub async fn attempt(brief: Brief, shared: Shared, stop: watch::Receiver<StopOrder>) {
    let (run, number, reports) = (brief.run, brief.attempt, shared.reports.clone());
    let span = tracing::info_span!("run", agent = %brief.agent.id, run = %run, attempt = number);
    let work = attempt::outcome(brief, shared, stop).instrument(span.clone());
    let outcome = match AbortOnDropHandle::new(tokio::spawn(work)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let cause = panic_text(error);
            span.in_scope(|| tracing::error!(%cause, "internal error in an attempt"));
            let kind = ErrorKind::Tool;
            let message = format!("internal error: {cause}");
            let mut outcome = AttemptOutcome::of(AttemptEnd::Failed(RunError::new(kind, message)));
            outcome.warnings = stop::sweep(run).await;
            outcome
        }
    };
    let ended = Report::Ended { run, attempt: number, outcome: Box::new(outcome) };
    // A closed channel means that the other side is gone; there is nobody left to tell.
    let _ = reports.send(ended).await;
}

/// Ends what a dead daemon left behind: the given processes with their groups, and every process
/// that carries one of the run ids in its environment. Returns how many there were.
pub async fn reap_leftovers(runs: &[(RunId, Vec<Process>)], grace: std::time::Duration) -> usize {
    reap::leftovers(runs, grace).await
}

/// Does any process carry one of these ids in its environment? One look at all that live.
pub async fn lives_any_of(ids: &HashSet<RunId>) -> bool {
    proc::living().await.iter().any(|seen| seen.run.is_some_and(|run| ids.contains(&run)))
}

/// What programs leave behind becomes a child of this process, so that it is found by its parent as
/// well as by its environment; this process waits for it then. Once, before anything is started.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if let Err(error) = orphans::adopt() {
        tracing::warn!(%error, "orphans can't be adopted: what escapes from a run may be missed");
    }
}

/// Ends what programs have left behind and nothing that lives can have started. At the end of the daemon.
pub async fn end_strays() {
    #[cfg(target_os = "linux")]
    stop::end_strays().await;
}

/// Signals that whoever started this process had it ignore (nohup(1), the background of a shell) are ignored by it
/// alone: what has a handler has none after execve(2), while what is ignored stays so. Inside the runtime.
pub fn keep_ignored_signals() {
    #[cfg(target_os = "linux")]
    for number in proc::ignored_signals() {
        if let Err(error) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(number)) {
            tracing::debug!(number, %error, "programs will ignore this signal, as whoever started the daemon does");
        }
    }
}

/// Identity of this boot, as in [`Process::boot`].
pub fn boot_hash() -> u64 {
    proc::boot_hash()
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => crate::domain::panic_text(&*payload),
        Err(_) => "the task was cancelled".to_owned(),
    }
}

#[cfg(test)]
mod tests;
