//! The kinds of events.
use crate::domain::words::words;

words! {
    /// The kinds of events.
    EventType {
        /// An attempt of a run began.
        TaskStarted = "background_task_started",
        /// A run did its work.
        TaskCompleted = "background_task_completed",
        /// An attempt failed; `will_retry` says whether the run goes on.
        TaskError = "background_task_error",
        /// A run, or an attempt of it, was ended because somebody asked for that: this is not a failure.
        TaskCancelled = "background_task_cancelled",
        /// What is wanted of an agent has changed.
        AgentStatus = "background_agent_status",
        /// What was asked of a model.
        UserMessage = "user_message",
        /// What a model thought, if the provider reports it.
        AgentThought = "agent_thought",
        /// What a model said.
        AgentMessage = "agent_message",
        /// A tool is about to be called.
        ToolCallStarted = "tool_call_started",
        /// A tool has answered.
        ToolCallResult = "tool_call_result",
        /// A tool has failed, or was not called because the call was not allowed.
        ToolCallError = "tool_call_error",
        /// The answer of a model.
        FinalAnswer = "final_answer",
        /// A request is sent to a model.
        ModelRequest = "model_request",
        /// A request to a model has ended, answered or not.
        ModelResponse = "model_response",
        /// A slot got a verdict other than `ran`, or an event that the agent waits for started nothing.
        SlotSkipped = "background_slot_skipped",
        /// Each of the agents that this one waits for has ended a run.
        AgentsJoined = "background_agents_joined",
        /// A file that the agent waits for has arrived.
        FileArrived = "file_arrived",
        /// Something that the agent waits for was delivered to a webhook.
        WebhookReceived = "webhook_received",
        /// An MCP server has an event that the agent waits for.
        McpEventReceived = "mcp_event_received",
        /// An MCP server left out events that the agent may have waited for.
        McpEventsSkipped = "mcp_events_skipped",
        /// The clock was set back: verdicts of slots ahead of now that never ran are taken back.
        SlotsTakenBack = "slots_taken_back",
        /// Past slots are to run, one after the other, since a person asked for it.
        BackfillBegan = "backfill_started",
        /// The past slots have run, or no more of them will.
        BackfillEnded = "backfill_ended",
        /// An attempt failed and another one follows.
        TaskRetrying = "background_task_retrying",
        /// A run continues from its journal after the daemon or the machine was down.
        TaskResumed = "background_task_resumed",
        /// Output of a command, or of a tool that reports its progress.
        TaskOutput = "background_task_output",
        /// A budget is nearly used up.
        BudgetWarning = "budget_warning",
        /// A budget is used up.
        BudgetExhausted = "budget_exhausted",
        /// An agent failed too often in a row; its slots are refused for a while.
        CircuitOpened = "circuit_opened",
        /// An agent whose circuit was open works again, or a person closed its circuit.
        CircuitClosed = "circuit_closed",
        /// A slot was due, and no run of the agent has completed since then.
        AgentLate = "background_agent_late",
        /// A run takes longer than it should.
        TaskSlow = "background_task_slow",
        /// A problem opened.
        IncidentOpened = "incident_opened",
        /// A problem ended.
        IncidentResolved = "incident_resolved",
        /// An agent that an incident started has found out something about it.
        IncidentDiagnosed = "incident_diagnosed",
        /// A call of a tool waits for a person.
        ApprovalRequested = "approval_requested",
        /// A person has decided about a call.
        ApprovalDecided = "approval_decided",
        /// An MCP server describes a tool differently from when it was trusted.
        McpPinChanged = "mcp_pin_changed",
        /// The sandbox of a program did not connect it to a place.
        SandboxDenied = "sandbox_denied",
        /// Work of a run that could not be brought back is removed, since the folders of runs take too much.
        WorkspaceRemoved = "workspace_removed",
        /// A configuration was applied.
        ConfigApplied = "config_applied",
        /// A configuration was refused; the old one stays in force.
        ConfigRejected = "config_rejected",
        /// A message was delivered.
        NotificationSent = "notification_sent",
        /// A message could not be delivered.
        NotificationFailed = "notification_failed",
        /// The daemon has started.
        DaemonStarted = "daemon_started",
        /// The daemon is shutting down.
        DaemonStopping = "daemon_stopping",
    }
}

impl EventType {
    /// The types that an agent's `on` may name: those that the engine itself decides, so that the run that they
    /// start is claimed in the same transaction.
    pub const TRIGGERS: &'static [Self] = &[
        Self::TaskStarted,
        Self::TaskCompleted,
        Self::TaskError,
        Self::TaskCancelled,
        Self::AgentStatus,
        Self::SlotSkipped,
        Self::SlotsTakenBack,
        Self::TaskRetrying,
        Self::CircuitOpened,
        Self::CircuitClosed,
        Self::IncidentOpened,
        Self::IncidentResolved,
        Self::IncidentDiagnosed,
        Self::ConfigApplied,
        Self::ConfigRejected,
        Self::BudgetWarning,
        Self::BudgetExhausted,
        Self::DaemonStarted,
    ];
}
