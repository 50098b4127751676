//! What a forecast is made of: an agent's history, its coming due moments, and its limits.
use crate::domain::{ActiveTimes, AgentSpec, Calendar, FirstRun, Schedule};
use jiff::{SignedDuration, Timestamp};

/// With fewer runs than that, an agent counts as one without history.
pub const LEAST_RUNS: usize = 5;
/// From so many runs on a history is more than thin,
pub const TRUSTED_RUNS: usize = 30;
/// if it is of so many days.
pub const TRUSTED_DAYS: f64 = 7.0;

/// What one run used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PastRun {
    pub usd: f64,
    /// Tokens in and out.
    pub tokens: f64,
}

/// What a run, or a day, can use at the most; `None`: nothing bounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerRun {
    pub usd: Option<f64>,
    /// Tokens in and out.
    pub tokens: Option<f64>,
}

/// On what a forecast of an agent rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// On its history.
    History,
    /// On a short history.
    Thin,
    /// On its limits: it has next to no history.
    Limits,
}

impl Basis {
    /// As a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Thin => "thin history",
            Self::Limits => "limits",
        }
    }
}

/// What is known of one agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentBasis {
    pub agent: String,
    /// Due moments on each day of the period, by the calendar.
    pub due: Vec<u64>,
    /// Its runs that ended.
    pub runs: Vec<PastRun>,
    /// Due moments of its history.
    pub due_before: u64,
    /// Runs of its history that those led to.
    pub runs_when_due: u64,
    /// Runs of its history that something else led to: an event, a file, a person.
    pub runs_besides: u64,
    /// Events, files or deliveries start it: no calendar and no limit of a run bounds how often.
    pub by_events: bool,
    /// Days of its history.
    pub days_before: f64,
    /// A run at the worst.
    pub per_run: PerRun,
    /// A day at the worst, by limits of the agent's own.
    pub per_day: PerRun,
    /// What it has used today.
    pub used_today: PastRun,
    /// All its models have a price; else its dollars are not known.
    pub has_price: bool,
}

impl AgentBasis {
    /// On what its forecast rests.
    pub fn basis(&self) -> Basis {
        match self.runs.len() {
            runs if runs < LEAST_RUNS => Basis::Limits,
            runs if runs < TRUSTED_RUNS || self.days_before < TRUSTED_DAYS => Basis::Thin,
            _ => Basis::History,
        }
    }

    /// Runs besides those that are due, on an average day.
    pub fn besides_a_day(&self) -> f64 {
        if self.days_before > 0.0 { self.runs_besides as f64 / self.days_before } else { 0.0 }
    }
}

/// From where on an agent is due, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct DueFrom {
    /// The beginning of the period.
    pub from: Timestamp,
    /// When it is due next, where that is known.
    pub next: Option<Timestamp>,
    /// How long its runs take, for those that are due a while after the last one.
    pub took: SignedDuration,
}

/// Due moments of each of these days; `ends` has the end of each. What follows from events, files or people is none.
pub fn due_by_day(spec: &AgentSpec, due: DueFrom, ends: &[Timestamp]) -> Vec<u64> {
    let mut begin = due.from;
    let mut days = Vec::with_capacity(ends.len());
    for end in ends {
        let mut count = 0;
        for (first, until) in active_spans(spec.active_times.as_deref(), begin, *end) {
            count += due_within(&spec.schedule, due, first, until);
        }
        days.push(count);
        begin = *end;
    }
    days
}

/// The parts of a time in which an agent may start by itself.
fn active_spans(
    active: Option<&ActiveTimes>,
    from: Timestamp,
    until: Timestamp,
) -> Vec<(Timestamp, Timestamp)> {
    /// More changes than that a day has no calendar.
    const MOST_CHANGES: usize = 500;
    let Some(active) = active else { return vec![(from, until)] };
    let mut spans = Vec::new();
    let mut at = from;
    for _ in 0..MOST_CHANGES {
        if at >= until {
            break;
        }
        let (cause, holds) = active.at(at);
        let end = holds.min(until);
        if cause.is_none() {
            spans.push((at, end));
        }
        at = end;
    }
    spans
}

/// Slots from `first` on and before `until`.
fn due_within(schedule: &Schedule, due: DueFrom, first: Timestamp, until: Timestamp) -> u64 {
    let tick = SignedDuration::from_micros(1);
    if let Schedule::After(delay) = schedule {
        let each = delay.saturating_add(due.took).as_secs_f64().max(1.0);
        let begun = due.next.map_or(each, |next| next.duration_since(due.from).as_secs_f64());
        // what is left of one day counts on the next
        let by = |time: Timestamp| {
            let since = time.duration_since(due.from).as_secs_f64() - begun;
            if since < 0.0 { 0 } else { (since / each) as u64 + 1 }
        };
        return by(until).saturating_sub(by(first));
    }
    let (anchor, first_run) = match (schedule, due.next) {
        (Schedule::Every(_), Some(next)) => (next, FirstRun::Now),
        _ => (due.from, FirstRun::AfterInterval),
    };
    let calendar = Calendar { schedule, anchor, first_run };
    let begin = first.checked_sub(tick).ok().and_then(|before| calendar.next_after(before));
    let Some(begin) = begin.filter(|begin| *begin < until) else { return 0 };
    calendar.prev_before(until).filter(|last| *last >= begin).map_or(0, |last| calendar.count(begin, last))
}
