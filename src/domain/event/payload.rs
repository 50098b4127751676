//! Payloads of events: one type for each kind, whose fields are those of the wire.
//!
//! Fields are only ever added, as `Option`s or with a default: an older client ignores unknown ones, and rows
//! stored by an older release can still be read.
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
        /// Payload of an event. One variant for each [`EventType`], of the same name.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Payload { $(#[doc = concat!("Of [`EventType::", stringify!($kind), "`].")] $kind($payload),)* }

        impl Payload {
            /// Returns the kind of event with this payload.
            pub fn kind(&self) -> EventType {
                match self { $(Self::$kind(_) => EventType::$kind,)* }
            }

            /// Parses a payload of this kind from the log.
            ///
            /// # Errors
            /// A field is missing, or has a value that this release does not know.
            pub fn from_json(kind: EventType, json: &Value) -> serde_json::Result<Self> {
                Ok(match kind { $(EventType::$kind => Self::$kind(<$payload>::deserialize(json)?),)* })
            }

            /// Returns the fields of this kind of event.
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
    WorkspaceRemoved(WorkspaceRemoved),
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
    /// Returns its form in the log, with keys in alphabetical order.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("payloads have string keys and no failing serializers")
    }
}
