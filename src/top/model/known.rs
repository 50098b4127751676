//! The known state of the fleet, as the daemon last reported it.
use super::strip::LedgerPart;
use super::table::AgentTable;
use crate::domain::{AgentId, LoggedEvent, RunId};
use crate::protocol::{
    AgentDetail, ApprovalView, ChunkView, DaemonView, Explanation, IncidentView, OutputView, RunDetail,
    RunView, SlotView,
};
use crate::top::asks::SpentToday;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Maximum number of events in the log.
const MAX_EVENTS: usize = 1000;

/// The known state of the fleet, as the daemon last reported it.
#[derive(Debug, Default)]
pub(in crate::top) struct Known {
    /// Agents by name.
    pub(in crate::top) agents: AgentTable,
    pub(in crate::top) daemon: Option<DaemonView>,
    /// Open incidents; in the view of incidents also resolved ones.
    pub(in crate::top) incidents: Vec<IncidentView>,
    pub(in crate::top) approvals: Vec<ApprovalView>,
    pub(in crate::top) next: Vec<SlotView>,
    /// Runs that have not ended.
    pub(in crate::top) live: Vec<RunView>,
    /// The newest runs.
    pub(in crate::top) runs: Vec<RunView>,
    pub(in crate::top) ledger: LedgerPart,
    /// Agents whose newest runs were requested.
    pub(in crate::top) with_runs: BTreeSet<AgentId>,
    pub(in crate::top) spent: SpentToday,
    /// The newest events, oldest first.
    pub(in crate::top) events: VecDeque<LoggedEvent>,
    /// The last output line of each run in flight.
    pub(in crate::top) last_words: BTreeMap<RunId, String>,
    /// The agent that is viewed.
    pub(in crate::top) detail: Option<AgentDetail>,
    /// The newest failed run of that agent, with its output.
    pub(in crate::top) run: Option<RunDetail>,
    /// Output of the run that is viewed.
    pub(in crate::top) output: Option<RunOutput>,
    /// The explanation of a slot that was requested.
    pub(in crate::top) why: Option<Explanation>,
}

/// Maximum bytes of output that are kept; the end is kept.
const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// Output of a run, as far as it has been read.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::top) struct RunOutput {
    pub(in crate::top) run: RunId,
    /// The end of what was read, in order.
    pub(in crate::top) chunks: Vec<ChunkView>,
    /// Position from which to read on.
    pub(in crate::top) position: u64,
    /// Bytes discarded, by the daemon or here.
    pub(in crate::top) dropped_bytes: u64,
    /// More output may be available already.
    pub(in crate::top) has_more: bool,
}

impl RunOutput {
    /// Creates an empty output of a run.
    pub(in crate::top) fn of(run: RunId) -> Self {
        Self { run, chunks: Vec::new(), position: 0, dropped_bytes: 0, has_more: true }
    }

    /// Appends output read from its position.
    pub(in crate::top) fn add(&mut self, more: OutputView) {
        self.has_more = more.position > self.position && !more.chunks.is_empty();
        self.position = more.position;
        self.dropped_bytes = more.dropped_bytes;
        self.chunks.extend(more.chunks);
        let mut size: usize = self.chunks.iter().map(|chunk| chunk.text.len()).sum();
        let mut removed = 0;
        while size > MAX_OUTPUT_BYTES && removed + 1 < self.chunks.len() {
            size -= self.chunks[removed].text.len();
            removed += 1;
        }
        self.chunks.drain(..removed);
    }
}

impl Known {
    /// Appends an event to the log.
    pub(in crate::top) fn log(&mut self, event: LoggedEvent) {
        if self.events.back().is_some_and(|last| last.seq >= event.seq) {
            return;
        }
        self.events.push_back(event);
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }

    /// Returns the details of this agent, if loaded.
    pub(in crate::top) fn detail_of(&self, agent: &AgentId) -> Option<&AgentDetail> {
        self.detail.as_ref().filter(|detail| detail.agent.agent_id == *agent)
    }

    /// Returns the details of this run, if loaded.
    pub(in crate::top) fn run_of(&self, run: RunId) -> Option<&RunDetail> {
        self.run.as_ref().filter(|detail| detail.run.run_id == run)
    }

    /// Returns the run as last listed.
    pub(in crate::top) fn run_row(&self, run: RunId) -> Option<&RunView> {
        let listed = self.live.iter().chain(&self.runs).find(|view| view.run_id == run);
        listed.or_else(|| self.run_of(run).map(|detail| &detail.run))
    }

    /// Returns the open incident about the agent's own failures.
    pub(in crate::top) fn own_incident(&self, agent: &AgentId) -> Option<&IncidentView> {
        self.incidents.iter().find(|one| one.agent_id == *agent && is_own(one) && one.resolved_at.is_none())
    }
}

/// Returns whether the incident is about the failures of its agent.
pub(in crate::top) fn is_own(incident: &IncidentView) -> bool {
    incident.key.strip_prefix("agent:") == Some(incident.agent_id.as_str())
}
