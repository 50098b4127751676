//! A real daemon in a folder of its own, and a client that speaks the wire by hand.
use super::records::Records;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The longest that a test waits for anything: only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What is to happen without waiting for a bound of a minute or more has happened by then, also on a busy machine.
pub const SOON: Duration = Duration::from_secs(25);

/// The program under test.
pub fn bgagent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bgagent"));
    for name in [
        "BGAGENT_CONFIG",
        "BGAGENT_STATE_DIR",
        "BGAGENT_SOCKET",
        "NOTIFY_SOCKET",
        "INVOCATION_ID",
        "SYSTEMD_EXEC_PID",
        "BGAGENT_DELEGATED",
    ] {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").env("NO_COLOR", "1");
    command
}

/// An address where nobody listens, and nobody can: its port is taken by a socket that takes no connections. A port
/// that was only free a moment ago may be the next test's.
pub fn nobody() -> std::net::SocketAddr {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    static TAKEN: std::sync::OnceLock<rustix::fd::OwnedFd> = std::sync::OnceLock::new();
    let taken = TAKEN.get_or_init(|| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket
    });
    getsockname(taken).expect("it is bound").try_into().expect("an address of the internet")
}

/// Sends a signal to a process of the test.
#[track_caller]
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a number")).expect("a number");
    rustix::process::kill_process(pid, signal).expect("it lives");
}

/// Polls until `ready` gives something. Not a sleep: it ends when the thing is there.
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A daemon that runs, or could.
pub struct Daemon {
    pub folder: tempfile::TempDir,
    pub child: Option<Child>,
    /// MCP servers that are trusted as they are when it is ready for the first time.
    pub trusts: Vec<String>,
    /// Where its records are; `None`: in a file.
    pub records: Option<Records>,
}

