//! Delivers the messages of the outbox, each on its own account: a failed delivery never touches a
//! run.
//!
//! Theory of operation. Each receiver has a pace (`notify::Pace`), and is given one message at a time. What waits for it
//! when it may have the next one goes together, if it is more than its pace has room for. What came of a delivery is
//! recorded before that receiver is given anything else; so a crash repeats at most the one that was under way, under
//! the same key.
use super::clock;
use crate::daemon::inbox::{self, Handle};
use crate::domain::{
    Entry, Fact, Finding, FoundBy, IncidentRecord, Level, NotifyTarget, NotifyTargetKind, TellOn, Urgency,
    counted, human_duration,
};
use crate::notify::{self, Message, Pace, SendError};
use crate::store::{OutboxRow, Store};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Receivers that are served at a time.
const AT_A_TIME: usize = 8;
/// Messages of one receiver that are looked at.
const OF_EACH: usize = 100;
/// One delivery.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries to record what was delivered.
const PAUSE: Duration = Duration::from_secs(2);
/// When nothing else tells, look again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Between two messages that are posted to one receiver: chats take one a second.
const APART: Duration = Duration::from_millis(1100);
/// When the daemon goes down, deliveries under way get this long to end and to be recorded. What is not done by then
/// stays in the outbox.
pub(super) const LAST_DELIVERIES: Duration = Duration::from_secs(3);
/// A receiver that failed so often in a row, over six minutes, is a problem of the daemon.
const DOWN_AFTER: u32 = 4;
/// The longest that other messages wait after a failure; and after one whose receiver says how long.
const LONGEST_WAIT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(6 * 3600));

/// Delivers until the daemon goes down. What it does not get to, and what it does not see the end of, stays in
/// the outbox.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut newest = store.newest();
    let mut outbox = Outbox { store, handle, lines: HashMap::new(), under_way: JoinSet::new() };
    loop {
        newest.borrow_and_update();
        let wake = outbox.begin_what_may().await;
        tokio::select! {
            () = down.cancelled() => return outbox.end().await,
            () = tokio::time::sleep_until(wake) => {}
            Some(ended) = outbox.under_way.join_next() => outbox.ended(ended).await,
            changed = newest.changed() => if changed.is_err() { return },
        }
    }
}

struct Outbox {
    store: Store,
    handle: Handle,
    /// By the names of receivers.
    lines: HashMap<String, Line>,
    under_way: JoinSet<Delivered>,
}

/// What is known of a receiver.
struct Line {
    pace: Pace,
    busy: bool,
    /// It refused several as one: until it has taken one, they go one by one.
    alone: bool,
    /// What was last said of it to the engine.
    noticed: Option<Level>,
    /// Of mails that did not reach all: who has them, by row. Forgotten when the daemon ends; then they get it twice,
    /// with the same Message-ID.
    reached: HashMap<i64, Vec<String>>,
}

impl Line {
    /// Of these rows, those are left that did not reach all. Others wait for their own delivery, and keep what is
    /// known of them.
    fn learn(&mut self, rows: &[i64], partly: Vec<(i64, Vec<String>)>) {
        self.reached.retain(|row, _| !rows.contains(row));
        self.reached.extend(partly);
    }
}

/// What came of a delivery, when it is recorded.
struct Delivered {
    target: String,
    /// What it was about.
    rows: Vec<i64>,
    /// Rows of a mail that did not reach all, with those who have it.
    partly: Vec<(i64, Vec<String>)>,
    /// How long nothing else is given to the receiver.
    wait: Option<Duration>,
    apart: Duration,
    /// It has taken what it got; `None`: it was not there to say.
    taken: Option<bool>,
    /// What the delivery says of the receiver; `None`: nothing new.
    finding: Option<Finding>,
}

