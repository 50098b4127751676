//! Events of servers: the Events extension of MCP (`io.modelcontextprotocol/events`, SEP-3415), delivered by polling. A server
//! lists its event types (`events/list`), and is polled for those of one type after a cursor that it defines (`events/poll`).
//!
//! What a server sends is untrusted: its size, length and form are checked here. Whether an event type is still what a person
//! has trusted is determined by its pin, as with tools.
use super::about::{self, About, Difference};
use super::extension::{EXTENSION, ListedEvent};
use super::link::Link;
use super::pins::{self, PinState, Pins};
use super::session::{InUse, Session};
use super::text::{cut, shown, visible};
use super::{http, wire};
use crate::domain::{McpEventReceived, McpTrigger, ToolError, counted, hex};
use jiff::{SignedDuration, Timestamp};
use rmcp::ServiceError;
use rmcp::model::{ClientRequest, CustomRequest, CustomResult, ErrorData, ServerResult};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum pages of a list.
const MAX_PAGES: usize = 100;
/// Maximum event types of a server.
const MAX_TYPES: usize = 1000;
/// Maximum bytes of a list.
const MAX_LIST_BYTES: usize = 4 << 20;
/// Interval after which the event types of a server are requested again: they may have changed since they were trusted.
const LISTING_TTL: Duration = Duration::from_secs(600);
/// Maximum length of a description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 8192;
/// Maximum length of a cursor, in bytes.
const MAX_CURSOR_BYTES: usize = 64 << 10;
/// Longer event ids are hashed, in bytes.
const MAX_ID_BYTES: usize = 200;
/// Maximum events of one answer, whatever was requested. An answer with more is refused as a whole.
const MAX_EVENTS: usize = 50_000;
/// Error codes of the protocol and of the extension.
const NO_SUCH_METHOD: i32 = -32_601;
const INVALID: i32 = -32_602;
const NOT_FOUND: i32 = -32_011;
const FORBIDDEN: i32 = -32_012;
const UNSUPPORTED: i32 = -32_014;

/// An event type of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerEvent {
    /// As the server names it.
    pub name: String,
    /// Its name when a person trusts it, among the tools of all servers.
    pub label: String,
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
    /// An agent of the configuration waits for it.
    pub awaited: bool,
    /// Whether it matches its pin.
    pub pin: PinState,
    /// What would be pinned now.
    pub hash: String,
    /// The differences from what is trusted, if it changed.
    pub changed: Vec<Difference>,
    /// Why it starts no agent, if so.
    pub why_not: Option<String>,
}

/// The result of a poll.
#[derive(Debug)]
pub struct Polled {
    /// In the server's order, without duplicate ids.
    pub events: Vec<McpEventReceived>,
    /// The new cursor.
    pub cursor: Option<String>,
    /// Events between the last cursor and these were dropped.
    pub truncated: bool,
    /// There are more events now.
    pub has_more: bool,
    /// When to poll next, if the server says so.
    pub next: Option<SignedDuration>,
    /// Number of entries that were not events of the requested type.
    pub unfit: usize,
    /// Keeps the server from being stopped as idle.
    pub held: KeptServer,
}

/// Keeps a server from being stopped as idle while it lives.
#[derive(Debug)]
pub struct KeptServer(#[expect(dead_code, reason = "it is there for its end")] InUse);

/// Why there are no events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEvents {
    /// A permanent problem: a person has to act.
    Unfit(String),
    /// The server rejects the cursor, or the arguments.
    Refused(String),
    /// A problem that may be temporary.
    Failed(String),
}

impl NoEvents {
    /// Returns the message.
    pub fn text(&self) -> &str {
        match self {
            Self::Unfit(text) | Self::Refused(text) | Self::Failed(text) => text,
        }
    }
}

/// Returns the pin's name of an event type, among the tools of its server.
fn pinned_as(event: &str) -> String {
    format!("{}{event}", pins::OF_EVENT)
}

/// What is needed to poll one server for events.
pub(super) struct EventDesk<'a> {
    pub(super) server: &'a str,
    pub(super) link: &'a Arc<Link>,
    /// The event types that agents wait for.
    pub(super) awaited: &'a BTreeSet<String>,
    pub(super) pins: &'a Pins,
}

