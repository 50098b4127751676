//! The input of a conversation, its next action, and its result.
use crate::domain::{
    Approval, ChatMessage, Effect, ErrorKind, Limits, ModelRequest, Price, RunError, ToolOffer, ToolReply,
    Usage, WorstCase,
};
use serde_json::Value;
use std::sync::Arc;

/// Task and bounds of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// System instruction; `None`: [`super::prompt::DEFAULT`].
    pub system: Option<String>,
    /// Context from earlier runs; see [`super::memory`].
    pub memory: Vec<ChatMessage>,
    /// The task, with its placeholders filled in.
    pub query: String,
    /// Memory or query contain data from outside.
    pub untrusted: bool,
    /// Memory contains private data.
    pub private: bool,
    pub rules: CallRules,
    pub limits: Arc<Limits>,
    /// Maximum length of an answer, in tokens.
    pub max_output_tokens: u64,
    /// `max_output_tokens` is a default: it is reduced if only less fits `max_usd_per_run`.
    pub max_output_by_default: bool,
    /// Maximum number of tokens that the provider itself adds to a request.
    pub frame: u64,
    /// The highest price among the model and its fallbacks.
    pub price: Option<Price>,
    /// An empty turn does not fail the run at once: the request is repeated once.
    pub ask_again: bool,
    /// JSON Schema of the final answer.
    pub output_schema: Option<Value>,
}

/// Which tools may be called, and which calls are refused or need approval.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRules {
    /// Name of the agent, for the table in the configuration that could allow more.
    pub agent: String,
    pub tools: Vec<ToolOffer>,
    /// What stays allowed after untrusted or private data was read: tools, by name or pattern, and addresses.
    pub sinks: Vec<String>,
    /// Addresses that the agent's own texts contain in full.
    pub named: Vec<String>,
    /// Tools whose calls need approval; names or patterns.
    pub approve: Vec<String>,
    /// What happens to such a call.
    pub approval: Approval,
}

impl CallRules {
    /// Returns whether the model reads tool descriptions written by others.
    pub(super) fn is_described_by_others(&self) -> bool {
        self.tools.iter().any(|tool| tool.server.is_some())
    }
}

/// The next action of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send this request to the model.
    Ask {
        request: ModelRequest,
        /// Worst case to hold for it.
        worst: WorstCase,
    },
    /// Make these calls: all open ones if they only read, otherwise only the first.
    Call(Vec<PlannedCall>),
    /// Let a person decide about these calls.
    Approve(Vec<PlannedCall>),
    Finish(Finished),
}

/// Result of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The answer, or why there is none.
    pub end: Result<String, RunError>,
    /// Total use of all attempts in the journal.
    pub usage: Usage,
    /// Calls that may or may not have changed something, because their outcome is unknown. Usually one.
    pub unknown: Option<String>,
    /// Query and answer, for the memory of a session; empty if there is no answer.
    pub said: Vec<ChatMessage>,
    /// Data from outside was read: the answer may derive from it.
    pub untrusted: bool,
}

/// Returns the error for an unusable answer of the model.
pub(super) fn bad_response(message: String) -> RunError {
    RunError::new(ErrorKind::BadResponse, message)
}

/// A call to make, or one that policy has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCall {
    /// Index among the calls of the newest turn, from 0.
    pub call: usize,
    pub id: String,
    pub name: String,
    /// Its arguments; null for an invalid call.
    pub args: Value,
    /// Its arguments as the model sent them.
    pub sent: String,
    pub effect: Effect,
    /// Its result comes from outside.
    pub untrusted: bool,
    /// Data from outside was read before: its arguments may derive from it.
    pub tainted: bool,
    /// Policy has answered: to be journaled as `Called`, not made.
    pub answered: Option<ToolReply>,
    /// May run concurrently with the others of the plan: all of them only read.
    pub parallel: bool,
}
