//! Tool calls that need a person, as the wire has them.
use crate::domain::{AgentId, ApprovalRecord, ApprovalWanted, Effect, RunId};
use crate::protocol::ApprovalView;
use crate::store::DecidedApproval;
use jiff::Timestamp;

/// What is known of a call that waits beside its record.
pub(in crate::daemon) struct Circumstances {
    /// What it may do.
    pub(in crate::daemon) effect: Option<Effect>,
    /// Until when it waits.
    pub(in crate::daemon) waits_until: Option<Timestamp>,
    /// Whether its run has read data from outside.
    pub(in crate::daemon) untrusted: bool,
    /// By which tools it has.
    pub(in crate::daemon) read_before: Vec<String>,
}

/// What is asked of a person.
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

/// A call that waits.
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

/// A call that was decided.
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
