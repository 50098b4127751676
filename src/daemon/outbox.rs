//! Delivers the messages of the outbox, independently of each other: a failed delivery never affects a run.
//!
//! Theory of operation. Each receiver has a rate limit (`notify::Pace`), and is sent one message at
//! a time. When the messages that wait for it exceed what its rate allows, they are joined. The
//! outcome of a delivery is recorded before that receiver is sent anything else; joining is
//! recorded before the joined message is sent. So a crash repeats at most the message in flight,
//! unchanged and under the same key.
//!
//! The outbox is read when a message was queued, when a delivery has ended, and when the next retry
//! is due; the text is read only of messages that are sent.
use super::clock;
use crate::daemon::inbox::{self, Handle};
use crate::domain::{
    Entry, Fact, Finding, FoundBy, IncidentRecord, Level, NotifyTarget, TellOn, Urgency, quoted,
};
use crate::notify::{self, Pace};
use crate::store::{OutboxHead, Store, SurplusResult};
use delivery::{ChosenMessages, Delivered, DeliveryOutcome, Joining, MAX_REQUESTED_WAIT, PAUSE, deliver};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod delivery;

/// Number of receivers served concurrently.
const MAX_CONCURRENT_DELIVERIES: usize = 8;
/// Maximum number of messages read per receiver.
const MAX_MESSAGES_PER_RECEIVER: usize = 100;
/// Maximum number of results queued per receiver; the oldest beyond that are dropped.
const MAX_QUEUED_RESULTS: usize = 200;
/// Polling interval in the absence of other signals.
const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// How long deliveries in flight have to end and to be recorded when the daemon shuts down. The
/// others stay in the outbox.
pub(super) const DELIVERIES_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Number of consecutive failed attempts, of any messages, after which a receiver becomes an incident.
const FAILURES_UNTIL_INCIDENT: u32 = 4;
/// Maximum wait of other messages after failures.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Maximum number of characters of an error in the title of an incident.
const MAX_ERROR_CHARS: usize = 160;

/// Delivers until the daemon shuts down. Messages not delivered, or whose outcome is unknown, stay
/// in the outbox.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut queued = store.outbox();
    let mut outbox = Outbox { store, handle, receivers: HashMap::new(), in_flight: JoinSet::new() };
    loop {
        queued.borrow_and_update();
        let wake = outbox.start_due().await;
        tokio::select! {
            () = down.cancelled() => return outbox.end().await,
            () = tokio::time::sleep_until(wake) => {}
            Some(ended) = outbox.in_flight.join_next() => outbox.ended(ended).await,
            changed = queued.changed() => if changed.is_err() { return },
        }
    }
}

struct Outbox {
    store: Store,
    handle: Handle,
    /// By name of the receiver.
    receivers: HashMap<String, ReceiverState>,
    in_flight: JoinSet<Delivered>,
}

/// The state of a receiver.
struct ReceiverState {
    pace: Pace,
    /// Rows of the delivery in flight; empty if there is none.
    sending: Vec<i64>,
    /// Whether messages go separately, since it refused joined ones; until one has been accepted.
    must_separate: bool,
    /// Number of consecutive failed attempts.
    failures: u32,
    /// The last level reported to the engine.
    noticed: Option<Level>,
    /// Recipients already reached by mails that did not reach all, by row. Not persistent: after a
    /// restart they get the mail twice, with the same Message-ID.
    reached: HashMap<i64, Vec<String>>,
}

impl ReceiverState {
    fn new(now: Instant) -> Self {
        Self {
            pace: Pace::new(now),
            sending: Vec::new(),
            must_separate: false,
            failures: 0,
            noticed: None,
            reached: HashMap::new(),
        }
    }

    /// Updates the partially delivered mails of these rows. Other rows keep their state until their
    /// own delivery.
    fn update_reached(&mut self, rows: &[i64], partly: Vec<(i64, Vec<String>)>) {
        self.reached.retain(|row, _| !rows.contains(row));
        self.reached.extend(partly);
    }

