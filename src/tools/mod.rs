//! The tools: what there is, and the only door to it. [`Tools::call`] checks the arguments, bounds time
//! and size, and keeps a panic from spreading; each tool is a file of its own that may rely on this.
//!
//! Whether an agent may call a tool, and what its result is good for, is decided elsewhere.
use crate::domain::{AgentId, Effect, Finding, Fleet, ReadsWhen, RunId, ToolDef, ToolOffer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

mod blocking;
mod catalog;
mod dispatch;
mod nearest;
mod probe;
mod schema;
mod settings;
mod sql;
mod system_metrics;

/// What is known of a tool without calling it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInfo {
    /// Its name.
    pub name: String,
    /// Of which built-in tool it is an instance, if it is one.
    pub kind: Option<String>,
    /// What a call may do, at the worst.
    pub effect: Effect,
    /// Calls that only look although the tool can do more.
    pub reads_when: Option<ReadsWhen>,
    /// What it gives comes from the outside world: data, never instructions.
    pub untrusted: bool,
    /// One sentence.
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
    /// False: it is not in this version.
    pub available: bool,
}

impl ToolInfo {
    /// The tool as it is offered to a conversation.
    pub fn offer(&self) -> ToolOffer {
        ToolOffer {
            def: ToolDef {
                name: self.name.clone(),
                description: self.description.clone(),
                schema: self.schema.clone(),
            },
            effect: self.effect,
            reads_when: self.reads_when.clone(),
            untrusted: self.untrusted,
        }
    }
}

/// For whom a tool is called.
#[derive(Debug, Clone, Default)]
pub struct CallContext {
    /// The agent, unless a person calls by hand.
    pub agent: Option<AgentId>,
    /// The run.
    pub run: Option<RunId>,
    /// Bound of the whole call.
    pub timeout: Option<Duration>,
    /// Equal in each try of the same call, another for each other call. For tools that can hand it on.
    pub idempotency_key: Option<String>,
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// Its result.
    pub result: Value,
    /// What it found wrong or right (only `probe`).
    pub findings: Vec<Finding>,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// No tool of that name; the text suggests the nearest.
    #[error("{0}")]
    Unknown(String),
    /// Not in this version.
    #[error("tool `{0}` is not available in this version")]
    Unavailable(String),
    /// The arguments do not fit; the text says which and how.
    #[error("{0}")]
    Arguments(String),
    /// It took too long.
    #[error("tool `{tool}` did not answer within {secs} s")]
    Timeout {
        /// Which.
        tool: String,
        /// The bound.
        secs: u64,
    },
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// The tools of one configuration. The only door to them.
#[derive(Debug)]
pub struct Tools {
    entries: BTreeMap<String, Entry>,
    /// Names of MCP servers: their tools are known to exist, though not in this version.
    servers: BTreeSet<String>,
}

/// One tool.
#[derive(Debug)]
struct Entry {
    info: ToolInfo,
    /// What runs. `None`: not in this version.
    runs: Option<catalog::Runs>,
    /// What the configuration says of this instance, without its `type`.
    settings: Arc<Value>,
}

/// One call of one tool, its arguments checked.
#[derive(Debug, Clone)]
struct Call {
    /// Name of the tool or of its instance.
    tool: String,
    /// What the caller says; fits the schema.
    args: Value,
    /// What the configuration says.
    settings: Arc<Value>,
    /// For tools that can give a part when their time is nearly up. The dispatcher holds it.
    bound: Duration,
    /// For whom.
    context: CallContext,
}

impl Tools {
    /// The built-in tools and the instances that the fleet configures.
    pub fn new(fleet: &Fleet) -> Self {
        let mut entries: BTreeMap<_, _> =
            catalog::built_ins().map(|entry| (entry.info.name.clone(), entry)).collect();
        for (name, spec) in &fleet.tools {
            entries.insert(name.clone(), catalog::instance(name, spec));
        }
        Self { entries, servers: fleet.mcp.keys().cloned().collect() }
    }

    /// All tools, sorted by name.
    pub fn list(&self) -> Vec<ToolInfo> {
        self.entries.values().map(|entry| entry.info.clone()).collect()
    }

    /// Calls one. Validates the arguments, bounds time and size of the result.
    pub async fn call(
        &self,
        name: &str,
        args: &Value,
        context: &CallContext,
    ) -> Result<ToolOutput, ToolError> {
        let entry = self.find(name)?;
        let runs = entry.runs.ok_or_else(|| ToolError::Unavailable(name.to_owned()))?;
        let args = dispatch::arguments(entry, args)?;
        let bound = context.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let call =
            Call { tool: name.to_owned(), args, settings: entry.settings.clone(), bound, context: context.clone() };
        dispatch::bounded(name, bound, runs.call(call)).await
    }

    fn find(&self, name: &str) -> Result<&Entry, ToolError> {
        if let Some(entry) = self.entries.get(name) {
            return Ok(entry);
        }
        if name.split_once('/').is_some_and(|(server, _)| self.servers.contains(server)) {
            return Err(ToolError::Unavailable(name.to_owned()));
        }
        Err(ToolError::Unknown(match nearest::nearest(name, self.entries.keys().map(String::as_str)) {
            Some(near) => format!("there is no tool `{name}`; did you mean `{near}`?"),
            None => format!("there is no tool `{name}`; `bgagent tool list` shows all"),
        }))
    }
}

/// Bound of a call that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
