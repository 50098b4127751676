//! The session of one client: reads its calls, writes answers and events.
//!
//! Answers and events of a client go through one bounded queue; a client that does not read delays
//! only itself, and is disconnected after a while. Events are read from the database by cursor,
//! page by page, so a slow reader costs no memory.
use super::desk::SharedServices;
use super::flow::Outlet;
use super::forward::{CallOrder, Forwarder, QUESTION_TIMEOUT, user_name};
use super::handlers::{self, StandbyRoute, route_at_standby};
use super::house::{CONTROL_METHODS, ClientPlace, FIRST_CALL_TIMEOUT, Work};
use super::hung::unless_hung;
use crate::daemon::handlers::answers::value;
use crate::daemon::services::{CallStep, Caller, Encoded, Role, Services, Subscription};
use crate::domain::{Control, LoggedEvent, Seq};
use crate::protocol::{
    Code, END_NOTIFICATION, EVENT_NOTIFICATION, EventNote, GAP_NOTIFICATION, GapNote, InTurn,
    LIVE_NOTIFICATION, LineError, LineReader, PositionNote, Request, RpcError, SubscriptionView, decode_call,
    noted_response_line, notification_line, response_line, rights,
};
use crate::store::Store;
use interprocess::local_socket::tokio::Stream;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Maximum number of lines queued for a client.
const MAX_QUEUED_LINES: usize = 64;
/// Maximum number of concurrent calls of one client.
const MAX_CONCURRENT_CALLS: usize = 64;
/// Of those, the maximum number of questions that wait for their turn.
const MAX_QUEUED_QUESTIONS: usize = 8;
/// Methods that wait for something outside: they do not delay other calls.
const OUTSIDE_METHODS: &[&str] = &["call_tool", "ask_archive", "list_mcp", "test_notification"];
/// Number of events per page.
const PAGE_EVENTS: usize = 256;
/// A client that has read nothing for this long is disconnected; it can reconnect with its cursor.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How long answers in progress may take after the session was cancelled.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// The process at the other end of a connection.
pub(super) struct Peer {
    pub(super) user: u32,
    /// Its rights, if it is a program of a run.
    pub(super) rights: Option<Control>,
}

/// Serves one client until it disconnects, or is disconnected.
pub(super) async fn serve(
    stream: Stream,
    (desk, disconnect): (Arc<SharedServices>, CancellationToken),
    place: ClientPlace,
    outlet: Arc<Outlet>,
    peer: Peer,
) {
    desk.clients.fetch_add(1, Ordering::Relaxed);
    let (input, output) = tokio::io::split(stream);
    let (lines, waiting) = mpsc::channel(MAX_QUEUED_LINES);
    let writer = tokio::spawn(write(output, waiting, disconnect.clone(), outlet.clone()));
    let session = Session {
        desk: desk.clone(),
        lines: LineSender { lines, outlet },
        disconnect: disconnect.clone(),
        place,
        peer,
        room: Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS)),
        questions: Arc::new(Semaphore::new(MAX_QUEUED_QUESTIONS)),
        subscriptions: HashMap::new(),
        made: 0,
        order: CallOrder::default(),
    };
    session.read(LineReader::new(BufReader::new(input))).await;
    // the writer ends when the last line of the last call is written
    let _ = writer.await;
    disconnect.cancel();
    desk.clients.fetch_sub(1, Ordering::Relaxed);
}

