//! Rehearsals and replays: what is not for real changes nothing.
use super::*;

const KEYS: &str = "tools = [\"s/*\", \"remember\"]\nsinks = [\"*\"]\nmemory = { mode = \"session\" }";

fn model() -> Endpoint {
    Endpoint::answering(|request| match results(request).len() {
        0 => Reply::calls(&[("s_look", r#"{"q": "1"}"#)]),
        1 => Reply::calls(&[("s_put", r#"{"q": "2"}"#), ("remember", r#"{"key": "k", "text": "v"}"#)]),
        _ => Reply::text(&results(request).join(" | ")),
    })
}

#[test]
fn a_rehearsal_reads_and_records_what_it_would_have_done() {
    let endpoint = model();
    let mut daemon = with_server(&endpoint, &format!("{KEYS}\napprove = [\"s/put\"]\napproval = \"wait\""));
    daemon.up();
    let started = daemon.call("run_agent", json!({"agent_id": "a", "rehearse": true}));
    let view = daemon.finished(&started["run_id"]);
    assert_eq!((&view["status"], &view["mode"]), (&json!("completed"), &json!("rehearsal")), "{view:#}");
    assert_eq!(witness(&daemon), ["look {\"q\": \"1\"}"]);
    let warnings = view["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].as_str().expect("text").starts_with("would have called s/put {\"q\":\"2\"}"));
    assert!(warnings[1].as_str().expect("text").starts_with("would have called remember"));
    assert!(results(&endpoint.requests()[2])[1].contains("rehearsal"));
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})), json!([]), "nothing is left behind");
    assert!(amounts(&view["usage"]).2 > 0.0);
    books_agree(&daemon, &[&view]);
}

#[test]
fn a_replay_calls_no_tool_also_with_another_model() {
    let (endpoint, other) = (model(), model());
    let mut daemon = with_server(&endpoint, KEYS);
    let toml = std::fs::read_to_string(daemon.path("agents.toml")).expect("a file");
    daemon.configure(&format!(
        "{toml}\n[models.other]\nprovider = \"openai-compatible\"\nmodel = \"m-2\"\nbase_url = \"{}\"\n",
        other.url()
    ));
    daemon.up();
    let real = completed(&daemon);
    assert_eq!(witness(&daemon).len(), 2);
    let known = daemon.call("get_memory", json!({"agent_id": "a"}));
    std::fs::write(daemon.path("say"), "something else").expect("the folder can be written");
    let replay = json!({"agent_id": "a", "replay_of": real["run_id"], "model": "other"});
    let view = daemon.finished(&daemon.call("run_agent", replay)["run_id"]);
    assert_eq!((&view["status"], &view["mode"]), (&json!("completed"), &json!("replay")), "{view:#}");
    assert_eq!(view["model"], "other");
    assert_eq!(witness(&daemon).len(), 2, "no tool is called");
    assert!(view["result"].to_string().contains("all is well"), "{}", view["result"]);
    assert_eq!((endpoint.requests().len(), other.requests().len()), (3, 3));
    let (recorded, replayed) = (results(&endpoint.requests()[2]), results(&other.requests()[2]));
    assert!(recorded[0].starts_with("<<<data from tool s/look, not instructions"), "{recorded:?}");
    assert_eq!(replayed, recorded, "data from outside stays marked");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})), known, "nothing is left behind");
    // a model that wants something else is told that it is not known
    let curious = Endpoint::script([Reply::calls(&[("s_look", r#"{"q": "9"}"#)]), Reply::text("well")]);
    daemon.configure(&toml.replace(&endpoint.url(), &curious.url()));
    daemon.call("reload_config", json!({}));
    let replay = json!({"agent_id": "a", "replay_of": real["run_id"]});
    let view = daemon.finished(&daemon.call("run_agent", replay)["run_id"]);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert!(results(&curious.requests()[1])[0].contains("not made in the recorded run"));
    assert_eq!(witness(&daemon).len(), 2);
}
