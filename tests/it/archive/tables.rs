//! To another table: of SQLite and of PostgreSQL.
use super::check::{Rows, is_partition, table};
use super::crash::{dies_in, store};
use super::*;

const TO: &str = "to = { url = \"sqlite:old.db\", table = \"old_t\" }";

/// A place with a second database.
fn place(rows: i64) -> (Place, rusqlite::Connection, rusqlite::Connection, Rows) {
    let place = Place::new();
    let db = place.db();
    fill(&db, rows);
    let other = rusqlite::Connection::open(place.path("old.db")).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other
        .execute_batch("CREATE TABLE old_t(note TEXT, at TEXT, id INTEGER PRIMARY KEY, extra INT DEFAULT 1)")
        .unwrap();
    let all = table(&db, "t", "id");
    (place, db, other, all)
}

fn text(more: &str) -> String {
    settings(more).replace("to = { folder = \"archive\" }", TO)
}

/// What is archived: copies of rows that are still in the source do not count.
fn archived(other: &rusqlite::Connection, left: &Rows) -> Rows {
    let mut old = table(other, "old_t", "id");
    old.retain(|id, row| {
        row.as_object_mut().unwrap().remove("extra");
        !left.contains_key(id)
    });
    old
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_move_to_another_database_and_back() {
    let (place, db, other, all) = place(300);
    let tools = tools(place.folder.path(), &text("chunk_rows = 16"));
    // one key is taken at the destination
    other.execute_batch("INSERT INTO old_t(id, note) VALUES (5, 'mine')").unwrap();
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!(
        (&done["moved"], &done["conflicts"], &done["more"]),
        (&json!(149), &json!(1), &json!(false)),
        "{done}"
    );
    assert!(table(&db, "t", "id").contains_key("5"));
    other.execute_batch("DELETE FROM old_t WHERE id = 5").unwrap();
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 1);
    let left = table(&db, "t", "id");
    is_partition(&left, &archived(&other, &left), &all);
    let list = ask(&tools, "old", &ArchiveAsk::List).await.unwrap();
    assert_eq!(list["rows"], 150);
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    let one = ArchiveRange { key: vec!["7".into()], ..ArchiveRange::default() };
    let dry = ask(&tools, "old", &ArchiveAsk::Restore { range: one.clone(), dry_run: true }).await.unwrap();
    assert_eq!((&dry["restored"], table(&db, "t", "id").len()), (&json!(1), 150));
    assert_eq!(restore(&tools, "old", one).await.unwrap()["restored"], 1);
    assert_eq!(table(&other, "old_t", "id").len(), 149);
    db.execute_batch("INSERT INTO t VALUES (9, '2026-01-01', 'taken')").unwrap();
    let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!((&back["restored"], &back["conflicts"]), (&json!(148), &json!(1)));
    db.execute_batch("DELETE FROM t WHERE id = 9").unwrap();
    restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!(table(&db, "t", "id"), all);
    assert_eq!(table(&other, "old_t", "id").len(), 0);
    // a destination that lacks a column
    other.execute_batch("ALTER TABLE old_t DROP COLUMN note").unwrap();
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("column `note`, and table old_t has none"), "{error}");
    assert_eq!(table(&db, "t", "id"), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_two_databases_no_row_is_lost_or_doubled() {
    let (place, db, other, mut all) = place(60);
    std::fs::write(place.path("agents.toml"), text("chunk_rows = 7")).unwrap();
    // the first opening makes the state database
    drop(bgagent::store::Store::open(&place.path("bgagent.db")).unwrap());
    let mut killed = 0;
    for turn in 0..4 {
        for step in ["intended", "put", "deleted", "done"] {
            killed += u32::from(dies_in(place.folder.path(), "archive", &format!("{step}:{}", turn % 3 + 1)));
            let left = table(&db, "t", "id");
            is_partition(&left, &archived(&other, &left), &all);
            // whatever was put and not deleted changes: the copy must not be taken for it
            // (but for one row, which tells that none was deleted)
            let copies = table(&other, "old_t", "id");
            for (id, row) in left.iter().filter(|(id, _)| copies.contains_key(*id)).skip(1) {
                db.execute("UPDATE t SET note = note || '!' WHERE id = ?1", [id]).unwrap();
                let note = format!("{}!", row["note"].as_str().unwrap());
                all.get_mut(id).unwrap()["note"] = note.into();
            }
        }
        let tools = tools(place.folder.path(), &text("chunk_rows = 7"));
        let context = CallContext {
            store: store(place.folder.path()),
            timeout: Some(Duration::from_secs(60)),
            ..CallContext::default()
        };
        let done = tools.call("old", &json!({}), &context).await.unwrap().result;
        assert_eq!((&done["more"], &done["conflicts"]), (&json!(false), &json!(0)), "{done}");
        context.store.unwrap().close().await.unwrap();
        let left = table(&db, "t", "id");
        is_partition(&left, &archived(&other, &left), &all);
        assert_eq!((left.len(), table(&other, "old_t", "id").len()), (30, 30));
        for step in ["put", "done"] {
            killed += u32::from(dies_in(
                place.folder.path(),
                "2030-01-01T00:00:00Z",
                &format!("{step}:{}", turn + 1),
            ));
            let left = table(&db, "t", "id");
            is_partition(&left, &archived(&other, &left), &all);
        }
        restore(&tools, "old", ArchiveRange::default()).await.unwrap();
        assert_eq!(table(&db, "t", "id"), all);
    }
    assert!(killed >= 12, "only {killed} kills");
}

/// The archive, with the state database of its folder.
async fn with_store(place: &Place) -> Value {
    let tools = tools(place.folder.path(), &text("chunk_rows = 7"));
    let context = CallContext {
        store: store(place.folder.path()),
        timeout: Some(Duration::from_secs(60)),
        ..CallContext::default()
    };
    let done = tools.call("old", &json!({}), &context).await.unwrap().result;
    context.store.unwrap().close().await.unwrap();
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_put_are_not_taken_back() {
    let (place, db, other, all) = place(60);
    std::fs::write(place.path("agents.toml"), text("chunk_rows = 7")).unwrap();
    drop(bgagent::store::Store::open(&place.path("bgagent.db")).unwrap());
    assert!(dies_in(place.folder.path(), "archive", "intended:1"));
    // the archive of another table moves rows there, under keys that this one was about to use
    other.execute_batch("INSERT INTO old_t(id, note) VALUES (1, 'theirs'), (3, 'theirs')").unwrap();
    let done = with_store(&place).await;
    assert_eq!(
        (&done["mended"]["undone"], &done["conflicts"], &done["moved"]),
        (&json!(0), &json!(2), &json!(28)),
        "{done}"
    );
    let theirs = other.query_row("SELECT count(*) FROM old_t WHERE note = 'theirs'", [], |row| row.get(0));
    assert_eq!(theirs, Ok(2));
    let left = table(&db, "t", "id");
    is_partition(&left, &archived(&other, &left), &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_used_again_does_not_destroy_the_copy() {
    for (step, again) in [("deleted:1", &[3][..]), ("deleted:5", &[57, 59])] {
        let (place, db, other, all) = place(60);
        std::fs::write(place.path("agents.toml"), text("chunk_rows = 7")).unwrap();
        drop(bgagent::store::Store::open(&place.path("bgagent.db")).unwrap());
        assert!(dies_in(place.folder.path(), "archive", step));
        for id in again {
            db.execute("INSERT INTO t VALUES (?1, datetime('now'), 'new')", [id]).unwrap();
        }
        let done = with_store(&place).await;
        assert_eq!((&done["mended"]["undone"], &done["more"]), (&json!(0), &json!(false)), "{step}: {done}");
        db.execute_batch("DELETE FROM t WHERE note = 'new'").unwrap();
        let left = table(&db, "t", "id");
        assert_eq!(left.len(), 30, "{step}");
        is_partition(&left, &archived(&other, &left), &all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_archives_of_one_table_do_not_take_each_others_rows() {
    let (place, db, _other, all) = place(60);
    std::fs::write(place.path("agents.toml"), settings("chunk_rows = 7")).unwrap();
    drop(bgagent::store::Store::open(&place.path("bgagent.db")).unwrap());
    assert!(dies_in(place.folder.path(), "archive", "deleted:2"));
    let context = CallContext {
        store: store(place.folder.path()),
        timeout: Some(Duration::from_secs(60)),
        ..CallContext::default()
    };
    let second = tools(place.folder.path(), &text(""));
    let error = second.call("old", &json!({}), &context).await.unwrap_err().to_string();
    assert!(error.contains("/archive was broken off: let it run again first"), "{error}");
    let first = place.tools("");
    first.call("old", &json!({}), &context).await.unwrap();
    let done = second.call("old", &json!({}), &context).await.unwrap().result;
    assert_eq!(done["moved"], 0);
    let left = table(&db, "t", "id");
    is_partition(&left, &super::check::archived(&place.path("archive"), "id", &left), &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_move_between_tables_of_postgres() {
    let Some(site) = super::postgres::Site::start().await else { return };
    site.fill(200).await;
    let all = site.table().await;
    site.sql("CREATE SCHEMA archive; CREATE TABLE archive.t(LIKE t INCLUDING ALL)").await;
    let settings = site
        .settings("chunk_rows = 16")
        .replace("to = { folder = \"archive\" }", "to = { sql = \"db\", table = \"archive.t\" }");
    let tools = tools(site.server.folder.path(), &settings);
    site.sql("INSERT INTO archive.t VALUES (3, '2020-01-01', 'mine')").await;
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!((&done["moved"], &done["conflicts"]), (&json!(99), &json!(1)), "{done}");
    assert_eq!((site.count("t").await, site.count("archive.t").await), (101, 100));
    site.sql("DELETE FROM archive.t WHERE id = 3").await;
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 1);
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    let range = ArchiveRange { key: vec!["3".into()], ..ArchiveRange::default() };
    assert_eq!(restore(&tools, "old", range).await.unwrap()["restored"], 1);
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 99);
    assert_eq!(site.table().await, all);
    assert_eq!(site.count("archive.t").await, 0);
}
