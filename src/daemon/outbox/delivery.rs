//! One delivery: the words are read, what goes together is recorded as such, it is sent, and what came of it is recorded.
use crate::daemon::clock;
use crate::domain::{
    ApprovalRecord, Entry, Fact, NotifyTarget, NotifyTargetKind, QuestionRecord, call_hash, counted,
    human_duration,
};
use crate::notify::{self, Message, SendError};
use crate::store::{OutboxRow, Reader, Store, StoreError};
use jiff::SignedDuration;
use std::collections::HashMap;
use std::time::Duration;

/// Between two tries to read the outbox, or to record what was delivered.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// The longest that a receiver can ask to be left alone.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);
/// One delivery.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two messages that are posted to one receiver: chats take one a second.
const APART: Duration = Duration::from_millis(1100);

/// What is given to a receiver next.
pub(super) struct ChosenMessages {
    pub(super) name: String,
    /// `None`: it is not configured any more.
    pub(super) target: Option<NotifyTarget>,
    /// In their order; as many of them go as fit.
    pub(super) rows: Vec<i64>,
    pub(super) joining: Joining,
    /// Of mails that did not reach all: who has them.
    pub(super) reached: HashMap<i64, Vec<String>>,
}

/// How messages go together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// The first goes alone.
    Alone,
    /// As many as fit.
    AsFits,
    /// All of them, with so many characters of each, as in a try before.
    AsBefore(usize),
}

/// What came of a delivery, when it is recorded.
pub(super) struct Delivered {
    pub(super) target: String,
    /// What it was about.
    pub(super) rows: Vec<i64>,
    /// Rows of a mail that did not reach all, with those who have it.
    pub(super) partly: Vec<(i64, Vec<String>)>,
    /// Between this and the next one.
    pub(super) apart: Duration,
    pub(super) outcome: DeliveryEnd,
    /// The receiver is not configured any more.
    pub(super) removed: bool,
}

/// What a delivery says of its receiver.
pub(super) enum DeliveryEnd {
    /// Nothing: it was not asked.
    Nothing,
    Sent,
    Failed(DeliveryFailure),
}

/// Why a delivery failed.
pub(super) struct DeliveryFailure {
    pub(super) error: String,
    /// The receiver wants to be left alone for so long.
    pub(super) asked: Option<Duration>,
    pub(super) tried_again: bool,
    pub(super) given_up: bool,
    /// It did not take several as one.
    pub(super) go_alone: bool,
}

/// Delivers messages as one, and records what came of each.
pub(super) async fn deliver(store: Store, chosen: ChosenMessages) -> Delivered {
    let ChosenMessages { name, target, rows, joining, reached } = chosen;
    let nothing = |name: String, removed| Delivered {
        target: name,
        rows: Vec::new(),
        partly: Vec::new(),
        apart: Duration::ZERO,
        outcome: DeliveryEnd::Nothing,
        removed,
    };
    let ids = rows.clone();
    let found = match store.read(move |reader| reader.outbox_rows(&ids)).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(notify = %name, %error, "messages could not be read; trying again");
            tokio::time::sleep(PAUSE).await;
            return nothing(name, false);
        }
    };
    let tries = found.iter().map(|row| row.tries).max().unwrap_or(0) + 1;
    let asks = found.first().and_then(|row| row.approval.clone());
    let mut messages: Vec<Message> = found.into_iter().map(|row| message(row, &reached)).collect();
    if let (Some(approval), Some(first)) = (asks, messages.first_mut()) {
        match code_of(&store, &name, approval).await {
            Ok(Some(code)) => first.question = Some(code),
            // it was decided meanwhile, and with that its row was removed
            Ok(None) => messages.clear(),
            Err(error) => {
                tracing::warn!(notify = %name, %error, "a call could not be read; trying again");
                messages.clear();
            }
        }
        if messages.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    if messages.is_empty() {
        return nothing(name, false);
    }
    let (messages, each) = together(messages, &joining, target.as_ref());
    let rows: Vec<i64> = messages.iter().map(|message| message.id).collect();
    if rows.len() > 1 && joining == Joining::AsFits {
        record(&store, vec![Fact::NotificationsJoined { rows: rows.clone(), each }]).await;
    }
    let whole = notify::join(messages.clone(), each);
    let sent = match &target {
        Some(target) => notify::send(&name, target, &whole, PATIENCE).await,
        None => Err(SendError::lasting(format!("there is no [notify.{name}] any more"))),
    };
    let Judgement { facts, partly, outcome } = judge(&name, messages, sent, tries);
    // Not before it is recorded does its receiver get anything else: what the outbox has was not delivered.
    record(&store, facts).await;
    if target.is_none() {
        return nothing(name, true);
    }
    let kind = target.as_ref().map(|target| &target.kind);
    let is_posted = matches!(kind, Some(NotifyTargetKind::Webhook(_) | NotifyTargetKind::Service(_)));
    let apart = if is_posted { APART } else { Duration::ZERO };
    Delivered { target: name, rows, partly, apart, outcome, removed: false }
}

