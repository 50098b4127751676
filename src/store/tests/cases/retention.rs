//! What goes when it is old, or too much.
use super::*;

#[tokio::test]
async fn what_is_too_old_goes_in_pieces_and_readers_are_told_of_the_gap() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let facts = (0..2000).map(|n| entry(n, stopping(n as usize))).collect();
    store.commit(facts).await.unwrap();
    let keep = Retention { events: SignedDuration::from_secs(100), ..Retention::default() };
    let mut pieces = 1;
    while store.prune(keep, settled(2000)).await.unwrap() {
        pieces += 1;
    }
    assert!(pieces >= 4, "{pieces}");
    let page =
        store.read(|reader| reader.events_after(Seq(10), &EventFilter::default(), 5000)).await.unwrap();
    assert_eq!(page.gap, Some((Seq(11), Seq(1900))));
    assert_eq!(page.events.len(), 100);
    let keep = Retention { events: SignedDuration::from_secs(0), ..keep };
    while store.prune(keep, settled(9000)).await.unwrap() {}
    store.close().await.unwrap();
    let (store, _) = db.open();
    assert_eq!(store.newest().borrow().0, 2000, "numbers never start again");
}

#[tokio::test]
async fn the_size_is_bounded() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    for n in 0..40 {
        let facts =
            (0..100).map(|m| entry(n * 100 + m, Fact::DaemonStopping { reason: "x".repeat(1000) })).collect();
        store.commit(facts).await.unwrap();
    }
    let keep = Retention { max_db_size: 1 << 20, ..Retention::default() };
    for _ in 0..100 {
        if !store.prune(keep, settled(0)).await.unwrap() {
            break;
        }
    }
    let stats = store.read(|reader| reader.stats(t(4000))).await.unwrap();
    assert!(stats.bytes < 6 << 20, "{stats:?}");
    assert_eq!(stats.newest_seq, 4000);
}

#[tokio::test]
async fn the_ledger_gives_way_as_well_when_the_database_is_too_large() {
    let Some(db) = Db::some() else { return };
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
    while store.prune(keep, settled(4000)).await.unwrap() {}
    let ledger = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    assert!(ledger.len() < 2000, "{}", ledger.len());
    assert_eq!(ledger.last().map(|row| row.last), Some(t(3999)), "the newest stays");
}

#[tokio::test]
async fn answers_are_kept_for_a_day() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    store
        .commit(vec![entry(0, Fact::RequestAnswered { request_id: "r".into(), answer: "{}".into() })])
        .await
        .unwrap();
    let ask = async |secs: i64| store.read(move |reader| reader.answer_to("r", t(secs))).await.unwrap();
    assert_eq!(ask(10).await.as_deref(), Some("{}"));
    assert_eq!(ask(90_000).await, None);
}

fn ran(n: i64) -> [Fact; 3] {
    let number = n as u64;
    [claim(number, Some(n)), judged(n, n, 1, Verdict::Ran, Some(run(number)), false), ended(number)]
}

#[tokio::test]
async fn a_clock_that_has_jumped_takes_nothing_away() {
    let year = 365 * 86_400;
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let facts = (0..100).flat_map(|n| {
        [ran(n).to_vec(), vec![stopping(n as usize)]].concat().into_iter().map(move |fact| entry(n, fact))
    });
    store.commit(facts.collect()).await.unwrap();
    store
        .commit(vec![entry(1, Fact::RequestAnswered { request_id: "r".into(), answer: "{}".into() })])
        .await
        .unwrap();
    let keep = Retention::default();
    let count = async |store: &Store| {
        let (ledger, events) = store
            .read(|reader| {
                Ok((
                    reader.ledger(&id("a"))?.len(),
                    reader.events_after(Seq(0), &EventFilter::default(), 5000)?.events.len(),
                ))
            })
            .await
            .unwrap();
        let answered = store.read(|reader| reader.answer_to("r", t(2))).await.unwrap().is_some();
        (ledger, events, answered)
    };
    let all = count(&store).await;
    assert!(all.0 == 100 && all.1 >= 100 && all.2, "{all:?}");
    // within an hour of a start or a jump, nothing
    let at = |secs, steady, since| Lived { now: t(secs), steady, since: SignedDuration::from_secs(since) };
    while store.prune(keep, at(10 * year, false, 600)).await.unwrap() {}
    assert_eq!(count(&store).await, all);
    // the clock of ages begins where the clock was right, and then a day of the other is an hour of life
    while store.prune(keep, at(100, true, 600)).await.unwrap() {}
    for _ in 0..6 * 5 {
        while store.prune(keep, at(10 * year, true, 600)).await.unwrap() {}
    }
    let (ledger, events, _) = count(&store).await;
    assert_eq!((ledger, events), (all.0, all.1), "five hours of life are five days");
    for _ in 0..6 * 24 * 4 {
        while store.prune(keep, at(10 * year, true, 600)).await.unwrap() {}
    }
    assert_eq!(count(&store).await.1, 1, "four days of life make everything old");
}

