//! The list of runs, the page of one run, and its output.
use super::approvals::CallRow;
use super::transcript::{CostRow, StepLine, costs, rows};
use crate::domain::{RunStatus, params_in_words};
use crate::protocol::*;
use crate::web::frame::{Frame, Page, PageError, html};
use crate::web::html::{Moment, When, block, class_of_run, encoded, line, money};
use crate::web::state::Web;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use std::collections::HashMap;

/// Runs per page.
const PAGE_ROWS: u64 = 50;
/// Transcript steps per page.
const PAGE_STEP_COUNT: u64 = 200;

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    frame: Frame,
    runs: Vec<RunLine>,
    status: String,
    agent: String,
    statuses: Vec<(&'static str, &'static str)>,
    older: Option<String>,
}

/// A run in a list.
pub(super) struct RunLine {
    pub(super) class: &'static str,
    pub(super) mark: &'static str,
    pub(super) id: String,
    pub(super) short: String,
    pub(super) agent: String,
    pub(super) status: String,
    pub(super) at: When,
    pub(super) took: String,
    pub(super) trigger: String,
    pub(super) usd: String,
    pub(super) said: String,
}

impl RunLine {
    pub(super) fn of(run: &RunView, moment: &Moment) -> Self {
        let (class, mark) = class_of_run(run.status);
        let error = run.error.as_ref().filter(|_| run.status != RunStatus::WaitingApproval);
        let said = match (error, &run.result) {
            (Some(error), _) => crate::render::error_words(run.status, error),
            (None, Some(result)) => crate::render::result_words(result),
            (None, None) => String::new(),
        };
        let trigger = if run.backfill_id.is_some() { "backfill" } else { run.trigger.as_str() };
        Self {
            class,
            mark,
            id: run.run_id.to_string(),
            short: run.run_id.short(),
            agent: run.agent_id.to_string(),
            status: crate::render::status_word(run.status).to_owned(),
            at: moment.when(run.started_at.unwrap_or(run.queued_at)),
            took: run.duration_ms.map(|ms| crate::render::took(run.status, ms)).unwrap_or_default(),
            trigger: if trigger == "schedule" { String::new() } else { trigger.to_owned() },
            usd: if run.usage.usd > 0.0 { money(run.usage.usd) } else { String::new() },
            said: line(said.trim()),
        }
    }
}

