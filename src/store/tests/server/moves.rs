//! Moving a fleet's records between a file and a server.
use super::*;
use crate::domain::{Fact, Notice, Seq, TellOn};
use crate::store::sqlite::testing;
use crate::store::tests::{claim, entry, id, judged, record, run, stopping};
use crate::store::transfer::{NUMBERED, TABLES, transfer};
use crate::store::{EventFilter, StoreError};
use jiff::Timestamp;

fn message() -> Fact {
    let notice = Notice::new(&id("a"), TellOn::Failed, "s".into(), "b".into());
    Fact::NotificationQueued { target: "ops".into(), notice: Box::new(notice) }
}

/// All that the two sides of a move have to agree on.
async fn told(store: &Store) -> String {
    let all = store.read(|reader| {
        Ok(format!(
            "{:?}\n{:?}\n{:?}\n{:?}",
            reader.events_after(Seq(0), &EventFilter::default(), 1000)?.events,
            reader.ledger(&id("a"))?,
            reader.find_run(&run(1).to_string())?,
            reader.notes(&id("a"), None)?,
        ))
    });
    all.await.unwrap()
}

#[tokio::test]
async fn all_records_go_to_a_server_and_back() {
    let Some(db) = Db::some() else { return };
    let file = Where { file: db.file(), server: None };
    let (store, restored) = Store::open_at(&file).unwrap();
    let database = restored.database;
    let facts = [
        Fact::AgentSaved(Box::new(record("a"))),
        claim(1, Some(1)),
        judged(1, 1, 1, crate::domain::Verdict::Ran, Some(run(1)), false),
        message(),
        message(),
        stopping(7),
    ];
    store.commit(facts.map(|fact| entry(1, fact)).into()).await.unwrap();
    // a message that was delivered: its number is not given again
    store
        .commit(vec![entry(
            2,
            Fact::NotificationSent { id: 2, target: "ops".into(), agent: id("a"), run: None, tries: 1 },
        )])
        .await
        .unwrap();
    let before = told(&store).await;
    store.close().await.unwrap();

    let moved = transfer(&file, &db.place(), Timestamp::now()).unwrap();
    assert!(moved.rows > 5 && moved.newest > Seq(0), "{moved:?}");
    let error = Store::open_at(&file).map(drop).unwrap_err();
    assert!(matches!(&error, StoreError::Moved { to, .. } if *to == db.place().place()), "{error}");
    let error = transfer(&file, &db.place(), Timestamp::now()).unwrap_err();
    assert!(matches!(error, StoreError::Moved { .. }), "{error}");
    let (store, restored) = db.open();
    assert_eq!((told(&store).await, restored.database, restored.unclean), (before, database.clone(), false));
    store.commit(vec![entry(3, message()), entry(3, stopping(8))]).await.unwrap();
    let due = store.read(|reader| reader.outbox_due(crate::store::tests::t(9), 9)).await.unwrap();
    assert_eq!(due.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 3]);
    let before = told(&store).await;
    let error = transfer(&db.place(), &file, Timestamp::now());
    assert!(error.is_ok(), "a move by the same daemon ends its own earlier life");
    drop(store);

    let (store, restored) = Store::open_at(&file).unwrap();
    assert_eq!((told(&store).await, restored.database), (before, database));
    store.commit(vec![entry(4, message())]).await.unwrap();
    let due = store.read(|reader| reader.outbox_due(crate::store::tests::t(9), 9)).await.unwrap();
    assert_eq!(due.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 3, 4]);
    store.close().await.unwrap();
    let error = Store::open_at(&db.place()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Moved { .. }), "{error}");
    // and there again: what has moved away gives way
    transfer(&file, &db.place(), Timestamp::now()).unwrap();
    let (store, _) = db.open();
    assert_eq!(store.newest().borrow().0, numbers(&store).await);
}

