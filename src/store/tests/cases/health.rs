//! Health, read without a daemon.
use super::*;

#[tokio::test]
async fn health_is_read_without_a_daemon() {
    let Some(db) = Db::some() else { return };
    let read = |now| read_health(&db.place(), t(now), SignedDuration::from_secs(300));
    assert!(read(0).is_err());
    let (store, _) = db.open();
    let mut stopped = record("b");
    stopped.desired = Desired::Stopped;
    let saved = [record("a"), stopped].map(|record| entry(0, Fact::AgentSaved(Box::new(record))));
    store.commit(saved.into()).await.unwrap();
    let rows = read(0).unwrap().agents;
    assert_eq!(rows.len(), 1, "only what is active");
    assert_eq!((rows[0].agent.as_str(), rows[0].next_due), ("a", Some(t(60))));
    // the newest verdict counts
    let at = |now| read(now).unwrap().agents[0].no_budget.clone();
    let why = || at(200);
    assert_eq!(why(), None);
    let mut refused = judged(60, 60, 1, Verdict::RefusedBudget, None, false);
    if let Fact::SlotsJudged { cause, .. } = &mut refused {
        *cause = "no money".into();
    }
    store.commit(vec![entry(60, refused)]).await.unwrap();
    assert_eq!(why().as_deref(), Some("no money"));
    assert_eq!(at(59), None, "one of a clock that was ahead says nothing of today");
    store.commit(vec![entry(120, judged(120, 120, 1, Verdict::SkippedGate, None, false))]).await.unwrap();
    assert_eq!(why(), None);
}

#[tokio::test]
async fn health_knows_of_open_incidents_and_of_messages_that_wait() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let read = |now| read_health(&db.place(), t(now), SignedDuration::from_secs(300)).unwrap();
    let incident = |key: &str, severity| IncidentRecord {
        agent: id("a"),
        key: key.into(),
        severity,
        title: "full".into(),
        since: t(0),
        opened_at: Some(t(5)),
        seen_at: t(5),
        count: 1,
        resolved_at: None,
        acked_at: None,
        told_at: None,
        diagnosis: None,
        by: FoundBy::Check,
        run: None,
    };
    let open = |one| entry(5, Fact::IncidentSaved(Box::new(one)));
    let disk = incident("disk", Severity::Critical);
    // what only warns is no alarm, and that an agent fails is said of the agent
    let others = [incident("load", Severity::Warning), incident("agent:a", Severity::Critical)];
    let all = others.into_iter().chain([disk.clone()]).map(open);
    store.commit(all.collect()).await.unwrap();
    let found = read(5).incidents;
    assert_eq!((found.len(), found[0].key.as_str(), found[0].since), (1, "disk", t(5)));
    let acked = IncidentRecord { acked_at: Some(t(6)), ..disk };
    store.commit(vec![entry(6, Fact::IncidentSaved(Box::new(acked)))]).await.unwrap();
    assert_eq!(read(6).incidents, []);

    let queued = |target: &str| Fact::NotificationQueued {
        target: target.into(),
        notice: Box::new(Notice::new(&id("a"), TellOn::Failed, "s".into(), "b".into())),
    };
    store
        .commit(vec![entry(10, queued("ops")), entry(20, queued("ops")), entry(30, queued("boss"))])
        .await
        .unwrap();
    assert_eq!(read(300).untold, [], "they may still be on their way");
    let late = read(325).untold;
    assert_eq!((late.len(), late[0].target.as_str(), late[0].count, late[0].oldest), (1, "ops", 2, t(10)));
    let due = store.read(|reader| reader.outbox_due(t(30), 10)).await.unwrap();
    let given_up = |row: &OutboxHead| Fact::NotificationFailed {
        id: row.id,
        target: row.target.clone(),
        agent: id("a"),
        run: None,
        tries: 9,
        error: "e".into(),
        retry_at: None,
    };
    store.commit(due.iter().map(|row| entry(400, given_up(row))).collect()).await.unwrap();
    let gone = read(400).untold;
    assert!(gone.len() == 2 && gone.iter().all(|one| one.given_up), "{gone:?}");
    assert_eq!(read(400 + 49 * 3600).untold, [], "not for ever");
}

#[tokio::test]
async fn an_agent_without_a_coming_slot_is_no_healthy_one() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let mut rows = Vec::new();
    for (name, schedule) in
        [("a", "every 1m"), ("b", "1m after the last run"), ("c", "by hand"), ("d", "every 1m")]
    {
        let next_due = (name == "d").then(|| t(60));
        rows.push(AgentRecord { schedule: schedule.into(), next_due, ..record(name) });
    }
    let saved = rows.into_iter().map(|record| entry(0, Fact::AgentSaved(Box::new(record))));
    store.commit(saved.collect()).await.unwrap();
    let health = read_health(&db.place(), t(0), SignedDuration::from_secs(300)).unwrap();
    let without: Vec<&str> =
        health.agents.iter().filter(|row| row.no_slot).map(|row| row.agent.as_str()).collect();
    assert_eq!(without, ["a", "b"]);
}
