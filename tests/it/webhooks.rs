//! Webhooks that start agents: only what is signed, each delivery once.
use super::support::{Daemon, code, wait_for};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const KEY: &[u8] = b"a key of the test";

/// Secrets lie in files that only we may read.
fn with_secrets(config: &str) -> Daemon {
    let daemon = Daemon::with(config);
    let secret = format!("whsec_{}", STANDARD.encode(KEY));
    for (name, text) in [("standard", secret.as_str()), ("github", "octocat")] {
        let path = daemon.path(name);
        std::fs::write(&path, text).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, mode).expect("a mode");
    }
    daemon
}

fn fleet(address: &str, more: &str) -> String {
    format!(
        "[daemon]\nwebhooks = \"{address}\"\n\
         [webhooks.deploy]\nsecret = {{ file = \"standard\" }}\n\
         [webhooks.push]\nscheme = \"github\"\nsecret = {{ file = \"github\" }}\n\
         [agents.deploy]\non = {{ webhook = \"deploy\" }}\ncommand = \"cat >> noted; echo >> noted\"\n\
         [agents.push]\non = {{ webhook = \"push\" }}\ncommand = '''printf '%s' \"$BGAGENT_EVENT\" > event'''\n{more}"
    )
}

/// Where webhooks are taken.
fn address(daemon: &Daemon) -> SocketAddr {
    wait_for("the listener", || {
        let view = daemon.call("get_daemon_status", json!({}));
        let is_ready = view["webhooks"]["problem"].is_null();
        view["webhooks"]["address"].as_str().filter(|_| is_ready)?.parse().ok()
    })
}

