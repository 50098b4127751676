//! Files that are lost, old or damaged.
use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
        assert!(matches!(error, StoreError::Missing { .. }) && error.is_damage(), "{error}");
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
    testing::migrate(&mut connection, &db.path(), known, &migrations).unwrap();
    assert_eq!(version_of(&connection), known + 1);
    let copy = rusqlite::Connection::open(format!("{}.v{known}.bak", db.path().display())).unwrap();
    assert_eq!(version_of(&copy), known);
    let mode = std::fs::metadata(copy.path().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what agents said is nobody else's");
}

/// A database of the version before agents knew of runs without a record: all that it has were kept.
#[test]
fn the_last_runs_of_an_older_database_were_kept() {
    let db = Db::new();
    let mut connection = rusqlite::Connection::open(db.path()).unwrap();
    testing::migrate(&mut connection, &db.path(), 0, &testing::MIGRATIONS[..6]).unwrap();
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

/// What a daemon leaves that is killed: its files as they are, in a folder of their own, and the mark as new
/// as the last commit.
async fn killed(db: &Db, without: &[&str]) -> Db {
    let other = Db::new();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| testing::beside(path, suffix);
        if !without.contains(&suffix) && name(&db.path()).exists() {
            std::fs::copy(name(&db.path()), name(&other.path())).unwrap();
        }
    }
    let mark = testing::read_mark(&db.path()).unwrap();
    testing::MarkFile::open(&other.path(), mark.database.clone()).note(mark.newest, false);
    other
}

fn refused(db: &Db) -> StoreError {
    let files = || {
        // a log in which nothing is says nothing
        let read = |suffix| {
            std::fs::read(testing::beside(&db.path(), suffix)).ok().filter(|bytes| !bytes.is_empty())
        };
        (read(""), read("-wal"))
    };
    let before = files();
    let Err(error) = Store::open(&db.path()) else { panic!("it was opened") };
    assert!(files() == before, "something was changed: {error}");
    error
}

#[tokio::test]
async fn a_lost_log_is_no_older_state_in_silence() {
    let db = Db::new();
    let (store, _) = db.open();
    store.commit(vec![entry(0, stopping(0)), entry(1, stopping(1))]).await.unwrap();
    let with_all = killed(&db, &[]).await;
    assert_eq!(Store::open(&with_all.path()).unwrap().0.newest().borrow().0, 2);
    let error = refused(&killed(&db, &["-wal"]).await);
    assert!(matches!(error, StoreError::Behind { newest: 0, known: 2, .. }), "{error}");
    // when there is nothing to do, the log is written into the database
    for _ in 0..2 {
        store.look().await.unwrap();
    }
    assert_eq!(Store::open(&killed(&db, &["-wal"]).await.path()).unwrap().0.newest().borrow().0, 2);
}

#[tokio::test]
async fn a_database_that_is_gone_is_missed() {
    let db = Db::new();
    let (store, _) = db.open();
    store.commit(vec![entry(0, stopping(0))]).await.unwrap();
    store.close().await.unwrap();
    let good = std::fs::read(db.path()).unwrap();
    std::fs::remove_file(db.path()).unwrap();
    let error = refused(&db);
    assert!(matches!(&error, StoreError::Missing { what, .. } if what.contains("event 1")), "{error}");
    assert!(!db.path().exists());
    std::fs::write(db.path(), "").unwrap();
    assert!(matches!(refused(&db), StoreError::Missing { .. }));
    for bytes in [1, 100, 511] {
        std::fs::write(db.path(), &good[..bytes]).unwrap();
        assert!(matches!(refused(&db), StoreError::Corrupt { .. }), "{bytes}");
    }
    // an older release left no mark, but a reserve
    std::fs::remove_file(db.path()).unwrap();
    std::fs::remove_file(db.path().with_file_name("lock")).unwrap();
    std::fs::write(db.path().with_file_name("reserve"), "").unwrap();
    assert!(matches!(refused(&db), StoreError::Missing { .. }));
    assert_eq!(reset(&db.path(), t(0)).unwrap(), None);
    assert_eq!(Store::open(&db.path()).unwrap().0.newest().borrow().0, 0, "on purpose it begins anew");
}

