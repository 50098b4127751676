//! Walls around programs, through the real binary: what is refused within, what may be asked of the daemon, and what is
//! left at the end.
use super::support::{Daemon, bgagent, python3};
use serde_json::{Value, json};

/// The kernel holds what is promised, or the program says that it can't.
#[cfg(target_os = "linux")]
#[test]
fn no_escape_gets_through() {
    let output = bgagent().args(["--json", "doctor"]).output().expect("the program can be started");
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let through: Vec<&Value> = told["escapes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["refused"].is_null())
        .map(|one| &one["escape"])
        .collect();
    assert!(through.is_empty(), "{through:?}");
    assert_eq!(output.status.code(), Some(0));
    assert!(told["escapes"].as_array().expect("a list").len() >= 80);
    // the machines that the project is tested on have namespaces of the network
    assert_eq!(told["no_network"], Value::Null);
}

/// What an agent's program is told by the daemon, by its `control`.
#[cfg(target_os = "linux")]
#[test]
fn a_program_of_a_run_has_the_rights_of_its_agent() {
    let mut daemon = Daemon::with("");
    let program = env!("CARGO_BIN_EXE_bgagent");
    let asks = |control: &str, args: &str| {
        let base = daemon.folder.path().display();
        format!(
            "[agents.{control}-{}]\ncommand = \"\"\"{program} --config {base}/agents.toml --state-dir {base}/state --socket {base}/socket {args}\"\"\"\n{}",
            args.split(' ').next().expect("a command"),
            if control == "none" { String::new() } else { format!("control = \"{control}\"\n") },
        )
    };
    let all = [
        asks("none", "list"),
        asks("none", "pause other"),
        asks("read", "list"),
        asks("read", "run other"),
        asks("run", "run other"),
        asks("run", "pause other"),
        asks("full", "pause other"),
        "[agents.other]\ncommand = \"true\"\n".to_owned(),
    ];
    daemon.configure(&all.concat());
    daemon.up();
    for (agent, may) in [
        ("none-list", false),
        ("none-pause", false),
        ("read-list", true),
        ("read-run", false),
        ("run-run", true),
        ("run-pause", false),
        ("full-pause", true),
    ] {
        let view = daemon.run_by_hand(agent);
        assert_eq!(view["status"], if may { "completed" } else { "failed" }, "{agent}: {view:#}");
        if !may {
            let message = view["error"]["message"].as_str().expect("text");
            assert!(message.contains("exit status 6"), "{agent}: {view:#}");
        }
    }
    daemon.down();
}

/// A command and a proof within walls; and a place that can't be within them.
#[cfg(target_os = "linux")]
#[test]
fn programs_of_agents_are_within_walls() {
    let mut daemon = Daemon::with("");
    let base = daemon.folder.path().display().to_string();
    for folder in ["docs", "out"] {
        std::fs::create_dir(daemon.path(folder)).expect("the folder can be written");
    }
    std::fs::write(daemon.path("docs/page"), "page").expect("the folder can be written");
    std::fs::write(daemon.path("secret"), "secret").expect("the folder can be written");
    let sandbox = format!("sandbox = {{ read = [\"{base}/docs\"] }}");
    daemon.configure(&format!(
        "[agents.reads]\ncommand = \"cat {base}/docs/page\"\n{sandbox}\n\
         [agents.steals]\ncommand = \"cat {base}/secret\"\n{sandbox}\n\
         [agents.writes]\ncommand = \"touch {base}/docs/new\"\n{sandbox}\n\
         [agents.proved]\nsuccess_when = [{{ command = \"cat {base}/secret\" }}]\ncommand = \"true\"\n{sandbox}\n\
         [agents.free]\nsuccess_when = [{{ command = \"cat {base}/secret\", sandbox = false }}]\ncommand = \"true\"\n{sandbox}\n\
         [agents.probes]\ntool = \"probe\"\nargs = {{ checks = [{{ type = \"command\", command = [\"sh\", \"-c\", \"cat {base}/secret\"], sandbox = true }}] }}\n\
         [agents.linked]\ncommand = \"true\"\nsandbox = {{ read = [\"{base}/later\"] }}\n"
    ));
    std::fs::create_dir(daemon.path("later")).expect("the folder can be written");
    daemon.up();
    // what a root leads to is judged again when a program starts
    std::fs::remove_dir(daemon.path("later")).expect("it is empty");
    std::os::unix::fs::symlink(&base, daemon.path("later")).expect("a link");
    for (agent, status, says) in [
        ("reads", "completed", ""),
        ("steals", "failed", "Permission denied"),
        // "Permission denied" where no view of the files of its own is to be had
        ("writes", "failed", "touch: cannot touch"),
        ("proved", "unverified", "Permission denied"),
        ("free", "completed", ""),
        ("linked", "failed", "which is or holds the daemon's state folder"),
    ] {
        let view = daemon.run_by_hand(agent);
        assert_eq!(view["status"], status, "{agent}: {view:#}");
        assert!(view["error"].to_string().contains(says), "{agent}: {view:#}");
    }
    let probed = daemon.run_by_hand("probes");
    assert!(probed["result"].to_string().contains("Permission denied"), "{probed:#}");
    let listed: Value = serde_json::from_str(&daemon.ok(&["--json", "list"])).expect("JSON");
    let free = listed
        .as_array()
        .expect("a list")
        .iter()
        .find(|agent| agent["agent_id"] == "free")
        .expect("it is there");
    assert_eq!(free["sandbox"], json!({"within": ["agents.free"], "without": ["agents.free.success_when"]}));
    let status = daemon.ok(&["status", "free"]);
    assert!(
        status.contains("in a sandbox: agents.free")
            && status.contains("in no sandbox: agents.free.success_when"),
        "{status}"
    );
    std::fs::remove_file(daemon.path("later")).expect("a link");
    let checked = daemon.run(&["--json", "check"]);
    let told: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(told["sandbox"]["without"], json!(["agents.free.success_when"]));
    daemon.configure(&format!("[agents.wide]\ncommand = \"true\"\nsandbox = {{ read = [\"{base}\"] }}\n"));
    let checked = daemon.run(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(78), "{said}");
    assert!(said.contains("the state folder") && said.contains("agents.toml:3"), "{said}");
    daemon.down();
    let private = std::fs::read_dir(daemon.path("state/tmp")).expect("it was made").count();
    assert_eq!(private, 0, "private folders go with their programs");
}

/// A program within walls reaches what `net` names, through the proxy and in no other way; what it is refused is told.
#[cfg(target_os = "linux")]
#[test]
fn a_program_within_walls_reaches_what_net_names() {
    let server = Answers::start();
    let other = Answers::start();
    let (port, elsewhere) = (server.port(), other.port());
    let mut daemon = Daemon::with("");
    std::fs::write(
        daemon.path("ask.py"),
        "import sys, socket, urllib.request\n\
         own = socket.create_server(('127.0.0.1', 0))\n\
         socket.create_connection(own.getsockname()).close()\n\
         if sys.argv[1] == 'directly':\n    socket.create_connection(('127.0.0.1', int(sys.argv[2])), 5)\n\
         print(urllib.request.urlopen(f'http://127.0.0.1:{sys.argv[2]}/').read().decode())\n",
    )
    .expect("the folder can be written");
    let agent = |name: &str, args: &str, sandbox: &str| {
        let (python, script) = (python3(), daemon.path("ask.py"));
        format!("[agents.{name}]\ncommand = [\"{python}\", \"{}\", {args}]\n{sandbox}\n", script.display())
    };
    let net = format!("sandbox = {{ net = [\"127.0.0.1:{port}\"] }}");
    daemon.configure(
        &[
            agent("asks", &format!("\"by-proxy\", \"{port}\""), &net),
            agent("strays", &format!("\"by-proxy\", \"{elsewhere}\""), &net),
            agent("bypasses", &format!("\"directly\", \"{port}\""), &net),
            agent("offline", &format!("\"by-proxy\", \"{port}\""), "sandbox = true"),
        ]
        .concat(),
    );
    daemon.up();
    let view = daemon.run_by_hand("asks");
    assert_eq!(view["status"], "completed", "{view:#}");
    assert!(view["result"].to_string().contains("here"), "{view:#}");
    assert_eq!(server.asked(), 1);
    for (agent, says) in [("strays", "403"), ("bypasses", "refused"), ("offline", "Permission denied")] {
        let view = daemon.run_by_hand(agent);
        assert_eq!(view["status"], "failed", "{agent}: {view:#}");
        assert!(view["error"].to_string().contains(says), "{agent}: {view:#}");
        let warned = view["warnings"].to_string().contains(&format!("127.0.0.1:{elsewhere}"));
        assert_eq!(warned, agent == "strays", "{agent}: {view:#}");
    }
    assert_eq!((server.asked(), other.asked()), (1, 0));
    let event = daemon.until("sandbox_denied", "strays");
    assert_eq!(event["payload"]["host"], format!("127.0.0.1:{elsewhere}"));
    assert_eq!(event["payload"]["table"], "agents.strays");
    assert!(event["run_id"].is_string(), "{event:#}");
    daemon.down();
}

/// Answers each request with "here", and counts them. Ends with its process.
struct Answers {
    address: std::net::SocketAddr,
    asked: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Answers {
    fn start() -> Self {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("there are ports");
        let address = listener.local_addr().expect("it is bound");
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 4096]);
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere");
            }
        });
        Self { address, asked }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::SeqCst)
    }
}
