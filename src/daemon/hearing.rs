//! Receives the answers that people give, at notification targets, to questions about calls
//! (`approval = { via = … }`).
//!
//! A target is long-polled for answers while a call that was sent there waits, and for a minute
//! after the last decision; at other times it is not polled. An answer counts if its code belongs
//! to a question sent to that target, and the call still waits and is the one that was asked about.
//! The decision is recorded together with who made it, and invalidates the code: an answer that is
//! delivered again after a crash is not applied twice. An answer that can't be recorded now is not
//! acknowledged and is delivered again; a daemon that shuts down accepts none. The person who
//! answered is notified of the outcome.
use super::clock;
use crate::daemon::inbox::{ChangeAsked, Handle, Message};
use crate::domain::{
    AnsweredBy, Entry, Fact, Finding, FoundBy, IncidentRecord, Level, NotifyTarget, NotifyTargetKind,
    ServiceSpec, quoted,
};
use crate::engine::{Command, Engine};
use crate::notify::{self, PersonAnswer, PolledAnswers, SendError};
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

/// Delay before a failed service is polled again: doubled with each consecutive failure, from the
/// first value up to the second.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));
/// Minimum interval between two polls of which the first decided nothing.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a target is still polled when nothing waits there: late answers get a reply.
const LINGER: Duration = Duration::from_secs(60);
/// Minimum interval between starts of listeners of one target, and between checks whether people
/// can answer there.
const RESTART_INTERVAL: Duration = Duration::from_secs(10);
/// Number of consecutive failures after which an unreachable target becomes an incident of the daemon.
const FAILURES_UNTIL_INCIDENT: u32 = 4;
/// Maximum number of characters of an error in the title of an incident.
const MAX_ERROR_CHARS: usize = 160;

/// Receives answers until the daemon shuts down.
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
            // resolve incidents of an earlier daemon about targets with no open questions
            for target in all.iter().filter(|target| !wanted.contains(*target)) {
                send_finding(&handle, target, Level::Ok, String::new()).await;
            }
        }
        for target in known.due(&wanted, &can_answer, Instant::now()) {
            let listener = Listener::new(store.clone(), handle.clone(), target.clone());
            known.running.insert(listeners.spawn(listener.poll(down.clone())).id(), target);
        }
        let pause = if is_read { RESTART_INTERVAL } else { RETRY_DELAYS.0 };
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

/// Returns the targets at which people can answer, and all targets. `None`: the daemon shuts down.
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

/// Returns the account from which answers are received; `None` if nobody can answer at this target.
fn account(target: &NotifyTarget) -> Option<&ServiceSpec> {
    match &target.kind {
        NotifyTargetKind::Service(spec) if spec.kind.brings_answers() => Some(spec),
        _ => None,
    }
}

fn is_stopping(handle: &Handle) -> bool {
    handle.condition.lock().expect("no holder panics").stopping
}

async fn send_finding(handle: &Handle, target: &str, level: Level, title: String) {
    let key = format!("{}{target}", IncidentRecord::ANSWERS);
    let finding = Finding { key, level, title, hold_for: SignedDuration::ZERO, by: FoundBy::Check };
    let _ = handle.inbox.send(Message::Noticed(finding)).await;
}

/// The targets being polled.
#[derive(Default)]
struct Listeners {
    running: HashMap<Id, String>,
    /// When the newest listener of a target was started.
    began: HashMap<String, Instant>,
}

impl Listeners {
    fn is_running(&self, target: &str) -> bool {
        self.running.values().any(|known| known == target)
    }

    /// Returns the targets for which to start a listener.
    fn due(&mut self, wanted: &BTreeSet<String>, can_answer: &BTreeSet<String>, now: Instant) -> Vec<String> {
        self.began.retain(|_, began| now < *began + RESTART_INTERVAL);
        let due = wanted.intersection(can_answer);
        let due = due.filter(|target| !self.is_running(target) && !self.began.contains_key(*target));
        let due: Vec<String> = due.cloned().collect();
        self.began.extend(due.iter().map(|target| (target.clone(), now)));
        due
    }
}

/// The outcome of an answer.
struct AnswerVerdict {
    /// The reply to the person.
    text: String,
    /// Whether the question is closed according to the records.
    is_over: bool,
    is_decided: bool,
}

