//! Daemons that share their records on a PostgreSQL server: their names, and commands at each of them.
use super::postgres::Server;
use super::records::Records;
use super::rng::Rng;
use super::standby::{health, spawn, stands_by, two};
use super::support::{Client, Daemon, code, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const FLEET: &str =
    "[agents.hand]\ncommand = 'echo by hand'\n[agents.hourly]\ninterval = \"1h\"\ncommand = 'true'\n";

/// The fleet, at a node of this name.
pub fn at(name: &str, more: &str, fleet: &str) -> String {
    format!("[daemon]\nnode = \"{name}\"\n{more}\n{fleet}")
}

/// A daemon that leads and one that stands by, as `first` and `second`.
pub fn pair(fleet: &str) -> Option<[Daemon; 2]> {
    let [mut first, mut second] = two("")?;
    first.configure(&at("first", "labels = { gpu = \"h100\" }", fleet));
    second.configure(&at("second", "", fleet));
    first.up();
    spawn(&mut second);
    stands_by(&second);
    Some([first, second])
}

pub fn nodes(daemon: &Daemon) -> BTreeMap<String, Value> {
    let list: Vec<Value> = serde_json::from_str(&daemon.ok(&["nodes", "--json"])).expect("nodes");
    list.into_iter().map(|node| (node["name"].as_str().expect("a name").to_owned(), node)).collect()
}

#[test]
fn every_command_works_at_a_node_that_stands_by() {
    let Some([mut first, mut second]) = pair(FLEET) else { return };
    let [one, other] = ["first", "second"].map(|name| nodes(&second)[name].clone());
    assert_eq!((&one["role"], &one["labels"]["gpu"]), (&json!("leads"), &json!("h100")), "{one}");
    assert_eq!((&other["role"], &other["is_this"]), (&json!("stands_by"), &json!(true)), "{other}");
    assert_eq!(nodes(&first)["second"]["role"], "stands_by");
    let shown = second.ok(&["nodes"]);
    assert!(
        shown.contains("gpu=h100") && shown.contains("second*") && shown.contains("stands by"),
        "{shown}"
    );
    // of the fleet, by this daemon
    let status = second.call("get_daemon_status", json!({}));
    assert_eq!(
        (&status["state"], &status["fleet"]["leader"]),
        (&json!("standby"), &json!("first")),
        "{status}"
    );
    assert!(second.ok(&["status"]).contains("first leads since"), "{}", second.ok(&["status"]));
    // changes are made by the leader, and it is told who asked
    second.ok(&["pause", "hourly", "--reason", "at noon"]);
    let listed: Value = serde_json::from_str(&first.ok(&["list", "--json"])).expect("a list");
    let hourly = listed.as_array().expect("a list").iter().find(|agent| agent["agent_id"] == "hourly");
    let hourly = hourly.expect("the agent");
    assert_eq!(hourly["state"], "paused", "{hourly}");
    assert!(
        hourly.to_string().contains("at noon (") && hourly.to_string().contains(" at second)"),
        "{hourly}"
    );
    second.ok(&["resume", "hourly"]);
    let run = second.run(&["run", "hand", "--wait", "--json"]);
    let run: Value = serde_json::from_slice(&run.stdout).expect("a run");
    assert_eq!((&run["status"], &run["result"]), (&json!("completed"), &json!("by hand")), "{run}");
    let id = run["run_id"].as_str().expect("an id");
    for args in [
        &["list"][..],
        &["status", "hand"],
        &["next"],
        &["runs"],
        &["show", id],
        &["logs", "hand"],
        &["why", "hourly"],
        &["usage"],
        &["approvals"],
        &["incidents"],
        &["memory", "hand"],
        &["tail", "--no-follow"],
        &["tool", "list"],
        &["reload"],
        &["stop", "hourly"],
        &["start", "hourly"],
        &["skip", "hourly"],
        &["top", "--once"],
    ] {
        second.ok(args);
    }
    code(&second, &["pause", "huorly"], 4, "did you mean `hourly`?");
    code(&second, &["cancel", id], 5, "has ended already");
    code(&second, &["approve", "nothing"], 5, "nothing");
    let (ended, told) = health(&second);
    assert!(ended == Some(0) && told.contains("standing by"), "{told}");
    // its end is its own
    second.ok(&["shutdown"]);
    assert_eq!(second.wait_end(), Some(0), "{}", second.log());
    assert_eq!(nodes(&first).keys().collect::<Vec<_>>(), ["first"]);
    first.ok(&["list"]);
    assert_eq!(first.down(), Some(0), "{}", first.log());
    // the records know it as well
    let output = first.run(&["nodes", "--json"]);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).trim()), (Some(3), "[]"));
}

