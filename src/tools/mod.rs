//! The tools: what there is, and the only door to it. [`Tools::call`] checks the arguments, bounds time
//! and size, and keeps a panic from spreading; each tool is a file of its own that may rely on this.
//!
//! Whether an agent may call a tool, and what its result is good for, is decided elsewhere.
use crate::domain::{AgentId, Effect, Finding, Fleet, ReadsWhen, RunId, ToolDef, ToolOffer, nearest};
use crate::secret;
use crate::store::Store;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub use archive::{Ask as ArchiveAsk, Range as ArchiveRange};
pub use mcp::Servers;

mod archive;
mod blocking;
mod catalog;
mod dispatch;
mod feed;
mod files;
mod http;
pub mod mcp;
mod mounts;
mod notes;
mod probe;
mod report;
pub mod s3;
mod settings;
mod shell;
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
    /// False: an MCP server tells of it in a way that can't be used.
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

    /// What a call with these arguments may do, at the worst.
    fn effect_of(&self, args: &Value) -> Effect {
        match &self.reads_when {
            Some(reads) if reads.holds(args) => Effect::Read,
            _ => self.effect,
        }
    }
}

/// For whom a tool is called.
#[derive(Clone, Default)]
pub struct CallContext {
    /// The agent, unless a person calls by hand.
    pub agent: Option<AgentId>,
    /// The run.
    pub run: Option<RunId>,
    /// Bound of the whole call.
    pub timeout: Option<Duration>,
    /// Equal in each try of the same call, another for each other call. For tools that can hand it on.
    pub idempotency_key: Option<String>,
    /// For tools that keep something for the agent.
    pub store: Option<Store>,
    /// The arguments as a person wrote them, before their places were filled. `None`: a model chose them.
    pub written: Option<Value>,
    /// Of a gate: fields that tell its items apart. What the agent has seen of them is of no use to it.
    pub novel_by: Vec<String>,
    /// For tools that take long: where they say how far they are.
    pub progress: Option<Progress>,
    /// The caller has read data from outside: what it says now may come from there.
    pub untrusted: bool,
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

    /// Says a line. Where nobody keeps up with reading, it is left out.
    fn say(&self, line: &str) {
        let _ = self.0.try_send(secret::redact(line).into_owned());
    }
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// Its result.
    pub result: Value,
    /// What it found wrong or right (only `probe` and `feed`).
    pub findings: Vec<Finding>,
    /// What it could not find out this time, for the record of its run or slot (only `probe` and `feed`).
    pub warnings: Vec<String>,
    /// This time it gave data from outside, although that is not said of the tool (only `recall`).
    pub untrusted: bool,
    /// What tells the same as one of the items of the result, by the `id` of that (only `feed`): whoever was told the
    /// one was told the others.
    pub doubles: HashMap<String, Vec<Value>>,
}

impl ToolOutput {
    /// A result without findings.
    fn of(result: Value) -> Self {
        Self { result, findings: Vec::new(), warnings: Vec::new(), untrusted: false, doubles: HashMap::new() }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// No tool of that name; the text suggests the nearest.
    #[error("{0}")]
    Unknown(String),
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
    /// It was asked for, and whether it was done is not known.
    #[error("{0}")]
    Unsure(String),
}

impl ToolError {
    /// May the call have done what it was to do? Then one that is not harmless to repeat must not be
    /// repeated.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Unsure(_) => true,
            Self::Unknown(_) | Self::Arguments(_) | Self::Failed(_) => false,
        }
    }
}

/// What a conversation may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Offers {
    /// The tools.
    pub tools: Vec<ToolOffer>,
    /// What is not as the configuration wants it, and left out.
    pub warnings: Vec<String>,
}

/// The tools of one configuration. The only door to them.
#[derive(Debug)]
pub struct Tools {
    entries: BTreeMap<String, Entry>,
    servers: Servers,
}

/// One tool.
#[derive(Debug)]
struct Entry {
    info: ToolInfo,
    /// What runs.
    runs: catalog::Runs,
    /// What the configuration says of this instance, without its `type`.
    settings: Arc<Value>,
}

/// One call of one tool, its arguments checked.
#[derive(Clone)]
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

impl Entry {
    /// A probe whose caller says what is to be checked, or an archive whose caller says from where to where.
    /// Fine for a person, who could run a command anyway, and for arguments from the configuration; not
    /// for a model.
    fn runs_what_it_is_told(&self) -> bool {
        let laid_down = match self.runs {
            catalog::Runs::Probe => "checks",
            catalog::Runs::ArchiveRows => "from",
            _ => return false,
        };
        self.settings.get(laid_down).is_none()
    }
}

