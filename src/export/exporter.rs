//! Sends each event to a Redis stream, once and in order.
//!
//! Theory of operation. Redis itself keeps the position: the last id of the stream is the number of the last event that
//! is there. A batch goes in one call that appends only if the stream still ends where the batch goes on from (`append`).
//! So what was sent and not acknowledged, what a crash of Redis took back, and what another exporter has sent meanwhile
//! are all the same case: the stream stands elsewhere, and it goes on from there. A mark beside the stream says whose
//! copy it is, and its newest entry must be the event that has this number here: a stream that is another's, that is ahead
//! of the log, or that has another past, is left alone until a person has decided.
use super::append::{Appended, Appender, Claim, Entries, KnownEntry};
use super::entry;
use super::progress::ExportProgress;
use crate::clock;
use crate::domain::{Entry, Fact, RedisSpec, Seq, StreamFrom};
use crate::redis::{Hitch, RedisLink, ReplyBounds};
use crate::store::{Ancestor, Store};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Events of one call.
const EVENTS: usize = 1000;
/// Bytes of one call, about, as they are sent.
const BYTES: usize = 1 << 20;
/// How often a stream is looked at while there is nothing to send: it may have lost something.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often in a row a stream may stand elsewhere than it was seen, before that is waited for.
const TURNS: usize = 3;
/// The id of a stream that has none yet.
const NONE_YET: &str = "0-0";

/// How long an exporter waits for what.
#[derive(Clone, Copy, Debug)]
pub struct ExportPatience {
    /// For a connection, and for each answer.
    pub answer: Duration,
    /// Before the second try; each further wait is twice as long.
    pub first: Duration,
    /// Between tries, at the most; and where somebody must put something right.
    pub longest: Duration,
}

impl Default for ExportPatience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(15),
            first: Duration::from_millis(200),
            longest: Duration::from_secs(20),
        }
    }
}

/// Sends the events of one database to one stream.
pub struct Exporter {
    store: Store,
    spec: Arc<RedisSpec>,
    database: Arc<str>,
    ancestors: Vec<Ancestor>,
    progress: Arc<ExportProgress>,
    patience: ExportPatience,
    /// Events of one call, at the most, over the line as it is now.
    most: AtomicUsize,
}

/// Where a stream stands, and what is to be sent to it.
struct Cursor {
    /// Its last id.
    id: String,
    /// All up to this event is there, or is not wanted.
    seq: Seq,
}

impl Exporter {
    /// `database` and `ancestors` are those of the store; how it goes is told to `progress`.
    pub fn new(
        store: Store,
        spec: Arc<RedisSpec>,
        database: String,
        ancestors: Vec<Ancestor>,
        progress: Arc<ExportProgress>,
    ) -> Self {
        let database = database.into();
        let (patience, most) = (ExportPatience::default(), AtomicUsize::new(EVENTS));
        Self { store, spec, database, ancestors, progress, patience, most }
    }

    /// The same with other waits.
    pub fn with_patience(self, patience: ExportPatience) -> Self {
        Self { patience, ..self }
    }

    /// Sends until it is dropped, which it may be at any moment.
    pub async fn run(&self) -> Infallible {
        self.progress.begins(clock::wall());
        let mut wait = self.patience.first;
        loop {
            let Err(hitch) = self.session(&mut wait).await;
            if self.progress.is_held_up(clock::wall(), &hitch) {
                let (place, stream) = (self.spec.server.place(), &self.spec.stream);
                tracing::warn!(%place, %stream, "events can't be copied to Redis: {hitch}");
            }
            self.look_how_far_behind().await;
            tokio::time::sleep(if hitch.stays { self.patience.longest } else { wait }).await;
            wait = (wait * 2).min(self.patience.longest);
        }
    }

