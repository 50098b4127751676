//! Measures the real binary, built for release, through its real socket: `cargo bench`.
//!
//! Prints one table, in Markdown. `cargo bench -- quick` leaves out the fleet of 100,000 agents, and
//! `cargo bench -- archive`, `-- burst`, `-- feeds`, `-- probes`, `-- runs` and `-- walls` measure only those.
mod archive;
mod feeds;
mod health;
mod models;
#[path = "../tests/it/postgres.rs"]
mod postgres;
mod walls;

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let asked = |word: &str| std::env::args().any(|arg| arg == word);
    let quick = asked("quick");
    println!("| measure | value |\n|---|---|");
    if asked("archive") {
        return archive::rows_per_second(1_000_000);
    }
    if asked("probes") {
        return health::probes_per_second();
    }
    if asked("runs") {
        return runs_per_second();
    }
    if asked("walls") {
        return walls::cost_of_a_start();
    }
    if asked("burst") {
        return burst(1_000);
    }
    if asked("feeds") {
        return feeds::items_per_second();
    }
    start_of_a_client();
    runs_per_second();
    walls::cost_of_a_start();
    one_agent();
    for agents in [1_000, 10_000] {
        lists(agents);
    }
    burst(1_000);
    idle(10);
    models::runs_per_second();
    models::own_time();
    models::in_flight(1_000);
    archive::rows_per_second(1_000_000);
    health::probes_per_second();
    feeds::items_per_second();
    if !quick {
        events_per_second();
        restart(1_000_000);
        idle(100_000);
    }
}

/// So long after its start a daemon is measured that has nothing to do.
const SETTLED: Duration = Duration::from_secs(20);

fn row(what: &str, value: impl std::fmt::Display) {
    println!("| {what} | {value} |");
}

/// A daemon in a folder of its own.
struct Daemon {
    folder: tempfile::TempDir,
    child: Child,
    ready_after: Duration,
}

impl Daemon {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("agents.toml"), config).expect("a file");
        let mut command = program(folder.path());
        command
            .args(["daemon", "--trust"])
            .env("BGAGENT_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        let began = Instant::now();
        let child = command.spawn().expect("it starts");
        let mut daemon = Self { folder, child, ready_after: Duration::ZERO };
        loop {
            if let Some(mut client) = daemon.connect() {
                // written with the first commit: from then on it schedules
                client.events("daemon_started", 1, 1);
                daemon.ready_after = began.elapsed();
                return daemon;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it does not answer");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn connect(&self) -> Option<Client> {
        let output = UnixStream::connect(self.socket()).ok()?;
        let input = BufReader::new(output.try_clone().ok()?);
        Some(Client { input, output, id: 0 })
    }

    fn client(&self) -> Client {
        self.connect().expect("it listens")
    }

    /// Resident memory in MiB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib / 1024.0
    }

    /// Processor time so far, in seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("/proc");
        let after = stat.rsplit(')').next().expect("fields");
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut client) = self.connect() {
            client.call("shutdown", json!({"now": true}));
        }
        let _ = self.child.wait();
    }
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bgagent"));
    command
        .arg("--config")
        .arg(folder.join("agents.toml"))
        .arg("--state-dir")
        .arg(folder.join("state"))
        .arg("--socket")
        .arg(folder.join("s"));
    command
}

struct Client {
    input: BufReader<UnixStream>,
    output: UnixStream,
    id: u64,
}

impl Client {
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.input.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let id = self.id;
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string() + "\n";
        self.output.write_all(line.as_bytes()).expect("it is read");
        loop {
            let answer = self.line();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Follows events of one type until there are enough.
    fn events(&mut self, kind: &str, from: u64, count: usize) -> Vec<Value> {
        self.call("stream_agent_events", json!({"from": from, "types": [kind]}));
        let mut found = Vec::with_capacity(count);
        while found.len() < count {
            let line = self.line();
            if line["method"] == "event" {
                found.push(line["params"]["event"].clone());
            }
        }
        found
    }
}

fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * part).ceil() as usize).clamp(1, values.len()) - 1]
}

fn instant(text: &Value) -> f64 {
    let at: jiff::Timestamp = text.as_str().expect("an instant").parse().expect("an instant");
    at.as_microsecond() as f64 / 1000.0
}

