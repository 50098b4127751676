//! One source: asked within the guard, with what was kept of the last answer, and read.
//!
//! What is kept is the validators together with the items that they stand for. So an answer "not modified"
//! gives the same items as a whole one would, and what an earlier run failed to tell is still there. It is
//! kept in the state database: a restart costs nobody a feed.
use super::super::contract::Call;
use super::item::{Feed, Item};
use super::{format, gather, identity, text};
use crate::domain::{Entry, Fact, HostPattern, KeptFeed, PrivateHost, ToolSettings};
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

/// Changes when what is kept is read differently.
const FORM: &str = "feed 1";
/// Most that is kept of one source, in bytes of JSON. One that has more is fetched whole each time.
const MOST_KEPT: usize = 2 << 20;
/// The longest that a source is left alone because it wants that.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);
/// How often it is noted that a source is still in use.
const IN_USE: SignedDuration = SignedDuration::from_hours(24);

const ACCEPTED: &str = "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml, \
                        application/xml;q=0.9, text/xml;q=0.9, application/json;q=0.8, */*;q=0.5";

/// Which source, and how it may be asked.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) url: String,
    /// A person wrote this address: it may have any port, and be private if it is written as a number.
    pub(super) by_name: bool,
    /// Hosts that may be private.
    pub(super) private: Vec<PrivateHost>,
    /// A secret is among the headers.
    pub(super) has_secret: bool,
    /// For this host only, among them its login.
    pub(super) headers: HeaderMap,
    /// The user of its login: another one may be given something else.
    pub(super) user: Option<String>,
    /// Of the answer, in bytes.
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// What a source gave.
pub(super) struct Given {
    pub(super) feed: Feed,
    /// It has not changed since it was last asked.
    pub(super) unchanged: bool,
    /// Where it has moved to for good.
    pub(super) moved_to: Option<String>,
}

/// Why a source gave nothing.
pub(super) struct Failure {
    /// A sentence that says what is wrong, and what to do about it.
    pub(super) error: String,
    /// It was not asked: an earlier answer named a time to wait (`Retry-After`), and was reported as a failure then.
    pub(super) waits: bool,
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self { error, waits: false }
    }
}

/// What is kept of a source.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    #[serde(flatten)]
    feed: Feed,
    /// Before this it is not asked, as it wants.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    not_before: Option<Timestamp>,
}

/// Asks a source.
///
/// # Errors
/// Why it gave nothing.
pub(super) async fn get(call: &Call, wish: Wish) -> Result<Given, Failure> {
    let key = key(&wish, call);
    let kept = kept(call, &key).await;
    let memory: Option<Memory> = kept.as_ref().and_then(|kept| serde_json::from_str(&kept.items).ok());
    let now = crate::clock::wall();
    if let Some(until) = memory.as_ref().and_then(|memory| memory.not_before)
        && until > now
        && until.duration_since(now) <= LONGEST_WAIT
    {
        let until = until.round(jiff::Unit::Second).unwrap_or(until);
        let error = format!("not asked: it answered earlier that it is not to be asked before {until}");
        return Err(Failure { error, waits: true });
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
        // not modified since something else, or since nothing: it is asked for the whole
        fetched = fetch(&wish, None).await?;
    }
    if !fetched.status.is_success() {
        if let Some(until) = wants_to_wait(&fetched, now) {
            wait(call, key, kept, memory.unwrap_or_default(), until).await;
        }
        return Err(refused(&fetched).into());
    }
    let moved_to = moved_to(&fetched);
    let mut feed = whole(&wish, &mut fetched).await?;
    let before = memory.map(|memory| memory.feed);
    identity::assign(&mut feed, before, &wish.url);
    keep(call, key, kept, &fetched, &feed).await;
    Ok(Given { feed, unchanged: false, moved_to })
}

