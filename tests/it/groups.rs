//! Control groups around programs, with the real binary in a group that is delegated to it as systemd does it. Skipped, with the
//! reason, where this process can't make a group; what memory a program may have is tried where the machine gives that controller
//! to groups of the second version.
use super::support::{Daemon, bgagent, signal, wait_for};
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A control group for a daemon.
struct Delegated(PathBuf);

impl Delegated {
    fn made(name: &str) -> Option<Self> {
        let made = || {
            let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
            let path =
                own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("there is no version 2")?;
            let mounts =
                std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
            let mount =
                mounts.lines().find(|line| line.contains(" - cgroup2 ")).ok_or("it is not mounted")?;
            let point = mount.split(' ').nth(4).ok_or("it is mounted nowhere")?;
            let folder = Path::new(point).join(path).join(format!("bgagent-{name}-{}", std::process::id()));
            std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            Ok::<_, String>(Self(folder))
        };
        made().map_err(|why| eprintln!("skipped, there is no control group to be had: {why}")).ok()
    }

    /// Has it this controller, now or after it was asked for?
    fn has(&self, controller: &str) -> bool {
        let above = self.0.parent().expect("it is not the root");
        let _ = std::fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"));
        let given = std::fs::read_to_string(self.0.join("cgroup.controllers")).unwrap_or_default();
        given.split_whitespace().any(|one| one == controller)
    }

    fn mark(&self) {
        setxattr(&self.0, "user.delegate", b"1", XattrFlags::empty()).expect("the mark of systemd");
    }

