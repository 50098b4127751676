//! Handles calls that other nodes forward to the leader: each is handled like one of a local
//! client, in the order of forwarding, and the answer goes back through the database.
//!
//! A change is made once, whatever fails: its answer is recorded under its `request_id` in the same
//! transaction as its effects, and the next leader takes over unanswered calls and looks for that
//! record first. An answer is written only by the leader that took the call last. A leader that
//! shuts down takes no more changes, and gives back those that it has not begun.
use super::forward::{CallKind, is_repeatable, kept};
use super::handlers;
use super::services::{CallStep, Caller, Encoded, Services};
use super::views;
use crate::domain::Control;
use crate::protocol::{Code, Request, RpcError, rights};
use crate::store::{CallsOf, NodeLink, TakenCall};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Polling interval of calls, where no notification arrives.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often abandoned calls are removed.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of concurrent changes.
const MAX_CHANGES: usize = 128;
/// Maximum number of concurrent questions: their answers may be long.
const MAX_QUESTIONS: usize = 16;
/// Maximum number of concurrent calls that wait for something outside.
const MAX_OUTSIDE_CALLS: usize = 64;
/// Maximum number of calls taken at once.
const MAX_CALLS_PER_BATCH: usize = 64;
/// Delay between attempts while the database fails.
const RETRY_DELAY: Duration = Duration::from_millis(300);
/// Maximum length of an answer that is carried to another node, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How long a leader that shuts down tries to give back calls that it has not begun.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// The mailbox of the leader.
struct Mailbox {
    link: Arc<NodeLink>,
    services: Arc<Services>,
    epoch: i64,
    down: CancellationToken,
    limits: CallLimits,
    /// Calls being handled.
    in_progress: Mutex<BTreeSet<i64>>,
}

/// Concurrency limits per kind of call.
struct CallLimits {
    changes: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    outside: Arc<Semaphore>,
}

impl CallLimits {
    fn new() -> Self {
        let limit = |most| Arc::new(Semaphore::new(most));
        Self {
            changes: limit(MAX_CHANGES),
            questions: limit(MAX_QUESTIONS),
            outside: limit(MAX_OUTSIDE_CALLS),
        }
    }

    fn of(&self, kind: CallKind) -> &Arc<Semaphore> {
        match kind {
            CallKind::Change => &self.changes,
            CallKind::Question => &self.questions,
            CallKind::Outside => &self.outside,
        }
    }

    /// Returns which calls may be taken, and how many at once; `None` for no calls. A leader that
    /// shuts down takes only questions.
    fn free(&self, is_draining: bool) -> Option<(CallsOf, usize)> {
        let is_free = |kind: &CallKind| {
            self.of(*kind).available_permits() > 0 && (!is_draining || *kind == CallKind::Question)
        };
        let (free, full): (Vec<CallKind>, Vec<CallKind>) = CallKind::ALL.into_iter().partition(is_free);
        let most = free.iter().map(|kind| self.of(*kind).available_permits()).min()?.min(MAX_CALLS_PER_BATCH);
        let methods = |kinds: &[CallKind]| {
            Request::NAMES.iter().copied().filter(|name| kinds.contains(&CallKind::of(name))).collect()
        };
        // a method that this release does not know counts as a change
        let of = match free.contains(&CallKind::Change) {
            true => CallsOf::AllBut(methods(&full)),
            false => CallsOf::Only(methods(&free)),
        };
        Some((of, most))
    }
}

/// The outcome of a call.
enum CallOutcome {
    /// It is answered.
    Answered(Encoded),
    /// It was not begun, and will not be: the next leader does it.
    NotBegun,
    /// It was begun, and the daemon shut down: the next leader has to find out.
    Unknown,
}

