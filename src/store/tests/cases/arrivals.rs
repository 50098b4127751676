//! Files that have arrived, what was delivered to webhooks, and events of MCP servers.
use super::*;

fn arrived(agent: &str, path: &str, mark: &str) -> Fact {
    let payload = Payload::FileArrived(FileArrived {
        path: path.into(),
        name: "a.csv".into(),
        size: 1,
        modified: t(0),
    });
    let (agent_id, run_id, session_id) = (Some(id(agent)), None, None);
    let event = Event { seq: Seq(0), ts: t(1), agent_id, run_id, session_id, payload };
    Fact::Arrived { event: Box::new(event), mark: mark.into() }
}

async fn known(store: &Store) -> Vec<(String, String, String, bool)> {
    let known = store.read(|reader| reader.arrived_files()).await.unwrap();
    known.into_iter().map(|file| (file.agent.to_string(), file.path, file.mark, file.is_gone)).collect()
}

fn row(agent: &str, path: &str, mark: &str, is_gone: bool) -> (String, String, String, bool) {
    (agent.into(), path.into(), mark.into(), is_gone)
}

#[tokio::test]
async fn a_file_is_remembered_with_its_outcome_until_it_has_long_been_gone() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let facts = [arrived("a", "/i/1", "m1"), arrived("a", "/i/2", "m2"), arrived("b", "/i/1", "m1")];
    store.commit(facts.into_iter().map(|fact| entry(1, fact)).collect()).await.unwrap();
    // rewritten
    store.commit(vec![entry(2, arrived("a", "/i/1", "m3"))]).await.unwrap();
    let left = |gone: &[&str], back: &[&str]| Fact::FilesLeft {
        agent: id("a"),
        gone: gone.iter().map(|path| (*path).to_owned()).collect(),
        back: back.iter().map(|path| ((*path).to_owned(), "m2".to_owned())).collect(),
    };
    store.commit(vec![entry(3, left(&["/i/1", "/i/2"], &[]))]).await.unwrap();
    store.commit(vec![entry(4, left(&[], &["/i/2"]))]).await.unwrap();
    drop(store);
    let (store, _) = db.open();
    let all = [row("a", "/i/1", "m3", true), row("a", "/i/2", "m2", false), row("b", "/i/1", "m1", false)];
    assert_eq!(known(&store).await, all);
    let day = 24 * 3600;
    for (lived, expected) in [(6 * day, &all[..]), (8 * day, &all[1..])] {
        while store.prune(Retention::default(), settled(lived)).await.unwrap() {}
        assert_eq!(known(&store).await, expected);
    }
    // one that comes back after it was forgotten is remembered anew, and so is no new file after the next start
    store.commit(vec![entry(5, left(&[], &["/i/3"]))]).await.unwrap();
    assert!(known(&store).await.contains(&row("a", "/i/3", "m2", false)));
}

#[tokio::test]
async fn an_arrival_and_its_run_are_one_transaction_with_the_number_of_the_event() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let arrival = arrived("a", "/i/1", "m1");
    let Fact::Arrived { event, .. } = &arrival else { unreachable!() };
    let Fact::RunClaimed(mut run_of_it) = claim(1, None) else { unreachable!() };
    run_of_it.trigger = Trigger::Event;
    run_of_it.event = Some(Arc::new((**event).clone()));
    store.commit(vec![entry(1, arrival.clone()), entry(1, Fact::RunClaimed(run_of_it))]).await.unwrap();
    let event = store.read(|reader| reader.event_of(run(1))).await.unwrap().unwrap();
    assert_eq!((event.seq, event.kind.as_str()), (Seq(1), "file_arrived"));
    let outcome = store.read(|reader| reader.event_outcome(&id("a"), t(9))).await.unwrap().unwrap();
    let EventOutcome::Ran(ran) = outcome else { panic!("{outcome:?}") };
    assert_eq!(ran.claim.event.unwrap().reference().arrived.as_deref(), Some("/i/1"));
}

