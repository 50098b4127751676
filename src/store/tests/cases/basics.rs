//! What is written is read again.
use super::*;

#[tokio::test]
async fn what_is_committed_is_there_after_a_restart() {
    let Some(db) = Db::some() else { return };
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
    full.awaited_since = Some(t(9));
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
                params: None,
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
    let Some(db) = Db::some() else { return };
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

#[tokio::test]
async fn numbers_have_no_gap_and_many_commits_share_few_syncs() {
    let Some(db) = Db::some() else { return };
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
async fn filters_find_what_they_name() {
    let Some(db) = Db::some() else { return };
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
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    store.commit(vec![entry(0, claim(1, None))]).await.unwrap();
    for n in 0..10u64 {
        let chunk = OutputChunk { n, stream: Stream::Stdout, at: t(0), text: format!("{n}\n") };
        let drop_before = n.saturating_sub(2).max(2);
        let output = CapturedOutput {
            run: run(1),
            agent: id("a"),
            attempt: 1,
            chunks: vec![chunk],
            keep_head: 2,
            drop_before,
            dropped_bytes: (drop_before - 2) * 2,
            told: true,
        };
        store.commit(vec![entry(0, Fact::OutputCaptured(Box::new(output)))]).await.unwrap();
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
    let Some(db) = Db::some() else { return };
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
    let again = due(60).await[0].id;
    let rows = store.read(move |reader| reader.outbox_rows(&[again, 999])).await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.id, row.tries)).collect::<Vec<_>>(), [(again, 1)]);
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
    let count = || db.number("SELECT count(*) FROM outbox");
    let keep = Retention { runs: SignedDuration::from_secs(100), ..Retention::default() };
    store.prune(keep, settled(100)).await.unwrap();
    assert_eq!(count(), 2);
    store.prune(keep, settled(200)).await.unwrap();
    assert_eq!(count(), 1, "what is still to be delivered stays");
}

#[tokio::test]
async fn of_messages_about_one_problem_the_newest_stands_for_all() {
    let Some(db) = Db::some() else { return };
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
        let read = move |reader: &Reader| {
            let ids: Vec<i64> = reader.outbox_due(t(secs), 9)?.iter().map(|head| head.id).collect();
            reader.outbox_rows(&ids)
        };
        let rows = store.read(read).await.unwrap();
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

#[tokio::test]
async fn what_is_sent_as_one_stays_so_until_its_end_is_known() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let queued = |key: &str, subject: &str| {
        let notice = Notice::new(&id("a"), TellOn::IncidentOpened, subject.into(), String::new());
        let notice = Box::new(notice.keyed(key));
        entry(0, Fact::NotificationQueued { target: "ops".into(), notice })
    };
    store.commit(vec![queued("disk", "full"), queued("net", "down"), queued("cpu", "hot")]).await.unwrap();
    let due = async |most: usize| store.read(move |reader| reader.outbox_due(t(1), most)).await.unwrap();
    let ids: Vec<i64> = due(9).await.iter().map(|head| head.id).collect();
    let joined = Fact::NotificationsJoined { rows: ids[..2].to_vec(), each: 72 };
    store.commit(vec![entry(1, joined)]).await.unwrap();
    store.close().await.unwrap();
    // a crash, and news of one of them
    let (store, _) = db.open();
    store.commit(vec![queued("disk", "over")]).await.unwrap();
    let due = async |most: usize| {
        let heads = store.read(move |reader| reader.outbox_due(t(1), most)).await.unwrap();
        heads.into_iter().map(|head| (head.id, head.joined)).collect::<Vec<_>>()
    };
    let number = Some((ids[0], 72));
    let over = ids[2] + 1;
    assert_eq!(due(9).await, [(ids[0], number), (ids[1], number), (ids[2], None), (over, None)]);
    assert_eq!(due(1).await, [(ids[0], number), (ids[1], number)], "it is whole whatever the bound is");
    let sent = Fact::NotificationSent { id: over, target: "ops".into(), agent: id("a"), run: None, tries: 1 };
    store.commit(vec![entry(2, sent)]).await.unwrap();
    assert_eq!(due(9).await.len(), 3, "what comes later takes nothing out of it");
    // once it is known that it was not taken, the newest stands for those before it again
    let parted = Fact::NotificationsParted { rows: ids[..2].to_vec() };
    store.commit(vec![entry(3, parted), queued("disk", "full again")]).await.unwrap();
    assert_eq!(due(9).await, [(ids[1], None), (ids[2], None), (over + 1, None)]);
}

