//! One request from its hold to its settlement: sent to the provider, its answer streamed back. It continues when the program
//! disconnects, so that what was held is always settled.
use super::account::{AnswerEnd, Asked, HeldRequest, Settled};
use super::answer::{AnswerReading, HeardAnswer, error_said};
use super::body::Room;
use super::keyhole::Keyhole;
use super::refusal::{NotSent, in_form};
use super::spec::Upstream;
use super::state::MeterState;
use super::wire::ModelWire;
use crate::domain::{ErrorKind, Price, RunError, Usage, WorstCase, cost};
use crate::net;
use crate::proxy::reply::{Answer, BodyError, without_connection};
use futures_util::future::FutureExt;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Response, StatusCode};
use reqwest::Url;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// Maximum chunks of an answer that are buffered for the program: while it does not read, reading from the provider pauses.
const MAX_BUFFERED_CHUNKS: usize = 16;

/// What is needed to hold budget for a request.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) asked: Asked,
    pub(super) price: Option<Price>,
    pub(super) taken_out: Vec<String>,
}

/// A request being processed.
pub(super) struct Exchange {
    pub(super) state: Arc<MeterState>,
    pub(super) wire: ModelWire,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) upstream: Upstream,
    /// `None`: it costs nothing.
    pub(super) hold: Option<Hold>,
    /// Its reserved memory for bodies, until it is sent.
    pub(super) room: Option<Room>,
}

/// The outcome of a request that was sent.
struct Outcome {
    end: AnswerEnd,
    read: Option<HeardAnswer>,
    status: Option<u16>,
    may_cost: bool,
}

impl Outcome {
    fn failed(kind: ErrorKind, message: String, may_cost: bool) -> Self {
        Self { end: AnswerEnd::Failed(RunError::new(kind, message)), read: None, status: None, may_cost }
    }
}

/// How the body of an answer ends for the program.
enum BodyEnd {
    /// As the provider ended it.
    Whole,
    /// In the middle.
    Cut,
}

/// The body of an answer, as the program receives it.
struct Pieces {
    to: mpsc::Sender<Bytes>,
    /// It is complete. Otherwise its end is an abort, whatever the cause.
    is_whole: Arc<AtomicBool>,
}

/// A request's hold on the limits of its run. If it is not settled because of a panic, the worst case is charged.
struct OpenHold<'e> {
    state: &'e MeterState,
    worst: WorstCase,
    is_held: bool,
    in_flight: bool,
}

impl<'e> OpenHold<'e> {
    fn new(state: &'e MeterState, hold: &Hold) -> Self {
        state.begins(&hold.taken_out);
        Self { state, worst: hold.asked.worst, is_held: false, in_flight: true }
    }

    fn settle(&mut self, used: &Usage) {
        if std::mem::take(&mut self.is_held) {
            self.state.limits.settle(&self.worst, used);
        }
    }
}

impl Drop for OpenHold<'_> {
    fn drop(&mut self) {
        if self.in_flight {
            self.state.not_sent();
        }
        self.settle(&self.worst.usage());
    }
}

impl Exchange {
    pub(super) async fn run(mut self, mut to_program: oneshot::Sender<Answer>) {
        let mut pieces = None;
        let Some(mut hold) = self.hold.take() else {
            let (_, last) = self.send(to_program, &mut pieces).await;
            return finish(pieces, last);
        };
        let state = self.state.clone();
        let mut open = OpenHold::new(&state, &hold);
        let held = match self.take_hold(&hold, &mut open, &mut to_program).await {
            Ok(held) => held,
            Err(refused) => {
                drop(open);
                let _ = to_program.send(refused.answer(&state, self.wire));
                return;
            }
        };
        hold.asked.request = Bytes::new();
        let began = Instant::now();
        // much can have happened while it waited for a budget
        if let Some(why) = state.stop().or_else(|| to_program.is_closed().then(gone)) {
            let end = AnswerEnd::Failed(why.clone());
            let unsent = Outcome { end, read: None, status: None, may_cost: false };
            settle(&hold, held, open, unsent, Usage::default(), Duration::ZERO).await;
            let _ = to_program.send(NotSent::because(why).answer(&state, self.wire));
            return;
        }
        let sent = AssertUnwindSafe(self.send(to_program, &mut pieces)).catch_unwind().await;
        let (outcome, last) = sent.unwrap_or_else(|_| (panicked(), BodyEnd::Cut));
        let used = used(&outcome, &hold.asked.worst, hold.price.as_ref());
        settle(&hold, held, open, outcome, used, began.elapsed()).await;
        finish(pieces, last);
    }

