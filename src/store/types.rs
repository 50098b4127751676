//! What goes in and out of the store, beside facts and events.
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What became durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The newest event there is.
    pub newest: Seq,
    /// The newest event when the last of this batch was written; others may have shared its
    /// transaction.
    pub last: Seq,
    /// Claims that were refused because their (agent, slot) had been claimed before. Everything
    /// else of the batch is durable.
    pub refused: Vec<RunId>,
    /// The events of this batch, with their numbers. Empty unless asked for.
    pub events: u64,
}

/// What the store knew when it was opened.
#[derive(Debug, Default)]
pub struct Restored {
    /// Every agent that was ever seen.
    pub agents: Vec<AgentRecord>,
    /// Runs without an end, oldest first, with the processes that were started for them.
    pub open_runs: Vec<RunRecord>,
    /// Incidents that are pending or open.
    pub incidents: Vec<IncidentRecord>,
    /// Calls that wait for a person.
    pub approvals: Vec<ApprovalRecord>,
    /// Requests of models whose end nobody saw.
    pub holds: Vec<HoldRecord>,
    /// What was used by day and agent, of the last months.
    pub spent: Vec<SpentRow>,
    /// Backfills that have not ended.
    pub backfills: Vec<BackfillRecord>,
    /// What was told of budgets.
    pub told: Vec<BudgetTold>,
    /// Lives of nodes that may have runs in hand, or have reported what is not decided yet.
    pub nodes: Vec<LiveNode>,
    /// The run with the greatest id.
    pub newest_run: Option<RunId>,
    /// Identity of the database: a UUID made with it, and anew when a copy is put in its place.
    pub database: String,
    /// What it was a copy of, newest first.
    pub ancestors: Vec<Ancestor>,
    /// It is a copy that was put in the place of the database.
    pub went_back: Option<WentBack>,
    /// It is such a copy, and what happened since is on no record.
    pub lost: Option<LostRecords>,
    /// True if the last daemon did not close it.
    pub unclean: bool,
    /// Wall clock of the newest event, if there is one.
    pub newest_event_at: Option<Timestamp>,
}

/// A database of which another one was a copy: up to an event they are the same.
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
    /// How far the database had come, if that is known.
    pub known: Option<Seq>,
}

/// An entry of the journal of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    pub n: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The tool that it is about, of calls.
    pub tool: Option<String>,
    /// The arguments, of calls; shortened.
    pub args: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    pub step: Step,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of these agents: names or globs (`*`, `?`). Empty: all, and events of no agent.
    pub agents: Vec<String>,
    /// Of these types: names or globs. Empty: all.
    pub types: Vec<String>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Not after this instant.
    pub until: Option<Timestamp>,
}

/// Some events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    pub events: Vec<LoggedEvent>,
    /// Everything up to here was looked at: the cursor for the next page.
    pub cursor: Seq,
    /// Events in this range were asked for, but retention has removed them.
    pub gap: Option<(Seq, Seq)>,
    /// True: `cursor` is the newest event.
    pub at_end: bool,
}

/// A run as history keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// What was claimed.
    pub claim: RunRecord,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it took.
    pub duration: Option<SignedDuration>,
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// Exit code of a command that exited.
    pub exit_code: Option<i32>,
    /// What it used.
    pub usage: Usage,
    /// Warnings of the record.
    pub warnings: Vec<String>,
    /// The `[models.…]` table that it asked last.
    pub model: Option<String>,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of these agents. Empty: of all.
    pub agents: Vec<AgentId>,
    /// With one of these statuses. Empty: with any.
    pub statuses: Vec<RunStatus>,
    /// Started by one of these. Empty: by any.
    pub triggers: Vec<Trigger>,
    /// Claimed before this one.
    pub before: Option<RunId>,
    /// Claimed at or after this instant.
    pub since: Option<Timestamp>,
    /// Claimed at or before this instant.
    pub until: Option<Timestamp>,
    /// At most so many, newest first.
    pub limit: usize,
}

impl RunFilter {
    /// The newest so many runs of one agent.
    pub fn newest_of(agent: AgentId, limit: usize) -> Self {
        Self { agents: vec![agent], limit, ..Self::default() }
    }
}

/// What a text that should be a run id stands for.
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
    /// What became of them.
    pub verdict: Verdict,
    pub cause: String,
    /// The run, if there is one.
    pub run: Option<RunId>,
}

impl LedgerRow {
    /// Did its slots run and find all well, and so leave no record?
    pub fn is_all_well(&self) -> bool {
        self.verdict == Verdict::Ran && self.run.is_none() && self.cause == ALL_WELL
    }
}

/// A record of the ledger, whose it is, and how its run stands.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    pub agent: AgentId,
    pub row: LedgerRow,
    /// Its run, if it has one that is still kept.
    pub run: Option<LedgerRun>,
}

/// How the run of a record of the ledger stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LedgerRun {
    pub status: RunStatus,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it took.
    pub duration: Option<SignedDuration>,
}

/// Output of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputPage {
    /// With the attempt of each, in order.
    pub chunks: Vec<(u32, OutputChunk)>,
    /// Row number to go on after.
    pub position: u64,
    /// Bytes that were left out.
    pub dropped_bytes: u64,
}

/// A message in the outbox that is due, without its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxHead {
    pub id: i64,
    /// Name of a `[notify.…]` table.
    pub target: String,
    /// What kind of news.
    pub about: TellOn,
    /// How urgent it is.
    pub urgency: Urgency,
    /// Messages with the same number here go together, as they did in a try whose end is not known; with how many
    /// characters of each.
    pub joined: Option<(i64, usize)>,
    /// It asks about a call.
    pub asks: bool,
}

