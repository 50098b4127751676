//! What is said of an item: its mark, its state in a word or two, since when, and why. Texts of agents, tools and models
//! go through `plain` here.
use super::known::{Known, is_own};
use super::needs::{is_open, urgency_of};
use super::rowkey::RowKey;
use crate::domain::{Activity, Desired, Health, RunStatus, Severity, counted};
use crate::protocol::{AgentView, ApprovalView, IncidentView, RunView};
use crate::render::{Tone, millis, plain, result_words, status_word, usd};
use crate::top::theme::RowMark;
use jiff::Timestamp;
use serde_json::Value;

/// What is said of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) struct Gist {
    /// Its sign.
    pub(in crate::top) mark: RowMark,
    /// How it stands out.
    pub(in crate::top) tone: Tone,
    /// Its name.
    pub(in crate::top) name: String,
    /// Its state in a word or two.
    pub(in crate::top) state: String,
    /// Since when, if that is known.
    pub(in crate::top) since: Option<Timestamp>,
    /// Why, or what there is to know, in one line.
    pub(in crate::top) cause: String,
}

impl Gist {
    fn new(mark: RowMark, name: impl Into<String>, state: impl Into<String>) -> Self {
        let tone = match mark {
            RowMark::Decide | RowMark::Warn | RowMark::Paused => Tone::Warn,
            RowMark::Bad => Tone::Bad,
            RowMark::Busy => Tone::Busy,
            RowMark::Well => Tone::Good,
            RowMark::Queued | RowMark::None | RowMark::Stopped => Tone::Dim,
        };
        Self { mark, tone, name: name.into(), state: state.into(), since: None, cause: String::new() }
    }

    fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), ..self }
    }
}

/// What is said of an item; `None` if it is gone.
pub(in crate::top) fn gist(known: &Known, key: &RowKey, now: Timestamp) -> Option<Gist> {
    Some(match key {
        RowKey::Approval(id) => approval(known.approvals.iter().find(|one| one.id == *id)?),
        RowKey::Incident(agent, key) => {
            incident(known.incidents.iter().find(|one| one.agent_id == *agent && one.key == *key)?)
        }
        RowKey::Agent(agent) => of_agent(known, known.agents.get(agent)?, now),
        RowKey::Run(run) => of_run(known.run_row(*run)?),
        RowKey::Target(name) => {
            let target = known.daemon.as_ref()?.deliveries.iter().find(|one| one.target == *name)?;
            let (count, word) = match target.waiting {
                0 => (target.given_up, "given up"),
                waiting => (waiting, "waiting"),
            };
            let why = target.error.as_deref().map(plain).unwrap_or_default();
            Gist::new(RowMark::Warn, plain(name), "undelivered")
                .since(Some(target.oldest))
                .because(format!("{} {word}: {why}", counted(count, "message")))
        }
        RowKey::Config => {
            let daemon = known.daemon.as_ref()?;
            let (state, cause) = match daemon.config_errors.first() {
                Some(error) if daemon.config_waits => {
                    ("waits", format!("for `bgagent trust`: {}", plain(error)))
                }
                Some(error) => ("rejected", plain(error)),
                None => ("missing", "the file is gone; what it said is still in force".into()),
            };
            Gist::new(RowMark::Warn, "configuration", state).because(cause)
        }
        RowKey::Server(name) => Gist::new(RowMark::Warn, plain(name), "not trusted")
            .because(format!("an MCP server that agents use: bgagent mcp trust {}", plain(name))),
        RowKey::Daemon => {
            let daemon = known.daemon.as_ref()?;
            let problem = daemon.problem.as_deref().map(plain).unwrap_or_default();
            Gist::new(RowMark::Bad, "daemon", plain(&daemon.state)).because(problem)
        }
        RowKey::Title(_) | RowKey::Rest(_) | RowKey::Slot(..) | RowKey::Used(..) | RowKey::Event(_) => {
            return None;
        }
    })
}

/// The arguments of a call in one line, short ones first: a long text hides nothing.
pub(in crate::top) fn arguments(args: &Value) -> String {
    let Some(object) = args.as_object() else { return plain(&args.to_string()) };
    let mut parts: Vec<String> =
        object.iter().map(|(key, value)| format!("{}={}", plain(key), bare(value))).collect();
    parts.sort_by_key(String::len);
    parts.join(" ")
}

/// A value as people write it: a text without quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| plain(&value.to_string()), plain)
}

fn approval(one: &ApprovalView) -> Gist {
    let agent = one.agent_id.as_ref().map_or_else(|| one.run_id.short(), ToString::to_string);
    Gist::new(RowMark::Decide, agent, "asks")
        .since(one.requested_at)
        .because(format!("{} {}", plain(&one.tool), arguments(&one.args)).trim_end().to_owned())
}

