//! Against real databases: files of SQLite, and a server of PostgreSQL where there is one.
mod copies;
mod files;
// `mod cases;` stands in both: what holds of a store, whichever database it is in
mod in_a_file;
mod notes;
mod on_a_server;
mod server;

use super::sqlite::testing;
use super::*;
use crate::domain::*;
use jiff::SignedDuration;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

fn t(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn run(n: u64) -> RunId {
    RunId::make(1_800_000_000_000, 7, n)
}

/// The clock says so, and that has long been so.
fn settled(secs: i64) -> Lived {
    Lived { now: t(secs), steady: true, since: SignedDuration::from_hours(10_000) }
}

fn entry(secs: i64, fact: Fact) -> Entry {
    Entry { at: t(secs), fact }
}

fn record(name: &str) -> AgentRecord {
    AgentRecord {
        agent: id(name),
        desired: Desired::Active,
        reason: None,
        resume_at: None,
        resume_after: None,
        awaited_since: None,
        held: Held::No,
        anchor: t(0),
        judged_until: None,
        floor: None,
        origin: None,
        silent: false,
        schedule: "every 1m".into(),
        next_due: Some(t(60)),
        skip_next: false,
        last_end: None,
        counters: Counters::default(),
        last_run: None,
        last_success: None,
        circuit: None,
        told_at: None,
        removed: false,
        config_hash: ConfigHash(u64::MAX),
    }
}

/// What a claim was for, as the log has it.
fn started_by() -> Event {
    let payload = Payload::CircuitClosed(CircuitClosed { reason: "x".into() });
    Event { seq: Seq(1), ts: t(0), agent_id: Some(id("b")), run_id: None, session_id: None, payload }
}

fn claim(n: u64, slot: Option<i64>) -> Fact {
    Fact::RunClaimed(Box::new(RunRecord {
        run: run(n),
        agent: id("a"),
        trigger: if slot.is_some() { Trigger::Schedule } else { Trigger::Manual },
        slot: slot.map(t),
        status: RunStatus::Queued,
        attempt: 0,
        queued_at: t(slot.unwrap_or(0)),
        started_at: None,
        not_before: None,
        clock_moved: SignedDuration::ZERO,
        chain: 0,
        event: Some(Arc::new(started_by())),
        query: None,
        params: Some(Arc::new([("day".to_owned(), "2026-11-01".into())].into())),
        past: None,
        session: Some("night".into()),
        mode: RunMode::Normal,
        config_hash: ConfigHash(1),
        processes: Vec::new(),
        used: Usage::default(),
        in_doubt: Vec::new(),
        node: None,
    }))
}

/// The end of a run of `a` that completed.
fn ended(n: u64) -> Fact {
    Fact::RunEnded {
        run: run(n),
        real: true,
        agent: id("a"),
        status: RunStatus::Completed,
        attempt: 1,
        result: None,
        untrusted: false,
        error: None,
        exit_code: Some(0),
        usage: Usage::default(),
        duration: SignedDuration::ZERO,
        run_count: 1,
        error_count: 0,
        warnings: Vec::new(),
    }
}

fn judged(first: i64, last: i64, count: u64, verdict: Verdict, run: Option<RunId>, extends: bool) -> Fact {
    Fact::SlotsJudged {
        agent: id("a"),
        first: t(first),
        last: t(last),
        count,
        verdict,
        cause: "c".into(),
        run,
        extends,
    }
}

fn stopping(n: usize) -> Fact {
    Fact::DaemonStopping { reason: n.to_string() }
}

struct Db {
    folder: tempfile::TempDir,
}

impl Db {
    /// Sixteen bytes, as an expression.
    const ANY_ID: &str = "randomblob(16)";

    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bgagent.db")
    }

    /// One for a case that holds of both databases.
    fn some() -> Option<Self> {
        Some(Self::new())
    }

    fn place(&self) -> Where {
        Where { file: self.path(), server: None }
    }

    fn open(&self) -> (Store, Restored) {
        Store::open(&self.path()).unwrap()
    }

    fn number(&self, sql: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn by_hand(&self, sql: &str) -> Result<(), String> {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.execute_batch(sql).map_err(|error| error.to_string())
    }
}

/// What breaks a rule of the database fails for good, and nothing that shares its transaction does.
#[tokio::test]
async fn only_the_guilty_commit_of_a_shared_one_fails() {
    let db = Db::new();
    let (store, _) = db.open();
    let other = rusqlite::Connection::open(db.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // the first one waits for the lock; the others share the transaction after it
    let bad = judged(5, 5, 0, Verdict::SkippedPaused, None, false);
    let facts = [stopping(0), stopping(1), bad, stopping(2)];
    let commits: Vec<_> = facts
        .into_iter()
        .map(|fact| {
            let (done, durable) = oneshot::channel();
            store.jobs.try_send(Job::Commit { entries: vec![entry(0, fact)], done }).unwrap();
            durable
        })
        .collect();
    other.execute_batch("ROLLBACK").unwrap();
    let mut events = 0;
    for (nth, commit) in commits.into_iter().enumerate() {
        match commit.await.unwrap() {
            Ok(committed) => events += committed.events,
            Err(error) => {
                assert!(matches!(error, StoreError::Refused { .. }) && !error.is_passing(), "{error}");
                assert_eq!(nth, 2);
            }
        }
    }
    assert_eq!((events, store.newest().borrow().0), (3, 3));
}

#[tokio::test]
async fn a_failed_commit_takes_no_number_and_says_who_is_in_the_way() {
    let db = Db::new();
    let (store, _) = Store::open_with(&db.path(), Duration::from_millis(50)).unwrap();
    store.commit(vec![entry(0, stopping(0))]).await.unwrap();
    let other = rusqlite::Connection::open(db.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.commit(vec![entry(1, stopping(1))]).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy(_)) && error.is_passing(), "{error}");
    other.execute_batch("COMMIT").unwrap();
    store.commit(vec![entry(2, stopping(2))]).await.unwrap();
    assert_eq!(store.newest().borrow().0, 2);
}

#[test]
fn a_migration_mends_records_that_overlap() {
    let db = rusqlite::Connection::open_in_memory().unwrap();
    for sql in &testing::MIGRATIONS[..10] {
        db.execute_batch(sql).unwrap();
    }
    db.execute_batch(
        "INSERT INTO agents(id, desired, held, anchor, schedule, skip_next, runs, successes, errors, errors_in_row, skipped, removed, config_hash)
           VALUES ('a', 'active', 0, 0, '', 0, 3, 3, 0, 0, 1101, 0, 0);
         INSERT INTO ledger(agent, first, last, count, verdict, cause) VALUES
           ('a', 1000, 1000, 1, 'ran', ''), ('a', 2000, 102000, 101, 'superseded', 's'), ('a', 5000, 5000, 1, 'ran', ''),
           ('a', 6000, 1006000, 1000, 'missed_clock', 'm'), ('a', 7000, 7000, 1, 'ran', ''), ('b', 3000, 9000, 7, 'superseded', 's');",
    )
    .unwrap();
    db.execute_batch(testing::MIGRATIONS[10]).unwrap();
    let mut rows = db
        .prepare(
            "SELECT agent || ' ' || first || ' ' || last || ' ' || verdict FROM ledger ORDER BY agent, first",
        )
        .unwrap();
    let rows: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(
        rows,
        [
            "a 1000 1000 ran",
            "a 2000 4999 superseded",
            "a 5000 5000 ran",
            "a 6000 6999 missed_clock",
            "a 7000 7000 ran",
            "a 7001 1006000 missed_clock",
            "b 3000 9000 superseded",
        ]
    );
    let (skipped, counted): (i64, i64) = db
        .query_row(
            "SELECT skipped, (SELECT sum(count) FROM ledger WHERE agent = 'a' AND verdict <> 'ran') FROM agents",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(skipped, counted);
}

#[tokio::test]
async fn space_is_given_back_in_few_pieces() {
    let db = Db::new();
    let (store, _) = db.open();
    let facts = (0..4000).map(|n| entry(n, Fact::DaemonStopping { reason: "x".repeat(1000) })).collect();
    store.commit(facts).await.unwrap();
    let keep = Retention { events: SignedDuration::ZERO, ..Retention::default() };
    let mut pieces = 1;
    while store.prune(keep, settled(9000)).await.unwrap() {
        pieces += 1;
    }
    assert!(pieces < 40, "{pieces}");
    let free: i64 = rusqlite::Connection::open(db.path())
        .unwrap()
        .query_row("PRAGMA freelist_count", [], |row| row.get(0))
        .unwrap();
    assert!(free <= 256, "{free}");
}
