//! Views of tool calls that need a person.
use crate::domain::{AgentId, ApprovalRecord, ApprovalWanted, Effect, RunId};
use crate::protocol::ApprovalView;
use crate::store::DecidedApproval;
use jiff::Timestamp;

/// What is known of a pending call beside its record.
pub(in crate::daemon) struct Circumstances {
    pub(in crate::daemon) effect: Option<Effect>,
    /// When it expires.
    pub(in crate::daemon) waits_until: Option<Timestamp>,
    /// Whether its run has read data from outside.
    pub(in crate::daemon) untrusted: bool,
    /// The tools through which it has.
    pub(in crate::daemon) read_before: Vec<String>,
}

/// Converts a question to a person.
pub(in crate::daemon) fn asked(run: RunId, agent: Option<AgentId>, wanted: &ApprovalWanted) -> ApprovalView {
    ApprovalView {
        id: wanted.id.clone(),
        agent_id: agent,
        run_id: run,
        requested_at: None,
        tool: wanted.tool.clone(),
        args: serde_json::from_str(&wanted.args).unwrap_or_default(),
        effect: None,
        untrusted: false,
        read_before: Vec::new(),
        waits_until: None,
        decided_at: None,
        approved: None,
        decided_by: None,
        reason: None,
    }
}

/// Converts a pending call.
pub(in crate::daemon) fn waiting(record: ApprovalRecord, known: Circumstances) -> ApprovalView {
    let Circumstances { effect, waits_until, untrusted, read_before } = known;
    ApprovalView {
        requested_at: Some(record.requested_at),
        effect,
        untrusted,
        read_before,
        waits_until,
        ..asked(record.run, Some(record.agent), &record.wanted)
    }
}

/// Converts a decided call.
pub(in crate::daemon) fn decided(one: DecidedApproval) -> ApprovalView {
    let DecidedApproval { record, at, approved, by, reason } = one;
    ApprovalView {
        requested_at: Some(record.requested_at),
        decided_at: Some(at),
        approved: Some(approved),
        decided_by: by,
        reason,
        ..asked(record.run, Some(record.agent), &record.wanted)
    }
}
