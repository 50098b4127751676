//! Agents whose work an agent program does, through the real binary: scripted programs for every fault, and the real ones
//! where they are installed.
use super::endpoint::{Endpoint, Reply, Request};
use super::support::{Daemon, python3, wait_for};
use rustix::process::Pid;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[path = "runners/context.rs"]
mod context;
#[path = "runners/handed.rs"]
mod handed;
#[path = "runners/room.rs"]
mod room;
#[path = "runners/sessions.rs"]
mod sessions;

/// The key that no program may see.
const KEY: &str = "sk-ant-the-real-key";

/// A daemon whose agents ask a scripted program.
fn daemon(endpoint: &Endpoint, agents: &[(&str, &str, &str)]) -> Daemon {
    let daemon = Daemon::with("");
    std::fs::write(daemon.path("fake_agent.py"), include_str!("runners/fake_agent.py")).expect("our folder");
    std::fs::write(daemon.path("key"), KEY).expect("our folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(daemon.path("key"), mode).expect("our file");
    let (python, folder) = (python3(), daemon.folder.path().display().to_string());
    let mut text = format!(
        r#"
[models.main]
provider = "anthropic"
model = "claude-sonnet-4-5"
base_url = "{}"
api_key = {{ file = "{folder}/key" }}
price = {{ input = 3, output = 15 }}

[runners.fake]
preset = "claude"
command = ["{python}", "{folder}/fake_agent.py"]
meter = "main"

[runners.hasty]
preset = "claude"
command = ["{python}", "{folder}/fake_agent.py"]
meter = "main"
first_event = "2s"
idle = "2s"

[runners.codex-like]
protocol = "codex-json"
command = ["{python}", "{folder}/fake_agent.py", "--codex", "{{query}}"]
meter = "main"
idle = "2s"

[runners.other-version]
preset = "claude"
command = ["{python}", "{folder}/fake_agent.py"]
meter = "main"
version = "=1.2"

[runners.newer]
preset = "claude"
command = ["{python}", "{folder}/fake_agent.py"]
meter = "main"
version = "9.7"
"#,
        endpoint.url()
    );
    for (name, query, keys) in agents {
        let runner = if keys.contains("runner") { "" } else { "runner = \"fake\"\n" };
        text.push_str(&format!(
            "[agents.{name}]\nquery = \"\"\"{query}\"\"\"\n{runner}retry = {{ max = 0 }}\n{keys}\n"
        ));
    }
    daemon.configure(&text);
    daemon
}

#[track_caller]
fn kind_of(view: &Value) -> &str {
    view["error"]["kind"].as_str().unwrap_or_else(|| panic!("it did not fail: {view:#}"))
}

#[test]
fn a_run_of_a_program_reads_like_any_other() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "good", "max_usd_per_run = 1.0")]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!((&view["status"], &view["result"]), (&json!("completed"), &json!("All is done.")), "{view:#}");
    assert_eq!(view["usage"]["requests"], 2);
    // two answers of 10 tokens to requests of 100, at 3 and 15 dollars for a million
    assert!((view["usage"]["usd"].as_f64().unwrap() - 2.0 * (100.0 * 3.0 + 10.0 * 15.0) / 1e6).abs() < 1e-9);
    let steps: Vec<&str> =
        view["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    for wanted in ["begun", "session", "asked", "answered", "calling", "called", "told"] {
        assert!(steps.contains(&wanted), "{wanted}: {steps:?}");
    }
    for kind in [
        "user_message",
        "model_request",
        "model_response",
        "agent_message",
        "tool_call_started",
        "tool_call_result",
        "final_answer",
    ] {
        daemon.until(kind, "a");
    }
    assert_eq!(daemon.until("tool_call_started", "a")["payload"]["tool"], "Bash");
    let shown = daemon.ok(&["show", view["run_id"].as_str().unwrap()]);
    assert!(shown.contains("I look first.") && shown.contains("-> a"), "{shown}");
    assert!(daemon.ok(&["logs", "a"]).contains("I look first."));
    assert!(daemon.ok(&["usage"]).contains("0.0009"), "{}", daemon.ok(&["usage"]));
    // only the daemon has the key
    let asked = endpoint.requests();
    assert!(asked.iter().all(|request| request.header("x-api-key") == Some(KEY)), "{asked:?}");
    daemon.down();
    let folders = daemon.path("state/runs");
    assert!(
        std::fs::read_dir(folders).map_or(0, Iterator::count) == 0,
        "the folders of the run went with it"
    );
}

