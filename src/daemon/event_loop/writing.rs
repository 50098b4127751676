//! Writing down what was decided, for as long as it takes. While the disk fails, questions are answered,
//! changes are refused, and what runs goes on.
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

/// A commit that takes longer than this is no reason to leave questions unanswered.
const SLOW_COMMIT: Duration = Duration::from_millis(250);
/// A commit that takes longer than this does not hold up the end of a shutdown.
const HUNG_COMMIT: Duration = Duration::from_secs(30);
/// The same of a server, when nothing is in flight any more. A disk may be slow; a server that is asked for so little
/// answers, or hangs.
const HUNG_SERVER: Duration = Duration::from_secs(5);
/// Messages that are taken while a commit is under way.
const MOST_KEPT: usize = 16 * BATCH;
impl EventLoop {
    /// Commits, for as long as it takes. True: the store could not write for a while.
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

    /// A commit, or a read that decisions wait for; questions are answered only if it takes long, so that nobody is
    /// told what is not yet written. `None`: the time of a shutdown was up before it was done.
    pub(super) async fn while_answering<T>(
        &mut self,
        work: impl Future<Output = T>,
        was_down: bool,
    ) -> Option<T> {
        let began = Instant::now();
        tokio::pin!(work);
        let slow = tokio::time::sleep(SLOW_COMMIT);
        tokio::pin!(slow);
        let mut is_slow = false;
        loop {
            let overdue = self.overdue(began, was_down);
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = &mut slow, if !is_slow => is_slow = true,
                Some(question) = self.questions.recv(), if is_slow => question(&self.engine, clock::now()),
                Some(message) = self.inbox.recv(), if is_slow && self.kept.len() < MOST_KEPT => self.put_off(message),
                () = until(overdue) => return None,
            }
        }
    }

    /// The store can't write: questions are answered, changes are refused, the rest waits. False:
    /// the time of a shutdown is up.
    async fn wait_degraded(&mut self, pause: Duration) -> bool {
        let began = Instant::now();
        let again = tokio::time::sleep(pause);
        tokio::pin!(again);
        self.refuse_waiting_clients();
        for message in std::mem::take(&mut self.kept) {
            self.put_off(message);
        }
        loop {
            let deadline = self.overdue(began, true);
            tokio::select! {
                () = until(deadline) => return false,
                () = &mut again => return true,
                Some(question) = self.questions.recv() => question(&self.engine, clock::now()),
                Some(message) = self.inbox.recv() => self.put_off(message),
            }
        }
    }

    /// When a shutdown does not wait any longer for what began then. `None`: there is none.
    fn overdue(&self, began: Instant, was_down: bool) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref()?;
        let at = match was_down {
            true => shutdown.deadline,
            false => shutdown.deadline.max(began + HUNG_COMMIT),
        };
        if self.store.epoch().is_none() || !self.is_over() {
            return Some(at);
        }
        let waited_from = if was_down { shutdown.began } else { shutdown.began.max(began) };
        Some(at.min(waited_from + HUNG_SERVER))
    }

    /// Has everything ended that was in flight? Its end may wait for its record.
    fn is_over(&self) -> bool {
        let has_ended = |run: RunId| {
            self.kept.iter().any(
                |kept| matches!(kept, Message::Report(Report::Ended { run: ended, .. }) if *ended == run),
            )
        };
        self.actor.in_flight().all(has_ended)
    }

    /// Something came while a commit is under way. What needs no record is done at once, a change is
    /// refused if nothing can be recorded, the rest is for the next turn: also a change that waits, so that none that
    /// comes after it is made before it.
    fn put_off(&mut self, message: Message) {
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
                let hint = what_helps(&problem, "ask again when the database can be written");
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
                // the newest one is enough, where nobody waits for an older one
                self.kept.retain(|kept| !matches!(kept, Message::Loaded { answer: None, .. }));
                self.kept.push_back(Message::Loaded { fleet, warnings, asked, answer: None });
            }
            (Message::CutOff, _) => self.stop_programs(),
            (other, _) => self.kept.push_back(other),
        }
    }

    /// The time of a shutdown is up and the store still can't write: what is in flight is ended
    /// without a record, which the next life makes up for. Nothing that waits for a record goes on.
    pub(super) async fn abandon(&mut self) {
        tracing::error!("the daemon shuts down without a record of what it had in flight");
        self.actor.give_up_output();
        self.waiters.clear();
        for message in std::mem::take(&mut self.kept) {
            self.see_end(message);
        }
        for kill in [false, true] {
            self.actor.cancel_all(kill);
            let end = Instant::now() + LAST_GRACE;
            while !self.actor.is_idle() {
                tokio::select! {
                    () = until(Some(end)) => break,
                    Some(question) = self.questions.recv() => question(&self.engine, clock::now()),
                    Some(message) = self.inbox.recv() => self.see_end(message),
                }
            }
        }
    }

    fn see_end(&mut self, message: Message) {
        match message {
            Message::Report(Report::Ended { run, .. }) => self.actor.ended(run),
            Message::ShutDown { answer: Some(answer), .. } => {
                let _ = answer.send(Ok(Value::Object(Default::default())));
            }
            _ => {} // a client that waits is told that the daemon goes down
        }
    }

    /// Clients whose change is decided but not written are told so, and not left waiting, unless they want to wait.
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
                let hint = what_helps(
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

/// Room helps where there is none; whatever else stands in the way is told by the problem itself.
fn what_helps(problem: &str, hint: &str) -> String {
    if ["no space", "full"].iter().any(|word| problem.contains(word)) {
        format!("free some space; {hint}")
    } else {
        hint.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::what_helps;

    #[test]
    fn room_is_asked_for_where_there_is_none() {
        assert_eq!(
            what_helps("no space left for the database /x", "ask again"),
            "free some space; ask again"
        );
        assert_eq!(what_helps("the database /x is locked by another program", "ask again"), "ask again");
    }
}
