//! The list of agents, and the page of one agent.
use super::fleet::{WholeFleet, strips};
use super::runs::RunLine;
use crate::overview::{Standing, StandingSection, standing, standings};
use crate::protocol::*;
use crate::web::frame::{Frame, Page, html};
use crate::web::html::{Moment, When, class_of, encoded, line, money, span};
use crate::web::state::Web;
use crate::web::strip::Strip;
use askama::Template;
use axum::extract::{Path, Query, State};
use jiff::SignedDuration;
use std::collections::HashMap;

/// Agents per page.
pub(super) const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    frame: Frame,
    rows: Vec<AgentRow>,
    count: usize,
    query: String,
    by_name: bool,
    pages: Vec<(usize, String, bool)>,
}

struct AgentRow {
    id: String,
    class: &'static str,
    mark: &'static str,
    word: String,
    since: When,
    cause: String,
    schedule: String,
    next: When,
    usd: String,
    strip: Strip,
}

/// The selected agents in order, reduced to one page.
pub(super) struct AgentPageOf<'a> {
    pub(super) rows: Vec<(&'a AgentView, &'a Standing)>,
    pub(super) count: usize,
    pub(super) page: usize,
}

impl<'a> AgentPageOf<'a> {
    pub(super) fn of(
        fleet: &'a WholeFleet,
        standings: &'a [Standing],
        (search, by_name, trouble): (&str, bool, bool),
        page: usize,
    ) -> Self {
        let search = search.to_lowercase();
        let fits = |agent: &AgentView, one: &Standing| {
            (search.is_empty()
                || agent.agent_id.as_str().contains(&search)
                || one.cause.to_lowercase().contains(&search)
                || agent.description.as_deref().is_some_and(|text| text.to_lowercase().contains(&search)))
                && (!trouble || one.rank.section() == StandingSection::NeedsYou)
        };
        let mut rows: Vec<(&AgentView, &Standing)> =
            fleet.agents.iter().zip(standings).filter(|(agent, one)| fits(agent, one)).collect();
        if !by_name {
            rows.sort_by(|a, b| (a.1.rank, &a.0.agent_id).cmp(&(b.1.rank, &b.0.agent_id)));
        }
        let count = rows.len();
        let page = page.min(count.saturating_sub(1) / PAGE);
        Self { rows: rows.into_iter().skip(page * PAGE).take(PAGE).collect(), count, page }
    }

    /// Returns links to the pages: number, address, whether it is the current one.
    pub(super) fn pages(&self, address: impl Fn(usize) -> String) -> Vec<(usize, String, bool)> {
        let last = self.count.saturating_sub(1) / PAGE;
        if last == 0 {
            return Vec::new();
        }
        let near = |n: &usize| *n == 0 || *n == last || n.abs_diff(self.page) <= 3;
        (0..=last).filter(near).map(|n| (n + 1, address(n), n == self.page)).collect()
    }
}

