//! Which tools a model or an agent program may call, and which of their calls need approval.
use super::words::words;
use jiff::SignedDuration;
use std::sync::Arc;

/// Who is asked about the calls of an agent: `approval = { … }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalRoute {
    /// Names of `[notify.…]` tables that can receive answers.
    pub via: Vec<String>,
    /// Time after which an undecided call is denied. `None`: it waits as long as its run may.
    pub wait: Option<SignedDuration>,
}

words! {
    /// What happens to a tool call that needs a person.
    Approval {
        /// It is denied at once.
        Deny = "deny",
        /// It waits, durably.
        Wait = "wait",
    }
}

/// Tools of the daemon that an agent program is handed in addition to its own.
#[derive(Clone, Debug, PartialEq)]
pub struct HandedTools {
    pub tools: Vec<String>,
    /// Tools whose calls need approval.
    pub approve: Vec<String>,
    /// What happens to such a call.
    pub approval: Approval,
    /// Who is asked, and for how long.
    pub route: Option<Arc<ApprovalRoute>>,
    /// What may change or send something: tools and addresses.
    pub sinks: Vec<String>,
}

impl HandedTools {
    /// Returns an empty set of tools.
    pub fn none() -> Self {
        Self {
            tools: Vec::new(),
            approve: Vec::new(),
            approval: Approval::Deny,
            route: None,
            sinks: Vec::new(),
        }
    }

    /// Returns the common form for models and programs.
    pub fn as_use(&self) -> ToolUse<'_> {
        ToolUse {
            tools: &self.tools,
            approve: &self.approve,
            approval: self.approval,
            route: self.route.as_deref(),
            sinks: &self.sinks,
        }
    }
}

/// The tools of one agent, for models and agent programs alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToolUse<'a> {
    pub tools: &'a [String],
    /// Tools whose calls need approval; names or patterns.
    pub approve: &'a [String],
    /// What happens to such a call.
    pub approval: Approval,
    /// Who is asked, and for how long.
    pub route: Option<&'a ApprovalRoute>,
    /// What stays allowed after untrusted or private data was read: tools and addresses.
    pub sinks: &'a [String],
}
