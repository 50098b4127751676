//! The strip of an agent's slots over a period: one path per kind of verdict, however many slots there are. It uses
//! only presentation attributes and classes, since the content security policy allows no inline style.
use crate::domain::{RunStatus, Verdict};
use crate::protocol::{RunView, SlotRecordView};
use askama::Template;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Width of the picture in its own units; it is stretched.
pub(super) const WIDTH: f64 = 1000.0;
/// Height of the picture.
const HEIGHT: f64 = 20.0;
/// Minimum width of a mark.
const MIN_MARK_WIDTH: f64 = 2.5;

/// What a mark means. Height and position express it as well as colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum MarkKind {
    /// The daemon did not run: full height, behind everything.
    Missed,
    /// Skipped on purpose or because of another run: near the top.
    Skipped,
    /// The gate was closed, or all was well: low.
    Quiet,
    /// A limit refused it.
    Refused,
    /// Cancelled by a person.
    Cancelled,
    Ran,
    /// It is running.
    Running,
    /// It waits for a person.
    Asks,
    Failed,
}

impl MarkKind {
    fn class(self) -> &'static str {
        match self {
            Self::Missed => "f-away",
            Self::Skipped | Self::Quiet | Self::Cancelled => "f-idle",
            Self::Refused => "f-warn",
            Self::Ran => "f-ok",
            Self::Running => "f-busy",
            Self::Asks => "f-ask",
            Self::Failed => "f-bad",
        }
    }

    /// Returns top and height.
    fn place(self) -> (f64, f64) {
        match self {
            Self::Missed | Self::Failed | Self::Asks => (0.0, HEIGHT),
            Self::Skipped => (1.0, 4.0),
            Self::Quiet => (16.0, 4.0),
            Self::Refused => (10.0, 10.0),
            Self::Ran | Self::Running | Self::Cancelled => (8.0, 12.0),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Skipped => "skipped",
            Self::Quiet => "nothing to do",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Ran => "ran",
            Self::Running => "running",
            Self::Asks => "waiting for you",
            Self::Failed => "failed",
        }
    }

    fn of_status(status: RunStatus) -> Self {
        match status {
            RunStatus::WaitingApproval => Self::Asks,
            RunStatus::Cancelled => Self::Cancelled,
            status if status.is_failure() => Self::Failed,
            status if status.is_final() => Self::Ran,
            _ => Self::Running,
        }
    }

    fn of(record: &SlotRecordView) -> Self {
        match (record.verdict, record.status) {
            (_, Some(status)) => Self::of_status(status),
            (Verdict::Ran, None) if record.all_well => Self::Quiet,
            (Verdict::Ran, None) => Self::Ran,
            (verdict, None) => Self::of_verdict(verdict.as_str()),
        }
    }

    fn of_verdict(word: &str) -> Self {
        match word {
            _ if word.starts_with("missed") => Self::Missed,
            _ if word.starts_with("refused") => Self::Refused,
            _ if word.contains("gate") => Self::Quiet,
            _ => Self::Skipped,
        }
    }
}

