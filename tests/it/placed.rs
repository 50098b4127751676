//! Nodes that run what the leader places there: real daemons with records on one PostgreSQL server.
use super::checker;
use super::crash::children_left;
use super::postgres::Server;
use super::records::Records;
use super::rng::Rng;
use super::standby::{leads, spawn, stands_by};
use super::support::{Daemon, code, signal, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Some daemons on one server, with a folder that all of them work in.
struct Nodes {
    all: Vec<Daemon>,
    /// A line for each start that really was: agent, run, attempt.
    witness: PathBuf,
    /// Agents that ask for one worker each.
    known: String,
}

const GPU: &str = "labels = { gpu = \"h100\" }";

impl Nodes {
    /// Each is called by its place: `n0` leads. `None`: there is no server on this machine, and that was said.
    fn with(keys: &[&str], fleet: impl Fn(&Path) -> String) -> Option<Self> {
        let Records { server, schema } = Records::on_a_server()?;
        Some(Self::on(&server, &schema, keys, fleet))
    }

    fn on(server: &Arc<Server>, schema: &str, keys: &[&str], fleet: impl Fn(&Path) -> String) -> Self {
        let mut nodes = Self { all: Vec::new(), witness: PathBuf::new(), known: String::new() };
        // each worker has a label of its own, and an agent that asks for it
        for n in (1..keys.len()).filter(|n| keys[*n].contains("labels")) {
            nodes.known +=
                &format!("[agents.at{n}]\nwhere = {{ n = \"{n}\" }}\ncwd = \"/\"\ncommand = 'true'\n");
        }
        for (n, keys) in keys.iter().enumerate() {
            let mut daemon = Daemon::with("");
            daemon.records = Some(Records { server: server.clone(), schema: schema.to_owned() });
            let folder = nodes.all.first().unwrap_or(&daemon).folder.path().to_owned();
            nodes.witness = folder.join("witness");
            let keys = keys.replacen("labels = {", &format!("labels = {{ n = \"{n}\","), 1);
            let known = &nodes.known;
            daemon.configure(&format!("[daemon]\nnode = \"n{n}\"\n{keys}\n{}{known}", fleet(&folder)));
            nodes.all.push(daemon);
        }
        nodes
    }

    /// All of them run, and the leader knows who is there.
    fn up(mut self) -> Self {
        self.all[0].up();
        for daemon in &mut self.all[1..] {
            spawn(daemon);
        }
        for daemon in &self.all[1..] {
            stands_by(daemon);
        }
        for n in 1..self.all.len() {
            self.is_known(n);
        }
        self
    }

    /// The leader knows a worker: it has run something there.
    fn is_known(&self, n: usize) {
        let view = self.leader().run_by_hand(&format!("at{n}"));
        assert_eq!(node_of(&view), format!("n{n}"), "{view:#}");
    }

    /// What a run has printed on standard output, as it is recorded.
    fn printed(&self, run: &Value) -> String {
        let records = self.all[0].records.as_ref().expect("on a server");
        let id = run.as_str().expect("an id").replace('-', "");
        let sql = format!(
            "SELECT text FROM {}.output WHERE run = decode('{id}', 'hex') AND stream = 'stdout' ORDER BY attempt, n",
            records.schema
        );
        records.server.psql(&sql).expect("its output")
    }

    fn sql(&self, sql: &str) -> String {
        let records = self.all[0].records.as_ref().expect("on a server");
        let found = records.server.psql(&format!("SET search_path = {}; {sql}", records.schema)).expect(sql);
        found.lines().last().unwrap_or_default().trim().to_owned()
    }

    fn leader(&self) -> &Daemon {
        &self.all[0]
    }

    fn pid(&self, n: usize) -> u32 {
        self.all[n].child.as_ref().expect("it runs").id()
    }

    fn run(&self, agent: &str) -> Value {
        self.leader().call("run_agent", json!({"agent_id": agent}))["run_id"].clone()
    }

    fn view(&self, run: &Value) -> Value {
        self.leader().call("get_run", json!({"run_id": run}))
    }

    fn starts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.witness).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_for_starts(&self, count: usize) {
        wait_for("a start", || (self.starts().len() >= count).then_some(()));
    }

    /// Nothing of the runs that were witnessed lives.
    fn nothing_is_left(&self) {
        let witness = self.witness.with_extension("left");
        let lines: Vec<String> = self
            .starts()
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                format!("{} - {} {}\n", words[0], words[1], words[2])
            })
            .collect();
        std::fs::write(&witness, lines.concat()).expect("our folder");
        wait_for("the end of what was started", || children_left(&witness).is_empty().then_some(()));
    }
}

