//! Answers webhook requests.
use super::limits::DeliveryPace;
use super::signature::{self, Signed, Unsigned};
use crate::daemon::inbox::{Handle, HookTrouble, Message};
use crate::domain::{Fleet, HookSpec, SecretRef, WebhookReceived};
use crate::net::ConnectionPlace;
use crate::secret::{self, Secret};
use crate::store::Store;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Instant;

/// Timeout of the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many times the maximum body size is read before a body that is too long is refused.
const READ_LIMIT_FACTOR: usize = 8;
/// How long to wait for the record. A later record is not lost: a repeated delivery is recognized.
const RECORD_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout for resolving a secret…
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// …and how long it is cached, so that senders can't trigger the program that provides it.
const SECRET_TTL: Duration = Duration::from_secs(60);
/// How long a failure is cached: shorter, since it may be fixed at any moment.
const FAILED_SECRET_TTL: Duration = Duration::from_secs(5);
/// Maximum number of deliveries that wait to be recorded.
const MAX_PENDING_DELIVERIES: usize = 64;
/// Maximum nesting of JSON; deeper values stay text, since the JSON that wraps them must remain parseable.
const MAX_JSON_DEPTH: usize = 64;

/// Answers deliveries.
pub(super) struct Receiver {
    store: Store,
    handle: Handle,
    fleets: watch::Receiver<Arc<Fleet>>,
    began: Instant,
    pace: Mutex<DeliveryPace>,
    /// Serializes the deliveries of each webhook, so that concurrent duplicates are recorded once.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    secrets: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<HeldSecret>>>>>,
    /// Permits of deliveries being recorded: while nothing can be recorded, no more than these are
    /// held in memory.
    recording: Arc<Semaphore>,
}

/// A secret, or why there is none; its reference, and when it was resolved.
type HeldSecret = (SecretRef, Instant, Result<Arc<Secret>, String>);

/// A refusal: its status, and a sentence for the sender.
type Refused = (StatusCode, String);

impl Receiver {
    pub(super) fn new(store: Store, handle: Handle, fleets: watch::Receiver<Arc<Fleet>>) -> Self {
        Self {
            store,
            handle,
            fleets,
            began: Instant::now(),
            pace: Mutex::default(),
            turns: Mutex::default(),
            secrets: Mutex::default(),
            recording: Arc::new(Semaphore::new(MAX_PENDING_DELIVERIES)),
        }
    }

