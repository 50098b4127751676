//! Whose configuration is taken up: that of its user, which nobody else can write.
use super::support::{Daemon, code, wait_for};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

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
        // the folder is that of the state as well, which says so in its own words
        let in_words = said.contains(&what) && said.contains(part);
        assert!(said.contains(&fix) && (in_words || path == &folder), "{said}");
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

/// Who names a file on the command line and says `reload` has said yes to what it says then.
#[test]
fn a_reload_by_hand_takes_up_what_waits() {
    let mut daemon = Daemon::with(AGENT);
    up_by_name(&mut daemon);
    daemon.configure(&format!("{AGENT}[agents.b]\ncommand = \"true\"\n"));
    daemon.until_event("a refusal", |event| event["type"] == "config_rejected");
    code(&daemon, &["reload"], 0, "+ b");
    assert!(daemon.call("get_daemon_status", json!({})).get("config_waits").is_none());
    assert!(
        daemon
            .ok(&["trust", daemon.path("agents.toml").to_str().expect("UTF-8")])
            .contains("as it was trusted")
    );
    daemon.down();
}

/// One that is named on the command line is wanted as it stands, and what it comes to do beyond that is not.
#[test]
fn a_change_of_a_file_from_elsewhere_waits_if_it_may_do_more() {
    let mut daemon = Daemon::with(AGENT);
    up_by_name(&mut daemon);
    let file = daemon.path("agents.toml");
    // the same rights: taken up by itself
    daemon.configure(&AGENT.replace("1h", "2h"));
    daemon.until_event("a change", |event| event["payload"]["changed"] == json!(["a"]));
    let witness = daemon.path("witness");
    let more = format!("{AGENT}[agents.b]\ninterval = 1\ncommand = [\"touch\", \"{}\"]\n", witness.display());
    daemon.configure(&more);
    let waits = daemon.until_event("a refusal", |event| event["type"] == "config_rejected");
    let error = waits["payload"]["errors"][0].as_str().expect("text");
    let line = format!("agent b runs touch {} in {}", witness.display(), daemon.folder.path().display());
    assert!(error.contains(&format!("nobody has trusted this yet: {line}")), "{error}");
    assert!(error.contains(&format!("bgagent trust {}", file.display())), "{error}");
    code(&daemon, &["status"], 0, "bgagent trust ");
    code(&daemon, &["health"], 1, "waits for a person");
    assert_eq!(daemon.call("list_agents", json!({})).as_array().expect("agents").len(), 1);
    assert_eq!(daemon.call("get_daemon_status", json!({}))["config_waits"], true);

    // what a person sees is all that they say yes to
    let file = file.to_str().expect("UTF-8");
    code(&daemon, &["trust", file], 2, "there is no terminal to ask on");
    let output = daemon.run(&["--json", "trust", file]);
    let view: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &view["trusted"], &view["new"]),
        (Some(1), &json!(false), &json!([line]))
    );
    let shown = daemon.ok(&["trust", file, "--yes"]);
    assert!(shown.contains(&format!("+ {line}")) && !shown.contains("+ agent a"), "{shown}");
    wait_for("the work of the new agent", || witness.exists().then_some(()));
    let view = daemon.call("get_daemon_status", json!({}));
    assert!(view.get("config_waits").is_none() && view.get("config_errors").is_none(), "{view}");
    assert!(daemon.ok(&["trust", file]).contains("is as it was trusted"));
    // what it had may go and come back
    daemon.configure(AGENT);
    code(&daemon, &["reload"], 0, "");
    daemon.configure(&more);
    code(&daemon, &["reload"], 0, "");
    assert_eq!(daemon.call("list_agents", json!({})).as_array().expect("agents").len(), 2);
    daemon.down();

    // and is trusted in the next life, and by a service
    daemon.child = Some(service(&daemon).spawn().expect("the program can be started"));
    daemon.ready();
    assert_eq!(daemon.down(), Some(0));
}

#[test]
fn a_service_and_a_variable_want_nothing_by_themselves() {
    let mut daemon = Daemon::with(AGENT);
    let as_service = service(&daemon);
    let said = refused_as(&mut daemon, |command| *command = as_service);
    let trust = format!("bgagent trust {}", daemon.path("agents.toml").display());
    assert!(said.contains("agent a runs true in ") && said.contains(&trust), "{said}");
    let file = daemon.path("agents.toml");
    let by_variable = |command: &mut std::process::Command| {
        let mut named = super::support::bgagent();
        named.env("BGAGENT_CONFIG", &file).arg("--state-dir").arg(file.with_file_name("state"));
        named.arg("--socket").arg(file.with_file_name("socket")).arg("daemon");
        let log = fs::File::create(file.with_file_name("log")).expect("a log");
        named.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *command = named;
    };
    let said = refused_as(&mut daemon, by_variable);
    assert!(said.contains(&trust), "{said}");
    assert!(!daemon.path("state/trusted.json").exists());
    // in the configuration folder all is wanted
    let home = daemon.path("home/.config/bgagent");
    fs::create_dir_all(&home).expect("the folder can be written");
    fs::write(home.join("agents.toml"), AGENT).expect("the folder can be written");
    let mut command = super::support::bgagent();
    command
        .env("HOME", daemon.path("home"))
        .env_remove("XDG_CONFIG_HOME")
        .env("NOTIFY_SOCKET", "/x")
        .env("INVOCATION_ID", "1");
    command
        .arg("--state-dir")
        .arg(daemon.path("state"))
        .arg("--socket")
        .arg(daemon.path("socket"))
        .arg("daemon");
    daemon.child = Some(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    daemon.ready();
    daemon.down();
    // `--yes` is enough, also where no daemon runs
    daemon.ok(&["trust", "--yes"]);
    daemon.child = Some(service(&daemon).spawn().expect("the program can be started"));
    daemon.ready();
}

#[test]
fn an_installed_service_takes_up_what_was_named_when_it_was_installed() {
    let mut daemon = Daemon::with(AGENT);
    let home = daemon.path("home");
    fs::create_dir_all(&home).expect("the folder can be written");
    let install = |by_variable: bool| {
        let mut command = super::support::bgagent();
        match by_variable {
            true => command.env("BGAGENT_CONFIG", daemon.path("agents.toml")),
            false => command.arg("--config").arg(daemon.path("agents.toml")),
        };
        command.env("HOME", &home).env_remove("XDG_CONFIG_HOME").arg("--state-dir").arg(daemon.path("state"));
        command.args(["service", "install", "--no-start"]).output().expect("the program can be started")
    };
    let refused = install(true);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(77) && said.contains("bgagent trust "), "{said}");
    assert_eq!(install(false).status.code(), Some(0));
    daemon.child = Some(service(&daemon).spawn().expect("the program can be started"));
    daemon.ready();
}

/// The daemon's command without `--trust`.
fn by_name(daemon: &Daemon) -> std::process::Command {
    let mut plain = super::support::bgagent();
    plain.args(daemon.daemon_command().get_args().filter(|arg| *arg != "--trust"));
    let log = fs::OpenOptions::new().create(true).append(true).open(daemon.path("log")).expect("a log");
    plain.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    plain
}

/// The same as a service manager starts it.
fn service(daemon: &Daemon) -> std::process::Command {
    let mut command = by_name(daemon);
    command.env("NOTIFY_SOCKET", daemon.path("nobody")).env("INVOCATION_ID", "1");
    command
}

#[track_caller]
fn up_by_name(daemon: &mut Daemon) {
    daemon.child = Some(by_name(daemon).spawn().expect("the program can be started"));
    daemon.ready();
}
