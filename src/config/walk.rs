//! Walks the document: every value with its place, every problem noted, nothing thrown.
use super::context::Context;
use super::diagnostic::Diagnostic;
use super::duration;
use super::keys::{Key, Kind, SYNONYMS};
use super::spans::any_span;
use crate::domain::{SecretRef, TextOrSecret, nearest};
use jiff::SignedDuration;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file at hand, and what is wrong with it.
pub(super) struct File<'c> {
    pub(super) path: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) context: &'c Context<'c>,
    text: &'c str,
    /// Where each line begins.
    lines: Vec<usize>,
    found: RefCell<Vec<Diagnostic>>,
    /// Where there are errors.
    errors: RefCell<Vec<Range<usize>>>,
    /// Tables with an error in them, by kind and name: what refers to them is not to blame. The name
    /// `*` is all of a kind.
    broken: RefCell<BTreeSet<(String, String)>>,
    /// Secrets that stand in the file although they must not.
    secrets: RefCell<Vec<Range<usize>>>,
}

impl<'c> File<'c> {
    pub(super) fn new(text: &'c str, path: &Path, context: &'c Context<'c>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        Self {
            path: path.to_owned(),
            folder,
            context,
            text,
            lines,
            found: RefCell::default(),
            errors: RefCell::default(),
            broken: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// All that was noted, and where secrets stand in the open.
    pub(super) fn into_findings(self) -> (Vec<Diagnostic>, Vec<Range<usize>>) {
        (self.found.into_inner(), self.secrets.into_inner())
    }

    /// Nobody is to see what stands there.
    pub(super) fn hide(&self, span: Range<usize>) {
        self.secrets.borrow_mut().push(span);
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Is there an error within this key or its value?
    pub(super) fn is_wrong(&self, key: Range<usize>, value: &Spanned<DeValue<'_>>) -> bool {
        let errors = self.errors.borrow();
        let meets = |span: &Range<usize>| {
            errors.iter().any(|error| {
                error.start < span.end.max(span.start + 1) && span.start < error.end.max(error.start + 1)
            })
        };
        !errors.is_empty() && (meets(&key) || any_span(value, &meets))
    }

    /// Remembers that there is an error in a table, so that references to it are not called wrong.
    pub(super) fn is_broken_now(&self, kind: &str, name: &str) {
        self.broken.borrow_mut().insert((kind.to_owned(), name.to_owned()));
    }

    /// Is there an error in the table of this kind and name?
    pub(super) fn is_broken(&self, kind: &str, name: &str) -> bool {
        let broken = self.broken.borrow();
        !broken.is_empty()
            && [name, "*"].iter().any(|name| broken.contains(&(kind.to_owned(), (*name).to_owned())))
    }

    pub(super) fn error(&self, span: Option<Range<usize>>, message: String, hint: Option<String>) {
        self.note(true, span, message, hint);
    }

    pub(super) fn warn(&self, span: Range<usize>, message: String, hint: Option<String>) {
        self.note(false, Some(span), message, hint);
    }

    /// A warning about the file as a whole.
    pub(super) fn warn_whole(&self, message: String, hint: Option<String>) {
        self.note(false, None, message, hint);
    }

    fn note(&self, is_error: bool, span: Option<Range<usize>>, message: String, hint: Option<String>) {
        let (line, column) = span.as_ref().map_or((0, 0), |span| self.place(span.start));
        if is_error {
            self.errors.borrow_mut().push(span.clone().unwrap_or(0..0));
        }
        self.found.borrow_mut().push(Diagnostic { is_error, message, span, line, column, key: None, hint });
    }

    /// Line and column of a byte, both from 1.
    pub(super) fn place(&self, at: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines[line - 1];
        let at = self.text.floor_char_boundary(at.min(self.text.len()));
        let column = self.text[start.min(at)..at].chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// A path of the file: relative to its folder, `~` and `${VAR}` expanded.
    pub(super) fn expand(&self, text: &str, span: Range<usize>) -> PathBuf {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, tail)) = after.split_once('}') else {
                self.error(Some(span.clone()), "`${` without `}`".into(), None);
                break;
            };
            match (self.context.env)(name) {
                Some(value) => out.push_str(&value),
                None => self.error(
                    Some(span.clone()),
                    format!("the variable `{name}` is not set"),
                    Some("set it where the daemon runs, or write the path out".into()),
                ),
            }
            rest = tail;
        }
        out.push_str(rest);
        let path = match out.strip_prefix("~/") {
            Some(below) => self.context.home.join(below),
            None if out == "~" => self.context.home.clone(),
            None => self.folder.join(&out),
        };
        path.components().filter(|part| *part != std::path::Component::CurDir).collect()
    }
}

