//! Tools of the daemon that a program is handed: what it may call of them, and what waits for a person.
use super::*;

const TOOLS: &str = r#"tools = ["remember", "recall", "say"]
accept_risk = "a test"
"#;

const SAY: &str = r#"
[tools.say]
type = "shell"
commands = { hello = { exec = "/bin/echo", args = ["hello"] } }
"#;

/// The same as [`daemon`], with a tool that changes something.
fn with_say(endpoint: &Endpoint, agents: &[(&str, &str, &str)]) -> Daemon {
    let daemon = daemon(endpoint, agents);
    let text = std::fs::read_to_string(daemon.path("agents.toml")).expect("our file");
    daemon.configure(&format!("{text}{SAY}"));
    daemon
}

/// The calls of tools of this side, in order. What a program says of others of that server comes when it comes.
#[track_caller]
fn calls_of(view: &Value) -> Vec<(&str, &str)> {
    let steps = view["steps"].as_array().unwrap_or_else(|| panic!("{view:#}"));
    let is_call = |step: &&Value| step["step"] == "calling" || step["step"] == "called";
    steps
        .iter()
        .filter(is_call)
        .map(|step| (step["step"].as_str().unwrap(), step["tool"].as_str().unwrap()))
        .filter(|(_, tool)| !tool.starts_with("mcp__"))
        .collect()
}

