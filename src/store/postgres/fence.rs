//! The fence: only the daemon whose epoch is in the row of `fleet` may write. Each of its
//! transactions begins by updating that row, so two daemons never write at once, regardless of
//! clocks, pauses and lost connections.
use super::node;
use crate::store::sql::{Scope, Sql, SqlResult, Value, params};

/// How long a lead lasts without renewal, by the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// For a daemon, renewed by every transaction: 25 s, as in [`Fence::SQL`].
    Daemon,
    /// For moving all records in one transaction.
    Move,
}

impl Lease {
    fn seconds(self) -> i64 {
        match self {
            Self::Daemon => 25,
            Self::Move => 3600,
        }
    }
}

/// The statement that fences the leader's transactions.
pub(super) struct Fence;

impl Fence {
    /// Renews the lead, and fails if it belongs to another daemon: the division by zero aborts the
    /// transaction, including all statements already sent after it.
    pub(super) const SQL: &str =
        "WITH u AS (UPDATE fleet SET turn = turn + 1, expires = now() + interval '25 seconds',
           backend = pg_backend_pid() WHERE epoch = ?1 AND turn = ?2 RETURNING 1)
         SELECT 1 / count(*) FROM u";
}

/// The position of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead {
    /// Grows with each daemon that takes the lead.
    pub(super) epoch: i64,
    /// Grows with each transaction.
    pub(super) turn: i64,
}

impl Lead {
    /// Returns the position after one more transaction.
    pub(super) fn next(self) -> Self {
        Self { turn: self.turn + 1, ..self }
    }

    pub(super) fn values(&self) -> [Value<'static>; 2] {
        [Value::Integer(self.epoch), Value::Integer(self.turn)]
    }

    /// Reads the position from the row, waiting for a transaction that is still open.
    pub(super) fn found(db: &Sql) -> SqlResult<Self> {
        db.one("SELECT epoch, turn FROM fleet FOR UPDATE", &[], |row| {
            Ok(Self { epoch: row.get(0)?, turn: row.get(1)? })
        })
    }
}

/// The holder of a lead that has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeadHolder {
    pub(super) leader: String,
    /// Seconds until its lease expires, unless it renews it.
    pub(super) left: i64,
}

/// Takes the lead for `me`, if no other daemon has it. Ends the session of an earlier life of the
/// same daemon: the caller holds the lock of its state folder, so that life is over.
pub(super) fn take(db: &Sql, me: &str, lease: Lease) -> SqlResult<Result<Lead, LeadHolder>> {
    let holder = db.one(
        "SELECT leader, CAST(ceil(greatest(extract(epoch FROM expires - now()), 0)) AS BIGINT), leader = '' OR leader = ?1
           OR expires < now(), epoch, turn FROM fleet",
        params![me],
        |row| {
            let found = Lead { epoch: row.get(3)?, turn: row.get(4)? };
            Ok((LeadHolder { leader: row.get(0)?, left: row.get(1)? }, row.get::<bool>(2)?, found))
        },
    )?;
    let (holder, is_free, found) = holder;
    if !is_free {
        return Ok(Err(holder));
    }
    // a session that hangs in a transaction would hold the row; one that has updated it since is spared
    db.rows(
        "SELECT pg_terminate_backend(a.pid) FROM fleet f JOIN pg_stat_activity a
           ON a.pid = f.backend AND a.backend_start = f.backend_start AND a.pid <> pg_backend_pid()
         WHERE f.epoch = ?1 AND f.turn = ?2",
        &found.values(),
        |_| Ok(()),
    )?;
    let taken = db.row(
        "UPDATE fleet SET epoch = epoch + 1, leader = ?1, expires = now() + ?2 * interval '1 second', backend = pg_backend_pid(),
           backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
         WHERE leader = '' OR leader = ?1 OR expires < now() RETURNING epoch, turn",
        params![me, lease.seconds()],
        |row| Ok(Lead { epoch: row.get(0)?, turn: row.get(1)? }),
    )?;
    Ok(taken.ok_or(holder))
}

/// Returns the daemon that leads now, by the database's clock: its machine and its state folder.
/// `None` if there is none.
pub(in crate::store) fn leader(db: &Sql) -> SqlResult<Option<String>> {
    let now = "SELECT leader FROM fleet WHERE leader <> '' AND expires > now()";
    Ok(db.row(now, &[], |row| row.get::<String>(0))?.map(|found| node::shown(&found).to_owned()))
}

/// Gives up the lead, in the current transaction.
pub(super) fn give_up(db: &Sql) -> SqlResult<()> {
    db.run("UPDATE fleet SET leader = '', expires = now()", &[])
}

/// Renews the lead from another connection than the one that took it, and records that connection.
pub(super) fn renew_by_another(db: &Sql) -> SqlResult<()> {
    let change = db.begin(Scope::Write)?;
    change.run(
        "UPDATE fleet SET backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())",
        &[],
    )?;
    change.commit()
}

/// Extends the lead by a lease of this kind, within the current transaction, which is the first of
/// the leading daemon.
pub(super) fn extend(db: &Sql, lease: Lease) -> SqlResult<()> {
    let since = if lease == Lease::Daemon { ", led_since = now()" } else { "" };
    let sql = format!("UPDATE fleet SET expires = now() + ?1 * interval '1 second'{since}");
    db.run(&sql, params![lease.seconds()])
}

/// Renews the lead without writing anything else.
pub(super) fn renew(db: &Sql) -> SqlResult<()> {
    db.begin(Scope::Write)?.commit()
}
