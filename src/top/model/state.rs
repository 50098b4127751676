//! The state of the screen.
use super::known::Known;
use super::list::CursorList;
use super::needs::JudgedFleet;
use super::rowkey::{RowKey, UsedBy};
use super::sorting::Sorting;
use super::strip::SlotSpan;
use crate::domain::{AgentId, Desired, Health, LoggedEvent, RunId};
use crate::top::asks::{Act, AskKind};
use crate::top::layout::areas;
use crate::top::moment::TopMoment;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Lines keep their order for so long after a key, so that none is moved away from under the finger.
pub(in crate::top) const STILL: Duration = Duration::from_secs(2);

/// The views, in the order of their digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::top) enum TopView {
    /// What needs a person first.
    Now,
    Agents,
    /// Runs, newest first.
    Runs,
    /// What became of slots, and what comes.
    Slots,
    Incidents,
    /// Calls that wait.
    Approvals,
    /// What was used, and what is left.
    Spending,
    Log,
}

impl TopView {
    /// All of them.
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

    /// Its name, for its tab.
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

    /// Its place among all, from 0.
    pub(in crate::top) fn place(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

/// A page that was opened from a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum TopPlace {
    Agent(AgentId),
    /// A run of an agent: how it went. True: its output alone.
    Run(AgentId, RunId, bool),
    Incident(AgentId, String),
    /// A call that waits.
    Approval(String),
    Event(u64),
}

/// Something that lies over the screen until a key is pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum Overlay {
    /// The keys, from this line of them on.
    Help(usize),
    /// What became of the newest slot of this agent.
    Why(AgentId),
}

/// A text that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) struct Prompt {
    pub(in crate::top) what: PromptFor,
    /// What was typed so far.
    pub(in crate::top) text: String,
}

/// What a text is typed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum PromptFor {
    /// Which lines are shown.
    Filter,
    /// How long an agent pauses.
    Pause(AgentId),
    /// Why a call is denied.
    Deny(String),
}

/// A question before something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) struct ActQuestion {
    /// What is done if the answer is yes.
    pub(in crate::top) act: Act,
    /// When it was asked.
    pub(in crate::top) asked: Duration,
    /// What the object was like when it was asked; if it is otherwise, the question is void.
    pub(in crate::top) about: ActedOn,
}

/// What a question depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum ActedOn {
    /// An agent: what is wanted of it, how it fares, its runs in flight, its next slot; as far as the act depends on it.
    Agent(Desired, Health, Vec<RunId>, Option<Timestamp>),
    /// It is there as it was.
    There,
    /// It is gone, decided or ended.
    Gone,
}

/// Whether the daemon is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum Connected {
    Yes,
    /// It is away, since then.
    Away(Timestamp),
    /// It can't be talked to any more, and why.
    Lost(String),
}

/// What is to be asked for anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::top) struct Dirty {
    pub(in crate::top) all_agents: bool,
    pub(in crate::top) agents: BTreeSet<AgentId>,
    /// The rest, by kind.
    pub(in crate::top) kinds: BTreeSet<AskKind>,
}