impl Outbox {
    /// Begins each delivery that may begin now; says when to look again.
    async fn begin_what_may(&mut self) -> Instant {
        let now = clock::now().wall;
        let mut wake = Instant::now() + LOOK_AGAIN;
        let due = match self.store.read(move |reader| reader.outbox_due(now, OF_EACH)).await {
            Ok(due) => due,
            Err(error) => {
                // that it can't be read does not mean that nothing is in it
                tracing::warn!(%error, "the outbox could not be read; trying again");
                return Instant::now() + PAUSE;
            }
        };
        let mut by_target: BTreeMap<String, Vec<OutboxRow>> = BTreeMap::new();
        for row in due {
            by_target.entry(row.target.clone()).or_default().push(row);
        }
        let idle: HashSet<String> = by_target
            .keys()
            .filter(|name| self.lines.get(*name).is_none_or(|line| !line.busy))
            .cloned()
            .collect();
        if !idle.is_empty() {
            let names = idle.clone();
            let asked = self.handle.ask(move |engine, _| {
                let known = &engine.fleet().notify;
                let found = names.into_iter().map(|name| (known.get(&name).cloned(), name));
                (found.collect::<Vec<_>>(), engine.fleet().daemon.timezone.clone())
            });
            // No answer: the daemon goes down, and they stay where they are.
            let (targets, zone) = asked.await.unwrap_or((Vec::new(), TimeZone::UTC));
            for (target, name) in targets {
                let mut rows = by_target.remove(&name).unwrap_or_default();
                let quiet = target.as_ref().and_then(|target| target.quiet);
                if let Some(end) = quiet.and_then(|quiet| quiet.until(now, &zone)) {
                    rows.retain(|row| row.urgency == Urgency::Critical);
                    wake = wake.min(
                        Instant::now() + Duration::try_from(end.duration_since(now)).unwrap_or_default(),
                    );
                }
                if let Some(next) = self.begin(name, target, rows) {
                    wake = wake.min(next);
                }
            }
        }
        match self.store.read(move |reader| reader.outbox_next(now)).await {
            Ok(Some(later)) => {
                let left = Duration::try_from(later.duration_since(now)).unwrap_or_default();
                wake = wake.min(Instant::now() + left);
            }
            Ok(None) => {}
            Err(_) => wake = wake.min(Instant::now() + PAUSE),
        }
        wake
    }

    /// What is under way when the daemon goes down may still end and be recorded; the rest stays in the outbox.
    async fn end(mut self) {
        let late = tokio::time::sleep(LAST_DELIVERIES / 2);
        tokio::pin!(late);
        loop {
            tokio::select! {
                () = &mut late => return,
                ended = self.under_way.join_next() => if ended.is_none() { return },
            }
        }
    }

    /// Begins a delivery to one receiver, if it may have one now; else says when it may.
    fn begin(
        &mut self,
        name: String,
        target: Option<NotifyTarget>,
        mut rows: Vec<OutboxRow>,
    ) -> Option<Instant> {
        let now = Instant::now();
        if rows.is_empty() || self.under_way.len() >= AT_A_TIME {
            return None; // the end of another delivery looks again
        }
        let line = self.lines.entry(name.clone()).or_insert_with(|| Line {
            pace: Pace::new(now),
            busy: false,
            alone: false,
            noticed: None,
            reached: HashMap::new(),
        });
        let per_minute = target.as_ref().and_then(|target| target.per_minute);
        let room = line.pace.room(now, per_minute);
        if room == 0 {
            return Some(line.pace.next(per_minute));
        }
        rows.sort_by_key(turn);
        let all = rows.len();
        let (mut messages, mut tries) = (Vec::new(), BTreeMap::new());
        for row in rows {
            tries.insert(row.id, row.tries + 1);
            let reached = line.reached.get(&row.id).cloned().unwrap_or_default();
            messages.push(message(row, reached));
        }
        // Who has one of the mails already gets the others by themselves. Results are read as they are.
        let alike =
            |message: &&Message| message.reached == messages[0].reached && message.about != TellOn::Completed;
        let alike = messages.iter().take_while(alike).count().max(1);
        let (count, each) = if all > room && !line.alone {
            notify::fitting(&messages[..alike], |message| notify::is_taken_whole(target.as_ref(), message))
        } else {
            (1, usize::MAX)
        };
        messages.truncate(count);
        line.busy = true;
        let (store, tries) = (self.store.clone(), tries);
        self.under_way.spawn(deliver(store, name, target, (messages, each), tries));
        None
    }

