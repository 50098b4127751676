//! Payloads about a conversation with a model. Texts are cut after 4 KiB; the full text is in the journal of the
//! run.
use crate::domain::described::described;
use crate::domain::run_error::ErrorKind;
use crate::domain::tool::Effect;
use crate::domain::usage::Usage;
use crate::domain::words::words;
use serde::{Deserialize, Serialize};

described! {
    /// The whole is in the journal of the run.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Told {
        /// The beginning of it, at most 4 KiB.
        pub text: String,
    }

    /// The whole is in the journal of the run.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct SaidInStep {
        /// Its place in the journal of the run.
        pub step: u64,
        /// The beginning of it, at most 4 KiB.
        pub text: String,
    }

    /// The event is emitted before the request is sent, when its worst case is held in the budgets.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct RequestSent {
        /// Its place in the journal of the run.
        pub step: u64,
        /// Name of a `[models.…]` table.
        pub model: String,
        /// The most tokens that it may use; held in the budgets until it ends.
        pub tokens_at_most: u64,
        /// The most US dollars that it may cost; 0 for a model without a price.
        pub usd_at_most: f64,
    }

    /// Which fields there are depends on whether it was answered.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ResponseCame {
        /// Its place in the journal of the run.
        pub step: u64,
        /// Name of a `[models.…]` table.
        pub model: String,
        /// How it ended.
        pub finish: Ending,
        /// Tools that the model wants to call; left out if it was not answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub calls: Option<u64>,
        /// What kind of failure it is; only with the ending `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kind: Option<ErrorKind>,
        /// What went wrong; only with the ending `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<String>,
        /// What is charged for it.
        pub usage: Usage,
        /// The provider said what was used, so `usage` is not an estimate; left out if it was not answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub usage_reported: Option<bool>,
        /// From sent to answered, in milliseconds.
        pub duration_ms: u64,
    }

    /// A tool is about to be called.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ToolCallStarted {
        /// Its place in the journal of the run.
        pub step: u64,
        /// Its place among the calls of the model's newest turn, from 0.
        pub call: u64,
        /// The tool.
        pub tool: String,
        /// Its arguments as JSON in a string, shortened.
        pub args: String,
        /// What the call may do.
        pub effect: Effect,
    }

    /// A tool has answered.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ToolCallResult {
        /// Its place in the journal of the run.
        pub step: u64,
        /// Its place among the calls of the model's newest turn, from 0.
        pub call: u64,
        /// The tool.
        pub tool: String,
        /// The beginning of what it gave, at most 4 KiB.
        pub result: String,
        /// How many bytes it gave.
        pub bytes: u64,
        /// How long the call took, in milliseconds.
        pub duration_ms: u64,
    }

    /// A tool has failed, or was not called because the call was not allowed.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ToolCallError {
        /// Its place in the journal of the run.
        pub step: u64,
        /// Its place among the calls of the model's newest turn, from 0.
        pub call: u64,
        /// The tool.
        pub tool: String,
        /// Its arguments as JSON in a string, shortened.
        pub args: String,
        /// What the model is told is wrong, at most 4 KiB.
        pub error: String,
        /// How long the call took, in milliseconds.
        pub duration_ms: u64,
    }

    /// A call of a tool waits for a person.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ApprovalRequested {
        /// What `decide_approval` takes as `id`.
        pub approval_id: String,
        /// The tool.
        pub tool: String,
        /// The beginning of its arguments, as JSON in a string, at most 4 KiB.
        pub args: String,
        /// Its place among the calls of the model's newest turn, from 0.
        pub call: u64,
    }

    /// A person has decided about a call.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ApprovalDecided {
        /// As in `approval_requested`.
        pub approval_id: String,
        /// Its place among the calls of the model's newest turn, from 0.
        pub call: u64,
        /// The tool.
        pub tool: String,
        /// It may be called.
        pub approved: bool,
        /// What the person said.
        pub reason: Option<String>,
        /// Who decided at a notification target (`approval.via`), in the words of its service, or by `decide_approval` at a
        /// standby node: `ada at gpu-7`. null: it was decided by `decide_approval` at the leader, or nobody decided in
        /// time.
        pub by: Option<String>,
    }
}

words! {
    /// How a request to a model ended.
    Ending {
        /// With an answer.
        Stop = "stop",
        /// With calls of tools.
        ToolCalls = "tool_calls",
        /// The answer got too long and was cut off.
        Length = "length",
        /// The model, or a filter of its provider, refuses.
        Refusal = "refusal",
        /// It called a tool in a way that nobody can read.
        UnreadableCall = "unreadable_call",
        /// It was not answered.
        Error = "error",
    }
}
