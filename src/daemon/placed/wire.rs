//! Messages between the leader and the nodes, as stored in the mailboxes. A node and a leader of
//! different releases must understand each other: fields are added, never removed.
use crate::domain::{
    AgentId, AttemptEnd, AttemptOutcome, CapturedOutput, ConfigHash, ErrorKind, Finding, OutputChunk,
    ParamValues, Process, ProcessRole, RunError, RunId, RunMode, Stream, Trigger, Usage,
};
use crate::engine::{CancelCause, Start};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An order of the leader to a node.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(in crate::daemon) enum OrderText {
    /// Start an attempt.
    Start(Box<StartText>),
    Stop {
        run: RunId,
        kill: bool,
        cause: Option<CancelCause>,
    },
    /// Whether the sender of this report may go on.
    Go {
        n: u64,
        go: bool,
    },
}

/// An attempt to start. The event that started it, and the last result, are in the records.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::daemon) struct StartText {
    pub(in crate::daemon) run: RunId,
    pub(in crate::daemon) agent: AgentId,
    /// Hash of the configuration with which the run was claimed.
    pub(in crate::daemon) config: u64,
    /// The newest revision of the fleet's configuration that the leader knows; 0: there is none.
    #[serde(default)]
    pub(in crate::daemon) revision: u64,
    pub(in crate::daemon) attempt: u32,
    pub(in crate::daemon) trigger: Trigger,
    #[serde(default)]
    pub(in crate::daemon) slot: Option<Timestamp>,
    #[serde(default)]
    pub(in crate::daemon) query: Option<Arc<str>>,
    #[serde(default)]
    pub(in crate::daemon) params: Option<ParamValues>,
    #[serde(default)]
    pub(in crate::daemon) mode: RunMode,
    #[serde(default)]
    pub(in crate::daemon) time_left_ms: Option<i64>,
    #[serde(default)]
    pub(in crate::daemon) looks_first: bool,
    #[serde(default)]
    pub(in crate::daemon) gate_only: bool,
    #[serde(default)]
    pub(in crate::daemon) traceparent: Option<Arc<str>>,
}

impl OrderText {
    pub(in crate::daemon) fn start(start: &Start, revision: u64, traceparent: Option<Arc<str>>) -> Self {
        let whole = |left: SignedDuration| i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        Self::Start(Box::new(StartText {
            run: start.run,
            agent: start.agent.id.clone(),
            config: start.agent.config_hash.0,
            revision,
            attempt: start.attempt,
            trigger: start.trigger,
            slot: start.slot,
            query: start.query.clone(),
            params: start.params.as_deref().cloned(),
            mode: start.mode.clone(),
            time_left_ms: start.time_left.map(whole),
            looks_first: start.looks_first,
            gate_only: start.gate_only,
            traceparent,
        }))
    }

    pub(in crate::daemon) fn text(&self) -> String {
        serde_json::to_string(self).expect("orders serialize")
    }
}

impl StartText {
    pub(in crate::daemon) fn config_hash(&self) -> ConfigHash {
        ConfigHash(self.config)
    }
}

/// A report about one attempt.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::daemon) struct ReportText {
    pub(in crate::daemon) run: RunId,
    pub(in crate::daemon) attempt: u32,
    #[serde(flatten)]
    pub(in crate::daemon) said: ReportBody,
}

/// The content of a report. `n`: the report number under which an attempt waits for permission to go on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub(in crate::daemon) enum ReportBody {
    /// A process waits at its gate.
    Spawned { n: u64, role: RoleText, pid: u32, start: u64, boot: u64 },
    /// The body is about to begin, without a process.
    Began { n: u64 },
    /// A tool reported problems, or their ends.
    Found { n: u64, findings: Vec<Finding> },
    /// Output was captured.
    Output(OutputText),
    /// The attempt ended. `told`: the cause for which its end was ordered.
    Ended { outcome: Box<OutcomeText>, told: Option<CancelCause> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::daemon) enum RoleText {
    Gate,
    Body,
    Check,
}

