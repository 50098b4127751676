//! Requests to the daemon, and its answers.
use crate::domain::{AgentId, LoggedEvent, RunId};
use crate::protocol::{
    AgentDetail, AgentView, ApprovalView, DaemonView, Explanation, IncidentView, OutputView, RunDetail,
    RunView, SlotRecordView, SlotView, UsageView,
};
use jiff::Timestamp;

/// A read-only request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TopRequest {
    Daemon,
    /// These agents; if empty, all of them.
    Agents(Vec<AgentId>),
    /// The details of one agent.
    Detail(AgentId),
    /// Open incidents; if true, also resolved ones.
    Incidents(bool),
    /// Pending approvals.
    Approvals,
    Next,
    /// Ledger records of these agents, between two times.
    Slots(Vec<AgentId>, Timestamp, Timestamp),
    /// Runs that have not ended.
    Live,
    /// The newest runs, of this agent or of all agents.
    Runs(Option<AgentId>),
    /// A run in full.
    Run(RunId),
    /// Output of a run after this position.
    Output(RunId, u64),
    /// Today's usage by agent and model, and the usage by day.
    Usage,
    /// Explanation of an agent's newest slot, in this time zone.
    Why(AgentId, Option<String>),
}

/// The kind of a request: at most one of each kind is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TopRequestKind {
    Daemon,
    Agents,
    Detail,
    Incidents,
    Approvals,
    Next,
    Slots,
    Live,
    Runs,
    Run,
    Output,
    Usage,
    Why,
}

/// An answer of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TopAnswer {
    Daemon(Box<DaemonView>),
    Agents(Vec<AgentView>),
    Detail(Box<AgentDetail>),
    Incidents(Vec<IncidentView>),
    Approvals(Vec<ApprovalView>),
    Next(Vec<SlotView>),
    Slots(Vec<SlotRecordView>),
    /// Answer to [`TopRequest::Live`] and [`TopRequest::Runs`].
    Runs(Vec<RunView>),
    Run(Box<RunDetail>),
    Output(OutputView),
    Usage(Box<SpentToday>),
    Why(Box<Explanation>),
}

/// Usage, grouped in three ways.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SpentToday {
    /// Today, by agent.
    pub(super) agents: Vec<UsageView>,
    /// Today, by model.
    pub(super) models: Vec<UsageView>,
    /// The last days, by day.
    pub(super) days: Vec<UsageView>,
}

/// A request and its outcome.
#[derive(Debug, Clone)]
pub(super) struct TopReply {
    pub(super) ask: TopRequest,
    /// The answer, or the error message. `None`: there was no answer.
    pub(super) said: Result<TopAnswer, Option<String>>,
}

/// A notification about the followed events or the connection.
#[derive(Debug, Clone)]
pub(super) enum TopNotice {
    Event(Box<LoggedEvent>),
    /// These events were removed by retention.
    Gap(u64, u64),
    /// The connection was lost.
    Gone,
    /// The connection was restored.
    Back,
    /// The connection was restored, to another database.
    OtherDatabase,
    /// Following has failed permanently, for this reason.
    Lost(String),
}

/// A change that the user requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Run an agent now.
    Run(AgentId),
    /// Pause an agent, for this many milliseconds or until it is resumed.
    Pause(AgentId, Option<u64>),
    /// Make a paused agent active again.
    Resume(AgentId),
    /// Make a stopped agent active, or close its circuit.
    Start(AgentId),
    /// Stop an agent.
    Stop(AgentId),
    /// Skip its next slot.
    Skip(AgentId),
    /// Cancel a run.
    Cancel(AgentId, RunId),
    /// Approve a call.
    Approve(String),
    /// Deny a call, with a reason.
    Deny(String, String),
    /// Acknowledge an incident, by agent and key.
    Acknowledge(AgentId, String),
}

/// Maximum number of runs per answer.
pub(super) const MOST_RUNS: u64 = 200;

impl TopRequest {
    /// Returns the kind of the request.
    pub(super) fn kind(&self) -> TopRequestKind {
        match self {
            Self::Daemon => TopRequestKind::Daemon,
            Self::Agents(_) => TopRequestKind::Agents,
            Self::Detail(_) => TopRequestKind::Detail,
            Self::Incidents(_) => TopRequestKind::Incidents,
            Self::Approvals => TopRequestKind::Approvals,
            Self::Next => TopRequestKind::Next,
            Self::Slots(..) => TopRequestKind::Slots,
            Self::Live => TopRequestKind::Live,
            Self::Runs(_) => TopRequestKind::Runs,
            Self::Run(_) => TopRequestKind::Run,
            Self::Output(..) => TopRequestKind::Output,
            Self::Usage => TopRequestKind::Usage,
            Self::Why(..) => TopRequestKind::Why,
        }
    }
}
