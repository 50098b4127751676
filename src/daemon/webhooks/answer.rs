//! What a request is answered.
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

/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(10);
/// Of a body that is too long, so many times the most is read before that is said.
const READ_ON: usize = 8;
/// How long a record is waited for. What is on record later is no loss: it is known when it is sent again.
const RECORD: Duration = Duration::from_secs(15);
/// How long a secret may take to be found…
const SECRET: Duration = Duration::from_secs(10);
/// …and for how long it is used then: a program that gives it is not asked by whoever sends something.
const SECRET_HOLDS: Duration = Duration::from_secs(60);
/// That there is none holds for less long: it may be mended any moment.
const NO_SECRET_HOLDS: Duration = Duration::from_secs(5);
/// Deliveries that wait to be recorded, at the most.
const RECORDING: usize = 64;
/// JSON that is nested deeper stays a text: what wraps it must be readable again.
const DEEPEST: usize = 64;

/// Answers deliveries.
pub(super) struct Receiver {
    store: Store,
    handle: Handle,
    fleets: watch::Receiver<Arc<Fleet>>,
    began: Instant,
    pace: Mutex<DeliveryPace>,
    /// Each webhook records one delivery after the other: so one that comes twice at once is recorded once.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    secrets: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<HeldSecret>>>>>,
    /// Places of deliveries that are being recorded: while nothing can be, no more than these are kept.
    recording: Arc<Semaphore>,
}

/// A secret, or why there is none; where it was looked for, and when.
type HeldSecret = (SecretRef, Instant, Result<Arc<Secret>, String>);

/// A refusal: its status, and a sentence for whoever sends.
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
            recording: Arc::new(Semaphore::new(RECORDING)),
        }
    }

    /// `place`: that of the connection, which it keeps from when the request is whole.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        place: &ConnectionPlace,
    ) -> Response<Full<Bytes>> {
        let name = request.uri().path().trim_start_matches('/').to_owned();
        match self.take(&name, request, place).await {
            Ok((status, id)) => {
                self.handle.condition.lock().expect("no holder panics").hooks.remove(&name);
                said(status, &json!({"id": id}))
            }
            Err((status, why)) => {
                if status == StatusCode::UNAUTHORIZED {
                    tracing::warn!(webhook = name, "a delivery was refused: {why}");
                    self.not_taken(&name, &why, false);
                }
                said(status, &json!({"error": why}))
            }
        }
    }

    /// Remembers that a delivery was not taken, until one is. `is_blind`: none can be checked.
    fn not_taken(&self, name: &str, why: &str, is_blind: bool) {
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

    /// The status of a delivery that is on record, and its id.
    async fn take(
        &self,
        name: &str,
        request: Request<Incoming>,
        place: &ConnectionPlace,
    ) -> Result<(StatusCode, String), Refused> {
        let (head, body) = request.into_parts();
        let hook = self.may_deliver(name, &head.method);
        // also of one that is refused: whoever still writes would not read why
        let body = read(body, hook.is_ok()).await;
        place.is_whole();
        let (hook, body) = (hook?, body?);
        let signed = self.check(name, &hook, &head.headers, &body).await;
        let is_unsigned = matches!(&signed, Err((StatusCode::UNAUTHORIZED, _)));
        self.in_pace(name, !is_unsigned)?;
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

    /// The webhook of this name, if anything is taken from anybody there.
    fn may_deliver(&self, name: &str, method: &Method) -> Result<HookSpec, Refused> {
        let hook = self.fleets.borrow().hooks.get(name).cloned();
        let hook = hook.ok_or((StatusCode::NOT_FOUND, "there is no such webhook".to_owned()))?;
        if method != Method::POST {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "a webhook is delivered by POST".into()));
        }
        Ok(hook)
    }

    /// Those that are signed and those that are not have a pace each: strangers take nothing from the sender.
    fn in_pace(&self, name: &str, is_signed: bool) -> Result<(), Refused> {
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
            self.not_taken(name, &error, true);
            (StatusCode::SERVICE_UNAVAILABLE, "deliveries can't be checked for now".to_owned())
        })?;
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let now = crate::clock::wall();
        signature::check(hook.scheme, secret.expose(), header, body, now).map_err(|why| match why {
            Unsigned::Secret => {
                tracing::error!(webhook = name, "deliveries can't be checked: {why}");
                self.not_taken(name, &why.to_string(), true);
                (StatusCode::SERVICE_UNAVAILABLE, "deliveries can't be checked for now".to_owned())
            }
            why => (StatusCode::UNAUTHORIZED, why.to_string()),
        })
    }

    /// Each webhook by itself: a program that hangs keeps no other waiting.
    async fn secret(&self, name: &str, reference: &SecretRef) -> Result<Arc<Secret>, String> {
        let place =
            self.secrets.lock().expect("no holder panics").entry(name.to_owned()).or_default().clone();
        let mut held = place.lock().await;
        if let Some((of, since, found)) = held.as_ref() {
            let holds = if found.is_ok() { SECRET_HOLDS } else { NO_SECRET_HOLDS };
            if of == reference && since.elapsed() < holds {
                return found.clone();
            }
        }
        let found = secret::resolve(reference, SECRET).await.map(Arc::new).map_err(|error| error.to_string());
        *held = Some((reference.clone(), Instant::now(), found.clone()));
        found
    }

    /// Has it recorded with what comes of it. It is on record, or it will be, also where whoever sent it has gone.
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
        match tokio::time::timeout(RECORD, recording).await {
            Ok(Ok(Some(StatusCode::GONE))) => Err(later("no agent that waits for this webhook is active")),
            Ok(Ok(Some(status))) => Ok(status),
            _ => Err(later("it can't be recorded now")),
        }
    }
}

/// The whole body; empty where it is not to be kept.
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
            } else if came > most * READ_ON {
                break;
            }
        }
        match came > most {
            true => Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a delivery has at most {most} bytes"))),
            false => Ok(all),
        }
    };
    let in_time = tokio::time::timeout(BODY, reading).await;
    in_time.unwrap_or_else(|_| Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time".into())))
}

/// A body as JSON, or as a text where it is none.
fn value_of(body: &[u8]) -> Result<Value, Refused> {
    let text = std::str::from_utf8(body)
        .map_err(|_| (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not UTF-8".to_owned()))?;
    let value = serde_json::from_str(text).ok().filter(|value| depth(value) <= DEEPEST);
    Ok(value.unwrap_or_else(|| Value::String(text.to_owned())))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn said(status: StatusCode, what: &Value) -> Response<Full<Bytes>> {
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
