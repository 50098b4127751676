//! Draws futures, and computes percentiles from them.
use super::basis::{AgentBasis, Basis, PastRun, PerRun};
use super::chance::{binomial, most_events, normal, poisson};
use super::days::{Amounts, ForecastDays};
use super::limits::{LimitOutlook, LimitTallies, SpendingLimit};
use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Maximum number of draws, for fleets that are not large,
const MAX_DRAWS: usize = 1_000;
/// and minimum number, for those that are.
const MIN_DRAWS: usize = 200;
/// Maximum number of simulated days, summed over agents and draws.
const MAX_SIMULATED_DAYS: usize = 10_000_000;
/// Maximum number of runs of a day that are drawn individually; beyond it, the normal approximation of their sum is
/// good enough.
const MAX_EXACT_RUNS: u64 = 24;
/// Maximum number of runs of a history that are resampled for each future; the costs in a longer one are certain enough.
const MAX_RESAMPLED_RUNS: usize = 200;
/// Fixed seed: the same history gives the same figures.
const SEED: u64 = 0x6267_6167_656E_7421;

/// The cost of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpendRange {
    /// The median of the futures.
    pub p50: f64,
    /// Not exceeded in 19 of 20 cases.
    pub p95: f64,
    /// Maximum by the limits; `None`: unlimited.
    pub worst: Option<f64>,
}

/// The forecast of one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentForecast {
    pub agent: String,
    /// What it is based on.
    pub basis: Basis,
    /// Number of runs in its history.
    pub runs_before: u64,
    /// Number of due times within the period.
    pub due: u64,
    /// Average number of runs within the period.
    pub runs: f64,
    /// US dollars; `None`: one of its models has no price.
    pub usd: Option<SpendRange>,
    /// Tokens in and out.
    pub tokens: SpendRange,
}

/// The forecast of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetForecast {
    pub agents: Vec<AgentForecast>,
    /// US dollars of all agents whose models have prices.
    pub usd: SpendRange,
    /// Tokens of all agents.
    pub tokens: SpendRange,
    /// The outlook of each limit.
    pub limits: Vec<LimitOutlook>,
}

/// Returns the ends of the days of a period, for [`super::due_by_day`].
pub fn days_of(from: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
    ForecastDays::of(from, until, zone).ends
}

/// Forecasts the period `from`..`until`, with days by `zone`. `due` of each agent has a count for each of these days.
pub fn forecast(
    agents: &[AgentBasis],
    limits: &[SpendingLimit],
    (from, until): (Timestamp, Timestamp),
    zone: &TimeZone,
) -> FleetForecast {
    let days = ForecastDays::of(from, until, zone);
    let worst: Vec<Vec<Amounts>> =
        agents.iter().map(|agent| worst_days(agent, agent.per_day, &days)).collect();
    let unheld = PerRun::default();
    let wanted: Vec<Vec<Amounts>> = agents.iter().map(|agent| worst_days(agent, unheld, &days)).collect();
    let work = agents.len().max(1) * days.dates.len().max(1);
    let draws = (MAX_SIMULATED_DAYS / work).clamp(MIN_DRAWS, MAX_DRAWS);
    let mut rng = Rng::with_seed(SEED);
    let mut drawn: Vec<Drawn> = agents.iter().map(|_| Drawn::default()).collect();
    let mut sums = Drawn::default();
    let mut tallies = LimitTallies::new(limits, agents, &days);
    for _ in 0..draws {
        let mut whole = PastRun::default();
        let mut of_days = vec![PastRun::default(); days.dates.len()];
        for (at, agent) in agents.iter().enumerate() {
            let future = Future::draw(agent, &mut rng);
            let mut sum = PastRun::default();
            for day in 0..days.dates.len() {
                let wanted = future.day(agent, day, days.lengths[day], &mut rng, &mut drawn[at].runs);
                tallies.agent_day(at, day, wanted);
                let used = worst[at][day].bound(wanted);
                sum = add(sum, used);
                of_days[day] =
                    add(of_days[day], if agent.has_price { used } else { PastRun { usd: 0.0, ..used } });
            }
            drawn[at].push(sum);
            whole = add(whole, if agent.has_price { sum } else { PastRun { usd: 0.0, ..sum } });
        }
        sums.push(whole);
        tallies.end_of_draw(&of_days);
    }
    let of_agent = |at: usize| -> AgentForecast {
        let (agent, drawn) = (&agents[at], &drawn[at]);
        let all = total(&worst[at]);
        AgentForecast {
            agent: agent.agent.clone(),
            basis: agent.basis(),
            runs_before: agent.runs.len() as u64,
            due: agent.due.iter().sum(),
            runs: drawn.runs as f64 / draws as f64,
            usd: agent.has_price.then(|| range(&drawn.usd, all.usd)),
            tokens: range(&drawn.tokens, all.tokens),
        }
    };
    let each: Vec<AgentForecast> = (0..agents.len()).map(of_agent).collect();
    let priced =
        agents.iter().zip(&worst).filter(|(agent, _)| agent.has_price).map(|(_, worst)| total(worst));
    let worst_usd = priced.map(|all| all.usd).try_fold(0.0, |sum, usd| Some(sum + usd?));
    let worst_tokens =
        worst.iter().map(|all| total(all).tokens).try_fold(0.0, |sum, tokens| Some(sum + tokens?));
    FleetForecast {
        usd: range(&sums.usd, worst_usd),
        tokens: range(&sums.tokens, worst_tokens),
        limits: tallies.outlooks(draws, &worst, &wanted),
        agents: each,
    }
}

