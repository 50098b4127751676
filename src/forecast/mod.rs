//! What agents will cost: a period ahead, from what their runs have cost, how often they ran, and how often they will be due.
//!
//! **Theory of operation.** The future is drawn a thousand times from a fixed seed, and read off. A draw begins with the history drawn
//! anew, with repetition (a bootstrap), so that a short history gives a wide range: what a run costs, which part of the due moments
//! led to a run, how many runs came without one. Then each day of the period: how many of its due moments lead to a run, and what
//! those cost, each as a run of that history did. Days are added within a draw, so sums over agents and days are sums of one future, and
//! not sums of percentiles. The worst case is no draw: it is what the limits allow.
//!
//! Pure: calendar days and counts come in, figures go out. Where they come from is left to `cli`.
mod basis;
mod chance;
mod days;
mod draw;
mod limits;

#[cfg(test)]
mod tests;

pub use basis::{
    AgentBasis, Basis, DueFrom, LEAST_RUNS, PastRun, PerRun, TRUSTED_DAYS, TRUSTED_RUNS, due_by_day,
};
pub use draw::{AgentForecast, FleetForecast, SpendRange, days_of, forecast};
pub use limits::{LimitOutlook, LimitSpan, SpendingLimit};
