//! Programs that are hard to end, slow to start, or leave something behind: real ones, under the real
//! daemon.
use super::support::{Daemon, PATIENCE, SOON, wait_for};
use bgagent::domain::{AttemptEnd, AttemptOutcome, ErrorKind, RunId, RunMode, Trigger};
use bgagent::runner::{Brief, Report, Shared, StopOrder};
use bgagent::tools::Tools;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = line.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn numbers() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The warnings that the end of a run tells.
fn warnings(view: &Value) -> String {
    let events = view["events"].as_array().expect("events");
    let told = events.iter().filter_map(|event| event["payload"]["warnings"].as_array());
    told.flatten().map(|warning| format!("{warning}\n")).collect()
}

#[track_caller]
fn read(path: &Path) -> String {
    wait_for("a file", || std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n')))
}

#[track_caller]
fn is_gone(pid: u32) {
    assert!(stat(pid).is_none_or(|(state, _)| state == 'Z'), "process {pid} lives on");
}

/// One attempt of the agent `a`, without a daemon: the answer to each report that waits for one comes
/// after `slow`.
fn attempt(agent: &str, slow: Duration) -> AttemptOutcome {
    let context = bgagent::config::Context::system(Timestamp::now());
    let text = format!("[agents.a]\n{agent}");
    let fleet = bgagent::config::parse(text, Path::new("/agents.toml"), &context).expect("it is valid").fleet;
    let agent = fleet.agents[0].clone();
    let brief = Brief {
        run: RunId::make(Timestamp::now().as_millisecond(), std::process::id().into(), 1),
        time_left: agent.limits.total_timeout,
        agent,
        attempt: 1,
        trigger: Trigger::Schedule,
        slot: None,
        query: None,
        params: None,
        mode: RunMode::Normal,
        event: None,
        last_result: None,
        looks_first: false,
        gate_only: false,
        fence: 1,
        traceparent: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (reports, mut reported) = mpsc::channel(16);
        let shared = Shared {
            tools: Arc::new(Tools::new(&fleet)),
            models: Arc::new(bgagent::llm::Models::new(&fleet, None)),
            fleet: Arc::new(fleet),
            store: None,
            memory: None,
            reports,
        };
        let (_stop, orders) = watch::channel(StopOrder::None);
        tokio::spawn(bgagent::runner::attempt(brief, shared, orders));
        loop {
            match reported.recv().await.expect("the attempt ends with a report") {
                Report::Spawned { go, .. } | Report::Began { go, .. } => {
                    tokio::time::sleep(slow).await;
                    let _ = go.send(());
                }
                Report::Output { done, .. } => drop(done),
                Report::Found { .. } => {}
                Report::Journal { .. } | Report::Reserve { .. } | Report::Settle { .. } => {
                    unreachable!("no model")
                }
                Report::Ended { outcome, .. } => return *outcome,
            }
        }
    })
}

/// Kind and message of the error of an attempt that failed.
#[track_caller]
fn error(outcome: &AttemptOutcome) -> (ErrorKind, &str) {
    match &outcome.end {
        AttemptEnd::Failed(error) => (error.kind, &error.message),
        other => panic!("{other:?}"),
    }
}

/// Forks, lets the child go on, in a session of its own. Gives up after a minute, should nobody end it.
const RUNAWAY: &str = "use POSIX; $SIG{TERM} = 'IGNORE'; $SIG{HUP} = 'IGNORE'; \
     my $end = time + 60; while (time < $end) { my $child = fork; _exit(0) if $child; POSIX::setsid() if defined $child; }";

