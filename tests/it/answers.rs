//! What the command line answers where what is asked for is gone, far away, or only a part of what there is.
use super::support::{Daemon, code, wait_for};
use serde_json::json;

const FLEET: &str =
    "[agents.good]\ncommand = \"echo fine\"\n[agents.ticks]\ninterval = 3600\ncommand = [\"true\"]\n";

#[test]
fn a_configuration_that_was_removed_is_called_missing() {
    let daemon = Daemon::start(FLEET);
    std::fs::remove_file(daemon.path("agents.toml")).expect("it is there");
    let status = || daemon.ok(&["status"]);
    wait_for("the daemon notices", || status().contains("the file is missing: put it back").then_some(()));
    assert!(!status().contains("1 error"), "{}", status());
    code(
        &daemon,
        &["health"],
        1,
        "is missing: what it said stays in force until the daemon ends; put it back",
    );
    code(&daemon, &["reload"], 78, "is missing; the configuration in force stays");
    assert!(daemon.log().contains("is missing") && !daemon.log().contains("is rejected"), "{}", daemon.log());
    daemon.configure(FLEET);
    wait_for("it is back", || (!status().contains("missing")).then_some(()));
}

#[test]
fn an_agent_that_was_removed_is_said_to_be_and_its_history_is_named() {
    let mut daemon = Daemon::start(
        "[daemon]\nreload = \"manual\"\n[agents.a]\ncommand = \"x\"\n[agents.b]\ncommand = \"echo hi\"\n",
    );
    daemon.ok(&["run", "b", "--wait"]);
    daemon.configure("[daemon]\nreload = \"manual\"\n[agents.a]\ncommand = \"x\"\n");
    daemon.ok(&["reload"]);
    for restarted in [false, true] {
        if restarted {
            daemon.kill();
            daemon.up();
        }
        for command in ["list", "status", "why", "next"] {
            code(&daemon, &[command, "b"], 4, "the agent `b` was removed from the configuration at 20");
            code(&daemon, &[command, "b"], 4, "`bgagent runs b`");
        }
        for command in ["pause", "run"] {
            code(&daemon, &[command, "b"], 4, "the agent `b` was removed from the configuration");
        }
        code(&daemon, &["logs", "b"], 0, "hi");
        code(&daemon, &["list", "never"], 4, "no agent named `never`");
    }
}

#[test]
fn the_newest_of_a_range_are_shown() {
    let daemon = Daemon::start(FLEET);
    daemon.ok(&["run", "good", "--wait"]);
    let tail = |args: &[&str]| -> Vec<String> {
        let args = [&["tail", "--json", "--no-follow"], args].concat();
        daemon.ok(&args).lines().map(str::to_owned).collect()
    };
    let all = tail(&["--from", "1"]);
    let last = &all[all.len() - 2..];
    assert_eq!(tail(&["--since", "1h", "-n", "2"]), last);
    assert_eq!(tail(&["--from", "1", "-n", "2"]), last);
    let from = (all.len() - 1).to_string();
    assert_eq!(tail(&["--from", &from, "-n", "1000"]), tail(&["--from", &from]));
}

#[test]
fn next_slots_are_shown_however_far_they_are() {
    let daemon =
        Daemon::start(&format!("{FLEET}[agents.leap]\ncron = \"0 12 29 2 *\"\ncommand = [\"true\"]\n"));
    let next = daemon.ok(&["next", "leap", "ticks"]);
    assert!(next.contains("ticks") && next.contains("-02-29 "), "{next}");
    let json = daemon.ok(&["next", "leap", "--json"]);
    assert!(json.matches("-02-29T").count() >= 2, "{json}");
    code(&daemon, &["next", "leap", "--for", "1h"], 0, "nothing is due within 1h");
    code(&daemon, &["next", "good"], 0, "nothing is due");
}

/// Of a file that can't be read there is no text to compare: what is wrong with it may change all the same.
#[test]
fn each_reason_for_a_refusal_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start("[agents.a]\ncommand = [\"true\"]\n");
    let path = daemon.path("agents.toml");
    let reason = || {
        daemon.call("get_daemon_status", json!({}))["config_errors"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let because = |what: &str| wait_for(what, || reason().contains(what).then_some(()));
    let put = |text: &[u8], mode: u32| {
        let fresh = daemon.path("fresh");
        std::fs::write(&fresh, text).expect("a file");
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).expect("ours");
        std::fs::rename(&fresh, &path).expect("ours");
    };
    put(b"\xff\xfe[\0a\0", 0o644);
    because("is not UTF-8 text");
    put(b"[agents.b]\ncommand = [\"true\"]\n", 0o666);
    because("can be written by everybody");
    std::fs::remove_file(&path).expect("it is there");
    because("is missing");
    put(b"", 0o644);
    because("the file has no agents");
    put(b"[agents.b]\ncommand = [\"true\"]\n", 0o644);
    wait_for("the new fleet", || (daemon.call("list_agents", json!({}))[0]["agent_id"] == "b").then_some(()));
    assert_eq!(reason(), "");
}

#[test]
fn what_is_no_configuration_is_refused_at_once() {
    let daemon = Daemon::with(FLEET);
    let check = |name: &str, said: &str| {
        let path = daemon.path(name).display().to_string();
        let output = super::support::bgagent().args(["check", &path]).output().expect("it starts");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.code() == Some(78) && text.contains(said), "{name}: {text}");
    };
    let made = std::process::Command::new("mkfifo").arg(daemon.path("fifo")).status().expect("mkfifo");
    assert!(made.success());
    check("fifo", "it is not a file");
    let large = std::fs::File::create(daemon.path("large.toml")).expect("a file");
    large.set_len(9 << 20).expect("a hole");
    check("large.toml", "more than 8 MiB");
}

#[test]
fn the_next_steps_name_the_file_that_was_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agents.toml").display().to_string();
    let output = super::support::bgagent().args(["--config", &path, "init"]).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&format!("`bgagent --config {path} check`")), "{text}");
}

#[test]
fn what_does_not_apply_is_not_said() {
    let daemon = Daemon::start(FLEET);
    code(&daemon, &["list", "nosuch*"], 4, "no agent matches `nosuch*`");
    assert_eq!(daemon.ok(&["--json", "list", "nosuch*"]).trim(), "[]");
    let status = |name: &str| daemon.ok(&["status", name]);
    assert!(!status("good").contains("catch up"), "{}", status("good"));
    assert!(status("ticks").contains("catch up latest"), "{}", status("ticks"));
    code(&daemon, &["runs", "--limit", "0"], 2, "invalid value '0' for '--limit <N>'");
    code(&daemon, &["why", "good"], 0, "It has not run yet.");
    daemon.run_by_hand("good");
    code(&daemon, &["why", "good"], 0, "completed at");
}

#[test]
fn doctor_names_what_is_wrong_with_the_configuration() {
    let daemon = Daemon::with("[agents.a]\nintervall = 5\ncommand = [\"true\"]\n");
    let doctor = || {
        let out = daemon.run(&["doctor"]);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (status, said) = doctor();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("is NOT VALID") && said.contains("intervall"), "{said}");
    daemon.configure("[agents.a]\ninterval = 5\ncommand = [\"true\"]\n");
    assert!(doctor().1.contains("agents.toml is valid"));
    std::fs::remove_file(daemon.path("agents.toml")).expect("it was there");
    assert!(doctor().1.contains("no configuration at "));
}
