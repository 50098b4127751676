//! What can't come back is not taken away, and what was taken away comes back: with SQLite.
use super::check::table;
use super::*;
use crate::archive::edges::{dry, files};

fn moved(done: &Result<Value, String>) -> u64 {
    done.as_ref().unwrap_or_else(|error| panic!("{error}"))["moved"].as_u64().expect("a number")
}

fn warned(done: &Value, wanted: &str) -> bool {
    done["warnings"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one.as_str().unwrap().contains(wanted)))
}

/// Programs may leave the foreign keys of SQLite off, so rows are legal that refer to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refer_to_nothing_come_back() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE p(id INTEGER PRIMARY KEY);
         CREATE TABLE t(id INTEGER PRIMARY KEY, p INT REFERENCES p(id), q INT REFERENCES nowhere(x), at TEXT);
         PRAGMA foreign_keys = OFF; INSERT INTO p VALUES (1);
         INSERT INTO t VALUES (1, 1, 7, '2020-01-01'), (2, 99, NULL, '2020-01-01')",
    )
    .unwrap();
    let all = table(&db, "t", "id");
    let tools = place.tools("");
    assert_eq!(moved(&archive(&tools, "old").await), 2);
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!(back["restored"], 2, "{back}");
    assert_eq!(table(&db, "t", "id"), all);
}

/// Rows that refer to rows of their own table go before those, in one chunk and over many, whichever have the lower
/// keys, and whatever a deletion would do.
#[tokio::test(flavor = "multi_thread")]
async fn families_move_children_first_and_come_back() {
    for action in ["", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE RESTRICT"] {
        for parent in ["nullif(i - 1, 0)", "nullif((i + 1) % 26, 0)", "(i * 7) % 25 + 1", "i"] {
            for chunk in ["", "chunk_rows = 4"] {
                let place = Place::new();
                let db = place.db();
                db.execute_batch(&format!(
                    "PRAGMA foreign_keys = OFF;
                     CREATE TABLE t(id INTEGER PRIMARY KEY, parent INT REFERENCES t(id) {action}, at TEXT);
                     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25)
                     INSERT INTO t SELECT i, {parent}, '2020-01-01' FROM n"
                ))
                .unwrap();
                let all = table(&db, "t", "id");
                let tools = place.tools(chunk);
                let done = archive(&tools, "old").await;
                let what = format!("{action} {parent} {chunk}: {done:?}");
                assert_eq!(moved(&done), 25, "{what}");
                let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
                assert_eq!(back["restored"], 25, "{what}");
                assert_eq!(table(&db, "t", "id"), all, "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_needed_by_a_young_row_stays() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, parent INT REFERENCES t(id), at TEXT);
         INSERT INTO t VALUES (1, NULL, '2020-01-01'), (2, 1, '2020-01-01'), (3, 2, '2999-01-01'), (4, 1, '2020-01-01')",
    )
    .unwrap();
    let done = archive(&place.tools("chunk_rows = 1"), "old").await.unwrap();
    assert_eq!(
        (&done["moved"], &done["referred"], &done["more"]),
        (&json!(1), &json!(2), &json!(false)),
        "{done}"
    );
    assert!(warned(&done, "kept in t: 2 rows that other rows of the table refer to"), "{done}");
    let keys: Vec<String> = table(&db, "t", "id").into_keys().collect();
    assert_eq!(keys, ["1", "2", "3"]);
    // when nobody needs them any more, they go
    db.execute_batch("DELETE FROM t WHERE id = 3").unwrap();
    assert_eq!(moved(&archive(&place.tools(""), "old").await), 2);
}

/// Whatever keeps a row from being put back keeps it from being archived. It costs no other row.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_come_back_stays() {
    for (habit, undo, wanted) in [
        (
            "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 3 BEGIN SELECT raise(ABORT, 'not three'); END",
            "DROP TRIGGER no",
            "row 3 of t: not three",
        ),
        (
            "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 3 BEGIN SELECT raise(ROLLBACK, 'not three'); END",
            "DROP TRIGGER no",
            "row 3 of t: not three",
        ),
        (
            "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 3 BEGIN SELECT raise(IGNORE); END",
            "DROP TRIGGER no",
            "a trigger or a rule keeps it out",
        ),
        (
            "CREATE TRIGGER no AFTER INSERT ON t WHEN new.id = 3 BEGIN UPDATE t SET note = 'x' WHERE id = 3; END",
            "DROP TRIGGER no",
            "row 3 of t is not what was put",
        ),
        (
            "CREATE TRIGGER no AFTER DELETE ON t WHEN old.id = 3 BEGIN INSERT INTO t VALUES (1000 + old.id, 'x', old.note); END",
            "DROP TRIGGER no",
            "row 3 of t: another row has its key, or another unique value",
        ),
    ] {
        let place = Place::new();
        let db = place.db();
        fill(&db, 10);
        db.execute_batch(&format!("CREATE UNIQUE INDEX notes ON t(note); {habit}")).unwrap();
        let all = table(&db, "t", "id");
        let tools = place.tools("");
        let done = archive(&tools, "old").await.unwrap_or_else(|error| panic!("{habit}: {error}"));
        assert_eq!((&done["moved"], &done["refused"]), (&json!(4), &json!(1)), "{habit}: {done}");
        assert!(warned(&done, wanted), "{habit}: no `{wanted}` in {done}");
        assert_eq!(table(&db, "t", "id").len(), 6, "{habit}");
        assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true, "{habit}");
        assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 4, "{habit}");
        assert_eq!(table(&db, "t", "id"), all, "{habit}");
        db.execute_batch(undo).unwrap();
        assert_eq!(moved(&archive(&tools, "old").await), 5, "{habit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn if_nothing_could_come_back_it_fails_and_deletes_nothing() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 1000);
    // no rows may be put that are older than a day
    db.execute_batch(
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.at < datetime('now', '-1 day')
         BEGIN SELECT raise(ABORT, 'no backdated rows'); END",
    )
    .unwrap();
    for more in ["", "delete = false"] {
        let error = archive(&place.tools(more), "old").await.unwrap_err();
        assert!(
            error.contains("nothing was archived of t") && error.contains("row 1 of t: no backdated rows"),
            "{error}"
        );
        assert_eq!(table(&db, "t", "id").len(), 1000);
        assert_eq!(files(&place.path("archive"), ".zst").len(), 0);
    }
}

/// Of what the table does not take, a restore tells the keys, and goes on. A rehearsal and `verify` say it before.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_taken_costs_no_other() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 20);
    let tools = place.tools("chunk_rows = 4");
    assert_eq!(moved(&archive(&tools, "old").await), 10);
    db.execute_batch(
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id IN (5, 15) BEGIN SELECT raise(ABORT, 'not these'); END;
         INSERT INTO t VALUES (7, '2999-01-01', 'another')",
    )
    .unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(verified["ok"], false, "{verified}");
    let problems = verified["problems"].to_string();
    assert!(
        problems.contains("1 row of it can't be put back") && problems.contains("row 15 of t: not these"),
        "{verified}"
    );
    assert!(verified["notes"].to_string().contains("have their keys"), "{verified}");
    let rehearsed = ask(&tools, "old", &dry()).await.unwrap();
    let before = table(&db, "t", "id");
    assert_eq!(before.len(), 11);
    let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    for said in [&rehearsed, &back] {
        let counts = [&said["restored"], &said["conflicts"], &said["refused"]];
        assert_eq!(counts, [&json!(7), &json!(1), &json!(2)], "{said}");
        assert!(said["notes"].to_string().contains("row 5 of t: not these"), "{said}");
    }
    assert_eq!(table(&db, "t", "id").len(), 18);
    assert_eq!(ask(&tools, "old", &ArchiveAsk::List).await.unwrap()["rows"], 3);
    db.execute_batch("DROP TRIGGER no").unwrap();
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 2);
}

