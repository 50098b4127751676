//! Views of limits.
use crate::domain::HoldRecord;
use crate::engine::BudgetLeft;
use crate::protocol::LimitView;
use jiff::civil::Date;

/// Converts a limit, with its remainder.
pub(in crate::daemon) fn limit(left: &BudgetLeft, holds: &[HoldRecord], today: Date) -> LimitView {
    let monthly = left.limit.ends_with("_per_month");
    let counts = |hold: &&HoldRecord| {
        left.agent.as_ref().is_none_or(|agent| *agent == hold.agent)
            && (hold.day == today || monthly && hold.day.first_of_month() == today.first_of_month())
    };
    let amount = |hold: &HoldRecord| match left.limit.split_once('_') {
        Some(("usd", _)) => hold.worst.usd,
        Some(("tokens", _)) => hold.worst.tokens as f64,
        _ => 1.0,
    };
    let held: f64 = holds.iter().filter(counts).map(amount).sum();
    LimitView {
        limit: left.limit.to_owned(),
        allowed: left.allowed,
        used: left.used,
        // holds are read a moment later than usage
        held: held.min(left.used),
        left: (left.allowed - left.used).max(0.0),
    }
}