    /// Records the outcome of a delivery. Returns a finding if the state of the receiver has changed.
    fn record_outcome(
        &mut self,
        now: Instant,
        target: &str,
        outcome: &DeliveryOutcome,
        apart: Duration,
    ) -> Option<Finding> {
        let (level, title) = match outcome {
            DeliveryOutcome::Nothing => return None,
            DeliveryOutcome::Sent => {
                (self.failures, self.must_separate) = (0, false);
                self.pace.sent(now, apart);
                (Level::Ok, String::new())
            }
            DeliveryOutcome::Failed(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.must_separate |= failure.go_alone;
                self.pace.sent(now, apart);
                if failure.tried_again {
                    self.pace.wait(now, wait_after(self.failures, failure.asked));
                }
                let words = quoted(&failure.error, MAX_ERROR_CHARS);
                match self.failures {
                    _ if failure.given_up => {
                        (Level::Crit, format!("a message to `{target}` was given up: {words}"))
                    }
                    tries if tries >= FAILURES_UNTIL_INCIDENT => (
                        Level::Warn,
                        format!("no message gets to `{target}`, {tries} tries in a row so far: {words}"),
                    ),
                    _ => return None,
                }
            }
        };
        if self.noticed.replace(level) == Some(level) {
            return None;
        }
        let key = format!("{}{target}", IncidentRecord::NOTIFY);
        Some(Finding { key, level, title, hold_for: SignedDuration::ZERO, by: FoundBy::Check })
    }
}

impl Outbox {
    /// Starts each delivery that may start now, and returns when to check again.
    async fn start_due(&mut self) -> Instant {
        let now = clock::now().wall;
        let mut wake = Instant::now() + POLL_INTERVAL;
        let read = move |reader: &crate::store::Reader| {
            let surplus = reader.outbox_surplus(MAX_QUEUED_RESULTS)?;
            Ok((surplus, reader.outbox_due(now, MAX_MESSAGES_PER_RECEIVER)?, reader.outbox_next(now)?))
        };
        let (surplus, due, next) = match self.store.read(read).await {
            Ok(read) => read,
            Err(error) => {
                // a read error does not mean that the outbox is empty
                tracing::warn!(%error, "the outbox could not be read; trying again");
                return Instant::now() + PAUSE;
            }
        };
        self.drop_surplus(surplus).await;
        let mut by_target: BTreeMap<String, Vec<OutboxHead>> = BTreeMap::new();
        for head in due {
            by_target.entry(head.target.clone()).or_default().push(head);
        }
        by_target
            .retain(|name, _| self.receivers.get(name).is_none_or(|receiver| receiver.sending.is_empty()));
        if !by_target.is_empty() {
            let names: HashSet<String> = by_target.keys().cloned().collect();
            let asked = self.handle.ask(move |engine, _| {
                let known = &engine.fleet().notify;
                let found = names.into_iter().map(|name| (known.get(&name).cloned(), name));
                (found.collect::<Vec<_>>(), engine.fleet().daemon.timezone.clone())
            });
            // No answer: the daemon shuts down, and the messages stay queued.
            let (targets, zone) = asked.await.unwrap_or((Vec::new(), TimeZone::UTC));
            for (target, name) in targets {
                let mut heads = by_target.remove(&name).unwrap_or_default();
                let quiet = target.as_ref().and_then(|target| target.quiet);
                if let Some(end) = quiet.and_then(|quiet| quiet.until(now, &zone)) {
                    heads.retain(is_urgent_among(&heads));
                    wake = wake.min(
                        Instant::now() + Duration::try_from(end.duration_since(now)).unwrap_or_default(),
                    );
                }
                if let Some(next) = self.begin(name, target, heads) {
                    wake = wake.min(next);
                }
            }
        }
        if let Some(later) = next {
            let left = Duration::try_from(later.duration_since(now)).unwrap_or_default();
            wake = wake.min(Instant::now() + left);
        }
        wake
    }

    /// Drops results beyond the limit of a receiver, the oldest first.
    async fn drop_surplus(&self, surplus: Vec<SurplusResult>) {
        let in_flight = |one: &SurplusResult| {
            self.receivers.get(&one.target).is_some_and(|receiver| receiver.sending.contains(&one.id))
        };
        let at = clock::now().wall;
        let error = format!("more than {MAX_QUEUED_RESULTS} results wait for it: the oldest are given up");
        let entries: Vec<Entry> = surplus
            .into_iter()
            .filter(|one| !in_flight(one))
            .map(|SurplusResult { id, target, agent, run, tries }| {
                let error = error.clone();
                let fact = Fact::NotificationFailed { id, target, agent, run, tries, error, retry_at: None };
                Entry { at, fact }
            })
            .collect();
        if entries.is_empty() {
            return;
        }
        tracing::warn!(results = entries.len(), "{error}");
        if let Err(error) = self.store.commit(entries).await {
            tracing::warn!(%error, "results that were given up could not be recorded");
        }
    }

