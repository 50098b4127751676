//! Sessions of programs that go on from run to run.
use super::handed::ToolModel;
use super::*;

#[test]
fn a_run_goes_on_with_the_session_of_the_run_before_and_with_nothing_else_of_its_home() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let work = tempfile::tempdir().expect("a folder");
    let always = format!("resume = \"always\"\nworkspace = {{ dir = \"{}\" }}", work.path().display());
    let mut daemon = daemon(&endpoint, &[("a", "session", &always)]);
    daemon.up();
    let told = |query: Value| {
        let started = daemon.call("run_agent", json!({"agent_id": "a", "query": query}));
        let view = daemon.finished(&started["run_id"]);
        let result = view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"));
        serde_json::from_str::<Value>(result).expect("JSON")
    };
    let first = told(Value::Null);
    assert_eq!(
        (&first["resumed"], &first["turns"], &first["settings"]),
        (&json!(false), &json!(0), &json!(false))
    );
    let second = told(json!("More.\nsession"));
    assert_eq!((&second["resumed"], &second["turns"]), (&json!(true), &json!(1)), "{second}");
    assert_eq!(second["session"], first["session"]);
    assert_eq!(second["settings"], false, "what it leaves in its home is nobody's settings");
    assert_eq!(second["query"], "More.\nsession", "nobody was interrupted");
    // the daemon goes down and comes up: the session is on disk
    daemon.kill();
    daemon.up();
    let started = daemon.call("run_agent", json!({"agent_id": "a", "query": "session-breaks"}));
    let view = daemon.finished(&started["run_id"]);
    assert_eq!(kind_of(&view), "exit_status", "{view:#}");
    let started = daemon.call("run_agent", json!({"agent_id": "a"}));
    let view = daemon.finished(&started["run_id"]);
    let anew: Value = serde_json::from_str(view["result"].as_str().expect("a text")).expect("JSON");
    assert_eq!(
        (&anew["resumed"], &anew["turns"]),
        (&json!(false), &json!(0)),
        "it may have been the session: {anew}"
    );
    assert!(daemon.ok(&["status", "a"]).contains("always"));
}

/// The real programs know in the second run what the first was about.
#[test]
fn real_programs_go_on_with_the_session_of_the_run_before() {
    for (program, provider) in [
        ("claude", "anthropic"),
        ("codex", "openai"),
        ("opencode", "openai-compatible"),
        ("gemini", "gemini"),
    ] {
        let Some(path) = installed(program) else { continue };
        let mut daemon = Daemon::with("");
        let work = tempfile::tempdir().expect("a folder");
        let model = ToolModel::start(daemon.folder.path(), None);
        std::fs::write(daemon.path("key"), KEY).expect("our folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(daemon.path("key"), mode).expect("our file");
        let version = if provider == "gemini" { "v1beta" } else { "v1" };
        daemon.configure(&format!(
            "[models.main]\nprovider = \"{provider}\"\nmodel = \"some-model\"\nbase_url = \"http://127.0.0.1:{}/{version}\"\n\
             api_key = {{ file = \"{}\" }}\n[runners.{program}]\ncommand = [\"{}\"]\nmeter = \"main\"\n\
             [agents.a]\nquery = \"The word is PINEAPPLE.\"\nrunner = \"{program}\"\nretry = {{ max = 0 }}\nresume = \"always\"\n\
             workspace = {{ dir = \"{}\" }}\n",
            model.port,
            daemon.path("key").display(),
            path.display(),
            work.path().display()
        ));
        daemon.up();
        let view = daemon.run_by_hand("a");
        assert_eq!(view["status"], "completed", "{program}: {view:#}");
        let started = daemon.call("run_agent", json!({"agent_id": "a", "query": "Which was it?"}));
        let view = daemon.finished(&started["run_id"]);
        assert_eq!(view["status"], "completed", "{program}: {view:#}");
        assert!(!view["warnings"].to_string().contains("started over"), "{program}: {view:#}");
        let seen = std::fs::read_to_string(daemon.path("seen")).expect("requests");
        let last = seen.lines().last().expect("requests");
        assert!(last.contains("PINEAPPLE") && last.contains("Which was it?"), "{program}: {last}");
    }
}
