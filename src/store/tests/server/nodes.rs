//! Nodes, and calls that one of them forwards to the one that leads.
use super::*;
use crate::domain::NodeSpec;
use crate::store::{ForwardedCall, NodeAbout, NodeJoined, NodeLink, Posted, Withdrawn};
use std::collections::BTreeSet;
use std::path::Path;

fn link(db: &Db, state: &Path, name: Option<&str>) -> Arc<NodeLink> {
    let spec = NodeSpec { name: name.map(|name| name.parse().unwrap()), ..NodeSpec::default() };
    let about = NodeAbout { spec, version: "1", protocol: 1, config: "0".into() };
    let place = Where { file: state.join("bgagent.db"), ..db.place() };
    NodeLink::to(&place, about).unwrap().expect("on a server")
}

fn call(key: &str) -> ForwardedCall {
    ForwardedCall {
        key: key.into(),
        asker: "ada at b".into(),
        method: "pause_agent".into(),
        params: "{}".into(),
        request_id: Some(format!("of {key}")),
    }
}

#[tokio::test]
async fn a_name_is_of_one_daemon_as_long_as_it_is_heard_of() {
    let Some(db) = Db::some() else { return };
    let [one, other] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let early = link(&db, one.path(), Some("a"));
    assert_eq!(early.join().await.unwrap(), NodeJoined::NoTables);
    let (store, _) = db.open();
    assert_eq!(early.join().await.unwrap(), NodeJoined::Yes);
    // another life of the same daemon
    let first = link(&db, one.path(), Some("a"));
    assert_eq!(first.join().await.unwrap(), NodeJoined::Yes);
    assert!(early.renew().await.unwrap().is_none() && first.renew().await.unwrap().is_some());
    let second = link(&db, other.path(), Some("a"));
    let NodeJoined::Taken { name, by } = second.join().await.unwrap() else {
        panic!("there are two of a name")
    };
    assert!(name == "a" && by.ends_with(&one.path().display().to_string()), "{by}");
    db.by_hand("UPDATE nodes SET seen = now() - interval '26 seconds'").unwrap();
    let rows = store.read(|reader| reader.nodes()).await.unwrap();
    assert!(rows.len() == 1 && !rows[0].is_there && !rows[0].leads, "{rows:?}");
    assert_eq!(second.join().await.unwrap(), NodeJoined::Yes);
    assert!(first.renew().await.unwrap().is_none());
    // a name that nobody chose is told apart from others of the machine
    let [third, fourth] = [one.path(), other.path()].map(|state| link(&db, state, None));
    assert_eq!(
        (third.join().await.unwrap(), fourth.join().await.unwrap()),
        (NodeJoined::Yes, NodeJoined::Yes)
    );
    assert_ne!(third.name(), fourth.name());
    let names = store.read(|reader| reader.nodes()).await.unwrap();
    assert_eq!(names.len(), 2, "a daemon has one name: {names:?}");
    third.leave().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM nodes"), 1);
}

