//! A connection to PostgreSQL: statements are pipelined, without waiting for answers that are not
//! needed, and each write transaction first makes sure that this daemon still leads.
use super::fence::{Fence, Lead};
use super::values::{Bound, error_of, numbered};
use super::waiting::wait;
use crate::postgres::Link;
use crate::store::sql::{
    ColumnKind, Each, Scope, Sql, SqlConnection, SqlError, SqlErrorKind, SqlResult, Value, params,
};
use futures_util::TryStreamExt;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::{Error, Statement};

/// Maximum number of pending answers before sending more.
const MAX_PENDING_ANSWERS: usize = 1000;
/// Timeout of an answer: longer than the server's own `statement_timeout`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of an answer if the server may take long: a dead peer is noticed by keep-alive probes.
const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

type PendingAnswer = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>>;

/// A connection to a server.
pub(in crate::store) struct Session {
    link: Link,
    statements: RefCell<HashMap<String, Statement>>,
    pending: RefCell<VecDeque<PendingAnswer>>,
    /// The lead under which it writes; `None`: this connection may not write.
    lead: RefCell<Option<Lead>>,
    /// Whether the open transaction is fenced.
    fenced: Cell<bool>,
    /// Whether the outcome of a commit is unknown or insufficient.
    in_doubt: Cell<bool>,
    /// Whether it broke off, or an answer timed out.
    lost: Cell<bool>,
    answer_timeout: Cell<Duration>,
}

impl Session {
    pub(super) fn of(link: Link) -> Self {
        Self {
            link,
            statements: RefCell::default(),
            pending: RefCell::default(),
            lead: RefCell::new(None),
            fenced: Cell::new(false),
            in_doubt: Cell::new(false),
            lost: Cell::new(false),
            answer_timeout: Cell::new(ANSWER_TIMEOUT),
        }
    }

    /// Waits for answers for as long as they take.
    pub(super) fn disable_timeouts(&self) {
        self.answer_timeout.set(LONG_ANSWER_TIMEOUT);
    }

    /// Allows this connection to write, as the leader.
    pub(super) fn lead(&self, lead: Lead) {
        *self.lead.borrow_mut() = Some(lead);
    }

    /// Returns the position of the leader.
    pub(super) fn leads(&self) -> Option<Lead> {
        *self.lead.borrow()
    }

