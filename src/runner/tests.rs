//! Tests of starting programs, and of what a query is filled with.
use super::spawn::{self, Running};
use super::template::{Places, fill_query};
use crate::child::{Ended, Environment, Inherit, Program, START_PLACES, STARTS_AT_A_TIME};
use crate::domain::{CommandSpec, ProgramOwner};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

async fn start(folder: &Path, argv: &[&str]) -> Running {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let spec = CommandSpec {
        argv,
        env: BTreeMap::new(),
        cwd: folder.to_owned(),
        default_cwd: false,
        stdin: None,
        sandbox: None,
    };
    let environment = Environment::from([("PATH".into(), "/usr/bin:/bin".into())]);
    spawn::start(
        &spec,
        environment,
        &ProgramOwner::default(),
        &spawn::Surroundings::default(),
        None,
        Duration::ZERO,
    )
    .await
    .unwrap()
    .0
}

#[tokio::test]
async fn nothing_starts_without_permission() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &["touch", "started"]).await;
    let began = Instant::now();
    running.wait_a_moment().await;
    assert!(began.elapsed() < crate::testing::SOON, "what does not end is not waited for");
    running.turn_away().await;
    assert!(!folder.path().join("started").exists());
    let mut running = start(folder.path(), &["touch", "started"]).await;
    running.go(None).unwrap();
    assert!(matches!(running.ended().await, Ended::Ran { left: false, .. }));
    assert!(folder.path().join("started").exists());
}

#[tokio::test]
async fn only_so_many_starts_are_under_way_and_who_waits_for_one_can_give_up() {
    let folder = tempfile::tempdir().unwrap();
    let all = START_PLACES.acquire_many(u32::try_from(STARTS_AT_A_TIME).unwrap()).await.unwrap();
    let waiting = start(folder.path(), &["sleep", "600"]);
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
    // a helper as well
    let argv = ["true".to_owned()];
    let helper = Program {
        argv: &argv,
        inherit: Inherit::Basics,
        env: &[],
        cwd: None,
        stdin: None,
        confinement: None,
        control: None,
        max_output: 1,
    };
    let bound = Duration::from_millis(50);
    assert!(matches!(crate::child::run(helper, bound).await, Err(crate::child::ChildError::TimedOut { .. })));
    drop(all);
    start(folder.path(), &["sleep", "600"]).await.turn_away().await;
}

#[test]
fn words_from_outside_are_marked_in_a_query() {
    let payload = json!({"title": "full {gate}", "type": "of others", "run_id": "of others"});
    let event = json!({"type": "incident_opened", "agent_id": "w", "payload": payload});
    let params = [("day".to_owned(), json!("2026-11-01")), ("odd".to_owned(), json!("{gate}"))];
    let params = Some(std::sync::Arc::new(params.into()));
    let places = |untrusted_gate| Places {
        event: event.clone(),
        params: params.clone(),
        gate: "two items".into(),
        untrusted_gate,
    };
    let fill = |text: &str| fill_query(text, &places(true));
    assert_eq!(fill("plain {x}"), ("plain {x}".into(), false));
    // a parameter is what a person asks for; its value has no places of its own
    assert_eq!(fill("on {param.day}: {param.odd}"), ("on 2026-11-01: {gate}".into(), false));
    assert_eq!(fill("{param.month}"), ("{param.month}".into(), false));
    // what an event says of itself is ours
    assert_eq!(fill("{event.type} of {event.agent_id}"), ("incident_opened of w".into(), false));
    assert_eq!(fill("no{event.payload.nothing}thing"), ("nothing".into(), false));
    assert_eq!(fill("{event.run_id}{event.nothing}"), (String::new(), false));
    for (text, holds) in [
        ("{gate}", "two items"),
        ("{event.payload.title}", "full {gate}"),
        ("{event.title}", "full {gate}"),
        ("{event}", "\"title\":\"full {gate}\""),
        ("{event.payload}", "\"title\":\"full {gate}\""),
    ] {
        let (query, untrusted) = fill(text);
        assert!(untrusted && query.starts_with("<<<data from ") && query.contains(holds), "{query}");
    }
    assert_eq!(fill_query("see {gate}", &places(false)), ("see two items".into(), false));
}