/// A call that people at a notification target were asked about, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCall {
    /// What was asked.
    pub question: QuestionRecord,
    /// The call still waits.
    pub is_open: bool,
    /// It may be made. False as long as it waits.
    pub approved: bool,
    /// Who decided, where that is known.
    pub by: Option<String>,
    /// What was said to it.
    pub reason: Option<String>,
}

/// A call that waited for a person, and what was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct DecidedApproval {
    /// What was asked.
    pub record: ApprovalRecord,
    /// When it was decided.
    pub at: Timestamp,
    /// It may be made.
    pub approved: bool,
    /// Who decided, where that is known.
    pub by: Option<String>,
    /// What was said to it.
    pub reason: Option<String>,
}

/// A result in the outbox that gives way: too many of its target wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurplusResult {
    pub id: i64,
    /// Name of a `[notify.…]` table.
    pub target: String,
    /// Of which agent.
    pub agent: AgentId,
    pub run: Option<RunId>,
    /// Tries so far.
    pub tries: u32,
}

/// A message in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    pub id: i64,
    /// Name of a `[notify.…]` table.
    pub target: String,
    /// Of which agent.
    pub agent: AgentId,
    /// What kind of news.
    pub about: TellOn,
    /// When it happened.
    pub at: Timestamp,
    pub subject: String,
    pub body: String,
    /// Tries so far.
    pub tries: u32,
    pub due: Timestamp,
    /// The run that it tells of.
    pub run: Option<RunId>,
    /// The problem that it tells of.
    pub key: Option<String>,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The call that it asks about.
    pub approval: Option<String>,
}

/// How it stands with a target for which messages wait or were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxTarget {
    /// Name of a `[notify.…]` table.
    pub target: String,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages that were given up lately.
    pub given_up: u64,
    /// When the oldest of both was written.
    pub oldest: Timestamp,
    /// When the next one is tried; `None`: none waits.
    pub next_try: Option<Timestamp>,
    /// The most tries that one which waits has had.
    pub tries: u32,
    /// Why the newest that failed did.
    pub error: Option<String>,
}

/// Sizes and counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub newest_seq: u64,
    /// Oldest event that is kept.
    pub oldest_seq: u64,
    /// Events of the last minute before `now`.
    pub events_last_minute: u64,
    /// Bytes of the database with its log.
    pub bytes: u64,
    pub incidents: u64,
    /// Messages that wait.
    pub outbox: u64,
    /// Tool calls that wait for a person.
    pub approvals: u64,
}

/// How usage is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    Agent,
    Model,
    /// By day, in UTC.
    Day,
}

/// Whose usage is, within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageOf {
    /// Of each agent.
    Agent,
    /// Of each model.
    Model,
}

/// What `bgagent health` reads without a daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HealthReport {
    /// All active agents.
    pub agents: Vec<HealthRow>,
    /// Critical incidents that are open and that nobody has taken note of, and those of slow runs.
    pub incidents: Vec<OpenIncident>,
    /// Messages that did not get through.
    pub untold: Vec<Untold>,
    /// Who leads, where the records are on a server; `None`: nobody, or they are in a file.
    pub leader: Option<String>,
    /// None of the nodes that are there may lead.
    pub nobody_may_lead: bool,
}

/// An incident that wants a person.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenIncident {
    pub agent: AgentId,
    pub key: String,
    /// What is wrong.
    pub title: String,
    /// When it opened.
    pub since: Timestamp,
    /// How bad it is.
    pub severity: Severity,
}

/// Messages to one target that did not get through.
#[derive(Debug, Clone, PartialEq)]
pub struct Untold {
    /// Name of a `[notify.…]` table.
    pub target: String,
    pub count: u64,
    /// When the oldest of them was written.
    pub oldest: Timestamp,
    /// They are not tried again.
    pub given_up: bool,
}

/// An active agent, as `bgagent health` sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthRow {
    pub agent: AgentId,
    /// When it was due next, as of the last time that the daemon wrote it. Only of active agents.
    pub next_due: Option<Timestamp>,
    /// Failed runs in a row.
    pub errors_in_row: u32,
    /// Its circuit is open.
    pub circuit_open: bool,
    /// Since when and until when nothing starts, as the slots between ran while the clock was ahead.
    pub silent: Option<(Timestamp, Timestamp)>,
    /// Its newest slot was refused for want of money: why.
    pub no_budget: Option<String>,
    /// Its schedule has no end, and yet there is no coming slot.
    pub no_slot: bool,
    /// Warnings of its last run.
    pub warnings: Vec<String>,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    pub seq: Seq,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of event it is.
    pub kind: String,
    /// Whose it is, if it is about one agent.
    pub agent: Option<String>,
    /// Of which run it is, if it is about one.
    pub run: Option<RunId>,
    /// Of which session it is, if a model carries out the run.
    pub session: Option<String>,
    /// What happened, as JSON; `null` if the row is damaged.
    pub payload: String,
}

/// A page of the log, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPageRows {
    /// The events, in order.
    pub rows: Vec<EventRow>,
    /// The newest event there is.
    pub newest: Seq,
    /// Events between the cursor and the page that are gone: the first and the last.
    pub gap: Option<(Seq, Seq)>,
}

impl EventPageRows {
    /// When its first event happened; `None`: it has none.
    pub fn begins_at(&self) -> Option<Timestamp> {
        self.rows.first().map(|row| row.at)
    }
}