    /// Answers a request. `place`: that of the connection, which can't be taken away once the
    /// request is complete.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        place: &ConnectionPlace,
    ) -> Response<Full<Bytes>> {
        let name = request.uri().path().trim_start_matches('/').to_owned();
        match self.take(&name, request, place).await {
            Ok((status, id)) => {
                self.handle.condition.lock().expect("no holder panics").hooks.remove(&name);
                response(status, &json!({"id": id}))
            }
            Err((status, why)) => {
                if status == StatusCode::UNAUTHORIZED {
                    tracing::warn!(webhook = name, "a delivery was refused: {why}");
                    self.note_refusal(&name, &why, false);
                }
                response(status, &json!({"error": why}))
            }
        }
    }

    /// Notes that a delivery was refused, until one is accepted. `is_blind`: no delivery can be verified.
    fn note_refusal(&self, name: &str, why: &str, is_blind: bool) {
        let mut condition = self.handle.condition.lock().expect("no holder panics");
        let trouble = condition.hooks.entry(name.to_owned()).or_insert_with(|| HookTrouble {
            refused: 0,
            last: String::new(),
            since: crate::clock::wall(),
            is_blind,
        });
        trouble.refused = trouble.refused.saturating_add(1);
        why.clone_into(&mut trouble.last);
        trouble.is_blind = is_blind;
    }

    /// Returns the status of a recorded delivery, and its id.
    async fn take(
        &self,
        name: &str,
        request: Request<Incoming>,
        place: &ConnectionPlace,
    ) -> Result<(StatusCode, String), Refused> {
        let (head, body) = request.into_parts();
        let hook = self.may_deliver(name, &head.method);
        // also that of a refused delivery: a sender still writing would not read the reason
        let body = read(body, hook.is_ok()).await;
        place.is_whole();
        let (hook, body) = (hook?, body?);
        let signed = self.check(name, &hook, &head.headers, &body).await;
        let is_unsigned = matches!(&signed, Err((StatusCode::UNAUTHORIZED, _)));
        self.within_rate(name, !is_unsigned)?;
        let signed = signed?;
        let delivery = WebhookReceived {
            webhook: name.to_owned(),
            delivery: signed.id.clone(),
            event: signed.event,
            body: value_of(&body)?,
        };
        let status = self.record(delivery).await?;
        Ok((status, signed.id))
    }

    /// Returns the webhook of this name, if the request method is right.
    fn may_deliver(&self, name: &str, method: &Method) -> Result<HookSpec, Refused> {
        let hook = self.fleets.borrow().hooks.get(name).cloned();
        let hook = hook.ok_or((StatusCode::NOT_FOUND, "there is no such webhook".to_owned()))?;
        if method != Method::POST {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "a webhook is delivered by POST".into()));
        }
        Ok(hook)
    }

    /// Applies the rate limit. Signed and unsigned deliveries have separate ones, so that strangers
    /// can't exhaust that of the sender.
    fn within_rate(&self, name: &str, is_signed: bool) -> Result<(), Refused> {
        let of = if is_signed { name.to_owned() } else { format!("{name}/unsigned") };
        if self.pace.lock().expect("no holder panics").allows(&of, self.began.elapsed()) {
            return Ok(());
        }
        Err((StatusCode::TOO_MANY_REQUESTS, "too many deliveries; send it again later".into()))
    }

    async fn check(
        &self,
        name: &str,
        hook: &HookSpec,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Signed, Refused> {
        let secret = self.secret(name, &hook.secret).await.map_err(|error| {
            tracing::error!(webhook = name, "deliveries can't be checked: {error}");
            self.note_refusal(name, &error, true);
            (StatusCode::SERVICE_UNAVAILABLE, "deliveries can't be checked for now".to_owned())
        })?;
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let now = crate::clock::wall();
        signature::check(hook.scheme, secret.expose(), header, body, now).map_err(|why| match why {
            Unsigned::Secret => {
                tracing::error!(webhook = name, "deliveries can't be checked: {why}");
                self.note_refusal(name, &why.to_string(), true);
                (StatusCode::SERVICE_UNAVAILABLE, "deliveries can't be checked for now".to_owned())
            }
            why => (StatusCode::UNAUTHORIZED, why.to_string()),
        })
    }

    /// Resolves the secret of a webhook; each has its own lock, so that a program that hangs delays no other.
    async fn secret(&self, name: &str, reference: &SecretRef) -> Result<Arc<Secret>, String> {
        let place =
            self.secrets.lock().expect("no holder panics").entry(name.to_owned()).or_default().clone();
        let mut held = place.lock().await;
        if let Some((of, since, found)) = held.as_ref() {
            let holds = if found.is_ok() { SECRET_TTL } else { FAILED_SECRET_TTL };
            if of == reference && since.elapsed() < holds {
                return found.clone();
            }
        }
        let found =
            secret::resolve(reference, SECRET_TIMEOUT).await.map(Arc::new).map_err(|error| error.to_string());
        *held = Some((reference.clone(), Instant::now(), found.clone()));
        found
    }

    /// Has a delivery recorded with its outcome. It is, or will be, recorded even if the sender has
    /// disconnected.
    async fn record(&self, delivery: WebhookReceived) -> Result<StatusCode, Refused> {
        let later = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}; send it again later"));
        let turn =
            self.turns.lock().expect("no holder panics").entry(delivery.webhook.clone()).or_default().clone();
        let (store, inbox) = (self.store.clone(), self.handle.inbox.clone());
        let place = self.recording.clone().try_acquire_owned();
        let place = place.map_err(|_| later("many wait to be recorded"))?;
        let recording = tokio::spawn(async move {
            let _place = place;
            let _turn = turn.lock_owned().await;
            let (webhook, id) = (delivery.webhook.clone(), delivery.delivery.clone());
            let known = store.read(move |reader| reader.was_delivered(&webhook, &id)).await;
            match known {
                Ok(true) => return Some(StatusCode::OK),
                Ok(false) => {}
                Err(_) => return None,
            }
            let (answer, answered) = oneshot::channel();
            inbox.send(Message::Delivered { delivery: Box::new(delivery), answer }).await.ok()?;
            Some(if answered.await.ok()? > 0 { StatusCode::ACCEPTED } else { StatusCode::GONE })
        });
        match tokio::time::timeout(RECORD_TIMEOUT, recording).await {
            Ok(Ok(Some(StatusCode::GONE))) => Err(later("no agent that waits for this webhook is active")),
            Ok(Ok(Some(status))) => Ok(status),
            _ => Err(later("it can't be recorded now")),
        }
    }
}

/// Reads the whole body; returns it empty if it is not to be kept.
async fn read(body: Incoming, is_kept: bool) -> Result<Vec<u8>, Refused> {
    let most = HookSpec::LONGEST_BODY;
    let reading = async {
        let mut body = body;
        let (mut all, mut came) = (Vec::new(), 0_usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the body broke off".to_owned()))?;
            let Ok(data) = frame.into_data() else { continue };
            came = came.saturating_add(data.len());
            if is_kept && came <= most {
                all.extend_from_slice(&data);
            } else if came > most * READ_LIMIT_FACTOR {
                break;
            }
        }
        match came > most {
            true => Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a delivery has at most {most} bytes"))),
            false => Ok(all),
        }
    };
    let in_time = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    in_time.unwrap_or_else(|_| Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time".into())))
}

/// Parses a body as JSON, or returns it as text if it is not JSON.
fn value_of(body: &[u8]) -> Result<Value, Refused> {
    let text = std::str::from_utf8(body)
        .map_err(|_| (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not UTF-8".to_owned()))?;
    let value = serde_json::from_str(text).ok().filter(|value| depth(value) <= MAX_JSON_DEPTH);
    Ok(value.unwrap_or_else(|| Value::String(text.to_owned())))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn response(status: StatusCode, what: &Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{what}\n"))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        _ => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    //! Tests of bodies.
    use super::*;

    #[test]
    fn what_is_nested_too_deeply_to_be_read_again_stays_a_text() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for (text, is_text) in
            [(nested(64), false), (nested(65), true), (nested(126), true), (nested(500), true)]
        {
            let value = value_of(text.as_bytes()).expect("UTF-8");
            assert_eq!(value.is_string(), is_text, "{}", text.len());
            let wrapped = serde_json::json!({"payload": {"body": value}}).to_string();
            assert!(serde_json::from_str::<Value>(&wrapped).is_ok(), "{}", text.len());
        }
        assert_eq!(value_of(b"\xff").map_err(|(status, _)| status), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
}
