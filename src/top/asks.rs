//! What is asked of the daemon, and what comes back.
use crate::domain::{AgentId, LoggedEvent, RunId};
use crate::protocol::{
    AgentDetail, AgentView, ApprovalView, DaemonView, Explanation, IncidentView, OutputView, RunDetail,
    RunView, SlotRecordView, SlotView, UsageView,
};
use jiff::Timestamp;

/// A question that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TopAsk {
    /// The daemon itself.
    Daemon,
    /// These agents; none: all of them.
    Agents(Vec<AgentId>),
    /// Everything of one agent.
    Detail(AgentId),
    /// Problems, those that have ended included if it is true.
    Incidents(bool),
    /// Calls that wait.
    Approvals,
    Next,
    /// What became of the slots of these agents, from one time to another.
    Slots(Vec<AgentId>, Timestamp, Timestamp),
    /// Runs that have not ended.
    Live,
    /// The newest runs, of this agent or of all.
    Runs(Option<AgentId>),
    /// A run, whole.
    Run(RunId),
    /// Output of a run behind this position.
    Output(RunId, u64),
    /// What was used today, by agent, model and day.
    Usage,
    /// What became of the newest slot of an agent, in the words of a time zone.
    Why(AgentId, Option<String>),
}

/// The kind of a question: of each kind one is asked at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AskKind {
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

/// What the daemon said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TopAnswer {
    Daemon(Box<DaemonView>),
    Agents(Vec<AgentView>),
    Detail(Box<AgentDetail>),
    Incidents(Vec<IncidentView>),
    Approvals(Vec<ApprovalView>),
    Next(Vec<SlotView>),
    Slots(Vec<SlotRecordView>),
    /// Of [`TopAsk::Live`] and [`TopAsk::Runs`].
    Runs(Vec<RunView>),
    Run(Box<RunDetail>),
    Output(OutputView),
    Usage(Box<SpentToday>),
    Why(Box<Explanation>),
}

/// What was used, seen from three sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SpentToday {
    /// Today, by agent.
    pub(super) agents: Vec<UsageView>,
    /// Today, by model.
    pub(super) models: Vec<UsageView>,
    /// The last days, by day.
    pub(super) days: Vec<UsageView>,
}

/// A question and what came of it.
#[derive(Debug, Clone)]
pub(super) struct TopReply {
    /// What was asked.
    pub(super) ask: TopAsk,
    /// What was said, or why it was refused, in words. `None`: there was no answer.
    pub(super) said: Result<TopAnswer, Option<String>>,
}

/// What is heard without being asked for.
#[derive(Debug, Clone)]
pub(super) enum TopHeard {
    Event(Box<LoggedEvent>),
    /// These events are no longer kept.
    Gap(u64, u64),
    /// The daemon has gone away.
    Gone,
    /// It is back.
    Back,
    /// It is back, with another database.
    OtherDatabase,
    /// It can't be followed any more, and why.
    Lost(String),
}

/// Something that a person wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Run an agent now.
    Run(AgentId),
    /// Pause an agent, for so many milliseconds or until somebody resumes it.
    Pause(AgentId, Option<u64>),
    /// Make a paused agent active again.
    Resume(AgentId),
    /// Make a stopped agent active, or close its circuit.
    Start(AgentId),
    /// Stop an agent.
    Stop(AgentId),
    /// Leave out its next slot.
    Skip(AgentId),
    /// Cancel a run.
    Cancel(AgentId, RunId),
    /// Approve a call.
    Approve(String),
    /// Deny a call, and say why.
    Deny(String, String),
    /// Acknowledge an incident, by agent and key.
    Acknowledge(AgentId, String),
}

/// Runs that one answer has at the most.
pub(super) const MOST_RUNS: u64 = 200;

impl TopAsk {
    /// Its kind.
    pub(super) fn kind(&self) -> AskKind {
        match self {
            Self::Daemon => AskKind::Daemon,
            Self::Agents(_) => AskKind::Agents,
            Self::Detail(_) => AskKind::Detail,
            Self::Incidents(_) => AskKind::Incidents,
            Self::Approvals => AskKind::Approvals,
            Self::Next => AskKind::Next,
            Self::Slots(..) => AskKind::Slots,
            Self::Live => AskKind::Live,
            Self::Runs(_) => AskKind::Runs,
            Self::Run(_) => AskKind::Run,
            Self::Output(..) => AskKind::Output,
            Self::Usage => AskKind::Usage,
            Self::Why(..) => AskKind::Why,
        }
    }
}
