//! Reports about the sources, beside their items.
use super::gather::{self, Source};
use super::item::Feed;
use super::source::{Given, SourceOutcome};
use super::text;
use crate::domain::{Finding, FoundBy, Level};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

/// A source that can't be read for this long is an incident.
const INCIDENT_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Maximum number of warnings of a call.
const MAX_WARNINGS: usize = 20;

/// Reports the outcome of each source.
pub(super) fn account(asked: &[SourceOutcome]) -> Map<String, Value> {
    let mut out = Map::new();
    let mut sources = Vec::new();
    let mut failures = Vec::new();
    for (url, given) in asked {
        let shown = shown(url);
        let failed = |error: &str| json!({"url": shown, "error": text::shorter(error, 500)});
        match given {
            Ok(Given { feed, unchanged, moved_to }) => {
                let name = gather::name_of(&Source { url, feed });
                let mut one = json!({"url": shown, "source": name, "items": feed.items.len()});
                if *unchanged {
                    one["unchanged"] = true.into();
                }
                if let Some(to) = moved_to {
                    one["moved_to"] = to.as_str().into();
                }
                if let Some((count, example)) = odd_dates(feed) {
                    one["odd_dates"] = json!({"count": count, "example": example});
                }
                sources.push(one);
                if let Some(why) = &feed.broken {
                    failures.push(failed(&format!(
                        "broken: {why}; the {} items before that count",
                        feed.items.len()
                    )));
                }
            }
            Err(failure) => failures.push(failed(&failure.error)),
        }
    }
    out.insert("failures".into(), failures.into());
    out.insert("sources".into(), sources.into());
    out
}

fn shown(url: &str) -> String {
    text::shorter(&gather::without_secrets(url), 300).into_owned()
}

pub(super) fn all_failed(asked: &[SourceOutcome]) -> String {
    let errors: Vec<String> = asked
        .iter()
        .filter_map(|(url, given)| Some(format!("{}: {}", shown(url), given.as_ref().err()?.error)))
        .collect();
    let first = errors.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    match errors.len() {
        1 => first,
        count if count > 5 => {
            format!("none of the {count} sources could be read: {first}; and {} more", count - 5)
        }
        count => format!("none of the {count} sources could be read: {first}"),
    }
}

/// Returns the number of items whose dates could not be parsed, and one of those dates.
fn odd_dates(feed: &Feed) -> Option<(usize, &str)> {
    let mut odd = feed.items.iter().filter_map(|item| item.odd_date.as_deref());
    let first = odd.next()?;
    Some((odd.count() + 1, first))
}

/// Returns warnings for the record of the run or the slot.
pub(super) fn warnings(asked: &[SourceOutcome]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (url, given) in asked {
        let url = shown(url);
        match given {
            Err(failure) => all.push(format!("{url} can't be read: {}", text::shorter(&failure.error, 300))),
            Ok(given) => {
                if let Some(why) = &given.feed.broken {
                    all.push(format!("{url} is broken: {why}"));
                }
                if let Some(to) = &given.moved_to {
                    all.push(format!("{url} has moved to {to} for good: write the new address"));
                }
            }
        }
    }
    if all.len() > MAX_WARNINGS {
        let more = all.len() - (MAX_WARNINGS - 1);
        all.truncate(MAX_WARNINGS - 1);
        all.push(format!("and {more} more"));
    }
    all
}

/// Returns a finding for each source: those that keep failing become incidents.
pub(super) fn findings(asked: &[SourceOutcome]) -> Vec<Finding> {
    let finding = |(url, given): &SourceOutcome| {
        let url = shown(url);
        let (level, title) = match given {
            Ok(_) => (Level::Ok, format!("{url} can be read")),
            Err(failure) => {
                (Level::Warn, format!("{url} can't be read: {}", text::shorter(&failure.error, 300)))
            }
        };
        Finding { key: format!("feed:{url}"), level, title, hold_for: INCIDENT_AFTER, by: FoundBy::Check }
    };
    asked.iter().map(finding).collect()
}
