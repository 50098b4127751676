//! Nodes, and calls that one of them forwards to the one that leads.
use super::*;
use crate::domain::NodeSpec;
use crate::store::{
    CallAnswer, CallsOf, ForwardedCall, NodeDescription, NodeJoined, NodeLink, Posted, TakenCall, Withdrawn,
};
use std::collections::BTreeSet;
use std::path::Path;

fn link(db: &Db, state: &Path, name: Option<&str>) -> Arc<NodeLink> {
    let spec = NodeSpec { name: name.map(|name| name.parse().unwrap()), ..NodeSpec::default() };
    let about = NodeDescription { spec, version: "1", protocol: 1, config: "0".into(), places: 9 };
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

/// Calls of all methods.
async fn take(leader: &Arc<NodeLink>, epoch: i64, in_hand: &BTreeSet<i64>) -> Vec<TakenCall> {
    leader.take(epoch, 9, in_hand, &CallsOf::AllBut(Vec::new())).await.unwrap()
}

/// Short answers.
async fn come(asker: &Arc<NodeLink>) -> Vec<CallAnswer> {
    asker.answers().await.unwrap().short
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
    let NodeJoined::Taken { name, by, .. } = second.join().await.unwrap() else {
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
    leader.listen_for_calls();
    assert!(take(&leader, epoch, &BTreeSet::new()).await.is_empty());
    bell.borrow_and_update();
    for key in ["1", "2", "3", "1"] {
        assert_eq!(asker.post(call(key), false).await.unwrap(), Posted::Yes);
    }
    bell.changed().await.unwrap();
    assert!(take(&leader, epoch + 1, &BTreeSet::new()).await.is_empty(), "nobody leads under that epoch");
    let withdraw = async |key: &str| {
        asker.withdraw(key.into(), true, format!("of {key}"), "sorry".into()).await.unwrap()
    };
    assert_eq!(withdraw("3").await, Withdrawn::Yes);
    let taken = take(&leader, epoch, &BTreeSet::new()).await;
    let keys: Vec<&str> = taken.iter().map(|taken| taken.call.key.as_str()).collect();
    assert_eq!((keys, taken[0].taken_before), (vec!["1", "2"], None));
    assert_eq!(taken[0].call, call("1"));
    let in_hand: BTreeSet<i64> = taken.iter().map(|taken| taken.id).collect();
    assert!(take(&leader, epoch, &in_hand).await.is_empty());
    // what was taken, and did not arrive, is taken again by the same leader
    let lost = take(&leader, epoch, &BTreeSet::from([taken[0].id])).await;
    assert!(lost.len() == 1 && lost[0].taken_before == Some(epoch) && lost[0].call.key == "2", "{lost:?}");
    assert_eq!((withdraw("1").await, withdraw("2").await), (Withdrawn::Taken, Withdrawn::Taken));
    // what is withdrawn before it is there, never is
    let absent =
        async |posted| asker.withdraw("4".into(), posted, "of 4".into(), "sorry".into()).await.unwrap();
    assert_eq!(absent(true).await, Withdrawn::Taken, "one that was there, and is not, was answered");
    assert_eq!(absent(false).await, Withdrawn::Yes);
    assert_eq!(asker.post(call("4"), false).await.unwrap(), Posted::Yes);
    assert!(take(&leader, epoch, &in_hand).await.is_empty());
    leader.answer(epoch, &taken[0], "one".into()).await.unwrap();
    // what was done under a `request_id` is not withdrawn by somebody who asks the same again
    let same = ForwardedCall { key: "1-again".into(), ..call("1") };
    assert_eq!(asker.post(same, false).await.unwrap(), Posted::Yes);
    let again = asker.withdraw("1-again".into(), true, "of 1".into(), "sorry".into()).await.unwrap();
    assert_eq!(again, Withdrawn::Taken);
    db.by_hand("DELETE FROM forwarded WHERE key = '1-again'").unwrap();
    let answers = come(&asker).await;
    assert_eq!(answers.iter().map(|one| (&*one.key, &*one.text)).collect::<Vec<_>>(), [("1", "one")]);
    asker.forget(vec![answers[0].id]).await.unwrap();
    assert!(come(&asker).await.is_empty());
    // the next leader takes what has no answer, and an old one can't answer it any more
    db.by_hand("UPDATE fleet SET epoch = epoch + 1").unwrap();
    assert!(take(&leader, epoch, &BTreeSet::new()).await.is_empty());
    let again = take(&leader, epoch + 1, &BTreeSet::new()).await;
    assert!(
        again.len() == 1 && again[0].taken_before == Some(epoch) && again[0].call.key == "2",
        "{again:?}"
    );
    leader.answer(epoch, &taken[1], "late".into()).await.unwrap();
    leader.answer(epoch + 1, &again[0], "two".into()).await.unwrap();
    let found = come(&asker).await;
    assert_eq!(found.iter().map(|one| (&*one.key, &*one.text)).collect::<Vec<_>>(), [("2", "two")]);
    // nobody waits for what an earlier leader has left for so long
    assert_eq!(asker.post(call("6"), false).await.unwrap(), Posted::Yes);
    db.by_hand("UPDATE forwarded SET taken = 0, expires = now() - interval '61 minutes' WHERE key = '6'")
        .unwrap();
    assert!(take(&leader, epoch + 1, &BTreeSet::new()).await.is_empty());
    // too late, it is nobody's
    assert_eq!(asker.post(call("5"), false).await.unwrap(), Posted::Yes);
    db.by_hand("UPDATE forwarded SET expires = now() - interval '1 second' WHERE key = '5'").unwrap();
    assert!(take(&leader, epoch + 1, &BTreeSet::new()).await.is_empty());
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
        assert_eq!(asker.post(same, false).await.unwrap(), Posted::Yes);
    }
    assert_eq!(asker.withdraw("1".into(), true, "r".into(), "sorry".into()).await.unwrap(), Withdrawn::Yes);
    let found = come(&asker).await;
    assert_eq!(found.iter().map(|one| (&*one.key, &*one.text)).collect::<Vec<_>>(), [("2", "sorry")]);
    db.by_hand(
        "INSERT INTO forwarded(key, node, session, asker, method, params, expires)
         SELECT 'x' || n, 'c', 'c', '', '', '', now() FROM generate_series(1, 2000) n",
    )
    .unwrap();
    assert_eq!(asker.post(call("3"), false).await.unwrap(), Posted::Full);
}

#[tokio::test]
async fn events_are_noticed_while_somebody_attends() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let (follows, _) = Store::open_to_follow(&db.place()).unwrap().expect("there are tables");
    let mut newest = follows.newest();
    let looking = tokio::spawn(follows.look_for_events());
    store.commit(vec![crate::store::tests::entry(0, crate::store::tests::stopping(1))]).await.unwrap();
    assert_eq!(newest.borrow_and_update().0, 0, "nobody attends");
    let attention = follows.subscribe_events();
    newest.changed().await.unwrap();
    assert_eq!(newest.borrow_and_update().0, 1);
    drop(attention);
    store.commit(vec![crate::store::tests::entry(0, crate::store::tests::stopping(2))]).await.unwrap();
    assert_eq!(follows.newest_now().await.unwrap().0, 2);
    assert!(matches!(follows.commit(Vec::new()).await, Err(crate::store::StoreError::Closed)));
    // who looks has nothing of the store, and ends with it, also while somebody attends
    let attention = follows.subscribe_events();
    drop(follows);
    drop(attention);
    looking.await.unwrap();
}

