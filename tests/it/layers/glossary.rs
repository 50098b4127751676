//! One noun has one meaning and one home: `docs/GLOSSARY.md` beside the types of the sources.
use super::{Sources, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Names of public types that stand for several things, in different rooms. The number only falls.
const MOST_SHARED_NAMES: usize = 51;

/// A row of the glossary.
#[derive(Debug, PartialEq)]
struct Row {
    noun: String,
    meaning: String,
    types: Vec<String>,
}

fn rows(text: &str) -> Vec<Row> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| noun ");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [noun, meaning, types] = cells[..] else { panic!("three cells: {line}") };
        let types = types.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Row { noun: noun.to_owned(), meaning: meaning.to_owned(), types }
    };
    text.lines().filter(is_row).map(row).collect()
}

/// Public types by name, with the files that define them; `tests` are no home.
fn homes(sources: &Sources) -> BTreeMap<String, BTreeSet<String>> {
    let mut homes = BTreeMap::<String, BTreeSet<String>>::new();
    let is_of_tests = |file: &str| file.split(['/', '.']).any(|part| part == "tests");
    for (file, text) in sources.iter().filter(|(file, _)| !is_of_tests(file)) {
        let mut in_table = false;
        for line in text.lines().map(str::trim) {
            let name = match defined(line) {
                None if in_table && line.ends_with('{') => line.split_whitespace().next(),
                found => found,
            };
            // the type that a table of words makes is the first thing in it
            in_table = ["words! {", "codes! {"].contains(&line)
                || (in_table && (line.starts_with("//") || line.starts_with('#')));
            // a macro that defines what it is given defines nothing of its own
            if let Some(name) = name.filter(|name| !name.starts_with('$')) {
                let name = name.split(['<', '(', ':', ';', ' ']).next().unwrap_or_default();
                homes.entry(name.to_owned()).or_default().insert(file.clone());
            }
        }
    }
    homes
}

/// The name of a public type that this line begins to define.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    matches!(words.next()?, "struct" | "enum" | "trait" | "type" | "union").then(|| words.next()).flatten()
}

fn problems(rows: &[Row], homes: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut nouns, mut types) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        if !nouns.insert(&row.noun) {
            problems.push(format!("`{}` has two lines", row.noun));
        }
        if row.meaning.is_empty() {
            problems.push(format!("`{}` has no meaning", row.noun));
        }
        for name in &row.types {
            if !types.insert(name) {
                problems.push(format!("`{name}` is two nouns"));
            }
            match homes.get(name).map(BTreeSet::len) {
                Some(1) => {}
                None => problems.push(format!("`{}`: there is no type `{name}`", row.noun)),
                Some(_) => problems.push(format!("`{name}` has several homes: {:?}", homes[name])),
            }
        }
    }
    problems
}

#[test]
fn each_noun_has_one_meaning_and_its_type_one_home() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/GLOSSARY.md");
    let rows = rows(&std::fs::read_to_string(path).expect("the glossary"));
    assert!(rows.len() > 40, "only {} rows were read", rows.len());
    let found = problems(&rows, &homes(&read("src")));
    assert!(found.is_empty(), "docs/GLOSSARY.md:\n{}", found.join("\n"));
}

#[test]
fn names_that_stand_for_several_things_become_fewer() {
    let homes = homes(&read("src"));
    let shared: Vec<String> = homes
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| format!("{name}: {}", files.iter().cloned().collect::<Vec<_>>().join(", ")))
        .collect();
    assert!(
        shared.len() <= MOST_SHARED_NAMES,
        "{} names of types have several homes, {MOST_SHARED_NAMES} may have:\n{}",
        shared.len(),
        shared.join("\n")
    );
}

#[test]
fn what_the_glossary_must_not_have_is_found() {
    let sources = Sources::from([
        ("a/mod.rs".into(), "pub(super) struct Slot<'a>(u8);\nwords! {\n    /// How.\n    Level {\n        Low = \"low\",\n    }\n}\n".into()),
        ("b.rs".into(), "pub enum Slot {\n}\nstruct Own;\n".into()),
        ("b/tests.rs".into(), "pub struct Level;\n".into()),
    ]);
    let homes = homes(&sources);
    assert_eq!(homes.keys().collect::<Vec<_>>(), ["Level", "Slot"]);
    let table = "| noun | meaning | type |\n|---|---|---|\n| level | How bad. | `Level` |\n| slot | | `Slot` |\n| level | Own. | `Own` |\n";
    assert_eq!(
        problems(&rows(table), &homes),
        [
            "`slot` has no meaning",
            "`Slot` has several homes: {\"a/mod.rs\", \"b.rs\"}",
            "`level` has two lines",
            "`level`: there is no type `Own`",
        ]
    );
}
