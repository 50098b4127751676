//! Two daemons with records on one PostgreSQL server: one leads, the other stands by and takes over.
use super::checker;
use super::crash::children_left;
use super::postgres::Server;
use super::records::Records;
use super::rng::Rng;
use super::support::{Client, Daemon, signal, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Starts that are witnessed; more with `BGAGENT_STARTS`.
const STARTS: usize = 250;

pub fn two(fleet: &str) -> Option<[Daemon; 2]> {
    let Records { server, schema } = Records::on_a_server()?;
    Some([(); 2].map(|()| {
        let mut daemon = Daemon::with("");
        daemon.records = Some(Records { server: server.clone(), schema: schema.clone() });
        daemon.configure(fleet);
        daemon
    }))
}

pub fn spawn(daemon: &mut Daemon) {
    daemon.child = Some(daemon.daemon_command().spawn().expect("the program can be started"));
}

fn pid(daemon: &Daemon) -> u32 {
    daemon.child.as_ref().expect("it runs").id()
}

pub fn health(daemon: &Daemon) -> (Option<i32>, String) {
    let output = daemon.run(&["health"]);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn stands_by(daemon: &Daemon) {
    wait_for("a standby", || daemon.log().contains("standing by").then_some(()));
}

/// Waits until it leads.
pub fn leads(daemon: &Daemon) {
    wait_for("the lead", || {
        let mut client = Client::new(std::os::unix::net::UnixStream::connect(daemon.path("socket")).ok()?);
        let status = client.try_call("get_daemon_status", json!({})).ok()?;
        (status["state"] == "ok").then_some(())
    });
}

#[test]
fn a_standby_takes_over_and_says_until_then_who_leads() {
    let fleet = "[agents.hand]\ncommand = 'echo by hand'\n";
    let Some([mut first, mut second]) = two(fleet) else { return };
    first.up();
    let run = first.run_by_hand("hand");
    spawn(&mut second);
    stands_by(&second);
    let leader = first.path("state").display().to_string();
    let said = second.ok(&["status"]);
    assert!(said.contains("standby") && said.contains(" leads since"), "{said}");
    let (code, told) = health(&second);
    assert!(code == Some(0) && told.contains("standing by") && told.contains(&leader), "{told}");
    // given up in order, the lead is free at once
    assert_eq!(first.down(), Some(0), "{}", first.log());
    leads(&second);
    assert_eq!(second.call("get_run", json!({"run_id": run["run_id"]}))["status"], "completed");
    // after a crash it is free when the lease is over
    spawn(&mut first);
    stands_by(&first);
    second.kill();
    leads(&first);
    assert_eq!(first.run_by_hand("hand")["status"], "completed");
    // who stands by ends when it is asked to
    spawn(&mut second);
    wait_for("the standby", || (second.log().matches("standing by").count() == 2).then_some(()));
    signal(pid(&second), Signal::TERM);
    assert_eq!(second.wait_end(), Some(0), "{}", second.log());
    assert!(!second.path("state/daemon.json").exists());
}

#[test]
fn a_leader_that_was_stopped_ends_with_its_programs_when_it_comes_back() {
    let fleet = "[agents.long]\ncommand = 'touch began; exec sleep 600'\n[agents.hand]\ncommand = 'true'\n";
    let Some([mut first, mut second]) = two(fleet) else { return };
    first.up();
    let run = first.call("run_agent", json!({"agent_id": "long"}))["run_id"].clone();
    first.until("background_task_started", "long");
    spawn(&mut second);
    stands_by(&second);
    signal(pid(&first), Signal::STOP);
    leads(&second);
    assert_eq!(second.finished(&run)["status"], "interrupted");
    signal(pid(&first), Signal::CONT);
    assert_eq!(first.wait_end(), Some(74), "{}", first.log());
    assert!(first.log().contains("is led by another daemon now"), "{}", first.log());
    let witness = first.path("witness");
    std::fs::write(&witness, format!("long - {} 1\n", run.as_str().expect("an id"))).expect("our folder");
    assert_eq!(children_left(&witness), Vec::<String>::new());
    assert_eq!(second.run_by_hand("hand")["status"], "completed");
}

#[test]
fn programs_of_a_daemon_that_is_cut_off_are_stopped() {
    let Some(server) = Server::start_with(&["-c", "fsync=on"]) else { return };
    server.wait_until_up();
    let mut daemon = Daemon::with("");
    daemon.records = Some(Records { server: Arc::new(server), schema: "fleet".into() });
    daemon.configure(
        "[agents.stops]\ncommand = 'trap \"\" TERM; sleep 600 & wait; sleep 600'\n\
         [agents.stays]\nwhen_cut_off = \"finish\"\ncommand = 'until [ -e go ]; do sleep 0.1; done'\n",
    );
    daemon.up();
    let run = |agent: &str| daemon.call("run_agent", json!({"agent_id": agent}))["run_id"].clone();
    let (stops, stays) = (run("stops"), run("stays"));
    for agent in ["stops", "stays"] {
        daemon.until("background_task_started", agent);
    }
    let witness = daemon.path("witness");
    let lives = |run: &serde_json::Value| {
        std::fs::write(&witness, format!("a - {} 1\n", run.as_str().expect("an id"))).expect("our folder");
        !children_left(&witness).is_empty()
    };
    assert!(lives(&stops) && lives(&stays));
    let records = daemon.records.take().expect("on a server");
    let mut server = Arc::into_inner(records.server).expect("nobody else uses it");
    server.end();
    wait_for("the end of its program", || (!lives(&stops)).then_some(()));
    assert!(lives(&stays));
    server.go_on();
    server.wait_until_up();
    wait_for("the daemon to go on", || {
        let status = daemon.client().try_call("get_daemon_status", json!({})).ok()?;
        (status["state"] == "ok").then_some(())
    });
    let ended = daemon.finished(&stops);
    assert_eq!(ended["status"], "interrupted", "{ended}");
    let why = ended["error"].to_string();
    assert!(why.contains("another daemon might have led"), "{why}");
    std::fs::write(daemon.path("go"), "").expect("our folder");
    assert_eq!(daemon.finished(&stays)["status"], "completed");
    daemon.records = Some(Records { server: Arc::new(server), schema: "fleet".into() });
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
}

fn fleet(witness: &Path) -> String {
    let note = format!(
        "printf '%s %s %s %s\\n' \"$BGAGENT_AGENT_ID\" \"$BGAGENT_SLOT\" \"$BGAGENT_RUN_ID\" \"$BGAGENT_ATTEMPT\" >> {0}; \
         printf '%s %s\\n' \"$BGAGENT_AGENT_ID\" \"$BGAGENT_FENCE\" >> {0}.fence",
        witness.display()
    );
    let mut toml =
        String::from("[daemon]\nmax_parallel_runs = 8\n[defaults]\ncircuit_breaker = { open_after = 0 }\n");
    for n in 0..4 {
        let body = match n {
            0 => format!("{note}; sleep 1"),
            1 => format!("{note}; exit 3"),
            _ => note.clone(),
        };
        let retry = if n == 1 { "retry = { max = 1, initial = 0 }\n" } else { "" };
        writeln!(toml, "[agents.a{n}]\ninterval = \"250ms\"\ncommand = '''{body}'''\n{retry}")
            .expect("a string");
    }
    toml
}

/// Starts those again that have ended.
fn both_up(one: &mut Daemon, other: &mut Daemon) {
    for daemon in [one, other] {
        if daemon.child.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some()) {
            spawn(daemon);
        }
    }
}

/// Whatever is done to the two and to their connections: no slot starts twice, no verdict is missing, nothing is left.
#[test]
fn through_takeovers_nothing_is_lost_or_doubled() {
    let wanted = std::env::var("BGAGENT_STARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(STARTS);
    let seed = std::env::var("BGAGENT_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(11);
    let mut random = Rng::new(seed);
    let Some([mut one, mut other]) = two("") else { return };
    let witness = one.path("witness");
    for daemon in [&one, &other] {
        daemon.configure(&fleet(&witness));
    }
    let started = || std::fs::read_to_string(&witness).unwrap_or_default().lines().count();
    let mut faults = 0;
    while started() < wanted {
        for daemon in [&mut one, &mut other] {
            let ended =
                daemon.child.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some());
            if ended {
                spawn(daemon);
            }
        }
        let goal = started() + 1 + usize::try_from(random.next() % 40).expect("a small number");
        wait_for("starts", || (started() >= goal).then_some(()));
        faults += 1;
        let records = one.records.as_ref().expect("on a server");
        let cut = format!(
            "SELECT count(pg_terminate_backend(a.pid)) FROM {}.fleet f JOIN pg_stat_activity a ON a.pid = f.backend",
            records.schema
        );
        match random.next() % 4 {
            0 => one.kill(),
            1 => other.kill(),
            2 => drop(records.server.psql(&cut).expect("a count")),
            // stopped for as long as it takes: longer than its lease, if it has it
            _ => {
                let both = [pid(&one), pid(&other)];
                let who = both[usize::try_from(random.next() % 2).expect("0 or 1")];
                // one from which the lead was taken may have just ended
                let pid = Pid::from_raw(i32::try_from(who).expect("a number")).expect("not 0");
                let _ = kill_process(pid, Signal::STOP);
                let goal = started() + 20;
                wait_for("starts by the other one", || {
                    both_up(&mut one, &mut other);
                    (started() >= goal).then_some(())
                });
                let _ = kill_process(pid, Signal::CONT);
            }
        }
    }
    // one life in peace
    both_up(&mut one, &mut other);
    one.kill();
    other.kill();
    one.up();
    one.until("background_task_completed", "a2");
    assert_eq!(one.down(), Some(0), "{}", one.log());
    let every: Vec<(String, i64)> = (0..4).map(|n| (format!("a{n}"), 250_000)).collect();
    let every: Vec<(&str, i64)> = every.iter().map(|(name, period)| (name.as_str(), *period)).collect();
    let counted = checker::check(&one.database_file(), Some(&witness), &every);
    assert_eq!(children_left(&witness), Vec::<String>::new());
    fences_grow(&witness.with_extension("fence"));
    println!("{faults} faults (seed {seed}): {} starts witnessed, {counted:?}", started());
}

/// A program that comes later has a greater number, whichever daemon started it.
fn fences_grow(file: &Path) {
    let text = std::fs::read_to_string(file).expect("a witness");
    let mut last = std::collections::HashMap::new();
    for line in text.lines() {
        let (agent, fence) = line.split_once(' ').expect("two words");
        let fence: u64 = fence.parse().expect("a number");
        let before = last.insert(agent.to_owned(), fence).unwrap_or(0);
        // one that was stopped before it wrote may write after the next one
        assert!(agent != "a2" || fence > before, "{agent}: {fence} after {before}");
    }
    assert!(last.len() == 4);
}
