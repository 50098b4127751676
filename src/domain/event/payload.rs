//! What each kind of event says: one type for each, whose fields are those of the wire.
//!
//! Fields are only ever added, as `Option`s or with a default: an older client leaves out what it does not know, and rows
//! that an older release stored are still read.
mod house;
mod runs;
mod slots;
mod talks;

pub use house::*;
pub use runs::*;
pub use slots::*;
pub use talks::*;

use super::kind::EventType;
use crate::domain::described::{Described, Shape};
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! payloads {
    ($($kind:ident($payload:ty),)*) => {
        /// What an event says. One variant for each [`EventType`], of the same name.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Payload { $(#[doc = concat!("Of [`EventType::", stringify!($kind), "`].")] $kind($payload),)* }

        impl Payload {
            /// The kind of event that says it.
            pub fn kind(&self) -> EventType {
                match self { $(Self::$kind(_) => EventType::$kind,)* }
            }

            /// What an event of this kind says, out of the log.
            ///
            /// # Errors
            /// A field is missing, or has a value that this release does not know.
            pub fn from_json(kind: EventType, json: &Value) -> serde_json::Result<Self> {
                Ok(match kind { $(EventType::$kind => Self::$kind(<$payload>::deserialize(json)?),)* })
            }

            /// The fields of this kind of event.
            pub fn shape_of(kind: EventType) -> Shape {
                match kind { $(EventType::$kind => <$payload>::shape(),)* }
            }
        }
    };
}

payloads! {
    TaskStarted(TaskStarted),
    TaskCompleted(TaskCompleted),
    TaskError(AttemptEnded),
    TaskCancelled(AttemptEnded),
    AgentStatus(AgentStatus),
    UserMessage(Told),
    AgentThought(SaidInStep),
    AgentMessage(SaidInStep),
    ToolCallStarted(ToolCallStarted),
    ToolCallResult(ToolCallResult),
    ToolCallError(ToolCallError),
    FinalAnswer(Told),
    ModelRequest(RequestSent),
    ModelResponse(ResponseCame),
    SlotSkipped(SlotSkipped),
    AgentsJoined(AgentsJoined),
    FileArrived(FileArrived),
    WebhookReceived(WebhookReceived),
    McpEventReceived(McpEventReceived),
    McpEventsSkipped(McpEventsSkipped),
    SlotsTakenBack(SlotsTakenBack),
    BackfillBegan(BackfillBegan),
    BackfillEnded(BackfillEnded),
    TaskRetrying(TaskRetrying),
    TaskResumed(TaskResumed),
    TaskOutput(TaskOutput),
    BudgetWarning(BudgetUse),
    BudgetExhausted(BudgetUse),
    CircuitOpened(CircuitOpened),
    CircuitClosed(CircuitClosed),
    IncidentOpened(IncidentOpened),
    IncidentResolved(IncidentResolved),
    IncidentDiagnosed(IncidentDiagnosed),
    ApprovalRequested(ApprovalRequested),
    ApprovalDecided(ApprovalDecided),
    McpPinChanged(McpPinChanged),
    SandboxDenied(SandboxDenied),
    AgentLate(AgentLate),
    TaskSlow(TaskSlow),
    ConfigApplied(ConfigApplied),
    ConfigRejected(ConfigRejected),
    NotificationSent(NotificationSent),
    NotificationFailed(NotificationFailed),
    DaemonStarted(DaemonStarted),
    DaemonStopping(DaemonStopping),
}

impl Payload {
    /// As it is logged, with its keys in alphabetical order.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("payloads have string keys and no failing serializers")
    }
}
