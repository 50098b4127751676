//! Daemons that share their records, in trouble: a leader that goes down or says nothing, a server that hangs or can't be
//! written, names that are taken.
use super::nodes::{FLEET, at, nodes, pair};
use super::records::Records;
use super::standby::{leads, spawn, stands_by, two};
use super::support::{Daemon, SOON, code, signal, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a statement says in the schema of a daemon.
fn ask(daemon: &Daemon, sql: &str) -> String {
    let Records { server, schema } = daemon.records.as_ref().expect("on a server");
    let answer = server.psql(&format!("SET search_path = {schema}; {sql}"));
    answer.unwrap_or_else(|error| panic!("{sql}: {error}")).trim().to_owned()
}

fn pid(daemon: &Daemon) -> u32 {
    daemon.child.as_ref().expect("it runs").id()
}

/// Calls, all at once on one connection; their answers by number.
fn calls(daemon: &Daemon, all: &[(&str, Value)]) -> std::thread::JoinHandle<Vec<Value>> {
    let mut client = daemon.client();
    for (n, (method, params)) in all.iter().enumerate() {
        let line = json!({"jsonrpc": "2.0", "id": n, "method": method, "params": params}).to_string() + "\n";
        client.send(line.as_bytes()).expect("the daemon reads");
    }
    let count = all.len();
    std::thread::spawn(move || {
        let mut answers = vec![Value::Null; count];
        for _ in 0..count {
            let answer = client.line().expect("a line").expect("the daemon answers");
            let at = answer["id"].as_u64().and_then(|id| usize::try_from(id).ok()).expect("a number");
            answers[at] = answer;
        }
        answers
    })
}

#[test]
fn a_leader_that_goes_down_leaves_changes_to_the_next_one_and_answers_questions() {
    let fleet = format!("{FLEET}[agents.long]\ncommand = 'until [ -e go ]; do sleep 0.1; done'\n");
    let Some([first, second]) = pair(&fleet) else { return };
    first.call("run_agent", json!({"agent_id": "long"}));
    first.until("background_task_started", "long");
    signal(pid(&first), Signal::TERM);
    wait_for("the end to begin", || {
        let status = first.client().try_call("get_daemon_status", json!({})).ok()?;
        (status["state"] == "stopping").then_some(())
    });
    let asked = calls(&second, &[("pause_agent", json!({"agent_id": "hourly"}))]);
    wait_for("the call", || (ask(&second, "SELECT count(*) FROM forwarded") == "1").then_some(()));
    // a question that is asked later is taken first
    let listed = wait_for("an answer of the leader", || {
        let answer =
            calls(&second, &[("list_agents", json!({}))]).join().expect("it does not panic").remove(0);
        answer["note"].is_null().then_some(answer)
    });
    assert!(listed["result"].to_string().contains("\"long\""), "{listed}");
    let taken = "SELECT count(*) FROM forwarded WHERE method = 'pause_agent' AND taken IS NOT NULL";
    assert_eq!(ask(&second, taken), "0");
    std::fs::write(first.path("go"), "").expect("our folder");
    let mut first = first;
    assert_eq!(first.wait_end(), Some(0), "{}", first.log());
    let answer = asked.join().expect("it does not panic").remove(0);
    assert_eq!(answer["result"]["state"], "paused", "{answer}");
    leads(&second);
    assert_eq!(second.call("get_agent_status", json!({"agent_id": "hourly"}))["state"], "paused");
}

/// Keeps everybody from writing records until the table `go` has a row.
fn hold_writes(daemon: &Daemon) -> std::thread::JoinHandle<()> {
    let Records { server, schema } = daemon.records.as_ref().expect("on a server");
    let (server, schema) = (server.clone(), schema.clone());
    ask(daemon, "CREATE TABLE go(n int)");
    let hold = format!(
        "SET search_path = {schema};
         DO $$ BEGIN
           LOCK TABLE fleet IN EXCLUSIVE MODE;
           WHILE NOT EXISTS (SELECT 1 FROM go) LOOP PERFORM pg_sleep(0.02); END LOOP;
         END $$"
    );
    let holding = std::thread::spawn(move || drop(server.psql(&hold).expect("it ends when it may")));
    let held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'ExclusiveLock' AND relation = 'fleet'::regclass";
    wait_for("the lock", || (ask(daemon, held) == "1").then_some(()));
    holding
}

#[test]
fn changes_of_a_connection_keep_their_order_while_nothing_can_be_written() {
    let Some([mut first, mut second]) = two("") else { return };
    first.configure(&at("first", "", FLEET));
    second.configure(&at("second", "leads = false", FLEET));
    first.up();
    spawn(&mut second);
    stands_by(&second);
    let newest = first.call("get_daemon_status", json!({}))["newest_seq"].as_u64().expect("a number");
    let holding = hold_writes(&first);
    let hand = calls(&second, &[("skip_agent", json!({"agent_id": "hourly"}))]);
    wait_for("the leader to notice", || {
        let status = first.call("get_daemon_status", json!({}));
        (status["state"] == "degraded").then_some(())
    });
    let methods = ["pause_agent", "resume_agent"].into_iter().cycle().take(24);
    let all: Vec<(&str, Value)> = methods.map(|method| (method, json!({"agent_id": "hourly"}))).collect();
    let asked = calls(&second, &all);
    wait_for("all calls to be taken", || {
        (ask(&first, "SELECT count(*) FROM forwarded WHERE taken IS NOT NULL") == "25").then_some(())
    });
    ask(&first, "INSERT INTO go VALUES (1)");
    holding.join().expect("it does not panic");
    for answer in
        hand.join().expect("it does not panic").iter().chain(&asked.join().expect("it does not panic"))
    {
        assert!(answer["result"].is_object(), "{answer}");
    }
    let states = ask(
        &first,
        &format!(
            "SELECT string_agg(payload::json ->> 'status', ' ' ORDER BY seq) FROM events
             WHERE seq > {newest} AND type = 'background_agent_status' AND agent = 'hourly'"
        ),
    );
    assert_eq!(states, ["paused active"; 12].join(" "));
}

#[test]
fn each_change_that_is_forwarded_is_on_record_with_its_answer() {
    let Some([first, second]) = pair(FLEET) else { return };
    let known = |id: &str| ask(&first, &format!("SELECT answer FROM requests WHERE id = '{id}'"));
    for (method, mut params) in [
        ("pause_agent", json!({"agent_id": "hourly"})),
        ("clear_memory", json!({"agent_id": "hand"})),
        ("reload_config", json!({})),
    ] {
        params["request_id"] = json!(format!("r-{method}"));
        let answer = second.call(method, params);
        let kept: Value = serde_json::from_str(&known(&format!("r-{method}"))).expect("it is known");
        let mut kept = kept["result"].clone();
        if method == "reload_config" {
            kept["last"] = answer["last"].clone();
        }
        assert_eq!(kept, answer, "{method}");
    }
}

#[test]
fn the_end_is_heard_by_a_standby_that_is_taking_the_lead() {
    let Some([mut first, mut second]) = pair(FLEET) else { return };
    first.kill();
    ask(&second, "CREATE TABLE go(n int)");
    let Records { server, schema } = second.records.as_ref().expect("on a server");
    let (server, schema) = (server.clone(), schema.clone());
    // the lead is free, and can't be taken yet
    let hold = format!(
        "DO $$ BEGIN
           UPDATE {schema}.fleet SET leader = '', expires = now(); COMMIT; LOCK TABLE {schema}.fleet IN EXCLUSIVE MODE;
           WHILE NOT EXISTS (SELECT 1 FROM {schema}.go) LOOP PERFORM pg_sleep(0.02); END LOOP;
         END $$"
    );
    let holding = std::thread::spawn(move || drop(server.psql(&hold).expect("it ends when it may")));
    wait_for("the standby to try", || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'fleet'::regclass";
        (ask(&second, waiting) != "0").then_some(())
    });
    let asked = calls(&second, &[("shutdown", json!({}))]);
    ask(&second, "INSERT INTO go VALUES (1)");
    holding.join().expect("it does not panic");
    let answer = asked.join().expect("it does not panic").remove(0);
    assert!(answer["result"].is_object(), "{answer}");
    assert_eq!(second.wait_end(), Some(0), "{}", second.log());
}

