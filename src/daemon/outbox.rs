//! Delivers the messages of the outbox, each on its own account: a failed delivery never touches a
//! run.
//!
//! Theory of operation. Each receiver has a pace (`notify::Pace`), and is given one message at a time. What waits for it
//! when it may have the next one goes together, if it is more than its pace has room for. What came of a delivery is
//! recorded before that receiver is given anything else; what goes together is recorded before it is sent. So a crash
//! repeats at most the message that was under way, as it was and under the same key.
//!
//! It looks into the outbox when something was put there, when a delivery has ended, and when the next try is due; words
//! are read of those messages only that are sent.
use super::clock;
use crate::daemon::inbox::{self, Handle};
use crate::domain::{
    Entry, Fact, Finding, FoundBy, IncidentRecord, Level, NotifyTarget, TellOn, Urgency, quoted,
};
use crate::notify::{self, Pace};
use crate::store::{OutboxHead, Store, SurplusResult};
use delivery::{ChosenMessages, Delivered, DeliveryEnd, Joining, LONGEST_ASKED, PAUSE, deliver};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod delivery;

/// Receivers that are served at a time.
const AT_A_TIME: usize = 8;
/// Messages of one receiver that are looked at.
const OF_EACH: usize = 100;
/// Results of one receiver that wait; the oldest of more are given up.
const RESULTS: usize = 200;
/// When nothing else tells, look again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// When the daemon goes down, deliveries under way get this long to end and to be recorded. What is not done by then
/// stays in the outbox.
pub(super) const LAST_DELIVERIES: Duration = Duration::from_secs(3);
/// A receiver that so many tries in a row did not reach, whichever messages they had, is a problem of the daemon.
const DOWN_AFTER: u32 = 4;
/// The longest that other messages wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Of the words of an error in the title of an incident, so many characters.
const WORDS: usize = 160;

