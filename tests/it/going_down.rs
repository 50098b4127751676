//! What happens while the daemon goes down, or while nothing can be written, is not lost without a word.
use super::support::{Daemon, signal, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

/// All events of a type, as they are on record.
fn told(daemon: &Daemon, kind: &str) -> Vec<Value> {
    let database = daemon.database();
    let mut rows =
        database.prepare("SELECT agent, payload FROM events WHERE type = ?1 ORDER BY seq").expect("a table");
    let rows = rows.query_map([kind], |row| {
        let payload: String = row.get(1)?;
        let mut payload: Value = serde_json::from_str(&payload).expect("JSON");
        payload["of"] = json!(row.get::<_, Option<String>>(0)?);
        Ok(payload)
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}

/// Lets go of a file that runs wait for, so that they end while the daemon goes down.
fn end_while_going_down(daemon: &mut Daemon) {
    daemon.call("shutdown", json!({}));
    daemon_is_stopping(daemon);
    std::fs::write(daemon.path("go"), "").expect("a file");
    assert_eq!(daemon.wait_end(), Some(0));
}

fn daemon_is_stopping(daemon: &Daemon) {
    wait_for("the shutdown", || {
        let stopping = "SELECT count(*) FROM events WHERE type = 'daemon_stopping'";
        let count: i64 = daemon.database().query_row(stopping, [], |row| row.get(0)).expect("a count");
        (count > 0).then_some(())
    });
}

const WAITS: &str = "command = \"until [ -e go ]; do sleep 0.02; done; echo saved\"\n";

#[test]
fn what_ends_while_the_daemon_goes_down_starts_who_waits_for_it_in_the_next_life() {
    let mut daemon = Daemon::start(&format!(
        "[agents.one]\n{WAITS}[agents.two]\n{WAITS}\
         [agents.after]\non = \"background_task_completed\"\ncommand = \"true\"\n\
         [agents.paused]\non = {{ event = \"background_task_completed\", agent = \"one\" }}\ncommand = \"true\"\n\
         [agents.stopped]\non = \"background_task_completed\"\ncommand = \"true\"\nenabled = false\n"
    ));
    daemon.call("pause_agent", json!({"agent_id": "paused", "reason": "holidays"}));
    for agent in ["one", "two"] {
        daemon.call("run_agent", json!({"agent_id": agent}));
        daemon.until("background_task_started", agent);
    }
    end_while_going_down(&mut daemon);
    // one outcome each, in the transaction of the event: two claims and a word, on record before the next life
    let claims: i64 = daemon
        .database()
        .query_row("SELECT count(*) FROM runs WHERE agent = 'after' AND status = 'queued'", [], |row| {
            row.get(0)
        })
        .expect("a count");
    let passed = told(&daemon, "background_slot_skipped");
    assert_eq!((claims, passed.len()), (2, 1), "{passed:?}");
    let passed = &passed[0];
    assert_eq!((&passed["of"], &passed["verdict"]), (&json!("paused"), &json!("skipped_paused")));
    assert_eq!(passed["cause"], "event background_task_completed: paused: holidays");
    assert_eq!(passed["event"]["agent_id"], "one");
    let seq = passed["event"]["seq"].as_i64().expect("the number of the event");
    let event: String = daemon
        .database()
        .query_row("SELECT type || ' ' || agent FROM events WHERE seq = ?1", [seq], |row| row.get(0))
        .expect("the event");
    assert_eq!(event, "background_task_completed one");
    daemon.up();
    wait_for("both runs", || {
        let runs = daemon.call("list_runs", json!({"agent_id": "after"}));
        let done = runs.as_array().expect("a list").iter().filter(|run| run["status"] == "completed").count();
        (done >= 2).then_some(())
    });
    assert!(daemon.ok(&["why", "after"]).contains("background_task_completed of "));
    let why = daemon.ok(&["why", "paused"]);
    assert!(why.contains(&format!("background_task_completed of one (seq {seq})")), "{why}");
    assert!(why.contains("did not start a run: paused: holidays."), "{why}");
    assert!(daemon.ok(&["why", "stopped"]).contains("nothing is on record"));
}

#[test]
fn a_message_that_arises_while_the_daemon_goes_down_is_delivered() {
    let mut daemon = Daemon::start(
        "[notify.ops]\ntype = \"file\"\npath = \"messages\"\n\
         [agents.a]\ncommand = \"until [ -e go ]; do sleep 0.02; done; exit 1\"\nnotify = { to = [\"ops\"], repeat = 1 }\n",
    );
    for life in 1..=3 {
        daemon.call("run_agent", json!({"agent_id": "a"}));
        wait_for("the run", || {
            let runs = daemon.call("list_runs", json!({"agent_id": "a", "status": "running"}));
            (!runs.as_array().expect("a list").is_empty()).then_some(())
        });
        daemon.call("shutdown", json!({}));
        std::fs::write(daemon.path("go"), "").expect("a file");
        assert_eq!(daemon.wait_end(), Some(0), "life {life}");
        std::fs::remove_file(daemon.path("go")).expect("a file");
        daemon.up();
    }
    wait_for("an empty outbox", || {
        let left: i64 = daemon
            .database()
            .query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))
            .expect("a count");
        (left == 0).then_some(())
    });
    assert_eq!(told(&daemon, "notification_failed"), Vec::<Value>::new());
    assert!(!told(&daemon, "notification_sent").is_empty());
}

#[test]
fn output_waits_for_a_database_that_can_not_be_written() {
    let daemon = Daemon::start(
        "[agents.a]\ncommand = \"echo first; until [ -e go ]; do sleep 0.02; done; echo second; until [ -e on ]; do sleep 0.02; done; echo third\"\n",
    );
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    daemon.until("background_task_output", "a");
    let lock = daemon.lock_database();
    std::fs::write(daemon.path("go"), "").expect("a file");
    // a single try has failed; records on a server are not locked
    if daemon.records.is_none() {
        wait_for("output that waits", || daemon.log().contains("a piece of output of run").then_some(()));
    }
    drop(lock);
    std::fs::write(daemon.path("on"), "").expect("a file");
    let view = daemon.finished(&run);
    let text: String = view["output"]["chunks"]
        .as_array()
        .expect("chunks")
        .iter()
        .filter_map(|chunk| chunk["text"].as_str())
        .collect();
    assert_eq!((text.as_str(), &view["output"]["dropped_bytes"]), ("first\nsecond\nthird\n", &json!(0)));
}

#[test]
fn a_stop_that_was_asked_for_is_no_failure() {
    let mut daemon = Daemon::start(
        "[daemon]\nshutdown_grace = 0\n[agents.a]\ncommand = [\"sleep\", \"600\"]\ncircuit_breaker = { open_after = 1 }\n\
         [agents.b]\ncommand = [\"sleep\", \"600\"]\n[agents.c]\ncommand = \"echo $$ > c; exec sleep 600\"\n[agents.again]\ncommand = [\"sleep\", \"600\"]\nretry = { max = 1, initial = 0 }\n",
    );
    let start = |agent: &str| daemon.call("run_agent", json!({"agent_id": agent}))["run_id"].clone();
    let runs = ["a", "b", "again", "c"].map(start);
    for agent in ["a", "b", "again", "c"] {
        daemon.until("background_task_started", agent);
    }
    daemon.call("cancel_run", json!({"run_id": runs[1]}));
    daemon.until("background_task_cancelled", "b");
    // as a service manager does, which ends all that belongs to a service
    let program =
        wait_for("the program", || std::fs::read_to_string(daemon.path("c")).ok()?.trim().parse().ok());
    signal(program, Signal::TERM);
    signal(daemon.child.as_ref().expect("it runs").id(), Signal::TERM);
    assert_eq!(daemon.wait_end(), Some(0));
    assert_eq!(told(&daemon, "background_task_error"), Vec::<Value>::new());
    assert_eq!(told(&daemon, "incident_opened"), Vec::<Value>::new());
    assert_eq!(told(&daemon, "circuit_opened"), Vec::<Value>::new());
    let cancelled = told(&daemon, "background_task_cancelled");
    let of = |agent: &str| {
        cancelled.iter().find(|event| event["of"] == agent).unwrap_or_else(|| panic!("{cancelled:?}"))
    };
    assert_eq!(of("b")["error"], "cancelled by hand");
    assert!(
        of("a")["error"].as_str().expect("a text").contains("the daemon shut down before the run finished"),
        "{cancelled:?}"
    );
    // which of the two signals is seen first is up to the machine
    let of_c = of("c")["error"].as_str().expect("a text");
    assert!(
        of_c.contains("signal 15") || of_c.contains("the daemon shut down before the run finished"),
        "{cancelled:?}"
    );
    assert_eq!((&of("a")["status"], &of("again")["will_retry"]), (&json!("cancelled"), &json!(true)));
    daemon.up();
    // with `retry`, the run goes on
    daemon.until_event("the second attempt", |event| {
        event["agent_id"] == "again" && event["payload"]["attempt"] == 2
    });
    assert_eq!(daemon.finished(&runs[0])["status"], "cancelled");
    assert_eq!(daemon.run(&["health"]).status.code(), Some(0));
    let status = daemon.call("get_agent_status", json!({"agent_id": "a"}));
    assert_eq!((&status["error_count"], &status["health"]), (&json!(0), &json!("ok")), "{status:#}");
}

/// Do all threads of a process stand still (`State` in proc_pid_status(5))?
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
    })
}

