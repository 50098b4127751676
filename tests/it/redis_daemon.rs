//! Events in a Redis stream, by the real daemon: what it sends, how it says how that stands, and what it makes of its
//! configuration.
use super::redis_server::{Redis, free_port};
use super::sql_reach::{program, sign};
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};

#[test]
fn what_tail_prints_is_in_redis_also_after_crashes_of_either() {
    let Some(mut redis) = Redis::start() else { return };
    let config = format!(
        "[events.redis]\nurl = \"{}\"\nfrom = 1\n[agents.a]\ncron = \"0 0 1 1 *\"\ncommand = \"echo done\"\n",
        redis.url()
    );
    let mut daemon = Daemon::start(&config);
    daemon.run_by_hand("a");
    let same = |daemon: &Daemon, redis: &Redis| {
        wait_for("the same events", || {
            let tail = daemon.ok(&["tail", "--json", "--from", "1", "--no-follow"]);
            let printed: Vec<String> = tail.lines().map(str::to_owned).collect();
            let entries = redis.entries("bgagent:events");
            let there: Vec<String> = entries
                .iter()
                .map(|(_, fields)| fields["event"].as_str().expect("JSON").to_owned())
                .collect();
            (printed == there
                && entries.iter().map(|(id, _)| id.clone()).eq((1..=printed.len()).map(|n| format!("{n}-0"))))
            .then_some(entries)
        })
    };
    let entries = same(&daemon, &redis);
    let ended =
        entries.iter().find(|(_, fields)| fields["type"] == "background_task_completed").expect("a run");
    let event: Value = serde_json::from_str(ended.1["event"].as_str().expect("JSON")).expect("JSON");
    for name in ["type", "ts", "agent_id", "run_id"] {
        assert_eq!(ended.1[name], event[name], "{name}");
    }
    daemon.kill();
    daemon.up();
    daemon.run_by_hand("a");
    same(&daemon, &redis);
    // what was acknowledged and not on the disk
    redis.kill();
    let gone = wait_for("a lost connection", || {
        let status = daemon.call("get_daemon_status", json!({}));
        (status["redis"]["state"] == "trying").then_some(status["redis"].clone())
    });
    assert!(gone["problem"].as_str().is_some_and(|problem| !problem.is_empty()), "{gone}");
    daemon.run_by_hand("a");
    let lag = daemon.call("get_daemon_status", json!({}))["redis"]["lag_events"].clone();
    assert!(lag.as_u64().is_some_and(|lag| lag > 0), "{lag}");
    assert!(daemon.ok(&["status"]).contains("not connected"));
    redis.cut_log(1500);
    redis.up();
    same(&daemon, &redis);
    assert!(daemon.log().contains("Redis has lost events of its stream"), "{}", daemon.log());
    let status = daemon.call("get_daemon_status", json!({}));
    assert_eq!(status["redis"]["state"], "connected", "{status}");
    assert_eq!(status["redis"]["lag_events"], 0);
    assert_eq!(daemon.down(), Some(0));
    // the last word as well
    let last = redis.entries("bgagent:events").pop().expect("entries");
    assert_eq!(last.1["type"], "daemon_stopping");
}

#[test]
fn a_reload_begins_and_ends_it() {
    let Some(redis) = Redis::start() else { return };
    let agent = "[agents.a]\ncron = \"0 0 1 1 *\"\ncommand = \"echo done\"\n";
    let daemon = Daemon::start(agent);
    assert_eq!(daemon.call("get_daemon_status", json!({}))["redis"], Value::Null);
    let newest = daemon.call("get_daemon_status", json!({}))["newest_seq"].as_u64().expect("a number");
    daemon.configure(&format!("[events.redis]\nurl = \"{}\"\nstream = \"one\"\n{agent}", redis.url()));
    daemon.ok(&["reload"]);
    daemon.run_by_hand("a");
    let first = wait_for("an entry", || redis.entries("one").into_iter().next());
    // it begins with what happens from now on
    let seq: u64 = first.0.trim_end_matches("-0").parse().expect("a number");
    assert!(seq > newest, "{first:?} after {newest}");
    daemon.configure(&format!(
        "[events.redis]\nurl = \"{}\"\nstream = \"two\"\nfrom = 1\n{agent}",
        redis.url()
    ));
    daemon.ok(&["reload"]);
    wait_for("the other stream", || redis.entries("two").len().ge(&3).then_some(()));
    daemon.configure(agent);
    daemon.ok(&["reload"]);
    wait_for("the end of it", || {
        daemon.call("get_daemon_status", json!({}))["redis"].is_null().then_some(())
    });
}

