//! What goes against a store on a server: another daemon, a lost connection, a server that ends, promises that it lacks.
use super::*;
use crate::domain::{Entry, Fact, Seq};
use crate::store::tests::{entry, stopping};
use crate::store::{EventFilter, StoreError, read_health};
use jiff::{SignedDuration, Timestamp};

async fn numbers(store: &Store) -> Vec<(u64, String)> {
    let page = store.read(|reader| reader.events_after(Seq(0), &EventFilter::default(), 1000)).await.unwrap();
    let reason =
        |event: &crate::domain::LoggedEvent| event.payload["reason"].as_str().unwrap_or("").to_owned();
    page.events.iter().map(|event| (event.seq.0, reason(event))).collect()
}

/// Until the server can be reached again.
async fn insist(store: &Store, entries: Vec<Entry>) {
    loop {
        match store.commit(entries.clone()).await {
            Ok(_) => return,
            Err(error) => {
                assert!(error.is_passing(), "{error}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_a_new_life_of_the_same_is_not() {
    let Some(db) = Db::some() else { return };
    let (first, _) = db.open();
    first.commit(vec![entry(0, stopping(1))]).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Where { file: elsewhere.path().join("bgagent.db"), ..db.place() };
    let error = Store::open_at(&other).map(drop).unwrap_err();
    let StoreError::Taken { by, left_secs, .. } = &error else { panic!("{error}") };
    assert!(by.ends_with(&db.folder.path().display().to_string()), "{by}");
    assert!((1..=25).contains(left_secs), "{left_secs}");
    assert!(error.hint().unwrap().contains("stop that one"));
    // the same daemon, after a crash: its old life is over, whatever of it still hangs
    let (again, restored) = db.open();
    assert!(restored.unclean);
    again.commit(vec![entry(1, stopping(2))]).await.unwrap();
    let error = first.commit(vec![entry(2, stopping(3))]).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }) && !error.is_passing(), "{error}");
    assert_eq!(numbers(&again).await, [(1, "1".to_owned()), (2, "2".to_owned())]);
    again.close().await.unwrap();
    // closed in order, it is anybody's
    let (other, restored) = Store::open_at(&other).unwrap();
    assert!(!restored.unclean && restored.went_back.is_none());
    assert_eq!(numbers(&other).await.len(), 2);
}

#[tokio::test]
async fn connections_that_break_off_lose_nothing_and_double_nothing() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let cutting = {
        let (server, schema) = (db.server.clone(), db.schema.clone());
        std::thread::spawn(move || {
            let cut = format!(
                "SELECT count(pg_terminate_backend(a.pid)) FROM {schema}.fleet f JOIN pg_stat_activity a ON a.pid = f.backend"
            );
            for _ in 0..40 {
                server.psql(&cut).unwrap();
            }
        })
    };
    let mut n = 0;
    while !cutting.is_finished() || n < 50 {
        n += 1;
        insist(&store, vec![entry(n, stopping(usize::try_from(n).unwrap()))]).await;
    }
    cutting.join().unwrap();
    let found = numbers_from(&store).await;
    let expected: Vec<(u64, String)> = (1..=n.unsigned_abs()).map(|n| (n, n.to_string())).collect();
    assert_eq!(found, expected, "each once, in order, without a gap");
}

async fn numbers_from(store: &Store) -> Vec<(u64, String)> {
    let (mut all, mut cursor) = (Vec::new(), Seq(0));
    loop {
        // a reader may have been cut off, too
        let Ok(page) =
            store.read(move |reader| reader.events_after(cursor, &EventFilter::default(), 500)).await
        else {
            continue;
        };
        cursor = page.cursor;
        all.extend(
            page.events
                .iter()
                .map(|event| (event.seq.0, event.payload["reason"].as_str().unwrap_or_default().to_owned())),
        );
        if page.at_end {
            return all;
        }
    }
}