/// An agent for nodes with a GPU that notes its start, then does this.
fn placed(folder: &Path, name: &str, does: &str, more: &str) -> String {
    let witness = folder.join("witness");
    format!(
        "[agents.{name}]\nwhere = {{ gpu = \"h100\" }}\ncwd = \"{}\"\n{more}\ncommand = '''
         echo \"$BGAGENT_AGENT_ID $BGAGENT_RUN_ID $BGAGENT_ATTEMPT\" >> {}; {does}'''\n",
        folder.display(),
        witness.display()
    )
}

/// Until there is a file of this name.
fn until(file: &str) -> String {
    format!("until [ -e {file} ]; do sleep 0.05; done")
}

/// The processes that this one has started.
fn children_of(parent: u32) -> Vec<u32> {
    let stat = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent_of = |stat: String| stat.rsplit(") ").next()?.split(' ').nth(1)?.parse::<u32>().ok();
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|pid| parent_of(stat(pid)) == Some(parent)).collect()
}

/// The lines that are numbers.
fn numbers(text: &str) -> Vec<u32> {
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn node_of(view: &Value) -> &str {
    view["node"].as_str().unwrap_or("the leader")
}

#[test]
fn a_node_gets_no_more_runs_at_a_time_than_its_file_says() {
    let fleet = |folder: &Path| {
        let go = folder.join("go");
        let waits = format!("while ! test -e {}; do sleep 0.05; done", go.display());
        placed(folder, "slow", &waits, "overlap = \"parallel\"")
    };
    let keys = [String::new(), format!("{GPU}\nmax_parallel_runs = 1")];
    let Some(nodes) = Nodes::with(&[keys[0].as_str(), keys[1].as_str()], fleet) else { return };
    let nodes = nodes.up();
    let runs = [nodes.run("slow"), nodes.run("slow")];
    nodes.wait_for_starts(1);
    wait_for("the reason", || {
        let status = nodes.leader().ok(&["status", "slow"]);
        status.contains("no node with gpu=h100 takes another run: n1 has 1 of 1").then_some(())
    });
    assert_eq!(nodes.starts().len(), 1);
    std::fs::write(nodes.witness.with_file_name("go"), "").expect("our folder");
    for run in &runs {
        assert_eq!(nodes.leader().finished(run)["status"], "completed");
    }
    assert_eq!(nodes.starts().len(), 2);
}

#[test]
fn a_command_a_tool_and_its_checks_run_at_the_node_that_fits() {
    let fleet = |folder: &Path| {
        let mut toml = placed(folder, "lines", "seq 1 5000; echo bad >&2", "max_output = \"1MiB\"");
        // checks have a folder of their own
        let cwd = format!("cwd = \"{}\"", folder.display());
        let proof = format!("success_when = [{{ command = \"test -s proof\", {cwd} }}]");
        toml += &placed(folder, "proved", "echo $PPID > proof", &proof);
        let gate = format!("interval = \"1h\"\ngate = {{ command = \"exit 1\", {cwd} }}");
        toml += &placed(folder, "gated", "true", &gate);
        toml += &placed(folder, "fails", "exit 3", "");
        toml += &placed(
            folder,
            "told",
            "cat; echo \" $BGAGENT_PARAM_N\"",
            "stdin = \"read\"\nparams = { n = { type = \"int\", default = 7 } }",
        );
        toml += "[agents.metrics]\nwhere = { gpu = \"h100\" }\ntool = \"system_metrics\"\n";
        toml += &format!("[agents.here]\ncwd = \"{}\"\ncommand = 'echo here'\n", folder.display());
        toml += &placed(
            folder,
            "after",
            "echo \"$BGAGENT_EVENT\" | tr -d '\\n'",
            "on = { event = \"background_task_completed\", agent = \"here\" }",
        );
        toml
    };
    let Some(nodes) = Nodes::with(&["", GPU], fleet) else { return };
    let nodes = nodes.up();
    let done = |agent: &str| nodes.leader().run_by_hand(agent);
    let view = done("lines");
    assert_eq!((node_of(&view), &view["status"]), ("n1", &json!("completed")), "{view:#}");
    let lines = numbers(&nodes.printed(&view["run_id"]));
    assert_eq!(lines, (1..=5000).collect::<Vec<u32>>(), "its output is whole, and in its order");
    let logs = nodes.leader().ok(&["logs", view["run_id"].as_str().expect("an id")]);
    assert!(logs.contains("5000") && logs.contains("bad"));
    let here = done("here");
    assert_eq!((node_of(&here), &here["result"]), ("the leader", &json!("here")));
    let proved = done("proved");
    assert_eq!((node_of(&proved), &proved["status"]), ("n1", &json!("completed")), "{proved:#}");
    let parent: u32 = std::fs::read_to_string(nodes.leader().path("proof")).unwrap().trim().parse().unwrap();
    assert_ne!(parent, nodes.pid(0));
    let failed = done("fails");
    assert_eq!((&failed["status"], &failed["exit_code"]), (&json!("failed"), &json!(3)), "{failed:#}");
    assert_eq!(done("told")["result"], "read 7");
    let metrics = done("metrics");
    assert_eq!((node_of(&metrics), &metrics["status"]), ("n1", &json!("completed")), "{metrics:#}");
    // by an event, which it is told
    let after = nodes.leader().until("background_task_completed", "after");
    let after = nodes.view(&after["run_id"]);
    assert!(
        node_of(&after) == "n1" && after["result"].as_str().is_some_and(|text| text.contains("here")),
        "{after:#}"
    );
    let shown = nodes.leader().ok(&["show", proved["run_id"].as_str().expect("an id")]);
    assert!(shown.contains("node      n1"), "{shown}");
    // its gate was asked there, too
    let gated = nodes.leader().ok(&["why", "gated"]);
    assert!(gated.contains("the gate says that there is nothing to do"), "{gated}");
    let status = nodes.leader().ok(&["status", "lines"]);
    assert!(status.contains("where gpu=h100"), "{status}");
    assert_eq!(nodes.starts().len(), 5, "{:?}", nodes.starts());
    for table in ["orders", "reports"] {
        wait_for("empty mailboxes", || {
            (nodes.sql(&format!("SELECT count(*) FROM {table}")) == "0").then_some(())
        });
    }
}

#[test]
fn without_a_node_that_fits_a_run_waits_and_everybody_is_told_why() {
    let fleet = |folder: &Path| placed(folder, "train", "echo done", "interval = \"1h\"");
    let Some(mut nodes) = Nodes::with(&["", "labels = { gpu = \"a100\" }", GPU], fleet) else { return };
    let late = nodes.all.pop().expect("three");
    let mut nodes = nodes.up();
    nodes.all.push(late);
    let why = "no node has gpu=h100: the leader has no labels, n1 has gpu=a100, n=1";
    let listed = wait_for("the run that waits", || {
        let listed = nodes.leader().ok(&["list", "--json"]);
        listed.contains(why).then(|| nodes.leader().ok(&["list"]))
    });
    assert!(listed.contains("no node"), "{listed}");
    for args in [&["status", "train"][..], &["why", "train"]] {
        let said = nodes.leader().ok(args).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.contains("o node has gpu=h100: the leader has no labels, n1 has gpu=a100, n=1"),
            "{said}"
        );
    }
    // one by hand is refused as for any run that waits
    code(nodes.leader(), &["run", "train"], 5, "in flight");
    spawn(&mut nodes.all[2]);
    let ended = nodes.leader().until("background_task_completed", "train");
    assert_eq!(node_of(&nodes.view(&ended["run_id"])), "n2");
    assert!(!nodes.leader().ok(&["list"]).contains("no node"));
}