/// Handles forwarded calls until the daemon shuts down.
pub(super) async fn run(link: Arc<NodeLink>, services: Arc<Services>, epoch: i64, down: CancellationToken) {
    link.listen_for_calls();
    let mut bell = link.bell();
    let mut clean = tokio::time::interval(CLEANUP_INTERVAL);
    let (limits, in_progress) = (CallLimits::new(), Mutex::default());
    let mailbox = Arc::new(Mailbox { link, services, epoch, down: down.clone(), limits, in_progress });
    loop {
        mailbox.take_all().await;
        tokio::select! {
            () = down.cancelled() => return,
            _ = bell.changed() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            _ = clean.tick() => if let Err(error) = mailbox.link.clean().await {
                tracing::debug!(%error, "old calls could not be removed");
            },
        }
    }
}

impl Mailbox {
    /// Takes the waiting calls, and starts to handle them.
    async fn take_all(self: &Arc<Self>) {
        while !self.down.is_cancelled() {
            let Some((of, most)) = self.limits.free(self.is_draining()) else { return };
            let in_progress = self.in_progress().clone();
            let taken = match self.link.take(self.epoch, most as i64, &in_progress, &of).await {
                Ok(taken) => taken,
                Err(error) => return tracing::debug!(%error, "forwarded calls could not be taken"),
            };
            let is_all = taken.len() < most;
            let mut taken = taken.into_iter();
            while let Some(one) = taken.next() {
                let kind = CallKind::of(&one.call.method);
                let step = match self.is_draining() && kind != CallKind::Question {
                    true => None,
                    false => self.begin(&one).await,
                };
                let Some(step) = step else {
                    // later calls must not overtake this one
                    return self.give_back([one].into_iter().chain(taken)).await;
                };
                let Ok(place) = self.limits.of(kind).clone().acquire_owned().await else { return };
                self.in_progress().insert(one.id);
                let mailbox = self.clone();
                tokio::spawn(async move {
                    let id = one.id;
                    mailbox.finish(one, step).await;
                    mailbox.in_progress().remove(&id);
                    drop(place);
                });
            }
            if is_all {
                return;
            }
        }
    }

    /// Returns whether the daemon is shutting down. It refuses changes from then on.
    fn is_draining(&self) -> bool {
        self.services.handle.condition.lock().expect("no holder panics").stopping
    }

