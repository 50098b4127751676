//! Metrics that are read as Prometheus reads them, of the real daemon; and traces that a collector takes.
mod collector;
mod scrape;
mod traces;

use super::endpoint::{Endpoint, Reply};
use super::support::{Daemon, wait_for};
use scrape::{Scrape, address, get, promtool, scrape};
use serde_json::{Value, json};
use std::net::TcpListener;

const LISTENS: &str = "[telemetry]\nprometheus = \"127.0.0.1:0\"\n";

#[test]
fn what_runs_did_is_read_as_prometheus_reads_it() {
    let config = format!(
        "{LISTENS}[agents.good]\ncommand = \"true\"\n[agents.bad]\ncommand = \"exit 3\"\n\
         [agents.idle]\ncron = \"0 0 1 1 *\"\ncommand = \"true\"\n[notify.me]\ntype = \"file\"\npath = \"told\"\n"
    );
    let mut daemon = Daemon::start(&config);
    for agent in ["good", "good", "bad"] {
        daemon.run_by_hand(agent);
    }
    let (status, headers, text) = get(&address(&daemon), "/metrics");
    assert_eq!(status, 200, "{text}");
    assert!(headers.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{headers}");
    promtool(&text);
    let scraped = Scrape::of(&text);
    for (series, value) in [
        ("bgagent_runs_total{agent=\"good\",status=\"completed\"}", 2.0),
        ("bgagent_runs_total{agent=\"bad\",status=\"failed\"}", 1.0),
        ("bgagent_agent_failures_in_row{agent=\"bad\"}", 1.0),
        ("bgagent_agent_failures_in_row{agent=\"good\"}", 0.0),
        ("bgagent_agents{state=\"active\"}", 3.0),
        ("bgagent_agents_failing", 1.0),
        ("bgagent_agents_without_series", 0.0),
        ("bgagent_run_duration_seconds_count", 3.0),
        ("bgagent_run_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("bgagent_outbox_given_up{target=\"me\"}", 0.0),
        ("bgagent_incidents_open{severity=\"critical\"}", 1.0),
        ("bgagent_records_writable", 1.0),
        ("bgagent_config_rejected", 0.0),
    ] {
        assert_eq!(scraped.value(series), Some(value), "{series}\n{text}");
    }
    let view = daemon.call("get_daemon_status", json!({}));
    assert_eq!(scraped.value("bgagent_newest_event_seq"), view["newest_seq"].as_f64(), "{text}");
    assert!(scraped.value("bgagent_database_bytes").is_some_and(|bytes| bytes > 0.0), "{text}");
    let next = scraped.value("bgagent_agent_next_start_timestamp_seconds{agent=\"idle\"}").expect("a slot");
    assert!(next > scraped.value("bgagent_start_time_seconds").expect("a start"), "{text}");
    let url = format!("http://{}/metrics", address(&daemon));
    assert!(daemon.ok(&["status"]).contains(&url), "{}", daemon.ok(&["status"]));
    for (path, status) in [("/", 404), ("/metrics/x", 404), ("http://127.0.0.1/metrics", 200)] {
        assert_eq!(get(&address(&daemon), path).0, status, "{path}");
    }
    // in the next life counters begin anew
    assert_eq!(daemon.down(), Some(0));
    daemon.up();
    daemon.run_by_hand("good");
    let scraped = scrape(&daemon);
    assert_eq!(scraped.value("bgagent_runs_total{agent=\"good\",status=\"completed\"}"), Some(1.0));
    assert_eq!(scraped.value("bgagent_agent_failures_in_row{agent=\"bad\"}"), Some(1.0));
}

#[test]
fn slots_count_with_their_verdicts_also_those_that_leave_no_run() {
    let config = format!(
        "{LISTENS}[agents.often]\ninterval = 1\ncommand = \"true\"\n\
         [agents.gated]\ninterval = 1\ncommand = \"true\"\ngate = {{ command = \"exit 1\" }}\n\
         [agents.quiet]\ninterval = 1\ntool = \"probe\"\nhistory = \"changes\"\n\
         args = {{ checks = [{{ type = \"disk\", path = \"/\", warn = 99, crit = 100 }}] }}\n"
    );
    let daemon = Daemon::start(&config);
    for series in [
        "bgagent_slots_total{agent=\"often\",verdict=\"ran\"}",
        "bgagent_slots_total{agent=\"gated\",verdict=\"skipped_gate\"}",
        "bgagent_slots_total{agent=\"quiet\",verdict=\"ran\"}",
        "bgagent_runs_total{agent=\"quiet\",status=\"completed\"}",
    ] {
        wait_for(series, || scrape(&daemon).value(series).is_some_and(|count| count >= 2.0).then_some(()));
    }
    let scraped = scrape(&daemon);
    assert_eq!(scraped.value("bgagent_slots_total{agent=\"gated\",verdict=\"ran\"}"), None);
    // they say what the ledger says
    daemon.call("stop_agent", json!({"agent_id": "often"}));
    let runs = daemon.call("list_runs", json!({"agent_id": "often", "limit": 1000}));
    let ran = runs.as_array().expect("runs").iter().filter(|run| !run["slot"].is_null()).count();
    let counted = scrape(&daemon).value("bgagent_slots_total{agent=\"often\",verdict=\"ran\"}");
    assert_eq!(counted, Some(ran as f64), "{runs:#}");
}

#[test]
fn what_models_cost_is_counted() {
    let endpoint = Endpoint::answering(|_| Reply::text("all is well"));
    let config = format!(
        "{LISTENS}[models.main]\nprovider = \"openai-compatible\"\nmodel = \"m-1\"\nbase_url = \"{}\"\n\
         price = {{ input = 1.0, output = 4.0 }}\n[budget]\nusd_per_day = 2.0\n\
         [agents.a]\nquery = \"Look after it.\"\nmodel = \"main\"\n",
        endpoint.url()
    );
    let daemon = Daemon::start(&config);
    for _ in 0..2 {
        assert_eq!(daemon.run_by_hand("a")["status"], "completed");
    }
    let scraped = scrape(&daemon);
    for (series, value) in [
        ("bgagent_model_requests_total{agent=\"a\",model=\"main\",outcome=\"answered\"}", 2.0),
        ("bgagent_tokens_total{agent=\"a\",model=\"main\",type=\"input\"}", 200.0),
        ("bgagent_tokens_total{agent=\"a\",model=\"main\",type=\"output\"}", 20.0),
        ("bgagent_budget_allowed{limit=\"usd_per_day\"}", 2.0),
        ("bgagent_budget_held{limit=\"usd_per_day\"}", 0.0),
    ] {
        assert_eq!(scraped.value(series), Some(value), "{series}\n{}", scraped.text);
    }
    for series in
        ["bgagent_cost_usd_total{agent=\"a\",model=\"main\"}", "bgagent_budget_used{limit=\"usd_per_day\"}"]
    {
        let used = scraped.value(series).expect(series);
        assert!((used - 0.000_28).abs() < 1e-12, "{series}: {used}");
    }
    assert!(!scraped.text.contains("all is well") && !scraped.text.contains("Look after it"));
}

#[test]
fn eleven_hundred_agents_have_a_thousand_series_and_a_rest() {
    let agents: String = (0..1100).map(|n| format!("[agents.a{n:04}]\ncommand = \"true\"\n")).collect();
    let daemon = Daemon::start(&format!("{LISTENS}{agents}"));
    for agent in ["a0000", "a0999", "a1000", "a1099", "a1099"] {
        daemon.run_by_hand(agent);
    }
    let scraped = scrape(&daemon);
    promtool(&scraped.text);
    let runs =
        |agent: &str| scraped.value(&format!("bgagent_runs_total{{agent=\"{agent}\",status=\"completed\"}}"));
    assert_eq!(["a0000", "a0999", "a1000", "other"].map(runs), [Some(1.0), Some(1.0), None, Some(3.0)]);
    assert_eq!(scraped.value("bgagent_agents_without_series"), Some(100.0));
    assert_eq!(scraped.text.matches("\nbgagent_agent_failures_in_row{").count(), 1000);
    assert_eq!(scraped.value("bgagent_agents{state=\"active\"}"), Some(1100.0));
}

#[test]
fn a_port_in_use_is_said_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = taken.local_addr().expect("it is bound").to_string();
    let agent = "[agents.a]\ncommand = \"true\"\n";
    let daemon = Daemon::start(&format!("[telemetry]\nprometheus = \"{place}\"\n{agent}"));
    let metrics = wait_for("a problem", || {
        let metrics = daemon.call("get_daemon_status", json!({}))["metrics"].clone();
        metrics["problem"].is_string().then_some(metrics)
    });
    assert_eq!(
        (&metrics["address"], &metrics["problem"]),
        (&json!(place), &json!("another program listens there"))
    );
    assert!(daemon.ok(&["status"]).contains("can't be read: another program listens there"));
    assert!(
        daemon.log().contains("metrics can't be read: another program listens there"),
        "{}",
        daemon.log()
    );
    assert_eq!(daemon.run_by_hand("a")["status"], "completed");
    drop(taken);
    wait_for("the port", || {
        daemon.call("get_daemon_status", json!({}))["metrics"]["problem"].is_null().then_some(())
    });
    assert_eq!(address(&daemon), place);
    assert_eq!(scrape(&daemon).value("bgagent_runs_total{agent=\"a\",status=\"completed\"}"), Some(1.0));
}

#[test]
fn a_reload_begins_and_ends_it() {
    let agent = "[agents.a]\ncommand = \"true\"\n";
    let daemon = Daemon::start(agent);
    assert_eq!(daemon.call("get_daemon_status", json!({}))["metrics"], Value::Null);
    daemon.run_by_hand("a");
    daemon.configure(&format!("{LISTENS}{agent}"));
    daemon.ok(&["reload"]);
    daemon.run_by_hand("a");
    let first = wait_for("a listener", || {
        daemon.call("get_daemon_status", json!({}))["metrics"]["address"].as_str().map(str::to_owned)
    });
    let series = "bgagent_runs_total{agent=\"a\",status=\"completed\"}";
    assert_eq!(scrape(&daemon).value(series), Some(1.0));
    // what is counted stays while nobody reads it
    daemon.configure(agent);
    daemon.ok(&["reload"]);
    wait_for("the end of it", || {
        (daemon.call("get_daemon_status", json!({}))["metrics"].is_null()
            && std::net::TcpStream::connect(&first).is_err())
        .then_some(())
    });
    daemon.configure(&format!("{LISTENS}{agent}[agents.b]\ncommand = \"true\"\n"));
    daemon.ok(&["reload"]);
    daemon.run_by_hand("b");
    let scraped = wait_for("a listener", || {
        daemon.call("get_daemon_status", json!({}))["metrics"].is_object().then(|| scrape(&daemon))
    });
    assert_eq!(scraped.value(series), Some(1.0));
    assert_eq!(scraped.value("bgagent_runs_total{agent=\"b\",status=\"completed\"}"), Some(1.0));
}