#[tokio::test]
async fn a_call_is_taken_once_by_each_leader_and_answered_by_the_last() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let epoch = store.epoch().unwrap();
    let [asks, leads] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let (asker, leader) = (link(&db, asks.path(), Some("b")), link(&db, leads.path(), Some("a")));
    let mut bell = leader.bell();
    leader.hear_asks();
    assert!(leader.take(epoch, 9, &BTreeSet::new()).await.unwrap().is_empty());
    bell.borrow_and_update();
    for key in ["1", "2", "3", "1"] {
        assert_eq!(asker.post(call(key)).await.unwrap(), Posted::Yes);
    }
    bell.changed().await.unwrap();
    assert!(
        leader.take(epoch + 1, 9, &BTreeSet::new()).await.unwrap().is_empty(),
        "nobody leads under that epoch"
    );
    let withdraw = async |key: &str| {
        asker.withdraw(key.into(), true, format!("of {key}"), "sorry".into()).await.unwrap()
    };
    assert_eq!(withdraw("3").await, Withdrawn::Yes);
    let taken = leader.take(epoch, 9, &BTreeSet::new()).await.unwrap();
    let keys: Vec<&str> = taken.iter().map(|taken| taken.call.key.as_str()).collect();
    assert_eq!((keys, taken[0].was_taken), (vec!["1", "2"], false));
    assert_eq!(taken[0].call, call("1"));
    let in_hand: BTreeSet<i64> = taken.iter().map(|taken| taken.id).collect();
    assert!(leader.take(epoch, 9, &in_hand).await.unwrap().is_empty());
    // what was taken, and did not arrive, is taken again by the same leader
    let lost = leader.take(epoch, 9, &BTreeSet::from([taken[0].id])).await.unwrap();
    assert!(lost.len() == 1 && lost[0].was_taken && lost[0].call.key == "2", "{lost:?}");
    assert_eq!((withdraw("1").await, withdraw("2").await), (Withdrawn::Taken, Withdrawn::Taken));
    // what is withdrawn before it is there, never is
    let absent =
        async |posted| asker.withdraw("4".into(), posted, "of 4".into(), "sorry".into()).await.unwrap();
    assert_eq!(absent(true).await, Withdrawn::Taken, "one that was there, and is not, was answered");
    assert_eq!(absent(false).await, Withdrawn::Yes);
    assert_eq!(asker.post(call("4")).await.unwrap(), Posted::Yes);
    assert!(leader.take(epoch, 9, &in_hand).await.unwrap().is_empty());
    leader.answer(epoch, &taken[0], "one".into()).await.unwrap();
    // what was done under a `request_id` is not withdrawn by somebody who asks the same again
    let same = ForwardedCall { key: "1-again".into(), ..call("1") };
    assert_eq!(asker.post(same).await.unwrap(), Posted::Yes);
    let again = asker.withdraw("1-again".into(), true, "of 1".into(), "sorry".into()).await.unwrap();
    assert_eq!(again, Withdrawn::Taken);
    db.by_hand("DELETE FROM forwarded WHERE key = '1-again'").unwrap();
    let answers = asker.answers().await.unwrap();
    assert_eq!(answers.iter().map(|one| (&*one.key, &*one.text)).collect::<Vec<_>>(), [("1", "one")]);
    asker.forget(vec![answers[0].id]).await.unwrap();
    assert!(asker.answers().await.unwrap().is_empty());
    // the next leader takes what has no answer, and an old one can't answer it any more
    db.by_hand("UPDATE fleet SET epoch = epoch + 1").unwrap();
    assert!(leader.take(epoch, 9, &BTreeSet::new()).await.unwrap().is_empty());
    let again = leader.take(epoch + 1, 9, &BTreeSet::new()).await.unwrap();
    assert!(again.len() == 1 && again[0].was_taken && again[0].call.key == "2", "{again:?}");
    leader.answer(epoch, &taken[1], "late".into()).await.unwrap();
    leader.answer(epoch + 1, &again[0], "two".into()).await.unwrap();
    let found = asker.answers().await.unwrap();
    assert_eq!(found.iter().map(|one| (&*one.key, &*one.text)).collect::<Vec<_>>(), [("2", "two")]);
    // nobody waits for what an earlier leader has left for so long
    assert_eq!(asker.post(call("6")).await.unwrap(), Posted::Yes);
    db.by_hand("UPDATE forwarded SET taken = 0, expires = now() - interval '61 minutes' WHERE key = '6'")
        .unwrap();
    assert!(leader.take(epoch + 1, 9, &BTreeSet::new()).await.unwrap().is_empty());
    // too late, it is nobody's
    assert_eq!(asker.post(call("5")).await.unwrap(), Posted::Yes);
    db.by_hand("UPDATE forwarded SET expires = now() - interval '1 second' WHERE key = '5'").unwrap();
    assert!(leader.take(epoch + 1, 9, &BTreeSet::new()).await.unwrap().is_empty());
    db.by_hand(
        "UPDATE forwarded SET expires = now() - interval '26 hours', answered_at = now() - interval '1 hour'",
    )
    .unwrap();
    leader.clean().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM forwarded"), 0);
}

#[tokio::test]
async fn those_that_ask_for_the_same_change_are_withdrawn_together_and_there_are_not_too_many() {
    let Some(db) = Db::some() else { return };
    let (_store, _) = db.open();
    let state = tempfile::tempdir().unwrap();
    let asker = link(&db, state.path(), Some("b"));
    for key in ["1", "2"] {
        let same = ForwardedCall { request_id: Some("r".into()), ..call(key) };
        assert_eq!(asker.post(same).await.unwrap(), Posted::Yes);
    }
    assert_eq!(asker.withdraw("1".into(), true, "r".into(), "sorry".into()).await.unwrap(), Withdrawn::Yes);
    let found = asker.answers().await.unwrap();
    assert_eq!(found.iter().map(|one| (&*one.key, &*one.text)).collect::<Vec<_>>(), [("2", "sorry")]);
    db.by_hand(
        "INSERT INTO forwarded(key, node, session, asker, method, params, expires)
         SELECT 'x' || n, 'c', 'c', '', '', '', now() FROM generate_series(1, 2000) n",
    )
    .unwrap();
    assert_eq!(asker.post(call("3")).await.unwrap(), Posted::Full);
}

#[tokio::test]
async fn events_are_noticed_while_somebody_attends() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let (follows, _) = Store::open_to_follow(&db.place()).unwrap().expect("there are tables");
    let mut newest = follows.newest();
    tokio::spawn(follows.clone().look_for_events());
    store.commit(vec![crate::store::tests::entry(0, crate::store::tests::stopping(1))]).await.unwrap();
    assert_eq!(newest.borrow_and_update().0, 0, "nobody attends");
    let attention = follows.attend();
    newest.changed().await.unwrap();
    assert_eq!(newest.borrow_and_update().0, 1);
    drop(attention);
    store.commit(vec![crate::store::tests::entry(0, crate::store::tests::stopping(2))]).await.unwrap();
    assert_eq!(follows.newest_now().await.unwrap().0, 2);
    assert!(matches!(follows.commit(Vec::new()).await, Err(crate::store::StoreError::Closed)));
}
