//! Results and problems reach people: once, also over `kill -9`, and whatever the receiver does.
use super::endpoint::{Endpoint, Reply};
use super::rng::Rng;
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An agent whose program prints a digest, and a webhook that gets it.
fn digest(url: &str, deliver: &str) -> String {
    format!(
        "[notify.me]\ntype = \"webhook\"\nurl = \"{url}/hook\"\nper_minute = 6000\n\
         [agents.news]\ncommand = '''printf '{{\"title\":\"Today\",\"digest\":\"All is well.\",\"items\":[1,2]}}' '''\n\
         deliver = {{ to = [\"me\"], {deliver} }}\n"
    )
}

const WORDS: &str = "title = \"{result.title}: {run.agent}\", text = \"{result.digest}\"";

#[test]
fn a_result_is_delivered_in_the_words_of_the_configuration() {
    let endpoint = Endpoint::answering(|_| Reply::body("ok"));
    let daemon =
        Daemon::start(&digest(&endpoint.url(), &format!("when = {{ items = {{ gte = 2 }} }}, {WORDS}")));
    let run = daemon.run_by_hand("news");
    let sent = daemon.until("notification_sent", "news");
    assert_eq!(sent["run_id"], run["run_id"]);
    let message = endpoint.until_asked(1).remove(0).json;
    assert_eq!(message["subject"], "Today: news");
    assert_eq!(message["body"], "All is well.");
    assert_eq!((&message["about"], &message["severity"]), (&json!("completed"), &json!("info")));
    assert_eq!(message["run_id"], run["run_id"]);
    // what is not worth it is not sent
    daemon.configure(&digest(&endpoint.url(), &format!("when = {{ items = {{ gte = 3 }} }}, {WORDS}")));
    daemon.ok(&["reload"]);
    daemon.run_by_hand("news");
    assert_eq!(outbox(&daemon), 0);
    assert_eq!(endpoint.requests().len(), 1);
}

/// Messages that wait or were given up.
fn outbox(daemon: &Daemon) -> i64 {
    daemon.database().query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).expect("a count")
}

#[test]
fn a_delivery_that_fails_is_seen_and_the_run_has_completed() {
    let endpoint = Endpoint::answering(|_| Reply::status(404, "no such hook"));
    let daemon = Daemon::start(&digest(&endpoint.url(), WORDS));
    let run = daemon.run_by_hand("news");
    assert_eq!(run["status"], "completed");
    let failed = daemon.until("notification_failed", "news");
    assert_eq!((&failed["payload"]["retry_at"], &failed["run_id"]), (&Value::Null, &run["run_id"]));
    let status = daemon.call("get_daemon_status", json!({}));
    let [delivery] = &status["deliveries"].as_array().expect("a list")[..] else { panic!("{status}") };
    assert_eq!((&delivery["target"], &delivery["given_up"]), (&json!("me"), &json!(1)));
    assert!(delivery["error"].as_str().is_some_and(|error| error.ends_with("no such hook")), "{delivery}");
    let text = daemon.ok(&["status"]);
    assert!(text.contains("me: 1 message given up"), "{text}");
    // it is a problem of the daemon, until a message gets there
    let opened = daemon.until("incident_opened", "bgagent");
    assert_eq!(opened["payload"]["key"], "notify:me");
    let good = Endpoint::answering(|_| Reply::body("ok"));
    daemon.configure(&digest(&good.url(), WORDS));
    daemon.ok(&["reload"]);
    daemon.run_by_hand("news");
    let resolved = daemon.until("incident_resolved", "bgagent");
    assert_eq!(resolved["payload"]["key"], "notify:me");
}

/// How often the daemon is killed in the suite; more with `BGAGENT_KILLS`.
const KILLS: u64 = 12;

/// Each run that completed is delivered, and each under one key: a receiver that drops what it has by that key has it
/// once.
#[test]
fn killed_at_any_moment_each_result_is_delivered_once() {
    let kills = std::env::var("BGAGENT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let endpoint = Endpoint::answering(|_| Reply::body("ok"));
    let config = digest(&endpoint.url(), WORDS).replace("[agents.news]\n", "[agents.news]\ninterval = 1\n");
    let mut daemon = Daemon::with(&config);
    daemon.up();
    let mut random = Rng::new(15);
    for _ in 0..kills {
        let end = Instant::now() + Duration::from_millis(random.next() % 400);
        let run = daemon.client().try_call("run_agent", json!({"agent_id": "news"}));
        wait_for("the moment to kill", || (Instant::now() >= end).then_some(()));
        drop(run);
        daemon.kill();
        daemon.up();
    }
    daemon.ok(&["stop", "news"]);
    wait_for("an empty outbox", || (outbox(&daemon) == 0).then_some(()));
    wait_for("the end of all runs", || {
        let open = "SELECT count(*) FROM runs WHERE finished_at IS NULL";
        (daemon.database().query_row(open, [], |row| row.get::<_, i64>(0)) == Ok(0)).then_some(())
    });
    wait_for("an empty outbox", || (outbox(&daemon) == 0).then_some(()));
    let completed: i64 = daemon
        .database()
        .query_row("SELECT count(*) FROM runs WHERE status = 'completed'", [], |row| row.get(0))
        .expect("a count");
    let mut runs = BTreeMap::<String, Vec<String>>::new();
    for request in endpoint.requests() {
        let parts = request.json["joined"].as_array().cloned().unwrap_or_else(|| vec![request.json.clone()]);
        for part in parts {
            let (run, id) = (part["run_id"].to_string(), part["id"].to_string());
            let keys = runs.entry(run).or_default();
            if !keys.contains(&id) {
                keys.push(id);
            }
        }
    }
    assert!(completed > 0);
    assert_eq!(runs.len() as i64, completed);
    assert!(runs.values().all(|ids| ids.len() == 1), "{runs:?}");
}
