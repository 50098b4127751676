//! Redacts secrets in texts. Every secret that was ever resolved is known here, in all the forms that programs use, until the
//! process ends.
//!
//! Which texts are redacted is left to the callers: everything that is kept, shown, or sent to a model.
use super::forms::forms;
use super::wrapped;
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use zeroize::Zeroizing;

/// Replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// Minimum length, in bytes: shorter values would be found in harmless texts.
const MIN_SECRET_BYTES: usize = 6;

/// Maximum number and bytes of values that were used; the oldest are evicted: a program that provides a new token each hour
/// must not fill the memory.
const MAX_USED: (usize, usize) = (512, 128 << 10);
/// The same for values in the configuration, which are not evicted by such a program.
const MAX_LEARNT: (usize, usize) = (2048, 256 << 10);

/// Whether any secret is known. Checked before everything else.
static ANY: AtomicBool = AtomicBool::new(false);
static FINDER: LazyLock<RwLock<Option<Arc<Finder>>>> = LazyLock::new(RwLock::default);
static VALUES: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// Values, the oldest first.
#[derive(Default)]
struct Known {
    learnt: VecDeque<Zeroizing<String>>,
    used: VecDeque<Zeroizing<String>>,
}

/// Remembers a value that was used, so that it is found from now on.
pub(super) fn remember(value: &str) {
    remember_in([value].into_iter(), |known| (&mut known.used, MAX_USED));
}

/// Remembers values in the configuration, so that they are found from now on.
pub(super) fn remember_all<'a>(values: impl Iterator<Item = &'a str>) {
    remember_in(values, |known| (&mut known.learnt, MAX_LEARNT));
}

type Bounded<'k> = (&'k mut VecDeque<Zeroizing<String>>, (usize, usize));

fn remember_in<'a>(values: impl Iterator<Item = &'a str>, of: fn(&mut Known) -> Bounded<'_>) {
    let mut known = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut new = false;
    for value in values.flat_map(|value| [value, value.trim()]) {
        let mut all = known.learnt.iter().chain(&known.used);
        if value.len() >= MIN_SECRET_BYTES && !all.any(|known| known.as_str() == value) {
            of(&mut known).0.push_back(Zeroizing::new(value.to_owned()));
            new = true;
        }
    }
    if !new {
        return;
    }
    let (list, (most, most_bytes)) = of(&mut known);
    let mut bytes: usize = list.iter().map(|value| value.len()).sum();
    while list.len() > 1 && (list.len() > most || bytes > most_bytes) {
        bytes -= list.pop_front().map_or(0, |oldest| oldest.len());
    }
    // Published while the lock is held: later callers build on this.
    let finder = Finder::of(known.learnt.iter().chain(&known.used).map(|value| value.as_str()));
    *FINDER.write().unwrap_or_else(PoisonError::into_inner) = finder.map(Arc::new);
    ANY.store(true, Ordering::Release);
}

/// Redacts secrets in a text. Costs nothing while none is known.
pub fn redact(text: &str) -> Cow<'_, str> {
    match finder() {
        Some(finder) => finder.redact(text),
        None => Cow::Borrowed(text),
    }
}

