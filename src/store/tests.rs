//! Against real SQLite files.
use super::*;
use crate::domain::*;
use jiff::SignedDuration;
use std::collections::BTreeMap;

fn t(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn run(n: u64) -> RunId {
    RunId::make(1_800_000_000_000, 7, n)
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
        held: Held::No,
        anchor: t(0),
        judged_until: None,
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
        chain: 0,
        event: Some("{}".into()),
        query: None,
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

#[tokio::test]
async fn a_slot_is_claimed_once_and_the_rest_of_the_batch_lands() {
    let db = Db::new();
    let (store, _) = db.open();
    let first =
        vec![entry(1, claim(1, Some(1))), entry(1, judged(1, 1, 1, Verdict::Ran, Some(run(1)), false))];
    assert_eq!(store.commit(first).await.unwrap().refused, []);
    let second = vec![
        entry(2, claim(2, Some(1))),
        entry(2, judged(1, 1, 1, Verdict::Ran, Some(run(2)), false)),
        entry(2, claim(3, None)),
        entry(2, claim(4, None)),
    ];
    assert_eq!(store.commit(second).await.unwrap().refused, [run(2)]);
    let ledger = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].run, Some(run(1)), "the first verdict stays");
    let runs =
        store.read(|reader| reader.runs(&RunFilter { limit: 10, ..RunFilter::default() })).await.unwrap();
    assert_eq!(runs.len(), 3);
}

#[tokio::test]
async fn equal_verdicts_are_one_record_also_when_a_gate_revises_them() {
    let db = Db::new();
    let (store, _) = db.open();
    let revised = |n: u64, slot: i64| Fact::SlotRevised {
        agent: id("a"),
        slot: Some(t(slot)),
        run: run(n),
        verdict: Verdict::SkippedGate,
        cause: "g".into(),
        quiet: n > 1,
    };
    let mut facts = vec![
        entry(0, judged(0, 0, 1, Verdict::SkippedPaused, None, false)),
        entry(1, judged(1, 1, 1, Verdict::SkippedPaused, None, true)),
        entry(9, judged(2, 9, 8, Verdict::SkippedPaused, None, true)),
    ];
    for n in 1..=3 {
        let slot = 10 + n as i64;
        facts.push(entry(slot, claim(n, Some(slot))));
        facts.push(entry(slot, judged(slot, slot, 1, Verdict::Ran, Some(run(n)), false)));
        facts.push(entry(slot, revised(n, slot)));
    }
    store.commit(facts).await.unwrap();
    let ledger = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    let rows: Vec<_> = ledger.iter().map(|row| (row.verdict, row.first, row.last, row.count)).collect();
    assert_eq!(rows, [(Verdict::SkippedPaused, t(0), t(9), 10), (Verdict::SkippedGate, t(11), t(13), 3)]);
    let at = store.read(|reader| reader.ledger_at(&id("a"), t(5))).await.unwrap().unwrap();
    assert_eq!(at.count, 10);
    let by_verdict = store.read(|reader| reader.verdicts_since(&id("a"), t(10))).await.unwrap();
    assert_eq!(by_verdict, BTreeMap::from([(Verdict::SkippedGate, 3)]));
    assert!(
        store
            .read(|reader| reader.runs(&RunFilter { limit: 9, ..RunFilter::default() }))
            .await
            .unwrap()
            .is_empty()
    );
}

