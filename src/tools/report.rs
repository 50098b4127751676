//! `report`: an agent opens, updates or resolves an incident.
use super::contract::{Call, CallContext, ToolOutput};
use crate::domain::{AgentId, Finding, FoundBy, Level, ReportArgs, ReportSeverity, RunId, ToolError};
use crate::store::{Reader, Store, StoreError};
use jiff::SignedDuration;
use serde_json::json;

/// Maximum number of new problems that a run may report once it has read data from outside.
pub(super) const MAX_OPENED_INCIDENTS: u64 = 5;

pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ReportArgs { key, severity, title, detail } = call.arguments()?;
    let (key, title) = (key.trim().to_owned(), title.trim());
    if key.is_empty() || key.len() > ReportArgs::LONGEST_KEY_BYTES {
        let most = ReportArgs::LONGEST_KEY_BYTES;
        return Err(ToolError::Arguments(format!("`key` must have 1 to {most} bytes")));
    }
    let mut title = match detail.as_deref().map(str::trim) {
        None | Some("") => title.to_owned(),
        Some(detail) => format!("{title}: {detail}"),
    };
    title.truncate(title.floor_char_boundary(ReportArgs::MAX_TITLE_BYTES));
    let level = match severity {
        ReportSeverity::Critical => Level::Crit,
        ReportSeverity::Warning => Level::Warn,
        ReportSeverity::Ok => Level::Ok,
    };
    let CallContext { agent, run, store, untrusted, .. } = call.context;
    let (Some(agent), Some(store)) = (agent, store) else {
        return Err(ToolError::Failed(
            "incidents belong to agents: only a run of one can report; `bgagent incidents` lists them".into(),
        ));
    };
    if untrusted {
        may_report(&store, &agent, run, &key, level).await?;
    }
    let mut result = json!({"key": key, "state": if level == Level::Ok { "resolved" } else { "open" }});
    if level == Level::Ok {
        let open = read(&store, move |reader| reader.open_keys(&agent)).await?;
        if !open.contains(&key) {
            result = json!({"key": key, "state": "was not open", "open": open});
        }
    }
    let by = if untrusted { FoundBy::UntrustedReport } else { FoundBy::Report };
    let finding = Finding { key, level, title, hold_for: SignedDuration::ZERO, by };
    Ok(ToolOutput { findings: vec![finding], ..ToolOutput::of(result) })
}

/// Checks what a run that has read data from outside may still report: nothing about problems found by a
/// check, and only a limited number of problems.
async fn may_report(
    store: &Store,
    agent: &AgentId,
    run: Option<RunId>,
    key: &str,
    level: Level,
) -> Result<(), ToolError> {
    let (of, asked) = (agent.clone(), key.to_owned());
    let found_by = read(store, move |reader| reader.found_by(&of, &asked)).await?;
    match (found_by, run) {
        (Some(FoundBy::Check), _) => Err(ToolError::Failed(
            "refused: a check has found the problem of this key, and it says when that is over; this run has read data \
             from outside, so it can only report under keys of its own"
                .into(),
        )),
        (None, Some(run)) if level != Level::Ok => {
            let opened = read(store, move |reader| reader.opened_in(run)).await?;
            if opened < MAX_OPENED_INCIDENTS {
                return Ok(());
            }
            Err(ToolError::Failed(format!(
                "refused: this run has opened {opened} incidents after it had read data from outside, and that is the \
                 most; say what is left in one of those, or in your answer"
            )))
        }
        _ => Ok(()),
    }
}

async fn read<T: Send + 'static>(
    store: &Store,
    question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ToolError> {
    store.read(question).await.map_err(|error| ToolError::Failed(error.to_string()))
}