#[test]
fn a_program_calls_the_tools_that_it_is_handed_and_no_others() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = with_say(&endpoint, &[("a", "handed", TOOLS)]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!(view["status"], "completed", "{view:#}");
    let told: Value =
        serde_json::from_str(view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"))).expect("JSON");
    assert_eq!(told["version"], "2025-06-18");
    assert_eq!(told["names"], json!(["remember", "recall", "say"]), "{told:#}");
    assert_eq!((&told["notice"], &told["garbage"]), (&Value::Null, &json!(-32700)));
    // who sends on after the answer finds the connection closed
    assert!(
        told["huge"] == 413 || told["huge"].as_str().is_some_and(|said| said.starts_with("refused")),
        "{told:#}"
    );
    let says = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    assert!(says("kept").contains("\"kept\":true"), "{told:#}");
    assert!(says("recalled").contains("\"v\""), "{told:#}");
    // nobody sees what a program reads: what changes something must be allowed
    assert!(
        says("refused").starts_with("error: refused") && says("refused").contains("sinks = [\"say\"]"),
        "{told:#}"
    );
    assert!(says("unknown").contains("there is no tool `delete_all`"), "{told:#}");
    assert!(says("wrong").starts_with("error: ") && says("wrong").contains("key"), "{told:#}");
    assert_eq!(told["guessed"], 400, "{told:#}");
    // each is written down once, though the program says that it calls them, too
    assert_eq!(
        calls_of(&view),
        [
            ("calling", "remember"),
            ("called", "remember"),
            ("calling", "recall"),
            ("called", "recall"),
            ("called", "say"),
            ("called", "delete_all"),
            ("called", "remember"),
        ],
        "{view:#}"
    );
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"}))[0]["value"], "v");
}

#[test]
fn a_sink_may_be_called_and_calls_are_bounded() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let sinks = format!("{TOOLS}sinks = [\"say\"]\n");
    let few = format!("{TOOLS}max_steps = 3\n");
    let mut daemon = with_say(&endpoint, &[("sink", "handed", &sinks), ("few", "calls 5", &few)]);
    daemon.up();
    let view = daemon.run_by_hand("sink");
    let told: Value =
        serde_json::from_str(view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"))).expect("JSON");
    assert!(told["refused"].as_str().is_some_and(|said| said.contains("hello")), "{told:#}");
    let view = daemon.run_by_hand("few");
    let told: Value =
        serde_json::from_str(view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"))).expect("JSON");
    let refused: Vec<bool> = told
        .as_array()
        .expect("a list")
        .iter()
        .map(|said| said.as_str().unwrap().contains("max_steps"))
        .collect();
    assert_eq!(refused, [false, false, false, true, true], "{told:#}");
}

/// A run whose program waits for a person, and the question.
fn asked(daemon: &Daemon) -> (Value, Value) {
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    let asked = daemon
        .until_event("a question", |event| event["type"] == "approval_requested" && event["run_id"] == run);
    (run, asked["payload"]["approval_id"].clone())
}

#[test]
fn a_call_of_a_program_waits_for_a_person_and_the_program_is_told_what_came_of_it() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let keys = format!("{TOOLS}approve = [\"remember\"]\napproval = \"wait\"\n");
    let mut daemon = with_say(&endpoint, &[("a", "wants", &keys)]);
    daemon.up();
    for (approve, says) in [(true, "\"kept\":true"), (false, "was not allowed")] {
        let (run, id) = asked(&daemon);
        let waiting = wait_for("the end of the program", || {
            let view = daemon.call("get_run", json!({"run_id": run}));
            (view["status"] == "waiting_approval").then_some(view)
        });
        assert!(waiting["steps"].to_string().contains("\"handed\""), "{waiting:#}");
        let list = daemon.call("list_approvals", json!({}));
        assert_eq!(
            (&list[0]["tool"], &list[0]["args"]["text"]),
            (&json!("remember"), &json!("v")),
            "{list:#}"
        );
        // nothing of it runs meanwhile, and nothing is forgotten over a crash
        daemon.kill();
        daemon.up();
        assert_eq!(daemon.call("list_approvals", json!({}))[0]["id"], id);
        daemon.call("decide_approval", json!({"id": id, "approve": approve}));
        let view = daemon.finished(&run);
        assert_eq!(view["status"], "completed", "{view:#}");
        let told = view["result"].as_str().expect("a text");
        assert!(told.contains("settled while you did not run: `remember`"), "{told}");
        let args = r#"`remember` {"key":"k","text":"v"}"#;
        assert!(told.starts_with(args) && told.contains(says), "{told}");
        let made = calls_of(&view);
        let mut wanted = vec![("called", "remember"), ("called", "outcomes")];
        if approve {
            wanted.insert(0, ("calling", "remember"));
        }
        assert_eq!(made, wanted, "{view:#}");
    }
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"}))[0]["value"], "v");
    assert_eq!(daemon.call("list_approvals", json!({})), json!([]));
}

/// The question is on record before the program is ended for it: whenever the daemon dies, a person is asked.
#[test]
fn a_question_is_not_lost_when_the_daemon_dies_before_it_is_put() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let keys = format!("{TOOLS}approve = [\"remember\"]\napproval = \"wait\"\n");
    let mut daemon = with_say(&endpoint, &[("a", "wants", &keys)]);
    daemon.up();
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    wait_for("the call", || {
        let view = daemon.call("get_run", json!({"run_id": run}));
        view["steps"].to_string().contains("\"handed\"").then_some(())
    });
    daemon.kill();
    daemon.up();
    let list = wait_for("the question", || {
        let list = daemon.call("list_approvals", json!({}));
        list.as_array().is_some_and(|list| list.len() == 1).then_some(list)
    });
    daemon.call("decide_approval", json!({"id": list[0]["id"], "approve": true}));
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert_eq!(
        calls_of(&view),
        [("calling", "remember"), ("called", "remember"), ("called", "outcomes")],
        "{view:#}"
    );
}

#[test]
fn a_call_that_nobody_may_be_asked_about_is_denied() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let keys = format!("{TOOLS}approve = [\"remember\"]\n");
    let mut daemon = with_say(&endpoint, &[("a", "handed", &keys)]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    let told: Value =
        serde_json::from_str(view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"))).expect("JSON");
    assert!(told["kept"].as_str().is_some_and(|said| said.starts_with("error: denied")), "{told:#}");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})), json!([]));
}

/// A model that calls a tool, on all wires; it ends with this.
pub(super) struct ToolModel {
    process: std::process::Child,
    pub(super) port: String,
}

