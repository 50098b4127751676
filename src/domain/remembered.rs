//! Agent memory in Redis: changes that may arrive late, twice, and in a different order, from several fleets, and
//! always lead to the same memory.
use super::chat::ChatMessage;
use super::excerpt::{LengthUnit, shortened};
use super::ids::{AgentId, RunId};
use super::talk::{Note, SessionRow};
use super::time::{timestamp_of_micros, to_micros};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Number of newest runs of a session that are kept in Redis.
pub const MAX_RUNS_KEPT: usize = 200;
/// Maximum length of one text, in bytes; longer texts are cut. A model is given no more of it.
const MAX_TEXT_BYTES: usize = 48 << 10;

/// Key of a memory without the configured prefix: `session:NAME` or `notes:AGENT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryPlace(pub String);

impl MemoryPlace {
    /// Returns the place of a session.
    pub fn session(session: &str) -> Self {
        Self(format!("session:{session}"))
    }

    /// Returns the place of an agent's notes.
    pub fn notes(agent: &AgentId) -> Self {
        Self(format!("notes:{agent}"))
    }

    /// Returns whether it is a session.
    pub fn is_session(&self) -> bool {
        self.0.starts_with("session:")
    }
}

/// A change to one place. Of two conflicting changes the later one wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum MemoryPlaceChange {
    /// A run completed with this question and answer.
    Said(StoredMessages),
    /// A note was set to this text; an empty text deletes it.
    Noted(StoredNote),
    /// Everything before this time was cleared.
    Forgotten {
        /// Microseconds since 1970.
        at: i64,
    },
}

/// The messages of one run, as stored in a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredMessages {
    /// Microseconds since 1970.
    pub at: i64,
    pub run: RunId,
    /// The run had read data from outside.
    pub untrusted: bool,
    /// Its question and its answer.
    pub messages: Vec<ChatMessage>,
}

/// A note as stored in Redis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredNote {
    /// Microseconds since 1970.
    pub at: i64,
    pub key: String,
    /// Written by a run that had read data from outside.
    pub untrusted: bool,
    /// Its text; empty: the note was deleted.
    pub text: String,
}

impl MemoryPlaceChange {
    /// Returns the change for the messages of a run, with overlong texts cut.
    pub fn said(at: Timestamp, run: RunId, untrusted: bool, messages: &[ChatMessage]) -> Self {
        let mut messages = messages.to_vec();
        for message in &mut messages {
            let text = match message {
                ChatMessage::User { text } => text,
                ChatMessage::Model(turn) => {
                    // only of use to the model that wrote it
                    (turn.thought, turn.opaque) = (None, serde_json::Value::Null);
                    &mut turn.text
                }
                ChatMessage::Tools { .. } => continue,
            };
            *text = shortened(text, LengthUnit::Bytes, MAX_TEXT_BYTES).into_owned();
        }
        Self::Said(StoredMessages { at: to_micros(at), run, untrusted, messages })
    }

    /// Returns its time, in microseconds since 1970.
    pub fn at(&self) -> i64 {
        match self {
            Self::Said(said) => said.at,
            Self::Noted(note) => note.at,
            Self::Forgotten { at } => *at,
        }
    }
}

/// The content of one place, with pending changes applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryPlaceContent {
    said: Vec<StoredMessages>,
    notes: Vec<StoredNote>,
    forgotten: Option<i64>,
}

impl MemoryPlaceContent {
    /// Applies a change. One that was applied already, or is older than a conflicting one, has no effect.
    pub fn make(&mut self, change: MemoryPlaceChange) {
        if let MemoryPlaceChange::Forgotten { at } = change {
            self.forgotten = self.forgotten.max(Some(at));
            self.said.retain(|said| said.at > at);
            self.notes.retain(|note| note.at > at);
            return;
        }
        if self.forgotten.is_some_and(|forgotten| change.at() <= forgotten) {
            return;
        }
        match change {
            MemoryPlaceChange::Said(said) if self.said.iter().all(|one| one.run != said.run) => {
                self.said.push(said)
            }
            MemoryPlaceChange::Noted(note) => self.note(note),
            MemoryPlaceChange::Said(_) | MemoryPlaceChange::Forgotten { .. } => {}
        }
    }

    fn note(&mut self, note: StoredNote) {
        let same = |one: &StoredNote| one.key == note.key && one.untrusted == note.untrusted;
        match self.notes.iter_mut().find(|one| same(one)) {
            Some(one) if one.at <= note.at => *one = note,
            Some(_) => {}
            None => self.notes.push(note),
        }
    }

    /// Returns the newest messages of the session, oldest first.
    pub fn session(mut self, most: usize) -> Vec<SessionRow> {
        self.said.sort_by_key(|said| said.at);
        let rows = self.said.into_iter().flat_map(|said| {
            let StoredMessages { at, untrusted, messages, .. } = said;
            let at = timestamp_of_micros(at);
            messages.into_iter().map(move |message| SessionRow { at, message, untrusted })
        });
        let mut rows: Vec<SessionRow> = rows.collect();
        rows.drain(..rows.len().saturating_sub(most));
        rows
    }