#[test]
fn nodes_say_which_configuration_is_in_force_after_a_reload() {
    let Some([first, second]) = pair(FLEET) else { return };
    let hash = |name: &str| nodes(&first)[name]["config_hash"].clone();
    let before = (hash("first"), hash("second"));
    // names and labels count, too, so the two differ from the start
    let more = format!("{FLEET}[agents.more]\ncommand = 'true'\n");
    first.configure(&at("first", "labels = { gpu = \"h100\" }", &more));
    first.ok(&["reload"]);
    let in_force = first.call("get_daemon_status", json!({}))["config_hash"].clone();
    assert_ne!(in_force, before.0);
    wait_for("the leader to say so", || (hash("first") == in_force).then_some(()));
    assert_eq!(hash("second"), before.1);
    // one that stands by says what its file says now
    second.configure(&at("second", "", &more));
    wait_for("the standby to say so", || (hash("second") != before.1).then_some(()));
}

#[test]
fn a_name_whose_daemon_is_gone_is_taken_over_as_soon_as_it_is_free() {
    let Some([mut first, mut second]) = two("") else { return };
    first.configure(&at("same", "", FLEET));
    second.configure(&at("same", "", FLEET));
    first.up();
    first.kill();
    // by its state folder it is another one, as after a disk was lost
    spawn(&mut second);
    wait_for("it to wait", || {
        second.log().contains("another daemon has the name of this node").then_some(())
    });
    ask(&second, "UPDATE nodes SET seen = now() - interval '26 seconds'");
    ask(&second, "UPDATE fleet SET expires = now()");
    leads(&second);
    assert_eq!(nodes(&second).keys().collect::<Vec<_>>(), ["same"]);
    // what is still heard of keeps its name
    spawn(&mut first);
    assert_eq!(first.wait_end(), Some(75), "{}", first.log());
}

