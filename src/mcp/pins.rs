//! Pins: a tool's self-description at the time a person trusted it. A tool that nobody has trusted is disabled, and so is one
//! whose description changes later. Kept in memory; each change is sent to the owner of the records.
use super::about::{About, Difference, differences};
use crate::domain::Fact;
use crate::mcp::text::{canonical, plain_name};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// Whether a tool matches its pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinState {
    /// Nobody has trusted it yet: it is disabled until a person does.
    New,
    Same,
    /// It differs from its pin: it is disabled until a person trusts it.
    Changed,
}

/// The pin of a tool or event type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Name of the `[mcp.…]` table.
    pub server: String,
    /// The tool, as the server names it.
    pub tool: String,
    /// Hash of everything that decides what it does and when a model calls it.
    pub hash: String,
    /// The hashed content. `None`: only the hash is kept.
    pub about: Option<Arc<About>>,
}

/// What happened to a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinEvent {
    /// The tool matches its pin, and its description is known now; to be recorded.
    Pinned,
    /// The tool differs from its pin, which is kept. `mcp_pin_changed`.
    Differs,
    /// A person trusts its current state; to be recorded.
    Trusted,
}

/// A change to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinChange {
    pub event: PinEvent,
    /// Name of the `[mcp.…]` table.
    pub server: String,
    /// The tool, as the server names it.
    pub tool: String,
    /// The current or previous hash of the pin.
    pub old: Option<String>,
    /// The tool's current hash.
    pub new: String,
    /// The description of what is pinned after the change, if known.
    pub trusted: Option<Arc<About>>,
    /// What a person accepts by trusting it.
    pub changed: Vec<Difference>,
}

/// Changes that are recorded together, in order.
#[derive(Debug)]
pub struct PinNews {
    pub changes: Vec<PinChange>,
    /// Set if a caller waits for them to be recorded.
    pub keeping: Option<Keeping>,
}

/// A caller that waits for changes of pins to be recorded.
#[derive(Debug)]
pub struct Keeping {
    /// A fact to be recorded with them.
    pub with: Option<Fact>,
    /// Notified when they are recorded; dropped if that fails.
    pub kept: oneshot::Sender<()>,
}

/// Maximum untrusted tools of one server that are remembered.
const MAX_UNTRUSTED: usize = 4096;
/// Maximum bytes of descriptions that are kept for the tools of one server.
const MAX_DESCRIPTION_BYTES: usize = 4 << 20;

type Key = (String, String);

/// Prefix of event types among the names of pinned tools.
pub(super) const OF_EVENT: &str = "events/poll ";

/// Returns the name that is shown to a person: `github/search`, `github event issue.opened`.
fn shown_name(server: &str, tool: &str) -> String {
    match tool.strip_prefix(OF_EVENT) {
        Some(event) => event_name(server, event),
        None => format!("{server}/{}", plain_name(tool)),
    }
}

/// Returns the name of an event type that is shown to a person.
pub(super) fn event_name(server: &str, event: &str) -> String {
    format!("{server} event {event}")
}

/// Why the tools of a server were not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// They have not been seen yet, so a person can't have reviewed them.
    NotSeen,
    /// These are not, or no longer, what a person was shown.
    Others(Vec<String>),
}

/// The pins of all servers.
#[derive(Default)]
pub struct Pins {
    all: Mutex<All>,
    changes: Option<mpsc::UnboundedSender<PinNews>>,
}

/// The state of a tool.
#[derive(Clone)]
struct Known {
    hash: String,
    about: Option<Arc<About>>,
}

#[derive(Default)]
struct All {
    pinned: BTreeMap<Key, Known>,
    /// As last seen: `trust` only accepts what a person could have reviewed.
    seen: BTreeMap<Key, Known>,
    /// The difference that was reported last.
    reported: BTreeMap<Key, String>,
}

impl All {
    /// Returns the description if there is room to keep it.
    fn kept(&self, server: &str, about: &Arc<About>) -> Option<Arc<About>> {
        let known = self.pinned.iter().chain(&self.seen).filter(|((of, _), _)| of == server);
        let bytes: usize =
            known.filter_map(|(_, known)| known.about.as_ref()).map(|about| about.size()).sum();
        (bytes + about.size() <= MAX_DESCRIPTION_BYTES).then(|| about.clone())
    }
}

impl Pins {
    /// Creates pins, and the receiver of their changes. A difference is reported once, not with each check.
    pub fn load(pins: impl IntoIterator<Item = Pin>) -> (Arc<Self>, mpsc::UnboundedReceiver<PinNews>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let known = |pin: Pin| ((pin.server, pin.tool), Known { hash: pin.hash, about: pin.about });
        let pinned = pins.into_iter().map(known).collect();
        let all = Mutex::new(All { pinned, ..All::default() });
        (Arc::new(Self { all, changes: Some(changes) }), receiver)
    }