#[test]
fn the_key_is_nowhere_in_the_programs_world() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "environment", "")]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    let told = view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"));
    assert!(told.contains("ANTHROPIC_BASE_URL=http://127.0.0.1:3128") && !told.contains(KEY), "{told}");
    for wanted in ["--setting-sources user", "--strict-mcp-config", "IS_SANDBOX=1", "BGAGENT_RUN_ID="] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let home = told.lines().find_map(|line| line.strip_prefix("HOME=")).unwrap();
    assert!(Path::new(home).starts_with(daemon.path("state")), "{home}");
}

#[test]
fn what_a_program_says_of_its_end_is_not_believed() {
    let cut_off = |request: &Request| match request.json["messages"][0]["content"].as_str() {
        Some("hello") => Reply::text("x"),
        _ => Reply::cut_off("x"),
    };
    let endpoint = Endpoint::answering(cut_off);
    let agents = [
        ("limited", "ask 3", "request_limit = 2"),
        ("dear", "ask 3", "max_usd_per_run = 0.000001"),
        ("cut", "good", ""),
        ("nothing", "nothing", ""),
        ("exit", "exit1", ""),
        ("denied", "denied", ""),
        ("unasked", "unasked", ""),
        ("other", "ask 1", "runner = \"other-version\""),
    ];
    let mut daemon = daemon(&endpoint, &agents);
    daemon.up();
    for (agent, kind, says) in [
        ("limited", "request_limit", "request_limit = 2"),
        ("dear", "cost_limit", "max_usd_per_run"),
        ("cut", "bad_response", "cut off"),
        ("nothing", "empty_answer", "without an answer"),
        ("exit", "exit_status", "exit status 1"),
        ("denied", "permission_denied", "Bash"),
        ("unasked", "bad_response", "without one request"),
        ("other", "config", "version 1.2 only, and the program is 9.8.7"),
    ] {
        let view = daemon.run_by_hand(agent);
        assert_eq!(kind_of(&view), kind, "{agent}: {view:#}");
        let message = view["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{agent}: {message}");
    }
}

#[test]
fn errors_of_a_provider_are_told_apart() {
    let endpoint = Endpoint::script([Reply::status(529, "overloaded")]);
    let mut daemon = daemon(&endpoint, &[("a", "ask 1", "")]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!(kind_of(&view), "provider", "{view:#}");
}

#[test]
fn a_program_that_is_stuck_is_ended() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let agents = [
        ("silent", "silent", "runner = \"hasty\""),
        ("reconnects", "reconnects", "runner = \"codex-like\"\nresume = \"never\""),
    ];
    let mut daemon = daemon(&endpoint, &agents);
    daemon.up();
    for (agent, says) in [("silent", "`first_event`"), ("reconnects", "`idle`")] {
        let view = daemon.run_by_hand(agent);
        assert_eq!(kind_of(&view), "runner_stuck", "{agent}: {view:#}");
        assert!(view["error"]["message"].as_str().unwrap().contains(says), "{view:#}");
    }
}

#[test]
fn another_version_is_a_warning() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "ask 1", "runner = \"newer\"")]);
    daemon.up();
    let warnings = |view: &Value| view["warnings"].to_string();
    let first = daemon.run_by_hand("a");
    assert_eq!(first["status"], "completed", "{first:#}");
    assert!(warnings(&first).contains("runner_changed") && warnings(&first).contains("9.8.7"), "{first:#}");
    assert!(!warnings(&daemon.run_by_hand("a")).contains("runner_changed"), "once is enough");
}

fn lives(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
        && std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn after_a_stop_nothing_lives_and_nothing_is_asked() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "stubborn", "")]);
    daemon.up();
    let started = daemon.call("run_agent", json!({"agent_id": "a"}));
    let event = daemon.until("tool_call_started", "a");
    let args: Value = serde_json::from_str(event["payload"]["args"].as_str().unwrap()).unwrap();
    let pids: Vec<i32> =
        args["command"].as_str().unwrap().split(' ').map(|pid| pid.parse().expect("a number")).collect();
    assert!(pids.iter().all(|pid| lives(*pid)), "{pids:?}");
    endpoint.until_asked(3);
    daemon.call("stop_agent", json!({"agent_id": "a"}));
    let view = daemon.finished(&started["run_id"]);
    assert_eq!(view["status"], "cancelled", "{view:#}");
    assert!(!pids.iter().any(|pid| lives(*pid)), "{pids:?}");
    let stopped = daemon.until_event("the stop", |event| {
        event["type"] == "background_agent_status" && event["payload"]["status"] == "stopped"
    });
    let late = daemon.database();
    let asked: i64 = late
        .query_row(
            "SELECT count(*) FROM events WHERE type = 'model_request' AND seq > ?1",
            [stopped["seq"].as_i64().unwrap()],
            |row| row.get(0),
        )
        .expect("a number");
    assert_eq!(asked, 0, "the meter sends nothing after the stop");
    assert!(view["usage"]["requests"].as_u64().unwrap() >= 2);
}

