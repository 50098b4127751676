//! Filters items that an agent has seen before.
use super::Call;
use crate::domain::{Entry, Fact, MemoryChange, novelty};
use serde_json::Value;
use std::collections::HashMap;

/// If an agent has seen more items than this, those that are still in a feed are recorded again.
const REFRESH_ABOVE_COUNT: u64 = 10_000;

/// For a gate with `novel_by`: leaves out what its agent has seen, also as the same story of another feed. If
/// the lookup fails, all items stay: the caller checks again.
pub(super) async fn drop_seen(call: &Call, items: &mut Vec<Value>, doubles: &HashMap<String, Vec<Value>>) {
    let by = &call.context.novel_by;
    let (Some(store), Some(agent), false) = (&call.context.store, &call.context.agent, by.is_empty()) else {
        return;
    };
    let keys = novelty::keys(items, by);
    let of_doubles: Vec<Vec<String>> = items
        .iter()
        .map(|item| item["id"].as_str().and_then(|id| doubles.get(id)))
        .map(|others| others.map_or_else(Vec::new, |others| novelty::keys(others, by)))
        .collect();
    let asked: Vec<String> = keys.iter().chain(of_doubles.iter().flatten()).cloned().collect();
    let of = agent.clone();
    let known = store.read(move |reader| Ok((reader.seen(&of, &asked)?, reader.seen_count(&of)?))).await;
    let Ok((seen, known)) = known else { return };
    let (seen, seen_of_doubles) = seen.split_at(keys.len());
    let mut seen_of_doubles = seen_of_doubles.iter();
    // With other fields than the item's identity, revisions of an item are reported.
    let names_it = by.iter().all(|field| matches!(field.as_str(), "id" | "link"));
    let (mut seen_before, mut note) = (Vec::new(), Vec::new());
    for ((key, others), seen) in keys.into_iter().zip(of_doubles).zip(seen) {
        let others: Vec<(String, bool)> =
            others.into_iter().map(|key| (key, seen_of_doubles.next().copied().unwrap_or(false))).collect();
        let is_seen = *seen || (names_it && others.iter().any(|(_, seen)| *seen));
        seen_before.push(is_seen);
        if is_seen {
            // The oldest records are evicted eventually. What is still in a feed must not be among them.
            let again = known.is_some_and(|(count, _)| count > REFRESH_ABOVE_COUNT);
            let all = [(key, *seen)].into_iter().chain(others);
            note.extend(all.filter(|(_, seen)| again || !seen).map(|(key, _)| key));
        }
    }
    if !note.is_empty() {
        let fact = Fact::Remembered(Box::new(MemoryChange::Seen { agent: agent.clone(), items: note }));
        let _ = store.commit(vec![Entry { at: crate::clock::wall(), fact }]).await;
    }
    let mut seen_before = seen_before.into_iter();
    items.retain(|_| !seen_before.next().unwrap_or(false));
}
