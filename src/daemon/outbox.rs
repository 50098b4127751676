//! Delivers the messages of the outbox, each on its own account: a failed delivery never touches a
//! run.
use super::clock;
use super::event_loop::Handle;
use crate::domain::{Entry, Fact, NotifyTarget};
use crate::notify::{self, Message};
use crate::store::{OutboxRow, Store};
use jiff::SignedDuration;
use std::collections::HashMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Messages on their way at a time.
const AT_A_TIME: usize = 8;
/// One delivery.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries to record what was delivered.
const PAUSE: Duration = Duration::from_secs(2);
/// When nothing else tells, look again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// When the daemon goes down, deliveries under way get this long to end and to be recorded. What is not done
/// by then stays in the outbox.
pub(super) const LAST_DELIVERIES: Duration = Duration::from_secs(3);

/// Delivers until the daemon goes down. What it does not get to, and what it does not see the end of, stays in
/// the outbox.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut newest = store.newest();
    // Of mails that did not reach all: who has them. Forgotten when the daemon ends; then they get it twice, with
    // the same Message-ID.
    let mut reached: HashMap<i64, Vec<String>> = HashMap::new();
    loop {
        newest.borrow_and_update();
        let now = clock::now().wall;
        if down.is_cancelled() {
            return;
        }
        let due = store.read(move |reader| reader.outbox_due(now, AT_A_TIME)).await;
        let due =
            due.inspect_err(|error| tracing::warn!(%error, "the outbox could not be read; trying again"));
        if due.as_ref().map_or(true, Vec::is_empty) {
            let left = match (&due, store.read(|reader| reader.outbox_next()).await) {
                // that it can't be read does not mean that nothing is in it
                (Err(_), _) | (_, Err(_)) => PAUSE,
                (Ok(_), Ok(next)) => next.map_or(LOOK_AGAIN, |next| {
                    Duration::try_from(next.duration_since(now)).unwrap_or_default().min(LOOK_AGAIN)
                }),
            };
            tokio::select! {
                () = down.cancelled() => return,
                () = tokio::time::sleep(left) => {}
                changed = newest.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let deliveries: Vec<_> = due
            .into_iter()
            .flatten()
            .map(|row| {
                let reached = reached.remove(&row.id).unwrap_or_default();
                tokio::spawn(deliver(row, reached, handle.clone()))
            })
            .collect();
        let mut entries = Vec::new();
        let late = async {
            down.cancelled().await;
            tokio::time::sleep(LAST_DELIVERIES / 2).await;
        };
        tokio::pin!(late);
        let mut is_late = false;
        for delivery in deliveries {
            tokio::select! {
                biased;
                told = delivery => if let Ok(Some((entry, partly))) = told {
                    entries.push(entry);
                    reached.extend(partly);
                },
                () = &mut late, if !is_late => is_late = true,
                () = std::future::ready(()), if is_late => {}
            } // who is late stays in the outbox
        }
        if entries.is_empty() {
            tokio::select! {
                () = down.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => continue,
            }
        }
        // not before it is recorded is the outbox looked at again: what it has was delivered
        while let Err(error) = store.commit(entries.clone()).await {
            tracing::warn!(%error, "deliveries could not be recorded; trying again");
            tokio::select! {
                () = down.cancelled() => return, // they will be made twice
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Gives what came of it, and who has the message if others are to be tried again. `None`: nothing came of it,
/// since the daemon goes down and nobody says any more how the target is reached.
async fn deliver(
    row: OutboxRow,
    mut reached: Vec<String>,
    handle: Handle,
) -> Option<(Entry, Option<(i64, Vec<String>)>)> {
    let name = row.target.clone();
    let target: Option<NotifyTarget> =
        handle.ask(move |engine, _| engine.fleet().notify.get(&name).cloned()).await?;
    let message = Message {
        id: row.id,
        agent: row.agent.clone(),
        about: row.about,
        at: row.at,
        subject: row.subject,
        body: row.body,
        reached: reached.clone(),
    };
    let tries = row.tries + 1;
    let sent = match target {
        Some(target) => notify::send(&target, &message, PATIENCE).await.map_err(|error| {
            reached.extend(error.reached);
            (error.message, error.worth_retrying)
        }),
        None => Err((format!("the configuration in force has no [notify.{}]", row.target), false)),
    };
    let at = clock::now().wall;
    let (id, target, agent) = (row.id, row.target, row.agent);
    let mut partly = None;
    let fact = match sent {
        Ok(()) => Fact::NotificationSent { id, target, agent, tries },
        Err((error, worth_retrying)) => {
            let delay = notify::retry_delay(tries).filter(|_| worth_retrying);
            let retry_at =
                delay.map(|delay| at + SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX));
            tracing::warn!(%target, %error, ?retry_at, "a notification was not delivered");
            partly = retry_at.filter(|_| !reached.is_empty()).map(|_| (id, reached));
            Fact::NotificationFailed { id, target, agent, tries, error, retry_at }
        }
    };
    Some((Entry { at, fact }, partly))
}
