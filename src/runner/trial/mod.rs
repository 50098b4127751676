//! `bgagent runner test`: starts an agent program as for a run, in the same sandbox, and answers its requests locally
//! (`provider`), so that it costs nothing and needs no network. The attempt is a real one; only nothing is recorded.
mod provider;

use super::program::{World, version_of};
use super::report::{Brief, Report, Shared, StopOrder};
use crate::child::run_folders::remove_run_folder;
use crate::domain::{
    AgentId, AgentSpec, AttemptEnd, AttemptOutcome, Body, CatchUp, CatchUpPolicy, CircuitSpec, ConfigHash,
    FirstRun, Fleet, HandedTools, History, Limits, Overlap, Price, ProgramOwner, Provider, ResumePolicy,
    RetrySpec, RunError, RunId, RunMode, RunnerQuery, RunnerSpec, Said, Schedule, Step, Trigger, Usage,
    Workspace,
};
use crate::llm::Models;
use crate::tools::Tools;
use jiff::SignedDuration;
use provider::TrialProvider;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

/// Time limit of the whole trial.
const TRIAL_TIMEOUT: SignedDuration = SignedDuration::from_mins(3);
/// The query that the program is given.
const QUERY: &str = "Answer with one short sentence. Call no tool.";

/// The result of a trial.
#[derive(Debug)]
pub struct Trial {
    /// The version that the program reports, or why it is unknown.
    pub version: Result<String, String>,
    pub session: Option<String>,
    pub answer: Result<String, RunError>,
    /// What its requests would have used, had they been real.
    pub used: Usage,
    pub warnings: Vec<String>,
    pub took: Duration,
}

/// Tries out the program of a `[runners.…]` table.
///
/// # Errors
/// There is no such table, or the local provider can't start.
pub async fn try_runner(fleet: &Fleet, name: &str) -> Result<Trial, String> {
    let spec = fleet.runners.get(name).ok_or_else(|| format!("there is no [runners.{name}]"))?;
    let provider =
        TrialProvider::start().await.map_err(|error| format!("nothing can answer the program: {error}"))?;
    let fleet = Arc::new(answered_by(&provider, fleet, name));
    let run = RunId::from_bytes(Uuid::now_v7().into_bytes());
    let version = version(spec, name, run).await;
    let (reports, heard) = mpsc::channel(64);
    let shared = Shared {
        models: Arc::new(Models::new(&fleet, None)),
        tools: Arc::new(Tools::new(&fleet)),
        fleet,
        store: None,
        memory: None,
        reports,
    };
    let brief = brief(run, Arc::new(agent(name)));
    let (_stop, stopped) = watch::channel(StopOrder::None);
    let began = Instant::now();
    let (session, outcome) =
        tokio::join!(tokio::spawn(acknowledge_reports(heard)), super::attempt(brief, shared, stopped))
            .0
            .map_err(|error| error.to_string())?;
    remove_run_folder(run);
    let outcome = outcome.ok_or("the attempt broke off")?;
    Ok(Trial {
        version,
        session,
        answer: match outcome.end {
            AttemptEnd::Completed => Ok(outcome.result.unwrap_or_default()),
            AttemptEnd::Failed(error) => Err(error),
            _ => Err(RunError::new(crate::domain::ErrorKind::Interrupted, "the attempt was cancelled")),
        },
        used: outcome.usage,
        warnings: outcome.warnings,
        took: began.elapsed(),
    })
}

/// Returns the fleet with the runner's model answered by the local provider.
fn answered_by(provider: &TrialProvider, fleet: &Fleet, name: &str) -> Fleet {
    let mut fleet = fleet.clone();
    let meter = fleet.runners.get(name).map(|spec| spec.meter.clone()).unwrap_or_default();
    if let Some(model) = fleet.models.get_mut(&meter) {
        let version = match model.provider {
            Provider::Gemini => "/v1beta",
            _ => "/v1",
        };
        model.base_url = Some(format!("http://{}{version}", provider.address));
        (model.api_key, model.headers) = (None, BTreeMap::new());
        model.price = Some(Price { input: 0.0, cached_input: 0.0, cache_write: 0.0, output: 0.0 });
    }
    if let Some(spec) = fleet.runners.get_mut(name) {
        // the version is reported below, and does not prevent the trial
        spec.version = None;
    }
    fleet
}