fn total(days: &[Amounts]) -> Amounts {
    let sum =
        |of: fn(&Amounts) -> Option<f64>| days.iter().map(of).try_fold(0.0, |sum, day| Some(sum + day?));
    Amounts { usd: sum(|day| day.usd), tokens: sum(|day| day.tokens) }
}

fn add(one: PastRun, other: PastRun) -> PastRun {
    PastRun { usd: one.usd + other.usd, tokens: one.tokens + other.tokens }
}

/// Returns the worst case of each day, by limits: each due time is a run at its worst, plus an upper bound of other
/// runs, up to the daily limit. An agent started by events may run arbitrarily often: only a daily limit bounds it.
fn worst_days(agent: &AgentBasis, per_day: PerRun, days: &ForecastDays) -> Vec<Amounts> {
    let of_day = |day: usize| {
        let runs = (agent.due[day] + most_events(agent.besides_a_day() * days.lengths[day])) as f64;
        let most = |run: Option<f64>, limit: Option<f64>, used: f64| {
            let by_runs = match runs {
                // the number of runs is unknown
                _ if agent.by_events => None,
                0.0 => Some(0.0),
                runs => run.map(|run| run * runs),
            };
            let left = limit.map(|limit| if day == 0 { (limit - used).max(0.0) } else { limit });
            match (by_runs, left) {
                (Some(by_runs), Some(left)) => Some(by_runs.min(left)),
                (one, other) => one.or(other),
            }
        };
        Amounts {
            usd: most(agent.per_run.usd, per_day.usd, agent.used_today.usd),
            tokens: most(agent.per_run.tokens, per_day.tokens, agent.used_today.tokens),
        }
    };
    (0..days.dates.len()).map(of_day).collect()
}

/// The sums of all draws.
#[derive(Default)]
struct Drawn {
    usd: Vec<f64>,
    tokens: Vec<f64>,
    runs: u64,
}

impl Drawn {
    fn push(&mut self, sum: PastRun) {
        self.usd.push(sum.usd);
        self.tokens.push(sum.tokens);
    }
}

fn range(sums: &[f64], worst: Option<f64>) -> SpendRange {
    let mut sums = sums.to_vec();
    sums.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (part * sums.len() as f64).ceil() as usize;
        sums.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    // sums in floating point may differ in their last digit
    let worst = worst.map(|worst| worst.max(sums.last().copied().unwrap_or(0.0)));
    SpendRange { p50: at(0.5), p95: at(0.95), worst }
}

