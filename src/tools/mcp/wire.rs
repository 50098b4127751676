//! What goes over a connection to an MCP server, and what is kept from coming in. A server's standard
//! output is judged line by line before the protocol machine sees it: too long, noise, answers that
//! nobody waits for, floods. What the messages mean is the protocol machine's (`rmcp`).
use super::text::shown;
use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage, ServerNotification,
};
use rmcp::transport::Transport;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Longest line that a server may send.
pub(super) const MAX_LINE: usize = 4 << 20;
/// So many lines that are no use, and the server is given up.
const MAX_BAD: usize = 1000;
/// Requests of a server that are answered in a second. We answer "no" to all but pings.
const MAX_REQUESTS: usize = 100;
/// Of a line that is too long, so much is looked at to find whose answer it is.
const HEAD: usize = 512;
/// In place of an answer that was too long. A server's own codes are told apart by [`is_too_long`].
const TOO_LONG: ErrorCode = ErrorCode(-32_603);
const TOO_LONG_TEXT: &str = "bgagent: the answer is longer than 4 MiB";

/// Was the call made, and its answer dropped for its length?
pub(super) fn is_too_long(error: &ErrorData) -> bool {
    error.code == TOO_LONG && error.message == TOO_LONG_TEXT
}

/// What a connection tells those who use it.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The server says that its tools changed.
    pub(super) stale: AtomicBool,
    /// Nothing more will come.
    pub(super) over: CancellationToken,
    why: std::sync::Mutex<Option<String>>,
}

impl Signals {
    /// The connection is over. The first reason counts.
    pub(super) fn end(&self, why: &str) {
        self.why.lock().expect("no holder panics").get_or_insert_with(|| why.to_owned());
        self.over.cancel();
    }

    /// Why it is over.
    pub(super) fn why(&self) -> Option<String> {
        self.why.lock().expect("no holder panics").clone()
    }
}

/// A stdio server's connection.
pub(super) struct Wire<R, W> {
    lines: Lines<R>,
    /// Whole messages are written one after the other; closing it drops it.
    input: Arc<Mutex<Option<W>>>,
    /// What we asked and was not answered.
    pending: HashSet<i64>,
    bad: usize,
    second: (Instant, usize),
    signals: Arc<Signals>,
}

impl<R: AsyncRead + Unpin, W> Wire<R, W> {
    pub(super) fn new(output: R, input: W, signals: Arc<Signals>) -> Self {
        Self {
            lines: Lines::of(output),
            input: Arc::new(Mutex::new(Some(input))),
            pending: HashSet::new(),
            bad: 0,
            second: (Instant::now(), 0),
            signals,
        }
    }

    /// A line that is of use; `None`: it is dropped.
    fn judge(&mut self, line: &[u8]) -> Option<ServerJsonRpcMessage> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        let Ok(head) = serde_json::from_slice::<Head<'_>>(line) else { return self.bad() };
        match (&head.method, &head.id) {
            (Some(method), None) => {
                // The only one that we act on. All others are dropped where that costs least.
                if method != "notifications/tools/list_changed" || self.signals.stale.swap(true, Relaxed) {
                    return None;
                }
                serde_json::from_slice(line).ok()
            }
            (Some(_), Some(_)) => {
                if !self.may_ask() {
                    return self.bad();
                }
                serde_json::from_slice(line).ok().or_else(|| self.bad())
            }
            (None, Some(id)) => {
                let Some(id) = number(id).filter(|id| self.pending.remove(id)) else { return self.bad() };
                let unfit = || refusal(id, ErrorCode::INTERNAL_ERROR, "its answer does not fit the protocol");
                Some(serde_json::from_slice(line).unwrap_or_else(|_| unfit()))
            }
            (None, None) => self.bad(),
        }
    }

    /// The answer that stands in for one that was too long.
    fn too_long(&mut self, head: &[u8]) -> Option<ServerJsonRpcMessage> {
        match id_in(head).filter(|id| self.pending.remove(id)) {
            Some(id) => Some(refusal(id, TOO_LONG, TOO_LONG_TEXT)),
            None => self.bad(),
        }
    }

    fn bad(&mut self) -> Option<ServerJsonRpcMessage> {
        self.bad += 1;
        None
    }

    fn may_ask(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.second.0) > Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        self.second.1 <= MAX_REQUESTS
    }
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
        if let ClientJsonRpcMessage::Request(request) = &message
            && let RequestId::Number(id) = request.id
        {
            self.pending.insert(id);
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

    /// Loses nothing when it is dropped: what was read of a line is kept.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let message = match self.lines.next().await {
                Line::Whole(line) => self.judge(&line),
                Line::TooLong(head) => self.too_long(&head),
                Line::End => {
                    self.signals.end("it closed its output");
                    return None;
                }
            };
            if self.bad >= MAX_BAD {
                self.signals.end(&format!("it wrote {MAX_BAD} lines that are no messages"));
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

/// As much of a message as it takes to judge it.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default, borrow)]
    method: Option<Cow<'a, str>>,
}

fn number(id: &Value) -> Option<i64> {
    id.as_i64().or_else(|| id.as_str()?.parse().ok())
}

fn refusal(id: i64, code: ErrorCode, text: &'static str) -> ServerJsonRpcMessage {
    ServerJsonRpcMessage::error(ErrorData::new(code, text, None), Some(RequestId::Number(id)))
}

/// The `id` at the beginning of a message that is cut off.
fn id_in(head: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(head);
    let before_result = text.split("\"result\"").next()?;
    let after = before_result.split_once("\"id\"")?.1.trim_start().strip_prefix(':')?.trim_start();
    let digits = after.strip_prefix('"').unwrap_or(after);
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Lines of bounded length.
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
            // Nothing is awaited between here and `consume`, so that nothing is lost.
            let available = match self.from.fill_buf().await {
                Ok([]) | Err(_) => return Line::End,
                Ok(available) => available,
            };
            let newline = available.iter().position(|byte| *byte == b'\n');
            let piece = &available[..newline.unwrap_or(available.len())];
            let fits = self.line.len() + piece.len() <= MAX_LINE;
            if !self.skipping && (fits || self.line.len() < HEAD) {
                let room = if fits { piece.len() } else { piece.len().min(HEAD) };
                self.line.extend_from_slice(&piece[..room]);
            }
            let used = piece.len() + usize::from(newline.is_some());
            self.from.consume(used);
            if !self.skipping && !fits {
                self.skipping = newline.is_none();
                let mut head = std::mem::take(&mut self.line);
                head.truncate(HEAD);
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

/// A connection of `rmcp` from which only those notifications come that we act on.
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

/// An error of the server, for people and models.
pub(super) fn error_text(error: &ErrorData) -> String {
    let text = shown(&error.message);
    if text.is_empty() { format!("error {}", error.code.0) } else { text }
}
