//! Files that are lost, old or damaged.
use super::*;

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
