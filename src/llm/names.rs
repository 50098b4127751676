//! Call ids that providers accept.
use crate::domain::{ChatMessage, ModelTurn};
use std::borrow::Cow;
use std::collections::HashSet;

/// Returns an id for each call of each message, unique in the conversation. Ids from the same model are kept; those from other
/// models are replaced by ids that every provider accepts: nine letters and digits (required by Mistral; OpenAI allows at most
/// forty characters). Replies are matched by position.
pub(super) fn call_ids<'a>(
    messages: &'a [ChatMessage],
    is_own: impl Fn(&ModelTurn) -> bool,
) -> Vec<Vec<Cow<'a, str>>> {
    let mut seen: HashSet<Cow<'a, str>> = HashSet::new();
    let mut all: Vec<Vec<Cow<'a, str>>> = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let ids = match message {
            ChatMessage::User { .. } => Vec::new(),
            ChatMessage::Model(turn) => {
                let own = is_own(turn);
                let calls = turn.calls.iter().enumerate();
                calls
                    .map(|(place, call)| {
                        let id = Cow::Borrowed(call.id.as_str());
                        let stays = own && is_good_id(&call.id) && seen.insert(id.clone());
                        if stays { id } else { new_id(at, place, &mut seen) }
                    })
                    .collect()
            }
            ChatMessage::Tools { replies } => {
                let calls: &[Cow<'_, str>] = all.last().map_or(&[], Vec::as_slice);
                let replies = replies.iter().enumerate();
                replies
                    .map(|(place, reply)| calls.get(place).cloned().unwrap_or(Cow::Borrowed(&reply.id)))
                    .collect()
            }
        };
        all.push(ids);
    }
    all
}

/// Returns an id that depends on the position only, unless it is taken.
fn new_id<'a>(at: usize, place: usize, seen: &mut HashSet<Cow<'a, str>>) -> Cow<'a, str> {
    for letter in ('g'..='z').chain('A'..='Z') {
        let id = Cow::Owned(format!("b{letter}{:05}{:02}", at % 100_000, place % 100));
        if seen.insert(Cow::clone(&id)) {
            return id;
        }
    }
    Cow::Owned(format!("b{at}x{place}"))
}

/// Maximum length of a call id that is sent back, in bytes: gateways encode state in ids, so they can be long.
const MAX_ID_BYTES: usize = 16 << 10;
/// Maximum length of a tool name that is kept, in bytes; no tool's name is as long.
const MAX_NAME_BYTES: usize = 256;

/// Truncates excessive names and ids: they would be recorded with each event of the call.
pub(super) fn bound(turn: &mut ModelTurn) {
    for call in &mut turn.calls {
        // an id that is too long is replaced wherever it is sent
        if call.id.len() > MAX_ID_BYTES {
            call.id.truncate(call.id.floor_char_boundary(64));
        }
        if call.name.len() > MAX_NAME_BYTES {
            call.name.truncate(call.name.floor_char_boundary(MAX_NAME_BYTES));
            call.name.push('…');
        }
    }
}

fn is_good_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    //! Tests of names.
    use super::*;
    use crate::domain::{ModelTurn, ToolReply, ToolRequest};

    #[test]
    fn names_and_ids_of_calls_have_bounds() {
        let call =
            |id: &str, name: &str| ToolRequest { id: id.into(), name: name.into(), arguments: "{}".into() };
        let good = call(&"i".repeat(MAX_ID_BYTES), "server__tool");
        let mut turn = ModelTurn {
            calls: vec![call(&"é".repeat(5_000_000), &"é".repeat(5_000_000)), good.clone()],
            ..ModelTurn::default()
        };
        bound(&mut turn);
        assert!(turn.calls[0].id.len() <= 64 && turn.calls[0].name.len() < MAX_NAME_BYTES + 4);
        assert_eq!(turn.calls[1], good, "what is used is kept");
    }

    #[test]
    fn ids_are_unique_and_replies_have_those_of_their_calls() {
        let call = |id: &str| ToolRequest { id: id.into(), name: "t".into(), arguments: String::new() };
        let turn = |ids: &[&str]| {
            ChatMessage::Model(ModelTurn {
                calls: ids.iter().map(|id| call(id)).collect(),
                ..ModelTurn::default()
            })
        };
        let replies = |ids: &[&str]| ChatMessage::Tools {
            replies: ids
                .iter()
                .map(|id| ToolReply {
                    id: (*id).into(),
                    name: "t".into(),
                    text: String::new(),
                    is_error: false,
                })
                .collect(),
        };
        let messages = [
            turn(&["a", "a", ""]),
            replies(&["a", "a", ""]),
            turn(&["a", "b:1", "c"]),
            replies(&["a", "b:1", "c"]),
        ];
        let ids = call_ids(&messages, |_| true);
        assert_eq!(ids[0], ["a", "bg0000001", "bg0000002"]);
        assert_eq!(ids[1], ids[0]);
        assert_eq!(ids[2], ["bg0000200", "b:1", "c"]);
        // to another model: as all take them, and the same each time
        let others = call_ids(&messages, |_| false);
        let taken = |id: &str| id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric());
        let unique: HashSet<&str> = [&others[0], &others[2]].into_iter().flatten().map(|id| &**id).collect();
        assert!(unique.len() == 6 && unique.iter().all(|id| taken(id)), "{others:?}");
        assert_eq!((&others[1], &others[3]), (&others[0], &others[2]));
        assert_eq!(others[0], ["bg0000000", "bg0000001", "bg0000002"]);
        assert_eq!(ids[3], ids[2]);
    }
}
