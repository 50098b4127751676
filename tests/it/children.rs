//! What programs get from the daemon, and what they leave behind.
use super::support::{Daemon, wait_for};
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::process::Command;

fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

fn number(daemon: &Daemon, name: &str) -> u32 {
    wait_for(name, || std::fs::read_to_string(daemon.path(name)).ok()?.trim().parse().ok())
}

#[test]
fn what_a_command_leaves_in_the_background_is_ended_and_named() {
    // in its group; in a session of its own; without a mark, and adopted before the program ends
    let daemon = Daemon::start(
        "[agents.group]\ncommand = \"nohup sleep 600 >/dev/null 2>&1 & echo $! > group\"\n\
         [agents.session]\ncommand = \"(setsid sh -c 'echo $$ > session; exec sleep 600' >/dev/null 2>&1 </dev/null &); until [ -s session ]; do sleep 0.02; done\"\n\
         [agents.hidden]\ncommand = \"(setsid env -i sh -c 'echo $$ > hidden; exec sleep 600' >/dev/null 2>&1 </dev/null &); until [ -s hidden ]; do sleep 0.02; done\"\n\
         [agents.tidy]\ncommand = \"sleep 0.01 & wait; yes | head -n 100\"\n",
    );
    for agent in ["group", "session", "hidden"] {
        let view = daemon.run_by_hand(agent);
        assert_eq!(view["status"], "completed", "{view:#}");
        let warnings = view["warnings"].to_string();
        let pid = number(&daemon, agent);
        assert!(
            warnings.contains("left in the background")
                && warnings.contains(&format!("sleep (process {pid})")),
            "{agent}: {warnings}"
        );
        assert!(!lives(pid), "{agent}: {pid}");
        assert!(
            daemon.ok(&["show", view["run_id"].as_str().expect("an id")]).contains("left in the background")
        );
    }
    let health = daemon.ok(&["health"]);
    assert!(health.contains("group: its last run warned: ") && !health.contains("tidy"), "{health}");
    let view = daemon.run_by_hand("tidy");
    assert_eq!(view["warnings"].as_array().map_or(0, Vec::len), 0, "{view:#}");
}

#[test]
fn who_hides_is_found_after_a_timeout_and_by_the_end_of_the_daemon() {
    let hide = |name: &str| {
        format!(
            "(setsid env -i sh -c 'echo $$ > {name}; exec sleep 600' >/dev/null 2>&1 </dev/null &); until [ -s {name} ]; do sleep 0.02; done"
        )
    };
    let mut daemon = Daemon::start(&format!(
        "[agents.late]\ntimeout = 1\ncommand = \"{}; exec sleep 600\"\n\
         [agents.long]\ncommand = \"touch long; exec sleep 600\"\n[agents.short]\ncommand = \"{}\"\n",
        hide("late"),
        hide("short")
    ));
    assert_eq!(daemon.run_by_hand("late")["status"], "timed_out");
    assert!(!lives(number(&daemon, "late")));
    // whose it is can't be told as long as another one may have started it; then it goes with that
    let long = daemon.call("run_agent", json!({"agent_id": "long"}))["run_id"].clone();
    wait_for("the long run", || daemon.path("long").exists().then_some(()));
    daemon.run_by_hand("short");
    let hidden = number(&daemon, "short");
    daemon.call("cancel_run", json!({"run_id": long}));
    daemon.finished(&long);
    wait_for("its end", || (!lives(hidden)).then_some(()));
    assert_eq!(daemon.down(), Some(0));
}

/// Descriptors and ignored signals of whoever started the daemon.
#[test]
fn programs_get_nothing_of_who_started_the_daemon() {
    let looks = "sh -c 'ls /proc/self/fd | tr \\\"\\\\n\\\" \\\" \\\"; grep SigIgn /proc/self/status; grep SigBlk /proc/self/status'";
    let mut daemon = Daemon::with(&format!(
        "[notify.ops]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"{0} > told\"]\n\
         [agents.a]\ncommand = \"{0}; exit 1\"\ncwd = \".\"\nnotify = {{ to = [\"ops\"] }}\n",
        looks
    ));
    let bgagent = daemon.daemon_command();
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg("exec 7</dev/null 9>/dev/null; trap '' HUP QUIT USR1 USR2 ALRM XFSZ TSTP; exec \"$0\" \"$@\"")
        .arg(bgagent.get_program())
        .args(bgagent.get_args())
        .envs(bgagent.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .process_group(0);
    daemon.child = Some(shell.spawn().expect("the shell can be started"));
    daemon.ready();
    let view = daemon.run_by_hand("a");
    let chunks = view["output"]["chunks"].as_array().expect("output");
    let printed: String = chunks.iter().filter_map(|chunk| chunk["text"].as_str()).collect();
    let told = wait_for("the message", || {
        std::fs::read_to_string(daemon.path("told")).ok().filter(|told| told.contains("SigBlk"))
    });
    for printed in [printed, told] {
        let words: Vec<&str> = printed.split_whitespace().collect();
        // the last one is the folder that ls(1) reads
        assert_eq!(words[..4], ["0", "1", "2", "3"], "{printed}");
        let mask = |name: &str| {
            let at = words.iter().position(|word| *word == name).expect(name);
            // the two that the C library keeps for itself
            u64::from_str_radix(words[at + 1], 16).expect("a mask") & !(0b11 << 31)
        };
        assert_eq!((mask("SigIgn:"), mask("SigBlk:")), (0, 0), "{printed}");
    }
    assert_eq!(daemon.down(), Some(0));
}
