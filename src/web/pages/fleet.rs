//! Data that several pages need: the fleet with the items that need a person, and strips of slots.
use crate::client::{Backoff, Follow, FollowItem, Timeouts};
use crate::domain::Payload;
use crate::protocol::*;
use crate::web::ask::DaemonPool;
use crate::web::frame::PageError;
use crate::web::strip::{Strip, strip};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// Maximum number of records and runs per answer.
const PAGE_ROWS: u64 = 10_000;
/// Maximum number of answers per strip.
const MAX_PAGES: usize = 50;
/// Timeout for reading events.
const EVENTS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The state of the fleet for a page.
pub(super) struct WholeFleet {
    pub(super) agents: Vec<AgentView>,
    pub(super) incidents: Vec<IncidentView>,
    pub(super) approvals: Vec<ApprovalView>,
}

impl WholeFleet {
    pub(super) async fn of(pool: &DaemonPool) -> Result<Self, PageError> {
        let (agents, incidents, approvals) = tokio::try_join!(
            pool.call::<ListAgents>(ListParams::default()),
            pool.call::<ListIncidents>(ListIncidentsParams::default()),
            pool.call::<ListApprovals>(ListApprovalsParams::default()),
        )?;
        Ok(Self { agents, incidents, approvals })
    }
}

/// Returns the strips of some agents for a period, by name, including runs without a slot.
pub(super) async fn strips(
    pool: &DaemonPool,
    agents: Vec<String>,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<HashMap<String, Strip>, PageError> {
    if agents.is_empty() {
        return Ok(HashMap::new());
    }
    // merged only as far as the strip's resolution allows
    let per = to.duration_since(from).as_secs() / 480;
    let slots = ListSlotsParams {
        agents: agents.clone(),
        from: Some(from),
        to: Some(to),
        limit: Some(PAGE_ROWS),
        merge_secs: Some(u64::try_from(per).unwrap_or(0)),
        ..ListSlotsParams::default()
    };
    let runs = ListRunsParams {
        agents: agents.clone(),
        limit: Some(PAGE_ROWS),
        brief: true,
        ..ListRunsParams::default()
    };
    // runs without a slot
    let apart = ListRunsParams {
        since: Some(from),
        until: Some(to),
        triggers: vec!["manual".into(), "event".into()],
        ..runs.clone()
    };
    // and runs that began before the period and are still in flight
    let in_flight = ListRunsParams {
        until: Some(from),
        statuses: ["running", "retrying", "waiting_approval"].map(str::to_owned).into(),
        ..runs
    };
    let (slots, runs, in_flight) =
        tokio::try_join!(all_slots(pool, slots), async { Ok(pool.call::<ListRuns>(apart).await?) }, async {
            Ok(pool.call::<ListRuns>(in_flight).await?)
        },)?;
    let runs = runs.into_iter().chain(in_flight);
    let mut by_agent: HashMap<String, (Vec<SlotRecordView>, Vec<RunView>)> =
        agents.into_iter().map(|agent| (agent, Default::default())).collect();
    for slot in slots {
        by_agent.entry(slot.agent_id.to_string()).or_default().0.push(slot);
    }
    for run in runs {
        by_agent.entry(run.agent_id.to_string()).or_default().1.push(run);
    }
    Ok(by_agent
        .into_iter()
        .map(|(agent, (slots, runs))| (agent, strip(&slots, &runs, (from, to), now)))
        .collect())
}

/// Fetches all records page by page.
async fn all_slots(pool: &DaemonPool, mut params: ListSlotsParams) -> Result<Vec<SlotRecordView>, PageError> {
    let mut all: Vec<SlotRecordView> = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = pool.call::<ListSlots>(params.clone()).await?;
        let is_last = (page.len() as u64) < PAGE_ROWS;
        params.after =
            page.last().map(|last| SlotPosition { agent_id: last.agent_id.to_string(), first: last.first });
        all.extend(page);
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// A period in which no daemon ran.
#[derive(Clone, Debug)]
pub(super) struct Away {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// Returns the periods without a daemon that ended since an instant.
pub(super) async fn away(pool: &DaemonPool, since: Timestamp) -> Vec<Away> {
    let address = pool.address().clone();
    let read = tokio::task::spawn_blocking(move || {
        let params = StreamParams {
            types: vec!["daemon_started".into()],
            since: Some(since),
            follow: false,
            ..StreamParams::default()
        };
        let Ok(mut follow) =
            Follow::start(address, Timeouts::all(EVENTS_TIMEOUT), Backoff::default(), params, None)
        else {
            return Vec::new();
        };
        let deadline = std::time::Instant::now() + EVENTS_TIMEOUT;
        let mut all = Vec::new();
        loop {
            let event = match follow.next(Some(deadline)) {
                Ok(FollowItem::Event(event)) => event,
                Ok(FollowItem::End | FollowItem::Deadline) | Err(_) => break,
                Ok(_) => continue,
            };
            let Some(event) = event.decode().ok().and_then(|logged| logged.event()) else { continue };
            if let Payload::DaemonStarted(started) = event.payload
                && let Some(down) = started.down_since
                && event.ts.duration_since(down) >= SignedDuration::from_secs(1)
            {
                all.push(Away { since: down, until: event.ts });
            }
        }
        all
    });
    read.await.unwrap_or_default()
}
