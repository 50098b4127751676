//! The tools, and the only entry point to them. [`Tools::call`] checks the arguments, bounds time and size,
//! and contains panics; each tool is a file of its own that may rely on this.
//!
//! Whether an agent may call a tool, and how its result may be used, is decided elsewhere.
use crate::domain::{Effect, Fleet, ToolError, ToolInfo, ToolOffer, ToolSettings, nearest};
use crate::mcp::Servers;
use catalog::Entry;
use contract::Call;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use contract::{CallContext, Progress, ToolOutput};
pub use files::read_beneath;

mod archive_rows;
mod catalog;
mod contract;
mod dispatch;
mod feed;
mod files;
mod http;
mod mounts;
mod notes;
mod probe;
mod report;
mod s3;
mod settings;
mod shell;
mod sql;
mod system_metrics;

/// The tools offered to a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Offers {
    pub tools: Vec<ToolOffer>,
    /// Tools that were left out because they do not match the configuration.
    pub warnings: Vec<String>,
}

/// The tools of one configuration. The only entry point to them.
#[derive(Debug)]
pub struct Tools {
    entries: BTreeMap<String, Entry>,
    servers: Servers,
}

impl Tools {
    /// Creates the built-in tools, the instances that the fleet configures, and MCP servers of its own.
    pub fn new(fleet: &Fleet) -> Self {
        Self::with_servers(fleet, Servers::new(fleet, None, Arc::default()))
    }

    /// Creates the tools with these MCP servers.
    pub fn with_servers(fleet: &Fleet, servers: Servers) -> Self {
        let mut entries: BTreeMap<_, _> =
            catalog::built_ins().map(|entry| (entry.info.name.clone(), entry)).collect();
        for (name, spec) in &fleet.tools {
            entries.insert(name.clone(), catalog::instance(name, spec));
        }
        Self { entries, servers }
    }

    /// Returns the MCP servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Lists all tools, sorted by name, without those of MCP servers: see [`Servers::list`].
    pub fn list(&self) -> Vec<ToolInfo> {
        self.entries.values().map(|entry| entry.info.clone()).collect()
    }

    /// Describes a tool, if it exists; `None` for tools of MCP servers.
    pub fn info(&self, name: &str) -> Option<&ToolInfo> {
        self.entries.get(name).map(|entry| &entry.info)
    }

    /// Returns the configuration of a tool.
    ///
    /// # Errors
    /// There is no tool of that name; the text suggests the nearest.
    pub fn settings(&self, name: &str) -> Result<&ToolSettings, ToolError> {
        self.find(name).map(|entry| &*entry.settings)
    }

    /// Calls a tool. Validates the arguments, bounds time and size of the result.
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
        dispatch::bounded(name, effect, bound, catalog::call(entry.kind, call)).await
    }

    /// Resolves the names of an agent's `tools` to the tools offered to a conversation: built-in ones,
    /// instances, `server/tool`, and `server/*` or another pattern for all matching tools that a server
    /// allows. Queries the servers concurrently, within `bound` after they have started.
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
            let new: Vec<ToolOffer> = match self.of_server(name) {
                Some((server, _)) => {
                    let infos = given.get_mut(server).and_then(Iterator::next).unwrap_or_default();
                    infos.iter().map(|info| self.servers.offer(server, info)).collect()
                }
                None => match self.find(name)? {
                    entry if entry.caller_decides() => {
                        return Err(ToolError::Failed(format!(
                            "tool `{name}` would do anything that it is told: name one whose settings are laid down in \
                             a [tools.…] table"
                        )));
                    }
                    entry => vec![entry.offer()],
                },
            };
            offers.tools.extend(new.into_iter().filter(|offer| seen.insert(offer.def.name.clone())));
        }
        Ok(offers)
    }

    /// Returns the strongest effect that a call may have; `None` if there is no such tool. For a tool of an
    /// MCP server, it is the configured effect.
    pub fn effect_of(&self, name: &str, args: &Value) -> Option<Effect> {
        if let Some((server, tool)) = self.of_server(name) {
            return self.servers.configured_effect(server, tool);
        }
        self.entries.get(name).map(|entry| entry.info.effect_of(args))
    }

    /// Returns whether this tool's results contain data from outside; assumed of an unknown tool.
    pub fn is_untrusted(&self, name: &str) -> bool {
        self.entries.get(name).is_none_or(|entry| entry.info.untrusted)
    }

    /// Splits the name into server and tool, if it names a tool of a server.
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
        let trace = context.traceparent.clone();
        let call = async move {
            let result = servers.call(&server, &tool, args, bound, trace.as_deref()).await?;
            Ok(ToolOutput::of(result))
        };
        // The server's own timeout fires first, so that a server that hangs is noticed.
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

/// Extra time on top of the bound of an MCP server's call, so that the server's own timeout fires first.
const SERVER_GRACE: Duration = Duration::from_secs(2);

/// Timeout of a call that does not set one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
