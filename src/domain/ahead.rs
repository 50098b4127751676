//! What the ledger knows of future slots after a clock that was ahead was set back (section 4): which of its
//! records are kept, and which are withdrawn.
use super::{AgentId, AgentSpec, Calendar, FirstRun, Schedule};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Records that begin this long after all others were not written by a clock that was ahead. Instead the current
/// clock is behind, as after a start without a battery, and those records are history.
const HISTORY_DISTANCE: SignedDuration = SignedDuration::from_hours(24 * 400);

/// A query to the ledger: which slots of one agent after `floor` have records?
#[derive(Clone, Debug, PartialEq)]
pub struct LookAhead {
    pub spec: Arc<AgentSpec>,
    /// Anchor of its calendar.
    pub anchor: Timestamp,
    /// The original anchor, if the clock was set back past it.
    pub origin: Option<Timestamp>,
    /// All slots up to here are in the past.
    pub floor: Timestamp,
    /// The last instant before now.
    pub behind: Timestamp,
}

/// A range of consecutive slots that have a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    pub first: Timestamp,
    pub last: Timestamp,
}

/// One record of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AheadRow {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub ran: bool,
}

/// The withdrawn verdicts of future slots that never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    /// For a record that began before now: its last slot that is kept, and the number of slots kept.
    pub cut: Option<(Timestamp, u64)>,
}

/// The answer to [`LookAhead`], built record by record.
#[derive(Debug)]
pub struct Ahead {
    look: LookAhead,
    /// Slots that keep their verdict, sorted and disjoint.
    kept: Vec<Judged>,
    taken: Option<Taken>,
    /// End of the known records written by a clock that was ahead. `None` once records of another time follow.
    reached: Option<Timestamp>,
}

impl LookAhead {
    fn calendar(&self) -> Calendar<'_> {
        Calendar { schedule: &self.spec.schedule, anchor: self.anchor, first_run: self.spec.first_run }
    }

    /// Returns whether there is no slot between two records.
    fn follows(&self, last: Timestamp, first: Timestamp) -> bool {
        matches!(self.spec.schedule, Schedule::Every(_) | Schedule::Cron(_) | Schedule::Any(_))
            && self.calendar().next_after(last).is_none_or(|slot| slot >= first)
    }

    /// Returns what is kept of a record that began before now: its last slot, and the number of slots.
    fn cut(&self, row: &AheadRow) -> (Timestamp, u64) {
        // the anchor may have moved since the record was made
        let calendar = self.calendar().back_to(row.first);
        let same = calendar.count(row.first, row.last) == row.count;
        if let Schedule::Every(period) = self.spec.schedule
            && same
        {
            // independent of the anchor at that time
            let calendar =
                Calendar { schedule: &Schedule::Every(period), anchor: row.first, first_run: FirstRun::Now };
            let last = calendar.prev_before(just_after(self.behind)).unwrap_or(row.first);
            return (last, calendar.count(row.first, last));
        }
        if same
            && let Some(last) =
                calendar.prev_before(just_after(self.behind)).filter(|last| *last >= row.first)
        {
            return (last, calendar.count(row.first, last).min(row.count.saturating_sub(1)).max(1));
        }
        // record of another schedule: assume evenly spaced slots
        let part = |span: SignedDuration| span.as_secs_f64();
        let share =
            part(self.behind.duration_since(row.first)) / part(row.last.duration_since(row.first)).max(1e-6);
        let between = row.count.saturating_sub(1) as f64;
        let count = 1 + (between * share) as u64;
        match count.min(row.count.saturating_sub(1)).max(1) {
            1 => (row.first, 1),
            count => (self.behind, count),
        }
    }
}

impl Ahead {
    /// Creates an empty answer. `pruned`: the end of the part of the ledger that was deleted, in which slots may
    /// have run.
    pub fn new(look: LookAhead, pruned: Option<Timestamp>) -> Self {
        let mut kept = Vec::new();
        if let Some(until) = pruned.filter(|until| *until > look.floor) {
            let first = look.origin.map_or(look.floor, |origin| origin.max(look.floor)).min(until);
            kept.push(Judged { first, last: until });
        }
        let reached = Some(look.behind);
        Self { look, kept, taken: None, reached }
    }

    /// Adds the next record that ends after the floor; they must be in order.
    pub fn add(&mut self, row: AheadRow) {
        self.reached = self.reached.filter(|reached| row.first.duration_since(*reached) <= HISTORY_DISTANCE);
        if let Some(reached) = &mut self.reached {
            *reached = row.last.max(*reached);
        }
        let is_ahead = row.last > self.look.behind;
        if row.ran || !is_ahead || self.reached.is_none() {
            return self.keep(Judged { first: row.first, last: row.last });
        }
        let (mut first, mut count, mut cut) = (row.first, row.count, None);
        if row.first <= self.look.behind {
            let (last, left) = self.look.cut(&row);
            self.keep(Judged { first: row.first, last });
            first =
                self.look.calendar().next_after(last.max(self.look.behind)).unwrap_or(row.last).min(row.last);
            (count, cut) = (row.count.saturating_sub(left), Some((last, left)));
        }
        match &mut self.taken {
            Some(taken) => {
                taken.last = row.last;
                taken.count = taken.count.saturating_add(count);
            }
            None => self.taken = Some(Taken { first, last: row.last, count, cut }),
        }
    }

    fn keep(&mut self, row: Judged) {
        let history = self.reached.is_none();
        match self.kept.last_mut() {
            Some(before) if row.last <= before.last => {}
            Some(before)
                if row.first <= before.last || (history && self.look.follows(before.last, row.first)) =>
            {
                before.last = row.last;
            }
            _ => self.kept.push(row),
        }
    }

    /// Returns the agent of the query.
    pub fn agent(&self) -> &AgentId {
        &self.look.spec.id
    }

    /// Returns the query.
    pub fn look(&self) -> &LookAhead {
        &self.look
    }

    /// Returns the slots after the floor that keep their verdict, in order, and what is withdrawn.
    pub fn into_parts(self) -> (Vec<Judged>, Option<Taken>) {
        (self.kept, self.taken)
    }
}

fn just_after(at: Timestamp) -> Timestamp {
    at.checked_add(SignedDuration::from_micros(1)).unwrap_or(at)
}