impl Daemon {
    /// A folder with this configuration; nothing runs yet.
    pub fn with(config: &str) -> Self {
        let daemon = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            child: None,
            trusts: Vec::new(),
            records: Records::wanted(),
        };
        daemon.configure(config);
        daemon
    }

    /// The same, started.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        let mut daemon = Self::with(config);
        daemon.up();
        daemon
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the configuration, as an editor does.
    pub fn configure(&self, config: &str) {
        let fresh = self.path("agents.toml.new");
        let store =
            self.records.as_ref().map(|records| records.table(self.folder.path())).unwrap_or_default();
        std::fs::write(&fresh, format!("{config}{store}")).expect("the folder can be written");
        std::fs::rename(fresh, self.path("agents.toml")).expect("the folder can be written");
    }

    /// The program with this daemon's folders.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = bgagent();
        command
            .arg("--config")
            .arg(self.path("agents.toml"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(args);
        command
    }

    /// The daemon's command, with the socket in the folder, and its log beside it. Whatever its file changes to is
    /// wanted.
    pub fn daemon_command(&self) -> Command {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log");
        let mut command = self.command(&["--socket"]);
        command
            .arg(self.path("socket"))
            .args(["daemon", "--trust"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// Starts the daemon and waits until it answers.
    #[track_caller]
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(self.daemon_command().spawn().expect("the program can be started"));
        self.ready();
    }

    /// Waits until the daemon answers.
    #[track_caller]
    pub fn ready(&mut self) {
        if let Some(code) = self.ready_or_ended() {
            panic!("the daemon ended with {code:?}\n{}", self.log());
        }
        for server in std::mem::take(&mut self.trusts) {
            // one that does not answer is what its test is about
            self.call("list_mcp", json!({"server": server}));
            let _ = self.client().try_call("trust_mcp", json!({"server": server}));
        }
    }

    /// The same; an exit code if it ended before.
    #[track_caller]
    pub fn ready_or_ended(&mut self) -> Option<Option<i32>> {
        let socket = self.path("socket");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(stream) = UnixStream::connect(&socket) {
                let mut client = Client::new(stream);
                if client.try_call("ping", json!({})).is_ok() {
                    return None;
                }
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().expect("a child")) {
                return Some(status.code());
            }
            assert!(Instant::now() < deadline, "the daemon does not answer\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A client of its own.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(UnixStream::connect(self.path("socket")).expect("the daemon listens"))
    }

    /// One call.
    #[track_caller]
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.client().call(method, params)
    }

    /// The end of a run, as `get_run` tells it.
    #[track_caller]
    pub fn finished(&self, run: &Value) -> Value {
        wait_for("the end of a run", || {
            let view = self.call("get_run", json!({"run_id": run}));
            view["finished_at"].is_string().then_some(view)
        })
    }

    /// A whole run of an agent, by hand.
    #[track_caller]
    pub fn run_by_hand(&self, agent: &str) -> Value {
        let started = self.call("run_agent", json!({"agent_id": agent}));
        self.finished(&started["run_id"])
    }

    /// Ends it as a power cut would, for the process.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Ends it in order; the exit code is returned.
    #[track_caller]
    pub fn down(&mut self) -> Option<i32> {
        let _ = self.client().try_call("shutdown", json!({"now": true}));
        self.wait_end()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_end(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        let status = wait_for("the daemon's end", || child.try_wait().expect("a child"));
        status.code()
    }

    /// Runs a client command.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("the program can be started")
    }

    /// Runs a client command that must succeed; its standard output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "bgagent {args:?}: {:?}\n{}{}\n{}",
            output.status.code(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// The database, read by hand.
    pub fn database(&self) -> rusqlite::Connection {
        open(&self.database_file())
    }

    /// The file of the database; of records on a server a copy that is made now.
    pub fn database_file(&self) -> PathBuf {
        let Some(records) = &self.records else { return self.path("state/bgagent.db") };
        let copy = self.path("records.db");
        records.copy(&copy);
        copy
    }

    /// Holds the database's lock for writers, until it is dropped.
    pub fn lock_database(&self) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(self.path("state/bgagent.db")).expect("the database opens");
        database.busy_timeout(PATIENCE).expect("a timeout");
        database.execute_batch("BEGIN IMMEDIATE").expect("the lock");
        database
    }

    /// Waits for an event of this type (and agent), looking at all events from the first.
    #[track_caller]
    pub fn until(&self, kind: &str, agent: &str) -> Value {
        self.until_event(&format!("{kind} of {agent}"), |event| {
            event["type"] == kind && event["agent_id"] == agent
        })
    }

    /// Waits for an event, looking at all events from the first.
    #[track_caller]
    pub fn until_event(&self, what: &str, wanted: impl FnMut(&Value) -> bool) -> Value {
        self.client().until(what, json!({"from": 1}), wanted)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // a chance to end its own children first
            if let Ok(stream) = UnixStream::connect(self.path("socket")) {
                let _ = Client::new(stream).try_call("shutdown", json!({"now": true}));
                let deadline = Instant::now() + SOON;
                while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A connection that speaks the wire by hand.
pub struct Client {
    pub input: BufReader<UnixStream>,
    pub output: UnixStream,
    id: u64,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let output = stream.try_clone().expect("a socket");
        Self { input: BufReader::new(stream), output, id: 0 }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.output.write_all(bytes)
    }

    /// The next line; `None` at the end.
    pub fn line(&mut self) -> std::io::Result<Option<Value>> {
        let mut line = String::new();
        match self.input.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(serde_json::from_str(&line).expect("the daemon speaks JSON"))),
        }
    }

    /// A call; notifications that come before the answer are passed over.
    pub fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.id += 1;
        let id = self.id;
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string() + "\n";
        self.send(line.as_bytes()).map_err(|error| json!({"io": error.to_string()}))?;
        loop {
            let answer = self.line().map_err(|error| json!({"io": error.to_string()}))?;
            let answer = answer.ok_or(json!({"io": "closed"}))?;
            if answer["id"] == id {
                return match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params.clone()).unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// Subscribes and waits for an event.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut params: Value, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        params["follow"] = json!(true);
        self.call("stream_agent_events", params);
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while Instant::now() < deadline {
            let Ok(Some(line)) = self.line() else { break };
            if line["method"] == "event" {
                let event = &line["params"]["event"];
                if wanted(event) {
                    return event.clone();
                }
                seen.push(format!(
                    "{} {} {} {}",
                    event["seq"], event["type"], event["agent_id"], event["payload"]
                ));
            }
        }
        panic!("waited in vain for {what}; seen:\n{}", seen.join("\n"));
    }
}

/// Runs a command, which must end with this exit code and say this on one of its outputs.
#[track_caller]
pub fn code(daemon: &Daemon, args: &[&str], expected: i32, said: &str) {
    let output = daemon.run(args);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{args:?}: {text}");
    assert!(text.contains(said), "{args:?}: `{said}` is missing:\n{text}");
}

/// The Python of this machine, in full: a `python3` that is the script of a version manager takes longer to find it than
/// the server that it starts takes to answer.
pub fn python3() -> &'static str {
    static FOUND: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    FOUND.get_or_init(|| {
        let ask = ["-c", "import sys; print(sys.executable, end='')"];
        let output = Command::new("python3").args(ask).output().expect("there is a python3");
        String::from_utf8(output.stdout).expect("UTF-8")
    })
}

/// A database, read-only.
pub fn open(path: &Path) -> rusqlite::Connection {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = rusqlite::Connection::open_with_flags(path, flags).expect("the database opens");
    database.busy_timeout(PATIENCE).expect("a timeout");
    database
}
