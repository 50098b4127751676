//! Bars of limits.
use crate::protocol::LimitView;
use crate::web::html::{line, money};

/// Returns the bar of a limit: its key, its text, how much of 300 is filled, and a class.
pub(super) fn limit_bar(limit: &LimitView) -> (String, String, u64, &'static str) {
    let amount = |of: f64| if limit.limit.starts_with("usd") { money(of) } else { format!("{of:.0}") };
    let share = if limit.allowed > 0.0 { (limit.used / limit.allowed).clamp(0.0, 1.0) } else { 1.0 };
    let class = if limit.left <= 0.0 {
        "bad"
    } else if share >= 0.8 {
        "warn"
    } else {
        "ok"
    };
    let words = format!(
        "{} of {}, {} left",
        amount(limit.used),
        amount(limit.allowed),
        crate::render::left(limit, limit.used)
    );
    (line(&limit.limit).replace('_', " "), words, (share * 300.0).round() as u64, class)
}
