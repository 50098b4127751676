//! What is known of the fleet, as the daemon last said it.
use super::strip::LedgerPart;
use super::table::AgentTable;
use crate::domain::{AgentId, LoggedEvent, RunId};
use crate::protocol::{
    AgentDetail, ApprovalView, ChunkView, DaemonView, Explanation, IncidentView, OutputView, RunDetail,
    RunView, SlotView,
};
use crate::top::asks::SpentToday;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Events that are kept for the log.
const EVENTS: usize = 1000;

/// What is known of the fleet, as the daemon last said it.
#[derive(Debug, Default)]
pub(in crate::top) struct Known {
    /// Agents by name.
    pub(in crate::top) agents: AgentTable,
    pub(in crate::top) daemon: Option<DaemonView>,
    /// Open problems; in the view of incidents also those that have ended.
    pub(in crate::top) incidents: Vec<IncidentView>,
    /// Calls that wait.
    pub(in crate::top) approvals: Vec<ApprovalView>,
    pub(in crate::top) next: Vec<SlotView>,
    /// Runs that have not ended.
    pub(in crate::top) live: Vec<RunView>,
    /// The newest runs.
    pub(in crate::top) runs: Vec<RunView>,
    /// What became of slots.
    pub(in crate::top) ledger: LedgerPart,
    /// Agents whose newest runs were asked for.
    pub(in crate::top) with_runs: BTreeSet<AgentId>,
    /// What was used.
    pub(in crate::top) spent: SpentToday,
    /// The newest events, oldest first.
    pub(in crate::top) events: VecDeque<LoggedEvent>,
    /// What runs that have not ended said last.
    pub(in crate::top) last_words: BTreeMap<RunId, String>,
    /// The agent that is looked at.
    pub(in crate::top) detail: Option<AgentDetail>,
    /// The newest failed run of that agent, with its output.
    pub(in crate::top) run: Option<RunDetail>,
    /// Output of the run that is looked at.
    pub(in crate::top) output: Option<RunOutput>,
    /// What became of a slot that was asked about.
    pub(in crate::top) why: Option<Explanation>,
}

/// Bytes of output that are kept; of more, the end.
const OUTPUT_BYTES: usize = 1 << 20;

/// Output of a run, as far as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::top) struct RunOutput {
    /// Of which run.
    pub(in crate::top) run: RunId,
    /// The end of what was read, in order.
    pub(in crate::top) chunks: Vec<ChunkView>,
    /// What comes is behind this position.
    pub(in crate::top) position: u64,
    /// Bytes that were not kept, there or here.
    pub(in crate::top) dropped_bytes: u64,
    /// There may be more of it already.
    pub(in crate::top) has_more: bool,
}

impl RunOutput {
    /// Nothing was read yet.
    pub(in crate::top) fn of(run: RunId) -> Self {
        Self { run, chunks: Vec::new(), position: 0, dropped_bytes: 0, has_more: true }
    }

    /// Adds what was read behind its position.
    pub(in crate::top) fn add(&mut self, more: OutputView) {
        self.has_more = more.position > self.position && !more.chunks.is_empty();
        self.position = more.position;
        self.dropped_bytes = more.dropped_bytes;
        self.chunks.extend(more.chunks);
        let mut size: usize = self.chunks.iter().map(|chunk| chunk.text.len()).sum();
        let mut gone = 0;
        while size > OUTPUT_BYTES && gone + 1 < self.chunks.len() {
            size -= self.chunks[gone].text.len();
            gone += 1;
        }
        self.chunks.drain(..gone);
    }
}

impl Known {
    /// Keeps an event for the log.
    pub(in crate::top) fn log(&mut self, event: LoggedEvent) {
        if self.events.back().is_some_and(|last| last.seq >= event.seq) {
            return;
        }
        self.events.push_back(event);
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    /// Details of this agent, if they are here.
    pub(in crate::top) fn detail_of(&self, agent: &AgentId) -> Option<&AgentDetail> {
        self.detail.as_ref().filter(|detail| detail.agent.agent_id == *agent)
    }

    /// All of this run, if it is here.
    pub(in crate::top) fn run_of(&self, run: RunId) -> Option<&RunDetail> {
        self.run.as_ref().filter(|detail| detail.run.run_id == run)
    }

    /// The run as it was last listed.
    pub(in crate::top) fn run_row(&self, run: RunId) -> Option<&RunView> {
        let listed = self.live.iter().chain(&self.runs).find(|view| view.run_id == run);
        listed.or_else(|| self.run_of(run).map(|detail| &detail.run))
    }

    /// The incident that an agent has because it fails itself.
    pub(in crate::top) fn own_incident(&self, agent: &AgentId) -> Option<&IncidentView> {
        self.incidents.iter().find(|one| one.agent_id == *agent && is_own(one) && one.resolved_at.is_none())
    }
}

/// Is it the incident of an agent that fails?
pub(in crate::top) fn is_own(incident: &IncidentView) -> bool {
    incident.key.strip_prefix("agent:") == Some(incident.agent_id.as_str())
}