#[test]
fn a_socket_that_was_removed_or_replaced_is_back_and_nobody_is_told_to_start_a_daemon() {
    let mut daemon = Daemon::start("[agents.a]\ncommand = \"true\"\n");
    let pid = daemon.child.as_ref().expect("it runs").id();
    let socket = daemon.path("socket");
    signal(pid, Signal::STOP);
    // all of its threads, or one of them may make the socket anew at once
    wait_for("the daemon to stand still", || is_stopped(pid).then_some(()));
    std::fs::remove_file(&socket).expect("a socket");
    for args in [&["list"][..], &["shutdown"], &["health"]] {
        let output = daemon.run(args);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            text.contains(&format!("process {pid}")) && text.contains("its socket was removed"),
            "{args:?}: {text}"
        );
        assert!(
            !text.contains("`bgagent daemon` starts") && !text.contains("not running"),
            "{args:?}: {text}"
        );
    }
    signal(pid, Signal::CONT);
    let answers = |what: &str| wait_for(what, || daemon.run(&["list"]).status.success().then_some(()));
    answers("the socket");
    std::fs::remove_file(&socket).expect("a socket");
    std::fs::write(&socket, "").expect("a file");
    std::fs::remove_file(daemon.path("state/daemon.json")).expect("a file");
    wait_for("daemon.json", || daemon.path("state/daemon.json").exists().then_some(()));
    answers("the socket in the place of a file");
    assert_eq!(daemon.down(), Some(0));
    assert!(!socket.exists());
}

