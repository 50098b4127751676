//! How many tokens a text may be at the most, without a tokenizer: by classes of characters, and for letters
//! by how usual their pairs are. What tokens cost is left to `price`.
//!
//! The bound holds for every tokenizer that it was measured against (`tokens/measured.jsonl`), whatever the
//! text: tokenizers learn common words, so base64, hashes, rare scripts and emoji are as many tokens as half
//! their characters, all of them, or even all of their bytes, and a bound by bytes alone is too low for those or
//! twice too high for prose.
use super::chat::{ChatMessage, ModelRequest, ModelTurn};
use super::provider::Provider;

/// Hundredths of a token for one class of characters each. Where a tokenizer splits every one, that is 100; the
/// rest is margin.
mod weight {
    /// The first letter of a word, or of the next part of `camelCase`.
    pub(super) const START: u64 = 105;
    /// A letter that often follows the one before it in the languages that tokenizers know best.
    pub(super) const USUAL: u64 = 15;
    /// The same among capitals: words of capitals are rarely known.
    pub(super) const CAPITAL: u64 = 75;
    /// A letter that seldom follows the one before it.
    pub(super) const UNUSUAL: u64 = 85;
    /// A blank that goes into the token of the word behind it.
    pub(super) const BLANK: u64 = 3;
    /// A blank among blanks: runs of them are known.
    pub(super) const INDENT: u64 = 25;
    /// Any other character of ASCII, and any byte of a character that is not listed.
    pub(super) const BYTE: u64 = 105;
    /// Letters of scripts whose alphabets all tokenizers know.
    pub(super) const ALPHABET: u64 = 150;
    /// Scripts of India, Tibet and the Khmer: a letter can be more tokens than it has bytes, since some
    /// tokenizers take it apart first.
    pub(super) const INDIC: u64 = 360;
    /// Characters that stand for several letters, as which some tokenizers read them.
    pub(super) const COMPATIBLE: u64 = 600;
    /// Characters that stand for whole phrases.
    pub(super) const PHRASE: u64 = 1300;
}

/// The letters that often follow each letter, as bits: row `t` has bit 7 for `th`. Counted in prose of six
/// European languages: the pairs that make up 88 of 100.
const FOLLOWS: [u32; 26] = [
    0x10e394e, 0x1100810, 0x0184991, 0x0004110, 0x0ae383d, 0x0024100, 0x0020091, 0x0084111, 0x02e787f,
    0x0000000, 0x0000010, 0x1004911, 0x000c111, 0x10c405d, 0x07eb82c, 0x1124811, 0x0000000, 0x10c5515,
    0x01c4110, 0x1064191, 0x00e3804, 0x0000110, 0x0004181, 0x0000000, 0x0004000, 0x0000000,
];

/// The most tokens that a text is.
pub fn text_at_most(text: &str) -> u64 {
    let mut sum = 0_u64;
    let mut before = '\0';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        sum += match c {
            ' ' if before == ' ' => weight::INDENT,
            ' ' if chars.peek().is_some_and(char::is_ascii_alphabetic) => weight::BLANK,
            c if c.is_ascii_alphabetic() => letter(before, c),
            c => other(c),
        };
        before = c;
    }
    sum.div_ceil(100)
}

fn letter(before: char, c: char) -> u64 {
    let goes_on = before.is_ascii_uppercase() || (before.is_ascii_lowercase() && c.is_ascii_lowercase());
    if !goes_on {
        return weight::START;
    }
    let place = |c: char| (c.to_ascii_lowercase() as u8 - b'a') as usize;
    match FOLLOWS[place(before)] >> place(c) & 1 == 1 {
        true if c.is_ascii_uppercase() => weight::CAPITAL,
        true => weight::USUAL,
        false => weight::UNUSUAL,
    }
}

fn other(c: char) -> u64 {
    match c {
        // the plain letters of Greek, Cyrillic, Hebrew and Arabic
        '\u{3b1}'..='\u{3c9}' | '\u{410}'..='\u{44f}' | '\u{5d0}'..='\u{5ea}' | '\u{621}'..='\u{64a}' => {
            weight::ALPHABET
        }
        '\u{fdf0}'..='\u{fdff}' => weight::PHRASE,
        '\u{fb50}'..='\u{fdef}' | '\u{fe70}'..='\u{fefc}' | '\u{3300}'..='\u{33ff}' => weight::COMPATIBLE,
        '\u{700}'..='\u{fff}' | '\u{1780}'..='\u{17ff}' => weight::INDIC,
        c => weight::BYTE * c.len_utf8() as u64,
    }
}

/// An answer with less room than this is not worth asking for, in tokens.
pub const LEAST_OUTPUT_TOKENS: u64 = 256;

/// Tokens of the frame of a message, a call or a tool.
const PER_PART: u64 = 8;