/// Tables of every make that SQLite has.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_every_make_come_back() {
    for (make, insert) in [
        (
            "CREATE TABLE t(id TEXT PRIMARY KEY COLLATE NOCASE, at TEXT, x) WITHOUT ROWID",
            "('a', '2020-01-01', 1.0), ('B', '2020-01-01', x'00ff')",
        ),
        (
            "CREATE TABLE t(id INTEGER PRIMARY KEY, at TEXT, x ANY, y INT, z BLOB, w REAL) STRICT",
            "(1, '2020-01-01', '7', 9223372036854775807, x'', 1e999), (2, '2020-01-01', 7, NULL, NULL, -0.0)",
        ),
        (
            "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, x TEXT, y AS (x || '!') STORED, z AS (id * 2))",
            "(9007199254740993, '2020-01-01', x'41'), (2, '2020-01-01', 'é')",
        ),
        (
            "CREATE TABLE t(id NUMERIC UNIQUE NOT NULL, at TEXT, x INT CHECK (typeof(x) <> 'blob'), y DEFAULT 5)",
            "(1.5, '2020-01-01', '1x', NULL), ('2', '2020-01-01', 3, '')",
        ),
    ] {
        let place = Place::new();
        let db = place.db();
        db.execute_batch(make).unwrap();
        let names: Vec<String> = db
            .prepare("SELECT name FROM pragma_table_info('t')")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        db.execute_batch(&format!(
            "INSERT INTO t({}) VALUES {insert}",
            names
                .iter()
                .filter(|name| !(make.contains("AS (") && ["y", "z"].contains(&name.as_str())))
                .cloned()
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .unwrap();
        let dump = || -> Vec<String> {
            let list = names
                .iter()
                .map(|name| format!("typeof({name}) || quote({name})"))
                .collect::<Vec<_>>()
                .join(" || ");
            db.prepare(&format!("SELECT {list} FROM t ORDER BY id"))
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .map(Result::unwrap)
                .collect()
        };
        let before = dump();
        let tools = place.tools("");
        assert_eq!(moved(&archive(&tools, "old").await), 2, "{make}");
        assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 2, "{make}");
        assert_eq!(dump(), before, "{make}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_dots_and_quotes_are_understood() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE \"a.b\"(id INTEGER PRIMARY KEY, at TEXT); INSERT INTO \"a.b\" VALUES (1, '2020-01-01');
         CREATE TABLE Orders(id INTEGER PRIMARY KEY, at TEXT); INSERT INTO Orders VALUES (1, '2020-01-01')",
    )
    .unwrap();
    for (name, real) in [
        ("a.b", "a.b"),
        ("\"a.b\"", "a.b"),
        ("main.\"a.b\"", "a.b"),
        ("main.orders", "Orders"),
        ("[Orders]", "Orders"),
    ] {
        let text = settings("").replace("\"t\"", &format!("'{name}'"));
        let tools = tools(place.folder.path(), &text);
        assert_eq!(moved(&archive(&tools, "old").await), 1, "{name}");
        assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 1, "{name}");
        assert_eq!(table(&db, &format!("\"{real}\""), "id").len(), 1);
        std::fs::remove_dir_all(place.path("archive")).unwrap();
    }
    let text = settings("").replace("\"t\"", "\"other.Orders\"");
    let error = archive(&tools(place.folder.path(), &text), "old").await.unwrap_err();
    assert!(error.contains("there is no table `other.Orders`") && error.contains("app.db"), "{error}");
}
