//! Agents end to end: through the real binary, the real socket and real processes.
use super::checker;
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

/// An agent that runs by hand only.
const BY_HAND: &str = "[agents.a]\ncommand = [\"true\"]\n";

#[track_caller]
fn refused(daemon: &Daemon, method: &str, params: Value) -> (i64, String) {
    let error = daemon.client().try_call(method, params).expect_err("this must be refused");
    (error["code"].as_i64().expect("a code"), error["message"].as_str().expect("a message").to_owned())
}

#[test]
fn a_slot_in_a_row_of_verdicts_is_told_apart() {
    let daemon =
        Daemon::start("[agents.a]\ninterval = 1\nfirst_run = \"after_interval\"\ncommand = [\"true\"]\n");
    daemon.call("pause_agent", json!({"agent_id": "a"}));
    let why = wait_for("some slots", || {
        let why = daemon.call("explain_slot", json!({"agent_id": "a"}));
        (why["verdict"] == "skipped_paused" && why["count"].as_u64() >= Some(3)).then_some(why)
    });
    let instant =
        |at: &Value| at.as_str().expect("an instant").parse::<jiff::Timestamp>().expect("an instant");
    let first = instant(&why["first"]);
    let after = first + jiff::SignedDuration::from_millis(1500);
    let why = daemon.call("explain_slot", json!({"agent_id": "a", "at": after}));
    assert_eq!(instant(&why["slot"]), first + jiff::SignedDuration::from_secs(1), "{why}");
    let why = daemon.call("explain_slot", json!({"agent_id": "a", "at": first}));
    assert_eq!(instant(&why["slot"]), first, "{why}");
}

#[test]
fn states_follow_the_table_and_survive_a_restart() {
    let mut daemon =
        Daemon::start("[agents.a]\ninterval = 3600\nfirst_run = \"after_interval\"\ncommand = [\"true\"]\n");
    let one = |method: &str| daemon.call(method, json!({"agent_id": "a"}));
    let paused = daemon.call("pause_agent", json!({"agent_id": "a", "reason": "tea"}));
    assert_eq!(
        (&paused["previous"], &paused["state"], &paused["changed"]),
        (&json!("active"), &json!("paused"), &json!(true))
    );
    assert!(paused["seq"].as_u64().is_some_and(|seq| seq > 0));
    assert_eq!(one("pause_agent")["changed"], false);
    assert_eq!(one("resume_agent")["state"], "active");
    assert_eq!(one("start_agent")["changed"], false);
    assert_eq!(one("stop_agent")["state"], "stopped");
    for method in ["pause_agent", "resume_agent"] {
        let (code, message) = refused(&daemon, method, json!({"agent_id": "a"}));
        assert_eq!(code, 3);
        assert!(message.contains("agent is stopped"), "{message}");
    }
    assert_eq!(one("stop_agent")["changed"], false);
    daemon.kill();
    daemon.up();
    assert_eq!(daemon.call("get_agent_status", json!({"agent_id": "a"}))["state"], "stopped");
    let started = daemon.call("start_agent", json!({"agent_id": "a"}));
    assert_eq!((&started["previous"], &started["state"]), (&json!("stopped"), &json!("active")));
    let (code, message) = refused(&daemon, "start_agent", json!({"agent_id": "b"}));
    assert_eq!((code, message.as_str()), (1, "no agent named `b`"));
}

