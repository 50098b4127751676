//! Pins: what a tool of a server said of itself when it was first seen. A tool that says something
//! else later is off until a person trusts it again. In memory; who keeps them is told of each change.
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Whether a tool is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinState {
    /// Seen for the first time, and pinned.
    New,
    /// As it was pinned.
    Same,
    /// Not as it was pinned: it is off until a person trusts it.
    Changed,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Name of the `[mcp.…]` table.
    pub server: String,
    /// The tool, as the server names it.
    pub tool: String,
    /// Over all that decides what it does and when a model calls it.
    pub hash: String,
}

/// What happened to a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinEvent {
    /// The tool was seen for the first time; to be kept.
    Pinned,
    /// The tool is not what was pinned; the pin stays as it is. `mcp_pin_changed`.
    Differs,
    /// A person trusts what it is now; to be kept.
    Trusted,
}

/// A change that whoever keeps the pins must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinChange {
    /// What happened.
    pub event: PinEvent,
    /// Name of the `[mcp.…]` table.
    pub server: String,
    /// The tool, as the server names it.
    pub tool: String,
    /// What is or was pinned.
    pub old: Option<String>,
    /// What the tool is now.
    pub new: String,
}

/// Most pins of one server.
const MOST: usize = 4096;

type Key = (String, String);

/// All pins.
#[derive(Default)]
pub struct Pins {
    all: Mutex<All>,
    changes: Option<mpsc::UnboundedSender<PinChange>>,
}

#[derive(Default)]
struct All {
    pinned: BTreeMap<Key, String>,
    /// As they were seen last: what `trust` accepts, and nothing that nobody could look at.
    seen: BTreeMap<Key, String>,
    /// The difference that was told last.
    told: BTreeMap<Key, String>,
}

impl Pins {
    /// These pins, and what tells of changes. A difference is told once, not with each look at it.
    pub fn load(pins: impl IntoIterator<Item = Pin>) -> (Arc<Self>, mpsc::UnboundedReceiver<PinChange>) {
        let (changes, told) = mpsc::unbounded_channel();
        let pinned = pins.into_iter().map(|pin| ((pin.server, pin.tool), pin.hash)).collect();
        let all = Mutex::new(All { pinned, ..All::default() });
        (Arc::new(Self { all, changes: Some(changes) }), told)
    }

    /// What is pinned for a tool.
    pub fn get(&self, server: &str, tool: &str) -> Option<String> {
        self.lock().pinned.get(&(server.to_owned(), tool.to_owned())).cloned()
    }

    /// Pins a tool. Nobody is told.
    pub fn set(&self, pin: Pin) {
        self.lock().pinned.insert((pin.server, pin.tool), pin.hash);
    }

    /// All of them, sorted.
    pub fn all(&self) -> Vec<Pin> {
        let pin = |((server, tool), hash): (&Key, &String)| Pin {
            server: server.clone(),
            tool: tool.clone(),
            hash: hash.clone(),
        };
        self.lock().pinned.iter().map(pin).collect()
    }

    /// Accepts the tools of a server as they were seen last. Gives what that changed; `None`: they were
    /// not seen yet, so that there is nothing that a person could have looked at.
    pub fn trust(&self, server: &str) -> Option<Vec<PinChange>> {
        let mut all = self.lock();
        let seen: Vec<(Key, String)> = all
            .seen
            .iter()
            .filter(|((of, _), _)| of == server)
            .map(|(key, hash)| (key.clone(), hash.clone()))
            .collect();
        if seen.is_empty() {
            return None;
        }
        let mut changes = Vec::new();
        for (key, new) in seen {
            let old = all.pinned.insert(key.clone(), new.clone());
            all.told.remove(&key);
            if old.as_ref() != Some(&new) {
                changes.push(self.tell(PinEvent::Trusted, key, old, new));
            }
        }
        Some(changes)
    }