/// The code that an answer to this question must have, which is recorded before anybody sees it. `None`: the call does not
/// wait any more.
async fn code_of(store: &Store, target: &str, approval: String) -> Result<Option<String>, StoreError> {
    let at_target = target.to_owned();
    let read = move |reader: &Reader| {
        let waiting = reader.approvals()?.into_iter().find(|one| one.wanted.id == approval);
        let Some(ApprovalRecord { wanted, .. }) = waiting else { return Ok(None) };
        let call = call_hash(&wanted.tool, &wanted.args);
        let known = reader.question(&approval, &at_target, &call)?;
        let new = || QuestionRecord {
            code: new_code(),
            approval,
            target: at_target,
            call,
            asked_at: clock::now().wall,
        };
        Ok(Some((known.is_some(), known.unwrap_or_else(new))))
    };
    let Some((is_known, question)) = store.read(read).await? else { return Ok(None) };
    let code = question.code.clone();
    if !is_known {
        record(store, vec![Fact::QuestionAsked(Box::new(question))]).await;
    }
    Ok(Some(code))
}

/// A code that nobody guesses: 60 random bits, in letters and digits that are told apart (Crockford's).
fn new_code() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let random = uuid::Uuid::new_v4();
    // the bytes 6 and 8 say what kind of number it is
    let bytes = random.as_bytes().iter().enumerate().filter(|(at, _)| *at != 6 && *at != 8);
    bytes.take(12).map(|(_, byte)| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// What is sent of these messages, and how much of each.
fn together(
    mut messages: Vec<Message>,
    joining: &Joining,
    target: Option<&NotifyTarget>,
) -> (Vec<Message>, usize) {
    let (count, each) = match joining {
        Joining::Alone => (1, usize::MAX),
        Joining::AsBefore(each) => (messages.len(), *each),
        Joining::AsFits => {
            // who has one of the mails already gets the others by themselves
            let alike = messages.iter().take_while(|message| message.reached == messages[0].reached).count();
            notify::fitting(&messages[..alike], |message| notify::is_taken_whole(target, message))
        }
    };
    messages.truncate(count);
    (messages, each)
}

/// What a delivery means.
struct Judgement {
    /// What is recorded of each message.
    facts: Vec<Fact>,
    /// Rows of a mail that did not reach all, with those who have it.
    partly: Vec<(i64, Vec<String>)>,
    /// What it says of the receiver.
    outcome: DeliveryEnd,
}

fn judge(name: &str, messages: Vec<Message>, sent: Result<(), SendError>, tries: u32) -> Judgement {
    let rows: Vec<i64> = messages.iter().map(|message| message.id).collect();
    let error = match sent {
        Ok(()) => {
            let sent = |Message { id, agent, run, .. }: Message| Fact::NotificationSent {
                id,
                target: name.to_owned(),
                agent,
                run,
                tries,
            };
            let facts = messages.into_iter().map(sent).collect();
            return Judgement { facts, partly: Vec::new(), outcome: DeliveryEnd::Sent };
        }
        Err(error) => error,
    };
    // What can't be told together may still be told one by one.
    let go_alone = messages.len() > 1 && !error.worth_retrying;
    let delay = notify::retry_delay(tries).filter(|_| error.worth_retrying || go_alone);
    let delay = delay.map(|delay| SignedDuration::try_from(until_next(delay, error.retry_after)));
    let delay = delay.map(|delay| delay.unwrap_or(SignedDuration::MAX));
    let at = clock::now().wall;
    let retry_at = delay.and_then(|delay| at.checked_add(delay).ok());
    let next = match delay {
        Some(delay) => format!("tried again in {}", human_duration(delay)),
        None => "not tried again".to_owned(),
    };
    let what = counted(messages.len(), "message");
    tracing::warn!(notify = %name, %error, "{what} could not be delivered; {next}");
    let (mut facts, mut partly) = (Vec::new(), Vec::new());
    for Message { id, agent, run, mut reached, .. } in messages {
        reached.extend(error.reached.iter().cloned());
        if retry_at.is_some() && !reached.is_empty() {
            partly.push((id, reached));
        }
        let (target, error) = (name.to_owned(), error.message.clone());
        facts.push(Fact::NotificationFailed { id, target, agent, run, tries, error, retry_at });
    }
    // as long as the receiver may have it, it comes as it was
    if rows.len() > 1 && !error.in_doubt {
        facts.push(Fact::NotificationsParted { rows });
    }
    let failure = DeliveryFailure {
        asked: error.retry_after,
        error: error.message,
        tried_again: retry_at.is_some(),
        given_up: retry_at.is_none(),
        go_alone,
    };
    Judgement { facts, partly, outcome: DeliveryEnd::Failed(failure) }
}

fn message(row: OutboxRow, reached: &HashMap<i64, Vec<String>>) -> Message {
    Message {
        reached: reached.get(&row.id).cloned().unwrap_or_default(),
        id: row.id,
        agent: row.agent,
        about: row.about,
        urgency: row.urgency,
        key: row.key,
        run: row.run,
        at: row.at,
        subject: row.subject,
        body: row.body,
        joined: Vec::new(),
        question: None,
    }
}

/// Records what must be known before anything else is given to a receiver.
async fn record(store: &Store, facts: Vec<Fact>) {
    let at = clock::now().wall;
    let entries: Vec<Entry> = facts.into_iter().map(|fact| Entry { at, fact }).collect();
    while let Err(error) = store.commit(entries.clone()).await {
        tracing::warn!(%error, "deliveries could not be recorded; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How long until a message is tried again. Each try counts, so a receiver that says "in a second" makes none come sooner.
pub(super) fn until_next(own: Duration, asked: Option<Duration>) -> Duration {
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}
