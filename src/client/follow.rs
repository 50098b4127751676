//! Follows events, across restarts of the daemon.
//!
//! Theory of operation: the *position* is the newest event of which everything up to it was shown.
//! It moves with each event that is handed out and with `live`. A new connection asks for what
//! comes after the position, and an event at or before it is dropped: so nothing is missed and
//! nothing is seen twice. Numbers of two databases can't be compared: if the daemon's is a copy of the
//! one that the position is of, it goes on behind the newest event that both have; on any other it begins
//! with what there is. Both are said.
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

/// A daemon that says nothing for this long is asked whether it is there; one that does not answer
/// for as long again is taken for gone.
const SILENCE: Duration = Duration::from_secs(15);

/// Where a reader stopped the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Identity of the database.
    pub database: String,
    /// Newest event that was seen.
    pub seq: u64,
}

/// How long to wait between attempts to connect again; doubles from `first` to `max`.
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

/// What following gave.
#[derive(Debug)]
pub enum Followed {
    Event(StoredEvent),
    /// Everything that was there has been shown; from here on it is live.
    Live,
    /// Retention had removed events that were asked for.
    Gap {
        /// First that is gone.
        from: u64,
        /// Last that is gone.
        to: u64,
    },
    /// Something about the connection that a person should know.
    Note(Note),
    /// There is no more: it was not to be followed.
    End,
    /// Nothing came until the deadline.
    Deadline,
}

/// Something about the connection that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The daemon is gone; it is waited for.
    Gone {
        /// Position, if there is one.
        last: Option<u64>,
    },
    /// It is back, and what happened meanwhile follows.
    Back,
    /// Its database is another one: the position means nothing there, so it begins with what there is.
    OtherDatabase,
    /// Its database is an older copy of the one that was followed.
    WentBack {
        /// Position in that one.
        last: u64,
        /// The newest event that both have: it goes on behind it.
        shared: u64,
    },
    /// The position is beyond the newest event.
    Ahead {
        /// The event that was asked for.
        from: u64,
        /// The newest one.
        newest: u64,
        /// It goes on after this one.
        after: u64,
    },
}

/// An event, with the text in which it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    pub seq: u64,
    /// As the daemon sent it: one line of JSON.
    pub text: String,
}

impl StoredEvent {
    /// The event as it is logged. That has a type which is a text, and any JSON as its payload: so events of a newer
    /// daemon are followed and shown, whatever they say. [`LoggedEvent::event`] gives one that this release knows.
    ///
    /// # Errors
    /// It is not an event at all.
    pub fn decode(&self) -> Result<LoggedEvent, serde_json::Error> {
        serde_json::from_str(&self.text)
    }
}

/// A subscription that outlives its connection.
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
    /// Subscribes. With `resume`, what comes after it is shown instead of what `params` say, if
    /// the database is the same.
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

    /// Where it stands: what [`Resume`] needs.
    pub fn position(&self) -> Option<Resume> {
        Some(Resume { database: self.database.clone()?, seq: self.position? })
    }

    /// True if the next event is here already.
    pub fn has_more(&self) -> bool {
        !self.waiting.is_empty() || self.live.as_ref().is_some_and(|live| live.connection.has_line())
    }

    /// What comes next; waits for it until `deadline`, or for ever.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Followed, ClientError> {
        loop {
            if !self.waiting.is_empty() {
                return Ok(Followed::Note(self.waiting.remove(0)));
            }
            let Some(live) = &mut self.live else {
                if !self.reconnect(deadline)? {
                    return Ok(Followed::Deadline);
                }
                continue;
            };
            let patience = live.heard + SILENCE;
            let wake = deadline.map_or(patience, |deadline| deadline.min(patience));
            match live.connection.lines().next(Some(wake)) {
                Ok(line) => {
                    live.heard = Instant::now();
                    live.asked = false;
                    if let Some(followed) = self.read(&line)? {
                        return Ok(followed);
                    }
                }
                Err(Broken::Late) if deadline.is_some_and(|at| at <= Instant::now()) => {
                    return Ok(Followed::Deadline);
                }
                Err(Broken::Late) if !live.asked => {
                    live.asked = true;
                    live.heard = Instant::now();
                    if live.connection.send::<Ping>(&NoParams {}).is_err() {
                        self.lose()?;
                    }
                }
                Err(_) => self.lose()?,
            }
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<Followed>, ClientError> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(default)]
            method: Option<String>,
            #[serde(borrow, default)]
            params: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Told<'a> {
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
                let told: Told<'_> = serde_json::from_str(params.get()).map_err(garbled)?;
                let event = told.event.get();
                let Numbered { seq } = serde_json::from_str(event).map_err(garbled)?;
                if told.subscription != ours || self.position.is_some_and(|position| seq <= position) {
                    return Ok(None);
                }
                self.position = Some(seq);
                Ok(Some(Followed::Event(StoredEvent { seq, text: event.to_owned() })))
            }
            GAP_NOTIFICATION => {
                let gap: GapNote = serde_json::from_str(params.get()).map_err(garbled)?;
                if gap.subscription != ours {
                    return Ok(None);
                }
                self.position = self.position.max(Some(gap.to));
                Ok(Some(Followed::Gap { from: gap.from, to: gap.to }))
            }
            LIVE_NOTIFICATION | END_NOTIFICATION => {
                let at: PositionNote = serde_json::from_str(params.get()).map_err(garbled)?;
                if at.subscription != ours {
                    return Ok(None);
                }
                self.position = self.position.max(Some(at.seq));
                Ok(Some(if method == LIVE_NOTIFICATION { Followed::Live } else { Followed::End }))
            }
            // of a newer daemon
            _ => Ok(None),
        }
    }

    /// The connection is gone.
    fn lose(&mut self) -> Result<(), ClientError> {
        self.live = None;
        if !self.params.follow {
            return Err(ClientError::Vanished { method: "stream_agent_events" });
        }
        self.delay = Some(self.backoff.first);
        self.waiting.push(Note::Gone { last: self.position });
        Ok(())
    }

    /// Tries once more, after a while; false: the deadline came first.
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
            // it shows what comes from now on: that is a position, too
            self.position = Some(answer.newest_seq);
        }
        self.waiting.extend(notes);
        self.database = Some(database);
        self.live =
            Some(Live { connection, subscription: answer.subscription, heard: Instant::now(), asked: false });
        Ok(())
    }
}
