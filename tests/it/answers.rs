//! What the command line answers where what is asked for is gone, far away, or only a part of what there is.
use super::support::{Daemon, code, wait_for};

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
