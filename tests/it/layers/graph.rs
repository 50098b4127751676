//! Which file imports from which: `use` paths and paths in the code, followed through re-exports to the
//! file that defines the name. That a module declares another is no import, nor is a module that is named
//! and not looked into.
use super::Sources;
use super::code::{Code, Word, end_of_group};
use std::collections::{BTreeMap, BTreeSet};

/// Files, and those that each imports from. Only what is reached from `lib.rs` and not by tests alone.
pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Files that reach each other, at least two.
pub(super) type Circle = BTreeSet<String>;

type Path = Vec<String>;

#[derive(Default)]
struct Module {
    file: String,
    parent: usize,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    /// What each name stands for; several where `cfg` decides.
    imports: BTreeMap<String, Vec<Path>>,
    /// Within functions.
    inner: BTreeMap<String, Vec<Path>>,
    globs: Vec<Path>,
    paths: BTreeSet<Path>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(usize),
    /// Something that this file defines.
    Item(String),
}

struct House<'a> {
    sources: &'a Sources,
    modules: Vec<Module>,
}

pub(super) fn graph(sources: &Sources) -> Graph {
    let mut house = House { sources, modules: Vec::new() };
    house.file("lib.rs", "", 0);
    let mut graph = Graph::new();
    for (at, module) in house.modules.iter().enumerate() {
        let used = graph.entry(module.file.clone()).or_default();
        for path in &module.paths {
            let found = match path.as_slice() {
                [name] => house.by_globs(at, name, 0),
                _ => house.resolve(at, path, 0),
            };
            used.extend(found.into_iter().filter_map(|target| match target {
                Target::Item(file) if file != module.file => Some(file),
                _ => None,
            }));
        }
    }
    graph
}

/// The largest first.
pub(super) fn circles(graph: &Graph) -> Vec<Circle> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|from| (from.as_str(), reachable(graph, from))).collect();
    let mut circles = BTreeSet::new();
    for (from, reached) in &reach {
        let circle: Circle =
            reached.iter().filter(|to| reach[*to].contains(from)).map(|to| (*to).to_owned()).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    let mut circles: Vec<_> = circles.into_iter().collect();
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    circles
}

fn reachable<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        for to in &graph[at] {
            if found.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    found
}