    /// Looks at a tool, and pins it if it is new.
    pub(super) fn look(&self, server: &str, tool: &str, hash: &str) -> PinState {
        let key = (server.to_owned(), tool.to_owned());
        let mut all = self.lock();
        let pinned = all.pinned.get(&key).cloned();
        // A server that invents names without end fills neither our memory nor our disk.
        if pinned.is_none() && all.pinned.keys().filter(|(of, _)| of == server).count() >= MOST {
            return PinState::Changed;
        }
        all.seen.insert(key.clone(), hash.to_owned());
        match pinned {
            None => {
                all.pinned.insert(key.clone(), hash.to_owned());
                self.tell(PinEvent::Pinned, key, None, hash.to_owned());
                PinState::New
            }
            Some(pinned) if pinned == hash => PinState::Same,
            Some(pinned) => {
                if all.told.insert(key.clone(), hash.to_owned()).as_deref() != Some(hash) {
                    self.tell(PinEvent::Differs, key, Some(pinned), hash.to_owned());
                }
                PinState::Changed
            }
        }
    }

    fn tell(&self, event: PinEvent, (server, tool): Key, old: Option<String>, new: String) -> PinChange {
        let change = PinChange { event, server, tool, old, new };
        if let Some(changes) = &self.changes {
            // Nobody listens any more when the daemon ends.
            let _ = changes.send(change.clone());
        }
        change
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().expect("no holder panics")
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins").field("pinned", &self.lock().pinned.len()).finish_non_exhaustive()
    }
}

/// SHA-256 of what a tool says of itself, in hex. Its hints are a part of it: our rules about
/// repeating and offering a call rest on them.
pub(super) fn hash(name: &str, description: Option<&str>, schema: &Value, hints: &Value) -> String {
    let all = json!({"name": name, "description": description, "schema": schema, "hints": hints});
    let mut text = String::new();
    canonical(&all, &mut text);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON with sorted keys and no spaces.
fn canonical(value: &Value, into: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            into.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                into.push_str(&Value::from(key.as_str()).to_string());
                into.push(':');
                canonical(value, into);
            }
            into.push('}');
        }
        Value::Array(list) => {
            into.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                canonical(value, into);
            }
            into.push(']');
        }
        other => into.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of pins.
    use super::*;

    #[test]
    fn a_tool_is_pinned_when_seen_and_refused_when_changed() {
        let known = Pin { server: "s".into(), tool: "old".into(), hash: "1".into() };
        let (pins, mut told) = Pins::load([known]);
        assert_eq!(pins.trust("s"), None);
        assert_eq!(pins.look("s", "old", "1"), PinState::Same);
        assert_eq!(pins.look("s", "new", "7"), PinState::New);
        assert_eq!(pins.look("s", "new", "7"), PinState::Same);
        for _ in 0..3 {
            assert_eq!(pins.look("s", "old", "2"), PinState::Changed);
        }
        assert_eq!(pins.get("s", "old").as_deref(), Some("1"));
        assert_eq!(pins.look("other", "old", "2"), PinState::New);
        let trusted = pins.trust("s").unwrap();
        assert_eq!(trusted.len(), 1);
        assert_eq!(pins.look("s", "old", "2"), PinState::Same);
        assert_eq!(pins.look("s", "old", "1"), PinState::Changed);
        let mut events = Vec::new();
        while let Ok(change) = told.try_recv() {
            events.push((change.event, change.tool, change.old, change.new));
        }
        let of = |event, tool: &str, old: Option<&str>, new: &str| {
            (event, tool.to_owned(), old.map(str::to_owned), new.to_owned())
        };
        assert_eq!(
            events,
            [
                of(PinEvent::Pinned, "new", None, "7"),
                of(PinEvent::Differs, "old", Some("1"), "2"),
                of(PinEvent::Pinned, "old", None, "2"),
                of(PinEvent::Trusted, "old", Some("1"), "2"),
                of(PinEvent::Differs, "old", Some("2"), "1"),
            ]
        );
        assert_eq!(pins.all().len(), 3);
    }

    /// A server that invents names fills nothing.
    #[test]
    fn what_is_not_pinned_is_not_kept() {
        let known = |name: usize| Pin { server: "s".into(), tool: name.to_string(), hash: "1".into() };
        let (pins, _told) = Pins::load((0..MOST - 1).map(known));
        assert_eq!(pins.look("s", "the last", "1"), PinState::New);
        for name in MOST..MOST + 50 {
            assert_eq!(pins.look("s", &name.to_string(), "1"), PinState::Changed);
        }
        assert_eq!(pins.lock().pinned.len(), MOST);
        assert_eq!(pins.lock().seen.len(), 1);
        assert_eq!(pins.look("s", "7", "1"), PinState::Same);
        assert_eq!(pins.look("other", "a", "1"), PinState::New);
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