#[tokio::test]
async fn a_server_that_crashes_is_waited_for() {
    let Some(mut server) = Server::start_with(&["-c", "fsync=on"]) else { return };
    server.wait_until_up();
    let db = Db::some().unwrap();
    let spec = StoreSpec {
        url: format!("postgres://boss@{}/postgres?sslmode=disable", server.address()),
        ..db.spec()
    };
    let place = Where { server: Some(Arc::new(spec)), ..db.place() };
    let (store, _) = Store::open_at(&place).unwrap();
    for n in 0..5_usize {
        insist(&store, vec![entry(1, stopping(2 * n))]).await;
        server.end();
        let error = store.commit(vec![entry(1, stopping(1000 + n))]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }) && error.is_passing(), "{error}");
        assert!(store.read(|reader| reader.newest()).await.is_err());
        server.go_on();
        insist(&store, vec![entry(1, stopping(2 * n + 1))]).await;
    }
    let found: Vec<String> = numbers_from(&store).await.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(found, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    server.end();
    let error = read_health(&place, Timestamp::now(), SignedDuration::ZERO).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    let error = Store::open_at(&place).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn what_a_server_lacks_is_said() {
    let Some(db) = Db::some() else { return };
    let open = |change: &dyn Fn(&mut StoreSpec)| {
        let mut spec = db.spec();
        change(&mut spec);
        Store::open_at(&Where { server: Some(Arc::new(spec)), ..db.place() }).map(drop).unwrap_err()
    };
    let error = open(&|spec| spec.durability = Durability::Synchronous);
    assert!(matches!(error, StoreError::NotDurable { .. }), "{error}");
    assert!(error.to_string().contains("no synchronous standby"), "{error}");
    let error = open(&|spec| spec.url = spec.url.replace("sslmode=disable", "sslmode=verify-full"));
    assert!(matches!(error, StoreError::Rejected { .. }) && error.to_string().contains("TLS"), "{error}");
    let error = open(&|spec| spec.url = spec.url.replace("/postgres?", "/nowhere?"));
    assert!(matches!(error, StoreError::Rejected { .. }) && error.to_string().contains("nowhere"), "{error}");
    let wrong = db.folder.path().join("wrong");
    std::fs::write(&wrong, "guess").unwrap();
    super::private(&wrong);
    let error = open(&|spec| spec.password = Some(SecretRef::File(wrong.clone())));
    assert!(
        matches!(error, StoreError::Rejected { .. }) && error.to_string().contains("password"),
        "{error}"
    );
    db.server.psql("CREATE SCHEMA of_others; CREATE TABLE of_others.customers(id int)").unwrap();
    let error = open(&|spec| spec.schema = "of_others".into());
    assert!(error.to_string().contains("`customers`"), "{error}");
    // none of this has made anything
    assert!(db.by_hand("SELECT 1 FROM fleet").is_err());
    let (store, _) = db.open();
    store.close().await.unwrap();
    db.by_hand("UPDATE fleet SET version = 999").unwrap();
    let error = open(&|_| {});
    assert!(matches!(error, StoreError::Newer { found: 999, .. }) && error.is_damage(), "{error}");
    let error = read_health(&db.place(), Timestamp::now(), SignedDuration::ZERO).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_loses_what_it_has_committed_is_refused() {
    let Some(server) = Server::start_with(&["-c", "fsync=off"]) else { return };
    server.wait_until_up();
    let db = Db::some().unwrap();
    let spec = StoreSpec {
        url: format!("postgres://boss@{}/postgres?sslmode=disable", server.address()),
        ..db.spec()
    };
    let place = Where { server: Some(Arc::new(spec)), ..db.place() };
    let error = Store::open_at(&place).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::NotDurable { .. }) && error.to_string().contains("fsync"), "{error}");
}

#[tokio::test]
async fn a_text_with_nul_is_kept_without_it() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let fact = Fact::DaemonStopping { reason: "a\0b".into() };
    let note = crate::domain::MemoryChange::Note {
        agent: "a".parse().unwrap(),
        key: "k\0".into(),
        text: "t\0t".into(),
        untrusted: false,
        store: crate::domain::MemoryStore::Database,
    };
    store.commit(vec![entry(0, fact), entry(0, Fact::Remembered(Box::new(note)))]).await.unwrap();
    // JSON writes it as an escape, which is text
    assert_eq!(numbers(&store).await, [(1, "a\0b".to_owned())]);
    let notes = store.read(|reader| reader.notes(&"a".parse().unwrap(), Some("k\0"))).await.unwrap();
    assert_eq!((notes[0].key.as_str(), notes[0].text.as_str()), ("k\u{fffd}", "t\u{fffd}t"));
}

/// A database that was set back to an older state is known for that.
#[tokio::test]
async fn an_older_state_is_another_database() {
    let Some(db) = Db::some() else { return };
    let (store, restored) = db.open();
    let before = restored.database;
    store.commit((0..5).map(|n| entry(n, stopping(0))).collect()).await.unwrap();
    store.close().await.unwrap();
    db.by_hand("DELETE FROM events WHERE seq > 3").unwrap();
    let (_store, restored) = db.open();
    let back = restored.went_back.unwrap();
    assert_eq!((back.newest, back.known), (Seq(3), Some(Seq(5))));
    assert_ne!(restored.database, before);
    assert_eq!((restored.ancestors[0].database.as_str(), restored.ancestors[0].until), (before.as_str(), 3));
}

/// Waits until the server says so.
fn wait_until(server: &Server, sql: &str) {
    let end = std::time::Instant::now() + crate::testing::SOON;
    while server.psql(sql).unwrap().trim() != "t" {
        assert!(std::time::Instant::now() < end, "{sql}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_no_standby_yet_is_not_taken_for_committed() {
    let settings = ["-c", "fsync=on", "-c", "synchronous_standby_names=*", "-c", "wal_keep_size=64MB"];
    let Some(primary) = Server::start_with(&settings) else { return };
    primary.wait_until_up();
    let db = Db::some().unwrap();
    let spec = StoreSpec {
        url: format!("postgres://boss@{}/postgres?sslmode=disable", primary.address()),
        durability: Durability::Synchronous,
        ..db.spec()
    };
    let place = Where { server: Some(Arc::new(spec)), ..db.place() };
    let error = Store::open_at(&place).map(drop).unwrap_err();
    assert!(error.to_string().contains("no synchronous standby"), "{error}");
    let mut standby = primary.standby();
    wait_until(&primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'");
    let (store, _) = Store::open_at(&place).unwrap();
    store.commit(vec![entry(1, stopping(1))]).await.unwrap();
    // without a standby a commit waits; where the waiting is broken off, it is committed here, and nowhere else
    standby.end();
    wait_until(&primary, "SELECT count(*) = 0 FROM pg_stat_replication");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.commit(vec![entry(2, stopping(2))]).await }
    });
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    tokio::task::block_in_place(|| wait_until(&primary, waits));
    primary.psql(cancel).unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("on no standby yet"), "{error}");
    standby.go_on();
    insist(&store, vec![entry(2, stopping(2))]).await;
    insist(&store, vec![entry(3, stopping(3))]).await;
    let found = numbers_from(&store).await;
    assert_eq!(found, [(1, "1".to_owned()), (2, "2".to_owned()), (3, "3".to_owned())]);
}