impl AnswerVerdict {
    fn rejected(why: &str, is_over: bool) -> Self {
        Self { text: format!("Not accepted: {why}."), is_over, is_decided: false }
    }

    fn decided(approve: bool, who: &str, is_decided: bool) -> Self {
        let word = if approve { "Approved" } else { "Denied" };
        Self { text: format!("{word} by {who}."), is_over: true, is_decided }
    }
}

/// Receives the answers of one target.
struct Listener {
    store: Store,
    handle: Handle,
    target: String,
    /// Fingerprint of the account to which [`Listener::heard`] belongs: another account starts anew.
    account: String,
    /// The position up to which answers were taken, in the service's format.
    heard: Option<String>,
    /// The position recorded in the database.
    recorded: Option<String>,
    /// Consecutive failures to poll the service; `None`: not polled yet.
    poll_failures: Option<u32>,
    /// Consecutive failures to take answers.
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
            poll_failures: None,
            stuck: 0,
        }
    }

    /// Runs until nothing is asked at the target any more, and a little longer.
    async fn poll(mut self, down: CancellationToken) {
        // when the oldest open question was asked, and until when to linger if none is open
        let mut asked: (Option<Timestamp>, Option<Instant>) = (None, None);
        while let Some(spec) = self.spec().await {
            let since = match self.open(&spec).await {
                Ok(Some(since)) => {
                    asked = (Some(since), None);
                    since
                }
                Ok(None) => {
                    let Some(since) = asked.0 else { break };
                    let end = *asked.1.get_or_insert(Instant::now() + LINGER);
                    if Instant::now() >= end {
                        break;
                    }
                    since
                }
                Err(error) => {
                    tracing::warn!(notify = %self.target, %error, "open questions could not be read; trying again");
                    tokio::time::sleep(RETRY_DELAYS.0).await;
                    continue;
                }
            };
            let began = Instant::now();
            let heard = tokio::select! {
                () = down.cancelled() => return,
                heard = notify::listen(&spec, self.heard.as_deref(), since) => heard,
            };
            // an answer that is not taken now is delivered again after the restart
            if is_stopping(&self.handle) {
                tracing::info!(notify = %self.target, "the daemon is shutting down: answers are accepted after the restart");
                return;
            }
            let pause = match heard {
                Ok(heard) => {
                    self.poll_succeeded().await;
                    match self.take(&spec, heard).await {
                        true => Duration::ZERO,
                        false => {
                            MIN_POLL_INTERVAL.saturating_sub(began.elapsed()).max(retry_delay(self.stuck))
                        }
                    }
                }
                Err(error) => {
                    self.poll_failed(&error).await;
                    let asked = error.retry_after.unwrap_or_default().min(RETRY_DELAYS.1);
                    retry_delay(self.poll_failures.unwrap_or_default()).max(asked)
                }
            };
            tokio::select! {
                () = down.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
        send_finding(&self.handle, &self.target, Level::Ok, String::new()).await;
    }

    /// Returns the service; `None` if people can no longer answer at the target, or the daemon shuts down.
    async fn spec(&self) -> Option<ServiceSpec> {
        if is_stopping(&self.handle) {
            return None;
        }
        let target = self.target.clone();
        let find = move |engine: &Engine, _| engine.fleet().notify.get(&target).and_then(account).cloned();
        self.handle.ask(find).await.flatten()
    }

    /// Returns when the oldest open question was asked, if any. The recorded position is read once
    /// per account.
    async fn open(&mut self, spec: &ServiceSpec) -> Result<Option<Timestamp>, StoreError> {
        let account = fingerprint(spec);
        if account != self.account {
            (self.account, self.heard, self.recorded) = (account, None, None);
        }
        let target = self.target.clone();
        let read = move |reader: &Reader| {
            let open = reader.open_questions()?.into_iter().filter(|question| question.target == target);
            Ok((open.map(|question| question.asked_at).min(), reader.answer_position(&target)?))
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

    /// Judges all answers before anyone is notified. If one can't be taken now, the position stays:
    /// all are delivered again, and the codes of decided ones are used up. Returns whether anything
    /// was decided.
    async fn take(&mut self, spec: &ServiceSpec, heard: PolledAnswers) -> bool {
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

    /// Records the position. After a crash, later answers are delivered again, and their codes are used up.
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

    /// Judges an answer.
    ///
    /// # Errors
    /// Why it can't be judged now.
    async fn judge(&self, answer: &PersonAnswer) -> Result<AnswerVerdict, String> {
        let who = format!("{} at `{}`", answer.who, self.target);
        if !answer.is_from_there {
            tracing::warn!(%who, "an answer from a chat other than the configured one is not accepted");
            return Ok(AnswerVerdict::rejected(
                "answers are accepted only from the chat that was asked",
                false,
            ));
        }
        match self.asked(answer).await? {
            None => Ok(AnswerVerdict::rejected("nothing was asked here under this code", false)),
            Some(asked) if !asked.is_open => Ok(is_over(&asked, answer.approve, &who)),
            Some(asked) => self.decide(asked, answer, who).await,
        }
    }

    async fn asked(&self, answer: &PersonAnswer) -> Result<Option<AskedCall>, String> {
        let code = answer.code.clone();
        let asked = self.store.read(move |reader| reader.question_of_code(&code)).await;
        let asked = asked.map_err(|error| error.to_string())?;
        Ok(asked.filter(|asked| asked.question.target == self.target))
    }

    async fn decide(
        &self,
        asked: AskedCall,
        given: &PersonAnswer,
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
                Some(_) if self.stuck < FAILURES_UNTIL_INCIDENT => Err(error.message),
                _ => Ok(AnswerVerdict::rejected(&error.message, false)),
            },
            None => Err("the daemon is shutting down".to_owned()),
        }
    }

    async fn poll_failed(&mut self, error: &SendError) {
        let failures = self.poll_failures.unwrap_or_default().saturating_add(1);
        self.poll_failures = Some(failures);
        if error.message.contains("answered 400") {
            // a position that the service no longer knows; the codes of answers that it repeats are used up
            self.heard = None;
        }
        if failures == 1 {
            tracing::warn!(notify = %self.target, %error, "answers can't be heard; trying again");
        }
        if failures == FAILURES_UNTIL_INCIDENT {
            let words = quoted(&error.message, MAX_ERROR_CHARS);
            let title = format!("what people answer at `{}` can't be heard: {words}", self.target);
            send_finding(&self.handle, &self.target, Level::Warn, title).await;
        }
    }

    /// Resets the failures; the first success also resolves an incident of an earlier daemon.
    async fn poll_succeeded(&mut self) {
        let failures = self.poll_failures.replace(0);
        if failures.is_some_and(|failures| failures > 0) {
            tracing::info!(notify = %self.target, "answers are heard again");
        }
        if failures.is_none_or(|failures| failures >= FAILURES_UNTIL_INCIDENT) {
            send_finding(&self.handle, &self.target, Level::Ok, String::new()).await;
        }
    }
}

/// Returns the pause after this many consecutive failures.
fn retry_delay(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => RETRY_DELAYS.0.saturating_mul(1 << failures.min(10)).min(RETRY_DELAYS.1),
    }
}

/// Returns the hash of the account to which a position belongs: positions of other accounts are meaningless.
fn fingerprint(spec: &ServiceSpec) -> String {
    let place = ["url", "token", "room", "reply_topic"].map(|key| spec.keys.get(key));
    let digest = Sha256::digest(format!("{:?} {place:?}", spec.kind).as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the verdict on an answer to a question that is closed. The deciding answer may be delivered again.
fn is_over(asked: &AskedCall, approve: bool, who: &str) -> AnswerVerdict {
    match asked.by.as_deref() == Some(who) && asked.approved == approve {
        true => AnswerVerdict::decided(approve, who, false),
        false => AnswerVerdict::rejected(&what_became_of(asked), true),
    }
}

/// Describes how a call that no longer waits was decided.
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
        assert!(known.due(&wanted, &names(&["me"]), now + RESTART_INTERVAL / 2).is_empty());
        assert_eq!(known.due(&wanted, &names(&["me"]), now + RESTART_INTERVAL), ["me"]);
        assert_eq!(
            known.due(&wanted, &names(&["gone", "me"]), now + RESTART_INTERVAL),
            ["gone"],
            "it is back"
        );
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let pauses = [0, 1, 2, 99].map(|failures| retry_delay(failures).as_secs());
        assert_eq!(pauses, [0, 4, 8, RETRY_DELAYS.1.as_secs()]);
    }
}
