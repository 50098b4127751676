//! Tables and columns that are not what they seem: rows that others need, ages that are none, names that
//! nothing has, keys that end with blanks.
use super::check::table;
use super::crash::{while_stopped, whole};
use super::postgres::Site;
use super::*;

/// Every way of SQLite in which a foreign key finds its row.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_refers_to_a_row_is_found() {
    for (parent, child, insert) in [
        // the columns that are referred to are not named
        (
            "CREATE TABLE t(id INTEGER, part TEXT, at TEXT, PRIMARY KEY (id, part))",
            "CREATE TABLE c(x, y, FOREIGN KEY (x, y) REFERENCES t ON DELETE CASCADE)",
            "INSERT INTO t VALUES (1, 'a', '2020-01-01'); INSERT INTO c VALUES (1, 'a')",
        ),
        // they are compared as those columns are, not as those that refer
        (
            "CREATE TABLE t(id INTEGER, part TEXT COLLATE NOCASE, at TEXT, PRIMARY KEY (id, part))",
            "CREATE TABLE c(x, y TEXT, FOREIGN KEY (x, y) REFERENCES t(id, part) ON DELETE CASCADE)",
            "INSERT INTO t VALUES (1, 'a', '2020-01-01'); INSERT INTO c VALUES (1, 'A')",
        ),
    ] {
        let place = Place::new();
        let db = place.db();
        db.execute_batch(&format!("{parent}; {child}; {insert}")).unwrap();
        let text = settings("").replace("[\"id\"]", "[\"id\", \"part\"]");
        let tools = tools(place.folder.path(), &text);
        let error = archive(&tools, "old").await.unwrap_err();
        assert!(error.contains("would delete them"), "{child}: {error}");
        let counts = "SELECT (SELECT count(*) FROM t) + 10 * (SELECT count(*) FROM c)";
        let count: i64 = db.query_row(counts, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 11, "{child}");
        db.execute_batch("DELETE FROM c").unwrap();
        assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 1, "{child}");
    }
    // one that fits nothing is said
    let place = Place::new();
    fill(&place.db(), 10);
    place
        .db()
        .execute_batch("CREATE TABLE c(x, y, FOREIGN KEY (x, y) REFERENCES t ON DELETE CASCADE)")
        .unwrap();
    let error = archive(&place.tools(""), "old").await.unwrap_err();
    assert!(error.contains("the foreign key of \"c\" does not fit the primary key of t"), "{error}");
}