#[test]
fn a_run_is_cancelled_stopped_and_timed_out_at_its_node_and_nodes_says_what_runs_where() {
    let fleet = |folder: &Path| {
        let long = |name: &str, more: &str| placed(folder, name, "sleep 600", more);
        long("cancelled", "")
            + &long("stopped", "")
            + &long("late", "timeout = \"2s\"")
            + &long("newest", "overlap = \"cancel_previous\"")
    };
    let Some(nodes) = Nodes::with(&["", GPU], fleet) else { return };
    let nodes = nodes.up();
    let late = nodes.run("late");
    let [cancelled, stopped, newest] = ["cancelled", "stopped", "newest"].map(|agent| nodes.run(agent));
    nodes.wait_for_starts(4);
    let list = nodes.leader().ok(&["nodes"]);
    assert!(list.contains("n1 runs ") && list.contains("stopped "), "{list}");
    // asked of the node itself, which asks the leader
    nodes.all[1].ok(&["cancel", cancelled.as_str().expect("an id")]);
    nodes.leader().ok(&["stop", "stopped"]);
    let newer = nodes.run("newest");
    nodes.wait_for_starts(5);
    nodes.leader().ok(&["cancel", newer.as_str().expect("an id"), "--now"]);
    for (run, status) in [
        (&cancelled, "cancelled"),
        (&stopped, "cancelled"),
        (&newest, "cancelled"),
        (&newer, "cancelled"),
        (&late, "timed_out"),
    ] {
        let view = nodes.leader().finished(run);
        assert_eq!((&view["status"], node_of(&view)), (&json!(status), "n1"), "{view:#}");
    }
    nodes.nothing_is_left();
    assert!(!nodes.leader().ok(&["nodes"]).contains("n1 runs"));
}

