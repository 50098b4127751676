//! MCP servers: programs and addresses that provide tools (`[mcp.…]`). Started on demand, shared by all agents, stopped when
//! idle. Their output is untrusted data.
//!
//! The protocol is implemented by `rmcp`. This module adds the processes (`process`), sanitizing of input (`wire`, `http`,
//! `mend`, `answer`, `listing`), calls (`call`), restarts (`link`, `session`), and the detection of changed tools (`pins`). A
//! call with side effects is never repeated: [`ToolError::may_have_happened`] explains why. One without is repeated once if its
//! server died during it: another call may have killed the server.
use crate::domain::{
    Effect, Fleet, McpSpec, McpTrigger, Outward, Schedule, ToolError, ToolInfo, ToolOffer, glob, nearest,
};
use events::EventDesk;
use link::Link;
use listing::{Listed, Rules};
use rmcp::ServiceError;
use rmcp::model::PaginatedRequestParams;
use session::{InUse, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

mod about;
mod answer;
mod call;
mod events;
mod extension;
mod http;
mod limits;
mod link;
mod listing;
mod mend;
mod pins;
mod process;
mod session;
mod text;
mod wire;

pub use about::{About, Difference};
pub use events::{KeptServer, NoEvents, Polled, ServerEvent};
pub use limits::Limits;
pub use pins::{Keeping, Pin, PinChange, PinEvent, PinNews, PinState, Pins, Untrusted};

/// Maximum pages of a server's list.
const MAX_PAGES: usize = 100;

/// All MCP servers of a fleet.
#[derive(Clone, Debug)]
pub struct Servers {
    all: Arc<BTreeMap<String, Server>>,
    pins: Arc<Pins>,
}

#[derive(Debug)]
struct Server {
    link: Arc<Link>,
    rules: Rules,
    /// The event types that agents wait for.
    awaited: BTreeSet<String>,
}

/// A tool of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTool {
    /// Its name is `server/tool`.
    pub info: ToolInfo,
    /// As the server names it.
    raw: String,
    /// The configuration allows it: `allow` names it, or there is no `allow`, and its hints, or `effects`, say that it is not
    /// destructive.
    pub allowed: bool,
    /// Whether it matches its pin.
    pub pin: PinState,
    /// What would be pinned now.
    pub hash: String,
    /// The differences from what is trusted, if it changed.
    pub changed: Vec<Difference>,
    /// Why no agent may use it, if so.
    pub why_not: Option<String>,
    /// A warning if its hints are stricter than `effects`.
    stricter: Option<String>,
}

impl ServerTool {
    /// Returns whether agents may use it now.
    pub fn is_usable(&self) -> bool {
        self.allowed && self.pin == PinState::Same
    }

    /// Returns its name without that of its server.
    fn plain_name(&self) -> &str {
        self.info.name.split_once('/').map_or(&self.info.name, |(_, name)| name)
    }
}

impl Servers {
    /// Creates the servers of a fleet; none is started yet. Those of `previous` with the same configuration are reused with all
    /// that runs; the others stop when `previous` and its clones are dropped.
    pub fn new(fleet: &Fleet, previous: Option<&Self>, pins: Arc<Pins>) -> Self {
        Self::with_limits(fleet, previous, pins, Limits::DAEMON)
    }

    /// The same with other time limits. A reused server keeps its own.
    pub fn with_limits(fleet: &Fleet, previous: Option<&Self>, pins: Arc<Pins>, limits: Limits) -> Self {
        let cwd = fleet.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let server = |(name, spec): (&String, &McpSpec)| {
            let mut spec = spec.clone();
            let rules = Rules {
                allow: spec.allow.take(),
                deny: std::mem::take(&mut spec.deny),
                effects: std::mem::take(&mut spec.effects),
            };
            let cwd = spec.cwd.clone().unwrap_or_else(|| cwd.to_owned());
            let kept = previous
                .and_then(|previous| previous.all.get(name))
                .filter(|kept| kept.link.spec == spec && kept.link.cwd == cwd)
                .map(|kept| kept.link.clone());
            let link = kept.unwrap_or_else(|| Arc::new(Link::new(name, spec, cwd, limits)));
            let awaited = fleet.agents.iter().filter_map(|agent| match &agent.schedule {
                Schedule::Mcp(mcp) if *mcp.server == **name => Some(mcp.event.to_string()),
                _ => None,
            });
            (name.clone(), Server { link, rules, awaited: awaited.collect() })
        };
        Self { all: Arc::new(fleet.mcp.iter().map(server).collect()), pins }
    }