/// A value with its place and its name.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
    pub(super) name: &'a str,
}

/// The keys that may be meant by one that is not known: what else it is called, or the nearest.
fn meant(text: &str, keys: &[Key]) -> Vec<&'static str> {
    let names = || keys.iter().map(|key| key.name);
    let word = text.replace('-', "_").to_lowercase();
    let others = SYNONYMS.iter().find(|(other, _)| *other == word).map_or(&[][..], |(_, others)| others);
    let others: Vec<&'static str> =
        others.iter().copied().filter(|other| names().any(|name| name == *other)).collect();
    if others.is_empty() { nearest(text, names()).into_iter().collect() } else { others }
}

/// A table whose keys are known.
pub(super) struct Section<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) table: &'a DeTable<'a>,
    pub(super) span: Range<usize>,
    /// Looked into when a key is not here.
    pub(super) defaults: Option<&'a DeTable<'a>>,
    /// Keys that are probably here, under a name that is not quite theirs: that was told.
    pub(super) misspelled: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The section of a table; unknown keys are errors with a suggestion.
    pub(super) fn of(file: &'a File<'a>, table: &'a DeTable<'a>, span: Range<usize>, keys: &[Key]) -> Self {
        let mut misspelled = Vec::new();
        for (name, value) in table {
            let text = name.get_ref().as_ref();
            if !keys.iter().any(|key| key.name == text) {
                let meant = meant(text, keys);
                let hint = match &meant[..] {
                    [] => {
                        let all: Vec<&str> = keys.iter().map(|key| key.name).collect();
                        format!("known here: {}", all.join(", "))
                    }
                    meant => format!("did you mean `{}`?", meant.join("` or `")),
                };
                file.error(Some(name.span()), format!("unknown key `{text}`"), Some(hint));
                let is_secret = |key: &&Key| meant.contains(&key.name) && matches!(key.kind, Kind::Secret);
                if keys.iter().any(|key| is_secret(&key)) {
                    file.hide(value.span());
                }
                misspelled.extend(meant);
            }
        }
        Self { file, table, span, defaults: None, misspelled }
    }

    /// Notes that keys are missing, of which one is needed; not where one is there under a name that
    /// is not quite its own.
    pub(super) fn missing<T>(&self, keys: &[&str], message: String, hint: Option<String>) -> Option<T> {
        if !self.misspelled.iter().any(|near| keys.contains(near)) {
            self.file.error(Some(self.span.clone()), message, hint);
        }
        None
    }

    pub(super) fn get(&self, name: &'a str) -> Option<Item<'a>> {
        let own = self.table.get(name);
        let value = own.or_else(|| self.defaults.and_then(|defaults| defaults.get(name)))?;
        Some(Item { file: self.file, value, name })
    }

    pub(super) fn own(&self, name: &'a str) -> Option<Item<'a>> {
        self.table.get(name).map(|value| Item { file: self.file, value, name })
    }

    pub(super) fn text(&self, name: &'a str) -> Option<&'a str> {
        self.get(name)?.text()
    }

    pub(super) fn flag(&self, name: &'a str) -> Option<bool> {
        let item = self.get(name)?;
        let flag = item.value.get_ref().as_bool();
        flag.or_else(|| item.wrong("true or false"))
    }

    pub(super) fn whole(&self, name: &'a str, least: u64) -> Option<u64> {
        self.get(name)?.whole(least)
    }

    pub(super) fn number(&self, name: &'a str) -> Option<f64> {
        let item = self.get(name)?;
        let number = item.number()?;
        if number < 0.0 || !number.is_finite() {
            return item.refuse(format!("`{name}` must be a number that is not negative"));
        }
        Some(number)
    }

    pub(super) fn duration(&self, name: &'a str) -> Option<SignedDuration> {
        self.get(name)?.duration()
    }

    pub(super) fn positive(&self, name: &'a str) -> Option<SignedDuration> {
        let item = self.get(name)?;
        let span = item.duration()?;
        if span.is_zero() {
            return item.refuse(format!("`{name}` must be longer than nothing"));
        }
        Some(span)
    }

    pub(super) fn size(&self, name: &'a str) -> Option<u64> {
        let item = self.get(name)?;
        match item.value.get_ref() {
            DeValue::Integer(_) => item.whole(0),
            DeValue::String(text) => match duration::parse_size(text) {
                Ok(bytes) => Some(bytes),
                Err(message) => item.refuse(message),
            },
            _ => item.wrong("whole bytes or a text like \"1MiB\""),
        }
    }

    /// A size of at least `least` bytes.
    pub(super) fn size_of_at_least(&self, name: &'a str, least: u64, in_words: &str) -> Option<u64> {
        let size = self.size(name)?;
        if size < least {
            return self.get(name)?.refuse(format!("`{name}` must be at least {in_words}"));
        }
        Some(size)
    }

    /// One of some words, with its position among them.
    pub(super) fn word(&self, name: &'a str, words: &[&str]) -> Option<usize> {
        self.get(name)?.word(words)
    }

    pub(super) fn texts(&self, name: &'a str) -> Option<Vec<String>> {
        self.get(name)?.texts()
    }

    pub(super) fn values(&self, name: &'a str) -> BTreeMap<String, TextOrSecret> {
        let Some(item) = self.get(name) else { return BTreeMap::new() };
        let Some(table) = item.table() else { return BTreeMap::new() };
        let values = table.iter().filter_map(|(key, value)| {
            let key = key.get_ref().to_string();
            let item = Item { file: self.file, value, name: item.name };
            Some((key, item.text_or_secret()?))
        });
        values.collect()
    }
}

impl<'a> Item<'a> {
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    pub(super) fn refuse<T>(&self, message: String) -> Option<T> {
        self.file.error(Some(self.span()), message, None);
        None
    }

    pub(super) fn refuse_with<T>(&self, message: String, hint: String) -> Option<T> {
        self.file.error(Some(self.span()), message, Some(hint));
        None
    }

    pub(super) fn wrong<T>(&self, wanted: &str) -> Option<T> {
        let found = self.value.get_ref().type_str();
        self.refuse(format!("`{}` must be {wanted}, not {found}", self.name))
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.wrong("a text"),
        }
    }

    pub(super) fn whole(&self, least: u64) -> Option<u64> {
        let DeValue::Integer(number) = self.value.get_ref() else { return self.wrong("a whole number") };
        match i64::from_str_radix(number.as_str(), number.radix()).ok().and_then(|n| u64::try_from(n).ok()) {
            Some(number) if number >= least => Some(number),
            _ => self.refuse(format!("`{}` must be a whole number of at least {least}", self.name)),
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        let number = match self.value.get_ref() {
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64)
            }
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        number.or_else(|| self.wrong("a number"))
    }

    pub(super) fn duration(&self) -> Option<SignedDuration> {
        let span = match self.value.get_ref() {
            DeValue::Integer(_) => {
                self.whole(0).map(|secs| SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX)))
            }
            DeValue::String(text) => match duration::parse_duration(text) {
                Ok(span) => Some(span),
                Err(message) => self.refuse(message),
            },
            _ => self.wrong("whole seconds or a text like \"5m\""),
        }?;
        if span > duration::LONGEST {
            return self.refuse(format!("`{}` is at most 100 years", self.name));
        }
        Some(span)
    }

    pub(super) fn word(&self, words: &[&str]) -> Option<usize> {
        let text = self.text()?;
        let found = words.iter().position(|word| *word == text);
        found.or_else(|| {
            let hint = match nearest(text, words.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("use one of {}", words.join(", ")),
            };
            self.refuse_with(format!("`{}` can't be \"{text}\"", self.name), hint)
        })
    }

    pub(super) fn table(&self) -> Option<&'a DeTable<'a>> {
        self.value.get_ref().as_table().or_else(|| self.wrong("a table"))
    }

    pub(super) fn section(&self, keys: &[Key]) -> Option<Section<'a>> {
        Some(Section::of(self.file, self.table()?, self.span(), keys))
    }

    pub(super) fn items(&self) -> Option<Vec<Item<'a>>> {
        let array = self.value.get_ref().as_array();
        let array = array.or_else(|| self.wrong("a list"))?;
        Some(array.iter().map(|value| Item { value, ..*self }).collect())
    }

    pub(super) fn texts(&self) -> Option<Vec<String>> {
        self.items()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    /// A list runs directly; a text runs by the shell.
    pub(super) fn command(&self) -> Option<Vec<String>> {
        let argv = match self.value.get_ref() {
            DeValue::String(text) => vec!["/bin/sh".into(), "-c".into(), text.to_string()],
            DeValue::Array(_) => self.texts()?,
            _ => return self.wrong("a text or a list of texts"),
        };
        if argv.iter().any(|part| part.contains('\0')) {
            return self.refuse(format!("`{}` has a NUL byte", self.name));
        }
        match argv.first().map(|program| program.trim()) {
            None | Some("") => self.refuse(format!("`{}` is empty", self.name)),
            Some(_) if argv.len() == 3 && argv[1] == "-c" && argv[2].trim().is_empty() => {
                self.refuse(format!("`{}` is empty", self.name))
            }
            Some(_) => Some(self.with_expanded_program(argv)),
        }
    }

    /// `~` and `${VAR}` of a program's path. A name without them is found by PATH or in `cwd`.
    fn with_expanded_program(&self, mut argv: Vec<String>) -> Vec<String> {
        let is_ours = |program: &&mut String| {
            program.starts_with("~/")
                || program.starts_with("${")
                || (program.starts_with('/') && program.contains("${"))
        };
        if let Some(program) = argv.first_mut().filter(is_ours) {
            *program = self.file.expand(program, self.span()).display().to_string();
        }
        argv
    }

    /// A reference to a secret, which should be where that leads. A literal is an error that explains itself.
    pub(super) fn secret(&self) -> Option<SecretRef> {
        let before = self.file.errors();
        let secret = self.secret_ref()?;
        if self.file.errors() == before {
            super::machine::secret(*self, &secret);
        }
        Some(secret)
    }

    fn secret_ref(&self) -> Option<SecretRef> {
        const KEYS: &[Key] = &[
            Key { name: "env", kind: Kind::Text, doc: "" },
            Key { name: "file", kind: Kind::Text, doc: "" },
            Key { name: "credential", kind: Kind::Text, doc: "" },
            Key { name: "command", kind: Kind::Command, doc: "" },
        ];
        if !self.value.get_ref().is_table() {
            self.file.hide(self.span());
        }
        if let DeValue::String(_) = self.value.get_ref() {
            return self.refuse_with(
                format!("`{}` is a secret and must not stand in this file", self.name),
                "say where it is: { env = \"NAME\" }, { file = \"PATH\" }, { credential = \"NAME\" } or { command = [\"pass\", \"show\", \"x\"] }".into(),
            );
        }
        let section = self.section(KEYS)?;
        for (key, value) in section.table {
            if !KEYS.iter().any(|known| known.name == key.get_ref().as_ref()) {
                self.file.hide(value.span());
            }
        }
        if section.table.len() != 1 {
            return self
                .refuse(format!("`{}` needs exactly one of env, file, credential and command", self.name));
        }
        if let Some(item) = section.get("env") {
            let name = item.text()?;
            if !is_variable(name) {
                self.file.hide(item.span());
                return item.refuse_with(
                    "this can't be the name of a variable: letters, digits and `_`, and no digit first"
                        .into(),
                    "name the variable that holds the secret, not the secret: { env = \"API_KEY\" }".into(),
                );
            }
            return Some(SecretRef::Env(name.to_owned()));
        }
        if let Some(item) = section.get("file") {
            return Some(SecretRef::File(self.file.expand(item.text()?, item.span())));
        }
        if let Some(name) = section.text("credential") {
            return Some(SecretRef::Credential(name.to_owned()));
        }
        section.get("command")?.texts().map(SecretRef::Command)
    }

    pub(super) fn text_or_secret(&self) -> Option<TextOrSecret> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(TextOrSecret::Text(text.to_string())),
            DeValue::Table(_) => self.secret().map(TextOrSecret::Secret),
            _ => {
                self.file.hide(self.span());
                self.wrong("a text or a reference to a secret")
            }
        }
    }

    /// As JSON, for what another floor looks into.
    pub(super) fn json(&self) -> serde_json::Value {
        json(self.value.get_ref())
    }
}

fn json(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.to_string().into(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_default().into()
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().unwrap_or_default().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(at) => at.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let pairs = table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

/// Can a shell have a variable of this name?
fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
