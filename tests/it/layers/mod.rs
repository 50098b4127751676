//! The house has floors, and a floor sees only what is below it. Read from the sources themselves;
//! the check is checked as well.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

mod circles;
mod code;
mod docs;
mod figures;
mod glossary;
mod graph;

/// Who may use whom, bottom-up. A module that is not a key here has no floor.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("blocking", &["domain"]),
    ("sqlite_file", &["domain"]),
    ("skill_folder", &["domain"]),
    ("engine", &["domain"]),
    ("conversation", &["domain"]),
    ("forecast", &["domain"]),
    ("agent_program", &["domain"]),
    ("config", &["domain", "skill_folder"]),
    ("protocol", &["domain"]),
    ("sandbox", &[]),
    ("net", &["domain"]),
    ("proxy", &["domain", "net"]),
    ("child", &["domain", "sandbox", "proxy"]),
    ("doctor", &["domain", "sandbox", "child"]),
    ("secret", &["domain", "child"]),
    ("postgres", &["domain", "net", "secret"]),
    ("redis", &["domain", "net", "secret"]),
    ("s3", &["domain", "net", "secret"]),
    ("mcp", &["domain", "blocking", "net", "secret", "child"]),
    ("store", &["domain", "clock", "postgres"]),
    ("redis_memory", &["domain", "clock", "redis", "store"]),
    ("llm", &["domain", "net", "secret", "child"]),
    ("bounded", &["domain", "blocking", "secret"]),
    (
        "archive",
        &["domain", "clock", "blocking", "bounded", "sqlite_file", "secret", "postgres", "s3", "store"],
    ),
    (
        "tools",
        &[
            "domain",
            "clock",
            "blocking",
            "bounded",
            "sqlite_file",
            "secret",
            "net",
            "child",
            "postgres",
            "s3",
            "mcp",
            "store",
            "redis_memory",
            "archive",
        ],
    ),
    ("notify", &["domain", "clock", "secret", "net", "child"]),
    ("export", &["domain", "clock", "secret", "net", "redis", "store"]),
    ("telemetry", &["domain", "clock", "engine", "net", "secret", "store"]),
    ("client", &["protocol", "domain"]),
    ("overview", &["protocol", "domain"]),
    ("render", &["domain", "config", "protocol", "client", "overview"]),
    ("top", &["domain", "clock", "protocol", "client", "overview", "render"]),
    ("web", &["domain", "clock", "protocol", "client", "overview", "render"]),
    ("proposal", &["domain", "config"]),
    ("assistant", &["domain", "clock", "config", "protocol", "client", "overview", "render", "proposal"]),
    (
        "runner",
        &[
            "domain",
            "clock",
            "conversation",
            "agent_program",
            "llm",
            "tools",
            "secret",
            "store",
            "redis_memory",
            "child",
            "proxy",
            "skill_folder",
        ],
    ),
    (
        "daemon",
        &[
            "domain",
            "clock",
            "skill_folder",
            "engine",
            "conversation",
            "config",
            "protocol",
            "store",
            "redis_memory",
            "llm",
            "child",
            "net",
            "proxy",
            "secret",
            "mcp",
            "archive",
            "tools",
            "notify",
            "proposal",
            "export",
            "telemetry",
            "runner",
        ],
    ),
    (
        "cli",
        &[
            "domain",
            "clock",
            "config",
            "protocol",
            "client",
            "overview",
            "render",
            "top",
            "web",
            "store",
            "child",
            "runner",
            "daemon",
            "doctor",
            "proposal",
            "assistant",
            "forecast",
        ],
    ),
];

/// Floors that compute and do nothing else.
const PURE: &[&str] = &["domain", "engine", "conversation", "agent_program", "forecast"];

/// What those must not say: clocks, I/O, tasks, chance.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "std::time",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "TimeZone::system",
    "tokio",
    "rusqlite",
    "reqwest",
    "rustix",
    "tracing",
    "rand::",
    "async fn",
    "println!",
    "unsafe",
];

type Sources = BTreeMap<String, String>;