/// Reads a whole answer.
async fn whole(wish: &Wish, fetched: &mut Fetched) -> Result<Feed, String> {
    let truncated = fetched.truncated;
    let header = text_of(&fetched.headers, &CONTENT_TYPE).unwrap_or_default();
    let (body, base) = (std::mem::take(&mut fetched.body), fetched.url.clone());
    // Hostile texts must not hold up anything else, nor bring down more than themselves.
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

/// Until when a source wants to be left alone (RFC 9110, 10.2.3), within reason.
fn wants_to_wait(fetched: &Fetched, now: Timestamp) -> Option<Timestamp> {
    let wait = SignedDuration::try_from(net::retry_after(&fetched.headers, now)?).ok()?;
    wait.is_positive().then(|| now + wait.min(LONGEST_WAIT))
}

async fn fetch(wish: &Wish, kept: Option<&KeptFeed>) -> Result<Fetched, String> {
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

/// What may be asked for this source: everything that is public on the usual ports; the host that a person wrote
/// down, on the port that was written; and hosts that may be private, as the table names them. Whose name it is says where
/// it leads, so a name alone does not make it private, while an address that is written out does. A redirect to another is
/// judged as if nobody had written it.
fn allow(wish: &Wish) -> Allow {
    let own = Url::parse(&wish.url).ok().filter(|_| wish.by_name).and_then(|url| {
        let host = url.host_str()?;
        let text = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        HostPattern::parse(&text).ok()
    });
    let mut private = wish.private.clone();
    private.extend(own.clone().and_then(PrivateHost::literal));
    Allow::public().and(own.into_iter().collect()).and_private(private)
}

fn explain(error: GuardError, wish: &Wish) -> String {
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

/// Why an answer is not a feed, by its status.
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

/// The same address with other headers or another user may give something else.
fn key(wish: &Wish, call: &Call) -> String {
    let headers = match &*call.settings {
        ToolSettings::Feed(settings) if !settings.headers.is_empty() => {
            serde_json::to_string(&settings.headers).unwrap_or_default()
        }
        _ => String::new(),
    };
    let mut text = format!("{FORM}\n{}\n{headers}", wish.url);
    if let Some(user) = &wish.user {
        text = format!("{text}\n{user}");
    }
    let hash = Sha256::digest(text.as_bytes());
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn kept(call: &Call, key: &str) -> Option<KeptFeed> {
    let (store, key) = (call.context.store.as_ref()?, key.to_owned());
    store.read(move |reader| reader.feed(&key)).await.ok()?
}

async fn still_in_use(call: &Call, key: String, kept: KeptFeed) {
    let now = crate::clock::wall();
    if now.duration_since(kept.at) > IN_USE {
        write(call, key, KeptFeed { at: now, ..kept }).await;
    }
}

/// Keeps validators and items for the next time: items also without validators, for their ids.
async fn keep(call: &Call, key: String, before: Option<KeptFeed>, fetched: &Fetched, feed: &Feed) {
    let is_whole = feed.broken.is_none();
    let short = |name| text_of(&fetched.headers, &name).filter(|text| is_whole && text.len() <= 1024);
    let (mut etag, mut last_modified) = (short(ETAG), short(LAST_MODIFIED));
    let as_text = |feed: &Feed| {
        let memory = Memory { feed: feed.clone(), not_before: None };
        serde_json::to_string(&memory).ok().filter(|text| text.len() <= MOST_KEPT)
    };
    let mut items = as_text(feed);
    if items.is_none() || (etag.is_none() && last_modified.is_none()) {
        // It will be fetched whole: what is needed is by what its items are recognised.
        (etag, last_modified) = (None, None);
        let slim: Vec<Item> = feed.items.iter().cloned().map(identity::slim).collect();
        let mut slim = Feed { title: None, items: slim, ..feed.clone() };
        items = as_text(&slim).or_else(|| {
            slim.gone.clear();
            as_text(&slim)
        });
    }
    let Some(items) = items else { return };
    let came_from = fetched.url.as_str().to_owned();
    let kept = KeptFeed { came_from, etag, last_modified, items, at: crate::clock::wall() };
    match before.filter(|before| KeptFeed { at: kept.at, ..before.clone() } == kept) {
        Some(before) => still_in_use(call, key, before).await,
        None => write(call, key, kept).await,
    }
}

/// Notes that a source wants to be left alone.
async fn wait(call: &Call, key: String, kept: Option<KeptFeed>, memory: Memory, until: Timestamp) {
    let Ok(items) = serde_json::to_string(&Memory { not_before: Some(until), ..memory }) else { return };
    let none = || KeptFeed {
        came_from: String::new(),
        etag: None,
        last_modified: None,
        items: String::new(),
        at: until,
    };
    write(call, key, KeptFeed { items, at: crate::clock::wall(), ..kept.unwrap_or_else(none) }).await;
}

/// What can't be kept is fetched again: no reason to fail.
async fn write(call: &Call, source: String, kept: KeptFeed) {
    if let Some(store) = &call.context.store {
        let fact = Fact::FeedKept { source, kept: Box::new(kept) };
        let _ = store.commit(vec![Entry { at: crate::clock::wall(), fact }]).await;
    }
}

/// What became of a source: its address, and what it gave.
pub(super) type Asked = (String, Result<Given, Failure>);
