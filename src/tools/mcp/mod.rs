//! MCP servers: programs and addresses that offer tools of their own (`[mcp.…]`). Started when first
//! needed, shared by all agents, stopped when nobody needs them. What they say is data from outside.
//!
//! The protocol is `rmcp`'s. What is ours: the processes (`process`), what comes in (`wire`, `answer`,
//! `listing`), when to start again (`link`, `session`), and which tools are still what they were
//! (`pins`). A call that changes something is never tried twice: [`ToolError::may_have_happened`] says why not. One
//! that does not is, once, if its server died under it: another call may have killed it.
use super::{ToolError, ToolInfo};
use crate::domain::{Effect, Fleet, McpSpec, nearest};
use link::Link;
use listing::Listed;
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, CallToolResponse, PaginatedRequestParams};
use serde_json::{Map, Value};
use session::{InUse, Session};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

mod about;
mod answer;
mod link;
mod listing;
mod pins;
mod process;
mod session;
mod text;
mod wire;

pub use about::{About, Difference};
pub use pins::{Pin, PinChange, PinEvent, PinState, Pins};

/// Most pages of a server's list.
const MAX_PAGES: usize = 100;

/// Times that hold for each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the answer to the first message.
    pub handshake: Duration,
    /// A server that was not used for so long is stopped.
    pub idle: Duration,
    /// How long a server that is stopped may take before it is asked (SIGTERM), and again before it
    /// is killed.
    pub patience: Duration,
    /// The pause before the second start after a failure; it doubles from then on.
    pub back_off: Duration,
    /// So many starts after a failure within `window`, and then no more until some of it has passed.
    pub restarts: usize,
    /// See `restarts`.
    pub window: Duration,
    /// How long a server that did not answer a call in time may take to answer a ping.
    pub ping: Duration,
}

impl Limits {
    /// Those of the daemon.
    pub const DAEMON: Self = Self {
        handshake: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        patience: Duration::from_secs(2),
        back_off: Duration::from_secs(1),
        restarts: 5,
        window: Duration::from_secs(600),
        ping: Duration::from_secs(2),
    };
}

/// All MCP servers of a fleet.
#[derive(Clone, Debug)]
pub struct Servers {
    all: Arc<BTreeMap<String, Server>>,
    pins: Arc<Pins>,
}

#[derive(Debug)]
struct Server {
    link: Arc<Link>,
    allow: Option<Vec<String>>,
}

/// A tool of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTool {
    /// Its name is `server/tool`.
    pub info: ToolInfo,
    /// Agents may use it: `allow` names it, or there is no `allow` and its hints say that it destroys
    /// nothing.
    pub allowed: bool,
    /// Whether it is what it was.
    pub pin: PinState,
    /// What would be pinned now.
    pub hash: String,
    /// If it changed: what of it, against what is trusted.
    pub changed: Vec<Difference>,
}

impl ServerTool {
    /// May agents use it now?
    pub fn is_usable(&self) -> bool {
        self.allowed && self.pin != PinState::Changed
    }
}

impl Servers {
    /// The servers of a fleet; none is started yet. Those of `previous` that are configured alike are
    /// taken over with all that runs; the others stop when `previous` and its clones are dropped.
    pub fn new(fleet: &Fleet, previous: Option<&Self>, pins: Arc<Pins>) -> Self {
        Self::with_limits(fleet, previous, pins, Limits::DAEMON)
    }

    /// The same with other times. A server that is taken over keeps its own.
    pub fn with_limits(fleet: &Fleet, previous: Option<&Self>, pins: Arc<Pins>, limits: Limits) -> Self {
        let cwd = fleet.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let server = |(name, spec): (&String, &McpSpec)| {
            let mut spec = spec.clone();
            let allow = spec.allow.take();
            let kept = previous
                .and_then(|previous| previous.all.get(name))
                .filter(|kept| kept.link.spec == spec && kept.link.cwd == cwd)
                .map(|kept| kept.link.clone());
            let link = kept.unwrap_or_else(|| Arc::new(Link::new(name, spec, PathBuf::from(cwd), limits)));
            (name.clone(), Server { link, allow })
        };
        Self { all: Arc::new(fleet.mcp.iter().map(server).collect()), pins }
    }

    /// Is there a server of that name?
    pub fn has(&self, server: &str) -> bool {
        self.all.contains_key(server)
    }

    /// Names of all, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// The pins of all tools.
    pub fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// Accepts the tools of a server as they were seen last; see [`Pins::trust`].
    pub fn trust(&self, server: &str) -> Result<Vec<PinChange>, ToolError> {
        self.server(server)?;
        self.pins.trust(server).ok_or_else(|| {
            ToolError::Failed(format!(
                "the tools of MCP server `{server}` were not looked at yet: run `bgagent mcp list` first"
            ))
        })
    }