/// The most tokens that a provider adds of its own to a request: the date, and how tools are called.
pub fn frame_at_most(provider: Provider, tools: bool) -> u64 {
    match (provider, tools) {
        // "Pricing" of Anthropic's page on tool use; the most of its models
        (Provider::Anthropic, true) => 600,
        // templates of open models
        (_, true) => 200,
        (_, false) => 40,
    }
}

/// The most tokens that a request may be sent as, without [`frame_at_most`].
pub fn tokens_at_most(request: &ModelRequest) -> u64 {
    let system = request.system.as_deref().map_or(0, text_at_most);
    let messages: u64 = request.messages.iter().map(message_at_most).sum();
    let tools: u64 = request.tools.iter().map(|tool| PER_PART + json_at_most(tool)).sum();
    let schema = request.output_schema.as_ref().map_or(0, json_at_most);
    system + messages + tools + schema
}

/// The most tokens of these messages, without the frame of a request.
pub fn messages_at_most(messages: &[ChatMessage]) -> u64 {
    messages.iter().map(message_at_most).sum()
}

fn message_at_most(message: &ChatMessage) -> u64 {
    PER_PART
        + match message {
            ChatMessage::User { text } => text_at_most(text),
            ChatMessage::Model(turn) => turn_at_most(turn),
            ChatMessage::Tools { replies } => replies
                .iter()
                .map(|reply| {
                    PER_PART + text_at_most(&reply.text) + text_at_most(&reply.name) + text_at_most(&reply.id)
                })
                .sum(),
        }
}

fn turn_at_most(turn: &ModelTurn) -> u64 {
    let calls = turn.calls.iter().map(|call| {
        PER_PART + text_at_most(&call.name) + text_at_most(&call.arguments) + text_at_most(&call.id)
    });
    let kept = if turn.opaque.is_null() { 0 } else { json_at_most(&turn.opaque) };
    text_at_most(&turn.text) + turn.thought.as_deref().map_or(0, text_at_most) + calls.sum::<u64>() + kept
}

/// The most tokens of a value as JSON.
pub fn json_at_most(value: &impl serde::Serialize) -> u64 {
    serde_json::to_string(value).map_or(0, |json| text_at_most(&json))
}

/// The least tokens that a text is: no tokenizer in use joins words over the blanks between them.
pub fn text_at_least(text: &str) -> u64 {
    text.split_ascii_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    //! The bound, against what real tokenizers counted.
    use super::*;
    use serde::Deserialize;

    /// A text of one kind, and how many tokens it is to each of [`TOKENIZERS`].
    #[derive(Deserialize)]
    struct Measured {
        kind: String,
        counts: Vec<u64>,
        text: String,
    }

    /// In the order of the counts.
    const TOKENIZERS: [&str; 9] =
        ["o200k", "cl100k", "Claude", "Gemma", "DeepSeek 3", "Llama 3", "Llama 2", "Qwen 3", "Mistral 7B"];

    fn measured() -> Vec<Measured> {
        let lines = include_str!("tokens/measured.jsonl").lines();
        lines.map(|line| serde_json::from_str(line).expect("a measured text")).collect()
    }

    fn ratio(bound: u64, count: u64) -> f64 {
        bound as f64 / count as f64
    }

    #[test]
    fn the_bound_holds_for_every_kind_of_text_and_every_tokenizer() {
        let all = measured();
        assert!(all.len() > 140);
        for text in &all {
            assert_eq!(text.counts.len(), TOKENIZERS.len());
            let bound = text_at_most(&text.text);
            let (most, by) = text.counts.iter().zip(TOKENIZERS).max().expect("tokenizers");
            assert!(bound >= *most, "{}: {by} counts {most}, held are {bound}", text.kind);
        }
    }

    #[test]
    fn plain_text_is_not_held_at_much_more_than_it_is() {
        for (kind, most) in [("English", 2.0), ("Markdown", 2.0), ("German", 2.2), ("base64", 1.5)] {
            let of = measured().into_iter().filter(|text| text.kind == kind);
            let (bound, count) = of.fold((0, 0), |(bound, count), text| {
                (bound + text_at_most(&text.text), count + text.counts[0])
            });
            let ratio = ratio(bound, count);
            assert!(count > 0 && ratio <= most, "{kind}: {ratio:.2}");
        }
    }

    #[test]
    fn no_text_is_less_than_its_words() {
        for text in measured() {
            let least = text_at_least(&text.text);
            let (count, by) = text.counts.iter().zip(TOKENIZERS).min().expect("tokenizers");
            assert!(least <= *count, "{}: {by} counts {count}, words are {least}", text.kind);
        }
        assert_eq!(text_at_least(" It's 3 o'clock: all well\n"), 5);
    }

    #[test]
    fn more_text_is_never_less() {
        for text in measured() {
            let chars: Vec<char> = text.text.chars().collect();
            let mut last = 0;
            for end in (0..chars.len()).step_by(7) {
                let bound = text_at_most(&chars[..end].iter().collect::<String>());
                assert!(bound + 1 >= last, "{} {end}", text.kind);
                last = bound;
            }
        }
    }
}
