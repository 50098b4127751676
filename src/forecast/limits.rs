//! Determines which limits would be hit, how likely, and when.
use super::basis::{AgentBasis, PastRun};
use super::days::{Amounts, ForecastDays};
use jiff::civil::Date;

/// The period of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitSpan {
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
}

/// A limit of an agent or of the fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct SpendingLimit {
    /// Its agent, by the index in the list of agents; `None`: the fleet.
    pub agent: Option<usize>,
    /// Its key: `usd_per_day`.
    pub key: &'static str,
    /// It counts tokens instead of dollars.
    pub of_tokens: bool,
    pub span: LimitSpan,
    pub allowed: f64,
    /// Amount already used today, or this month.
    pub used: f64,
}

/// The outlook of a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitOutlook {
    pub limit: SpendingLimit,
    /// Share of the futures in which it is hit within the period.
    pub chance: f64,
    /// The first day by which it is hit in half of all futures.
    pub likely_on: Option<Date>,
    /// The first day by which it is hit in one of twenty futures.
    pub possible_on: Option<Date>,
    /// The first day on which it would be hit in the worst case.
    pub worst_on: Option<Date>,
}

/// Counts, over all draws, the day on which each limit is hit first.
pub(super) struct LimitTallies<'a> {
    limits: &'a [SpendingLimit],
    days: &'a ForecastDays,
    prices: Vec<bool>,
    /// Indices of the limits of each agent.
    of_agent: Vec<Vec<usize>>,
    /// Counts by limit and day.
    first: Vec<Vec<u32>>,
    /// The day in the current draw, by limit.
    now: Vec<Option<usize>>,
}

impl<'a> LimitTallies<'a> {
    pub(super) fn new(limits: &'a [SpendingLimit], agents: &[AgentBasis], days: &'a ForecastDays) -> Self {
        let mut of_agent = vec![Vec::new(); agents.len()];
        for (at, limit) in limits.iter().enumerate() {
            if let Some(own) = limit.agent.and_then(|agent| of_agent.get_mut(agent)) {
                own.push(at);
            }
        }
        Self {
            of_agent,
            limits,
            days,
            prices: agents.iter().map(|agent| agent.has_price).collect(),
            first: vec![vec![0; days.dates.len()]; limits.len()],
            now: vec![None; limits.len()],
        }
    }

    /// Records what an agent would use on a day.
    pub(super) fn agent_day(&mut self, agent: usize, day: usize, wanted: PastRun) {
        for at in self.of_agent[agent].iter().copied() {
            let limit = &self.limits[at];
            let used = if day == 0 { limit.used } else { 0.0 };
            if self.now[at].is_none() && used + amount(limit, wanted) > limit.allowed {
                self.now[at] = Some(day);
            }
        }
    }

    /// Ends a draw, with the usage of the fleet on each day.
    pub(super) fn end_of_draw(&mut self, of_days: &[PastRun]) {
        for (at, limit) in self.limits.iter().enumerate() {
            if limit.agent.is_none() {
                self.now[at] = first_over(limit, self.days, |day| amount(limit, of_days[day]));
            }
            if let Some(day) = self.now[at].take() {
                self.first[at][day] += 1;
            }
        }
    }

    /// Returns the outlooks. `worst`: the worst case of each agent and day with its own limits; `wanted`: the same
    /// without them.
    pub(super) fn outlooks(
        &self,
        draws: usize,
        worst: &[Vec<Amounts>],
        wanted: &[Vec<Amounts>],
    ) -> Vec<LimitOutlook> {
        let of = |(limit, first): (&SpendingLimit, &Vec<u32>)| {
            let by = |part: f64| {
                let mut sum = 0;
                let day = first.iter().position(|count| {
                    sum += *count;
                    f64::from(sum) >= part * draws as f64
                });
                day.map(|day| self.days.dates[day])
            };
            let hits: u32 = first.iter().sum();
            LimitOutlook {
                limit: limit.clone(),
                chance: f64::from(hits) / draws.max(1) as f64,
                likely_on: by(0.5),
                possible_on: by(0.05),
                worst_on: self.worst_on(limit, worst, wanted).map(|day| self.days.dates[day]),
            }
        };
        self.limits.iter().zip(&self.first).map(of).collect()
    }

    /// Returns the first day on which the limit would be hit in the worst case. An agent without bounds hits it on its
    /// first possible run.
    fn worst_on(
        &self,
        limit: &SpendingLimit,
        worst: &[Vec<Amounts>],
        wanted: &[Vec<Amounts>],
    ) -> Option<usize> {
        let of = |day: &Amounts| if limit.of_tokens { day.tokens } else { day.usd }.unwrap_or(f64::MAX);
        if let Some(agent) = limit.agent {
            return first_over(limit, self.days, |day| of(&wanted[agent][day]));
        }
        first_over(limit, self.days, |day| {
            let counted =
                worst.iter().zip(&self.prices).filter(|(_, has_price)| limit.of_tokens || **has_price);
            counted.map(|(days, _)| of(&days[day])).sum()
        })
    }
}

fn amount(limit: &SpendingLimit, used: PastRun) -> f64 {
    if limit.of_tokens { used.tokens } else { used.usd }
}

/// Returns the first day on which usage exceeds the limit.
fn first_over(limit: &SpendingLimit, days: &ForecastDays, used_on: impl Fn(usize) -> f64) -> Option<usize> {
    let mut used = limit.used;
    (0..days.dates.len()).find(|day| {
        let is_new = *day > 0
            && match limit.span {
                LimitSpan::Day => true,
                LimitSpan::Month => days.dates[*day].month() != days.dates[day - 1].month(),
            };
        if is_new {
            used = 0.0;
        }
        used += used_on(*day);
        used > limit.allowed
    })
}
