//! Which items an agent has seen before.
use super::Call;
use crate::domain::{Entry, Fact, MemoryChange, novelty};
use serde_json::Value;
use std::collections::HashMap;

/// From so many seen items of an agent on, those that are still there are noted again.
const MANY_SEEN: u64 = 10_000;

/// For a gate with `novel_by`: what its agent has seen does not come again, also not as the same story of another
/// feed. What can't be looked up stays: whoever called looks again.
pub(super) async fn leave_out_seen(
    call: &Call,
    items: &mut Vec<Value>,
    doubles: &HashMap<String, Vec<Value>>,
) {
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
    // Who asks for more than which item it is, wants to be told of a revision of one of them.
    let names_it = by.iter().all(|field| matches!(field.as_str(), "id" | "link"));
    let (mut told, mut note) = (Vec::new(), Vec::new());
    for ((key, others), seen) in keys.into_iter().zip(of_doubles).zip(seen) {
        let others: Vec<(String, bool)> =
            others.into_iter().map(|key| (key, seen_of_doubles.next().copied().unwrap_or(false))).collect();
        let is_told = *seen || (names_it && others.iter().any(|(_, seen)| *seen));
        told.push(is_told);
        if is_told {
            // The oldest are forgotten some day. What is still in a feed must not be among them.
            let again = known.is_some_and(|(count, _)| count > MANY_SEEN);
            let all = [(key, *seen)].into_iter().chain(others);
            note.extend(all.filter(|(_, seen)| again || !seen).map(|(key, _)| key));
        }
    }
    if !note.is_empty() {
        let fact = Fact::Remembered(Box::new(MemoryChange::Seen { agent: agent.clone(), items: note }));
        let _ = store.commit(vec![Entry { at: crate::clock::wall(), fact }]).await;
    }
    let mut told = told.into_iter();
    items.retain(|_| !told.next().unwrap_or(false));
}
