//! Excerpts of texts that are too long for their destination.
use std::borrow::Cow;

/// The unit of a length limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthUnit {
    Chars,
    /// UTF-16 code units: characters beyond the basic plane count twice.
    Utf16,
    /// Bytes of UTF-8.
    Bytes,
}

impl LengthUnit {
    /// Returns the size of a text.
    pub fn size(self, text: &str) -> usize {
        match self {
            Self::Chars => text.chars().count(),
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
            Self::Bytes => text.len(),
        }
    }

    fn of(self, c: char) -> usize {
        match self {
            Self::Chars => 1,
            Self::Utf16 => c.len_utf16(),
            Self::Bytes => c.len_utf8(),
        }
    }

    /// Returns the longest prefix of a text within this size.
    pub fn beginning(self, text: &str, most: usize) -> &str {
        if self == Self::Bytes {
            return &text[..text.floor_char_boundary(most)];
        }
        let mut left = most;
        let end = text.char_indices().find(|(_, c)| match left.checked_sub(self.of(*c)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        &text[..end.map_or(text.len(), |(at, _)| at)]
    }
}

/// Returns the whole text, or its prefix of this size followed by `…`.
pub fn shortened(text: &str, counted: LengthUnit, most: usize) -> Cow<'_, str> {
    let head = counted.beginning(text, most);
    if head.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(format!("{head}…")) }
}

/// Returns a text of at most this size: the whole, or its beginning up to the end of a sentence, followed by
/// `rest`, which says where the whole is. If no sentence ends in the second half of what fits, it is cut between
/// words.
pub fn cut_at_sentence<'t>(text: &'t str, counted: LengthUnit, most: usize, rest: &str) -> Cow<'t, str> {
    if counted.size(text) <= most {
        return Cow::Borrowed(text);
    }
    let mark = format!(" …\n\n{rest}");
    let Some(room) = most.checked_sub(counted.size(&mark)) else {
        return Cow::Borrowed(counted.beginning(text, most));
    };
    let fits = counted.beginning(text, room);
    let after = text[fits.len()..].chars().next();
    let half = fits.floor_char_boundary(fits.len() / 2);
    let end = sentence_end(fits, after)
        .filter(|end| *end >= half)
        .or_else(|| word_end(fits, after))
        .unwrap_or(fits.len());
    Cow::Owned(format!("{}{mark}", fits[..end].trim_end()))
}

/// Returns untrusted text as one line of at most `most` characters, without invisible characters such as those
/// that change the writing direction. A cut text ends with `…`.
pub fn one_line(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words = words.map(|word| word.chars().filter(|c| !is_unseen(*c)).collect::<String>());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Returns the same in quotes, for use within a message: the text can't contain the closing quote.
pub fn quoted(text: &str, most: usize) -> String {
    format!("\"{}\"", one_line(text, most).replace('"', "'"))
}

/// Returns whether a character is invisible, or displayed differently by different programs: zero-width characters,
/// those that change the writing direction or break lines, tags, fillers, and private-use ones.
pub fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Returns the end of the last sentence or line in a text; `after` is the character that follows it.
fn sentence_end(text: &str, after: Option<char>) -> Option<usize> {
    let follows = |end: usize| text[end..].chars().next().or(after);
    text.char_indices().rev().find_map(|(at, c)| {
        let end = at + c.len_utf8();
        match c {
            '\n' => Some(at),
            '。' | '！' | '？' => Some(end),
            '.' | '!' | '?' | '…' => follows(end).is_some_and(char::is_whitespace).then_some(end),
            _ => None,
        }
    })
}

fn word_end(text: &str, after: Option<char>) -> Option<usize> {
    if after.is_some_and(char::is_whitespace) {
        return Some(text.len());
    }
    text.rfind(char::is_whitespace).filter(|at| *at > 0)
}

#[cfg(test)]
mod tests {
    //! Tests of where texts are cut.
    use super::*;

    #[test]
    fn a_long_text_ends_with_a_sentence_and_says_where_the_rest_is() {
        let cut = |text: &str, most| cut_at_sentence(text, LengthUnit::Chars, most, "more").into_owned();
        let text = "One two three. Four five six. Seven eight nine ten.";
        assert_eq!(cut(text, 51), text);
        assert_eq!(cut(text, 50), "One two three. Four five six. …\n\nmore");
        assert_eq!(cut(text, 37), "One two three. Four five six. …\n\nmore");
        assert_eq!(cut(text, 36), "One two three. …\n\nmore");
        // no sentence ends late enough: cut between words, or within a single long word
        assert_eq!(cut("Version 1.2 of it all is there for you", 30), "Version 1.2 of it all …\n\nmore");
        assert_eq!(cut(&"x".repeat(40), 20), format!("{} …\n\nmore", "x".repeat(12)));
        assert_eq!(cut("first line\nsecond line that is long", 25), "first line …\n\nmore");
        // no room for the note
        assert_eq!(cut("abcdefghij", 5), "abcde");
    }

    #[test]
    fn a_shortened_text_says_so() {
        for (counted, most, cut) in [
            (LengthUnit::Chars, 4, "Büro"),
            (LengthUnit::Chars, 2, "Bü…"),
            (LengthUnit::Chars, 0, "…"),
            (LengthUnit::Bytes, 5, "Büro"),
            (LengthUnit::Bytes, 3, "Bü…"),
            (LengthUnit::Bytes, 2, "B…"),
        ] {
            assert_eq!(shortened("Büro", counted, most), cut, "{counted:?} {most}");
        }
    }

    #[test]
    fn words_of_others_stay_one_line_in_their_quotes() {
        let said = "no\n\tsuch \u{202e}hook\u{200b}\u{1b}[31m \" and more";
        assert_eq!(one_line(said, 99), "no such hook [31m \" and more");
        assert_eq!(quoted(said, 20), "\"no such hook [31m ' …\"");
    }

    #[test]
    fn no_cut_is_ever_longer_than_it_may_be() {
        let text = "Größe 🦀🦀. Noch ein Satz! 日本語の文。もう一つ。 And the end? ".repeat(20);
        for counted in [LengthUnit::Chars, LengthUnit::Utf16, LengthUnit::Bytes] {
            for most in 0..400 {
                let cut = cut_at_sentence(&text, counted, most, "the rest: bgagent show 1");
                assert!(counted.size(&cut) <= most, "{counted:?} {most}: {cut}");
            }
        }
    }
}