/// Delivers until the daemon goes down. What it does not get to, and what it does not see the end of, stays in
/// the outbox.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut queued = store.outbox();
    let mut outbox = Outbox { store, handle, lines: HashMap::new(), under_way: JoinSet::new() };
    loop {
        queued.borrow_and_update();
        let wake = outbox.begin_what_may().await;
        tokio::select! {
            () = down.cancelled() => return outbox.end().await,
            () = tokio::time::sleep_until(wake) => {}
            Some(ended) = outbox.under_way.join_next() => outbox.ended(ended).await,
            changed = queued.changed() => if changed.is_err() { return },
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
    /// Rows that a delivery under way may be about; none: there is no such delivery.
    sending: Vec<i64>,
    /// It refused several as one: until it has taken one, they go one by one.
    alone: bool,
    /// Tries in a row that did not reach it.
    failures: u32,
    /// What was last said of it to the engine.
    noticed: Option<Level>,
    /// Of mails that did not reach all: who has them, by row. Forgotten when the daemon ends; then they get it twice,
    /// with the same Message-ID.
    reached: HashMap<i64, Vec<String>>,
}

impl Line {
    fn new(now: Instant) -> Self {
        Self {
            pace: Pace::new(now),
            sending: Vec::new(),
            alone: false,
            failures: 0,
            noticed: None,
            reached: HashMap::new(),
        }
    }

    /// Of these rows, those are left that did not reach all. Others wait for their own delivery, and keep what is
    /// known of them.
    fn learn(&mut self, rows: &[i64], partly: Vec<(i64, Vec<String>)>) {
        self.reached.retain(|row, _| !rows.contains(row));
        self.reached.extend(partly);
    }

    /// Takes note of what came of a delivery; what that says of the receiver, if it is news.
    fn hears(
        &mut self,
        now: Instant,
        target: &str,
        outcome: &DeliveryEnd,
        apart: Duration,
    ) -> Option<Finding> {
        let (level, title) = match outcome {
            DeliveryEnd::Nothing => return None,
            DeliveryEnd::Sent => {
                (self.failures, self.alone) = (0, false);
                self.pace.sent(now, apart);
                (Level::Ok, String::new())
            }
            DeliveryEnd::Failed(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.alone |= failure.go_alone;
                self.pace.sent(now, apart);
                if failure.tried_again {
                    self.pace.wait(now, wait_after(self.failures, failure.asked));
                }
                let words = quoted(&failure.error, WORDS);
                match self.failures {
                    _ if failure.given_up => {
                        (Level::Crit, format!("a message to `{target}` was given up: {words}"))
                    }
                    tries if tries >= DOWN_AFTER => (
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
    /// Begins each delivery that may begin now; says when to look again.
    async fn begin_what_may(&mut self) -> Instant {
        let now = clock::now().wall;
        let mut wake = Instant::now() + LOOK_AGAIN;
        let read = move |reader: &crate::store::Reader| {
            let surplus = reader.outbox_surplus(RESULTS)?;
            Ok((surplus, reader.outbox_due(now, OF_EACH)?, reader.outbox_next(now)?))
        };
        let (surplus, due, next) = match self.store.read(read).await {
            Ok(read) => read,
            Err(error) => {
                // that it can't be read does not mean that nothing is in it
                tracing::warn!(%error, "the outbox could not be read; trying again");
                return Instant::now() + PAUSE;
            }
        };
        self.give_up(surplus).await;
        let mut by_target: BTreeMap<String, Vec<OutboxHead>> = BTreeMap::new();
        for head in due {
            by_target.entry(head.target.clone()).or_default().push(head);
        }
        by_target.retain(|name, _| self.lines.get(name).is_none_or(|line| line.sending.is_empty()));
        if !by_target.is_empty() {
            let names: HashSet<String> = by_target.keys().cloned().collect();
            let asked = self.handle.ask(move |engine, _| {
                let known = &engine.fleet().notify;
                let found = names.into_iter().map(|name| (known.get(&name).cloned(), name));
                (found.collect::<Vec<_>>(), engine.fleet().daemon.timezone.clone())
            });
            // No answer: the daemon goes down, and they stay where they are.
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

    /// Results for which a receiver has no room any more are given up, the oldest first.
    async fn give_up(&self, surplus: Vec<SurplusResult>) {
        let under_way = |one: &SurplusResult| {
            self.lines.get(&one.target).is_some_and(|line| line.sending.contains(&one.id))
        };
        let at = clock::now().wall;
        let error = format!("more than {RESULTS} results wait for it: the oldest are given up");
        let entries: Vec<Entry> = surplus
            .into_iter()
            .filter(|one| !under_way(one))
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
        mut heads: Vec<OutboxHead>,
    ) -> Option<Instant> {
        let now = Instant::now();
        if heads.is_empty() || self.under_way.len() >= AT_A_TIME {
            return None; // the end of another delivery looks again
        }
        let line = self.lines.entry(name.clone()).or_insert_with(|| Line::new(now));
        let per_minute = target.as_ref().and_then(|target| target.per_minute);
        let room = line.pace.room(now, per_minute);
        if room == 0 {
            return Some(line.pace.next(per_minute));
        }
        heads.sort_by_key(turn);
        let may_join = !line.alone && notify::may_join(target.as_ref());
        let (rows, joining) = next_of(&heads, heads.len() > room && may_join);
        line.sending.clone_from(&rows);
        let reached = line.reached.iter().filter(|(row, _)| rows.contains(row));
        let reached = reached.map(|(row, names)| (*row, names.clone())).collect();
        let chosen = ChosenMessages { name, target, rows, joining, reached };
        self.under_way.spawn(deliver(self.store.clone(), chosen));
        None
    }

    async fn ended(&mut self, ended: Result<Delivered, tokio::task::JoinError>) {
        let Ok(ended) = ended else {
            // It broke off inside. Its receiver is not known from here: all are asked anew.
            tracing::error!("a delivery broke off");
            self.lines.values_mut().for_each(|line| line.sending.clear());
            return;
        };
        let Delivered { target, rows, partly, apart, outcome, removed } = ended;
        if removed {
            self.lines.remove(&target);
            return;
        }
        let Some(line) = self.lines.get_mut(&target) else { return };
        line.sending.clear();
        line.learn(&rows, partly);
        if let Some(finding) = line.hears(Instant::now(), &target, &outcome, apart) {
            let _ = self.handle.inbox.send(inbox::Message::Noticed(finding)).await;
        }
    }
}

/// How long nothing else is given to a receiver after so many failures in a row.
fn wait_after(failures: u32, asked: Option<Duration>) -> Duration {
    let own = notify::retry_delay(failures).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

/// Where a message stands in the line of its receiver: what is urgent does not wait behind results, which go one by one.
fn turn(head: &OutboxHead) -> (bool, bool, i64) {
    (head.about == TellOn::Completed, head.urgency != Urgency::Critical, head.id)
}

/// What is sent in quiet hours: what is critical, and with it what goes together with that.
fn is_urgent_among(heads: &[OutboxHead]) -> impl Fn(&OutboxHead) -> bool + use<> {
    let critical = heads.iter().filter(|head| head.urgency == Urgency::Critical);
    let numbers: HashSet<i64> = critical.filter_map(|head| Some(head.joined?.0)).collect();
    move |head| match head.joined {
        Some((number, _)) => numbers.contains(&number),
        None => head.urgency == Urgency::Critical,
    }
}

/// Which of the messages that wait, in their order, the next delivery is about.
fn next_of(heads: &[OutboxHead], may_join: bool) -> (Vec<i64>, Joining) {
    let first = &heads[0];
    if let Some((number, each)) = first.joined {
        let same = heads.iter().filter(|head| head.joined.is_some_and(|(other, _)| other == number));
        return (same.map(|head| head.id).collect(), Joining::AsBefore(each));
    }
    // results are read as they are, and what is asked is answered by itself
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
            assert_eq!(asked.map(|asked| until_next(own, asked)), [own, own, LONGEST_ASKED.max(own)]);
            assert_eq!(until_next(own, None), own);
            let waits = asked.map(|asked| wait_after(tries, asked));
            assert_eq!(waits, [own.min(LONGEST_WAIT), own.min(LONGEST_WAIT), LONGEST_ASKED]);
        }
        assert_eq!(wait_after(99, None), LONGEST_WAIT);
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
        heads.sort_by_key(turn);
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
        let mut line = Line::new(Instant::now());
        let failed = |given_up: bool| {
            DeliveryEnd::Failed(DeliveryFailure {
                error: "http://x: answered 500: \u{202e}<@all>\n\"quote\"".into(),
                asked: None,
                tried_again: !given_up,
                given_up,
                go_alone: false,
            })
        };
        let mut hears = |outcome: &DeliveryEnd| {
            let finding = line.hears(Instant::now(), "ops", outcome, Duration::ZERO);
            finding.map(|finding| (finding.level, finding.title))
        };
        let words = "\"http://x: answered 500: <@all> 'quote'\"";
        for _ in 0..3 {
            assert_eq!(hears(&failed(false)), None);
        }
        let title = format!("no message gets to `ops`, 4 tries in a row so far: {words}");
        assert_eq!(hears(&failed(false)), Some((Level::Warn, title)));
        assert_eq!(hears(&failed(false)), None, "it is no news");
        assert_eq!(hears(&DeliveryEnd::Nothing), None);
        let title = format!("a message to `ops` was given up: {words}");
        assert_eq!(hears(&failed(true)), Some((Level::Crit, title)));
        assert_eq!(hears(&DeliveryEnd::Sent), Some((Level::Ok, String::new())));
        assert_eq!(hears(&failed(false)), None, "they count from there");
    }

    #[test]
    fn who_has_a_mail_is_known_after_others_were_sent() {
        let mut line = Line::new(Instant::now());
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