    /// Returns the pinned hash of a tool.
    pub fn get(&self, server: &str, tool: &str) -> Option<String> {
        let key = (server.to_owned(), tool.to_owned());
        self.lock().pinned.get(&key).map(|known| known.hash.clone())
    }

    /// Returns the pinned description of a tool, if it is kept.
    pub(super) fn about(&self, server: &str, tool: &str) -> Option<Arc<About>> {
        let key = (server.to_owned(), tool.to_owned());
        self.lock().pinned.get(&key).and_then(|known| known.about.clone())
    }

    /// Pins a tool, without sending a change.
    pub fn set(&self, pin: Pin) {
        let known = Known { hash: pin.hash, about: pin.about };
        self.lock().pinned.insert((pin.server, pin.tool), known);
    }

    /// Returns all of them, sorted.
    pub fn all(&self) -> Vec<Pin> {
        let pin = |((server, tool), known): (&Key, &Known)| Pin {
            server: server.clone(),
            tool: tool.clone(),
            hash: known.hash.clone(),
            about: known.about.clone(),
        };
        self.lock().pinned.iter().map(pin).collect()
    }

    /// Returns whether any tool of this server is trusted.
    pub fn trusts(&self, server: &str) -> bool {
        self.lock().pinned.keys().any(|(of, _)| of == server)
    }

    /// Trusts the tools of a server as last seen: those that were `shown` to a person, by their name in tool lists with their
    /// hash, or else all. Returns the changes.
    pub fn trust(
        &self,
        server: &str,
        shown: Option<&BTreeMap<String, String>>,
    ) -> Result<Vec<PinChange>, Untrusted> {
        self.trust_and(server, shown, |_| None)
    }

    /// The same, for callers that wait until it is recorded.
    pub fn trust_and(
        &self,
        server: &str,
        shown: Option<&BTreeMap<String, String>>,
        keeping: impl FnOnce(&[PinChange]) -> Option<Keeping>,
    ) -> Result<Vec<PinChange>, Untrusted> {
        let mut all = self.lock();
        let of_server = all.seen.iter().filter(|((of, _), _)| of == server);
        let mut seen: Vec<(Key, Known)> =
            of_server.map(|(key, known)| (key.clone(), known.clone())).collect();
        if seen.is_empty() {
            return Err(Untrusted::NotSeen);
        }
        if let Some(shown) = shown {
            let hash_of = |key: &Key| shown.get(&shown_name(server, &key.1));
            let as_shown = |name: &&String, hash: &String| {
                let same =
                    |(key, known): &(Key, Known)| **name == shown_name(server, &key.1) && known.hash == *hash;
                seen.iter().any(same)
            };
            let others: Vec<String> = shown
                .iter()
                .filter(|(name, hash)| !as_shown(name, hash))
                .map(|(name, _)| name.clone())
                .collect();
            if !others.is_empty() {
                return Err(Untrusted::Others(others));
            }
            seen.retain(|(key, known)| hash_of(key) == Some(&known.hash));
        }
        let mut changes = Vec::new();
        for (key, new) in seen {
            let old = all.pinned.insert(key.clone(), new.clone());
            all.reported.remove(&key);
            if old.as_ref().map(|old| &old.hash) != Some(&new.hash) {
                let words = |known: &Known| known.about.clone();
                let (before, now) = (old.as_ref().and_then(words), new.about.clone());
                let changed = match old {
                    Some(_) => differences(before.as_deref(), now.as_deref()),
                    None => Vec::new(),
                };
                let (old, new) = (old.map(|old| old.hash), new.hash);
                changes.push(change(PinEvent::Trusted, key, (old, new), now, changed));
            }
        }
        // sent under the lock, so that the order is right
        self.tell(PinNews { changes: changes.clone(), keeping: keeping(&changes) });
        Ok(changes)
    }

