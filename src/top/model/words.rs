//! The summary of an item: its mark, its state in a word or two, since when, and why. Texts of agents, tools and models
//! are passed through `plain` here.
use super::known::{Known, is_own};
use super::rowkey::RowKey;
use crate::domain::{Level, RunStatus, Severity};
use crate::overview::{NeedKind, Rank, Standing, needs, standing};
use crate::protocol::{AgentView, ApprovalView, IncidentView, RunView};
use crate::render::{Tone, found_level, millis, plain, result_words, status_word, usd};
use crate::top::theme::RowMark;
use jiff::Timestamp;
use serde_json::Value;

/// The summary of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) struct ItemSummary {
    pub(in crate::top) mark: RowMark,
    pub(in crate::top) tone: Tone,
    pub(in crate::top) name: String,
    /// Its state in a word or two.
    pub(in crate::top) state: String,
    /// Since when, if known.
    pub(in crate::top) since: Option<Timestamp>,
    /// The cause, or other information, in one line.
    pub(in crate::top) cause: String,
}

impl ItemSummary {
    fn new(mark: RowMark, name: impl Into<String>, state: impl Into<String>) -> Self {
        let (name, state) = (name.into(), state.into());
        Self { mark, tone: mark.tone(), name, state, since: None, cause: String::new() }
    }

    fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), ..self }
    }
}

/// Summarizes an item; `None` if it no longer exists.
pub(in crate::top) fn gist(known: &Known, key: &RowKey, now: Timestamp) -> Option<ItemSummary> {
    Some(match key {
        RowKey::Approval(id) => approval(known.approvals.iter().find(|one| one.id == *id)?),
        RowKey::Incident(agent, key) => {
            incident(known.incidents.iter().find(|one| one.agent_id == *agent && one.key == *key)?)
        }
        RowKey::Agent(agent) => of_agent(known, known.agents.get(agent)?, now),
        RowKey::Run(run) => of_run(known.run_row(*run)?),
        RowKey::Target(name) => {
            of_need(known, now, |kind| matches!(kind, NeedKind::Target(of) if of == name))?
        }
        RowKey::Daemon => of_need(known, now, |kind| *kind == NeedKind::Daemon)?,
        RowKey::Proposals => of_need(known, now, |kind| *kind == NeedKind::Proposals)?,
        RowKey::Title(_) | RowKey::Rest(_) | RowKey::Strip(_) | RowKey::Used(..) | RowKey::Event(_) => {
            return None;
        }
    })
}

/// Formats the arguments of a call in one line, short ones first, so that a long text can't push them out of sight.
pub(in crate::top) fn arguments(args: &Value) -> String {
    let Some(object) = args.as_object() else { return plain(&args.to_string()) };
    let mut parts: Vec<String> =
        object.iter().map(|(key, value)| format!("{}={}", plain(key), bare(value))).collect();
    parts.sort_by_key(String::len);
    parts.join(" ")
}

/// Formats a value; strings without quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| plain(&value.to_string()), plain)
}

fn approval(one: &ApprovalView) -> ItemSummary {
    let agent = one.agent_id.as_ref().map_or_else(|| one.run_id.short(), ToString::to_string);
    ItemSummary::new(RowMark::Of(Rank::Asks), agent, "asks")
        .since(one.requested_at)
        .because(format!("{} {}", plain(&one.tool), arguments(&one.args)).trim_end().to_owned())
}

fn incident(one: &IncidentView) -> ItemSummary {
    let (mark, state) = match (one.resolved_at, one.acked_at, one.severity) {
        (Some(_), ..) => (RowMark::Of(Rank::Well), "resolved"),
        (None, Some(_), _) => (RowMark::Of(Rank::NotYet), "acknowledged"),
        (None, None, Severity::Critical) => (RowMark::Of(Rank::Failing), "critical"),
        (None, None, Severity::Warning) => (RowMark::Of(Rank::Warning), "warning"),
    };
    let outside = if one.untrusted { "(from outside) " } else { "" };
    let name = if is_own(one) { one.agent_id.to_string() } else { plain(&one.key) };
    ItemSummary::new(mark, name, state)
        .since(Some(one.since))
        .because(format!("{outside}{}", plain(&one.title)))
}

