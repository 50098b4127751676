//! What the daemon makes of files that are lost, damaged, old, or taken away; and of a full house.
use super::records::Records;
use super::support::{Client, Daemon, wait_for};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FLEET: &str = "[agents.a]\ncommand = [\"true\"]\n";

/// Starts a daemon that must fail; its exit code and what it says.
#[track_caller]
fn fails(daemon: &Daemon) -> (i32, String) {
    let output = daemon.daemon_command().stderr(Stdio::piped()).output().expect("the program can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or_else(|| panic!("no exit code: {text}")), text)
}

fn status(daemon: &Daemon) -> Value {
    daemon.call("get_daemon_status", json!({}))
}

#[test]
fn a_database_that_was_there_is_missed_until_a_person_says_so() {
    let mut daemon = Daemon::start(FLEET);
    assert_eq!(daemon.down(), Some(0));
    let path = daemon.path("state/bgagent.db");
    std::fs::remove_file(&path).expect("it was there");
    for _ in 0..2 {
        let (code, text) = fails(&daemon);
        assert_eq!(code, 65, "{text}");
        assert!(text.contains("is missing, although") && text.contains("bgagent store reset"), "{text}");
        assert!(!path.exists());
    }
    let health = daemon.run(&["health"]);
    let text = String::from_utf8_lossy(&health.stdout);
    assert_eq!(health.status.code(), Some(2));
    assert!(!text.contains("never run"), "{text}");
    daemon.ok(&["store", "reset"]);
    daemon.up();
}

#[test]
fn a_log_that_was_lost_is_said_and_can_be_accepted() {
    let mut daemon = Daemon::start(FLEET);
    daemon.run_by_hand("a");
    // more than what is in the database, however quickly it was written there
    let lost = rusqlite::Connection::open(daemon.path("state/bgagent.db")).expect("it opens");
    lost.execute_batch("BEGIN; SELECT count(*) FROM events;").expect("a reader, who holds the log up");
    daemon.run_by_hand("a");
    daemon.kill();
    let old = daemon.path("state/old");
    std::fs::copy(daemon.path("state/bgagent.db"), &old).expect("a copy");
    drop(lost);
    std::fs::rename(&old, daemon.path("state/bgagent.db")).expect("a file");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(daemon.path(&format!("state/bgagent.db{suffix}")));
    }
    // the rename has made it a file that somebody put there: as if nobody had, note it once more
    let lock = daemon.path("state/lock");
    let mark = std::fs::read_to_string(&lock).expect("a lock");
    let at = mark.split_whitespace().skip_while(|word| *word != "at").nth(1).expect("a time");
    std::fs::write(&lock, mark.replace(at, &format!("{:020}", 4_000_000_000_000_000u64))).expect("a lock");
    let (code, text) = fails(&daemon);
    assert_eq!(code, 65, "{text}");
    assert!(text.contains("older than it was") && text.contains("-wal"), "{text}");
    let copy = daemon.path("state/bgagent.db").display().to_string();
    daemon.ok(&["store", "restore", &copy]);
    daemon.up();
    assert_eq!(daemon.run_by_hand("a")["status"], "completed");
}

