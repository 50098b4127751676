//! A provider that costs nothing: it answers each request with the same text, in the format of its wire, whole or as a stream.
//! For trying out programs; there is no model behind it.
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// The text of each answer.
pub(super) const WORDS: &str = "This answer came from bgagent itself, and the program has read it.";

/// Serves requests while it lives.
pub(super) struct TrialProvider {
    pub(super) address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl TrialProvider {
    /// Starts on a free local port.
    ///
    /// # Errors
    /// The error of the system.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answering = service_fn(|request| async { Ok::<_, Infallible>(answered(request).await) });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answering));
            }
        });
        Ok(Self { address, _serving: AbortOnDropHandle::new(serving) })
    }
}

async fn answered(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (path, asks) = (request.uri().path().to_owned(), request.method() == Method::POST);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (kind, text) = if asks { answer(&path, &body) } else { ("application/json", look_up().to_string()) };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn look_up() -> Value {
    json!({ "data": [], "models": [] })
}

/// Returns the content type and the body of an answer.
fn answer(path: &str, body: &Value) -> (&'static str, String) {
    let model = body["model"].as_str().unwrap_or("trial");
    let streams = body["stream"] == true || path.contains("streamGenerateContent");
    let (whole, events) = match path {
        _ if path.contains("count_tokens") => (json!({ "input_tokens": 10 }), Vec::new()),
        _ if path.contains(":countTokens") => (json!({ "totalTokens": 10 }), Vec::new()),
        _ if path.contains("/messages") => messages(model),
        _ if path.contains("/responses") => responses(model),
        _ if path.contains("/chat/completions") => chat(model),
        _ if path.contains("enerateContent") => gemini(),
        _ => (look_up(), Vec::new()),
    };
    if !streams || events.is_empty() {
        return ("application/json", whole.to_string());
    }
    ("text/event-stream", events.concat())
}

/// Formats an event with its name, as used by Anthropic and the Responses API.
fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
}

fn messages(model: &str) -> (Value, Vec<String>) {
    let message = |content: Value, stop: Value| {
        json!({
            "id": "msg_trial", "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": stop, "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 10 },
        })
    };
    let whole = message(json!([{ "type": "text", "text": WORDS }]), json!("end_turn"));
    let events = [
        json!({ "type": "message_start", "message": message(json!([]), Value::Null) }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": WORDS } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null },
            "usage": { "output_tokens": 10 },
        }),
        json!({ "type": "message_stop" }),
    ];
    (whole, events.iter().map(named).collect())
}

fn responses(model: &str) -> (Value, Vec<String>) {
    let item = json!({
        "type": "message", "role": "assistant", "id": "msg_trial", "status": "completed",
        "content": [{ "type": "output_text", "text": WORDS, "annotations": [] }],
    });
    let response = |status: &str, output: Value| {
        json!({
            "id": "resp_trial", "object": "response", "status": status, "model": model, "output": output,
            "usage": { "input_tokens": 10, "output_tokens": 10, "total_tokens": 20 },
        })
    };
    let whole = response("completed", json!([item]));
    let events = [
        json!({ "type": "response.created", "sequence_number": 0, "response": response("in_progress", json!([])) }),
        json!({ "type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item }),
        json!({
            "type": "response.output_text.delta", "sequence_number": 2, "item_id": "msg_trial", "output_index": 0,
            "content_index": 0, "delta": WORDS,
        }),
        json!({ "type": "response.output_item.done", "sequence_number": 3, "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "sequence_number": 4, "response": whole }),
    ];
    let events = events.iter().map(named).collect();
    (whole, events)
}

fn chat(model: &str) -> (Value, Vec<String>) {
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20 });
    let whole = json!({
        "id": "chat_trial", "object": "chat.completion", "created": 1, "model": model, "usage": usage,
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": WORDS } }],
    });
    let chunk = |choices: Value, usage: &Value| {
        let chunk = json!({
            "id": "chat_trial", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices,
            "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let said =
        json!([{ "index": 0, "delta": { "role": "assistant", "content": WORDS }, "finish_reason": null }]);
    let ended = json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
    let events = vec![
        chunk(said, &Value::Null),
        chunk(ended, &Value::Null),
        chunk(json!([]), &usage),
        "data: [DONE]\n\n".to_owned(),
    ];
    (whole, events)
}

fn gemini() -> (Value, Vec<String>) {
    let whole = json!({
        "candidates": [{
            "content": { "role": "model", "parts": [{ "text": WORDS }] }, "index": 0, "finishReason": "STOP",
        }],
        "usageMetadata": { "promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20 },
        "modelVersion": "trial", "responseId": "trial",
    });
    let event = format!("data: {whole}\r\n\r\n");
    (whole, vec![event])
}
