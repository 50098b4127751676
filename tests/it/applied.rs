//! The configuration of a fleet, which is kept with its records: real daemons on one PostgreSQL server.
use super::nodes::{at, nodes};
use super::standby::{leads, spawn, stands_by, two};
use super::support::{Daemon, code, wait_for};
use serde_json::{Value, json};

/// Runs where the leader runs, and at a node with a GPU. Neither says where its folder is: each machine has its own.
const FLEET: &str = "[daemon]\ntimezone = \"UTC\"\n[agents.hand]\ncommand = 'echo one'\n[agents.there]\nwhere = { gpu = \"h100\" }\ncommand = 'pwd'\n";

/// Two nodes without agents; the second has a GPU.
fn pair() -> Option<[Daemon; 2]> {
    let [mut first, mut second] = two("")?;
    first.configure(&at("first", "", ""));
    second.configure(&at("second", "labels = { gpu = \"h100\" }", ""));
    first.up();
    spawn(&mut second);
    stands_by(&second);
    Some([first, second])
}

/// A file to apply.
fn file(daemon: &Daemon, text: &str) -> String {
    let path = daemon.path("fleet.toml");
    std::fs::write(&path, text).expect("our folder");
    path.display().to_string()
}

fn agents(daemon: &Daemon) -> Vec<String> {
    let list: Vec<Value> = serde_json::from_str(&daemon.ok(&["list", "--json"])).expect("agents");
    list.iter().map(|agent| agent["agent_id"].as_str().expect("a name").to_owned()).collect()
}

fn printed(daemon: &Daemon, agent: &str) -> String {
    let run = daemon.run_by_hand(agent);
    assert_eq!(run["status"], "completed", "{run:#}\n{}", daemon.log());
    daemon.ok(&["logs", run["run_id"].as_str().expect("an id")])
}

/// Both nodes have this revision.
fn have(daemon: &Daemon, revision: u64) {
    wait_for("the revision at each node", || {
        let all = nodes(daemon);
        let has = |node: &Value| node["config_revision"] == json!(revision) && node["other_config"] != true;
        (all.len() == 2 && all.values().all(has)).then_some(())
    });
}

#[test]
fn what_is_applied_is_in_force_at_each_node_and_with_each_leader() {
    let Some([mut first, mut second]) = pair() else { return };
    let path = file(&second, FLEET);
    code(&second, &["apply", &path, "--dry-run"], 0, "+ agent there runs");
    // what widens rights is asked for, and nobody is there to ask
    code(&second, &["apply", &path], 2, "--yes");
    assert!(agents(&first).is_empty());
    code(&second, &["apply", &path, "--yes"], 0, "revision 1 of the fleet's configuration is in force");
    assert_eq!(agents(&first), ["hand", "there"]);
    code(&second, &["apply", &path, "--yes"], 0, "nothing to change");
    assert!(printed(&first, "hand").contains("one"));
    let folder = second.folder.path().canonicalize().expect("a folder").display().to_string();
    assert!(printed(&first, "there").contains(&folder), "it runs in the folder of the node");
    have(&first, 1);
    // who applied what is told, and where agents come from
    let event = first.until_event("it to be applied", |event| {
        event["type"] == "config_applied" && event["payload"]["revision"] == 1
    });
    assert_eq!(
        (&event["payload"]["revision"], &event["payload"]["path"]),
        (&json!(1), &json!(path)),
        "{event}"
    );
    assert!(event["payload"]["by"].as_str().is_some_and(|by| by.ends_with(" at second")), "{event}");
    for daemon in [&first, &second] {
        code(daemon, &["status"], 0, "revision 1 of the fleet");
        code(daemon, &["check"], 0, "agents come from revision 1");
        code(daemon, &["nodes"], 0, "agents come from revision 1");
        code(daemon, &["apply", "--history"], 0, &path);
        assert_eq!(daemon.ok(&["apply", "--show"]), FLEET);
    }
    code(&first, &["reload"], 0, "agents come from revision 1");
    // fewer rights are not asked for
    let path = file(&first, &FLEET.replace("'echo one'", "['echo', 'two']"));
    code(&first, &["apply", &path, "--yes"], 0, "revision 2");
    assert!(printed(&first, "hand").contains("two"));
    // the next leader has it, too
    first.kill();
    leads(&second);
    assert_eq!(agents(&second), ["hand", "there"]);
    assert!(printed(&second, "hand").contains("two"));
    code(&second, &["apply", "--again", "1", "--yes"], 0, "revision 3");
    assert!(printed(&second, "hand").contains("one"));
    // and so has a daemon that starts
    assert_eq!(second.down(), Some(0));
    first.up();
    assert!(printed(&first, "hand").contains("one"));
    code(&first, &["apply", "--withdraw"], 0, "the file of whichever node leads is in force");
    assert!(agents(&first).is_empty());
    code(&first, &["apply", "--show"], 0, "withdrew what was applied");
    assert_eq!(first.ok(&["apply", "--show", "1"]), FLEET);
}