async fn version(spec: &RunnerSpec, name: &str, run: RunId) -> Result<String, String> {
    let world = World::open(run).await?;
    let owner = ProgramOwner { table: format!("runners.{name}"), ..ProgramOwner::default() };
    version_of(spec, &world, &owner).await
}

/// Returns an agent that queries this runner once.
fn agent(runner: &str) -> AgentSpec {
    let none = RetrySpec {
        max: 0,
        backoff: crate::domain::Backoff::Fixed,
        initial: SignedDuration::ZERO,
        max_delay: SignedDuration::ZERO,
        explicit: false,
    };
    AgentSpec {
        id: "runner-test".parse::<AgentId>().expect("it is a name"),
        description: None,
        schedule: Schedule::Manual,
        active_times: None,
        params: None,
        jitter: SignedDuration::ZERO,
        first_run: FirstRun::Now,
        catch_up: CatchUp { policy: CatchUpPolicy::None, max: 1, max_age: None, spread: None },
        overlap: Overlap::Skip,
        enabled: true,
        body: Body::Runner(Arc::new(RunnerQuery {
            query: QUERY.into(),
            system_instruction: None,
            runner: runner.to_owned(),
            workspace: Workspace::Empty,
            trusts_workspace: false,
            skills: Vec::new(),
            permissions: None,
            resume: ResumePolicy::Never,
            handed: HandedTools::none(),
        })),
        history: History::All,
        gate: None,
        success_when: Arc::from([]),
        limits: Arc::new(Limits {
            timeout: TRIAL_TIMEOUT,
            total_timeout: None,
            tool_call_timeout: TRIAL_TIMEOUT,
            request_limit: 20,
            total_tokens_limit: RunnerSpec::TOTAL_TOKENS_LIMIT,
            max_steps: 30,
            max_usd_per_run: None,
            usd_per_day: None,
            tokens_per_day: None,
            requests_per_day: None,
            max_output: 1 << 20,
        }),
        retry: none,
        circuit: CircuitSpec { open_after: 0, cooldown: SignedDuration::ZERO },
        lock: None,
        notify: None,
        deliver: None,
        late_after: None,
        slow_after: None,
        ping: None,
        on_nodes: None,
        when_cut_off: None,
        control: None,
        accept_risk: None,
        config_hash: ConfigHash(0),
        line: 0,
    }
}

fn brief(run: RunId, agent: Arc<AgentSpec>) -> Brief {
    Brief {
        run,
        agent,
        attempt: 1,
        trigger: Trigger::Manual,
        slot: None,
        query: None,
        params: None,
        mode: RunMode::Normal,
        event: None,
        last_result: None,
        time_left: None,
        looks_first: false,
        gate_only: false,
        fence: 1,
        traceparent: None,
    }
}

/// Acknowledges the reports of an attempt as if they were recorded. Returns the session that the program has named, and the
/// outcome.
async fn acknowledge_reports(mut heard: mpsc::Receiver<Report>) -> (Option<String>, Option<AttemptOutcome>) {
    let mut session = None;
    while let Some(report) = heard.recv().await {
        match report {
            Report::Spawned { go, .. }
            | Report::Began { go, .. }
            | Report::Settle { go, .. }
            | Report::Found { go, .. } => {
                let _ = go.send(());
            }
            Report::Output { done, .. } => {
                let _ = done.send(());
            }
            Report::Journal { talks, done } => {
                for talk in talks {
                    if let Said::Step { step, .. } = talk.said
                        && let Step::Session { id, .. } = *step
                    {
                        session = Some(id);
                    }
                }
                let _ = done.send(());
            }
            Report::Reserve { granted, .. } => {
                let _ = granted.send(Ok(()));
            }
            Report::Ended { outcome, .. } => return (session, Some(*outcome)),
        }
    }
    (session, None)
}
