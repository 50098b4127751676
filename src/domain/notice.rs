//! Notifications: one message, before it is assigned to a target.
use super::agent::TellOn;
use super::ids::{AgentId, RunId};
use super::incident::Severity;
use super::words::words;

words! {
    /// How urgent a message is.
    Urgency {
        /// Nothing is to be done.
        Info = "info",
        /// Worth a look.
        Warning = "warning",
        /// Needs a person now: quiet hours don't hold it back.
        Critical = "critical",
    }
}

impl From<Severity> for Urgency {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

words! {
    /// What a message says of what it is about.
    NoticeState {
        /// It lasts.
        Open = "open",
        /// It is over.
        Resolved = "resolved",
        /// It happened, and that is all.
        Done = "done",
    }
}

/// A message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The agent that it is about.
    pub agent: AgentId,
    /// The kind of notification.
    pub about: TellOn,
    pub urgency: Urgency,
    /// The run that it is about.
    pub run: Option<RunId>,
    /// Of the unsent messages with the same key, only the newest is sent. `None`: each is sent.
    pub key: Option<String>,
    /// The call in question (`ApprovalWanted::id`), if the recipient can answer.
    pub approval: Option<String>,
    pub subject: String,
    pub body: String,
}

impl Notice {
    /// Returns a message with the default urgency of its kind.
    pub fn new(agent: &AgentId, about: TellOn, subject: String, body: String) -> Self {
        Self {
            agent: agent.clone(),
            about,
            urgency: about.urgency(),
            run: None,
            key: None,
            approval: None,
            subject,
            body,
        }
    }

    /// Sets the key of the problem.
    pub fn keyed(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Sets the run.
    pub fn of_run(self, run: RunId) -> Self {
        Self { run: Some(run), ..self }
    }
}

impl TellOn {
    /// Default kinds if an agent configures none: problems and their ends.
    pub const USUAL: &[Self] = &[
        Self::Failed,
        Self::Recovered,
        Self::CircuitOpened,
        Self::BudgetExhausted,
        Self::Missed,
        Self::IncidentOpened,
        Self::IncidentResolved,
        Self::ApprovalRequested,
    ];

    /// Returns the default urgency of this kind; for an incident it depends on the severity.
    pub fn urgency(self) -> Urgency {
        match self {
            Self::Failed | Self::CircuitOpened | Self::IncidentOpened | Self::Late => Urgency::Critical,
            Self::BudgetExhausted | Self::Missed | Self::ApprovalRequested | Self::Slow => Urgency::Warning,
            Self::Recovered | Self::IncidentResolved | Self::Completed => Urgency::Info,
        }
    }

    /// Returns the state that messages of this kind report.
    pub fn state(self) -> NoticeState {
        match self {
            Self::Failed
            | Self::CircuitOpened
            | Self::BudgetExhausted
            | Self::IncidentOpened
            | Self::ApprovalRequested
            | Self::Late
            | Self::Slow => NoticeState::Open,
            Self::Recovered | Self::IncidentResolved => NoticeState::Resolved,
            Self::Missed | Self::Completed => NoticeState::Done,
        }
    }
}
