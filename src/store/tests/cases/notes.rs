//! Notes of runs that had read data from outside, beside those of runs that had not.
use super::*;

#[tokio::test]
async fn notes_from_outside_are_kept_apart() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let note = |key: &str, text: &str, untrusted: bool| {
        let change = MemoryChange::Note {
            agent: id("a"),
            key: key.into(),
            text: text.into(),
            untrusted,
            store: MemoryStore::Database,
        };
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