#[test]
fn what_can_t_be_applied_changes_nothing() {
    let Some([first, second]) = pair() else { return };
    let path = file(&second, FLEET);
    second.ok(&["apply", &path, "--yes"]);
    let bad = file(&second, "[agents.hand]\ncomand = 'true'\n");
    code(&second, &["apply", &bad, "--yes"], 78, "did you mean `command`?");
    code(&second, &["apply", "--again", "9"], 2, "there is no revision 9");
    let apply = |params: Value| first.client().try_call("apply_config", params);
    let other = FLEET.replace("one", "other");
    let late = apply(json!({"text": other, "after": 0})).expect_err("somebody was faster");
    assert!(
        late["message"].as_str().is_some_and(|what| what.contains("revision 1 was applied meanwhile")),
        "{late}"
    );
    let both = apply(json!({"text": other, "withdraw": true})).expect_err("one of them");
    assert!(both["message"].as_str().is_some_and(|what| what.contains("one of")), "{both}");
    let long = apply(json!({"text": "#".repeat(600 << 10)})).expect_err("too long");
    assert!(long["message"].as_str().is_some_and(|what| what.contains("at most 524288")), "{long}");
    assert!(printed(&first, "hand").contains("one"));
    assert_eq!(first.ok(&["apply", "--history", "--json"]).matches("\"revision\"").count(), 1);
    // a file that has agents beside what was applied
    first.configure(&at("first", "", "[agents.own]\ncommand = 'true'\n"));
    code(&first, &["reload"], 0, "[agents] of this file is not in force: revision 1");
    assert_eq!(agents(&first), ["hand", "there"]);
}

#[test]
fn a_program_of_an_agent_applies_nothing() {
    let Some([first, _second]) = pair() else { return };
    let path = file(&first, FLEET);
    let bgagent = env!("CARGO_BIN_EXE_bgagent");
    let call = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"protocols\":[1]}}\n\
        {\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"apply_config\",\"params\":{\"text\":\"\"}}";
    let script = first.path("ask.py");
    std::fs::write(&script, format!("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect({:?})\ns.sendall(({call:?}+'\\n').encode())\nf=s.makefile()\nprint(f.readline(),f.readline())\n", first.path("socket").display().to_string())).expect("our folder");
    let by_hand = file(
        &first,
        &format!(
            "[agents.sly]\ncontrol = \"full\"\ncommand = '{bgagent} --state-dir {} apply {path} --yes 2>&1; {} {}; true'\n",
            first.path("state").display(),
            super::support::python3(),
            script.display()
        ),
    );
    first.ok(&["apply", &by_hand, "--yes"]);
    let said = printed(&first, "sly");
    assert!(said.contains("a program that an agent runs can't apply a configuration to the fleet"), "{said}");
    assert!(said.contains("a program that an agent runs can't apply a configuration\""), "{said}");
    assert_eq!(agents(&first), ["sly"]);
}

#[test]
fn records_in_a_file_have_no_fleet() {
    let mut daemon = Daemon::with(FLEET.split("[agents.there]").next().expect("a part"));
    if daemon.records.is_some() {
        return;
    }
    daemon.up();
    let path = file(&daemon, FLEET);
    code(&daemon, &["apply", &path, "--yes"], 6, "bgagent reload");
    code(&daemon, &["apply", "--history"], 0, "no configuration was applied");
    assert_eq!(agents(&daemon), ["hand"]);
}

/// A variable that is set at one machine alone: another one does not run something else in its place.
#[test]
fn a_node_where_a_revision_is_not_valid_does_not_lead_with_another() {
    let Some([mut first, mut second]) = two("") else { return };
    first.configure(&at("first", "", ""));
    second.configure(&at("second", "", "[agents.own]\ncommand = 'true'\n"));
    let folder = first.folder.path().display().to_string();
    let mut command = first.daemon_command();
    first.child = Some(command.env("ONLY_AT_FIRST", &folder).spawn().expect("the program can be started"));
    first.ready();
    let path = file(&first, "[agents.hand]\ncwd = \"${ONLY_AT_FIRST}\"\ncommand = 'pwd'\n");
    code(&first, &["apply", &path, "--yes"], 0, "revision 1");
    assert!(printed(&first, "hand").contains(&folder));
    spawn(&mut second);
    stands_by(&second);
    first.kill();
    assert_eq!(second.wait_end(), Some(78), "{}", second.log());
    let log = second.log();
    assert!(log.contains("what was applied to the fleet is invalid on this machine"), "{log}");
    assert!(log.contains("the variable `ONLY_AT_FIRST` is not set") && log.contains("revision 1"), "{log}");
    // the one that has it leads again
    let mut command = first.daemon_command();
    first.child = Some(command.env("ONLY_AT_FIRST", &folder).spawn().expect("the program can be started"));
    first.ready();
    assert_eq!(agents(&first), ["hand"]);
}
