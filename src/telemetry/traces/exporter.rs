//! Sends the trace of each ended run to a collector, by OTLP over HTTP (opentelemetry.io/docs/specs/otlp).
//!
//! There are two halves: one follows the log and builds the spans of each run that ends, the other sends queued spans.
//! A slow or unreachable collector delays neither runs nor the log: when the queue is full, spans are dropped and
//! counted.
use super::attributes::{SCHEMA, SERVICE_INSTANCE, SERVICE_NAME, SERVICE_VERSION, text};
use super::queue::{SpanQueue, TraceProgress};
use super::spans::{MAX_SPANS, TraceOptions, spans};
use crate::clock;
use crate::domain::{EventType, Fleet, LoggedEvent, RunId, Seq, TextOrSecret};
use crate::net;
use crate::secret;
use crate::store::{EventFilter, Store, StoreError};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Interval between polls of the log, so that runs that end within it are sent together.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum number of ended runs per poll.
const MAX_RUNS_PER_POLL: usize = 256;
/// Maximum number of events that are read per run.
const MAX_EVENTS_PER_RUN: usize = 5 * MAX_SPANS;
/// Timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a program that prints a secret.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before the first retry; doubles with each retry.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(500);
/// Maximum delay between attempts, even if the collector asks for more.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Spans that could not be sent for this long are dropped.
const RETRY_TIMEOUT: Duration = Duration::from_secs(300);

/// Events that spans are built from.
const TRACED_EVENTS: &[EventType] = &[
    EventType::TaskStarted,
    EventType::TaskCompleted,
    EventType::TaskError,
    EventType::TaskCancelled,
    EventType::UserMessage,
    EventType::AgentMessage,
    EventType::FinalAnswer,
    EventType::ModelResponse,
    EventType::ToolCallStarted,
    EventType::ToolCallResult,
    EventType::ToolCallError,
];
/// Events that may end a run.
const RUN_END_EVENTS: &[EventType] =
    &[EventType::TaskCompleted, EventType::TaskError, EventType::TaskCancelled];

/// A collector of traces.
pub struct Collector<'a> {
    /// The base URL.
    pub endpoint: &'a str,
    /// Additional headers of each request. Secrets are looked up for each request, since they may change.
    pub headers: BTreeMap<String, TextOrSecret>,
}

/// Sends traces to one collector.
pub struct TraceExporter {
    store: Store,
    url: Url,
    headers: BTreeMap<String, TextOrSecret>,
    client: Client,
    content: bool,
    /// The instance id of the sender: the identity of the database.
    instance: String,
    progress: Arc<TraceProgress>,
    queue: SpanQueue,
}

/// The error of an attempt to send spans.
struct SendFailure {
    why: String,
    /// The minimum delay before a retry; `None`: a retry can't help.
    again: Option<Duration>,
}

impl TraceExporter {
    /// Creates an exporter for this collector, which reports its state to `progress`.
    ///
    /// # Errors
    /// The URL is invalid, or no HTTP client can be created.
    pub fn new(
        store: Store,
        to: Collector<'_>,
        content: bool,
        instance: String,
        progress: Arc<TraceProgress>,
    ) -> Result<Self, String> {
        let url = traces_url(to.endpoint)?;
        let client = net::pooled(&url, CONNECT_TIMEOUT)?;
        progress.begins(url.as_str());
        Ok(Self {
            store,
            url,
            headers: to.headers,
            client,
            content,
            instance,
            progress,
            queue: SpanQueue::default(),
        })
    }

    /// Sends traces of runs that end after the event `after` (`None`: from now on) until `down`, and then the rest of
    /// the queue.
    pub async fn run(&self, after: Option<Seq>, fleet: watch::Receiver<Arc<Fleet>>, down: CancellationToken) {
        let following = async {
            self.follow(after, &fleet, &down).await;
            self.queue.close();
        };
        tokio::join!(following, self.send_all());
    }

