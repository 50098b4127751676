//! The state of the screen.
use super::known::Known;
use super::list::CursorList;
use super::needs::JudgedFleet;
use super::rowkey::{RowKey, UsedBy};
use super::sorting::Sorting;
use super::strip::SlotSpan;
use crate::domain::{AgentId, Desired, Health, LoggedEvent, RunId};
use crate::top::asks::{Act, TopRequestKind};
use crate::top::layout::areas;
use crate::top::moment::TopMoment;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Rows keep their order for this long after a key press, so that none moves while the user is about to act on it.
pub(in crate::top) const ROW_ORDER_DELAY: Duration = Duration::from_secs(2);

/// The views, in the order of their digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::top) enum TopView {
    /// Items that need a person first.
    Now,
    Agents,
    /// Runs, newest first.
    Runs,
    /// Past and upcoming slots.
    Slots,
    Incidents,
    Approvals,
    /// Usage, and what is left of budgets.
    Spending,
    Log,
}

impl TopView {
    /// All views, in order.
    pub(in crate::top) const ALL: [Self; 8] = [
        Self::Now,
        Self::Agents,
        Self::Runs,
        Self::Slots,
        Self::Incidents,
        Self::Approvals,
        Self::Spending,
        Self::Log,
    ];

    /// Returns the name for the tab.
    pub(in crate::top) fn name(self) -> &'static str {
        match self {
            Self::Now => "Now",
            Self::Agents => "Agents",
            Self::Runs => "Runs",
            Self::Slots => "Slots",
            Self::Incidents => "Incidents",
            Self::Approvals => "Approvals",
            Self::Spending => "Spend",
            Self::Log => "Log",
        }
    }

    /// Returns its index among all views, from 0.
    pub(in crate::top) fn place(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

/// A page opened from a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum TopPage {
    Agent(AgentId),
    /// The course of a run. If true, only its output.
    Run(AgentId, RunId, bool),
    Incident(AgentId, String),
    Approval(String),
    Event(u64),
}

/// An overlay that stays until a key is pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum Overlay {
    /// The keys, starting with this line.
    Help(usize),
    /// The explanation of this agent's newest slot.
    Why(AgentId),
}

/// A text prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) struct Prompt {
    pub(in crate::top) what: PromptFor,
    /// The text typed so far.
    pub(in crate::top) text: String,
}

/// What a prompt is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum PromptFor {
    /// The filter of the rows.
    Filter,
    /// For how long to pause an agent.
    Pause(AgentId),
    /// Why to deny a call.
    Deny(String),
}

/// A confirmation question before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) struct ActQuestion {
    /// The change to carry out on yes.
    pub(in crate::top) act: Act,
    /// When the question was asked.
    pub(in crate::top) asked: Duration,
    /// The state of the object at that time; if it has changed, the question is void.
    pub(in crate::top) about: ActTarget,
}

/// The state that a question depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum ActTarget {
    /// An agent: its desired state, health, runs in flight and next slot, as far as the change depends on them.
    Agent(Desired, Health, Vec<RunId>, Option<Timestamp>),
    /// The object exists, unchanged.
    There,
    /// The object was removed, decided or has ended.
    Gone,
}

/// The state of the connection to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum Connected {
    Yes,
    /// Disconnected since this time.
    Away(Timestamp),
    /// Failed permanently, for this reason.
    Lost(String),
}

/// What to request again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::top) struct PendingRequests {
    pub(in crate::top) all_agents: bool,
    pub(in crate::top) agents: BTreeSet<AgentId>,
    /// Everything else, by kind.
    pub(in crate::top) kinds: BTreeSet<TopRequestKind>,
}

impl PendingRequests {
    /// Marks everything to be requested.
    pub(in crate::top) fn everything() -> Self {
        use TopRequestKind as K;
        let kinds = [
            K::Daemon,
            K::Incidents,
            K::Approvals,
            K::Next,
            K::Slots,
            K::Live,
            K::Runs,
            K::Usage,
            K::Detail,
            K::Run,
        ];
        Self { all_agents: true, agents: BTreeSet::new(), kinds: kinds.into() }
    }
}

