//! Keys of every kind, and what changes between a kill and the next run: settings and columns.
use super::check::{archived, table};
use super::crash::{dies_in, does, store, while_stopped};
use super::*;

/// Whatever the key is made of, and however it is compared: each row moves once, and comes back as it was.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind() {
    for (columns, key, values) in [
        (
            "id PRIMARY KEY",
            "id",
            "(0.1), (1e300), (-0.0), (9223372036854775807), (-9223372036854775808), (9e18), ('a'), ('A'), (''), (x''), (x'00'), ('9'), (9e999)",
        ),
        ("id TEXT COLLATE NOCASE PRIMARY KEY", "id", "('a'), ('B'), ('c'), ('_'), ('Z '), ('ä'), ('Ä')"),
        ("id TEXT COLLATE RTRIM PRIMARY KEY", "id", "('a   '), (' a'), ('b'), ('')"),
        ("id REAL PRIMARY KEY", "id", "(1), (1.5), (9007199254740993), (-1e-300), ('text')"),
        ("id INTEGER PRIMARY KEY DESC", "id", "(3), (1), (2), ('x'), (1.5)"),
        (
            "id BLOB, b TEXT, PRIMARY KEY(id DESC, b COLLATE NOCASE)",
            "id\", \"b",
            "(1, 'a'), (1, 'B'), (2, 'a'), (x'01', 'a'), (x'01', '')",
        ),
        ("id TEXT COLLATE NOCASE NOT NULL, UNIQUE(id COLLATE BINARY)", "id", "('a'), ('A'), ('b')"),
    ] {
        for tail in ["", "WITHOUT ROWID"] {
            if !tail.is_empty() && !columns.contains("PRIMARY") {
                continue;
            }
            let place = Place::new();
            let db = place.db();
            db.execute_batch("PRAGMA encoding = 'UTF-16le'").unwrap();
            let names = if columns.contains("b TEXT") { "id, b" } else { "id" };
            let (at, rest) =
                columns.split_once(", PRIMARY").map_or((columns, ""), |(at, _)| (at, &columns[at.len()..]));
            let (at, rest) =
                at.split_once(", UNIQUE").map_or((at, rest), |(at, _)| (at, &columns[at.len()..]));
            db.execute_batch(&format!(
                "CREATE TABLE t({at}, at TEXT DEFAULT '2020-01-01', note DEFAULT 'ü'{rest}) {tail}; INSERT INTO t({names}) VALUES {values}"
            ))
            .unwrap_or_else(|error| panic!("{columns}: {error}"));
            let dump = || -> Vec<String> {
                let mut all = db
                    .prepare("SELECT typeof(id) || hex(id) || quote(id) || at || note FROM t ORDER BY 1")
                    .unwrap();
                let rows = all.query_map([], |row| row.get(0)).unwrap();
                rows.collect::<Result<_, _>>().unwrap()
            };
            let before = dump();
            let text = settings("chunk_rows = 1").replace("[\"id\"]", &format!("[\"{key}\"]"));
            let tools = tools(place.folder.path(), &text);
            let done =
                archive(&tools, "old").await.unwrap_or_else(|error| panic!("{columns} {tail}: {error}"));
            assert_eq!((&done["moved"], dump().len()), (&json!(before.len()), 0), "{columns} {tail}: {done}");
            assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true, "{columns}");
            restore(&tools, "old", ArchiveRange::default()).await.unwrap();
            assert_eq!(dump(), before, "{columns} {tail}");
        }
    }
}

/// Other settings after a kill: nothing is settled by a key that is another one, and setting it back is enough.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_change_after_a_kill() {
    for (to, step) in [
        ("", "deleted:1"),
        ("", "intended:1"),
        (TO_TABLE, "deleted:1"),
        (TO_TABLE, "put:1"),
        (TO_TABLE, "intended:1"),
    ] {
        let place = Place::new();
        let db = place.db();
        db.execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, no INTEGER NOT NULL UNIQUE, at TEXT);
             INSERT INTO t VALUES (1, 3, '2020-01-01'), (2, 2, '2020-01-01'), (3, 1, '2020-01-01'), (4, 4, '2999-01-01')",
        )
        .unwrap();
        let other = rusqlite::Connection::open(place.path("old.db")).unwrap();
        other.execute_batch("CREATE TABLE old_t AS SELECT 1 AS id, 1 AS no, '' AS at WHERE 0; CREATE UNIQUE INDEX a ON old_t(id); CREATE UNIQUE INDEX b ON old_t(no)").unwrap();
        let text = match to {
            "" => settings(""),
            to => settings("").replace("to = { folder = \"archive\" }", to),
        };
        std::fs::write(place.path("agents.toml"), &text).unwrap();
        drop(bgagent::store::Store::open(&place.path("bgagent.db")).unwrap());
        assert!(dies_in(place.folder.path(), "archive", step), "{step}");
        let left = table(&db, "t", "id");
        let context = CallContext {
            store: store(place.folder.path()),
            timeout: Some(Duration::from_secs(60)),
            ..CallContext::default()
        };
        let run = async |text: &str| tools(place.folder.path(), text).call("old", &json!({}), &context).await;
        let changed = run(&text.replace("[\"id\"]", "[\"no\"]")).await;
        let error = changed.expect_err(step).to_string();
        assert!(error.contains("set `key` back"), "{step}: {error}");
        assert_eq!(table(&db, "t", "id"), left, "{step}");
        run(&text).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        let left = table(&db, "t", "id");
        let rows = if to.is_empty() {
            archived(&place.path("archive"), "id", &left).len()
        } else {
            table(&other, "old_t", "id").len()
        };
        assert_eq!((left.len(), rows), (1, 3), "{step}");
    }
}

const TO_TABLE: &str = "to = { url = \"sqlite:old.db\", table = \"old_t\" }";

/// A table with columns that came while rows were on their way to another one.
#[test]
fn a_column_that_comes_meanwhile_is_not_lost_between_tables() {
    let place = Place::new();
    fill(&place.db(), 20);
    let other = rusqlite::Connection::open(place.path("old.db")).unwrap();
    other.execute_batch("CREATE TABLE old_t(id INTEGER PRIMARY KEY, at TEXT, note TEXT)").unwrap();
    let text = settings("").replace("to = { folder = \"archive\" }", TO_TABLE);
    std::fs::write(place.path("agents.toml"), &text).unwrap();
    drop(bgagent::store::Store::open(&place.path("bgagent.db")).unwrap());
    let said = while_stopped(place.folder.path(), "put:1", || {
        place
            .db()
            .execute_batch("ALTER TABLE t ADD COLUMN extra TEXT; UPDATE t SET extra = 'x' || id")
            .unwrap();
    });
    assert!(said.unwrap_err().contains("the columns of table t changed"));
    assert_eq!(table(&place.db(), "t", "id").len(), 20);
    let error = std::panic::catch_unwind(|| does(place.folder.path(), "archive"));
    assert!(error.is_err(), "the destination has no such column");
    other.execute_batch("ALTER TABLE old_t ADD COLUMN extra TEXT").unwrap();
    assert_eq!(does(place.folder.path(), "archive").0["moved"], 10);
    let left = table(&place.db(), "t", "id");
    let old = table(&other, "old_t", "id");
    assert_eq!((left.len(), old.len()), (10, 10));
    assert!(old.values().all(|row| row["extra"] == format!("x{}", row["id"])), "{old:?}");
}
