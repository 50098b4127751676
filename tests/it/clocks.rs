//! The promises around the clock, on the real binary with clocks that the test moves: nothing is lost, nothing runs
//! twice, nothing is silent because a clock was wrong.
use super::support::{Daemon, wait_for};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;

const DAY: i64 = 86_400;

/// A daemon whose clocks follow a file.
struct Clocked {
    daemon: Daemon,
}

impl Clocked {
    fn with(config: &str) -> Self {
        let clocked = Self { daemon: Daemon::with("") };
        let witness = clocked.daemon.path("witness");
        clocked.daemon.configure(&config.replace("WITNESS", &witness.display().to_string()));
        clocked.set(0, 0);
        clocked
    }

    /// Sets the wall clock wrong by `set` seconds, after `passed` more seconds than really have.
    fn set(&self, set: i64, passed: i64) {
        let fresh = self.daemon.path("clock.new");
        std::fs::write(&fresh, format!("{set} {passed}")).unwrap();
        std::fs::rename(fresh, self.daemon.path("clock")).unwrap();
    }

    fn clocked(&self, mut command: Command) -> Command {
        command.env("BGAGENT_TEST_CLOCK", self.daemon.path("clock"));
        command
    }

    fn up(&mut self) {
        let command = self.daemon.daemon_command();
        self.daemon.child = Some(self.clocked(command).spawn().unwrap());
        self.daemon.ready();
    }