#[tokio::test]
async fn claims_near_the_newest_judged_slot_stay_and_the_rest_is_remembered() {
    let day = 86_400;
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let row = AgentRecord { judged_until: Some(t(10 * day)), ..record("a") };
    let mut facts = vec![entry(0, Fact::AgentSaved(Box::new(row)))];
    for n in 0..=10 {
        facts.extend(ran(n * day).map(|fact| entry(n * day, fact)));
    }
    store.commit(facts).await.unwrap();
    let keep = Retention { runs: SignedDuration::ZERO, max_db_size: 1, ..Retention::default() };
    while store.prune(keep, settled(400 * day)).await.unwrap() {}
    let ledger = store.read(|reader| reader.ledger(&id("a"))).await.unwrap();
    assert_eq!(ledger.iter().map(|row| row.last).collect::<Vec<_>>(), [t(10 * day)]);
    let until = db.number("SELECT until FROM pruned WHERE agent = 'a'");
    assert_eq!(until, to_micros(t(9 * day)));
}

#[tokio::test]
async fn events_from_ahead_of_now_go_with_older_ones_after_them() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let at = [1, 2, 90_000_000, 90_000_001, 3, 4, 5000];
    store.commit(at.into_iter().map(|n| entry(n, stopping(0))).collect()).await.unwrap();
    let keep = Retention { events: SignedDuration::from_secs(100), ..Retention::default() };
    while store.prune(keep, settled(5000)).await.unwrap() {}
    let left = store.read(|reader| reader.events_after(Seq(0), &EventFilter::default(), 50)).await.unwrap();
    assert_eq!(left.events.len(), 1, "{left:?}");
    // but not what was just written by a clock that was ahead
    store.commit([90_000_000, 5001].into_iter().map(|n| entry(n, stopping(0))).collect()).await.unwrap();
    while store.prune(keep, settled(5002)).await.unwrap() {}
    let left = store.read(|reader| reader.events_after(Seq(0), &EventFilter::default(), 50)).await.unwrap();
    assert_eq!(left.events.len(), 3, "{left:?}");
}

#[tokio::test]
async fn a_clock_that_was_behind_does_not_stop_retention_for_years() {
    let day = 86_400;
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let facts = (0..10).flat_map(|n| ran(n).map(|fact| entry(n, fact)));
    store.commit(facts.collect()).await.unwrap();
    let rows = async || store.read(|reader| reader.ledger(&id("a"))).await.unwrap().len();
    let at = |secs| Lived { now: t(secs), steady: true, since: SignedDuration::from_secs(3600) };
    let keep = Retention::default();
    store.prune(keep, at(20 * day)).await.unwrap();
    // an hour without a battery, then the right time again
    store.prune(keep, at(-9000 * day)).await.unwrap();
    for hour in 0..24 * 40 {
        store.prune(keep, at(400 * day + hour)).await.unwrap();
        if rows().await == 0 {
            break;
        }
    }
    assert_eq!(rows().await, 0, "what is old goes");
}

#[tokio::test]
async fn the_first_look_at_ages_does_not_believe_a_clock_that_is_far_ahead() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let mut facts: Vec<_> = (0..10).flat_map(|n| ran(n).map(|fact| entry(n, fact))).collect();
    let year = 365 * 86_400;
    facts.push(entry(5, stopping(0)));
    facts.push(entry(
        year,
        Fact::DaemonStarted { version: "1".into(), pid: 1, down_since: None, clean: true },
    ));
    store.commit(facts).await.unwrap();
    let lived = Lived { now: t(year), steady: true, since: SignedDuration::from_secs(3600) };
    while store.prune(Retention::default(), lived).await.unwrap() {}
    assert_eq!(store.read(|reader| reader.ledger(&id("a"))).await.unwrap().len(), 10);
}