impl EventDesk<'_> {
    /// Lists the event types of a server that declares events, or that an agent waits for. `None`: it has none.
    ///
    /// # Errors
    /// It does not answer, or not in the form of the protocol.
    pub(super) async fn list(self, bound: Duration) -> Result<Option<Vec<ServerEvent>>, ToolError> {
        let session = self.link.session(Instant::now() + bound).await?;
        if !session.has_events() && self.awaited.is_empty() {
            return Ok(None);
        }
        let listed = self.types(&session, true, Instant::now() + bound).await;
        let listed = listed.map_err(|error| self.link.failed(error.text()))?;
        Ok(listed.map(|all| all.iter().map(|one| self.seen(one)).collect()))
    }

    /// Polls a server for events after a cursor. Starts it if needed, which may take its `start_timeout` in addition to
    /// `bound`.
    ///
    /// # Errors
    /// [`NoEvents`].
    pub(super) async fn poll(
        self,
        by: &McpTrigger,
        cursor: Option<&str>,
        most: usize,
        bound: Duration,
    ) -> Result<Polled, NoEvents> {
        let failed = |text: &str| NoEvents::Failed(self.link.failed(text).to_string());
        let opened = self.link.session(Instant::now() + bound).await;
        let session = opened.map_err(|error| NoEvents::Failed(error.to_string()))?;
        let deadline = Instant::now() + bound;
        let listed = self.types(&session, false, deadline).await?;
        self.may_ask(by, listed.as_deref().map(Vec::as_slice))?;
        let mut params = json!({
            "name": by.event, "arguments": by.args, "cursor": cursor, "maxEvents": most,
        });
        if by.args.is_empty() {
            params["arguments"] = json!({});
        }
        let answer = ask(self.link, &session, "events/poll", params, deadline).await;
        match answer {
            Ok(said) => {
                let polled = read(by, said).map_err(|text| failed(&text))?;
                let Read { events, cursor, truncated, has_more, next, unfit } = polled;
                Ok(Polled { events, cursor, truncated, has_more, next, unfit, held: KeptServer(session) })
            }
            Err(RequestError::Error(error)) => {
                let text = self.link.failed(&wire::error_text(&error)).to_string();
                let is_refused = error.code.0 == INVALID || http::refused_with(&error) == Some(400);
                Err(match error.code.0 {
                    NO_SUCH_METHOD | NOT_FOUND | FORBIDDEN | UNSUPPORTED => NoEvents::Unfit(text),
                    _ if is_refused => NoEvents::Refused(text),
                    _ => NoEvents::Failed(text),
                })
            }
            Err(RequestError::Other(text)) => Err(failed(&text)),
        }
    }

    /// Checks whether the server has these events, and a person has trusted them.
    fn may_ask(&self, by: &McpTrigger, listed: Option<&[ListedEvent]>) -> Result<(), NoEvents> {
        let (server, event) = (&*by.server, &*by.event);
        let Some(listed) = listed else {
            return Err(NoEvents::Unfit(format!(
                "MCP server `{server}` has no events: it does not know the extension {EXTENSION}"
            )));
        };
        let Some(found) = listed.iter().find(|one| one.name == event) else {
            let near = crate::domain::nearest(event, listed.iter().map(|one| one.name.as_str()));
            let near = near.map(|near| format!("; did you mean `{}`?", shown(near))).unwrap_or_default();
            return Err(NoEvents::Unfit(format!("MCP server `{server}` has no event `{event}`{near}")));
        };
        match self.seen(found).why_not {
            Some(why) => Err(NoEvents::Unfit(format!("event `{event}` of MCP server `{server}` {why}"))),
            None => Ok(()),
        }
    }

    fn seen(&self, one: &ListedEvent) -> ServerEvent {
        let server = self.server;
        let awaited = self.awaited.contains(&one.name);
        let key = pinned_as(&one.name);
        // types that nobody waits for need no trust
        let pin = match awaited && one.by_poll {
            true => self.pins.look(server, &key, &one.hash, &one.about),
            false => PinState::Same,
        };
        let changed = match pin {
            PinState::Changed => {
                about::differences(self.pins.about(server, &key).as_deref(), Some(&one.about))
            }
            PinState::New | PinState::Same => Vec::new(),
        };
        let why_not = match pin {
            _ if !one.by_poll => {
                Some("can't be asked for: the server tells it by other ways than `poll`".to_owned())
            }
            PinState::Changed => Some(format!(
                "is off: what the server says of it changed since it was trusted; see `bgagent mcp list`, then `bgagent mcp \
                 trust {server}`"
            )),
            PinState::New => Some(format!(
                "is off: nobody has trusted it yet; `bgagent mcp trust {server}` shows what the server says of it, and asks"
            )),
            PinState::Same => None,
        };
        ServerEvent {
            name: one.name.clone(),
            label: pins::event_name(server, &one.name),
            description: one.description.clone(),
            schema: one.schema.clone(),
            awaited,
            pin,
            hash: one.hash.clone(),
            changed,
            why_not,
        }
    }

    /// Returns the event types of a server. `None`: it has none.
    async fn types(
        &self,
        session: &Session,
        fresh: bool,
        deadline: Instant,
    ) -> Result<Option<Arc<Vec<ListedEvent>>>, NoEvents> {
        let mut known = session.events.lock().await;
        if let Some((at, listed)) = known.as_ref()
            && !fresh
            && at.elapsed() < LISTING_TTL
        {
            return Ok(listed.clone());
        }
        let failed = |text: String| {
            NoEvents::Failed(self.link.failed(&format!("its events can't be listed: {text}")).to_string())
        };
        let listed = match all_types(self.link, session, deadline).await {
            Ok(all) => Some(Arc::new(all)),
            Err(RequestError::Error(error)) if error.code.0 == NO_SUCH_METHOD => None,
            Err(RequestError::Error(error)) => return Err(failed(wire::error_text(&error))),
            Err(RequestError::Other(text)) => return Err(failed(text)),
        };
        *known = Some((Instant::now(), listed.clone()));
        Ok(listed)
    }
}

