//! Results and problems reach people: once, also over `kill -9`, and whatever the receiver does.
mod jobs;
mod phone;
mod services;

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

/// Several messages that went together, and a crash before it was known that the receiver has them.
#[test]
fn what_was_joined_comes_again_as_it_was() {
    let endpoint = Endpoint::answering({
        let first = std::sync::atomic::AtomicBool::new(true);
        move |_| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => Reply::hang(),
            false => Reply::body("ok"),
        }
    });
    let mut daemon = Daemon::with(&format!(
        "[notify.me]\ntype = \"webhook\"\nurl = \"{}/hook\"\nper_minute = 1\n\
         [agents.many]\ntool = \"probe\"\nnotify = {{ to = [\"me\"] }}\n\
         args = {{ checks = [{}] }}\n\
         [agents.bad]\ncommand = \"false\"\nnotify = {{ to = [\"me\"], on = [\"failed\"] }}\n",
        endpoint.url(),
        "{ type = \"command\", name = \"a\", command = \"exit 2\" }, { type = \"command\", name = \"b\", command = \"exit 2\" }",
    ));
    daemon.up();
    daemon.run_by_hand("many");
    let asked = endpoint.until_asked(1).remove(0);
    assert_eq!(asked.json["joined"].as_array().map(Vec::len), Some(2), "{}", asked.body);
    daemon.run_by_hand("bad");
    daemon.kill();
    daemon.up();
    let again = endpoint.until_asked(2).remove(1);
    assert_eq!(again.header("idempotency-key"), asked.header("idempotency-key"));
    assert_eq!(again.json, asked.json);
}

/// A receiver that knows problems by their keys hears of each by itself.
#[test]
fn a_body_with_a_key_is_of_one_problem() {
    let endpoint = Endpoint::answering(|_| Reply::body("ok"));
    let checks: String = (0..6)
        .map(|n| format!("{{ type = \"command\", name = \"svc-{n}\", command = \"exit 2\" }},"))
        .collect();
    let daemon = Daemon::start(&format!(
        "[notify.me]\ntype = \"webhook\"\nurl = \"{}/hook\"\nper_minute = 120\n\
         body = '{{\"dedup_key\": \"{{key}}\", \"state\": \"{{state}}\"}}'\n\
         [agents.many]\ntool = \"probe\"\nnotify = {{ to = [\"me\"] }}\nargs = {{ checks = [{checks}] }}\n",
        endpoint.url()
    ));
    daemon.run_by_hand("many");
    wait_for("an empty outbox", || (outbox(&daemon) == 0).then_some(()));
    let mut keys: Vec<String> =
        endpoint.requests().iter().map(|request| request.json["dedup_key"].to_string()).collect();
    keys.sort();
    keys.dedup();
    assert!(keys.len() == 6 && !keys.iter().any(|key| key.contains(',')), "{keys:?}");
}

#[test]
fn of_results_that_wait_too_long_the_oldest_give_way() {
    let closed = crate::support::nobody();
    let mut daemon = Daemon::with(&digest(&format!("http://{closed}"), WORDS));
    daemon.up();
    daemon.down();
    let database = rusqlite::Connection::open(daemon.database_file()).expect("a database");
    let insert = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 205)
        INSERT INTO outbox(target, agent, about, at, subject, body, tries, due, urgency)
        SELECT 'me', 'news', 'completed', n, 's', 'b', 0, n, 'info' FROM n";
    assert_eq!(database.execute(insert, []), Ok(205));
    drop(database);
    daemon.up();
    let count = |what: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM outbox WHERE about = 'completed' AND {what}");
        daemon.database().query_row(&sql, [], |row| row.get(0)).expect("a count")
    };
    wait_for("five that are given up", || (count("due IS NULL") == 5).then_some(()));
    assert_eq!((count("due IS NOT NULL"), count("due IS NULL AND at > 5")), (200, 0), "the oldest");
    daemon.until_event("the word of it", |event| {
        let error = event["payload"]["error"].as_str().unwrap_or_default();
        event["type"] == "notification_failed" && error.contains("more than 200 results wait")
    });
}

#[test]
fn in_quiet_hours_only_what_is_critical_is_sent() {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let at = |hours: i64| (&now + jiff::SignedDuration::from_hours(hours)).strftime("%H:%M").to_string();
    let daemon = Daemon::start(&format!(
        "[daemon]\ntimezone = \"UTC\"\n\
         [notify.log]\ntype = \"file\"\npath = \"told.jsonl\"\nquiet = \"{}-{}\"\n\
         [agents.good]\ncommand = \"true\"\nnotify = {{ to = [\"log\"], on = [\"completed\"] }}\n\
         [agents.bad]\ncommand = \"false\"\nnotify = {{ to = [\"log\"], on = [\"failed\"] }}\n",
        at(-2),
        at(2)
    ));
    daemon.run_by_hand("good");
    daemon.run_by_hand("bad");
    daemon.until("notification_sent", "bad");
    let told = std::fs::read_to_string(daemon.path("told.jsonl")).expect("a file");
    assert!(told.lines().count() == 1 && told.contains("bad: failed"), "{told}");
    assert_eq!(outbox(&daemon), 1, "the other waits");
    let config = std::fs::read_to_string(daemon.path("agents.toml")).expect("its file");
    daemon
        .configure(&config.lines().filter(|line| !line.starts_with("quiet")).collect::<Vec<_>>().join("\n"));
    daemon.ok(&["reload"]);
    daemon.run_by_hand("good");
    wait_for("an empty outbox", || (outbox(&daemon) == 0).then_some(()));
    let told = std::fs::read_to_string(daemon.path("told.jsonl")).expect("a file");
    assert_eq!(told.lines().filter(|line| line.contains("good: completed")).count(), 2, "{told}");
}