#[test]
fn pause_all_and_resume_all_restore_exactly_what_was() {
    let daemon = Daemon::start(
        "[defaults]\ncommand = [\"true\"]\n[agents.a]\ncommand = [\"true\"]\n[agents.b]\ncommand = [\"true\"]\n[agents.c]\ncommand = [\"true\"]\n"
            .replace("[defaults]\ncommand = [\"true\"]\n", "")
            .as_str(),
    );
    daemon.call("pause_agent", json!({"agent_id": "b", "reason": "mine"}));
    daemon.call("stop_agent", json!({"agent_id": "c"}));
    let states = || {
        let all = daemon.call("list_agents", json!({}));
        all.as_array()
            .expect("a list")
            .iter()
            .map(|a| a["state"].as_str().expect("a state").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(), ["active", "paused", "stopped"]);
    daemon.call("pause_agent", json!({"all": true}));
    assert_eq!(states(), ["paused", "paused", "stopped"]);
    daemon.call("resume_agent", json!({"all": true}));
    assert_eq!(states(), ["active", "paused", "stopped"]);
}

#[test]
fn a_command_gets_its_environment_and_nothing_else() {
    let daemon =
        Daemon::start("[agents.a]\ncommand = \"env | sort\"\nenv = { LEVEL = \"warn\" }\nstdin = \"x\"\n");
    let view = daemon.run_by_hand("a");
    assert_eq!(view["status"], "completed", "{view}");
    let output: String = view["output"]["chunks"]
        .as_array()
        .expect("chunks")
        .iter()
        .map(|chunk| chunk["text"].as_str().expect("text"))
        .collect();
    for wanted in [
        "LEVEL=warn",
        "BGAGENT_AGENT_ID=a",
        "BGAGENT_ATTEMPT=1",
        "BGAGENT_TRIGGER=manual",
        "PATH=",
        "BGAGENT_IDEMPOTENCY_KEY=",
    ] {
        assert!(output.contains(wanted), "{wanted} is missing:\n{output}");
    }
    assert!(
        output.contains(&format!("BGAGENT_RUN_ID={}", view["run_id"].as_str().expect("an id"))),
        "{output}"
    );
    assert!(!output.contains("CARGO"), "the daemon's own environment leaked:\n{output}");
    assert!(!output.contains("BGAGENT_QUERY"), "{output}");
    daemon.ok(&["run", "a", "--query", "only the disks", "--wait"]);
    let asked = daemon.ok(&["logs", "a"]);
    assert!(asked.contains("BGAGENT_QUERY=only the disks"), "{asked}");
}

#[test]
fn failures_are_told_as_what_they_are() {
    let daemon = Daemon::start(
        "[agents.status]\ncommand = \"echo oh no >&2; exit 3\"\n\
         [agents.missing]\ncommand = [\"/no/such/program\"]\n\
         [agents.slow]\ncommand = [\"sleep\", \"60\"]\ntimeout = 1\n\
         [agents.unproved]\ncommand = [\"true\"]\nsuccess_when = [{ command = [\"false\"] }]\n\
         [agents.proved]\ncommand = [\"true\"]\nsuccess_when = [{ command = [\"true\"] }]\n",
    );
    check(&daemon, "status", "failed", json!("exit_status"), "oh no");
    check(&daemon, "missing", "failed", json!("spawn"), "/no/such/program");
    check(&daemon, "slow", "timed_out", json!("timeout"), "");
    check(&daemon, "unproved", "unverified", json!("unverified"), "");
    check(&daemon, "proved", "completed", Value::Null, "");

    #[track_caller]
    fn check(daemon: &Daemon, agent: &str, status: &str, kind: Value, message: &str) {
        let view = daemon.run_by_hand(agent);
        assert_eq!((&view["status"], &view["error"]["kind"]), (&json!(status), &kind), "{view}");
        assert!(view["error"]["message"].as_str().unwrap_or_default().contains(message), "{view}");
    }
}

#[test]
fn a_gate_that_says_no_costs_nothing_and_leaves_one_row() {
    let mut daemon =
        Daemon::start("[agents.a]\ninterval = 1\ncommand = [\"true\"]\ngate = { command = [\"false\"] }\n");
    wait_for("three slots", || {
        let view = daemon.call("get_agent_status", json!({"agent_id": "a"}));
        (view["skipped_count"].as_u64()? >= 3).then_some(())
    });
    let why = daemon.call("explain_slot", json!({"agent_id": "a"}));
    assert_eq!(why["verdict"], "skipped_gate", "{why}");
    assert_eq!(daemon.call("list_runs", json!({})), json!([]), "no run is left in history");
    daemon.down();
    let rows: i64 =
        daemon.database().query_row("SELECT count(*) FROM ledger", [], |row| row.get(0)).expect("a count");
    assert_eq!(rows, 1, "equal verdicts in a row are one record");
    checker::check(&daemon.path("state/bgagent.db"), None, &[("a", 1_000_000)]);
}

#[test]
fn an_exit_status_is_retried_where_the_configuration_asks_for_it() {
    let daemon = Daemon::start(
        "[agents.a]\ncommand = '[ \"$BGAGENT_ATTEMPT\" = 3 ]'\nretry = { max = 2, initial = 0 }\n",
    );
    let view = daemon.run_by_hand("a");
    assert_eq!((&view["status"], &view["attempt"]), (&json!("completed"), &json!(3)), "{view}");
    let kinds: Vec<&str> = view["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "background_task_retrying").count(), 2, "{kinds:?}");
}

#[test]
fn a_circuit_opens_refuses_slots_and_is_closed_by_hand() {
    let daemon = Daemon::start(
        "[agents.a]\ninterval = 1\ncommand = [\"false\"]\ncircuit_breaker = { open_after = 2, cooldown = \"1h\" }\n",
    );
    let opened = daemon.until("circuit_opened", "a");
    assert_eq!(opened["payload"]["failures"], 2);
    daemon.until_event("a refused slot", |event| event["payload"]["verdict"] == "refused_circuit");
    assert_eq!(daemon.call("get_agent_status", json!({"agent_id": "a"}))["health"], "circuit_open");
    daemon.call("start_agent", json!({"agent_id": "a"}));
    daemon.until("circuit_closed", "a");
}

#[test]
fn an_event_starts_an_agent_that_waits_for_it() {
    let daemon = Daemon::start(
        "[agents.first]\ncommand = [\"true\"]\n\
         [agents.second]\non = { event = \"background_task_completed\", agent = \"first\" }\ncommand = 'echo \"$BGAGENT_EVENT\"'\n",
    );
    daemon.run_by_hand("first");
    let done = daemon.until("background_task_completed", "second");
    let result = done["payload"]["result"].as_str().expect("a result");
    let event: Value = serde_json::from_str(result).expect("the event is JSON");
    assert_eq!((&event["type"], &event["agent_id"]), (&json!("background_task_completed"), &json!("first")));
    let first = daemon.until("background_task_completed", "first");
    assert_eq!(event, first, "it is given as the log has it, with its number");
}

#[test]
fn sixty_failures_of_one_check_are_one_incident_and_one_notification() {
    let daemon = Daemon::with("");
    let flag = daemon.path("broken");
    std::fs::write(&flag, "").expect("a file");
    daemon.configure(&format!(
        "[notify.log]\ntype = \"file\"\npath = \"told.jsonl\"\n\
         [agents.a]\ninterval = 1\ntool = \"probe\"\nnotify = {{ to = [\"log\"] }}\n\
         args = {{ checks = [{{ type = \"command\", name = \"flag\", command = \"test ! -e {} || exit 2\" }}] }}\n",
        flag.display()
    ));
    let mut daemon = daemon;
    daemon.up();
    let opened = daemon.until("incident_opened", "a");
    assert_eq!(
        (&opened["payload"]["key"], &opened["payload"]["severity"]),
        (&json!("flag"), &json!("critical"))
    );
    wait_for("it to be seen again", || {
        let incidents = daemon.call("list_incidents", json!({}));
        (incidents[0]["count"].as_u64()? >= 3).then_some(())
    });
    std::fs::remove_file(&flag).expect("it was there");
    daemon.until("incident_resolved", "a");
    let told = wait_for("both notifications", || {
        let text = std::fs::read_to_string(daemon.path("told.jsonl")).ok()?;
        (text.lines().count() >= 2 && text.ends_with('\n')).then_some(text)
    });
    let about: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["about"].clone())
        .collect();
    assert_eq!(about, ["incident_opened", "incident_resolved"]);
}

#[test]
fn what_was_missed_is_in_the_ledger_and_not_made_up_for_where_nobody_asks() {
    let mut daemon = Daemon::start("[agents.a]\ninterval = 1\ncatch_up = \"none\"\ncommand = [\"true\"]\n");
    daemon.until("background_task_completed", "a");
    daemon.kill();
    let down = std::time::Instant::now();
    wait_for("some slots to pass", || {
        (down.elapsed() > std::time::Duration::from_millis(7_500)).then_some(())
    });
    daemon.up();
    let skipped =
        daemon.until_event("missed slots", |event| event["payload"]["verdict"] == "missed_downtime");
    assert!(skipped["payload"]["count"].as_u64().is_some_and(|count| count >= 2), "{skipped}");
    let slot = skipped["payload"]["slot"].clone();
    let why = daemon.call("explain_slot", json!({"agent_id": "a", "at": slot}));
    assert_eq!(why["verdict"], "missed_downtime", "{why}");
    assert!(
        why["sentence"].as_str().is_some_and(|text| text.contains("the daemon was not running")),
        "{why}"
    );
    daemon.down();
    checker::check(&daemon.path("state/bgagent.db"), None, &[("a", 1_000_000)]);
}

#[test]
fn stop_ends_the_whole_group_and_the_run_is_cancelled() {
    let daemon = Daemon::with("");
    let pids = daemon.path("pids");
    daemon.configure(&format!(
        "[agents.a]\ncommand = '''echo $$ > {0}; sh -c 'echo $$ >> {0}; exec sleep 600' & wait'''\n",
        pids.display()
    ));
    let mut daemon = daemon;
    daemon.up();
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    let two = wait_for("both processes", || {
        let text = std::fs::read_to_string(&pids).ok()?;
        (text.lines().count() == 2 && text.ends_with('\n')).then_some(text)
    });
    daemon.call("stop_agent", json!({"agent_id": "a"}));
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "cancelled");
    for pid in two.lines() {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z"), "process {pid} lives on: {state}");
    }
    let status = daemon.call("get_agent_status", json!({"agent_id": "a"}));
    assert_eq!(status["error_count"], 0, "a cancelled run is not a failure");
}

