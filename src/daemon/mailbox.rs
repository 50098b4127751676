//! Calls that clients of other nodes forward to this one, which leads: each is worked on as one of a client here, in the order
//! in which they were forwarded, and its answer goes back through the database.
//!
//! A change is done once whatever ends: the engine's answer is on record under its `request_id` in the same transaction as
//! what it did, and whoever leads next takes what has no answer yet and finds that one first. An answer is written only by
//! the leader that took the call last.
use super::forward::{is_repeatable, kept};
use super::handlers;
use super::services::{Caller, Encoded, Services, Step};
use super::views;
use crate::domain::Control;
use crate::protocol::{Code, Request, RpcError, rights};
use crate::store::{NodeLink, TakenCall};
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
/// Calls that are worked on at a time.
const AT_A_TIME: usize = 256;
/// Calls that are taken at a time.
const TAKEN: usize = 64;
/// Between two tries of what the database does not let through.
const AGAIN: Duration = Duration::from_millis(300);
/// Longest answer that is carried, in bytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// The mailbox of the node that leads.
struct Mailbox {
    link: Arc<NodeLink>,
    services: Arc<Services>,
    epoch: i64,
    down: CancellationToken,
    /// Calls that are worked on.
    in_hand: Mutex<BTreeSet<i64>>,
}

/// Works on forwarded calls until the daemon goes down.
pub(super) async fn run(link: Arc<NodeLink>, services: Arc<Services>, epoch: i64, down: CancellationToken) {
    link.hear_asks();
    let mut bell = link.bell();
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    let mut clean = tokio::time::interval(CLEAN_EVERY);
    let mailbox = Arc::new(Mailbox { link, services, epoch, down: down.clone(), in_hand: Mutex::default() });
    loop {
        mailbox.take_all(&room).await;
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
    async fn take_all(self: &Arc<Self>, room: &Arc<Semaphore>) {
        while !self.down.is_cancelled() {
            let most = room.available_permits().min(TAKEN);
            if most == 0 {
                return;
            }
            let in_hand = self.in_hand().clone();
            let taken = match self.link.take(self.epoch, most as i64, &in_hand).await {
                Ok(taken) => taken,
                Err(error) => return tracing::debug!(%error, "forwarded calls could not be taken"),
            };
            let is_all = taken.len() < most;
            for one in taken {
                let Ok(place) = room.clone().acquire_owned().await else { return };
                self.in_hand().insert(one.id);
                let Some(step) = self.begin(&one).await else { return };
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

    fn in_hand(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to work on a call: a change is in the loop's inbox when this returns. `None`: the daemon goes down.
    async fn begin(&self, taken: &TakenCall) -> Option<Step> {
        let call = &taken.call;
        if !is_repeatable(&call.method) {
            if taken.was_taken {
                let what = format!("the leader that had begun `{}` ended before it was done", call.method);
                return Some(Step::Done(Err(RpcError::new(Code::Internal, what)
                    .hint("whether it was done is not known: see what it has changed"))));
            }
        } else if let Some(id) = &call.request_id
            && let Some(answer) = self.answered_before(id).await?
        {
            return Some(Step::Done(answer));
        }
        let caller = Caller { by: Some(call.asker.clone()), request_id: call.request_id.clone() };
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
        let Some(answer) = self.answer(&taken, step).await else { return };
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

    /// Can what is decided be written?
    fn can_write(&self) -> bool {
        self.services.handle.condition.lock().expect("no holder panics").storage.is_none()
    }

    /// The answer that lasts; `None`: the next leader has to give it.
    async fn answer(&self, taken: &TakenCall, mut step: Step) -> Option<Encoded> {
        let mut is_decided = false;
        loop {
            let answer = match step {
                Step::Done(answer) => answer,
                Step::Later(answer) => answer.await,
                Step::Stream(_) | Step::Unsubscribe(_) => Err(RpcError::new(
                    Code::InvalidRequest,
                    "subscriptions are answered by the node that is asked",
                )),
            };
            let Err(error) = &answer else { return Some(answer) };
            let passes = error.kind().is_some_and(Code::passes);
            is_decided |= error.data.as_ref().is_some_and(|data| data.pending);
            if error.kind() == Some(Code::ShuttingDown) {
                return None;
            }
            // what is decided is done as soon as it can be written, and what is refused while nothing can be may be the same
            // change that somebody has asked for before
            let is_open = is_repeatable(&taken.call.method) && (is_decided || !self.can_write());
            if !is_open || !passes {
                return Some(answer);
            }
            self.pause().await?;
            step = self.begin(taken).await?;
        }
    }
}