    /// Returns a tool of a server in the form offered to a conversation.
    pub fn offer(&self, server: &str, info: &ToolInfo) -> ToolOffer {
        let over_network = self.all.get(server).is_none_or(|server| server.link.spec.is_over_network());
        let outward = Outward::of_server(over_network, &info.schema);
        ToolOffer { outward, server: Some(server.to_owned()), ..info.offer() }
    }

    /// Returns whether there is a server of that name.
    pub fn has(&self, server: &str) -> bool {
        self.all.contains_key(server)
    }

    /// Returns the names of all servers, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// Returns the pins of all tools.
    pub fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// Trusts the tools of a server as last seen; see [`Pins::trust`].
    pub fn trust(
        &self,
        server: &str,
        shown: Option<&BTreeMap<String, String>>,
    ) -> Result<Vec<PinChange>, ToolError> {
        self.trust_and(server, shown, |_| None)
    }

    /// The same, for callers that wait until it is recorded; see [`Pins::trust_and`].
    pub fn trust_and(
        &self,
        server: &str,
        shown: Option<&BTreeMap<String, String>>,
        keeping: impl FnOnce(&[PinChange]) -> Option<Keeping>,
    ) -> Result<Vec<PinChange>, ToolError> {
        self.server(server)?;
        self.pins.trust_and(server, shown, keeping).map_err(|why| {
            ToolError::Untrusted(match why {
                Untrusted::NotSeen => format!(
                    "the tools of MCP server `{server}` were not looked at yet: run `bgagent mcp list` first"
                ),
                Untrusted::Others(names) => format!(
                    "MCP server `{server}` describes {} differently from what was shown: run `bgagent mcp trust {server}` \
                     again",
                    names.join(", ")
                ),
            })
        })
    }

    /// Lists a server's tools, including those that may not be used. Starts it if needed, which may take its `start_timeout` in
    /// addition to `bound`.
    pub async fn list(&self, server: &str, bound: Duration) -> Result<Vec<ServerTool>, ToolError> {
        let of = self.server(server)?;
        let (_session, listed) = self.connected(of, true, bound).await?;
        Ok(listed.iter().map(|tool| self.seen(server, of, tool)).collect())
    }

    /// Lists the event types of a server that declares events, or that an agent waits for. `None`: it has none.
    ///
    /// # Errors
    /// It does not answer, or not in the form of the protocol.
    pub async fn list_events(
        &self,
        server: &str,
        bound: Duration,
    ) -> Result<Option<Vec<ServerEvent>>, ToolError> {
        self.events(server)?.list(bound).await
    }

    /// Polls a server for events after a cursor. Starts it if needed, which may take its `start_timeout` in addition to
    /// `bound`.
    ///
    /// # Errors
    /// [`NoEvents`].
    pub async fn poll_events(
        &self,
        by: &McpTrigger,
        cursor: Option<&str>,
        most: usize,
        bound: Duration,
    ) -> Result<Polled, NoEvents> {
        let desk = self.events(&by.server).map_err(|error| NoEvents::Unfit(error.to_string()))?;
        desk.poll(by, cursor, most, bound).await
    }

    fn events<'a>(&'a self, server: &'a str) -> Result<EventDesk<'a>, ToolError> {
        let of = self.server(server)?;
        Ok(EventDesk { server, link: &of.link, awaited: &of.awaited, pins: &self.pins })
    }

    /// Returns the parts of the configuration without effect on these tools: names and patterns in `allow`, `deny` and
    /// `effects` that match none of them, and `effects` of a tool whose hints are stricter.
    pub fn without_effect(&self, server: &str, tools: &[ServerTool]) -> Vec<String> {
        let Ok(of) = self.server(server) else { return Vec::new() };
        let names: Vec<&str> = tools.iter().flat_map(|tool| [tool.raw.as_str(), tool.plain_name()]).collect();
        let mut all = of.rules.without_effect(server, &names);
        all.extend(tools.iter().filter_map(|tool| tool.stricter.clone()));
        all
    }

