//! The command line against a real daemon: what a person types, and the exit codes a script sees.
use super::support::{Daemon, bgagent, code, wait_for};
use serde_json::Value;

const FLEET: &str = "[agents.good]\ncommand = \"echo fine\"\n[agents.bad]\ncommand = \"exit 3\"\n\
    [agents.long]\ncommand = [\"sleep\", \"60\"]\n[agents.ticks]\ninterval = 3600\ncommand = [\"true\"]\n";

#[test]
fn every_command_answers_and_its_exit_code_says_how() {
    let daemon = Daemon::start(FLEET);
    code(&daemon, &["run", "good", "--wait"], 0, "");
    code(&daemon, &["run", "bad", "--wait"], 1, "exit status 3");
    code(&daemon, &["list"], 0, "ticks");
    code(&daemon, &["status"], 0, "agents");
    code(&daemon, &["status", "bad"], 0, "exit status 3");
    code(&daemon, &["status", "goood"], 4, "did you mean `good`?");
    code(&daemon, &["pause", "ticks", "--reason", "tea"], 0, "paused");
    code(&daemon, &["pause", "ticks"], 0, "already paused");
    code(&daemon, &["pause", "ticks", "nobody"], 9, "nobody");
    code(&daemon, &["resume", "ti*"], 0, "active");
    code(&daemon, &["stop", "ticks"], 0, "stopped");
    code(&daemon, &["resume", "ticks"], 5, "use start");
    code(&daemon, &["start", "ticks"], 0, "active");
    code(&daemon, &["skip", "ticks"], 0, "");
    code(&daemon, &["runs"], 0, "good");
    code(&daemon, &["runs", "--status", "failed"], 0, "bad");
    code(&daemon, &["logs", "good"], 0, "fine");
    code(&daemon, &["next", "--for", "2h"], 0, "ticks");
    code(&daemon, &["why", "good"], 0, "by hand only");
    code(&daemon, &["why", "ticks"], 0, "completed");
    code(&daemon, &["usage"], 0, "good");
    code(&daemon, &["tool", "list"], 0, "probe");
    code(&daemon, &["tool", "call", "probe", "{\"checks\":[{\"type\":\"memory\"}]}"], 0, "memory");
    code(&daemon, &["tool", "call", "prob"], 2, "probe");
    code(&daemon, &["tool", "call", "probe"], 2, "bgagent tool show probe");
    code(&daemon, &["incidents"], 0, "");
    code(&daemon, &["show", "ffffffff"], 4, "no run");
    code(&daemon, &["reload"], 0, "");
    code(&daemon, &["check"], 0, "ticks");
    code(&daemon, &["schema"], 0, "\"agents\"");
    code(&daemon, &["tail", "-n", "3", "--no-follow"], 0, "");
    code(&daemon, &["pause"], 2, "");
    code(&daemon, &["pause", "ticks", "--for", "0"], 2, "with `--for 0` the pause would end at once");
    daemon.configure(&format!("{FLEET}[agents.breaks]\ninterval = 3600\ncommand = \"exit 4\"\n"));
    daemon.until("background_task_error", "breaks");
    code(&daemon, &["why", "breaks"], 0, ", which failed: exit status 4");
    // gone for another reason than its age; before its start it had no slot
    daemon
        .lock_database()
        .execute_batch("DELETE FROM ledger WHERE agent = 'breaks'; COMMIT")
        .expect("no ledger");
    code(
        &daemon,
        &["why", "breaks"],
        0,
        "is not on record: `retention.runs` of [daemon] would still keep it",
    );
    code(&daemon, &["why", "breaks", "10m"], 0, "breaks had no slot at or before");
    daemon.configure("[agents.a]\ncommand = 7\n");
    code(&daemon, &["reload"], 78, "agents.toml:2");
    code(&daemon, &["check"], 78, "agents.toml:2");
    // without a file that is named, it is the one of the daemon that is meant
    let mut command = super::support::bgagent();
    command.env("XDG_CONFIG_HOME", daemon.path("nowhere")).arg("--state-dir").arg(daemon.path("state"));
    let output = command.arg("check").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("agents.toml:2") && !text.contains("nowhere"), "{text}");
}

