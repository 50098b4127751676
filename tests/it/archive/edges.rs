//! What lies at the edges of an archive: tables with habits of their own, places that others have touched, and
//! people who look at something that is not there.
use super::check::{archived, is_partition, table};
use super::crash::{dies_in, while_stopped, whole};
use super::*;

/// Objects (`.jsonl.zst`) or manifests (`.json`) of a folder, in order.
pub(super) fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(end) && name != "archive.json"
    };
    let mut all: Vec<PathBuf> = entries.filter(fits).collect();
    all.sort();
    all
}

fn all_of_it() -> ArchiveAsk {
    ArchiveAsk::Restore { range: ArchiveRange::default(), dry_run: false }
}

pub(super) fn dry() -> ArchiveAsk {
    ArchiveAsk::Restore { range: ArchiveRange::default(), dry_run: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_puts_in_again_is_not_archived() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    db.execute_batch(
        "CREATE TRIGGER again AFTER DELETE ON t WHEN old.id = 3 BEGIN INSERT INTO t VALUES (old.id, old.at, old.note); END",
    )
    .unwrap();
    let all = table(&db, "t", "id");
    let error = archive(&place.tools(""), "old").await.unwrap_err();
    assert!(error.contains("row 3 of t can't be deleted"), "{error}");
    assert_eq!(whole(&place, &all), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_put_back_replaces_no_other() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, at TEXT, email TEXT UNIQUE ON CONFLICT REPLACE);
         INSERT INTO t VALUES (1, '2020-01-01', 'a'), (2, '2020-01-01', 'b')",
    )
    .unwrap();
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 2);
    db.execute_batch("INSERT INTO t VALUES (7, '2999-01-01', 'a')").unwrap();
    let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
    assert_eq!((&back["restored"], &back["conflicts"]), (&json!(1), &json!(1)), "{back}");
    let keys: Vec<String> = table(&db, "t", "id").into_keys().collect();
    assert_eq!(keys, ["2", "7"]);
    assert_eq!(ask(&tools, "old", &ArchiveAsk::List).await.unwrap()["rows"], 1);
}

