//! Takes secrets out of texts. Every secret that was ever resolved is known here, in all the forms that
//! programs give it, until the process ends.
//!
//! Which texts pass through here is for the callers to say: all that is kept, shown, or told a model.
use super::forms::forms;
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use zeroize::Zeroizing;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// Shorter values would be found in innocent texts.
const LEAST: usize = 6;

/// So many values are known, and so many bytes of them; past it the oldest are forgotten: a program that
/// gives another token each hour must not fill the memory.
const MOST_VALUES: usize = 512;
const MOST_BYTES: usize = 128 << 10;

/// Is any secret known? Asked before everything else.
static ANY: AtomicBool = AtomicBool::new(false);
static FINDER: LazyLock<RwLock<Option<Arc<Finder>>>> = LazyLock::new(RwLock::default);
static VALUES: LazyLock<Mutex<VecDeque<Zeroizing<String>>>> = LazyLock::new(Mutex::default);

/// Remembers a value, so that it is found from now on.
pub(super) fn remember(value: &str) {
    let mut values = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut new = false;
    for value in [value, value.trim()] {
        if value.len() >= LEAST && !values.iter().any(|known| known.as_str() == value) {
            values.push_back(Zeroizing::new(value.to_owned()));
            new = true;
        }
    }
    if !new {
        return;
    }
    let mut bytes: usize = values.iter().map(|value| value.len()).sum();
    while values.len() > 1 && (values.len() > MOST_VALUES || bytes > MOST_BYTES) {
        bytes -= values.pop_front().map_or(0, |oldest| oldest.len());
    }
    // Published while the lock is held: whoever comes later builds on this.
    let finder = Finder::of(values.iter().map(|value| value.as_str()));
    *FINDER.write().unwrap_or_else(PoisonError::into_inner) = finder.map(Arc::new);
    ANY.store(true, Ordering::Release);
}

/// The text without secrets. Costs nothing while none is known.
pub fn redact(text: &str) -> Cow<'_, str> {
    match finder() {
        Some(finder) => finder.redact(text),
        None => Cow::Borrowed(text),
    }
}

/// The same for all texts of a value, names of fields and numbers included.
pub fn redact_json(value: &mut Value) {
    if let Some(finder) = finder() {
        finder.redact_json(value);
    }
}

fn finder() -> Option<Arc<Finder>> {
    if !ANY.load(Ordering::Acquire) {
        return None;
    }
    FINDER.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Finds a set of secrets.
struct Finder {
    automaton: AhoCorasick,
    /// What it finds, sorted: to see whether a text ends with the beginning of one.
    forms: Vec<String>,
    longest: usize,
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.forms.iter_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

impl Finder {
    fn of<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let all: BTreeSet<String> = values.flat_map(forms).collect();
        let forms: Vec<String> = all.into_iter().collect();
        let longest = forms.iter().map(String::len).max().unwrap_or(0);
        // It can only fail by its size, which `MOST_BYTES` bounds.
        let mut builder = AhoCorasick::builder();
        let automaton = builder.kind(Some(AhoCorasickKind::ContiguousNFA)).build(&forms).ok()?;
        Some(Self { automaton, forms, longest })
    }

    /// Where secrets stand. Those that overlap are one.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        // They come in the order of their ends.
        for found in self.automaton.find_overlapping_iter(text) {
            let mut start = found.start();
            while let Some(last) = spans.pop_if(|last| last.end > start) {
                start = start.min(last.start);
            }
            spans.push(start..found.end());
        }
        spans
    }

    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let spans = self.find(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for span in spans {
            out.push_str(&text[at..span.start]);
            out.push_str(REDACTED);
            at = span.end;
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }

    fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.redact(text) {
                    *text = clean;
                }
            }
            Value::Number(number) => {
                if let Cow::Owned(clean) = self.redact(&number.to_string()) {
                    *value = clean.into();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_json(item)),
            Value::Object(map) => {
                if map.keys().any(|key| matches!(self.redact(key), Cow::Owned(_))) {
                    let old = std::mem::take(map);
                    *map = old
                        .into_iter()
                        .map(|(key, value)| (self.redact(&key).into_owned(), value))
                        .collect::<Map<_, _>>();
                }
                map.values_mut().for_each(|value| self.redact_json(value));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// From where on the text may be the beginning of a secret that has not ended; its length: nowhere.
    fn open_end(&self, text: &str) -> usize {
        let from = text.ceil_char_boundary(text.len().saturating_sub(self.longest.saturating_sub(1)));
        // Those that go on after `tail` are sorted right behind it.
        let begins = |at: &usize| {
            let tail = &text[*at..];
            let next = self.forms.partition_point(|form| form.as_str() <= tail);
            self.forms.get(next).is_some_and(|form| form.starts_with(tail))
        };
        text[from..].char_indices().map(|(at, _)| from + at).find(begins).unwrap_or(text.len())
    }
}

/// Takes secrets out of a text that comes in pieces, also those that are split over several. It holds
/// back only what may be the beginning of one.
#[derive(Default)]
pub struct Redactor {
    held: String,
    /// So many bytes of what is held belong to a secret for which [`REDACTED`] was given already.
    told: usize,
}

impl Redactor {
    /// For a new stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece. Gives what is clean of all that came so far and was not given yet.
    pub fn push(&mut self, chunk: &str) -> String {
        match finder() {
            Some(finder) => self.push_for(&finder, chunk),
            None => std::mem::take(&mut self.held) + chunk,
        }
    }

    fn push_for(&mut self, finder: &Finder, chunk: &str) -> String {
        self.held.push_str(chunk);
        let end = finder.open_end(&self.held);
        self.give(finder, end)
    }

    /// The stream has ended: the rest.
    pub fn finish(mut self) -> String {
        match finder() {
            Some(finder) => {
                let end = self.held.len();
                self.give(&finder, end)
            }
            None => std::mem::take(&mut self.held),
        }
    }

    /// Gives what is held up to `end`. No secret that has not ended begins before it.
    fn give(&mut self, finder: &Finder, end: usize) -> String {
        let mut out = String::new();
        let mut at = self.told.min(end);
        let mut told = self.told;
        for span in finder.find(&self.held) {
            if span.start >= end {
                break;
            }
            if span.start >= told {
                out.push_str(&self.held[at..span.start]);
                out.push_str(REDACTED);
            }
            told = told.max(span.end);
            at = told.min(end);
        }
        out.push_str(&self.held[at..end]);
        self.held.drain(..end);
        self.told = told.saturating_sub(end);
        out
    }
}

impl Drop for Redactor {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.held);
    }
}

#[cfg(test)]
mod tests;
