//! Language models: one request, one answer. Each provider's wire format has its own file; what a conversation does with an
//! answer, and whether it retries, is left to the callers.
pub mod access;
mod anthropic;
mod asked;
mod exchange;
mod gate;
mod gemini;
mod names;
mod ollama;
mod openai;
mod reading;
mod reason;
mod shape;
mod slips;
mod spoken;
mod tool_schema;
mod trouble;
mod wire;

use crate::domain::ToolNames;
use crate::domain::{
    ChatMessage, ErrorKind, FallbackOn, Finish, Fleet, JsonMistakes, MOST_NESTED, ModelAnswer, ModelError,
    ModelRequest, ModelSpec, ModelTurn, TextOrSecret, Tokens, is_deeper, read_json,
};
use crate::secret::Secret;
use crate::{net, secret};
use asked::{Asked, Wire};
use exchange::{Answered, Patience, exchange};
use gate::{Allowed, Gate, NoPlace, Place};
use reason::{Cause, Reason};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use trouble::{lasting, passing, unusable};

const SECRET_TIMEOUT: Duration = Duration::from_secs(10);

/// Stands for "no deadline" where a timer needs one.
const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The models of one configuration, with the limits that all agents of a model share.
#[derive(Debug)]
pub struct Models {
    models: BTreeMap<String, Model>,
}

#[derive(Debug)]
struct Model {
    name: String,
    spec: ModelSpec,
    endpoint: Result<(Wire, Url), String>,
    /// Created on first use; its connections are kept.
    client: Arc<OnceLock<Client>>,
    gate: Arc<Gate>,
    refused: Arc<shape::Refused>,
    /// The provider refuses calls of other models that have no thoughts.
    wants_thoughts: Arc<AtomicBool>,
    mark: String,
}

impl Models {
    /// Creates the models. The limits of `previous` that are in force (requests in flight, requests of the last minute) survive
    /// the reload.
    pub fn new(fleet: &Fleet, previous: Option<&Models>) -> Self {
        let model = |(name, spec): (&String, &ModelSpec)| {
            let known = previous.and_then(|models| models.models.get(name));
            (name.clone(), Model::new(name, spec, known))
        };
        Self { models: fleet.models.iter().map(model).collect() }
    }

    /// Sends one request to one model; waits for a slot in `max_parallel_requests` and `requests_per_minute`. `bound` covers
    /// the whole call including all waiting.
    ///
    /// Dropping the future aborts the request and frees its slot.
    pub async fn ask(
        &self,
        name: &str,
        request: &ModelRequest,
        bound: Duration,
    ) -> Result<ModelAnswer, ModelError> {
        self.ask_while(name, request, bound, true).await
    }

    /// The same for callers with a fallback: fails at once, without a request, while the provider has asked to wait.
    pub async fn ask_or_pass(
        &self,
        name: &str,
        request: &ModelRequest,
        bound: Duration,
    ) -> Result<ModelAnswer, ModelError> {
        self.ask_while(name, request, bound, false).await
    }

    /// Returns how much longer the provider of a model has asked to wait.
    pub fn closed_for(&self, name: &str) -> Option<Duration> {
        self.models.get(name)?.gate.closed_for()
    }

    async fn ask_while(
        &self,
        name: &str,
        request: &ModelRequest,
        bound: Duration,
        waits: bool,
    ) -> Result<ModelAnswer, ModelError> {
        let Some(model) = self.models.get(name) else {
            return Err(lasting(ErrorKind::Config, format!("there is no [models.{name}]")));
        };
        let deadline = Instant::now() + bound.min(FAR_FUTURE);
        model.ask(request, deadline, waits).await.map_err(|error| model.named(error))
    }
}

