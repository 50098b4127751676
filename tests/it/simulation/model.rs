//! A store without a disk: what was committed, applied exactly as a real store applies it, and
//! recounted. It believes nothing that it can check.
use super::Defect;
use super::chains::Chains;
use bgagent::domain::*;
use bgagent::engine::Restored;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is wrong.
pub type Wrong = String;

macro_rules! ensure {
    ($holds:expr, $($why:tt)*) => {
        if !$holds { return Err(format!($($why)*)); }
    };
}
pub(super) use ensure;

/// Consecutive slots with one verdict.
#[derive(Clone, Debug)]
pub struct Record {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub verdict: Verdict,
    pub cause: String,
    pub run: Option<RunId>,
}

/// A run without an end.
#[derive(Clone, Debug)]
pub struct Open {
    pub record: RunRecord,
    /// Its body has begun.
    pub begun: bool,
}

#[derive(Default)]
pub struct Model {
    pub agents: BTreeMap<AgentId, AgentRecord>,
    pub ledger: BTreeMap<AgentId, Vec<Record>>,
    pub open: Vec<Open>,
    pub incidents: BTreeMap<(AgentId, String), IncidentRecord>,
    /// What is known of files by their paths, and of deliveries by their ids.
    pub marks: BTreeMap<String, String>,
    /// How many events of the server were read.
    pub cursor: usize,
    pub(super) chains: Chains,
    /// All that ever arrived: no defect touches it.
    pub arrived: BTreeSet<String>,
    pub slots: u64,
    pub events: u64,
    pub claims: u64,
    /// Runs that found all well and left no record.
    pub quiet: u64,
    pub digest: u64,
    known: BTreeSet<RunId>,
    ended: BTreeMap<RunId, Option<RunStatus>>,
    claimed: BTreeSet<(AgentId, Timestamp)>,
    refused: BTreeSet<RunId>,
    recount: HashMap<AgentId, Counters>,
}

impl Model {
    /// What a new life of the daemon gets to know.
    pub fn restored(&self) -> Restored {
        Restored {
            agents: self.agents.values().cloned().collect(),
            open_runs: self.open.iter().map(|open| open.record.clone()).collect(),
            incidents: self.incidents.values().cloned().collect(),
            arrivals: self.chains.restored(),
            backfills: self.chains.backfills.values().cloned().collect(),
            newest_run: self.known.last().copied(),
            ..Restored::default()
        }
    }

    pub fn is_open(&self, run: RunId) -> Option<&Open> {
        self.open.iter().find(|open| open.record.run == run)
    }

    fn open_mut(&mut self, run: RunId) -> Result<&mut Open, Wrong> {
        self.open
            .iter_mut()
            .find(|open| open.record.run == run)
            .ok_or_else(|| format!("run {run} is not open"))
    }

    fn close(&mut self, run: RunId, status: Option<RunStatus>) -> Result<Open, Wrong> {
        let at = self.open.iter().position(|open| open.record.run == run);
        let at = at.ok_or_else(|| format!("run {run} ended twice or never began"))?;
        ensure!(self.ended.insert(run, status).is_none(), "run {run} ended twice");
        Ok(self.open.remove(at))
    }

    fn counters(&mut self, agent: &AgentId) -> &mut Counters {
        self.recount.entry(agent.clone()).or_default()
    }