#[tokio::test]
async fn a_delivery_is_known_by_its_id_for_a_week() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let payload = Payload::WebhookReceived(WebhookReceived {
        webhook: "deploy".into(),
        delivery: "msg_1".into(),
        event: None,
        body: "\0 and all".into(),
    });
    let (agent_id, run_id, session_id) = (Some(id("a")), None, None);
    let event = Event { seq: Seq(0), ts: t(1), agent_id, run_id, session_id, payload };
    let fact = Fact::Arrived { event: Box::new(event), mark: String::new() };
    store.commit(vec![entry(1, fact)]).await.unwrap();
    let known = async |webhook: &'static str, id: &'static str| {
        store.read(move |reader| reader.was_delivered(webhook, id)).await.unwrap()
    };
    assert!(known("deploy", "msg_1").await);
    assert!(!known("deploy", "msg_2").await && !known("push", "msg_1").await);
    assert_eq!(self::known(&store).await, []);
    let day = 24 * 3600;
    for (lived, is_known) in [(6 * day, true), (8 * day, false)] {
        while store.prune(Retention::default(), settled(lived)).await.unwrap() {}
        assert_eq!(known("deploy", "msg_1").await, is_known);
    }
}

#[tokio::test]
async fn an_event_is_known_by_its_id_and_its_agent_and_the_place_by_its_subscription() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let event = |agent: &str, number: &str| {
        let payload = Payload::McpEventReceived(McpEventReceived {
            server: "github".into(),
            event: "issue.opened".into(),
            id: number.into(),
            happened_at: None,
            data: serde_json::json!({"text": "\0 and all"}),
            left_out: None,
        });
        let (agent_id, run_id, session_id) = (Some(id(agent)), None, None);
        let event = Event { seq: Seq(0), ts: t(1), agent_id, run_id, session_id, payload };
        Fact::Arrived { event: Box::new(event), mark: String::new() }
    };
    let moved = |source: &str, cursor: Option<&str>| Fact::CursorMoved {
        agent: id("a"),
        source: source.into(),
        cursor: cursor.map(str::to_owned),
    };
    let place = async |store: &Store, source: &'static str| {
        store.read(move |reader| reader.event_cursor(&id("a"), source)).await.unwrap().map(|place| place.0)
    };
    assert_eq!(place(&store, "one").await, None);
    let facts = vec![event("a", "1"), event("b", "2"), moved("one", Some("at 1"))];
    store.commit(facts.into_iter().map(|fact| entry(1, fact)).collect()).await.unwrap();
    drop(store);
    let (store, _) = db.open();
    assert_eq!(place(&store, "one").await, Some(Some("at 1".to_owned())));
    let known = async |agent: &'static str, event: &'static str| {
        let ids = ["1", "2", "3"].map(str::to_owned);
        let asked = move |reader: &Reader| reader.known_events(&id(agent), ("github", event), &ids);
        store.read(asked).await.unwrap().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(known("a", "issue.opened").await, ["1"]);
    assert_eq!(known("b", "issue.opened").await, ["2"]);
    assert!(known("a", "issue.closed").await.is_empty());
    assert_eq!(self::known(&store).await, [], "they are no files");
    // a server that has no places, and another subscription
    store.commit(vec![entry(2, moved("one", None))]).await.unwrap();
    assert_eq!(place(&store, "one").await, Some(None));
    store.commit(vec![entry(3, moved("two", Some("x")))]).await.unwrap();
    assert_eq!((place(&store, "one").await, place(&store, "two").await), (None, Some(Some("x".to_owned()))));
    // a place is kept for as long as there is nothing newer
    while store.prune(Retention::default(), settled(30 * 24 * 3600)).await.unwrap() {}
    assert!(known("a", "issue.opened").await.is_empty());
    assert_eq!(place(&store, "two").await, Some(Some("x".to_owned())));
}