#[test]
fn a_program_reaches_its_workspace_and_the_meter_alone() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let outside = tempfile::tempdir().expect("a folder");
    let notes = tempfile::tempdir().expect("a folder");
    let mut daemon = daemon(&endpoint, &[]);
    let about = format!("{} {} {port}", daemon.path("key").display(), outside.path().join("x").display());
    let text = std::fs::read_to_string(daemon.path("agents.toml")).expect("our file");
    let agents = format!(
        "{text}[agents.a]\nquery = \"reach {about}\"\nrunner = \"fake\"\nworkspace = {{ dir = \"{}\" }}\n",
        notes.path().display()
    );
    daemon.configure(&agents);
    daemon.up();
    let view = daemon.run_by_hand("a");
    let told: Value =
        serde_json::from_str(view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"))).unwrap();
    for closed in ["state", "outside", "net"] {
        assert!(told[closed].as_str().unwrap().starts_with("refused"), "{closed}: {told:#}");
    }
    assert_eq!(told["work"], "written");
    assert_eq!(std::fs::read_to_string(notes.path().join("made.txt")).expect("it was made"), "made here");
    assert!(told["key"].as_str().unwrap().contains("key"), "another key opens nothing: {told:#}");
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn a_run_goes_on_with_its_session_after_the_daemon_was_killed() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "remember", "")]);
    daemon.up();
    let started = daemon.call("run_agent", json!({"agent_id": "a"}));
    daemon.until("tool_call_started", "a");
    daemon.kill();
    daemon.up();
    let view = daemon.finished(&started["run_id"]);
    assert_eq!(view["status"], "completed", "{view:#}");
    let told = view["result"].as_str().unwrap();
    let session = told.split(' ').nth(1).unwrap();
    assert!(told.starts_with(&format!("found {session} in {session}")), "{told}");
    assert!(
        told.contains("You were interrupted") && told.contains("Bash {\"command\":\"make install\"}"),
        "{told}"
    );
    daemon.until("background_task_resumed", "a");
    assert_eq!(view["usage"]["requests"], 2);
}

#[test]
fn a_runner_can_be_tried_for_nothing() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let daemon = daemon(&endpoint, &[]);
    let text = std::fs::read_to_string(daemon.path("agents.toml")).expect("our file");
    let folder = daemon.folder.path().display();
    let answers =
        "import sys,json,os,urllib.request\\nif sys.argv[1:]==['--version']: print('3.2.1'); sys.exit()\\n";
    let script = format!(
        "{}begin = lambda e: print(json.dumps(e), flush=True)\n",
        answers.replace("\\n", "\n")
    ) + r#"
