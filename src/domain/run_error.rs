//! Failures: a kind to branch on, and a message to read.
use super::described::described;
use super::words::words;
use serde::{Deserialize, Serialize};

words! {
    /// What kind of failure: decides retry, circuit and exit code. Never parsed from a message.
    ErrorKind {
        /// Ran longer than `timeout` or `total_timeout`.
        Timeout = "timeout",
        /// The provider asks to slow down.
        RateLimit = "rate_limit",
        /// The provider failed.
        Provider = "provider",
        /// Credentials were refused.
        Auth = "auth",
        /// No connection.
        Network = "network",
        /// An answer that can't be understood.
        BadResponse = "bad_response",
        /// A call of a tool that the model wrote as text, again when it was asked for the call.
        CallAsText = "call_as_text",
        /// An answer without content.
        EmptyAnswer = "empty_answer",
        /// `request_limit` reached.
        RequestLimit = "request_limit",
        /// `total_tokens_limit` reached.
        TokenLimit = "token_limit",
        /// `max_steps` reached, or a call repeated in a loop.
        StepLimit = "step_limit",
        /// `max_usd_per_run` reached.
        CostLimit = "cost_limit",
        /// A budget is used up.
        Budget = "budget",
        /// A tool failed.
        Tool = "tool",
        /// A command ended with a code other than 0.
        ExitStatus = "exit_status",
        /// A command was ended by a signal that we did not send.
        Signal = "signal",
        /// An agent program said nothing for longer than `first_event` or `idle`.
        RunnerStuck = "runner_stuck",
        /// An agent program was denied what it wanted to do.
        PermissionDenied = "permission_denied",
        /// A process could not be started.
        Spawn = "spawn",
        /// A `success_when` check does not hold.
        Unverified = "unverified",
        /// What the agent remembers is in Redis and can't be read.
        Memory = "memory",
        /// The daemon ended while the run was in flight.
        Interrupted = "interrupted",
        /// It needs a tool of an MCP server that nobody has trusted yet.
        Untrusted = "untrusted",
        /// The configuration does not allow it.
        Config = "config",
    }
}

described! {
    /// A failure: a kind to branch on, a sentence to read.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RunError {
        /// What kind of failure it is, to branch on.
        pub kind: ErrorKind,
        /// What went wrong, where, and what to do about it.
        pub message: String,
    }
}

impl RunError {
    /// Returns a failure of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// How the message of a failure begins that is its gate's: the body was not asked for.
    const OF_GATE: &str = "the gate found out nothing: ";

    /// The same, as the failure of a gate without which the run has nothing to work on.
    #[must_use]
    pub fn of_gate(self) -> Self {
        Self { message: format!("{}{}", Self::OF_GATE, self.message), ..self }
    }

    /// Is it the failure of a gate? Then a gate that answers again ends it.
    pub fn is_of_gate(&self) -> bool {
        self.message.starts_with(Self::OF_GATE)
    }
}
