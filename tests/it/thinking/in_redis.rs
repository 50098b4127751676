//! Sessions and notes in Redis, with a real one: shared by fleets, whole after crashes of either side, never silently missing.
use super::*;
use crate::redis_server::Redis;

/// An agent `a` that remembers there.
fn remembering(endpoint: &Endpoint, redis: &Redis, keys: &str) -> String {
    let memory = "memory = { mode = \"session\", store = \"redis\" }\nsession_id = \"shared\"\n";
    format!("{}[memory.redis]\nurl = \"{}\"\n", agent(endpoint, &format!("{memory}{keys}")), redis.url())
}

/// Says how many messages it was given.
fn counting() -> Endpoint {
    Endpoint::answering(|request| {
        let count = request.json["messages"].as_array().map_or(0, Vec::len);
        Reply::text(&format!("answer to {count} messages"))
    })
}

/// What a run was told of earlier ones: their answers.
fn told(request: &Request) -> Vec<String> {
    let messages = request.json["messages"].as_array().expect("messages");
    let answers = messages.iter().filter(|message| message["role"] == "assistant");
    // its own calls of tools have no text
    answers
        .filter_map(|message| message["content"].as_str().map(str::to_owned))
        .filter(|text| !text.is_empty())
        .collect()
}

fn run_of(daemon: &Daemon) -> Value {
    let started = daemon.call("run_agent", json!({"agent_id": "a"}));
    daemon.finished(&started["run_id"])
}

fn remembered(daemon: &Daemon, endpoint: &Endpoint) -> Vec<String> {
    let view = run_of(daemon);
    assert_eq!(view["status"], "completed", "{view:#}");
    told(endpoint.requests().last().expect("requests"))
}

/// All changes of this daemon are in Redis.
fn settled(daemon: &Daemon, redis: &Redis) {
    wait_for("all changes in Redis", || {
        let memory = daemon.call("get_daemon_status", json!({}))["memory"].clone();
        let last = "SELECT coalesce(max(id), 0) FROM memory_changes";
        let last: i64 = daemon.database().query_row(last, [], |row| row.get(0)).expect("our table");
        let positions = redis.ask(&["HVALS", "bgagent:memory:fleets"]);
        let is_there = positions.as_array().is_some_and(|all| all.contains(&json!(last.to_string())));
        (memory["state"] == "connected" && (last == 0 || is_there)).then_some(())
    });
}

#[test]
fn fleets_share_a_session_over_crashes_of_either_side() {
    let Some(mut redis) = Redis::start() else { return };
    let endpoint = counting();
    let config = remembering(&endpoint, &redis, "");
    let (mut one, other) = (Daemon::start(&config), Daemon::start(&config));
    assert_eq!(remembered(&one, &endpoint), [""; 0]);
    // what is not there yet is known at once to the fleet that said it
    assert_eq!(remembered(&one, &endpoint), ["answer to 2 messages"]);
    settled(&one, &redis);
    let both = ["answer to 2 messages", "answer to 4 messages"];
    assert_eq!(remembered(&other, &endpoint), both);
    settled(&other, &redis);
    one.kill();
    one.up();
    let three = ["answer to 2 messages", "answer to 4 messages", "answer to 6 messages"];
    assert_eq!(remembered(&one, &endpoint), three);
    settled(&one, &redis);
    // a Redis that comes back without its newest entries, and one that comes back with nothing
    redis.kill();
    redis.cut_log(300);
    redis.up();
    let four = [&three[..], &["answer to 8 messages"]].concat();
    wait_for("all of both, again", || {
        let known = one.call("get_memory", json!({"agent_id": "a"}));
        (known.as_array().map(Vec::len) == Some(8)).then_some(())
    });
    settled(&one, &redis);
    settled(&other, &redis);
    redis.ask(&["FLUSHALL"]);
    wait_for("what both have said, again", || {
        let count = redis.ask(&["ZCARD", "bgagent:memory:session:shared"]);
        (count == json!(4)).then_some(())
    });
    assert_eq!(remembered(&other, &endpoint), four);
    let entry = redis.ask(&["ZRANGE", "bgagent:memory:session:shared", "0", "0"]);
    let entry: Value = serde_json::from_str(entry[0].as_str().expect("a text")).expect("JSON");
    assert_eq!(entry["messages"][1], json!({"role": "model", "text": "answer to 2 messages"}), "{entry}");
    assert!(entry["run"].is_string() && entry["at"].is_i64() && entry["untrusted"] == false, "{entry}");
}