#[test]
fn who_forks_and_leaves_its_session_in_a_loop_is_ended_and_nothing_is_left_to_wait_for() {
    let daemon = Daemon::with("");
    let alive = daemon.path("alive");
    let made = std::process::Command::new("mkfifo").arg(&alive).status();
    assert!(made.is_ok_and(|made| made.success()), "a pipe");
    daemon.configure(&format!(
        "[agents.runaway]\ntimeout = 1\nenv = {{ SCRIPT = \"{RUNAWAY}\" }}\n\
         command = 'exec 9>{}; perl -e \"$SCRIPT\" & exec sleep 600'\n",
        alive.display()
    ));
    let mut daemon = daemon;
    daemon.up();
    for _ in 0..3 {
        let (tell, ended) = std::sync::mpsc::channel();
        let alive = alive.clone();
        // the kernel gives the end of the pipe when everybody who can write into it is dead
        std::thread::spawn(move || tell.send(std::fs::read(alive)));
        let view = daemon.run_by_hand("runaway");
        assert_eq!((&view["status"], warnings(&view).as_str()), (&json!("timed_out"), ""), "{view}");
        assert!(ended.recv_timeout(PATIENCE).is_ok(), "somebody lives on");
    }
    let me = daemon.child.as_ref().expect("it runs").id();
    wait_for("the orphans to be waited for", || {
        let ended = |pid: &u32| stat(*pid).is_some_and(|(state, parent)| state == 'Z' && parent == me);
        (!numbers().iter().any(ended)).then_some(())
    });
}

#[test]
fn who_hides_its_session_and_its_environment_is_found_by_its_parent() {
    let daemon = Daemon::with("");
    let pid = daemon.path("pid");
    let script = format!("env -i setsid sh -c 'echo $$ > {}; exec sleep 600' & wait", pid.display());
    daemon.configure(&format!("[agents.a]\ntimeout = 1\ncommand = \"{script}\"\n"));
    let mut daemon = daemon;
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!((&view["status"], warnings(&view).as_str()), (&json!("timed_out"), ""), "{view}");
    is_gone(read(&pid).trim().parse().expect("a number"));
}

#[test]
fn a_run_whose_pipes_are_held_open_leaves_no_descriptor() {
    let daemon = Daemon::with("");
    let pids = daemon.path("pids");
    let script = format!("setsid sh -c 'echo $$ >> {}; exec sleep 600' & echo hi", pids.display());
    daemon.configure(&format!("[agents.a]\ncommand = \"{script}\"\n"));
    let mut daemon = daemon;
    daemon.up();
    let me = daemon.child.as_ref().expect("it runs").id();
    let open = || std::fs::read_dir(format!("/proc/{me}/fd")).expect("it lives").count();
    let view = daemon.run_by_hand("a");
    assert_eq!(view["status"], "completed", "{view}");
    let before = open();
    for _ in 0..4 {
        daemon.run_by_hand("a");
    }
    // a connection or a reader of the database more or less, but not two pipes for each run
    wait_for("the pipes to be closed", || (open() <= before + 2).then_some(()));
    let left: Vec<String> = read(&pids).lines().map(str::to_owned).collect();
    let _ = std::process::Command::new("kill").arg("-9").args(left).status();
}

#[test]
fn a_secret_that_is_not_there_is_an_error_of_the_configuration() {
    let outcome =
        attempt("command = [\"true\"]\nenv = { KEY = { env = \"NOBODY_SET_THIS\" } }\n", Duration::ZERO);
    let (kind, message) = error(&outcome);
    assert_eq!(kind, ErrorKind::Config);
    assert!(message.starts_with("no value for the variable `KEY`: "), "{message}");
}

#[test]
fn a_secret_that_a_program_prints_is_not_recorded() {
    let daemon = Daemon::with("");
    let go = daemon.path("go");
    // the second time in two pieces: the first is handed on before the rest is there
    daemon.configure(&format!(
        "[agents.a]\n\
         command = [\"sh\", \"-c\", \"echo whole $KEY; echo err $KEY >&2; printf 'split plugh-'; \
         until [ -e {} ]; do sleep 0.05; done; echo xyzzy-93; echo last\"]\n\
         env = {{ KEY = {{ command = [\"printf\", \"plugh-xyzzy-93\"] }} }}\n",
        go.display()
    ));
    let mut daemon = daemon;
    daemon.up();
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    wait_for("the first pieces", || {
        daemon.call("get_run", json!({"run_id": run}))["output"].to_string().contains("split").then_some(())
    });
    std::fs::write(&go, "").unwrap();
    let shown = daemon.finished(&run);
    assert!(!shown.to_string().contains("plugh") && !shown.to_string().contains("xyzzy"), "{shown}");
    let printed = |stream: &str| -> String {
        let chunks = shown["output"]["chunks"].as_array().expect("pieces").iter();
        chunks.filter(|chunk| chunk["stream"] == stream).filter_map(|chunk| chunk["text"].as_str()).collect()
    };
    assert_eq!(printed("stdout"), "whole [redacted]\nsplit [redacted]\nlast\n");
    assert_eq!(printed("stderr"), "err [redacted]\n");
}