#[tokio::test]
async fn the_oldest_results_beyond_a_bound_are_found() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let queued = |target: &str, about| Fact::NotificationQueued {
        target: target.into(),
        notice: Box::new(Notice::new(&id("a"), about, "s".into(), "b".into())),
    };
    let all = [
        ("me", TellOn::Completed),
        ("me", TellOn::Failed),
        ("me", TellOn::Completed),
        ("you", TellOn::Completed),
        ("me", TellOn::Completed),
        ("me", TellOn::Completed),
    ];
    store.commit(all.map(|(target, about)| entry(0, queued(target, about))).to_vec()).await.unwrap();
    let ids = async |most: usize| {
        let found = store.read(move |reader| reader.outbox_surplus(most)).await.unwrap();
        found.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(2).await, [1, 3]);
    assert_eq!(ids(4).await, [0i64; 0]);
}

/// A reading, not a test: `cargo test --release -- --ignored --nocapture reading`.
#[tokio::test]
#[ignore = "a reading of speed"]
async fn reading_of_speed() {
    let Some(db) = Db::some() else { return };
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
    let Some(db) = Db::some() else { return };
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
    let claim = format!(
        "INSERT INTO runs(id, agent, trigger, slot, status, attempt, queued_at, chain, config_hash)
           SELECT {}, agent, 'schedule', last, 'queued', 0, 0, 0, 0 FROM ledger WHERE verdict <> 'ran'",
        Db::ANY_ID
    );
    for sql in [
        "INSERT INTO ledger SELECT agent, first + 1, last, 1, verdict, cause, NULL FROM ledger",
        "UPDATE ledger SET last = last + 1000000000",
        "UPDATE ledger SET first = first - 1000000000",
        &claim,
    ] {
        assert!(db.by_hand(sql).is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_record_of_very_many_slots_is_counted() {
    let Some(db) = Db::some() else { return };
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
    let Some(db) = Db::some() else { return };
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
    db.by_hand("UPDATE events SET payload = '{broken' WHERE seq = 4").unwrap();
    assert_eq!(page(3, 1, 10_000).await.unwrap().rows[0].payload, "null");
}

#[tokio::test]
async fn where_a_copy_began_stays_as_long_as_the_same_is_wanted() {
    let Some(db) = Db::some() else { return };
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

/// A file has no nodes: it takes what is said of them, and keeps where a run was placed.
#[tokio::test]
async fn where_a_run_was_placed_is_kept_by_both() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let placed = |session: Option<&str>| Fact::RunPlaced {
        run: run(1),
        attempt: 2,
        at: Some(PlacedAt { node: "gpu-7".into(), session: session.map(Into::into) }),
    };
    let facts = [
        claim(1, None),
        placed(Some("s")),
        Fact::Ordered { session: "s".into(), starts: Some(run(1)), order: "{}".into() },
        Fact::ReportsTaken { ids: vec![1, 2] },
        Fact::NodeOver { session: "s".into() },
    ];
    let entries = facts.into_iter().map(|fact| entry(0, fact)).collect();
    assert_eq!(store.commit(entries).await.unwrap().events, 0);
    let found = |restored: Restored| restored.open_runs.into_iter().next().map(|run| (run.attempt, run.node));
    let at = |session: Option<&str>| {
        Some((2, Some(PlacedAt { node: "gpu-7".into(), session: session.map(Into::into) })))
    };
    assert_eq!(found(store.restored().await.unwrap()), at(Some("s")));
    store.commit(vec![entry(0, placed(None))]).await.unwrap();
    assert_eq!(found(store.restored().await.unwrap()), at(None));
    let here = Fact::RunPlaced { run: run(1), attempt: 3, at: None };
    store.commit(vec![entry(0, here)]).await.unwrap();
    assert_eq!(found(store.restored().await.unwrap()), Some((3, None)));
    assert!(store.restored().await.unwrap().nodes.is_empty());
}