impl Model {
    fn new(name: &str, spec: &ModelSpec, known: Option<&Model>) -> Self {
        let endpoint = wire::endpoint(spec);
        let origin =
            |endpoint: &Result<(Wire, Url), String>| endpoint.as_ref().ok().map(|(_, url)| net::origin(url));
        let same = known.filter(|known| origin(&known.endpoint) == origin(&endpoint));
        if let (Some(known), None) = (known, same) {
            known.gate.open();
        }
        let mark =
            endpoint.as_ref().map(|(wire, url)| wire::mark(*wire, url, &spec.model)).unwrap_or_default();
        let same_model = same.filter(|known| known.mark == mark);
        Self {
            name: name.to_owned(),
            wants_thoughts: same_model.map(|known| known.wants_thoughts.clone()).unwrap_or_default(),
            mark,
            spec: spec.clone(),
            endpoint,
            client: same.map(|known| known.client.clone()).unwrap_or_default(),
            gate: known.map(|known| known.gate.clone()).unwrap_or_default(),
            refused: same.map(|known| known.refused.clone()).unwrap_or_default(),
        }
    }

    async fn ask(
        &self,
        request: &ModelRequest,
        deadline: Instant,
        waits: bool,
    ) -> Result<ModelAnswer, ModelError> {
        let (wire, url) = self.endpoint.as_ref().map_err(|why| lasting(ErrorKind::Config, why.as_str()))?;
        let place = self.enter(deadline, waits).await?;
        let client = self.client(url)?;
        let patience = self.patience(deadline);
        let (headers, secrets) = self.headers(*wire, patience.until).await?;
        let names = ToolNames::of(&request.tools);
        let clean = |text: &str| clean(text, &secrets, request);
        // the output limit of a fallback may be lower than that of the requested model
        let most = self.spec.max_output_tokens;
        let shorter = (request.max_output_tokens > most)
            .then(|| ModelRequest { max_output_tokens: most, ..request.clone() });
        let request = shorter.as_ref().unwrap_or(request);
        let shaped = tool_schema::shaped(*wire, request);
        let mut asked = Asked {
            model: &self.spec.model,
            temperature: self.spec.temperature,
            request: &shaped,
            names: &names,
            with_schema: true,
            settings: &self.spec.settings,
            mark: &self.mark,
            with_thoughts: self.wants_thoughts.load(Ordering::Relaxed),
        };
        asked.with_schema = shape::goes_along(*wire, &asked) && !self.refused.knows(&asked, Instant::now());
        let send = async |asked: &Asked<'_>| {
            exchange(&client, url.clone(), headers.clone(), wire.body(asked), &patience).await
        };
        let heard = AnswerContext { wire: *wire, request, names: &names, place: &place, clean: &clean };
        let first = send(&asked).await?;
        let Some(other) = self.another_way(&asked, &first) else { return self.judge(&first, &heard) };
        place.once_more();
        match other {
            Workaround::WithThoughts => asked.with_thoughts = true,
            Workaround::WithoutSchema => asked.with_schema = false,
        }
        let refusal = Reason::of(&first.body);
        let wasted = Wire::tokens(&refusal.json);
        let twice = |error: ModelError| {
            // The worst case is charged if it may have cost something and the usage is unknown.
            let tokens =
                if error.may_cost && error.tokens.is_none() { None } else { sum(error.tokens, wasted) };
            ModelError { asked_twice: true, tokens, ..error }
        };
        let second = send(&asked).await.map_err(twice)?;
        if second.status.is_success() {
            self.learn(&asked, other, first.status, &clean(&refusal.text));
        }
        let answer = self.judge(&second, &heard).map_err(twice)?;
        let tokens = answer.tokens.and_then(|tokens| sum(Some(tokens), wasted));
        Ok(ModelAnswer { asked_twice: true, tokens, ..answer })
    }

    /// Returns how to change a refused request so that the provider accepts it.
    fn another_way(&self, asked: &Asked<'_>, first: &Answered) -> Option<Workaround> {
        if first.status.is_success() {
            return None;
        }
        let reason = Reason::of(&first.body);
        let foreign = |message: &ChatMessage| match message {
            ChatMessage::Model(turn) => !turn.calls.is_empty() && !asked.is_own(turn),
            _ => false,
        };
        let wants_thoughts =
            matches!(first.status.as_u16(), 400 | 422) && reason.text.contains("reasoning_content");
        if wants_thoughts && !asked.with_thoughts && asked.request.messages.iter().any(foreign) {
            return Some(Workaround::WithThoughts);
        }
        let another_reason = reason.cause == Cause::Key
            || reason.cause == Cause::Credit
            || reason.cause == Cause::Filter
            || trouble::has_generated(&reason.json);
        let may_be = shape::may_refuse_it(first.status, &reason.text) && !another_reason;
        (asked.with_schema && may_be).then_some(Workaround::WithoutSchema)
    }

    /// Remembers that the provider accepted what it had refused, after this change.
    fn learn(&self, asked: &Asked<'_>, way: Workaround, refused: StatusCode, said: &str) {
        match way {
            Workaround::WithThoughts => self.wants_thoughts.store(true, Ordering::Relaxed),
            Workaround::WithoutSchema if self.refused.learn(asked, Instant::now()) => tracing::warn!(
                model = %self.name, status = refused.as_u16(), said,
                "it does not take this `output_schema`: for an hour it is asked without, and the answer is \
                 checked here"
            ),
            Workaround::WithoutSchema => {}
        }
    }

    /// Returns the answer, or the error that its status or content means.
    fn judge(&self, answered: &Answered, heard: &AnswerContext<'_>) -> Result<ModelAnswer, ModelError> {
        match answered.status.is_success() {
            true => self.read(answered, heard),
            false => self.refused(answered.status, false, answered, &Reason::of(&answered.body), heard),
        }
    }

    async fn enter(&self, deadline: Instant, waits: bool) -> Result<Place, ModelError> {
        let allowed = Allowed {
            at_a_time: self.spec.max_parallel_requests,
            per_minute: self.spec.requests_per_minute,
            waits_while_closed: waits,
        };
        self.gate.enter(allowed, deadline).await.map_err(|why| {
            let (wait, what) = match why {
                NoPlace::Closed(wait) if !waits => (Some(wait), "the provider asked to wait"),
                NoPlace::Closed(wait) => (Some(wait), "the provider asked to wait longer than there is time"),
                NoPlace::Minute(wait) => {
                    (Some(wait), "`requests_per_minute` leaves no room in time: raise it, or ask less often")
                }
                NoPlace::Crowd => (
                    None,
                    "other requests were in the way all the time: raise `max_parallel_requests` or \
                     `requests_per_minute`, or ask less often",
                ),
            };
            let retry_after = wait.and_then(|wait| wait.try_into().ok());
            ModelError { retry_after, ..passing(ErrorKind::RateLimit, format!("not asked: {what}")) }
        })
    }

    fn client(&self, url: &Url) -> Result<Client, ModelError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let client = net::pooled(url, exchange::CONNECT).map_err(|why| lasting(ErrorKind::Config, why))?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    fn patience(&self, deadline: Instant) -> Patience {
        let now = Instant::now();
        let own = Duration::try_from(self.spec.request_timeout).unwrap_or(Duration::ZERO).min(FAR_FUTURE);
        let (until, limit) = match deadline < now + own {
            true => (deadline, format!("the {:.1} s that were left", (deadline - now).as_secs_f64())),
            false => (now + own, format!("the {} s of `request_timeout`", own.as_secs_f64())),
        };
        Patience { until, limit, idle: exchange::IDLE }
    }

    /// Returns all headers, and the secrets in them.
    async fn headers(&self, wire: Wire, until: Instant) -> Result<(HeaderMap, Vec<Secret>), ModelError> {
        let (mut headers, mut secrets) = (HeaderMap::new(), Vec::new());
        let time = || until.saturating_duration_since(Instant::now()).min(SECRET_TIMEOUT);
        let mut add = |name: &str, value: Secret, before: &str, hide: bool| {
            let parsed = HeaderValue::from_str(&format!("{before}{}", value.expose()));
            let (Ok(name), Ok(mut parsed)) = (name.parse::<HeaderName>(), parsed) else {
                let message =
                    format!("the header `{name}` or its value has characters that HTTP can't carry");
                return Err(lasting(ErrorKind::Config, message));
            };
            parsed.set_sensitive(true);
            headers.insert(name, parsed);
            if hide {
                secrets.push(value);
            }
            Ok(())
        };
        if let Some(key) = &self.spec.api_key {
            let value = secret::resolve(key, time()).await.map_err(|error| {
                lasting(ErrorKind::Auth, format!("no key: {error}; `api_key` says where it is looked for"))
            })?;
            let (name, before) = wire.key_header();
            add(name, value, before, true)?;
        }
        for (name, value) in &self.spec.headers {
            let hide = matches!(value, TextOrSecret::Secret(_));
            let value = secret::value_of(value, time()).await.map_err(|error| {
                lasting(ErrorKind::Auth, format!("no value for the header `{name}`: {error}"))
            })?;
            add(name, value, "", hide)?;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if wire == Wire::Anthropic {
            headers.entry("anthropic-version").or_insert(HeaderValue::from_static("2023-06-01"));
        }
        Ok((headers, secrets))
    }

    fn read(&self, answered: &Answered, heard: &AnswerContext<'_>) -> Result<ModelAnswer, ModelError> {
        let json = parse(&answered.body)?;
        // First of all: the usage counts, whatever is wrong with the rest.
        let tokens = Wire::tokens(&json);
        let paid = |error: ModelError| ModelError { may_cost: true, tokens, ..error };
        if let Some(reason) = Reason::within(&json) {
            // Some gateways return an error body with a success status.
            let status = reason.status.and_then(|status| StatusCode::from_u16(status).ok());
            let refused = match (status, reason.cause) {
                (Some(status), _) => Some(status),
                (None, Cause::Credit) => Some(StatusCode::PAYMENT_REQUIRED),
                (None, Cause::Context | Cause::Filter) => Some(StatusCode::BAD_REQUEST),
                (None, Cause::Key) => Some(StatusCode::UNAUTHORIZED),
                (None, Cause::Missing) => Some(StatusCode::NOT_FOUND),
                (None, Cause::Other) => None,
            };
            return match refused {
                Some(status) => self.refused(status, true, answered, &reason, heard),
                None => {
                    let message = format!("answered 200 with an error: {}", (heard.clean)(&reason.text));
                    Err(paid(passing(ErrorKind::Provider, message)))
                }
            };
        }
        if json["choices"][0]["finish_reason"] == "error" {
            let message = "the provider broke its answer off (finish_reason `error`), and does not say why";
            return Err(paid(passing(ErrorKind::Provider, message)));
        }
        let (mut turn, finish) = heard.wire.answer(&json, heard.names).map_err(|bad| {
            let advice = "check that `base_url` and `provider` fit together";
            paid(unusable(format!("{}; {advice}", bad.0)))
        })?;
        let finish = spoken::sort(&mut turn, finish, heard.request, heard.names);
        slips::mend(&mut turn, heard.names);
        names::bound(&mut turn);
        turn.by = Some(self.mark.clone());
        Ok(ModelAnswer { turn, finish, tokens, asked_twice: false })
    }

    /// Returns the result of an answer that is an error. Not always an error of the run: content withheld by a filter or by the
    /// provider's own parser is an answer of the model.
    fn refused(
        &self,
        status: StatusCode,
        wrapped: bool,
        answered: &Answered,
        reason: &Reason,
        heard: &AnswerContext<'_>,
    ) -> Result<ModelAnswer, ModelError> {
        let said = (heard.clean)(&reason.text);
        let used = Wire::tokens(&reason.json);
        if reason.cause == Cause::Filter
            && status.is_client_error()
            && status != StatusCode::TOO_MANY_REQUESTS
        {
            let why = format!("a filter of the provider held it back ({}): {said}", status.as_u16());
            let finish = Finish::Refusal(why);
            // an error without a usage costs nothing
            let tokens = Some(used.unwrap_or_default());
            return Ok(ModelAnswer { turn: ModelTurn::default(), finish, tokens, asked_twice: false });
        }
        if let Some(text) = trouble::failed_call(&reason.json) {
            let mut turn = ModelTurn { text: text.to_owned(), ..ModelTurn::default() };
            let finish = match spoken::sort(&mut turn, Finish::Stop, heard.request, heard.names) {
                Finish::Stop if turn.calls.is_empty() => {
                    Finish::Unreadable(format!("the model made a call that its provider can't read: {said}"))
                }
                finish => finish,
            };
            names::bound(&mut turn);
            turn.by = Some(self.mark.clone());
            return Ok(ModelAnswer { turn, finish, tokens: used, asked_twice: false });
        }
        let wait = trouble::retry_after(&answered.headers, &reason.json, SystemTime::now());
        let mut error = trouble::refused(status, wrapped, wait, reason, &said, self.spec.api_key.as_ref());
        if let (Some(wait), 429 | 503 | 529) = (error.retry_after, status.as_u16()) {
            heard.place.close_for(wait.unsigned_abs());
        }
        error.try_fallback |= self.falls_back_on(status, reason.cause);
        Err(ModelError { tokens: used, ..error })
    }

    /// Returns whether to try a fallback although this error is permanent.
    fn falls_back_on(&self, status: StatusCode, cause: Cause) -> bool {
        let wanted = match (status.as_u16(), cause) {
            (402, _) | (400..=499, Cause::Credit) => FallbackOn::Credit,
            (413, _) | (_, Cause::Context) => FallbackOn::Context,
            (404, _) | (400, Cause::Missing) => FallbackOn::Missing,
            _ => return false,
        };
        self.spec.fallback_on.contains(&wanted)
    }

    /// Adds the model's name and its host to an error.
    fn named(&self, mut error: ModelError) -> ModelError {
        let message = &error.error.message;
        error.error.message = match &self.endpoint {
            Ok((_, url)) => format!("[models.{}] at {}: {message}", self.name, net::origin(url)),
            Err(_) => format!("[models.{}]: {message}", self.name),
        };
        error
    }
}