    /// A daemon that is started in it.
    fn start(&self, daemon: &mut Daemon, variable: Option<&str>) {
        let bgagent = daemon.daemon_command();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&self.0)
            .arg(bgagent.get_program())
            .args(bgagent.get_args())
            .env_remove("BGAGENT_DELEGATED")
            .envs(bgagent.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .envs(variable.map(|value| ("BGAGENT_DELEGATED", value)))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(daemon.path("log"))
                    .expect("a log"),
            )
            .process_group(0);
        daemon.child = Some(shell.spawn().expect("the shell can be started"));
        daemon.ready();
    }

    fn groups(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("it is there").flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().into_string().expect("text")).collect()
    }

    fn members(&self, group: &str) -> Vec<u32> {
        let text = std::fs::read_to_string(self.0.join(group).join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
        let until = std::time::Instant::now() + super::support::SOON;
        while std::time::Instant::now() < until {
            for group in self.groups() {
                let _ = std::fs::remove_dir(self.0.join(group));
            }
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
}

fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

fn number(daemon: &Daemon, name: &str) -> u32 {
    wait_for(name, || std::fs::read_to_string(daemon.path(name)).ok()?.trim().parse().ok())
}

fn printed(view: &Value) -> String {
    let chunks = view["output"]["chunks"].as_array().into_iter().flatten();
    chunks.filter_map(|chunk| chunk["text"].as_str()).collect()
}

#[test]
fn each_program_has_a_group_and_all_of_it_ends_with_that() {
    let Some(group) = Delegated::made("each") else { return };
    group.mark();
    let hides = "(setsid env -i sh -c 'echo $$ > NAME; exec sleep 600' >/dev/null 2>&1 </dev/null &); until [ -s NAME ]; do sleep 0.02; done";
    let mut daemon = Daemon::with(&format!(
        "[agents.looks]\ncommand = \"cat /proc/self/cgroup\"\n\
         [agents.gated]\ngate = {{ command = \"grep -q ::/.*/run- /proc/self/cgroup\" }}\nsuccess_when = [{{ command = \"grep -q ::/.*/run- /proc/self/cgroup\" }}]\ncommand = \"true\"\n\
         [agents.hides]\ncommand = \"{}; kill -KILL $PPID; sleep 600\"\n\
         [agents.bomb]\ntimeout = 1\ncommand = \"f() {{ while :; do (: &); done; }}; f & f & trap '' TERM; f\"\n",
        hides.replace("NAME", "hidden"),
    ));
    group.start(&mut daemon, None);
    let pid = daemon.child.as_ref().expect("it runs").id();
    assert_eq!(group.members("daemon"), [pid], "the daemon is in a leaf");
    let view = daemon.run_by_hand("looks");
    let own = printed(&view);
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).expect("a group").to_owned();
    assert!(own.rsplit('/').next().is_some_and(|name| name.starts_with("run-")), "{own}");
    assert_eq!(daemon.run_by_hand("gated")["status"], "completed");
    // who kills its keeper is not free of it
    let view = daemon.run_by_hand("hides");
    assert_ne!(view["status"], "completed", "{view:#}");
    let hidden = number(&daemon, "hidden");
    assert!(!lives(hidden), "{hidden}");
    // who starts others faster than anybody looks
    let began = std::time::Instant::now();
    assert_eq!(daemon.run_by_hand("bomb")["status"], "timed_out");
    assert!(began.elapsed() < super::support::SOON, "{:?}", began.elapsed());
    wait_for("the groups to go", || (group.groups() == ["daemon"]).then_some(()));
    let status = daemon.call("get_daemon_status", json!({}));
    assert!(status["control_groups"]["none_because"].is_null(), "{status:#}");
    assert_eq!(daemon.down(), Some(0));
}

#[test]
fn what_a_killed_daemon_left_in_its_groups_ends_at_the_next_start() {
    let Some(group) = Delegated::made("left") else { return };
    group.mark();
    let mut daemon = Daemon::with(
        "[agents.long]\ncommand = \"(setsid env -i sleep 600 &); echo $$ > long; exec sleep 600\"\n",
    );
    group.start(&mut daemon, None);
    daemon.call("run_agent", json!({"agent_id": "long"}));
    let leader = number(&daemon, "long");
    let own = group.groups().into_iter().find(|name| name.starts_with("run-")).expect("a group");
    let living = wait_for("all of it", || Some(group.members(&own)).filter(|all| all.len() >= 3));
    // a keeper that stands still can't see the end of its daemon
    let stat = std::fs::read_to_string(format!("/proc/{leader}/stat")).expect("it lives");
    let keeper = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    signal(keeper.expect("a parent"), Signal::STOP);
    daemon.kill();
    for pid in &living {
        assert!(lives(*pid), "{pid}");
    }
    for name in ["run-of-somebody-else-0", "other"] {
        std::fs::create_dir(group.0.join(name)).expect("a group");
    }
    group.start(&mut daemon, None);
    for pid in living {
        wait_for("its end", || (!lives(pid)).then_some(()));
    }
    let mut left = group.groups();
    left.sort();
    assert_eq!(left, ["daemon", "other", "run-of-somebody-else-0"]);
    assert!(
        daemon.log().contains(&format!("ended what the last daemon had left in the control group {own}"))
    );
    assert_eq!(daemon.down(), Some(0));
}

/// All of it ends, in its group and at once, and the reason of the run's end names the limit.
#[test]
fn a_program_over_its_memory_is_ended_and_the_reason_is_told() {
    let Some(group) = Delegated::made("memory") else { return };
    if !group.has("memory") {
        return eprintln!(
            "skipped, the controller `memory` is not to be had here (it is off, or held by version 1)"
        );
    }
    group.mark();
    let sandbox = "sandbox = { limits = { memory = \"64MiB\" } }";
    let mut daemon = Daemon::with(&format!(
        "[agents.hungry]\ncommand = \"(tail /dev/zero; echo outlived) & (sleep 600; echo outlived) & wait\"\n{sandbox}\n\
         [agents.modest]\ncommand = \"head -c 8M /dev/zero | tail | wc -c\"\n{sandbox}\n"
    ));
    group.start(&mut daemon, None);
    let view = daemon.run_by_hand("hungry");
    assert_eq!(view["status"], "failed", "{view:#}");
    let message = view["error"]["message"].as_str().expect("text");
    assert!(message.contains("took more than its `limits.memory` of 64 MiB"), "{view:#}");
    assert_eq!(printed(&view), "");
    wait_for("the group to go", || (group.groups() == ["daemon"]).then_some(()));
    let view = daemon.run_by_hand("modest");
    assert_eq!((view["status"].as_str(), printed(&view).trim()), (Some("completed"), "8388608"), "{view:#}");
    assert_eq!(daemon.down(), Some(0));
}

/// A process that ends with a test; with the first one of a namespace, all others of that.
struct Killed(u32);

impl Drop for Killed {
    fn drop(&mut self) {
        signal(self.0, Signal::KILL);
    }
}

/// A process that enters another's PID namespace, and there leaves its session and its parent, has no ancestor that leads to the daemon:
/// only its control group still shows where it comes from.
#[test]
fn a_program_that_is_adopted_elsewhere_is_known_by_its_group() {
    let Some(group) = Delegated::made("adopted") else { return };
    group.mark();
    let begun = "unshare --pid --fork sleep 624 >/dev/null 2>&1 & all=/proc/$!/task/$!/children
                 until [ -n \"$(cat $all)\" ] || ! kill -0 $! 2>/dev/null; do sleep 0.02; done; cat $all";
    let begun = Command::new("/bin/sh").args(["-c", begun]).output().expect("a shell");
    let numbers = String::from_utf8(begun.stdout).expect("text");
    let Some(first) = numbers.split_whitespace().next().and_then(|number| number.parse().ok()) else {
        return eprintln!("skipped, no PID namespace can be created here");
    };
    let _gone = Killed(first);
    let mut daemon = Daemon::with("");
    let base = daemon.folder.path().display().to_string();
    let script = format!(
        "nsenter --target {first} --pid setsid --fork env -i sh -c '{} --config {base}/agents.toml --state-dir {base}/state \
         --socket {base}/socket pause other; echo $? > {base}/code.new; mv {base}/code.new {base}/code' > {base}/said 2>&1\n\
         until [ -s {base}/code ]; do sleep 0.02; done\n",
        bgagent().get_program().display()
    );
    std::fs::write(daemon.path("strays.sh"), script).expect("the folder can be written");
    daemon.configure(&format!(
        "[agents.strays]\ncommand = [\"sh\", \"{base}/strays.sh\"]\n[agents.other]\ncommand = \"true\"\n"
    ));
    group.start(&mut daemon, None);
    assert_eq!(daemon.run_by_hand("strays")["status"], "completed");
    assert_eq!(number(&daemon, "code"), 6, "{:?}", std::fs::read_to_string(daemon.path("said")));
    assert_eq!(daemon.down(), Some(0));
}

#[test]
fn a_group_is_divided_only_if_it_was_delegated() {
    let Some(group) = Delegated::made("given") else { return };
    let limited = "[agents.limited]\ncommand = \"cat /proc/self/cgroup\"\nsandbox = { limits = { memory = \"64MiB\" } }\n\
                   [agents.looks]\ncommand = \"cat /proc/self/cgroup\"\n";
    let mut daemon = Daemon::with(limited);
    for variable in [None, Some("yes"), Some("/"), Some("another.service")] {
        group.start(&mut daemon, variable);
        assert!(group.groups().is_empty(), "{variable:?}");
        let view = daemon.run_by_hand("looks");
        assert_eq!(view["status"], "completed", "{view:#}");
        assert!(!printed(&view).contains("/run-"), "{variable:?}: {view:#}");
        assert_eq!(daemon.down(), Some(0));
    }
    // a limit that can't be held is an error of each run, of the daemon's health, and a warning of `check`
    group.start(&mut daemon, None);
    let view = daemon.run_by_hand("limited");
    assert_eq!(view["status"], "failed", "{view:#}");
    let message = view["error"]["message"].as_str().expect("text");
    for part in ["`limits.memory` of the sandbox needs a control group", "is not delegated", "bgagent doctor"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let health = daemon.run(&["health"]);
    let said = String::from_utf8_lossy(&health.stdout).into_owned();
    assert!(said.contains("[agents.limited]") && said.contains("is not delegated"), "{said}");
    let checked = daemon.run(&["--json", "check"]);
    let told: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(told["warnings"][0]["key"], "agents.limited.sandbox.limits.memory", "{told:#}");
    assert_eq!(daemon.down(), Some(0));
    // whoever starts it can say so, by the name of the group
    let name = group.0.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    group.start(&mut daemon, Some(&name));
    assert!(printed(&daemon.run_by_hand("looks")).contains("/run-"));
    assert_eq!(daemon.down(), Some(0));
}

#[test]
fn the_doctor_says_whether_there_are_groups() {
    let Some(group) = Delegated::made("doctor") else { return };
    let doctor = || {
        let output = Command::new("/bin/sh")
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$1\" --json doctor"])
            .arg(&group.0)
            .arg(bgagent().get_program())
            .env_remove("BGAGENT_DELEGATED")
            .output()
            .expect("the shell can be started");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        told["control_groups"].clone()
    };
    let told = doctor();
    assert!(told["none_because"].as_str().is_some_and(|why| why.contains("Delegate=yes")), "{told}");
    assert_eq!(told["none_because"], told["no_memory_because"]);
    group.mark();
    assert!(doctor()["none_because"].is_null());
    assert!(group.groups().is_empty(), "nothing is left of the look");
}