    /// Makes one entry durable; the claim that is refused, if it is one.
    pub fn apply(&mut self, entry: &Entry, defect: Option<Defect>) -> Result<Option<RunId>, Wrong> {
        let mut hasher = DefaultHasher::new();
        (self.digest, entry.at, std::mem::discriminant(&entry.fact)).hash(&mut hasher);
        self.digest = hasher.finish();
        let told = Event::telling(entry);
        self.events += told.len() as u64;
        for event in &told {
            ensure!(event.ts == entry.at, "an event has another time than its fact: {entry:?}");
        }
        self.chains.apply(entry, &told, defect)?;
        match &entry.fact {
            Fact::SlotsJudged { run: Some(run), .. } if self.refused.contains(run) => {}
            Fact::SlotsJudged { agent, first, last, count, verdict, cause, run, extends } => {
                let record = Record {
                    first: *first,
                    last: *last,
                    count: *count,
                    verdict: *verdict,
                    cause: cause.clone(),
                    run: *run,
                };
                self.judged(agent, record, *extends, defect)?;
            }
            Fact::SlotRevised { agent, slot, run, verdict, cause, quiet, joins } => {
                let open = self.close(*run, None)?;
                ensure!(!open.begun, "run {run} is forgotten, but its body began");
                ensure!(open.record.slot == *slot, "run {run} has another slot than its revision");
                match slot {
                    Some(slot) => self.revised(agent, (*slot, *joins), *run, *verdict, cause, *quiet)?,
                    None => ensure!(!quiet, "a run without a slot is told each time"),
                }
            }
            Fact::Arrived { event, mark } => self.arrived(event, mark, defect)?,
            Fact::CursorMoved { cursor, .. } => {
                let cursor = cursor.as_deref().and_then(|at| at.parse().ok()).ok_or("an odd cursor")?;
                ensure!(self.cursor < cursor, "events are read on at {cursor}, after {}", self.cursor);
                if defect != Some(Defect::CursorLost) {
                    self.cursor = cursor;
                }
            }
            Fact::SlotsTakenBack { agent, behind, taken } => self.taken_back(agent, *behind, taken)?,
            Fact::RunClaimed(record) => return self.claimed(record, defect),
            Fact::ProcessStarted { run, process, .. } => self.open_mut(*run)?.record.processes.push(*process),
            Fact::AttemptStarted { run, attempt, started_at, process, agent, run_count, .. } => {
                let open = self.open_mut(*run)?;
                let first = !std::mem::replace(&mut open.begun, true);
                ensure!(
                    open.record.attempt + 1 == *attempt || (open.record.attempt == *attempt && !first),
                    "attempt {attempt} of {run} follows on {}",
                    open.record.attempt
                );
                open.record.attempt = *attempt;
                open.record.status = RunStatus::Running;
                open.record.started_at.get_or_insert(*started_at);
                open.record.not_before = None;
                open.record.processes.extend(process);
                let counters = self.counters(agent);
                counters.runs += u64::from(first);
                ensure!(
                    counters.runs == *run_count,
                    "{agent}: run_count is {run_count}, it was {}",
                    counters.runs
                );
                ensure!(told.len() == 1, "a start is told");
            }
            Fact::ClockSet { by } => {
                for open in &mut self.open {
                    open.record.clock_moved += *by;
                    open.record.not_before = open.record.not_before.map(|at| at + *by);
                }
            }
            Fact::AttemptFailed { run, attempt, retry_at, .. } => {
                let open = self.open_mut(*run)?;
                open.record.attempt = *attempt;
                open.record.status = RunStatus::Retrying;
                open.record.not_before = Some(*retry_at);
                open.record.processes.clear();
            }
            Fact::RunEnded { run, agent, status, .. } => {
                ensure!(status.is_final() && told.len() == 1, "an end is final and told");
                let open = self.close(*run, Some(*status))?;
                let counters = self.counters(agent);
                counters.runs += u64::from(!open.begun && *status != RunStatus::Cancelled);
                match status {
                    RunStatus::Completed => {
                        counters.successes += 1;
                        counters.errors_in_row = 0;
                    }
                    status if status.is_failure() => {
                        counters.errors += 1;
                        counters.errors_in_row += 1;
                    }
                    _ => {}
                }
            }
            Fact::AgentSaved(record) => {
                let counted = *self.counters(&record.agent);
                ensure!(
                    record.counters == counted,
                    "{}: the row says {:?}, a recount {counted:?}",
                    record.agent,
                    record.counters
                );
                self.agents.insert(record.agent.clone(), (**record).clone());
            }
            Fact::IncidentSaved(incident) => {
                let key = (incident.agent.clone(), incident.key.clone());
                if incident.resolved_at.is_some() {
                    ensure!(self.incidents.remove(&key).is_some(), "an unknown incident ended: {key:?}");
                } else {
                    self.incidents.insert(key, (**incident).clone());
                }
            }
            Fact::IncidentDropped { agent, key } => {
                self.incidents.remove(&(agent.clone(), key.clone()));
            }
            _ => {}
        }
        Ok(None)
    }

    fn arrived(&mut self, event: &Event, mark: &str, defect: Option<Defect>) -> Result<(), Wrong> {
        let (name, known) = match &event.payload {
            Payload::FileArrived(file) => (&file.path, format!("{} {mark}", file.path)),
            Payload::WebhookReceived(delivery) => (&delivery.delivery, delivery.delivery.clone()),
            Payload::McpEventReceived(event) => (&event.id, event.id.clone()),
            other => return Err(format!("{other:?} does not arrive")),
        };
        ensure!(self.arrived.insert(known), "{name} arrives a second time");
        if defect != Some(Defect::ArrivedForgotten) {
            self.marks.insert(name.clone(), mark.to_owned());
        }
        Ok(())
    }

    fn claimed(&mut self, record: &RunRecord, defect: Option<Defect>) -> Result<Option<RunId>, Wrong> {
        let run = record.run;
        ensure!(self.known.last() < Some(&run), "run id {run} does not come after all others");
        self.known.insert(run);
        if let Some(slot) = record.slot
            && !self.claimed.insert((record.agent.clone(), slot))
        {
            ensure!(
                defect != Some(Defect::ClaimsNotUnique),
                "slot {slot} of {} was claimed twice",
                record.agent
            );
            self.refused.insert(run);
            return Ok(Some(run));
        }
        self.claims += 1;
        self.open.push(Open { record: record.clone(), begun: false });
        Ok(None)
    }