/// The state of the screen.
#[derive(Debug)]
pub(in crate::top) struct TopModel {
    /// The time of the newest input.
    pub(in crate::top) moment: TopMoment,
    /// Time zone for display.
    pub(in crate::top) zone: TimeZone,
    /// Name of the machine.
    pub(in crate::top) host: String,
    /// Columns and lines of the terminal.
    pub(in crate::top) size: (u16, u16),
    /// Changes are disabled.
    pub(in crate::top) read_only: bool,
    /// What is known of the fleet.
    pub(in crate::top) known: Known,
    /// The judgement of the known state.
    pub(in crate::top) judged: JudgedFleet,
    /// When the fleet was last judged.
    pub(in crate::top) judged_at: Option<Duration>,
    /// An answer has arrived since.
    pub(in crate::top) news: bool,
    pub(in crate::top) connected: Connected,
    pub(in crate::top) view: TopView,
    /// The list of each view.
    pub(in crate::top) lists: [CursorList; 8],
    /// Open pages, each opened from the one before.
    pub(in crate::top) places: Vec<TopPage>,
    /// First visible line of the open page.
    pub(in crate::top) scroll: usize,
    /// The page is scrolled to its end, and follows it.
    pub(in crate::top) follow: bool,
    pub(in crate::top) overlay: Option<Overlay>,
    pub(in crate::top) prompt: Option<Prompt>,
    pub(in crate::top) question: Option<ActQuestion>,
    /// Text that rows must contain; with a leading `!`, must not contain.
    pub(in crate::top) filter: String,
    /// Show only what is not well.
    pub(in crate::top) only_unwell: bool,
    pub(in crate::top) sorting: Sorting,
    /// Period of the slots view.
    pub(in crate::top) span: SlotSpan,
    /// Resolved incidents are listed as well.
    pub(in crate::top) ended: bool,
    /// The display is frozen.
    pub(in crate::top) frozen: bool,
    /// A status message, and until when it is shown.
    pub(in crate::top) message: Option<(String, Duration)>,
    /// When the last key was pressed.
    pub(in crate::top) last_key: Option<Duration>,
    pub(in crate::top) dirty: PendingRequests,
    /// Kinds that have been answered at least once.
    pub(in crate::top) answered: BTreeSet<TopRequestKind>,
    /// Kinds of requests in flight.
    pub(in crate::top) asking: BTreeSet<TopRequestKind>,
    /// When each kind was last asked.
    pub(in crate::top) asked: BTreeMap<TopRequestKind, Duration>,
    /// Incremented with each change of the display.
    pub(in crate::top) version: u64,
}

impl TopModel {
    /// Creates an empty state.
    pub(in crate::top) fn new(moment: TopMoment, zone: TimeZone, host: String, size: (u16, u16)) -> Self {
        Self {
            moment,
            zone,
            host,
            size,
            read_only: false,
            known: Known::default(),
            judged: JudgedFleet::default(),
            judged_at: None,
            news: true,
            connected: Connected::Yes,
            view: TopView::Now,
            lists: Default::default(),
            places: Vec::new(),
            scroll: 0,
            follow: false,
            overlay: None,
            prompt: None,
            question: None,
            filter: String::new(),
            only_unwell: false,
            sorting: Sorting::Name,
            span: SlotSpan::Hour,
            ended: false,
            frozen: false,
            message: None,
            last_key: None,
            dirty: PendingRequests::everything(),
            answered: BTreeSet::new(),
            asking: BTreeSet::new(),
            asked: BTreeMap::new(),
            version: 0,
        }
    }

    /// Returns the height of the list or page in lines.
    pub(in crate::top) fn height(&self) -> usize {
        usize::from(areas(self.size.0, self.size.1).body.height)
    }

    /// Returns the list of the current view.
    pub(in crate::top) fn list(&self) -> &CursorList {
        &self.lists[self.view.place()]
    }