#[tokio::test]
async fn what_a_leader_gives_back_is_as_it_was_before() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let epoch = store.epoch().unwrap();
    let [asks, leads] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let (asker, leader) = (link(&db, asks.path(), Some("b")), link(&db, leads.path(), Some("a")));
    for key in ["1", "2", "3"] {
        assert_eq!(asker.post(call(key), false).await.unwrap(), Posted::Yes);
    }
    // one of them was begun by an earlier leader
    db.by_hand("UPDATE forwarded SET taken = 0 WHERE key = '2'").unwrap();
    let taken = take(&leader, epoch, &BTreeSet::new()).await;
    assert_eq!(taken.iter().map(|one| one.taken_before).collect::<Vec<_>>(), [None, Some(0), None]);
    leader.answer(epoch, &taken[2], "three".into()).await.unwrap();
    let back = taken.iter().map(|one| (one.id, one.taken_before)).collect();
    leader.give_back(epoch, back).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM forwarded WHERE taken IS NULL"), 1);
    assert_eq!(db.number("SELECT count(*) FROM forwarded WHERE taken = 0"), 1);
    let withdraw = async |key: &str| {
        asker.withdraw(key.into(), true, format!("of {key}"), "sorry".into()).await.unwrap()
    };
    assert_eq!((withdraw("1").await, withdraw("2").await), (Withdrawn::Yes, Withdrawn::Taken));
    // calls of one kind can be left where they are
    for (key, method) in [("4", "call_tool"), ("5", "pause_agent")] {
        let posted = asker.post(ForwardedCall { method: method.into(), ..call(key) }, false).await.unwrap();
        assert_eq!(posted, Posted::Yes);
    }
    let keys = async |of: CallsOf| {
        let taken = leader.take(epoch, 9, &BTreeSet::new(), &of).await.unwrap();
        taken.into_iter().map(|one| one.call.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(CallsOf::Only(vec!["call_tool", "ask_archive"])).await, ["4"]);
    assert_eq!(keys(CallsOf::AllBut(vec!["call_tool"])).await, ["2", "5"]);
    // what may take long leaves half of the room to the rest
    db.by_hand(
        "INSERT INTO forwarded(key, node, session, asker, method, params, expires)
         SELECT 'x' || n, 'b', f.session, '', '', '', now() FROM generate_series(1, 100) n, forwarded f WHERE f.key = '5'",
    )
    .unwrap();
    assert_eq!(asker.post(call("6"), true).await.unwrap(), Posted::Full);
    assert_eq!(asker.post(call("7"), false).await.unwrap(), Posted::Yes);
}

