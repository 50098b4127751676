//! The transport of an MCP server, and a filter for its input. A server's standard output is checked line by line before `rmcp`
//! sees it: excessive lines, noise, unexpected answers, floods. Messages are interpreted by `rmcp`.
use super::mend::Asked;
use super::text::shown;
use crate::domain::{JsonMistakes, read_json};
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData, ServerJsonRpcMessage, ServerNotification};
use rmcp::transport::Transport;
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Maximum length of a server's line, in bytes.
pub(super) const MAX_LINE: usize = 4 << 20;
/// After this many invalid lines within [`NOISE_WINDOW`], without an answer between them, the connection is closed. A program may
/// log to standard output; one that does nothing else wastes time.
const MAX_NOISE_LINES: usize = 10_000;
const NOISE_WINDOW: Duration = Duration::from_secs(10);
/// Maximum requests of a server that are answered per second. All but pings are refused.
const MAX_REQUESTS_PER_SEC: usize = 100;
/// Bytes of an excessive line that are examined to find the request that it answers.
const HEAD_BYTES: usize = 512;
/// Replaces an answer that was too long. [`is_too_long`] distinguishes it from a server's own codes.
const TOO_LONG: ErrorCode = ErrorCode(-32_603);
const TOO_LONG_TEXT: &str = "bgagent: the answer is longer than 4 MiB";

/// Returns whether the call was made, and its answer dropped because of its length.
pub(super) fn is_too_long(error: &ErrorData) -> bool {
    error.code == TOO_LONG && error.message == TOO_LONG_TEXT
}

/// Returns the replacement of an answer that was too long.
pub(super) fn too_long() -> ErrorData {
    ErrorData::new(TOO_LONG, TOO_LONG_TEXT, None)
}

/// The state that a connection reports to its users.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The server reports that its tools changed.
    pub(super) stale: AtomicBool,
    /// Cancelled when nothing more will arrive.
    pub(super) over: CancellationToken,
    why: std::sync::Mutex<Option<String>>,
    /// The connection was closed by the daemon.
    given_up: AtomicBool,
    /// The server's last message about an unknown session.
    no_session: std::sync::Mutex<Option<String>>,
    /// A lost session was reported in a way that does not prove that nothing was done.
    odd_loss: AtomicBool,
}

impl Signals {
    /// Records that the server does not know our session. `surely`: and that it did nothing.
    pub(super) fn lost(&self, words: &str, surely: bool) {
        *self.no_session.lock().expect("no holder panics") =
            Some(words).filter(|words| !words.is_empty()).map(str::to_owned);
        self.odd_loss.fetch_or(!surely, Relaxed);
    }

    /// Returns the server's message about an unknown session.
    pub(super) fn words_of_loss(&self) -> Option<String> {
        self.no_session.lock().expect("no holder panics").clone()
    }

    /// Returns whether nothing of what was refused for its session was carried out.
    pub(super) fn surely_lost(&self) -> bool {
        !self.odd_loss.load(Relaxed)
    }

    /// Ends the connection. The first reason counts.
    pub(super) fn end(&self, why: &str) {
        self.why.lock().expect("no holder panics").get_or_insert_with(|| why.to_owned());
        self.over.cancel();
    }

    /// Closes the connection because of the server's behavior.
    fn give_up(&self, why: &str) {
        self.given_up.store(true, Relaxed);
        self.end(why);
    }

    /// Returns why the daemon closed it, if so.
    pub(super) fn given_up(&self) -> Option<String> {
        self.why().filter(|_| self.given_up.load(Relaxed))
    }

    /// Returns why it ended.
    pub(super) fn why(&self) -> Option<String> {
        self.why.lock().expect("no holder panics").clone()
    }
}

/// A stdio server's connection.
pub(super) struct Wire<R, W> {
    lines: Lines<R>,
    /// Whole messages are written one at a time; closing it drops it.
    input: Arc<Mutex<Option<W>>>,
    /// Requests without an answer yet.
    pending: HashMap<i64, Asked>,
    /// Further messages of a batch.
    waiting: VecDeque<Value>,
    /// When the current count of invalid lines began, and the count.
    noise: (Instant, usize),
    second: (Instant, usize),
    signals: Arc<Signals>,
}

impl<R: AsyncRead + Unpin, W> Wire<R, W> {
    pub(super) fn new(output: R, input: W, signals: Arc<Signals>) -> Self {
        Self {
            lines: Lines::of(output),
            input: Arc::new(Mutex::new(Some(input))),
            pending: HashMap::new(),
            waiting: VecDeque::new(),
            noise: (Instant::now(), 0),
            second: (Instant::now(), 0),
            signals,
        }
    }

