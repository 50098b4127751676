//! Notes of runs that had read data from outside, beside those of runs that had not.
use super::*;

#[tokio::test]
async fn notes_from_outside_are_kept_apart() {
    let db = Db::new();
    let (store, _) = db.open();
    let note = |key: &str, text: &str, untrusted: bool| {
        let change = MemoryChange::Note { agent: id("a"), key: key.into(), text: text.into(), untrusted };
        entry(1, Fact::Remembered(Box::new(change)))
    };
    let kept = async || -> Vec<(String, bool)> {
        let notes = store.read(|reader| reader.notes(&id("a"), None)).await.unwrap();
        notes.into_iter().map(|note| (note.text, note.untrusted)).collect()
    };
    let both = [("clean".to_owned(), false), ("theirs".to_owned(), true)];
    store.commit(vec![note("k", "clean", false), note("k", "from outside", true)]).await.unwrap();
    store.commit(vec![note("k", "theirs", true)]).await.unwrap();
    assert_eq!(kept().await, both, "neither takes the other's place");
    store.commit(vec![note("k", "", true)]).await.unwrap();
    assert_eq!(kept().await, both[..1], "nor takes it away");
    store.commit(vec![note("k", "theirs", true), note("k", "new", false)]).await.unwrap();
    assert_eq!(
        kept().await,
        [("new".to_owned(), false)],
        "who has read nothing from outside says what holds"
    );
    store.commit(vec![note("k", "theirs", true), note("k", "", false)]).await.unwrap();
    assert_eq!(kept().await, []);
}

/// A database of before: its notes keep their marks.
#[test]
fn notes_of_before_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let db = rusqlite::Connection::open(folder.path().join("db")).unwrap();
    for migration in &super::super::sqlite::testing::MIGRATIONS[..12] {
        db.execute_batch(migration).unwrap();
    }
    db.execute_batch(
        "INSERT INTO notes(agent, key, text, at, untrusted) VALUES ('a', 'k', 'x', 1, 0), ('a', 'l', 'y', 2, 1);
         INSERT INTO incidents(agent, key, severity, title, since, seen_at, count) VALUES ('a', 'd', 'warning', 't', 1, 1, 1)",
    )
    .unwrap();
    db.execute_batch(super::super::sqlite::testing::MIGRATIONS[12]).unwrap();
    let notes = "SELECT group_concat(key || text || untrusted, ',') FROM notes";
    assert_eq!(db.query_row(notes, [], |row| row.get::<_, String>(0)).unwrap(), "kx0,ly1");
    let by = db.query_row("SELECT opened_by FROM incidents", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(by, "check", "no report from outside touches what was there before");
}
