//! Programs that are hard to end, slow to start, or leave something behind: real ones, under the real
//! daemon.
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};

/// The end of a run, as `get_run` tells it.
#[track_caller]
fn finished(daemon: &Daemon, run: &Value) -> Value {
    wait_for("the end of a run", || {
        let view = daemon.call("get_run", json!({"run_id": run}));
        view["finished_at"].is_string().then_some(view)
    })
}

#[track_caller]
fn run_by_hand(daemon: &Daemon, agent: &str) -> Value {
    let started = daemon.call("run_agent", json!({"agent_id": agent}));
    finished(daemon, &started["run_id"])
}

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

/// Who carries a text in the environment. One that forks and exits in a loop may be missed by a look.
fn carriers(text: &str) -> Vec<u32> {
    let carries = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(text.len()).any(|part| part == text.as_bytes())
    };
    numbers().into_iter().filter(carries).collect()
}

fn warnings(view: &Value) -> String {
    let events = view["events"].as_array().expect("events");
    events
        .iter()
        .filter(|event| event["type"] == "warning")
        .map(|event| event["payload"].to_string())
        .collect()
}

/// Forks, lets the child go on, in a session of its own.
const RUNAWAY: &str = "use POSIX; $SIG{TERM} = 'IGNORE'; $SIG{HUP} = 'IGNORE'; \
     my $end = time + 60; while (time < $end) { my $child = fork; _exit(0) if $child; POSIX::setsid() if defined $child; }";

#[test]
fn who_forks_and_leaves_its_session_in_a_loop_is_ended_and_nothing_is_left_to_wait_for() {
    let daemon = Daemon::start(&format!(
        "[agents.runaway]\ntimeout = 1\nenv = {{ SCRIPT = \"{RUNAWAY}\" }}\n\
         command = 'perl -e \"$SCRIPT\" & exec sleep 600'\n"
    ));
    for _ in 0..3 {
        let view = run_by_hand(&daemon, "runaway");
        assert_eq!((&view["status"], warnings(&view).as_str()), (&json!("timed_out"), ""), "{view}");
        let mark = format!("BGAGENT_RUN_ID={}", view["run_id"].as_str().expect("an id"));
        for _ in 0..100 {
            assert_eq!(carriers(&mark), [] as [u32; 0], "they live on");
        }
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
    let view = run_by_hand(&daemon, "a");
    assert_eq!((&view["status"], warnings(&view).as_str()), (&json!("timed_out"), ""), "{view}");
    let pid = std::fs::read_to_string(pid).expect("it ran").trim().parse().expect("a number");
    assert!(stat(pid).is_none_or(|(state, _)| state == 'Z'), "process {pid} lives on");
}