/// Why there is no answer.
enum RequestError {
    /// The server reports an error.
    Error(ErrorData),
    /// It can't be reached, or its answer is invalid.
    Other(String),
}

async fn ask(
    link: &Link,
    session: &Session,
    method: &str,
    params: Value,
    deadline: Instant,
) -> Result<Value, RequestError> {
    let request = ClientRequest::CustomRequest(CustomRequest::new(method, Some(params)));
    let Ok(answer) = tokio::time::timeout_at(deadline, session.peer.send_request(request)).await else {
        link.timed_out(session);
        return Err(RequestError::Other(format!("it did not answer `{method}` in time")));
    };
    if !matches!(answer, Err(ServiceError::TransportClosed | ServiceError::TransportSend(_))) {
        link.answered();
    }
    match answer {
        // `mend` passes it on as a string, so that it is not parsed as another type
        Ok(ServerResult::CustomResult(CustomResult(Value::String(text)))) => serde_json::from_str(&text)
            .map_err(|_| RequestError::Other(format!("its answer to `{method}` can't be read"))),
        Ok(_) => Err(RequestError::Other(format!("its answer to `{method}` is of another form"))),
        Err(ServiceError::McpError(error)) if wire::is_too_long(&error) => Err(RequestError::Other(format!(
            "its answer to `{method}` is longer than {} MiB",
            wire::MAX_LINE >> 20
        ))),
        Err(ServiceError::McpError(error)) => Err(RequestError::Error(error)),
        Err(ServiceError::TransportClosed) => {
            Err(RequestError::Other(format!("it is gone: {}", session.obituary().await)))
        }
        Err(ServiceError::TransportSend(error)) => {
            Err(RequestError::Other(session.broken(error.error.as_ref())))
        }
        Err(other) => Err(RequestError::Other(shown(&other.to_string()))),
    }
}

/// Reads all pages of the list of a server's event types.
async fn all_types(
    link: &Link,
    session: &Session,
    deadline: Instant,
) -> Result<Vec<ListedEvent>, RequestError> {
    let mut all: Vec<ListedEvent> = Vec::new();
    let (mut bytes, mut seen, mut names) = (0, BTreeSet::new(), BTreeSet::new());
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let params = cursor.take().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let page = ask(link, session, "events/list", params, deadline).await?;
        for said in page["events"].as_array().into_iter().flatten() {
            bytes += said.to_string().len();
            if all.len() >= MAX_TYPES || bytes > MAX_LIST_BYTES {
                return Err(RequestError::Other(format!(
                    "it has more than {MAX_TYPES} types of events, or their list more than {} MiB",
                    MAX_LIST_BYTES >> 20
                )));
            }
            // the first one of a name wins
            all.extend(type_of(said).filter(|one| names.insert(one.name.clone())));
        }
        let next = page["nextCursor"].as_str().filter(|next| !next.is_empty());
        cursor = next.map(str::to_owned).filter(|next| seen.insert(next.clone()));
        if cursor.is_none() {
            all.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(all);
        }
    }
    Err(RequestError::Other(format!("the list of its events has more than {MAX_PAGES} pages")))
}

