//! One connection to a server, from its first message to its end: opened within a time limit, monitored by a task, closed when
//! idle. When to open another one is decided in `link`.
use super::extension::{self, ListedEvents};
use super::http::{Http, refused_with};
use super::limits::Limits;
use super::listing::Listed;
use super::process::{LastWords, Process};
use super::text::shown;
use super::wire::{Filtered, Signals, Wire, error_text};
use crate::domain::{McpSpec, TextOrSecret};
use crate::net::{self, Redirects};
use crate::secret::Secret;
use crate::{child, secret};
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientRequest, ElicitRequestParams, ElicitResult, ErrorCode, ErrorData,
    Implementation, ListRootsRequestMethod, PingRequest, ProtocolVersion,
};
use rmcp::service::{ClientInitializeError, Peer, RequestContext, RunningService};
use rmcp::transport::Transport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig, StreamableHttpError,
};
use rmcp::{ClientHandler, ClientLifecycleMode, RoleClient, ServiceError, serve_client_with_lifecycle};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time limit for resolving one secret.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for closing the protocol layer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for reading a dead server's last output.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a server could not be reached.
#[derive(Debug)]
pub(super) struct StartError {
    pub(super) text: String,
    /// The server's fault, so that restarts are limited.
    pub(super) counts: bool,
    /// A retry may succeed: it did not answer, or ended, rather than refuse.
    pub(super) again: bool,
}

/// A connection that is open, or was.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: Peer<RoleClient>,
    pub(super) signals: Arc<Signals>,
    /// The server's tools, once requested.
    pub(super) tools: tokio::sync::Mutex<Option<Arc<Vec<Listed>>>>,
    /// Its event types, once requested.
    pub(super) events: tokio::sync::Mutex<ListedEvents>,
    /// A request timed out: it must answer a ping before the next one.
    pub(super) doubted: AtomicBool,
    /// Closes it gracefully.
    stop: CancellationToken,
    /// Closes it at once.
    kill: CancellationToken,
    /// Cancelled when nothing is left of it.
    done: CancellationToken,
    /// It ended by itself, or was killed.
    fell: AtomicBool,
    usage: Mutex<Usage>,
    words: Option<Arc<LastWords>>,
    status: Mutex<Option<ExitStatus>>,
}

#[derive(Debug)]
struct Usage {
    count: usize,
    last: Instant,
    /// It accepts no further users.
    closing: bool,
}

impl Session {
    /// Registers a user, unless it is about to close.
    pub(super) fn enter(self: &Arc<Self>) -> Option<InUse> {
        let mut usage = self.usage.lock().expect("no holder panics");
        if usage.closing || self.signals.over.is_cancelled() || self.peer.is_transport_closed() {
            return None;
        }
        usage.count += 1;
        Some(InUse(self.clone()))
    }

    /// Returns whether the server declares events.
    pub(super) fn has_events(&self) -> bool {
        let about = self.peer.peer_info();
        let extensions = about.as_ref().and_then(|about| about.capabilities.extensions.as_ref());
        extensions.is_some_and(|known| known.contains_key(extension::EXTENSION))
    }

    /// Returns whether it answers a ping in time. An error is an answer, too.
    pub(super) async fn lives(&self, bound: Duration) -> bool {
        let ping = self.peer.send_request(ClientRequest::PingRequest(PingRequest::default()));
        matches!(tokio::time::timeout(bound, ping).await, Ok(Ok(_) | Err(ServiceError::McpError(_))))
    }