#[test]
fn a_problem_is_an_incident_until_it_is_over() {
    let Some(redis) = Redis::start() else { return };
    redis.ask(&["SET", "bgagent:events", "data of somebody"]);
    let config = format!(
        "[events.redis]\nurl = \"{}\"\n[agents.a]\ninterval = \"1h\"\ncommand = \"true\"\n",
        redis.url()
    );
    let mut daemon = Daemon::start(&config);
    let opened = daemon.until("incident_opened", "bgagent");
    assert_eq!(opened["payload"]["key"], "redis:events", "{opened}");
    let title = opened["payload"]["title"].as_str().expect("a title");
    assert!(title.contains("holds other data"), "{title}");
    assert!(daemon.ok(&["incidents"]).contains("redis:events"));
    daemon.ok(&["incidents", "ack", "redis:events"]);
    // it is one incident over two lives
    daemon.kill();
    daemon.up();
    wait_for("it to stop again", || {
        (daemon.call("get_daemon_status", json!({}))["redis"]["state"] == "stopped").then_some(())
    });
    redis.ask(&["DEL", "bgagent:events"]);
    let resolved = daemon.until("incident_resolved", "bgagent");
    assert_eq!(resolved["payload"]["since"], opened["payload"]["since"]);
    wait_for("entries", || (!redis.entries("bgagent:events").is_empty()).then_some(()));
}

#[test]
fn events_that_are_late_are_an_incident() {
    let Some(mut redis) = Redis::start() else { return };
    redis.kill();
    let config = format!(
        "[events.redis]\nurl = \"{}\"\n[agents.a]\ncron = \"0 0 1 1 *\"\ncommand = \"true\"\n",
        redis.url()
    );
    let mut daemon = Daemon::with(&config);
    let clock = daemon.path("clock");
    std::fs::write(&clock, "0 0").expect("our folder");
    daemon.child =
        Some(daemon.daemon_command().env("BGAGENT_TEST_CLOCK", &clock).spawn().expect("it starts"));
    daemon.ready();
    wait_for("a first try", || {
        daemon.call("get_daemon_status", json!({}))["redis"]["problem"].is_string().then_some(())
    });
    std::fs::write(&clock, "0 250").expect("our folder");
    daemon.run_by_hand("a");
    assert!(daemon.call("list_incidents", json!({})).as_array().expect("a list").is_empty());
    std::fs::write(&clock, "0 301").expect("our folder");
    let opened = daemon.until("incident_opened", "bgagent");
    let (severity, title) =
        (&opened["payload"]["severity"], opened["payload"]["title"].as_str().expect("a title"));
    assert_eq!(severity, "warning");
    assert!(title.contains("5m") && title.contains("can't be reached"), "{title}");
    let lag = daemon.call("get_daemon_status", json!({}))["redis"]["lag_secs"].as_u64();
    assert!(lag.is_some_and(|lag| lag >= 300), "{lag:?}");
    redis.up();
    daemon.until("incident_resolved", "bgagent");
}

#[test]
fn an_encrypted_connection_wants_a_certificate_that_is_trusted() {
    let Some(openssl) = program("openssl") else { return };
    let certificates = tempfile::tempdir().expect("a temporary folder");
    sign(&openssl, certificates.path());
    let file = |name: &str| certificates.path().join(name).display().to_string();
    let (key, own, ca) = (file("server.key"), file("server.pem"), file("ca.pem"));
    let port = free_port();
    let Some(redis) = Redis::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &own,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ]) else {
        return;
    };
    let config = format!(
        "[events.redis]\nurl = \"rediss://localhost:{port}/0\"\nfrom = 1\n[agents.a]\ncron = \"0 0 1 1 *\"\ncommand = \"true\"\n"
    );
    for (trusted, works) in [(file("other.pem"), false), (ca, true)] {
        let mut daemon = Daemon::with(&config);
        daemon.child =
            Some(daemon.daemon_command().env("SSL_CERT_FILE", &trusted).spawn().expect("it starts"));
        daemon.ready();
        let standing = wait_for("a try", || {
            let redis = daemon.call("get_daemon_status", json!({}))["redis"].clone();
            (redis["problem"].is_string() || redis["state"] == "connected").then_some(redis)
        });
        assert_eq!(standing["state"] == "connected", works, "{standing}");
        if works {
            wait_for("an event", || (!redis.entries("bgagent:events").is_empty()).then_some(()));
        } else {
            assert!(
                standing["problem"].as_str().is_some_and(|why| why.contains("SSL_CERT_FILE")),
                "{standing}"
            );
        }
    }
}

#[test]
fn check_says_where_events_go() {
    let daemon = Daemon::with(
        "[events.redis]\nurl = \"redis://localhost:7/3\"\n[agents.a]\ninterval = \"1h\"\ncommand = \"true\"\n",
    );
    let path = daemon.path("agents.toml");
    let said: Value =
        serde_json::from_str(&daemon.ok(&["--json", "check", path.to_str().expect("text")])).expect("JSON");
    assert_eq!(said["events"]["redis"]["url"], "redis://localhost:7/3");
    assert_eq!(said["events"]["redis"]["stream"], "bgagent:events");
    let output = daemon.run(&["check", path.to_str().expect("text")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("events are copied to the Redis stream bgagent:events at redis://localhost:7/3"),
        "{said}"
    );
}