#[test]
fn questions_fall_back_to_the_records_while_the_leader_says_nothing() {
    let Some([mut first, mut second]) = two("") else { return };
    first.configure(&at("first", "", FLEET));
    second.configure(&at("second", "leads = false", FLEET));
    first.up();
    spawn(&mut second);
    stands_by(&second);
    assert!(!told_by_records(&second, &["list"]), "the leader answers");
    signal(pid(&first), Signal::STOP);
    for args in [&["list"][..], &["status", "hand"], &["next"]] {
        let began = Instant::now();
        assert!(told_by_records(&second, args), "{args:?}");
        // without it they wait for 30 s
        assert!(began.elapsed() < SOON, "{args:?}: {:?}", began.elapsed());
    }
    wait_for("what nobody waits for to go", || {
        (ask(&second, "SELECT count(*) FROM forwarded WHERE taken IS NULL") == "0").then_some(())
    });
    signal(pid(&first), Signal::CONT);
    code(&second, &["status", "hnad"], 4, "did you mean `hand`?");
}

fn told_by_records(daemon: &Daemon, args: &[&str]) -> bool {
    let output = daemon.run(args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !output.stdout.is_empty(), "{told}");
    told.contains("this is what the records say: the leader has not answered within 2.5 s")
}

#[test]
fn large_answers_reach_another_node() {
    let mut fleet = FLEET.to_owned();
    for n in 0..600 {
        fleet.push_str(&format!("[agents.one-of-many-{n}]\ncommand = 'true'\n"));
    }
    let Some([first, second]) = pair(&fleet) else { return };
    let here = first.call("list_agents", json!({}));
    let there = wait_for("an answer of the leader", || {
        let answer =
            calls(&second, &[("list_agents", json!({}))]).join().expect("it does not panic").remove(0);
        answer["note"].is_null().then(|| answer["result"].clone())
    });
    assert!(here.to_string().len() > 200_000, "{}", here.to_string().len());
    assert_eq!(here.as_array().map(Vec::len), there.as_array().map(Vec::len));
    wait_for("it to be removed", || (ask(&second, "SELECT count(*) FROM forwarded") == "0").then_some(()));
}

