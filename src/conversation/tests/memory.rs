//! Tables of what is remembered.
use super::*;
use crate::conversation::memory;
use crate::domain::messages_at_most;

fn session(turns: usize) -> Vec<ChatMessage> {
    let turn = |n| {
        let text = format!("answer {n} {}", "y".repeat(300));
        [
            ChatMessage::User { text: format!("question {n}\n{}", "x".repeat(300)) },
            ChatMessage::Model(ModelTurn { text, ..ModelTurn::default() }),
        ]
    };
    (0..turns).flat_map(turn).collect()
}

#[test]
fn a_session_keeps_its_newest_turns() {
    let stored = session(20);
    assert_eq!(memory::messages_of_session(&stored, 100_000), (stored.clone(), 0));
    assert_eq!(memory::messages_of_session(&[], 0), (Vec::new(), 0));
    for max_tokens in [0, 10, 100, 500, 1000, 2000, 3000, 6000] {
        let (kept, dropped) = memory::messages_of_session(&stored, max_tokens);
        let size = messages_at_most(&kept);
        assert!(size <= max_tokens, "{size} of {max_tokens}");
        let whole = kept.iter().rev().zip(stored.iter().rev()).take_while(|(a, b)| a == b).count();
        assert_eq!(whole, stored.len() - 2 * dropped, "{max_tokens}");
        assert!(kept.len() - whole <= 1);
    }
    let (kept, dropped) = memory::messages_of_session(&stored, 3000);
    let ChatMessage::User { text } = &kept[0] else { panic!() };
    assert!(text.contains(&format!("- question {} xxx", dropped - 1)), "{text}");
    assert!(text.contains("… → answer") && text.contains("older ones are left out)\n- question"), "{text}");
}

#[test]
fn the_last_result_is_marked() {
    let memory = memory::last_result(" disk 91 %\n");
    let mut talk = Talk::new(|brief| brief.memory = memory.clone());
    assert_eq!(talk.request().messages[..1], memory[..]);
    let ChatMessage::User { text } = &memory[0] else { panic!() };
    starts(
        text,
        "For reference, your own final answer in your last run; it may be out of date:\n<<<data from your",
    );
    assert!(text.contains("\ndisk 91 %\n<<<end "));
    assert_eq!(talk.say("well").finished().said.len(), 2);
}