#[test]
fn a_node_without_the_agent_as_the_leader_has_it_fails_its_run_and_says_so() {
    let fleet = |folder: &Path| placed(folder, "same", "true", "") + &placed(folder, "other", "true", "");
    let Some(nodes) = Nodes::with(&["", GPU], fleet) else { return };
    let folder = nodes.leader().folder.path().to_owned();
    let same = placed(&folder, "same", "true", "") + &nodes.known;
    let labels = "labels = { n = \"1\", gpu = \"h100\" }";
    let of = |others: &str| format!("[daemon]\nnode = \"n1\"\n{labels}\n{same}{others}");
    nodes.all[1].configure(&of(&placed(&folder, "other", "false", "")));
    let nodes = nodes.up();
    assert_eq!(nodes.leader().run_by_hand("same")["status"], "completed");
    let view = nodes.leader().run_by_hand("other");
    let why = view["error"].to_string();
    assert!(
        view["status"] == "failed" && why.contains("node n1 has another configuration of the agent"),
        "{view:#}"
    );
    // without it, and with a file that is broken
    nodes.all[1].configure(&of(""));
    let why = nodes.leader().run_by_hand("other")["error"].to_string();
    assert!(why.contains("the configuration of node n1 has no agent `other`"), "{why}");
    nodes.all[1].configure(&of("[agents.x]\n"));
    let why = nodes.leader().run_by_hand("other")["error"].to_string();
    assert!(
        why.contains("node n1 can't run `other`: ") && why.contains("/agents.toml was rejected: "),
        "{why}"
    );
    // put right, it needs no restart
    nodes.all[1].configure(&of(&placed(&folder, "other", "true", "")));
    assert_eq!(nodes.leader().run_by_hand("other")["status"], "completed");
}