/// Cut off between its commits, a move leaves at most one database that a daemon accepts, and is finished by another call.
#[tokio::test]
async fn a_move_that_was_cut_off_is_finished() {
    let Some(db) = Db::some() else { return };
    let file = Where { file: db.file(), server: None };
    let (store, _) = Store::open_at(&file).unwrap();
    store.commit(vec![entry(1, stopping(7))]).await.unwrap();
    store.close().await.unwrap();
    transfer(&file, &db.place(), Timestamp::now()).unwrap();
    let set = |sql: &str| db.server.psql(&format!("SET search_path = {}; {sql}", db.schema)).unwrap();
    let half = format!("INSERT INTO meta VALUES ('moving_from', '{}')", file.place());
    let mark = |sql: &str| rusqlite::Connection::open(db.file()).unwrap().execute(sql, []).unwrap();
    // before the second commit: the file goes on, and the copy does not
    set(&half);
    mark("DELETE FROM meta WHERE key = 'moved_to'");
    let error = Store::open_at(&db.place()).map(drop).unwrap_err();
    assert!(matches!(&error, StoreError::HalfMoved { from, .. } if *from == file.place()), "{error}");
    assert!(error.hint().unwrap().contains("store copy"));
    let (store, _) = Store::open_at(&file).unwrap();
    store.commit(vec![entry(2, stopping(8))]).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(transfer(&file, &db.place(), Timestamp::now()).unwrap().newest, Seq(2));
    // before the third: nobody goes on
    set(&half);
    Store::open_at(&db.place()).map(drop).unwrap_err();
    Store::open_at(&file).map(drop).unwrap_err();
    let finished = transfer(&file, &db.place(), Timestamp::now()).unwrap();
    assert!(finished.newest == Seq(2) && finished.rows > 1, "{finished:?}");
    let (store, _) = db.open();
    assert_eq!(numbers(&store).await, 2);
    store.close().await.unwrap();
    // to a file: before it got its name
    transfer(&db.place(), &file, Timestamp::now()).unwrap();
    std::fs::rename(db.file(), db.file().with_extension("db.moving")).unwrap();
    let made = rusqlite::Connection::open(db.file().with_extension("db.moving")).unwrap();
    let of =
        made.query_row("SELECT value FROM meta WHERE key = 'moving_from'", [], |row| row.get::<_, String>(0));
    assert_eq!(of.unwrap(), db.place().place());
    drop(made);
    transfer(&db.place(), &file, Timestamp::now()).unwrap();
    let (store, _) = Store::open_at(&file).unwrap();
    assert_eq!(numbers(&store).await, 2);
}

/// The whole of a move is one transaction, in which its lead can't be renewed.
#[test]
fn a_move_keeps_its_lead_for_longer_than_a_daemon() {
    let Some(db) = Db::some() else { return };
    let alone = crate::store::postgres::open_alone(
        &db.spec(),
        db.folder.path(),
        crate::store::postgres::Side::Target,
    );
    let alone = alone.unwrap();
    let left = db.number("SELECT CAST(extract(epoch FROM expires - now()) AS BIGINT) FROM fleet");
    assert!(left > 3000, "{left}");
    drop(alone);
    let (store, _) = db.open();
    drop(store);
    let left = db.number("SELECT CAST(extract(epoch FROM expires - now()) AS BIGINT) FROM fleet");
    assert!(left <= 25, "{left}");
}

async fn numbers(store: &Store) -> u64 {
    store.read(|reader| reader.newest()).await.unwrap().0
}

#[tokio::test]
async fn records_of_another_fleet_are_not_written_over() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    store.commit(vec![entry(0, stopping(1))]).await.unwrap();
    store.close().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = Where { file: elsewhere.path().join("bgagent.db"), server: None };
    let (store, _) = Store::open_at(&file).unwrap();
    store.commit(vec![entry(0, stopping(2))]).await.unwrap();
    store.close().await.unwrap();
    let error = transfer(&file, &db.place(), Timestamp::now()).unwrap_err();
    assert!(
        matches!(error, StoreError::Refused { .. }) && error.to_string().contains("records already"),
        "{error}"
    );
    Store::open_at(&file).map(drop).expect("nothing has happened to it");
    assert_eq!(db.number("SELECT count(*) FROM events"), 1);
}

/// A table or a column that only one of the two has would be lost by a move.
#[test]
fn both_databases_have_the_same_tables() {
    let Some(db) = Db::some() else { return };
    drop(db.open());
    let link = testing::in_memory();
    let sqlite: &crate::store::sql::Sql = &link;
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let tables = sqlite.rows(sql, &[], |row| row.get::<String>(0)).unwrap();
    let mut known: Vec<&str> = TABLES.to_vec();
    known.sort_unstable();
    assert_eq!(tables, known);
    let sql = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT IN ('fleet', 'nodes', 'forwarded', 'workers', 'orders', 'reports') ORDER BY tablename";
    let text = db.server.psql(&format!("SET search_path = {}; {sql}", db.schema)).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), tables);
    for table in TABLES {
        let mut columns: Vec<String> = sqlite
            .columns_of(table)
            .unwrap()
            .into_iter()
            .map(|(name, kind)| format!("{name} {kind:?}"))
            .collect();
        columns.sort();
        let sql = format!(
            "SELECT column_name || CASE data_type WHEN 'bigint' THEN ' Integer' WHEN 'bytea' THEN ' Blob'
               WHEN 'double precision' THEN ' Real' ELSE ' Text' END
             FROM information_schema.columns WHERE table_schema = '{}' AND table_name = '{table}'",
            db.schema
        );
        let text = db.server.psql(&sql).unwrap();
        let mut found: Vec<&str> = text.lines().collect();
        found.sort_unstable();
        assert_eq!(found, columns, "{table}");
    }
    assert!(NUMBERED.iter().all(|table| TABLES.contains(table)));
}
