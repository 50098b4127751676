//! Figures of the house, printed and not judged: `cargo test --test it layers::figures -- --nocapture`.
//! Code that only tests see is left out.
use super::code::{Code, Word, end_of_group};
use super::docs::short_docs;
use super::graph::{circles, graph};
use super::{Sources, read};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Lines that must be the same for a copy.
const COPY_LINES: usize = 6;

#[test]
fn figures() {
    let sources = read("src");
    let graph = graph(&sources);
    let circles = circles(&graph);
    let code: BTreeMap<&str, Code> =
        sources.iter().map(|(path, text)| (path.as_str(), Code::of(text))).collect();
    let house: BTreeMap<&str, &Code> =
        graph.keys().map(|path| (path.as_str(), &code[path.as_str()])).collect();
    println!("files                              {:6}", graph.len());
    println!(
        "files in circles                   {:6}",
        circles.iter().map(|circle| circle.len()).sum::<usize>()
    );
    println!("circles                            {:6}", circles.len());
    println!("largest circle                     {:6}", circles.first().map_or(0, |circle| circle.len()));
    let mut lengths: Vec<_> = sources.iter().map(|(path, text)| (text.lines().count(), path)).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in lengths.iter().filter(|(_, path)| graph.contains_key(*path)).take(5) {
        println!("long file                          {lines:6} src/{path}");
    }
    if let Some((lines, path)) = lengths.iter().find(|(_, path)| !graph.contains_key(*path)) {
        println!("longest file of tests              {lines:6} src/{path}");
    }
    let mut functions: Vec<_> = house
        .iter()
        .flat_map(|(path, code)| functions(code).into_iter().map(move |(name, lines)| (lines, name, *path)))
        .collect();
    functions.sort_unstable();
    let part = |of: usize| functions[(functions.len() - 1) * of / 100].0;
    println!("functions                          {:6}", functions.len());
    println!("lines of a function, p50           {:6}", part(50));
    println!("lines of a function, p95           {:6}", part(95));
    for (lines, name, path) in functions.iter().rev().take(3) {
        println!("long function                      {lines:6} {name} in src/{path}");
    }
    let copies = copies(&sources, &house);
    println!("copies of {COPY_LINES} lines and more         {:6}", copies.len());
    for copy in &copies {
        println!("    {copy}");
    }
    let within = |rooms: &'static [&str]| {
        house.iter().filter(move |(path, _)| rooms.iter().any(|room| path.starts_with(room)))
    };
    let inserts: usize =
        within(&["config/"]).map(|(_, code)| row_count(&code.words, &["out", ".", "insert", "("])).sum();
    println!("`out.insert(` in config            {inserts:6}");
    for room in ["config/", "tools/"] {
        let signatures: usize = house
            .iter()
            .filter(|(path, _)| path.starts_with(room))
            .map(|(_, code)| json_signatures(code))
            .sum();
        println!("functions of JSON in {room:8}      {signatures:6}");
    }
    let short: usize = graph.keys().map(|path| short_docs(&sources[path])).sum();
    println!("doc comments of one or two words   {short:6}");
}

/// Names of functions with a body, and how many lines each has.
fn functions(code: &Code) -> Vec<(String, usize)> {
    let words = &code.words;
    let starts = words.iter().enumerate().filter(|(_, word)| word.is("fn"));
    let found = starts.filter_map(|(at, start)| {
        let name = words.get(at + 1).filter(|word| word.is_name())?;
        let body = end_of_signature(words, at).filter(|end| words[*end].is("{"))?;
        let end = &words[end_of_group(words, body) - 1];
        Some((name.text.clone(), end.line - start.line + 1))
    });
    found.collect()
}

/// Where the body begins, or the semicolon stands.
fn end_of_signature(words: &[Word], mut at: usize) -> Option<usize> {
    while !matches!(&*words.get(at)?.text, "{" | ";") {
        at = if matches!(&*words[at].text, "(" | "[") { end_of_group(words, at) } else { at + 1 };
    }
    Some(at)
}

