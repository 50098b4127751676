//! What people are told: one message before it has a receiver.
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
    /// Of which agent it tells.
    pub agent: AgentId,
    /// What kind of news.
    pub about: TellOn,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The run that it tells of.
    pub run: Option<RunId>,
    /// Of messages about one problem that were not sent yet, the newest alone is. `None`: each is sent.
    pub key: Option<String>,
    /// The call that it asks about (`ApprovalWanted::id`), where whoever gets it can answer.
    pub approval: Option<String>,
    pub subject: String,
    pub body: String,
}

impl Notice {
    /// A message as urgent as its kind usually is.
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

    /// Of this problem.
    pub fn keyed(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Of this run.
    pub fn of_run(self, run: RunId) -> Self {
        Self { run: Some(run), ..self }
    }
}

impl TellOn {
    /// What is told where an agent does not say of what: problems and their ends.
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

    /// How urgent such a message usually is; that of an incident is as bad as the incident.
    pub fn urgency(self) -> Urgency {
        match self {
            Self::Failed | Self::CircuitOpened | Self::IncidentOpened | Self::Late => Urgency::Critical,
            Self::BudgetExhausted | Self::Missed | Self::ApprovalRequested | Self::Slow => Urgency::Warning,
            Self::Recovered | Self::IncidentResolved | Self::Completed => Urgency::Info,
        }
    }

    /// What such a message says of what it is about.
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
