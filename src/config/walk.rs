//! Walks the document: every value with its position, every problem recorded, nothing thrown.
use super::document::File;
use super::duration;
use super::keys::{Key, Kind, SYNONYMS, key};
use crate::domain::{SecretRef, TextOrSecret, Word, nearest};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its position and its name.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
    pub(super) name: &'a str,
}

/// Suggests keys for an unknown one: a synonym, or the nearest.
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
    /// Used for keys that are missing here.
    pub(super) defaults: Option<&'a DeTable<'a>>,
    /// Keys that are probably here under a misspelled name, which has been reported.
    pub(super) misspelled: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Wraps a table; unknown keys are errors with a suggestion.
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

    /// Reports that one of these keys is required, unless one of them is here under a misspelled name.
    pub(super) fn missing<T>(&self, keys: &[&str], message: String, hint: Option<String>) -> Option<T> {
        if !self.misspelled.iter().any(|near| keys.contains(near)) {
            self.file.error(Some(self.span.clone()), message, hint);
        }
        None
    }

    /// Refuses all other keys of this table beside one that determines its meaning.
    pub(super) fn refuse_other_keys(&self, with: &str, own: &[&str], all: &'static [Key]) {
        let others = all.iter().map(|key| key.name).filter(|key| !own.contains(key));
        for key in others.filter_map(|key| self.get(key)) {
            key.refuse::<()>(format!("`{}` does not go with `{with}`", key.name));
        }
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
            return item.refuse(format!("`{name}` must be greater than 0"));
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

    /// Parses a size of at least `least` bytes.
    pub(super) fn size_of_at_least(&self, name: &'a str, least: u64, in_words: &str) -> Option<u64> {
        let size = self.size(name)?;
        if size < least {
            return self.get(name)?.refuse(format!("`{name}` must be at least {in_words}"));
        }
        Some(size)
    }

    /// Parses a word of a closed set.
    pub(super) fn word<W: Word>(&self, name: &'a str) -> Option<W> {
        self.get(name)?.word()
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
        let article = if found.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
        self.refuse(format!("`{}` must be {wanted}, not {article} {found}", self.name))
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

    /// Parses a word of a closed set.
    pub(super) fn word<W: Word>(&self) -> Option<W> {
        self.word_among(W::ALL)
    }

    /// Parses one of these words.
    pub(super) fn word_among<W: Word>(&self, words: &[W]) -> Option<W> {
        let text = self.one_of(words.iter().map(|word| word.as_str()))?;
        words.iter().copied().find(|word| word.as_str() == text)
    }

    /// Parses one of these texts.
    pub(super) fn one_of<'w>(&self, words: impl Iterator<Item = &'w str> + Clone) -> Option<&'a str> {
        let text = self.text()?;
        if words.clone().any(|word| word == text) {
            return Some(text);
        }
        let hint = match nearest(text, words.clone()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("use one of {}", words.collect::<Vec<_>>().join(", ")),
        };
        self.refuse_with(format!("`{}` can't be \"{text}\"", self.name), hint)
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

    /// Parses a command: a list runs directly, a text is run by the shell.
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

    /// Expands `~` and `${VAR}` in a program's path. A bare name is looked up in PATH or in `cwd`.
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

    /// Parses a reference to a secret, and warns if nothing is there. A literal secret is an error with an
    /// explanation.
    pub(super) fn secret(&self) -> Option<SecretRef> {
        let before = self.file.errors();
        let secret = self.secret_ref()?;
        if self.file.errors() == before {
            super::machine::secret(self.file, self.span(), &secret);
            self.file.refers_to(&secret);
        }
        Some(secret)
    }

    fn secret_ref(&self) -> Option<SecretRef> {
        const KEYS: &[Key] = &[
            key("env", Kind::Text, ""),
            key("file", Kind::Text, ""),
            key("credential", Kind::Text, ""),
            key("command", Kind::Command, ""),
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

    /// Converts the value to JSON, for layers that interpret it.
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

/// Returns whether a shell can have a variable of this name.
fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