/// A resampled history, which determines one future.
struct Future {
    /// The costs of its runs.
    runs: Vec<PastRun>,
    mean: PastRun,
    spread: PastRun,
    /// Share of the due times that lead to a run.
    rate: f64,
    /// Other runs per day.
    besides: f64,
}

impl Future {
    fn draw(agent: &AgentBasis, rng: &mut Rng) -> Self {
        let all = &agent.runs;
        let runs: Vec<PastRun> = match all.len() {
            0 => Vec::new(),
            many if many > MAX_RESAMPLED_RUNS => all.clone(),
            many => (0..many).map(|_| all[rng.usize(0..many)]).collect(),
        };
        let runs: Vec<PastRun> = runs.into_iter().map(|run| bounded(agent, run)).collect();
        let count = runs.len().max(1) as f64;
        let sum = runs.iter().fold(PastRun::default(), |sum, run| add(sum, *run));
        let mean = PastRun { usd: sum.usd / count, tokens: sum.tokens / count };
        let squares = runs.iter().fold(PastRun::default(), |sum, run| {
            let (usd, tokens) = (run.usd - mean.usd, run.tokens - mean.tokens);
            add(sum, PastRun { usd: usd * usd, tokens: tokens * tokens })
        });
        let spread = PastRun { usd: (squares.usd / count).sqrt(), tokens: (squares.tokens / count).sqrt() };
        let besides = match agent.days_before {
            days if days > 0.0 => poisson(rng, agent.runs_besides as f64) as f64 / days,
            _ => 0.0,
        };
        Self { runs, mean, spread, rate: rate(agent, rng), besides }
    }

    /// Draws the usage of a day, without daily limits.
    fn day(&self, agent: &AgentBasis, day: usize, length: f64, rng: &mut Rng, count: &mut u64) -> PastRun {
        let most = most_events(agent.besides_a_day() * length);
        if agent.basis() == Basis::Limits {
            let runs = agent.due[day] + most;
            *count += runs;
            let times = |run: Option<f64>| run.unwrap_or(0.0) * runs as f64;
            return PastRun { usd: times(agent.per_run.usd), tokens: times(agent.per_run.tokens) };
        }
        let runs = binomial(rng, agent.due[day], self.rate) + poisson(rng, self.besides * length).min(most);
        *count += runs;
        if runs <= MAX_EXACT_RUNS {
            return (0..runs)
                .fold(PastRun::default(), |sum, _| add(sum, self.runs[rng.usize(0..self.runs.len())]));
        }
        let (many, root, by) = (runs as f64, (runs as f64).sqrt(), normal(rng));
        let sum = |mean: f64, spread: f64, most: Option<f64>| {
            let sum = (many * mean + root * spread * by).max(0.0);
            most.map_or(sum, |most| sum.min(most * many))
        };
        PastRun {
            usd: sum(self.mean.usd, self.spread.usd, agent.per_run.usd),
            tokens: sum(self.mean.tokens, self.spread.tokens, agent.per_run.tokens),
        }
    }
}

/// Limits the usage of a past run, which may have had higher limits.
fn bounded(agent: &AgentBasis, run: PastRun) -> PastRun {
    Amounts { usd: agent.per_run.usd, tokens: agent.per_run.tokens }.bound(run)
}

/// Draws the share of due times that lead to a run: all, if all did in the history.
fn rate(agent: &AgentBasis, rng: &mut Rng) -> f64 {
    let (due, ran) = (agent.due_before, agent.runs_when_due.min(agent.due_before));
    if due == 0 || ran == due {
        return 1.0;
    }
    // even if none ran in the history, one may yet
    let seen = (ran as f64 + 0.5) / (due as f64 + 1.0);
    binomial(rng, due, seen) as f64 / due as f64
}