impl From<ProcessRole> for RoleText {
    fn from(role: ProcessRole) -> Self {
        match role {
            ProcessRole::Gate => Self::Gate,
            ProcessRole::Body => Self::Body,
            ProcessRole::Check => Self::Check,
        }
    }
}

impl From<RoleText> for ProcessRole {
    fn from(role: RoleText) -> Self {
        match role {
            RoleText::Gate => Self::Gate,
            RoleText::Body => Self::Body,
            RoleText::Check => Self::Check,
        }
    }
}

impl ReportBody {
    pub(in crate::daemon) fn spawned(n: u64, role: ProcessRole, process: Process) -> Self {
        let Process { pid, start, boot } = process;
        Self::Spawned { n, role: role.into(), pid, start, boot }
    }
}

/// See [`CapturedOutput`]; the attempt is given beside it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::daemon) struct OutputText {
    agent: AgentId,
    chunks: Vec<ChunkText>,
    keep_head: u64,
    drop_before: u64,
    dropped_bytes: u64,
    told: bool,
}

impl From<CapturedOutput> for OutputText {
    fn from(output: CapturedOutput) -> Self {
        let CapturedOutput { run: _, agent, attempt: _, chunks, keep_head, drop_before, dropped_bytes, told } =
            output;
        let chunks = chunks.into_iter().map(Into::into).collect();
        Self { agent, chunks, keep_head, drop_before, dropped_bytes, told }
    }
}