/// Parses an event type; `None`: it has no valid name.
fn type_of(said: &Value) -> Option<ListedEvent> {
    let name = said["name"].as_str().filter(|name| {
        !name.is_empty() && name.len() <= MAX_ID_BYTES && !name.chars().any(char::is_control)
    })?;
    let description = said["description"].as_str().unwrap_or_default();
    let of_data = json!({"arguments": said["inputSchema"], "data": said["payloadSchema"]});
    let delivery = said["delivery"].as_array();
    Some(ListedEvent {
        name: name.to_owned(),
        description: cut(&visible(description), MAX_DESCRIPTION_CHARS),
        schema: said["inputSchema"].clone(),
        // a server that does not declare delivery is polled
        by_poll: delivery.is_none_or(|ways| ways.iter().any(|way| way == "poll")),
        hash: pins::hash(&pinned_as(name), Some(description), &of_data, &Value::Null),
        about: Arc::new(About::of(description, &of_data, &Value::Null)),
    })
}

#[derive(Debug, PartialEq)]
struct Read {
    events: Vec<McpEventReceived>,
    cursor: Option<String>,
    truncated: bool,
    has_more: bool,
    next: Option<SignedDuration>,
    unfit: usize,
}

/// Parses an answer to `events/poll`.
fn read(by: &McpTrigger, said: Value) -> Result<Read, String> {
    let Value::Object(mut said) = said else { return Err("its answer is not an object".into()) };
    let events = match said.remove("events") {
        Some(Value::Array(events)) => events,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err("`events` of its answer is not a list".into()),
    };
    if events.len() > MAX_EVENTS {
        return Err(format!(
            "its answer has {}, and {MAX_EVENTS} are the most",
            counted(events.len(), "event")
        ));
    }
    let cursor = match said.remove("cursor") {
        None | Some(Value::Null) => None,
        Some(Value::String(cursor)) => Some(cursor),
        Some(other @ Value::Number(_)) => Some(other.to_string()),
        Some(_) => return Err("`cursor` of its answer is not a text".into()),
    };
    if let Some(cursor) = &cursor {
        if cursor.len() > MAX_CURSOR_BYTES {
            return Err(format!(
                "its cursor has {} bytes, and {MAX_CURSOR_BYTES} are the most",
                cursor.len()
            ));
        }
        if cursor.contains('\0') {
            return Err("its cursor has a NUL in it".into());
        }
    }
    let all = events.len();
    let mut ids = BTreeSet::new();
    let events: Vec<McpEventReceived> = events.into_iter().filter_map(|one| event(by, one)).collect();
    let unfit = all - events.len();
    let flag = |key: &str| said.get(key) == Some(&Value::Bool(true));
    let next = said.get("nextPollMs").and_then(Value::as_f64).filter(|ms| ms.is_finite() && *ms >= 0.0);
    Ok(Read {
        // removes duplicates within one answer
        events: events.into_iter().filter(|one| ids.insert(one.id.clone())).collect(),
        cursor: cursor.filter(|cursor| !cursor.is_empty()),
        truncated: flag("truncated"),
        has_more: flag("hasMore"),
        next: next.map(|ms| SignedDuration::from_millis(ms as i64).min(McpTrigger::MAX_EVERY)),
        unfit,
    })
}

/// Parses an event of the requested type.
fn event(by: &McpTrigger, said: Value) -> Option<McpEventReceived> {
    let Value::Object(mut said) = said else { return None };
    if said.get("name").and_then(Value::as_str).is_some_and(|name| name != &*by.event) {
        return None;
    }
    let id = id_of(&said);
    let happened_at =
        said.get("timestamp").and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
    let data = said.remove("data").unwrap_or_default();
    let length = data.to_string().len();
    let fits = length <= McpTrigger::LONGEST_DATA;
    Some(McpEventReceived {
        server: by.server.to_string(),
        event: by.event.to_string(),
        id,
        happened_at,
        data: if fits { data } else { Value::Null },
        left_out: (!fits).then_some(length as u64),
    })
}

/// Returns the server's id, or a hash if it has no usable one: of the id, or else of the whole event.
fn id_of(said: &Map<String, Value>) -> String {
    let hashed = |text: &str| format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())));
    let own = match said.get("eventId") {
        Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
        Some(id @ Value::Number(_)) => Some(id.to_string()),
        _ => None,
    };
    match own {
        // an id that looks like our hashes is hashed itself
        Some(id)
            if id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) || id.starts_with("sha256:") =>
        {
            hashed(&id)
        }
        Some(id) => id,
        None => {
            let mut text = String::new();
            super::text::canonical(&Value::Object(said.clone()), &mut text);
            hashed(&text)
        }
    }
}

#[cfg(test)]
mod tests {
    //! What is made of answers.
    use super::*;

    fn by() -> McpTrigger {
        McpTrigger {
            server: "github".into(),
            event: "issue.opened".into(),
            args: Map::new(),
            every: McpTrigger::EVERY,
        }
    }

