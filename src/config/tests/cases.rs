//! Files, each beside all that is said of it, whole. `UPDATE=1 cargo test --lib config::tests::cases` writes anew
//! what is said; the difference is read like that of code.
use super::read;
use crate::config::render;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Between a file and what is said of it.
const SAID: &str = "\n---- says\n";
/// Between two cases.
const NEXT: &str = "\n====\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/cases")
}

/// What is said of a file, and whether it is refused.
fn said_of(text: &str) -> (String, bool) {
    let path = Path::new("agents.toml");
    match read(text) {
        Ok(loaded) => (render(&loaded.warnings, text, path, false), false),
        Err(rejected) => (render(&rejected.diagnostics, &rejected.shown, path, false), true),
    }
}

/// The texts of all cases in such a file.
fn texts(cases: &str) -> Vec<&str> {
    let text = |case: &'_ str| case.split_once(SAID).map_or(case.len(), |(text, _)| text.len());
    cases
        .split(NEXT)
        .map(|case| case[..text(case)].trim_start_matches('\n'))
        .filter(|text| !text.is_empty())
        .collect()
}

/// All cases of a file as they should stand there. Each must be refused, or must not be.
fn written(cases: &str, refused: bool) -> String {
    let mut out = String::new();
    for text in texts(cases) {
        let (said, is_refused) = said_of(text);
        assert_eq!(is_refused, refused, "{text}\n{said}");
        assert!(!said.trim().is_empty(), "nothing is said of\n{text}");
        write!(out, "{text}{SAID}{}\n{NEXT}\n", said.trim_end()).expect("a string");
    }
    out
}

fn check(name: &str, refused: bool) {
    let path = folder().join(name);
    let cases = std::fs::read_to_string(&path).expect("cases");
    let fresh = written(&cases, refused);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, fresh).expect("our folder");
        return;
    }
    for (old, new) in cases.split(NEXT).zip(fresh.split(NEXT)) {
        assert_eq!(
            old, new,
            "in {name}: something else is said; if it is better, write it there with UPDATE=1"
        );
    }
    assert_eq!(cases, fresh, "in {name}");
}

#[test]
fn agents_that_are_refused() {
    check("refused-agents.txt", true);
}

#[test]
fn tools_that_are_refused() {
    check("refused-tools.txt", true);
}

#[test]
fn models_that_are_refused() {
    check("refused-models.txt", true);
}

#[test]
fn runners_that_are_refused() {
    check("refused-runners.txt", true);
}

#[test]
fn what_else_is_refused() {
    check("refused-rest.txt", true);
}

#[test]
fn what_is_odd_is_warned_of() {
    check("warned.txt", false);
}

#[test]
fn each_file_of_cases_is_read() {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("our folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "refused-agents.txt",
            "refused-models.txt",
            "refused-rest.txt",
            "refused-runners.txt",
            "refused-tools.txt",
            "warned.txt"
        ]
    );
    assert_eq!(texts("a = 1\n---- says\nx\n\n====\n\nb = 2\n---- says\ny\n\n====\n\n"), ["a = 1", "b = 2"]);
}