    /// Asks a server for its tools, also for those that may not be used. Starts it if need be.
    pub async fn list(&self, server: &str, bound: Duration) -> Result<Vec<ServerTool>, ToolError> {
        let deadline = Instant::now() + bound;
        let of = self.server(server)?;
        let (_session, listed) = self.connected(of, true, deadline).await?;
        Ok(listed.iter().map(|tool| self.seen(server, of, tool)).collect())
    }

    /// The tools of a server that an agent wants, for each wanted name; `*` stands for all that may be
    /// used. What changed is left out of those, since it was told; a name that can't be had is an error.
    pub(super) async fn offered(
        &self,
        server: &str,
        wanted: &[&str],
        bound: Duration,
    ) -> Result<Vec<Vec<ToolInfo>>, ToolError> {
        let deadline = Instant::now() + bound;
        let of = self.server(server)?;
        let (_session, listed) = self.connected(of, true, deadline).await?;
        let infos = |name: &&str| match *name {
            "*" => {
                let seen = listed.iter().map(|tool| self.seen(server, of, tool));
                Ok(seen.filter(ServerTool::is_usable).map(|tool| tool.info).collect())
            }
            name => self.usable(server, of, &listed, name).map(|tool| vec![tool.info.clone()]),
        };
        wanted.iter().map(infos).collect()
    }

    /// Calls a tool. Starts its server if need be. If the server dies under a call that changes nothing, or
    /// nothing more when it is repeated, the call is made once more.
    pub async fn call(
        &self,
        server: &str,
        tool: &str,
        args: Value,
        bound: Duration,
    ) -> Result<Value, ToolError> {
        let deadline = Instant::now() + bound;
        match self.try_call(server, tool, args.clone(), bound, deadline).await {
            Err(Broken { error, again: true }) => {
                let of = self.server(server)?;
                // One at a time: the one that kills its server does not take the others with it again.
                match tokio::time::timeout_at(deadline, of.link.again.lock()).await {
                    Ok(_alone) => {
                        let result = self.try_call(server, tool, args, bound, deadline).await;
                        result.map_err(|broken| broken.error)
                    }
                    Err(_) => Err(error),
                }
            }
            result => result.map_err(|broken| broken.error),
        }
    }

    async fn try_call(
        &self,
        server: &str,
        tool: &str,
        args: Value,
        bound: Duration,
        deadline: Instant,
    ) -> Result<Value, Broken> {
        let of = self.server(server)?;
        let (session, listed) = self.connected(of, false, deadline).await?;
        let tool = self.usable(server, of, &listed, tool)?;
        let name = &tool.info.name;
        let args = match args {
            Value::Null => Map::new(),
            Value::Object(args) => args,
            other => return Err(ToolError::Arguments(format!("tool `{name}`: {other} is no object")).into()),
        };
        let args = Value::Object(args);
        tool.check(&args).map_err(|error| ToolError::Arguments(format!("tool `{name}`: {error}")))?;
        let Value::Object(args) = args else { return Err(ToolError::Unknown(name.clone()).into()) };
        let params = CallToolRequestParams::new(tool.raw.clone()).with_arguments(args);
        // Dropping the call tells the server that nobody waits for it any more.
        match tokio::time::timeout_at(deadline, session.peer.call_tool_once(params)).await {
            Ok(answer) => {
                let died = matches!(answer, Err(ServiceError::TransportClosed));
                let again = died && tool.info.effect != Effect::Effect;
                self.answered(of, &session, name, answer).await.map_err(|error| Broken { error, again })
            }
            Err(_) => {
                of.link.timed_out(&session);
                let secs = bound.as_secs_f64().ceil() as u64;
                Err(ToolError::Timeout { tool: name.clone(), secs }.into())
            }
        }
    }

    /// Stops all that run, for good. Returns when nothing is left of them.
    pub async fn stop_all(&self) {
        futures_util::future::join_all(self.all.values().map(|server| server.link.stop())).await;
    }

    async fn answered(
        &self,
        of: &Server,
        session: &Session,
        name: &str,
        answer: Result<CallToolResponse, ServiceError>,
    ) -> Result<Value, ToolError> {
        let failed = |text: &str| ToolError::Failed(format!("tool `{name}`: {text}"));
        let unsure = |text: &str| {
            ToolError::Unsure(format!("tool `{name}`: {text}; nobody knows whether the call was carried out"))
        };
        if !matches!(answer, Err(ServiceError::TransportClosed | ServiceError::TransportSend(_))) {
            of.link.answered();
        }
        match answer {
            Ok(CallToolResponse::Complete(result)) => answer::of(result).map_err(|text| failed(&text)),
            Ok(CallToolResponse::InputRequired(_)) => {
                Err(unsure("the server wants to ask a person, and an agent has none at hand"))
            }
            Ok(_) => Err(unsure("the server made a task of the call, which we do not follow")),
            Err(ServiceError::McpError(error)) if wire::is_too_long(&error) => {
                Err(ToolError::Unsure(format!(
                    "tool `{name}`: the answer is longer than {} MiB and was dropped, though the call was carried out: \
                 ask for less",
                    wire::MAX_LINE >> 20
                )))
            }
            Err(ServiceError::McpError(error)) => Err(failed(&wire::error_text(&error))),
            Err(ServiceError::TransportSend(error)) => {
                let text = session::broken(error.error.as_ref());
                Err(if session::not_sent(error.error.as_ref()) { failed(&text) } else { unsure(&text) })
            }
            Err(ServiceError::TransportClosed) => {
                Err(unsure(&format!("its server is gone: {}", session.obituary().await)))
            }
            Err(other) => Err(unsure(&text::shown(&other.to_string()))),
        }
    }