#[tokio::test]
async fn a_damaged_database_keeps_its_log() {
    let db = Db::new();
    let (store, _) = db.open();
    store.commit((0..50).map(|n| entry(n, stopping(n as usize))).collect()).await.unwrap();
    let zeros = killed(&db, &[]).await;
    let length = std::fs::metadata(zeros.path()).unwrap().len();
    std::fs::write(zeros.path(), vec![0; usize::try_from(length).unwrap()]).unwrap();
    let error = refused(&zeros);
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    // with the right file beside it, the log is as good as before
    std::fs::copy(db.path(), zeros.path()).unwrap();
    assert_eq!(Store::open(&zeros.path()).unwrap().0.newest().borrow().0, 50);
}

#[tokio::test]
async fn a_version_that_contradicts_the_tables_is_damage() {
    let db = Db::new();
    db.open().0.close().await.unwrap();
    for version in [0, -1, i32::MIN] {
        let connection = rusqlite::Connection::open(db.path()).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        drop(connection);
        assert!(matches!(refused(&db), StoreError::Corrupt { .. }), "{version}");
    }
    let other = Db::new();
    let connection = rusqlite::Connection::open(other.path()).unwrap();
    connection.execute_batch("CREATE TABLE theirs(x); PRAGMA user_version = 3;").unwrap();
    drop(connection);
    let error = refused(&other);
    assert!(
        matches!(&error, StoreError::Corrupt { what, .. } if what.contains("is it one of bgagent")),
        "{error}"
    );
}

/// What becomes durable in a file that nobody finds again is not durable.
#[tokio::test]
async fn nothing_is_acknowledged_on_a_file_that_was_taken_away() {
    let db = Db::new();
    let (store, _) = db.open();
    store.commit(vec![entry(0, stopping(0))]).await.unwrap();
    let away = db.path().with_file_name("away");
    std::fs::rename(db.path(), &away).unwrap();
    let is_gone = |error: &StoreError| matches!(error, StoreError::Gone { .. }) && error.is_passing();
    assert!(is_gone(&store.look().await.unwrap_err()));
    let error = store.commit(vec![entry(1, stopping(1))]).await.unwrap_err();
    assert!(is_gone(&error) && error.to_string().contains("was removed"), "{error}");
    std::fs::copy(&away, db.path()).unwrap();
    let error = store.commit(vec![entry(1, stopping(1))]).await.unwrap_err();
    assert!(is_gone(&error) && error.to_string().contains("replaced"), "{error}");
    assert!(store.read(|reader| reader.newest()).await.is_err_and(|error| is_gone(&error)));
    std::fs::rename(&away, db.path()).unwrap();
    store.look().await.unwrap();
    assert_eq!(store.commit(vec![entry(2, stopping(2))]).await.unwrap().newest.0, 2);
}

/// A log, or its index, that is removed under the daemon takes nothing with it.
#[tokio::test]
async fn a_log_that_was_taken_away_is_saved() {
    for lost in [&["-wal"][..], &["-shm"], &["-wal", "-shm"]] {
        let db = Db::new();
        let (store, _) = db.open();
        store.commit(vec![entry(0, stopping(0))]).await.unwrap();
        assert_eq!(store.read(|reader| reader.newest()).await.unwrap().0, 1);
        for suffix in lost {
            std::fs::remove_file(testing::beside(&db.path(), suffix)).unwrap();
        }
        assert_eq!(store.commit(vec![entry(1, stopping(1))]).await.unwrap().newest.0, 2, "{lost:?}");
        let other = rusqlite::Connection::open(db.path()).unwrap();
        let events: i64 = other.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
        assert_eq!(events, 2, "{lost:?}: another program sees all of it");
        assert_eq!(store.read(|reader| reader.newest()).await.unwrap().0, 2);
    }
}
