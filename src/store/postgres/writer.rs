//! The writer for a PostgreSQL database: each transaction is fenced, and the outcome of a commit
//! whose answer was lost is determined before anything more is written.
use super::durability;
use super::fence::{self, Lead};
use super::open::OpenedOnServer;
use super::server::{Purpose, StoreServer};
use super::session::Session;
use crate::clock;
use crate::domain::{Entry, Retention, Seq};
use crate::store::error::StoreError;
use crate::store::lead_time::LeadTime;
use crate::store::mark::MarkFile;
use crate::store::retention::{self, Lived};
use crate::store::sql::{Scope, Sql, SqlConnection, SqlError, SqlErrorKind, SqlResult};
use crate::store::writer::{Backend, WrittenCommit};
use crate::store::{apply, meta};
use jiff::SignedDuration;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the lead is renewed while nothing is written.
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// The size is measured again after one batch of removed records, plus one more for each this many bytes.
const BYTES_PER_UNMEASURED_BATCH: u64 = 64 << 20;

/// Commits with their results.
type Batch = Vec<(Vec<Entry>, WrittenCommit)>;

/// The writer's connection, and its position.
pub(in crate::store) struct Leader {
    server: Arc<StoreServer>,
    session: Session,
    lead: Lead,
    newest: Seq,
    mark: MarkFile,
    /// The commits in flight when the answer was lost.
    in_doubt: Batch,
    /// Commits that are durable although their callers got an error; a retry gets the result.
    made: Batch,
    renewed: Instant,
    lead_time: LeadTime,
    /// Number of batches to remove before the size is measured again.
    unmeasured: u64,
}

impl Leader {
    /// Takes over an opened database.
    pub(in crate::store) fn new(
        opened: OpenedOnServer,
        server: Arc<StoreServer>,
    ) -> Result<Self, StoreError> {
        let OpenedOnServer { session, newest, mark, lead_time, .. } = opened;
        let none = || StoreError::Closed;
        let lead = session.leads().ok_or_else(none)?;
        Ok(Self {
            server,
            session,
            lead,
            newest,
            mark,
            in_doubt: Vec::new(),
            made: Vec::new(),
            renewed: Instant::now(),
            lead_time,
            unmeasured: 0,
        })
    }

    /// Returns the epoch of this lead.
    pub(in crate::store) fn epoch(&self) -> i64 {
        self.lead.epoch
    }

    fn says(&self, error: SqlError, doing: &str) -> StoreError {
        match error.kind {
            SqlErrorKind::Fenced => self.lost_lead(),
            _ => StoreError::of(error, self.server.place(), doing),
        }
    }

    /// Returns the error for a failed fence: another daemon leads, or the database is older than it was.
    fn lost_lead(&self) -> StoreError {
        let place = self.server.place();
        let found = self.server.connect(Purpose::Read).and_then(|session| {
            let db: &Sql = &session;
            db.one("SELECT epoch, turn, leader FROM fleet", &[], |row| {
                Ok((Lead { epoch: row.get(0)?, turn: row.get(1)? }, row.get::<String>(2)?))
            })
            .map_err(|error| StoreError::of(error, place, "asking who leads"))
        });
        match found {
            Ok((found, by)) => self.unexpected_lead(found, by),
            Err(error) => error,
        }
    }

    fn unexpected_lead(&self, found: Lead, by: String) -> StoreError {
        let place = self.server.place();
        if found.epoch < self.lead.epoch || (found.epoch == self.lead.epoch && found.turn < self.lead.turn) {
            let what = format!(
                "went back: it had come to turn {} of epoch {}, and is at turn {} of epoch {}",
                self.lead.turn, self.lead.epoch, found.turn, found.epoch
            );
            return StoreError::Missing { path: place.to_owned(), what };
        }
        StoreError::Fenced { place: place.display().to_string(), by }
    }

    /// Makes sure that the connection is usable, and resolves commits in doubt.
    fn ensure_sound(&mut self) -> Result<(), StoreError> {
        // a commit in doubt has not advanced it
        if let Some(lead) = self.session.leads() {
            self.lead = lead;
        }
        if self.session.is_open() {
            return Ok(());
        }
        let session = self.server.connect(Purpose::Write)?;
        // it may now be another server with weaker guarantees
        durability::check(&self.server, &session).map_err(|error| match error {
            // the guarantees may return: until then nothing new is started
            StoreError::NotDurable { .. } => StoreError::Other {
                doing: "connecting to the database again".into(),
                what: error.to_string(),
            },
            other => other,
        })?;
        // waits for transactions of the old connection
        let found =
            Lead::found(&session).map_err(self.server.says("asking how far the database has come"))?;
        let was_made = found == self.lead.next() && self.session.is_in_doubt();
        if found != self.lead && !was_made {
            let leader = "SELECT leader FROM fleet";
            let db: &Sql = &session;
            let by = db.one(leader, &[], |row| row.get(0)).map_err(self.server.says("asking who leads"))?;
            return Err(self.unexpected_lead(found, by));
        }
        session.lead(found);
        let batch = std::mem::take(&mut self.in_doubt);
        // the transaction in doubt may be a renewal, which has no commits
        if was_made {
            self.newest = batch.last().map_or(self.newest, |(_, written)| written.last);
            self.made.extend(batch);
        }
        self.lead = found;
        self.session = session;
        // if this renewal is replicated, so are all earlier commits
        let asked = clock::boot();
        fence::renew_by_another(&self.session).map_err(|error| self.says(error, "renewing the lead"))?;
        self.was_renewed(asked);
        tracing::warn!("the database is connected to again");
        Ok(())
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        let asked = clock::boot();
        fence::renew(&self.session).map_err(|error| self.says(error, "renewing the lead"))?;
        self.was_renewed(asked);
        Ok(())
    }

