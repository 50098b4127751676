//! Notes of a database of before.

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