#[test]
fn every_answer_is_there_as_json() {
    let daemon = Daemon::start(FLEET);
    daemon.ok(&["run", "good", "--wait"]);
    for args in [
        &["list"][..],
        &["status"],
        &["status", "good"],
        &["runs"],
        &["next"],
        &["why", "good"],
        &["usage"],
        &["incidents"],
        &["tool", "list"],
    ] {
        let text = daemon.ok(&[args, &["--json"]].concat());
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
    }
    let tail = daemon.ok(&["tail", "-n", "5", "--no-follow", "--json"]);
    assert!(
        tail.lines().count() >= 3 && tail.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{tail}"
    );
    // the same form for names and for all
    for which in [&["--all"][..], &["good", "long"]] {
        let text = daemon.ok(&[&["pause"], which, &["--json"]].concat());
        let all = serde_json::from_str::<Value>(&text).expect("one document");
        let good = all.as_array().expect("a list").iter().find(|one| one["agent_id"] == "good").expect("it");
        assert!(good["state"] == "paused" && good["seq"].is_u64() && good["previous"].is_string(), "{all}");
    }
}

#[test]
fn a_run_that_waits_is_cancelled_by_hand() {
    let daemon = Daemon::start(FLEET);
    let run = daemon.ok(&["run", "long"]);
    let run = run.split_whitespace().last().expect("an id").to_owned();
    daemon.until("background_task_started", "long");
    code(&daemon, &["run", "long"], 5, "in flight");
    daemon.ok(&["cancel", &run]);
    wait_for("the end", || daemon.ok(&["show", &run]).contains("cancelled").then_some(()));
}

