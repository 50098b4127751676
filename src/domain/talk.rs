//! What is recorded of a run that a model carries out: requests with what is held and charged for
//! them, calls of tools, approvals, and what stays in memory.
use super::memory::MemoryStore;
use super::{AgentId, ChatMessage, RunId, Step, Usage, WorstCase};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One thing that happened in a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Talk {
    /// In which run.
    pub run: RunId,
    pub agent: AgentId,
    /// In which session.
    pub session: Arc<str>,
    /// In which attempt.
    pub attempt: u32,
    pub said: Said,
}

/// What happened in a conversation. `n` is a place in the journal of the run, from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The conversation begins with this query.
    Query {
        /// Place in the journal.
        n: u64,
        text: String,
        /// As in [`Step::Begun`].
        untrusted: bool,
        /// As in [`Step::Begun`].
        seen: Vec<String>,
        /// As in [`Step::Begun`].
        gate: Option<String>,
    },
    /// A request is about to be sent; its worst case is held back from the budgets.
    Held {
        /// Place in the journal.
        n: u64,
        /// Name of a `[models.…]` table.
        model: String,
        /// What is held.
        worst: WorstCase,
        /// The day whose budgets it is held back from.
        day: Date,
    },
    /// A request has an end, `answered` or `unanswered`; what it used replaces what was held.
    Settled {
        /// Place in the journal.
        n: u64,
        /// Place of the request that has its end.
        asked: u64,
        /// How it ended.
        step: Box<Step>,
        /// The day whose budgets it was held back from.
        day: Date,
        /// From sent to answered, in milliseconds.
        took_ms: u64,
    },
    /// A request whose end nobody saw: all that was held for it is charged.
    Charged {
        /// Place of the request in the journal.
        asked: u64,
        /// Name of a `[models.…]` table.
        model: String,
        used: Usage,
        /// The day whose budgets it was held back from.
        day: Date,
    },
    /// Another entry of the journal.
    Step {
        /// Place in the journal.
        n: u64,
        step: Box<Step>,
        /// The tool that it is about.
        tool: String,
        /// Its arguments as JSON, for people; shortened.
        args: String,
        /// How long the call took, in milliseconds; 0 for one that begins.
        took_ms: u64,
    },
    /// The answer of the run.
    Final {
        /// As it is.
        text: String,
    },
    /// The run goes on from its journal after the daemon or the machine went down.
    Resumed,
    /// Calls wait for a person; the run holds no worker meanwhile.
    Waits { wanted: Vec<ApprovalWanted> },
    /// A person decided about one of them.
    Decided {
        id: String,
        /// Place among the calls of the newest turn.
        call: usize,
        tool: String,
        /// It may be made.
        approved: bool,
        /// What the person said.
        reason: Option<String>,
        /// Who, where that is known: somebody at a notification target.
        by: Option<String>,
    },
}

/// A call of a tool that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalWanted {
    /// Names the wish for people and programs: the end of the run's id, the place in its journal and
    /// the place of the call.
    pub id: String,
    /// Place among the calls of the newest turn.
    pub call: usize,
    pub tool: String,
    /// Its arguments, as JSON.
    pub args: String,
}

/// A call that waits for a person, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// Of which run.
    pub run: RunId,
    pub agent: AgentId,
    /// What is wanted.
    pub wanted: ApprovalWanted,
    pub requested_at: Timestamp,
}

/// What is held for a request that has no end.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldRecord {
    /// Of which run.
    pub run: RunId,
    pub agent: AgentId,
    /// Place of the request in the run's journal.
    pub n: u64,
    /// Name of a `[models.…]` table.
    pub model: String,
    pub worst: WorstCase,
    /// The day whose budgets it is held back from.
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

/// News of a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetNews {
    /// Whose limit. `None`: the fleet's.
    pub agent: Option<AgentId>,
    /// Its key: `usd_per_day`.
    pub limit: &'static str,
    /// True: it is used up. False: most of it is.
    pub exhausted: bool,
    /// How much it allows.
    pub allowed: f64,
    /// How much is used or held.
    pub used: f64,
    /// The day that it is about.
    pub day: Date,
    pub text: String,
}

/// A step of an archive of rows that the state database keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchiveStep {
    /// The table that is archived, and where it is.
    pub source: String,
    /// Where its rows go.
    pub place: String,
    pub doing: ArchiveDoing,
}

/// What an archive does.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchiveDoing {
    /// It is about to move rows.
    Intends {
        /// Which, as JSON of its own.
        keys: String,
    },
    /// It has moved them; nothing is pending.
    Done {
        rows: u64,
        /// Of how many bytes.
        bytes: u64,
    },
}

/// News of a budget that was told, so that it is told once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetTold {
    /// The first day of the time that the limit is for: that day, or its month.
    pub since: Date,
    /// Whose limit. `None`: the fleet's.
    pub agent: Option<AgentId>,
    /// Its key, and how much it allows: one that was raised is another one.
    pub limit: String,
    /// As in [`BudgetNews`].
    pub exhausted: bool,
}

impl BudgetNews {
    /// What is told of it once.
    pub fn told(&self) -> BudgetTold {
        let since = if self.limit.ends_with("_per_month") { self.day.first_of_month() } else { self.day };
        let limit = format!("{} = {}", self.limit, self.allowed);
        BudgetTold { since, agent: self.agent.clone(), limit, exhausted: self.exhausted }
    }
}

/// A change of what agents remember.
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryChange {
    /// A run completed; its question and answer join the session.
    Said {
        session: Arc<str>,
        /// By which run.
        run: RunId,
        messages: Vec<ChatMessage>,
        /// The run had read data from outside.
        untrusted: bool,
        /// Where the session is.
        store: MemoryStore,
    },
    /// A note is kept; an empty text takes it away.
    Note {
        agent: AgentId,
        key: String,
        text: String,
        /// The run that keeps it had read data from outside.
        untrusted: bool,
        /// Where the notes are.
        store: MemoryStore,
    },
    /// Items of a gate are seen.
    Seen {
        agent: AgentId,
        /// What they are told apart by, hashed.
        items: Vec<String>,
    },
    /// Session, notes and seen items of an agent are forgotten.
    Cleared {
        agent: AgentId,
        session: Arc<str>,
        /// Where it remembers.
        store: MemoryStore,
    },
}

/// A message of a session, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// When it was said.
    pub at: Timestamp,
    pub message: ChatMessage,
    /// By a run that had read data from outside.
    pub untrusted: bool,
}

/// A note of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub key: String,
    pub text: String,
    pub at: Timestamp,
    /// Kept by a run that had read data from outside.
    pub untrusted: bool,
}

/// The answer of an agent's last run that completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastResult {
    pub text: Arc<str>,
    /// It may hold data from outside.
    pub untrusted: bool,
}