begin({"type": "system", "subtype": "init", "session_id": "s", "claude_code_version": "3.2.1"})
body = {"model": os.environ["ANTHROPIC_MODEL"], "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(), {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"})
said = json.load(urllib.request.urlopen(request))["content"][0]["text"]
begin({"type": "result", "subtype": "success", "is_error": False, "result": said})
"#;
    std::fs::write(daemon.path("tried.py"), script).expect("our folder");
    daemon.configure(&format!(
        "{text}[runners.tried]\npreset = \"claude\"\ncommand = [\"{}\", \"{folder}/tried.py\"]\nmeter = \"main\"\n",
        python3()
    ));
    let told: Value = serde_json::from_str(&daemon.ok(&["--json", "runner", "test", "tried"])).unwrap();
    assert_eq!((&told["session"], &told["requests"]), (&json!("s"), &json!(1)), "{told:#}");
    assert!(told["answer"].as_str().unwrap().contains("came from bgagent itself"), "{told:#}");
    assert!(!told["limits"].as_array().unwrap().is_empty() && told["error"].is_null(), "{told:#}");
    let text = daemon.ok(&["runner", "test", "tried"]);
    assert!(
        text.contains("works     yes") && text.contains("reaches   the model of [models.main]"),
        "{text}"
    );
    // one that does not work says why, and an unknown one what is meant
    let silent = daemon.run(&["runner", "test", "fake"]);
    assert_eq!(silent.status.code(), Some(1), "{}", String::from_utf8_lossy(&silent.stdout));
    let unknown = daemon.run(&["runner", "test", "tied"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `tried`?"));
    assert!(endpoint.requests().is_empty(), "nobody was asked who costs money");
}

fn git(folder: &Path, words: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(words)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git");
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn what_is_made_in_a_clone_comes_back_as_a_branch_and_nothing_else_does() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let place = tempfile::tempdir().expect("a folder");
    let (repo, evil) = (place.path().join("app"), place.path().join("evil"));
    std::fs::create_dir(&repo).expect("our folder");
    git(&repo, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(repo.join("a.txt"), "a").expect("our folder");
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "--quiet", "--message", "first"]);
    std::fs::write(repo.join("a.txt"), "not committed").expect("our folder");
    let before = git(&repo, &["rev-parse", "HEAD"]);
    let shown = repo.display();
    let mut daemon = daemon(&endpoint, &[]);
    let text = std::fs::read_to_string(daemon.path("agents.toml")).expect("our file");
    let agent = |name: &str, doing: &str, more: &str| {
        format!(
            "[agents.{name}]\nquery = \"{doing}\"\nrunner = \"fake\"\nretry = {{ max = 0 }}\n\
             workspace = {{ repo = \"{shown}\"{more} }}\n"
        )
    };
    daemon.configure(
        &[
            text,
            agent("makes", &format!("commit {}", evil.display()), ""),
            "success_when = [{ command = [\"git\", \"cat-file\", \"-e\", \"HEAD:made.txt\"] }]\n".to_owned(),
            agent("idles", "commit", ""),
            agent("always", "commit", ", keep = \"always\""),
            agent("lost", "commit", "").replace("/app\"", "/gone\""),
        ]
        .concat(),
    );
    daemon.up();
    let view = daemon.run_by_hand("makes");
    assert_eq!(view["status"], "completed", "{view:#}");
    assert!(view["warnings"].to_string().contains("not committed"), "{view:#}");
    let branch = format!("bgagent/makes/{}", view["run_id"].as_str().unwrap());
    assert_eq!(git(&repo, &["show", &format!("{branch}:made.txt")]), "made");
    assert_eq!(git(&repo, &["show", &format!("{branch}:left.txt")]), "left");
    let shown = daemon.ok(&["show", view["run_id"].as_str().unwrap()]);
    assert!(
        shown.contains(&branch) && shown.contains("2 files changed") && shown.contains("merge"),
        "{shown}"
    );
    assert!(!evil.exists(), "nothing of the clone has run outside");
    assert_eq!(git(&repo, &["rev-parse", "HEAD"]), before);
    assert_eq!(std::fs::read_to_string(repo.join("a.txt")).expect("it is there"), "not committed");
    let idle = daemon.run_by_hand("idles");
    assert_eq!(idle["status"], "completed", "{idle:#}");
    let always = daemon.run_by_hand("always");
    let branches = git(&repo, &["for-each-ref", "--format=%(refname:short)", "refs/heads/bgagent"]);
    let mut branches: Vec<&str> = branches.lines().collect();
    branches.sort_unstable();
    let kept = format!("bgagent/always/{}", always["run_id"].as_str().unwrap());
    assert_eq!(branches, [kept.as_str(), branch.as_str()], "what changed nothing leaves nothing");
    let lost = daemon.run_by_hand("lost");
    assert_eq!(kind_of(&lost), "config", "{lost:#}");
    assert!(lost["error"]["message"].as_str().unwrap().contains("there is no repository"), "{lost:#}");
}

/// A repository with one commit, and agents that work in clones of it.
fn with_repository(endpoint: &Endpoint, place: &Path, agents: &[(&str, &str)]) -> (Daemon, PathBuf) {
    let repo = place.join("app");
    std::fs::create_dir(&repo).expect("our folder");
    git(&repo, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(repo.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n")
        .expect("our folder");
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "--quiet", "--message", "first"]);
    let keys = format!("workspace = {{ repo = \"{}\" }}", repo.display());
    let agents: Vec<_> = agents.iter().map(|(name, doing)| (*name, *doing, keys.as_str())).collect();
    (daemon(endpoint, &agents), repo)
}

#[test]
fn a_stop_brings_back_what_was_made() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let place = tempfile::tempdir().expect("a folder");
    let (mut daemon, repo) = with_repository(&endpoint, place.path(), &[("a", "commit-and-wait")]);
    daemon.up();
    let started = daemon.call("run_agent", json!({"agent_id": "a"}));
    daemon.until("tool_call_started", "a");
    daemon.call("stop_agent", json!({"agent_id": "a"}));
    let view = daemon.finished(&started["run_id"]);
    assert_eq!(view["status"], "cancelled", "{view:#}");
    let branch = format!("bgagent/a/{}", view["run_id"].as_str().unwrap());
    assert_eq!(git(&repo, &["show", &format!("{branch}:made.txt")]), "made");
}

