//! Which tools a model or an agent program may call, and which of their calls need a person.
use super::words::words;
use jiff::SignedDuration;
use std::sync::Arc;

/// Whom the calls of an agent are put to: `approval = { … }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalRoute {
    /// Names of `[notify.…]` tables that can bring an answer back.
    pub via: Vec<String>,
    /// A call about which nobody has decided for so long is denied. `None`: it waits as long as its run may.
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

/// Tools of the daemon that an agent program is handed beside its own.
#[derive(Clone, Debug, PartialEq)]
pub struct HandedTools {
    pub tools: Vec<String>,
    /// Those whose calls need a person.
    pub approve: Vec<String>,
    /// What happens to such a call.
    pub approval: Approval,
    /// Whom it is put to, and for how long.
    pub route: Option<Arc<ApprovalRoute>>,
    /// What may change something, or send something out: tools and addresses.
    pub sinks: Vec<String>,
}

impl HandedTools {
    /// None.
    pub fn none() -> Self {
        Self {
            tools: Vec::new(),
            approve: Vec::new(),
            approval: Approval::Deny,
            route: None,
            sinks: Vec::new(),
        }
    }

    /// The same for whoever asks about models and programs alike.
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

/// The tools of one agent, whoever calls them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToolUse<'a> {
    pub tools: &'a [String],
    /// Those whose calls need a person; names or patterns.
    pub approve: &'a [String],
    /// What happens to such a call.
    pub approval: Approval,
    /// Whom it is put to, and for how long.
    pub route: Option<&'a ApprovalRoute>,
    /// What stays allowed after untrusted or private data was read: tools and addresses.
    pub sinks: &'a [String],
}