    async fn ended(&mut self, ended: Result<Delivered, tokio::task::JoinError>) {
        let Ok(ended) = ended else {
            // It broke off inside. Its receiver is not known from here: all are asked anew.
            tracing::error!("a delivery broke off");
            self.lines.values_mut().for_each(|line| line.busy = false);
            return;
        };
        let now = Instant::now();
        let Some(line) = self.lines.get_mut(&ended.target) else { return };
        line.busy = false;
        line.pace.sent(now, ended.apart);
        if let Some(wait) = ended.wait {
            line.pace.wait(now, wait);
        }
        line.alone = ended.taken.map_or(line.alone, |taken| !taken);
        line.learn(&ended.rows, ended.partly);
        let level = ended.finding.as_ref().map(|finding| finding.level);
        if let Some(finding) = ended.finding.filter(|_| line.noticed != level) {
            line.noticed = level;
            let _ = self.handle.inbox.send(inbox::Message::Noticed(finding)).await;
        }
    }
}

/// What a delivery says of its receiver: that it is there, or that messages don't get to it.
fn finding(target: &str, sent: &Result<(), SendError>, tries: u32, given_up: bool) -> Option<Finding> {
    let (level, title) = match sent {
        Ok(()) => (Level::Ok, String::new()),
        Err(error) if given_up => (Level::Crit, format!("a message to `{target}` was given up: {error}")),
        Err(error) if tries >= DOWN_AFTER => {
            (Level::Warn, format!("no message gets to `{target}`, {tries} tries so far: {error}"))
        }
        Err(_) => return None,
    };
    let key = format!("{}{target}", IncidentRecord::NOTIFY);
    Some(Finding { key, level, title, hold_for: SignedDuration::ZERO, by: FoundBy::Check })
}

/// Where a message stands in the line of its receiver: what is urgent does not wait behind results, which go one by one.
fn turn(row: &OutboxRow) -> (bool, bool, i64) {
    (row.about == TellOn::Completed, row.urgency != Urgency::Critical, row.id)
}

/// How long until the next try. Each counts, so a receiver that says "in a second" makes none of them come sooner.
fn until_next(own: Duration, asked: Option<Duration>) -> Duration {
    asked.map_or(own, |asked| own.max(asked.min(LONGEST_WAIT.1)))
}

fn message(row: OutboxRow, reached: Vec<String>) -> Message {
    Message {
        id: row.id,
        agent: row.agent,
        about: row.about,
        urgency: row.urgency,
        key: row.key,
        run: row.run,
        at: row.at,
        subject: row.subject,
        body: row.body,
        reached,
        joined: Vec::new(),
    }
}