    /// A connection, and the tools of the server. One that turns out to be dead gives way to another, once.
    async fn connected(
        &self,
        of: &Server,
        fresh: bool,
        deadline: Instant,
    ) -> Result<(InUse, Arc<Vec<Listed>>), ToolError> {
        let session = of.link.session(deadline).await?;
        match self.listed(of, &session, fresh, deadline).await {
            Ok(listed) => Ok((session, listed)),
            Err(Broken { again: true, .. }) => {
                let session = of.link.session(deadline).await?;
                let listed = self.listed(of, &session, fresh, deadline).await;
                listed.map(|listed| (session, listed)).map_err(|broken| broken.error)
            }
            Err(broken) => Err(broken.error),
        }
    }

    /// The tools of a server, asked for if that was not done yet, or they changed, or `fresh`.
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

    /// The tool of that name, if it may be used.
    fn usable<'a>(
        &self,
        server: &str,
        of: &Server,
        listed: &'a [Listed],
        tool: &str,
    ) -> Result<&'a Listed, ToolError> {
        let Some(found) = listed.iter().find(|listed| listed.name == tool || listed.raw == tool) else {
            let known = listed.iter().filter(|listed| listed.allowed(of.allow.as_deref()));
            let near = nearest(tool, known.map(|listed| listed.name.as_str()));
            return Err(ToolError::Unknown(match near {
                Some(near) => {
                    format!("there is no tool `{server}/{tool}`; did you mean `{server}/{near}`?")
                }
                None => format!("there is no tool `{server}/{tool}`; `bgagent mcp list` shows all"),
            }));
        };
        let name = &found.info.name;
        if let Some(why) = &found.unusable {
            return Err(ToolError::Failed(format!("tool `{name}` can't be used: {why}")));
        }
        if !found.allowed(of.allow.as_deref()) {
            return Err(ToolError::Failed(match of.allow {
                Some(_) => format!("tool `{name}` is not in `allow` of [mcp.{server}]"),
                None => format!(
                    "tool `{name}` may destroy something, so it must be named in `allow` of [mcp.{server}]"
                ),
            }));
        }
        if self.pins.look(server, &found.raw, &found.hash, &found.about) == PinState::Changed {
            return Err(ToolError::Failed(format!(
                "tool `{name}` is off: its description changed since it was trusted; see `bgagent mcp list`, \
                 then `bgagent mcp trust {server}`"
            )));
        }
        Ok(found)
    }

    fn seen(&self, server: &str, of: &Server, tool: &Listed) -> ServerTool {
        let pin = self.pins.look(server, &tool.raw, &tool.hash, &tool.about);
        let changed = match pin {
            PinState::Changed => {
                about::differences(self.pins.about(server, &tool.raw).as_deref(), Some(&tool.about))
            }
            PinState::New | PinState::Same => Vec::new(),
        };
        let (allowed, hash) = (tool.allowed(of.allow.as_deref()), tool.hash.clone());
        ServerTool { info: tool.info.clone(), allowed, pin, hash, changed }
    }

    fn server(&self, name: &str) -> Result<&Server, ToolError> {
        self.all.get(name).ok_or_else(|| ToolError::Unknown(format!("there is no MCP server `{name}`")))
    }
}

/// Something that did not come about, and whether it may be tried once more.
struct Broken {
    error: ToolError,
    again: bool,
}

impl From<ToolError> for Broken {
    fn from(error: ToolError) -> Self {
        Self { error, again: false }
    }
}

/// All pages of a server's list. The error says whether the server failed, or its list is no use to us;
/// without a text, the server is gone.
async fn all_pages(server: &str, session: &Session) -> Result<Vec<Listed>, (Option<String>, bool)> {
    let mut list = listing::List::of(server);
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor.take());
        let page = session.peer.list_tools(Some(params)).await.map_err(|error| {
            let text = match error {
                ServiceError::TransportClosed => None,
                ServiceError::McpError(error) => Some(wire::error_text(&error)),
                ServiceError::TransportSend(error) => Some(session::broken(error.error.as_ref())),
                other => Some(text::shown(&other.to_string())),
            };
            (text, true)
        })?;
        list.add(page.tools).map_err(|text| (Some(text), false))?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(list.done());
        }
    }
    Err((Some(format!("its list has more than {MAX_PAGES} pages")), true))
}
