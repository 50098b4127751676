//! What client and daemon say to each other: JSON-RPC 2.0, one message per line (section 10).
//!
//! The whole protocol is the table of methods in this file. Its types are of the wire alone: they
//! change when the contract changes, whatever happens inside. Who carries the lines is left to
//! `client` and `daemon`.
mod codec;
mod envelope;
mod method;
mod params;
mod views;

pub use codec::{LineError, LineReader, MAX_LINE};
pub use envelope::{
    Call, Code, Message, Notification, Response, RpcError, decode_call, notification_line, response_line,
};
pub use method::Method;
pub use params::*;
pub use views::*;

use serde_json::Value;

/// Versions of the protocol that this program speaks, oldest first.
pub const PROTOCOLS: &[u32] = &[1];

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $wire:literal ($params:ty) -> $reply:ty;)*) => {
        /// Every request there is. The daemon matches on it without a wildcard.
        #[derive(Debug)]
        pub enum Request { $($(#[$doc])* $name($params),)* }

        $($(#[$doc])* #[derive(Debug)] pub enum $name {}
        impl Method for $name {
            const NAME: &'static str = $wire;
            type Params = $params;
            type Reply = $reply;
        })*

        impl Request {
            /// Names of all methods, in the order of the contract.
            pub const NAMES: &'static [&'static str] = &[$($wire,)*];

            /// Decodes a call. Unknown names and wrong parameters are told apart.
            pub fn decode(method: &str, params: Value) -> Result<Self, RpcError> {
                // a call without parameters is a call with an empty object
                let params = if params.is_null() { Value::Object(Default::default()) } else { params };
                match method {
                    $($wire => serde_json::from_value(params).map(Self::$name).map_err(|error| {
                        RpcError::new(Code::InvalidParams, format!("{}: {error}", $wire))
                    }),)*
                    _ => Err(RpcError::new(Code::NoSuchMethod, format!("no method `{method}`"))
                        .hint("an older daemon? compare `bgagent --version` with `bgagent status`")),
                }
            }
        }
    };
}

methods! {
    /// Agrees on a version of the protocol. The first call of each connection. Frozen.
    Hello = "hello" (HelloParams) -> HelloView;
    /// Answers at once. Frozen.
    Ping = "ping" (NoParams) -> PongView;
    /// `stopped` → `active`; as `resume_agent` on a paused one (section 3).
    StartAgent = "start_agent" (TargetParams) -> Changed;
    /// `active` → `paused`.
    PauseAgent = "pause_agent" (PauseParams) -> Changed;
    /// `paused` → `active`.
    ResumeAgent = "resume_agent" (TargetParams) -> Changed;
    /// Any → `stopped`.
    StopAgent = "stop_agent" (StopParams) -> Changed;
    /// Everything of one agent.
    GetAgentStatus = "get_agent_status" (AgentParams) -> AgentDetail;
    /// One entry per agent.
    ListAgents = "list_agents" (ListParams) -> Vec<AgentView>;
    /// Events, old ones first, then live; as notifications `event`.
    StreamAgentEvents = "stream_agent_events" (StreamParams) -> SubscriptionView;
    /// Ends a subscription.
    Unsubscribe = "unsubscribe" (UnsubscribeParams) -> NoView;
    /// A manual run.
    RunAgent = "run_agent" (RunParams) -> RunStarted;
    /// Ends one run.
    CancelRun = "cancel_run" (CancelParams) -> RunView;
    /// Leaves out the next slot of an agent.
    SkipAgent = "skip_agent" (AgentParams) -> SkipView;
    /// History.
    ListRuns = "list_runs" (ListRunsParams) -> Vec<RunView>;
    /// One run.
    GetRun = "get_run" (RunIdParams) -> RunDetail;
    /// Output of one run.
    GetRunOutput = "get_run_output" (OutputParams) -> OutputView;
    /// Coming slots of the fleet, in order.
    NextSlots = "next_slots" (NextParams) -> Vec<SlotView>;
    /// What became of a slot, in one sentence.
    ExplainSlot = "explain_slot" (ExplainParams) -> Explanation;
    /// Requests, tokens, dollars.
    GetUsage = "get_usage" (UsageParams) -> Vec<UsageView>;
    /// The daemon itself. Frozen.
    GetDaemonStatus = "get_daemon_status" (NoParams) -> DaemonView;
    /// Takes up the configuration file.
    ReloadConfig = "reload_config" (NoParams) -> ReloadView;
    /// Ends the daemon. Frozen.
    Shutdown = "shutdown" (ShutdownParams) -> NoView;
    /// Tools that agents can use.
    ListTools = "list_tools" (NoParams) -> Vec<ToolView>;
    /// Calls one tool by hand.
    CallTool = "call_tool" (CallToolParams) -> ToolResultView;
    /// What an archive holds, whether it is whole; puts rows of it back.
    AskArchive = "ask_archive" (ArchiveParams) -> ToolResultView;
    /// MCP servers and their tools; starts them if need be.
    ListMcp = "list_mcp" (ListMcpParams) -> Vec<McpView>;
    /// Accepts the tools of an MCP server as they were listed last.
    TrustMcp = "trust_mcp" (TrustMcpParams) -> TrustView;
    /// Tool calls that wait for a person.
    ListApprovals = "list_approvals" (NoParams) -> Vec<ApprovalView>;
    /// Decides one.
    DecideApproval = "decide_approval" (DecideParams) -> ApprovalView;
    /// Open problems.
    ListIncidents = "list_incidents" (ListIncidentsParams) -> Vec<IncidentView>;
    /// A person took note of one.
    AckIncident = "ack_incident" (AckParams) -> IncidentView;
    /// What an agent remembers.
    GetMemory = "get_memory" (AgentParams) -> Vec<MemoryView>;
    /// Makes it forget.
    ClearMemory = "clear_memory" (AgentParams) -> NoView;
}

/// Name of the notification that carries an event: `{subscription, event}`.
pub const EVENT_NOTIFICATION: &str = "event";
/// Name of the notification that says that a subscription has shown everything that was there when
/// it began: `{subscription, seq}`.
pub const LIVE_NOTIFICATION: &str = "live";
/// Name of the notification that says which range of events retention has removed before the
/// reader could see it: `{subscription, from, to}`.
pub const GAP_NOTIFICATION: &str = "gap";
/// Name of the notification that says that a subscription that does not follow has shown all:
/// `{subscription, seq}`.
pub const END_NOTIFICATION: &str = "end";