    /// Returns the list of the current view for modification.
    pub(in crate::top) fn list_mut(&mut self) -> &mut CursorList {
        &mut self.lists[self.view.place()]
    }

    /// Limits scrolling to the end of a page with this many lines.
    pub(in crate::top) fn settle_scroll(&mut self, lines: usize) {
        let most = lines.saturating_sub(self.height());
        self.scroll = if self.follow { most } else { self.scroll.min(most) };
    }

    /// Returns whether everything in the first view has been answered.
    pub(in crate::top) fn is_complete(&self) -> bool {
        use TopRequestKind as K;
        [K::Daemon, K::Agents, K::Incidents, K::Approvals, K::Live]
            .iter()
            .all(|kind| self.answered.contains(kind))
    }

    /// Returns whether a key was pressed recently.
    pub(in crate::top) fn is_still(&self) -> bool {
        self.last_key.is_some_and(|at| self.moment.since_start < at + ROW_ORDER_DELAY)
    }

    /// Returns whether changes are possible.
    pub(in crate::top) fn may_act(&self) -> bool {
        !self.read_only && self.connected == Connected::Yes
    }

    /// Shows a status message for a while.
    pub(in crate::top) fn say(&mut self, text: impl Into<String>) {
        self.message = Some((text.into(), self.moment.since_start + Duration::from_secs(8)));
        self.version += 1;
    }

    /// Returns the item of the open page, or the selected one.
    pub(in crate::top) fn focus(&self) -> Option<RowKey> {
        match self.places.last() {
            Some(TopPage::Agent(agent)) => Some(RowKey::Agent(agent.clone())),
            Some(TopPage::Run(_, run, _)) => Some(RowKey::Run(*run)),
            Some(TopPage::Incident(agent, key)) => Some(RowKey::Incident(agent.clone(), key.clone())),
            Some(TopPage::Approval(id)) => Some(RowKey::Approval(id.clone())),
            Some(TopPage::Event(seq)) => Some(RowKey::Event(*seq)),
            None => self.list().current().cloned(),
        }
    }

    /// Returns the agent of that item.
    pub(in crate::top) fn focused_agent(&self) -> Option<AgentId> {
        match self.focus()? {
            RowKey::Agent(agent) | RowKey::Incident(agent, _) | RowKey::Strip(agent) => Some(agent),
            RowKey::Approval(id) => {
                self.known.approvals.iter().find(|one| one.id == id).and_then(|one| one.agent_id.clone())
            }
            RowKey::Run(run) => match self.places.last() {
                Some(TopPage::Run(agent, ..)) => Some(agent.clone()),
                _ => self.known.run_row(run).map(|view| view.agent_id.clone()),
            },
            RowKey::Used(UsedBy::Agent, name) => name.parse().ok(),
            RowKey::Event(seq) => self.event(seq).and_then(|event| event.agent_id.clone()),
            _ => None,
        }
        .filter(|agent| self.known.agents.contains_key(agent))
    }

    /// Returns the run of that item: itself, or the newest run of its agent.
    pub(in crate::top) fn focused_run(&self) -> Option<(AgentId, RunId)> {
        let agent = self.focused_agent()?;
        match self.focus()? {
            RowKey::Run(run) => return Some((agent, run)),
            RowKey::Approval(id) => {
                return self.known.approvals.iter().find(|one| one.id == id).map(|one| (agent, one.run_id));
            }
            RowKey::Event(seq) => return self.event(seq)?.run_id.map(|run| (agent, run)),
            _ => {}
        }
        let view = self.known.agents.get(&agent)?;
        let ended = || view.last_run.as_ref().and_then(|last| last.run_id);
        let run = view.runs_in_flight.last().copied().or_else(ended)?;
        Some((agent, run))
    }

    /// Returns an event of the log.
    pub(in crate::top) fn event(&self, seq: u64) -> Option<&LoggedEvent> {
        self.known.events.iter().find(|event| event.seq.0 == seq)
    }
}