    /// Compares a tool with its pin.
    pub(super) fn look(&self, server: &str, tool: &str, hash: &str, about: &Arc<About>) -> PinState {
        let key = (server.to_owned(), tool.to_owned());
        let mut all = self.lock();
        let pinned = all.pinned.get(&key).cloned();
        // Bounds the memory for a server that invents names: its earlier untrusted ones are evicted.
        if pinned.is_none() && !all.seen.contains_key(&key) {
            let All { pinned, seen, .. } = &mut *all;
            if seen.keys().filter(|(of, _)| of == server).count() >= MAX_UNTRUSTED {
                seen.retain(|key, _| key.0 != server || pinned.contains_key(key));
            }
        }
        let known = match (all.seen.get(&key), &pinned) {
            (Some(seen), _) if seen.hash == hash && seen.about.is_some() => seen.clone(),
            (_, Some(pinned)) if pinned.hash == hash && pinned.about.is_some() => pinned.clone(),
            _ => {
                // frees the space of what was seen before
                all.seen.remove(&key);
                Known { hash: hash.to_owned(), about: all.kept(server, about) }
            }
        };
        all.seen.insert(key.clone(), known.clone());
        let words = known.about.clone();
        match pinned {
            None => PinState::New,
            Some(pinned) if pinned.hash == hash => {
                if pinned.about.is_none() && words.is_some() {
                    all.pinned.insert(key.clone(), known);
                    let hashes = (Some(pinned.hash), hash.to_owned());
                    let pinned = change(PinEvent::Pinned, key, hashes, words, Vec::new());
                    self.tell(PinNews { changes: vec![pinned], keeping: None });
                }
                PinState::Same
            }
            Some(pinned) => {
                if all.reported.insert(key.clone(), hash.to_owned()).as_deref() != Some(hash) {
                    let changed = differences(pinned.about.as_deref(), Some(about));
                    let hashes = (Some(pinned.hash), hash.to_owned());
                    let differs = change(PinEvent::Differs, key, hashes, pinned.about, changed);
                    self.tell(PinNews { changes: vec![differs], keeping: None });
                }
                PinState::Changed
            }
        }
    }

    fn tell(&self, news: PinNews) {
        if let Some(changes) = &self.changes {
            // The receiver is gone when the daemon shuts down.
            let _ = changes.send(news);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().expect("no holder panics")
    }
}

fn change(
    event: PinEvent,
    (server, tool): Key,
    (old, new): (Option<String>, String),
    trusted: Option<Arc<About>>,
    changed: Vec<Difference>,
) -> PinChange {
    PinChange { event, server, tool, old, new, trusted, changed }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins").field("pinned", &self.lock().pinned.len()).finish_non_exhaustive()
    }
}