#[test]
fn other_branches_come_back_and_pointers_are_named() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let place = tempfile::tempdir().expect("a folder");
    let (mut daemon, repo) = with_repository(&endpoint, place.path(), &[("a", "branches")]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!(view["status"], "completed", "{view:#}");
    let branch = format!("bgagent/a/{}-fix-side", view["run_id"].as_str().unwrap());
    assert_eq!(git(&repo, &["show", &format!("{branch}:side.txt")]), "side");
    let warnings = view["warnings"].to_string();
    assert!(warnings.contains(&branch) && warnings.contains("Git LFS"), "{warnings}");
    let all = git(&repo, &["for-each-ref", "--format=%(refname:short)", "refs/heads/bgagent"]);
    assert_eq!(all.trim(), branch, "its head has changed nothing");
}

#[test]
fn what_can_not_be_brought_back_is_kept() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let place = tempfile::tempdir().expect("a folder");
    let (mut daemon, _) = with_repository(&endpoint, place.path(), &[("a", "blocks")]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!(kind_of(&view), "tool", "{view:#}");
    let message = view["error"]["message"].as_str().unwrap();
    let (_, kept) = message.split_once("Its work is kept in ").unwrap_or_else(|| panic!("{message}"));
    assert_eq!(std::fs::read_to_string(Path::new(kept).join("made.txt")).expect("it is there"), "made");
}

#[test]
fn a_secret_that_is_written_with_escapes_is_not_shown() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", &format!("leak {KEY}"), "")]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    let told = view["result"].as_str().unwrap_or_else(|| panic!("{view:#}"));
    assert!(told.starts_with("told: ") && !told.contains(KEY), "{told}");
}

#[test]
fn a_tool_that_is_silent_is_waited_for() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "builds", "runner = \"hasty\"")]);
    daemon.up();
    let view = daemon.run_by_hand("a");
    assert_eq!((&view["status"], &view["result"]), (&json!("completed"), &json!("It is built.")), "{view:#}");
}

#[test]
fn a_session_that_the_program_has_lost_is_begun_anew_once() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "forgets", "")]);
    daemon.up();
    let started = daemon.call("run_agent", json!({"agent_id": "a"}));
    daemon.until("tool_call_started", "a");
    daemon.kill();
    daemon.up();
    let view = daemon.finished(&started["run_id"]);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert!(view["result"].as_str().unwrap().starts_with("anew in "), "{view:#}");
    assert!(view["warnings"].to_string().contains("it started over"), "{view:#}");
}

#[test]
fn a_flood_is_not_written_down_without_end() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let mut daemon = daemon(&endpoint, &[("a", "floods", "")]);
    daemon.up();
    let started = daemon.call("run_agent", json!({"agent_id": "a"}));
    let view = daemon.finished(&started["run_id"]);
    assert_eq!((&view["status"], &view["result"]), (&json!("completed"), &json!("All is said.")));
    assert!(view["warnings"].to_string().contains("more than is written down"), "{}", view["warnings"]);
}

/// Where the real programs are installed, by npm: `target/agents`, or what BGAGENT_AGENTS names.
fn installed(program: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BGAGENT_AGENTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents"), PathBuf::from);
    let path = folder.join("node_modules/.bin").join(program);
    let found = path.exists().then_some(path);
    if found.is_none() {
        println!("{program} is not installed in {}: not tried", folder.display());
    }
    found
}

/// The real programs within the walls: each is answered by the trial itself.
#[test]
fn real_programs_work_within_the_walls() {
    for (program, provider) in
        [("claude", "anthropic"), ("codex", "openai"), ("opencode", "anthropic"), ("gemini", "gemini")]
    {
        let Some(path) = installed(program) else { continue };
        let daemon = Daemon::with(&format!(
            "[models.main]\nprovider = \"{provider}\"\nmodel = \"some-model\"\napi_key = {{ env = \"NONE\" }}\n\
             [runners.{program}]\ncommand = [\"{}\"]\nmeter = \"main\"\n",
            path.display()
        ));
        let told: Value = serde_json::from_str(&String::from_utf8_lossy(
            &daemon.run(&["--json", "runner", "test", program]).stdout,
        ))
        .unwrap_or_default();
        assert!(
            told["answer"].as_str().is_some_and(|answer| answer.contains("bgagent itself")),
            "{program}: {told:#}"
        );
        assert!(told["version"].is_string(), "{program}: {told:#}");
    }
}