impl ToolModel {
    pub(super) fn start(folder: &Path, calls: Option<Value>) -> Self {
        use std::io::{BufRead, BufReader};
        let script = folder.join("model.py");
        std::fs::write(&script, include_str!("model.py")).expect("our folder");
        let mut process = std::process::Command::new(python3())
            .arg(&script)
            .arg(folder.join("seen"))
            .args(calls.map(|calls| calls.to_string()).as_slice())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python");
        let mut port = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut port).expect("its port");
        Self { process, port: port.trim().to_owned() }
    }
}

impl Drop for ToolModel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where real programs are said to be installed, one of them is.
#[track_caller]
fn some_are_tried(tried: usize) {
    assert!(tried > 0 || std::env::var_os("BGAGENT_AGENTS").is_none(), "BGAGENT_AGENTS has none of them");
}

/// The real programs find the tools where their presets say, and call them.
#[test]
fn real_programs_call_the_tools_that_they_are_handed() {
    let mut tried = 0;
    for (program, provider) in [
        ("claude", "anthropic"),
        ("codex", "openai"),
        ("opencode", "openai-compatible"),
        ("gemini", "gemini"),
    ] {
        let Some(path) = installed(program) else { continue };
        tried += 1;
        let mut daemon = Daemon::with("");
        let model = ToolModel::start(daemon.folder.path(), None);
        std::fs::write(daemon.path("key"), KEY).expect("our folder");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(daemon.path("key"), mode).expect("our file");
        let version = if provider == "gemini" { "v1beta" } else { "v1" };
        daemon.configure(&format!(
            "[models.main]\nprovider = \"{provider}\"\nmodel = \"some-model\"\nbase_url = \"http://127.0.0.1:{}/{version}\"\n\
             api_key = {{ file = \"{}\" }}\n[runners.{program}]\ncommand = [\"{}\"]\nmeter = \"main\"\n\
             [agents.a]\nquery = \"Remember it.\"\nrunner = \"{program}\"\nretry = {{ max = 0 }}\ntools = [\"remember\"]\n",
            model.port,
            daemon.path("key").display(),
            path.display()
        ));
        daemon.up();
        let view = daemon.run_by_hand("a");
        assert_eq!(
            (&view["status"], &view["result"]),
            (&json!("completed"), &json!("The note is kept.")),
            "{program}: {view:#}"
        );
        assert_eq!(calls_of(&view), [("calling", "remember"), ("called", "remember")], "{program}: {view:#}");
        let kept = daemon.call("get_memory", json!({"agent_id": "a"}));
        assert_eq!(kept[0]["value"], "from the model", "{program}: {kept}");
    }
    some_are_tried(tried);
}

const ASKS: &str = r#"permissions = { allow = ["read", "execute:cargo test*", "execute:git status"], ask = ["execute:git push*"] }
"#;

#[test]
fn a_program_asks_before_it_uses_its_own_tools_and_a_person_may_be_asked() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = with_say(&endpoint, &[("a", "uses", ASKS)]);
    daemon.up();
    for (approve, push, says) in
        [(true, "allow", "allowed, once"), (false, "", "denied: this was not allowed: not on Fridays")]
    {
        let (run, id) = asked(&daemon);
        let list = daemon.call("list_approvals", json!({}));
        assert_eq!(
            (&list[0]["tool"], &list[0]["args"]["command"]),
            (&json!("claude:Bash"), &json!("git push")),
            "{list:#}"
        );
        daemon.call("decide_approval", json!({"id": id, "approve": approve, "reason": "not on Fridays"}));
        if !approve {
            // it wants the same again, and is asked about again: once more no
            let again = daemon.until_event("another question", |event| {
                event["type"] == "approval_requested"
                    && event["run_id"] == run
                    && event["payload"]["approval_id"] != id
            });
            let again = &again["payload"]["approval_id"];
            daemon.call("cancel_run", json!({"run_id": run}));
            let view = daemon.finished(&run);
            assert_eq!(view["status"], "cancelled", "{view:#} {again}");
            assert!(view["steps"].to_string().contains(says), "{view:#}");
            continue;
        }
        let view = daemon.finished(&run);
        let told: Value = serde_json::from_str(view["result"].as_str().unwrap_or_else(|| panic!("{view:#}")))
            .expect("JSON");
        assert_eq!(
            (&told["asked"], &told["names"]),
            (&json!(true), &json!(["outcomes", "permission"])),
            "{told:#}"
        );
        assert_eq!((&told["test"], &told["push"]), (&json!("allow"), &json!(push)), "{told:#}");
        assert!(told["told"].as_str().expect("a text").contains(says), "{told:#}");
        assert_eq!(calls_of(&view), [("called", "claude:Bash"), ("called", "outcomes")], "{view:#}");
    }
}