#[test]
fn modules_use_only_what_is_below_them() {
    let sources = read("src");
    let problems = floors(&sources);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_is_used() {
    let mut problems = Vec::new();
    for sources in [read("src"), read("tests/it")] {
        problems.extend(headers(&sources));
        problems.extend(dead(&sources));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// A lint that never fired proves nothing.
#[test]
fn the_check_finds_what_it_is_for() {
    let bad = Sources::from([
        (
            "engine/mod.rs".into(),
            "//! x\nuse crate::store::Store; // crate::cli\nuse crate::{domain::Now, net};\nlet t = Timestamp::now();\n".into(),
        ),
        ("engine/odd.rs".into(), "use std::fs;\n".into()),
        ("misc/mod.rs".into(), "//! x\n".into()),
        ("lib.rs".into(), "//! x\npub mod engine;\npub mod misc;\n".into()),
    ]);
    assert_eq!(
        floors(&bad),
        [
            "engine/mod.rs:2: `engine` must not use `store`",
            "engine/mod.rs:3: `engine` must not use `net`",
            "engine/mod.rs:4: `engine` is pure, but says `Timestamp::now`",
            "engine/odd.rs:1: `engine` is pure, but says `std::fs`",
            "misc/mod.rs: module `misc` has no floor; add it to MAY_USE",
        ]
    );
    assert_eq!(headers(&bad), ["engine/odd.rs: begins without `//!`"]);
    assert_eq!(dead(&bad), ["engine/odd.rs: no `mod odd` leads here"]);
}

#[test]
fn floors_have_no_cycles() {
    for (at, (module, used)) in MAY_USE.iter().enumerate() {
        for name in *used {
            assert!(
                MAY_USE[..at].iter().any(|(below, _)| below == name),
                "`{module}` uses `{name}`, which is not below it"
            );
        }
    }
}

fn floors(sources: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in sources {
        let Some((module, _)) = path.split_once('/') else { continue };
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            problems.push(format!("{path}: module `{module}` has no floor; add it to MAY_USE"));
            continue;
        };
        let code = without_comments(text);
        let mut found = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            for used in used_at(&code[at + "crate::".len()..]) {
                if used != module && !may_use.contains(&used) && MAY_USE.iter().any(|(name, _)| *name == used)
                {
                    found.push((at, format!("`{module}` must not use `{used}`")));
                }
            }
        }
        for word in IMPURE.iter().filter(|_| PURE.contains(&module)) {
            for (at, _) in code.match_indices(word) {
                let inside = code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
                if !inside {
                    found.push((at, format!("`{module}` is pure, but says `{word}`")));
                }
            }
        }
        found.sort();
        let line = |at: usize| code[..at].matches('\n').count() + 1;
        problems.extend(found.into_iter().map(|(at, what)| format!("{path}:{}: {what}", line(at))));
    }
    problems
}

/// The modules that stand behind `crate::`: one, or several in braces.
fn used_at(code: &str) -> Vec<&str> {
    let Some(group) = code.strip_prefix('{') else { return vec![first_word(code)] };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                found.push(first_word(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' && depth == 0 && start == at + 1 {
            break;
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

fn first_word(code: &str) -> &str {
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    &code[..end]
}

/// Line comments become blank, so that lines keep their numbers.
fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.find("//") {
        Some(at) if line[..at].trim().is_empty() || line[..at].ends_with([' ', '\t']) => {
            line[..at].to_owned()
        }
        _ => line.to_owned(),
    };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

fn headers(sources: &Sources) -> Vec<String> {
    let silent = sources.iter().filter(|(_, text)| !text.starts_with("//!"));
    silent.map(|(path, _)| format!("{path}: begins without `//!`")).collect()
}

/// Files that no `mod` names.
fn dead(sources: &Sources) -> Vec<String> {
    let is_named = |path: &str| {
        let path = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parents = match parent {
            "" => vec!["lib.rs".to_owned(), "main.rs".to_owned()],
            parent => vec![format!("{parent}/mod.rs"), format!("{parent}.rs")],
        };
        let wanted = [format!("mod {name};"), format!("mod {name} {{")];
        parents
            .iter()
            .filter_map(|parent| sources.get(parent))
            .any(|text| wanted.iter().any(|word| text.contains(word)))
    };
    sources
        .keys()
        .filter(|path| !matches!(path.as_str(), "lib.rs" | "main.rs") && !is_named(path))
        .map(|path| {
            let name = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
            format!("{path}: no `mod {}` leads here", name.rsplit('/').next().unwrap_or(name))
        })
        .collect()
}

fn read(root: &str) -> Sources {
    fn walk(root: &Path, at: &Path, found: &mut Sources) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut found = Sources::new();
    walk(&root, &root, &mut found);
    found
}

/// `Some(…)` and quotes within quotes are for those who write the program.
#[test]
fn the_log_has_no_debug_forms() {
    const CALLS: &[&str] = &["warn!(", "info!(", "error!("];
    let mut problems = Vec::new();
    for (path, text) in read("src") {
        let code = without_comments(&text);
        for (at, call) in CALLS.iter().flat_map(|call| {
            code.match_indices(&format!("tracing::{call}")).map(|(at, _)| (at, call)).collect::<Vec<_>>()
        }) {
            let rest = &code[at..];
            let said = &rest[..rest.find(");").unwrap_or(rest.len())];
            if said.contains("(?") || said.contains(" ?") || said.contains(":?}") {
                problems.push(format!("{path}: {call}{}", said.lines().take(2).collect::<String>()));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
