//! A source as a row of words: without comments, and without what only tests see. Enough of Rust to
//! find names and paths; no parser.
use std::ops::RangeInclusive;

/// One source.
pub(super) struct Code {
    pub(super) words: Vec<Word>,
    /// Lines that only tests see, counted from 1.
    pub(super) tests: Vec<RangeInclusive<usize>>,
}

/// An identifier, a number, a string with its quote in front, `::`, or one character.
#[derive(Clone)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Word {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(super) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

impl Code {
    pub(super) fn of(source: &str) -> Self {
        without_tests(words(source))
    }
}

fn words(source: &str) -> Vec<Word> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    let part = |from: usize, to: usize| chars[from..to.min(chars.len())].iter().collect::<String>();
    while at < chars.len() {
        let (from, starts) = (at, line);
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        match chars[at] {
            '\n' => (at, line) = (at + 1, line + 1),
            c if c.is_whitespace() => at += 1,
            '/' if next == '/' => at += chars[at..].iter().take_while(|c| **c != '\n').count(),
            '/' if next == '*' => at = end_of_comment(&chars, at, &mut line),
            '"' => {
                at = end_of_text(&chars, at + 1, &mut line);
                found.push(Word { text: part(from, at - 1), line: starts });
            }
            'r' | 'b' | 'c' if raw(&chars, at).is_some() => {
                let (hashes, begin) = raw(&chars, at).expect("asked just now");
                at = begin;
                let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                while at < chars.len() && !chars[at..].starts_with(&end) {
                    line += usize::from(chars[at] == '\n');
                    at += 1;
                }
                found.push(Word { text: format!("\"{}", part(begin, at)), line: starts });
                at += end.len();
            }
            '\'' if next == '\\' => at += 3 + chars[at + 3..].iter().take_while(|c| **c != '\'').count() + 1,
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 3,
            '\'' => {
                at += 1 + chars[at + 1..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count()
            }
            c if c.is_alphanumeric() || c == '_' => {
                at += chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                found.push(Word { text: part(from, at), line });
            }
            ':' if next == ':' => {
                at += 2;
                found.push(Word { text: "::".into(), line });
            }
            c => {
                at += 1;
                found.push(Word { text: c.into(), line });
            }
        }
    }
    found
}

/// `r"`, `br#"` and the like: how many `#`, and where the text begins.
fn raw(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let prefix = chars[at..].iter().take_while(|c| c.is_alphabetic()).count();
    let hashes = chars[at + prefix..].iter().take_while(|c| **c == '#').count();
    let is_raw = prefix <= 2 && chars[at + prefix - 1] == 'r';
    (is_raw && chars.get(at + prefix + hashes) == Some(&'"')).then_some((hashes, at + prefix + hashes + 1))
}

fn end_of_text(chars: &[char], mut at: usize, line: &mut usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        let step = if chars[at] == '\\' { 2 } else { 1 };
        *line += chars[at..].iter().take(step).filter(|c| **c == '\n').count();
        at += step;
    }
    at + 1
}

fn end_of_comment(chars: &[char], mut at: usize, line: &mut usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        let step = match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth += 1, 2).1,
            ('*', Some('/')) => (depth -= 1, 2).1,
            _ => 1,
        };
        *line += usize::from(chars[at] == '\n');
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

fn without_tests(words: Vec<Word>) -> Code {
    let mut code = Code { words: Vec::new(), tests: Vec::new() };
    let mut at = 0;
    while at < words.len() {
        let only_tests = ["#", "[", "cfg", "(", "test", ")", "]"];
        let begins = words[at..].len() >= only_tests.len()
            && words[at..].iter().zip(only_tests).all(|(word, text)| word.is(text));
        if !begins {
            code.words.push(words[at].clone());
            at += 1;
            continue;
        }
        let end = end_of_item(&words, at + only_tests.len());
        code.tests.push(words[at].line..=words[end - 1].line);
        at = end;
    }
    code
}

/// Behind the item, statement or field that begins here.
fn end_of_item(words: &[Word], mut at: usize) -> usize {
    while words.get(at).is_some_and(|word| word.is("#")) {
        at = end_of_group(words, at + 1);
    }
    let first = words[at..].iter().find(|word| !["pub", "(", "crate", "super", ")"].contains(&&*word.text));
    let kind = first.map_or("", |word| &*word.text);
    let ends_with_semicolon = ["use", "let", "const", "static", "type"].contains(&kind);
    let has_body = ["fn", "async", "impl", "struct", "enum", "trait", "mod", "unsafe"].contains(&kind);
    while let Some(word) = words.get(at) {
        match &*word.text {
            ";" => return at + 1,
            "," if !ends_with_semicolon && !has_body => return at + 1,
            "}" => return at,
            "{" if !ends_with_semicolon => return end_of_group(words, at),
            "{" | "(" | "[" => at = end_of_group(words, at),
            _ => at += 1,
        }
    }
    words.len()
}

/// Behind the bracket that closes the one here.
pub(super) fn end_of_group(words: &[Word], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(word) = words.get(at) {
        match &*word.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

#[test]
fn comments_texts_and_tests_are_left_out() {
    let source = "// use a;\n/* use b; /* c */ */ use d::e; let x = \"use f;\\\" \"; let y = '\"'; 'a: r#\"\"g\"#\n\
        #[cfg(test)]\nmod tests {\n fn x() {}\n}\n#[cfg(test)]\n#[allow(x)]\nuse h::{i, j};\nstruct S {\n#[cfg(test)]\nk: u8,\nl: u8 }";
    let code = Code::of(source);
    let seen: Vec<_> = code.words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(seen.join(" "), "use d :: e ; let x = \"use f;\\\"  ; let y = ; : \"\"g struct S { l : u8 }");
    assert_eq!(code.tests, [3..=6, 7..=9, 11..=12]);
    assert_eq!(code.words.last().map(|word| word.line), Some(13));
}