#[test]
fn what_a_stopped_node_had_not_started_goes_to_another_one_and_is_never_started_there() {
    let fleet = |folder: &Path| placed(folder, "once", "echo $PPID", "");
    let Some(nodes) = Nodes::with(&["", GPU, GPU], fleet) else { return };
    let nodes = nodes.up();
    // of two that fit, the first by name
    signal(nodes.pid(1), Signal::STOP);
    let run = nodes.run("once");
    wait_for("it to be placed", || (node_of(&nodes.view(&run)) == "n1").then_some(()));
    let view = nodes.leader().finished(&run);
    assert_eq!(
        (&view["status"], node_of(&view), &view["attempt"]),
        (&json!("completed"), "n2", &json!(1)),
        "{view:#}"
    );
    signal(nodes.pid(1), Signal::CONT);
    wait_for("it to begin anew", || nodes.all[1].log().contains("it begins anew").then_some(()));
    nodes.is_known(1);
    assert_eq!(nodes.starts().len(), 1, "{:?}", nodes.starts());
    assert_eq!(node_of(&nodes.leader().run_by_hand("once")), "n1");
    assert_eq!(nodes.starts().len(), 2, "{:?}", nodes.starts());
}

#[test]
fn what_runs_at_a_node_that_is_killed_is_interrupted_and_retried_elsewhere() {
    let fleet = |folder: &Path| {
        placed(
            folder,
            "retried",
            "[ $BGAGENT_ATTEMPT = 2 ] || exec sleep 600",
            "retry = { max = 1, initial = 0 }",
        ) + &placed(folder, "not", "exec sleep 600", "")
    };
    let Some(nodes) = Nodes::with(&["", GPU, "leads = false\nlabels = { gpu = \"h100\" }"], fleet) else {
        return;
    };
    let mut nodes = nodes.up();
    let (retried, not) = (nodes.run("retried"), nodes.run("not"));
    nodes.wait_for_starts(2);
    assert_eq!((node_of(&nodes.view(&retried)), node_of(&nodes.view(&not))), ("n1", "n2"));
    nodes.all[1].kill();
    let view = nodes.leader().finished(&retried);
    assert_eq!(
        (&view["status"], node_of(&view), &view["attempt"]),
        (&json!("completed"), "n2", &json!(2)),
        "{view:#}"
    );
    let told = view["events"].to_string();
    assert!(told.contains("node n1 was lost while the run was in flight there"), "{told}");
    // back at once: what it had is over, and its programs are ended before it is a node again
    nodes.all[2].kill();
    spawn(&mut nodes.all[2]);
    let view = nodes.leader().finished(&not);
    let why = view["error"]["message"].as_str().unwrap_or_default();
    assert!(view["status"] == "interrupted" && why.contains("node n2 was lost"), "{view:#}");
    spawn(&mut nodes.all[1]);
    nodes.is_known(1);
    nodes.is_known(2);
    nodes.nothing_is_left();
    assert_eq!(nodes.starts().len(), 3, "{:?}", nodes.starts());
}

