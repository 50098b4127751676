//! A daemon whose records are on a PostgreSQL server: a real one, which is taken away and comes back.
use super::postgres::Server;
use super::records::Records;
use super::support::{Daemon, wait_for};
use serde_json::json;
use std::sync::Arc;

const FLEET: &str =
    "[agents.tick]\ninterval = \"200ms\"\ncommand = 'echo tick'\n[agents.hand]\ncommand = 'echo by hand'\n";

/// A daemon with records on a server that tests share; nothing runs yet.
fn daemon() -> Option<Daemon> {
    Some(on(Records::on_a_server()?))
}

/// The same with a server of its own.
fn alone() -> Option<Daemon> {
    let server = Server::start_with(&["-c", "fsync=on"])?;
    server.wait_until_up();
    Some(on(Records { server: Arc::new(server), schema: "fleet".into() }))
}

fn on(records: Records) -> Daemon {
    let mut daemon = Daemon::with("");
    daemon.records = Some(records);
    daemon.configure(FLEET);
    daemon
}

fn server(daemon: &mut Daemon) -> &mut Server {
    let records = daemon.records.as_mut().expect("on a server");
    Arc::get_mut(&mut records.server).expect("nobody else uses it")
}

fn health(daemon: &Daemon) -> (Option<i32>, String) {
    let output = daemon.run(&["health", "--json"]);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_daemon_keeps_its_records_on_a_server() {
    let Some(mut daemon) = daemon() else { return };
    daemon.up();
    daemon.until("background_task_completed", "tick");
    let run = daemon.run_by_hand("hand");
    assert_eq!(run["status"], "completed", "{run}");
    let status = daemon.call("get_daemon_status", json!({}));
    let place = status["store"].as_str().expect("it says where").to_owned();
    assert!(place.starts_with("postgres://127.0.0.1:") && place.contains("(schema fleet_"), "{place}");
    assert!(!place.contains("boss") && status["database_bytes"].as_u64() > Some(0), "{status}");
    assert!(daemon.ok(&["status"]).contains(&place));
    assert!(daemon.ok(&["logs", "hand"]).contains("by hand"));
    assert_eq!(health(&daemon).0, Some(0));
    assert!(!daemon.path("state/bgagent.db").exists());
    daemon.kill();
    // another life of it goes on at once, and nothing is lost
    daemon.up();
    assert_eq!(daemon.call("get_run", json!({"run_id": run["run_id"]}))["status"], "completed");
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
    let (code, told) = health(&daemon);
    assert!(code == Some(2) && told.contains("not running") && !told.contains("can't be"), "{told}");
}

#[test]
fn a_server_that_is_away_is_waited_for() {
    let Some(mut daemon) = alone() else { return };
    server(&mut daemon).end();
    daemon.child = Some(daemon.daemon_command().spawn().expect("the program can be started"));
    wait_for("the daemon's word", || {
        daemon.log().contains("starts as soon as it can be reached").then_some(())
    });
    let (code, told) = health(&daemon);
    assert!(code == Some(2) && told.contains("can't be reached"), "{told}");
    server(&mut daemon).go_on();
    daemon.ready();
    daemon.until("background_task_completed", "tick");
    // and away while it runs
    server(&mut daemon).end();
    wait_for("the daemon to notice", || {
        let status = daemon.call("get_daemon_status", json!({}));
        (status["state"] == "degraded" && status["problem"].as_str()?.contains("can't be reached"))
            .then_some(())
    });
    let refused = daemon.client().try_call("pause_agent", json!({"agent_id": "hand"}));
    assert!(refused.is_err(), "{refused:?}");
    let (code, told) = health(&daemon);
    assert!(code == Some(2) && told.contains("can't be reached"), "{told}");
    server(&mut daemon).go_on();
    wait_for("the daemon to go on", || {
        let status = daemon.client().try_call("get_daemon_status", json!({})).ok()?;
        (status["state"] == "ok").then_some(())
    });
    assert_eq!(daemon.run_by_hand("hand")["status"], "completed");
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
    let copy = daemon.database();
    let (count, last): (i64, i64) = copy
        .query_row("SELECT count(*), max(seq) FROM events", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("events");
    assert_eq!(count, last, "no event twice, none is missing");
}

#[test]
fn records_are_moved_there_and_back_by_command() {
    let Some(mut daemon) = daemon() else { return };
    let records = daemon.records.take().expect("a server");
    daemon.configure(FLEET);
    daemon.up();
    let run = daemon.run_by_hand("hand")["run_id"].clone();
    let url = format!("postgres://boss@{}/postgres?sslmode=disable", records.server.address());
    let table = records.table(daemon.folder.path());
    let password = daemon.path("store-password").display().to_string();
    let to = ["store", "copy", "--to", &url, "--schema", &records.schema, "--password-file", &password];
    let refused = daemon.run(&to);
    assert!(!refused.status.success(), "a daemon runs");
    assert_eq!(daemon.down(), Some(0));
    let told = daemon.ok(&to);
    assert!(told.contains("marked as moved") && told.contains(&records.schema), "{told}");
    // the file is refused
    daemon.child = Some(daemon.daemon_command().spawn().expect("the program can be started"));
    assert_eq!(daemon.wait_end(), Some(78), "{}", daemon.log());
    assert!(daemon.log().contains("was moved to postgres://"), "{}", daemon.log());
    daemon.records = Some(records);
    daemon.configure(FLEET);
    assert!(table.contains("[store]"));
    daemon.up();
    assert_eq!(daemon.call("get_run", json!({"run_id": run}))["status"], "completed");
    let second = daemon.run_by_hand("hand")["run_id"].clone();
    assert_eq!(daemon.down(), Some(0));
    // copies of a file are made of a file
    let backup = daemon.run(&["store", "backup", &daemon.path("copy.db").display().to_string()]);
    assert!(String::from_utf8_lossy(&backup.stderr).contains("pg_dump"), "{backup:?}");
    let told = daemon.ok(&["store", "copy", "--to", "sqlite:"]);
    assert!(told.contains("take [store] out of the configuration"), "{told}");
    let on_server = daemon.records.take();
    daemon.configure(FLEET);
    daemon.up();
    for run in [run, second] {
        assert_eq!(daemon.call("get_run", json!({"run_id": run}))["status"], "completed");
    }
    assert_eq!(daemon.down(), Some(0));
    drop(on_server);
}
