//! Characters that make a text look like a different one.

/// Returns whether a character changes how others are shown, or hides among them: direction marks, line and
/// paragraph separators, annotation marks, tags, variation selectors, zero-width spaces. Three belong to ordinary
/// text and are allowed: U+200C and U+200D, which scripts and emoji need, and U+FE0F, which selects emoji
/// presentation.
pub fn is_misleading(c: char) -> bool {
    matches!(
        c,
        '\u{061C}' | '\u{180B}'..='\u{180F}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0E}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// Returns whether a character is never shown (Unicode, Default_Ignorable_Code_Point). A text that a person has to
/// judge must have none of them; a text that is merely shown may, since some belong to emoji.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    //! Tests of what hides.
    use super::*;

    #[test]
    fn what_hides_text_in_text_is_known() {
        let hidden = [
            '\u{E0041}',
            '\u{E0100}',
            '\u{E01EF}',
            '\u{FE00}',
            '\u{FE0E}',
            '\u{200B}',
            '\u{2060}',
            '\u{2063}',
            '\u{202E}',
        ];
        for c in hidden {
            assert!(is_misleading(c) && (is_invisible(c) || c == '\u{202E}'), "{c:?}");
        }
        // emoji, Persian and plain text keep the characters that they need
        for c in "👨\u{200d}👩 ❤\u{fe0f} نمی\u{200c}خواهم é\u{301} 文".chars() {
            assert!(!is_misleading(c), "{c:?}");
        }
    }
}