#[tokio::test]
async fn a_large_answer_is_carried_beside_the_short_ones() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let epoch = store.epoch().unwrap();
    let [asks, leads] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let (asker, leader) = (link(&db, asks.path(), Some("b")), link(&db, leads.path(), Some("a")));
    for key in ["1", "2"] {
        assert_eq!(asker.post(call(key), false).await.unwrap(), Posted::Yes);
    }
    let taken = take(&leader, epoch, &BTreeSet::new()).await;
    let long = "x".repeat(3 << 20);
    leader.answer(epoch, &taken[0], long.clone()).await.unwrap();
    leader.answer(epoch, &taken[1], "two".into()).await.unwrap();
    let found = asker.answers().await.unwrap();
    assert_eq!(found.short.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(found.large, [(taken[0].id, "1".to_owned())]);
    assert!(asker.large_answer(taken[0].id).await.unwrap() == Some(long));
    asker.forget(vec![taken[0].id]).await.unwrap();
    assert_eq!(asker.large_answer(taken[0].id).await.unwrap(), None);
}

#[tokio::test]
async fn a_node_says_which_configuration_is_in_force() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let state = tempfile::tempdir().unwrap();
    let node = link(&db, state.path(), Some("a"));
    assert_eq!(node.join().await.unwrap(), NodeJoined::Yes);
    node.configured("1".into(), 7, 9);
    node.renew().await.unwrap();
    let row = store.read(|reader| reader.nodes()).await.unwrap().remove(0);
    assert_eq!((row.config.as_str(), row.revision), ("1", 7));
    // and tables of before there were nodes have none
    db.by_hand("ALTER TABLE nodes RENAME TO kept").unwrap();
    assert!(store.read(|reader| reader.nodes()).await.unwrap().is_empty());
    let health =
        crate::store::read_health(&db.place(), crate::clock::wall(), jiff::SignedDuration::from_hours(1));
    assert!(!health.expect("it can be read").nobody_may_lead);
}
