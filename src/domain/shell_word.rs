//! Quoting for shells.

/// Quotes a text as one word for a POSIX shell (POSIX.1-2017, Shell Command Language, section 2.2.2): unchanged if
/// that is safe, otherwise in single quotes.
pub fn shell_word(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && text.chars().all(is_safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    //! Tests of words.
    use super::*;

    #[test]
    fn what_a_shell_would_act_upon_is_quoted() {
        for (text, word) in [
            ("disk:/", "disk:/"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", r"'it'\''s'"),
            ("~root", "'~root'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
