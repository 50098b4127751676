//! Parameters and results of the store, beside facts and events.
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The result of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The newest event.
    pub newest: Seq,
    /// The newest event when the last entry of this commit was written; others may have shared its
    /// transaction.
    pub last: Seq,
    /// Claims that were refused because their (agent, slot) had been claimed before. Everything
    /// else of the commit is durable.
    pub refused: Vec<RunId>,
    /// The number of events of this commit.
    pub events: u64,
}

/// The state of the records when the store was opened.
#[derive(Debug, Default)]
pub struct Restored {
    /// Every agent ever seen.
    pub agents: Vec<AgentRecord>,
    /// Runs without an end, oldest first, with the processes started for them.
    pub open_runs: Vec<RunRecord>,
    /// Incidents that are pending or open.
    pub incidents: Vec<IncidentRecord>,
    /// Calls that wait for a person.
    pub approvals: Vec<ApprovalRecord>,
    /// Holds of model requests with an unknown outcome.
    pub holds: Vec<HoldRecord>,
    /// Usage by day and agent, of the last months.
    pub spent: Vec<SpentRow>,
    /// Backfills that have not ended.
    pub backfills: Vec<BackfillRecord>,
    /// Budget notices already sent.
    pub told: Vec<BudgetTold>,
    /// Sessions of nodes that may have runs in flight, or undecided reports.
    pub nodes: Vec<LiveNode>,
    /// The run with the greatest id.
    pub newest_run: Option<RunId>,
    /// Identity of the database: a UUID assigned at its creation, and again when a copy takes its place.
    pub database: String,
    /// The databases of which it is a copy, newest first.
    pub ancestors: Vec<Ancestor>,
    /// Set if it is a copy that was put in the place of the database.
    pub went_back: Option<WentBack>,
    /// Set if it is such a copy, and events since then are not recorded.
    pub lost: Option<LostRecords>,
    /// Whether the last daemon did not close it cleanly.
    pub unclean: bool,
    /// Wall clock of the newest event, if there is one.
    pub newest_event_at: Option<Timestamp>,
}

/// A database of which another one is a copy: up to an event they are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    pub database: String,
    /// The newest event that both have.
    pub until: u64,
}

/// A copy was put in the place of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WentBack {
    /// The newest event of the copy.
    pub newest: Seq,
    /// The newest event that the database had, if that is known.
    pub known: Option<Seq>,
}

/// An entry of a run's journal.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    pub n: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The tool, of calls.
    pub tool: Option<String>,
    /// The arguments, of calls; shortened.
    pub args: Option<String>,
    /// Duration in milliseconds.
    pub took_ms: u64,
    pub step: Step,
}

/// Selects events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Agents: names or globs (`*`, `?`). Empty: all, and events without an agent.
    pub agents: Vec<String>,
    /// Types: names or globs. Empty: all.
    pub types: Vec<String>,
    pub run: Option<RunId>,
    /// Only up to this instant.
    pub until: Option<Timestamp>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    pub events: Vec<LoggedEvent>,
    /// The position up to which events were examined: the cursor for the next page.
    pub cursor: Seq,
    /// Range of requested events that retention has removed.
    pub gap: Option<(Seq, Seq)>,
    /// Whether `cursor` is the newest event.
    pub at_end: bool,
}

/// A run in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    pub claim: RunRecord,
    pub finished_at: Option<Timestamp>,
    pub duration: Option<SignedDuration>,
    pub result: Option<String>,
    pub error: Option<RunError>,
    /// Exit code of a command that exited.
    pub exit_code: Option<i32>,
    pub usage: Usage,
    pub warnings: Vec<String>,
    /// The `[models.…]` table that it used last.
    pub model: Option<String>,
}

/// Selects runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Agents. Empty: all.
    pub agents: Vec<AgentId>,
    /// Statuses. Empty: all.
    pub statuses: Vec<RunStatus>,
    /// Triggers. Empty: all.
    pub triggers: Vec<Trigger>,
    /// Claimed before this run.
    pub before: Option<RunId>,
    /// Claimed at or after this instant.
    pub since: Option<Timestamp>,
    /// Claimed at or before this instant.
    pub until: Option<Timestamp>,
    /// Maximum number of runs; the newest first.
    pub limit: usize,
}

impl RunFilter {
    /// Selects the newest runs of one agent.
    pub fn newest_of(agent: AgentId, limit: usize) -> Self {
        Self { agents: vec![agent], limit, ..Self::default() }
    }
}

/// The result of looking up a run id.
#[derive(Debug, Clone, PartialEq)]
pub enum FoundRun {
    One(Box<RunRow>),
    None,
    /// Several: the text is too short.
    Several(Vec<RunId>),
}

/// A record of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerRow {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub verdict: Verdict,
    pub cause: String,
    /// The run, if there is one.
    pub run: Option<RunId>,
}

impl LedgerRow {
    /// Returns whether its slots ran and found all well, and so left no run record.
    pub fn is_all_well(&self) -> bool {
        self.verdict == Verdict::Ran && self.run.is_none() && self.cause == ALL_WELL
    }
}

/// A ledger record with its agent and the state of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    pub agent: AgentId,
    pub row: LedgerRow,
    /// Its run, if that is still recorded.
    pub run: Option<LedgerRun>,
}

/// The state of the run of a ledger record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LedgerRun {
    pub status: RunStatus,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    pub duration: Option<SignedDuration>,
}

/// Output of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputPage {
    /// The chunks in order, each with its attempt.
    pub chunks: Vec<(u32, OutputChunk)>,
    /// Row number after which to continue.
    pub position: u64,
    /// Number of bytes that were dropped.
    pub dropped_bytes: u64,
}

