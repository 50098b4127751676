//! Against real SQLite files.
mod copies;
mod files;
mod health;
mod ledger;
mod money;
mod notes;
mod retention;

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
        session: Some("night".into()),
        mode: RunMode::Normal,
        config_hash: ConfigHash(1),
        processes: Vec::new(),
        used: Usage::default(),
        in_doubt: Vec::new(),
    }))
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
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bgagent.db")
    }

    fn open(&self) -> (Store, Restored) {
        Store::open(&self.path()).unwrap()
    }
}

#[tokio::test]
async fn what_is_committed_is_there_after_a_restart() {
    let db = Db::new();
    let (store, restored) = db.open();
    assert!(restored.agents.is_empty() && !restored.unclean);
    let mut full = record("a");
    full.desired = Desired::Paused;
    full.reason = Some("tea".into());
    full.resume_at = Some(t(99));
    full.held = Held::Kept;
    full.judged_until = Some(t(5));
    (full.floor, full.origin, full.silent) = (Some(t(4)), Some(t(7)), true);
    full.skip_next = true;
    full.last_end = Some(t(4));
    full.counters = Counters { runs: 5, successes: 3, errors: 2, errors_in_row: 1, skipped: 9 };
    full.last_run = Some(LastRun {
        run: run(1),
        kept: false,
        status: RunStatus::Failed,
        started_at: Some(t(1)),
        finished_at: t(2),
        duration: SignedDuration::from_micros(123_456),
        error: Some(RunError::new(ErrorKind::Signal, "ended")),
    });
    full.last_success = Some(t(3));
    full.circuit = Some(CircuitRecord { opened_at: t(6), until: t(7) });
    full.told_at = Some(t(8));
    let process = Process { pid: 42, start: u64::MAX, boot: u64::MAX - 1 };
    let incident = IncidentRecord {
        agent: id("a"),
        key: "disk:/".into(),
        severity: Severity::Critical,
        title: "full".into(),
        since: t(1),
        opened_at: Some(t(2)),
        seen_at: t(3),
        count: 4,
        resolved_at: None,
        acked_at: Some(t(4)),
        told_at: None,
        diagnosis: None,
        by: FoundBy::Check,
        run: None,
    };
    let facts = vec![
        entry(0, Fact::AgentSaved(Box::new(full.clone()))),
        entry(0, Fact::AgentSaved(Box::new(record("b")))),
        entry(1, claim(1, Some(1))),
        entry(
            1,
            Fact::AttemptStarted {
                run: run(1),
                agent: id("a"),
                attempt: 1,
                started_at: t(1),
                run_count: 1,
                trigger: Trigger::Schedule,
                slot: Some(t(1)),
                process: Some(process),
            },
        ),
        entry(2, Fact::IncidentSaved(Box::new(incident.clone()))),
    ];
    store.commit(facts).await.unwrap();
    drop(store);
    let (_store, restored) = db.open();
    assert_eq!(restored.agents, [full, record("b")]);
    assert_eq!(restored.incidents, [incident]);
    let [open] = &restored.open_runs[..] else { panic!("one open run") };
    assert_eq!(
        (open.status, open.attempt, open.started_at, &open.processes[..]),
        (RunStatus::Running, 1, Some(t(1)), &[process][..])
    );
}

