//! Hears what people answer, at notification targets, to questions about calls (`approval = { via = … }`).
//!
//! As long as a call waits that was put to the people at a target, that target is asked for answers by long poll; else
//! nothing is asked of it, but for a minute after the last decision. An answer counts if its code is that of a question
//! which was put there, and if the call still waits and is the one that was asked about. The decision is recorded with who
//! made it, and uses up the code: of answers that come again after a crash, none is taken twice. What can't be recorded now
//! is not answered and comes again; a daemon that is going down takes no answers. Whoever answers is told what came of it.
use super::clock;
use crate::daemon::inbox::{ChangeAsked, Handle, Message};
use crate::domain::{
    AnsweredBy, Entry, Fact, Finding, FoundBy, IncidentRecord, Level, NotifyTarget, NotifyTargetKind,
    ServiceSpec, quoted,
};
use crate::engine::{Command, Engine};
use crate::notify::{self, HeardAnswers, PersonsAnswer, SendError};
use crate::protocol::Code;
use crate::store::{AskedCall, Reader, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Before a service that failed is asked again: so long, doubled with each failure in a row, up to the other.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));
/// Between two polls of which the first decided nothing: so long at least.
const AT_LEAST: Duration = Duration::from_secs(1);
/// So long a target is still listened to when nothing waits there any more: whoever answers late is told so.
const LINGERS: Duration = Duration::from_secs(60);
/// Between the beginnings of two listeners of one target, and before it is looked again whether people can answer there.
const RESTS: Duration = Duration::from_secs(10);
/// A target whose answers could not be heard so often in a row is a problem of the daemon.
const DEAF_AFTER: u32 = 4;
/// Of the words of an error in the title of an incident, so many characters.
const WORDS: usize = 160;

/// Hears answers until the daemon goes down.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut moved = store.outbox();
    let mut listeners = JoinSet::new();
    let mut known = Listeners::default();
    let mut is_first = true;
    while !is_stopping(&handle) {
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
        let Some((can_answer, all)) = targets(&handle).await else { return };
        if is_read && std::mem::take(&mut is_first) {
            // incidents of a daemon before this one, about targets that nothing is asked at any more
            for target in all.iter().filter(|target| !wanted.contains(*target)) {
                noticed(&handle, target, Level::Ok, String::new()).await;
            }
        }
        for target in known.due(&wanted, &can_answer, Instant::now()) {
            let listener = Listener::new(store.clone(), handle.clone(), target.clone());
            known.running.insert(listeners.spawn(listener.hear(down.clone())).id(), target);
        }
        let pause = if is_read { RESTS } else { AGAIN.0 };
        let is_unheard = !is_read || wanted.iter().any(|target| !known.is_running(target));
        tokio::select! {
            () = down.cancelled() => return,
            Some(ended) = listeners.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                };
                known.running.remove(&id);
            }
            changed = moved.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause), if is_unheard => {}
        }
    }
    down.cancelled().await;
}

/// The targets that people can answer at, and all. `None`: the daemon goes down.
async fn targets(handle: &Handle) -> Option<(BTreeSet<String>, Vec<String>)> {
    let asked = handle.ask(|engine, _| {
        let notify = &engine.fleet().notify;
        let can_answer = notify.iter().filter(|(_, target)| account(target).is_some());
        (
            can_answer.map(|(name, _)| name.to_string()).collect(),
            notify.keys().map(ToString::to_string).collect(),
        )
    });
    asked.await
}

/// The account that answers come from; `None`: nobody can answer at this target.
fn account(target: &NotifyTarget) -> Option<&ServiceSpec> {
    match &target.kind {
        NotifyTargetKind::Service(spec) if spec.kind.brings_answers() => Some(spec),
        _ => None,
    }
}

fn is_stopping(handle: &Handle) -> bool {
    handle.condition.lock().expect("no holder panics").stopping
}

async fn noticed(handle: &Handle, target: &str, level: Level, title: String) {
    let key = format!("{}{target}", IncidentRecord::ANSWERS);
    let finding = Finding { key, level, title, hold_for: SignedDuration::ZERO, by: FoundBy::Check };
    let _ = handle.inbox.send(Message::Noticed(finding)).await;
}