impl Dirty {
    /// All of it.
    pub(in crate::top) fn everything() -> Self {
        use AskKind as K;
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
    /// Of the newest input.
    pub(in crate::top) moment: TopMoment,
    /// Zone of local times.
    pub(in crate::top) zone: TimeZone,
    /// Name of the machine.
    pub(in crate::top) host: String,
    /// Columns and lines of the terminal.
    pub(in crate::top) size: (u16, u16),
    /// Nothing is done.
    pub(in crate::top) read_only: bool,
    /// What is known of the fleet.
    pub(in crate::top) known: Known,
    /// What is judged of that.
    pub(in crate::top) judged: JudgedFleet,
    /// When that was judged.
    pub(in crate::top) judged_at: Option<Duration>,
    /// Something was answered since then.
    pub(in crate::top) news: bool,
    /// Whether the daemon is there.
    pub(in crate::top) connected: Connected,
    pub(in crate::top) view: TopView,
    /// Its list, and those of the others.
    pub(in crate::top) lists: [CursorList; 8],
    /// Pages that were opened, one from the other.
    pub(in crate::top) places: Vec<TopPlace>,
    /// First line of the page that is shown.
    pub(in crate::top) scroll: usize,
    /// The page is shown from its end, and goes on with it.
    pub(in crate::top) follow: bool,
    /// What lies over it.
    pub(in crate::top) overlay: Option<Overlay>,
    /// A text that is being typed.
    pub(in crate::top) prompt: Option<Prompt>,
    /// A question before something is done.
    pub(in crate::top) question: Option<ActQuestion>,
    /// What lines must have in them; with `!` before it: must not.
    pub(in crate::top) filter: String,
    /// Only what is not well.
    pub(in crate::top) only_unwell: bool,
    /// Order of the agents.
    pub(in crate::top) sorting: Sorting,
    /// How far back slots are shown.
    pub(in crate::top) span: SlotSpan,
    /// Problems that have ended are listed as well.
    pub(in crate::top) ended: bool,
    /// Nothing on the screen changes.
    pub(in crate::top) frozen: bool,
    /// A line for a person, and until when it is shown.
    pub(in crate::top) message: Option<(String, Duration)>,
    /// When the last key was pressed.
    pub(in crate::top) last_key: Option<Duration>,
    /// What is to be asked for anew.
    pub(in crate::top) dirty: Dirty,
    /// What was answered at least once.
    pub(in crate::top) answered: BTreeSet<AskKind>,
    /// What is being asked.
    pub(in crate::top) asking: BTreeSet<AskKind>,
    /// When each kind was last asked.
    pub(in crate::top) asked: BTreeMap<AskKind, Duration>,
    /// Identity of what is on the screen changes with each change of it.
    pub(in crate::top) version: u64,
}

impl TopModel {
    /// Nothing is known yet.
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
            dirty: Dirty::everything(),
            answered: BTreeSet::new(),
            asking: BTreeSet::new(),
            asked: BTreeMap::new(),
            version: 0,
        }
    }

    /// Lines of the list or the page.
    pub(in crate::top) fn height(&self) -> usize {
        usize::from(areas(self.size.0, self.size.1).body.height)
    }

    /// The list of the view.
    pub(in crate::top) fn list(&self) -> &CursorList {
        &self.lists[self.view.place()]
    }

    /// The same, to move in it.
    pub(in crate::top) fn list_mut(&mut self) -> &mut CursorList {
        &mut self.lists[self.view.place()]
    }

    /// A page of so many lines was drawn: nobody scrolls beyond its end.
    pub(in crate::top) fn settle_scroll(&mut self, lines: usize) {
        let most = lines.saturating_sub(self.height());
        self.scroll = if self.follow { most } else { self.scroll.min(most) };
    }

    /// Has all that the first view is made of been answered?
    pub(in crate::top) fn is_complete(&self) -> bool {
        use AskKind as K;
        [K::Daemon, K::Agents, K::Incidents, K::Approvals, K::Live]
            .iter()
            .all(|kind| self.answered.contains(kind))
    }

    /// Was a key pressed just now?
    pub(in crate::top) fn is_still(&self) -> bool {
        self.last_key.is_some_and(|at| self.moment.since_start < at + STILL)
    }

    /// May something be done?
    pub(in crate::top) fn may_act(&self) -> bool {
        !self.read_only && self.connected == Connected::Yes
    }

    /// A line for a person, for a while.
    pub(in crate::top) fn say(&mut self, text: impl Into<String>) {
        self.message = Some((text.into(), self.moment.since_start + Duration::from_secs(8)));
        self.version += 1;
    }

    /// What is looked at: the page that is open, or what the cursor is on.
    pub(in crate::top) fn focus(&self) -> Option<RowKey> {
        match self.places.last() {
            Some(TopPlace::Agent(agent)) => Some(RowKey::Agent(agent.clone())),
            Some(TopPlace::Run(_, run, _)) => Some(RowKey::Run(*run)),
            Some(TopPlace::Incident(agent, key)) => Some(RowKey::Incident(agent.clone(), key.clone())),
            Some(TopPlace::Approval(id)) => Some(RowKey::Approval(id.clone())),
            Some(TopPlace::Event(seq)) => Some(RowKey::Event(*seq)),
            None => self.list().current().cloned(),
        }
    }

    /// The agent of what is looked at.
    pub(in crate::top) fn focused_agent(&self) -> Option<AgentId> {
        match self.focus()? {
            RowKey::Agent(agent) | RowKey::Incident(agent, _) | RowKey::Strip(agent) => Some(agent),
            RowKey::Approval(id) => {
                self.known.approvals.iter().find(|one| one.id == id).and_then(|one| one.agent_id.clone())
            }
            RowKey::Run(run) => match self.places.last() {
                Some(TopPlace::Run(agent, ..)) => Some(agent.clone()),
                _ => self.known.run_row(run).map(|view| view.agent_id.clone()),
            },
            RowKey::Used(UsedBy::Agent, name) => name.parse().ok(),
            RowKey::Event(seq) => self.event(seq).and_then(|event| event.agent_id.clone()),
            _ => None,
        }
        .filter(|agent| self.known.agents.contains_key(agent))
    }

    /// The run of what is looked at: itself, or the newest of its agent.
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

    /// An event of the log.
    pub(in crate::top) fn event(&self, seq: u64) -> Option<&LoggedEvent> {
        self.known.events.iter().find(|event| event.seq.0 == seq)
    }
}