#[tokio::test]
async fn a_finding_stays_with_its_incident() {
    let db = Db::new();
    let (store, _) = db.open();
    let mut incident = IncidentRecord {
        agent: id("a"),
        key: "disk:/".into(),
        severity: Severity::Warning,
        title: "full".into(),
        since: t(1),
        opened_at: Some(t(1)),
        seen_at: t(1),
        count: 1,
        resolved_at: None,
        acked_at: None,
        told_at: None,
        diagnosis: None,
        by: FoundBy::Check,
        run: None,
    };
    let found = |text: &str| {
        let diagnosis = Box::new(Diagnosis { by: id("d"), run: run(7), at: t(5), text: text.into() });
        Fact::IncidentDiagnosed { agent: id("a"), key: "disk:/".into(), since: t(1), diagnosis }
    };
    let saved = |incident: &IncidentRecord| Fact::IncidentSaved(Box::new(incident.clone()));
    let second = IncidentRecord { since: t(9), seen_at: t(9), opened_at: Some(t(9)), ..incident.clone() };
    store.commit(vec![entry(1, saved(&incident)), entry(5, found("a log"))]).await.unwrap();
    // The row is written over without it, ends, and another one of the same key begins.
    (incident.count, incident.resolved_at) = (2, Some(t(6)));
    store.commit(vec![entry(6, saved(&incident)), entry(9, saved(&second))]).await.unwrap();
    store.commit(vec![entry(10, found("a larger log"))]).await.unwrap();
    incident.diagnosis = Some(Diagnosis { by: id("d"), run: run(7), at: t(5), text: "a larger log".into() });
    let kept = store.read(|reader| reader.incidents(true, 10)).await.unwrap();
    assert_eq!(kept, [second, incident]);
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
async fn numbers_have_no_gap_and_many_commits_share_few_syncs() {
    let db = Db::new();
    let (store, _) = db.open();
    let mut commits = tokio::task::JoinSet::new();
    for n in 0..200 {
        let store = store.clone();
        commits
            .spawn(async move { store.commit(vec![entry(n, stopping(n as usize))]).await.unwrap().events });
    }
    assert_eq!(commits.join_all().await.into_iter().sum::<u64>(), 200);
    store.close().await.unwrap();
    assert!(matches!(store.commit(vec![]).await, Err(StoreError::Closed)));
    let (store, restored) = db.open();
    assert!(!restored.unclean);
    assert_eq!(store.newest().borrow().0, 200);
    store.commit(vec![entry(300, stopping(0))]).await.unwrap();
    let page = store.read(|reader| reader.events_after(Seq(0), &EventFilter::default(), 1000)).await.unwrap();
    let numbers: Vec<u64> = page.events.iter().map(|event| event.seq.0).collect();
    assert_eq!(numbers, (1..=201).collect::<Vec<_>>());
    assert!(page.at_end && page.gap.is_none());
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

#[tokio::test]
async fn filters_find_what_they_name() {
    let db = Db::new();
    let (store, _) = db.open();
    let mut facts = Vec::new();
    for (n, name) in ["news-eu", "news-us", "disk"].into_iter().enumerate() {
        facts.push(entry(n as i64, Fact::CircuitClosed { agent: id(name), reason: "r".into() }));
        facts.push(entry(n as i64, stopping(n)));
    }
    store.commit(facts).await.unwrap();
    let find = async |agents: &[&str], types: &[&str]| {
        let filter = EventFilter {
            agents: agents.iter().map(ToString::to_string).collect(),
            types: types.iter().map(ToString::to_string).collect(),
            ..EventFilter::default()
        };
        let asked = filter.clone();
        let last = store.read(move |reader| reader.cursor_before_last(1, &asked)).await.unwrap();
        let page = store.read(move |reader| reader.events_after(Seq(0), &filter, 100)).await.unwrap();
        assert_eq!(page.events.last().map(|event| event.seq.0 - 1), Some(last.0));
        page.events.len()
    };
    assert_eq!(find(&[], &[]).await, 6);
    assert_eq!(find(&["disk"], &[]).await, 1);
    assert_eq!(find(&["news-*"], &[]).await, 2);
    assert_eq!(find(&["news-*", "disk"], &["circuit_closed"]).await, 3);
    assert_eq!(find(&[], &["daemon_*"]).await, 3);
    let since = store.read(|reader| reader.cursor_at(t(1))).await.unwrap();
    assert_eq!(since, Seq(2));
}

#[tokio::test]
async fn output_keeps_its_head_and_its_tail() {
    let db = Db::new();
    let (store, _) = db.open();
    store.commit(vec![entry(0, claim(1, None))]).await.unwrap();
    for n in 0..10u64 {
        let chunk = OutputChunk { n, stream: Stream::Stdout, at: t(0), text: format!("{n}\n") };
        let drop_before = n.saturating_sub(2).max(2);
        let fact = Fact::OutputCaptured {
            run: run(1),
            agent: id("a"),
            attempt: 1,
            chunks: vec![chunk],
            keep_head: 2,
            drop_before,
            dropped_bytes: (drop_before - 2) * 2,
            told: true,
        };
        store.commit(vec![entry(0, fact)]).await.unwrap();
    }
    let page = store.read(|reader| reader.output(run(1), 0, 1 << 20)).await.unwrap();
    let text: String = page.chunks.iter().map(|(_, chunk)| chunk.text.as_str()).collect();
    assert_eq!((text.as_str(), page.dropped_bytes), ("0\n1\n7\n8\n9\n", 10));
    let rest = store.read(move |reader| reader.output(run(1), page.position, 1 << 20)).await.unwrap();
    assert!(rest.chunks.is_empty());
    let short = run(1).short();
    let found = store.read(move |reader| reader.find_run(&short)).await.unwrap();
    assert!(matches!(found, FoundRun::One(row) if row.claim.run == run(1)));
}

#[tokio::test]
async fn the_outbox_gives_what_is_due() {
    let db = Db::new();
    let (store, _) = db.open();
    let queued = Fact::NotificationQueued {
        target: "ops".into(),
        notice: Box::new(Notice::new(&id("a"), TellOn::Failed, "s".into(), "b".into())),
    };
    store.commit(vec![entry(0, queued)]).await.unwrap();
    let due = async |secs: i64| store.read(move |reader| reader.outbox_due(t(secs), 9)).await.unwrap();
    let row = due(1).await.remove(0);
    let failed = Fact::NotificationFailed {
        id: row.id,
        target: "ops".into(),
        agent: id("a"),
        run: None,
        tries: 1,
        error: "e".into(),
        retry_at: Some(t(60)),
    };
    store.commit(vec![entry(1, failed)]).await.unwrap();
    assert!(due(59).await.is_empty());
    assert_eq!(store.read(|reader| reader.outbox_next(t(0))).await.unwrap(), Some(t(60)));
    assert_eq!(due(60).await[0].tries, 1);
    let sent =
        Fact::NotificationSent { id: row.id, target: "ops".into(), agent: id("a"), run: None, tries: 2 };
    store.commit(vec![entry(61, sent)]).await.unwrap();
    assert!(due(999).await.is_empty());
    // one that is given up goes when it is old
    let queued = || Fact::NotificationQueued {
        target: "ops".into(),
        notice: Box::new(Notice::new(&id("a"), TellOn::Failed, "s".into(), "b".into())),
    };
    store.commit(vec![entry(62, queued()), entry(62, queued())]).await.unwrap();
    assert_eq!(due(62).await[0].id, row.id + 1, "the number of a message that was sent is not given again");
    let given_up = Fact::NotificationFailed {
        id: due(62).await[0].id,
        target: "ops".into(),
        agent: id("a"),
        run: None,
        tries: 9,
        error: "e".into(),
        retry_at: None,
    };
    store.commit(vec![entry(63, given_up)]).await.unwrap();
    let count = || {
        let connection = rusqlite::Connection::open(db.path()).unwrap();
        connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let keep = Retention { runs: SignedDuration::from_secs(100), ..Retention::default() };
    store.prune(keep, settled(100)).await.unwrap();
    assert_eq!(count(), 2);
    store.prune(keep, settled(200)).await.unwrap();
    assert_eq!(count(), 1, "what is still to be delivered stays");
}

#[tokio::test]
async fn of_messages_about_one_problem_the_newest_stands_for_all() {
    let db = Db::new();
    let (store, _) = db.open();
    let queued = |target: &str, key: Option<&str>, subject: &str| {
        let notice = Notice::new(&id("a"), TellOn::IncidentOpened, subject.into(), String::new());
        let notice = Box::new(Notice { key: key.map(str::to_owned), ..notice });
        entry(0, Fact::NotificationQueued { target: target.into(), notice })
    };
    let all = vec![
        queued("ops", Some("disk"), "full"),
        queued("ops", None, "one"),
        queued("ops", None, "two"),
        queued("boss", Some("disk"), "full"),
        queued("ops", Some("disk"), "over"),
        queued("ops", Some("net"), "down"),
    ];
    store.commit(all).await.unwrap();
    let due = async |secs: i64| {
        let rows = store.read(move |reader| reader.outbox_due(t(secs), 9)).await.unwrap();
        let mut rows: Vec<(i64, String)> = rows.into_iter().map(|row| (row.id, row.subject)).collect();
        rows.sort();
        rows
    };
    let subjects = |rows: &[(i64, String)]| rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>();
    let rows = due(1).await;
    assert_eq!(subjects(&rows), ["one", "two", "full", "over", "down"]);
    let waiting = store.read(|reader| reader.outbox_targets(t(1))).await.unwrap();
    assert_eq!(waiting.iter().map(|one| one.waiting).collect::<Vec<_>>(), [1, 4]);
    // an older state does not come after a newer one that has to wait
    let failed = |id: i64, retry_at| Fact::NotificationFailed {
        id,
        target: "ops".into(),
        agent: self::id("a"),
        run: None,
        tries: 1,
        error: "busy".into(),
        retry_at,
    };
    let over = rows[3].0;
    store.commit(vec![entry(1, failed(over, Some(t(60))))]).await.unwrap();
    assert_eq!(subjects(&due(2).await), ["one", "two", "full", "down"]);
    let sent = Fact::NotificationSent { id: over, target: "ops".into(), agent: id("a"), run: None, tries: 2 };
    store.commit(vec![entry(60, sent)]).await.unwrap();
    assert_eq!(subjects(&due(99).await), ["one", "two", "full", "down"]);
    // what is given up takes those before it along
    store.commit(vec![queued("ops", Some("net"), "up")]).await.unwrap();
    let up = due(99).await.into_iter().find(|row| row.1 == "up").unwrap().0;
    store.commit(vec![entry(99, failed(up, None))]).await.unwrap();
    assert_eq!(subjects(&due(99).await), ["one", "two", "full"]);
    let targets = store.read(|reader| reader.outbox_targets(t(100))).await.unwrap();
    assert_eq!((targets[1].given_up, targets[1].error.as_deref()), (2, Some("busy")));
}

/// A reading, not a test: `cargo test --release -- --ignored --nocapture reading`.
#[tokio::test]
#[ignore = "a reading of speed"]
async fn reading_of_speed() {
    let db = Db::new();
    let (store, _) = db.open();
    let began = std::time::Instant::now();
    for batch in 0..100 {
        let facts = (0..1000)
            .map(|n| entry(batch, Fact::CircuitClosed { agent: id("a"), reason: n.to_string() }))
            .collect();
        store.commit(facts).await.unwrap();
    }
    println!("events: {:.0} /s", 100_000.0 / began.elapsed().as_secs_f64());
}

#[tokio::test]
async fn ranges_of_the_ledger_never_overlap() {
    let db = Db::new();
    let (store, _) = db.open();
    let superseded =
        |first, last, count, extends| judged(first, last, count, Verdict::Superseded, None, extends);
    store
        .commit(vec![entry(1, superseded(10, 20, 11, false)), entry(2, superseded(40, 40, 1, false))])
        .await
        .unwrap();
    // within it, over its ends, around it, by growth; and no claim within it
    for fact in [
        superseded(15, 15, 1, false),
        superseded(5, 10, 6, false),
        superseded(20, 30, 11, false),
        superseded(5, 30, 26, false),
        superseded(21, 45, 25, true),
    ] {
        assert_eq!(store.commit(vec![entry(3, fact)]).await.unwrap().refused, []);
    }
    let claimed = vec![
        entry(4, claim(1, Some(15))),
        entry(4, judged(15, 15, 1, Verdict::Ran, Some(run(1)), false)),
        entry(4, claim(2, Some(30))),
        entry(4, judged(30, 30, 1, Verdict::Ran, Some(run(2)), false)),
    ];
    assert_eq!(store.commit(claimed).await.unwrap().refused, [run(1)]);
    let rows = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.first, row.last, row.count)).collect();
    assert_eq!(rows, [(t(10), t(20), 11), (t(30), t(30), 1), (t(40), t(40), 1)]);
    // whoever writes
    let raw = rusqlite::Connection::open(db.path()).unwrap();
    for sql in [
        "INSERT INTO ledger SELECT agent, first + 1, last, 1, verdict, cause, NULL FROM ledger",
        "UPDATE ledger SET last = last + 1000000000",
        "UPDATE ledger SET first = first - 1000000000",
        "INSERT INTO runs(id, agent, trigger, slot, status, attempt, queued_at, chain, config_hash)
           SELECT randomblob(16), agent, 'schedule', last, 'queued', 0, 0, 0, 0 FROM ledger WHERE verdict <> 'ran'",
    ] {
        assert!(raw.execute(sql, []).is_err(), "{sql}");
    }
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
async fn a_record_of_very_many_slots_is_counted() {
    let db = Db::new();
    let (store, _) = db.open();
    let many = 400_000_000;
    let fact = judged(0, 5 * many, many as u64, Verdict::MissedDowntime, None, false);
    let more = judged(5 * many + 5, 5 * many + 5 * many, many as u64, Verdict::MissedDowntime, None, false);
    store.commit(vec![entry(0, fact), entry(0, more)]).await.unwrap();
    let counted = store.read(move |reader| reader.verdicts_since(&id("a"), t(5 * many - 10))).await.unwrap();
    assert_eq!(counted[&Verdict::MissedDowntime], many as u64 + 2);
}

#[tokio::test]
async fn rows_are_handed_on_as_they_are_stored() {
    let db = Db::new();
    let (store, _) = db.open();
    let reason = |n: usize| Fact::DaemonStopping { reason: "x".repeat(n) };
    store.commit((0..10).map(|n| entry(n, reason(100))).collect()).await.unwrap();
    let page = |after, max, bytes| store.read(move |reader| reader.rows_after(Seq(after), max, bytes));
    let all = page(0, 100, 10_000).await.unwrap();
    let seqs: Vec<u64> = all.rows.iter().map(|row| row.seq.0).collect();
    assert_eq!((seqs, all.newest, all.gap), ((1..=10).collect(), Seq(10), None));
    let logged =
        store.read(|reader| reader.events_after(Seq(0), &EventFilter::default(), 100)).await.unwrap();
    for (row, event) in all.rows.iter().zip(&logged.events) {
        assert_eq!((row.at, &row.kind, &row.payload), (event.ts, &event.kind, &event.payload.to_string()));
    }
    // bounded, and never empty for want of room
    assert_eq!(page(3, 2, 10_000).await.unwrap().rows.len(), 2);
    assert_eq!(page(0, 100, 300).await.unwrap().rows.len(), 2);
    assert_eq!(page(0, 100, 1).await.unwrap().rows.len(), 1);
    assert_eq!(page(10, 100, 10_000).await.unwrap().begins_at(), None);
    // what is no JSON is nothing, as for readers of the log
    let by_hand = rusqlite::Connection::open(db.path()).unwrap();
    by_hand.execute("UPDATE events SET payload = '{broken' WHERE seq = 4", []).unwrap();
    assert_eq!(page(3, 1, 10_000).await.unwrap().rows[0].payload, "null");
}

#[tokio::test]
async fn where_a_copy_began_stays_as_long_as_the_same_is_wanted() {
    let db = Db::new();
    let (store, _) = db.open();
    let began = |from: &str, after| {
        let fact = Fact::ExportBegan { target: "redis://h s".into(), from: from.into(), after: Seq(after) };
        store.commit(vec![entry(1, fact)])
    };
    let known = || store.read(|reader| reader.export_began("redis://h s"));
    assert_eq!(known().await.unwrap(), None);
    for (from, after, kept) in
        [("now", 7, ("now", 7)), ("now", 9, ("now", 7)), ("1", 0, ("1", 0)), ("11", 10, ("11", 10))]
    {
        began(from, after).await.unwrap();
        assert_eq!(known().await.unwrap(), Some((kept.0.to_owned(), Seq(kept.1))));
    }
    assert_eq!(store.read(|reader| reader.export_began("redis://h t")).await.unwrap(), None);
}
