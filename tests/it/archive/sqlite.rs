//! From SQLite to a folder.
use super::check::{archived, is_partition, table};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_move_and_come_back() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 1000);
    let all = table(&db, "t", "id");
    let tools = place.tools("chunk_rows = 64");
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!((&done["moved"], &done["chunks"], &done["more"]), (&json!(500), &json!(8), &json!(false)));
    let left = table(&db, "t", "id");
    assert_eq!(left.len(), 500);
    is_partition(&left, &archived(&place.path("archive"), "id", &left), &all);
    // nothing is left to do
    let again = archive(&tools, "old").await.unwrap();
    assert_eq!((&again["moved"], &again["more"]), (&json!(0), &json!(false)));
    let list = ask(&tools, "old", &ArchiveAsk::List).await.unwrap();
    assert_eq!((&list["rows"], list["objects"].as_array().unwrap().len()), (&json!(500), 8));
    assert_eq!((&list["objects"][0]["first"], &list["objects"][7]["last"]), (&json!(["1"]), &json!(["999"])));
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!((&verified["ok"], &verified["rows"]), (&json!(true), &json!(500)));
    // one row
    let one = ArchiveRange { key: vec!["501".into()], ..ArchiveRange::default() };
    let dry = ask(&tools, "old", &ArchiveAsk::Restore { range: one.clone(), dry_run: true }).await.unwrap();
    assert_eq!(dry["restored"], 1);
    assert_eq!(table(&db, "t", "id"), left, "a dry run changes nothing");
    assert_eq!(restore(&tools, "old", one).await.unwrap()["restored"], 1);
    let now = table(&db, "t", "id");
    assert_eq!(now["501"], all["501"]);
    is_partition(&now, &archived(&place.path("archive"), "id", &now), &all);
    // all of them
    let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!((&back["restored"], &back["conflicts"]), (&json!(499), &json!(0)));
    assert_eq!(table(&db, "t", "id"), all);
    let list = ask(&tools, "old", &ArchiveAsk::List).await.unwrap();
    assert_eq!(list["rows"], 0);
    // and again
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_time_comes_back_and_conflicts_stay() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, at INTEGER, email TEXT UNIQUE);
         INSERT INTO t VALUES (1, 1577836800, 'a'), (2, 1580515200, 'b'), (3, 1583020800, 'c'), (4, 1585699200, 'd'),
           (5, NULL, 'no age, so not old')",
    )
    .unwrap();
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 4);
    db.execute_batch("INSERT INTO t VALUES (2, 1, 'another two'), (6, 1, 'c')").unwrap();
    let range = ArchiveRange {
        from: Some("2020-02-01T00:00:00Z".parse().unwrap()),
        to: Some("2020-04-01T00:00:00Z".parse().unwrap()),
        key: Vec::new(),
    };
    // rows 2 and 3 are of that time: the key of one and the email of the other are taken
    let back = restore(&tools, "old", range.clone()).await.unwrap();
    assert_eq!((&back["restored"], &back["conflicts"]), (&json!(0), &json!(2)), "{back}");
    db.execute_batch("DELETE FROM t WHERE id IN (2, 6)").unwrap();
    let back = restore(&tools, "old", range.clone()).await.unwrap();
    assert_eq!((&back["restored"], &back["conflicts"]), (&json!(2), &json!(0)), "{back}");
    let back = restore(&tools, "old", range).await.unwrap();
    assert_eq!(back["restored"], 0, "nothing is put back twice");
    let left = ask(&tools, "old", &ArchiveAsk::List).await.unwrap();
    assert_eq!(left["rows"], 2);
    assert_eq!(table(&db, "t", "id").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_survives() {
    let place = Place::new();
    let db = place.db();
    // a column without a type takes any value as it is
    db.execute_batch(
        "CREATE TABLE t(a BLOB, b TEXT COLLATE NOCASE, at, x, twice GENERATED ALWAYS AS (x || x), PRIMARY KEY(b, a)) WITHOUT ROWID;
         INSERT INTO t(a, b, at, x) VALUES
           (1, 'k', '2020-01-01', NULL), (2, 'K2', '2020-01-01', 9007199254740993), (3, 'k', '2020-01-01', -9223372036854775808),
           (4, 'k', '2020-01-01', 0.1), (5, 'k', '2020-01-01', 9e999), (6, 'k', '2020-01-01', -9e999), (7, 'k', '2020-01-01', 1.0),
           ('8', 'k', '2020-01-01', '1'), (x'0009', 'k', '2020-01-01', x'00ff'), (10, 'k', '2020-01-01', ''),
           (11, 'k', '2020-01-01', 'ü' || char(0) || 'x'), (12, 'k', '2020-01-01', CAST(x'ff' AS TEXT)),
           (13, '\"'' \n', '2020-01-01', '{\"a\": null}'), (14, '', '2020-01-01', 5e-324)",
    )
    .unwrap();
    let dump = || -> Vec<String> {
        let mut all = db.prepare("SELECT quote(a) || typeof(a) || quote(b) || quote(at) || typeof(x) || hex(x) || hex(quote(x)) FROM t ORDER BY b, a").unwrap();
        let rows = all.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let before = dump();
    assert_eq!(before.len(), 14);
    let text = settings("chunk_rows = 3").replace("key = [\"id\"]", "key = [\"b\", \"a\"]");
    let tools = tools(place.folder.path(), &text);
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!((&done["moved"], dump().len()), (&json!(14), 0));
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 14);
    assert_eq!(dump(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_and_the_next_run_goes_on() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 100);
    let tools = place.tools("chunk_rows = 8\nmax_rows = 20");
    for (moved, more) in [(20, true), (20, true), (10, false), (0, false)] {
        let done = archive(&tools, "old").await.unwrap();
        assert_eq!((&done["moved"], &done["more"]), (&json!(moved), &json!(more)));
    }
    // no time for all: each of these rows is written to the disk by itself
    fill_more(&db);
    let context = CallContext { timeout: Some(Duration::from_secs(30)), ..CallContext::default() };
    let hasty = place.tools("max_time = \"1ms\"\nchunk_rows = 1");
    let done = hasty.call("old", &json!({}), &context).await.unwrap().result;
    let moved = done["moved"].as_u64().unwrap();
    assert!(moved < 50 && done["more"] == true, "{done}");
    let rest = archive(&place.tools(""), "old").await.unwrap();
    assert_eq!((&rest["moved"], &rest["more"]), (&json!(50 - moved), &json!(false)));
}

fn fill_more(db: &rusqlite::Connection) {
    db.execute_batch("INSERT INTO t SELECT id + 1000, '2020-01-01', note FROM t").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_leaves_everything_as_it_is() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 100);
    let all = table(&db, "t", "id");
    let done = archive(&place.tools("delete = false"), "old").await.unwrap();
    assert_eq!((&done["moved"], &done["copied"]), (&json!(0), &json!(50)));
    assert_eq!(table(&db, "t", "id"), all);
    let list = ask(&place.tools(""), "old", &ArchiveAsk::List).await.unwrap();
    assert_eq!((&list["rows"], &list["pending"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_some_values_and_numbers_of_milliseconds() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE t(id TEXT PRIMARY KEY NOT NULL, at INTEGER, status TEXT, n INTEGER);
         INSERT INTO t VALUES ('a', 1577836800000, 'done', 1), ('b', 1577836800000, 'open', 1), ('c', 1577836800000, 'lost', 2),
           ('d', 1577836800000, 'lost', 1), ('e', 32503680000000, 'done', 1), ('it''s', 1577836800000, 'done', 1)",
    )
    .unwrap();
    let text = settings("").replace(
        "older_than",
        "unit = \"milliseconds\", only = { status = [\"done\", \"lost\"], n = 1 }, older_than",
    );
    let tools = tools(place.folder.path(), &text);
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 3);
    let left: Vec<String> = table(&db, "t", "id").into_keys().collect();
    assert_eq!(left, ["\"b\"", "\"c\"", "\"e\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_do_not_fit_are_refused_clearly() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE orders(id INTEGER PRIMARY KEY, at TEXT, code TEXT UNIQUE, part TEXT, lower TEXT);
         INSERT INTO orders VALUES (1, '2020-01-01', NULL, 'x', 'y');
         CREATE UNIQUE INDEX some ON orders(part) WHERE part > 'm'; CREATE UNIQUE INDEX low ON orders(lower(lower));
         CREATE VIEW seen AS SELECT * FROM orders;",
    )
    .unwrap();
    for (table, key, column, wanted) in [
        ("ordres", "id", "at", "there is no table `ordres`: did you mean `orders`?"),
        ("seen", "id", "at", "`seen` is a view"),
        ("orders", "idd", "at", "no column `idd`: did you mean `id`?"),
        ("orders", "id", "created", "no column `created`: it has id, at"),
        ("orders", "at", "at", "does not tell the rows of orders apart"),
        ("orders", "part", "at", "does not tell the rows of orders apart"),
        ("orders", "lower", "at", "does not tell the rows of orders apart"),
        ("orders", "code", "at", "`code` of orders may be NULL"),
    ] {
        let text = settings("")
            .replace("\"t\"", &format!("{table:?}"))
            .replace("\"id\"", &format!("{key:?}"))
            .replace("\"at\"", &format!("{column:?}"));
        let error = archive(&tools(place.folder.path(), &text), "old").await.unwrap_err();
        assert!(error.contains(wanted), "no `{wanted}` in: {error}");
    }
    let count: i64 = db.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_need_are_not_deleted() {
    for (action, wanted) in [
        ("", "refer to rows"),
        ("ON DELETE CASCADE", "would delete them"),
        ("ON DELETE SET NULL", "would change them"),
    ] {
        let place = Place::new();
        let db = place.db();
        fill(&db, 10);
        db.execute_batch(&format!(
            "CREATE TABLE items(id INTEGER PRIMARY KEY, t INTEGER REFERENCES t {action}); INSERT INTO items VALUES (1, 5)"
        ))
        .unwrap();
        let all = table(&db, "t", "id");
        let tools = place.tools("");
        let error = archive(&tools, "old").await.unwrap_err();
        assert!(error.contains(wanted), "no `{wanted}` in: {error}");
        let left = table(&db, "t", "id");
        is_partition(&left, &archived(&place.path("archive"), "id", &left), &all);
        assert_eq!(left, all);
        db.execute_batch("DELETE FROM items").unwrap();
        assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
        assert_eq!(ask(&tools, "old", &ArchiveAsk::List).await.unwrap()["rows"], 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_keep_or_alter_rows_are_noticed() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    db.execute_batch(
        "CREATE TRIGGER keep BEFORE DELETE ON t WHEN old.id = 3 BEGIN SELECT raise(IGNORE); END",
    )
    .unwrap();
    let tools = place.tools("");
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("row 3 of t can't be deleted"), "{error}");
    assert_eq!(table(&db, "t", "id").len(), 10);
    db.execute_batch("DROP TRIGGER keep").unwrap();
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    db.execute_batch(
        "CREATE TRIGGER alter_it AFTER INSERT ON t BEGIN UPDATE t SET note = 'fresh' WHERE id = new.id; END",
    )
    .unwrap();
    let error = restore(&tools, "old", ArchiveRange::default()).await.unwrap_err();
    assert!(error.contains("is not what was put"), "{error}");
    assert_eq!(table(&db, "t", "id").len(), 5);
    db.execute_batch("DROP TRIGGER alter_it").unwrap();
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_fails_costs_nothing() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    let all = table(&db, "t", "id");
    let tools = place.tools("");
    // a file where the folder should be
    std::fs::write(place.path("archive"), "x").unwrap();
    let error = archive(&tools, "old").await.unwrap_err();
    assert!(error.contains("archive: the folder can't be used"), "{error}");
    std::fs::remove_file(place.path("archive")).unwrap();
    assert_eq!(table(&db, "t", "id"), all);
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    // an object that is damaged or missing is noticed, and not put back
    let object = std::fs::read_dir(place.path("archive")).unwrap().flatten().map(|entry| entry.path());
    let object = object.into_iter().find(|path| path.to_string_lossy().ends_with(".zst")).unwrap();
    let whole = std::fs::read(&object).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&object, damaged).unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(verified["ok"], false);
    assert!(verified["problems"][0].as_str().unwrap().contains("its checksum does not match"), "{verified}");
    assert!(restore(&tools, "old", ArchiveRange::default()).await.unwrap_err().contains("checksum"));
    std::fs::remove_file(&object).unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert!(verified["problems"][0].as_str().unwrap().contains("it is missing"), "{verified}");
    let warned = archive(&tools, "old").await.unwrap();
    assert!(warned["warnings"][0].as_str().unwrap().contains("is missing"), "{warned}");
    std::fs::write(&object, whole).unwrap();
    // a database that was set back
    db.execute_batch("INSERT INTO t SELECT 1, at, 'row 1' FROM (SELECT datetime('now', '-200 days') AS at)")
        .unwrap();
    let row = all["1"].clone();
    db.execute("UPDATE t SET at = ?1 WHERE id = 1", [row["at"].as_str().unwrap()]).unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert!(
        verified["problems"][0].as_str().unwrap().contains("1 row of it in the table as well"),
        "{verified}"
    );
    db.execute_batch("DELETE FROM t WHERE id = 1").unwrap();
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 5);
    assert_eq!(table(&db, "t", "id"), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_can_t_be_written_costs_nothing() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    db.execute_batch("INSERT INTO t VALUES (1, '2020-01-01', 'x')").unwrap();
    let all = table(&db, "t", "id");
    let pending = place.path("archive/pending");
    std::fs::remove_dir(&pending).unwrap();
    std::fs::write(&pending, "in the way").unwrap();
    assert!(archive(&tools, "old").await.is_err());
    assert_eq!(table(&db, "t", "id"), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_is_for_one_table() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    db.execute_batch("CREATE TABLE u AS SELECT * FROM t; CREATE UNIQUE INDEX by_id ON u(id)").unwrap();
    assert_eq!(archive(&place.tools(""), "old").await.unwrap()["moved"], 5);
    let other = tools(place.folder.path(), &settings("").replace("\"t\"", "\"u\""));
    let error = archive(&other, "old").await.unwrap_err();
    assert!(
        error.contains("is the archive of table t of") && error.contains("a place of its own"),
        "{error}"
    );
}

#[test]
fn mistakes_in_the_settings_are_found_before_anything_runs() {
    let base = "[tools.db]\ntype = \"sql\"\nurl = \"sqlite:a.db\"\n[tools.rw]\ntype = \"sql\"\nurl = \"sqlite:a.db\"\nmode = \"read_write\"\n[tools.h]\ntype = \"http\"\nhosts = [\"a.org\"]\n[tools.pg]\ntype = \"sql\"\nurl = \"postgres://u@h/d\"\nmode = \"read_write\"\n";
    let from =
        "from = { sql = \"rw\", table = \"t\", key = [\"id\"], column = \"at\", older_than = \"90d\" }";
    let to = "to = { folder = \"x\" }";
    for (settings, wanted) in [
        (format!("{from}\n{to}"), "none"),
        (to.to_owned(), "needs `from`"),
        (from.to_owned(), "needs `to`"),
        (format!("{}\n{to}", from.replace("\"rw\"", "\"db\"")), "tool `db` only reads"),
        (format!("{}\n{to}\ndelete = false", from.replace("\"rw\"", "\"db\"")), "none"),
        (format!("{}\n{to}", from.replace("\"rw\"", "\"rx\"")), "did you mean \"rw\"?"),
        (format!("{}\n{to}", from.replace("\"rw\"", "\"h\"")), "of type \"http\", not \"sql\""),
        (format!("{}\n{to}", from.replace("sql = \"rw\", ", "")), "`from` needs `sql` or `url`"),
        (format!("{}\n{to}", from.replace("table = \"t\", ", "")), "`from` needs `table`"),
        (format!("{}\n{to}", from.replace("[\"id\"]", "[]")), "`key` is empty"),
        (format!("{}\n{to}", from.replace("[\"id\"]", "[\"a\", \"a\"]")), "names a column twice"),
        (format!("{}\n{to}", from.replace("\"90d\"", "\"90 moons\"")), "90 moons"),
        (
            format!("{}\n{to}", from.replace("older_than", "older")),
            "unknown key `older` (known here: sql, url",
        ),
        (format!("{}\n{to}", from.replace(" }", ", only = { a = 1.5 } }")), "`only` names columns"),
        (format!("{}\n{to}", from.replace(" }", ", only = {} }")), "`only` names columns"),
        (format!("{}\n{to}", from.replace(" }", ", unit = \"days\" }")), "use one of seconds"),
        (format!("{from}\nto = {{}}"), "exactly one of `folder`"),
        (format!("{from}\nto = {{ folder = \"x\", sql = \"rw\" }}"), "exactly one of `folder`"),
        (format!("{from}\nto = {{ folder = \"x\", table = \"y\" }}"), "`table` does not go with `folder`"),
        (format!("{from}\nto = {{ sql = \"rw\" }}"), "`to` needs `table`"),
        (format!("{from}\nto = {{ sql = \"rw\", table = \"t\" }}"), "are the same table"),
        (format!("{from}\nto = {{ sql = \"pg\", table = \"t\" }}"), "types would not survive"),
        (format!("{from}\n{to}\nchunk_rows = 1000000"), "`chunk_rows` is at most 100000"),
        (format!("{from}\n{to}\nlevel = 0"), "at least 1"),
        (format!("{from}\n{to}\nwhere = \"1 = 1\""), "unknown key `where`"),
    ] {
        let found = mistakes(&format!("{base}[tools.old]\ntype = \"archive_rows\"\n{settings}\n"));
        assert!(found.contains(wanted), "{settings}\nno `{wanted}` in: {found}");
    }
    let direct =
        format!("{base}[agents.a]\ninterval = \"24h\"\ntool = \"archive_rows\"\nargs = {{ {from}, {to} }}\n");
    assert_eq!(mistakes(&direct), "none");
    assert!(mistakes(&direct.replace("\"id\"", "")).contains("`key` is empty"));
    let model = format!(
        "{base}[tools.old]\ntype = \"archive_rows\"\n{from}\n{to}\n[models.m]\nprovider = \"ollama\"\nmodel = \"m\"\n\
         [agents.a]\nquery = \"q\"\nmodel = \"m\"\ntools = [\"old\"]\n"
    );
    assert_eq!(mistakes(&model), "none");
    let model = model.replace("tools = [\"old\"]", "tools = [\"archive_rows\"]");
    assert!(mistakes(&model).contains("a model could move any table anywhere"), "{}", mistakes(&model));
    assert!(mistakes("[agents.a]\ninterval = 60\ntool = \"archive_rows\"\n").contains("needs `args`"));
}

/// Rows with texts of twice `width` characters, all old, archived by a process of its own.
fn many(rows: u64, width: u64) -> (Value, u64) {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         CREATE TABLE t(id INTEGER PRIMARY KEY, at TEXT NOT NULL, note TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO t SELECT i, '2020-01-01 00:00:00', hex(randomblob({width})) FROM n"
    ))
    .unwrap();
    std::fs::write(place.path("agents.toml"), settings("")).unwrap();
    let (done, memory) = super::crash::does(place.folder.path(), "archive");
    assert_eq!((&done["moved"], &done["more"]), (&json!(rows), &json!(false)), "{done}");
    let left: i64 = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    eprintln!("{rows} rows in {} s with at most {memory} MiB: {done}", done["seconds"]);
    (done, memory)
}

#[test]
fn memory_is_bounded_however_many_rows_there_are() {
    // a chunk has 8 MiB here, and is held a few times; the program itself is a part of it
    let (_, few) = many(7_000, 1_200);
    let (done, memory) = many(14_000, 1_200);
    assert!(done["bytes"].as_u64().unwrap() > 32 << 20, "{done}");
    assert!(memory < few + 30, "{few} MiB for 7,000 rows, and {memory} MiB for 14,000");
}

#[test]
#[ignore = "takes many minutes; `cargo test --test it ten_million -- --ignored --nocapture`"]
fn ten_million_rows() {
    let (_, memory) = many(10_000_000, 40);
    assert!(memory < 200, "{memory} MiB");
}

#[test]
fn the_manual_s_example_is_valid() {
    let manual = include_str!("../../../docs/ARCHIVE.md");
    let example =
        manual.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let notify = "[notify.ops]\ntype = \"file\"\npath = \"x\"\n";
    assert_eq!(mistakes(&format!("{notify}{example}")), "none");
}
