//! The inputs of a forecast: an agent's history, its upcoming due times, and its limits.
use crate::domain::{ActiveTimes, AgentSpec, Calendar, FirstRun, Schedule};
use jiff::{SignedDuration, Timestamp};

/// With fewer runs than this, an agent counts as one without history.
pub const MIN_HISTORY_RUNS: usize = 5;
/// From this number of runs on, a history is not thin,
pub const MIN_TRUSTED_RUNS: usize = 30;
/// provided that it covers this many days.
pub const MIN_TRUSTED_DAYS: f64 = 7.0;

/// The usage of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PastRun {
    pub usd: f64,
    /// Tokens in and out.
    pub tokens: f64,
}

/// The maximum usage of a run or a day; `None`: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerRun {
    pub usd: Option<f64>,
    /// Tokens in and out.
    pub tokens: Option<f64>,
}

/// What the forecast of an agent is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    History,
    /// A short history.
    Thin,
    /// Its limits, for lack of history.
    Limits,
}

impl Basis {
    /// Returns the basis in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Thin => "thin history",
            Self::Limits => "limits",
        }
    }
}

/// The inputs for one agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentBasis {
    pub agent: String,
    /// Number of due times on each day of the period.
    pub due: Vec<u64>,
    /// Its ended runs.
    pub runs: Vec<PastRun>,
    /// Number of due times in its history.
    pub due_before: u64,
    /// Number of runs in its history that were due.
    pub runs_when_due: u64,
    /// Number of runs in its history with other triggers: an event, a file, a person.
    pub runs_besides: u64,
    /// Events, files or deliveries start it: neither a calendar nor a limit per run bounds how often.
    pub by_events: bool,
    /// Length of its history in days.
    pub days_before: f64,
    /// Worst case of a run.
    pub per_run: PerRun,
    /// Worst case of a day, by the agent's own limits.
    pub per_day: PerRun,
    /// Usage of today.
    pub used_today: PastRun,
    /// All its models have a price; otherwise its cost in dollars is unknown.
    pub has_price: bool,
}

impl AgentBasis {
    /// Returns what its forecast is based on.
    pub fn basis(&self) -> Basis {
        match self.runs.len() {
            runs if runs < MIN_HISTORY_RUNS => Basis::Limits,
            runs if runs < MIN_TRUSTED_RUNS || self.days_before < MIN_TRUSTED_DAYS => Basis::Thin,
            _ => Basis::History,
        }
    }

    /// Returns the average number of runs per day besides those that are due.
    pub fn besides_a_day(&self) -> f64 {
        if self.days_before > 0.0 { self.runs_besides as f64 / self.days_before } else { 0.0 }
    }
}

/// How an agent's due times continue.
#[derive(Clone, Copy, Debug)]
pub struct DueFrom {
    /// Start of the period.
    pub from: Timestamp,
    /// The next due time, if known.
    pub next: Option<Timestamp>,
    /// How long its runs take, for schedules with a delay after the last run.
    pub took: SignedDuration,
}

/// Returns the number of due times on each of these days, given by their ends. Runs started by events, files or people
/// don't count.
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

/// Returns the parts of a period in which an agent may start by itself.
fn active_spans(
    active: Option<&ActiveTimes>,
    from: Timestamp,
    until: Timestamp,
) -> Vec<(Timestamp, Timestamp)> {
    /// Maximum number of changes; real calendars have fewer.
    const MAX_CHANGES: usize = 500;
    let Some(active) = active else { return vec![(from, until)] };
    let mut spans = Vec::new();
    let mut at = from;
    for _ in 0..MAX_CHANGES {
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

/// Counts the slots from `first` on and before `until`.
fn due_within(schedule: &Schedule, due: DueFrom, first: Timestamp, until: Timestamp) -> u64 {
    let tick = SignedDuration::from_micros(1);
    if let Schedule::After(delay) = schedule {
        let each = delay.saturating_add(due.took).as_secs_f64().max(1.0);
        let begun = due.next.map_or(each, |next| next.duration_since(due.from).as_secs_f64());
        // the remainder of a day counts towards the next
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