#[test]
fn the_leader_dies_and_what_nodes_run_goes_on() {
    let fleet = |folder: &Path| {
        let work = format!("seq 1 500; {}; seq 501 1000", until("go"));
        placed(folder, "long", &work, "") + &placed(folder, "gone", "exec sleep 600", "")
    };
    let keys = "labels = { gpu = \"h100\" }\nleads = false";
    let Some(nodes) = Nodes::with(&["", keys], fleet) else { return };
    let mut nodes = nodes.up();
    let (long, gone) = (nodes.run("long"), nodes.run("gone"));
    nodes.wait_for_starts(2);
    nodes.leader().ok(&["cancel", gone.as_str().expect("an id")]);
    nodes.all[0].kill();
    // it ends while nobody leads
    std::fs::write(nodes.all[0].path("go"), "").expect("our folder");
    nodes.nothing_is_left();
    wait_for("its reports", || (nodes.sql("SELECT count(*) > 0 FROM reports") == "t").then_some(()));
    nodes.all[0].up();
    let view = nodes.leader().finished(&long);
    assert_eq!(
        (&view["status"], node_of(&view), &view["attempt"]),
        (&json!("completed"), "n1", &json!(1)),
        "{view:#}"
    );
    assert_eq!(numbers(&nodes.printed(&long)), (1..=1000).collect::<Vec<u32>>(), "its output is whole");
    assert_eq!(
        nodes.leader().finished(&gone)["status"],
        "cancelled",
        "the next leader knows what it was told"
    );
    assert_eq!(nodes.starts().len(), 2, "{:?}", nodes.starts());
}

#[test]
fn a_node_takes_the_lead_over_and_keeps_what_it_has_in_hand() {
    let fleet = |folder: &Path| {
        placed(folder, "long", &format!("{}; echo whole", until("go")), "")
            + &format!("[agents.here]\ncwd = \"{}\"\ncommand = 'echo here'\n", folder.display())
    };
    let Some(nodes) = Nodes::with(&["", GPU], fleet) else { return };
    let mut nodes = nodes.up();
    let run = nodes.run("long");
    nodes.wait_for_starts(1);
    assert_eq!(nodes.all[0].down(), Some(0), "{}", nodes.all[0].log());
    leads(&nodes.all[1]);
    // with its own labels, now it is the one that leads
    let begun = nodes.all[1].call("get_run", json!({"run_id": run}));
    assert_eq!((&begun["status"], node_of(&begun)), (&json!("running"), "n1"), "{begun:#}");
    assert_eq!(nodes.all[1].run_by_hand("here")["status"], "completed");
    std::fs::write(nodes.all[0].path("go"), "").expect("our folder");
    let view = nodes.all[1].finished(&run);
    assert_eq!(
        (&view["status"], &view["result"], &view["attempt"]),
        (&json!("completed"), &json!("whole"), &json!(1)),
        "{view:#}"
    );
    let next = nodes.all[1].run_by_hand("long");
    assert_eq!((node_of(&next), &next["status"]), ("the leader", &json!("completed")), "{next:#}");
    assert_eq!(nodes.all[1].down(), Some(0), "{}", nodes.all[1].log());
    nodes.nothing_is_left();
}

#[test]
fn a_node_that_goes_down_lets_runs_finish_within_its_grace() {
    let fleet = |folder: &Path| {
        placed(folder, "short", &until("go"), "") + &placed(folder, "long", "exec sleep 600", "")
    };
    let Some(nodes) = Nodes::with(&["", &format!("{GPU}\nshutdown_grace = \"5s\"")], fleet) else { return };
    let mut nodes = nodes.up();
    let (short, long) = (nodes.run("short"), nodes.run("long"));
    nodes.wait_for_starts(2);
    signal(nodes.pid(1), Signal::TERM);
    wait_for("it to take nothing new", || {
        (nodes.sql("SELECT count(*) FROM workers WHERE drains = 1") == "1").then_some(())
    });
    std::fs::write(nodes.all[0].path("go"), "").expect("our folder");
    assert_eq!(nodes.leader().finished(&short)["status"], "completed");
    assert_eq!(nodes.all[1].wait_end(), Some(0), "{}", nodes.all[1].log());
    let view = nodes.leader().finished(&long);
    let why = view["error"]["message"].as_str().unwrap_or_default();
    assert!(view["status"] == "interrupted" && why.contains("was told to go down"), "{view:#}");
    nodes.nothing_is_left();
    wait_for("its life to be settled", || (nodes.sql("SELECT count(*) FROM workers") == "0").then_some(()));
}