/// From due to the start of the process, in milliseconds.
fn lags(events: &[Value]) -> Vec<f64> {
    events.iter().map(|event| instant(&event["ts"]) - instant(&event["payload"]["slot"])).collect()
}

fn start_of_a_client() {
    let daemon = Daemon::start(&fleet(10, 3600));
    let time = |arguments: &[&str]| {
        let mut taken: Vec<f64> = (0..21)
            .map(|_| {
                let began = Instant::now();
                let status = program(daemon.folder.path()).args(arguments).stdout(Stdio::null()).status();
                assert!(status.expect("it starts").success());
                began.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        percentile(&mut taken, 0.5)
    };
    row("`bgagent --version`, wall, median of 21", format!("{:.1} ms", time(&["--version"])));
    row("`bgagent list`, 10 agents, wall, median of 21", format!("{:.1} ms", time(&["list"])));
    row("`bgagent status`, wall, median of 21", format!("{:.1} ms", time(&["status"])));
}

fn fleet(agents: usize, interval: u64) -> String {
    let mut toml =
        String::from("[defaults]\nfirst_run = \"after_interval\"\n[daemon]\nmax_parallel_runs = 64\n");
    for n in 0..agents {
        write!(toml, "[agents.a{n}]\ninterval = {interval}\ncommand = [\"true\"]\n").expect("a string");
    }
    toml
}

/// Runs of a command as fast as a daemon with its default places gives them, against a bare loop on this
/// machine: each the median of three readings, in turns.
fn runs_per_second() {
    let mut readings: Vec<(f64, f64)> = (0..3).map(|_| (bare_runs(), daemon_runs())).collect();
    let mut median = |of: fn(&(f64, f64)) -> f64| {
        readings.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&readings[1])
    };
    let (bare, ours) = (median(|pair| pair.0), median(|pair| pair.1));
    row("bare fork/exec/wait of `/bin/true`, one after the other", format!("{bare:.0} /s"));
    row(
        "command runs, 64 at a time, claimed, recorded and ended",
        format!("{ours:.0} /s ({:.2} of the bare loop)", ours / bare),
    );
}

const RUNS: usize = 2000;

fn bare_runs() -> f64 {
    let began = Instant::now();
    for _ in 0..RUNS {
        Command::new("/bin/true").status().expect("it starts");
    }
    RUNS as f64 / began.elapsed().as_secs_f64()
}

fn daemon_runs() -> f64 {
    let daemon = Daemon::start("[agents.a]\ncommand = [\"/bin/true\"]\noverlap = \"parallel\"\n");
    let mut client = daemon.client();
    let began = Instant::now();
    let mut calls = String::new();
    for id in 0..RUNS {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "run_agent", "params": {"agent_id": "a"}});
        writeln!(calls, "{call}").expect("a string");
    }
    let mut output = client.output.try_clone().expect("a socket");
    let sender = std::thread::spawn(move || output.write_all(calls.as_bytes()).expect("it is read"));
    for _ in 0..RUNS {
        client.line();
    }
    sender.join().expect("it ends");
    client.events("background_task_completed", 1, RUNS);
    RUNS as f64 / began.elapsed().as_secs_f64()
}

fn one_agent() {
    let daemon = Daemon::start(&fleet(1, 1));
    let events = daemon.client().events("background_task_started", 1, 30);
    let mut lags = lags(&events);
    row(
        "one agent, due → its process waits at the gate, p50 / p99 of 30",
        format!("{:.1} / {:.1} ms", percentile(&mut lags, 0.5), percentile(&mut lags, 0.99)),
    );
}

fn lists(agents: usize) {
    let daemon = Daemon::start(&fleet(agents, 86_400));
    let began = Instant::now();
    let status = program(daemon.folder.path()).arg("list").stdout(Stdio::null()).status();
    assert!(status.expect("it starts").success());
    row(
        &format!("`bgagent list`, {agents} agents, wall"),
        format!("{:.0} ms", began.elapsed().as_secs_f64() * 1000.0),
    );
}

