//! Executes one attempt of a run: gate, body, proof. Starts programs, reads their output, terminates them, and cleans up after
//! a daemon that crashed.
//!
//! # Theory of operation
//!
//! Everything that must be durable before it takes effect is a [`Report`] that carries a reply sender: the attempt waits until
//! the report has been written and acknowledged. A program is started by a keeper ([`crate::child::trampoline`]), which waits
//! for permission; it is given after [`Report::Spawned`] is acknowledged. If this process dies first, the keeper sees its
//! connection close and exits: a program whose process is not on record never ran.
//! A started program stays below its keeper, in a session led by the program, and carries its run id in its environment. The
//! keeper ends everything below it; processes that have lost their keeper are found in `/proc` and identified by their start
//! time. No process is ever signalled by its PID alone.
//!
//! Left to others: when an attempt is due or retried (`engine`), recording reports (`daemon`), what tools do (`tools`).
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
mod skills;
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

/// Runs one attempt: gate, body, proof. Always ends with [`Report::Ended`], even when it panics.
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
    // A closed channel means that the receiver is gone; there is nobody left to notify.
    let _ = reports.send(ended).await;
}

/// Terminates what a crashed daemon left behind: the given processes with their groups, and every process that carries one of
/// the run ids in its environment. Returns how many there were.
pub async fn reap_leftovers(runs: &[(RunId, Vec<Process>)], grace: std::time::Duration) -> usize {
    reap::leftovers(runs, grace).await
}

/// Returns whether any process carries one of these ids in its environment. Scans all processes once.
pub async fn lives_any_of(ids: &HashSet<RunId>) -> bool {
    proc::living().await.iter().any(|seen| seen.run.is_some_and(|run| ids.contains(&run)))
}

/// Makes this process the subreaper, so that orphans become its children and are found by their parent as well as by their
/// environment; this process then reaps them. Called once, before anything is started.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if let Err(error) = orphans::adopt() {
        tracing::warn!(%error, "orphans can't be adopted: what escapes from a run may be missed");
    }
}

/// Terminates orphans that no running program can have started. Called when the daemon shuts down.
pub async fn end_strays() {
    #[cfg(target_os = "linux")]
    stop::end_strays().await;
}

/// Installs handlers for the signals that were ignored when this process was started (nohup(1), background of a shell), so that
/// only this process ignores them: execve(2) resets handled signals but preserves ignored ones. Called inside the runtime.
pub fn keep_ignored_signals() {
    #[cfg(target_os = "linux")]
    for number in proc::ignored_signals() {
        if let Err(error) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(number)) {
            tracing::debug!(number, %error, "programs will ignore this signal, as whoever started the daemon does");
        }
    }
}

/// Returns the identity of this boot, as in [`Process::boot`].
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