    /// Sends all that there is at this moment, and returns.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub async fn catch_up(&self) -> Result<Seq, String> {
        let all = async {
            let mut link =
                RedisLink::open(&self.spec.server, self.patience.answer, ReplyBounds::SHORT).await?;
            let mut appender = Appender::new(&self.spec, &self.ancestors);
            let mut cursor = self.settle(&mut link, &mut appender, None).await?;
            self.send_all(&mut link, &mut appender, &mut cursor).await?;
            Ok(cursor.seq)
        };
        all.await.map_err(|hitch: Hitch| hitch.to_string())
    }

    /// One connection, until it breaks or something is in the way.
    async fn session(&self, wait: &mut Duration) -> Result<Infallible, Hitch> {
        let mut newest = self.store.newest();
        let mut link = RedisLink::open(&self.spec.server, self.patience.answer, ReplyBounds::SHORT).await?;
        let mut appender = Appender::new(&self.spec, &self.ancestors);
        let before = self.progress.now().and_then(|standing| standing.position);
        let mut cursor = self.settle(&mut link, &mut appender, before).await?;
        loop {
            newest.borrow_and_update();
            self.send_all(&mut link, &mut appender, &mut cursor).await?;
            *wait = self.patience.first;
            tokio::select! {
                changed = newest.changed() => changed.map_err(|_| Hitch::passing("the daemon is shutting down"))?,
                hitch = link.broken() => return Err(hitch),
                () = tokio::time::sleep(LOOK_AGAIN) => {
                    cursor = self.settle(&mut link, &mut appender, Some(cursor.seq)).await?;
                }
            }
        }
    }

    /// Sends until the end of the log. While a batch is on its way the next one is read.
    async fn send_all(
        &self,
        link: &mut RedisLink,
        appender: &mut Appender<'_>,
        cursor: &mut Cursor,
    ) -> Result<(), Hitch> {
        let mut entries = self.read(cursor.seq).await?;
        let mut in_vain = 0;
        while entries.since.is_some() {
            // nothing is said of how it goes before the server has taken something
            self.progress.is_at(cursor.seq, entries.since);
            let sending = appender.append(link, self.claim(None), &cursor.id, &entries);
            let sending = async {
                let began = Instant::now();
                let sent = sending.await;
                self.learn(&entries, &sent, began.elapsed());
                sent
            };
            let (sent, next) = tokio::join!(sending, self.read(entries.last));
            entries = match sent? {
                Appended::Done => {
                    if let Some((from, to)) = entries.gap {
                        tracing::warn!(
                            "events {from} to {to} were removed by retention before Redis had them"
                        );
                    }
                    *cursor = Cursor { id: format!("{}-0", entries.last), seq: entries.last };
                    in_vain = 0;
                    let next = next?;
                    self.told(cursor.seq, next.since);
                    next
                }
                _ => {
                    in_vain += 1;
                    if in_vain == TURNS {
                        return Err(moves());
                    }
                    *cursor = self.settle(link, appender, Some(cursor.seq)).await?;
                    self.read(cursor.seq).await?
                }
            };
        }
        self.told(cursor.seq, None);
        Ok(())
    }

    /// What a batch says of how many events the line takes at once: half as many when no answer came in time, so down to
    /// one; twice as many when there was plenty of time left.
    fn learn(&self, entries: &Entries, sent: &Result<Appended, Hitch>, took: Duration) {
        let most = self.most.load(Ordering::Relaxed);
        let next = match sent {
            Err(hitch) if hitch.is_late => entries.events.min(most) / 2,
            Ok(Appended::Done) if entries.events >= most && took < self.patience.answer / 4 => most * 2,
            _ => return,
        };
        self.most.store(next.clamp(1, EVENTS), Ordering::Relaxed);
    }

    /// Finds out where the stream stands, and makes it ours if it is new, or one that our database was a copy of has
    /// begun it. `before` is how far it was when it was last asked.
    async fn settle(
        &self,
        link: &mut RedisLink,
        appender: &mut Appender<'_>,
        before: Option<Seq>,
    ) -> Result<Cursor, Hitch> {
        let mut ancestor = None;
        for _ in 0..TURNS {
            let claim = self.claim(ancestor);
            let (id, entry) = match appender.look(link, claim).await? {
                Appended::At { last, entry } => (last, entry),
                Appended::Other { last, whose } if ancestor.is_none() => {
                    ancestor = Some(self.ancestor(&whose, number_of(&last)?)?);
                    continue;
                }
                Appended::Other { whose, .. } => return Err(self.of_another(&whose)),
                Appended::Unmarked(last) => return Err(self.of_nobody(&last)),
                Appended::Done | Appended::Differs(_) => {
                    return Err(Hitch::unknown_answer());
                }
            };
            let there = number_of(&id)?;
            self.is_within_the_log(there).await?;
            let seq = if id == NONE_YET { self.start().await? } else { there };
            let known = self.known(entry).await?;
            match appender.take(link, claim, &id, known.as_ref()).await? {
                Appended::Done => {
                    if let Some(to) = before.filter(|before| seq < *before) {
                        let from = seq.0 + 1;
                        tracing::warn!("Redis has lost events of its stream: {from} to {to} are sent again");
                    }
                    return Ok(Cursor { id, seq });
                }
                Appended::Differs(entry) => return Err(self.of_another_past(&entry)),
                _ => {}
            }
        }
        Err(moves())
    }

    /// What the newest entry of the stream must be. `None`: there is no entry, or retention has removed its event here.
    /// The mark alone does not tell a log from the same one that was put back to an earlier state and went on from
    /// there, nor two that go on from one state.
    async fn known(&self, id: String) -> Result<Option<KnownEntry>, Hitch> {
        if id.is_empty() {
            return Ok(None);
        }
        let seq = number_of(&id)?;
        let before = Seq(seq.0.saturating_sub(1));
        let read = self.store.read(move |reader| {
            let page = reader.rows_after(before, 1, BYTES)?;
            Ok(page.rows.first().filter(|row| row.seq == seq).map(entry::text))
        });
        Ok(read.await.map_err(unread)?.map(|event| KnownEntry { id, event }))
    }

    fn of_another_past(&self, entry: &str) -> Hitch {
        Hitch::staying(format!(
            "entry {entry} of the stream is not the event of this number here: an older copy of the database was put in place, \
             or two daemons go on from one copy. Nothing is mixed. {}",
            self.ways_out()
        ))
    }

    /// A stream that is ahead of the log is a copy of another one, or this log went back: what comes next here is not
    /// what comes next there.
    async fn is_within_the_log(&self, there: Seq) -> Result<(), Hitch> {
        let newest = self.store.read(|reader| reader.newest()).await.map_err(unread)?;
        if there <= newest {
            return Ok(());
        }
        Err(Hitch::staying(format!(
            "the stream has entries up to {there}, and the newest event here is {newest}: somebody else has added to it, or \
             an older copy of the database was put in place. Nothing is mixed. {}",
            self.ways_out()
        )))
    }

    /// The database that has begun a stream, if ours was a copy of it and has all that is there.
    fn ancestor(&self, whose: &str, there: Seq) -> Result<&str, Hitch> {
        let Some(ancestor) = self.ancestors.iter().find(|ancestor| ancestor.database == whose) else {
            return Err(self.of_another(whose));
        };
        if there.0 <= ancestor.until {
            return Ok(&ancestor.database);
        }
        Err(Hitch::staying(format!(
            "the stream has entries up to {there}, and the database here is an older copy that shares those up to {} only. \
             Nothing is mixed. {}",
            ancestor.until,
            self.ways_out()
        )))
    }

    fn of_another(&self, whose: &str) -> Hitch {
        let whose: String = whose.chars().filter(|c| !c.is_control()).take(64).collect();
        Hitch::staying(format!(
            "the stream is the copy of another fleet's log (database {whose}, by the key `{}`). Nothing is mixed. {}",
            self.spec.mark(),
            self.ways_out()
        ))
    }

    fn of_nobody(&self, last: &str) -> Hitch {
        Hitch::staying(format!(
            "the stream has entries up to {last}, and the key `{}` that says whose they are is not there. If they are of this \
             fleet: SET {} {}. {}",
            self.spec.mark(),
            self.spec.mark(),
            self.database,
            self.ways_out()
        ))
    }

    fn ways_out(&self) -> String {
        format!(
            "Choose another `stream`, or delete this one, so that it is filled again: DEL {} {}",
            self.spec.stream,
            self.spec.mark()
        )
    }

    /// After which event a stream begins that is new. That is kept: a stream that was lost begins there again.
    async fn start(&self) -> Result<Seq, Hitch> {
        let target = format!("{} {}", self.spec.server.place(), self.spec.stream);
        let from = self.spec.from;
        loop {
            let asked = target.clone();
            let known = self.store.read(move |reader| reader.export_began(&asked)).await.map_err(unread)?;
            if let Some((_, after)) = known.filter(|(before, _)| *before == from.to_string()) {
                return Ok(after);
            }
            let after = match from {
                StreamFrom::Event(seq) => Seq(seq.saturating_sub(1)),
                StreamFrom::Now => self.store.read(|reader| reader.newest()).await.map_err(unread)?,
            };
            // what another exporter has written down meanwhile stays: it is read in the next turn
            let fact = Fact::ExportBegan { target: target.clone(), from: from.to_string(), after };
            let kept = self.store.commit(vec![Entry { at: clock::wall(), fact }]).await;
            kept.map_err(|error| {
                Hitch::passing(format!("where the stream begins can't be written down: {error}"))
            })?;
        }
    }

    /// The next batch, ready to be sent: what is read is encoded on the reader's thread.
    async fn read(&self, after: Seq) -> Result<Entries, Hitch> {
        let (format, database) = (self.spec.format, self.database.clone());
        let most = self.most.load(Ordering::Relaxed);
        let read = self.store.read(move |reader| {
            let page = reader.rows_after(after, most, BYTES)?;
            Ok(Entries::of(&page, format, &database, BYTES))
        });
        read.await.map_err(unread)
    }

    /// While nothing is sent, somebody may want to know since when.
    async fn look_how_far_behind(&self) {
        let Some(position) = self.progress.now().and_then(|standing| standing.position) else { return };
        if let Ok(page) = self.store.read(move |reader| reader.rows_after(position, 1, BYTES)).await {
            self.progress.is_behind_since(page.begins_at());
        }
    }

    fn told(&self, position: Seq, behind_since: Option<jiff::Timestamp>) {
        if self.progress.stands_at(clock::wall(), position, behind_since) {
            let (place, stream) = (self.spec.server.place(), &self.spec.stream);
            tracing::info!(%place, %stream, position = position.0, "events are copied to Redis");
        }
    }

    fn claim<'a>(&'a self, before: Option<&'a str>) -> Claim<'a> {
        Claim { database: &self.database, before }
    }
}

/// The event that an id stands for.
fn number_of(id: &str) -> Result<Seq, Hitch> {
    let number = id.split('-').next().and_then(|number| number.parse().ok());
    number
        .map(Seq)
        .ok_or_else(|| Hitch::staying(format!("the stream's last id is `{id}`, which is not a valid id")))
}

fn moves() -> Hitch {
    Hitch::passing("the stream has changed at each look: somebody else adds to it")
}

fn unread(error: crate::store::StoreError) -> Hitch {
    Hitch::passing(format!("the events can't be read: {error}"))
}