#[test]
fn a_reload_is_all_or_nothing_and_touches_only_what_changed() {
    let daemon = Daemon::start(&format!(
        "[daemon]\nreload = \"manual\"\n{BY_HAND}[agents.b]\ninterval = 3600\ncommand = [\"true\"]\n"
    ));
    daemon.until("background_task_completed", "b");
    let next = daemon.call("get_agent_status", json!({"agent_id": "b"}))["next_run"].clone();
    daemon.configure("[daemon]\nreload = \"manual\"\n[agents.b]\ninterval = 3600\ncommand = [\"true\"\n");
    let error = daemon.client().try_call("reload_config", json!({})).expect_err("half a file is refused");
    assert_eq!(error["code"], 4);
    assert!(error["data"]["errors"][0].as_str().is_some_and(|text| text.contains("agents.toml")), "{error}");
    assert_eq!(daemon.call("list_agents", json!({})).as_array().map(Vec::len), Some(2), "the old one stays");
    daemon.until_event("config_rejected", |event| event["type"] == "config_rejected");
    let unknown = daemon.client().try_call("get_agent_status", json!({"agent_id": "not-yet-in-force"}));
    let hint = unknown.expect_err("it is not in force")["data"]["hint"].to_string();
    assert!(hint.contains("the newest configuration was not applied"), "{hint}");
    daemon.configure(
        "[daemon]\nreload = \"manual\"\n[agents.b]\ninterval = 3600\ncommand = [\"true\"]\n[agents.c]\ncommand = [\"true\"]\n",
    );
    let done = daemon.call("reload_config", json!({}));
    assert_eq!(
        (&done["added"], &done["modified"], &done["removed"]),
        (&json!(["c"]), &json!([]), &json!(["a"]))
    );
    assert_eq!(
        daemon.call("get_agent_status", json!({"agent_id": "b"}))["next_run"],
        next,
        "an unchanged agent keeps its slot"
    );
    assert_eq!(daemon.call("get_agent_status", json!({"agent_id": "b"}))["run_count"], 1);
}