#[test]
fn a_column_that_comes_meanwhile_is_not_lost() {
    let place = Place::new();
    fill(&place.db(), 20);
    std::fs::write(place.path("agents.toml"), settings("")).unwrap();
    let said = while_stopped(place.folder.path(), "verified:1", || {
        place
            .db()
            .execute_batch("ALTER TABLE t ADD COLUMN extra TEXT; UPDATE t SET extra = 'x' || id")
            .unwrap();
    });
    let error = said.unwrap_err();
    assert!(error.contains("the columns of table t changed"), "{error}");
    let all = table(&place.db(), "t", "id");
    assert_eq!(all.len(), 20);
    assert_eq!(super::crash::does(place.folder.path(), "archive").0["moved"], 10);
    assert_eq!(whole(&place, &all), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_texts_with_a_date_have_an_age() {
    let place = Place::new();
    let db = place.db();
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, at, note TEXT);
         INSERT INTO t(id, at) VALUES (1, '2020-01-01'), (2, '2020-01-01 10:00'), (3, '2020-01-01T10:00:00.5Z'),
           (4, '2020-01-01 10:00:00+02:00'), (5, 1577836800), (6, 1577836800.5),
           (11, '2024'), (12, '12:30'), (13, '2460000.5'), (14, 'now'), (15, ''), (16, 'soon'), (17, x'32303230'),
           (18, '2999-01-01'), (19, NULL)",
    )
    .unwrap();
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 6);
    let left: Vec<i64> = table(&db, "t", "id").values().map(|row| row["id"].as_i64().unwrap()).collect();
    assert!(left.len() == 9 && left.iter().all(|id| *id > 10), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_range_can_t_tell_the_age_of_is_said() {
    let place = Place::new();
    let db = place.db();
    // 30 February is 1 March to SQLite, and nothing to others
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, at TEXT);
         INSERT INTO t VALUES (1, '2020-01-05'), (2, '2020-02-30')",
    )
    .unwrap();
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 2);
    let range =
        ArchiveRange { from: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..ArchiveRange::default() };
    let back = restore(&tools, "old", range).await.unwrap();
    assert_eq!(back["restored"], 1);
    let notes = back["notes"].to_string();
    assert!(notes.contains("1 row, whose age is not known"), "{back}");
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_no_archive() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    let tools = place.tools("");
    let nothing = async |when: &str| {
        for question in [ArchiveAsk::List, ArchiveAsk::Verify, dry(), all_of_it()] {
            let error = ask(&tools, "old", &question).await.expect_err(when);
            assert!(error.contains("there is no archive here"), "{when}: {error}");
            assert!(error.contains("/archive"), "{when}: {error}");
        }
    };
    nothing("before the first run").await;
    assert!(!place.path("archive").exists(), "a question makes nothing");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    std::fs::rename(place.path("archive"), place.path("away")).unwrap();
    nothing("moved away").await;
    std::fs::create_dir(place.path("archive")).unwrap();
    nothing("not mounted").await;
    std::fs::remove_dir(place.path("archive")).unwrap();
    std::fs::rename(place.path("away"), place.path("archive")).unwrap();
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["rows"], 5);
    // objects, and nothing that says whose they are
    std::fs::remove_file(place.path("archive/archive.json")).unwrap();
    let error = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap_err();
    assert!(error.contains("there is no archive here"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_another_table_is_not_looked_at_as_ours() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    db.execute_batch("CREATE TABLE other AS SELECT * FROM t; CREATE UNIQUE INDEX u ON other(id)").unwrap();
    assert_eq!(archive(&place.tools(""), "old").await.unwrap()["moved"], 5);
    let other = settings("").replace("table = \"t\"", "table = \"other\"");
    let other = tools(place.folder.path(), &other);
    for question in [ArchiveAsk::Verify, dry(), all_of_it()] {
        let error = ask(&other, "old", &question).await.unwrap_err();
        assert!(error.contains("is the archive of table t of"), "{question:?}: {error}");
    }
    // what that one is writing just now is not swept away either
    let part = place.path("archive/.part-x.jsonl.zst");
    std::fs::write(&part, "half").unwrap();
    assert!(archive(&other, "old").await.unwrap_err().contains("is the archive of table t of"));
    assert!(part.exists(), "a refused run removes nothing");
    assert_eq!(archive(&place.tools(""), "old").await.unwrap()["moved"], 0);
    assert!(!part.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_gone_is_noticed() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 20);
    let tools = place.tools("chunk_rows = 5");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 10);
    let manifests = files(&place.path("archive"), ".json");
    let text = std::fs::read(&manifests[0]).unwrap();
    std::fs::remove_file(&manifests[0]).unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(verified["ok"], false, "{verified}");
    assert!(verified["problems"].to_string().contains("has no manifest"), "{verified}");
    std::fs::write(&manifests[0], text).unwrap();
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    // and what a run has put aside is told
    std::fs::remove_file(&manifests[1]).unwrap();
    archive(&tools, "old").await.unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert!(verified["notes"].to_string().contains("1 file in unclaimed/"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_altered_is_refused() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 20);
    let tools = place.tools("chunk_rows = 5");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 10);
    let left = table(&db, "t", "id");
    let (manifests, objects) =
        (files(&place.path("archive"), ".json"), files(&place.path("archive"), ".zst"));
    let whole: Value = serde_json::from_slice(&std::fs::read(&manifests[0]).unwrap()).unwrap();
    let second = objects[1].file_name().unwrap().to_string_lossy().into_owned();
    let precious = place.path("precious.jsonl.zst");
    std::fs::copy(&objects[0], &precious).unwrap();
    let mut columns = whole["columns"].clone();
    columns.as_array_mut().unwrap().pop();
    for (field, value, wanted) in [
        ("object", json!(second), "is about"),
        ("object", json!("../precious.jsonl.zst"), "is about"),
        ("columns", columns, "not what the object says"),
        ("unit", json!("milliseconds"), "not what the object says"),
        ("newest", json!("2001-01-01T00:00:00Z"), "not those of its rows"),
        ("first", json!(["7"]), "not those of its rows"),
        ("format", json!("bgagent-archive/9"), "bgagent-archive/9"),
    ] {
        let mut changed = whole.clone();
        changed[field] = value;
        std::fs::write(&manifests[0], changed.to_string()).unwrap();
        let verified = ask(&tools, "old", &ArchiveAsk::Verify).await;
        let said = verified.unwrap_or_else(|error| json!({"ok": false, "problems": [error]}));
        assert_eq!(said["ok"], false, "{field}: {said}");
        assert!(said["problems"].to_string().contains(wanted), "{field}: {said}");
        if !["newest", "first"].contains(&field) {
            // the other one comes back
            let done = ask(&tools, "old", &dry()).await.unwrap();
            let damaged = done["damaged"].as_array().expect("a list");
            assert_eq!((&done["restored"], damaged.len()), (&json!(5), 1), "{field}: {done}");
            assert!(damaged[0]["problem"].as_str().expect("a text").contains(wanted), "{field}: {done}");
            assert_eq!(table(&db, "t", "id"), left, "{field}");
        }
        assert!(precious.exists());
    }
    std::fs::write(&manifests[0], whole.to_string()).unwrap();
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["ok"], true);
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_compared_is_said() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    db.execute_batch("ALTER TABLE t DROP COLUMN note").unwrap();
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!(verified["ok"], false, "{verified}");
    assert!(verified["problems"].to_string().contains("have a column `note`"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_a_link_counts() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 10);
    let all = table(&db, "t", "id");
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 5);
    std::fs::create_dir(place.path("colder")).unwrap();
    for end in [".zst", ".json"] {
        let file = files(&place.path("archive"), end).remove(0);
        let there = place.path("colder").join(file.file_name().unwrap());
        std::fs::rename(&file, &there).unwrap();
        std::os::unix::fs::symlink(&there, &file).unwrap();
    }
    assert_eq!(ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap()["rows"], 5);
    assert_eq!(restore(&tools, "old", ArchiveRange::default()).await.unwrap()["restored"], 5);
    assert_eq!(table(&db, "t", "id"), all);
}

