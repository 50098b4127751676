//! Hears what people answer, at notification targets, to questions about calls (`approval = { via = … }`).
//!
//! As long as a call waits that was put to the people at a target, that target is asked for answers by long poll; else
//! nothing is asked of it, but for a minute after the last decision. An answer counts if its code is that of a question which was put there, and if the call still
//! waits and is the one that was asked about. The decision is recorded with who made it, and uses up the code: of answers
//! that come again after a crash, none is taken twice. Whoever answers is told what came of it.
use super::clock;
use crate::daemon::inbox::{Handle, Message};
use crate::domain::{
    AnsweredBy, Entry, Fact, Finding, FoundBy, IncidentRecord, Level, NotifyTarget, NotifyTargetKind,
    ServiceSpec, quoted,
};
use crate::engine::Command;
use crate::notify::{self, HeardAnswers, PersonsAnswer, SendError};
use crate::store::{AskedCall, Reader, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Before a service that failed is asked again: so long, doubled with each failure in a row, up to the other.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));
/// A service that says nothing at once, instead of when there is something, is not asked more often.
const AT_LEAST: Duration = Duration::from_secs(1);
/// So long a target is still listened to when nothing waits there any more: whoever answers late is told so.
const LINGERS: Duration = Duration::from_secs(60);
/// A target whose answers could not be heard so often in a row is a problem of the daemon.
const DEAF_AFTER: u32 = 4;
/// Of the words of an error in the title of an incident, so many characters.
const WORDS: usize = 160;

/// Hears answers until the daemon goes down.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut moved = store.outbox();
    let mut listeners = JoinSet::new();
    let mut targets: HashMap<Id, String> = HashMap::new();
    loop {
        moved.borrow_and_update();
        let open = store.read(|reader| reader.open_questions()).await;
        let is_read = open.is_ok();
        let wanted: BTreeSet<String> = match open {
            Ok(open) => open.into_iter().map(|question| question.target).collect(),
            Err(error) => {
                tracing::warn!(%error, "open questions could not be read; trying again");
                BTreeSet::new()
            }
        };
        for target in wanted {
            if targets.values().all(|known| *known != target) {
                let listener =
                    Listener { store: store.clone(), handle: handle.clone(), target: target.clone() };
                let task = listeners.spawn(listener.hear(down.clone()));
                targets.insert(task.id(), target);
            }
        }
        tokio::select! {
            () = down.cancelled() => return,
            Some(ended) = listeners.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                };
                targets.remove(&id);
            }
            changed = moved.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN.0), if !is_read => {}
        }
    }
}

/// Hears the answers of one target.
struct Listener {
    store: Store,
    handle: Handle,
    target: String,
}

