//! Slots and their verdicts.
use super::*;

#[tokio::test]
async fn a_slot_is_claimed_once_and_the_rest_of_the_batch_lands() {
    let Some(db) = Db::some() else { return };
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
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let revised = |n: u64, slot: i64| Fact::SlotRevised {
        agent: id("a"),
        slot: Some(t(slot)),
        run: run(n),
        verdict: Verdict::SkippedGate,
        cause: "g".into(),
        quiet: n > 1,
        joins: true,
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
    let Some(db) = Db::some() else { return };
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
                joins: true,
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
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let paused = |first, extends| judged(first, first, 1, Verdict::SkippedPaused, None, extends);
    let revised = Fact::SlotRevised {
        agent: id("a"),
        slot: Some(t(20)),
        run: run(1),
        verdict: Verdict::SkippedGate,
        cause: "c".into(),
        quiet: false,
        joins: false,
    };
    let facts = vec![
        entry(0, judged(1000, 1060, 2, Verdict::SkippedPaused, None, false)),
        entry(0, paused(10, true)),
        entry(0, paused(11, true)),
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
    let expected = [(10, 11, 2), (20, 20, 1), (1000, 1060, 2), (1100, 1100, 1)];
    assert_eq!(rows, expected.map(|(first, last, count)| (t(first), t(last), count)));
}