/// A change with which the request is repeated.
#[derive(Clone, Copy)]
enum Workaround {
    WithThoughts,
    WithoutSchema,
}

/// What is needed to read an answer.
struct AnswerContext<'a> {
    wire: Wire,
    request: &'a ModelRequest,
    names: &'a ToolNames<'a>,
    place: &'a Place,
    clean: &'a (dyn Fn(&str) -> String + Sync),
}

/// Returns the tokens of two requests.
fn sum(one: Option<Tokens>, other: Option<Tokens>) -> Option<Tokens> {
    let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
    Some(Tokens {
        input: one.input.saturating_add(other.input),
        cached: one.cached.saturating_add(other.cached),
        written: one.written.saturating_add(other.written),
        output: one.output.saturating_add(other.output),
    })
}

/// Parses the JSON of a body; the error describes what it is instead.
fn parse(body: &[u8]) -> Result<Value, ModelError> {
    let text = String::from_utf8_lossy(body);
    if text.trim_start().starts_with('<') {
        return Err(unusable("it is a web page instead of JSON; check `base_url`"));
    }
    // The error names line and column, never the content.
    let json =
        read_json(body, JsonMistakes::Encoding).map_err(|error: serde_json::Error| match error.is_eof() {
            true if text.trim().is_empty() => unusable("it is empty; check `base_url`"),
            true => unusable("its JSON is cut off"),
            false => unusable(format!("it is not valid JSON ({error}); check `base_url`")),
        })?;
    match is_deeper(&json, MOST_NESTED) {
        true => Err(unusable(format!("its JSON is nested more than {MOST_NESTED} deep"))),
        false => Ok(json),
    }
}

/// Returns the part of a provider's message that may be shown.
fn clean(text: &str, secrets: &[Secret], request: &ModelRequest) -> String {
    let mut asked: Vec<&str> = request.system.as_deref().into_iter().collect();
    for message in &request.messages {
        match message {
            ChatMessage::User { text } => asked.push(text),
            ChatMessage::Model(turn) => {
                asked.push(&turn.text);
                asked.extend(turn.thought.as_deref());
                asked.extend(turn.calls.iter().map(|call| call.arguments.as_str()));
            }
            ChatMessage::Tools { replies } => asked.extend(replies.iter().map(|reply| reply.text.as_str())),
        }
    }
    trouble::cleaned(text, secrets, &asked)
}

#[cfg(test)]
mod tests;
