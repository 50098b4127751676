//! The first page: whether all is well, what needs a person and why, what runs, what comes next, what was spent.
use super::fleet::{Away, WholeFleet, away, strips};
use crate::domain::{RunStatus, counted};
use crate::overview::{Need, NeedKind, Rank, StandingSection, needs, standings};
use crate::protocol::*;
use crate::web::frame::{Frame, Page, html};
use crate::web::html::{Moment, When, anchor, class_of, line, money, shell, span};
use crate::web::state::Web;
use crate::web::strip::Strip;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// Maximum number of items that need a person with a row each; the rest are counted.
const MAX_NEED_ROWS: usize = 20;
/// Maximum number of agents that are well with an entry each.
const MAX_WELL_ROWS: usize = 60;
/// Maximum number of runs in flight with a row each.
const MAX_RUNNING_ROWS: usize = 8;
/// Number of upcoming slots that are requested, and maximum number of rows.
const REQUESTED_SLOT_COUNT: u64 = 200;
const MAX_NEXT_ROWS: usize = 8;
/// Slots further ahead are not shown.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(24);

#[derive(Template)]
#[template(path = "now.html")]
struct NowPage {
    frame: Frame,
    headline: String,
    facts: String,
    away: Option<String>,
    needs: Vec<NeedRow>,
    more: usize,
    running: Vec<RunningRow>,
    running_count: u64,
    next: Vec<NextRow>,
    frequent: String,
    spent: SpentBox,
    well: Vec<ChipRow>,
    well_count: usize,
    held: Vec<HeldRow>,
    no_agents: bool,
}

/// An item that needs a person.
pub(super) struct NeedRow {
    pub(super) key: String,
    pub(super) class: &'static str,
    pub(super) mark: &'static str,
    pub(super) name: String,
    pub(super) href: String,
    pub(super) word: String,
    pub(super) since: When,
    pub(super) cause: String,
    pub(super) finding: Option<(String, String)>,
    pub(super) call: Option<super::approvals::CallRow>,
    pub(super) strip: Option<Strip>,
    pub(super) command: Option<String>,
}

struct RunningRow {
    agent: String,
    run: String,
    state: String,
    since: When,
    /// Width of the bar out of 300, and the usual duration.
    done: u64,
    usual: Option<String>,
}

struct NextRow {
    agent: String,
    at: When,
    schedule: String,
    note: Option<String>,
}