/// A strip, and its description.
#[derive(Clone, Debug, Default, Template)]
#[template(path = "strip.html")]
pub(super) struct Strip {
    /// Class and path data of each kind, back to front.
    pub(super) paths: Vec<(&'static str, String)>,
    /// `33 ran, 68 skipped, 2 failed`; empty if there was no slot.
    pub(super) words: String,
    /// The same counts separately, each with a class.
    pub(super) counts: Vec<(&'static str, String)>,
}

/// Draws the strip of `from..to`. `runs` are those without a slot: started manually or by an event.
pub(super) fn strip(
    records: &[SlotRecordView],
    runs: &[RunView],
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Strip {
    let scale = WIDTH / to.duration_since(from).as_secs_f64().max(1.0);
    let x = |at: Timestamp| (at.duration_since(from).as_secs_f64() * scale).clamp(0.0, WIDTH);
    let mut paths: BTreeMap<MarkKind, String> = BTreeMap::new();
    let mut counts: BTreeMap<MarkKind, u64> = BTreeMap::new();
    let mut mark = |kind: MarkKind, begin: Timestamp, end: Timestamp, count: u64| {
        *counts.entry(kind).or_default() += count;
        let (left, right) = (x(begin), x(end));
        let width = (right - left).max(MIN_MARK_WIDTH);
        let (top, height) = kind.place();
        let left = left.min(WIDTH - width);
        let path = paths.entry(kind).or_default();
        let _ = write!(path, "M{left:.1} {top}h{width:.1}v{height}h-{width:.1}z");
    };
    for record in records {
        let kind = MarkKind::of(record);
        let (begin, end) = match record.status {
            Some(_) => {
                let begin = record.started_at.unwrap_or(record.first);
                (
                    begin,
                    record.finished_at.unwrap_or(if record.status.is_some_and(|s| s.is_final()) {
                        begin
                    } else {
                        now
                    }),
                )
            }
            None => (record.first, record.last),
        };
        match kind {
            // slots far apart are drawn as separate marks, not as a bar over the time between them
            MarkKind::Skipped | MarkKind::Quiet | MarkKind::Refused if record.count > 1 => {
                spread(record, |at, count| mark(kind, at, at, count));
            }
            _ => mark(kind, begin, end, record.count),
        }
    }
    for run in runs {
        let begin = run.started_at.unwrap_or(run.queued_at);
        let end = run.finished_at.unwrap_or(if run.status.is_final() { begin } else { now });
        mark(MarkKind::of_status(run.status), begin, end, 1);
    }
    let counts: Vec<(&'static str, String)> = counts
        .iter()
        .rev()
        .map(|(kind, count)| (kind.class().trim_start_matches("f-"), format!("{count} {}", kind.words())))
        .collect();
    Strip {
        words: counts.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(", "),
        paths: paths.into_iter().map(|(kind, path)| (kind.class(), path)).collect(),
        counts,
    }
}

/// Spreads the marks of one record over the time of its slots, evenly, and reduced to a maximum.
fn spread(record: &SlotRecordView, mut mark: impl FnMut(Timestamp, u64)) {
    const MAX_MARK_COUNT: u64 = 120;
    let marks = record.count.min(MAX_MARK_COUNT);
    let step = record.last.duration_since(record.first).as_secs_f64() / (marks.max(2) - 1) as f64;
    let mut left = record.count;
    for n in 0..marks {
        let share = left / (marks - n);
        left -= share;
        let after = jiff::SignedDuration::from_secs_f64(step * n as f64);
        mark(record.first.checked_add(after).unwrap_or(record.last), share);
    }
}

#[cfg(test)]
mod tests {
    //! Tests of strips.
    use super::*;
    use serde_json::json;

    fn at(minute: i64) -> Timestamp {
        "2026-11-24T10:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minute)
    }

    fn record(minute: i64, verdict: &str, rest: serde_json::Value) -> SlotRecordView {
        let mut view = json!({"agent_id": "a", "first": at(minute), "last": at(minute), "count": 1, "verdict": verdict, "cause": ""});
        for (key, value) in rest.as_object().unwrap() {
            view[key] = value.clone();
        }
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn each_kind_is_one_path_and_all_slots_are_counted() {
        let failed = |minute: i64| {
            record(
                minute,
                "ran",
                json!({"status": "failed", "started_at": at(minute), "finished_at": at(minute)}),
            )
        };
        let ran =
            record(30, "ran", json!({"status": "completed", "started_at": at(30), "finished_at": at(36)}));
        let skipped = record(40, "skipped_overlap", json!({"last": at(49), "count": 10}));
        let away = record(50, "missed_downtime", json!({"last": at(55), "count": 6}));
        let all = [failed(0), failed(10), ran, skipped, away];
        let strip = strip(&all, &[], (at(0), at(60)), at(60));
        assert_eq!(strip.words, "2 failed, 1 ran, 10 skipped, 6 missed");
        let classes: Vec<&str> = strip.paths.iter().map(|(class, _)| *class).collect();
        assert_eq!(classes, ["f-away", "f-idle", "f-ok", "f-bad"], "what was missed lies behind");
        assert_eq!(strip.paths[3].1, "M0.0 0h2.5v20h-2.5zM166.7 0h2.5v20h-2.5z");
        assert_eq!(strip.paths[2].1, "M500.0 8h100.0v12h-100.0z", "as long as it took");
        assert_eq!(strip.paths[1].1.matches('M').count(), 10);
        let cancelled = super::strip(
            &[record(30, "ran", json!({"status": "cancelled", "started_at": at(30), "finished_at": at(31)}))],
            &[],
            (at(0), at(60)),
            at(60),
        );
        assert_eq!((cancelled.words.as_str(), cancelled.paths[0].0), ("1 cancelled", "f-idle"));
        let empty = super::strip(&[], &[], (at(0), at(60)), at(60));
        assert!(empty.words.is_empty() && empty.paths.is_empty());
    }

    #[test]
    fn many_slots_of_one_record_are_a_bounded_number_of_marks() {
        let many = record(0, "refused_circuit", json!({"last": at(59), "count": 1_000_000_007_u64}));
        let strip = strip(&[many], &[], (at(0), at(60)), at(60));
        assert_eq!(strip.words, "1000000007 refused");
        assert_eq!(strip.paths[0].1.matches('M').count(), 120);
    }
}
