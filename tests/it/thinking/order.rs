//! What is on record before what, and what stays the same when a run goes on: what a crash between two
//! records must not tear apart.
use super::*;
use bgagent::domain::{AttemptEnd, Finding, RunId, RunMode, Said, Step, Trigger};
use bgagent::runner::{Brief, Report, Shared, StopOrder};
use bgagent::store::Store;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What happened, in order.
#[derive(Debug, PartialEq)]
enum Seen {
    Found(String),
    Called(usize),
}

fn called(said: &Said) -> Option<Seen> {
    match said {
        Said::Step { step, .. } => match **step {
            Step::Called { call, .. } => Some(Seen::Called(call)),
            _ => None,
        },
        _ => None,
    }
}

/// One attempt of agent `a`, whose other side is slow: what an attempt finds becomes durable only when
/// the attempt does nothing more without that. One thread, so that is certain: what an attempt does
/// without waiting, it has done after a few turns.
async fn attempt(fleet: &str) -> Vec<Seen> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let context = bgagent::config::Context::system(jiff::Timestamp::now());
    let loaded = bgagent::config::parse(fleet.into(), &folder.path().join("agents.toml"), &context);
    let fleet = loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet;
    let (store, _) = Store::open(&folder.path().join("bgagent.db")).expect("a store");
    let (reports, mut reported) = mpsc::channel(64);
    let brief = Brief {
        run: RunId::make(1, 2, 3),
        agent: fleet.agent("a").expect("it is there").clone(),
        attempt: 1,
        trigger: Trigger::Schedule,
        slot: None,
        query: None,
        params: None,
        mode: RunMode::Normal,
        event: None,
        last_result: None,
        time_left: None,
        looks_first: false,
        gate_only: false,
        fence: 1,
        traceparent: None,
    };
    let shared = Shared {
        tools: Arc::new(bgagent::tools::Tools::new(&fleet)),
        models: Arc::new(bgagent::llm::Models::new(&fleet, None)),
        fleet: Arc::new(fleet),
        store: Some(store),
        memory: None,
        reports,
    };
    let (_stop, orders) = watch::channel(StopOrder::None);
    tokio::spawn(bgagent::runner::attempt(brief, shared, orders));
    let (mut seen, mut waiting) = (Vec::new(), Vec::new());
    loop {
        let report = match waiting.is_empty() {
            true => reported.recv().await.expect("the attempt ends with a report"),
            false => {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                match reported.try_recv() {
                    Ok(report) => report,
                    Err(_) => {
                        for go in waiting.drain(..) {
                            let _ = tokio::sync::oneshot::Sender::send(go, ());
                        }
                        continue;
                    }
                }
            }
        };
        match report {
            Report::Found { findings, go, .. } => {
                seen.extend(findings.into_iter().map(|Finding { key, .. }| Seen::Found(key)));
                waiting.push(go);
            }
            Report::Journal { talks, done } => {
                let called: Vec<Seen> = talks.iter().filter_map(|talk| called(&talk.said)).collect();
                assert!(
                    called.is_empty() || waiting.is_empty(),
                    "{called:?} is on record, and what was found is not"
                );
                seen.extend(called);
                let _ = done.send(());
            }
            Report::Began { go, .. } | Report::Settle { go, .. } => drop(go.send(())),
            Report::Reserve { granted, .. } => drop(granted.send(Ok(()))),
            Report::Ended { outcome, .. } => {
                assert_eq!(outcome.end, AttemptEnd::Completed, "{:?}", outcome.end);
                assert!(outcome.findings.is_empty(), "they were told already");
                return seen;
            }
            Report::Spawned { .. } | Report::Output { .. } => unreachable!("no program"),
        }
    }
}

#[tokio::test]
async fn what_a_call_found_is_durable_before_the_call_is() {
    let found = |key: &str| Seen::Found(key.into());
    let report =
        |key: &str| format!("{{\"key\": \"{key}\", \"severity\": \"critical\", \"title\": \"full\"}}");
    let endpoint = Endpoint::script([
        Reply::calls(&[("report", &report("x")), ("report", &report("y"))]),
        Reply::text("done"),
    ]);
    let seen = attempt(&agent(&endpoint, "tools = [\"report\"]")).await;
    assert_eq!(seen, [found("x"), Seen::Called(0), found("y"), Seen::Called(1)]);
    // calls that only look, at the same time
    let endpoint = Endpoint::script([Reply::calls(&[("p", "{}"), ("q", "{}")]), Reply::text("done")]);
    let probe = |name: &str| {
        format!(
            "[tools.{name}]\ntype = \"probe\"\nchecks = [{{ type = \"load\", name = \"{name}\", warn = 100000 }}]\n"
        )
    };
    let fleet = format!("{}{}{}", agent(&endpoint, "tools = [\"p\", \"q\"]"), probe("p"), probe("q"));
    let mut seen = attempt(&fleet).await;
    assert_eq!(seen.split_off(2), [Seen::Called(0), Seen::Called(1)]);
    assert!(seen.contains(&found("p")) && seen.contains(&found("q")), "{seen:?}");
}

#[test]
fn a_call_has_the_same_key_in_a_run_that_goes_on() {
    let web = Endpoint::script([Reply::body("taken").with("content-type", "text/plain")]);
    let host = web.url().trim_start_matches("http://").to_owned();
    let post = json!({"url": format!("{}/orders", web.url()), "method": "POST", "body": "one"}).to_string();
    let endpoint = Endpoint::answering(move |request| match results(request).len() {
        0 => Reply::calls(&[("s_look", "{}")]),
        1 => Reply::calls(&[("s_keep", "{}"), ("web", &post)]),
        _ => Reply::text("done"),
    });
    let keys = "tools = [\"s/*\", \"web\"]\nsinks = [\"s/keep\", \"web\"]\nretry = { max = 0 }";
    let mut daemon = with_server(&endpoint, keys);
    let text = std::fs::read_to_string(daemon.path("agents.toml")).expect("a file");
    daemon.configure(&format!(
        "{text}[tools.web]\ntype = \"http\"\nallow_private = [\"{host}\"]\nmethods = [\"POST\"]\n"
    ));
    daemon.up();
    let key = |run: &Value, nth: usize| {
        let sent = web.until_asked(nth + 1);
        let key = sent[nth].header("idempotency-key").expect("a key").to_owned();
        let run = run.as_str().expect("an id");
        key.strip_prefix(run).unwrap_or_else(|| panic!("{key} is not of {run}")).to_owned()
    };
    let undisturbed = start(&daemon);
    daemon.finished(&undisturbed);
    let usual = key(&undisturbed, 0);
    // the answer that wants the call is on record, and the daemon dies before it makes it
    std::fs::write(daemon.path("hold-keep"), "").expect("the folder can be written");
    let run = start(&daemon);
    for tries in 2..4 {
        wait_for("the call before", || (witnessed(&daemon, "keep") == tries).then_some(()));
        daemon.kill();
        if tries == 3 {
            std::fs::remove_file(daemon.path("hold-keep")).expect("it was there");
        }
        daemon.up();
    }
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert_eq!(told(&view, "background_task_resumed").len(), 2);
    assert_eq!((key(&run, 1), web.requests().len()), (usual, 2));
}
