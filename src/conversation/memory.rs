//! Context from earlier runs: bounded, and marked as data.
use super::reply::{bounded, marked, short};
use crate::domain::{ChatMessage, messages_at_most};

/// Maximum characters of a question and of an answer in a digest.
const DIGEST_CHARS: (usize, usize) = (100, 200);

/// Returns the newest turns of a session that fit into `max_tokens` (worst-case count), and how many do not. The
/// latter are summarized in one message at the front, a line each, as far as there is room; a quarter of the tokens
/// is reserved for it.
pub fn messages_of_session(stored: &[ChatMessage], max_tokens: u64) -> (Vec<ChatMessage>, usize) {
    let turns = turns(stored);
    let all: Vec<u64> = turns.iter().map(|turn| messages_at_most(turn)).collect();
    if all.iter().sum::<u64>() <= max_tokens {
        return (stored.to_vec(), 0);
    }
    let for_digest = max_tokens / 4;
    let (mut kept, mut used) = (0, 0);
    for size in all.iter().rev() {
        if used + size > max_tokens - for_digest {
            break;
        }
        (kept, used) = (kept + 1, used + size);
    }
    let (dropped, kept) = turns.split_at(turns.len() - kept);
    let digest = digest(dropped, max_tokens - used);
    (digest.into_iter().chain(kept.iter().flat_map(|turn| turn.iter().cloned())).collect(), dropped.len())
}

/// Returns the message with the answer of the last run that had one.
pub fn last_result(text: &str) -> Vec<ChatMessage> {
    let text = marked("your last run", "", &bounded(text.trim()));
    let text =
        format!("For reference, your own final answer in your last run; it may be out of date:\n{text}");
    vec![ChatMessage::User { text }]
}

/// Splits messages into turns: each question with what follows it.
fn turns(stored: &[ChatMessage]) -> Vec<&[ChatMessage]> {
    let starts = |message: &ChatMessage| matches!(message, ChatMessage::User { .. });
    let mut turns = Vec::new();
    let mut rest = stored;
    while !rest.is_empty() {
        let end = rest[1..].iter().position(starts).map_or(rest.len(), |at| at + 1);
        let (turn, after) = rest.split_at(end);
        turns.push(turn);
        rest = after;
    }
    turns
}

/// Summarizes the newest dropped turns in lines, oldest first; `None` if not even one fits.
fn digest(dropped: &[&[ChatMessage]], max_tokens: u64) -> Option<ChatMessage> {
    let mut lines: Vec<String> = Vec::new();
    let mut digest = None;
    for turn in dropped.iter().rev() {
        lines.insert(0, line(turn));
        let longer = digest_message(&lines, dropped.len() - lines.len());
        if messages_at_most(std::slice::from_ref(&longer)) > max_tokens {
            break;
        }
        digest = Some(longer);
    }
    digest
}

fn digest_message(lines: &[String], older: usize) -> ChatMessage {
    let older = if older == 0 { String::new() } else { format!("({older} older ones are left out)\n") };
    let text = marked("earlier runs", "", &(older + &lines.join("\n")));
    ChatMessage::User { text: format!("Earlier in this session, shortened:\n{text}") }
}

fn line(turn: &[ChatMessage]) -> String {
    let question = turn.iter().find_map(|message| match message {
        ChatMessage::User { text } => Some(text.as_str()),
        ChatMessage::Model(_) | ChatMessage::Tools { .. } => None,
    });
    let answer = turn.iter().rev().find_map(|message| match message {
        ChatMessage::Model(turn) => Some(turn.text.as_str()),
        ChatMessage::User { .. } | ChatMessage::Tools { .. } => None,
    });
    let (question, answer) = (question.unwrap_or_default(), answer.unwrap_or_default());
    format!("- {} → {}", short(question, DIGEST_CHARS.0), short(answer, DIGEST_CHARS.1))
}