    fn ids(said: Value) -> Vec<String> {
        read(&by(), said).unwrap().events.into_iter().map(|one| one.id).collect()
    }

    #[test]
    fn an_answer_is_read_as_the_extension_has_it() {
        let said = json!({
            "resultType": "complete", "cursor": "c1", "truncated": true, "hasMore": true, "nextPollMs": 30000,
            "events": [{
                "eventId": "evt_1", "name": "issue.opened", "timestamp": "2026-11-30T09:00:00Z", "data": {"n": 7},
            }],
        });
        let event = McpEventReceived {
            server: "github".into(),
            event: "issue.opened".into(),
            id: "evt_1".into(),
            happened_at: Some("2026-11-30T09:00:00Z".parse().unwrap()),
            data: json!({"n": 7}),
            left_out: None,
        };
        let expected = Read {
            events: vec![event],
            cursor: Some("c1".into()),
            truncated: true,
            has_more: true,
            next: Some(SignedDuration::from_secs(30)),
            unfit: 0,
        };
        assert_eq!(read(&by(), said).unwrap(), expected);
        let nothing =
            Read { events: vec![], cursor: None, truncated: false, has_more: false, next: None, unfit: 0 };
        assert_eq!(read(&by(), json!({"cursor": null})).unwrap(), nothing);
        // no wish for a pause is longer than an hour, or none at all
        for (ms, secs) in [(json!(1e300), Some(3600)), (json!(-5), None), (json!("soon"), None)] {
            let next = read(&by(), json!({"events": [], "nextPollMs": ms})).unwrap().next;
            assert_eq!(next.map(|next| next.as_secs()), secs);
        }
    }

    #[test]
    fn each_event_has_an_id_that_can_be_kept() {
        let of = |id: Value| json!({"events": [{"eventId": id, "data": {}}]});
        assert_eq!(ids(of(json!("a b/c"))), ["a b/c"]);
        assert_eq!(ids(of(json!(7))), ["7"]);
        for odd in [
            json!("x\u{0}y"),
            json!("x".repeat(201)),
            json!("sha256:abc"),
            json!(""),
            json!(null),
            json!([1]),
        ] {
            let id = ids(of(odd.clone())).remove(0);
            assert!(id.starts_with("sha256:") && id.len() == 7 + 64, "{odd} {id}");
            assert_eq!(ids(of(odd)), [id], "the same again is the same event");
        }
        let without = |n: u8| json!({"events": [{"data": {"n": n}}]});
        assert_ne!(ids(without(1)), ids(without(2)));
        // twice in one answer
        let twice =
            json!({"events": [{"eventId": "a", "data": 1}, {"eventId": "b"}, {"eventId": "a", "data": 2}]});
        assert_eq!(ids(twice), ["a", "b"]);
    }

    #[test]
    fn what_is_no_event_of_the_type_is_counted_and_left_out() {
        let said = json!({"events": [7, null, {"eventId": "a", "name": "issue.closed"}, {"eventId": "b"}]});
        let read = read(&by(), said).unwrap();
        assert_eq!((read.events.len(), read.unfit), (1, 3));
        let long = json!({"events": [{"eventId": "a", "data": "x".repeat(300_000)}]});
        let one = super::read(&by(), long).unwrap().events.remove(0);
        assert_eq!((one.data, one.left_out), (Value::Null, Some(300_002)));
        for odd in [
            json!([]),
            json!({"events": {}}),
            json!({"cursor": []}),
            json!({"cursor": "x".repeat(70_000)}),
            json!({"cursor": "a\u{0}"}),
            json!({"events": vec![json!({}); 50_001]}),
        ] {
            assert!(super::read(&by(), odd).is_err());
        }
    }

    #[test]
    fn a_type_is_known_by_all_that_it_says_of_itself() {
        let hash = |said: Value| type_of(&said).map(|one| one.hash);
        let one = json!({"name": "a", "description": "d", "inputSchema": {"type": "object"}});
        for (key, value) in
            [("name", json!("b")), ("description", json!("e")), ("payloadSchema", json!({"x": 1}))]
        {
            let mut other = one.clone();
            other[key] = value;
            assert_ne!(hash(one.clone()), hash(other), "{key}");
        }
        assert_eq!(hash(json!({"name": "a\u{1b}[2J"})), None);
        assert_eq!(hash(json!({"description": "nameless"})), None);
        let ways = |ways: Value| type_of(&json!({"name": "a", "delivery": ways})).unwrap().by_poll;
        assert!(ways(json!(["push", "poll"])) && ways(Value::Null) && !ways(json!(["webhook"])));
    }
}
