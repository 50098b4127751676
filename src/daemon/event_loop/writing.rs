//! Commits decisions, for as long as it takes. While the disk fails, questions are answered,
//! changes are refused, and runs in flight go on.
use super::{BATCH, EventLoop, Waiter};
use crate::daemon::clock;
use crate::daemon::event_loop::patience::{LAST_GRACE, until};
use crate::daemon::inbox::{ChangeAsked, Message};
use crate::domain::{Entry, RunId};
use crate::engine::Ticket;
use crate::protocol::{Code, RpcError};
use crate::runner::Report;
use crate::store::StoreError;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a commit may take before questions are answered during it.
const SLOW_COMMIT_AFTER: Duration = Duration::from_millis(250);
/// How long a shutdown waits for a commit that hangs.
const HUNG_COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for a database server when nothing is in flight any more. A disk may be slow; a server
/// with so little to do either answers or hangs.
const HUNG_SERVER_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of messages queued during a commit.
const MAX_KEPT_MESSAGES: usize = 16 * BATCH;
impl EventLoop {
    /// Commits, for as long as it takes. The flag says whether the store could not write for a while.
    pub(super) async fn commit(
        &mut self,
        facts: Vec<Entry>,
    ) -> Result<(crate::store::Committed, bool), StoreError> {
        let mut was_down = false;
        let mut pause = Duration::from_millis(200);
        loop {
            let store = self.store.clone();
            let facts = facts.clone();
            let commit = async move { store.commit(facts).await };
            let Some(committed) = self.while_answering(commit, was_down).await else {
                self.abandon().await;
                let doing = "going down".to_owned();
                return Err(StoreError::Other { doing, what: "the database does not answer".to_owned() });
            };
            match committed {
                Ok(committed) => {
                    if was_down {
                        tracing::warn!("the database can be written again");
                        self.condition.lock().expect("no holder panics").storage = None;
                    }
                    return Ok((committed, was_down));
                }
                Err(error) if error.is_passing() => {
                    if !was_down {
                        tracing::error!(%error, "nothing can be recorded, so nothing new is started; trying again");
                    }
                    was_down = true;
                    self.condition.lock().expect("no holder panics").storage = Some(error.to_string());
                    if !self.wait_degraded(pause).await {
                        self.abandon().await;
                        return Err(error);
                    }
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a commit, or a read that decisions depend on. Questions are answered only if it is
    /// slow, so that nobody sees state that is not yet recorded. `None`: the shutdown deadline
    /// passed first.
    pub(super) async fn while_answering<T>(
        &mut self,
        work: impl Future<Output = T>,
        was_down: bool,
    ) -> Option<T> {
        let began = Instant::now();
        tokio::pin!(work);
        let slow = tokio::time::sleep(SLOW_COMMIT_AFTER);
        tokio::pin!(slow);
        let mut is_slow = false;
        loop {
            let overdue = self.overdue(began, was_down);
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = &mut slow, if !is_slow => is_slow = true,
                Some(question) = self.questions.recv(), if is_slow => question(&self.engine, clock::now()),
                Some(message) = self.inbox.recv(), if is_slow && self.kept.len() < MAX_KEPT_MESSAGES => self.defer(message),
                () = until(overdue) => return None,
            }
        }
    }

    /// Waits before the next commit while the store can't write: questions are answered, changes
    /// are refused, the rest is queued. Returns false when the shutdown deadline has passed.
    async fn wait_degraded(&mut self, pause: Duration) -> bool {
        let began = Instant::now();
        let again = tokio::time::sleep(pause);
        tokio::pin!(again);
        self.refuse_waiting_clients();
        for message in std::mem::take(&mut self.kept) {
            self.defer(message);
        }
        loop {
            let deadline = self.overdue(began, true);
            tokio::select! {
                () = until(deadline) => return false,
                () = &mut again => return true,
                Some(question) = self.questions.recv() => question(&self.engine, clock::now()),
                Some(message) = self.inbox.recv() => self.defer(message),
            }
        }
    }

    /// Returns when a shutdown gives up on a write that began at `began`; `None` if there is no shutdown.
    fn overdue(&self, began: Instant, was_down: bool) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref()?;
        let at = match was_down {
            true => shutdown.deadline,
            false => shutdown.deadline.max(began + HUNG_COMMIT_TIMEOUT),
        };
        if self.store.epoch().is_none() || !self.is_over() {
            return Some(at);
        }
        let waited_from = if was_down { shutdown.began } else { shutdown.began.max(began) };
        Some(at.min(waited_from + HUNG_SERVER_TIMEOUT))
    }

    /// Returns whether every attempt has ended; their ends may still wait to be recorded.
    fn is_over(&self) -> bool {
        let has_ended = |run: RunId| {
            self.kept.iter().any(
                |kept| matches!(kept, Message::Report(Report::Ended { run: ended, .. }) if *ended == run),
            )
        };
        self.actor.in_flight().all(has_ended)
    }

    /// Handles a message that arrives during a commit. What needs no record is done at once, and a
    /// change is refused if nothing can be recorded. The rest is queued for the next turn, as are
    /// changes that may wait, so that later ones do not overtake them.
    fn defer(&mut self, message: Message) {
        let problem = self.condition.lock().expect("no holder panics").storage.clone();
        match (message, problem) {
            (Message::ShutDown { reason, now, answer }, _) => {
                if let Some(answer) = answer {
                    let _ = answer.send(Ok(Value::Object(Default::default())));
                }
                self.begin_shutdown(now);
                if !self.kept.iter().any(|kept| matches!(kept, Message::ShutDown { .. })) {
                    self.kept.push_back(Message::ShutDown { reason, now, answer: None });
                }
            }
            (Message::Command { asked: ChangeAsked { waits: false, .. }, answer, .. }, Some(problem)) => {
                let hint = hint_for(&problem, "ask again when the database can be written");
                let error =
                    RpcError::new(Code::Refused, format!("nothing can be recorded: {problem}")).hint(hint);
                let _ = answer.send(Err(error));
            }
            (
                Message::Loaded { fleet, warnings, asked: asked @ ChangeAsked { waits: false, .. }, answer },
                Some(problem),
            ) => {
                if let Some(answer) = answer {
                    let error = RpcError::new(Code::Refused, format!("nothing can be recorded: {problem}"))
                        .hint("the configuration is applied as soon as the database can be written");
                    let _ = answer.send(Err(error.pending()));
                }
                // only the newest is needed, unless a client waits for an older one
                self.kept.retain(|kept| !matches!(kept, Message::Loaded { answer: None, .. }));
                self.kept.push_back(Message::Loaded { fleet, warnings, asked, answer: None });
            }
            (Message::CutOff, _) => self.stop_programs(),
            (other, _) => self.kept.push_back(other),
        }
    }

    /// Ends what is in flight without a record, once the shutdown deadline has passed and the store
    /// still can't write; the next life recovers. Nothing that waits for a record continues.
    pub(super) async fn abandon(&mut self) {
        tracing::error!("the daemon shuts down without a record of what it had in flight");
        self.actor.give_up_output();
        self.waiters.clear();
        for message in std::mem::take(&mut self.kept) {
            self.note_end(message);
        }
        for kill in [false, true] {
            self.actor.cancel_all(kill);
            let end = Instant::now() + LAST_GRACE;
            while !self.actor.is_idle() {
                tokio::select! {
                    () = until(Some(end)) => break,
                    Some(question) = self.questions.recv() => question(&self.engine, clock::now()),
                    Some(message) = self.inbox.recv() => self.note_end(message),
                }
            }
        }
    }

    fn note_end(&mut self, message: Message) {
        match message {
            Message::Report(Report::Ended { run, .. }) => self.actor.ended(run),
            Message::ShutDown { answer: Some(answer), .. } => {
                let _ = answer.send(Ok(Value::Object(Default::default())));
            }
            _ => {} // a waiting client is notified of the shutdown
        }
    }

    /// Notifies clients whose change is decided but not recorded, instead of leaving them waiting,
    /// unless they asked to wait.
    fn refuse_waiting_clients(&mut self) {
        let problem = self.condition.lock().expect("no holder panics").storage.clone().unwrap_or_default();
        let waiting: Vec<Ticket> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| {
                matches!(waiter, Waiter::Client { asked: ChangeAsked { waits: false, .. }, .. })
            })
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in waiting {
            if let Some(Waiter::Client { answer, asked, .. }) = self.waiters.remove(&ticket) {
                let again = asked.request_id.and_then(|id| self.pending.remove(&id)).unwrap_or_default();
                let hint = hint_for(
                    &problem,
                    "don't repeat the request: it is carried out as soon as the database can be written, unless the daemon \
                     ends first",
                );
                let error =
                    RpcError::new(Code::Refused, format!("not recorded yet: {problem}")).hint(hint).pending();
                for answer in again.into_iter().chain([answer]) {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Suggests freeing space if the disk is full; other problems explain themselves.
fn hint_for(problem: &str, hint: &str) -> String {
    if ["no space", "full"].iter().any(|word| problem.contains(word)) {
        format!("free some space; {hint}")
    } else {
        hint.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::hint_for;

    #[test]
    fn room_is_asked_for_where_there_is_none() {
        assert_eq!(hint_for("no space left for the database /x", "ask again"), "free some space; ask again");
        assert_eq!(hint_for("the database /x is locked by another program", "ask again"), "ask again");
    }
}
