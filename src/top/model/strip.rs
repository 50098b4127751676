//! The ledger as a strip: the outcomes of the slots of a period, one sign per part.
use crate::domain::{AgentId, RunStatus, Verdict};
use crate::protocol::SlotRecordView;
use crate::top::theme::SlotOutcome;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Period of the slots view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::top) enum SlotSpan {
    Hour,
    SixHours,
    Day,
    Week,
}

impl SlotSpan {
    /// Returns the next period; the shortest follows the longest.
    pub(in crate::top) fn next(self) -> Self {
        match self {
            Self::Hour => Self::SixHours,
            Self::SixHours => Self::Day,
            Self::Day => Self::Week,
            Self::Week => Self::Hour,
        }
    }

    /// Returns the length.
    pub(in crate::top) fn length(self) -> SignedDuration {
        SignedDuration::from_hours(match self {
            Self::Hour => 1,
            Self::SixHours => 6,
            Self::Day => 24,
            Self::Week => 168,
        })
    }

    /// Describes the period.
    pub(in crate::top) fn words(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::SixHours => "6 hours",
            Self::Day => "24 hours",
            Self::Week => "7 days",
        }
    }
}

/// Ledger records of some agents.
#[derive(Debug, Default)]
pub(in crate::top) struct LedgerPart {
    of: BTreeMap<AgentId, Vec<SlotRecordView>>,
}

impl LedgerPart {
    /// Returns the records of this agent, oldest first, if requested.
    pub(in crate::top) fn of(&self, agent: &AgentId) -> Option<&[SlotRecordView]> {
        self.of.get(agent).map(Vec::as_slice)
    }

    /// Stores the records that were answered for these agents.
    pub(in crate::top) fn put(&mut self, agents: &[AgentId], records: Vec<SlotRecordView>) {
        for agent in agents {
            self.of.insert(agent.clone(), Vec::new());
        }
        for record in records {
            self.of.entry(record.agent_id.clone()).or_default().push(record);
        }
    }

    /// Removes all records.
    pub(in crate::top) fn clear(&mut self) {
        self.of.clear();
    }
}

/// Returns the outcome of a record's slots.
pub(in crate::top) fn beat(record: &SlotRecordView) -> SlotOutcome {
    use Verdict as V;
    match record.verdict {
        V::Ran if record.all_well => SlotOutcome::AllWell,
        V::Ran => match record.status {
            Some(RunStatus::Cancelled) => SlotOutcome::Skipped,
            Some(status) if status.is_failure() => SlotOutcome::Failed,
            Some(status) if !status.is_final() => SlotOutcome::Running,
            _ => SlotOutcome::Ran,
        },
        V::RefusedBudget | V::RefusedCircuit => SlotOutcome::Refused,
        verdict if verdict.is_missed() => SlotOutcome::Missed,
        _ => SlotOutcome::Skipped,
    }
}

/// Divides the period up to `to` into this many parts, each with the worst outcome of its slots. A run fills the parts
/// of its duration.
pub(in crate::top) fn strip(
    records: &[SlotRecordView],
    span: SlotSpan,
    to: Timestamp,
    parts: usize,
) -> Vec<SlotOutcome> {
    let mut beats = vec![SlotOutcome::None; parts];
    let whole = span.length().as_secs_f64();
    let place = |at: Timestamp| {
        let back = to.duration_since(at).as_secs_f64();
        let part = ((1.0 - back / whole) * parts as f64).floor();
        // before the first part, or after the last one
        (part.max(-1.0) as isize).min(parts as isize - 1)
    };
    for record in records {
        let beat = beat(record);
        let end = match beat {
            SlotOutcome::Running => to,
            SlotOutcome::Ran | SlotOutcome::Failed => {
                record.finished_at.unwrap_or(record.last).max(record.last)
            }
            _ => record.last,
        };
        let (first, last) = (place(record.first), place(end));
        for part in first.max(0)..=last {
            let part = &mut beats[part as usize];
            *part = (*part).max(beat);
        }
    }
    beats
}

/// Counts slots by outcome, worst first.
pub(in crate::top) fn tally(records: &[SlotRecordView]) -> Vec<(SlotOutcome, u64)> {
    let mut counts: BTreeMap<SlotOutcome, u64> = BTreeMap::new();
    for record in records {
        *counts.entry(beat(record)).or_default() += record.count;
    }
    counts.into_iter().rev().collect()
}