#[test]
fn init_makes_a_file_that_the_daemon_takes() {
    let daemon = Daemon::with("");
    std::fs::remove_file(daemon.path("agents.toml")).expect("it was there");
    daemon.ok(&["init"]);
    code(&daemon, &["check"], 0, "0 warnings");
    code(&daemon, &["init"], 5, "--force");
    std::fs::write(daemon.path("agents.toml"), FLEET).expect("a file");
    code(&daemon, &["init", "--demo"], 0, "stays as it is");
    assert!(daemon.path("demo.db").is_file());
    assert_eq!(std::fs::read_to_string(daemon.path("agents.toml")).expect("a file"), FLEET);
    daemon.ok(&["init", "--force"]);
    code(&daemon, &["check"], 0, "system-health");
    code(&daemon, &["health"], 2, "");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let daemon = Daemon::start(FLEET);
    let mut command = daemon.command(&["tail", "-n", "100"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    daemon.ok(&["run", "good", "--wait"]);
    let status = wait_for("its end", || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(141));
    assert!(bgagent().arg("--version").output().is_ok_and(|output| output.status.success()));
}

#[test]
fn a_file_without_agents_is_taken_for_half_written_unless_somebody_asks() {
    let daemon = Daemon::start(FLEET);
    daemon.configure("");
    let event = daemon.until_event("the refusal", |event| event["type"] == "config_rejected");
    assert!(event["payload"]["errors"][0].as_str().is_some_and(|error| error.contains("has no agents")));
    assert!(daemon.ok(&["list"]).contains("ticks"));
    code(&daemon, &["check"], 0, "the file has no agents");
    code(&daemon, &["reload"], 0, "- ticks");
    code(&daemon, &["health"], 0, "no agent is configured in");
    daemon.configure(FLEET);
    daemon
        .until_event("the fleet", |event| event["payload"]["added"].as_array().is_some_and(|a| a.len() == 4));
}

#[test]
fn names_that_nobody_has_are_said_wherever_they_are_given() {
    let daemon = Daemon::start(FLEET);
    code(&daemon, &["tail", "goood", "--no-follow"], 4, "did you mean `good`?");
    code(&daemon, &["tail", "go*", "--no-follow"], 0, "");
    code(&daemon, &["tail", "--type", "outptu", "--no-follow"], 2, "did you mean `output`?");
    code(&daemon, &["list", "goood"], 4, "did you mean `good`?");
    code(&daemon, &["pause", "x-*"], 4, "no agent matches `x-*`");
    code(&daemon, &["pause", "x-*", "ticks"], 9, "ticks: paused");
    code(&daemon, &["pause", "ticks", "x-*"], 9, "no agent matches `x-*`");
    // what is gone has its history
    daemon.ok(&["run", "good", "--wait"]);
    daemon.configure(&FLEET.replace("agents.good", "agents.fine"));
    code(&daemon, &["reload"], 0, "");
    code(&daemon, &["tail", "good", "--no-follow"], 0, "completed");
}

#[test]
fn answers_say_what_a_newcomer_asks_next() {
    let daemon = Daemon::start(
        &(FLEET.to_owned()
            + "[agents.loud]\ncommand = \"echo oops; exit 3\"\n[agents.gated]\ncommand = [\"true\"]\ngate = { command = [\"false\"] }\n"),
    );
    code(&daemon, &["run", "good", "--wait"], 0, "fine");
    code(&daemon, &["run", "loud", "--wait"], 1, "hint: bgagent logs ");
    // it has no output, so that is no place to look
    code(&daemon, &["run", "bad", "--wait"], 1, "hint: bgagent show ");
    code(&daemon, &["logs", "bad"], 0, "no program of it wrote anything, or it is older than");
    code(&daemon, &["logs", "long"], 0, "no run of long is on record");
    code(&daemon, &["run", "gated", "--wait"], 0, "its gate does not decide, since you asked for this run");
    code(&daemon, &["runs", "--status", "ok"], 0, "good");
    let run = daemon.ok(&["run", "long"]).trim().to_owned();
    daemon.until("background_task_started", "long");
    daemon.ok(&["stop", "long", "--drain", "--json"]);
    code(&daemon, &["stop", "long", "--now"], 0, "already stopped; 1 run being killed");
    wait_for("the end", || daemon.ok(&["show", &run]).contains("cancelled").then_some(()));
    code(&daemon, &["cancel", &run], 0, "is cancelled already");
    let run = daemon.ok(&["run", "long"]).trim().to_owned();
    code(&daemon, &["cancel", &run], 0, "is ");
    daemon.configure("[agents.newone]\ncommand = [\"true\"]\n");
    daemon.until_event("the watcher", |event| {
        event["type"] == "config_applied" && event["payload"]["added"][0] == "newone"
    });
    assert_eq!(daemon.ok(&["reload"]), "nothing changed\n");
}

#[test]
fn a_bad_file_is_told_to_programs_as_objects_and_counted_for_people() {
    let daemon = Daemon::start("[daemon]\nreload = \"manual\"\n[agents.a]\ncommand = [\"true\"]\n");
    daemon.configure("[daemon]\nreload = \"manual\"\n[agents.a]\ncommand = 7\nretry = 3\n");
    for args in [&["check", "--json"][..], &["reload", "--json"]] {
        let output = daemon.run(args);
        assert_eq!(output.status.code(), Some(78));
        let error: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        let errors = error["error"]["errors"].as_array().expect("a list");
        assert_eq!(errors.len(), 2, "{error}");
        assert_eq!((&errors[0]["severity"], &errors[0]["line"]), (&"error".into(), &4.into()), "{error}");
    }
    code(&daemon, &["check"], 78, "is not valid: 2 errors, 0 warnings");
    std::fs::remove_file(daemon.path("agents.toml")).expect("it is there");
    let output = daemon.run(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("can't be read") && !said.contains("not valid") && said.contains("hint: "),
        "{said}"
    );
}

#[test]
fn a_check_is_one_document_whatever_the_file_is_like() {
    let daemon = Daemon::with("[agents.a]\ncommand = [\"true\"]\n");
    let check = |code: i32| -> Value {
        let output = daemon.run(&["check", "--json"]);
        assert_eq!(output.status.code(), Some(code));
        serde_json::from_slice(&output.stdout).expect("a document")
    };
    let good = check(0);
    assert_eq!((&good["valid"], &good["errors"]), (&true.into(), &serde_json::json!([])));
    for (text, line, key) in [
        ("[agents.a]\ncron = \"61 * * * *\"\ncommand = \"x\"\n", 2, Value::from("agents.a.cron")),
        ("[agents.a\n", 1, Value::Null),
    ] {
        daemon.configure(text);
        let bad = check(78);
        let error = &bad["errors"][0];
        assert_eq!(
            (&bad["valid"], &error["line"], &error["severity"]),
            (&false.into(), &line.into(), &"error".into())
        );
        assert!(
            error["column"].is_u64() && error["message"].is_string() && error.get("help").is_some(),
            "{error}"
        );
        assert!(error["file"].as_str().is_some_and(|file| file.ends_with("agents.toml")), "{error}");
        assert_eq!(error["key"], key);
    }
    std::fs::write(daemon.path("agents.toml"), b"\xff\xfe").expect("written");
    assert_eq!(check(78)["errors"][0]["line"], 0);
    std::fs::remove_file(daemon.path("agents.toml")).expect("it is there");
    assert!(check(78)["errors"][0]["message"].as_str().expect("a text").contains("can't be read"));
}

#[test]
fn a_refused_secret_is_neither_shown_nor_kept() {
    const SECRET: &str = "hunter2-hunter2";
    let daemon = Daemon::start("[daemon]\nreload = \"manual\"\n[agents.a]\ncommand = [\"true\"]\n");
    for text in [
        format!("[models]\nm = {{ provider = \"openia\", model = \"x\", api_key = \"{SECRET}\" }}\n"),
        format!("[models.m]\nprovider = \"openai\"\nmodel = \"x\"\napi_key = {SECRET}\n"),
    ] {
        daemon.configure(&text);
        for args in [&["check"][..], &["check", "--json"], &["reload"], &["reload", "--json"]] {
            let output = daemon.run(args);
            let said = [output.stdout, output.stderr].concat();
            assert!(!String::from_utf8_lossy(&said).contains(SECRET), "{args:?}");
            assert_eq!(output.status.code(), Some(78));
        }
    }
    let events = daemon.ok(&["tail", "--json", "--no-follow", "-n", "100"]);
    assert!(events.contains("config_rejected") && !events.contains(SECRET), "{events}");
    assert!(!daemon.log().contains(SECRET));
}

#[test]
fn a_result_is_given_whole_and_output_is_raw_where_that_is_asked_for() {
    let daemon = Daemon::start("[agents.a]\ncommand = \"printf 'one\\\\n\\\\033[31mtwo\\\\n'\"\n");
    let waited = daemon.ok(&["run", "a", "--wait"]);
    assert!(waited.contains("\none\n\\x1b[31mtwo\n"), "{waited}");
    assert_eq!(daemon.ok(&["logs", "a"]), "one\n\\x1b[31mtwo\n");
    assert_eq!(daemon.ok(&["logs", "a", "--raw"]), "one\n\u{1b}[31mtwo\n");
    let run = daemon.ok(&["runs", "--json"]);
    let run: Value = serde_json::from_str(&run).expect("JSON");
    let run = run[0]["run_id"].as_str().expect("an id");
    assert!(!daemon.ok(&["show", run, "--color", "always"]).contains("\u{1b}[31mtwo"));
    assert!(daemon.ok(&["show", run, "--raw"]).contains("\u{1b}[31mtwo"));
}

/// What is no character is kept as one of three bytes, and counted as the one that was written.
#[test]
fn output_that_was_not_kept_is_counted_as_it_was_written() {
    let daemon = Daemon::start(
        "[agents.a]\ncommand = \"head -c 1000000 /dev/zero | tr '\\\\0' '\\\\377'\"\nmax_output = 3000\n",
    );
    daemon.ok(&["run", "a", "--wait"]);
    let view = daemon.ok(&["logs", "a", "--json"]);
    let view: Value = serde_json::from_str(&view).expect("JSON");
    let left_out = view["dropped_bytes"].as_u64().expect("a count");
    assert!((800_000..1_000_000).contains(&left_out), "{left_out}");
    let kept: usize = view["chunks"]
        .as_array()
        .expect("pieces")
        .iter()
        .filter_map(|one| one["text"].as_str())
        .map(str::len)
        .sum();
    assert!((1000..=3000).contains(&kept), "`max_output` holds for a line without an end, too: {kept}");
}

#[test]
fn a_result_that_is_only_the_end_of_the_output_says_so() {
    let daemon = Daemon::start(
        "[agents.long]\ncommand = [\"seq\", \"20000\"]\n[agents.short]\ncommand = \"echo one; echo; echo x >&2\"\n",
    );
    let waited = daemon.run(&["run", "long", "--wait"]);
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(said.contains("-- the last 64.0 KiB of its output; all of it: bgagent logs "), "{said}");
    assert!(String::from_utf8_lossy(&waited.stdout).ends_with("\n20000\n"));
    let run = |agent: &str| -> String {
        let runs: Value = serde_json::from_str(&daemon.ok(&["runs", agent, "--json"])).expect("JSON");
        runs[0]["run_id"].as_str().expect("an id").to_owned()
    };
    code(
        &daemon,
        &["show", &run("long")],
        0,
        "\n20000\n-- the last 64.0 KiB of its output; all of it: bgagent logs ",
    );
    let waited = daemon.run(&["run", "short", "--wait"]);
    assert_eq!(String::from_utf8_lossy(&waited.stderr), "");
    assert!(!daemon.ok(&["show", &run("short")]).contains("of its output"));
}

#[test]
fn a_check_shows_times_in_the_zone_of_the_agent() {
    let daemon = Daemon::with(
        "[agents.a]\ncron = \"30 9 * * *\"\ntimezone = \"Asia/Kolkata\"\ncommand = [\"true\"]\n\
         [agents.once]\nat = \"2099-07-01T12:00:00Z\"\ncommand = [\"true\"]\n",
    );
    let said = daemon.command(&["check"]).env("TZ", "Europe/Berlin").output().expect("it starts").stdout;
    let said = String::from_utf8_lossy(&said);
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).expect("a line");
    assert_eq!(line("a ").matches(" 09:30").count(), 3, "{said}");
    assert!(line("a ").ends_with("(Asia/Kolkata)"), "{said}");
    assert!(line("once ").contains("at Wed 2099-07-01 14:00:00 (Europe/Berlin)"), "{said}");
}

#[test]
fn why_tells_times_in_the_zone_of_whoever_asks() {
    let daemon = Daemon::start(FLEET);
    daemon.until("background_task_completed", "ticks");
    for (zone, offset) in [("Asia/Kolkata", " +05:30"), ("<Own>-02:15", " +02:15"), ("UTC", " +00:00")] {
        let output = daemon.command(&["why", "ticks"]).env("TZ", zone).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(offset), "{zone}: {said}");
    }
}