async fn write(
    mut output: impl tokio::io::AsyncWrite + Unpin,
    mut waiting: mpsc::Receiver<String>,
    disconnect: CancellationToken,
    outlet: Arc<Outlet>,
) {
    loop {
        let line = tokio::select! {
            biased;
            line = waiting.recv() => line,
            // the last answers of a daemon that shuts down are still sent
            () = disconnect.cancelled() => {
                tokio::time::timeout(LAST_ANSWERS, waiting.recv()).await.ok().flatten()
            }
        };
        let Some(line) = line else { break };
        let give_up = async {
            disconnect.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        let is_written = tokio::select! {
            is_written = write_line(&mut output, line.as_bytes(), &outlet) => is_written,
            () = give_up => false,
        };
        outlet.done(line.len());
        if !is_written {
            break;
        }
    }
    disconnect.cancel();
    let _ = output.shutdown().await;
}

/// Writes a line in pieces. Returns false if the client has disconnected, or reads nothing.
async fn write_line(
    output: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut rest: &[u8],
    outlet: &Outlet,
) -> bool {
    while !rest.is_empty() {
        match tokio::time::timeout(READ_TIMEOUT, output.write(rest)).await {
            Ok(Ok(written)) if written > 0 => {
                rest = &rest[written..];
                outlet.reads();
            }
            Ok(_) => return false,
            Err(_) => {
                tracing::warn!(
                    "a client that has read nothing for {} s was disconnected",
                    READ_TIMEOUT.as_secs()
                );
                return false;
            }
        }
    }
    true
}

/// The queue of lines of a client, all of them counted.
#[derive(Clone)]
struct LineSender {
    lines: mpsc::Sender<String>,
    outlet: Arc<Outlet>,
}

impl LineSender {
    /// Queues a line. Returns false if the client has disconnected.
    async fn send_line(&self, line: String) -> bool {
        self.outlet.waits(line.len());
        self.send_counted(line).await
    }

    async fn send_counted(&self, line: String) -> bool {
        let bytes = line.len();
        let is_sent = self.lines.send(line).await.is_ok();
        if !is_sent {
            self.outlet.done(bytes);
        }
        is_sent
    }
}

struct Session {
    desk: Arc<SharedServices>,
    lines: LineSender,
    disconnect: CancellationToken,
    place: ClientPlace,
    peer: Peer,
    room: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    subscriptions: HashMap<u64, CancellationToken>,
    made: u64,
    /// The order of forwarded changes.
    order: CallOrder,
}

impl Session {
    async fn read(mut self, mut input: LineReader<impl tokio::io::AsyncBufRead + Unpin>) {
        let mut has_called = false;
        loop {
            let too_late = async {
                match !has_called && self.place.is_kept() {
                    true => tokio::time::sleep(FIRST_CALL_TIMEOUT).await,
                    false => std::future::pending().await,
                }
            };
            let line = tokio::select! {
                () = self.disconnect.cancelled() => return,
                () = too_late => break,
                line = input.next() => line,
            };
            has_called = true;
            match line {
                Ok(Some(line)) => self.call(&line).await,
                Ok(None) => break,
                Err(LineError::TooLong) => {
                    let error = RpcError::new(Code::InvalidRequest, LineError::TooLong.to_string());
                    self.send_line(response_line(&Value::Null, Err::<Value, _>(error))).await;
                    break;
                }
                Err(LineError::Io(_)) => break,
            }
        }
        for subscription in self.subscriptions.values() {
            subscription.cancel();
        }
    }

    async fn send_line(&self, line: String) {
        let _ = self.lines.send_line(line).await;
    }

    async fn call(&mut self, line: &[u8]) {
        let call = match decode_call(line) {
            Ok(call) => call,
            Err((id, error)) => return self.send_line(response_line(&id, Err::<Value, _>(error))).await,
        };
        let id = call.id.clone();
        if let Some(error) = self.peer.rights.and_then(|rights| refusal_of(rights, &call.method)) {
            return self.answer(id, Err(error)).await;
        }
        let work = match self.place.calls(&call.method, Instant::now()) {
            Ok(work) => work,
            Err(error) => return self.answer(id, Err(error)).await,
        };
        let steers = CONTROL_METHODS.contains(&call.method.as_str());
        // A client that does not read its answers is not served further.
        if !steers && !self.lines.outlet.has_room().await {
            return;
        }
        let waits_outside = OUTSIDE_METHODS.contains(&call.method.as_str());
        let services = self.desk.services();
        let params = match services.role {
            Role::StandsBy(_) => call.params.clone(),
            Role::Leads | Role::AtRest(_) => Value::Null,
        };
        let request = Request::decode(&call.method, call.params);
        // Its answer may be long, and is computed when it is its turn.
        let is_question = matches!(request, Ok(Request::Beside(_))) && !steers && !waits_outside;
        let step = match request {
            Ok(request) => self.step(request, (&call.method, params), &services).await,
            Err(error) => CallStep::Done(Err(error)),
        };
        // calls forwarded to the leader wait for their turn there
        let is_question = is_question && !matches!(step, CallStep::Noted(_));
        let step = match step {
            CallStep::Later(answer) => CallStep::Noted(Box::pin(async move { (answer.await, None) })),
            other => other,
        };
        match step {
            CallStep::Done(answer) => self.answer(id, answer).await,
            CallStep::Later(_) => unreachable!("it has become one with a note"),
            CallStep::Noted(answer) => {
                let Ok(place) = self.room.clone().acquire_owned().await else { return };
                // A waiting request occupies memory already.
                let question = match is_question {
                    true => self.questions.clone().acquire_owned().await.ok(),
                    false => None,
                };
                let lines = self.lines.clone();
                tokio::spawn(async move {
                    let leave = match is_question {
                        true => match lines.outlet.may_compute().await {
                            Some(leave) => Some(leave),
                            None => return,
                        },
                        false => None,
                    };
                    let (answer, note) = answer.await;
                    if let Some(id) = id {
                        let line = noted_response_line(&id, answer, note.as_deref());
                        lines.outlet.waits(line.len());
                        drop(leave);
                        let _ = lines.send_counted(line).await;
                    }
                    drop((place, question, work));
                });
            }
            CallStep::Stream(subscription) => {
                self.subscribe(id, *subscription, work, services.store.clone()).await
            }
            CallStep::Unsubscribe(subscription) => {
                let known = self.subscriptions.remove(&subscription);
                if let Some(token) = &known {
                    token.cancel();
                }
                let answer = match known {
                    Some(_) => value(serde_json::json!({})),
                    None => {
                        Err(RpcError::new(Code::InvalidParams, format!("no subscription {subscription}")))
                    }
                };
                self.answer(id, answer).await;
            }
        }
    }

    async fn answer(&self, id: Option<Value>, answer: Encoded) {
        if let Some(id) = id {
            self.send_line(response_line(&id, answer)).await;
        }
    }

    /// Handles a request; a standby forwards what it can't answer. The rights of a program of a run
    /// were checked before.
    async fn step(
        &self,
        request: Request,
        (method, params): (&str, Value),
        services: &Arc<Services>,
    ) -> CallStep {
        let caller =
            Caller { of_agent: self.peer.rights.is_some(), user: Some(self.peer.user), ..Caller::default() };
        let Role::StandsBy(forwarder) = &services.role else {
            let is_change =
                matches!(&request, Request::InTurn(request) if !matches!(request, InTurn::Shutdown(_)));
            if is_change {
                // this daemon has just taken the lead, and changes forwarded before reach it by another path
                self.order.settled().await;
            }
            return handlers::handle(request, services, &caller).await;
        };
        let user = user_name(self.peer.user);
        match route_at_standby(request) {
            StandbyRoute::Here(Request::InTurn(request)) => {
                handlers::handle(Request::InTurn(request), services, &caller).await
            }
            StandbyRoute::Here(request) => {
                let link = services.link.clone();
                let begun = unless_hung(link.clone(), handlers::handle(request, services, &caller)).await;
                match begun {
                    Ok(CallStep::Later(answer)) => CallStep::Later(Box::pin(async move {
                        unless_hung(link, answer).await.and_then(|told| told)
                    })),
                    Ok(step) => step,
                    Err(error) => CallStep::Done(Err(error)),
                }
            }
            StandbyRoute::Leader(Some(request)) => {
                let (forwarder, services, method) = (forwarder.clone(), services.clone(), method.to_owned());
                CallStep::Noted(Box::pin(async move {
                    let why = match ask_leader(&forwarder, (&method, params), &user).await {
                        Ok(answer) => return (answer, None),
                        Err(why) => why,
                    };
                    let link = services.link.clone();
                    let answer = unless_hung(link, handlers::beside(request, services)).await;
                    (answer.and_then(|told| told), Some(why))
                }))
            }
            StandbyRoute::Leader(None) => match forwarder.begin(method, params, &user, &self.order).await {
                Ok(mut forwarding) => CallStep::Later(Box::pin(async move { forwarding.answer().await })),
                Err(error) => CallStep::Done(Err(error)),
            },
        }
    }

    async fn subscribe(&mut self, id: Option<Value>, subscription: Subscription, work: Work, store: Store) {
        self.made += 1;
        let number = self.made;
        let view = SubscriptionView {
            subscription: number,
            newest_seq: subscription.newest.0,
            instead_after: subscription.instead_after,
        };
        self.answer(id, value(view)).await;
        let token = self.disconnect.child_token();
        self.subscriptions.retain(|_, token| !token.is_cancelled());
        self.subscriptions.insert(number, token.clone());
        let lines = self.lines.clone();
        let disconnect = self.disconnect.clone();
        tokio::spawn(async move {
            let _work = work;
            let feed = Feed { store, lines, number, disconnect };
            tokio::select! {
                () = token.cancelled() => {}
                () = feed.run(subscription) => token.cancel(),
            }
        });
    }
}

/// Asks the leader a question that the records can answer, too. An error says why the records are
/// used instead.
async fn ask_leader(
    forwarder: &Arc<Forwarder>,
    (method, params): (&str, Value),
    user: &str,
) -> Result<Encoded, String> {
    let records = |why: &str| format!("this is what the records say: {why}");
    let late = || format!("the leader has not answered within {} s", QUESTION_TIMEOUT.as_secs_f32());
    let until = tokio::time::Instant::now() + QUESTION_TIMEOUT;
    let order = CallOrder::default();
    let begun = forwarder.begin(method, params, user, &order);
    let mut forwarding = match tokio::time::timeout_at(until, begun).await {
        Ok(Ok(forwarding)) => forwarding,
        Ok(Err(error)) if error.kind() == Some(Code::InvalidParams) => return Ok(Err(error)),
        Ok(Err(error)) => return Err(records(&error.message)),
        Err(_) => return Err(records(&late())),
    };
    match tokio::time::timeout_at(until, forwarding.answer()).await {
        Ok(Err(error)) if error.kind() == Some(Code::NoLeader) => Err(records(&error.message)),
        Ok(answer) => Ok(answer),
        Err(_) => {
            forwarding.give_up();
            Err(records(&late()))
        }
    }
}

/// Returns the refusal of a call that exceeds the rights of a program of a run.
fn refusal_of(rights: Control, method: &str) -> Option<RpcError> {
    let needed = rights::needed(method);
    let refused = || {
        let message = format!(
            "a program that an agent runs may not call `{method}`: its `control` is \"{rights}\", and this needs \"{needed}\""
        );
        RpcError::new(Code::Refused, message)
            .hint(format!("write control = \"{needed}\" under its [agents.…], if it may control the daemon"))
    };
    (!rights.holds(needed)).then(refused)
}

/// The events of one subscription.
struct Feed {
    store: Store,
    lines: LineSender,
    number: u64,
    disconnect: CancellationToken,
}

impl Feed {
    async fn run(self, subscription: Subscription) {
        let Subscription { mut cursor, filter, follow, .. } = subscription;
        let mut newest = self.store.newest();
        let _attention = self.store.subscribe_events();
        let mut is_live = false;
        loop {
            if !self.lines.outlet.has_room().await {
                return;
            }
            newest.borrow_and_update();
            let asked = filter.clone();
            let page =
                match self.store.read(move |reader| reader.events_after(cursor, &asked, PAGE_EVENTS)).await {
                    Ok(page) => page,
                    Err(error) => {
                        // the client would wait forever; disconnected, it comes back with its cursor
                        tracing::warn!(%error, "events could not be read; the client is disconnected");
                        self.disconnect.cancel();
                        return;
                    }
                };
            if let Some((from, to)) = page.gap {
                let gap = GapNote { subscription: self.number, from: from.0, to: to.0 };
                if !self.send_line(GAP_NOTIFICATION, &gap).await {
                    return;
                }
            }
            if !self.events(page.events).await {
                return;
            }
            cursor = page.cursor;
            let past_end = filter.until.is_some_and(|until| crate::clock::wall() > until);
            if !page.at_end {
                continue;
            }
            let position = PositionNote { subscription: self.number, seq: cursor.0 };
            if !follow || past_end {
                self.send_line(END_NOTIFICATION, &position).await;
                return;
            }
            if !is_live {
                is_live = true;
                if !self.send_line(LIVE_NOTIFICATION, &position).await {
                    return;
                }
            }
            if !self.wait(&mut newest, filter.until).await {
                return;
            }
        }
    }

    /// Waits for new events, or for the end of the requested period.
    async fn wait(&self, newest: &mut tokio::sync::watch::Receiver<Seq>, until: Option<Timestamp>) -> bool {
        let end = async {
            match until.map(|until| until.duration_since(crate::clock::wall())) {
                Some(left) => tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = newest.changed() => changed.is_ok(),
            () = end => true,
        }
    }

    /// Sends the events of a page. They are queued as lines, so that they are counted.
    async fn events(&self, events: Vec<LoggedEvent>) -> bool {
        let note = |event| EventNote { subscription: self.number, event };
        let lines: Vec<String> =
            events.into_iter().map(|event| notification_line(EVENT_NOTIFICATION, &note(event))).collect();
        self.lines.outlet.waits(lines.iter().map(String::len).sum());
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            if !self.lines.send_counted(line).await {
                self.lines.outlet.done(lines.map(|line| line.len()).sum());
                return false;
            }
        }
        true
    }

    async fn send_line(&self, method: &str, params: &impl Serialize) -> bool {
        self.lines.send_line(notification_line(method, params)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::EventFilter;

    #[tokio::test]
    async fn a_client_whose_events_can_not_be_read_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bgagent.db");
        let (store, _) = Store::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (lines, _waiting) = mpsc::channel(1);
        let disconnect = CancellationToken::new();
        let lines = LineSender { lines, outlet: super::super::flow::Flow::new().open(disconnect.clone()) };
        let feed = Feed { store, lines, number: 1, disconnect: disconnect.clone() };
        let filter = EventFilter::default();
        feed.run(Subscription { cursor: Seq(0), newest: Seq(0), instead_after: None, filter, follow: true })
            .await;
        assert!(disconnect.is_cancelled());
    }
}
