//! A message that asks about a call: how each service lets a person answer. A button or a written answer carries the
//! one-time code; `answers` receives it.
use crate::domain::{Escaping, LengthUnit, NotifyType, is_unseen};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Maximum number of messages per question.
const MAX_PART_COUNT: usize = 12;
/// Maximum size of the text in each message of a long question.
const MAX_PART_SIZE: usize = 3_500;

/// The answers: label, word, whether it approves.
const ANSWERS: [(&str, &str, bool); 2] = [("Approve", "approve", true), ("Deny", "deny", false)];

/// Adds the buttons below the text. Matrix has no buttons: there the text says what to write.
pub(super) fn add_buttons(kind: NotifyType, keys: &BTreeMap<&str, String>, code: &str, body: &mut Value) {
    match kind {
        NotifyType::Telegram => {
            let button = |(label, word, _): (&str, &str, bool)| json!({"text": label, "callback_data": format!("{word} {code}")});
            body["reply_markup"] = json!({"inline_keyboard": [ANSWERS.map(button)]});
        }
        NotifyType::Ntfy => {
            let server = keys.get("url").map_or("https://ntfy.sh", String::as_str).trim_end_matches('/');
            let topic = keys.get("reply_topic").map(String::as_str).unwrap_or_default();
            let action = |(label, word, _): (&str, &str, bool)| {
                json!({"action": "http", "label": label, "url": format!("{server}/{topic}"), "method": "POST",
                       "body": format!("{word} {code}"), "clear": true})
            };
            body["actions"] = ANSWERS.map(action).into_iter().collect();
        }
        _ => {}
    }
}

/// Returns the instructions at the end of a question.
pub(super) fn how_to_answer(kind: NotifyType, code: &str) -> String {
    match kind {
        NotifyType::Matrix => format!("\n\nAnswer with a message: approve {code}, or deny {code}."),
        _ => String::new(),
    }
}

/// Splits a text that does not fit into one message; `None`: it is too long even for several.
pub(super) fn parts(text: &str, escaping: Escaping, unit: LengthUnit) -> Option<Vec<String>> {
    let (mut parts, mut size) = (vec![String::new()], 0);
    for c in text.chars() {
        let mut buffer = [0; 4];
        let width = unit.size(&escaping.written(c.encode_utf8(&mut buffer)));
        if size + width > MAX_PART_SIZE {
            parts.push(String::new());
            size = 0;
        }
        size += width;
        parts.last_mut().expect("one is there").push(c);
    }
    (parts.len() <= MAX_PART_COUNT).then_some(parts)
}

/// Parses an answer: approve or deny, and the code. Quoted lines are skipped; any additional text makes it invalid.
pub(super) fn read_answer(text: &str) -> Option<(bool, String)> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('>'));
    let line: String = lines.next()?.chars().filter(|c| !is_unseen(*c)).collect();
    let mut words = line.split_whitespace();
    let (word, code) = (words.next()?.to_ascii_lowercase(), words.next()?);
    let approves = ANSWERS.into_iter().find(|(_, known, _)| word == *known)?.2;
    let code = code.trim_end_matches(['.', ',']).to_ascii_lowercase();
    let is_code = (4..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (words.next().is_none() && lines.next().is_none() && is_code).then_some((approves, code))
}

#[cfg(test)]
mod tests {
    //! Tests of parsing answers.
    use super::*;

    #[test]
    fn an_answer_is_two_words_and_nothing_else() {
        let said = |text| read_answer(text).map(|(approves, code)| (approves, code.to_owned()));
        assert_eq!(said("approve ab12cd34ef"), Some((true, "ab12cd34ef".into())));
        assert_eq!(
            said("> <@bot> news: may it?\n> x\n\nDeny AB12cd34ef.\n"),
            Some((false, "ab12cd34ef".into()))
        );
        for text in [
            "",
            "approve",
            "approved ab12cd34ef",
            "approve ab12cd34ef or not",
            "don't approve ab12cd34ef",
            "approve ab12cd34ef\nno, wait",
            "> approve ab12cd34ef",
            "approve a/b",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_lost_between_parts() {
        let text = "a <tag> & @name 🦀\n".repeat(1000);
        let escaping = Escaping::EntitiesWithoutMentions;
        let parts = parts(&text, escaping, LengthUnit::Utf16).unwrap();
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|part| LengthUnit::Utf16.size(&escaping.written(part)) <= MAX_PART_SIZE));
        assert_eq!(
            super::parts(&"x".repeat(MAX_PART_SIZE * MAX_PART_COUNT + 1), escaping, LengthUnit::Utf16),
            None
        );
    }
}