    /// Returns what broke the connection, without its address, and the server's message about it.
    pub(super) fn broken(&self, error: &(dyn Error + 'static)) -> String {
        let of_session = matches!(
            http_error(error),
            Some(StreamableHttpError::SessionExpired | StreamableHttpError::ReinitializationFailed(_))
        );
        match self.signals.words_of_loss().filter(|_| of_session) {
            Some(words) => format!("{}; it said: {words}", broken(error)),
            None => broken(error),
        }
    }

    /// Returns whether a message was certainly not received.
    pub(super) fn not_sent(&self, error: &(dyn Error + 'static)) -> bool {
        match http_error(error) {
            // It may also be another session that can't be opened, after the message was refused for its session.
            Some(StreamableHttpError::Client(error)) => error.is_connect() && self.signals.surely_lost(),
            Some(StreamableHttpError::SessionExpired | StreamableHttpError::ReinitializationFailed(_)) => {
                self.signals.surely_lost()
            }
            Some(_) => false,
            // An incompletely written line is not a message.
            None => error.is::<io::Error>(),
        }
    }

    /// Kills a server that hangs.
    pub(super) fn kill(&self) {
        self.fell.store(true, Relaxed);
        self.usage.lock().expect("no holder panics").closing = true;
        self.kill.cancel();
    }

    /// Waits until nothing is left of it.
    pub(super) async fn gone(&self) {
        self.done.cancelled().await;
    }

    /// Returns whether it ended without being asked to.
    pub(super) fn fell(&self) -> bool {
        self.fell.load(Relaxed)
    }

    /// Returns how it ended and its last output. Waits a moment, since the end of a connection is seen before that of its
    /// program.
    pub(super) async fn obituary(&self) -> String {
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, self.gone()).await;
        let status = *self.status.lock().expect("no holder panics");
        let how = match (self.signals.given_up(), status) {
            (Some(why), _) => why,
            (None, Some(status)) => format!("it ended with {}", child::how_it_ended(status)),
            (None, None) => self.signals.why().unwrap_or_else(|| "the connection was closed".into()),
        };
        with_words(how, self.words.as_deref())
    }

    /// Completes when nobody has used it for this long. It accepts no further users then.
    async fn idle(&self, most: Duration) {
        loop {
            let until = {
                let mut usage = self.usage.lock().expect("no holder panics");
                let now = Instant::now();
                match (usage.count, usage.last + most) {
                    (0, until) if until <= now => {
                        usage.closing = true;
                        return;
                    }
                    (0, until) => until,
                    // Current users set a new time when they leave.
                    (_, _) => now + most,
                }
            };
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Keeps a connection from being closed as idle while it lives.
#[derive(Debug)]
pub(super) struct InUse(Arc<Session>);

impl std::ops::Deref for InUse {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut usage = self.0.usage.lock().expect("no holder panics");
        usage.count -= 1;
        usage.last = Instant::now();
    }
}

/// Opens a connection, and spawns a task that monitors it until `stop`. Nearly all servers support `initialize`; one that
/// refuses it is tried with the newer handshake (protocol 2026-07-28), on a new connection.
pub(super) async fn open(
    name: &str,
    spec: &McpSpec,
    cwd: &Path,
    limits: Limits,
    time: Duration,
    stop: CancellationToken,
) -> Result<Arc<Session>, StartError> {
    let deadline = Instant::now() + time;
    let older = ClientLifecycleMode::Initialize;
    match connect(name, spec, cwd, limits, &stop, older, deadline).await {
        Err(Refused { newer: true, error: older }) => {
            let newer = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] };
            connect(name, spec, cwd, limits, &stop, newer, deadline).await.map_err(|refused| {
                // If the newer handshake is unknown to it, the error of the older one is relevant.
                let text = match refused.newer {
                    true => older.text,
                    false => format!("{}; asked the newer way: {}", older.text, refused.error.text),
                };
                StartError { text, ..refused.error }
            })
        }
        other => other.map_err(|refused| refused.error),
    }
}

/// A connection that could not be opened.
struct Refused {
    error: StartError,
    /// The server answered, but does not support this handshake.
    newer: bool,
}

impl Refused {
    fn ours(text: String) -> Self {
        Self { error: StartError { text, counts: false, again: false }, newer: false }
    }
}

type Service = RunningService<RoleClient, Refusing>;

async fn connect(
    name: &str,
    spec: &McpSpec,
    cwd: &Path,
    limits: Limits,
    stop: &CancellationToken,
    mode: ClientLifecycleMode,
    deadline: Instant,
) -> Result<Arc<Session>, Refused> {
    let signals = Arc::new(Signals::default());
    let (greeted, process) = match (&spec.command, &spec.url) {
        (Some(argv), _) => {
            let env = values(&spec.env, "variable").await.map_err(Refused::ours)?;
            let (process, (output, input)) =
                Process::start(name, argv, &env, cwd, spec.sandbox.unless_off().as_deref())
                    .await
                    .map_err(Refused::ours)?;
            let wire = Wire::new(output, input, signals.clone());
            (handshake(wire, mode, deadline).await, Some(process))
        }
        (None, Some(url)) => {
            let inner = http(url, &spec.headers, signals.clone()).await.map_err(Refused::ours)?;
            (handshake(Filtered { inner, signals: signals.clone() }, mode, deadline).await, None)
        }
        (None, None) => return Err(Refused::ours("it has neither `command` nor `url`".into())),
    };
    let words = process.as_ref().map(Process::words);
    let service = match greeted {
        Ok(service) => service,
        Err(unwelcome) => {
            let mut text = unwelcome.text;
            if unwelcome.ended {
                text = signals.why().unwrap_or(text);
            }
            if let Some(mut process) = process {
                let by_itself =
                    unwelcome.ended && tokio::time::timeout(DRAIN_TIMEOUT, process.ended()).await.is_ok();
                if let (true, Some(status)) = (by_itself, process.kill().await) {
                    text = format!("it ended with {} before it answered", child::how_it_ended(status));
                }
            }
            let text = with_words(text, words.as_deref());
            let error = StartError { text, counts: true, again: !unwelcome.refused };
            return Err(Refused { error, newer: unwelcome.newer });
        }
    };
    let session = Arc::new(Session {
        peer: service.peer().clone(),
        signals,
        tools: tokio::sync::Mutex::default(),
        events: tokio::sync::Mutex::default(),
        doubted: AtomicBool::new(false),
        stop: stop.child_token(),
        kill: CancellationToken::new(),
        done: CancellationToken::new(),
        fell: AtomicBool::new(false),
        usage: Mutex::new(Usage { count: 0, last: Instant::now(), closing: false }),
        words,
        status: Mutex::new(None),
    });
    tokio::spawn(monitor(service, process, session.clone(), limits));
    Ok(session)
}

/// A handshake that failed.
struct HandshakeError {
    text: String,
    /// The connection ended.
    ended: bool,
    /// The server refused.
    refused: bool,
    newer: bool,
}

async fn handshake<T>(
    transport: T,
    mode: ClientLifecycleMode,
    deadline: Instant,
) -> Result<Service, HandshakeError>
where
    T: Transport<RoleClient> + 'static,
{
    let serving = serve_client_with_lifecycle(Refusing, transport, mode);
    match tokio::time::timeout_at(deadline, serving).await {
        Ok(Ok(service)) => Ok(service),
        Ok(Err(error)) => Err(HandshakeError {
            ended: matches!(error, ClientInitializeError::ConnectionClosed(_)),
            refused: match &error {
                // a gateway, or too many requests: may be temporary
                ClientInitializeError::JsonRpcError(error) => {
                    refused_with(error).is_none_or(|status| status < 500 && status != 429)
                }
                _ => false,
            },
            newer: match &error {
                // servers that support neither handshake refuse with one of these statuses
                ClientInitializeError::JsonRpcError(error) => {
                    matches!(refused_with(error), None | Some(400 | 406))
                }
                error => matches!(error, ClientInitializeError::ExpectedInitResult(_)),
            },
            text: match &error {
                ClientInitializeError::ConnectionClosed(_) => "it ended before it answered".into(),
                ClientInitializeError::JsonRpcError(error) if refused_with(error).is_some() => {
                    error_text(error)
                }
                ClientInitializeError::JsonRpcError(error) => {
                    format!("it refuses to begin (`initialize`): {}", error_text(error))
                }
                ClientInitializeError::TransportError { error, .. } => broken(error.error.as_ref()),
                other => shown(&other.to_string()),
            },
        }),
        Err(_) => {
            let text = "it did not answer the first message within `start_timeout`".into();
            Err(HandshakeError { text, ended: false, refused: false, newer: false })
        }
    }
}

/// Waits for the end of a connection, and cleans up.
async fn monitor(mut service: Service, mut process: Option<Process>, session: Arc<Session>, limits: Limits) {
    enum End {
        Asked,
        Killed,
        Fell,
        Died,
    }
    let died = async {
        match &mut process {
            Some(process) => process.ended().await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        () = session.kill.cancelled() => End::Killed,
        () = session.stop.cancelled() => End::Asked,
        () = died => End::Died,
        () = session.signals.over.cancelled() => End::Fell,
        () = session.idle(limits.idle) => End::Asked,
    };
    session.usage.lock().expect("no holder panics").closing = true;
    session.fell.fetch_or(!matches!(end, End::Asked), Relaxed);
    let ending = async {
        let Some(process) = process else { return };
        let status = match end {
            End::Killed | End::Died => process.kill().await,
            End::Asked | End::Fell => process.end(limits.patience).await,
        };
        *session.status.lock().expect("no holder panics") = status;
    };
    let closing = async {
        if matches!(end, End::Died) {
            // Its last answer may still be in the pipe.
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, session.signals.over.cancelled()).await;
        }
        let _ = service.close_with_timeout(CLOSE_TIMEOUT).await;
    };
    tokio::join!(ending, closing);
    session.done.cancel();
}

async fn http(
    url: &str,
    headers: &BTreeMap<String, TextOrSecret>,
    signals: Arc<Signals>,
) -> Result<StreamableHttpClientTransport<Http>, String> {
    let parsed = reqwest::Url::parse(url).map_err(|cause| format!("its `url` is not an address: {cause}"))?;
    let headers = values(headers, "header").await?;
    let mut custom = HashMap::new();
    for (name, value) in headers {
        let unfit =
            || format!("the header `{name}` can't be sent: it is not a header, or its value does not fit");
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| unfit())?;
        value.set_sensitive(true);
        custom.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?, value);
    }
    let config = StreamableHttpClientTransportConfig::with_uri(url).custom_headers(custom);
    let client = Http::new(net::client(&parsed, Redirects::Refuse)?, signals);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