#[test]
fn a_node_that_can_not_reach_the_database_stops_its_programs() {
    let Some(server) = Server::start_with(&["-c", "fsync=on"]) else { return };
    server.wait_until_up();
    let server = Arc::new(server);
    let fleet = |folder: &Path| {
        placed(folder, "stops", "trap '' TERM; sleep 600 & wait; sleep 600", "")
            + &placed(folder, "stays", &until("go"), "when_cut_off = \"finish\"")
    };
    let keys = "labels = { gpu = \"h100\" }\nleads = false";
    let mut nodes = Nodes::on(&server, "fleet", &["", keys], fleet).up();
    let (stops, stays) = (nodes.run("stops"), nodes.run("stays"));
    nodes.wait_for_starts(2);
    let alone = |line: usize| {
        let words: Vec<String> = nodes.starts()[line].split(' ').map(str::to_owned).collect();
        let witness = nodes.witness.with_extension("one");
        std::fs::write(&witness, format!("{} - {} {}\n", words[0], words[1], words[2])).expect("our folder");
        !children_left(&witness).is_empty()
    };
    let of = |agent: &str| nodes.starts().iter().position(|line| line.starts_with(agent)).expect("it began");
    let (stopped, stayed) = (of("stops"), of("stays"));
    assert!(alone(stopped) && alone(stayed));
    // the server stands still, and so does all that is sent to it
    let postmaster = server.pid();
    signal(postmaster, Signal::STOP);
    let backends = children_of(postmaster);
    let to_all = |signal: Signal| {
        for pid in &backends {
            // one that had nothing more to do may have ended
            let _ =
                kill_process(Pid::from_raw(i32::try_from(*pid).expect("a number")).expect("not 0"), signal);
        }
    };
    to_all(Signal::STOP);
    wait_for("the end of its program", || (!alone(stopped)).then_some(()));
    assert!(alone(stayed));
    to_all(Signal::CONT);
    signal(postmaster, Signal::CONT);
    let view = nodes.leader().finished(&stops);
    assert_eq!(view["status"], "interrupted", "{view:#}");
    std::fs::write(nodes.all[0].path("go"), "").expect("our folder");
    let view = nodes.leader().finished(&stays);
    // as long as nobody gave it up, its end counts; else it was given up, and its program could finish
    assert!(matches!(view["status"].as_str(), Some("completed" | "interrupted")), "{view:#}");
    nodes.nothing_is_left();
    assert_eq!(nodes.starts().len(), 2, "{:?}", nodes.starts());
    for daemon in &mut nodes.all {
        daemon.down();
    }
}

/// Starts that are witnessed under faults; more with `BGAGENT_STARTS`.
const STARTS: usize = 150;
/// Lines that a run of the test under faults prints.
const LINES: usize = 60;

fn worked(folder: &Path) -> String {
    let note = format!(
        "printf '%s %s %s %s\\n' \"$BGAGENT_AGENT_ID\" \"$BGAGENT_SLOT\" \"$BGAGENT_RUN_ID\" \"$BGAGENT_ATTEMPT\" >> {}/witness",
        folder.display()
    );
    let mut toml = String::from("max_parallel_runs = 8\n[defaults]\ncircuit_breaker = { open_after = 0 }\n");
    for n in 0..4 {
        let does = match n {
            0 => format!("{note}; seq 1 30; sleep 0.7; seq 31 {LINES}"),
            1 => format!("{note}; seq 1 {LINES}; exit 3"),
            _ => format!("{note}; seq 1 {LINES}"),
        };
        let retry = if n == 1 { "retry = { max = 1, initial = 0 }\n" } else { "" };
        let at = if n == 3 { "" } else { "where = { gpu = \"h100\" }\n" };
        toml += &format!(
            "[agents.a{n}]\n{at}cwd = \"{}\"\ninterval = \"300ms\"\ncommand = '''{does}'''\n{retry}",
            folder.display()
        );
    }
    toml
}