    /// Returns whether a commit was sent whose outcome is unknown.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt.get()
    }

    /// Runs several statements without values, by the simple protocol.
    pub(super) fn batch(&self, sql: &str) -> SqlResult<()> {
        self.settle()?;
        self.answer(self.link.client.batch_execute(sql))
    }

    /// Notifies `bell` of each notification on these channels, as long as the connection lasts.
    pub(super) fn listen(&self, channels: &[String], bell: watch::Sender<u64>) -> SqlResult<()> {
        self.link.heard().ring_with(bell);
        let all: Vec<String> = channels.iter().map(|channel| format!("LISTEN {channel}")).collect();
        self.batch(&all.join("; "))
    }

    /// Sends a statement without values; its answer is checked later.
    fn send(&self, sql: &'static str) -> SqlResult<()> {
        let client = self.link.client.clone();
        self.push(Box::pin(async move { client.batch_execute(sql).await.map(|()| 0) }))
    }

    /// Waits for an answer.
    fn answer<T>(&self, work: impl Future<Output = Result<T, Error>>) -> SqlResult<T> {
        self.noted(wait(in_time(self.answer_timeout.get(), work)))
    }

    /// Marks the connection as lost on such an error, so that it is not used again.
    fn noted<T>(&self, answer: SqlResult<T>) -> SqlResult<T> {
        if answer.as_ref().is_err_and(|error| error.kind == SqlErrorKind::Lost) {
            self.lost.set(true);
        }
        answer
    }

    /// Polls the work once, which sends it, and queues its answer.
    fn push(&self, mut work: PendingAnswer) -> SqlResult<()> {
        let first = wait(poll_fn(|context| Poll::Ready(work.as_mut().poll(context))));
        match first {
            Poll::Ready(answer) => {
                self.settle()?;
                return answer.map(|_| ()).map_err(|error| error_of(&error));
            }
            Poll::Pending => self.pending.borrow_mut().push_back(work),
        }
        if self.pending.borrow().len() < MAX_PENDING_ANSWERS { Ok(()) } else { self.settle() }
    }

    /// Waits for the pending answers. Returns the first error: later ones only say that the
    /// transaction has failed.
    fn settle(&self) -> SqlResult<()> {
        let mut first = Ok(());
        loop {
            let next = self.pending.borrow_mut().pop_front();
            let Some(work) = next else { return first };
            let answer = self.answer(work);
            if self.lost.get() {
                self.pending.borrow_mut().clear();
            }
            if first.is_ok() {
                first = answer.map(|_| ());
            }
        }
    }

    fn prepared(&self, sql: &str) -> SqlResult<Statement> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let prepared = self.answer(self.link.client.prepare(&numbered(sql)));
        let statement = prepared.or_else(|error| {
            // in a failed transaction, the error that failed it counts
            self.settle()?;
            Err(error)
        })?;
        self.statements.borrow_mut().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn execution(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<PendingAnswer> {
        let statement = self.prepared(sql)?;
        let values: Vec<Bound> = values.iter().map(Bound::of).collect();
        let client = self.link.client.clone();
        Ok(Box::pin(async move { client.execute_raw(&statement, values).await }))
    }

    /// Sends the statement, then waits for all earlier answers, and for its own; returns both results.
    fn executed(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<(SqlResult<()>, SqlResult<u64>)> {
        let mut work = self.execution(sql, values)?;
        let first = wait(poll_fn(|context| Poll::Ready(work.as_mut().poll(context))));
        let before = self.settle();
        let own = match first {
            Poll::Ready(answer) => answer.map_err(|error| error_of(&error)),
            Poll::Pending => self.answer(work),
        };
        Ok((before, own))
    }
}

/// Applies a timeout to an answer.
async fn in_time<T>(answer_timeout: Duration, work: impl Future<Output = Result<T, Error>>) -> SqlResult<T> {
    match tokio::time::timeout(answer_timeout, work).await {
        Ok(answer) => answer.map_err(|error| error_of(&error)),
        Err(_) => Err(SqlError::new(SqlErrorKind::Lost, "the server does not answer")),
    }
}

impl SqlConnection for Session {
    fn run(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<()> {
        let work = self.execution(sql, values)?;
        self.push(work)?;
        // outside of a transaction, nothing later would check the answer
        if self.fenced.get() { Ok(()) } else { self.settle() }
    }

    fn change(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64> {
        let (before, own) = self.executed(sql, values)?;
        before.and(own)
    }

    fn change_unless_refused(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64> {
        // prepared before the savepoint, since preparing waits for its own answer
        self.prepared(sql)?;
        self.send("SAVEPOINT unless_refused")?;
        let (before, own) = self.executed(sql, values)?;
        before?;
        match own {
            Err(error) if error.kind == SqlErrorKind::OfRules => {
                self.send("ROLLBACK TO SAVEPOINT unless_refused").map(|()| 0)
            }
            Ok(changed) => self.send("RELEASE SAVEPOINT unless_refused").map(|()| changed),
            Err(error) => Err(error),
        }
    }

    fn each(&self, sql: &str, values: &[Value<'_>], each: &mut Each<'_>) -> SqlResult<()> {
        let statement = self.prepared(sql)?;
        self.settle()?;
        let values: Vec<Bound> = values.iter().map(Bound::of).collect();
        let answer_timeout = self.answer_timeout.get();
        let answer = wait(async {
            let rows = in_time(answer_timeout, self.link.client.query_raw(&statement, values)).await?;
            let mut rows = pin!(rows);
            while let Some(row) = in_time(answer_timeout, rows.try_next()).await? {
                if each(&row)? == ControlFlow::Break(()) {
                    break;
                }
            }
            Ok(())
        });
        self.noted(answer)
    }

    fn open_transaction(&self, scope: Scope) -> SqlResult<()> {
        self.settle()?;
        match (scope, self.leads()) {
            (Scope::Read, _) => self.send("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            (Scope::Write, None) => self.send("BEGIN"),
            (Scope::Write, Some(lead)) => {
                // prepared before the transaction: a lost connection is then not one of its errors
                self.prepared(Fence::SQL)?;
                self.send("BEGIN")?;
                self.fenced.set(true);
                self.run(Fence::SQL, &lead.values()).inspect_err(|_| self.roll_back())
            }
        }
    }

    fn commit_transaction(&self) -> SqlResult<()> {
        self.settle()?;
        self.in_doubt.set(self.fenced.get());
        let _ = self.link.heard().was_not_replicated();
        let committed = self.answer(self.link.client.batch_execute("COMMIT"));
        match &committed {
            Ok(()) if self.link.heard().was_not_replicated() => {
                let what = "the commit is on no standby yet, and waiting for one was broken off";
                return Err(SqlError::new(SqlErrorKind::Lost, what));
            }
            // the outcome is unknown
            Err(error) if error.kind == SqlErrorKind::Lost => return committed,
            _ => {}
        }
        self.in_doubt.set(false);
        if self.fenced.take() && committed.is_ok() {
            *self.lead.borrow_mut() = self.leads().map(Lead::next);
        }
        committed
    }

    fn roll_back(&self) {
        let _ = self.settle();
        self.fenced.set(false);
        if self.is_open() {
            let _ = self.answer(self.link.client.batch_execute("ROLLBACK"));
        }
    }

    fn is_open(&self) -> bool {
        !self.link.client.is_closed() && !self.lost.get() && !self.is_in_doubt()
    }

    fn hex(&self, column: &str) -> String {
        format!("upper(encode({column}, 'hex'))")
    }

    fn has_nodes(&self) -> bool {
        true
    }

    fn columns_of(&self, table: &str) -> SqlResult<Vec<(String, ColumnKind)>> {
        let db: &Sql = self;
        let sql = "SELECT column_name::text, data_type::text FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = ?1 ORDER BY ordinal_position";
        db.rows(sql, params![table], |row| {
            let kind = match row.text(1)? {
                Some("bigint") => ColumnKind::Integer,
                Some("double precision") => ColumnKind::Real,
                Some("bytea") => ColumnKind::Blob,
                _ => ColumnKind::Text,
            };
            Ok((row.get(0)?, kind))
        })
    }

    fn last_number(&self, table: &str) -> SqlResult<i64> {
        let db: &Sql = self;
        let sql =
            format!("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {table}_id_seq");
        db.one(&sql, &[], |row| row.get(0))
    }

    fn set_last_number(&self, table: &str, last: i64) -> SqlResult<()> {
        let db: &Sql = self;
        let sql = format!("SELECT setval('{table}_id_seq', ?1, ?2)");
        db.rows(&sql, params![last.max(1), last > 0], |_| Ok(())).map(|_| ())
    }

    fn part(&self) -> SqlResult<()> {
        let db: &Sql = self;
        let last = db.begin(Scope::Write)?;
        super::fence::give_up(&*last)?;
        last.commit()
    }

    fn used_bytes(&self) -> SqlResult<u64> {
        super::size::used(self)
    }

    fn size(&self) -> SqlResult<u64> {
        super::size::on_disk(self)
    }
}
