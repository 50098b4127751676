//! What is public says what it means: functions and types always, fields and variants where their names don't say it.
use super::{Sources, read};

/// Doc comments of one or two words, outside of tables where they are output. The number only falls.
const MOST_SHORT: usize = 264;

/// Texts of the command line are documentation of commands, not of types.
const OF_COMMANDS: &str = "cli/args/";

#[test]
fn public_functions_and_types_are_documented() {
    let missing = missing(&read("src"));
    assert!(missing.is_empty(), "no doc comment:\n{}", missing.join("\n"));
}

#[test]
fn doc_comments_that_say_nothing_become_fewer() {
    let sources = read("src");
    let short: usize =
        sources.iter().filter(|(path, _)| !is_of_tests(path)).map(|(_, text)| short_docs(text)).sum();
    assert!(short <= MOST_SHORT, "{short} doc comments have one or two words, {MOST_SHORT} may have");
}

#[test]
fn what_has_no_words_is_found() {
    let sources = Sources::from([
        ("a.rs".into(), "/// Says.\n#[error(\n    \"x\"\n)]\n#[must_use]\npub fn a() {}\n\npub struct B {\n    pub c: u8,\n}\n".into()),
        ("cli/args/mod.rs".into(), "pub struct Of;\n".into()),
        ("tests.rs".into(), "pub fn helper() {}\n".into()),
    ]);
    assert_eq!(missing(&sources), ["a.rs:8: pub struct B {"]);
    assert_eq!(
        short_docs("/// Whose.\nid: u8,\n/// Long enough to say something.\nb: u8,\n/// Two\n/// lines.\n"),
        1
    );
}

/// Doc comments that are one line of one or two words.
pub(super) fn short_docs(source: &str) -> usize {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let is_doc = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("///"));
    let short = (0..lines.len()).filter(|at| {
        let alone = is_doc(*at) && !is_doc(at + 1) && !(*at > 0 && is_doc(at - 1));
        alone && (1..=2).contains(&lines[*at][3..].split_whitespace().count())
    });
    short.count()
}

/// Where something public has no doc comment.
fn missing(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in
        sources.iter().filter(|(path, _)| !is_of_tests(path) && !path.starts_with(OF_COMMANDS))
    {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_public_item(line)) {
            if !above_attributes(&lines[..at]).is_some_and(|above| above.starts_with("///")) {
                found.push(format!("{path}:{}: {line}", at + 1));
            }
        }
    }
    found
}

/// The last of these lines that is not part of an attribute.
fn above_attributes<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let mut in_attribute = false;
    lines.iter().rev().copied().find(|line| {
        in_attribute |= line.ends_with(']');
        let is_code = !in_attribute;
        in_attribute &= !line.starts_with("#[");
        is_code
    })
}

fn is_of_tests(path: &str) -> bool {
    path.split(['/', '.']).any(|part| part == "tests" || part == "testing")
}

/// Does a public function or type begin here? The pair of functions that serde asks for has its meaning from there.
fn is_public_item(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("pub ") else { return false };
    let mut words = rest.split_whitespace().skip_while(|word| ["async", "const", "unsafe"].contains(word));
    let (kind, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    ["fn", "struct", "enum", "trait", "type", "union"].contains(&kind)
        // what a macro makes has its words where the macro is used
        && !(name.starts_with('$') || name.starts_with("serialize<") || name.starts_with("deserialize<"))
}