/// Delivers messages as one, and records what came of each.
async fn deliver(
    store: Store,
    name: String,
    target: Option<NotifyTarget>,
    (messages, each): (Vec<Message>, usize),
    tries: BTreeMap<i64, u32>,
) -> Delivered {
    let whole = notify::join(messages.clone(), each);
    let sent = match &target {
        Some(target) => notify::send(&name, target, &whole, PATIENCE).await,
        None => Err(SendError {
            message: format!("there is no [notify.{name}] any more"),
            worth_retrying: false,
            reached: Vec::new(),
            retry_after: None,
        }),
    };
    let kind = target.as_ref().map(|target| &target.kind);
    let is_posted = matches!(kind, Some(NotifyTargetKind::Webhook(_) | NotifyTargetKind::Service(_)));
    let apart = if is_posted { APART } else { Duration::ZERO };
    let taken = match &sent {
        Ok(()) => Some(true),
        Err(error) => (!error.worth_retrying && !whole.joined.is_empty()).then_some(false),
    };
    let rows = messages.iter().map(|message| message.id).collect();
    let mut told =
        Delivered { target: name.clone(), rows, partly: Vec::new(), wait: None, apart, taken, finding: None };
    let at = clock::now().wall;
    let mut entries = Vec::new();
    for message in messages {
        let tries = tries.get(&message.id).copied().unwrap_or(1);
        let (id, target, agent, run) = (message.id, name.clone(), message.agent, message.run);
        let fact = match &sent {
            Ok(()) => Fact::NotificationSent { id, target, agent, run, tries },
            Err(error) => {
                // What can't be told together may still be told one by one.
                let again = error.worth_retrying || taken == Some(false);
                let delay = notify::retry_delay(tries).filter(|_| again);
                let delay = delay.map(|delay| until_next(delay, error.retry_after));
                let retry_at =
                    delay.map(|delay| at + SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX));
                if let Some(delay) = delay {
                    let wait =
                        delay.min(if error.retry_after.is_some() { LONGEST_WAIT.1 } else { LONGEST_WAIT.0 });
                    told.wait = Some(told.wait.map_or(wait, |known| known.max(wait)));
                    let mut reached = message.reached;
                    reached.extend(error.reached.iter().cloned());
                    if !reached.is_empty() {
                        told.partly.push((id, reached));
                    }
                }
                let error = error.message.clone();
                Fact::NotificationFailed { id, target, agent, run, tries, error, retry_at }
            }
        };
        entries.push(Entry { at, fact });
    }
    let given_up = |entry: &Entry| matches!(entry.fact, Fact::NotificationFailed { retry_at: None, .. });
    let most = tries.values().copied().max().unwrap_or(1);
    told.finding = finding(&name, &sent, most, entries.iter().any(given_up));
    if let Err(error) = &sent {
        let messages = entries.len();
        let next = match told.wait.map(SignedDuration::try_from) {
            Some(Ok(wait)) => format!("tried again in {}", human_duration(wait)),
            Some(Err(_)) => "tried again much later".to_owned(),
            None => "not tried again".to_owned(),
        };
        let what = counted(messages, "message");
        tracing::warn!(notify = %name, %error, "{what} could not be delivered; {next}");
    }
    // Not before it is recorded does its receiver get anything else: what the outbox has was not delivered.
    while let Err(error) = store.commit(entries.clone()).await {
        tracing::warn!(%error, "deliveries could not be recorded; trying again");
        tokio::time::sleep(PAUSE).await;
    }
    told
}

#[cfg(test)]
mod tests {
    //! Tests of what is kept between two deliveries.
    use super::*;

    #[test]
    fn a_receiver_makes_no_try_come_sooner() {
        let asked = [0, 1, 100_000].map(|seconds| Some(Duration::from_secs(seconds)));
        for tries in 1..20 {
            let Some(own) = notify::retry_delay(tries) else { break };
            assert_eq!(asked.map(|asked| until_next(own, asked)), [own, own, LONGEST_WAIT.1.max(own)]);
            assert_eq!(until_next(own, None), own);
        }
        let minute = Duration::from_secs(60);
        assert_eq!(until_next(Duration::from_secs(5), Some(minute)), minute);
    }

    #[test]
    fn what_is_urgent_does_not_wait_behind_results() {
        let row = |id, about: TellOn| OutboxRow {
            id,
            target: "ops".into(),
            agent: "a".parse().unwrap(),
            about,
            at: jiff::Timestamp::UNIX_EPOCH,
            subject: String::new(),
            body: String::new(),
            tries: 0,
            due: jiff::Timestamp::UNIX_EPOCH,
            run: None,
            key: None,
            urgency: about.urgency(),
        };
        let mut rows = [
            row(1, TellOn::Completed),
            row(2, TellOn::Recovered),
            row(3, TellOn::Completed),
            row(4, TellOn::Failed),
            row(5, TellOn::Missed),
        ];
        rows.sort_by_key(turn);
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [4, 2, 5, 1, 3]);
    }

    #[test]
    fn who_has_a_mail_is_known_after_others_were_sent() {
        let mut line = Line {
            pace: Pace::new(Instant::now()),
            busy: false,
            alone: false,
            noticed: None,
            reached: HashMap::new(),
        };
        let has = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        line.learn(&[1, 2], vec![(1, has(&["a"])), (2, has(&["a"]))]);
        line.learn(&[3], Vec::new());
        assert_eq!(line.reached.get(&1), Some(&has(&["a"])));
        line.learn(&[1], vec![(1, has(&["a", "b"]))]);
        line.learn(&[2], Vec::new());
        assert_eq!(line.reached, HashMap::from([(1, has(&["a", "b"]))]));
        line.learn(&[1], Vec::new());
        assert_eq!(line.reached, HashMap::new());
    }
}
