//! One source: fetched within the guard, conditionally on the stored state, and parsed.
//!
//! The stored state is the validators together with the items that they stand for. So an answer "not
//! modified" yields the same items as a full one, and items that an earlier run failed to report are still
//! there. It is stored in the state database, so a restart does not cause full fetches.
use super::super::contract::Call;
use super::item::{Feed, Item};
use super::{format, gather, identity, text};
use crate::domain::{CachedFeed, Entry, Fact, HostPattern, PrivateHost, ToolSettings};
use crate::net::{self, Allow, Bounds, Fetched, GuardError, Request};
use crate::tools::http::naming;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RETRY_AFTER,
};
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Changes when stored state is interpreted differently.
const FORMAT: &str = "feed 1";
/// Maximum state stored for one source, in bytes of JSON. A larger feed is fetched in full each time.
const MAX_STATE_BYTES: usize = 2 << 20;
/// Maximum time for which a Retry-After of a source is honoured.
const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Interval at which it is recorded that a source is still in use.
const IN_USE_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

const ACCEPTED: &str = "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml, \
                        application/xml;q=0.9, text/xml;q=0.9, application/json;q=0.8, */*;q=0.5";

/// A source to fetch, and how.
#[derive(Clone, Debug)]
pub(super) struct SourceRequest {
    pub(super) url: String,
    /// A person wrote this address: it may have any port, and be private if it is written as an IP address.
    pub(super) by_name: bool,
    /// Hosts that may have private addresses.
    pub(super) private: Vec<PrivateHost>,
    /// The headers contain a secret.
    pub(super) has_secret: bool,
    /// For this host only; includes the login.
    pub(super) headers: HeaderMap,
    /// The user of its login: the answer may differ between users.
    pub(super) user: Option<String>,
    /// Maximum size of the answer, in bytes.
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// What a source returned.
pub(super) struct Given {
    pub(super) feed: Feed,
    /// It has not changed since it was last fetched.
    pub(super) unchanged: bool,
    /// The new address after a permanent redirect.
    pub(super) moved_to: Option<String>,
}

/// Why a source returned nothing.
pub(super) struct SourceFailure {
    /// A sentence that says what is wrong, and what to do about it.
    pub(super) error: String,
    /// It was not fetched: an earlier answer had a `Retry-After`, and was reported as a failure then.
    pub(super) waits: bool,
}

impl From<String> for SourceFailure {
    fn from(error: String) -> Self {
        Self { error, waits: false }
    }
}

/// The state stored for a source.
#[derive(Default, Serialize, Deserialize)]
struct StoredState {
    #[serde(flatten)]
    feed: Feed,
    /// Not fetched before this, because of its Retry-After.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    not_before: Option<Timestamp>,
}

/// Fetches a source.
///
/// # Errors
/// Why it returned nothing.
pub(super) async fn get(call: &Call, wish: SourceRequest) -> Result<Given, SourceFailure> {
    let key = key(&wish, call);
    let kept = kept(call, &key).await;
    let memory: Option<StoredState> = kept.as_ref().and_then(|kept| serde_json::from_str(&kept.items).ok());
    let now = crate::clock::wall();
    if let Some(until) = memory.as_ref().and_then(|memory| memory.not_before)
        && until > now
        && until.duration_since(now) <= MAX_RETRY_AFTER
    {
        let until = until.round(jiff::Unit::Second).unwrap_or(until);
        let error = format!("not asked: it answered earlier that it is not to be asked before {until}");
        return Err(SourceFailure { error, waits: true });
    }
    let mut fetched = fetch(&wish, kept.as_ref()).await?;
    if fetched.status == StatusCode::NOT_MODIFIED {
        match (kept.as_ref(), &memory) {
            (Some(kept), Some(memory)) if kept.came_from == fetched.url.as_str() => {
                let mut feed = memory.feed.clone();
                if feed.items.iter().any(|item| item.id.is_empty()) {
                    identity::assign(&mut feed, Some(memory.feed.clone()), &wish.url);
                }
                still_in_use(call, key, kept.clone()).await;
                return Ok(Given { feed, unchanged: true, moved_to: moved_to(&fetched) });
            }
            _ => {}
        }
        // Not modified relative to something else, or to nothing: the full answer is requested.
        fetched = fetch(&wish, None).await?;
    }
    if !fetched.status.is_success() {
        if let Some(until) = backoff_until(&fetched, now) {
            wait(call, key, kept, memory.unwrap_or_default(), until).await;
        }
        return Err(refused(&fetched).into());
    }
    let moved_to = moved_to(&fetched);
    let mut feed = parse_answer(&wish, &mut fetched).await?;
    let before = memory.map(|memory| memory.feed);
    identity::assign(&mut feed, before, &wish.url);
    keep(call, key, kept, &fetched, &feed).await;
    Ok(Given { feed, unchanged: false, moved_to })
}

/// Parses a full answer.
async fn parse_answer(wish: &SourceRequest, fetched: &mut Fetched) -> Result<Feed, String> {
    let truncated = fetched.truncated;
    let header = text_of(&fetched.headers, &CONTENT_TYPE).unwrap_or_default();
    let (body, base) = (std::mem::take(&mut fetched.body), fetched.url.clone());
    // Malicious content must not block other tasks, and a panic must be contained.
    let read = tokio::task::spawn_blocking(move || format::read(&body, &header, &base)).await;
    let read = read.map_err(|_| "the feed can't be read: internal error of the reader".to_owned())?;
    let long = || format!("it is longer than {} KiB, and only so much is read", wish.bytes >> 10);
    let mut feed = read.map_err(|error| if truncated { format!("{error}; {}", long()) } else { error })?;
    if truncated {
        feed.broken = Some(long());
    }
    match (&feed.broken, feed.items.is_empty()) {
        (Some(why), true) => Err(format!("the feed is broken before its first item: {why}")),
        _ => Ok(feed),
    }
}

fn moved_to(fetched: &Fetched) -> Option<String> {
    let moved = fetched.moved.as_ref()?;
    Some(text::shorter(&gather::without_secrets(moved.as_str()), 300).into_owned())
}

/// Returns until when a source asks not to be contacted (RFC 9110, 10.2.3), up to a maximum.
fn backoff_until(fetched: &Fetched, now: Timestamp) -> Option<Timestamp> {
    let wait = SignedDuration::try_from(net::retry_after(&fetched.headers, now)?).ok()?;
    wait.is_positive().then(|| now + wait.min(MAX_RETRY_AFTER))
}

async fn fetch(wish: &SourceRequest, kept: Option<&CachedFeed>) -> Result<Fetched, String> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    for (name, value) in [
        (IF_NONE_MATCH, kept.and_then(|kept| kept.etag.as_deref())),
        (IF_MODIFIED_SINCE, kept.and_then(|kept| kept.last_modified.as_deref())),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    let request = Request {
        url: wish.url.clone(),
        headers,
        own_headers: wish.headers.clone(),
        has_secret: wish.has_secret,
        ..Request::default()
    };
    let bounds = Bounds { time: wish.time, bytes: wish.bytes };
    net::send(request, &allow(wish), bounds).await.map_err(|error| explain(error, wish))
}

/// Returns what may be contacted for this source: public hosts on the usual ports; the host that a person
/// wrote down, on the port that was written; and private hosts listed in the table. The owner of a name
/// decides where it resolves to, so a name alone may not lead to a private address, while a literal IP
/// address may. A redirect to another host is judged as if nobody had written it.
fn allow(wish: &SourceRequest) -> Allow {
    let own = Url::parse(&wish.url).ok().filter(|_| wish.by_name).and_then(|url| {
        let host = url.host_str()?;
        let text = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        HostPattern::parse(&text).ok()
    });
    let mut private = wish.private.clone();
    private.extend(own.clone().and_then(PrivateHost::literal));
    Allow::public().and(own.into_iter().collect()).and_private(private)
}

fn explain(error: GuardError, wish: &SourceRequest) -> String {
    match error {
        GuardError::Timeout => format!("no whole answer within {:.0} s", wish.time.as_secs_f64().max(1.0)),
        GuardError::Private { host, address } => format!(
            "the host {host} is at {address}, which is not a public address; if it is meant, say so in its [tools.…] table: \
             allow_private = [\"{}\"]",
            naming(&host, address)
        ),
        other => other.to_string(),
    }
}

/// Explains by its status why an answer is not a feed.
fn refused(fetched: &Fetched) -> String {
    let status = fetched.status.as_u16();
    let wait = text_of(&fetched.headers, &RETRY_AFTER).filter(|wait| wait.len() < 40);
    let hint = match status {
        301 | 302 | 303 | 307 | 308 => "it points elsewhere without saying where".to_owned(),
        401 => "it refuses; if it wants a login, give it `username` and `password` in `sources` of a [tools.…] table, or a key in \
                `headers`"
            .to_owned(),
        403 => "it refuses; if it wants a key, give the `[tools.…]` table `headers`".to_owned(),
        404 => "there is nothing at this address".to_owned(),
        410 => "it is gone for good: take it out".to_owned(),
        429 | 503 => wait.map_or_else(
            || "it is asked too often, or busy".to_owned(),
            |wait| {
                format!("it is asked too often, or busy, and wants {wait} (seconds or a date) to pass first; until then it is left \
                     alone")
            },
        ),
        _ => return format!("the server answers with status {status}"),
    };
    format!("the server answers with status {status}: {hint}")
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Returns the key of the stored state. The same address with other headers or another user may return
/// something else.
fn key(wish: &SourceRequest, call: &Call) -> String {
    let headers = match &*call.settings {
        ToolSettings::Feed(settings) if !settings.headers.is_empty() => {
            serde_json::to_string(&settings.headers).unwrap_or_default()
        }
        _ => String::new(),
    };
    let mut text = format!("{FORMAT}\n{}\n{headers}", wish.url);
    if let Some(user) = &wish.user {
        text = format!("{text}\n{user}");
    }
    let hash = Sha256::digest(text.as_bytes());
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn kept(call: &Call, key: &str) -> Option<CachedFeed> {
    let (store, key) = (call.context.store.as_ref()?, key.to_owned());
    store.read(move |reader| reader.feed(&key)).await.ok()?
}

async fn still_in_use(call: &Call, key: String, kept: CachedFeed) {
    let now = crate::clock::wall();
    if now.duration_since(kept.at) > IN_USE_INTERVAL {
        write(call, key, CachedFeed { at: now, ..kept }).await;
    }
}

/// Stores validators and items for the next fetch: items also without validators, for their ids.
async fn keep(call: &Call, key: String, before: Option<CachedFeed>, fetched: &Fetched, feed: &Feed) {
    let is_whole = feed.broken.is_none();
    let short = |name| text_of(&fetched.headers, &name).filter(|text| is_whole && text.len() <= 1024);
    let (mut etag, mut last_modified) = (short(ETAG), short(LAST_MODIFIED));
    let as_text = |feed: &Feed| {
        let memory = StoredState { feed: feed.clone(), not_before: None };
        serde_json::to_string(&memory).ok().filter(|text| text.len() <= MAX_STATE_BYTES)
    };
    let mut items = as_text(feed);
    if items.is_none() || (etag.is_none() && last_modified.is_none()) {
        // It will be fetched in full: only what identifies its items is needed.
        (etag, last_modified) = (None, None);
        let brief: Vec<Item> = feed.items.iter().cloned().map(identity::without_details).collect();
        let mut brief = Feed { title: None, items: brief, ..feed.clone() };
        items = as_text(&brief).or_else(|| {
            brief.gone.clear();
            as_text(&brief)
        });
    }
    let Some(items) = items else { return };
    let came_from = fetched.url.as_str().to_owned();
    let kept = CachedFeed { came_from, etag, last_modified, items, at: crate::clock::wall() };
    match before.filter(|before| CachedFeed { at: kept.at, ..before.clone() } == kept) {
        Some(before) => still_in_use(call, key, before).await,
        None => write(call, key, kept).await,
    }
}

/// Stores until when a source asks not to be contacted.
async fn wait(call: &Call, key: String, kept: Option<CachedFeed>, memory: StoredState, until: Timestamp) {
    let Ok(items) = serde_json::to_string(&StoredState { not_before: Some(until), ..memory }) else { return };
    let none = || CachedFeed {
        came_from: String::new(),
        etag: None,
        last_modified: None,
        items: String::new(),
        at: until,
    };
    write(call, key, CachedFeed { items, at: crate::clock::wall(), ..kept.unwrap_or_else(none) }).await;
}

/// A failure to store is ignored: the feed is fetched again.
async fn write(call: &Call, source: String, kept: CachedFeed) {
    if let Some(store) = &call.context.store {
        let fact = Fact::FeedKept { source, kept: Box::new(kept) };
        let _ = store.commit(vec![Entry { at: crate::clock::wall(), fact }]).await;
    }
}

/// A source's address, and the outcome of fetching it.
pub(super) type SourceOutcome = (String, Result<Given, SourceFailure>);