    /// Gives deliveries in flight time to end and be recorded; the rest stays in the outbox.
    async fn end(mut self) {
        let late = tokio::time::sleep(DELIVERIES_SHUTDOWN_TIMEOUT / 2);
        tokio::pin!(late);
        loop {
            tokio::select! {
                () = &mut late => return,
                ended = self.in_flight.join_next() => if ended.is_none() { return },
            }
        }
    }

    /// Starts a delivery to one receiver, if it may have one now; otherwise returns when it may.
    fn begin(
        &mut self,
        name: String,
        target: Option<NotifyTarget>,
        mut heads: Vec<OutboxHead>,
    ) -> Option<Instant> {
        let now = Instant::now();
        if heads.is_empty() || self.in_flight.len() >= MAX_CONCURRENT_DELIVERIES {
            return None; // the end of another delivery triggers the next check
        }
        let receiver = self.receivers.entry(name.clone()).or_insert_with(|| ReceiverState::new(now));
        let per_minute = target.as_ref().and_then(|target| target.per_minute);
        let room = receiver.pace.room(now, per_minute);
        if room == 0 {
            return Some(receiver.pace.next(per_minute));
        }
        heads.sort_by_key(sort_key);
        let may_join = !receiver.must_separate && notify::may_join(target.as_ref());
        let (rows, joining) = next_of(&heads, heads.len() > room && may_join);
        receiver.sending.clone_from(&rows);
        let reached = receiver.reached.iter().filter(|(row, _)| rows.contains(row));
        let reached = reached.map(|(row, names)| (*row, names.clone())).collect();
        let chosen = ChosenMessages { name, target, rows, joining, reached };
        self.in_flight.spawn(deliver(self.store.clone(), chosen));
        None
    }

    async fn ended(&mut self, ended: Result<Delivered, tokio::task::JoinError>) {
        let Ok(ended) = ended else {
            // The task panicked, so its receiver is unknown: all are retried.
            tracing::error!("a delivery broke off");
            self.receivers.values_mut().for_each(|receiver| receiver.sending.clear());
            return;
        };
        let Delivered { target, rows, partly, apart, outcome, removed } = ended;
        if removed {
            self.receivers.remove(&target);
            return;
        }
        let Some(receiver) = self.receivers.get_mut(&target) else { return };
        receiver.sending.clear();
        receiver.update_reached(&rows, partly);
        if let Some(finding) = receiver.record_outcome(Instant::now(), &target, &outcome, apart) {
            let _ = self.handle.inbox.send(inbox::Message::Noticed(finding)).await;
        }
    }
}

/// Returns how long a receiver gets nothing after this many consecutive failures.
fn wait_after(failures: u32, asked: Option<Duration>) -> Duration {
    let own = notify::retry_delay(failures).unwrap_or(MAX_WAIT).min(MAX_WAIT);
    own.max(asked.unwrap_or_default().min(MAX_REQUESTED_WAIT))
}

/// Returns the sort key of a message: urgent messages do not wait behind results, which are sent one by one.
fn sort_key(head: &OutboxHead) -> (bool, bool, i64) {
    (head.about == TellOn::Completed, head.urgency != Urgency::Critical, head.id)
}

/// Selects what is sent in quiet hours: critical messages, and those joined with them.
fn is_urgent_among(heads: &[OutboxHead]) -> impl Fn(&OutboxHead) -> bool + use<> {
    let critical = heads.iter().filter(|head| head.urgency == Urgency::Critical);
    let numbers: HashSet<i64> = critical.filter_map(|head| Some(head.joined?.0)).collect();
    move |head| match head.joined {
        Some((number, _)) => numbers.contains(&number),
        None => head.urgency == Urgency::Critical,
    }
}

/// Chooses which of the waiting messages, in order, the next delivery includes.
fn next_of(heads: &[OutboxHead], may_join: bool) -> (Vec<i64>, Joining) {
    let first = &heads[0];
    if let Some((number, each)) = first.joined {
        let same = heads.iter().filter(|head| head.joined.is_some_and(|(other, _)| other == number));
        return (same.map(|head| head.id).collect(), Joining::AsBefore(each));
    }
    // results and questions are never joined with others
    let stands_alone = |head: &OutboxHead| head.about == TellOn::Completed || head.asks;
    if !may_join || stands_alone(first) {
        return (vec![first.id], Joining::Alone);
    }
    let free = heads.iter().filter(|head| head.joined.is_none());
    let alike = free.take_while(|head| !stands_alone(head));
    (alike.map(|head| head.id).collect(), Joining::AsFits)
}

#[cfg(test)]
mod tests {
    //! Tests of what is kept between two deliveries.
    use super::delivery::{DeliveryFailure, until_next};
    use super::*;