#[test]
fn what_a_program_was_denied_fails_its_run_though_it_says_nothing_of_it() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = with_say(&endpoint, &[("a", "hides", ASKS)]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!(view["error"]["kind"], "permission_denied", "{view:#}");
    assert!(view["error"]["message"].as_str().expect("a text").contains("claude:Bash"), "{view:#}");
    assert_eq!(calls_of(&view), [("called", "claude:Bash"), ("called", "claude:WebFetch")], "{view:#}");
    for why in ["denied: the command `rm x`", "denied: `fetch`"] {
        assert!(view["steps"].to_string().contains(why), "{view:#}");
    }
}

/// Claude Code asks about each use, is ended while a person decides, and does what was allowed.
#[test]
fn the_real_claude_asks_before_it_uses_its_tools() {
    let Some(path) = installed("claude") else { return };
    let mut daemon = Daemon::with("");
    let calls = json!([
        ["Bash", {"command": "echo one > one.txt", "description": "writes"}],
        ["Bash", {"command": "ls", "description": "looks"}],
        ["Bash", {"command": "touch pushed", "description": "pushes"}],
        ["Bash", {"command": "touch pushed", "description": "pushes again"}],
    ]);
    let model = ToolModel::start(daemon.folder.path(), Some(calls));
    std::fs::write(daemon.path("key"), KEY).expect("our folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(daemon.path("key"), mode).expect("our file");
    let work = tempfile::tempdir().expect("a folder");
    daemon.configure(&format!(
        "[models.main]\nprovider = \"anthropic\"\nmodel = \"some-model\"\nbase_url = \"http://127.0.0.1:{}/v1\"\n\
         api_key = {{ file = \"{}\" }}\n[runners.claude]\ncommand = [\"{}\"]\nmeter = \"main\"\n\
         [agents.a]\nquery = \"Push it.\"\nrunner = \"claude\"\nretry = {{ max = 0 }}\n\
         workspace = {{ dir = \"{}\" }}\npermissions = {{ allow = [\"execute:ls\"], ask = [\"execute:touch *\"] }}\n",
        model.port,
        daemon.path("key").display(),
        path.display(),
        work.path().display()
    ));
    daemon.up();
    let (run, id) = asked(&daemon);
    wait_for("the end of the program", || {
        (daemon.call("get_run", json!({"run_id": run}))["status"] == "waiting_approval").then_some(())
    });
    assert!(!work.path().join("one.txt").exists(), "what writes elsewhere is no plain command");
    assert!(!work.path().join("pushed").exists(), "nobody has allowed it yet");
    daemon.call("decide_approval", json!({"id": id, "approve": true}));
    // whether the program keeps the call that it was ended in decides how often the model makes it
    let view = wait_for("the end of the run", || {
        if let Some(again) = daemon.call("list_approvals", json!({}))[0]["id"].as_str() {
            let _ = daemon.client().try_call("decide_approval", json!({"id": again, "approve": true}));
        }
        let view = daemon.call("get_run", json!({"run_id": run}));
        view["finished_at"].is_string().then_some(view)
    });
    assert!(work.path().join("pushed").exists(), "{view:#}");
    assert!(!work.path().join("one.txt").exists(), "{view:#}");
}