/// Whatever is done to the leader, to nodes and to their connections: no attempt starts twice, no slot is without a verdict,
/// what completed has all of its output, and nothing is left.
#[test]
fn through_faults_of_nodes_nothing_is_lost_or_doubled() {
    let wanted = std::env::var("BGAGENT_STARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(STARTS);
    let seed = std::env::var("BGAGENT_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let mut random = Rng::new(seed);
    let keys = ["", GPU, "leads = false\nlabels = { gpu = \"h100\" }"];
    let Some(nodes) = Nodes::with(&keys, worked) else { return };
    let mut nodes = nodes.up();
    let mut faults = [0; 5];
    while nodes.starts().len() < wanted {
        for daemon in &mut nodes.all {
            let ended =
                daemon.child.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some());
            if ended {
                spawn(daemon);
            }
        }
        nodes.wait_for_starts(nodes.starts().len() + 1 + usize::try_from(random.next() % 25).expect("small"));
        let fault = usize::try_from(random.next() % 5).expect("small");
        faults[fault] += 1;
        match fault {
            0..=2 => nodes.all[fault].kill(),
            3 => {
                let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                      AND (query LIKE '%workers%' OR query LIKE '%reports%')";
                nodes.sql(cut);
            }
            // for as long as it takes until others have its runs
            _ => {
                let n = 1 + usize::try_from(random.next() % 2).expect("small");
                let pid = nodes.pid(n);
                let pid = Pid::from_raw(i32::try_from(pid).expect("a number")).expect("not 0");
                let _ = kill_process(pid, Signal::STOP);
                wait_for("it to be given up", || {
                    both_up(&mut nodes.all, n);
                    let live = format!("SELECT count(*) FROM workers WHERE over = 0 AND node = 'n{n}'");
                    (nodes.sql(&live) == "0").then_some(())
                });
                let _ = kill_process(pid, Signal::CONT);
            }
        }
    }
    // one life in peace; what killed nodes have left is ended when their daemons come back
    both_up(&mut nodes.all, usize::MAX);
    for daemon in &mut nodes.all {
        daemon.kill();
    }
    nodes.all[0].up();
    nodes.leader().until("background_task_completed", "a3");
    wait_for("nodes of before to be given up", || {
        (nodes.sql("SELECT count(*) FROM runs WHERE node_session IS NOT NULL AND finished_at IS NULL") == "0")
            .then_some(())
    });
    assert_eq!(nodes.all[0].down(), Some(0), "{}", nodes.all[0].log());
    let every: Vec<(String, i64)> = (0..4).map(|n| (format!("a{n}"), 300_000)).collect();
    let every: Vec<(&str, i64)> = every.iter().map(|(name, period)| (name.as_str(), *period)).collect();
    let counted = checker::check(&nodes.all[0].database_file(), Some(&nodes.witness), &every);
    let placed = nodes.sql("SELECT count(*) FROM runs WHERE node IS NOT NULL AND status = 'completed'");
    assert_ne!(placed, "0");
    let torn = nodes.sql(&format!(
        "SELECT count(*) FROM (SELECT r.id, string_agg(o.text, '' ORDER BY o.attempt, o.n) AS text FROM runs r JOIN output o ON o.run = r.id
           AND o.attempt = r.attempt WHERE r.status IN ('completed', 'failed') AND r.exit_code IS NOT NULL GROUP BY r.id) AS all_of
         WHERE text <> (SELECT string_agg(n || E'\\n', '' ORDER BY n) FROM generate_series(1, {LINES}) AS n)"
    ));
    assert_eq!(torn, "0", "output of runs that ended is not whole");
    println!(
        "{faults:?} faults (seed {seed}): {} starts witnessed, {counted:?}, {placed} completed at nodes",
        nodes.starts().len()
    );
}

/// Starts those again that have ended, but for this one.
fn both_up(all: &mut [Daemon], but: usize) {
    for (_, daemon) in all.iter_mut().enumerate().filter(|(n, _)| *n != but) {
        if daemon.child.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some()) {
            spawn(daemon);
        }
    }
}