/// A due message in the outbox, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxHead {
    pub id: i64,
    /// Name of a `[notify.…]` table.
    pub target: String,
    /// The kind of message.
    pub about: TellOn,
    pub urgency: Urgency,
    /// Messages with the same number are sent as one, as in an attempt with an unknown outcome;
    /// with the number of characters of each.
    pub joined: Option<(i64, usize)>,
    /// Whether it asks about a call.
    pub asks: bool,
}

/// A call that people at a notification target were asked about, and its decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCall {
    pub question: QuestionRecord,
    /// Whether the call still waits.
    pub is_open: bool,
    /// Whether it may be made; false while it waits.
    pub approved: bool,
    /// Who decided, if known.
    pub by: Option<String>,
    /// The reason given.
    pub reason: Option<String>,
}

/// A call that waited for a person, with the decision.
#[derive(Debug, Clone, PartialEq)]
pub struct DecidedApproval {
    pub record: ApprovalRecord,
    pub at: Timestamp,
    /// Whether it may be made.
    pub approved: bool,
    /// Who decided, if known.
    pub by: Option<String>,
    /// The reason given.
    pub reason: Option<String>,
}

/// A result in the outbox beyond the limit of its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurplusResult {
    pub id: i64,
    /// Name of a `[notify.…]` table.
    pub target: String,
    pub agent: AgentId,
    pub run: Option<RunId>,
    /// Number of attempts so far.
    pub tries: u32,
}

/// A message in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    pub id: i64,
    /// Name of a `[notify.…]` table.
    pub target: String,
    pub agent: AgentId,
    /// The kind of message.
    pub about: TellOn,
    /// When the reported event happened.
    pub at: Timestamp,
    pub subject: String,
    pub body: String,
    /// Number of attempts so far.
    pub tries: u32,
    pub due: Timestamp,
    /// The run that it reports, if any.
    pub run: Option<RunId>,
    /// The key of the problem that it reports, if any.
    pub key: Option<String>,
    pub urgency: Urgency,
    /// The call that it asks about.
    pub approval: Option<String>,
}

/// The state of a target with messages that wait or were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxTarget {
    /// Name of a `[notify.…]` table.
    pub target: String,
    /// Number of messages that wait.
    pub waiting: u64,
    /// Number of messages recently given up.
    pub given_up: u64,
    /// When the oldest of both was written.
    pub oldest: Timestamp,
    /// Time of the next attempt; `None`: no message waits.
    pub next_try: Option<Timestamp>,
    /// Maximum number of attempts among waiting messages.
    pub tries: u32,
    /// Error of the newest failure.
    pub error: Option<String>,
}

/// Sizes and counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub newest_seq: u64,
    /// The oldest recorded event.
    pub oldest_seq: u64,
    /// Number of events within a minute before `now`.
    pub events_last_minute: u64,
    /// Bytes of the database with its log.
    pub bytes: u64,
    pub incidents: u64,
    /// Number of messages that wait.
    pub outbox: u64,
    /// Number of tool calls that wait for a person.
    pub approvals: u64,
}

/// How usage is grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    Agent,
    Model,
    /// By day, in the daemon's time zone.
    Day,
}

/// How usage within a period is grouped further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageOf {
    Agent,
    Model,
}

/// The data for `bgagent health`, read without a daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HealthReport {
    /// All active agents.
    pub agents: Vec<HealthRow>,
    /// Open critical incidents that are not acknowledged, and those of slow runs.
    pub incidents: Vec<OpenIncident>,
    /// Messages that were not delivered.
    pub untold: Vec<UndeliveredMessages>,
    /// The leader, if the records are on a server; `None`: there is none, or they are in a file.
    pub leader: Option<String>,
    /// Whether none of the live nodes may lead.
    pub nobody_may_lead: bool,
}

/// An incident that needs a person.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenIncident {
    pub agent: AgentId,
    pub key: String,
    pub title: String,
    /// When it opened.
    pub since: Timestamp,
    pub severity: Severity,
}

/// Undelivered messages to one target.
#[derive(Debug, Clone, PartialEq)]
pub struct UndeliveredMessages {
    /// Name of a `[notify.…]` table.
    pub target: String,
    pub count: u64,
    /// When the oldest of them was written.
    pub oldest: Timestamp,
    /// Whether they were given up.
    pub given_up: bool,
}

/// An active agent, for `bgagent health`.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthRow {
    pub agent: AgentId,
    /// Its next due time, as last written by the daemon. Only of active agents.
    pub next_due: Option<Timestamp>,
    /// Number of consecutive failed runs.
    pub errors_in_row: u32,
    pub circuit_open: bool,
    /// Since when and until when nothing starts, because the slots in between ran while the clock was ahead.
    pub silent: Option<(Timestamp, Timestamp)>,
    /// Why its newest slot was refused by a budget.
    pub no_budget: Option<String>,
    /// Whether there is no coming slot although its schedule has no end.
    pub no_slot: bool,
    /// Warnings of its last run.
    pub warnings: Vec<String>,
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    pub seq: Seq,
    pub at: Timestamp,
    pub kind: String,
    /// The agent, if it is about one.
    pub agent: Option<String>,
    /// The run, if it is about one.
    pub run: Option<RunId>,
    /// The session, if a model carries out the run.
    pub session: Option<String>,
    /// The payload as JSON; `null` if the row is damaged.
    pub payload: String,
}

/// A page of the log as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPageRows {
    /// The events, in order.
    pub rows: Vec<EventRow>,
    /// The newest event.
    pub newest: Seq,
    /// Removed events between the cursor and the page: the first and the last.
    pub gap: Option<(Seq, Seq)>,
}

impl EventPageRows {
    /// Returns when its first event happened; `None` if it has none.
    pub fn begins_at(&self) -> Option<Timestamp> {
        self.rows.first().map(|row| row.at)
    }
}