/// What stands between a daemon and its server: it can stop to carry anything, and takes connections as before.
struct Between {
    port: u16,
    hangs: Arc<AtomicBool>,
    /// Connections by which something is asked meanwhile.
    held: Arc<AtomicUsize>,
}

impl Between {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (hangs, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let all = (hangs.clone(), held.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else {
                    return;
                };
                let back = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                for (from, to) in [(client, server), back] {
                    let (hangs, held) = all.clone();
                    std::thread::spawn(move || carry(from, to, (&hangs, &held)));
                }
            }
        });
        Self { port, hangs, held }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, (hangs, held): (&AtomicBool, &AtomicUsize)) {
    let mut piece = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if hangs.load(Ordering::Acquire) {
            held.fetch_add(1, Ordering::AcqRel);
        }
        while hangs.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn the_end_is_heard_while_the_server_hangs() {
    let Some([mut first, mut second]) = two("") else { return };
    let server = first.records.as_ref().expect("on a server").server.clone();
    let between = [Between::before(server.port), Between::before(server.port)];
    for (daemon, name, between) in [(&mut first, "first", &between[0]), (&mut second, "second", &between[1])]
    {
        let records = daemon.records.take().expect("on a server");
        let table = records.table(daemon.folder.path());
        let table = table.replace(&server.address(), &format!("127.0.0.1:{}", between.port));
        daemon.configure(&at(name, "", &format!("{FLEET}{table}")));
        daemon.records = Some(records);
    }
    first.up();
    spawn(&mut second);
    stands_by(&second);
    between.iter().for_each(|between| between.hangs.store(true, Ordering::Release));
    let mut client = first.client();
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "pause_agent", "params": {"agent_id": "hourly"}});
    client.send(format!("{line}\n").as_bytes()).expect("the daemon reads");
    // each is in the middle of asking the server something: the leader by both of its connections
    wait_for("questions without an answer", || {
        let held = between.each_ref().map(|between| between.held.load(Ordering::Acquire));
        (held[0] >= 2 && held[1] >= 1).then_some(())
    });
    for daemon in [&mut second, &mut first] {
        let began = Instant::now();
        signal(pid(daemon), Signal::TERM);
        daemon.wait_end();
        assert!(began.elapsed() < SOON, "{:?}\n{}", began.elapsed(), daemon.log());
    }
}

/// A question is not waited for as long as a connection is.
#[test]
fn whoever_asks_a_standby_hears_within_seconds_that_the_server_hangs() {
    let Some([mut first, mut second]) = two("") else { return };
    let server = first.records.as_ref().expect("on a server").server.clone();
    let between = Between::before(server.port);
    first.configure(&at("first", "", FLEET));
    first.up();
    let records = second.records.take().expect("on a server");
    let table = records.table(second.folder.path());
    let table = table.replace(&server.address(), &format!("127.0.0.1:{}", between.port));
    second.configure(&at("second", "", &format!("{FLEET}{table}")));
    second.records = Some(records);
    spawn(&mut second);
    stands_by(&second);
    assert_eq!(second.run(&["list"]).status.code(), Some(0));
    between.hangs.store(true, Ordering::Release);
    for question in [&["list"][..], &["runs"], &["status", "hand"], &["nodes"], &["apply", "--history"]] {
        let began = Instant::now();
        code(&second, question, 6, "the records can't be read");
        assert!(began.elapsed() < Duration::from_secs(15), "{question:?} took {:?}", began.elapsed());
    }
    between.hangs.store(false, Ordering::Release);
    wait_for("answers", || (second.run(&["list"]).status.code() == Some(0)).then_some(()));
}