/// Partitions, whether they are archived themselves or referred to.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_refers_to_a_partition_is_found() {
    let Some(site) = Site::start().await else { return };
    for (archives, refers) in [("ev_old", "ev"), ("ev", "ev_old"), ("ev", "ev"), ("ev_old", "ev_old")] {
        site.sql(&format!(
            "DROP TABLE IF EXISTS items; DROP TABLE IF EXISTS ev;
             CREATE TABLE ev(id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE ev_old PARTITION OF ev FOR VALUES FROM ('2000-01-01') TO ('2021-01-01');
             CREATE TABLE ev_new PARTITION OF ev DEFAULT; INSERT INTO ev VALUES (1, '2020-01-01'), (2, '2020-01-01');
             CREATE TABLE items(e int, d date, FOREIGN KEY (e, d) REFERENCES {refers} ON DELETE CASCADE);
             INSERT INTO items VALUES (1, '2020-01-01')"
        ))
        .await;
        let place = Place::new();
        std::fs::copy(site.server.folder.path().join("app.pw"), place.path("app.pw")).unwrap();
        let text = site
            .settings("")
            .replace("\"t\"", &format!("{archives:?}"))
            .replace("[\"id\"]", "[\"id\", \"at\"]");
        let tools = tools(place.folder.path(), &text);
        let error = archive(&tools, "old").await.unwrap_err();
        assert!(error.contains("would delete them"), "{archives}, {refers}: {error}");
        assert_eq!((site.count("ev").await, site.count("items").await), (2, 1), "{archives}, {refers}");
        site.sql("DELETE FROM items").await;
        assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 2, "{archives}, {refers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_times_and_numbers_are_ages() {
    let Some(site) = Site::start().await else { return };
    site.sql("CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN moment2 AS moment").await;
    for (kind, young, is_fit) in [
        // `10 June` comes before `2026` as a text
        ("text", "'10 June 2999'", false),
        ("varchar(30)", "'10 June 2999'", false),
        ("time", "'00:00:01'", false),
        ("boolean", "false", false),
        ("moment2", "now()", true),
        ("timestamp(3)", "now()", true),
    ] {
        site.sql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t(id int PRIMARY KEY, at {kind}); INSERT INTO t VALUES (1, {young})"
        ))
        .await;
        let done = archive(&site.tools(""), "old").await;
        match done {
            Ok(done) => assert!(is_fit && done["moved"] == 0, "{kind}: {done}"),
            Err(error) => assert!(
                !is_fit && error.contains("column `at` of t is of type") && error.contains("timestamp"),
                "{kind}: {error}"
            ),
        }
        assert_eq!(site.count("t").await, 1, "{kind}");
    }
    // a name that nothing has, in `only`
    let text = site.settings("").replace("older_than", "only = { staus = \"done\" }, older_than");
    let error = archive(&tools(site.server.folder.path(), &text), "old").await.unwrap_err();
    assert!(error.contains("staus") && error.contains("does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_column_is_no_text() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, at TEXT, status TEXT, kind TEXT AS (status || '!'));
         INSERT INTO t VALUES (1, '2020-01-01', 'open'), (2, '2020-01-01', 'done')",
    )
    .unwrap();
    let with = |only: &str| {
        let text = settings("").replace("older_than", &format!("only = {{ {only} }}, older_than"));
        tools(place.folder.path(), &text)
    };
    // as a text, it would be equal for each row
    let error = archive(&with("staus = [\"staus\"]"), "old").await.unwrap_err();
    assert!(error.contains("table t has no column `staus`: did you mean `status`?"), "{error}");
    assert_eq!(table(&db, "t", "id").len(), 2);
    // a generated column is one
    assert_eq!(archive(&with("kind = \"done!\""), "old").await.unwrap()["moved"], 1);
    assert!(table(&db, "t", "id").contains_key("1"));
}

/// A column that gets another name while rows are moved must not become a text that stands in each row.
#[test]
fn a_column_that_is_renamed_meanwhile_ends_it() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 60);
    std::fs::write(place.path("agents.toml"), settings("chunk_rows = 7")).unwrap();
    let all = table(&db, "t", "id");
    let error = while_stopped(place.folder.path(), "done:1", || {
        db.execute_batch("ALTER TABLE t RENAME COLUMN note TO remark").unwrap();
    })
    .unwrap_err();
    assert!(error.contains("no such column"), "{error}");
    db.execute_batch("ALTER TABLE t RENAME COLUMN remark TO note").unwrap();
    assert_eq!(whole(&place, &all), (53, 7));
}

/// The table's own triggers may hold texts in double quotes, as most programs let them.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_with_texts_in_double_quotes_work() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    db.execute_batch(
        "CREATE TABLE log(what TEXT);
         CREATE TRIGGER gone AFTER DELETE ON t BEGIN INSERT INTO log VALUES (\"gone\"); END;
         CREATE TRIGGER back AFTER INSERT ON t BEGIN INSERT INTO log VALUES (\"back\"); END;",
    )
    .unwrap();
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 5);
    let count: i64 = db
        .query_row("SELECT count(*) FROM log WHERE what IN ('gone', 'back')", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_end_with_blanks_come_back() {
    let Some(site) = Site::start().await else { return };
    site.sql(
        "CREATE TABLE t(id character(4) PRIMARY KEY, at date); CREATE TABLE old_t(LIKE t INCLUDING ALL);
         INSERT INTO t VALUES ('ab', '2020-01-01'), ('', '2020-01-01'), ('abcd', '2020-01-01'), ('new', '2999-01-01')",
    )
    .await;
    for to in ["{ folder = \"archive\" }", "{ sql = \"db\", table = \"old_t\" }"] {
        let text = site.settings("chunk_rows = 2").replace("{ folder = \"archive\" }", to);
        let tools = tools(site.server.folder.path(), &text);
        assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 3, "{to}");
        assert_eq!(site.count("t").await, 1, "{to}");
        let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
        assert_eq!((&back["restored"], &back["conflicts"]), (&json!(3), &json!(0)), "{to}");
        assert_eq!(site.count("t").await, 4, "{to}");
    }
}