    fn was_renewed(&mut self, asked: SignedDuration) {
        self.renewed = Instant::now();
        self.lead_time.given(asked);
    }

    fn write_fresh(&mut self, commits: &[&Vec<Entry>]) -> Result<Vec<WrittenCommit>, StoreError> {
        let mut written = Vec::with_capacity(commits.len());
        let asked = clock::boot();
        let done = write_all(&self.session, commits, self.newest, &mut written);
        if let Err(error) = done {
            if self.session.is_in_doubt() {
                self.in_doubt = commits.iter().map(|entries| (*entries).clone()).zip(written).collect();
            }
            return Err(self.says(error, "writing to the database"));
        }
        self.newest = written.last().map_or(self.newest, |last| last.last);
        self.was_renewed(asked);
        Ok(written)
    }
}

fn write_all(
    db: &Sql,
    commits: &[&Vec<Entry>],
    newest: Seq,
    written: &mut Vec<WrittenCommit>,
) -> SqlResult<()> {
    let transaction = db.begin(Scope::Write)?;
    let mut next = newest.0 + 1;
    for entries in commits {
        let from = next;
        let refused = apply::apply(&*transaction, entries, &mut next)?;
        written.push(WrittenCommit { refused, events: next - from, last: Seq(next - 1) });
    }
    transaction.commit()
}

impl Backend for Leader {
    fn lead_time(&self) -> Option<LeadTime> {
        Some(self.lead_time.clone())
    }

    fn write(&mut self, commits: &[Vec<Entry>], _: Seq) -> Result<Vec<WrittenCommit>, StoreError> {
        self.ensure_sound()?;
        let mut answers: Vec<Option<WrittenCommit>> = Vec::with_capacity(commits.len());
        for entries in commits {
            let made = self.made.iter().position(|(made, _)| made == entries);
            answers.push(made.map(|at| self.made.remove(at).1));
        }
        let fresh: Vec<&Vec<Entry>> = commits
            .iter()
            .zip(&answers)
            .filter(|(_, made)| made.is_none())
            .map(|(entries, _)| entries)
            .collect();
        let written = match fresh.is_empty() {
            true => Ok(Vec::new()),
            false => self.write_fresh(&fresh),
        };
        let mut written = match written {
            Ok(written) => written.into_iter(),
            Err(error) => {
                // results already known are kept for the next retry
                let again = commits.iter().cloned().zip(answers);
                self.made.extend(again.filter_map(|(entries, made)| made.map(|made| (entries, made))));
                return Err(error);
            }
        };
        Ok(answers.into_iter().filter_map(|made| made.or_else(|| written.next())).collect())
    }

    /// Does nothing: the disk belongs to the server.
    fn make_room(&mut self) -> bool {
        false
    }

    fn written(&mut self, newest: Seq) {
        self.mark.note(newest, false);
    }

    fn tidy(&mut self) {}

    fn confirm(&mut self, error: StoreError) -> StoreError {
        error
    }

    fn prune(&mut self, keep: Retention, lived: Lived, _: Seq) -> Result<bool, StoreError> {
        self.ensure_sound()?;
        self.renew()?;
        let doing = "removing what is too old";
        let size = self.session.size().map_err(|error| self.says(error, doing))?;
        if size > keep.max_db_size && self.unmeasured == 0 {
            let (session, lead_time) = (&self.session, &self.lead_time);
            let renew = || {
                let asked = clock::boot();
                fence::renew(session).inspect(|()| lead_time.given(asked))
            };
            super::size::measure(session, renew).map_err(|error| self.says(error, doing))?;
            self.unmeasured = 1 + size / BYTES_PER_UNMEASURED_BATCH;
        }
        self.unmeasured = self.unmeasured.saturating_sub(1);
        retention::prune(&self.session, keep, lived).map_err(|error| self.says(error, doing))
    }

    fn look(&mut self, newest: Seq) -> Result<(), StoreError> {
        self.ensure_sound()?;
        if self.renewed.elapsed() >= RENEW_INTERVAL || self.lead_time.is_over(clock::boot()) {
            self.renew()?;
            self.mark.note(newest, false);
        }
        Ok(())
    }

    fn close(&mut self, newest: Seq) -> Result<(), StoreError> {
        self.ensure_sound()?;
        let closed = (|| {
            let db: &Sql = &self.session;
            let last = db.begin(Scope::Write)?;
            meta::set(&*last, meta::CLEAN, "yes")?;
            fence::give_up(&*last)?;
            last.commit()
        })();
        closed.map_err(|error| self.says(error, "closing the database"))?;
        self.mark.note_durably(newest.max(self.newest), true);
        Ok(())
    }
}
