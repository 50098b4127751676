//! The archive as an agent of a real daemon, and the commands about it.
use super::check::{archived, is_partition, table};
use super::*;
use crate::support::Daemon;

const AGENT: &str = "[agents.archive]\ntool = \"old\"\ntool_call_timeout = \"1s\"\ntimeout = \"10m\"\n";

fn daemon(rows: i64, more: &str) -> (Daemon, check::Rows) {
    let daemon = Daemon::with(&format!("{}{AGENT}", settings(more)));
    let db = rusqlite::Connection::open(daemon.path("app.db")).expect("a database");
    fill(&db, rows);
    let all = table(&db, "t", "id");
    (daemon, all)
}

#[test]
fn an_agent_archives_and_people_look_at_it() {
    let (mut daemon, all) = daemon(2000, "chunk_rows = 100");
    daemon.up();
    daemon.ok(&["run", "archive", "--wait"]);
    let shown = daemon.ok(&["logs", "archive"]);
    assert!(shown.contains("t: 1000 rows archived in 10 chunks"), "{shown}");
    daemon.until("background_task_output", "archive");
    let completed = daemon.until("background_task_completed", "archive");
    assert!(completed["payload"]["result"].as_str().unwrap().contains("\"moved\":1000"), "{completed}");
    let list = daemon.ok(&["archive", "list", "archive"]);
    assert!(list.contains("1000 rows in 10 objects"), "{list}");
    assert!(daemon.ok(&["archive", "verify", "old"]).contains("all is whole: 1000 rows in 10 objects"));
    let dry = daemon.ok(&["archive", "restore", "old", "--key", "7", "--dry-run"]);
    assert!(dry.contains("t: 1 row would be put back"), "{dry}");
    let back = daemon.run(&["archive", "restore", "old", "--key", "7"]);
    assert_eq!(
        String::from_utf8_lossy(&back.stdout),
        "t: 1 row put back, 0 there already, 0 still archived\n"
    );
    assert!(String::from_utf8_lossy(&back.stderr).contains("pause it"), "{back:?}");
    let db = rusqlite::Connection::open(daemon.path("app.db")).unwrap();
    let left = table(&db, "t", "id");
    assert_eq!(left.len(), 1001);
    is_partition(&left, &archived(&daemon.path("archive"), "id", &left), &all);
    daemon.ok(&["archive", "restore", "old", "--from", "2000-01-01", "--to", "100d"]);
    assert_eq!(table(&db, "t", "id"), all);
    let none = daemon.run(&["archive", "restore", "old", "--key", "999999"]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert!(
        String::from_utf8_lossy(&none.stderr).contains("nothing that was asked for is archived"),
        "{none:?}"
    );
    // which rows must be said, and the name of an archive
    assert_eq!(daemon.run(&["archive", "restore", "old"]).status.code(), Some(2));
    let wrong = daemon.run(&["archive", "list", "odd"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `old`?"), "{wrong:?}");
    let wrong = daemon.run(&["archive", "list", "probe"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("is not an archive"), "{wrong:?}");
    // a damaged object makes `verify` say so, and exit with 1
    daemon.ok(&["run", "archive", "--wait"]);
    let object = std::fs::read_dir(daemon.path("archive")).unwrap().flatten().map(|entry| entry.path());
    let object = object.into_iter().find(|path| path.to_string_lossy().ends_with(".zst")).unwrap();
    std::fs::write(object, "damaged").unwrap();
    let verified = daemon.run(&["archive", "verify", "old"]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stdout).contains("NOT whole"), "{verified:?}");
    // and keeps nothing else from coming back
    let back = daemon.run(&["archive", "restore", "old", "--all"]);
    assert_eq!(back.status.code(), Some(1), "{back:?}");
    assert_eq!(
        String::from_utf8_lossy(&back.stdout),
        "t: 900 rows put back, 0 there already, 100 still archived\n"
    );
    let said = String::from_utf8_lossy(&back.stderr).into_owned();
    assert!(said.contains("still archived: 100 rows of") && said.contains("it has 7 bytes"), "{said}");
    assert_eq!(table(&db, "t", "id").len(), 1900);
    daemon.ok(&["run", "archive", "--wait"]);
    let back = daemon.run(&["--json", "archive", "restore", "old", "--all"]);
    assert_eq!(back.status.code(), Some(1), "{back:?}");
    let back: Value = serde_json::from_slice(&back.stdout).expect("JSON");
    assert_eq!((&back["restored"], &back["damaged"][0]["rows"]), (&json!(900), &json!(100)), "{back}");
    assert_eq!(back["damaged"].as_array().map(Vec::len), Some(1), "{back}");
}

/// What the document shows: an agent that looks every night.
#[test]
fn an_agent_verifies() {
    let mut daemon = Daemon::with("");
    // where the state folder is not the usual one, it has to be said
    let state = daemon.path("state").display().to_string();
    let command = ["bgagent", "--state-dir", &state, "archive", "verify", "old"];
    daemon.configure(&format!(
        "{}{AGENT}[agents.verify]\ncontrol = \"full\"\ncommand = {}\n",
        settings(""),
        json!(command)
    ));
    fill(&rusqlite::Connection::open(daemon.path("app.db")).expect("a database"), 20);
    let bin = Path::new(env!("CARGO_BIN_EXE_bgagent")).parent().expect("a folder").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = daemon.daemon_command();
    daemon.child = Some(command.env("PATH", path).spawn().expect("it starts"));
    daemon.ready();
    daemon.ok(&["run", "archive", "--wait"]);
    daemon.ok(&["run", "verify", "--wait"]);
    let object = std::fs::read_dir(daemon.path("archive")).unwrap().flatten().map(|entry| entry.path());
    let object = object.into_iter().find(|path| path.to_string_lossy().ends_with(".zst")).unwrap();
    std::fs::write(object, "damaged").unwrap();
    assert_eq!(daemon.run(&["run", "verify", "--wait"]).status.code(), Some(1));
    assert_eq!(daemon.call("list_runs", json!({"agent_id": "verify"}))[0]["status"], "failed");
}

#[test]
fn the_daemon_is_killed_and_the_archive_goes_on() {
    let (mut daemon, all) = daemon(200, "chunk_rows = 10");
    for step in ["written:2", "intended:3", "deleted:1", "sealed:2"] {
        let mut command = daemon.daemon_command();
        daemon.child = Some(command.env("BGAGENT_ARCHIVE_DIE_AT", step).spawn().expect("it starts"));
        daemon.ready();
        daemon.call("run_agent", json!({"agent_id": "archive"}));
        daemon.wait_end();
        let db = rusqlite::Connection::open(daemon.path("app.db")).unwrap();
        let left = table(&db, "t", "id");
        is_partition(&left, &archived(&daemon.path("archive"), "id", &left), &all);
    }
    daemon.up();
    daemon.ok(&["run", "archive", "--wait"]);
    let db = rusqlite::Connection::open(daemon.path("app.db")).unwrap();
    let left = table(&db, "t", "id");
    assert_eq!(left.len(), 100);
    is_partition(&left, &archived(&daemon.path("archive"), "id", &left), &all);
}

#[test]
fn the_demo_runs_as_it_is() {
    let mut daemon = Daemon::with("");
    std::fs::remove_file(daemon.path("agents.toml")).unwrap();
    let made = daemon.ok(&["init", "--demo"]);
    assert!(made.contains("agents.toml") && made.contains("demo.db"), "{made}");
    daemon.ok(&["check"]);
    daemon.up();
    let shown = daemon.ok(&["run", "archive-demo", "--wait"]);
    assert!(shown.contains("moved"), "{shown}");
    let db = rusqlite::Connection::open(daemon.path("demo.db")).unwrap();
    let (left, open): (i64, i64) = db
        .query_row("SELECT count(*), sum(status = 'open') FROM orders", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(open, 40, "only what is done is archived");
    assert!((400..600).contains(&left), "{left}");
    let list = daemon.ok(&["archive", "list", "archive-demo"]);
    assert!(list.contains(&format!("{} rows in", 2000 - left)), "{list}");
    daemon.ok(&["archive", "restore", "archive-demo", "--all"]);
    let all: i64 = db.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(all, 2000);
    // it is not made twice
    let again = daemon.run(&["init", "--demo", "--force"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("stays as it is"), "{again:?}");
}
