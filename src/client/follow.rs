//! Follows events, across restarts of the daemon.
//!
//! Theory of operation: the *position* is the number of the last event that was handed out, with all before it. It
//! moves with each event and with `live`. A new connection subscribes to what follows the position, and events at or
//! before it are dropped: so nothing is missed and nothing is seen twice. Numbers of two databases can't be compared:
//! if the daemon's database is a copy of the one of the position, following continues after the newest event that both
//! share; with any other database it begins with its first event. Both are reported as notes.
use super::lines::Broken;
use super::{Address, ClientError, Connection, Timeouts};
use crate::domain::LoggedEvent;
use crate::protocol::{
    END_NOTIFICATION, EVENT_NOTIFICATION, GAP_NOTIFICATION, GapNote, LIVE_NOTIFICATION, NoParams, Ping,
    PositionNote, StreamAgentEvents, StreamParams,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

/// After this time without data, the daemon is pinged; if there is no answer within the same time again, the connection
/// counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// The position of a reader, to resume later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Identity of the database.
    pub database: String,
    /// Number of the newest event seen.
    pub seq: u64,
}

/// Delays between attempts to reconnect; doubled from `first` to `max`.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Before the first attempt.
    pub first: Duration,
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), max: Duration::from_secs(5) }
    }
}

/// The next item of a subscription.
#[derive(Debug)]
pub enum FollowItem {
    Event(StoredEvent),
    /// All past events have been handed out; from here on events are live.
    Live,
    /// Requested events were removed by retention.
    Gap {
        /// First removed event.
        from: u64,
        /// Last removed event.
        to: u64,
    },
    /// A change of the connection.
    Note(Note),
    /// The end: the subscription does not follow.
    End,
    /// The deadline has passed.
    Deadline,
}

/// A change of the connection, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The connection was lost; it is retried.
    Gone {
        /// Position, if known.
        last: Option<u64>,
    },
    /// Reconnected; missed events follow.
    Back,
    /// The database is a different one: the position is meaningless there, so following begins with its first event.
    OtherDatabase,
    /// The database is an older copy of the one that was followed.
    WentBack {
        /// Position in that database.
        last: u64,
        /// The newest event that both share; following continues after it.
        shared: u64,
    },
    /// The position is beyond the newest event.
    Ahead {
        /// The requested event.
        from: u64,
        /// The newest event.
        newest: u64,
        /// Following continues after this event.
        after: u64,
    },
}

/// An event with its stored text.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    pub seq: u64,
    /// The line of JSON that the daemon sent.
    pub text: String,
}

impl StoredEvent {
    /// Parses the event. Its type may be any string, and its payload any JSON: so events of a newer daemon are followed
    /// and shown, too. [`LoggedEvent::event`] converts one that this release knows.
    ///
    /// # Errors
    /// It is not an event.
    pub fn decode(&self) -> Result<LoggedEvent, serde_json::Error> {
        serde_json::from_str(&self.text)
    }
}

/// A subscription that survives its connection.
#[derive(Debug)]
pub struct Follow {
    address: Address,
    timeouts: Timeouts,
    backoff: Backoff,
    params: StreamParams,
    resume: Option<Resume>,
    database: Option<String>,
    position: Option<u64>,
    live: Option<Live>,
    delay: Option<Duration>,
    waiting: Vec<Note>,
}

#[derive(Debug)]
struct Live {
    connection: Connection,
    subscription: u64,
    heard: Instant,
    asked: bool,
}

impl Follow {
    /// Subscribes. With `resume`, continues after that position instead of where `params` say, if the database is the
    /// same.
    pub fn start(
        address: Address,
        timeouts: Timeouts,
        backoff: Backoff,
        params: StreamParams,
        resume: Option<Resume>,
    ) -> Result<Self, ClientError> {
        let mut follow = Self {
            address,
            timeouts,
            backoff,
            params,
            resume,
            database: None,
            position: None,
            live: None,
            delay: None,
            waiting: Vec::new(),
        };
        follow.subscribe()?;
        Ok(follow)
    }

    /// Returns the position, for [`Resume`].
    pub fn position(&self) -> Option<Resume> {
        Some(Resume { database: self.database.clone()?, seq: self.position? })
    }

    /// Returns whether the next event can be read without waiting.
    pub fn has_more(&self) -> bool {
        !self.waiting.is_empty() || self.live.as_ref().is_some_and(|live| live.connection.has_line())
    }

    /// Returns the next item; waits until `deadline`, or forever.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<FollowItem, ClientError> {
        loop {
            if !self.waiting.is_empty() {
                return Ok(FollowItem::Note(self.waiting.remove(0)));
            }
            let Some(live) = &mut self.live else {
                if !self.reconnect(deadline)? {
                    return Ok(FollowItem::Deadline);
                }
                continue;
            };
            let silence_end = live.heard + SILENCE_TIMEOUT;
            let wake = deadline.map_or(silence_end, |deadline| deadline.min(silence_end));
            match live.connection.lines().next(Some(wake)) {
                Ok(line) => {
                    live.heard = Instant::now();
                    live.asked = false;
                    if let Some(followed) = self.read(&line)? {
                        return Ok(followed);
                    }
                }
                Err(Broken::Late) if deadline.is_some_and(|at| at <= Instant::now()) => {
                    return Ok(FollowItem::Deadline);
                }
                Err(Broken::Late) if !live.asked => {
                    live.asked = true;
                    live.heard = Instant::now();
                    if live.connection.send::<Ping>(&NoParams {}).is_err() {
                        self.handle_loss()?;
                    }
                }
                Err(_) => self.handle_loss()?,
            }
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<FollowItem>, ClientError> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(default)]
            method: Option<String>,
            #[serde(borrow, default)]
            params: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct EventNotice<'a> {
            subscription: u64,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Numbered {
            seq: u64,
        }