#[test]
fn a_bound_on_what_is_shown_is_said() {
    let daemon = Daemon::start("[agents.a]\ninterval = 1\ncommand = [\"true\"]\nenabled = true\n");
    code(&daemon, &["next", "--limit", "3"], 0, "-- the first 3, there may be more");
    code(&daemon, &["next", "--limit", "20000", "--for", "24h"], 0, "-- at most 10000 are shown");
}

#[test]
fn logs_that_follow_outlive_the_daemon() {
    let release = tempfile::NamedTempFile::new().expect("a file");
    let wait = format!("while [ -e {} ]; do sleep 0.05; done; echo second", release.path().display());
    let mut daemon = Daemon::start(&format!("[agents.a]\ncommand = \"echo first; {wait}\"\n"));
    daemon.ok(&["run", "a"]);
    daemon.until("background_task_output", "a");
    let mut logs = daemon.command(&["logs", "a", "-f"]);
    let mut logs = logs
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = [0; 6];
    std::io::Read::read_exact(logs.stdout.as_mut().expect("a pipe"), &mut first).expect("output");
    daemon.kill();
    let mut said = std::io::BufReader::new(logs.stderr.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("a note");
    assert!(line.contains("waiting"), "{line}");
    release.close().expect("it can be removed");
    daemon.up();
    let status = wait_for("the end of the logs", || logs.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn hints_lead_on() {
    let mut daemon = Daemon::start(FLEET);
    code(&daemon, &["show", "c"], 4, "at least the last 4 digits");
    code(&daemon, &["show", "good"], 4, "`good` is an agent");
    code(&daemon, &["stop", "ticks"], 0, "stopped");
    code(&daemon, &["next", "ticks"], 0, "ticks is stopped: bgagent start ticks");
    code(&daemon, &["resume", "--all"], 0, "nothing to resume: no agent is paused");
    daemon.ok(&["reload"]);
    code(&daemon, &["run", "bad", "--wait"], 1, "");
    assert!(daemon.log().contains("bad: run ") && daemon.log().contains("exit status 3"), "{}", daemon.log());
    daemon.configure("[agents.a]\ncommand = 7\n");
    code(&daemon, &["reload"], 78, "");
    wait_for("the log", || daemon.log().contains("agents.toml:2:").then_some(()));
    daemon.down();
    let install = |config: &str| {
        daemon.configure(config);
        let mut command = daemon.command(&["service", "install", "--no-start"]);
        let output = command.env("HOME", daemon.path("home")).env_remove("XDG_CONFIG_HOME").output();
        let output = output.expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = install("[agents.a]\ncommand = 7\n");
    assert_eq!(code, Some(78), "{said}");
    let (code, said) = install(FLEET);
    assert!(
        code == Some(0) && (cfg!(target_os = "macos") || said.contains("ReadWritePaths=")),
        "{code:?} {said}"
    );
    // a service has none of the variables of this shell
    let home = daemon.path("home");
    let mut command = bgagent();
    command.env("HOME", &home).env("XDG_STATE_HOME", daemon.path("moved")).env_remove("XDG_CONFIG_HOME");
    command.arg("--config").arg(daemon.path("agents.toml")).args(["service", "install", "--no-start"]);
    assert!(command.status().is_ok_and(|status| status.success()));
    if cfg!(target_os = "linux") {
        let unit =
            std::fs::read_to_string(home.join(".config/systemd/user/bgagent.service")).expect("a unit");
        let state =
            format!("\"--state-dir\" \"{}\"", daemon.path("moved/bgagent").display()).replace('"', "");
        assert!(unit.replace('"', "").contains(&state), "{unit}");
    }
}

#[test]
fn an_interrupt_of_a_watched_run_says_that_the_run_goes_on() {
    let daemon = Daemon::start(FLEET);
    let mut command = daemon.command(&["run", "long", "--wait"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut id = String::new();
    let mut said = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut said, &mut id).expect("the id of the run");
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("goes on: bgagent cancel "));
    assert!(!daemon.ok(&["show", id.trim()]).contains("cancelled"));
}

/// A script's variable that is not set must not lead to the state folder of somebody else.
#[test]
fn an_empty_flag_is_no_default() {
    for flag in ["--state-dir", "--config", "--socket"] {
        for args in [[flag, "", "list"], ["list", flag, ""]] {
            let output = bgagent().args(args).output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains(flag) && said.contains("it is empty"), "{args:?}: {said}");
        }
    }
}

#[test]
fn variables_stand_for_flags_and_flags_win() {
    let said = |variables: &[(&str, &str)], args: &[&str]| {
        let output = bgagent().envs(variables.iter().copied()).args(args).output().expect("it starts");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&[("BGAGENT_STATE_DIR", "/nowhere/a")], &["list"]).contains("/nowhere/a"));
    assert!(said(&[("BGAGENT_SOCKET", "/nowhere/s")], &["list"]).contains("/nowhere/s"));
    assert!(
        said(&[("BGAGENT_SOCKET", "/nowhere/s")], &["--socket", "/nowhere/t", "list"]).contains("/nowhere/t")
    );
    // an empty one is none
    assert!(
        said(&[("BGAGENT_SOCKET", ""), ("BGAGENT_STATE_DIR", "/nowhere/a")], &["list"])
            .contains("/nowhere/a")
    );
}
