//! Orders and reports: what a node is told and says is there once, and nothing after its life is over.
use super::*;
use crate::domain::{Entry, Fact, NodeSpec, PlacedAt, RunId};
use crate::store::tests::{claim, entry, run, stopping};
use crate::store::{NodeDescription, NodeJoined, NodeLink};
use std::path::Path;

fn link(db: &Db, state: &Path, name: &str) -> Arc<NodeLink> {
    let labels = [("gpu".to_owned(), "h100".to_owned())].into();
    let spec = NodeSpec { name: Some(name.parse().unwrap()), labels, leads: true };
    let about = NodeDescription { spec, version: "1", protocol: 1, config: "0".into(), places: 9 };
    NodeLink::to(&Where { file: state.join("bgagent.db"), ..db.place() }, about)
        .unwrap()
        .expect("on a server")
}

fn ordered(session: &str, starts: Option<RunId>, order: &str) -> Entry {
    entry(0, Fact::Ordered { session: session.into(), starts, order: order.into() })
}

fn said(n: u64) -> (u64, String) {
    (n, format!("report {n}"))
}

async fn bodies(link: &Arc<NodeLink>) -> Vec<String> {
    link.reports().await.unwrap().0.into_iter().map(|report| report.body).collect()
}

#[tokio::test]
async fn a_report_is_there_once_and_goes_with_what_is_decided_of_it() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let state = tempfile::tempdir().unwrap();
    let node = link(&db, state.path(), "b");
    assert_eq!(node.join().await.unwrap(), NodeJoined::Yes);
    let mut bell = node.bell();
    node.listen_for_calls();
    node.begin_work("s1".into()).await.unwrap();
    bell.borrow_and_update();
    assert!(node.report("s1".into(), vec![said(1), said(2)]).await.unwrap());
    bell.changed().await.unwrap();
    // handed over again, since the answer was lost
    assert!(node.report("s1".into(), vec![said(1), said(2), said(3)]).await.unwrap());
    assert_eq!(bodies(&node).await, ["report 1", "report 2", "report 3"]);
    let (reports, more) = node.reports().await.unwrap();
    assert!(!more && reports.iter().all(|report| &*report.session == "s1"));
    let ids = reports.iter().map(|report| report.id).collect();
    store.commit(vec![entry(0, stopping(1)), entry(0, Fact::ReportsTaken { ids })]).await.unwrap();
    assert!(bodies(&node).await.is_empty());
    // those that were taken are not there again
    assert!(node.report("s1".into(), vec![said(3), said(4)]).await.unwrap());
    assert_eq!(bodies(&node).await, ["report 4"]);
}

#[tokio::test]
async fn a_life_that_is_over_reports_nothing_more() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let [one, other] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let (node, leader) = (link(&db, one.path(), "b"), link(&db, other.path(), "a"));
    node.begin_work("s1".into()).await.unwrap();
    assert!(node.report("s1".into(), vec![said(1)]).await.unwrap());
    let workers = leader.workers().await.unwrap();
    assert_eq!((workers.live.len(), workers.live[0].takes, &*workers.live[0].name), (1, true, "b"));
    assert_eq!(workers.live[0].labels["gpu"], "h100");
    node.drain_work("s1".into()).await.unwrap();
    assert!(!leader.workers().await.unwrap().live[0].takes);
    // not heard of for 25 seconds
    db.by_hand("UPDATE workers SET seen = now() - interval '26 seconds'").unwrap();
    let workers = leader.workers().await.unwrap();
    assert!(workers.live.is_empty() && &*workers.over[0] == "s1", "{workers:?}");
    assert!(!node.report("s1".into(), vec![said(2)]).await.unwrap());
    assert!(!node.report("s1".into(), Vec::new()).await.unwrap());
    assert_eq!(bodies(&leader).await, ["report 1"], "what it had said before is decided");
    // a new life of the same daemon ends those before
    node.begin_work("s2".into()).await.unwrap();
    node.begin_work("s3".into()).await.unwrap();
    let workers = leader.workers().await.unwrap();
    assert_eq!((&*workers.live[0].session, workers.over.len()), ("s3", 2));
    store.commit(vec![ordered("s1", None, "stop"), ordered("s3", None, "go")]).await.unwrap();
    let over = |session: &str| entry(0, Fact::NodeOver { session: session.into() });
    store.commit(vec![over("s1"), over("s2")]).await.unwrap();
    assert_eq!(leader.workers().await.unwrap().over.len(), 0);
    assert_eq!(db.number("SELECT count(*) FROM reports"), 0);
    assert_eq!(db.number("SELECT count(*) FROM orders"), 1);
    node.end_work("s3".into()).await.unwrap();
    assert_eq!(leader.workers().await.unwrap().over.len(), 1);
}

