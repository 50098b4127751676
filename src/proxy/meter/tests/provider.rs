//! A provider for tests: it reads requests to their end, and answers with exactly the bytes, waits and breaks that a script
//! says.
use hyper::HeaderMap;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::super::ModelWire;

/// A request as it came to the provider.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What a provider does.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// Sends these bytes as they are.
    Raw(Vec<u8>),
    /// Sends these as a chunk of a body.
    Chunk(Vec<u8>),
    /// Ends a body of chunks.
    End,
    /// Waits for somebody.
    Wait(Arc<Notify>),
    /// Waits until the other side closes the connection, and says so.
    Hang(Arc<Notify>),
    /// Closes the connection.
    Cut,
}

/// A provider; it ends when it is dropped.
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

type Script = dyn Fn(&Seen) -> Vec<Piece> + Send + Sync;

impl Scripted {
    pub(super) async fn start(script: impl Fn(&Seen) -> Vec<Piece> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, script) = (seen.clone(), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let script: Arc<Script> = script.clone();
                tokio::spawn(serve(stream, log.clone(), script));
            }
        });
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Seen>>>, script: Arc<Script>) {
    let mut bytes = Vec::new();
    while let Some(seen) = request(&mut stream, &mut bytes).await {
        let pieces = script(&seen);
        log.lock().unwrap().push(seen);
        for piece in pieces {
            let sent = match piece {
                Piece::Raw(bytes) => stream.write_all(&bytes).await,
                Piece::Chunk(bytes) => {
                    let head = format!("{:x}\r\n", bytes.len());
                    stream.write_all(&[head.as_bytes(), &bytes, b"\r\n"].concat()).await
                }
                Piece::End => stream.write_all(b"0\r\n\r\n").await,
                Piece::Wait(for_it) => {
                    for_it.notified().await;
                    Ok(())
                }
                Piece::Hang(closed) => {
                    while stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {}
                    closed.notify_one();
                    return;
                }
                Piece::Cut => return,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

/// The next request of a connection.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Seen> {
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break bytes.drain(..at + 4).collect::<Vec<_>>();
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let length = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    while bytes.len() < length {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { line, headers, body: bytes.drain(..length).collect() })
}

/// An answer with its length.
pub(super) fn whole(status: &str, headers: &str, body: &str) -> Vec<Piece> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    vec![Piece::Raw(head.into_bytes())]
}

/// The head of a stream.
pub(super) fn begin() -> Piece {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nrequest-id: req_1\r\n\r\n";
    Piece::Raw(head.into())
}

/// A whole stream, an event in each chunk.
pub(super) fn stream(events: &[String]) -> Vec<Piece> {
    let events = events.iter().map(|event| Piece::Chunk(event.clone().into_bytes()));
    std::iter::once(begin()).chain(events).chain([Piece::End]).collect()
}

/// The events of an answer that says "hello": 1500 tokens in, of them 300 from the cache, and 50 out.
pub(super) fn hello(wire: ModelWire) -> Vec<String> {
    let named = |name: &str, mut value: Value| {
        value["type"] = name.into();
        format!("event: {name}\ndata: {value}\n\n")
    };
    let data = |value: Value| format!("data: {value}\n\n");
    match wire {
        ModelWire::Messages => vec![
            named(
                "message_start",
                json!({"message": {"id": "msg_1", "usage": {"input_tokens": 1200, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 300, "output_tokens": 1}}}),
            ),
            named("content_block_delta", json!({"delta": {"type": "text_delta", "text": "hello"}})),
            named(
                "message_delta",
                json!({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 50}}),
            ),
            named("message_stop", json!({})),
        ],
        ModelWire::Responses => vec![
            named("response.created", json!({"response": {"status": "in_progress"}})),
            named("response.output_text.delta", json!({"delta": "hello"})),
            named(
                "response.completed",
                json!({"response": {"status": "completed", "usage": {"input_tokens": 1500, "input_tokens_details": {"cached_tokens": 300}, "output_tokens": 50}}}),
            ),
        ],
        ModelWire::Chat => vec![
            data(json!({"choices": [{"delta": {"content": "hello"}}], "usage": null})),
            data(json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": null})),
            data(
                json!({"choices": [], "usage": {"prompt_tokens": 1500, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 300}}}),
            ),
            "data: [DONE]\n\n".to_owned(),
        ],
        ModelWire::Gemini => vec![
            data(json!({"candidates": [{"content": {"parts": [{"text": "hello"}]}}]})),
            data(
                json!({"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1500, "cachedContentTokenCount": 300, "candidatesTokenCount": 50, "totalTokenCount": 1550}}),
            ),
        ],
    }
}

/// The same as one value.
pub(super) fn hello_whole(wire: ModelWire) -> Value {
    match wire {
        ModelWire::Messages => {
            json!({"type": "message", "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn", "usage": {"input_tokens": 1200, "cache_read_input_tokens": 300, "output_tokens": 50}})
        }
        ModelWire::Responses => {
            json!({"object": "response", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "hello"}]}], "usage": {"input_tokens": 1500, "input_tokens_details": {"cached_tokens": 300}, "output_tokens": 50}})
        }
        ModelWire::Chat => {
            json!({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1500, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 300}}})
        }
        ModelWire::Gemini => {
            json!({"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1500, "cachedContentTokenCount": 300, "candidatesTokenCount": 50}})
        }
    }
}
