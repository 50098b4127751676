//! Forecasts the cost of agents for a period ahead, from the cost and number of past runs and from upcoming due times.
//!
//! **Theory of operation.** The future is simulated a thousand times from a fixed seed. A draw begins by resampling the
//! history with replacement (a bootstrap), so that a short history gives a wide range: what a run costs, which share of
//! the due times led to a run, how many runs came without one. Then, for each day of the period: how many of its due
//! times lead to a run, and what those cost, each as much as a run of that resampled history. Days are added within a
//! draw, so sums over agents and days are sums of one future, not sums of percentiles. The worst case is not drawn: it
//! is what the limits allow.
//!
//! Pure: calendar days and counts are passed in, figures are returned. Gathering them is left to `cli`.
mod basis;
mod chance;
mod days;
mod draw;
mod limits;

#[cfg(test)]
mod tests;

pub use basis::{
    AgentBasis, Basis, DueFrom, MIN_HISTORY_RUNS, MIN_TRUSTED_DAYS, MIN_TRUSTED_RUNS, PastRun, PerRun,
    due_by_day,
};
pub use draw::{AgentForecast, FleetForecast, SpendRange, days_of, forecast};
pub use limits::{LimitOutlook, LimitSpan, SpendingLimit};