    /// Returns the tools of a server that an agent wants, for each name or pattern, and warnings about missing ones. A name
    /// that is not available is an error, and so is a pattern without matches.
    pub async fn offered(
        &self,
        server: &str,
        wanted: &[&str],
        bound: Duration,
    ) -> Result<(Vec<Vec<ToolInfo>>, Vec<String>), ToolError> {
        let of = self.server(server)?;
        let (_session, listed) = self.connected(of, true, bound).await?;
        let seen: Vec<ServerTool> = listed.iter().map(|tool| self.seen(server, of, tool)).collect();
        let mut warnings = self.without_effect(server, &seen);
        let mut all = Vec::with_capacity(wanted.len());
        for name in wanted {
            if !listing::is_pattern(name) {
                all.push(vec![self.usable(server, of, &listed, name)?.info(&of.rules)]);
                continue;
            }
            let named = |tool: &&ServerTool| glob(name, &tool.raw) || glob(name, tool.plain_name());
            let (usable, left_out): (Vec<_>, Vec<_>) =
                seen.iter().filter(named).partition(|tool| tool.is_usable());
            if usable.is_empty() {
                let text = nothing(server, name, &left_out, &of.rules);
                let is_new = |tool: &&ServerTool| tool.allowed && tool.pin == PinState::New;
                return Err(match left_out.iter().any(is_new) {
                    true => ToolError::Untrusted(text),
                    false => ToolError::Failed(text),
                });
            }
            let is_odd = |tool: &&&ServerTool| {
                !tool.info.available
                    || tool.pin == PinState::Changed
                    || tool.allowed && tool.pin == PinState::New
            };
            let odd = left_out.iter().filter(is_odd);
            warnings.extend(odd.filter_map(|tool| {
                tool.why_not.as_ref().map(|why| format!("tool `{}` is left out: {why}", tool.info.name))
            }));
            all.push(usable.into_iter().map(|tool| tool.info.clone()).collect());
        }
        Ok((all, warnings))
    }

    /// Returns a tool's effect according to the configuration. Its own hints may be stricter; the server is not asked.
    pub fn configured_effect(&self, server: &str, tool: &str) -> Option<Effect> {
        Some(self.all.get(server)?.rules.class(tool, tool))
    }

    /// Stops all running servers permanently. Returns when nothing is left of them.
    pub async fn stop_all(&self) {
        futures_util::future::join_all(self.all.values().map(|server| server.link.stop())).await;
    }

    /// Returns the extra time for a call of this server's tools in addition to its own timeout: the server may have to be
    /// started first.
    pub fn time_to_start(&self, server: &str) -> Duration {
        self.all.get(server).map_or(Duration::ZERO, |of| of.link.time_to_start())
    }

    /// Returns a connection, and the tools of the server. A dead connection is replaced once.
    async fn connected(
        &self,
        of: &Server,
        fresh: bool,
        bound: Duration,
    ) -> Result<(InUse, Arc<Vec<Listed>>), ToolError> {
        let session = of.link.session(Instant::now() + bound).await?;
        match self.listed(of, &session, fresh, Instant::now() + bound).await {
            Ok(listed) => Ok((session, listed)),
            Err(Broken { again: true, .. }) => {
                let session = of.link.session(Instant::now() + bound).await?;
                let listed = self.listed(of, &session, fresh, Instant::now() + bound).await;
                listed.map(|listed| (session, listed)).map_err(|broken| broken.error)
            }
            Err(broken) => Err(broken.error),
        }
    }

    /// Returns the tools of a server; they are requested on first use, after a change, or if `fresh`.
    async fn listed(
        &self,
        of: &Server,
        session: &InUse,
        fresh: bool,
        deadline: Instant,
    ) -> Result<Arc<Vec<Listed>>, Broken> {
        let link = &of.link;
        let asking = async {
            let mut tools = session.tools.lock().await;
            let stale = session.signals.stale.swap(false, Relaxed);
            match &*tools {
                Some(tools) if !stale && !fresh => return Ok(tools.clone()),
                _ => *tools = None,
            }
            let all = all_pages(&link.name, session).await;
            if !matches!(all, Err((_, true))) {
                link.answered();
            }
            let listed = Arc::new(all?);
            *tools = Some(listed.clone());
            Ok(listed)
        };
        match tokio::time::timeout_at(deadline, asking).await {
            Ok(Ok(listed)) => Ok(listed),
            Ok(Err((Some(text), false))) => Err(ToolError::Failed(text).into()),
            Ok(Err((Some(text), _))) => {
                Err(link.failed(&format!("its tools can't be listed: {text}")).into())
            }
            Ok(Err((None, _))) => {
                let end = session.obituary().await;
                let error = link.failed(&format!("it is gone, its tools can't be listed: {end}"));
                Err(Broken { error, again: true })
            }
            Err(_) => {
                link.timed_out(session);
                Err(link.failed("it did not list its tools in time").into())
            }
        }
    }