/// Returns the SHA-256 of a tool's self-description, in hex. Hints are included: the rules for repeating and offering calls
/// depend on them.
pub(super) fn hash(name: &str, description: Option<&str>, schema: &Value, hints: &Value) -> String {
    let all = json!({"name": name, "description": description, "schema": schema, "hints": hints});
    let mut text = String::new();
    canonical(&all, &mut text);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    //! Tests of pins.
    use super::*;

    fn words(text: &str) -> Arc<About> {
        Arc::new(About::of(text, &json!({}), &json!({})))
    }

    fn look(pins: &Pins, server: &str, tool: &str, hash: &str) -> PinState {
        pins.look(server, tool, hash, &words(hash))
    }

    #[test]
    fn a_tool_is_off_until_it_is_trusted_and_when_it_changed() {
        let known = Pin { server: "s".into(), tool: "old".into(), hash: "1".into(), about: Some(words("1")) };
        let (pins, mut told) = Pins::load([known]);
        assert_eq!(pins.trust("s", None), Err(Untrusted::NotSeen));
        assert_eq!(look(&pins, "s", "old", "1"), PinState::Same);
        for _ in 0..2 {
            assert_eq!(look(&pins, "s", "new", "7"), PinState::New, "being seen trusts nothing");
        }
        for _ in 0..3 {
            assert_eq!(look(&pins, "s", "old", "2"), PinState::Changed);
        }
        assert_eq!(pins.get("s", "old").as_deref(), Some("1"));
        assert_eq!(look(&pins, "other", "old", "2"), PinState::New);
        assert_eq!((pins.trusts("s"), pins.trusts("other")), (true, false));
        // what a person was shown, and nothing that came since
        let shown = |tools: &[(&str, &str)]| -> BTreeMap<String, String> {
            tools.iter().map(|(tool, hash)| (format!("s/{tool}"), (*hash).to_owned())).collect()
        };
        for other in [("new", "6"), ("none", "7")] {
            let refused = pins.trust("s", Some(&shown(&[("old", "2"), other])));
            assert_eq!(refused, Err(Untrusted::Others(vec![format!("s/{}", other.0)])));
        }
        assert_eq!(look(&pins, "s", "old", "2"), PinState::Changed);
        let trusted = pins.trust("s", Some(&shown(&[("old", "2")]))).unwrap();
        assert_eq!(trusted.len(), 1);
        let difference = Difference { part: "description", old: Some("1".into()), new: "2".into() };
        assert_eq!(trusted[0].changed, [difference]);
        assert_eq!(look(&pins, "s", "new", "7"), PinState::New);
        let trusted = pins.trust("s", None).unwrap();
        assert_eq!((trusted[0].tool.as_str(), trusted.len(), trusted[0].changed.len()), ("new", 1, 0));
        assert_eq!(look(&pins, "s", "new", "7"), PinState::Same);
        assert_eq!(look(&pins, "s", "old", "2"), PinState::Same);
        assert_eq!(look(&pins, "s", "old", "1"), PinState::Changed);
        let mut events = Vec::new();
        while let Ok(news) = told.try_recv() {
            events.extend(news.changes.into_iter().map(|one| (one.event, one.tool, one.old, one.new)));
        }
        let of = |event, tool: &str, old: Option<&str>, new: &str| {
            (event, tool.to_owned(), old.map(str::to_owned), new.to_owned())
        };
        assert_eq!(
            events,
            [
                of(PinEvent::Differs, "old", Some("1"), "2"),
                of(PinEvent::Trusted, "old", Some("1"), "2"),
                of(PinEvent::Trusted, "new", None, "7"),
                of(PinEvent::Differs, "old", Some("2"), "1"),
            ]
        );
        assert_eq!(pins.all().len(), 2);
    }

    /// A server that invents names fills nothing.
    #[test]
    fn what_nobody_trusts_is_not_kept_without_end() {
        let known = Pin { server: "s".into(), tool: "old".into(), hash: "1".into(), about: Some(words("1")) };
        let (pins, _told) = Pins::load([known]);
        assert_eq!(look(&pins, "s", "old", "1"), PinState::Same);
        let seen = |name: usize| Known { hash: name.to_string(), about: None };
        let before = (1..MAX_UNTRUSTED).map(|name| (("s".to_owned(), name.to_string()), seen(name)));
        pins.lock().seen.extend(before);
        for name in MAX_UNTRUSTED..MAX_UNTRUSTED + 50 {
            assert_eq!(look(&pins, "s", &name.to_string(), "1"), PinState::New);
        }
        assert_eq!(pins.lock().pinned.len(), 1);
        assert_eq!(pins.lock().seen.len(), 51);
        assert_eq!(look(&pins, "s", "old", "1"), PinState::Same);
        assert_eq!(look(&pins, "other", "a", "1"), PinState::New);
        assert_eq!(pins.trust("s", None).unwrap().len(), 50, "what was seen last");
    }

    /// Pins of before have a hash only; a server that says much fills nothing.
    #[test]
    fn words_are_kept_as_soon_as_they_are_known_and_within_bounds() {
        let known = Pin { server: "s".into(), tool: "t".into(), hash: "1".into(), about: None };
        let (pins, mut told) = Pins::load([known]);
        assert_eq!(look(&pins, "s", "t", "2"), PinState::Changed);
        let unknown = told.try_recv().unwrap().changes.remove(0);
        assert_eq!((unknown.event, unknown.changed[0].old.as_deref()), (PinEvent::Differs, None));
        assert_eq!(look(&pins, "s", "t", "1"), PinState::Same);
        let change = told.try_recv().unwrap().changes.remove(0);
        assert_eq!((change.event, change.trusted), (PinEvent::Pinned, Some(words("1"))));
        assert_eq!(look(&pins, "s", "t", "1"), PinState::Same);
        assert!(told.try_recv().is_err(), "kept once");
        let long = "x".repeat(10_000);
        for name in 0..1000 {
            look(&pins, "s", &name.to_string(), &long);
        }
        pins.trust("s", None).unwrap();
        let kept: usize =
            pins.all().iter().filter_map(|pin| pin.about.as_ref()).map(|about| about.size()).sum();
        assert!((MAX_DESCRIPTION_BYTES - 20_000..=MAX_DESCRIPTION_BYTES).contains(&kept), "{kept}");
        assert_eq!(pins.all().len(), 1001, "the hashes are all there");
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_all_else_does() {
        let schema = json!({"type": "object", "properties": {"b": {}, "a": [1, 2]}});
        let same: Value =
            serde_json::from_str(r#"{"properties": {"a": [1, 2], "b": {}}, "type": "object"}"#).unwrap();
        let none = json!({});
        let one = hash("n", Some("d"), &schema, &none);
        assert_eq!(one, hash("n", Some("d"), &same, &none));
        assert_eq!(one.len(), 64);
        for other in [
            hash("m", Some("d"), &schema, &none),
            hash("n", Some("e"), &schema, &none),
            hash("n", None, &schema, &none),
            hash("n", Some("d"), &json!({"type": "object"}), &none),
            hash("n", Some("d"), &schema, &json!({"readOnlyHint": true})),
        ] {
            assert_ne!(one, other);
        }
    }
}
