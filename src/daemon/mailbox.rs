//! Calls that clients of other nodes forward to this one, which leads: each is worked on as one of a client here, in the order
//! in which they were forwarded, and its answer goes back through the database.
//!
//! A change is done once whatever ends: its answer is on record under its `request_id` in the same transaction as what it
//! did, and whoever leads next takes what has no answer yet and finds that one first. An answer is written only by the leader
//! that took the call last. One that goes down takes no changes any more, and gives back those that it has not begun.
use super::forward::{CallKind, is_repeatable, kept};
use super::handlers;
use super::services::{Caller, Encoded, Services, Step};
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

/// So often calls are looked for where nothing rings.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So often what nobody waits for any more is removed.
const CLEAN_EVERY: Duration = Duration::from_secs(60);
/// Changes that are worked on at a time.
const CHANGES: usize = 128;
/// Questions that are: their answers may be long.
const QUESTIONS: usize = 16;
/// Calls that wait for something outside.
const OUTSIDE: usize = 64;
/// Calls that are taken at a time.
const TAKEN: usize = 64;
/// Between two tries of what the database does not let through.
const AGAIN: Duration = Duration::from_millis(300);
/// Longest answer that is carried, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;
/// So long a leader that goes down tries to give back what it has not begun.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// The mailbox of the node that leads.
struct Mailbox {
    link: Arc<NodeLink>,
    services: Arc<Services>,
    epoch: i64,
    down: CancellationToken,
    rooms: Rooms,
    /// Calls that are worked on.
    in_hand: Mutex<BTreeSet<i64>>,
}

/// Places for each kind of calls.
struct Rooms {
    changes: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    outside: Arc<Semaphore>,
}

