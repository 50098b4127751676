//! `feed`: the items of several RSS, Atom and JSON feeds as one list, newest first.
//!
//! Theory of operation. Sources are fetched a few at a time, each within the guard of `net` and with the
//! validators of its last answer (`source`); the answers are parsed whatever their format (`item`, `xml` with
//! `marks`, `json`), items get stable ids (`identity`), and are merged (`gather`). A source that fails is
//! reported beside the items of the others; the call fails only if all sources do. In a gate with `novel_by`,
//! items that its agent has seen are left out *before* the list is cut to its limits: so what is cut now is
//! returned the next time.
//!
//! Addresses are chosen by a person. A model gets an instance whose `urls` are fixed; addresses from a
//! template may lead to public hosts only.
use super::contract::{About, Call, ToolOutput};
use super::settings;
use crate::domain::{
    Effect, FeedArgs, MAX_TOOL_RESULT_BYTES, Since, TextOrSecret, ToolError, ToolKind, ToolSettings, size,
};
use crate::tools::feed::source::SourceOutcome;
use futures_util::stream::{self, StreamExt};
use gather::{ItemFilter, MergedItems, Source};
use jiff::{SpanRelativeTo, Timestamp};
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use source::{Given, SourceRequest};
use std::time::Instant;

mod date;
mod decode;
mod format;
mod gather;
mod identity;
mod item;
mod json;
mod login;
mod marks;
mod news;
mod report;
mod source;
mod text;
mod xml;

/// Number of sources that are fetched concurrently.
const CONCURRENT_SOURCES: usize = 8;
/// Bytes of a result reserved beside its items and sources.
const RESERVED_BYTES: usize = 4 << 10;

/// Describes an instance.
pub(super) fn about() -> About {
    About { effect: Effect::Read, reads_when: None, untrusted: true }
}

/// What a call asks for.
struct Plan {
    wishes: Vec<SourceRequest>,
    max_items: usize,
    wanted: ItemFilter,
}

/// Fetches and parses the sources.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let plan = plan(&call).await?;
    let until = Instant::now() + call.bound.mul_f64(0.85);
    let asked = stream::iter(plan.wishes.into_iter().map(|wish| {
        let call = call.clone();
        async move {
            let url = wish.url.clone();
            let left = until.saturating_duration_since(Instant::now());
            let given = if left.is_zero() {
                Err("there was no time left to ask it: raise `tool_call_timeout`".to_owned().into())
            } else {
                source::get(&call, SourceRequest { time: wish.time.min(left), ..wish }).await
            };
            (url, given)
        }
    }));
    let asked: Vec<SourceOutcome> = asked.buffered(CONCURRENT_SOURCES).collect().await;
    // A source that is skipped until its Retry-After has passed was reported before.
    if asked.iter().all(|(_, given)| matches!(given, Err(failure) if !failure.waits)) {
        return Err(ToolError::Failed(report::all_failed(&asked)));
    }
    let given: Vec<(&str, &Given)> =
        asked.iter().filter_map(|(url, given)| Some((url.as_str(), given.as_ref().ok()?))).collect();
    let sources: Vec<Source<'_>> =
        given.iter().map(|(url, given)| Source { url, feed: &given.feed }).collect();
    let MergedItems { mut items, doubles } = gather::all(&sources, &plan.wanted);
    news::drop_seen(&call, &mut items, &doubles).await;
    let mut out = report::account(&asked);
    let beside = serde_json::to_vec(&out).map_or(0, |text| text.len());
    let left_out =
        cut(&mut items, plan.max_items, MAX_TOOL_RESULT_BYTES.saturating_sub(beside + RESERVED_BYTES));
    if left_out > 0 {
        out.insert("left_out".into(), left_out.into());
    }
    out.insert("wake".into(), (!items.is_empty()).into());
    out.insert("items".into(), items.into());
    let (findings, warnings) = (report::findings(&asked), report::warnings(&asked));
    Ok(ToolOutput { findings, warnings, doubles, ..ToolOutput::of(Value::Object(out)) })
}