/// Resolves texts and secrets.
async fn values(of: &BTreeMap<String, TextOrSecret>, what: &str) -> Result<Vec<(String, Secret)>, String> {
    let mut all = Vec::new();
    for (name, value) in of {
        let found = secret::value_of(value, SECRET_TIMEOUT)
            .await
            .map_err(|error| format!("no value for the {what} `{name}`: {error}"))?;
        all.push((name.clone(), found));
    }
    Ok(all)
}

fn with_words(text: String, words: Option<&LastWords>) -> String {
    match words.map(LastWords::text).filter(|said| !said.is_empty()) {
        Some(said) => format!("{text}; it said: {said}"),
        None => text,
    }
}

/// Returns what broke a connection, without its address.
fn broken(error: &(dyn Error + 'static)) -> String {
    match http_error(error) {
        Some(StreamableHttpError::Client(error)) => net::describe(error),
        Some(StreamableHttpError::SessionExpired) => "it does not know our session, nor a new one".into(),
        Some(StreamableHttpError::ReinitializationFailed(error)) => {
            format!("it lost our session and opens no other: {}", error_text(error))
        }
        _ => shown(&error.to_string()),
    }
}

fn http_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StreamableHttpError<reqwest::Error>> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        cause = this.source();
    }
    None
}

/// The client side of a connection: answers pings and refuses all other requests of a server. Sampling is refused by the
/// default of `rmcp`.
#[derive(Debug)]
pub(super) struct Refusing;

impl ClientHandler for Refusing {
    #[expect(deprecated, reason = "refused, and still asked for by servers")]
    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<rmcp::model::ListRootsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListRootsRequestMethod>())
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "elicitation/create", None))
    }

    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("bgagent", env!("CARGO_PKG_VERSION"));
        let mut capabilities = ClientCapabilities::default();
        let of_extension = rmcp::model::JsonObject::default();
        capabilities.extensions = Some([(extension::EXTENSION.to_owned(), of_extension)].into());
        ClientConfig::new(capabilities, us).with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