    /// Parses a line; `None`: it is dropped.
    fn judge(&mut self, line: &[u8]) -> Option<ServerJsonRpcMessage> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        match read_json(line, JsonMistakes::Encoding) {
            Ok(Value::Array(messages)) if messages.iter().any(Value::is_object) => {
                self.waiting.extend(messages);
                None
            }
            Ok(message) => self.judge_message(message),
            Err(_) => self.noise(),
        }
    }

    fn judge_message(&mut self, message: Value) -> Option<ServerJsonRpcMessage> {
        let Value::Object(message) = message else { return self.noise() };
        match (message.get("method").and_then(Value::as_str), message.get("id").filter(|id| !id.is_null())) {
            (Some(method), None) => {
                // The only one that we handle. All others are dropped where that is cheapest.
                if method != "notifications/tools/list_changed" || self.signals.stale.swap(true, Relaxed) {
                    return None;
                }
                parsed(message)
            }
            (Some(_), Some(_)) => {
                if !self.may_ask() {
                    return self.noise();
                }
                parsed(message).or_else(|| self.noise())
            }
            (None, id) => match self.request_of(&message, id) {
                Some(asked) => {
                    self.noise.1 = 0;
                    Some(asked.answer(message))
                }
                None => self.noise(),
            },
        }
    }

    /// Returns the request that a message answers. An error without an id answers the only open request.
    fn request_of(&mut self, message: &Map<String, Value>, id: Option<&Value>) -> Option<Asked> {
        if let Some(id) = id.and_then(number) {
            return self.pending.remove(&id);
        }
        let only = self.pending.keys().copied().next().filter(|_| self.pending.len() == 1)?;
        message.get("error").filter(|error| !error.is_null())?;
        self.pending.remove(&only)
    }

    /// Returns the replacement of an answer that was too long.
    fn too_long(&mut self, head: &[u8]) -> Option<ServerJsonRpcMessage> {
        match id_in(head).and_then(|id| self.pending.remove(&id)) {
            Some(asked) => Some(asked.error(too_long())),
            None => self.noise(),
        }
    }

    fn noise(&mut self) -> Option<ServerJsonRpcMessage> {
        let now = Instant::now();
        if now.duration_since(self.noise.0) > NOISE_WINDOW {
            self.noise = (now, 0);
        }
        self.noise.1 += 1;
        None
    }

    fn may_ask(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.second.0) > Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        self.second.1 <= MAX_REQUESTS_PER_SEC
    }
}

fn parsed(message: Map<String, Value>) -> Option<ServerJsonRpcMessage> {
    let mut message = message;
    message.insert("jsonrpc".into(), "2.0".into());
    serde_json::from_value(Value::Object(message)).ok()
}

impl<R, W> Transport<RoleClient> for Wire<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        if let Some(asked) = Asked::by(&message) {
            self.pending.insert(asked.id, asked);
        }
        let input = self.input.clone();
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            match input.lock().await.as_mut() {
                Some(input) => {
                    input.write_all(&line).await?;
                    input.flush().await
                }
                None => Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }

    /// Cancel-safe: a partially read line is kept.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let message = match self.waiting.pop_front() {
                Some(message) => self.judge_message(message),
                None => match self.lines.next().await {
                    Line::Whole(line) => self.judge(&line),
                    Line::TooLong(head) => self.too_long(&head),
                    Line::End => {
                        self.signals.end("it closed its output");
                        return None;
                    }
                },
            };
            if self.noise.1 >= MAX_NOISE_LINES {
                let secs = NOISE_WINDOW.as_secs();
                self.signals.give_up(&format!(
                    "it wrote {MAX_NOISE_LINES} lines that are not messages within {secs} s, and answered nothing: have it \
                     write its log to standard error"
                ));
                return None;
            }
            if message.is_some() {
                return message;
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.input.lock().await.take();
        Ok(())
    }
}

fn number(id: &Value) -> Option<i64> {
    id.as_i64().or_else(|| id.as_str()?.parse().ok())
}

/// Returns the `id` at the beginning of a truncated message.
fn id_in(head: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(head);
    let before_result = text.split("\"result\"").next()?;
    let after = before_result.split_once("\"id\"")?.1.trim_start().strip_prefix(':')?.trim_start();
    let digits = after.strip_prefix('"').unwrap_or(after);
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Reads lines of bounded length.
struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    skipping: bool,
}

enum Line {
    Whole(Vec<u8>),
    /// Its first bytes; the rest is read and dropped.
    TooLong(Vec<u8>),
    End,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(from: R) -> Self {
        Self { from: BufReader::with_capacity(64 << 10, from), line: Vec::new(), skipping: false }
    }

    async fn next(&mut self) -> Line {
        loop {
            // There is no await between here and `consume`, so that nothing is lost.
            let available = match self.from.fill_buf().await {
                Ok([]) | Err(_) => return Line::End,
                Ok(available) => available,
            };
            let newline = available.iter().position(|byte| *byte == b'\n');
            let piece = &available[..newline.unwrap_or(available.len())];
            let fits = self.line.len() + piece.len() <= MAX_LINE;
            if !self.skipping && (fits || self.line.len() < HEAD_BYTES) {
                let room = if fits { piece.len() } else { piece.len().min(HEAD_BYTES) };
                self.line.extend_from_slice(&piece[..room]);
            }
            let used = piece.len() + usize::from(newline.is_some());
            self.from.consume(used);
            if !self.skipping && !fits {
                self.skipping = newline.is_none();
                let mut head = std::mem::take(&mut self.line);
                head.truncate(HEAD_BYTES);
                head.shrink_to_fit();
                return Line::TooLong(head);
            }
            if newline.is_some() {
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                return Line::Whole(std::mem::take(&mut self.line));
            }
        }
    }
}

/// A transport of `rmcp` that drops all notifications except those that we handle.
pub(super) struct Filtered<T> {
    pub(super) inner: T,
    pub(super) signals: Arc<Signals>,
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Filtered<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let Some(message) = self.inner.receive().await else {
                self.signals.end("the connection was closed");
                return None;
            };
            let ServerJsonRpcMessage::Notification(notification) = &message else { return Some(message) };
            if matches!(notification.notification, ServerNotification::ToolListChangedNotification(_))
                && !self.signals.stale.swap(true, Relaxed)
            {
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), T::Error>> + Send {
        self.inner.close()
    }
}

/// Returns a server's error message, for people and models.
pub(super) fn error_text(error: &ErrorData) -> String {
    let text = shown(&error.message);
    if text.is_empty() { format!("error {}", error.code.0) } else { text }
}