/// Which targets are listened to.
#[derive(Default)]
struct Listeners {
    running: HashMap<Id, String>,
    /// When the newest listener of a target began.
    began: HashMap<String, Instant>,
}

impl Listeners {
    fn is_running(&self, target: &str) -> bool {
        self.running.values().any(|known| known == target)
    }

    /// The targets a listener begins at now.
    fn due(&mut self, wanted: &BTreeSet<String>, can_answer: &BTreeSet<String>, now: Instant) -> Vec<String> {
        self.began.retain(|_, began| now < *began + RESTS);
        let due = wanted.intersection(can_answer);
        let due = due.filter(|target| !self.is_running(target) && !self.began.contains_key(*target));
        let due: Vec<String> = due.cloned().collect();
        self.began.extend(due.iter().map(|target| (target.clone(), now)));
        due
    }
}

/// What comes of an answer.
struct AnswerVerdict {
    /// In words for whoever gave it.
    text: String,
    /// Its question needs no other answer, as the record says.
    is_over: bool,
    is_decided: bool,
}

impl AnswerVerdict {
    fn not_taken(why: &str, is_over: bool) -> Self {
        Self { text: format!("Not accepted: {why}."), is_over, is_decided: false }
    }

    fn decided(approve: bool, who: &str, is_decided: bool) -> Self {
        let word = if approve { "Approved" } else { "Denied" };
        Self { text: format!("{word} by {who}."), is_over: true, is_decided }
    }
}

/// Hears the answers of one target.
struct Listener {
    store: Store,
    handle: Handle,
    target: String,
    /// What [`Listener::heard`] is a place in, hashed: another account begins anew.
    account: String,
    /// Up to where answers were taken, in the words of the service.
    heard: Option<String>,
    /// What of that is in the database.
    recorded: Option<String>,
    /// How often in a row the service could not be asked; `None`: it was not asked yet.
    deaf: Option<u32>,
    /// How often in a row answers could not be taken.
    stuck: u32,
}

impl Listener {
    fn new(store: Store, handle: Handle, target: String) -> Self {
        Self {
            store,
            handle,
            target,
            account: String::new(),
            heard: None,
            recorded: None,
            deaf: None,
            stuck: 0,
        }
    }