    /// Holds the worst case: in the limits of the run, then in those of the account.
    async fn take_hold(
        &self,
        hold: &Hold,
        open: &mut OpenHold<'_>,
        to_program: &mut oneshot::Sender<Answer>,
    ) -> Result<HeldRequest, NotSent> {
        let (state, worst) = (&self.state, &hold.asked.worst);
        let stopped = || NotSent::because(state.stop().unwrap_or_else(gone));
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return Err(stopped()),
            () = to_program.closed() => return Err(NotSent::because(gone())),
            held = state.limits.hold(worst) => held.map_err(NotSent::because)?,
        }
        open.is_held = true;
        let held = tokio::select! {
            biased;
            held = state.account.hold(hold.asked.clone()) => held.map_err(NotSent::because),
            () = state.ended.cancelled() => Err(stopped()),
        };
        if held.is_err() {
            open.settle(&Usage::default());
        }
        held
    }

    /// Sends the request and streams the answer. The body of the answer is left open in `pieces`: it ends for the program after
    /// the settlement.
    async fn send(
        &mut self,
        mut to_program: oneshot::Sender<Answer>,
        pieces: &mut Option<Pieces>,
    ) -> (Outcome, BodyEnd) {
        let request = self.upstream.client.request(self.method.clone(), self.url.clone());
        let request = request.headers(self.headers.clone()).body(std::mem::take(&mut self.body));
        let head = self.state.spec.patience.head;
        let answered = tokio::select! {
            biased;
            () = self.state.ended.cancelled() => return (over(), BodyEnd::Cut),
            () = to_program.closed() => return (went_away(), BodyEnd::Cut),
            answered = timeout(head, request.send()) => answered,
        };
        self.room = None;
        let failed = match answered {
            Ok(Ok(answer)) => return self.pass_on(answer, to_program, pieces).await,
            Ok(Err(error)) => unsent(&error),
            Err(_) => Outcome::failed(
                ErrorKind::Timeout,
                format!(
                    "{} has not begun to answer within {} s ({})",
                    net::origin(&self.url),
                    head.as_secs_f64(),
                    self.state.spec.whose_patience()
                ),
                true,
            ),
        };
        if let AnswerEnd::Failed(why) = &failed.end {
            let is_late = why.kind == ErrorKind::Timeout;
            let status = if is_late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
            let message = String::from_utf8_lossy(&self.clean(why.message.clone().into())).into_owned();
            let _ = to_program.send(in_form(self.wire, status, &message));
        }
        (failed, BodyEnd::Cut)
    }

    /// Streams an answer to the program.
    async fn pass_on(
        &self,
        mut answer: reqwest::Response,
        to_program: oneshot::Sender<Answer>,
        pieces: &mut Option<Pieces>,
    ) -> (Outcome, BodyEnd) {
        self.state.lives();
        let status = answer.status();
        if status.is_redirection() {
            let message = format!(
                "{} answered {}: a request is not sent on to another address, since its key is for this one; set \
                 `base_url` of [models.{}] to the final one",
                net::origin(&self.url),
                status.as_u16(),
                self.state.spec.table
            );
            let _ = to_program.send(in_form(self.wire, StatusCode::BAD_REQUEST, &message));
            return (Outcome::failed(ErrorKind::Config, message, false), BodyEnd::Cut);
        }
        let mut keyhole = Keyhole::new(&self.upstream.secrets);
        let (reading, is_stream) = self.reading(answer.headers());
        let (tx, rx) = mpsc::channel(MAX_BUFFERED_CHUNKS);
        let tx = Pieces { to: tx, is_whole: Arc::default() };
        let head = head(status, answer.headers(), &keyhole, rx, tx.is_whole.clone());
        if to_program.send(head).is_err() {
            return (went_away(), BodyEnd::Cut);
        }
        let tx = pieces.insert(tx);
        let mut passing = StreamedAnswer { exchange: self, reading, keyhole: &mut keyhole, to: tx };
        let (broken, last) = passing.all(&mut answer, is_stream).await;
        let read = passing.reading.end(matches!(last, BodyEnd::Whole));
        let (end, may_cost) = match (broken, status.is_success()) {
            (Some(why), _) => (AnswerEnd::Failed(why), true),
            (None, true) => (read.end.clone(), true),
            (None, false) => {
                let code = status.as_u16();
                // these mean that nothing was done; others may come from a gateway that lost a working provider
                let refuses = matches!(code, 501 | 503 | 529);
                (AnswerEnd::Failed(error_of(status, &read)), code == 408 || (code >= 500 && !refuses))
            }
        };
        (Outcome { end, read: Some(read), status: Some(status.as_u16()), may_cost }, last)
    }

    /// Returns the parser of the answer, and whether it is a stream of events.
    fn reading(&self, headers: &HeaderMap) -> (AnswerReading, bool) {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let reading = AnswerReading::new(self.wire, content_type);
        let is_packed = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        let can_be_added_to = !headers.contains_key(CONTENT_LENGTH) && !is_packed;
        let is_stream = content_type.contains("event-stream") && can_be_added_to;
        (if is_packed { reading.unreadable() } else { reading }, is_stream)
    }

    fn clean(&self, bytes: Bytes) -> Bytes {
        let mut keyhole = Keyhole::new(&self.upstream.secrets);
        let mut clean = keyhole.push(bytes).to_vec();
        clean.extend_from_slice(&keyhole.rest());
        clean.into()
    }
}