impl Rooms {
    fn new() -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self { changes: places(CHANGES), questions: places(QUESTIONS), outside: places(OUTSIDE) }
    }

    fn of(&self, kind: CallKind) -> &Arc<Semaphore> {
        match kind {
            CallKind::Change => &self.changes,
            CallKind::Question => &self.questions,
            CallKind::Outside => &self.outside,
        }
    }

    /// What can be taken, and how many at a time; `None`: nothing. A leader that goes down only takes questions.
    fn free(&self, is_draining: bool) -> Option<(CallsOf, usize)> {
        let is_free = |kind: &CallKind| {
            self.of(*kind).available_permits() > 0 && (!is_draining || *kind == CallKind::Question)
        };
        let (free, full): (Vec<CallKind>, Vec<CallKind>) = CallKind::ALL.into_iter().partition(is_free);
        let most = free.iter().map(|kind| self.of(*kind).available_permits()).min()?.min(TAKEN);
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

/// What came of a call.
enum CallOutcome {
    /// It is answered.
    Answered(Encoded),
    /// It was not begun, and will not be: the next leader does it.
    NotBegun,
    /// It was begun, and the daemon went down: the next leader has to find out.
    Unknown,
}

/// Works on forwarded calls until the daemon goes down.
pub(super) async fn run(link: Arc<NodeLink>, services: Arc<Services>, epoch: i64, down: CancellationToken) {
    link.hear_asks();
    let mut bell = link.bell();
    let mut clean = tokio::time::interval(CLEAN_EVERY);
    let (rooms, in_hand) = (Rooms::new(), Mutex::default());
    let mailbox = Arc::new(Mailbox { link, services, epoch, down: down.clone(), rooms, in_hand });
    loop {
        mailbox.take_all().await;
        tokio::select! {
            () = down.cancelled() => return,
            _ = bell.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = clean.tick() => if let Err(error) = mailbox.link.clean().await {
                tracing::debug!(%error, "old calls could not be removed");
            },
        }
    }
}

impl Mailbox {
    /// Takes what waits, and begins to work on it.
    async fn take_all(self: &Arc<Self>) {
        while !self.down.is_cancelled() {
            let Some((of, most)) = self.rooms.free(self.is_draining()) else { return };
            let in_hand = self.in_hand().clone();
            let taken = match self.link.take(self.epoch, most as i64, &in_hand, &of).await {
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
                    // what comes behind it is not done before it either
                    return self.give_back([one].into_iter().chain(taken)).await;
                };
                let Ok(place) = self.rooms.of(kind).clone().acquire_owned().await else { return };
                self.in_hand().insert(one.id);
                let mailbox = self.clone();
                tokio::spawn(async move {
                    let id = one.id;
                    mailbox.finish(one, step).await;
                    mailbox.in_hand().remove(&id);
                    drop(place);
                });
            }
            if is_all {
                return;
            }
        }
    }

    /// Has the daemon begun to go down? What it is asked to change now it refuses.
    fn is_draining(&self) -> bool {
        self.services.handle.condition.lock().expect("no holder panics").stopping
    }

    /// Gives back what was not begun.
    async fn give_back(&self, calls: impl Iterator<Item = TakenCall>) {
        let calls: Vec<(i64, Option<i64>)> = calls.map(|one| (one.id, one.taken_before)).collect();
        let given = async {
            while let Err(error) = self.link.give_back(self.epoch, calls.clone()).await {
                tracing::debug!(%error, "forwarded calls could not be given back yet");
                tokio::time::sleep(AGAIN).await;
            }
        };
        // else they are taken from this daemon when another one leads
        let _ = tokio::time::timeout(GIVING_BACK, given).await;
    }

    fn in_hand(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to work on a call: a change is in the loop's inbox when this returns. `None`: the daemon goes down.
    async fn begin(&self, taken: &TakenCall) -> Option<Step> {
        let call = &taken.call;
        if !is_repeatable(&call.method) {
            if taken.taken_before.is_some() {
                let what = format!("the leader that had begun `{}` ended before it was done", call.method);
                return Some(Step::Done(Err(RpcError::new(Code::Internal, what)
                    .hint("whether it was done is not known: see what it has changed"))));
            }
        } else if let Some(id) = &call.request_id
            && let Some(answer) = self.answered_before(id).await?
        {
            return Some(Step::Done(answer));
        }
        let caller =
            Caller { by: Some(call.asker.clone()), request_id: call.request_id.clone(), of_agent: false };
        let params = serde_json::from_str(&call.params).unwrap_or(Value::Null);
        let request = match Request::decode(&call.method, params) {
            Ok(request) => request,
            Err(error) => return Some(Step::Done(Err(error))),
        };
        let by = &call.asker;
        match rights::needed(&call.method) {
            Control::None | Control::Read => tracing::debug!(by, "{} was forwarded", call.method),
            Control::Run | Control::Full => tracing::info!(by, "{} was forwarded", call.method),
        }
        Some(handlers::handle(request, &self.services, &caller).await)
    }

    /// The answer that an earlier leader, or this one, gave to this change. It is asked for until the database says, since a
    /// leader before may have made it. `None`: the daemon goes down.
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

    /// `None`: the daemon goes down.
    async fn pause(&self) -> Option<()> {
        tokio::select! {
            () = self.down.cancelled() => None,
            () = tokio::time::sleep(AGAIN) => Some(()),
        }
    }

    async fn finish(&self, taken: TakenCall, step: Step) {
        let answer = match outcome(step).await {
            CallOutcome::Answered(answer) => answer,
            CallOutcome::NotBegun => return self.give_back([taken].into_iter()).await,
            CallOutcome::Unknown => return,
        };
        let mut text = kept(answer);
        if text.len() > LONGEST_ANSWER {
            let what = format!(
                "the answer has {} bytes, and {LONGEST_ANSWER} are carried to another node",
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

/// What comes of a call that was begun.
async fn outcome(step: Step) -> CallOutcome {
    let answer = match step {
        Step::Done(answer) => answer,
        Step::Later(answer) => answer.await,
        Step::Noted(_) | Step::Stream(_) | Step::Unsubscribe(_) => {
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
        let rooms = Rooms::new();
        assert_eq!(rooms.free(false), Some((CallsOf::AllBut(vec![]), QUESTIONS)));
        let outside = rooms.outside.clone().try_acquire_many_owned(OUTSIDE as u32).expect("they are free");
        let Some((CallsOf::AllBut(left_out), _)) = rooms.free(false) else { panic!("changes have room") };
        assert!(left_out.contains(&"call_tool") && left_out.contains(&"list_mcp"), "{left_out:?}");
        assert!(!left_out.contains(&"pause_agent") && !left_out.contains(&"list_agents"), "{left_out:?}");
        let changes = rooms.changes.clone().try_acquire_many_owned(CHANGES as u32).expect("they are free");
        let Some((CallsOf::Only(taken), _)) = rooms.free(false) else { panic!("questions have room") };
        assert!(taken.contains(&"list_agents") && !taken.contains(&"call_tool"), "{taken:?}");
        drop((outside, changes));
        // going down
        let Some((CallsOf::Only(taken), _)) = rooms.free(true) else { panic!("questions have room") };
        assert!(taken.contains(&"next_slots") && !taken.contains(&"pause_agent"), "{taken:?}");
    }
}
