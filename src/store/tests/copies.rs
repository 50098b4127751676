//! Copies of the database, and what is put in its place.
use super::*;
use std::os::unix::fs::PermissionsExt;

async fn with_events(count: i64) -> (Db, Store) {
    let db = Db::new();
    let (store, _) = db.open();
    store.commit((0..count).map(|n| entry(n, stopping(n as usize))).collect()).await.unwrap();
    (db, store)
}

#[tokio::test]
async fn a_copy_is_made_while_the_database_is_written() {
    let (db, store) = with_events(3).await;
    let to = db.path().with_file_name("copy.db");
    let writes = async {
        for n in 0..50 {
            store.commit(vec![entry(n, stopping(n as usize))]).await.unwrap();
        }
    };
    let (path, at) = (db.path(), to.clone());
    let copies = tokio::task::spawn_blocking(move || back_up(&path, &at, false));
    let ((), copied) = tokio::join!(writes, copies);
    let copied = copied.unwrap().unwrap();
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    let copy = rusqlite::Connection::open(&to).unwrap();
    let (newest, count): (i64, i64) = copy
        .query_row("SELECT max(seq), count(*) FROM events", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((newest, count), (copied.newest.0 as i64, copied.newest.0 as i64), "of one instant");
    assert!(newest >= 3);
    drop(copy);
    let names = || std::fs::read_dir(db.path().parent().unwrap()).unwrap().count();
    let before = names();
    assert!(matches!(back_up(&db.path(), &to, false), Err(StoreError::Refused { .. })));
    assert!(matches!(back_up(&db.path(), &db.path(), true), Err(StoreError::Refused { .. })));
    assert_eq!(back_up(&db.path(), &to, true).unwrap().newest.0, 53);
    assert_eq!(names(), before, "nothing else is left");
}

#[tokio::test]
async fn a_restored_copy_is_another_database_from_there_on() {
    let (db, store) = with_events(3).await;
    let to = db.path().with_file_name("copy.db");
    back_up(&db.path(), &to, false).unwrap();
    store.commit(vec![entry(9, stopping(9))]).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let first = testing::read_mark(&db.path()).unwrap().database;
    let copied = restore(&db.path(), &to, t(0)).unwrap();
    assert_eq!(copied.newest.0, 3);
    let kept = rusqlite::Connection::open(copied.before.unwrap()).unwrap();
    let events: i64 = kept.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(events, 4, "what was there is kept");
    let (store, restored) = db.open();
    assert_eq!(restored.went_back, Some(WentBack { newest: Seq(3), known: Some(Seq(4)) }));
    assert_ne!(restored.database, first);
    assert_eq!(restored.ancestors, [Ancestor { database: first, until: 3 }]);
    assert_eq!(store.commit(vec![entry(9, stopping(9))]).await.unwrap().newest.0, 4);
    store.close().await.unwrap();
    drop(store);
    assert_eq!(db.open().1.went_back, None, "once");
}

/// As people do it: an older file is copied over the database while no daemon runs.
#[tokio::test]
async fn a_copy_that_was_put_in_place_by_hand_is_taken_and_told() {
    let (db, store) = with_events(3).await;
    store.close().await.unwrap();
    drop(store);
    let old = std::fs::read(db.path()).unwrap();
    let (store, _) = db.open();
    store.commit(vec![entry(9, stopping(9))]).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let noted = testing::read_mark(&db.path()).unwrap();
    // the clock of the file system is a coarse one
    while !testing::changed_since(&db.path(), &noted) {
        std::fs::write(db.path(), &old).unwrap();
    }
    let (_store, restored) = db.open();
    assert_eq!(restored.went_back, Some(WentBack { newest: Seq(3), known: Some(Seq(4)) }));
    assert_eq!(restored.ancestors[0].until, 3);
}

#[tokio::test]
async fn an_older_state_is_accepted_on_purpose() {
    let (db, store) = with_events(3).await;
    store.close().await.unwrap();
    drop(store);
    let known = testing::read_mark(&db.path()).unwrap();
    let file = testing::MarkFile::open(&db.path(), known.database);
    file.note(Seq(9), false);
    assert!(matches!(Store::open(&db.path()), Err(StoreError::Behind { newest: 3, known: 9, .. })));
    assert_eq!(restore(&db.path(), &db.path(), t(0)).unwrap().before, None);
    let (_store, restored) = db.open();
    assert_eq!(restored.went_back, Some(WentBack { newest: Seq(3), known: Some(Seq(9)) }));
}

#[tokio::test]
async fn a_damaged_copy_is_not_put_in_place() {
    let (db, store) = with_events(3).await;
    let to = db.path().with_file_name("copy.db");
    back_up(&db.path(), &to, false).unwrap();
    store.close().await.unwrap();
    drop(store);
    let good = std::fs::read(db.path()).unwrap();
    let mut bytes = std::fs::read(&to).unwrap();
    for page in 1..4 {
        bytes[page * 4096..page * 4096 + 200].fill(0xA5);
    }
    for damaged in [&bytes[..], b"no database", b"", &good[..4096]] {
        std::fs::write(&to, damaged).unwrap();
        assert!(
            restore(&db.path(), &to, t(0))
                .is_err_and(|error| error.is_damage() || matches!(error, StoreError::NoCopy { .. })),
            "{}",
            damaged.len()
        );
        assert_eq!(std::fs::read(db.path()).unwrap(), good);
    }
    assert!(restore(&db.path(), &to.with_file_name("none"), t(0)).is_err());
    assert_eq!(reset(&db.path(), t(0)).unwrap().map(|before| std::fs::read(before).unwrap()), Some(good));
    assert_eq!(db.open().1.went_back, None);
}