#[test]
fn the_file_is_watched() {
    let daemon = Daemon::start(BY_HAND);
    daemon.configure(&format!("{BY_HAND}[agents.b]\ncommand = [\"true\"]\n"));
    daemon.until_event("the new agent", |event| {
        event["type"] == "config_applied" && event["payload"]["added"] == json!(["b"])
    });
}

#[test]
fn the_file_is_watched_through_links() {
    let mut daemon = Daemon::with("");
    let files = daemon.path("files");
    let fleet = |agent: &str| format!("{BY_HAND}[agents.{agent}]\ncommand = [\"true\"]\n");
    std::fs::create_dir(&files).expect("a folder");
    std::fs::write(files.join("first.toml"), BY_HAND).expect("a file");
    std::fs::remove_file(daemon.path("agents.toml")).expect("it is there");
    symlink("files/first.toml", daemon.path("agents.toml")).expect("a link");
    daemon.up();
    let added = |agent: &str| {
        daemon.until_event("the new agent", |event| {
            event["type"] == "config_applied" && event["payload"]["added"] == json!([agent])
        });
    };
    std::fs::write(files.join("first.toml"), fleet("b")).expect("the file behind the link");
    added("b");
    std::fs::write(files.join("second.toml"), fleet("c")).expect("another file");
    symlink("files/second.toml", daemon.path("new")).expect("a link");
    std::fs::rename(daemon.path("new"), daemon.path("agents.toml")).expect("the link is replaced");
    added("c");
    std::fs::write(files.join("second.toml"), fleet("d")).expect("the file behind the new link");
    added("d");
}

#[test]
fn a_restart_does_not_forget_an_interrupted_run() {
    let mut daemon = Daemon::start(
        "[agents.a]\ncommand = [\"sleep\", \"600\"]\n[agents.b]\ncommand = [\"sleep\", \"600\"]\nretry = { max = 1, initial = 0 }\n",
    );
    let run = |agent: &str| daemon.call("run_agent", json!({"agent_id": agent}))["run_id"].clone();
    let (a, b) = (run("a"), run("b"));
    daemon.until("background_task_started", "a");
    daemon.until("background_task_started", "b");
    daemon.kill();
    daemon.up();
    let view = daemon.finished(&a);
    assert_eq!((&view["status"], &view["error"]["kind"]), (&json!("interrupted"), &json!("interrupted")));
    // the same run, tried again: only where the configuration asks for it
    let again = daemon.until_event("the second attempt", |event| {
        event["type"] == "background_task_started"
            && event["agent_id"] == "b"
            && event["payload"]["attempt"] == 2
    });
    assert_eq!(again["run_id"], b);
}