/// Sends a request as it is; the status, and what was said.
fn send(address: SocketAddr, head: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(super::support::PATIENCE)).expect("a socket");
    let head = format!("{head}Host: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).expect("it reads");
    // one that is refused before its body was read is closed
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let said = answer.split("\r\n\r\n").nth(1).and_then(|said| serde_json::from_str(said).ok());
    (status.unwrap_or_else(|| panic!("no status: {answer:?}")), said.unwrap_or_default())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// A delivery of the Standard Webhooks.
fn deliver(address: SocketAddr, id: &str, at: i64, body: &str) -> (u16, Value) {
    let signature = STANDARD.encode(mac(KEY, format!("{id}.{at}.{body}").as_bytes()));
    signed(address, id, at, &format!("v1,{signature}"), body)
}

fn signed(address: SocketAddr, id: &str, at: i64, signature: &str, body: &str) -> (u16, Value) {
    let head = format!(
        "POST /deploy HTTP/1.1\r\nwebhook-id: {id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: {signature}\r\n"
    );
    send(address, &head, body.as_bytes())
}

fn deliver_push(address: SocketAddr, id: &str, body: &str) -> (u16, Value) {
    let signature: String =
        mac(b"octocat", body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!(
        "POST /push HTTP/1.1\r\nX-GitHub-Delivery: {id}\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={signature}\r\n"
    );
    send(address, &head, body.as_bytes())
}

fn runs(daemon: &Daemon, agent: &str) -> usize {
    let runs = daemon.call("list_runs", json!({"agent_id": agent, "limit": 1000}));
    runs.as_array().expect("a list").len()
}

#[test]
fn a_delivery_that_is_signed_starts_a_run_and_one_that_is_not_does_not() {
    let mut daemon = with_secrets(&fleet("127.0.0.1:0", ""));
    let checked = String::from_utf8(daemon.run(&["check"]).stderr).expect("text");
    assert!(checked.contains("/deploy (standard), /push (github)"), "{checked}");
    daemon.up();
    let to = address(&daemon);
    let body = r#"{"ref":"main","n":1}"#;
    assert_eq!(deliver(to, "msg_1", now(), body), (202, json!({"id": "msg_1"})));
    wait_for("the body", || {
        let noted = std::fs::read_to_string(daemon.path("noted")).unwrap_or_default();
        (noted.lines().map(|line| serde_json::from_str::<Value>(line).ok()).next()??["ref"] == "main")
            .then_some(())
    });
    let event = daemon.until("webhook_received", "deploy");
    assert_eq!(event["payload"]["body"], json!({"ref": "main", "n": 1}));
    assert_eq!(
        (&event["payload"]["webhook"], &event["payload"]["delivery"]),
        (&json!("deploy"), &json!("msg_1"))
    );
    // what is sent again is known, also in the next life
    assert_eq!(deliver(to, "msg_1", now(), body), (200, json!({"id": "msg_1"})));
    assert_eq!(daemon.down(), Some(0));
    daemon.up();
    let to = address(&daemon);
    assert_eq!(deliver(to, "msg_1", now(), body).0, 200);
    assert_eq!(runs(&daemon, "deploy"), 1);
    for (what, (status, said)) in [
        ("an old one", deliver(to, "msg_2", now() - 900, body)),
        ("one of tomorrow", deliver(to, "msg_3", now() + 900, body)),
        ("a wrong signature", signed(to, "msg_4", now(), "v1,AAAA", body)),
        ("no signature", send(to, "POST /deploy HTTP/1.1\r\n", b"{}")),
        ("the key of another webhook", send(to, "POST /push HTTP/1.1\r\nX-GitHub-Delivery: 1\r\n", b"{}")),
    ] {
        assert_eq!(status, 401, "{what}: {said}");
        assert!(said["error"].is_string(), "{what}: {said}");
    }
    for (status, head, size) in [
        (404, "POST /nobody HTTP/1.1\r\n", 2),
        (404, "POST / HTTP/1.1\r\n", 2),
        (405, "GET /deploy HTTP/1.1\r\n", 0),
        (413, "POST /deploy HTTP/1.1\r\n", (1 << 20) + 1),
    ] {
        let (got, said) = send(to, head, &vec![b'x'; size]);
        assert_eq!(got, status, "{head}: {said}");
    }
    assert_eq!(runs(&daemon, "deploy"), 1);
    assert!(daemon.ok(&["runs", "deploy"]).contains("webhook deploy"));
    let why = daemon.ok(&["why", "deploy"]).replace('\n', " ");
    assert!(why.contains("The delivery to webhook deploy"), "{why}");
    assert!(daemon.ok(&["status"]).contains(&format!("received at {to}")));
}

#[test]
fn github_signs_the_body_and_names_the_event() {
    let mut daemon = with_secrets(&fleet("127.0.0.1:0", ""));
    daemon.up();
    let to = address(&daemon);
    assert_eq!(deliver_push(to, "72d3162e", r#"{"after":"abc"}"#).0, 202);
    assert_eq!(deliver_push(to, "72d3162e", r#"{"after":"abc"}"#).0, 200);
    assert_eq!(deliver_push(to, "72d3162f", "no JSON").0, 202);
    let event = wait_for("the event", || {
        let text = std::fs::read_to_string(daemon.path("event")).ok()?;
        serde_json::from_str::<Value>(&text).ok().filter(|event| event["payload"]["body"] == "no JSON")
    });
    assert_eq!(event["payload"]["event"], "push");
}

#[test]
fn fifty_of_one_delivery_at_once_are_one_run() {
    let mut daemon = with_secrets(&fleet("127.0.0.1:0", ""));
    daemon.up();
    let to = address(&daemon);
    let at = now();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..50).map(|_| scope.spawn(move || deliver(to, "msg_1", at, "{}").0)).collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 49, "{statuses:?}");
    assert_eq!(runs(&daemon, "deploy"), 1);
}

#[test]
fn too_many_are_sent_back() {
    let mut daemon = with_secrets(&fleet("127.0.0.1:0", ""));
    daemon.up();
    let to = address(&daemon);
    let refused = wait_for("a refusal", || {
        let (status, said) = send(to, "POST /push HTTP/1.1\r\n", b"{}");
        (status == 429).then_some(said)
    });
    assert!(refused["error"].is_string(), "{refused}");
    // another webhook has its own share
    assert_eq!(deliver(to, "msg_1", now(), "{}").0, 202);
}

/// More of them than there are places.
#[test]
fn connections_that_say_nothing_keep_no_delivery_out() {
    let mut daemon = with_secrets(&fleet("127.0.0.1:0", ""));
    daemon.up();
    let to = address(&daemon);
    let silent: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(to).expect("it listens")).collect();
    for at in 0..3 {
        assert_eq!(deliver(to, &format!("msg_{at}"), now(), "{}").0, 202);
    }
    drop(silent);
}

/// Killed while deliveries come, each sent until it is taken: each has one run.
#[test]
fn killed_while_deliveries_come_none_is_lost_or_doubled() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let config = fleet(&format!("127.0.0.1:{port}"), "");
    let mut daemon = with_secrets(&config);
    daemon.up();
    let to = address(&daemon);
    let sending = std::thread::spawn(move || {
        for n in 0..60 {
            let id = format!("msg_{n}");
            wait_for("a delivery that is taken", || {
                // nobody listens, or who did was killed
                let sent = std::panic::catch_unwind(|| deliver(to, &id, now(), "{}").0);
                sent.is_ok_and(|status| status == 202 || status == 200).then_some(())
            });
        }
    });
    for _ in 0..6 {
        let before = runs(&daemon, "deploy");
        wait_for("some more", || {
            (sending.is_finished() || runs(&daemon, "deploy") > before + 3).then_some(())
        });
        daemon.kill();
        daemon.up();
        address(&daemon);
    }
    sending.join().expect("all were taken");
    assert_eq!(runs(&daemon, "deploy"), 60);
}

#[test]
fn an_address_that_is_taken_is_a_problem_and_no_end() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let mut daemon = with_secrets(&fleet(&format!("127.0.0.1:{port}"), ""));
    daemon.up();
    wait_for("what is said of it", || {
        daemon.ok(&["status"]).contains(&format!("can't be received at 127.0.0.1:{port}")).then_some(())
    });
    drop(taken);
    assert_eq!(address(&daemon).port(), port);
}

#[test]
fn whoever_is_stopped_takes_nothing_and_who_is_paused_passes() {
    let mut daemon = with_secrets(&fleet("127.0.0.1:0", ""));
    daemon.up();
    let to = address(&daemon);
    daemon.call("pause_agent", json!({"agent_id": "deploy"}));
    assert_eq!(deliver(to, "msg_1", now(), "{}").0, 202);
    let passed = daemon.until("background_slot_skipped", "deploy");
    assert_eq!(passed["payload"]["verdict"], "skipped_paused");
    assert_eq!(passed["payload"]["event"]["arrived"], "deploy");
    daemon.call("stop_agent", json!({"agent_id": "deploy"}));
    assert_eq!(deliver(to, "msg_2", now(), "{}").0, 503);
    daemon.call("start_agent", json!({"agent_id": "deploy"}));
    assert_eq!(deliver(to, "msg_2", now(), "{}").0, 202);
    assert_eq!(deliver(to, "msg_1", now(), "{}").0, 200);
}

#[test]
fn only_this_machine_is_listened_at() {
    let daemon = with_secrets(&fleet("0.0.0.0:9470", ""));
    code(&daemon, &["check"], 78, "reverse proxy");
}