impl OutputText {
    /// Converts into the captured output of an attempt.
    pub(in crate::daemon) fn captured(self, run: RunId, attempt: u32) -> CapturedOutput {
        let Self { agent, chunks, keep_head, drop_before, dropped_bytes, told } = self;
        let chunks = chunks.into_iter().map(Into::into).collect();
        CapturedOutput { run, agent, attempt, chunks, keep_head, drop_before, dropped_bytes, told }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ChunkText {
    n: u64,
    stream: Stream,
    at: Timestamp,
    text: String,
}

impl From<OutputChunk> for ChunkText {
    fn from(chunk: OutputChunk) -> Self {
        let OutputChunk { n, stream, at, text } = chunk;
        Self { n, stream, at, text }
    }
}

impl From<ChunkText> for OutputChunk {
    fn from(chunk: ChunkText) -> Self {
        let ChunkText { n, stream, at, text } = chunk;
        Self { n, stream, at, text }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
enum EndText {
    Completed,
    Failed { error: RunError },
    Cancelled,
    GateClosed,
    GateOpen,
}

/// How an attempt of a command or a tool ended.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::daemon) struct OutcomeText {
    #[serde(flatten)]
    end: EndText,
    result: Option<String>,
    /// A node of the release before does not say it.
    #[serde(default)]
    result_is_cut: bool,
    untrusted: bool,
    exit_code: Option<i32>,
    usage: Usage,
    duration_us: i64,
    findings: Vec<Finding>,
    warnings: Vec<String>,
    retry_after_us: Option<i64>,
    conclusive: bool,
    seen: Vec<String>,
    gate: Option<String>,
}

fn micros(span: SignedDuration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl From<AttemptOutcome> for OutcomeText {
    fn from(outcome: AttemptOutcome) -> Self {
        let AttemptOutcome {
            end,
            result,
            result_is_cut,
            untrusted,
            exit_code,
            // evaluated where it ran
            ended_by_others: _,
            usage,
            duration,
            findings,
            warnings,
            retry_after,
            conclusive,
            // only models say something
            said: _,
            seen,
            gate,
        } = outcome;
        let end = match end {
            AttemptEnd::Completed => EndText::Completed,
            AttemptEnd::Failed(error) => EndText::Failed { error },
            AttemptEnd::Cancelled => EndText::Cancelled,
            AttemptEnd::GateClosed => EndText::GateClosed,
            AttemptEnd::GateOpen => EndText::GateOpen,
            AttemptEnd::Waits(_) => EndText::Failed {
                error: RunError::new(
                    ErrorKind::Config,
                    "a call waits for a person, which only a model's does",
                ),
            },
        };
        let (duration_us, retry_after_us) = (micros(duration), retry_after.map(micros));
        Self {
            end,
            result,
            result_is_cut,
            untrusted,
            exit_code,
            usage,
            duration_us,
            findings,
            warnings,
            retry_after_us,
            conclusive,
            seen,
            gate,
        }
    }
}

impl From<OutcomeText> for AttemptOutcome {
    fn from(text: OutcomeText) -> Self {
        let end = match text.end {
            EndText::Completed => AttemptEnd::Completed,
            EndText::Failed { error } => AttemptEnd::Failed(error),
            EndText::Cancelled => AttemptEnd::Cancelled,
            EndText::GateClosed => AttemptEnd::GateClosed,
            EndText::GateOpen => AttemptEnd::GateOpen,
        };
        Self {
            end,
            result: text.result,
            result_is_cut: text.result_is_cut,
            untrusted: text.untrusted,
            exit_code: text.exit_code,
            ended_by_others: false,
            usage: text.usage,
            duration: SignedDuration::from_micros(text.duration_us),
            findings: text.findings,
            warnings: text.warnings,
            retry_after: text.retry_after_us.map(SignedDuration::from_micros),
            conclusive: text.conclusive,
            said: Vec::new(),
            seen: text.seen,
            gate: text.gate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported_arrives_as_it_was() {
        let mut outcome =
            AttemptOutcome::of(AttemptEnd::Failed(RunError::new(ErrorKind::Timeout, "too\0long")));
        outcome.result = Some("half".into());
        outcome.exit_code = Some(3);
        outcome.duration = SignedDuration::from_millis(1500);
        outcome.retry_after = Some(SignedDuration::from_secs(7));
        outcome.warnings = vec!["a gate is broken".into()];
        outcome.seen = vec!["item".into()];
        let (run, attempt) = (RunId::from_bytes([7; 16]), 2);
        let told = Some(CancelCause::NewerSlot);
        let said = ReportBody::Ended { outcome: Box::new(outcome.clone().into()), told };
        let text = serde_json::to_string(&ReportText { run, attempt, said }).unwrap();
        assert!(!text.contains('\0'), "PostgreSQL keeps no such character: {text}");
        let back: ReportText = serde_json::from_str(&text).unwrap();
        let ReportBody::Ended { outcome: ended, told: Some(CancelCause::NewerSlot) } = back.said else {
            panic!("{text}")
        };
        assert_eq!((back.run, back.attempt, AttemptOutcome::from(*ended)), (run, attempt, outcome));
        for end in
            [AttemptEnd::Completed, AttemptEnd::Cancelled, AttemptEnd::GateClosed, AttemptEnd::GateOpen]
        {
            let text = serde_json::to_string(&OutcomeText::from(AttemptOutcome::of(end.clone()))).unwrap();
            let back: OutcomeText = serde_json::from_str(&text).unwrap();
            assert_eq!(AttemptOutcome::from(back).end, end, "{text}");
        }
    }

    #[test]
    fn orders_and_processes_arrive_as_they_were() {
        let run = RunId::from_bytes([7; 16]);
        for order in [
            OrderText::Stop { run, kill: true, cause: Some(CancelCause::Person) },
            OrderText::Stop { run, kill: false, cause: None },
            OrderText::Go { n: u64::MAX, go: false },
        ] {
            assert_eq!(serde_json::from_str::<OrderText>(&order.text()).unwrap(), order);
        }
        let process = Process { pid: 12, start: u64::MAX, boot: u64::MAX - 1 };
        for role in [ProcessRole::Gate, ProcessRole::Body, ProcessRole::Check] {
            let report = ReportText { run, attempt: 1, said: ReportBody::spawned(9, role, process) };
            let text = serde_json::to_string(&report).unwrap();
            let back: ReportText = serde_json::from_str(&text).unwrap();
            assert_eq!(back, report);
            let ReportBody::Spawned { role: told, .. } = back.said else { panic!("{text}") };
            assert_eq!(ProcessRole::from(told), role);
        }
    }
}
