//! `backfill --plan`, and the progress of a backfill.
use super::screen::Screen;
use super::words::usd;
use crate::domain::counted;
use crate::protocol::{BackfillView, OpenBackfillView};
use std::fmt::Write as _;

/// Formats what would run, and what it may cost.
pub(crate) fn backfill_plan(view: &BackfillView, screen: &Screen) -> String {
    let mut text = String::new();
    for slot in &view.slots {
        let _ = writeln!(text, "{}", screen.full(*slot));
    }
    let left_out = match view.left_out {
        Some(left_out @ 1..) => format!(", {left_out} left out since they ran already"),
        _ => String::new(),
    };
    let worst = match view.worst_usd {
        Some(worst) if worst > 0.0 => format!("; at most {}", usd(worst)),
        Some(_) => "; no model is asked".to_owned(),
        None => "; nothing bounds what it costs: give --max-usd, or the agent a max_usd_per_run".to_owned(),
    };
    let usual =
        view.usual_usd.map_or_else(String::new, |usual| format!(", {} as its newest runs cost", usd(usual)));
    let line = format!("{}: {}{left_out}{worst}{usual}", view.agent_id, counted(view.count, "run"));
    text + &screen.fold(&line) + "\n"
}

/// Formats the progress: `3 of 30 slots, next 2026-11-04 09:00; $0.12 of $5.00`.
pub(super) fn progress(open: &OpenBackfillView, screen: &Screen) -> String {
    let mut text = format!("{} of {}", open.started, counted(open.count, "slot"));
    if let Some(next) = open.next {
        let _ = write!(text, ", next {}", screen.local(next));
    }
    match open.max_usd {
        Some(max) => {
            let _ = write!(text, "; {} of {}", usd(open.usd), usd(max));
        }
        None if open.usd > 0.0 => {
            let _ = write!(text, "; {}", usd(open.usd));
        }
        None => {}
    }
    text
}