impl House<'_> {
    /// Reads a file as a module whose children's files stand in `folder`.
    fn file(&mut self, file: &str, folder: &str, parent: usize) -> usize {
        let words = Code::of(&self.sources[file]).words;
        let module = self.module(file, parent);
        self.body(&words, module, folder);
        module
    }

    fn module(&mut self, file: &str, parent: usize) -> usize {
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        self.modules.len() - 1
    }

    fn body(&mut self, words: &[Word], module: usize, folder: &str) {
        let (mut at, mut depth) = (0, 0);
        // Macros that write items: what stands in their braces is at home in the module.
        let mut open = 0;
        let text = |at: usize| words.get(at).map_or("", |word: &Word| &*word.text);
        while at < words.len() {
            let at_home = depth == open;
            match text(at) {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    open = open.min(depth);
                }
                "mod" if at_home && text(at + 2) == "{" => {
                    let name = text(at + 1).to_owned();
                    let end = end_of_group(words, at + 2);
                    let child = self.module(&self.modules[module].file.clone(), module);
                    self.body(&words[at + 3..end - 1], child, &format!("{folder}{name}/"));
                    self.modules[module].children.insert(name, child);
                    at = end;
                    continue;
                }
                "mod" if at_home && text(at + 2) == ";" => {
                    let name = text(at + 1);
                    let files = [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")];
                    let Some(file) = files.iter().find(|file| self.sources.contains_key(*file)) else {
                        panic!("no file for `mod {name}` in {folder}")
                    };
                    let child = self.file(file, &format!("{folder}{name}/"), module);
                    self.modules[module].children.insert(name.to_owned(), child);
                }
                "use" if !text(at + 1).starts_with('<') => {
                    let end = at + words[at..].iter().take_while(|word| !word.is(";")).count();
                    self.uses(&words[at + 1..end], module, at_home);
                    at = end;
                    continue;
                }
                "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static"
                    if at_home && words.get(at + 1).is_some_and(Word::is_name) =>
                {
                    let name = if text(at + 1) == "mut" { text(at + 2) } else { text(at + 1) };
                    self.modules[module].items.insert(name.to_owned());
                }
                "macro_rules" if at_home => {
                    self.modules[module].items.insert(text(at + 2).to_owned());
                    at = end_of_group(words, at + 3);
                    continue;
                }
                "!" if at_home && text(at + 1) == "{" => open += 1,
                word if word.starts_with('"') && at > 0 && words[at - 1].is("=") => {
                    let inside = Code::of(&word[1..]).words;
                    if inside.iter().all(|word| word.is_name() || word.is("::")) && inside.len() > 2 {
                        self.path(&inside, module);
                    }
                }
                _ if words[at].is_name() && !(at > 0 && matches!(text(at - 1), "." | "::")) => {
                    at += self.path(&words[at..], module);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Notes the path that begins here; how many words it has.
    fn path(&mut self, words: &[Word], module: usize) -> usize {
        let mut path = vec![words[0].text.clone()];
        let mut at = 1;
        while at + 1 < words.len() && words[at].is("::") && words[at + 1].is_name() {
            path.push(words[at + 1].text.clone());
            at += 2;
        }
        self.modules[module].paths.insert(path);
        at
    }

    /// The words between `use` and `;`.
    fn uses(&mut self, words: &[Word], module: usize, at_home: bool) {
        let mut found = Vec::new();
        tree(words, &[], &mut found);
        let module = &mut self.modules[module];
        for (path, name) in found {
            match name.as_str() {
                "*" => module.globs.push(path),
                _ => {
                    module.paths.insert(path.clone());
                    let names = if at_home { &mut module.imports } else { &mut module.inner };
                    names.entry(name).or_default().push(path);
                }
            }
        }
    }

    /// What a path leads to, seen from a module. Nothing: it leads out of the house.
    fn resolve(&self, at: usize, path: &[String], depth: usize) -> Vec<Target> {
        let mut targets = match path[0].as_str() {
            "crate" => vec![Target::Module(0)],
            "self" => vec![Target::Module(at)],
            "super" => vec![Target::Module(self.modules[at].parent)],
            name => self.lookup(at, name, depth),
        };
        for name in &path[1..] {
            // A module and a function may have one name; only the module leads on.
            if targets.iter().any(|target| matches!(target, Target::Module(_))) {
                targets.retain(|target| matches!(target, Target::Module(_)));
            }
            targets = targets
                .into_iter()
                .flat_map(|target| match target {
                    Target::Module(module) if name == "super" => {
                        vec![Target::Module(self.modules[module].parent)]
                    }
                    Target::Module(module) => {
                        let found = self.lookup(module, name, depth);
                        // A macro may have written it.
                        let unseen = || vec![Target::Item(self.modules[module].file.clone())];
                        if found.is_empty() { unseen() } else { found }
                    }
                    item => vec![item],
                })
                .collect();
        }
        targets
    }

    /// What a name means within a module.
    fn lookup(&self, at: usize, name: &str, depth: usize) -> Vec<Target> {
        let module = &self.modules[at];
        let mut found = Vec::new();
        if depth > 8 {
            return found;
        }
        found.extend(module.items.get(name).map(|_| Target::Item(module.file.clone())));
        found.extend(module.children.get(name).map(|child| Target::Module(*child)));
        let imports = module.imports.get(name).into_iter().flatten();
        found.extend(imports.flat_map(|path| self.resolve_import(at, name, path, depth)));
        if found.is_empty() {
            found = self.by_globs(at, name, depth);
        }
        if found.is_empty() {
            let inner = module.inner.get(name).into_iter().flatten();
            found.extend(inner.flat_map(|path| self.resolve_import(at, name, path, depth)));
        }
        found
    }

    fn resolve_import(&self, at: usize, name: &str, path: &[String], depth: usize) -> Vec<Target> {
        // `use notify::Watcher` next to no module of that name: a package.
        if path[0] == name && !self.modules[at].children.contains_key(name) {
            return Vec::new();
        }
        self.resolve(at, path, depth + 1)
    }

    fn by_globs(&self, at: usize, name: &str, depth: usize) -> Vec<Target> {
        let module = &self.modules[at];
        let known = module.items.contains(name)
            || module.imports.contains_key(name)
            || module.children.contains_key(name);
        if known || depth > 8 {
            return Vec::new();
        }
        let mut found = Vec::new();
        for path in &module.globs {
            for target in self.resolve(at, path, depth + 1) {
                if let Target::Module(other) = target {
                    found.extend(self.lookup(other, name, depth + 1));
                }
            }
        }
        found
    }
}

/// The paths of a `use`, each with the name that it gets.
fn tree(words: &[Word], before: &[String], found: &mut Vec<(Path, String)>) {
    let mut path = before.to_vec();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match &*word.text {
            "::" => {}
            "{" => {
                let inside = &words[at + 1..end_of_group(words, at) - 1];
                let (mut start, mut end) = (0, 0);
                while end < inside.len() {
                    match &*inside[end].text {
                        "," => {
                            tree(&inside[start..end], &path, found);
                            end += 1;
                            start = end;
                        }
                        "{" => end = end_of_group(inside, end),
                        _ => end += 1,
                    }
                }
                if start < end {
                    tree(&inside[start..end], &path, found);
                }
                return;
            }
            "*" => {
                found.push((path, "*".into()));
                return;
            }
            "as" => {
                found.push((path, words[at + 1].text.clone()));
                return;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = path.last().cloned() {
        found.push((path, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(files: &[(&str, &str)]) -> Graph {
        let sources: Sources =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        graph(&sources)
    }

    fn used(graph: &Graph, file: &str) -> String {
        graph[file].iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn imports_are_followed_to_the_file_that_defines_the_name() {
        let graph = house(&[
            ("lib.rs", "pub mod a;\nmod b;"),
            (
                "a/mod.rs",
                "mod low;\nmod one;\nmod two;\npub use low::{Word as Noun, words};\npub fn door() {}",
            ),
            ("a/low.rs", "pub struct Word;\npub fn words() {}"),
            ("a/one.rs", "use super::Noun;\nfn x() { super::words() }"),
            ("a/two.rs", "use crate::a;\nfn x() { a::door(); a::words(); std::mem::swap() }"),
            (
                "b.rs",
                "use crate::a::{self, *};\nfn x(_: Noun) { let door = 1; door }\nmod c { fn y() { super::super::a::door() } }",
            ),
        ]);
        assert_eq!(used(&graph, "lib.rs"), "");
        assert_eq!(used(&graph, "a/mod.rs"), "a/low.rs");
        assert_eq!(used(&graph, "a/one.rs"), "a/low.rs");
        assert_eq!(used(&graph, "a/two.rs"), "a/low.rs a/mod.rs");
        assert_eq!(used(&graph, "b.rs"), "a/low.rs a/mod.rs");
        assert_eq!(circles(&graph), Vec::<Circle>::new());
    }

    #[test]
    fn circles_are_found() {
        let graph = house(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
            ("a.rs", "use crate::b::B;\npub struct A;\nfn x(_: B) {}"),
            ("b.rs", "pub struct B;\nimpl From<crate::c::C> for B {}"),
            ("c.rs", "pub struct C;\nfn x() { let _ = crate::a::A::new(); }"),
            ("d.rs", "use crate::a::A;\n#[serde(with = \"crate::b::B\")]\nstruct D(A);"),
        ]);
        assert_eq!(circles(&graph), [Circle::from(["a.rs".into(), "b.rs".into(), "c.rs".into()])]);
        assert_eq!(used(&graph, "d.rs"), "a.rs b.rs");
    }

    #[test]
    fn tests_and_declarations_are_no_imports() {
        let graph = house(&[
            ("lib.rs", "mod a;"),
            (
                "a.rs",
                "mod b;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more { use super::b::B; }\npub struct A;",
            ),
            ("a/b.rs", "use super::A;\npub struct B;\n#[cfg(test)]\nfn x() { crate::a::tests::y() }"),
            ("a/tests.rs", "use super::b::B;"),
        ]);
        assert_eq!(graph.keys().collect::<Vec<_>>(), ["a.rs", "a/b.rs", "lib.rs"]);
        assert_eq!((used(&graph, "a.rs"), used(&graph, "a/b.rs")), (String::new(), "a.rs".into()));
        assert_eq!(circles(&graph), Vec::<Circle>::new());
    }

    #[test]
    fn what_macros_write_is_at_home_in_its_module() {
        let graph = house(&[
            ("lib.rs", "mod a;\nmod b;"),
            (
                "a.rs",
                "words! {\n pub enum Kind { One }\n}\npub(crate) use words;\nmacro_rules! words { () => {} }",
            ),
            ("b.rs", "use crate::a::{Kind, Unseen};\nfn x() { crate::a::words!() }"),
        ]);
        assert_eq!(used(&graph, "b.rs"), "a.rs");
        assert_eq!(used(&graph, "a.rs"), "");
    }
}
