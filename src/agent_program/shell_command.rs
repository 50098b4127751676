//! The commands that a shell command line would run, if that can be determined by parsing; for judging them beforehand.
//!
//! Words and operators are those of the POSIX shell ("Shell Command Language", 2.2 to 2.10). Whatever depends on more than the
//! text (expansions, substitutions, globs), writes elsewhere (redirections), or changes the meaning of names (assignments,
//! functions, grouping, history expansion) is not supported: then there is no result, which must not be taken as harmless.

/// Maximum length of a command line that is parsed, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Reserved words: what follows them is not a plain command.
const RESERVED: [&str; 22] = [
    "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "in",
    "select", "function", "time", "coproc", "eval", "exec", "source", ".", "!",
];

/// Returns the simple commands of a line, each as words. `None`: what it would run can't be determined.
pub fn simple_commands(line: &str) -> Option<Vec<Vec<String>>> {
    if line.len() > MAX_LINE_BYTES {
        return None;
    }
    let mut commands = vec![Vec::new()];
    let mut chars = line.trim().chars().peekable();
    let mut word: Option<String> = None;
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => end_word(&mut word, &mut commands),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '$' | '`' | '!' => return None,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next()? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            '&' | '|' | ';' | '\n' => {
                end_word(&mut word, &mut commands);
                let doubled = (c == '&' || c == '|') && chars.next_if_eq(&c).is_some();
                // `&>` and `|&` redirect, `;;` belongs to `case`
                if matches!(chars.peek(), Some('>' | '&' | '|' | ';')) || (c == '&' && !doubled) {
                    return None;
                }
                if commands.last().is_some_and(Vec::is_empty) && c != '\n' {
                    return None;
                }
                commands.push(Vec::new());
            }
            '$' | '`' | '(' | ')' | '{' | '}' | '<' | '>' | '*' | '?' | '[' | ']' | '~' | '#' | '!' => {
                return None;
            }
            c if c.is_control() => return None,
            c => word.get_or_insert_default().push(c),
        }
    }
    end_word(&mut word, &mut commands);
    commands.retain(|words| !words.is_empty());
    let is_plain = |words: &Vec<String>| {
        let first = words[0].as_str();
        !first.contains('=') && !first.is_empty() && !RESERVED.contains(&first)
    };
    (!commands.is_empty() && commands.iter().all(is_plain)).then_some(commands)
}

fn end_word(word: &mut Option<String>, commands: &mut [Vec<String>]) {
    if let (Some(word), Some(command)) = (word.take(), commands.last_mut()) {
        command.push(word);
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is told, and of what is not.
    use super::*;
    use proptest::prelude::*;

    fn told(line: &str) -> Option<Vec<String>> {
        Some(simple_commands(line)?.iter().map(|words| words.join(" ")).collect())
    }

    #[test]
    fn each_command_of_a_line_is_told() {
        for (line, commands) in [
            ("cargo test -q", &["cargo test -q"][..]),
            ("cargo  test && git push", &["cargo test", "git push"]),
            (
                "make || echo 'it failed; rm -rf /' | tee log",
                &["make", "echo it failed; rm -rf /", "tee log"],
            ),
            ("git commit -m \"a \\\"b\\\" & c\"", &["git commit -m a \"b\" & c"]),
            ("echo a\\ b\nls;", &["echo a b", "ls"]),
            ("cargo te''st", &["cargo test"]),
            ("'rm' -rf x", &["rm -rf x"]),
        ] {
            let expected: Vec<String> = commands.iter().map(|command| (*command).to_owned()).collect();
            assert_eq!(told(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_can_not_be_told_by_reading_is_not_told() {
        for line in [
            "",
            "   ",
            "cargo test $(git push)",
            "cargo test `git push`",
            "cargo test \"$(git push)\"",
            "$CMD x",
            "cargo test > /etc/x",
            "cargo test < x",
            "cargo test 2>&1",
            "(git push)",
            "{ git push; }",
            "ls *",
            "PATH=/tmp cargo test",
            "cargo test & git push",
            "cargo test &",
            "cat <<E",
            "f() { x; }",
            "if true; then x; fi",
            "eval git push",
            "exec git push",
            "cargo test 'x",
            "cargo test \"x",
            "ls ~",
            "echo # x",
            "! git push",
            "ls |& x",
            "ls &> x",
            "a ;; b",
            "&& x",
            "x \\",
            "source x",
            ". x",
            "ls \u{1b}[0m",
            "time git push",
            "ls ; ; x",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_is_one_word(text in "[^'\u{0}]{0,40}") {
            let told = simple_commands(&format!("echo '{text}'"));
            prop_assert_eq!(told, Some(vec![vec!["echo".to_owned(), text]]));
        }

        #[test]
        fn a_hidden_command_is_never_passed_over(before in "[a-z ]{0,10}", after in "[a-z ]{0,10}") {
            for hidden in ["$(rm x)", "`rm x`", "&& rm x", "; rm x", "| rm x", "\nrm x", "> rm", "<(rm x)", "& rm x"] {
                let line = format!("echo {before}{hidden}{after}");
                let told = simple_commands(&line);
                let names_it = |commands: &Vec<Vec<String>>| commands.iter().any(|words| words[0].starts_with("rm"));
                prop_assert!(told.as_ref().is_none_or(names_it), "{} {:?}", line, told);
            }
        }
    }
}
