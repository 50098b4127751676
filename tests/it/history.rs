//! What screens ask for: pages of slots and runs, usage by the hour, what a call that waits is like; and what the commands
//! make of it.
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};

const FLEET: &str = "
[agents.good]
interval = \"1s\"
command = [\"echo\", \"fine\"]

[agents.bad]
interval = \"1s\"
command = [\"sh\", \"-c\", \"echo no such table: orders >&2; exit 3\"]
circuit_breaker = { open_after = 2, cooldown = \"1h\" }
";

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

/// A fleet in which `good` has run three times, and the circuit of `bad` is open.
fn busy() -> Daemon {
    let daemon = Daemon::start(FLEET);
    wait_for("three runs and an open circuit", || {
        let agents = daemon.call("list_agents", json!({}));
        let of = |name: &str| list(&agents).iter().find(|agent| agent["agent_id"] == name).cloned();
        let (good, bad) = (of("good")?, of("bad")?);
        (good["success_count"].as_u64()? >= 3 && bad["health"] == "circuit_open").then_some(())
    });
    daemon
}

#[test]
fn slots_are_listed_by_agent_and_time_in_pages() {
    let daemon = busy();
    daemon.call("pause_agent", json!({"all": true}));
    let all = daemon.call("list_slots", json!({}));
    let ran: Vec<&Value> = list(&all).iter().filter(|slot| slot["agent_id"] == "good").collect();
    assert!(ran.len() >= 3, "{all}");
    let ended = ran.iter().filter(|slot| slot["status"] == "completed").collect::<Vec<_>>();
    assert!(ended.len() >= 3 && ended.iter().all(|slot| slot["verdict"] == "ran"), "{all}");
    assert!(ended[0]["duration_ms"].is_i64() && ended[0]["run_id"].is_string(), "{all}");
    wait_for("a slot that the circuit refused", || {
        let slots = daemon.call("list_slots", json!({"agents": ["b*"]}));
        list(&slots)
            .iter()
            .any(|slot| slot["verdict"] == "refused_circuit" || slot["verdict"] == "skipped_paused")
            .then_some(())
    });
    // page by page it is the same
    let to = daemon.call("ping", json!({}))["now"].clone();
    let whole = daemon.call("list_slots", json!({"to": to}));
    let (mut paged, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = daemon.call("list_slots", json!({"to": to, "limit": 2, "after": after}));
        let Some(last) = list(&page).last() else { break };
        after = json!({"agent_id": last["agent_id"], "first": last["first"]});
        paged.extend(list(&page).clone());
    }
    let keys = |rows: &[Value]| {
        rows.iter().map(|row| (row["agent_id"].clone(), row["first"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(keys(&paged), keys(list(&whole)));
    let newest =
        daemon.call("list_slots", json!({"agents": ["good"], "to": to, "newest_first": true, "limit": 2}));
    let backwards: Vec<Value> =
        list(&whole).iter().filter(|slot| slot["agent_id"] == "good").rev().take(2).cloned().collect();
    assert_eq!(keys(list(&newest)), keys(&backwards));
    let error = daemon
        .client()
        .try_call("list_slots", json!({"newest_first": true, "merge_secs": 60}))
        .expect_err("a page is either");
    assert!(error["message"].as_str().unwrap_or_default().contains("newest_first"), "{error}");
    // merged, each agent is whole, and no slot is lost between two pages
    let slots = |rows: &[Value]| rows.iter().map(|row| row["count"].as_u64().unwrap_or(1)).sum::<u64>();
    let (mut merged, mut after) = (Vec::new(), Value::Null);
    loop {
        let params = json!({"to": to, "limit": 1, "merge_secs": 3600, "after": after});
        let page = daemon.call("list_slots", params);
        let Some(last) = list(&page).last() else { break };
        after = json!({"agent_id": last["agent_id"], "first": last["first"]});
        merged.extend(list(&page).clone());
    }
    assert!(merged.len() < list(&whole).len(), "{merged:?}");
    assert_eq!(slots(&merged), slots(list(&whole)));
    let ahead =
        daemon.call("list_slots", json!({"from": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z"}));
    assert_eq!(ahead, json!([]));
    let error =
        daemon.client().try_call("list_slots", json!({"agents": ["goood"]})).expect_err("no such agent");
    assert!(error["data"]["hint"].as_str().unwrap_or_default().contains("good"), "{error}");
    let error = daemon
        .client()
        .try_call("list_slots", json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}));
    assert!(error.expect_err("backwards")["message"].as_str().unwrap_or_default().contains("is after"));
}

#[test]
fn runs_are_listed_in_pages_by_agent_and_status() {
    let daemon = busy();
    daemon.call("pause_agent", json!({"all": true}));
    let ids = |rows: &Value| list(rows).iter().map(|row| row["run_id"].clone()).collect::<Vec<_>>();
    let failed = daemon.call("list_runs", json!({"statuses": ["failed", "timed_out"], "limit": 100}));
    assert!(list(&failed).iter().all(|run| run["agent_id"] == "bad") && list(&failed).len() == 2, "{failed}");
    let all = ids(&daemon.call("list_runs", json!({"agents": ["g*", "bad"], "limit": 1000})));
    let first = daemon.call("list_runs", json!({"limit": 3}));
    let second = daemon.call("list_runs", json!({"limit": 1000, "before": ids(&first)[2]}));
    assert_eq!([ids(&first), ids(&second)].concat(), all);
    let (oldest, newest) = (list(&second).last().unwrap().clone(), list(&first)[0].clone());
    let since = daemon.call("list_runs", json!({"since": newest["queued_at"], "limit": 1000}));
    assert!(ids(&since).contains(&newest["run_id"]) && !ids(&since).contains(&oldest["run_id"]), "{since}");
    let until = daemon.call("list_runs", json!({"until": oldest["queued_at"], "limit": 1000}));
    assert!(ids(&until).contains(&oldest["run_id"]) && !ids(&until).contains(&newest["run_id"]), "{until}");
    assert_eq!(daemon.call("list_runs", json!({"agents": ["nobody-*"]})), json!([]));
    let strips = daemon.call("list_agents", json!({"agents": ["bad"], "recent": 5}));
    let recent = list(&strips[0]["recent"]);
    assert_eq!(recent.iter().map(|run| &run["status"]).collect::<Vec<_>>(), ["failed", "failed"]);
    assert!(strips[0]["circuit_until"].is_string(), "{strips}");
    let brief = daemon.call("get_run", json!({"run_id": newest["run_id"], "brief": true}));
    assert_eq!((&brief["events"], &brief["output"]["chunks"]), (&json!([]), &json!([])));
    let hours = daemon.call("get_usage", json!({"by": ["hour", "agent"]}));
    let of_bad: u64 =
        list(&hours).iter().filter(|row| row["of"] == "bad").filter_map(|row| row["runs"].as_u64()).sum();
    assert_eq!(of_bad, 2, "{hours}");
    assert!(list(&hours)[0]["key"].as_str().unwrap_or_default().ends_with(":00"), "{hours}");
    let error = daemon
        .client()
        .try_call("get_usage", json!({"by": ["agent", "day"]}))
        .expect_err("the wrong way round");
    assert!(
        error["message"].as_str().unwrap_or_default().contains("use agent, model, day or hour"),
        "{error}"
    );
}

#[test]
fn the_list_begins_with_what_needs_a_person_and_says_why() {
    let daemon = busy();
    let text = daemon.ok(&["list"]);
    let first = text.lines().nth(1).unwrap_or_default();
    assert!(
        first.contains("bad") && first.contains("circuit open 2×") && first.contains("no such table: orders"),
        "{text}"
    );
    assert!(
        text.lines().last().is_some_and(|line| line.contains("good") && line.contains("every 1s")),
        "{text}"
    );
    let by_name = daemon.ok(&["list", "--by", "name"]);
    assert!(by_name.starts_with("NAME") && by_name.contains("SCHEDULE"), "{by_name}");
    // an agent's name shows its last run, and that is the one that failed
    let shown = daemon.ok(&["show", "bad"]);
    let error = shown.lines().nth(1).unwrap_or_default();
    assert!(error.contains("exit status 3: no such table: orders"), "{shown}");
    super::support::code(&daemon, &["show", "nobody"], 4, "no run `nobody`");
}

#[test]
fn a_proof_that_does_not_hold_says_what_it_printed() {
    let daemon = Daemon::start(
        "[agents.a]\ncommand = [\"true\"]\n\
         success_when = [{ command = [\"sh\", \"-c\", \"echo 0 rows for today; exit 1\"] }]\n",
    );
    let run = daemon.run_by_hand("a");
    let message = run["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("exit status 1: 0 rows for today"), "{run}");
}

#[test]
fn a_start_says_since_when_nothing_ran_and_whether_the_end_was_in_order() {
    let mut daemon = Daemon::start("[agents.a]\ncommand = [\"true\"]\n");
    let started = |daemon: &Daemon| {
        let event = daemon.until_event("a start", |event| event["type"] == "daemon_started");
        event["payload"].clone()
    };
    let first = started(&daemon);
    assert_eq!((&first["down_since"], &first["clean"]), (&Value::Null, &json!(true)), "{first}");
    daemon.run_by_hand("a");
    daemon.kill();
    daemon.up();
    let starts = |daemon: &Daemon| {
        let text = daemon.ok(&["--json", "tail", "--no-follow", "--from", "1", "--type", "daemon_started"]);
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["payload"].clone())
            .collect::<Vec<_>>()
    };
    let after_kill = starts(&daemon)[1].clone();
    assert!(after_kill["down_since"].is_string() && after_kill["clean"] == false, "{after_kill}");
    daemon.down();
    daemon.up();
    assert_eq!(starts(&daemon)[2]["clean"], true);
}

#[test]
fn what_only_reads_is_answered_from_the_records_while_no_daemon_runs() {
    let mut daemon = busy();
    let run =
        daemon.call("list_runs", json!({"agent_id": "good", "statuses": ["completed"]}))[0]["run_id"].clone();
    let run = run.as_str().expect("an id").to_owned();
    daemon.kill();
    let reads = |daemon: &Daemon, args: &[&str], shown: &str, killed: bool| {
        let out = daemon.run(args);
        let (text, note) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(3), "{args:?}: {text}{note}");
        assert!(text.contains(shown), "{args:?} lacks `{shown}`: {text}{note}");
        assert!(note.contains("the daemon has not been running since about"), "{args:?}: {note}");
        assert_eq!(note.contains("did not shut down cleanly"), killed, "{args:?}: {note}");
    };
    reads(&daemon, &["list"], "circuit open 2×", true);
    reads(&daemon, &["--json", "list"], "\"health\":\"circuit_open\"", true);
    reads(&daemon, &["show", &run], "fine", true);
    reads(&daemon, &["show", "bad"], "no such table: orders", true);
    reads(&daemon, &["logs", &run], "fine", true);
    reads(&daemon, &["runs", "good"], &run[28..], true);
    reads(&daemon, &["why", "bad"], "circuit", true);
    reads(&daemon, &["status", "bad"], "circuit open", true);
    reads(&daemon, &["incidents"], "agent:bad", true);
    reads(&daemon, &["usage"], "good", true);
    reads(&daemon, &["next"], "good", true);
    // what wants something done says what it always said
    let out = daemon.run(&["pause", "good"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&out.stderr).contains("can't reach the daemon"));
    // and nothing was changed by looking
    daemon.up();
    assert_eq!(daemon.call("get_run", json!({"run_id": run}))["status"], "completed");
    daemon.down();
    reads(&daemon, &["list"], "circuit open 2×", false);
}

/// Whose configuration is somewhere else, and is not named when its records are read.
#[test]
fn records_are_told_by_the_configuration_that_they_are_of() {
    let mut daemon = Daemon::start("[agents.ours]\ncommand = [\"true\"]\n");
    daemon.run_by_hand("ours");
    daemon.down();
    // a home with a fleet of its own in the usual place
    let home = daemon.path("home");
    std::fs::create_dir_all(home.join(".config/bgagent")).expect("a folder");
    std::fs::write(home.join(".config/bgagent/agents.toml"), "[agents.theirs]\ncommand = [\"true\"]\n")
        .expect("a file");
    let asks = |args: &[&str]| {
        let mut command = super::support::bgagent();
        command.env("HOME", &home).env_remove("XDG_CONFIG_HOME").arg("--state-dir").arg(daemon.path("state"));
        let output = command.args(args).output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    };
    for args in [["list"].as_slice(), &["runs"], &["why", "ours"], &["health"]] {
        let said = asks(args);
        assert!(
            !said.contains("theirs") && !said.contains("removed from the configuration"),
            "{args:?}: {said}"
        );
    }
    assert!(asks(&["list"]).contains("ours"), "{}", asks(&["list"]));
    // what is named is meant
    let named = home.join(".config/bgagent/agents.toml").display().to_string();
    assert!(asks(&["--config", &named, "list"]).contains("theirs"));
    // and one that is gone is not replaced in silence
    std::fs::rename(daemon.path("agents.toml"), daemon.path("elsewhere.toml")).expect("it is there");
    let said = asks(&["list"]);
    assert!(said.contains("are of a configuration that is gone") && said.contains("--config FILE"), "{said}");
}

#[test]
fn what_a_killed_daemon_has_left_lies_in_the_past() {
    let mut daemon = Daemon::start("[agents.a]\ncommand = [\"sleep\", \"600\"]\n");
    daemon.call("run_agent", json!({"agent_id": "a"}));
    daemon.until("background_task_started", "a");
    daemon.kill();
    for args in [["list"].as_slice(), &["status", "a"], &["runs"]] {
        let output = daemon.run(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("(in ") && !text.contains(" in 1 s"), "{args:?}: {text}");
        assert!(!text.contains("running"), "{args:?}: no daemon, no run: {text}");
    }
    daemon.up();
    let runs = daemon.ok(&["runs"]);
    assert!(runs.contains("at most "), "nobody saw its end: {runs}");
}

#[test]
fn what_was_cancelled_says_nothing_of_its_agent() {
    let daemon = Daemon::start(
        "[agents.bad]\ncommand = [\"sh\", \"-c\", \"test -e hold && sleep 600; echo no such table >&2; exit 3\"]\n\
         [agents.new]\ncommand = [\"sleep\", \"600\"]\n",
    );
    daemon.run_by_hand("bad");
    std::fs::write(daemon.path("hold"), "").expect("a file");
    for name in ["bad", "new"] {
        let run = daemon.call("run_agent", json!({"agent_id": name}))["run_id"].clone();
        daemon.until_event("a start", |event| {
            event["type"] == "background_task_started" && event["run_id"] == run
        });
        daemon.call("cancel_run", json!({"run_id": run}));
        assert_eq!(daemon.finished(&run)["status"], "cancelled");
    }
    let list = daemon.ok(&["list"]);
    let of = |name: &str| list.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(of("bad").contains("failing") && of("bad").contains("no such table"), "{list}");
    assert!(of("new").contains("not yet") && !of("new").contains("ok"), "{list}");
    assert!(!list.contains("by hand"), "{list}");
    let runs = daemon.ok(&["runs", "new"]);
    assert!(runs.contains("cancelled by hand") && !runs.contains("interrupted"), "{runs}");
}
