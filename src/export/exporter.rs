//! Sends each event to a Redis stream, exactly once and in order.
//!
//! Theory of operation. Redis itself keeps the position: the last id of the stream is the number of its last event. A
//! batch is sent in one call, which appends only if the stream still ends where the batch continues (`append`). So
//! batches that were sent but not acknowledged, entries lost in a crash of Redis, and entries of another exporter are
//! all the same case: the stream has a different position, and sending continues from there. A mark beside the stream
//! identifies its owner, and its newest entry must be the event of that number here: a stream that belongs to another
//! database, is ahead of the log, or has a different history is left alone until a person has decided.
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

/// Maximum number of events per call.
const MAX_BATCH_EVENTS: usize = 1000;
/// Approximate maximum size of a call, as sent.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Interval of checks while there is nothing to send: the stream may have lost entries.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of consecutive calls in which the stream's position has changed, before a retry is delayed.
const MAX_POSITION_CHANGES: usize = 3;
/// The id of a new stream.
const EMPTY_STREAM_ID: &str = "0-0";

/// Timeouts and retry delays of an exporter.
#[derive(Clone, Copy, Debug)]
pub struct ExportTimeouts {
    /// Timeout of a connection attempt, and of each answer.
    pub answer: Duration,
    /// Delay before the first retry; doubles with each retry.
    pub first: Duration,
    /// Maximum delay between attempts; also used if a person must intervene.
    pub longest: Duration,
}

impl Default for ExportTimeouts {
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
    patience: ExportTimeouts,
    /// Current maximum number of events per call, adapted to the connection.
    most: AtomicUsize,
}

/// The position of a stream.
struct Cursor {
    /// Its last id.
    id: String,
    /// The last event that is there or not wanted.
    seq: Seq,
}

impl Exporter {
    /// Creates an exporter. `database` and `ancestors` are those of the store; the state is reported to `progress`.
    pub fn new(
        store: Store,
        spec: Arc<RedisSpec>,
        database: String,
        ancestors: Vec<Ancestor>,
        progress: Arc<ExportProgress>,
    ) -> Self {
        let database = database.into();
        let (patience, most) = (ExportTimeouts::default(), AtomicUsize::new(MAX_BATCH_EVENTS));
        Self { store, spec, database, ancestors, progress, patience, most }
    }

    /// Sets other timeouts and delays.
    pub fn with_timeouts(self, patience: ExportTimeouts) -> Self {
        Self { patience, ..self }
    }

    /// Sends events until it is dropped, which is possible at any moment.
    pub async fn run(&self) -> Infallible {
        self.progress.begins(clock::wall());
        let mut wait = self.patience.first;
        loop {
            let Err(hitch) = self.session(&mut wait).await;
            if self.progress.is_held_up(clock::wall(), &hitch) {
                let (place, stream) = (self.spec.server.place(), &self.spec.stream);
                tracing::warn!(%place, %stream, "events can't be copied to Redis: {hitch}");
            }
            self.update_lag().await;
            tokio::time::sleep(if hitch.stays { self.patience.longest } else { wait }).await;
            wait = (wait * 2).min(self.patience.longest);
        }
    }

    /// Sends all events that exist at this moment, and returns.
    ///
    /// # Errors
    /// The reason why they can't be sent.
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