/// One read that fails is no damage (strace(1) makes it fail).
#[test]
fn a_read_that_fails_once_is_no_damage() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no strace here");
        return;
    }
    let mut daemon = Daemon::start(FLEET);
    for _ in 0..5 {
        daemon.run_by_hand("a");
    }
    // as after a power cut: then all of it is checked
    daemon.kill();
    let database = daemon.path("state/bgagent.db").display().to_string();
    for nth in [1, 3, 5, 8] {
        let plain = daemon.daemon_command();
        let mut traced = Command::new("strace");
        traced.args(["-f", "-b", "execve", "-qq", "-o", "/dev/null", "-P", &database]);
        traced.args(["-P", &format!("{database}-wal"), "-e", "trace=pread64"]);
        traced.args(["-e", &format!("inject=pread64:error=EIO:when={nth}"), "--"]);
        traced.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
        traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        traced.stderr(Stdio::from(std::fs::File::create(daemon.path("log")).expect("a log")));
        daemon.child = Some(traced.spawn().expect("strace"));
        // strace counts the reads of each thread by itself, so that several fail: a start may be given up for one that
        // was not made again, but never as damage
        match daemon.ready_or_ended() {
            None => {}
            Some(code) => {
                assert_eq!(code, Some(74), "read {nth}: {}", daemon.log());
                daemon.child = None;
                daemon.up();
            }
        }
        // a reader's own look may be the one that fails
        wait_for("the daemon to be well", || (status(&daemon)["state"] == "ok").then_some(()));
        assert_eq!(daemon.down(), Some(0), "read {nth}: {}", daemon.log());
    }
}

#[test]
fn a_database_that_is_taken_away_is_noticed_and_said() {
    let mut daemon = Daemon::start(FLEET);
    let path = daemon.path("state/bgagent.db");
    let away = daemon.path("state/away");
    std::fs::rename(&path, &away).expect("it is there");
    let view = wait_for("the daemon to notice", || {
        let view = status(&daemon);
        (view["state"] == "degraded").then_some(view)
    });
    assert!(view["problem"].as_str().is_some_and(|text| text.contains("was removed")), "{view}");
    let error = daemon.client().try_call("pause_agent", json!({"agent_id": "a", "request_id": "once"}));
    assert_eq!(error.expect_err("nothing is acknowledged")["code"], 5);
    let health = daemon.run(&["health"]);
    assert_eq!(health.status.code(), Some(2), "{}", String::from_utf8_lossy(&health.stdout));
    assert!(daemon.log().contains("was removed"), "{}", daemon.log());
    std::fs::rename(&away, &path).expect("it is there");
    wait_for("the daemon to go on", || (status(&daemon)["state"] == "ok").then_some(()));
    // what was decided is recorded after all, so that the same mutation has one answer
    let paused = daemon.call("pause_agent", json!({"agent_id": "a", "request_id": "once"}));
    assert_eq!(paused["state"], "paused", "{paused}");
    assert_eq!(daemon.down(), Some(0));
}

/// A refusal that passes is no answer for a day.
#[test]
fn what_was_refused_for_now_can_be_asked_again() {
    let mut daemon = Daemon::start(
        "[daemon]\nshutdown_grace = 20\n[agents.slow]\ncommand = \"while ! [ -e go ]; do sleep 0.05; done\"\n\
         [agents.a]\ncommand = [\"true\"]\n",
    );
    daemon.call("run_agent", json!({"agent_id": "slow"}));
    let mut client = daemon.client();
    client.call("shutdown", json!({}));
    let ask = json!({"agent_id": "a", "request_id": "once"});
    let error = client.try_call("run_agent", ask.clone()).expect_err("it goes down");
    assert_eq!(error["code"], 6, "{error}");
    std::fs::write(daemon.path("go"), "").expect("a file");
    assert_eq!(daemon.wait_end(), Some(0));
    daemon.up();
    let answer = daemon.call("run_agent", ask.clone());
    assert!(answer["run_id"].is_string(), "{answer}");
    assert_eq!(daemon.call("run_agent", ask)["run_id"], answer["run_id"]);
}

