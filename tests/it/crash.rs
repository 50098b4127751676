//! The real binary under `kill -9`, with a witness that the children write, and one checker at the end.
use super::checker;
use super::rng::Rng;
use super::support::{Daemon, wait_for};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the daemon is killed in the suite; more with `BGAGENT_KILLS`.
const KILLS: u64 = 110;

fn fleet(witness: &Path) -> String {
    let note = format!(
        "printf '%s %s %s %s\\n' \"$BGAGENT_AGENT_ID\" \"$BGAGENT_SLOT\" \"$BGAGENT_RUN_ID\" \"$BGAGENT_ATTEMPT\" >> {}",
        witness.display()
    );
    let mut toml =
        String::from("[daemon]\nmax_parallel_runs = 16\n[defaults]\ncircuit_breaker = { open_after = 0 }\n");
    for n in 0..12 {
        let (body, extra) = match n % 4 {
            0 => (note.clone(), ""),
            1 => (format!("{note}; sleep 0.3"), "overlap = \"parallel\""),
            2 => (format!("{note}; sleep 5"), "overlap = \"queue\""),
            _ => (format!("{note}; exit 3"), "retry = { max = 1, initial = 0 }"),
        };
        writeln!(toml, "[agents.a{n}]\ninterval = 1\ncommand = '''{body}'''\n{extra}").expect("a string");
    }
    // one that keeps what changes: all is well, now and then not
    writeln!(
        toml,
        "[agents.watch]\ninterval = \"100ms\"\ntool = \"probe\"\nhistory = \"changes\"\nargs = {{ checks = [\
           {{ type = \"command\", name = \"calm\", command = 'test $(($(date +%s) % 10)) != 0' }}] }}"
    )
    .expect("a string");
    toml
}

/// How many looks found nothing that is news.
fn looks_that_found_all_well(daemon: &Daemon) -> i64 {
    let well = "SELECT coalesce(sum(count), 0) FROM ledger WHERE agent = 'watch' AND cause = 'all well'";
    daemon.database().query_row(well, [], |row| row.get(0)).expect("a number")
}

/// How many programs have begun to run.
fn started(witness: &Path) -> usize {
    std::fs::read_to_string(witness).unwrap_or_default().lines().count()
}

/// Has so much happened that a loss would be seen?
fn is_enough(daemon: &Daemon, witness: &Path) -> bool {
    started(witness) > 20 && looks_that_found_all_well(daemon) > 20
}

/// No slot twice, every slot exactly one verdict, no run without an end, no child left, through more
/// than a hundred kills at random moments.
#[test]
fn killed_at_any_moment_nothing_is_lost_or_doubled() {
    let kills = std::env::var("BGAGENT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::var("BGAGENT_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(7);
    let mut random = Rng::new(seed);
    let mut daemon = Daemon::with("");
    let witness = daemon.path("witness");
    daemon.configure(&fleet(&witness));
    // on a busy machine a life is short: more of them, until enough has happened that may be lost
    let mut kill = 0;
    while kill < kills || (kill < 8 * kills && !is_enough(&daemon, &witness)) {
        kill += 1;
        let mut child = daemon.daemon_command().spawn().expect("the program can be started");
        // early kills hit the start itself, late ones a busy daemon
        let life =
            Duration::from_millis(if kill % 3 == 0 { random.next() % 60 } else { random.next() % 700 });
        // where that many lives were too short, the next ones are longer
        let end = Instant::now() + life * (1 << (kill / kills).min(3));
        wait_for("the moment to kill", || (Instant::now() >= end).then_some(()));
        if let Some(status) = child.try_wait().expect("a child") {
            panic!("seed {seed}, kill {kill}: the daemon ended by itself: {status}\n{}", daemon.log());
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    // one life in peace: whatever was open gets its end
    daemon.up();
    daemon.until("background_task_completed", "a0");
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
    let mut every: Vec<(String, i64)> = (0..12).map(|n| (format!("a{n}"), 1_000_000)).collect();
    every.push(("watch".into(), 100_000));
    let every: Vec<(&str, i64)> = every.iter().map(|(name, period)| (name.as_str(), *period)).collect();
    let counted = checker::check(&daemon.database_file(), Some(&witness), &every);
    let (well, started) = (looks_that_found_all_well(&daemon), started(&witness));
    assert!(well > 20 && started > 20, "{well} looks found all well, {started} runs were started");
    assert_eq!(children_left(&witness), Vec::<String>::new(), "children of dead daemons live on");
    println!(
        "{kill} kills (seed {seed}): {started} starts witnessed, {well} looks left no record, {counted:?}"
    );
}

/// Processes that carry the id of a run that the witness knows.
pub fn children_left(witness: &std::path::Path) -> Vec<String> {
    let witness = std::fs::read_to_string(witness).expect("a witness");
    let runs: std::collections::HashSet<&str> =
        witness.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(environ) = std::fs::read(entry.path().join("environ")) else { continue };
        for variable in environ.split(|byte| *byte == 0) {
            let variable = String::from_utf8_lossy(variable);
            if variable.strip_prefix("BGAGENT_RUN_ID=").is_some_and(|run| runs.contains(run)) {
                left.push(format!("{} {variable}", entry.path().display()));
            }
        }
    }
    left
}