async fn plan(call: &Call) -> Result<Plan, ToolError> {
    let ToolSettings::Feed(settings) = &*call.settings else {
        return Err(settings::missing(ToolKind::Feed.as_str()));
    };
    let refuse = |what: String| ToolError::Arguments(format!("tool `{}`: {what}", call.tool));
    let asked = call.arguments::<FeedArgs>()?;
    let urls = addresses(call, &asked, &settings.fixed)?;
    let asked = asked.or(&settings.fixed);
    let now = crate::clock::wall();
    let since = asked.since.as_ref().map(|since| instant(since, now)).transpose().map_err(refuse)?;
    if urls.is_empty() {
        return Err(refuse("`urls` is empty: name at least one feed".into()));
    }
    if urls.len() > FeedArgs::MAX_URLS {
        let most = FeedArgs::MAX_URLS;
        return Err(refuse(format!("`urls` has {} addresses, and {most} are the most", urls.len())));
    }
    let headers = settings::headers(&settings.headers, call.bound).await?;
    let logins = login::all(&settings.logins, call.bound).await?;
    let wish = |(url, by_name)| {
        let (mut headers, mut user) = (headers.clone(), None);
        let has_secret = logins.contains_key(&url) || settings.headers.values().any(TextOrSecret::is_secret);
        if let Some(login) = logins.get(&url) {
            headers.insert(AUTHORIZATION, login.header.clone());
            user = Some(login.user.clone());
        }
        let (bytes, time) = (size(settings.max_bytes), settings.timeout.unsigned_abs());
        SourceRequest {
            url,
            by_name,
            private: settings.allow_private.clone(),
            has_secret,
            headers,
            user,
            bytes,
            time,
        }
    };
    Ok(Plan {
        wishes: urls.into_iter().map(wish).collect(),
        max_items: size(asked.max_items.unwrap_or(FeedArgs::MAX_ITEMS)),
        wanted: ItemFilter {
            since,
            per_source: asked.max_per_source.map_or(usize::MAX, size),
            summary: size(asked.max_summary.unwrap_or(FeedArgs::MAX_SUMMARY)),
            now,
        },
    })
}

/// Returns the addresses, each with whether a person wrote it literally.
fn addresses(call: &Call, asked: &FeedArgs, fixed: &FeedArgs) -> Result<Vec<(String, bool)>, ToolError> {
    let mut known = std::collections::HashSet::new();
    let mut once =
        |urls: Vec<(String, bool)>| urls.into_iter().filter(|(url, _)| known.insert(url.clone())).collect();
    if let Some(urls) = &fixed.urls {
        return Ok(once(urls.iter().map(|url| (url.clone(), true)).collect()));
    }
    let Some(written) = &call.context.written else {
        return Err(ToolError::Failed(format!(
            "tool `{}` has no fixed addresses, and a model does not choose them: define a table such as \
             [tools.news] with type = \"feed\" and urls = [\"https://example.org/feed.xml\"], and call `news`",
            call.tool
        )));
    };
    let written = written["urls"].as_array().map_or(&[][..], Vec::as_slice);
    let is_written = |url: &String| written.iter().any(|written| written == url);
    let urls = asked.urls.iter().flatten();
    Ok(once(urls.map(|url| (url.trim().to_owned(), is_written(url))).collect()))
}

/// Parses a duration before now, or a time.
fn instant(since: &Since, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = |since: String| {
        format!(
            "`since` is {since}, which is neither a duration such as \"36h\" or \"7d\" nor a time such as \"2026-11-24T08:00:00Z\""
        )
    };
    let before = |span: jiff::SignedDuration| now.checked_sub(span).ok();
    match since {
        Since::Seconds(secs) => {
            before(jiff::SignedDuration::from_secs(*secs)).ok_or_else(|| wrong(secs.to_string()))
        }
        Since::Text(text) => match text.parse::<jiff::Span>() {
            Ok(span) => {
                let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
                span.and_then(|span| before(span.abs()))
            }
            Err(_) => date::read(text),
        }
        .ok_or_else(|| wrong(format!("{text:?}"))),
    }
}

/// Cuts the list to its limits, and returns how many items were left out.
fn cut(items: &mut Vec<Value>, most: usize, mut room: usize) -> usize {
    let fits = items.iter().take(most).take_while(|item| {
        let size = serde_json::to_vec(item).map_or(usize::MAX, |text| text.len() + 1);
        room = room.saturating_sub(size);
        room > 0
    });
    let kept = fits.count();
    let left_out = items.len() - kept;
    items.truncate(kept);
    left_out
}

#[cfg(test)]
mod tests;