/// All agents of a fleet due in the same instant: when the claim of each slot was on record for others
/// to see, and when its process was.
fn burst(agents: usize) {
    let daemon = Daemon::start(&fleet(agents, 10));
    let database = daemon.folder.path().join("state/bgagent.db");
    let database =
        rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .expect("it opens");
    let mut count = database.prepare("SELECT count(*) FROM runs WHERE slot IS NOT NULL").expect("SQL");
    let mut seen_at = Vec::with_capacity(agents);
    while seen_at.len() < agents {
        let claimed: i64 = count.query_row([], |row| row.get(0)).expect("a number");
        let claimed = usize::try_from(claimed).expect("a count");
        seen_at.resize(claimed.min(agents).max(seen_at.len()), jiff::Timestamp::now().as_microsecond());
        std::thread::park_timeout(Duration::from_millis(1));
    }
    daemon.client().events("background_task_started", 1, agents);
    let mut statement = database
        .prepare("SELECT slot, (started_at - slot) / 1000.0 FROM runs WHERE slot IS NOT NULL AND started_at IS NOT NULL ORDER BY slot")
        .expect("SQL");
    let rows: Vec<(i64, f64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .flatten()
        .take(agents)
        .collect();
    let mut claimed: Vec<f64> =
        rows.iter().zip(&seen_at).map(|((slot, _), at)| (at - slot) as f64 / 1000.0).collect();
    let mut started: Vec<f64> = rows.iter().map(|(_, started)| *started).collect();
    row(
        &format!("{agents} agents due at once, due → claim on record, p50 / p99"),
        format!("{:.0} / {:.0} ms", percentile(&mut claimed, 0.5), percentile(&mut claimed, 0.99)),
    );
    row(
        &format!("{agents} agents due at once, due → started, p50 / p99"),
        format!("{:.0} / {:.0} ms", percentile(&mut started, 0.5), percentile(&mut started, 0.99)),
    );
}

/// Events as one writer commits them, in transactions of 512.
fn events_per_second() {
    use bgagent::domain::{AgentId, Entry, Fact};
    use bgagent::store::Store;
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let seconds = runtime.expect("a runtime").block_on(async {
        let (store, _) = Store::open(&folder.path().join("bgagent.db")).expect("it opens");
        let agent: AgentId = "a".parse().expect("a name");
        let began = Instant::now();
        for _ in 0..400 {
            let at = jiff::Timestamp::now();
            let facts = (0..512).map(|n| Entry {
                at,
                fact: Fact::CircuitClosed { agent: agent.clone(), reason: n.to_string() },
            });
            store.commit(facts.collect()).await.expect("it is written");
        }
        began.elapsed().as_secs_f64()
    });
    row("durable events, one writer, 512 to a commit", format!("{:.0} /s", 400.0 * 512.0 / seconds));
}

/// A start on a database with so many events.
fn restart(events: u64) {
    let mut daemon = Daemon::start(&fleet(10, 86_400));
    daemon.client().call("shutdown", json!({"now": true}));
    let _ = daemon.child.wait();
    let database = daemon.folder.path().join("state/bgagent.db");
    let database = rusqlite::Connection::open(database).expect("it opens");
    database
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO events(seq, at, type, agent, payload)
             SELECT (SELECT max(seq) FROM events) + i, ?2, 'circuit_closed', 'a' || (i % 10), '{\"reason\":\"x\"}' FROM n",
            rusqlite::params![events as i64, jiff::Timestamp::now().as_microsecond()],
        )
        .expect("SQL");
    drop(database);
    let mut command = program(daemon.folder.path());
    command.args(["daemon", "--trust"]).env("BGAGENT_LOG", "warn").stdout(Stdio::null());
    let began = Instant::now();
    daemon.child = command.spawn().expect("it starts");
    loop {
        if let Some(mut client) = daemon.connect() {
            client.events("daemon_started", events, 1);
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not answer");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    row(
        &format!("restart with {events} events, ready after"),
        format!("{:.0} ms", began.elapsed().as_secs_f64() * 1000.0),
    );
}

fn idle(agents: usize) {
    let daemon = Daemon::start(&fleet(agents, 86_400));
    // what a start leaves behind (the configuration's text, the first checkpoint) is cleared away in this time
    std::thread::park_timeout(SETTLED);
    let cpu = daemon.cpu();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        std::thread::park_timeout(Duration::from_millis(500));
    }
    let used = (daemon.cpu() - cpu) / began.elapsed().as_secs_f64() * 100.0;
    row(
        &format!("{agents} agents, first start, ready after"),
        format!("{:.2} s", daemon.ready_after.as_secs_f64()),
    );
    row(
        &format!("{agents} agents, nothing due: memory, processor"),
        format!("{:.0} MiB, {used:.2} %", daemon.memory()),
    );
}