#[test]
fn stop_and_timeout_reach_a_run_that_waits_for_a_secret() {
    let outcome = attempt(
        "command = [\"true\"]\ntimeout = 1\nenv = { KEY = { command = [\"sleep\", \"600\"] } }\n",
        Duration::ZERO,
    );
    assert_eq!(error(&outcome).0, ErrorKind::Timeout);

    let daemon = Daemon::with("");
    let flag = daemon.path("asked");
    daemon.configure(&format!(
        "[agents.a]\ncommand = [\"true\"]\n\
         env = {{ KEY = {{ command = [\"sh\", \"-c\", \"echo >> {}; exec sleep 600\"] }} }}\n",
        flag.display()
    ));
    let mut daemon = daemon;
    daemon.up();
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    read(&flag);
    let asked = Instant::now();
    daemon.call("stop_agent", json!({"agent_id": "a"}));
    assert_eq!(daemon.finished(&run)["status"], "cancelled");
    assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
}

#[test]
fn what_a_gate_or_the_store_takes_is_not_taken_from_the_body() {
    let outcome = attempt(
        "command = [\"sleep\", \"1.5\"]\ntimeout = 2\ngate = { command = [\"sleep\", \"600\"] }\n",
        Duration::ZERO,
    );
    assert_eq!(outcome.end, AttemptEnd::Completed);
    let warnings = outcome.warnings.join("\n");
    assert!(warnings.contains("the gate is broken, so the run went ahead: longer than 1s"), "{warnings}");

    let slow = Duration::from_millis(1200);
    for body in ["command = [\"true\"]", "tool = \"system_metrics\""] {
        let outcome = attempt(&format!("{body}\ntimeout = 1\n"), slow);
        assert_eq!(outcome.end, AttemptEnd::Completed, "{body}");
    }
}

#[test]
fn a_timeout_names_the_bound_that_won() {
    #[track_caller]
    fn check(agent: &str, message: &str) {
        let outcome = attempt(agent, Duration::ZERO);
        let (kind, found) = error(&outcome);
        assert_eq!(kind, ErrorKind::Timeout);
        assert!(found.contains(message), "{found}");
    }
    let sleeper = "command = [\"sleep\", \"600\"]\n";
    check(&format!("{sleeper}timeout = 1\ntotal_timeout = 60"), "longer than its `timeout` of 1s");
    check(&format!("{sleeper}timeout = 60\ntotal_timeout = 1"), "longer than their `total_timeout` of 1s");
    let tool = "tool = \"system_metrics\"\n";
    check(
        &format!("{tool}tool_call_timeout = \"1ms\""),
        "did not answer within its `tool_call_timeout` of 1ms",
    );
    check(&format!("{tool}timeout = \"1ms\""), "tool `system_metrics`: longer than its `timeout` of 1ms");
    check(&format!("{tool}total_timeout = \"1ms\""), "longer than their `total_timeout` of 1ms");
}

#[test]
fn a_gate_is_asked_in_each_attempt() {
    let daemon = Daemon::with("");
    let asked = daemon.path("asked");
    daemon.configure(&format!(
        "[agents.a]\ninterval = 3600\nretry = {{ max = 1, initial = 0 }}\n\
         gate = {{ command = \"echo asked >> {}\" }}\ncommand = '[ \"$BGAGENT_ATTEMPT\" = 2 ]'\n",
        asked.display()
    ));
    let mut daemon = daemon;
    daemon.up();
    daemon.until("background_task_completed", "a");
    assert_eq!(read(&asked), "asked\nasked\n");
}

