//! Upper bounds for the number of tokens of a text, without a tokenizer: plain words by a list of those that are
//! one token everywhere, other letters by which pairs are always merged, and everything else by classes of
//! characters. Prices are left to `price`.
//!
//! The bound must hold even for a text chosen to exceed what is held for it. For plain letters it follows from how
//! tokenizers work ([`letters`]); for the rest it is the maximum for each character by itself. It was measured
//! against nine tokenizers, with texts of all kinds and with adversarial ones (`tokens/measured.jsonl`).
mod letters;

use super::chat::{ChatMessage, ModelRequest, ModelTurn};
use super::provider::Provider;

/// Hundredths of a token for one character of each class. A tokenizer that splits every character gives 100; the
/// rest is margin.
mod weight {
    /// A word that is one token to all tokenizers, with the blank before it.
    pub(super) const WORD: u64 = 105;
    /// A letter not merged with the previous one, and a blank before such a word.
    pub(super) const LETTER: u64 = 105;
    /// A letter merged with the previous one, or with a blank: in a row of these at most two of three begin a
    /// token.
    pub(super) const JOINED: u64 = 70;
    /// A blank after a blank: runs of blanks are known tokens.
    pub(super) const INDENT: u64 = 25;
    /// Any other ASCII character, and any byte of a character that is not listed.
    pub(super) const BYTE: u64 = 105;
    /// Letters of other alphabets that are one token each to all tokenizers.
    pub(super) const KNOWN: u64 = 105;
    /// Scripts of India and Tibet, and Khmer: a letter can be more tokens than it has bytes, since some tokenizers
    /// decompose it first.
    pub(super) const INDIC: u64 = 360;
    /// Characters that some tokenizers decompose into several others.
    pub(super) const COMPATIBLE: u64 = 945;
    /// Characters that decompose into whole phrases.
    pub(super) const PHRASE: u64 = 1600;
}

/// Returns the maximum number of tokens of a text.
pub fn text_at_most(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let (mut sum, mut at, mut before) = (0_u64, 0, b'\0');
    while let Some(&byte) = bytes.get(at) {
        let mut end = at + 1;
        let is_letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
        sum += match byte {
            b' ' if before == b' ' => weight::INDENT,
            // counted with its word
            b' ' if is_letter(end) => 0,
            byte if byte.is_ascii_alphabetic() => {
                while is_letter(end) {
                    end += 1;
                }
                word(before, &text[at..end], bytes.get(end).copied())
            }
            byte if byte.is_ascii() => weight::BYTE,
            _ => text[at..].chars().next().map_or(0, |c| {
                end = at + c.len_utf8();
                other(c)
            }),
        };
        before = bytes[end - 1];
        at = end;
    }
    sum.div_ceil(100)
}

/// Returns the weight of a run of plain letters between the bytes before and after it.
fn word(before: u8, word: &str, behind: Option<u8>) -> u64 {
    let behind_blank = before == b' ';
    // an adjacent letter of another alphabet may be merged with the word
    let is_whole = before.is_ascii() && behind.is_none_or(|byte| byte.is_ascii());
    if is_whole && letters::is_one_token(word, behind_blank) {
        return weight::WORD;
    }
    let mut sum = if behind_blank { weight::LETTER + weight::JOINED } else { weight::LETTER };
    for pair in word.as_bytes().windows(2) {
        sum += if letters::is_joined(pair[0], pair[1]) { weight::JOINED } else { weight::LETTER };
    }
    sum
}

/// Returns the weight of a non-ASCII character.
fn other(c: char) -> u64 {
    match c {
        // Cyrillic capitals that are two tokens to some
        'Ж' | 'Й' | 'Х' | 'Ц' | 'Ш' | 'Щ' | 'Ъ' | 'Ы' | 'Ь' | 'Э' | 'Ю' => 2 * weight::BYTE,
        '\u{410}'..='\u{44f}' => weight::KNOWN,
        'α' | 'β' | 'γ' | 'ε' | 'θ' | 'ι' | 'κ' | 'λ' | 'μ' | 'ν' | 'ο' | 'π' | 'ρ' | 'σ' | 'τ' | 'φ'
        | 'ω' => weight::KNOWN,
        'ا' | 'ب' | 'ة' | 'ت' | 'ج' | 'ح' | 'خ' | 'د' | 'ر' | 'ز' | 'س' | 'ش' | 'ص' | 'ط' | 'ع' | 'ف'
        | 'ق' | 'ك' | 'ل' | 'م' | 'ن' | 'ه' | 'و' | 'ى' | 'ي' => weight::KNOWN,
        '\u{fdf0}'..='\u{fdff}' => weight::PHRASE,
        c if stands_for_several(c) => weight::COMPATIBLE,
        '\u{700}'..='\u{fff}' | '\u{1780}'..='\u{17ff}' => weight::INDIC,
        c => weight::BYTE * c.len_utf8() as u64,
    }
}

