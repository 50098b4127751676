//! Records of the conversation of a run with a model: requests with what is held and charged for them, tool calls,
//! approvals, and memory.
use super::memory::MemoryStore;
use super::{AgentId, ChatMessage, RunId, Step, Usage, WorstCase};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One entry of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Talk {
    pub run: RunId,
    pub agent: AgentId,
    pub session: Arc<str>,
    pub attempt: u32,
    pub said: Said,
}

/// The content of a conversation entry. `n` is a position in the journal of the run, from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The conversation begins with this query.
    Query {
        /// Position in the journal.
        n: u64,
        text: String,
        /// As in [`Step::Begun`].
        untrusted: bool,
        /// As in [`Step::Begun`].
        seen: Vec<String>,
        /// As in [`Step::Begun`].
        gate: Option<String>,
    },
    /// A request is about to be sent; its worst case is held in the budgets.
    Held {
        /// Position in the journal.
        n: u64,
        /// Name of a `[models.…]` table.
        model: String,
        /// Worst case that is held.
        worst: WorstCase,
        /// The day to whose budgets it is charged.
        day: Date,
    },
    /// A request was answered or failed; its actual use replaces what was held.
    Settled {
        /// Position in the journal.
        n: u64,
        /// Position of the request.
        asked: u64,
        /// `Answered` or `Unanswered`.
        step: Box<Step>,
        /// The day to whose budgets it is charged.
        day: Date,
        /// Time from request to answer, in milliseconds.
        took_ms: u64,
    },
    /// A request without a known outcome is charged its full worst case.
    Charged {
        /// Position of the request in the journal.
        asked: u64,
        /// Name of a `[models.…]` table.
        model: String,
        used: Usage,
        /// The day to whose budgets it is charged.
        day: Date,
    },
    /// Another entry of the journal.
    Step {
        /// Position in the journal.
        n: u64,
        step: Box<Step>,
        /// The tool that it is about.
        tool: String,
        /// Its arguments as JSON, for people; shortened.
        args: String,
        /// Duration of the call in milliseconds; 0 when it begins.
        took_ms: u64,
    },
    /// The final answer of the run.
    Final {
        /// The unshortened text.
        text: String,
    },
    /// The run continues from its journal after the daemon or the machine went down.
    Resumed,
    /// Calls wait for approval; the run takes no worker meanwhile.
    Waits { wanted: Vec<ApprovalWanted> },
    /// A person decided about one of these calls.
    Decided {
        id: String,
        /// Index among the calls of the newest turn.
        call: usize,
        tool: String,
        approved: bool,
        /// Comment of the person.
        reason: Option<String>,
        /// Who decided, if known: somebody at a notification target.
        by: Option<String>,
    },
}

/// A tool call that needs approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalWanted {
    /// Identifies the request for approval: the end of the run's id, the position in its journal and the index of
    /// the call.
    pub id: String,
    /// Index among the calls of the newest turn.
    pub call: usize,
    pub tool: String,
    /// Its arguments, as JSON.
    pub args: String,
}

/// A call that waits for approval, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    pub run: RunId,
    pub agent: AgentId,
    pub wanted: ApprovalWanted,
    pub requested_at: Timestamp,
}

/// The amount held for a request without an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldRecord {
    pub run: RunId,
    pub agent: AgentId,
    /// Position of the request in the run's journal.
    pub n: u64,
    /// Name of a `[models.…]` table.
    pub model: String,
    pub worst: WorstCase,
    /// The day to whose budgets it is charged.
    pub day: Date,
}

/// What one agent used on one day.
#[derive(Clone, Debug, PartialEq)]
pub struct SpentRow {
    /// The day, in the daemon's time zone.
    pub day: Date,
    pub agent: AgentId,
    pub used: Usage,
}

/// A budget that is nearly or completely used up.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetNotice {
    /// Owner of the limit. `None`: the fleet.
    pub agent: Option<AgentId>,
    /// Its key, such as `usd_per_day`.
    pub limit: &'static str,
    /// True: it is used up. False: the warning threshold was reached.
    pub exhausted: bool,
    pub allowed: f64,
    /// Amount used or held.
    pub used: f64,
    /// The day that it is about.
    pub day: Date,
    pub text: String,
}

/// A step of archiving rows, as the state database keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveStep {
    /// The archived table, and where it is.
    pub source: String,
    /// Destination of the rows.
    pub place: String,
    pub doing: ArchiveState,
}

/// The state of an archive.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchiveState {
    /// It is about to move rows.
    Intends {
        /// The pending keys, as JSON in the archive's own format.
        keys: String,
    },
    /// The rows were moved; nothing is pending.
    Done {
        rows: u64,
        /// Size in bytes.
        bytes: u64,
    },
}

/// A budget notification that was sent, so that it is sent only once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetTold {
    /// First day of the limit's period: the day itself, or the first of the month.
    pub since: Date,
    /// Owner of the limit. `None`: the fleet.
    pub agent: Option<AgentId>,
    /// Key and allowed amount: a raised limit counts as a different one.
    pub limit: String,
    /// As in [`BudgetNotice`].
    pub exhausted: bool,
}

impl BudgetNotice {
    /// Returns the key by which it is reported only once.
    pub fn told(&self) -> BudgetTold {
        let since = if self.limit.ends_with("_per_month") { self.day.first_of_month() } else { self.day };
        let limit = format!("{} = {}", self.limit, self.allowed);
        BudgetTold { since, agent: self.agent.clone(), limit, exhausted: self.exhausted }
    }
}

/// A change of the memory of agents.
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryChange {
    /// A run completed; its question and answer are added to the session.
    Said {
        session: Arc<str>,
        run: RunId,
        messages: Vec<ChatMessage>,
        /// The run had read data from outside.
        untrusted: bool,
        /// Where the session is stored.
        store: MemoryStore,
    },
    /// A note is stored; an empty text deletes it.
    Note {
        agent: AgentId,
        key: String,
        text: String,
        /// The run that stores it had read data from outside.
        untrusted: bool,
        /// Where the notes are stored.
        store: MemoryStore,
    },
    /// Items of a gate have been seen.
    Seen {
        agent: AgentId,
        /// Hashes of the fields that identify the items.
        items: Vec<String>,
    },
    /// Session, notes and seen items of an agent are cleared.
    Cleared {
        agent: AgentId,
        session: Arc<str>,
        /// Where its memory is stored.
        store: MemoryStore,
    },
}

/// A message of a session, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    pub at: Timestamp,
    pub message: ChatMessage,
    /// Written by a run that had read data from outside.
    pub untrusted: bool,
}

/// A note of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub key: String,
    pub text: String,
    pub at: Timestamp,
    /// Stored by a run that had read data from outside.
    pub untrusted: bool,
}

/// The answer of an agent's last completed run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastResult {
    pub text: Arc<str>,
    /// It may contain data from outside.
    pub untrusted: bool,
}
