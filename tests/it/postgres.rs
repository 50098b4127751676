//! A real PostgreSQL server in a folder of its own. Where there is none to start, [`Server::start`] says that the
//! test is skipped; `BGAGENT_REQUIRE_SERVERS=1` makes that a failure.
#![allow(dead_code, reason = "tests of the store and of the whole each use a part")]
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The user that the server runs as when we are root: it refuses to be root.
const NOBODY: &str = "65534";

/// A server; it ends with this value.
pub struct Server {
    pub folder: tempfile::TempDir,
    pub port: u16,
    child: Child,
    run: Command,
}

impl Drop for Server {
    fn drop(&mut self) {
        // "Immediate Shutdown" of postgres(1): it takes its children with it.
        self.signal(rustix::process::Signal::QUIT);
        let _ = self.child.wait();
    }
}

/// The folder of `initdb` and `postgres`.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
    folders.extend(std::env::split_paths(&path));
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

fn as_nobody(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
    command
}

/// A cluster as `initdb` makes it, which takes seconds: made once, and kept beside what the tests are built into.
fn cluster(programs: &Path, scratch: &Path) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let version = as_nobody(&programs.join("initdb")).arg("--version").output().expect("initdb runs").stdout;
    let version: String =
        String::from_utf8_lossy(&version).chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let kept = scratch_of_build().join(format!("cluster-{version}"));
    if kept.exists() {
        return kept;
    }
    let (made, password) = (scratch.join("made"), scratch.join("password"));
    std::fs::write(&password, "rooty").expect("our folder");
    let output = as_nobody(&programs.join("initdb"))
        .arg("-D")
        .arg(&made)
        .args([
            "-U",
            "boss",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--wal-segsize=1",
            "--pwfile",
        ])
        .arg(&password)
        .output()
        .expect("initdb runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fresh = PathBuf::from(format!("{}.{}", kept.display(), std::process::id()));
    copy(&made, &fresh);
    if std::fs::rename(&fresh, &kept).is_err() {
        let _ = std::fs::remove_dir_all(&fresh); // another process was first
    }
    kept
}

/// Where the build keeps what tests make once. Only integration tests are told of it.
fn scratch_of_build() -> PathBuf {
    let told = option_env!("CARGO_TARGET_TMPDIR").map(PathBuf::from);
    let folder = told.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp"));
    std::fs::create_dir_all(&folder).expect("the folder of the build");
    folder
}

/// With owners and modes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} can't be copied to {}", from.display(), to.display());
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A fresh server with the superuser `boss` (password `rooty`); `None`: there is none on this machine. It may
    /// not be up yet.
    pub fn start() -> Option<Self> {
        Self::start_with(&["-c", "fsync=off"])
    }

    /// The same, with settings of its own.
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            let required = std::env::var("BGAGENT_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
            assert!(
                !required,
                "there is no PostgreSQL on this machine, and BGAGENT_REQUIRE_SERVERS=1 requires it"
            );
            eprintln!("skipped: there is no PostgreSQL on this machine");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("our folder");
        let data = folder.path().join("data");
        copy(&cluster(&programs, folder.path()), &data);
        Some(Self::run(&programs, folder, &data, settings))
    }

    fn run(programs: &Path, folder: tempfile::TempDir, data: &Path, settings: &[&str]) -> Self {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let log = std::fs::File::create(folder.path().join("log")).expect("our folder");
        let mut run = as_nobody(&programs.join("postgres"));
        run.arg("-D")
            .arg(data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(settings)
            .arg("-k")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = run.spawn().expect("the server can be started");
        Self { folder, port, child, run }
    }

    /// A standby of it, in a folder of its own. It may not be up yet.
    pub fn standby(&self) -> Self {
        let programs = programs().expect("the server was started from there");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("our folder");
        let data = folder.path().join("data");
        let source = format!("host=127.0.0.1 port={} user=boss password=rooty", self.port);
        let output = as_nobody(&programs.join("pg_basebackup"))
            .args(["-R", "-c", "fast", "-X", "stream", "-d", &source, "-D"])
            .arg(&data)
            .output()
            .expect("pg_basebackup runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::run(&programs, folder, &data, &["-c", "fsync=off"])
    }

    /// Returns when it takes connections.
    pub fn wait_until_up(&self) {
        while self.psql("SELECT 1").is_err() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// What psql(1) prints for statements of the superuser, without headings; what it says of the first that fails.
    pub fn psql(&self, sql: &str) -> Result<String, String> {
        let programs = programs().expect("the server was started from there");
        let url = format!("postgres://boss:rooty@{}/postgres?sslmode=disable", self.address());
        let mut command = Command::new(programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, &url]);
        let output = command.stdin(Stdio::null()).output().expect("psql runs");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does.
    pub fn end(&mut self) {
        self.signal(rustix::process::Signal::QUIT);
        let _ = self.child.wait();
    }

    /// Starts one that was ended again.
    pub fn go_on(&mut self) {
        self.child = self.run.spawn().expect("the server can be started");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process(pid.expect("a process"), signal);
    }
}