#[test]
fn without_redis_no_run_begins_without_its_memory() {
    let Some(mut redis) = Redis::start() else { return };
    let endpoint = counting();
    let daemon = Daemon::start(&remembering(&endpoint, &redis, ""));
    assert_eq!(remembered(&daemon, &endpoint), [""; 0]);
    settled(&daemon, &redis);
    redis.kill();
    let view = run_of(&daemon);
    assert_eq!((&view["status"], &view["error"]["kind"]), (&json!("failed"), &json!("memory")), "{view:#}");
    let why = view["error"]["message"].as_str().expect("a text");
    assert!(why.contains("[memory.redis]") && why.contains("can't be read"), "{why}");
    assert_eq!(endpoint.requests().len(), 1, "nothing was asked of the model");
    let shown = daemon.run(&["memory", "a"]);
    let said = String::from_utf8_lossy(&shown.stderr);
    assert!(!shown.status.success() && said.contains("[memory.redis]"), "{said}");
    wait_for("the status", || daemon.ok(&["status"]).contains("not connected").then_some(()));
    redis.up();
    assert_eq!(remembered(&daemon, &endpoint), ["answer to 2 messages"]);
    // where it holds something else
    redis.ask(&["DEL", "bgagent:memory:session:shared"]);
    redis.ask(&["ZADD", "bgagent:memory:session:shared", "1", "no entry of ours"]);
    let view = run_of(&daemon);
    assert_eq!(view["error"]["kind"], "memory", "{view:#}");
    assert!(view["error"]["message"].to_string().contains("not one that bgagent has written"), "{view:#}");
}

#[test]
fn notes_are_there_for_all_fleets_until_they_are_cleared() {
    let Some(redis) = Redis::start() else { return };
    let endpoint = Endpoint::script([
        Reply::calls(&[("remember", r#"{"key": "seen", "text": "item 17"}"#)]),
        Reply::text("kept"),
        Reply::calls(&[("recall", r#"{"key": "seen"}"#)]),
        Reply::text("known"),
        Reply::calls(&[("recall", "{}")]),
        Reply::text("nothing"),
    ]);
    let config = remembering(&endpoint, &redis, "tools = [\"remember\", \"recall\"]\n");
    let (one, other) = (Daemon::start(&config), Daemon::start(&config));
    remembered(&one, &endpoint);
    settled(&one, &redis);
    remembered(&other, &endpoint);
    let recalled = results(&endpoint.requests()[3]).remove(0);
    assert!(recalled.contains("item 17") && recalled.contains("\"wake\":true"), "{recalled}");
    settled(&other, &redis);
    other.ok(&["memory", "a", "clear"]);
    settled(&other, &redis);
    assert_eq!(one.call("get_memory", json!({"agent_id": "a"})), json!([]));
    assert_eq!(remembered(&one, &endpoint), [""; 0], "the session went with them");
    let recalled = results(&endpoint.requests()[5]).remove(0);
    assert!(recalled.contains("\"wake\":false"), "{recalled}");
}

#[test]
fn the_rights_that_are_documented_are_enough_and_with_less_it_is_an_incident() {
    let Some(redis) = Redis::start() else { return };
    let documented = include_str!("../../../docs/REDIS.md").split("ACL SETUSER ").nth(2).expect("a command");
    let documented = documented.split("```").next().expect("its end").replace('\n', " ");
    let documented = documented.replace(">PASSWORD", ">a-long-password");
    let permit = |without: &str| {
        let rights = documented.split_whitespace().filter(|right| *right != without);
        let command: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rights).collect();
        redis.ask(&["ACL", "DELUSER", "bgagent"]);
        assert_eq!(redis.ask(&command), json!("OK"), "{command:?}");
    };
    permit("+zadd");
    let endpoint = counting();
    let login = "username = \"bgagent\"\npassword = { file = \"password\" }\n";
    let mut daemon = Daemon::with(&format!("{}{login}", remembering(&endpoint, &redis, "")));
    let password = daemon.path("password");
    std::fs::write(&password, "a-long-password").expect("our folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, mode).expect("our folder");
    daemon.up();
    assert_eq!(remembered(&daemon, &endpoint), [""; 0]);
    let opened = daemon.until("incident_opened", "bgagent");
    assert_eq!(opened["payload"]["key"], "redis:memory", "{opened}");
    assert!(opened["payload"]["title"].to_string().contains("docs/REDIS.md"), "{opened}");
    // what waits is known here all the same
    assert_eq!(remembered(&daemon, &endpoint), ["answer to 2 messages"]);
    wait_for("both changes", || daemon.ok(&["status"]).contains("2 changes not there yet").then_some(()));
    permit("");
    daemon.until("incident_resolved", "bgagent");
    settled(&daemon, &redis);
}