/// Functions that take or give a `serde_json::Value`.
fn json_signatures(code: &Code) -> usize {
    let words = &code.words;
    let imported = {
        let mut uses = words.split(|word| word.is(";")).filter(|row| row.iter().any(|word| word.is("use")));
        uses.any(|row| {
            row.iter().any(|word| word.is("serde_json")) && row.iter().any(|word| word.is("Value"))
        })
    };
    let starts = words.iter().enumerate().filter(|(_, word)| word.is("fn"));
    let signatures = starts.filter_map(|(at, _)| end_of_signature(words, at).map(|end| &words[at..end]));
    let speaks_json = |words: &&[Word]| match imported {
        true => words.iter().any(|word| word.is("Value")),
        false => row_count(words, &["serde_json", "::", "Value"]) > 0,
    };
    signatures.filter(speaks_json).count()
}

fn row_count(words: &[Word], row: &[&str]) -> usize {
    words.windows(row.len()).filter(|window| window.iter().zip(row).all(|(word, text)| word.is(text))).count()
}

/// Rows of lines that stand in several places: how many lines, and where each begins. Lines without a letter,
/// comments and imports don't count.
fn copies(sources: &Sources, house: &BTreeMap<&str, &Code>) -> Vec<String> {
    let files: Vec<(&str, Vec<(usize, &str)>)> =
        house.iter().map(|(path, code)| (*path, lines_of_code(&sources[*path], code))).collect();
    let mut windows: HashMap<Vec<&str>, BTreeSet<(usize, usize)>> = HashMap::new();
    for (file, (_, lines)) in files.iter().enumerate() {
        for (at, window) in lines.windows(COPY_LINES).enumerate() {
            let text = window.iter().map(|(_, line)| *line).collect();
            windows.entry(text).or_default().insert((file, at));
        }
    }
    let same: BTreeSet<&BTreeSet<(usize, usize)>> =
        windows.values().filter(|places| places.len() > 1).collect();
    let moved = |places: &BTreeSet<(usize, usize)>, by: usize| -> BTreeSet<(usize, usize)> {
        places.iter().map(|(file, at)| (*file, at + by)).collect()
    };
    let begins = |places: &&&BTreeSet<(usize, usize)>| {
        let before: Option<BTreeSet<_>> =
            places.iter().map(|(file, at)| Some((*file, at.checked_sub(1)?))).collect();
        before.is_none_or(|before| !same.contains(&before))
    };
    let mut found: Vec<_> = same
        .iter()
        .filter(begins)
        .map(|places| {
            let more = (1..).take_while(|by| same.contains(&moved(places, *by))).count();
            let places: Vec<_> = places
                .iter()
                .map(|(file, at)| format!("src/{}:{}", files[*file].0, files[*file].1[*at].0))
                .collect();
            (COPY_LINES + more, places.join(" "))
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(lines, places)| format!("{lines} lines: {places}")).collect()
}

fn lines_of_code<'a>(source: &'a str, code: &Code) -> Vec<(usize, &'a str)> {
    let lines = source.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let counts = |(at, line): &(usize, &str)| {
        line.contains(char::is_alphabetic)
            && !["//", "use ", "pub use ", "mod ", "pub mod ", "#["]
                .iter()
                .any(|start| line.starts_with(start))
            && !code.tests.iter().any(|tests| tests.contains(at))
    };
    lines.filter(counts).collect()
}

#[test]
fn figures_count_what_they_say() {
    let copied = "let a = 1;\nlet b = 2;\n}\n\nlet c = 3;\nlet d = 4;\nlet e = 5;\nlet f = 6;\nlet g = 7;\n";
    let sources = Sources::from([
        (
            "a.rs".into(),
            format!(
                "use serde_json::{{Map, Value}};\nfn x(a: &Value) -> [u8; 2] {{\n{copied}\n}}\nfn y() {{ out.insert(1) }}"
            ),
        ),
        (
            "b.rs".into(),
            format!("/// Whose.\n/// One two.\nfn y();\n/// One two.\nlet z;\n{}", copied.replace("  ", "")),
        ),
        ("c.rs".into(), format!("#[cfg(test)]\nfn y() {{\n{copied}}}")),
    ]);
    let code: BTreeMap<_, _> = sources.iter().map(|(path, text)| (path.as_str(), Code::of(text))).collect();
    let house = code.iter().map(|(path, code)| (*path, code)).collect();
    assert_eq!(copies(&sources, &house), ["7 lines: src/a.rs:3 src/b.rs:6"]);
    assert_eq!(short_docs(&sources["b.rs"]), 1);
    assert_eq!(json_signatures(&code["a.rs"]), 1);
    assert_eq!(row_count(&code["a.rs"].words, &["out", ".", "insert", "("]), 1);
}