pub(in crate::web) async fn runs(
    State(web): State<Web>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let given = |name: &str| query.get(name).filter(|text| !text.is_empty()).cloned();
    let (status, agent) = (given("status"), given("agent"));
    let statuses = match status.as_deref() {
        None => Vec::new(),
        Some("failures") => {
            RunStatus::ALL.iter().filter(|one| one.is_failure()).map(|one| one.as_str().into()).collect()
        }
        Some(one) => vec![one.to_owned()],
    };
    let (frame, _) = Frame::of(&web, "runs", "Runs").await?;
    let params = ListRunsParams {
        agents: agent.iter().cloned().collect(),
        statuses,
        before: given("before"),
        limit: Some(PAGE_ROWS + 1),
        brief: true,
        ..ListRunsParams::default()
    };
    let mut found = web.pool.call::<ListRuns>(params).await?;
    let more = found.len() as u64 > PAGE_ROWS;
    found.truncate(PAGE_ROWS as usize);
    let older = found.last().filter(|_| more).map(|last| {
        format!(
            "/runs?status={}&agent={}&before={}",
            encoded(status.as_deref().unwrap_or_default()),
            encoded(agent.as_deref().unwrap_or_default()),
            last.run_id
        )
    });
    let moment = Moment::new();
    let page = RunsPage {
        runs: found.iter().map(|run| RunLine::of(run, &moment)).collect(),
        status: status.unwrap_or_default(),
        agent: agent.as_deref().map(line).unwrap_or_default(),
        statuses: vec![
            ("", "all"),
            ("failures", "failed"),
            ("running", "running"),
            ("waiting_approval", "waiting for you"),
            ("completed", "completed"),
        ],
        older,
        frame,
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    frame: Frame,
    run: RunLine,
    slot: When,
    facts: Vec<(&'static str, String)>,
    error: String,
    warnings: Vec<String>,
    answer: String,
    steps: Vec<StepLine>,
    first: u64,
    later: Option<String>,
    costs: Vec<CostRow>,
    output: String,
    output_cut: bool,
    output_more: bool,
    is_over: bool,
    /// Its pending calls.
    calls: Vec<CallRow>,
}

pub(in crate::web) async fn run(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let after = match query.get("after").map(|after| after.parse::<u64>()) {
        Some(Err(_)) => return Err(PageError::bad("`after` is the number of a step")),
        Some(Ok(after)) => Some(after),
        None => None,
    };
    let params =
        GetRunParams { run_id: id, brief: true, steps_after: after, steps_limit: Some(PAGE_STEP_COUNT + 1) };
    let mut detail = web.pool.call::<GetRun>(params).await?;
    let output = web.pool.call::<GetRunOutput>(params_of(&detail.run)).await?;
    let more = OutputParams { after: Some(output.position), ..params_of(&detail.run) };
    let has_more = !web.pool.call::<GetRunOutput>(more).await?.chunks.is_empty();
    let run = &detail.run;
    let waiting = match run.status {
        RunStatus::WaitingApproval => web.pool.call::<ListApprovals>(ListApprovalsParams::default()).await?,
        _ => Vec::new(),
    };
    let title = format!("{} {}", run.agent_id, run.run_id.short());
    let (frame, _) = Frame::of(&web, "runs", &title).await?;
    let moment = Moment::new();
    let more = detail.steps.len() as u64 > PAGE_STEP_COUNT;
    detail.steps.truncate(PAGE_STEP_COUNT as usize);
    let later =
        detail.steps.last().filter(|_| more).map(|last| format!("/runs/{}?after={}", run.run_id, last.n));
    let text: String = output.chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    let error = run.error.as_ref().filter(|_| run.status != RunStatus::WaitingApproval);
    let page = RunPage {
        slot: moment.maybe(run.slot),
        facts: facts(run, &moment),
        error: error
            .map(|error| match run.status {
                RunStatus::Cancelled => block(&error.message),
                _ => format!("{}: {}", error.kind, block(&error.message)),
            })
            .unwrap_or_default(),
        warnings: run.warnings.iter().map(|text| line(text)).collect(),
        answer: run
            .result
            .as_deref()
            .map(crate::render::result_text)
            .map(|text| block(text.trim()))
            .unwrap_or_default(),
        steps: rows(&detail.steps, &moment),
        first: after.map_or(0, |after| after.saturating_add(1)),
        later,
        costs: costs(&detail.steps),
        output: block(&text),
        output_cut: output.dropped_bytes > 0,
        output_more: has_more,
        is_over: run.status.is_final(),
        calls: waiting
            .iter()
            .filter(|call| call.run_id == run.run_id)
            .map(|call| CallRow { back: format!("/runs/{}", run.run_id), ..CallRow::of(call, &moment) })
            .collect(),
        run: RunLine::of(run, &moment),
        frame,
    };
    Ok(html(&page))
}

fn params_of(run: &RunView) -> OutputParams {
    OutputParams { run_id: Some(run.run_id.to_string()), ..OutputParams::default() }
}

fn facts(run: &RunView, moment: &Moment) -> Vec<(&'static str, String)> {
    let local = |at: jiff::Timestamp| moment.when(at).local;
    let mut all = vec![("because", run.trigger.to_string()), ("claimed", local(run.queued_at))];
    all.extend(run.mode.as_deref().map(|mode| ("mode", line(mode))));
    if !run.params.is_empty() {
        all.push(("parameters", line(&params_in_words(&run.params))));
    }
    all.extend(run.started_at.map(|at| ("started", local(at))));
    all.extend(run.not_before.map(|at| ("goes on", local(at))));
    all.extend(run.finished_at.map(|at| ("ended", local(at))));
    all.extend(run.duration_ms.map(|ms| ("took", crate::render::took(run.status, ms))));
    if run.attempt > 1 {
        all.push(("attempts", run.attempt.to_string()));
    }
    all.extend(run.exit_code.map(|code| ("exit code", code.to_string())));
    if run.usage.requests > 0 {
        let used = &run.usage;
        all.push(("requests", used.requests.to_string()));
        all.push((
            "tokens",
            format!(
                "{} in, {} of them cached, {} out",
                used.input_tokens, used.cached_tokens, used.output_tokens
            ),
        ));
        all.push(("cost", money(used.usd)));
    }
    all.extend(run.model.as_deref().map(|model| ("model", line(model))));
    all.extend(run.session_id.as_deref().map(|session| ("session", line(session))));
    all.push(("configuration", run.config_hash.clone()));
    all
}

/// Serves the output as a file, up to 64 MiB.
pub(in crate::web) async fn output(State(web): State<Web>, Path(id): Path<String>) -> Page {
    let params = OutputParams { run_id: Some(id), ..OutputParams::default() };
    let mut text = String::new();
    let mut after = None;
    loop {
        let page = web.pool.call::<GetRunOutput>(OutputParams { after, ..params.clone() }).await?;
        if page.chunks.is_empty() || text.len() > 64 << 20 {
            break;
        }
        after = Some(page.position);
        text.extend(page.chunks.iter().map(|chunk| chunk.text.as_str()));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"output.txt\""),
    ];
    Ok((headers, text).into_response())
}
