//! The table of methods, with the description of each.
use super::envelope::{Code, RpcError};
use super::method::{Method, MethodDescription, MethodGroup};
use super::params::*;
use super::views::*;
use serde_json::Value;

/// Versions of the protocol that this program supports, oldest first.
pub const PROTOCOLS: &[u32] = &[1];

/// A decoded call, grouped by how it is scheduled.
#[derive(Debug)]
pub enum Request {
    /// Answered before the next call is read.
    AtOnce(AtOnce),
    /// Runs concurrently with other calls, and is answered when it completes.
    Beside(Beside),
    /// Changes something that the engine decides: handled in call order, and answered once it is recorded.
    InTurn(InTurn),
}

macro_rules! methods {
    ($($group:literal $group_about:literal {
        at_once { $($(#[doc = $a_about:literal])* $a:ident = $a_wire:literal ($a_params:ty) -> $a_reply:ty;)* }
        beside { $($(#[doc = $b_about:literal])* $b:ident = $b_wire:literal ($b_params:ty) -> $b_reply:ty;)* }
        in_turn { $($(#[doc = $t_about:literal])* $t:ident = $t_wire:literal ($t_params:ty) -> $t_reply:ty;)* }
    })*) => {
        /// Methods answered before the next call is read.
        #[derive(Debug)]
        pub enum AtOnce { $($($(#[doc = $a_about])* $a($a_params),)*)* }

        /// Methods that run concurrently with other calls.
        #[derive(Debug)]
        pub enum Beside { $($($(#[doc = $b_about])* $b($b_params),)*)* }

        /// Methods handled in call order.
        #[derive(Debug)]
        pub enum InTurn { $($($(#[doc = $t_about])* $t($t_params),)*)* }

        impl Request {
            /// Names of all methods, in the order of the reference.
            pub const NAMES: &'static [&'static str] =
                &[$($($a_wire,)* $($b_wire,)* $($t_wire,)*)*];

            /// Decodes a call; unknown methods and invalid parameters give different errors.
            pub fn decode(method: &str, params: Value) -> Result<Self, RpcError> {
                // a call without parameters is a call with an empty object
                let params = if params.is_null() { Value::Object(Default::default()) } else { params };
                let request = match method {
                    $($($a_wire => serde_json::from_value(params).map(AtOnce::$a).map(Self::AtOnce),)*)*
                    $($($b_wire => serde_json::from_value(params).map(Beside::$b).map(Self::Beside),)*)*
                    $($($t_wire => serde_json::from_value(params).map(InTurn::$t).map(Self::InTurn),)*)*
                    _ => {
                        return Err(RpcError::new(Code::NoSuchMethod, format!("no method `{method}`"))
                            .hint("an older daemon? compare `bgagent --version` with `bgagent status`"));
                    }
                };
                request.map_err(|error| RpcError::new(Code::InvalidParams, format!("{method}: {error}")))
            }
        }

        /// Returns the descriptions of all methods, by group.
        pub(super) fn described_methods() -> Vec<MethodGroup> {
            vec![$(MethodGroup {
                title: $group,
                about: $group_about,
                methods: vec![
                    $(MethodDescription::of::<$a>(&[$($a_about),*]),)*
                    $(MethodDescription::of::<$b>(&[$($b_about),*]),)*
                    $(MethodDescription::of::<$t>(&[$($t_about),*]),)*
                ],
            },)*]
        }

        $($(method! { $(#[doc = $a_about])* $a = $a_wire ($a_params) -> $a_reply })*)*
        $($(method! { $(#[doc = $b_about])* $b = $b_wire ($b_params) -> $b_reply })*)*
        $($(method! { $(#[doc = $t_about])* $t = $t_wire ($t_params) -> $t_reply })*)*
    };
}

macro_rules! method {
    ($(#[doc = $about:literal])* $name:ident = $wire:literal ($params:ty) -> $reply:ty) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        pub enum $name {}

        impl Method for $name {
            const NAME: &'static str = $wire;
            type Params = $params;
            type Reply = $reply;
        }
    };
}

methods! {
    "Connection" "Agreeing on a version, and whether the daemon is there." {
        at_once {
            /// Agrees on a version of the protocol. The first call of each connection. Frozen.
            Hello = "hello" (HelloParams) -> HelloView;
            /// Answers at once. Frozen.
            Ping = "ping" (NoParams) -> PongView;
        }
        beside {}
        in_turn {}
    }
    "Agents" "The state of agents, and how to change it." {
        at_once {}
        beside {
            /// One entry per agent.
            ListAgents = "list_agents" (ListParams) -> Vec<AgentView>;
            /// Everything of one agent.
            GetAgentStatus = "get_agent_status" (AgentParams) -> AgentDetail;
            /// Coming slots of the fleet, in order.
            NextSlots = "next_slots" (NextParams) -> Vec<SlotView>;
            /// What became of a slot, in one sentence.
            ExplainSlot = "explain_slot" (ExplainParams) -> Explanation;
            /// What became of the slots of a period: records of the ledger, by agent and slot. Consecutive slots with the
            /// same verdict and cause share a record.
            ListSlots = "list_slots" (ListSlotsParams) -> Vec<SlotRecordView>;
        }
        in_turn {
            /// Makes a stopped agent active; resumes a paused one.
            StartAgent = "start_agent" (TargetParams) -> Changed;
            /// Pauses an active agent: its slots start nothing until it is resumed. A run in flight goes on.
            PauseAgent = "pause_agent" (PauseParams) -> Changed;
            /// Makes a paused agent active again.
            ResumeAgent = "resume_agent" (TargetParams) -> Changed;
            /// Stops an agent, active or paused: it has no slots until it is started. A run in flight is ended, unless
            /// `drain` lets it finish.
            StopAgent = "stop_agent" (StopParams) -> Changed;
            /// Leaves out the next slot of an agent.
            SkipAgent = "skip_agent" (SkipParams) -> SkipView;
        }
    }
    "Runs" "Starting, ending and reading runs." {
        at_once {}
        beside {
            /// Past and present runs, newest first.
            ListRuns = "list_runs" (ListRunsParams) -> Vec<RunView>;
            /// One run, with its events, its output and its conversation.
            GetRun = "get_run" (GetRunParams) -> RunDetail;
            /// Output of one run.
            GetRunOutput = "get_run_output" (OutputParams) -> OutputView;
        }
        in_turn {
            /// Claims a run by hand. The answer comes when the claim is recorded, not when the run has ended: follow the
            /// events from `seq` + 1 on.
            RunAgent = "run_agent" (RunParams) -> RunStarted;
            /// Runs past slots of an agent, one after the other; each once, whatever happens to the daemon meanwhile.
            BackfillAgent = "backfill_agent" (BackfillParams) -> BackfillView;
            /// Ends one run.
            CancelRun = "cancel_run" (CancelParams) -> RunView;
        }
    }
    "Events" "Following what happens; see [Following events](#following-events)." {
        at_once {
            /// Subscribes to events: old ones first, then live, as notifications.
            StreamAgentEvents = "stream_agent_events" (StreamParams) -> SubscriptionView;
            /// Ends a subscription.
            Unsubscribe = "unsubscribe" (UnsubscribeParams) -> NoView;
        }
        beside {}
        in_turn {}
    }
    "The daemon" "The state of the daemon, its configuration, and its end." {
        at_once {}
        beside {
            /// The daemon itself. Frozen.
            GetDaemonStatus = "get_daemon_status" (NoParams) -> DaemonView;
            /// The daemons that share the records, by name; with records in a file, the only one.
            ListNodes = "list_nodes" (NoParams) -> Vec<NodeView>;
            /// Revisions of the configuration of the fleet, newest first.
            ListConfigs = "list_configs" (ListConfigsParams) -> Vec<ConfigView>;
            /// Requests, tokens and dollars that were used.
            GetUsage = "get_usage" (UsageParams) -> Vec<UsageView>;
        }
        in_turn {
            /// Applies a configuration to the fleet: it is kept with the records, and in force whichever node leads. Not for
            /// programs of agents, whatever their rights.
            ApplyConfig = "apply_config" (ApplyParams) -> ApplyView;
            /// Applies the configuration file.
            ReloadConfig = "reload_config" (NoParams) -> ReloadView;
            /// Ends the daemon. Frozen.
            Shutdown = "shutdown" (ShutdownParams) -> NoView;
        }
    }
    "Tools" "The tools that agents use, by hand; archives; MCP servers." {
        at_once {}
        beside {
            /// Tools that agents can use.
            ListTools = "list_tools" (NoParams) -> Vec<ToolView>;
            /// Sends a message of this kind to a notification target at once, past its pace and its quiet hours.
            TestNotification = "test_notification" (TestNotificationParams) -> TestNotificationView;
            /// Calls one tool by hand.
            CallTool = "call_tool" (CallToolParams) -> ToolResultView;
            /// Lists what an archive holds, checks whether it is whole, or puts rows of it back.
            AskArchive = "ask_archive" (ArchiveParams) -> ToolResultView;
            /// MCP servers and their tools; starts them if need be.
            ListMcp = "list_mcp" (ListMcpParams) -> Vec<McpView>;
        }
        in_turn {
            /// Accepts the tools of an MCP server as they were listed last.
            TrustMcp = "trust_mcp" (TrustMcpParams) -> TrustView;
        }
    }
    "Approvals, incidents, memory" "What waits for a person, what is wrong, and what agents remember." {
        at_once {}
        beside {
            /// Tool calls that wait for a person.
            ListApprovals = "list_approvals" (ListApprovalsParams) -> Vec<ApprovalView>;
            /// Problems that are open.
            ListIncidents = "list_incidents" (ListIncidentsParams) -> Vec<IncidentView>;
            /// What an agent remembers.
            GetMemory = "get_memory" (AgentParams) -> Vec<MemoryView>;
        }
        in_turn {
            /// Makes it forget.
            ClearMemory = "clear_memory" (AgentParams) -> NoView;
            /// Decides one of them.
            DecideApproval = "decide_approval" (DecideParams) -> ApprovalView;
            /// A person took note of one.
            AckIncident = "ack_incident" (AckParams) -> IncidentView;
        }
    }
}

/// Name of the notification that carries an event: `{subscription, event}`.
pub const EVENT_NOTIFICATION: &str = "event";
/// Name of the notification that a subscription has delivered all events that existed when it
/// began: `{subscription, seq}`.
pub const LIVE_NOTIFICATION: &str = "live";
/// Name of the notification that retention has removed a range of events before the subscriber
/// could read it: `{subscription, from, to}`.
pub const GAP_NOTIFICATION: &str = "gap";
/// Name of the notification that a subscription that does not follow has delivered all events:
/// `{subscription, seq}`.
pub const END_NOTIFICATION: &str = "end";