/// Whoever declares it over waits for what is being written: all of it is seen, or none of it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_reports_a_life_is_over_before_or_after_and_never_between() {
    let Some(db) = Db::some() else { return };
    let (_store, _) = db.open();
    let [one, other] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let (node, leader) = (link(&db, one.path(), "b"), link(&db, other.path(), "a"));
    for round in 0..20 {
        let session = format!("s{round}");
        node.begin_work(session.clone()).await.unwrap();
        let reporting = {
            let (node, session) = (node.clone(), session.clone());
            tokio::spawn(async move {
                let mut n = 0;
                while node.report(session.clone(), vec![said(n + 1)]).await.unwrap() {
                    n += 1;
                }
                n
            })
        };
        while db.number(&format!("SELECT count(*) FROM reports WHERE session = '{session}'")) < 2 {}
        db.by_hand(&format!("UPDATE workers SET over = 1 WHERE session = '{session}'")).unwrap();
        let over = leader.workers().await.unwrap().over;
        assert!(over.iter().any(|known| **known == *session), "{over:?}");
        let seen = db.number(&format!("SELECT count(*) FROM reports WHERE session = '{session}'"));
        assert_eq!(reporting.await.unwrap(), seen.unsigned_abs());
        assert_eq!(db.number(&format!("SELECT count(*) FROM reports WHERE session = '{session}'")), seen);
    }
}

#[tokio::test]
async fn orders_come_in_their_order_with_numbers_that_grow_and_not_for_a_run_that_never_was() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let state = tempfile::tempdir().unwrap();
    let node = link(&db, state.path(), "b");
    node.begin_work("s".into()).await.unwrap();
    let mut bell = node.bell();
    assert!(node.orders("s".into(), 0).await.unwrap().is_empty());
    bell.borrow_and_update();
    let at = |session: Option<&str>| PlacedAt { node: "b".into(), session: session.map(Into::into) };
    let placed = |n, session| entry(0, Fact::RunPlaced { run: run(n), attempt: 1, at: Some(at(session)) });
    store
        .commit(vec![
            entry(0, claim(1, Some(5))),
            placed(1, Some("s")),
            entry(0, stopping(1)),
            ordered("s", Some(run(1)), "one"),
        ])
        .await
        .unwrap();
    bell.changed().await.unwrap();
    let first = node.orders("s".into(), 0).await.unwrap();
    assert_eq!(first.iter().map(|order| &*order.body).collect::<Vec<_>>(), ["one"]);
    // its slot was claimed before
    let twice = vec![entry(0, claim(2, Some(5))), placed(2, Some("s")), ordered("s", Some(run(2)), "two")];
    assert_eq!(store.commit(twice).await.unwrap().refused, [run(2)]);
    store.commit(vec![entry(0, stopping(2)), ordered("s", None, "three")]).await.unwrap();
    // those that were not taken are there again
    let all = node.orders("s".into(), 0).await.unwrap();
    assert_eq!(all.iter().map(|order| &*order.body).collect::<Vec<_>>(), ["one", "three"]);
    assert!(all[0].fence < all[1].fence, "{all:?}");
    let rest = node.orders("s".into(), all[0].id).await.unwrap();
    assert_eq!((rest.len(), &*rest[0].body), (1, "three"));
    assert!(node.orders("s".into(), all[1].id).await.unwrap().is_empty());
    assert_eq!(db.number("SELECT count(*) FROM orders"), 0);
    // and the next leader knows who has what in hand
    let restored = store.restored().await.unwrap();
    assert_eq!((restored.open_runs[0].node.clone(), restored.open_runs[0].attempt), (Some(at(Some("s"))), 1));
    assert_eq!(restored.nodes.len(), 1);
    store.commit(vec![placed(1, None)]).await.unwrap();
    assert_eq!(store.restored().await.unwrap().open_runs[0].node, Some(at(None)));
}