    /// Until nothing is asked there any more, and a little longer.
    async fn hear(mut self, down: CancellationToken) {
        // since when something was asked there, and until when it is listened to where nothing is any more
        let mut asked: (Option<Timestamp>, Option<Instant>) = (None, None);
        while let Some(spec) = self.spec().await {
            let since = match self.open(&spec).await {
                Ok(Some(since)) => {
                    asked = (Some(since), None);
                    since
                }
                Ok(None) => {
                    let Some(since) = asked.0 else { break };
                    let end = *asked.1.get_or_insert(Instant::now() + LINGERS);
                    if Instant::now() >= end {
                        break;
                    }
                    since
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
                heard = notify::listen(&spec, self.heard.as_deref(), since) => heard,
            };
            // what is not taken now comes again after the restart
            if is_stopping(&self.handle) {
                tracing::info!(notify = %self.target, "the daemon is shutting down: answers are accepted after the restart");
                return;
            }
            let pause = match heard {
                Ok(heard) => {
                    self.hears_again().await;
                    match self.take(&spec, heard).await {
                        true => Duration::ZERO,
                        false => AT_LEAST.saturating_sub(began.elapsed()).max(again(self.stuck)),
                    }
                }
                Err(error) => {
                    self.is_deaf(&error).await;
                    let asked = error.retry_after.unwrap_or_default().min(AGAIN.1);
                    again(self.deaf.unwrap_or_default()).max(asked)
                }
            };
            tokio::select! {
                () = down.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
        noticed(&self.handle, &self.target, Level::Ok, String::new()).await;
    }

    /// `None`: the target is none any more that people can answer at, or the daemon goes down.
    async fn spec(&self) -> Option<ServiceSpec> {
        if is_stopping(&self.handle) {
            return None;
        }
        let target = self.target.clone();
        let find = move |engine: &Engine, _| engine.fleet().notify.get(&target).and_then(account).cloned();
        self.handle.ask(find).await.flatten()
    }

    /// Since when something is asked there, if it is. Up to where answers were heard is read once, and kept from then on.
    async fn open(&mut self, spec: &ServiceSpec) -> Result<Option<Timestamp>, StoreError> {
        let account = fingerprint(spec);
        if account != self.account {
            (self.account, self.heard, self.recorded) = (account, None, None);
        }
        let target = self.target.clone();
        let read = move |reader: &Reader| {
            let open = reader.open_questions()?.into_iter().filter(|question| question.target == target);
            Ok((open.map(|question| question.asked_at).min(), reader.heard_up_to(&target)?))
        };
        let (since, known) = self.store.read(read).await?;
        if self.recorded.is_none() && self.heard.is_none() {
            let known = known.as_deref().and_then(|known| known.split_once(' '));
            let own = known.filter(|(account, _)| *account == self.account);
            self.recorded = own.map(|(_, position)| position.to_owned());
            self.heard = self.recorded.clone();
        }
        Ok(since)
    }

    /// Judges all answers before anybody is told anything. One that can't be taken now holds up the position: all of them
    /// come again, and those that were decided find their code used up. Was anything decided?
    async fn take(&mut self, spec: &ServiceSpec, heard: HeardAnswers) -> bool {
        let mut verdicts = Vec::with_capacity(heard.answers.len());
        for answer in &heard.answers {
            match self.judge(answer).await {
                Ok(verdict) => verdicts.push(verdict),
                Err(why) => {
                    self.stuck = self.stuck.saturating_add(1);
                    tracing::warn!(notify = %self.target, "an answer can't be taken now, and is tried again: {why}");
                    return false;
                }
            }
        }
        self.stuck = 0;
        self.heard = heard.position.or(self.heard.take());
        for (answer, AnswerVerdict { text, is_over, .. }) in heard.answers.iter().zip(&verdicts) {
            if let Err(error) = notify::reply(spec, answer, text, *is_over).await {
                tracing::warn!(notify = %self.target, %error, "the person who answered could not be notified: {text}");
            }
        }
        self.record().await;
        verdicts.iter().any(|verdict| verdict.is_decided)
    }

    /// After a crash, answers since the last record come again, and find their codes used up.
    async fn record(&mut self) {
        let Some(position) = self.heard.clone().filter(|_| self.heard != self.recorded) else { return };
        let fact = Fact::AnswersHeard {
            target: self.target.clone(),
            position: format!("{} {position}", self.account),
        };
        match self.store.commit(vec![Entry { at: clock::now().wall, fact }]).await {
            Ok(_) => self.recorded = Some(position),
            Err(error) => {
                tracing::warn!(notify = %self.target, %error, "how far answers were heard could not be recorded; trying again");
            }
        }
    }

    /// What comes of an answer.
    ///
    /// # Errors
    /// Why it can't be said now.
    async fn judge(&self, answer: &PersonsAnswer) -> Result<AnswerVerdict, String> {
        let who = format!("{} at `{}`", answer.who, self.target);
        if !answer.is_from_there {
            tracing::warn!(%who, "an answer from a chat other than the configured one is not accepted");
            return Ok(AnswerVerdict::not_taken(
                "answers are accepted only from the chat that was asked",
                false,
            ));
        }
        match self.asked(answer).await? {
            None => Ok(AnswerVerdict::not_taken("nothing was asked here under this code", false)),
            Some(asked) if !asked.is_open => Ok(is_over(&asked, answer.approve, &who)),
            Some(asked) => self.decide(asked, answer, who).await,
        }
    }

    async fn asked(&self, answer: &PersonsAnswer) -> Result<Option<AskedCall>, String> {
        let code = answer.code.clone();
        let asked = self.store.read(move |reader| reader.asked_under(&code)).await;
        let asked = asked.map_err(|error| error.to_string())?;
        Ok(asked.filter(|asked| asked.question.target == self.target))
    }

    async fn decide(
        &self,
        asked: AskedCall,
        given: &PersonsAnswer,
        who: String,
    ) -> Result<AnswerVerdict, String> {
        let approve = given.approve;
        let (answer, answered) = oneshot::channel();
        let by = Some(AnsweredBy { who: who.clone(), call: Some(asked.question.call) });
        let command = Command::Decide { id: asked.question.approval, approve, reason: None, by };
        let message = Message::Command { command, asked: ChangeAsked::default(), answer };
        let sent = self.handle.inbox.send(message).await;
        let decided = match sent {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        match decided {
            Some(Ok(_)) => {
                let verdict = AnswerVerdict::decided(approve, &who, true);
                tracing::info!("a call was decided: {}", verdict.text);
                Ok(verdict)
            }
            Some(Err(error)) if error.kind().is_some_and(Code::passes) => Err(error.message),
            Some(Err(error)) => match self.asked(given).await? {
                Some(asked) if !asked.is_open => Ok(is_over(&asked, approve, &who)),
                // its run may be about to wait again, as after a restart
                Some(_) if self.stuck < DEAF_AFTER => Err(error.message),
                _ => Ok(AnswerVerdict::not_taken(&error.message, false)),
            },
            None => Err("the daemon is shutting down".to_owned()),
        }
    }

    async fn is_deaf(&mut self, error: &SendError) {
        let failures = self.deaf.unwrap_or_default().saturating_add(1);
        self.deaf = Some(failures);
        if error.message.contains("answered 400") {
            // a place that the service does not know any more; what it hands out again finds its code used up
            self.heard = None;
        }
        if failures == 1 {
            tracing::warn!(notify = %self.target, %error, "answers can't be heard; trying again");
        }
        if failures == DEAF_AFTER {
            let words = quoted(&error.message, WORDS);
            let title = format!("what people answer at `{}` can't be heard: {words}", self.target);
            noticed(&self.handle, &self.target, Level::Warn, title).await;
        }
    }

    /// The first success also ends an incident of a daemon before this one.
    async fn hears_again(&mut self) {
        let failures = self.deaf.replace(0);
        if failures.is_some_and(|failures| failures > 0) {
            tracing::info!(notify = %self.target, "answers are heard again");
        }
        if failures.is_none_or(|failures| failures >= DEAF_AFTER) {
            noticed(&self.handle, &self.target, Level::Ok, String::new()).await;
        }
    }
}

/// The pause after so many failures in a row.
fn again(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => AGAIN.0.saturating_mul(1 << failures.min(10)).min(AGAIN.1),
    }
}

/// What a position of a service belongs to, hashed: positions of one account mean nothing to another.
fn fingerprint(spec: &ServiceSpec) -> String {
    let place = ["url", "token", "room", "reply_topic"].map(|key| spec.keys.get(key));
    let digest = Sha256::digest(format!("{:?} {place:?}", spec.kind).as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What is said of an answer to a question whose call does not wait any more. The answer that decided it may come again.
fn is_over(asked: &AskedCall, approve: bool, who: &str) -> AnswerVerdict {
    match asked.by.as_deref() == Some(who) && asked.approved == approve {
        true => AnswerVerdict::decided(approve, who, false),
        false => AnswerVerdict::not_taken(&what_became_of(asked), true),
    }
}

/// What became of a call that does not wait any more.
fn what_became_of(asked: &AskedCall) -> String {
    let word = if asked.approved { "approved" } else { "denied" };
    match (&asked.by, &asked.reason) {
        (Some(by), _) => format!("it was {word} before, by {by}"),
        (None, Some(reason)) => format!("it no longer waits: it was {word} ({reason})"),
        (None, None) => format!("it was {word} before"),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of when a target is listened to.
    use super::*;

    #[test]
    fn a_listener_that_ends_at_once_is_not_begun_again_at_once() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (mut known, now) = (Listeners::default(), Instant::now());
        let wanted = names(&["gone", "me"]);
        assert_eq!(known.due(&wanted, &names(&["me", "other"]), now), ["me"], "where people can answer");
        assert!(known.due(&wanted, &names(&["me"]), now + RESTS / 2).is_empty());
        assert_eq!(known.due(&wanted, &names(&["me"]), now + RESTS), ["me"]);
        assert_eq!(known.due(&wanted, &names(&["gone", "me"]), now + RESTS), ["gone"], "it is back");
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let pauses = [0, 1, 2, 99].map(|failures| again(failures).as_secs());
        assert_eq!(pauses, [0, 4, 8, AGAIN.1.as_secs()]);
    }
}