/// Runs that found all well are one record, beside the runs that have a record of their own.
#[tokio::test]
async fn runs_without_a_record_are_one_row_of_the_ledger() {
    let db = Db::new();
    let (store, _) = db.open();
    let mut facts = Vec::new();
    for n in 0..=9 {
        let slot = 60 * n as i64;
        facts.push(entry(slot, claim(n, Some(slot))));
        facts.push(entry(slot, judged(slot, slot, 1, Verdict::Ran, Some(run(n)), false)));
        if n == 0 || n == 7 {
            continue; // these are kept
        }
        facts.push(entry(
            slot,
            Fact::SlotRevised {
                agent: id("a"),
                slot: Some(t(slot)),
                run: run(n),
                verdict: Verdict::Ran,
                cause: ALL_WELL.into(),
                quiet: true,
            },
        ));
    }
    let events = store.commit(facts).await.unwrap().newest;
    assert_eq!(events, Seq(0), "nothing is told of them");
    let ledger = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    let rows: Vec<_> = ledger.iter().map(|row| (row.first, row.last, row.count, row.is_all_well())).collect();
    assert_eq!(
        rows,
        [
            (t(0), t(0), 1, false),
            (t(60), t(360), 6, true),
            (t(420), t(420), 1, false),
            (t(480), t(540), 2, true)
        ]
    );
    // of a record that began before it, what is newer counts
    for (since, count) in [(0, 10), (60, 9), (61, 8), (240, 6), (300, 5), (420, 3), (540, 1)] {
        let found = store.read(move |reader| reader.verdicts_since(&id("a"), t(since))).await.unwrap();
        assert_eq!(found, BTreeMap::from([(Verdict::Ran, count)]), "since {since}");
    }
}