impl Tools {
    /// Does a call of this tool move as much as its time allows, so that it should be given all there is?
    pub fn takes_all_time(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.runs == catalog::Runs::ArchiveRows)
    }

    /// Asks an archive: a tool of type `archive_rows`, or that tool itself with the settings in `args`.
    pub async fn ask_archive(
        &self,
        name: &str,
        args: &Value,
        ask: &ArchiveAsk,
        context: &CallContext,
    ) -> Result<Value, ToolError> {
        let entry = self.find(name)?;
        if entry.runs != catalog::Runs::ArchiveRows {
            return Err(ToolError::Arguments(format!(
                "tool `{name}` is no archive: name one of type archive_rows"
            )));
        }
        let settings =
            if entry.settings.is_object() { entry.settings.clone() } else { Arc::new(args.clone()) };
        let (ask, store) = (ask.clone(), context.store.clone());
        let bound = context.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let call = async move { archive::ask(&settings, &ask, bound, store).await.map(ToolOutput::of) };
        // A person asks; what an archive does it journals, and does once however often it is asked.
        dispatch::bounded(name, Effect::Read, bound, call).await.map(|output| output.result)
    }

    /// The built-in tools, the instances that the fleet configures, and MCP servers of its own.
    pub fn new(fleet: &Fleet) -> Self {
        Self::with_servers(fleet, Servers::new(fleet, None, Arc::default()))
    }

    /// The same with these MCP servers.
    pub fn with_servers(fleet: &Fleet, servers: Servers) -> Self {
        let mut entries: BTreeMap<_, _> =
            catalog::built_ins().map(|entry| (entry.info.name.clone(), entry)).collect();
        for (name, spec) in &fleet.tools {
            entries.insert(name.clone(), catalog::instance(name, spec));
        }
        Self { entries, servers }
    }

    /// The MCP servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// All tools, sorted by name, without those of MCP servers: see [`Servers::list`].
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
        if let Some((server, tool)) = self.of_server(name) {
            return self.call_server(server, tool, args, context).await;
        }
        let entry = self.find(name)?;
        let args = dispatch::arguments(entry, args)?;
        let bound = context.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let effect = entry.info.effect_of(&args);
        let call = Call {
            tool: name.to_owned(),
            args,
            settings: entry.settings.clone(),
            bound,
            context: context.clone(),
        };
        dispatch::bounded(name, effect, bound, entry.runs.call(call)).await
    }

    /// What a conversation may use, by the names of an agent's `tools`: built-in ones, instances,
    /// `server/tool`, and `server/*` or another pattern for all of those that a server allows. Asks the servers,
    /// all at a time, within `bound` after they have started.
    pub async fn offers(&self, names: &[String], bound: Duration) -> Result<Offers, ToolError> {
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (server, tool) in names.iter().filter_map(|name| self.of_server(name)) {
            wanted.entry(server).or_default().push(tool);
        }
        let asking = wanted.iter().map(|(server, tools)| self.servers.offered(server, tools, bound));
        let given = futures_util::future::try_join_all(asking).await?;
        let (given, warnings): (Vec<_>, Vec<_>) = given.into_iter().unzip();
        let mut given: BTreeMap<_, _> =
            wanted.into_keys().zip(given.into_iter().map(Vec::into_iter)).collect();
        let mut seen = BTreeSet::new();
        let mut offers = Offers { tools: Vec::new(), warnings: warnings.concat() };
        for name in names {
            let infos = match self.of_server(name) {
                Some((server, _)) => given.get_mut(server).and_then(Iterator::next).unwrap_or_default(),
                None => match self.find(name)? {
                    entry if entry.runs_what_it_is_told() => {
                        return Err(ToolError::Failed(format!(
                            "tool `{name}` would do anything that it is told: name one whose settings are laid down in \
                             a [tools.…] table"
                        )));
                    }
                    Entry { info, .. } => vec![info.clone()],
                },
            };
            let new = infos.into_iter().filter(|info| seen.insert(info.name.clone()));
            offers.tools.extend(new.map(|info| info.offer()));
        }
        Ok(offers)
    }

    /// Does this tool give data from outside? Of one that is not known that must be assumed.
    pub fn is_untrusted(&self, name: &str) -> bool {
        self.entries.get(name).is_none_or(|entry| entry.info.untrusted)
    }

    /// Server and tool, if this names a tool of a server.
    fn of_server<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        name.split_once('/')
            .filter(|(server, _)| self.servers.has(server) && !self.entries.contains_key(name))
    }

    async fn call_server(
        &self,
        server: &str,
        tool: &str,
        args: &Value,
        context: &CallContext,
    ) -> Result<ToolOutput, ToolError> {
        let bound = context.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let servers = self.servers.clone();
        let (name, args, of) = (format!("{server}/{tool}"), args.clone(), server);
        let (server, tool) = (server.to_owned(), tool.to_owned());
        let call = async move {
            let result = servers.call(&server, &tool, args, bound).await?;
            Ok(ToolOutput::of(result))
        };
        // The server's own bound is first, so that a server that hangs is noticed.
        let bound = bound + self.servers.time_to_start(of) + SERVER_GRACE;
        dispatch::bounded(&name, Effect::Effect, bound, call).await
    }

    fn find(&self, name: &str) -> Result<&Entry, ToolError> {
        if let Some(entry) = self.entries.get(name) {
            return Ok(entry);
        }
        Err(ToolError::Unknown(match nearest(name, self.entries.keys().map(String::as_str)) {
            Some(near) => format!("there is no tool `{name}`; did you mean `{near}`?"),
            None => format!("there is no tool `{name}`; `bgagent tool list` shows all"),
        }))
    }
}

/// Lines of progress that wait to be read.
const LINES_WAITING: usize = 64;

/// What an MCP server's call may take longer than its bound, to say why it failed.
const SERVER_GRACE: Duration = Duration::from_secs(2);

/// Bound of a call that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