    #[test]
    fn a_receiver_makes_no_try_come_sooner_and_none_much_later() {
        let asked = [0, 1, 100_000].map(|seconds| Some(Duration::from_secs(seconds)));
        for tries in 1..20 {
            let Some(own) = notify::retry_delay(tries) else { break };
            assert_eq!(asked.map(|asked| until_next(own, asked)), [own, own, MAX_REQUESTED_WAIT.max(own)]);
            assert_eq!(until_next(own, None), own);
            let waits = asked.map(|asked| wait_after(tries, asked));
            assert_eq!(waits, [own.min(MAX_WAIT), own.min(MAX_WAIT), MAX_REQUESTED_WAIT]);
        }
        assert_eq!(wait_after(99, None), MAX_WAIT);
    }

    fn head(id: i64, about: TellOn) -> OutboxHead {
        OutboxHead { id, target: "ops".into(), about, urgency: about.urgency(), joined: None, asks: false }
    }

    #[test]
    fn what_is_urgent_does_not_wait_behind_results() {
        let mut heads = [
            head(1, TellOn::Completed),
            head(2, TellOn::Recovered),
            head(3, TellOn::Completed),
            head(4, TellOn::Failed),
            head(5, TellOn::Missed),
        ];
        heads.sort_by_key(sort_key);
        assert_eq!(heads.iter().map(|head| head.id).collect::<Vec<_>>(), [4, 2, 5, 1, 3]);
        assert_eq!(next_of(&heads, true), (vec![4, 2, 5], Joining::AsFits));
        assert_eq!(next_of(&heads, false), (vec![4], Joining::Alone));
        assert_eq!(next_of(&heads[3..], true), (vec![1], Joining::Alone));
        heads[1].asks = true;
        assert_eq!(next_of(&heads, true), (vec![4], Joining::AsFits), "a question is answered by itself");
    }

    #[test]
    fn what_went_together_goes_together_again() {
        let mut heads = [2, 3, 5, 7].map(|id| head(id, TellOn::Failed));
        (heads[1].joined, heads[3].joined) = (Some((3, 72)), Some((3, 72)));
        assert_eq!(next_of(&heads, true), (vec![2, 5], Joining::AsFits));
        assert_eq!(next_of(&heads[1..], false), (vec![3, 7], Joining::AsBefore(72)));
    }

    #[test]
    fn failures_count_for_their_receiver_whichever_message_it_was() {
        let mut receiver = ReceiverState::new(Instant::now());
        let failed = |given_up: bool| {
            DeliveryOutcome::Failed(DeliveryFailure {
                error: "http://x: answered 500: \u{202e}<@all>\n\"quote\"".into(),
                asked: None,
                tried_again: !given_up,
                given_up,
                go_alone: false,
            })
        };
        let mut record_outcome = |outcome: &DeliveryOutcome| {
            let finding = receiver.record_outcome(Instant::now(), "ops", outcome, Duration::ZERO);
            finding.map(|finding| (finding.level, finding.title))
        };
        let words = "\"http://x: answered 500: <@all> 'quote'\"";
        for _ in 0..3 {
            assert_eq!(record_outcome(&failed(false)), None);
        }
        let title = format!("no message gets to `ops`, 4 tries in a row so far: {words}");
        assert_eq!(record_outcome(&failed(false)), Some((Level::Warn, title)));
        assert_eq!(record_outcome(&failed(false)), None, "it is no news");
        assert_eq!(record_outcome(&DeliveryOutcome::Nothing), None);
        let title = format!("a message to `ops` was given up: {words}");
        assert_eq!(record_outcome(&failed(true)), Some((Level::Crit, title)));
        assert_eq!(record_outcome(&DeliveryOutcome::Sent), Some((Level::Ok, String::new())));
        assert_eq!(record_outcome(&failed(false)), None, "they count from there");
    }

    #[test]
    fn who_has_a_mail_is_known_after_others_were_sent() {
        let mut receiver = ReceiverState::new(Instant::now());
        let has = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        receiver.update_reached(&[1, 2], vec![(1, has(&["a"])), (2, has(&["a"]))]);
        receiver.update_reached(&[3], Vec::new());
        assert_eq!(receiver.reached.get(&1), Some(&has(&["a"])));
        receiver.update_reached(&[1], vec![(1, has(&["a", "b"]))]);
        receiver.update_reached(&[2], Vec::new());
        assert_eq!(receiver.reached, HashMap::from([(1, has(&["a", "b"]))]));
        receiver.update_reached(&[1], Vec::new());
        assert_eq!(receiver.reached, HashMap::new());
    }
}