    fn judged(
        &mut self,
        agent: &AgentId,
        record: Record,
        extends: bool,
        defect: Option<Defect>,
    ) -> Result<(), Wrong> {
        ensure!(record.count > 0 && record.first <= record.last, "a record without slots: {record:?}");
        ensure!(
            (record.verdict == Verdict::Ran) == record.run.is_some() && record.cause != ALL_WELL,
            "a run for `ran`, only: {record:?}"
        );
        self.slots += record.count;
        if record.verdict != Verdict::Ran {
            self.counters(agent).skipped += record.count;
        }
        let ledger = self.ledger.entry(agent.clone()).or_default();
        let at = ledger.partition_point(|before| before.last < record.first);
        if let Some(next) = ledger.get(at).filter(|next| next.first <= record.last) {
            if defect == Some(Defect::ClaimsNotUnique) {
                return Ok(()); // the claims alone must tell
            }
            return Err(format!("{agent}: slot {} has a verdict already: {next:?}", record.first));
        }
        if extends {
            let before = at.checked_sub(1).and_then(|before| ledger.get_mut(before));
            let Some(before) =
                before.filter(|one| one.verdict == record.verdict && one.cause == record.cause)
            else {
                return Err(format!("{agent}: {record:?} extends nothing"));
            };
            before.last = record.last;
            before.count += record.count;
        } else {
            ledger.insert(at, record);
        }
        Ok(())
    }

    /// Claims and verdicts from here on are gone.
    pub fn prune_ahead(&mut self, now: Timestamp) {
        self.ledger.values_mut().for_each(|records| records.retain(|record| record.last < now));
        self.claimed.retain(|(_, slot)| *slot < now);
    }

    /// What the ledger knows of slots ahead.
    pub fn ahead(&self, look: LookAhead) -> Ahead {
        let (agent, floor) = (look.spec.id.clone(), look.floor);
        let mut ahead = Ahead::new(look, None);
        for record in self.ledger.get(&agent).into_iter().flatten().filter(|record| record.last > floor) {
            let Record { first, last, count, .. } = *record;
            ahead.add(AheadRow { first, last, count, ran: record.verdict == Verdict::Ran });
        }
        ahead
    }

    /// Slots ahead that never ran have no verdict any more, and nothing else changes.
    fn taken_back(&mut self, agent: &AgentId, behind: Timestamp, taken: &Taken) -> Result<(), Wrong> {
        ensure!(taken.count > 0 && taken.first > behind && taken.first <= taken.last, "{agent}: {taken:?}");
        let ledger = self.ledger.entry(agent.clone()).or_default();
        let mut count = 0;
        ledger.retain(|record| {
            let goes = record.first > behind && record.verdict != Verdict::Ran;
            count += if goes { record.count } else { 0 };
            !goes
        });
        if let Some((last, left)) = taken.cut {
            let cut = ledger.iter_mut().find(|record| record.first <= behind && record.last > behind);
            let Some(cut) = cut.filter(|cut| cut.verdict != Verdict::Ran) else {
                return Err(format!("{agent}: nothing to cut: {taken:?}"));
            };
            ensure!(cut.first <= last && last <= behind && left < cut.count, "{agent}: {cut:?} to {taken:?}");
            count += cut.count - left;
            (cut.last, cut.count) = (last, left);
        }
        ensure!(count == taken.count, "{agent}: {count} verdicts are taken back, said are {taken:?}");
        self.slots -= count;
        self.counters(agent).skipped -= count;
        Ok(())
    }

    fn revised(
        &mut self,
        agent: &AgentId,
        (slot, joins): (Timestamp, bool),
        run: RunId,
        verdict: Verdict,
        cause: &str,
        quiet: bool,
    ) -> Result<(), Wrong> {
        let counters = self.counters(agent);
        if verdict == Verdict::Ran {
            ensure!(cause == ALL_WELL && quiet, "{agent}: slot {slot} ran, {cause}: why is it forgotten?");
            counters.runs += 1;
            counters.successes += 1;
            ensure!(counters.errors_in_row == 0, "{agent}: slot {slot} is forgotten, but it ended a failure");
            let wrong = self.incidents.keys().find(|(of, _)| of == agent);
            ensure!(wrong.is_none(), "{agent}: slot {slot} is forgotten, but {wrong:?} is not over");
            self.quiet += 1;
        } else {
            counters.skipped += 1;
            // it never ran: with its run goes the claim, and the verdict alone stands for the slot
            self.claimed.remove(&(agent.clone(), slot));
        }
        let ledger = self.ledger.entry(agent.clone()).or_default();
        let at = ledger.partition_point(|record| record.last < slot);
        let Some(record) =
            ledger.get_mut(at).filter(|record| record.run == Some(run) && record.first == slot)
        else {
            return Err(format!("{agent}: slot {slot} is revised, but did not start {run}"));
        };
        record.verdict = verdict;
        record.cause = cause.to_owned();
        record.run = None;
        let before = at.checked_sub(1).map(|before| &ledger[before]);
        let same = before.is_some_and(|before| before.verdict == verdict && before.cause == cause);
        ensure!(
            !quiet || same || verdict == Verdict::Ran,
            "{agent}: nobody was told why slot {slot} started nothing: before it is {before:?}"
        );
        if same && joins {
            let record = ledger.remove(at);
            ledger[at - 1].last = record.last;
            ledger[at - 1].count += record.count;
        }
        Ok(())
    }
}