        let Some(live) = &self.live else { return Ok(None) };
        let ours = live.subscription;
        let garbled = |error: serde_json::Error| live.connection.garbled(error, line);
        let wire: Wire<'_> = serde_json::from_slice(line).map_err(garbled)?;
        let (Some(method), Some(params)) = (wire.method, wire.params) else {
            // the answer to a ping
            return Ok(None);
        };
        match method.as_str() {
            EVENT_NOTIFICATION => {
                let notice: EventNotice<'_> = serde_json::from_str(params.get()).map_err(garbled)?;
                let event = notice.event.get();
                let Numbered { seq } = serde_json::from_str(event).map_err(garbled)?;
                if notice.subscription != ours || self.position.is_some_and(|position| seq <= position) {
                    return Ok(None);
                }
                self.position = Some(seq);
                Ok(Some(FollowItem::Event(StoredEvent { seq, text: event.to_owned() })))
            }
            GAP_NOTIFICATION => {
                let gap: GapNote = serde_json::from_str(params.get()).map_err(garbled)?;
                if gap.subscription != ours {
                    return Ok(None);
                }
                self.position = self.position.max(Some(gap.to));
                Ok(Some(FollowItem::Gap { from: gap.from, to: gap.to }))
            }
            LIVE_NOTIFICATION | END_NOTIFICATION => {
                let at: PositionNote = serde_json::from_str(params.get()).map_err(garbled)?;
                if at.subscription != ours {
                    return Ok(None);
                }
                self.position = self.position.max(Some(at.seq));
                Ok(Some(if method == LIVE_NOTIFICATION { FollowItem::Live } else { FollowItem::End }))
            }
            // a notification of a newer daemon
            _ => Ok(None),
        }
    }

    /// Handles the loss of the connection.
    fn handle_loss(&mut self) -> Result<(), ClientError> {
        self.live = None;
        if !self.params.follow {
            return Err(ClientError::Vanished { method: "stream_agent_events" });
        }
        self.delay = Some(self.backoff.first);
        self.waiting.push(Note::Gone { last: self.position });
        Ok(())
    }

    /// Waits, and tries once to reconnect. Returns false if the deadline came first.
    fn reconnect(&mut self, deadline: Option<Instant>) -> Result<bool, ClientError> {
        let delay = self.delay.unwrap_or(self.backoff.first);
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        std::thread::sleep(left.map_or(delay, |left| left.min(delay)));
        if left.is_some_and(|left| left <= delay) {
            return Ok(false);
        }
        match self.subscribe() {
            Ok(()) => {
                self.delay = None;
                if self.waiting.is_empty() {
                    self.waiting.push(Note::Back);
                }
            }
            Err(error) if error.is_passing() => self.delay = Some((delay * 2).min(self.backoff.max)),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn subscribe(&mut self) -> Result<(), ClientError> {
        let mut connection = Connection::open(&self.address, self.timeouts)?;
        let database = connection.hello().database.clone();
        let mut params = self.params.clone();
        let known = match (&self.database, &self.resume) {
            (Some(known), _) => Some((known.clone(), self.position)),
            (None, Some(resume)) => Some((resume.database.clone(), Some(resume.seq))),
            (None, None) => None,
        };
        let mut notes = Vec::new();
        if let Some((known, position)) = known {
            let shared = connection.hello().ancestors.iter().find(|one| one.database == known);
            let position = match (known == database, shared, position) {
                (true, _, position) => position,
                (false, Some(shared), Some(last)) => {
                    if last > shared.until {
                        notes.push(Note::WentBack { last, shared: shared.until });
                    }
                    Some(last.min(shared.until))
                }
                (false, ..) => {
                    notes.push(Note::OtherDatabase);
                    Some(0)
                }
            };
            if let Some(position) = position {
                (params.from, params.since, params.last) = (Some(position + 1), None, None);
                params.resume = known == database;
            }
            self.position = position;
            (self.params.from, self.params.since, self.params.last) =
                (params.from, params.since, params.last);
        }
        let answer = connection.call::<StreamAgentEvents>(&params)?;
        if let (Some(after), Some(from)) = (answer.instead_after, params.from) {
            notes.push(Note::Ahead { from, newest: answer.newest_seq, after });
            self.position = Some(after);
        }
        if (params.from, params.since, params.last) == (None, None, None) {
            // only new events were requested: the newest event is the position
            self.position = Some(answer.newest_seq);
        }
        self.waiting.extend(notes);
        self.database = Some(database);
        self.live =
            Some(Live { connection, subscription: answer.subscription, heard: Instant::now(), asked: false });
        Ok(())
    }
}