/// A clock that was a week ahead has left records there: what goes on now goes on from its own.
#[tokio::test]
async fn a_row_of_verdicts_does_not_go_on_from_a_record_ahead_of_it() {
    let db = Db::new();
    let (store, _) = db.open();
    let paused = |first, extends| judged(first, first, 1, Verdict::SkippedPaused, None, extends);
    let revised = Fact::SlotRevised {
        agent: id("a"),
        slot: Some(t(20)),
        run: run(1),
        verdict: Verdict::SkippedGate,
        cause: "c".into(),
        quiet: false,
    };
    let facts = vec![
        entry(0, judged(1000, 1060, 2, Verdict::SkippedPaused, None, false)),
        entry(0, paused(10, true)),
        entry(0, paused(11, true)),
        // a record that reaches past the slot is no record before it
        entry(0, judged(15, 30, 2, Verdict::SkippedGate, None, false)),
        entry(0, claim(1, Some(20))),
        entry(0, judged(20, 20, 1, Verdict::Ran, Some(run(1)), false)),
        entry(0, revised),
        // nor is one with another cause
        entry(
            0,
            Fact::SlotsJudged {
                agent: id("a"),
                first: t(1100),
                last: t(1100),
                count: 1,
                verdict: Verdict::SkippedPaused,
                cause: "d".into(),
                run: None,
                extends: true,
            },
        ),
    ];
    store.commit(facts).await.unwrap();
    let ledger = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    let rows: Vec<_> = ledger.iter().map(|row| (row.first, row.last, row.count)).collect();
    let expected = [(10, 11, 2), (15, 30, 2), (20, 20, 1), (1000, 1060, 2), (1100, 1100, 1)];
    assert_eq!(rows, expected.map(|(first, last, count)| (t(first), t(last), count)));
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
async fn what_is_too_old_goes_in_pieces_and_readers_are_told_of_the_gap() {
    let db = Db::new();
    let (store, _) = db.open();
    let facts = (0..2000).map(|n| entry(n, stopping(n as usize))).collect();
    store.commit(facts).await.unwrap();
    let keep = Retention { events: SignedDuration::from_secs(100), ..Retention::default() };
    let mut pieces = 1;
    while store.prune(keep, t(2000)).await.unwrap() {
        pieces += 1;
    }
    assert!(pieces >= 4, "{pieces}");
    let page =
        store.read(|reader| reader.events_after(Seq(10), &EventFilter::default(), 5000)).await.unwrap();
    assert_eq!(page.gap, Some((Seq(11), Seq(1900))));
    assert_eq!(page.events.len(), 100);
    let keep = Retention { events: SignedDuration::from_secs(0), ..keep };
    while store.prune(keep, t(9000)).await.unwrap() {}
    store.close().await.unwrap();
    let (store, _) = db.open();
    assert_eq!(store.newest().borrow().0, 2000, "numbers never start again");
}

#[tokio::test]
async fn the_size_is_bounded() {
    let db = Db::new();
    let (store, _) = db.open();
    for n in 0..40 {
        let facts =
            (0..100).map(|m| entry(n * 100 + m, Fact::DaemonStopping { reason: "x".repeat(1000) })).collect();
        store.commit(facts).await.unwrap();
    }
    let keep = Retention { max_db_size: 1 << 20, ..Retention::default() };
    for _ in 0..100 {
        if !store.prune(keep, t(0)).await.unwrap() {
            break;
        }
    }
    let stats = store.read(|reader| reader.stats(t(4000))).await.unwrap();
    assert!(stats.bytes < 6 << 20, "{stats:?}");
    assert_eq!(stats.newest_seq, 4000);
}

#[tokio::test]
async fn the_ledger_gives_way_as_well_when_the_database_is_too_large() {
    let db = Db::new();
    let (store, _) = db.open();
    let verdict = |n: i64| Fact::SlotsJudged {
        agent: id("a"),
        first: t(n),
        last: t(n),
        count: 1,
        verdict: Verdict::Superseded,
        cause: "x".repeat(1000),
        run: None,
        extends: false,
    };
    store.commit((0..4000).map(|n| entry(n, verdict(n))).collect()).await.unwrap();
    let keep = Retention { max_db_size: 1 << 20, ..Retention::default() };
    while store.prune(keep, t(4000)).await.unwrap() {}
    let ledger = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    assert!(ledger.len() < 2000, "{}", ledger.len());
    assert_eq!(ledger.last().map(|row| row.last), Some(t(3999)), "the newest stays");
}

#[tokio::test]
async fn space_is_given_back_in_few_pieces() {
    let db = Db::new();
    let (store, _) = db.open();
    let facts = (0..4000).map(|n| entry(n, Fact::DaemonStopping { reason: "x".repeat(1000) })).collect();
    store.commit(facts).await.unwrap();
    let keep = Retention { events: SignedDuration::ZERO, ..Retention::default() };
    let mut pieces = 1;
    while store.prune(keep, t(9000)).await.unwrap() {
        pieces += 1;
    }
    assert!(pieces < 40, "{pieces}");
    let free: i64 = rusqlite::Connection::open(db.path())
        .unwrap()
        .query_row("PRAGMA freelist_count", [], |row| row.get(0))
        .unwrap();
    assert!(free <= 256, "{free}");
}

#[tokio::test]
async fn answers_are_kept_for_a_day() {
    let db = Db::new();
    let (store, _) = db.open();
    store
        .commit(vec![entry(0, Fact::RequestAnswered { request_id: "r".into(), answer: "{}".into() })])
        .await
        .unwrap();
    let ask = async |secs: i64| store.read(move |reader| reader.answer_to("r", t(secs))).await.unwrap();
    assert_eq!(ask(10).await.as_deref(), Some("{}"));
    assert_eq!(ask(90_000).await, None);
}

#[tokio::test]
async fn the_outbox_gives_what_is_due() {
    let db = Db::new();
    let (store, _) = db.open();
    let queued = Fact::NotificationQueued {
        target: "ops".into(),
        agent: id("a"),
        about: TellOn::Failed,
        subject: "s".into(),
        body: "b".into(),
    };
    store.commit(vec![entry(0, queued)]).await.unwrap();
    let due = async |secs: i64| store.read(move |reader| reader.outbox_due(t(secs), 9)).await.unwrap();
    let row = due(1).await.remove(0);
    let failed = Fact::NotificationFailed {
        id: row.id,
        target: "ops".into(),
        agent: id("a"),
        tries: 1,
        error: "e".into(),
        retry_at: Some(t(60)),
    };
    store.commit(vec![entry(1, failed)]).await.unwrap();
    assert!(due(59).await.is_empty());
    assert_eq!(store.read(|reader| reader.outbox_next()).await.unwrap(), Some(t(60)));
    assert_eq!(due(60).await[0].tries, 1);
    let sent = Fact::NotificationSent { id: row.id, target: "ops".into(), agent: id("a"), tries: 2 };
    store.commit(vec![entry(61, sent)]).await.unwrap();
    assert!(due(999).await.is_empty());
    // one that is given up goes when it is old
    let queued = || Fact::NotificationQueued {
        target: "ops".into(),
        agent: id("a"),
        about: TellOn::Failed,
        subject: "s".into(),
        body: "b".into(),
    };
    store.commit(vec![entry(62, queued()), entry(62, queued())]).await.unwrap();
    let given_up = Fact::NotificationFailed {
        id: due(62).await[0].id,
        target: "ops".into(),
        agent: id("a"),
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
    store.prune(keep, t(100)).await.unwrap();
    assert_eq!(count(), 2);
    store.prune(keep, t(200)).await.unwrap();
    assert_eq!(count(), 1, "what is still to be delivered stays");
}

#[tokio::test]
async fn health_is_read_without_a_daemon() {
    let db = Db::new();
    let read = |now| read_health(&db.path(), t(now), SignedDuration::from_secs(300));
    assert!(read(0).is_err());
    let (store, _) = db.open();
    let mut stopped = record("b");
    stopped.desired = Desired::Stopped;
    let saved = [record("a"), stopped].map(|record| entry(0, Fact::AgentSaved(Box::new(record))));
    store.commit(saved.into()).await.unwrap();
    let rows = read(0).unwrap().agents;
    assert_eq!(rows.len(), 1, "only what is active");
    assert_eq!((rows[0].agent.as_str(), rows[0].next_due), ("a", Some(t(60))));
    // the newest verdict counts
    let why = || read(0).unwrap().agents[0].no_budget.clone();
    assert_eq!(why(), None);
    let mut refused = judged(60, 60, 1, Verdict::RefusedBudget, None, false);
    if let Fact::SlotsJudged { cause, .. } = &mut refused {
        *cause = "no money".into();
    }
    store.commit(vec![entry(60, refused)]).await.unwrap();
    assert_eq!(why().as_deref(), Some("no money"));
    store.commit(vec![entry(120, judged(120, 120, 1, Verdict::SkippedGate, None, false))]).await.unwrap();
    assert_eq!(why(), None);
}

#[tokio::test]
async fn health_knows_of_open_incidents_and_of_messages_that_wait() {
    let db = Db::new();
    let (store, _) = db.open();
    let read = |now| read_health(&db.path(), t(now), SignedDuration::from_secs(300)).unwrap();
    let incident = |key: &str, severity| IncidentRecord {
        agent: id("a"),
        key: key.into(),
        severity,
        title: "full".into(),
        since: t(0),
        opened_at: Some(t(5)),
        seen_at: t(5),
        count: 1,
        resolved_at: None,
        acked_at: None,
        told_at: None,
        diagnosis: None,
    };
    let open = |one| entry(5, Fact::IncidentSaved(Box::new(one)));
    let disk = incident("disk", Severity::Critical);
    // what only warns is no alarm, and that an agent fails is said of the agent
    let others = [incident("load", Severity::Warning), incident("agent:a", Severity::Critical)];
    let all = others.into_iter().chain([disk.clone()]).map(open);
    store.commit(all.collect()).await.unwrap();
    let found = read(5).incidents;
    assert_eq!((found.len(), found[0].key.as_str(), found[0].since), (1, "disk", t(5)));
    let acked = IncidentRecord { acked_at: Some(t(6)), ..disk };
    store.commit(vec![entry(6, Fact::IncidentSaved(Box::new(acked)))]).await.unwrap();
    assert_eq!(read(6).incidents, []);

    let queued = |target: &str| Fact::NotificationQueued {
        target: target.into(),
        agent: id("a"),
        about: TellOn::Failed,
        subject: "s".into(),
        body: "b".into(),
    };
    store
        .commit(vec![entry(10, queued("ops")), entry(20, queued("ops")), entry(30, queued("boss"))])
        .await
        .unwrap();
    assert_eq!(read(300).untold, [], "they may still be on their way");
    let late = read(325).untold;
    assert_eq!((late.len(), late[0].target.as_str(), late[0].count, late[0].oldest), (1, "ops", 2, t(10)));
    let due = store.read(|reader| reader.outbox_due(t(30), 10)).await.unwrap();
    let given_up = |row: &OutboxRow| Fact::NotificationFailed {
        id: row.id,
        target: row.target.clone(),
        agent: id("a"),
        tries: 9,
        error: "e".into(),
        retry_at: None,
    };
    store.commit(due.iter().map(|row| entry(400, given_up(row))).collect()).await.unwrap();
    let gone = read(400).untold;
    assert!(gone.len() == 2 && gone.iter().all(|one| one.given_up), "{gone:?}");
    assert_eq!(read(400 + 49 * 3600).untold, [], "not for ever");
}

/// A log without its database: neither is touched, and nothing begins anew.
#[tokio::test]
async fn a_lost_database_with_its_log_left_is_said() {
    let db = Db::new();
    let (store, _) = db.open();
    store.commit(vec![entry(0, stopping(0))]).await.unwrap();
    let mut log = db.path().into_os_string();
    log.push("-wal");
    let bytes = std::fs::read(&log).unwrap();
    assert!(!bytes.is_empty());
    for empty in [false, true] {
        let other = Db::new();
        let mut lost = other.path().into_os_string();
        lost.push("-wal");
        std::fs::write(&lost, &bytes).unwrap();
        if empty {
            std::fs::write(other.path(), "").unwrap();
        }
        let Err(error) = Store::open(&other.path()) else { panic!("a new database was made") };
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert_eq!(std::fs::read(&lost).unwrap(), bytes);
        assert_eq!(std::fs::metadata(other.path()).map_or(0, |found| found.len()), 0);
        assert_eq!(other.path().exists(), empty);
    }
}

#[test]
fn a_migration_keeps_a_copy() {
    let db = Db::new();
    drop(db.open());
    let mut connection = rusqlite::Connection::open(db.path()).unwrap();
    let version_of = |connection: &rusqlite::Connection| -> i64 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    };
    let known = version_of(&connection);
    let mut migrations = vec![""; usize::try_from(known).unwrap()];
    migrations.push("CREATE TABLE fresh(x INTEGER) STRICT;");
    open::migrate(&mut connection, &db.path(), known, &migrations).unwrap();
    assert_eq!(version_of(&connection), known + 1);
    let copy = rusqlite::Connection::open(format!("{}.v{known}.bak", db.path().display())).unwrap();
    assert_eq!(version_of(&copy), known);
}

/// A database of the version before agents knew of runs without a record: all that it has were kept.
#[test]
fn the_last_runs_of_an_older_database_were_kept() {
    let db = Db::new();
    let mut connection = rusqlite::Connection::open(db.path()).unwrap();
    open::migrate(&mut connection, &db.path(), 0, &open::MIGRATIONS[..6]).unwrap();
    connection
        .execute_batch(
            "INSERT INTO meta(key, value) VALUES ('clean', 'yes');
             INSERT INTO agents(id, desired, held, anchor, schedule, skip_next, runs, successes, errors, errors_in_row,
               skipped, last_run, last_status, last_finished, last_duration, removed, config_hash)
             VALUES ('a', 'active', 0, 0, 'manual', 0, 1, 1, 0, 0, 0, zeroblob(16), 'completed', 5, 1, 0, 7);",
        )
        .unwrap();
    drop(connection);
    let (_store, restored) = db.open();
    assert!(restored.agents[0].last_run.as_ref().unwrap().kept);
}

/// Wherever a page is damaged: an error or right data, never a panic, never an empty database instead.
#[tokio::test]
async fn damaged_pages_are_noticed_or_harmless() {
    let db = Db::new();
    let (store, _) = db.open();
    let facts = (0..500).map(|n| entry(n, Fact::DaemonStopping { reason: "r".repeat(200) })).collect();
    store.commit(facts).await.unwrap();
    store.close().await.unwrap();
    let good = std::fs::read(db.path()).unwrap();
    for at in (0..good.len()).step_by(good.len() / 60) {
        let other = Db::new();
        let mut bytes = good.clone();
        let end = (at + 64).min(bytes.len());
        bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0xA5);
        std::fs::write(other.path(), &bytes).unwrap();
        match Store::open(&other.path()) {
            Ok((store, _)) => {
                let newest = store.newest().borrow().0;
                assert!(newest == 500 || newest == 0 || newest > 400, "{at}: {newest}");
            }
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Newer { .. })) => {
                let touched = std::fs::read(other.path()).unwrap() != bytes;
                assert!(!touched, "byte {at}: it was touched; {error}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
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
