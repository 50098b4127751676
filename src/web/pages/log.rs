//! The newest events, and the search.
use super::fleet::WholeFleet;
use crate::client::{Backoff, Follow, FollowItem, Timeouts};
use crate::protocol::*;
use crate::web::frame::{Frame, Page, html};
use crate::web::html::{Moment, anchor, encoded, line};
use crate::web::state::Web;
use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect};
use std::collections::HashMap;
use std::time::Duration;

/// Events per page.
const PAGE_ROWS: u64 = 200;
/// Maximum number of search results.
const MAX_RESULT_COUNT: usize = 50;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: Frame,
    rows: Vec<EventRow>,
    agent: String,
}

struct EventRow {
    seq: u64,
    at: String,
    agent: String,
    kind: String,
    run: Option<(String, String)>,
    text: String,
}

pub(in crate::web) async fn log(
    State(web): State<Web>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let agent = query.get("agent").filter(|agent| !agent.is_empty()).cloned();
    let (frame, _) = Frame::of(&web, "log", "Log").await?;
    let moment = Moment::new();
    let params = StreamParams {
        agents: agent.iter().cloned().collect(),
        last: Some(PAGE_ROWS),
        follow: false,
        ..StreamParams::default()
    };
    let address = web.pool.address().clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut follow =
            Follow::start(address, Timeouts::all(Duration::from_secs(10)), Backoff::default(), params, None)?;
        let mut all = Vec::new();
        loop {
            match follow.next(Some(std::time::Instant::now() + Duration::from_secs(10)))? {
                FollowItem::Event(event) => all.push(event),
                FollowItem::End | FollowItem::Deadline => break Ok(all),
                _ => {}
            }
        }
    });
    let events =
        read.await.unwrap_or_else(|_| Ok(Vec::new())).map_err(|error: crate::client::ClientError| error)?;
    let row = |event: &crate::client::StoredEvent| {
        let logged = event.decode().ok()?;
        Some(EventRow {
            seq: event.seq,
            at: moment.when(logged.ts).local,
            agent: logged.agent_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            kind: line(&logged.kind.replace("background_", "").replace('_', " ")),
            run: logged.run_id.map(|run| (run.to_string(), run.short())),
            text: crate::render::event_gist(&logged),
        })
    };
    let rows = events.iter().rev().filter_map(row).collect();
    Ok(html(&LogPage { frame, rows, agent: agent.as_deref().map(line).unwrap_or_default() }))
}

#[derive(Template)]
#[template(path = "find.html")]
struct FindPage {
    frame: Frame,
    query: String,
    hits: Vec<(String, String, String)>,
}

/// Searches agents by name and description, runs by the end of their id, incidents by key and title.
pub(in crate::web) async fn find(
    State(web): State<Web>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let wanted = query.get("q").map(|text| text.trim().to_owned()).unwrap_or_default();
    let (frame, _) = Frame::of(&web, "find", "Find").await?;
    let mut hits = Vec::new();
    if !wanted.is_empty() {
        let fleet = WholeFleet::of(&web.pool).await?;
        if fleet.agents.iter().any(|agent| agent.agent_id.as_str() == wanted) {
            return Ok(Redirect::to(&format!("/agents/{}", encoded(&wanted))).into_response());
        }
        let low = wanted.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&low);
        for agent in &fleet.agents {
            let about = agent.description.as_deref().unwrap_or_default();
            if has(agent.agent_id.as_str()) || has(about) {
                hits.push((format!("/agents/{}", agent.agent_id), agent.agent_id.to_string(), line(about)));
            }
        }
        for one in fleet.incidents.iter().filter(|one| has(&one.key) || has(&one.title)) {
            let anchor = anchor(one.agent_id.as_str(), &one.key);
            hits.push((format!("/incidents#{anchor}"), line(&one.key), line(&one.title)));
        }
        let is_id = wanted.len() >= 4 && wanted.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if is_id {
            let params = GetRunParams {
                run_id: wanted.clone(),
                brief: true,
                steps_limit: Some(0),
                ..GetRunParams::default()
            };
            if let Ok(found) = web.pool.call::<GetRun>(params).await {
                let run = found.run;
                hits.push((
                    format!("/runs/{}", run.run_id),
                    format!("run {}", run.run_id.short()),
                    run.agent_id.to_string(),
                ));
            }
        }
        hits.truncate(MAX_RESULT_COUNT);
    }
    Ok(html(&FindPage { frame, query: line(&wanted), hits }))
}