#[test]
fn what_is_expected_of_a_gate_decides() {
    #[track_caller]
    fn check(gate: &str, opens: bool) {
        let outcome = attempt(&format!("command = [\"true\"]\ngate = {gate}\n"), Duration::ZERO);
        let end = if opens { AttemptEnd::Completed } else { AttemptEnd::GateClosed };
        assert_eq!((outcome.end, outcome.warnings), (end, Vec::new()), "{gate}");
    }
    check("{ command = \"echo 5\", expect = { stdout = { gt = 3 } } }", true);
    check("{ command = \"echo 2\", expect = { stdout = { gt = 3 } } }", false);
    check("{ command = \"exit 7\", expect = { exit_code = 7 } }", true);
    check("{ command = \"exit 7\", expect = { exit = 7 } }", true);
    check("{ command = \"exit 7\", expect = { exit = 8 } }", false);
    let probe =
        "tool = \"probe\", args = { checks = [{ type = \"command\", name = \"c\", command = \"exit 1\" }] }";
    check(&format!("{{ {probe}, expect = {{ status = \"warn\" }} }}"), true);
    check(&format!("{{ {probe}, expect = {{ status = \"crit\" }} }}"), false);
    check(&format!("{{ {probe}, expect = {{ checks = 1 }} }}"), true);
    check(&format!("{{ {probe}, expect = {{ checks = {{ gt = 1 }} }} }}"), false);
    let outcome = attempt(
        "command = [\"true\"]\ngate = { command = [\"sleep\", \"600\"], expect = { exit = 3 } }\ntimeout = 1\n",
        Duration::ZERO,
    );
    assert_eq!(outcome.end, AttemptEnd::Completed, "a gate that gives nothing is broken, not closed");
}

#[test]
fn what_a_probe_finds_around_the_body_counts() {
    let probe = |name: &str| {
        format!(
            "{{ tool = \"probe\", args = {{ checks = [{{ type = \"command\", name = \"{name}\", command = \"exit 2\" }}] }} }}"
        )
    };
    let outcome = attempt(
        &format!("command = [\"true\"]\ngate = {}\nsuccess_when = [{}]\n", probe("before"), probe("after")),
        Duration::ZERO,
    );
    let found: Vec<&str> = outcome.findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!((outcome.end, found), (AttemptEnd::Completed, vec!["before", "after"]));
}

#[test]
fn the_command_of_a_probe_does_not_survive_a_crash() {
    let daemon = Daemon::with("");
    let pid = daemon.path("pid");
    daemon.configure(&format!(
        "[agents.a]\ntool = \"probe\"\nargs = {{ checks = [{{ type = \"command\", name = \"c\", timeout = 20, \
         command = \"echo $$ > {}; exec sleep 600\" }}] }}\n",
        pid.display()
    ));
    let mut daemon = daemon;
    daemon.up();
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    let pid = read(&pid).trim().parse().expect("a number");
    daemon.kill();
    daemon.up();
    daemon.finished(&run);
    is_gone(pid);
}

/// A daemon whose binary lies alone, or beside what this makes there, still runs programs; does it hold
/// the small gate open?
#[cfg(target_os = "linux")]
fn runs_with(beside: impl FnOnce(&std::path::Path)) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("bgagent");
    std::fs::copy(env!("CARGO_BIN_EXE_bgagent"), &own).expect("a copy");
    beside(&folder.path().join("bgagent-gate"));
    let mut daemon = Daemon::with("[agents.a]\ncommand = [\"echo\", \"hello\"]\n");
    let mut command = std::process::Command::new(own);
    command.args(daemon.daemon_command().get_args()).stderr(std::process::Stdio::null());
    daemon.child = Some(command.spawn().expect("it starts"));
    daemon.ready();
    let view = daemon.run_by_hand("a");
    assert_eq!((&view["status"], &view["result"]), (&json!("completed"), &json!("hello")), "{view:#}");
    let pid = daemon.call("get_daemon_status", json!({}))["pid"].as_u64().expect("a number");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc");
    open.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|at| at.ends_with("bgagent-gate")))
}

#[cfg(target_os = "linux")]
#[test]
fn the_small_gate_is_used_where_it_is_and_fits() {
    use std::os::unix::fs::PermissionsExt;
    let gate = env!("CARGO_BIN_EXE_bgagent-gate");
    assert!(runs_with(|at| assert!(std::fs::copy(gate, at).expect("a copy") > 0)));
    assert!(!runs_with(|_| ()));
    let write = |at: &std::path::Path, text: &str| {
        std::fs::write(at, text).expect("a file");
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    };
    // of another version, and something else altogether: it is asked, and left alone
    runs_with(|at| write(at, "#!/bin/sh\necho bgagent-gate 0.0.1\n"));
    runs_with(|at| write(at, "no program"));
}