#[test]
fn a_webhook_is_signed_and_has_a_body_of_its_own() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, KeyInit, Mac};
    use std::os::unix::fs::PermissionsExt;
    let endpoint = Endpoint::answering(|_| Reply::body("ok"));
    let daemon = Daemon::with("");
    let key = daemon.path("key");
    std::fs::write(&key, format!("whsec_{}\n", STANDARD.encode("a key of some length"))).expect("our folder");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("our file");
    daemon.configure(&format!(
        "[notify.me]\ntype = \"webhook\"\nurl = \"{}/hook\"\nsecret = {{ file = \"key\" }}\n\
         body = '{{\"summary\": \"{{title}}\", \"more\": [\"{{severity}} {{state}}\", \"{{priority}}\"]}}'\n\
         [agents.a]\ncommand = \"echo 'say \\\"hi\\\"'; exit 1\"\nnotify = {{ to = [\"me\"], on = [\"failed\"] }}\n",
        endpoint.url()
    ));
    let mut daemon = daemon;
    daemon.up();
    daemon.run_by_hand("a");
    let request = endpoint.until_asked(1).remove(0);
    assert_eq!(request.json, json!({"summary": "a: failed", "more": ["critical open", 2]}));
    let header = |name: &str| request.header(name).expect("a header").to_owned();
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), request.body);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"a key of some length").expect("a key");
    mac.update(signed.as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header("webhook-signature"), expected);
    assert_eq!(header("webhook-id"), header("idempotency-key"));
}

#[test]
fn another_monitor_hears_of_runs_and_of_the_daemon() {
    let monitor = Endpoint::answering(|_| Reply::body("OK"));
    let daemon = Daemon::start(&format!(
        "[daemon]\nping = {{ url = \"{0}/daemon\", every = \"1s\" }}\n\
         [agents.good]\ncommand = \"true\"\nping = {{ url = \"{0}/good/\" }}\n\
         [agents.bad]\ncommand = \"false\"\nping = {{ url = \"{0}/bad?key=1\" }}\n",
        monitor.url()
    ));
    let good = daemon.run_by_hand("good")["run_id"].as_str().expect("an id").to_owned();
    let bad = daemon.run_by_hand("bad")["run_id"].as_str().expect("an id").to_owned();
    let of = |start: &str| -> Vec<String> {
        let requests = monitor.requests().into_iter().filter(|request| request.path.starts_with(start));
        requests.map(|request| format!("{} {}", request.method, request.path)).collect()
    };
    wait_for("all of them", || {
        (of("/good").len() == 2 && of("/bad").len() == 2 && of("/daemon").len() >= 3).then_some(())
    });
    assert_eq!(of("/good"), [format!("GET /good/start?rid={good}"), format!("GET /good/?rid={good}")]);
    assert_eq!(
        of("/bad"),
        [format!("GET /bad/start?key=1&rid={bad}"), format!("GET /bad/fail?key=1&rid={bad}")]
    );
    assert!(of("/daemon").iter().all(|request| request == "GET /daemon"));
}

#[test]
fn an_agent_that_is_late_is_seen_everywhere() {
    let daemon = Daemon::start(
        "[notify.log]\ntype = \"file\"\npath = \"told.jsonl\"\n\
         [agents.a]\ninterval = 1\ncommand = \"test -e fine\"\ncwd = \".\"\nlate_after = \"1s\"\n\
         circuit_breaker = { open_after = 0 }\nnotify = { to = [\"log\"], on = [\"late\"] }\n",
    );
    let late = daemon.until("background_agent_late", "a");
    assert_eq!(late["payload"]["late_after_secs"], 1);
    let output = daemon.run(&["health"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("late:a"), "{text}");
    assert!(daemon.ok(&["why", "a"]).contains("late: no run has completed within 1s of its slot"));
    assert!(daemon.ok(&["status", "a"]).contains("late:a: no run has completed"));
    let told = wait_for("the message", || std::fs::read_to_string(daemon.path("told.jsonl")).ok());
    let told: Value = serde_json::from_str(told.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&told["about"], &told["severity"]), (&json!("late"), &json!("critical")));
    std::fs::write(daemon.path("fine"), "").expect("our folder");
    let over = daemon.until_event("its end", |event| {
        event["type"] == "incident_resolved" && event["payload"]["key"] == "late:a"
    });
    assert_eq!(over["agent_id"], "a");
}