/// The same for all texts of a value, including keys and numbers.
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
    /// Its patterns, sorted: to check whether a text ends with the beginning of one.
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
        // It can only fail because of its size, which `MAX_USED` and `MAX_LEARNT` limit.
        let mut builder = AhoCorasick::builder();
        let automaton = builder.kind(Some(AhoCorasickKind::ContiguousNFA)).build(&forms).ok()?;
        Some(Self { automaton, forms, longest })
    }

    /// Returns the ranges of secrets; overlapping ones are merged. `run`: number of base64 characters before the text.
    fn find(&self, text: &str, run: usize) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        // They are ordered by their ends.
        for found in self.automaton.find_overlapping_iter(text) {
            let mut start = found.start();
            while let Some(last) = spans.pop_if(|last| last.end > start) {
                start = start.min(last.start);
            }
            spans.push(start..found.end());
        }
        match wrapped::join(text, run, false) {
            Some(joined) => self.with_broken(spans, &joined),
            None => spans,
        }
    }

    /// Returns these, and secrets that contain line breaks.
    fn with_broken(&self, mut spans: Vec<Range<usize>>, joined: &wrapped::Joined) -> Vec<Range<usize>> {
        let before = spans.len();
        for found in self.automaton.find_overlapping_iter(&joined.bytes) {
            let (start, end) = (joined.at[found.start()], joined.at[found.end() - 1] + 1);
            if end - start > found.len() {
                spans.push(start..end);
            }
        }
        if spans.len() == before {
            return spans;
        }
        spans.sort_by_key(|span| (span.start, span.end));
        let mut merged: Vec<Range<usize>> = Vec::new();
        for span in spans {
            match merged.last_mut() {
                Some(last) if last.end > span.start => last.end = last.end.max(span.end),
                _ => merged.push(span),
            }
        }
        merged
    }

    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let spans = self.find(text, 0);
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

    /// Returns the position from which the text may be an incomplete secret; its length if there is none.
    fn open_end(&self, text: &str, run: usize) -> usize {
        let whole = self.open_end_of(text);
        let Some(joined) = wrapped::join(text, run, true) else { return whole };
        let first = joined.bytes.len().saturating_sub(self.longest.saturating_sub(1));
        let begins = |at: &usize| {
            let tail = &joined.bytes[*at..];
            let next = self.forms.partition_point(|form| form.as_bytes() <= tail);
            self.forms.get(next).is_some_and(|form| form.as_bytes().starts_with(tail))
        };
        let broken = (first..joined.bytes.len()).find(begins).map(|at| joined.at[at]);
        broken.map_or(whole, |at| whole.min(text.floor_char_boundary(at)))
    }

    /// The same, for secrets without line breaks.
    fn open_end_of(&self, text: &str) -> usize {
        let from = text.ceil_char_boundary(text.len().saturating_sub(self.longest.saturating_sub(1)));
        // Patterns that continue `tail` are sorted directly after it.
        let begins = |at: &usize| {
            let tail = &text[*at..];
            let next = self.forms.partition_point(|form| form.as_str() <= tail);
            self.forms.get(next).is_some_and(|form| form.starts_with(tail))
        };
        text[from..].char_indices().map(|(at, _)| from + at).find(begins).unwrap_or(text.len())
    }
}

/// Redacts secrets in a stream, including those that are split over several chunks. Only holds back what may be the beginning
/// of one.
#[derive(Default)]
pub struct Redactor {
    held: String,
    /// Number of base64 characters that were output directly before what is held.
    run: usize,
    /// Bytes of what is held that belong to a secret for which [`REDACTED`] was output already.
    told: usize,
}

impl Redactor {
    /// Creates a redactor for a new stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chunk. Returns what is known to be clean and was not returned yet.
    pub fn push(&mut self, chunk: &str) -> String {
        match finder() {
            Some(finder) => self.push_for(&finder, chunk),
            None => std::mem::take(&mut self.held) + chunk,
        }
    }

    fn push_for(&mut self, finder: &Finder, chunk: &str) -> String {
        self.held.push_str(chunk);
        let end = finder.open_end(&self.held, self.run);
        self.give(finder, end)
    }

    /// Ends the stream. Returns the rest.
    pub fn finish(mut self) -> String {
        match finder() {
            Some(finder) => {
                let end = self.held.len();
                self.give(&finder, end)
            }
            None => std::mem::take(&mut self.held),
        }
    }

    /// Outputs what is held up to `end`. No incomplete secret begins before it.
    fn give(&mut self, finder: &Finder, end: usize) -> String {
        let mut out = String::new();
        let mut at = self.told.min(end);
        let mut told = self.told;
        for span in finder.find(&self.held, self.run) {
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
        self.run = wrapped::run_at_end(&self.held[..end], self.run);
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