pub(in crate::web) async fn agents(
    State(web): State<Web>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let (frame, _) = Frame::of(&web, "agents", "Agents").await?;
    let moment = Moment::new();
    let fleet = WholeFleet::of(&web.pool).await?;
    let standings = standings(&fleet.agents, &fleet.incidents, &fleet.approvals, moment.now);
    let search = query.get("q").cloned().unwrap_or_default();
    let by_name = query.get("order").is_some_and(|order| order == "name");
    let page = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(0);
    let of = AgentPageOf::of(&fleet, &standings, (&search, by_name, false), page);
    let ids = of.rows.iter().map(|(agent, _)| agent.agent_id.to_string()).collect();
    let hour = (moment.now - SignedDuration::from_hours(1), moment.now);
    let strips = strips(&web.pool, ids, hour, moment.now).await?;
    let order = if by_name { "name" } else { "need" };
    let page = AgentsPage {
        rows: of
            .rows
            .iter()
            .map(|(agent, one)| AgentRow {
                id: agent.agent_id.to_string(),
                class: class_of(one.rank),
                mark: one.rank.mark().symbol,
                word: one.word.clone(),
                since: moment.maybe(one.since),
                cause: line(&one.cause),
                schedule: moment.schedule(&agent.schedule),
                next: moment.maybe(agent.next_run),
                usd: if agent.cost_today_usd > 0.0 { money(agent.cost_today_usd) } else { String::new() },
                strip: strips.get(agent.agent_id.as_str()).cloned().unwrap_or_default(),
            })
            .collect(),
        count: of.count,
        pages: of.pages(|n| format!("/agents?q={}&order={order}&page={n}", encoded(&search))),
        query: line(&search),
        by_name,
        frame,
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "agent.html")]
struct AgentPage {
    frame: Frame,
    id: String,
    class: &'static str,
    mark: &'static str,
    word: String,
    since: When,
    cause: String,
    description: String,
    runs_what: String,
    schedule: String,
    state: String,
    facts: Vec<(&'static str, String)>,
    days: Vec<(String, Strip)>,
    runs: Vec<RunLine>,
    next: Vec<When>,
    incidents: Vec<(String, String, When)>,
    limits: Vec<(String, String, u64, &'static str)>,
    settings: Vec<(String, String)>,
    notes: Vec<String>,
}

pub(in crate::web) async fn agent(State(web): State<Web>, Path(id): Path<String>) -> Page {
    let detail = web.pool.call::<GetAgentStatus>(AgentParams { agent_id: id.clone() }).await?;
    let (frame, _) = Frame::of(&web, "agents", &line(&id)).await?;
    let moment = Moment::new();
    let approvals = web.pool.call::<ListApprovals>(ListApprovalsParams::default()).await?;
    let approvals: Vec<ApprovalView> = approvals
        .into_iter()
        .filter(|call| call.agent_id.as_ref().is_some_and(|of| of.as_str() == id))
        .collect();
    let one = standing(&detail.agent, &detail.incidents, &approvals, moment.now);
    let params = ListRunsParams {
        agents: vec![id.clone()],
        limit: Some(20),
        brief: true,
        ..ListRunsParams::default()
    };
    let runs = web.pool.call::<ListRuns>(params).await?;
    let days = days(&web, &id, &moment).await?;
    let agent = &detail.agent;
    let explained = web.pool.call::<ExplainSlot>(ExplainParams {
        agent_id: id.clone(),
        at: None,
        timezone: moment.zone().iana_name().map(str::to_owned),
    });
    let why = explained.await.map(|told| line(&told.sentence)).unwrap_or_default();
    let mut facts = vec![
        (
            "runs",
            format!(
                "{}, {} completed, {} failed, {} slots without one",
                agent.run_count, agent.success_count, agent.error_count, agent.skipped_count
            ),
        ),
        ("why", why),
    ];
    if let (Some(p50), Some(p95)) = (detail.p50_ms, detail.p95_ms) {
        facts.push(("takes", format!("usually {}, 19 of 20 times under {}", span(p50), span(p95))));
    }
    facts.extend(detail.last_success.map(|at| ("last ok", moment.when(at).local)));
    facts.extend(
        agent
            .circuit_until
            .map(|at| ("circuit", format!("open; one run tries after {}", moment.when(at).local))),
    );
    facts.extend(agent.reason.as_deref().map(|why| ("because", line(why))));
    facts.push(("defined at", line(&detail.defined_at)));
    let page = AgentPage {
        id: line(&id),
        class: class_of(one.rank),
        mark: one.rank.mark().symbol,
        word: one.word,
        since: moment.maybe(one.since),
        cause: line(&one.cause),
        description: agent.description.as_deref().map(line).unwrap_or_default(),
        runs_what: line(&detail.runs),
        schedule: moment.schedule(&agent.schedule),
        state: agent.state.to_string(),
        facts,
        days,
        runs: runs.iter().map(|run| RunLine::of(run, &moment)).collect(),
        next: detail.next_slots.iter().map(|at| moment.when(*at)).collect(),
        incidents: detail
            .incidents
            .iter()
            .map(|one| (line(&one.key), line(&one.title), moment.when(one.since)))
            .collect(),
        limits: detail.limits.iter().map(super::bars::limit_bar).collect(),
        settings: detail
            .settings
            .iter()
            .map(|(key, value)| (line(key).replace('_', " "), line(value)))
            .collect(),
        notes: detail.notes.iter().map(|note| line(note)).collect(),
        frame,
    };
    Ok(html(&page))
}

/// Returns the last seven days as strips, one below the other, so that what recurs at an hour forms a column.
async fn days(
    web: &Web,
    id: &str,
    moment: &Moment,
) -> Result<Vec<(String, Strip)>, crate::web::frame::PageError> {
    let today = moment.now.to_zoned(moment.zone()).date();
    let mut all = Vec::new();
    for back in 0..7 {
        let Ok(day) = today.checked_sub(jiff::Span::new().days(back)) else { break };
        let (Ok(from), Ok(to)) =
            (day.to_zoned(moment.zone()), day.tomorrow().and_then(|next| next.to_zoned(moment.zone())))
        else {
            break;
        };
        let range = (from.timestamp(), to.timestamp());
        let mut strips = strips(&web.pool, vec![id.to_owned()], range, moment.now).await?;
        let label = if back == 0 { "today".to_owned() } else { day.strftime("%a %d %b").to_string() };
        all.push((label, strips.remove(id).unwrap_or_default()));
    }
    Ok(all)
}