fn incident(one: &IncidentView) -> Gist {
    let (mark, state) = match (one.resolved_at, one.acked_at, one.severity) {
        (Some(_), ..) => (RowMark::Well, "resolved"),
        (None, Some(_), _) => (RowMark::None, "noted"),
        (None, None, _) if !is_open(one) => (RowMark::None, "pending"),
        (None, None, Severity::Critical) => (RowMark::Bad, "critical"),
        (None, None, Severity::Warning) => (RowMark::Warn, "warning"),
    };
    let outside = if one.untrusted { "(from outside) " } else { "" };
    let name = if is_own(one) { one.agent_id.to_string() } else { plain(&one.key) };
    Gist::new(mark, name, state).since(Some(one.since)).because(format!("{outside}{}", plain(&one.title)))
}

fn of_agent(known: &Known, agent: &AgentView, now: Timestamp) -> Gist {
    let name = agent.agent_id.as_str();
    let own = known.own_incident(&agent.agent_id);
    let last = agent.last_run.as_ref();
    let error = last.and_then(|last| last.error.as_ref()).map(|error| plain(&error.message));
    let error = error.or_else(|| own.map(|one| plain(&one.title))).unwrap_or_default();
    let since = own.map(|one| one.since).or(last.map(|last| last.finished_at));
    let times = |word: &str| match agent.consecutive_errors {
        0 | 1 => word.to_owned(),
        count => format!("{word} {count}×"),
    };
    let reason = || agent.reason.as_deref().map(plain).unwrap_or_default();
    match (agent.state, agent.health) {
        (Desired::Stopped, _) => Gist::new(RowMark::Stopped, name, "stopped").because(reason()),
        (_, Health::CircuitOpen) => {
            Gist::new(RowMark::Bad, name, times("gave up")).since(since).because(error)
        }
        (_, Health::Failing) => Gist::new(RowMark::Bad, name, times("failing")).since(since).because(error),
        (Desired::Paused, Health::Ok) => Gist::new(RowMark::Paused, name, "paused").because(reason()),
        (Desired::Active, Health::Ok) => healthy(agent, known, now),
    }
}

fn healthy(agent: &AgentView, known: &Known, now: Timestamp) -> Gist {
    let name = agent.agent_id.as_str();
    let last = agent.last_run.as_ref();
    let since = last.map(|last| last.finished_at);
    if urgency_of(agent, known, now).is_some() {
        let is_broke = agent.budget_used_up_until.is_some_and(|until| until > now);
        let (state, cause) = match is_broke {
            true => ("no budget", "its budget is used up; its slots are refused until there is some again"),
            false => ("silent", "the clock was ahead and was set back; nothing starts until then"),
        };
        return Gist::new(RowMark::Warn, name, state).since(since).because(cause);
    }
    let cost = if agent.cost_today_usd > 0.0 { usd(agent.cost_today_usd) } else { String::new() };
    match agent.activity {
        Activity::Idle if last.is_none() => Gist::new(RowMark::None, name, "not yet"),
        Activity::Idle => Gist::new(RowMark::Well, name, "ok").since(since).because(cost),
        Activity::Queued => Gist::new(RowMark::Queued, name, "queued").because(cost),
        Activity::Running => Gist::new(RowMark::Busy, name, "running").because(cost),
        Activity::Retrying => Gist::new(RowMark::Queued, name, "retrying").because(cost),
        Activity::WaitingApproval => Gist::new(RowMark::Decide, name, "asks").because(cost),
    }
}

/// What is said of a run.
pub(in crate::top) fn of_run(run: &RunView) -> Gist {
    let mark = match run.status {
        RunStatus::Running => RowMark::Busy,
        RunStatus::Queued | RunStatus::Retrying => RowMark::Queued,
        RunStatus::WaitingApproval => RowMark::Decide,
        RunStatus::Completed if !run.warnings.is_empty() => RowMark::Warn,
        RunStatus::Completed => RowMark::Well,
        RunStatus::Cancelled => RowMark::None,
        _ => RowMark::Bad,
    };
    let error = run.error.as_ref().filter(|_| run.status != RunStatus::WaitingApproval);
    let said = match (error, &run.result) {
        (Some(error), _) => plain(&error.message),
        (None, Some(result)) => result_words(result),
        (None, None) => run.warnings.first().map(|warning| plain(warning)).unwrap_or_default(),
    };
    Gist::new(mark, run.agent_id.as_str(), status_word(run.status))
        .since(Some(run.finished_at.or(run.started_at).unwrap_or(run.queued_at)))
        .because(said)
}

/// How long a run has been going, and how long the last one of its agent took: `48s of 1m10s`.
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