    /// Uses one connection, until it fails or sending is not possible.
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
                () = tokio::time::sleep(CHECK_INTERVAL) => {
                    cursor = self.settle(&mut link, &mut appender, Some(cursor.seq)).await?;
                }
            }
        }
    }

    /// Sends up to the end of the log. While a batch is in flight, the next one is read.
    async fn send_all(
        &self,
        link: &mut RedisLink,
        appender: &mut Appender<'_>,
        cursor: &mut Cursor,
    ) -> Result<(), Hitch> {
        let mut entries = self.read(cursor.seq).await?;
        let mut position_changes = 0;
        while entries.since.is_some() {
            // the state is only reported once the server has accepted a batch
            self.progress.is_at(cursor.seq, entries.since);
            let sending = appender.append(link, self.claim(None), &cursor.id, &entries);
            let sending = async {
                let began = Instant::now();
                let sent = sending.await;
                self.adapt_batch_size(&entries, &sent, began.elapsed());
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
                    position_changes = 0;
                    let next = next?;
                    self.report_position(cursor.seq, next.since);
                    next
                }
                _ => {
                    position_changes += 1;
                    if position_changes == MAX_POSITION_CHANGES {
                        return Err(unstable_position());
                    }
                    *cursor = self.settle(link, appender, Some(cursor.seq)).await?;
                    self.read(cursor.seq).await?
                }
            };
        }
        self.report_position(cursor.seq, None);
        Ok(())
    }

    /// Adapts the maximum number of events per call: halves it after a timeout, down to one; doubles it when an answer
    /// came well before the timeout.
    fn adapt_batch_size(&self, entries: &Entries, sent: &Result<Appended, Hitch>, took: Duration) {
        let most = self.most.load(Ordering::Relaxed);
        let next = match sent {
            Err(hitch) if hitch.is_late => entries.events.min(most) / 2,
            Ok(Appended::Done) if entries.events >= most && took < self.patience.answer / 4 => most * 2,
            _ => return,
        };
        self.most.store(next.clamp(1, MAX_BATCH_EVENTS), Ordering::Relaxed);
    }

    /// Determines the position of the stream, and claims it if it is new, or was begun by a database that ours was a
    /// copy of. `before` is the last known position.
    async fn settle(
        &self,
        link: &mut RedisLink,
        appender: &mut Appender<'_>,
        before: Option<Seq>,
    ) -> Result<Cursor, Hitch> {
        let mut ancestor = None;
        for _ in 0..MAX_POSITION_CHANGES {
            let claim = self.claim(ancestor);
            let (id, entry) = match appender.look(link, claim).await? {
                Appended::At { last, entry } => (last, entry),
                Appended::Other { last, whose } if ancestor.is_none() => {
                    ancestor = Some(self.ancestor(&whose, number_of(&last)?)?);
                    continue;
                }
                Appended::Other { whose, .. } => return Err(self.foreign_stream(&whose)),
                Appended::Unmarked(last) => return Err(self.unowned_stream(&last)),
                Appended::Done | Appended::Differs(_) => {
                    return Err(Hitch::unknown_answer());
                }
            };
            let there = number_of(&id)?;
            self.check_within_log(there).await?;
            let seq = if id == EMPTY_STREAM_ID { self.start().await? } else { there };
            let known = self.known(entry).await?;
            match appender.take(link, claim, &id, known.as_ref()).await? {
                Appended::Done => {
                    if let Some(to) = before.filter(|before| seq < *before) {
                        let from = seq.0 + 1;
                        tracing::warn!("Redis has lost events of its stream: {from} to {to} are sent again");
                    }
                    return Ok(Cursor { id, seq });
                }
                Appended::Differs(entry) => return Err(self.different_history(&entry)),
                _ => {}
            }
        }
        Err(unstable_position())
    }

    /// Returns what the newest entry of the stream must be. `None`: there is no entry, or retention has removed its
    /// event here. The mark alone does not distinguish a log from one that was restored to an earlier state and
    /// continued from there, nor two that continue from the same state.
    async fn known(&self, id: String) -> Result<Option<KnownEntry>, Hitch> {
        if id.is_empty() {
            return Ok(None);
        }
        let seq = number_of(&id)?;
        let before = Seq(seq.0.saturating_sub(1));
        let read = self.store.read(move |reader| {
            let page = reader.rows_after(before, 1, MAX_BATCH_BYTES)?;
            Ok(page.rows.first().filter(|row| row.seq == seq).map(entry::text))
        });
        Ok(read.await.map_err(read_failure)?.map(|event| KnownEntry { id, event }))
    }

    fn different_history(&self, entry: &str) -> Hitch {
        Hitch::staying(format!(
            "entry {entry} of the stream is not the event of this number here: an older copy of the database was put in place, \
             or two daemons go on from one copy. Nothing is mixed. {}",
            self.ways_out()
        ))
    }

    /// Fails if the stream is ahead of the log: then it is a copy of another log, or this one was restored to an
    /// earlier state, and the next events differ.
    async fn check_within_log(&self, there: Seq) -> Result<(), Hitch> {
        let newest = self.store.read(|reader| reader.newest()).await.map_err(read_failure)?;
        if there <= newest {
            return Ok(());
        }
        Err(Hitch::staying(format!(
            "the stream has entries up to {there}, and the newest event here is {newest}: somebody else has added to it, or \
             an older copy of the database was put in place. Nothing is mixed. {}",
            self.ways_out()
        )))
    }

    /// Returns the database that began a stream, if ours was a copy of it and contains all of the stream.
    fn ancestor(&self, whose: &str, there: Seq) -> Result<&str, Hitch> {
        let Some(ancestor) = self.ancestors.iter().find(|ancestor| ancestor.database == whose) else {
            return Err(self.foreign_stream(whose));
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

    fn foreign_stream(&self, whose: &str) -> Hitch {
        let whose: String = whose.chars().filter(|c| !c.is_control()).take(64).collect();
        Hitch::staying(format!(
            "the stream is the copy of another fleet's log (database {whose}, by the key `{}`). Nothing is mixed. {}",
            self.spec.mark(),
            self.ways_out()
        ))
    }

    fn unowned_stream(&self, last: &str) -> Hitch {
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

    /// Returns the event after which a new stream begins. It is recorded, so that a stream that was lost begins there again.
    async fn start(&self) -> Result<Seq, Hitch> {
        let target = format!("{} {}", self.spec.server.place(), self.spec.stream);
        let from = self.spec.from;
        loop {
            let asked = target.clone();
            let known =
                self.store.read(move |reader| reader.export_began(&asked)).await.map_err(read_failure)?;
            if let Some((_, after)) = known.filter(|(before, _)| *before == from.to_string()) {
                return Ok(after);
            }
            let after = match from {
                StreamFrom::Event(seq) => Seq(seq.saturating_sub(1)),
                StreamFrom::Now => self.store.read(|reader| reader.newest()).await.map_err(read_failure)?,
            };
            // what another exporter has recorded meanwhile has precedence: it is read in the next iteration
            let fact = Fact::ExportBegan { target: target.clone(), from: from.to_string(), after };
            let kept = self.store.commit(vec![Entry { at: clock::wall(), fact }]).await;
            kept.map_err(|error| {
                Hitch::passing(format!("where the stream begins can't be written down: {error}"))
            })?;
        }
    }

    /// Reads and encodes the next batch, on the reader's thread.
    async fn read(&self, after: Seq) -> Result<Entries, Hitch> {
        let (format, database) = (self.spec.format, self.database.clone());
        let most = self.most.load(Ordering::Relaxed);
        let read = self.store.read(move |reader| {
            let page = reader.rows_after(after, most, MAX_BATCH_BYTES)?;
            Ok(Entries::of(&page, format, &database, MAX_BATCH_BYTES))
        });
        read.await.map_err(read_failure)
    }

    /// Updates since when the stream is behind while nothing can be sent.
    async fn update_lag(&self) {
        let Some(position) = self.progress.now().and_then(|standing| standing.position) else { return };
        if let Ok(page) = self.store.read(move |reader| reader.rows_after(position, 1, MAX_BATCH_BYTES)).await
        {
            self.progress.is_behind_since(page.begins_at());
        }
    }

    fn report_position(&self, position: Seq, behind_since: Option<jiff::Timestamp>) {
        if self.progress.stands_at(clock::wall(), position, behind_since) {
            let (place, stream) = (self.spec.server.place(), &self.spec.stream);
            tracing::info!(%place, %stream, position = position.0, "events are copied to Redis");
        }
    }

    fn claim<'a>(&'a self, before: Option<&'a str>) -> Claim<'a> {
        Claim { database: &self.database, before }
    }
}

/// Returns the number of the event of an id.
fn number_of(id: &str) -> Result<Seq, Hitch> {
    let number = id.split('-').next().and_then(|number| number.parse().ok());
    number
        .map(Seq)
        .ok_or_else(|| Hitch::staying(format!("the stream's last id is `{id}`, which is not a valid id")))
}

fn unstable_position() -> Hitch {
    Hitch::passing("the stream has changed at each look: somebody else adds to it")
}

fn read_failure(error: crate::store::StoreError) -> Hitch {
    Hitch::passing(format!("the events can't be read: {error}"))
}