#[test]
fn a_daemon_with_a_file_is_its_only_node() {
    let mut daemon = Daemon::with("");
    daemon.records = None;
    daemon.configure(&at("alone", "labels = { disk = \"big\" }", FLEET));
    daemon.up();
    let found = nodes(&daemon);
    let one = &found["alone"];
    assert_eq!(
        (found.len(), &one["role"], &one["labels"]["disk"]),
        (1, &json!("leads"), &json!("big")),
        "{one}"
    );
    assert!(daemon.call("get_daemon_status", json!({}))["fleet"].is_null());
    assert_eq!(daemon.down(), Some(0));
    let output = daemon.run(&["nodes", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).expect("nodes");
    assert_eq!((output.status.code(), &list[0]["role"]), (Some(3), &json!("away")), "{list}");
}

#[test]
fn a_change_is_made_once_by_its_request_id_wherever_it_is_sent() {
    let Some([first, second]) = pair(FLEET) else { return };
    let ask = json!({"agent_id": "hand", "request_id": "r-1"});
    let run = second.call("run_agent", ask.clone());
    assert_eq!(second.call("run_agent", ask.clone())["run_id"], run["run_id"]);
    assert_eq!(first.call("run_agent", ask)["run_id"], run["run_id"]);
    // many at once, on one connection, in their order
    let mut client = second.client();
    for (n, method) in ["pause_agent", "resume_agent"].into_iter().cycle().take(20).enumerate() {
        let params = json!({"agent_id": "hourly"});
        let line = json!({"jsonrpc": "2.0", "id": n, "method": method, "params": params}).to_string() + "\n";
        client.send(line.as_bytes()).expect("the daemon reads");
    }
    let mut answered = 0;
    while answered < 20 {
        let answer = client.line().expect("a line").expect("the daemon answers");
        assert!(answer["result"].is_object(), "{answer}");
        answered += 1;
    }
    let states = first.database();
    let mut states = states
        .prepare("SELECT json_extract(payload, '$.status') FROM events WHERE type = 'background_agent_status' AND agent = 'hourly' ORDER BY seq")
        .expect("a statement");
    let states: Vec<Option<String>> =
        states.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect();
    let states: Vec<String> = states.into_iter().flatten().collect();
    let tail = &states[states.len().saturating_sub(20)..];
    assert!(tail.chunks(2).all(|two| two == ["paused", "active"]), "{states:?}");
    // what is too long is refused before it is sent
    let error = second
        .client()
        .try_call("run_agent", json!({"agent_id": "hand", "query": "x".repeat(300_000)}))
        .expect_err("it is too long");
    assert_eq!(error["code"], -32602, "{error}");
}

#[test]
fn events_reach_a_node_that_stands_by_within_a_quarter_of_a_second() {
    let Some([first, second]) = pair(FLEET) else { return };
    let mut follower = second.client();
    follower.call("stream_agent_events", json!({"agents": ["hourly"], "follow": true}));
    let mut leader = first.client();
    let mut lags = Vec::new();
    for n in 0..20 {
        let method = if n % 2 == 0 { "pause_agent" } else { "resume_agent" };
        leader.call(method, json!({"agent_id": "hourly"}));
        let committed = Instant::now();
        loop {
            let line = follower.line().expect("a line").expect("the daemon lives");
            if line["method"] == "event" && line["params"]["event"]["type"] == "background_agent_status" {
                break;
            }
        }
        lags.push(committed.elapsed());
    }
    lags.sort();
    println!("lag of events: median {:?}, worst {:?}", lags[10], lags[19]);
    assert!(lags[15] < Duration::from_millis(250), "{lags:?}");
}

#[test]
fn two_daemons_of_one_name_are_refused() {
    let Some([mut first, mut second]) = two("") else { return };
    first.configure(&at("same", "", FLEET));
    second.configure(&at("same", "", FLEET));
    first.up();
    spawn(&mut second);
    assert_eq!(second.wait_end(), Some(75), "{}", second.log());
    let said = second.log();
    assert!(
        said.contains("another daemon is the node same already") && said.contains("`node` of [daemon]"),
        "{said}"
    );
    // the same daemon is itself, also after a crash
    first.kill();
    first.up();
    // names that nobody chose are told apart
    second.configure(FLEET);
    spawn(&mut second);
    stands_by(&second);
    assert_eq!(nodes(&first).len(), 2);
    assert_eq!(first.down(), Some(0));
}

#[test]
fn a_node_that_may_not_lead_never_does_and_says_so() {
    let Some([mut first, mut second]) = two("") else { return };
    first.configure(&at("first", "", FLEET));
    second.configure(&at("second", "leads = false", FLEET));
    first.up();
    spawn(&mut second);
    stands_by(&second);
    assert_eq!(nodes(&second)["second"]["may_lead"], false);
    first.run_by_hand("hand");
    assert_eq!(first.down(), Some(0), "{}", first.log());
    let began = Instant::now();
    code(&second, &["pause", "hourly"], 3, "no node has led");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // what is recorded is still told, and changes of the time without a leader were not made
    assert!(second.ok(&["list"]).contains("hourly"));
    assert!(second.ok(&["runs"]).contains("hand"));
    let shown = second.ok(&["nodes"]);
    assert!(shown.contains("no node that is there may lead"), "{shown}");
    let (ended, told) = health(&second);
    assert!(ended == Some(1) && told.contains("no node that is there may lead"), "{told}");
    first.up();
    assert_eq!(first.call("get_agent_status", json!({"agent_id": "hourly"}))["state"], "active");
    // asked again, with a leader
    second.ok(&["pause", "hourly"]);
    assert_eq!(first.call("get_agent_status", json!({"agent_id": "hourly"}))["state"], "paused");
}

#[test]
fn a_call_waits_for_the_next_leader_and_clients_stay() {
    let Some([mut first, mut second]) = pair(FLEET) else { return };
    let mut client = second.client();
    let mut follower = second.client();
    follower.call("stream_agent_events", json!({"agents": ["hand"], "follow": true}));
    // the leader goes, and is told of nothing any more
    super::support::signal(first.child.as_ref().expect("it runs").id(), Signal::STOP);
    let asked = std::thread::spawn(move || {
        let run = client.call("run_agent", json!({"agent_id": "hand"}));
        (client, run)
    });
    let records = second.records.as_ref().expect("on a server");
    let waiting = format!("SELECT count(*) FROM {}.forwarded WHERE answer IS NULL", records.schema);
    wait_for("the call", || (records.server.psql(&waiting).expect("a count").trim() == "1").then_some(()));
    first.kill();
    first.up();
    let (mut client, run) = asked.join().expect("it was answered");
    assert_eq!(second.finished(&run["run_id"])["status"], "completed");
    // this one takes over, on the same connections
    assert_eq!(first.down(), Some(0), "{}", first.log());
    wait_for("the other one to lead", || {
        (client.call("get_daemon_status", json!({}))["state"] == "ok").then_some(())
    });
    let run = client.call("run_agent", json!({"agent_id": "hand"}));
    let mut seen = false;
    while !seen {
        let line = follower.line().expect("a line").expect("the daemon lives");
        seen = line["params"]["event"]["run_id"] == run["run_id"];
    }
    assert_eq!(second.down(), Some(0), "{}", second.log());
}

/// What became of a change, as its client knows it.
#[derive(Debug, PartialEq)]
enum Told {
    Done(String),
    NotDone,
    Unknown,
}

fn told(answer: Result<Value, Value>) -> Told {
    match answer {
        Ok(run) => Told::Done(run["run_id"].as_str().expect("an id").to_owned()),
        Err(error) if error.get("io").is_some() || error["data"]["pending"] == true => Told::Unknown,
        // going down, it does not say
        Err(error) if error["code"] == 6 => Told::Unknown,
        Err(_) => Told::NotDone,
    }
}

/// Whatever is done to the leader, to the node that is asked, and to their connections: a change that is asked for there is
/// made once, or its client is told that it was not made.
#[test]
fn through_faults_each_change_is_made_once() {
    const ROUNDS: usize = 10;
    const EACH: usize = 5;
    let seed = std::env::var("BGAGENT_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let rounds = std::env::var("BGAGENT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let mut random = Rng::new(seed);
    let Some(server) = Server::start_with(&["-c", "fsync=on"]) else { return };
    server.wait_until_up();
    let server = Arc::new(server);
    let fleet = "[agents.hand]\noverlap = \"parallel\"\ncommand = 'true'\nparams = { n = \"int\" }\n";
    let mut both = ["leader", "asked"].map(|name| {
        let mut daemon = Daemon::with("");
        daemon.records = Some(Records { server: server.clone(), schema: "fleet".into() });
        daemon.configure(&at(name, if name == "asked" { "leads = false" } else { "" }, fleet));
        daemon
    });
    let [leader, asked] = &mut both;
    leader.up();
    spawn(asked);
    stands_by(asked);
    let mut outcomes = Vec::new();
    for round in 0..rounds {
        asked.ready();
        let ids: Vec<usize> = (0..EACH).map(|n| round * EACH + n).collect();
        let ask =
            |n: usize| json!({"agent_id": "hand", "params": {"n": n}, "request_id": format!("change-{n}")});
        let mut client = asked.client();
        for n in &ids {
            let line = json!({"jsonrpc": "2.0", "id": n, "method": "run_agent", "params": ask(*n)})
                .to_string()
                + "\n";
            client.send(line.as_bytes()).expect("the daemon reads");
        }
        std::thread::sleep(Duration::from_micros(random.next() % 25_000));
        let fault = random.next() % 5;
        match fault {
            0 => {
                leader.kill();
                spawn(leader);
            }
            1 => {
                asked.kill();
                spawn(asked);
            }
            2 => {
                let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
                server.psql(cut).expect("a count");
            }
            3 => {
                leader.ready();
                leader.down();
                spawn(leader);
            }
            _ => {}
        }
        let mut answers = heard(&mut client, &ids);
        for n in ids {
            let mut outcome = answers.remove(&n).map_or(Told::Unknown, told);
            let deadline = Instant::now() + Duration::from_secs(60);
            while outcome == Told::Unknown {
                assert!(
                    Instant::now() < deadline,
                    "change {n} has no answer\n{}\n{}",
                    leader.log(),
                    asked.log()
                );
                let again = std::os::unix::net::UnixStream::connect(asked.path("socket"));
                outcome = again
                    .map_or(Told::Unknown, |stream| told(Client::new(stream).try_call("run_agent", ask(n))));
                std::thread::park_timeout(Duration::from_millis(20));
            }
            outcomes.push((n, outcome));
        }
    }
    leader.ready();
    let database = leader.database();
    let count = |n: usize| -> (i64, Option<String>) {
        let sql = "SELECT count(*), max(lower(hex(id))) FROM runs WHERE json_extract(params, '$.n') = ?1";
        database.query_row(sql, [n as i64], |row| Ok((row.get(0)?, row.get(1)?))).expect("a row")
    };
    let mut done = 0;
    for (n, outcome) in &outcomes {
        let (runs, id) = count(*n);
        match outcome {
            Told::Done(run) => {
                assert_eq!((runs, id), (1, Some(run.replace('-', ""))), "change {n}");
                done += 1;
            }
            Told::NotDone => assert_eq!(runs, 0, "change {n} was said not to be made"),
            Told::Unknown => unreachable!("it was asked until it was known"),
        }
    }
    println!("seed {seed}: {done} of {} changes made, the others refused", outcomes.len());
    assert!(done * 2 > outcomes.len(), "{outcomes:?}");
}

/// Answers by the number of their calls, until the daemon has gone or all are there.
fn heard(client: &mut Client, ids: &[usize]) -> BTreeMap<usize, Result<Value, Value>> {
    let mut answers = BTreeMap::new();
    while answers.len() < ids.len() {
        let Ok(Some(line)) = client.line() else { break };
        let Some(id) = line["id"].as_u64() else { continue };
        let answer = match line.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(line["result"].clone()),
        };
        answers.insert(usize::try_from(id).expect("a small number"), answer);
    }
    answers
}
