//! The words between the door and the tools: what a tool is known by, what a call carries, what it gives, and why
//! it fails.
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

/// For whom a tool is called.
#[derive(Clone, Default)]
pub struct CallContext {
    /// The agent, unless a person calls by hand.
    pub agent: Option<AgentId>,
    pub run: Option<RunId>,
    /// Bound of the whole call.
    pub timeout: Option<Duration>,
    /// Equal in each try of the same call, another for each other call. For tools that can hand it on.
    pub idempotency_key: Option<String>,
    /// For tools that keep something for the agent.
    pub store: Option<Store>,
    /// Where its notes are, if not in the store.
    pub memory: Option<RedisMemory>,
    /// The arguments as a person wrote them, before their places were filled. `None`: a model chose them.
    pub written: Option<Value>,
    /// Of a gate: fields that tell its items apart. What the agent has seen of them is of no use to it.
    pub novel_by: Vec<String>,
    /// For tools that take long: where they say how far they are.
    pub progress: Option<Progress>,
    /// What a program that this call starts may ask of the daemon.
    pub control: Option<Control>,
    /// The caller has read data from outside: what it says now may come from there.
    pub untrusted: bool,
    /// Where a redirect of its request may lead, beside what the tool's settings say; `None`: they alone say it.
    pub redirects: Option<Vec<AddressPattern>>,
    /// The trace that it belongs to, in the words of `traceparent`.
    pub traceparent: Option<Arc<str>>,
}

/// Takes lines that say how far a call is. Who makes it reads them from the other end.
#[derive(Clone)]
pub struct Progress(mpsc::Sender<String>);

impl Progress {
    /// With the end that lines come out of.
    pub fn new() -> (Self, mpsc::Receiver<String>) {
        let (send, lines) = mpsc::channel(LINES_WAITING);
        (Self(send), lines)
    }

    /// Sends a line. It is dropped where nobody keeps up with reading.
    pub(super) fn say(&self, line: &str) {
        let _ = self.0.try_send(secret::redact(line).into_owned());
    }
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    pub result: Value,
    /// What it found wrong or right.
    pub findings: Vec<Finding>,
    /// What it could not find out this time, for the record of its run or slot.
    pub warnings: Vec<String>,
    /// This time it gave data from outside, although that is not said of the tool.
    pub untrusted: bool,
    /// Items that report the same as one of the result, by the `id` of that: whoever has seen the one has
    /// seen the others.
    pub doubles: HashMap<String, Vec<Value>>,
}

impl ToolOutput {
    /// A result without findings.
    pub(super) fn of(result: Value) -> Self {
        Self { result, findings: Vec::new(), warnings: Vec::new(), untrusted: false, doubles: HashMap::new() }
    }
}

/// One call of one tool, its arguments checked.
#[derive(Clone)]
pub(super) struct Call {
    /// Name of the tool or of its instance.
    pub(super) tool: String,
    /// What the caller says; fits the schema.
    pub(super) args: Value,
    /// What the configuration says.
    pub(super) settings: Arc<ToolSettings>,
    /// For tools that can give a part when their time is nearly up. The dispatcher holds it.
    pub(super) bound: Duration,
    pub(super) context: CallContext,
}

impl Call {
    /// The arguments as what the tool takes.
    pub(super) fn arguments<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        T::deserialize(&self.args)
            .map_err(|error| ToolError::Arguments(format!("tool `{}`: {error}", self.tool)))
    }
}

/// Lines of progress that wait to be read.
const LINES_WAITING: usize = 64;

/// What an instance of a tool is, by its settings.
pub(super) struct About {
    /// What a call may do, at the worst.
    pub(super) effect: Effect,
    /// Calls that only look although the tool can do more.
    pub(super) reads_when: Option<ReadsWhen>,
    /// What it gives comes from the outside world.
    pub(super) untrusted: bool,
}

impl About {
    /// A tool that stays on this machine, and gives nothing but what its owner configured.
    pub(super) fn local() -> Self {
        Self { effect: Effect::Read, reads_when: None, untrusted: false }
    }
}
