//! The types between the dispatcher and the tools: descriptions, calls, outputs and errors.
use crate::domain::{
    AddressPattern, AgentId, Control, Effect, Finding, ReadsWhen, RunId, ToolError, ToolSettings,
};
use crate::redis_memory::RedisMemory;
use crate::secret;
use crate::store::Store;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The context of a call: for whom the tool is called.
#[derive(Clone, Default)]
pub struct CallContext {
    /// The agent, unless a person calls by hand.
    pub agent: Option<AgentId>,
    pub run: Option<RunId>,
    /// Timeout of the whole call.
    pub timeout: Option<Duration>,
    /// The same in each attempt of one call, different for other calls. For tools that can pass it on.
    pub idempotency_key: Option<String>,
    /// For tools that store something for the agent.
    pub store: Option<Store>,
    /// Where the agent's notes are, if not in the store.
    pub memory: Option<RedisMemory>,
    /// The arguments as a person wrote them, before placeholders were filled. `None`: a model chose them.
    pub written: Option<Value>,
    /// For a gate: fields that identify its items. Items that the agent has seen by them are not news to it.
    pub novel_by: Vec<String>,
    /// For long-running tools: receives their progress.
    pub progress: Option<Progress>,
    /// What a program started by this call may ask of the daemon.
    pub control: Option<Control>,
    /// The caller has read data from outside, so its arguments may originate there.
    pub untrusted: bool,
    /// Where a redirect of its request may lead, in addition to the tool's settings; `None`: only the
    /// settings count.
    pub redirects: Option<Vec<AddressPattern>>,
    /// The trace that the call belongs to, in the format of `traceparent`.
    pub traceparent: Option<Arc<str>>,
}

/// Receives progress lines of a call, which the caller reads from the other end.
#[derive(Clone)]
pub struct Progress(mpsc::Sender<String>);

impl Progress {
    /// Creates a progress channel and its receiving end.
    pub fn new() -> (Self, mpsc::Receiver<String>) {
        let (send, lines) = mpsc::channel(MAX_WAITING_LINES);
        (Self(send), lines)
    }

    /// Sends a line. It is dropped if the reader does not keep up.
    pub(super) fn say(&self, line: &str) {
        let _ = self.0.try_send(secret::redact(line).into_owned());
    }
}

/// The output of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    pub result: Value,
    /// Problems that it found, or found resolved.
    pub findings: Vec<Finding>,
    /// What it could not determine this time, for the record of the run or slot.
    pub warnings: Vec<String>,
    /// This output contains data from outside, although the tool in general does not return such.
    pub untrusted: bool,
    /// Items that report the same story as one of the result, by the `id` of that: an agent that has seen the
    /// one has seen the others.
    pub doubles: HashMap<String, Vec<Value>>,
}

impl ToolOutput {
    /// Creates an output without findings.
    pub(super) fn of(result: Value) -> Self {
        Self { result, findings: Vec::new(), warnings: Vec::new(), untrusted: false, doubles: HashMap::new() }
    }
}

/// One call of one tool, with validated arguments.
#[derive(Clone)]
pub(super) struct Call {
    /// Name of the tool or of its instance.
    pub(super) tool: String,
    /// The caller's arguments, which match the schema.
    pub(super) args: Value,
    /// The instance's configuration.
    pub(super) settings: Arc<ToolSettings>,
    /// For tools that can return a partial result when their time is nearly up. The dispatcher enforces it.
    pub(super) bound: Duration,
    pub(super) context: CallContext,
}

impl Call {
    /// Deserializes the arguments into the tool's type.
    pub(super) fn arguments<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        T::deserialize(&self.args)
            .map_err(|error| ToolError::Arguments(format!("tool `{}`: {error}", self.tool)))
    }
}

/// Maximum number of progress lines waiting to be read.
const MAX_WAITING_LINES: usize = 64;

/// Properties of a tool instance, derived from its settings.
pub(super) struct About {
    /// The strongest effect that a call may have.
    pub(super) effect: Effect,
    /// Calls that only read although the tool can do more.
    pub(super) reads_when: Option<ReadsWhen>,
    /// Its results come from outside.
    pub(super) untrusted: bool,
}

impl About {
    /// Returns the properties of a tool that stays on this machine, and returns nothing but what its owner
    /// configured.
    pub(super) fn local() -> Self {
        Self { effect: Effect::Read, reads_when: None, untrusted: false }
    }
}
