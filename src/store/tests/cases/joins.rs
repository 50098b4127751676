//! Ends of runs that an agent waits for.
use super::*;

fn begun_and_ended(n: u64) -> [Fact; 2] {
    [claim(n, None), ended(n)]
}

fn becomes(previous: Desired, desired: Desired) -> Fact {
    Fact::AgentChanged(Box::new(AgentChange {
        agent: id("x"),
        previous,
        desired,
        reason: None,
        resume_at: None,
        run_count: 0,
        error_count: 0,
        last_run: None,
        next_run: None,
    }))
}

#[tokio::test]
async fn an_end_counts_if_it_came_after_the_agent_was_started_whatever_the_clock_said() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let join = Join { after: vec![id("a")], status: JoinStatus::Completed, within: Join::WITHIN };
    let waiting = async || {
        let join = join.clone();
        let found = store.read(move |reader| reader.arrivals(&id("x"), &join)).await.unwrap();
        found.iter().map(|event| event.run_id.unwrap()).collect::<Vec<_>>()
    };
    let commit = async |secs: i64, facts: &[Fact]| {
        store.commit(facts.iter().map(|fact| entry(secs, fact.clone())).collect()).await.unwrap();
    };
    commit(900, &begun_and_ended(1)).await;
    assert_eq!(waiting().await, [run(1)]);
    // stopped and started by a clock that was set back meanwhile
    commit(100, &[becomes(Desired::Active, Desired::Stopped)]).await;
    commit(200, &[becomes(Desired::Stopped, Desired::Active)]).await;
    assert!(waiting().await.is_empty());
    commit(50, &begun_and_ended(2)).await;
    assert_eq!(waiting().await, [run(2)]);
    // a pause changes nothing
    commit(60, &[becomes(Desired::Active, Desired::Paused), becomes(Desired::Paused, Desired::Active)]).await;
    assert_eq!(waiting().await, [run(2)]);
}