/// The machine's time zone, as a file that `TZ` names.
#[test]
fn another_time_zone_of_the_machine_counts_from_a_reload_on() {
    let mut daemon = Daemon::with("[agents.a]\ncron = \"0 9 * * *\"\ncommand = \"true\"\n");
    let file = daemon.path("localtime");
    let set = |zone: &str| {
        let bytes = std::fs::read(format!("/usr/share/zoneinfo/{zone}")).expect("time zones are installed");
        std::fs::write(&file, bytes).expect("a file");
    };
    set("Europe/Berlin");
    daemon.child =
        Some(daemon.daemon_command().env("TZ", &file).spawn().expect("the program can be started"));
    daemon.ready();
    let hour = || {
        let next = daemon.call("next_slots", json!({"for_secs": 172_800, "limit": 1}));
        let slot: jiff::Timestamp = next[0]["slot"].as_str().expect("a slot").parse().expect("an instant");
        slot.to_zoned(jiff::tz::TimeZone::UTC).hour()
    };
    let berlin = hour();
    assert!([7, 8].contains(&berlin), "{berlin}");
    set("Asia/Tokyo");
    let reloaded = daemon.call("reload_config", json!({}));
    // unless it was seen before
    let modified = [&reloaded["modified"], &reloaded["last"]["payload"]["changed"]];
    assert!(modified.contains(&&json!(["a"])), "{reloaded}");
    assert_eq!(hour(), 0);
}

#[test]
fn shutdown_returns_when_the_process_is_gone() {
    let mut daemon = Daemon::start("[agents.a]\ncommand = \"true\"\n");
    let said = daemon.ok(&["shutdown"]);
    assert!(said.contains("daemon stopped"), "{said}");
    let child = daemon.child.as_mut().expect("it ran");
    assert!(child.try_wait().expect("a child").is_some(), "it was said to have stopped");
}
