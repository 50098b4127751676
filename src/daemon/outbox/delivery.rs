//! One delivery: reads the messages, records which are joined, sends them, and records the outcome.
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

/// Delay between attempts to read the outbox, or to record deliveries.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// Maximum wait that a receiver can ask for.
pub(super) const MAX_REQUESTED_WAIT: Duration = Duration::from_secs(15 * 60);
/// Timeout of a delivery.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Minimum interval between two messages posted to one receiver: chats accept one per second.
const POST_INTERVAL: Duration = Duration::from_millis(1100);

/// The messages chosen for the next delivery to a receiver.
pub(super) struct ChosenMessages {
    pub(super) name: String,
    /// `None`: no longer configured.
    pub(super) target: Option<NotifyTarget>,
    /// In order; as many are sent as fit.
    pub(super) rows: Vec<i64>,
    pub(super) joining: Joining,
    /// Recipients already reached, of mails that did not reach all.
    pub(super) reached: HashMap<i64, Vec<String>>,
}

/// How messages are joined.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// The first is sent alone.
    Alone,
    /// As many as fit.
    AsFits,
    /// All of them, cut to this many characters each, as in an earlier attempt.
    AsBefore(usize),
}

/// The result of a delivery, once it is recorded.
pub(super) struct Delivered {
    pub(super) target: String,
    /// The rows it included.
    pub(super) rows: Vec<i64>,
    /// Rows of a mail that did not reach all, with the recipients reached.
    pub(super) partly: Vec<(i64, Vec<String>)>,
    /// Minimum interval until the next delivery.
    pub(super) apart: Duration,
    pub(super) outcome: DeliveryOutcome,
    /// Whether the receiver is no longer configured.
    pub(super) removed: bool,
}

/// What a delivery says about its receiver.
pub(super) enum DeliveryOutcome {
    /// Nothing: it was not contacted.
    Nothing,
    Sent,
    Failed(DeliveryFailure),
}

/// Why a delivery failed.
pub(super) struct DeliveryFailure {
    pub(super) error: String,
    /// The wait that the receiver asked for.
    pub(super) asked: Option<Duration>,
    pub(super) tried_again: bool,
    pub(super) given_up: bool,
    /// Whether it refused joined messages.
    pub(super) go_alone: bool,
}

/// Delivers messages as one, and records the outcome of each.
pub(super) async fn deliver(store: Store, chosen: ChosenMessages) -> Delivered {
    let ChosenMessages { name, target, rows, joining, reached } = chosen;
    let nothing = |name: String, removed| Delivered {
        target: name,
        rows: Vec::new(),
        partly: Vec::new(),
        apart: Duration::ZERO,
        outcome: DeliveryOutcome::Nothing,
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
            // the call was decided in the meantime, and its row removed with that
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
    let (messages, each) = select_messages(messages, &joining, target.as_ref());
    let rows: Vec<i64> = messages.iter().map(|message| message.id).collect();
    if rows.len() > 1 && joining == Joining::AsFits {
        record(&store, vec![Fact::NotificationsJoined { rows: rows.clone(), each }]).await;
    }
    let whole = notify::join(messages.clone(), each);
    let sent = match &target {
        Some(target) => notify::send(&name, target, &whole, DELIVERY_TIMEOUT).await,
        None => Err(SendError::lasting(format!("there is no [notify.{name}] any more"))),
    };
    let Judgement { facts, partly, outcome } = judge(&name, messages, sent, tries);
    // Record first: the receiver gets nothing else before, and what is in the outbox counts as not delivered.
    record(&store, facts).await;
    if target.is_none() {
        return nothing(name, true);
    }
    let kind = target.as_ref().map(|target| &target.kind);
    let is_posted = matches!(kind, Some(NotifyTargetKind::Webhook(_) | NotifyTargetKind::Service(_)));
    let apart = if is_posted { POST_INTERVAL } else { Duration::ZERO };
    Delivered { target: name, rows, partly, apart, outcome, removed: false }
}

/// Returns the code required of an answer to this question, recording it before it is sent. `None`:
/// the call no longer waits.
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

/// Creates an unguessable code: 60 random bits, in letters and digits that can't be confused (Crockford's).
fn new_code() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let random = uuid::Uuid::new_v4();
    // bytes 6 and 8 of a UUID hold its version and variant
    let bytes = random.as_bytes().iter().enumerate().filter(|(at, _)| *at != 6 && *at != 8);
    bytes.take(12).map(|(_, byte)| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// Selects the messages to send, and the length to which each is cut.
fn select_messages(
    mut messages: Vec<Message>,
    joining: &Joining,
    target: Option<&NotifyTarget>,
) -> (Vec<Message>, usize) {
    let (count, each) = match joining {
        Joining::Alone => (1, usize::MAX),
        Joining::AsBefore(each) => (messages.len(), *each),
        Joining::AsFits => {
            // recipients that already have one of the mails get the others separately
            let alike = messages.iter().take_while(|message| message.reached == messages[0].reached).count();
            notify::fitting(&messages[..alike], |message| notify::fits_whole(target, message))
        }
    };
    messages.truncate(count);
    (messages, each)
}

/// The interpretation of a delivery.
struct Judgement {
    /// The facts to record of each message.
    facts: Vec<Fact>,
    /// Rows of a mail that did not reach all, with the recipients reached.
    partly: Vec<(i64, Vec<String>)>,
    /// What it says about the receiver.
    outcome: DeliveryOutcome,
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
            return Judgement { facts, partly: Vec::new(), outcome: DeliveryOutcome::Sent };
        }
        Err(error) => error,
    };
    // Messages that can't be sent joined may still be sent one by one.
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
    // while the receiver may already have it, the message is repeated unchanged
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
    Judgement { facts, partly, outcome: DeliveryOutcome::Failed(failure) }
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

/// Records facts, retrying until that succeeds: nothing else may be sent to the receiver before.
async fn record(store: &Store, facts: Vec<Fact>) {
    let at = clock::now().wall;
    let entries: Vec<Entry> = facts.into_iter().map(|fact| Entry { at, fact }).collect();
    while let Err(error) = store.commit(entries.clone()).await {
        tracing::warn!(%error, "deliveries could not be recorded; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns how long until a message is retried. Each retry counts, so a receiver that asks for a
/// short wait does not shorten it.
pub(super) fn until_next(own: Duration, asked: Option<Duration>) -> Duration {
    own.max(asked.unwrap_or_default().min(MAX_REQUESTED_WAIT))
}
