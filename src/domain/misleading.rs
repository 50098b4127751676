//! Characters that make a text look like another one.

/// Does a character change how others are shown, or hide among them: marks of direction, ends of lines and paragraphs, marks of
/// annotation, tags?
pub fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
    )
}