/// Killed on the way back, a row stands in two objects until the next run: people are told of it once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_to_change_is_not_counted_twice() {
    let place = Place::new();
    fill(&place.db(), 20);
    std::fs::write(place.path("agents.toml"), settings("")).unwrap();
    let all = table(&place.db(), "t", "id");
    let tools = place.tools("");
    place.db().execute_batch("UPDATE t SET at = '2020-01-01' WHERE id IN (3, 5)").unwrap();
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 10);
    assert!(dies_in(place.folder.path(), "2021-01-01T00:00:00Z", "rest:1"));
    let list = ask(&tools, "old", &ArchiveAsk::List).await.unwrap();
    assert_eq!((&list["rows"], &list["pending"]), (&json!(10), &json!(1)), "{list}");
    let verified = ask(&tools, "old", &ArchiveAsk::Verify).await.unwrap();
    assert_eq!((&verified["rows"], &verified["ok"]), (&json!(10), &json!(true)), "{verified}");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 2);
    let left = table(&place.db(), "t", "id");
    assert_eq!(archived(&place.path("archive"), "id", &left).len() + left.len(), all.len());
}

/// What was restored in part is in the order of its keys, and nobody is warned of what went well.
#[tokio::test(flavor = "multi_thread")]
async fn a_rest_is_in_order_and_a_broken_off_end_is_no_riddle() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 20);
    std::fs::write(place.path("agents.toml"), settings("")).unwrap();
    let tools = place.tools("");
    assert_eq!(archive(&tools, "old").await.unwrap()["moved"], 10);
    db.execute_batch("INSERT INTO t VALUES (1, '2999-01-01', 'another')").unwrap();
    for key in ["1", "19"] {
        let range = ArchiveRange { key: vec![key.into()], ..ArchiveRange::default() };
        restore(&tools, "old", range).await.unwrap();
    }
    let range = ArchiveRange { to: Some("2999-01-01T00:00:00Z".parse().unwrap()), ..ArchiveRange::default() };
    db.execute_batch("INSERT INTO t VALUES (3, '2999-01-01', 'another')").unwrap();
    restore(&tools, "old", range).await.unwrap();
    let list = ask(&tools, "old", &ArchiveAsk::List).await.unwrap();
    assert_eq!(
        (&list["objects"][0]["first"], &list["objects"][0]["last"]),
        (&json!(["1"]), &json!(["3"])),
        "{list}"
    );
    // the very last step of a way back is missing: the old object is still there
    db.execute_batch("DELETE FROM t WHERE id = 3").unwrap();
    let all_to = "2998-01-01T00:00:00Z";
    assert!(dies_in(place.folder.path(), all_to, "unmarked:1"));
    let done = archive(&tools, "old").await.unwrap();
    assert_eq!(done["warnings"], json!([]), "{done}");
    assert_eq!(files(&place.path("archive"), ".zst").len(), 2);
    assert!(!place.path("archive/unclaimed").exists());
}

/// A small disk of its own; only where we may make one.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_nothing() {
    let place = Place::new();
    let db = place.db();
    fill(&db, 4000);
    db.execute_batch("UPDATE t SET note = hex(randomblob(200))").unwrap();
    let all = table(&db, "t", "id");
    let folder = place.path("archive");
    std::fs::create_dir(&folder).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=200k", "tmpfs"])
        .arg(&folder)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let tools = place.tools("chunk_rows = 200");
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(archive(&tools, "old").await.unwrap_err());
        let left = table(&db, "t", "id");
        is_partition(&left, &archived(&folder, "id", &left), &all);
    }
    let grown = std::process::Command::new("mount").args(["-o", "remount,size=20m"]).arg(&folder).status();
    let done = archive(&tools, "old").await;
    let left = table(&db, "t", "id");
    is_partition(&left, &archived(&folder, "id", &left), &all);
    let gone = std::process::Command::new("umount").arg(&folder).status();
    assert!(grown.is_ok_and(|status| status.success()) && gone.is_ok_and(|status| status.success()));
    assert!(errors.iter().all(|error| error.contains("make room there")), "{errors:?}");
    assert_eq!((done.unwrap()["more"].clone(), left.len()), (json!(false), 2000));
}
