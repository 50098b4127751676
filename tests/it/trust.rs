//! Whose configuration is taken up: that of its user, which nobody else can write.
use super::support::{Daemon, code};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const AGENT: &str = "[agents.a]\ninterval = \"1h\"\nfirst_run = \"after_interval\"\ncommand = [\"true\"]\n";

#[track_caller]
fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// Starts the daemon, which must end by itself with 77; what it says.
#[track_caller]
fn refused(daemon: &mut Daemon) -> String {
    refused_as(daemon, |_| {})
}

#[track_caller]
fn refused_as(daemon: &mut Daemon, change: impl FnOnce(&mut std::process::Command)) -> String {
    fs::write(daemon.path("log"), "").expect("the folder can be written");
    let mut command = daemon.daemon_command();
    change(&mut command);
    daemon.child = Some(command.spawn().expect("the program can be started"));
    let code = daemon.ready_or_ended();
    assert_eq!(code, Some(Some(77)), "{}", daemon.log());
    daemon.child = None;
    daemon.log()
}

#[test]
fn a_configuration_that_others_can_write_is_refused_by_everyone() {
    let mut daemon = Daemon::with(AGENT);
    let (folder, file) = (daemon.folder.path().to_owned(), daemon.path("agents.toml"));
    for (path, bad, good, part) in [(&file, 0o666, 0o600, "mode 0666"), (&folder, 0o777, 0o700, "mode 0777")]
    {
        set(path, bad);
        let what = format!("{} can be written by everybody (it belongs to ", path.display());
        let fix = format!("chmod go-w {}", path.display());
        let said = refused(&mut daemon);
        assert!(said.contains(&what) && said.contains(part) && said.contains(&fix), "{said}");
        code(&daemon, &["check"], 77, &fix);
        code(&daemon, &["service", "install", "--no-start"], 77, &fix);
        let output = daemon.run(&["--json", "check"]);
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(told["errors"][0]["message"].as_str().expect("text").contains(part), "{told}");
        set(path, good);
        code(&daemon, &["check"], 0, "is valid");
    }
    assert!(!daemon.path("state/bgagent.db").exists(), "nothing was begun");
}

#[test]
fn a_configuration_of_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let mut daemon = Daemon::with(AGENT);
    let give =
        |user| std::os::unix::fs::chown(daemon.path("agents.toml"), Some(user), None).expect("root may");
    give(65534);
    code(&daemon, &["check"], 77, "agents.toml belongs to user 65534");
    give(0);
    daemon.up();
}

#[test]
fn a_file_that_others_can_write_is_not_taken_up_under_the_daemon() {
    let daemon = Daemon::start(&format!("[daemon]\nreload = \"manual\"\n{AGENT}"));
    daemon.configure(&format!("[daemon]\nreload = \"manual\"\n{AGENT}timeout = 7\n"));
    let file = daemon.path("agents.toml");
    set(&file, 0o666);
    code(&daemon, &["reload"], 78, "agents.toml is not safe from others; the configuration in force stays");
    daemon.until_event("a refusal", |event| {
        event["type"] == "config_rejected" && event["payload"]["errors"].to_string().contains("mode 0666")
    });
    set(&file, 0o600);
    code(&daemon, &["reload"], 0, "~ a  changed");
}