/// Returns whether tokenizers that normalize the text (Unicode NFKC) decompose it into several characters.
/// Determined by testing all characters with all tokenizers.
fn stands_for_several(c: char) -> bool {
    matches!(c,
        '\u{149}' | '\u{1c4}' | '\u{344}' | '\u{37a}' | '\u{385}' | '\u{587}' | '\u{675}'..='\u{678}'
        // India and Tibet
        | '\u{959}'..='\u{95f}' | '\u{9dc}'..='\u{9df}' | '\u{a33}'..='\u{a36}' | '\u{a59}'..='\u{a5e}'
        | '\u{b5c}'..='\u{b5d}' | '\u{eb3}' | '\u{edc}'..='\u{edd}' | '\u{f43}' | '\u{f4d}' | '\u{f52}' | '\u{f57}'
        | '\u{f5c}' | '\u{f69}' | '\u{f73}'..='\u{f79}' | '\u{f81}' | '\u{f93}' | '\u{f9d}' | '\u{fa2}' | '\u{fa7}'
        | '\u{fac}' | '\u{fb9}'
        // Greek marks, signs, units, presentation forms, music
        | '\u{1fc1}' | '\u{1fcd}'..='\u{1fcf}' | '\u{1fdd}'..='\u{1fdf}' | '\u{1fed}'..='\u{1fee}'
        | '\u{2036}'..='\u{2037}' | '\u{222c}'..='\u{2230}' | '\u{2a0c}' | '\u{2adc}' | '\u{3200}'..='\u{3241}'
        | '\u{3300}'..='\u{33ff}' | '\u{facf}'..='\u{fad0}' | '\u{fb13}'..='\u{fdef}' | '\u{fe70}'..='\u{fefc}'
        | '\u{1d15e}'..='\u{1d164}' | '\u{1d1bb}'..='\u{1d1c0}' | '\u{1f12a}' | '\u{1f240}'..='\u{1f248}'
    )
}

/// Minimum useful limit of an answer, in tokens.
pub const MIN_OUTPUT_TOKENS: u64 = 256;

/// Tokens of overhead for a message, a call or a tool.
const OVERHEAD_TOKENS_PER_PART: u64 = 8;

/// Returns the maximum number of tokens that a provider itself adds to a request: the date, and instructions for
/// calling tools.
pub fn frame_at_most(provider: Provider, tools: bool) -> u64 {
    match (provider, tools) {
        // "Pricing" of Anthropic's page on tool use; the maximum of its models
        (Provider::Anthropic, true) => 600,
        // templates of open models
        (_, true) => 200,
        (_, false) => 40,
    }
}

/// Returns the maximum number of tokens of a request, without [`frame_at_most`].
pub fn tokens_at_most(request: &ModelRequest) -> u64 {
    let system = request.system.as_deref().map_or(0, text_at_most);
    let messages: u64 = request.messages.iter().map(message_at_most).sum();
    let tools: u64 = request.tools.iter().map(|tool| OVERHEAD_TOKENS_PER_PART + json_at_most(tool)).sum();
    let schema = request.output_schema.as_ref().map_or(0, json_at_most);
    system + messages + tools + schema
}

/// Returns the maximum number of tokens of these messages, without the overhead of a request.
pub fn messages_at_most(messages: &[ChatMessage]) -> u64 {
    messages.iter().map(message_at_most).sum()
}

fn message_at_most(message: &ChatMessage) -> u64 {
    OVERHEAD_TOKENS_PER_PART
        + match message {
            ChatMessage::User { text } => text_at_most(text),
            ChatMessage::Model(turn) => turn_at_most(turn),
            ChatMessage::Tools { replies } => replies
                .iter()
                .map(|reply| {
                    OVERHEAD_TOKENS_PER_PART
                        + text_at_most(&reply.text)
                        + text_at_most(&reply.name)
                        + text_at_most(&reply.id)
                })
                .sum(),
        }
}

fn turn_at_most(turn: &ModelTurn) -> u64 {
    let calls = turn.calls.iter().map(|call| {
        OVERHEAD_TOKENS_PER_PART
            + text_at_most(&call.name)
            + text_at_most(&call.arguments)
            + text_at_most(&call.id)
    });
    let kept = if turn.opaque.is_null() { 0 } else { json_at_most(&turn.opaque) };
    text_at_most(&turn.text) + turn.thought.as_deref().map_or(0, text_at_most) + calls.sum::<u64>() + kept
}

/// Returns the maximum number of tokens of a value as JSON.
pub fn json_at_most(value: &impl serde::Serialize) -> u64 {
    serde_json::to_string(value).map_or(0, |json| text_at_most(&json))
}

/// Returns the minimum number of tokens of a text: no tokenizer in use merges words across blanks.
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
        assert!(all.len() > 160);
        for text in &all {
            assert_eq!(text.counts.len(), TOKENIZERS.len());
            let bound = text_at_most(&text.text);
            let (most, by) = text.counts.iter().zip(TOKENIZERS).max().expect("tokenizers");
            assert!(bound >= *most, "{}: {by} counts {most}, held are {bound}", text.kind);
        }
    }

    #[test]
    fn plain_text_is_not_held_at_much_more_than_it_is() {
        for (kind, most) in [("English", 1.4), ("Markdown", 2.0), ("German", 3.0), ("base64", 1.5)] {
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
    fn more_words_are_never_less() {
        for text in measured() {
            let mut last = 0;
            for (end, _) in text.text.match_indices(char::is_whitespace) {
                let bound = text_at_most(&text.text[..end]);
                assert!(bound + 1 >= last, "{} {end}", text.kind);
                last = bound;
            }
        }
    }
}
