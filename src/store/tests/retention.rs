//! What goes when it is old, or too much.
use super::*;

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