/// A copy that was made while the daemon ran is put in place by hand: a reader's cursor is of the time after
/// it, and nothing is skipped in silence.
#[test]
fn a_cursor_from_before_a_restore_skips_nothing_in_silence() {
    let mut daemon = Daemon::start(FLEET);
    let copy = daemon.path("copy.db").display().to_string();
    daemon.run_by_hand("a");
    let made = daemon.ok(&["--json", "store", "backup", &copy]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let shared = made["newest_seq"].as_u64().expect("a number");
    for _ in 0..4 {
        daemon.run_by_hand("a");
    }
    let cursor = daemon.path("cursor").display().to_string();
    daemon.ok(&["tail", "--no-follow", "--cursor-file", &cursor]);
    assert_eq!(daemon.down(), Some(0));
    std::fs::copy(&copy, daemon.path("state/bgagent.db")).expect("a copy");
    daemon.up();
    assert!(daemon.log().contains("a copy was put in the place"), "{}", daemon.log());
    let read = daemon.run(&["tail", "--no-follow", "--json", "--cursor-file", &cursor]);
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(said.contains(&format!("going on after event {shared}")), "{said}");
    let first: Value =
        serde_json::from_slice(read.stdout.split(|byte| *byte == b'\n').next().expect("a line"))
            .expect("an event");
    assert_eq!((first["seq"].as_u64(), first["type"].as_str()), (Some(shared + 1), Some("daemon_started")));
    let again = daemon.run(&["tail", "--no-follow", "--json", "--cursor-file", &cursor]);
    assert!(again.stdout.is_empty() && again.stderr.is_empty(), "once");
}

#[test]
fn more_than_there_is_is_said() {
    let daemon = Daemon::start(FLEET);
    let output = daemon.run(&["tail", "--no-follow", "--from", "99999"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no event 99999 yet"), "{said}");
    let next = status(&daemon)["newest_seq"].as_u64().expect("a number") + 1;
    let output = daemon.run(&["tail", "--no-follow", "--from", &next.to_string()]);
    assert!(output.status.success() && output.stderr.is_empty(), "the next one is just not there yet");
}

#[test]
fn a_backup_is_restored_by_commands() {
    let mut daemon = Daemon::start(FLEET);
    daemon.run_by_hand("a");
    let copy = daemon.path("copy.db").display().to_string();
    daemon.ok(&["store", "backup", &copy]);
    assert_eq!(daemon.run(&["store", "backup", &copy]).status.code(), Some(5), "it is not overwritten");
    daemon.ok(&["store", "backup", "--force", &copy]);
    let refused = daemon.run(&["store", "restore", &copy]);
    assert_eq!(refused.status.code(), Some(75), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(daemon.down(), Some(0));
    let said = daemon.ok(&["store", "restore", &copy]);
    assert!(said.contains("before-"), "{said}");
    daemon.up();
    let runs = daemon.call("list_runs", json!({"agent_id": "a"}));
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
}

#[test]
fn a_backup_says_where_it_can_not_be() {
    let daemon = Daemon::start(FLEET);
    let folder = daemon.folder.path().display().to_string();
    for (to, said) in [
        (folder.clone(), format!("can't write {folder}: it is a folder; name a file in it")),
        (format!("{folder}/no/dir/x.db"), format!("there is no folder {folder}/no/dir")),
    ] {
        let output = daemon.run(&["store", "backup", &to]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(&said) && !text.contains(".new"), "{text}");
    }
}

#[test]
fn what_is_no_copy_is_called_what_it_is() {
    let daemon = Daemon::with(FLEET);
    let app = rusqlite::Connection::open(daemon.path("app.db")).expect("a database");
    app.execute_batch("CREATE TABLE users(id INTEGER); INSERT INTO users VALUES (1)").expect("a table");
    let busy = rusqlite::Connection::open(daemon.path("busy.db")).expect("a database");
    let wal = "PRAGMA journal_mode = WAL; CREATE TABLE users(id INTEGER); INSERT INTO users VALUES (1)";
    busy.execute_batch(wal).expect("a table");
    std::fs::write(daemon.path("env.sh"), "export A=1\n").expect("written");
    std::fs::write(daemon.path("empty.db"), "").expect("written");
    for (name, said) in [
        ("app.db", "/app.db is not a database of bgagent"),
        ("busy.db", "/busy.db is not a database of bgagent"),
        ("env.sh", "/env.sh is not a SQLite database"),
        ("empty.db", "/empty.db is empty"),
        ("nosuch.db", "there is no file /"),
        ("", "/ is a folder"),
    ] {
        let output = daemon.run(&["store", "restore", &daemon.path(name).display().to_string()]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(65), "{text}");
        assert!(text.contains(said) && !text.contains("corrupt") && !text.contains(".recover"), "{text}");
        assert!(text.contains("hint: ") && text.contains("bgagent store backup FILE"), "{text}");
    }
}

/// The file of the configuration is gone: that is said, and what is in force stays.
#[test]
fn a_configuration_that_is_gone_changes_nothing() {
    let daemon = Daemon::start("[daemon]\nreload = \"manual\"\n[agents.a]\ncommand = [\"true\"]\n");
    std::fs::remove_file(daemon.path("agents.toml")).expect("it was there");
    let output = daemon.run(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let view = wait_for("the refusal", || {
        let view = status(&daemon);
        view["config_errors"].is_array().then_some(view)
    });
    assert!(view["config_errors"][0].as_str().is_some_and(|text| text.contains("agents.toml")), "{view}");
    assert_eq!(daemon.call("list_agents", json!({})).as_array().map(Vec::len), Some(1));
    assert_eq!(daemon.run(&["health"]).status.code(), Some(1));
    assert_eq!(daemon.run_by_hand("a")["status"], "completed");
}

/// Signals that mean nothing to the daemon, and a file that grows over its limit, don't end it.
#[test]
fn signals_of_others_do_not_end_the_daemon() {
    let mut daemon = Daemon::start(FLEET);
    let pid = daemon.child.as_ref().expect("it runs").id();
    for signal in ["XFSZ", "XCPU", "USR1", "USR2", "ALRM", "VTALRM", "PROF"] {
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
        assert!(sent.expect("kill").success());
        wait_for(signal, || daemon.log().contains(&format!("ignored SIG{signal}")).then_some(()));
    }
    // one that comes again and again is said once
    let send = |signal: &str| {
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
        assert!(sent.expect("kill").success());
    };
    for _ in 0..3 {
        send("XFSZ");
        assert_eq!(daemon.run_by_hand("a")["status"], "completed");
    }
    assert_eq!(daemon.log().matches("ignored SIGXFSZ").count(), 1, "{}", daemon.log());
    assert_eq!(daemon.down(), Some(0));
    // what it starts does not ignore them
    let plain = daemon.daemon_command();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 2000; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    limited.stderr(Stdio::null());
    daemon.configure("[agents.a]\ncommand = \"grep SigIgn /proc/self/status\"\n");
    daemon.child = Some(limited.spawn().expect("there is a shell"));
    daemon.ready();
    let result = daemon.run_by_hand("a")["result"].as_str().expect("a text").to_owned();
    let ignored = u64::from_str_radix(result.rsplit('\t').next().unwrap_or_default().trim(), 16);
    assert_eq!(ignored.expect("a set of signals") & (1 << 24), 0, "{result}");
}

/// Clients that fill the house and say nothing keep nobody out; those that wait for something keep out whoever
/// does not just ask how the daemon is, or end it.
#[test]
fn a_full_house_can_be_ended() {
    let mut daemon = Daemon::with(FLEET);
    let plain = daemon.daemon_command();
    let mut limited = Command::new("sh");
    // a quarter of the files is for clients
    limited.args(["-c", "ulimit -n 128; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    limited.stderr(Stdio::from(std::fs::File::create(daemon.path("log")).expect("a log")));
    daemon.child = Some(limited.spawn().expect("there is a shell"));
    daemon.ready();
    let connect = || UnixStream::connect(daemon.path("socket")).expect("the daemon listens");
    let silent: Vec<UnixStream> = (0..60).map(|_| connect()).collect();
    assert_eq!(Client::new(connect()).call("get_daemon_status", json!({}))["state"], "ok");
    let mut asks = Client::new(connect());
    wait_for("a place of its own", || asks.try_call("list_agents", json!({})).ok());
    drop(silent);
    let follow = |nth: usize| {
        let mut client = Client::new(connect());
        let params = json!({"from": 1, "follow": true, "agents": [format!("a{}", &"*"[..nth.min(1)])]});
        client.try_call("stream_agent_events", params).ok().map(|_| client)
    };
    let mut followers = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while followers.len() < 32 && Instant::now() < deadline {
        followers.extend(follow(1));
    }
    assert_eq!(followers.len(), 32, "{}", daemon.log());
    let error = asks_for(&daemon, "list_agents").expect_err("all places are taken");
    assert_eq!(error["code"], 5, "{error}");
    assert!(asks_for(&daemon, "get_daemon_status").is_ok());
    assert!(asks_for(&daemon, "shutdown").is_ok());
    assert_eq!(daemon.wait_end(), Some(0));
}

fn asks_for(daemon: &Daemon, method: &str) -> Result<Value, Value> {
    daemon.client().try_call(method, json!({}))
}

/// A small disk that the database would fill by itself. Needs the right to mount one.
#[test]
fn what_is_kept_is_bounded_by_what_there_is() {
    let mut daemon = Daemon::with(
        "[agents.a]\ninterval = 1\ncommand = \"head -c 900000 /dev/urandom | base64 -w 0\"\nmax_output = \"2MiB\"\n",
    );
    let state = daemon.path("state");
    std::fs::create_dir(&state).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs"])
        .arg(&state)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: no right to mount a small file system here");
        return;
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(state);
    daemon.up();
    // more than fits
    wait_for("twelve runs", || {
        let runs =
            daemon.client().try_call("list_runs", json!({"status": "completed", "limit": 100})).ok()?;
        let all = daemon.client().try_call("get_agent_status", json!({"agent_id": "a"})).ok()?;
        (all["run_count"].as_u64()? >= 12 && runs.as_array()?.len() > 1).then_some(())
    });
    wait_for("a daemon that can write", || (status(&daemon)["state"] == "ok").then_some(()));
    daemon.down();
}

#[test]
fn what_was_lost_by_a_copy_is_not_called_downtime() {
    if Records::wanted().is_some() {
        return; // copies of servers are made by others
    }
    let mut daemon =
        Daemon::start("[agents.a]\ninterval = \"1s\"\ncommand = [\"true\"]\ncatch_up = \"none\"\n");
    daemon.until("background_task_completed", "a");
    let copy = daemon.path("copy.db").display().to_string();
    daemon.ok(&["store", "backup", &copy]);
    let newest = daemon.call("get_daemon_status", json!({}))["newest_seq"].as_u64().expect("a number");
    daemon.until_event("slots after the copy", |event| {
        event["type"] == "background_task_completed" && event["seq"].as_u64() > Some(newest + 10)
    });
    assert_eq!(daemon.down(), Some(0));
    daemon.ok(&["store", "restore", &copy]);
    daemon.up();
    let lost = wait_for("the verdict about what was lost", || {
        let slots = daemon.call("list_slots", json!({"agents": ["a"]}));
        slots.as_array()?.iter().find(|slot| slot["verdict"] == "missed_downtime").cloned()
    });
    let cause = lost["cause"].as_str().expect("a text");
    assert!(cause.contains("what was recorded then is lost") && cause.contains("it may have run"), "{lost}");
    let started = daemon.ok(&["--json", "tail", "--no-follow", "--from", "1", "--type", "daemon_started"]);
    let last: Value = serde_json::from_str(started.lines().last().expect("a start")).expect("JSON");
    let down = last["payload"]["down_since"].as_str().expect("a time").to_owned();
    assert!(down.as_str() > lost["first"].as_str().expect("a time"), "a daemon ran then: {last}");
}