/// Summarizes an item that belongs to no agent.
fn of_need(known: &Known, now: Timestamp, is_it: impl Fn(&NeedKind) -> bool) -> Option<ItemSummary> {
    let all = needs(&[], &[], &[], known.daemon.as_ref(), now);
    let need = all.into_iter().find(|need| is_it(&need.kind))?;
    let cause = plain(&need.cause);
    Some(
        ItemSummary::new(RowMark::Of(need.rank), plain(&need.name), plain(&need.word))
            .since(need.since)
            .because(cause),
    )
}

fn of_agent(known: &Known, agent: &AgentView, now: Timestamp) -> ItemSummary {
    // its incidents and approvals have rows of their own, so its own state comes first
    let failing = known.own_incident(&agent.agent_id).map(std::slice::from_ref).unwrap_or_default();
    let own = standing(agent, failing, &[], now);
    let is_own = RowMark::Of(own.rank).needs_someone() && own.rank != Rank::Asks;
    let stands = if is_own { own } else { standing(agent, &known.incidents, &known.approvals, now) };
    let Standing { rank, word, since, cause } = stands;
    let is_calm = !RowMark::Of(rank).needs_someone();
    let cost = match agent.cost_today_usd {
        cost if cause.is_empty() && is_calm && cost > 0.0 => usd(cost),
        _ => String::new(),
    };
    // joined into one line
    let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
    let cause = if cost.is_empty() { plain(&cause) } else { cost };
    ItemSummary::new(RowMark::Of(rank), agent.agent_id.as_str(), word).since(since).because(cause)
}

/// Summarizes a run.
pub(in crate::top) fn of_run(run: &RunView) -> ItemSummary {
    let mark = match run.status {
        RunStatus::Running => RowMark::Of(Rank::Busy),
        RunStatus::Queued | RunStatus::Retrying => RowMark::Queued,
        RunStatus::WaitingApproval => RowMark::Of(Rank::Asks),
        RunStatus::Completed if !run.warnings.is_empty() => RowMark::Of(Rank::Warning),
        RunStatus::Completed => RowMark::Of(Rank::Well),
        RunStatus::Cancelled => RowMark::Of(Rank::NotYet),
        _ => RowMark::Of(Rank::Failing),
    };
    let error = run.error.as_ref().filter(|_| run.status != RunStatus::WaitingApproval);
    let said = match (error, &run.result) {
        (Some(error), _) => plain(&error.message),
        (None, Some(result)) => result_words(result),
        (None, None) => run.warnings.first().map(|warning| plain(warning)).unwrap_or_default(),
    };
    // a probe with findings has completed, but what it watches is not well
    let found = run.result.as_deref().filter(|_| run.status == RunStatus::Completed).and_then(found_level);
    let (mark, state) = match found {
        Some(Level::Crit) => (RowMark::Of(Rank::Critical), "found crit"),
        Some(Level::Warn) => (RowMark::Of(Rank::Warning), "found warn"),
        _ => (mark, status_word(run.status)),
    };
    ItemSummary::new(mark, run.agent_id.as_str(), state)
        .since(Some(run.finished_at.or(run.started_at).unwrap_or(run.queued_at)))
        .because(said)
}

/// Returns how long a run has been in flight, and how long the last one of its agent took: `48s of 1m10s`.
pub(in crate::top) fn progress(known: &Known, run: &RunView, now: Timestamp) -> (String, Option<f64>) {
    let Some(started) = run.started_at.filter(|_| run.status == RunStatus::Running) else {
        let waits = match run.status {
            RunStatus::Queued => "waits for its turn".to_owned(),
            RunStatus::Retrying => "waits to try again".to_owned(),
            status => status_word(status).to_owned(),
        };
        return (waits, None);
    };
    let so_far = i64::try_from(now.duration_since(started).as_millis()).unwrap_or(0).max(0) / 1000 * 1000;
    let last = known.agents.get(&run.agent_id).and_then(|agent| agent.last_run.as_ref());
    match last.filter(|last| last.status == RunStatus::Completed && last.duration_ms >= 1000) {
        Some(last) => {
            let text = format!("{} of {}", millis(so_far), millis(last.duration_ms / 1000 * 1000));
            (text, Some(so_far as f64 / last.duration_ms as f64))
        }
        None => (millis(so_far), None),
    }
}