/// An answer while it is streamed.
struct StreamedAnswer<'a> {
    exchange: &'a Exchange,
    reading: AnswerReading,
    keyhole: &'a mut Keyhole,
    to: &'a Pieces,
}

impl StreamedAnswer<'_> {
    /// Streams the answer to its end. Returns the error if it did not complete.
    async fn all(&mut self, answer: &mut reqwest::Response, is_stream: bool) -> (Option<RunError>, BodyEnd) {
        let state = &self.exchange.state;
        let pause = state.spec.patience.pause;
        // with the last announced byte it is complete: the program may close the connection then
        let mut left = answer.content_length().filter(|left| *left > 0);
        loop {
            let next = tokio::select! {
                biased;
                () = state.ended.cancelled() => return (Some(over_error()), BodyEnd::Cut),
                () = self.to.to.closed() => return (Some(gone()), BodyEnd::Cut),
                next = timeout(pause, answer.chunk()) => next,
            };
            match next {
                Ok(Ok(Some(bytes))) => {
                    state.lives();
                    left = left.map(|left| left.saturating_sub(bytes.len() as u64));
                    let bytes = self.keyhole.push(bytes);
                    if !self.give(bytes).await {
                        return (Some(gone()), BodyEnd::Cut);
                    }
                    if left == Some(0) {
                        return self.whole().await;
                    }
                }
                Ok(Ok(None)) => return self.whole().await,
                Ok(Err(error)) => {
                    let message = format!("the answer broke off: {}", net::describe(&error));
                    return (Some(RunError::new(ErrorKind::Network, message)), BodyEnd::Cut);
                }
                Err(_) => return self.stalled(is_stream).await,
            }
        }
    }

    /// Finishes a complete answer by sending what was held back.
    async fn whole(&mut self) -> (Option<RunError>, BodyEnd) {
        let rest = self.keyhole.rest();
        if self.give(rest).await { (None, BodyEnd::Whole) } else { (Some(gone()), BodyEnd::Cut) }
    }

    /// Finishes an answer that stalled. A stream can report it; anything else is aborted.
    async fn stalled(&mut self, is_stream: bool) -> (Option<RunError>, BodyEnd) {
        let spec = &self.exchange.state.spec;
        let message = format!(
            "the answer stopped: nothing came for {} s ({})",
            spec.patience.pause.as_secs_f64(),
            spec.whose_patience()
        );
        let why = Some(RunError::new(ErrorKind::Timeout, message.clone()));
        // nothing can be appended to an incomplete event
        if !is_stream || !self.reading.is_between_events() {
            return (why, BodyEnd::Cut);
        }
        let event = Bytes::from(self.exchange.wire.error_event(504, &format!("bgagent: {message}")));
        let pause = spec.patience.pause;
        let is_told = matches!(timeout(pause, self.to.to.send(event)).await, Ok(Ok(())));
        (why, if is_told { BodyEnd::Whole } else { BodyEnd::Cut })
    }

    /// Sends a chunk. Returns `false` if the program has disconnected.
    async fn give(&mut self, bytes: Bytes) -> bool {
        if bytes.is_empty() {
            return true;
        }
        self.reading.push(&bytes);
        let state = &self.exchange.state;
        let pause = state.spec.patience.pause;
        tokio::select! {
            biased;
            () = state.ended.cancelled() => false,
            given = timeout(pause, self.to.to.send(bytes)) => matches!(given, Ok(Ok(()))),
        }
    }
}

