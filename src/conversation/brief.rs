//! What a conversation is about, what is to be done next, and how it ended.
use crate::domain::{
    Approval, ChatMessage, Effect, ErrorKind, Limits, ModelRequest, Price, RunError, ToolOffer, ToolReply,
    Usage, WorstCase,
};
use serde_json::Value;
use std::sync::Arc;

/// What a conversation is about, and within which bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// Who the model is to be; `None`: see [`super::prompt::DEFAULT`].
    pub system: Option<String>,
    /// What it knows of earlier runs; see [`super::memory`].
    pub memory: Vec<ChatMessage>,
    /// What to do, its placeholders filled.
    pub query: String,
    /// Memory or query hold data from outside.
    pub untrusted: bool,
    /// Memory holds what is private.
    pub private: bool,
    /// What it may call, and when.
    pub rules: CallRules,
    /// What it may use.
    pub limits: Arc<Limits>,
    /// Longest answer, in tokens.
    pub max_output_tokens: u64,
    /// Nobody has set that: less is asked for where that is all that fits `max_usd_per_run`.
    pub max_output_by_default: bool,
    /// Tokens that the provider adds of its own to a request, at the most.
    pub frame: u64,
    /// The dearest of the model and those that may be asked instead.
    pub price: Option<Price>,
    /// An empty turn does not fail the run at once: the same is asked once more.
    pub ask_again: bool,
    /// JSON Schema that the final answer must fit.
    pub output_schema: Option<Value>,
}

/// Which tools may be called, and which of their calls are refused or need a person.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRules {
    /// Name of the agent whose table allows them.
    pub agent: String,
    pub tools: Vec<ToolOffer>,
    /// What stays allowed after untrusted or private data was read: tools, by name or pattern, and addresses.
    pub sinks: Vec<String>,
    /// Addresses that the agent's own texts name whole.
    pub named: Vec<String>,
    /// Tools whose calls need a person; names or patterns.
    pub approve: Vec<String>,
    /// What happens to such a call.
    pub approval: Approval,
}

impl CallRules {
    /// Does the model read what others say of their tools?
    pub(super) fn is_described_by_others(&self) -> bool {
        self.tools.iter().any(|tool| tool.server.is_some())
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Ask the model.
    Ask {
        request: ModelRequest,
        /// What is to be held for it.
        worst: WorstCase,
    },
    /// Make these calls: all that are open if they only look, else those that come first.
    Call(Vec<PlannedCall>),
    /// Let a person decide about these calls.
    Approve(Vec<PlannedCall>),
    Finish(Finished),
}

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The answer, or why there is none.
    pub end: Result<String, RunError>,
    /// What was used, all attempts of the journal together.
    pub usage: Usage,
    /// Calls that may or may not have changed something: nobody knows. Mostly one.
    pub unknown: Option<String>,
    /// Query and answer, for the memory of a session; empty if there is no answer.
    pub said: Vec<ChatMessage>,
    /// Data from outside was read: the answer may come from there.
    pub untrusted: bool,
}

/// A failure of the model's answer.
pub(super) fn bad_response(message: String) -> RunError {
    RunError::new(ErrorKind::BadResponse, message)
}

/// A call that is to be made, or that policy has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCall {
    /// Place among the calls of the newest turn, from 0.
    pub call: usize,
    pub id: String,
    pub name: String,
    /// Its arguments; null for a call that is not valid.
    pub args: Value,
    /// Its arguments as the model sent them.
    pub sent: String,
    /// What it may do.
    pub effect: Effect,
    /// What it gives comes from the outside world.
    pub untrusted: bool,
    /// Data from outside was read before it: what it says may come from there.
    pub tainted: bool,
    /// Policy has answered: to be journaled as `Called`, not to be made.
    pub answered: Option<ToolReply>,
    /// May be made at the same time as the others of the plan: all of them only look.
    pub parallel: bool,
}