impl Listener {
    /// Until nothing is asked there any more, and a little longer.
    async fn hear(self, down: CancellationToken) {
        let mut failures = 0u32;
        // since when something was asked there, and until when it is listened to where nothing is any more
        let mut asked: (Option<Timestamp>, Option<Instant>) = (None, None);
        while let Some(spec) = self.spec().await {
            let (since, position) = match self.open().await {
                Ok((Some(since), position)) => {
                    asked = (Some(since), None);
                    (since, position)
                }
                Ok((None, position)) => {
                    let Some(since) = asked.0 else { break };
                    let end = *asked.1.get_or_insert(Instant::now() + LINGERS);
                    if Instant::now() >= end {
                        break;
                    }
                    (since, position)
                }
                Err(error) => {
                    tracing::warn!(notify = %self.target, %error, "open questions could not be read; trying again");
                    tokio::time::sleep(AGAIN.0).await;
                    continue;
                }
            };
            let began = Instant::now();
            let heard = tokio::select! {
                () = down.cancelled() => return,
                heard = notify::listen(&spec, position.as_deref(), since) => heard,
            };
            let pause = match heard {
                Ok(heard) => {
                    self.hears_again(failures).await;
                    failures = 0;
                    let is_silent = heard.answers.is_empty();
                    self.take(&spec, heard, position).await;
                    if is_silent { AT_LEAST.saturating_sub(began.elapsed()) } else { Duration::ZERO }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.is_deaf(failures, &error).await;
                    let own = AGAIN.0.saturating_mul(1 << failures.min(10)).min(AGAIN.1);
                    own.max(error.retry_after.unwrap_or_default().min(AGAIN.1))
                }
            };
            tokio::select! {
                () = down.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.hears_again(failures).await;
    }

    /// `None`: the target is none any more that people can answer at, or the daemon goes down.
    async fn spec(&self) -> Option<ServiceSpec> {
        let target = self.target.clone();
        let found = self.handle.ask(move |engine, _| engine.fleet().notify.get(&target).cloned()).await;
        match found.flatten() {
            Some(NotifyTarget { kind: NotifyTargetKind::Service(spec), .. }) => Some(spec),
            _ => None,
        }
    }

    /// Since when something is asked there, if it is, and up to where answers were heard.
    async fn open(&self) -> Result<(Option<Timestamp>, Option<String>), StoreError> {
        let target = self.target.clone();
        let read = move |reader: &Reader| {
            let open = reader.open_questions()?.into_iter().filter(|question| question.target == target);
            Ok((open.map(|question| question.asked_at).min(), reader.heard_up_to(&target)?))
        };
        self.store.read(read).await
    }

    /// Takes each answer, and only then notes that it was heard: after a crash it comes again, and finds its code used up.
    async fn take(&self, spec: &ServiceSpec, heard: HeardAnswers, before: Option<String>) {
        for answer in &heard.answers {
            let (text, is_over) = self.judge(answer).await;
            if let Err(error) = notify::reply(spec, answer, &text, is_over).await {
                tracing::warn!(notify = %self.target, %error, "whoever answered could not be told: {text}");
            }
        }
        let Some(position) = heard.position.filter(|position| before.as_ref() != Some(position)) else {
            return;
        };
        let fact = Fact::AnswersHeard { target: self.target.clone(), position };
        if let Err(error) = self.store.commit(vec![Entry { at: clock::now().wall, fact }]).await {
            tracing::warn!(notify = %self.target, %error, "how far answers were heard could not be recorded");
        }
    }

    /// What came of an answer, in words for whoever gave it, and whether its question needs no other.
    async fn judge(&self, answer: &PersonsAnswer) -> (String, bool) {
        let who = format!("{} at `{}`", answer.who, self.target);
        if !answer.is_from_there {
            tracing::warn!(%who, "an answer from another chat than the configured one is not taken");
            return ("Not taken: answers are taken from the chat that was asked only.".to_owned(), false);
        }
        let code = answer.code.clone();
        let asked = match self.store.read(move |reader| reader.asked_under(&code)).await {
            Ok(asked) => asked.filter(|asked| asked.question.target == self.target),
            Err(error) => {
                tracing::warn!(%who, %error, "an answer could not be looked up");
                return (
                    "Not taken: the records can't be read just now. Please answer again.".to_owned(),
                    false,
                );
            }
        };
        match asked {
            None => ("Not taken: nothing was asked here under this code.".to_owned(), false),
            Some(asked) if !asked.is_open => (format!("Not taken: {}.", what_became_of(&asked)), true),
            Some(asked) => self.decide(asked, answer.approve, who).await,
        }
    }

    async fn decide(&self, asked: AskedCall, approve: bool, who: String) -> (String, bool) {
        let word = if approve { "Approved" } else { "Denied" };
        let (answer, answered) = oneshot::channel();
        let by = Some(AnsweredBy { who: who.clone(), call: asked.question.call });
        let command = Command::Decide { id: asked.question.approval, approve, reason: None, by };
        let sent = self.handle.inbox.send(Message::Command { command, request_id: None, answer }).await;
        let decided = match sent {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        match decided {
            Some(Ok(_)) => {
                tracing::info!(%who, "a call was decided: {word}");
                (format!("{word} by {who}."), true)
            }
            Some(Err(error)) => (format!("Not taken: {}.", error.message), true),
            None => ("Not taken: the daemon goes down. Please answer again later.".to_owned(), false),
        }
    }

    async fn is_deaf(&self, failures: u32, error: &SendError) {
        if failures == 1 {
            tracing::warn!(notify = %self.target, %error, "answers can't be heard; trying again");
        }
        if failures == DEAF_AFTER {
            let words = quoted(&error.message, WORDS);
            let title = format!("what people answer at `{}` can't be heard: {words}", self.target);
            self.noticed(Level::Warn, title).await;
        }
    }

    async fn hears_again(&self, failures: u32) {
        if failures > 0 {
            tracing::info!(notify = %self.target, "answers are heard again, or not needed any more");
        }
        if failures >= DEAF_AFTER {
            self.noticed(Level::Ok, String::new()).await;
        }
    }

    async fn noticed(&self, level: Level, title: String) {
        let key = format!("{}{}", IncidentRecord::ANSWERS, self.target);
        let finding = Finding { key, level, title, hold_for: SignedDuration::ZERO, by: FoundBy::Check };
        let _ = self.handle.inbox.send(Message::Noticed(finding)).await;
    }
}

/// What became of a call that does not wait any more.
fn what_became_of(asked: &AskedCall) -> String {
    let word = if asked.approved { "approved" } else { "denied" };
    match (&asked.by, &asked.reason) {
        (Some(by), _) => format!("it was {word} before, by {by}"),
        (None, Some(reason)) => format!("it waits no more: it was {word} ({reason})"),
        (None, None) => format!("it was {word} before"),
    }
}
