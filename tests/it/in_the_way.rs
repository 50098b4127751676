//! What stands where the daemon has its files: it is said at once, by the daemon and by clients, and nobody waits for the other end
//! of a FIFO.
use super::support::{Daemon, wait_for};
use std::os::unix::fs::DirBuilderExt;
use std::process::{Command, Stdio};

fn with(name: &str, fifo: bool) -> Daemon {
    let daemon = Daemon::with("[agents.a]\ncommand = \"true\"\n");
    std::fs::DirBuilder::new().mode(0o700).create(daemon.path("state")).expect("a folder");
    let path = daemon.path(name);
    match fifo {
        true => assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo(1)").success()),
        false => std::fs::create_dir(path).expect("a folder"),
    }
    daemon
}

/// Starts the daemon, which must end by itself; its exit code.
fn refused(daemon: &mut Daemon) -> Option<i32> {
    daemon.child = Some(daemon.daemon_command().spawn().expect("the program can be started"));
    daemon.wait_end()
}

#[test]
fn what_is_no_file_in_the_state_folder_is_refused_by_name() {
    for name in [
        "lock",
        "daemon.json",
        "daemon.json.new",
        "trusted.json",
        "reserve",
        "bgagent.db",
        "bgagent.db-wal",
        "bgagent.db-shm",
        "tmp",
    ] {
        let place = format!("state/{name}");
        let wanted = if name == "tmp" { "a folder" } else { "a file" };
        let mut daemon = with(&place, true);
        assert_eq!(refused(&mut daemon), Some(73), "{}", daemon.log());
        let says = format!("{} is a FIFO, where the daemon has {wanted}", daemon.path(&place).display());
        assert!(
            daemon.log().contains(&says) && daemon.log().contains("--state-dir"),
            "{name}: {}",
            daemon.log()
        );
        if name != "tmp" {
            let mut daemon = with(&place, false);
            assert_eq!(refused(&mut daemon), Some(73), "{}", daemon.log());
            assert!(daemon.log().contains("is a folder, where the daemon has a file"), "{}", daemon.log());
        }
    }
    let mut daemon = with("socket", true);
    assert_eq!(refused(&mut daemon), Some(73), "{}", daemon.log());
    assert!(daemon.log().contains("there is a FIFO of this name"), "{}", daemon.log());
    // what is nobody's business stays
    for (name, fifo) in [("state/mine", true), ("state/bgagent.db-backups", false)] {
        let mut daemon = with(name, fifo);
        daemon.up();
        assert_eq!(daemon.down(), Some(0));
    }
}

#[test]
fn clients_do_not_wait_for_the_other_end_of_a_fifo() {
    for name in ["lock", "daemon.json", "trusted.json", "bgagent.db", "bgagent.db-wal"] {
        let daemon = with(&format!("state/{name}"), true);
        let config = daemon.path("agents.toml").display().to_string();
        let backup = daemon.path("copy").display().to_string();
        let all: [&[&str]; 6] = [
            &["status"],
            &["health"],
            &["check"],
            &["trust", &config, "--yes"],
            &["store", "backup", &backup],
            &["store", "reset"],
        ];
        for args in all {
            let mut command = daemon.command(args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("the program can be started");
            wait_for(&format!("{args:?} with {name}"), || child.try_wait().expect("a child"));
        }
    }
}