    /// A client, which reads the same clock: its exit code and what it says.
    fn client(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.clocked(self.daemon.command(args)).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// Slots that user code saw, in order.
    fn witnessed(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.daemon.path("witness")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until so many more slots have started.
    #[track_caller]
    fn more_runs(&self, count: usize) {
        let before = self.witnessed().len();
        wait_for("more runs", || (self.witnessed().len() >= before + count).then_some(()));
    }

    /// Ended in order; no slot ran twice, and no two records of the ledger overlap.
    #[track_caller]
    fn check(mut self) {
        self.daemon.down();
        let witnessed = self.witnessed();
        let different: BTreeSet<&String> = witnessed.iter().collect();
        assert_eq!(different.len(), witnessed.len(), "a slot ran twice: {witnessed:?}");
        let overlaps: i64 = self
            .daemon
            .database()
            .query_row(
                "SELECT count(*) FROM ledger a JOIN ledger b ON a.agent = b.agent AND a.first < b.first AND a.last >= b.first",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(overlaps, 0);
        super::checker::check(&self.daemon.path("state/bgagent.db"), None, &[]);
    }
}

const EACH_SECOND: &str = "[agents.a]\ncron = \"* * * * * *\"\ncommand = \"echo $BGAGENT_SLOT >>WITNESS\"\n";

#[test]
fn a_clock_that_is_ahead_at_a_start_takes_no_history_and_no_slot_runs_twice() {
    let mut one = Clocked::with(EACH_SECOND);
    one.up();
    one.more_runs(3);
    one.daemon.down();
    let slots: Vec<String> = one.witnessed();
    // ten years ahead, until retention has looked; then right again, and before what ran
    one.set(3650 * DAY, 0);
    one.up();
    one.more_runs(1);
    one.set(3650 * DAY, 60);
    one.more_runs(1);
    let kept: i64 =
        one.daemon.database().query_row("SELECT min(seq) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
    one.daemon.down();
    let first: jiff::Timestamp = slots[0].parse().unwrap();
    one.set(first.as_second() - jiff::Timestamp::now().as_second() - 61, 60);
    one.up();
    one.more_runs(3);
    for slot in &slots {
        let ran: i64 = one
            .daemon
            .database()
            .query_row("SELECT count(*) FROM runs WHERE slot = strftime('%s', ?1) * 1000000", [slot], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(ran, 1, "{slot}");
    }
    one.check();
}

#[test]
fn a_clock_that_was_ahead_and_is_set_back_leaves_one_verdict_for_each_slot() {
    for ahead in [3600, 2 * DAY] {
        let mut one = Clocked::with(EACH_SECOND);
        one.up();
        one.more_runs(2);
        one.set(ahead, 0);
        one.more_runs(2);
        one.set(0, 0);
        // at once, not when the clock is there again
        one.more_runs(2);
        let told = one.daemon.until("slots_taken_back", "a");
        assert!(told["payload"]["count"].as_i64().unwrap() >= ahead - 60, "{told}");
        let view = one.daemon.call("get_agent_status", json!({"agent_id": "a"}));
        assert!(view["skipped_count"].as_i64().unwrap() < 60, "{view}");
        let (code, said) = one.client(&["health"]);
        assert_eq!(code, Some(0), "{said}");
        one.check();
    }
}

#[test]
fn the_clock_set_right_while_the_daemon_is_down_is_no_other() {
    let mut one = Clocked::with(EACH_SECOND);
    one.set(7200, 0); // a hardware clock in local time
    one.up();
    one.more_runs(2);
    one.daemon.down();
    one.set(0, 0);
    one.up();
    one.more_runs(2);
    one.check();
}

#[test]
fn who_is_silent_because_its_slots_ran_says_so() {
    let mut one =
        Clocked::with("[agents.a]\ninterval = \"1h\"\ncommand = \"echo $BGAGENT_SLOT >>WITNESS\"\n");
    one.up();
    // a slot that comes while the run before it is not yet recorded is passed over
    let recorded = |one: &Clocked, runs: i64| {
        wait_for("a run an hour", || {
            let view = one.daemon.call("get_agent_status", json!({"agent_id": "a"}));
            (view["success_count"] == runs && view["activity"] == "idle").then_some(())
        });
    };
    recorded(&one, 1);
    for hour in 1..=3 {
        one.set(0, hour * 3600);
        recorded(&one, 1 + hour);
    }
    one.set(-7000, 3 * 3600);
    let silent = wait_for("it to be silent", || {
        let view = one.daemon.call("get_agent_status", json!({"agent_id": "a"}));
        view["silent_until"].as_str().map(str::to_owned)
    });
    let year = &silent[..4];
    for args in [&["status", "a"][..], &["list"], &["why", "a"], &["next"], &["health"]] {
        let (code, said) = one.client(args);
        assert_eq!(code, Some(i32::from(args == ["health"])), "{args:?}: {said}");
        assert!(said.contains("silent"), "{args:?}: {said}");
        assert!(args == ["list"] || said.contains(year), "{args:?}: {said}");
    }
    // when that is over, it goes on
    one.set(-7000, 6 * 3600);
    wait_for("its next run", || (one.witnessed().len() == 5).then_some(()));
    let (code, said) = one.client(&["health"]);
    assert_eq!(code, Some(0), "{said}");
    one.check();
}

#[test]
fn status_counts_what_a_clock_in_another_century_left() {
    for ahead in [-9500, -3000] {
        let mut one = Clocked::with("[agents.a]\ninterval = \"2s\"\ncommand = [\"true\"]\n");
        one.set(ahead * DAY, 0);
        one.up();
        one.daemon.until("background_task_completed", "a");
        one.daemon.down();
        one.set(0, 0);
        one.up();
        for args in [&["status", "a"][..], &["list"], &["why", "a"]] {
            let (code, said) = one.client(args);
            assert_eq!(code, Some(0), "{args:?}: {said}");
        }
        one.check();
    }
}

/// What is decided beside the jump asks the ledger for its agents, too: no question replaces another one's.
#[test]
fn commands_while_the_clock_is_set_back_leave_no_agent_without_a_slot() {
    let agents: String =
        (0..20).map(|n| format!("[agents.a{n}]\ninterval = \"30s\"\ncommand = \"true\"\n")).collect();
    let mut one = Clocked::with(&agents);
    one.up();
    one.set(2 * 3600, 0);
    let judged = |view: &serde_json::Value| view["run_count"].as_i64() > Some(0);
    let all = |one: &Clocked| one.daemon.call("list_agents", json!({})).as_array().unwrap().clone();
    wait_for("slots ahead", || all(&one).iter().all(judged).then_some(()));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let mut client = one.daemon.client();
            scope.spawn(move || {
                for n in 0..100 {
                    let agent = format!("a{}", (n * 4 + worker) % 20);
                    for method in ["stop_agent", "start_agent"] {
                        client.call(method, json!({"agent_id": agent}));
                    }
                }
            });
        }
        one.set(0, 0);
    });
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(2);
    wait_for("a coming slot of each", || {
        let is_planned = |view: &serde_json::Value| {
            let next = view["next_run"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            view["state"] == "active" && next.is_some_and(|next| next < soon)
        };
        all(&one).iter().all(is_planned).then_some(())
    });
    one.check();
}

/// Damage of the ledger that only the question about slots ahead meets ends the daemon as any other damage does.
#[test]
fn a_ledger_that_is_damaged_does_not_hold_up_a_start_for_ever() {
    let mut one = Clocked::with(EACH_SECOND);
    one.up();
    one.more_runs(3);
    one.daemon.down();
    let database = one.daemon.database();
    let root: u64 = database
        .query_row("SELECT rootpage FROM sqlite_master WHERE name = 'ledger'", [], |row| row.get::<_, i64>(0))
        .unwrap() as u64;
    let size: u64 = database.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    drop(database);
    let path = one.daemon.path("state/bgagent.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let page = (root - 1) as usize * size as usize;
    bytes[page..page + size as usize].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    one.set(-2 * 3600, 0);
    let command = one.daemon.daemon_command();
    one.daemon.child = Some(one.clocked(command).spawn().unwrap());
    assert_eq!(one.daemon.wait_end(), Some(65), "{}", one.daemon.log());
}

/// A disk that can't be read for a while delays what asks the ledger, says so, and costs nothing more (strace(1) makes
/// its reads fail).
#[test]
fn a_ledger_that_can_not_be_read_is_asked_again() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: no strace here");
        return;
    }
    let mut one = Clocked::with(EACH_SECOND);
    one.up();
    one.set(2 * 3600, 0);
    one.more_runs(3);
    let database = one.daemon.path("state/bgagent.db").display().to_string();
    let pid = one.daemon.child.as_ref().expect("it runs").id().to_string();
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        &database,
        "-P",
        &format!("{database}-wal"),
        "-p",
        &pid,
    ]);
    strace.args(["-e", "trace=pread64", "-e", "inject=pread64:error=EIO"]);
    let mut strace = strace.stdin(std::process::Stdio::null()).spawn().expect("strace");
    let is_traced = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse::<u32>().ok())
    };
    wait_for("strace to attach", || is_traced().filter(|tracer| *tracer != 0));
    one.set(0, 0);
    let problem = || one.daemon.call("get_daemon_status", json!({}))["problem"].as_str().map(str::to_owned);
    wait_for("the daemon to say so", || {
        problem()
            .filter(|text| text.contains("the ledger can't be read since the clock was set back; 1 agent"))
    });
    let (code, health) = one.client(&["health"]);
    assert!(code == Some(1) && health.contains("without a slot until it can"), "{code:?}: {health}");
    super::support::signal(strace.id(), rustix::process::Signal::TERM);
    strace.wait().expect("it ends");
    one.more_runs(3);
    wait_for("the daemon to be well", || problem().is_none().then_some(()));
    assert!(one.daemon.log().contains("the ledger can be read again"), "{}", one.daemon.log());
    one.check();
}