    async fn follow(
        &self,
        after: Option<Seq>,
        fleet: &watch::Receiver<Arc<Fleet>>,
        down: &CancellationToken,
    ) {
        let mut newest = self.store.newest();
        let now = *newest.borrow_and_update();
        let mut cursor = after.unwrap_or(now);
        let mut has_failed = false;
        loop {
            let is_last = down.is_cancelled();
            match self.poll_log(&mut cursor, fleet).await {
                Ok(true) if is_last => return,
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if is_last => return tracing::debug!(%error, "the last traces can't be read"),
                Err(error) => {
                    if self.progress.has_problem(&format!("the events can't be read: {error}")) {
                        tracing::warn!(%error, "traces can't be made: the events can't be read");
                    }
                    has_failed = true;
                }
            }
            // what could not be read is read again without waiting for a commit
            if !std::mem::take(&mut has_failed) {
                tokio::select! {
                    changed = newest.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                    () = down.cancelled() => continue,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = down.cancelled() => {}
            }
        }
    }

    /// Queues the spans of runs that ended after `cursor`. Returns true at the end of the log.
    async fn poll_log(
        &self,
        cursor: &mut Seq,
        fleet: &watch::Receiver<Arc<Fleet>>,
    ) -> Result<bool, StoreError> {
        let after = *cursor;
        let page = self
            .store
            .read(move |reader| reader.events_after(after, &of_types(RUN_END_EVENTS), MAX_RUNS_PER_POLL))
            .await?;
        let ended = page
            .events
            .iter()
            .filter_map(|event| Some((event.seq, event.event()?.ended_run().map(|(_, run)| run.run_id)?)));
        for (seq, run) in ended.collect::<Vec<_>>() {
            let events = self.events_of(run).await?;
            let fleet = fleet.borrow().clone();
            let telling = TraceOptions { models: &fleet.models, content: self.content };
            let (spans, left_out) = spans(run, &events, telling);
            let count = spans.len();
            // before any of them can be sent
            self.progress.note(|standing| standing.waiting += count as u64);
            let without_place = self.queue.add(spans);
            self.progress.note(|standing| {
                standing.waiting = standing.waiting.saturating_sub(without_place as u64);
                standing.dropped += (left_out + without_place) as u64;
            });
            // so that a later read error does not repeat them
            *cursor = seq;
        }
        *cursor = page.cursor;
        Ok(page.at_end)
    }

    async fn events_of(&self, run: RunId) -> Result<Vec<LoggedEvent>, StoreError> {
        let filter = EventFilter { run: Some(run), ..of_types(TRACED_EVENTS) };
        let read = move |reader: &crate::store::Reader| {
            let (mut all, mut after) = (Vec::new(), Seq(0));
            loop {
                let page = reader.events_after(after, &filter, MAX_EVENTS_PER_RUN - all.len())?;
                all.extend(page.events);
                after = page.cursor;
                if page.at_end || all.len() >= MAX_EVENTS_PER_RUN {
                    return Ok(all);
                }
            }
        };
        self.store.read(read).await
    }

    async fn send_all(&self) {
        while let Some(spans) = self.queue.take().await {
            let count = spans.len() as u64;
            let body = self.request(spans).encode_to_vec();
            let refused = self.send(body).await;
            self.progress.note(|standing| {
                standing.waiting = standing.waiting.saturating_sub(count);
                standing.dropped += refused.unwrap_or(count).min(count);
                standing.sent += count - refused.unwrap_or(count).min(count);
            });
        }
    }

    /// Sends one request, with retries. Returns how many of its spans were rejected; `None`: given up.
    async fn send(&self, body: Vec<u8>) -> Option<u64> {
        let (began, mut wait) = (Instant::now(), FIRST_RETRY_DELAY);
        loop {
            let failure = match self.post(body.clone()).await {
                Ok(refused) => {
                    self.progress.note(|standing| standing.problem = None);
                    return Some(refused);
                }
                Err(failure) => failure,
            };
            let SendFailure { why, again } = failure;
            let is_news = self.progress.has_problem(&why);
            let Some(again) = again.filter(|_| began.elapsed() < RETRY_TIMEOUT) else {
                tracing::warn!(url = %self.url, "traces are dropped: {why}");
                return None;
            };
            if is_news {
                tracing::warn!(url = %self.url, "traces can't be sent: {why}; it is tried again");
            }
            tokio::time::sleep(again.max(wait).min(MAX_RETRY_DELAY)).await;
            wait = (wait * 2).min(MAX_RETRY_DELAY);
        }
    }

    /// Makes one attempt. Returns how many spans the collector rejected.
    async fn post(&self, body: Vec<u8>) -> Result<u64, SendFailure> {
        let later = |why: String| SendFailure { why, again: Some(Duration::ZERO) };
        let headers = self.headers().await.map_err(later)?;
        let request = self.client.post(self.url.clone()).headers(headers);
        let sent = request.body(body).timeout(ANSWER_TIMEOUT).send().await;
        let answer = sent.map_err(|error| later(net::describe(&error.without_url())))?;
        let status = answer.status();
        if status.is_success() {
            // an unreadable response body still counts as a response
            let said = answer.bytes().await.unwrap_or_default();
            let said = ExportTraceServiceResponse::decode(said).ok().and_then(|said| said.partial_success);
            let refused = said.filter(|said| said.rejected_spans > 0);
            if let Some(said) = &refused {
                tracing::warn!(url = %self.url, spans = said.rejected_spans, "the collector refuses spans");
            }
            return Ok(refused.map_or(0, |said| said.rejected_spans.unsigned_abs()));
        }
        let why = format!("the collector answers with HTTP status {}", status.as_u16());
        let passes = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let wanted = net::retry_after(answer.headers(), clock::wall()).unwrap_or_default();
        Err(SendFailure { why, again: passes.contains(&status).then_some(wanted) })
    }

    async fn headers(&self) -> Result<HeaderMap, String> {
        let mut all = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = secret::value_of(value, SECRET_TIMEOUT).await;
            let value = value.map_err(|error| format!("no value for the header `{name}`: {error}"))?;
            let (Ok(known), Ok(mut value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value.expose()))
            else {
                return Err(format!("the value of the header `{name}` has characters that HTTP can't carry"));
            };
            value.set_sensitive(true);
            all.insert(known, value);
        }
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(all)
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let version = env!("CARGO_PKG_VERSION");
        let resource = Resource {
            attributes: vec![
                text(SERVICE_NAME, "bgagent"),
                text(SERVICE_VERSION, version),
                text(SERVICE_INSTANCE, self.instance.as_str()),
            ],
            ..Resource::default()
        };
        let scope =
            InstrumentationScope { name: "bgagent".into(), version: version.into(), ..Default::default() };
        let schema_url = SCHEMA.to_owned();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: schema_url.clone() }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url }];
        ExportTraceServiceRequest { resource_spans }
    }
}

fn of_types(types: &[EventType]) -> EventFilter {
    EventFilter {
        types: types.iter().map(|kind| kind.as_str().to_owned()).collect(),
        ..EventFilter::default()
    }
}

/// Returns the URL for traces, relative to the base URL (opentelemetry.io/docs/specs/otel/protocol/exporter).
fn traces_url(endpoint: &str) -> Result<Url, String> {
    let base = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    Url::parse(&base).map_err(|error| format!("`otlp` is not an address: {error}"))
}
