//! Clients in crowds, clients that never read, and clients and sockets of other users.
use super::support::{Client, Daemon, SOON, bgagent, wait_for};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BIG: &str = "[agents.big]\ncommand = \"head -c 1000000 /dev/zero | tr '\\\\0' x\"\nmax_output = \"1MiB\"\n\
                   [agents.a]\ncommand = [\"true\"]\n";

/// Memory of the daemon, in MiB.
fn resident(daemon: &Daemon) -> u64 {
    let pid = daemon.child.as_ref().expect("it runs").id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc_pid_status(5)");
    kib.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

#[test]
fn who_never_reads_fills_no_memory() {
    let daemon = Daemon::start(BIG);
    let run = daemon.run_by_hand("big")["run_id"].clone();
    let asks = json!({"jsonrpc": "2.0", "id": 1, "method": "get_run_output", "params": {"run_id": run}});
    let follows = json!({"jsonrpc": "2.0", "id": 2, "method": "stream_agent_events", "params": {"from": 1}});
    let before = resident(&daemon);
    let lines = format!("{asks}\n").repeat(64) + &format!("{follows}\n").repeat(10);
    let mut never_read = Vec::new();
    for _ in 0..120 {
        let mut client = daemon.client();
        let _ = client.send(lines.as_bytes());
        never_read.push(client);
    }
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(4) {
        most = most.max(resident(&daemon));
        let asked = Instant::now();
        assert_eq!(daemon.call("pause_agent", json!({"agent_id": "a"}))["state"], "paused");
        assert!(asked.elapsed() < SOON);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(most < before + 180, "it grew from {before} to {most} MiB");
    // Those that hold up others are let go, and whoever reads gets everything.
    let output = daemon.call("get_run_output", json!({"run_id": run}));
    assert!(output.to_string().len() > 200_000, "{}", output.to_string().len());
    assert!(daemon.log().contains("does not read its answers"), "{}", daemon.log());
}

#[test]
fn in_a_crowd_the_daemon_is_still_steered() {
    let mut daemon = Daemon::with(BIG);
    let plain = daemon.daemon_command();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    daemon.child = Some(limited.stderr(Stdio::null()).spawn().expect("there is a shell"));
    daemon.ready();
    let connect = || Client::new(UnixStream::connect(daemon.path("socket")).expect("it listens"));
    // A quarter of its files are for clients: all those places are taken by some that wait for events.
    let mut crowd = Vec::new();
    for _ in 0..64 {
        let mut client = connect();
        client.call("stream_agent_events", json!({}));
        crowd.push(client);
    }
    let mut late = connect();
    assert!(late.try_call("list_agents", json!({})).is_err(), "the house is full");
    // and many more who say nothing
    let silent: Vec<Client> = (0..300).map(|_| connect()).collect();
    for (method, params) in [
        ("hello", json!({"protocols": [1], "client": "test"})),
        ("get_daemon_status", json!({})),
        ("pause_agent", json!({"agent_id": "a"})),
        ("get_agent_status", json!({"agent_id": "a"})),
        ("resume_agent", json!({"agent_id": "a"})),
        ("stop_agent", json!({"agent_id": "a"})),
    ] {
        connect().try_call(method, params).unwrap_or_else(|error: Value| panic!("{method}: {error}"));
    }
    connect().try_call("shutdown", json!({})).expect("it can be ended");
    assert_eq!(daemon.wait_end(), Some(0));
    drop((crowd, silent));
}

#[test]
fn a_folder_that_others_can_exchange_is_not_used() {
    let mut daemon = Daemon::with(BIG);
    let open = daemon.path("open");
    std::fs::create_dir(&open).expect("a folder");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("a mode");
    let with = |state: &str, socket: &str| {
        let mut command = bgagent();
        command.arg("--config").arg(daemon.path("agents.toml")).arg("--state-dir").arg(daemon.path(state));
        let output =
            command.arg("--socket").arg(daemon.path(socket)).arg("daemon").output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (state, socket) in [("open/state", "socket"), ("state", "open/socket"), ("state", "open/own/socket")]
    {
        let (code, text) = with(state, socket);
        assert_eq!(code, Some(77), "{text}");
        assert!(text.contains("others may write to it (mode 777)") && text.contains("chmod go-w"), "{text}");
    }
    assert!(!open.join("state").exists());
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).expect("a mode");
    std::fs::create_dir(open.join("own")).expect("a folder");
    let command = daemon.daemon_command();
    let args: Vec<_> = command.get_args().map(|arg| arg.to_owned()).collect();
    let mut sticky = Command::new(command.get_program());
    let socket = daemon.path("socket");
    let elsewhere = open.join("own/socket");
    sticky.args(args.iter().map(|arg| if *arg == *socket.as_os_str() { elsewhere.as_os_str() } else { arg }));
    daemon.child = Some(sticky.stderr(Stdio::null()).spawn().expect("it starts"));
    wait_for("its socket", || UnixStream::connect(&elsewhere).ok());
}

/// Only root can be two users.
#[test]
fn a_client_tells_another_users_socket_nothing() {
    // That of a version manager lies where another user can't go.
    const PYTHON: &str = "/usr/bin/python3";
    if !rustix::process::geteuid().is_root() || !std::path::Path::new(PYTHON).exists() {
        return;
    }
    const OTHER: u32 = 65533;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o1777)).expect("a mode");
    let (socket, heard) = (folder.path().join("s"), folder.path().join("heard"));
    let impostor = "import socket, sys\n\
                    s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(5)\n\
                    while True:\n c, _ = s.accept(); open(sys.argv[2], 'ab').write(c.recv(1000))\n";
    let mut child = Command::new(PYTHON)
        .args(["-c", impostor])
        .args([&socket, &heard])
        .uid(OTHER)
        .gid(OTHER)
        .spawn()
        .expect("there is a python3");
    wait_for("the impostor", || socket.exists().then_some(()));
    for args in [&["list"][..], &["run", "deploy", "--query", "a secret question"]] {
        let mut command = bgagent();
        let command =
            command.arg("--state-dir").arg(folder.path().join("state")).arg("--socket").arg(&socket);
        let output = command.args(args).output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{text}");
        assert!(text.contains("belongs to user 65533") && text.contains("nothing was sent"), "{text}");
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let heard = std::fs::read(&heard).unwrap_or_default();
    assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
}