    /// Returns the tool of that name, if it may be used.
    fn usable<'a>(
        &self,
        server: &str,
        of: &Server,
        listed: &'a [Listed],
        tool: &str,
    ) -> Result<&'a Listed, ToolError> {
        let Some(found) = listed.iter().find(|listed| listed.name == tool || listed.raw == tool) else {
            let known = listed.iter().filter(|listed| listed.allowed(&of.rules));
            let near = nearest(tool, known.map(|listed| listed.name.as_str()));
            return Err(ToolError::Unknown(match near {
                Some(near) => {
                    format!("there is no tool `{server}/{tool}`; did you mean `{server}/{near}`?")
                }
                None => format!("there is no tool `{server}/{tool}`; `bgagent mcp list` shows all"),
            }));
        };
        let seen = self.seen(server, of, found);
        match (seen.why_not, seen.allowed && seen.pin == PinState::New) {
            (Some(why), true) => Err(ToolError::Untrusted(format!("tool `{}` {why}", found.full_name()))),
            (Some(why), false) => Err(ToolError::Failed(format!("tool `{}` {why}", found.full_name()))),
            (None, _) => Ok(found),
        }
    }

    fn seen(&self, server: &str, of: &Server, tool: &Listed) -> ServerTool {
        // unusable tools need no trust
        let pin = match tool.unusable {
            Some(_) => PinState::Same,
            None => self.pins.look(server, &tool.raw, &tool.hash, &tool.about),
        };
        let changed = match pin {
            PinState::Changed => {
                about::differences(self.pins.about(server, &tool.raw).as_deref(), Some(&tool.about))
            }
            PinState::New | PinState::Same => Vec::new(),
        };
        let allowed = tool.allowed(&of.rules);
        let why_not = match pin {
            PinState::Changed if allowed => Some(format!(
                "is off: its description changed since it was trusted; see `bgagent mcp list`, then `bgagent mcp \
                 trust {server}`"
            )),
            PinState::New if allowed => Some(format!(
                "is off: nobody has trusted it yet; `bgagent mcp trust {server}` shows what it says of itself, and asks"
            )),
            _ => tool.why_not(server, &of.rules),
        };
        ServerTool {
            info: tool.info(&of.rules),
            stricter: tool.stricter(server, &of.rules),
            raw: tool.raw.clone(),
            allowed,
            pin,
            hash: tool.hash.clone(),
            changed,
            why_not,
        }
    }

    fn server(&self, name: &str) -> Result<&Server, ToolError> {
        self.all.get(name).ok_or_else(|| ToolError::Unknown(format!("there is no MCP server `{name}`")))
    }
}

/// An operation that failed, and whether it may be retried.
struct Broken {
    error: ToolError,
    again: bool,
}

impl From<ToolError> for Broken {
    fn from(error: ToolError) -> Self {
        Self { error, again: false }
    }
}

/// Explains why a pattern matches no tool, and what to do.
fn nothing(server: &str, pattern: &str, left_out: &[&ServerTool], rules: &Rules) -> String {
    let (all, of) = (left_out.len(), format!("`{server}/{pattern}` gives no tool"));
    let shown: Vec<&str> = left_out.iter().take(5).map(|tool| tool.plain_name()).collect();
    let shown = format!("{}{}", shown.join(", "), if all > shown.len() { ", …" } else { "" });
    let whys: BTreeSet<&str> = left_out.iter().filter_map(|tool| tool.why_not.as_deref()).collect();
    let whys: Vec<&str> = whys.into_iter().collect();
    match (all, &whys[..]) {
        (0, _) => {
            format!("{of}: the server has none of that name; `bgagent mcp list {server}` shows what it has")
        }
        (1, [why]) => format!("{of}: the only one, `{shown}`, {why}"),
        (_, [why]) => format!("{of}: each of the {all} ({shown}) {why}"),
        _ if rules.allow.is_none() => format!(
            "{of}: it has {all} ({shown}), and of none it says that it destroys nothing: name those that are needed \
             in `allow` of [mcp.{server}]"
        ),
        _ => format!("{of}: none of the {all} ({shown}) may be used; `bgagent mcp list {server}` says why"),
    }
}

/// Reads all pages of a server's list. The error says whether the server failed or its list is invalid; without a text, the
/// connection is lost.
async fn all_pages(server: &str, session: &Session) -> Result<Vec<Listed>, (Option<String>, bool)> {
    let mut list = listing::List::of(server);
    let mut cursor: Option<String> = None;
    let mut seen = BTreeSet::new();
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor.take());
        let page = session.peer.list_tools(Some(params)).await.map_err(|error| {
            let text = match error {
                ServiceError::TransportClosed => None,
                ServiceError::McpError(error) => Some(wire::error_text(&error)),
                ServiceError::TransportSend(error) => Some(session.broken(error.error.as_ref())),
                other => Some(text::shown(&other.to_string())),
            };
            (text, true)
        })?;
        list.add(page.tools).map_err(|text| (Some(text), false))?;
        // An empty cursor is none, and a repeated one would loop.
        cursor = page.next_cursor.filter(|cursor| !cursor.is_empty() && seen.insert(cursor.clone()));
        if cursor.is_none() {
            return Ok(list.done());
        }
    }
    Err((Some(format!("its list has more than {MAX_PAGES} pages")), true))
}
