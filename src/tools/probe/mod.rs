//! `probe`: a list of checks, each compared with its thresholds. A problem that a check finds is a finding,
//! never an error of the tool: only invalid arguments are an error.
//!
//! When a finding becomes an incident, and who is notified, is decided elsewhere.
use super::contract::{About, Call, ToolOutput};
use super::system_metrics::tenth;
use crate::blocking::panic_text;
use crate::domain::{
    Finding, FoundBy, Level, ProbeSettings, ProbeTarget, ProbeType, ProgramOwner, ToolError, ToolSettings,
    human_duration,
};
use crate::tools::probe::measured::Measured;
use jiff::SignedDuration;
use serde_json::json;
use spec::Check;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

mod level;
mod local;
mod measured;
mod mount;
mod program;
mod reach;
mod spec;

/// Describes an instance. Its commands and addresses return data from outside.
pub(super) fn about() -> About {
    About { untrusted: true, ..About::local() }
}

/// Maximum number of checks that run concurrently.
const MAX_CONCURRENT_CHECKS: usize = 16;

/// A check with a longer timeout is not started with less than this much time left.
const MIN_CHECK_TIME: Duration = Duration::from_secs(1);

/// Runs all checks.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let checks = match &*call.settings {
        // A mistake in the configuration is not the caller's.
        ToolSettings::Probe(Some(settings)) => spec::complete(&settings.checks).map_err(|error| {
            ToolError::Failed(format!("tool `{0}`, as configured in [tools.{0}]: {error}", call.tool))
        }),
        _ => call
            .arguments::<ProbeSettings>()
            .and_then(|settings| spec::complete(&settings.checks).map_err(ToolError::Arguments)),
    };
    let owner = ProgramOwner {
        table: format!("tools.{}", call.tool),
        agent: call.context.agent.clone(),
        run: call.context.run,
    };
    run_all(checks?, call.bound, Arc::new(owner)).await
}

/// Runs checks. `bound` is that of the whole call: checks that don't fit in it are reported as such.
async fn run_all(
    checks: Vec<Check>,
    bound: Duration,
    owner: Arc<ProgramOwner>,
) -> Result<ToolOutput, ToolError> {
    // Some of the time is reserved for preparing the result.
    let deadline = Instant::now() + bound.saturating_sub((bound / 10).min(Duration::from_secs(2)));
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_CHECKS));
    let running: Vec<_> = checks
        .into_iter()
        .map(|check| {
            let check = Arc::new(check);
            let task = tokio::spawn(run(check.clone(), permits.clone(), deadline, owner.clone()));
            (check, AbortOnDropHandle::new(task))
        })
        .collect();
    let mut rows = Vec::with_capacity(running.len());
    let mut findings = Vec::with_capacity(running.len());
    let mut warnings = Vec::new();
    for (check, task) in running {
        let (measured, took) = task.await.unwrap_or_else(|error| {
            let title = format!("{} can't be checked: {}", check.subject, panic_text(error));
            (Measured::failed(title), Duration::ZERO)
        });
        rows.push(json!({
            "name": check.name,
            "type": check.target.kind(),
            "level": measured.level,
            "value": measured.value.map(|value| round(value, check.target.kind())),
            "unit": measured.unit,
            "title": measured.title,
            "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
        if measured.level == Level::Hold && measured.value.is_none() {
            warnings.push(measured.title.clone());
        }
        findings.push(Finding {
            key: check.name.clone(),
            level: measured.level,
            title: measured.title,
            hold_for: check.hold_for,
            by: FoundBy::Check,
        });
    }
    let has = |level: Level| findings.iter().any(|finding| finding.level == level);
    let status = match (has(Level::Crit), has(Level::Warn)) {
        (true, _) => "crit",
        (false, true) => "warn",
        (false, false) => "ok",
    };
    let result = json!({"status": status, "checks": rows, "wake": status != "ok"});
    Ok(ToolOutput { findings, warnings, ..ToolOutput::of(result) })
}

/// Runs one check when a permit is free, within its timeout and that of the whole call.
async fn run(
    check: Arc<Check>,
    permits: Arc<Semaphore>,
    deadline: Instant,
    owner: Arc<ProgramOwner>,
) -> (Measured, Duration) {
    let not_begun = || {
        let title = format!("{} was not checked: the time of the whole probe was up", check.subject);
        (Measured { level: Level::Hold, value: None, unit: None, title }, Duration::ZERO)
    };
    let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline.into(), permits.acquire()).await else {
        return not_begun();
    };
    let started = Instant::now();
    let bound = check.timeout.min(deadline.saturating_duration_since(started));
    if bound < check.timeout && bound < MIN_CHECK_TIME {
        return not_begun();
    }
    let measured = tokio::time::timeout(bound, measure(&check, bound, &owner)).await.unwrap_or_else(|_| {
        let bound = human_duration(SignedDuration::try_from(bound).unwrap_or(SignedDuration::MAX));
        Measured::failed(format!("{} did not answer within {bound}", check.subject))
    });
    (measured, started.elapsed())
}

async fn measure(check: &Check, bound: Duration, owner: &ProgramOwner) -> Measured {
    let thresholds = &check.thresholds;
    match &check.target {
        ProbeTarget::Disk { path, metric, mounted } => {
            local::disk(path, metric.unwrap_or(ProbeTarget::METRIC), *mounted, thresholds).await
        }
        ProbeTarget::Memory => local::memory(thresholds).await,
        ProbeTarget::Load => local::load(thresholds).await,
        ProbeTarget::Process { name, min } => {
            local::process(name, min.unwrap_or(ProbeTarget::MIN), thresholds).await
        }
        ProbeTarget::Http(web) => reach::http(web, bound, thresholds).await,
        ProbeTarget::Tcp { host, port } => reach::tcp(spec::bare(host), *port, thresholds).await,
        ProbeTarget::Systemd { unit, user } => program::systemd(unit, user.unwrap_or(false), bound).await,
        ProbeTarget::Command { argv, sandbox } => {
            program::command(argv, sandbox.as_deref(), bound, owner).await
        }
    }
}

/// Rounds load, which is small, to two decimals, and other values to one.
fn round(value: f64, kind: ProbeType) -> f64 {
    if kind == ProbeType::Load { (value * 100.0).round() / 100.0 } else { tenth(value) }
}

#[cfg(test)]
mod tests;