/// Returns the head of an answer, with its body attached.
fn head(
    status: StatusCode,
    headers: &HeaderMap,
    keyhole: &Keyhole,
    pieces: mpsc::Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
) -> Answer {
    let next = async |open: Option<(mpsc::Receiver<Bytes>, Arc<AtomicBool>)>| {
        let (mut pieces, is_whole) = open?;
        match pieces.recv().await {
            Some(bytes) => Some((Ok::<_, BodyError>(Frame::data(bytes)), Some((pieces, is_whole)))),
            None if is_whole.load(Ordering::Acquire) => None,
            None => Some((Err("the answer broke off".into()), None)),
        }
    };
    let pieces = stream::unfold(Some((pieces, is_whole)), next);
    let mut head = Response::new(StreamBody::new(pieces).boxed_unsync());
    *head.status_mut() = status;
    let mut headers = headers.clone();
    without_connection(&mut headers);
    for (name, value) in &headers {
        if !keyhole.is_in(value.as_bytes()) {
            head.headers_mut().append(name, value.clone());
        }
    }
    head
}

/// Replaces what was held by what was used, everywhere.
async fn settle(
    hold: &Hold,
    held: HeldRequest,
    mut open: OpenHold<'_>,
    outcome: Outcome,
    used: Usage,
    took: Duration,
) {
    let Outcome { end, read, status, .. } = outcome;
    let read = read.unwrap_or_else(HeardAnswer::nothing);
    let settled = Settled {
        table: hold.asked.table.clone(),
        model: hold.asked.model.clone(),
        used,
        tokens: read.tokens.filter(|_| read.is_final),
        end,
        text: read.text,
        calls: read.calls,
        status,
        answer: read.kept,
        left_out: read.left_out,
        took,
    };
    open.state.ends(&settled, hold.asked.has_tools);
    open.in_flight = false;
    open.state.account.settle(held, settled).await;
    open.settle(&used);
}

/// Ends the body of an answer.
fn finish(pieces: Option<Pieces>, last: BodyEnd) {
    if let (Some(pieces), BodyEnd::Whole) = (pieces, last) {
        pieces.is_whole.store(true, Ordering::Release);
    }
}

fn gone() -> RunError {
    RunError::new(ErrorKind::Interrupted, "the program went away before its answer was whole")
}

fn over_error() -> RunError {
    RunError::new(ErrorKind::Interrupted, "the run was over before the answer was whole")
}

fn over() -> Outcome {
    Outcome { end: AnswerEnd::Failed(over_error()), read: None, status: None, may_cost: true }
}

fn went_away() -> Outcome {
    Outcome { end: AnswerEnd::Failed(gone()), read: None, status: None, may_cost: true }
}

/// Returns the outcome after a panic: it is unknown how far the request got.
fn panicked() -> Outcome {
    Outcome::failed(ErrorKind::Provider, "the meter is broken: see the log of the daemon".into(), true)
}

/// Returns the outcome without an answer. Once connected, it is unknown how much of the request has arrived.
fn unsent(error: &reqwest::Error) -> Outcome {
    let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Network };
    let sent = !error.is_connect() && !error.is_builder();
    Outcome::failed(kind, format!("the provider can't be asked: {}", net::describe(error)), sent)
}

/// Returns the error for an answer with an error status.
fn error_of(status: StatusCode, read: &HeardAnswer) -> RunError {
    let kind = match status.as_u16() {
        401..=403 => ErrorKind::Auth,
        429 => ErrorKind::RateLimit,
        408 | 409 | 425 | 500.. => ErrorKind::Provider,
        _ => ErrorKind::Config,
    };
    RunError::new(kind, format!("the provider answered {}: {}", status.as_u16(), error_said(&read.kept)))
}

/// Returns what is charged. If the provider does not report the total usage, the worst case is assumed.
fn used(outcome: &Outcome, worst: &WorstCase, price: Option<&Price>) -> Usage {
    let read = outcome.read.as_ref();
    let said = read.and_then(|read| read.tokens).map(|tokens| Usage {
        requests: 1,
        input_tokens: tokens.input,
        cached_tokens: tokens.cached,
        output_tokens: tokens.output,
        usd: price.map_or(0.0, |price| cost(price, &tokens)),
    });
    match said {
        Some(said) if read.is_some_and(|read| read.is_final) => said,
        said if outcome.may_cost => larger(worst.usage(), said),
        Some(said) => said,
        None => Usage { requests: 1, ..Usage::default() },
    }
}

fn larger(worst: Usage, said: Option<Usage>) -> Usage {
    let said = said.unwrap_or_default();
    Usage {
        requests: 1,
        input_tokens: worst.input_tokens.max(said.input_tokens),
        cached_tokens: if said.input_tokens > worst.input_tokens { said.cached_tokens } else { 0 },
        output_tokens: worst.output_tokens.max(said.output_tokens),
        usd: worst.usd.max(said.usd),
    }
}