    /// Returns the notes, by key. A note of a run that had read data from outside replaces no trusted note; a
    /// trusted one replaces both.
    pub fn notes(mut self) -> Vec<Note> {
        self.notes.sort_by(|a, b| (&a.key, a.untrusted).cmp(&(&b.key, b.untrusted)));
        let overtaken: Vec<(String, i64)> = self
            .notes
            .iter()
            .filter(|note| !note.untrusted)
            .map(|note| (note.key.clone(), note.at))
            .collect();
        let is_overtaken = |note: &StoredNote| {
            note.untrusted && overtaken.iter().any(|(key, at)| *key == note.key && *at >= note.at)
        };
        let kept = self.notes.into_iter().filter(|note| !note.text.is_empty() && !is_overtaken(note));
        kept.map(|StoredNote { at, key, untrusted, text }| Note {
            key,
            text,
            at: timestamp_of_micros(at),
            untrusted,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(number: u8) -> RunId {
        RunId::from_bytes([number; 16])
    }

    fn said(at: i64, number: u8) -> MemoryPlaceChange {
        let messages = vec![ChatMessage::User { text: format!("question {number}") }];
        MemoryPlaceChange::Said(StoredMessages { at, run: run(number), untrusted: false, messages })
    }

    fn noted(at: i64, key: &str, text: &str, untrusted: bool) -> MemoryPlaceChange {
        MemoryPlaceChange::Noted(StoredNote { at, key: key.into(), untrusted, text: text.into() })
    }

    fn after(changes: impl IntoIterator<Item = MemoryPlaceChange>) -> MemoryPlaceContent {
        let mut content = MemoryPlaceContent::default();
        changes.into_iter().for_each(|change| content.make(change));
        content
    }

    #[test]
    fn what_was_said_comes_once_and_in_order() {
        let rows = after([said(3, 3), said(1, 1), said(3, 3), said(2, 2)]).session(2);
        let texts: Vec<_> = rows.iter().map(|row| format!("{:?}", row.message)).collect();
        assert!(texts.len() == 2 && texts[0].contains("question 2") && texts[1].contains("question 3"));
    }

    #[test]
    fn what_comes_from_outside_takes_no_other_place() {
        let texts = |changes: Vec<MemoryPlaceChange>| -> Vec<String> {
            after(changes).notes().into_iter().map(|note| note.text).collect()
        };
        let (own, theirs) = (noted(1, "k", "own", false), noted(2, "k", "theirs", true));
        assert_eq!(texts(vec![own.clone(), theirs.clone()]), ["own", "theirs"]);
        assert_eq!(texts(vec![own.clone(), theirs.clone(), noted(3, "k", "", true)]), ["own"]);
        assert_eq!(texts(vec![own, theirs.clone(), noted(3, "k", "new", false)]), ["new"]);
        assert_eq!(texts(vec![theirs, noted(3, "k", "", false)]), [""; 0]);
    }

    #[test]
    fn a_long_answer_is_cut() {
        let long = ChatMessage::User { text: "ä".repeat(MAX_TEXT_BYTES) };
        let MemoryPlaceChange::Said(said) =
            MemoryPlaceChange::said(Timestamp::UNIX_EPOCH, run(1), false, &[long])
        else {
            unreachable!("it was said")
        };
        assert!(serde_json::to_string(&said.messages).unwrap().len() < MAX_TEXT_BYTES + 100);
    }

    fn change() -> impl Strategy<Value = MemoryPlaceChange> {
        prop_oneof![
            // a run ends once
            (0u8..20).prop_map(|number| said(i64::from(number) * 3, number)),
            (0i64..60, "[ab]", "[xy]?", any::<bool>()).prop_map(|(at, key, text, untrusted)| noted(
                4 * at,
                &key,
                &format!("{text}{at}"),
                untrusted
            )),
            (0i64..60).prop_map(|at| MemoryPlaceChange::Forgotten { at }),
        ]
    }

    proptest! {
        #[test]
        fn order_and_repetition_change_nothing(
            changes in prop::collection::vec(change(), 0..30),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            seed in any::<u64>(),
        ) {
            // two notes of one key and one moment are not told apart: the clock of a fleet does not stand still
            let mut seen = std::collections::HashSet::new();
            let changes: Vec<_> = changes
                .into_iter()
                .filter(|change| match change {
                    MemoryPlaceChange::Noted(note) => seen.insert((note.key.clone(), note.untrusted, note.at)),
                    _ => true,
                })
                .collect();
            let mut other = changes.clone();
            if !changes.is_empty() {
                other.extend(again.iter().map(|index| index.get(&changes).clone()));
            }
            fastrand::Rng::with_seed(seed).shuffle(&mut other);
            let (one, other) = (after(changes), after(other));
            prop_assert_eq!(one.clone().notes(), other.clone().notes());
            prop_assert_eq!(one.session(1000), other.session(1000));
        }
    }
}