struct SpentBox {
    total: String,
    /// Limit, text, filled width out of 300, class.
    limits: Vec<(String, String, u64, &'static str)>,
    /// Name, dollars, width out of 100.
    agents: Vec<(String, String, u64)>,
}

struct ChipRow {
    agent: String,
    class: &'static str,
    mark: &'static str,
    strip: Strip,
}

struct HeldRow {
    agent: String,
    mark: &'static str,
    word: String,
    cause: String,
    until: When,
}

pub(in crate::web) async fn now(State(web): State<Web>) -> Page {
    let (mut frame, daemon) = Frame::of(&web, "now", "Now").await?;
    let moment = Moment::new();
    let fleet = WholeFleet::of(&web.pool).await?;
    let all = needs(&fleet.agents, &fleet.incidents, &fleet.approvals, Some(&daemon), moment.now);
    let standing = standings(&fleet.agents, &fleet.incidents, &fleet.approvals, moment.now);
    let of_section = |section: StandingSection| {
        let rows = fleet.agents.iter().zip(&standing);
        rows.filter(move |(_, one)| one.rank.section() == section).collect::<Vec<_>>()
    };
    let well = of_section(StandingSection::Well);
    let running_agents = of_section(StandingSection::Running);
    let mut drawn: Vec<String> =
        all.iter().take(MAX_NEED_ROWS).filter_map(Need::agent).map(ToString::to_string).collect();
    drawn.extend(well.iter().take(MAX_WELL_ROWS).map(|(agent, _)| agent.agent_id.to_string()));
    let drawn = of_fleet(drawn, &fleet.agents);
    let hour = (moment.now - SignedDuration::from_hours(1), moment.now);
    let runs = ListRunsParams {
        statuses: [RunStatus::Running, RunStatus::Retrying, RunStatus::Queued]
            .map(|one| one.as_str().into())
            .into(),
        limit: Some(MAX_RUNNING_ROWS as u64),
        brief: true,
        ..ListRunsParams::default()
    };
    let usage = UsageParams { by: Some(UsageGroups::One("agent".into())), days: Some(1) };
    let coming = NextParams { limit: Some(REQUESTED_SLOT_COUNT), ..NextParams::default() };
    let (strips, away, runs, usage, slots) = tokio::join!(
        strips(&web.pool, drawn, hour, moment.now),
        away(&web.pool, hour.0),
        web.pool.call::<ListRuns>(runs),
        web.pool.call::<GetUsage>(usage),
        web.pool.call::<NextSlots>(coming),
    );
    let strips = strips?;
    let strip_of = |agent: &str| strips.get(agent).cloned().unwrap_or_default();
    let headline = headline(all.len());
    frame.title.clone_from(&headline);
    let (next, frequent) = next_rows(&slots?, &fleet.agents, &moment);
    let page = NowPage {
        headline,
        facts: facts(&fleet, &standing, &daemon),
        away: away_line(&away, &moment),
        needs: all.iter().take(MAX_NEED_ROWS).map(|need| need_row(need, &fleet, &strips, &moment)).collect(),
        more: all.len().saturating_sub(MAX_NEED_ROWS),
        running: running_rows(&web, runs?, &moment).await,
        running_count: daemon.running,
        next,
        frequent,
        spent: spent(&usage?, &daemon),
        well_count: well.len() + running_agents.len(),
        well: well
            .iter()
            .take(MAX_WELL_ROWS)
            .map(|(agent, one)| ChipRow {
                agent: agent.agent_id.to_string(),
                class: class_of(one.rank),
                mark: one.rank.mark().symbol,
                strip: strip_of(agent.agent_id.as_str()),
            })
            .collect(),
        held: of_section(StandingSection::HeldBack)
            .into_iter()
            .take(MAX_WELL_ROWS)
            .map(|(agent, one)| HeldRow {
                agent: agent.agent_id.to_string(),
                mark: one.rank.mark().symbol,
                word: one.word.clone(),
                cause: line(&one.cause),
                until: moment.maybe(agent.resume_at),
            })
            .collect(),
        no_agents: fleet.agents.is_empty(),
        frame,
    };
    Ok(html(&page)) as Result<Response, _>
}

/// Removes duplicates, and names that are not agents: the daemon has incidents of its own.
fn of_fleet(mut ids: Vec<String>, agents: &[AgentView]) -> Vec<String> {
    ids.retain(|id| agents.iter().any(|agent| agent.agent_id.as_str() == id));
    ids.sort();
    ids.dedup();
    ids
}

/// Returns the headline: `All is well`, `One thing needs you`.
fn headline(count: usize) -> String {
    const WORDS: [&str; 13] = [
        "All is well",
        "One",
        "Two",
        "Three",
        "Four",
        "Five",
        "Six",
        "Seven",
        "Eight",
        "Nine",
        "Ten",
        "Eleven",
        "Twelve",
    ];
    match (count, WORDS.get(count)) {
        (0, _) => WORDS[0].to_owned(),
        (1, _) => "One thing needs you".to_owned(),
        (_, Some(word)) => format!("{word} things need you"),
        (many, None) => format!("{many} things need you"),
    }
}

fn facts(fleet: &WholeFleet, standing: &[crate::overview::Standing], daemon: &DaemonView) -> String {
    let count = |ranks: &[Rank]| standing.iter().filter(|one| ranks.contains(&one.rank)).count();
    let parts = [
        (count(&[Rank::Well, Rank::Busy, Rank::NotYet]), "well"),
        (count(&[Rank::Failing, Rank::CircuitOpen]), "failing"),
        (count(&[Rank::Critical]), "seeing something critical"),
        (count(&[Rank::Asks]), "waiting for you"),
        (count(&[Rank::Warning, Rank::Deaf, Rank::Silent]), "with a warning"),
        (count(&[Rank::NoBudget]), "without budget"),
        (count(&[Rank::Paused]), "paused"),
        (count(&[Rank::Stopped]), "stopped"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let agents = counted(fleet.agents.len(), "agent");
    let queued = if daemon.queued > 0 { format!(", {} waiting", daemon.queued) } else { String::new() };
    format!("{agents}: {} · {} running{queued}", parts.join(", "), daemon.running)
}

fn away_line(away: &[Away], moment: &Moment) -> Option<String> {
    let times: Vec<String> = away
        .iter()
        .map(|one| {
            let long = one.until.duration_since(one.since);
            format!("{} for {}", moment.when(one.since).local, crate::domain::human_duration(long))
        })
        .collect();
    (!times.is_empty()).then(|| format!("In this hour no daemon ran: {}", times.join(", ")))
}

fn need_row(need: &Need, fleet: &WholeFleet, strips: &HashMap<String, Strip>, moment: &Moment) -> NeedRow {
    let agent = need.agent().map(ToString::to_string);
    let strip = agent.as_ref().and_then(|agent| strips.get(agent)).cloned();
    let mut row = NeedRow {
        key: String::new(),
        class: class_of(need.rank),
        mark: need.rank.mark().symbol,
        name: line(&need.name),
        href: agent.as_ref().map_or_else(|| "/log".to_owned(), |agent| format!("/agents/{agent}")),
        word: need.word.clone(),
        since: moment.maybe(need.since),
        cause: line(&need.cause),
        finding: None,
        call: None,
        strip,
        command: None,
    };
    match &need.kind {
        NeedKind::Approval { id, run, .. } => {
            row.key = format!("approval:{id}");
            row.href = format!("/runs/{run}");
            row.word = "asks you".to_owned();
            let call = fleet.approvals.iter().find(|call| call.id == *id);
            row.call = call.map(|call| super::approvals::CallRow::of(call, moment));
            row.cause = String::new();
        }
        NeedKind::Incident { agent, key } => {
            row.key = format!("incident:{agent}:{key}");
            row.href = format!("/incidents#{}", anchor(agent.as_str(), key));
            row.command = Some(format!("bgagent incidents ack --agent {agent} -- {}", shell(key)));
            let incident = fleet.incidents.iter().find(|one| one.agent_id == *agent && one.key == *key);
            row.finding = incident
                .and_then(|one| one.finding.as_ref())
                .map(|found| (found.agent_id.to_string(), line(&found.text)));
            if let Some(incident) = incident {
                row.word = format!("{}, seen by {agent} {}", need.word, counted(incident.count, "time"));
            }
        }
        NeedKind::Agent(agent) => {
            row.key = format!("agent:{agent}");
            row.command = Some(match need.rank {
                Rank::CircuitOpen => format!("bgagent resume {agent}"),
                Rank::NoBudget => "bgagent usage".to_owned(),
                _ => format!("bgagent show {agent}"),
            });
        }
        NeedKind::Target(name) => {
            row.key = format!("target:{name}");
            row.command = Some(format!("bgagent notify test {}", shell(name)));
        }
        NeedKind::Daemon => row.key = "daemon".to_owned(),
        NeedKind::Proposals => {
            row.key = "proposals".to_owned();
            row.command = Some("bgagent proposals".to_owned());
        }
    }
    row
}

async fn running_rows(web: &Web, runs: Vec<RunView>, moment: &Moment) -> Vec<RunningRow> {
    let mut rows = Vec::new();
    for run in runs {
        let detail =
            web.pool.call::<GetAgentStatus>(AgentParams { agent_id: run.agent_id.to_string() }).await.ok();
        let usual = detail.and_then(|detail| detail.p50_ms).filter(|ms| *ms > 0);
        let began = run.started_at.filter(|_| run.status == RunStatus::Running);
        let done = match (began, usual) {
            (Some(began), Some(usual)) => {
                let ms = moment.now.duration_since(began).as_millis() as f64;
                // the usual duration is at three quarters, so that longer runs are visible
                (ms / usual as f64 * 225.0).clamp(2.0, 300.0) as u64
            }
            _ => 0,
        };
        rows.push(RunningRow {
            agent: run.agent_id.to_string(),
            run: run.run_id.to_string(),
            state: crate::render::status_word(run.status).to_owned(),
            since: moment.when(run.started_at.unwrap_or(run.queued_at)),
            done,
            usual: usual.map(span),
        });
    }
    rows
}

/// Agents whose slots are closer together on average, in seconds, count as frequent.
const FREQUENT_SECS: f64 = 15.0;

/// Returns the next slot of each agent that is not frequent, soonest first; and the names of the frequent ones.
fn next_rows(slots: &[SlotView], agents: &[AgentView], moment: &Moment) -> (Vec<NextRow>, String) {
    let mut of: HashMap<&str, Vec<&SlotView>> = HashMap::new();
    for slot in slots {
        of.entry(slot.agent_id.as_str()).or_default().push(slot);
    }
    let is_frequent = |slots: &[&SlotView]| match (slots.first(), slots.last()) {
        (Some(first), Some(last)) if slots.len() > 1 => {
            last.due.duration_since(first.due).as_secs_f64() / (slots.len() - 1) as f64 <= FREQUENT_SECS
        }
        _ => false,
    };
    let mut coming: Vec<(Timestamp, &AgentView)> = Vec::new();
    let mut frequent: Vec<&str> = Vec::new();
    for agent in agents {
        let known = of.get(agent.agent_id.as_str()).map(Vec::as_slice).unwrap_or_default();
        if slots.len() >= 50 && is_frequent(known) {
            frequent.push(agent.agent_id.as_str());
            continue;
        }
        // slots of frequent agents may have filled the answer before this agent's turn
        let due = known.first().map(|slot| slot.due).or(agent.next_run);
        coming.extend(due.filter(|due| due.duration_since(moment.now) <= MAX_AHEAD).map(|due| (due, agent)));
    }
    coming.sort_by_key(|(due, agent)| (*due, &agent.agent_id));
    let rows = coming.into_iter().take(MAX_NEXT_ROWS).map(|(due, agent)| {
        let broke = agent.budget_used_up_until.is_some_and(|until| due < until);
        let slot = of.get(agent.agent_id.as_str()).and_then(|slots| slots.first());
        NextRow {
            agent: agent.agent_id.to_string(),
            at: moment.when(due),
            schedule: moment.schedule(&agent.schedule),
            note: slot
                .and_then(|slot| slot.note.as_deref())
                .map(line)
                .or_else(|| broke.then(|| "no budget: will be refused".to_owned())),
        }
    });
    let frequent = match frequent.len() {
        0 => String::new(),
        count => format!("and {} due every few seconds: {}", counted(count, "agent"), frequent.join(", ")),
    };
    (rows.collect(), frequent)
}

fn spent(usage: &[UsageView], daemon: &DaemonView) -> SpentBox {
    let total: f64 = usage.iter().map(|row| row.usage.usd).sum();
    let mut rows: Vec<&UsageView> = usage.iter().filter(|row| row.usage.usd > 0.0).collect();
    rows.sort_by(|a, b| b.usage.usd.total_cmp(&a.usage.usd));
    let most = rows.first().map_or(1.0, |row| row.usage.usd);
    SpentBox {
        total: money(total),
        limits: daemon.budget.iter().map(super::bars::limit_bar).collect(),
        agents: rows
            .iter()
            .take(6)
            .map(|row| (line(&row.key), money(row.usage.usd), (row.usage.usd / most * 100.0).ceil() as u64))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the requests and texts of the page.
    use super::*;

    /// Returns an agent that is due every `secs` seconds, next in `secs` seconds.
    fn every(name: &str, secs: i64, moment: &Moment) -> AgentView {
        serde_json::from_value(serde_json::json!({
            "agent_id": name, "state": "active", "activity": "idle", "health": "ok", "schedule": format!("every {secs}s"),
            "next_run": moment.now + SignedDuration::from_secs(secs), "last_run": null, "runs_in_flight": [], "run_count": 0,
            "success_count": 0, "error_count": 0, "consecutive_errors": 0, "skipped_count": 0, "cost_today_usd": 0.0,
        }))
        .expect("an agent")
    }

    #[test]
    fn only_what_is_due_every_few_seconds_is_said_to_be() {
        let moment = Moment::new();
        let agents: Vec<AgentView> =
            [("a-report", 2820), ("machine", 60), ("ticker", 2), ("weekly", 600_000)]
                .map(|(name, secs)| every(name, secs, &moment))
                .into();
        // what `next_slots` says of them: the first 200
        let mut slots: Vec<SlotView> = Vec::new();
        for second in 1..=400 {
            for (name, secs) in [("machine", 60), ("ticker", 2)] {
                if second % secs == 0 {
                    let due = moment.now + SignedDuration::from_secs(second);
                    let slot =
                        serde_json::json!({"agent_id": name, "slot": due, "due": due, "state": "active"});
                    slots.push(serde_json::from_value(slot).expect("a slot"));
                }
            }
        }
        slots.truncate(REQUESTED_SLOT_COUNT as usize);
        let (rows, frequent) = next_rows(&slots, &agents, &moment);
        let names: Vec<&str> = rows.iter().map(|row| row.agent.as_str()).collect();
        assert_eq!(
            (names, frequent.as_str()),
            (vec!["machine", "a-report"], "and 1 agent due every few seconds: ticker")
        );
    }

    #[test]
    fn an_incident_of_the_daemon_asks_for_no_picture() {
        let agent = serde_json::json!({
            "agent_id": "a", "state": "active", "activity": "idle", "health": "ok", "schedule": "every 1m", "next_run": null,
            "last_run": null, "runs_in_flight": [], "run_count": 0, "success_count": 0, "error_count": 0, "consecutive_errors": 0,
            "skipped_count": 0, "cost_today_usd": 0.0,
        });
        let agents = [serde_json::from_value(agent).expect("an agent")];
        let ids = ["bgagent", "a", "gone", "a"].map(str::to_owned).to_vec();
        assert_eq!(of_fleet(ids, &agents), ["a"]);
    }

    #[test]
    fn the_first_sentence_is_the_answer() {
        assert_eq!(
            [0, 1, 9, 40].map(headline),
            ["All is well", "One thing needs you", "Nine things need you", "40 things need you"]
        );
    }
}