    /// Gives back calls that were not begun.
    async fn give_back(&self, calls: impl Iterator<Item = TakenCall>) {
        let calls: Vec<(i64, Option<i64>)> = calls.map(|one| (one.id, one.taken_before)).collect();
        let given = async {
            while let Err(error) = self.link.give_back(self.epoch, calls.clone()).await {
                tracing::debug!(%error, "forwarded calls could not be given back yet");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        };
        // on a timeout, the next leader takes them over
        let _ = tokio::time::timeout(GIVE_BACK_TIMEOUT, given).await;
    }

    fn in_progress(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to handle a call: a change is in the loop's inbox when this returns. `None`: the
    /// daemon shuts down.
    async fn begin(&self, taken: &TakenCall) -> Option<CallStep> {
        let call = &taken.call;
        if !is_repeatable(&call.method) {
            if taken.taken_before.is_some() {
                let what = format!("the leader that had begun `{}` ended before it was done", call.method);
                return Some(CallStep::Done(Err(RpcError::new(Code::Internal, what)
                    .hint("whether it was done is not known: see what it has changed"))));
            }
        } else if let Some(id) = &call.request_id
            && let Some(answer) = self.answered_before(id).await?
        {
            return Some(CallStep::Done(answer));
        }
        let caller =
            Caller { by: Some(call.asker.clone()), request_id: call.request_id.clone(), ..Caller::default() };
        let params = serde_json::from_str(&call.params).unwrap_or(Value::Null);
        let request = match Request::decode(&call.method, params) {
            Ok(request) => request,
            Err(error) => return Some(CallStep::Done(Err(error))),
        };
        let by = &call.asker;
        match rights::needed(&call.method) {
            Control::None | Control::Read => tracing::debug!(by, "{} was forwarded", call.method),
            Control::Run | Control::Full => tracing::info!(by, "{} was forwarded", call.method),
        }
        Some(handlers::handle(request, &self.services, &caller).await)
    }

    /// Returns the answer that this or an earlier leader gave to this change. The lookup is retried
    /// until the database answers, since an earlier leader may have made the change. `None`: the
    /// daemon shuts down.
    async fn answered_before(&self, id: &str) -> Option<Option<Encoded>> {
        loop {
            let (asked, now) = (id.to_owned(), crate::clock::wall());
            match self.services.store.read(move |reader| reader.answer_to(&asked, now)).await {
                Ok(answer) => return Some(answer.map(|answer| handlers::encoded(views::restored(&answer)))),
                Err(error) => tracing::debug!(%error, "an earlier answer could not be looked for"),
            }
            self.pause().await?;
        }
    }

    /// Waits before a retry. `None`: the daemon shuts down.
    async fn pause(&self) -> Option<()> {
        tokio::select! {
            () = self.down.cancelled() => None,
            () = tokio::time::sleep(RETRY_DELAY) => Some(()),
        }
    }

    async fn finish(&self, taken: TakenCall, step: CallStep) {
        let answer = match outcome(step).await {
            CallOutcome::Answered(answer) => answer,
            CallOutcome::NotBegun => return self.give_back([taken].into_iter()).await,
            CallOutcome::Unknown => return,
        };
        let mut text = kept(answer);
        if text.len() > MAX_ANSWER_BYTES {
            let what = format!(
                "the answer has {} bytes, and {MAX_ANSWER_BYTES} are carried to another node",
                text.len()
            );
            text = kept(Err(
                RpcError::new(Code::Refused, what).hint("ask where the leader runs: `bgagent nodes`")
            ));
        }
        while let Err(error) = self.link.answer(self.epoch, &taken, text.clone()).await {
            tracing::debug!(%error, "an answer could not be handed to another node yet");
            if self.pause().await.is_none() {
                return;
            }
        }
    }
}

/// Awaits the outcome of a call that was begun.
async fn outcome(step: CallStep) -> CallOutcome {
    let answer = match step {
        CallStep::Done(answer) => answer,
        CallStep::Later(answer) => answer.await,
        CallStep::Noted(_) | CallStep::Stream(_) | CallStep::Unsubscribe(_) => {
            Err(RpcError::new(Code::InvalidRequest, "subscriptions are answered by the node that is asked"))
        }
    };
    match answer {
        Err(error) if handlers::is_unanswered(&error) => CallOutcome::Unknown,
        Err(error) if error.kind() == Some(Code::ShuttingDown) => CallOutcome::NotBegun,
        answer => CallOutcome::Answered(answer),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what a leader takes.
    use super::*;

    #[test]
    fn calls_of_one_kind_leave_room_for_the_others() {
        let limits = CallLimits::new();
        assert_eq!(limits.free(false), Some((CallsOf::AllBut(vec![]), MAX_QUESTIONS)));
        let outside =
            limits.outside.clone().try_acquire_many_owned(MAX_OUTSIDE_CALLS as u32).expect("they are free");
        let Some((CallsOf::AllBut(left_out), _)) = limits.free(false) else { panic!("changes have room") };
        assert!(left_out.contains(&"call_tool") && left_out.contains(&"list_mcp"), "{left_out:?}");
        assert!(!left_out.contains(&"pause_agent") && !left_out.contains(&"list_agents"), "{left_out:?}");
        let changes =
            limits.changes.clone().try_acquire_many_owned(MAX_CHANGES as u32).expect("they are free");
        let Some((CallsOf::Only(taken), _)) = limits.free(false) else { panic!("questions have room") };
        assert!(taken.contains(&"list_agents") && !taken.contains(&"call_tool"), "{taken:?}");
        drop((outside, changes));
        // going down
        let Some((CallsOf::Only(taken), _)) = limits.free(true) else { panic!("questions have room") };
        assert!(taken.contains(&"next_slots") && !taken.contains(&"pause_agent"), "{taken:?}");
    }
}
