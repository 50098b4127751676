//! What several pages ask for: the fleet with what needs a person, and pictures of its slots.
use crate::client::{Backoff, Follow, Followed, Timeouts};
use crate::domain::Payload;
use crate::protocol::*;
use crate::web::ask::DaemonPool;
use crate::web::frame::PageError;
use crate::web::strip::{Strip, strip};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// Records and runs of one answer.
const RECORDS: u64 = 10_000;
/// Answers that one picture takes, at the most.
const ANSWERS: usize = 50;
/// How long events are waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The fleet, as a page needs it.
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

/// The slots of some agents over a time, and the runs of no slot, as pictures by name.
pub(super) async fn strips(
    pool: &DaemonPool,
    agents: Vec<String>,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<HashMap<String, Strip>, PageError> {
    if agents.is_empty() {
        return Ok(HashMap::new());
    }
    // so fine that no mark of the picture is lost
    let per = to.duration_since(from).as_secs() / 480;
    let slots = ListSlotsParams {
        agents: agents.clone(),
        from: Some(from),
        to: Some(to),
        limit: Some(RECORDS),
        merge_secs: Some(u64::try_from(per).unwrap_or(0)),
        ..ListSlotsParams::default()
    };
    let runs = ListRunsParams {
        agents: agents.clone(),
        limit: Some(RECORDS),
        brief: true,
        ..ListRunsParams::default()
    };
    // runs of no slot
    let apart = ListRunsParams {
        since: Some(from),
        until: Some(to),
        triggers: vec!["manual".into(), "event".into()],
        ..runs.clone()
    };
    // and those that began before the picture does, and go on
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

/// Page by page, agent by agent.
async fn all_slots(pool: &DaemonPool, mut params: ListSlotsParams) -> Result<Vec<SlotRecordView>, PageError> {
    let mut all: Vec<SlotRecordView> = Vec::new();
    for _ in 0..ANSWERS {
        let page = pool.call::<ListSlots>(params.clone()).await?;
        let is_last = (page.len() as u64) < RECORDS;
        params.after =
            page.last().map(|last| SlotPosition { agent_id: last.agent_id.to_string(), first: last.first });
        all.extend(page);
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// A time in which no daemon ran.
#[derive(Clone, Debug)]
pub(super) struct Away {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// The times in which no daemon ran, of those that ended since an instant.
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
            Follow::start(address, Timeouts::all(PATIENCE), Backoff::default(), params, None)
        else {
            return Vec::new();
        };
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut all = Vec::new();
        loop {
            let event = match follow.next(Some(deadline)) {
                Ok(Followed::Event(event)) => event,
                Ok(Followed::End | Followed::Deadline) | Err(_) => break,
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
