//! What stands in the daemon's way: each has its exit code and a message that helps.
use super::support::{Daemon, bgagent};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const FLEET: &str = "[agents.a]\ncommand = [\"true\"]\n";

/// Starts a daemon that must fail; its exit code and what it says.
#[track_caller]
fn fails(daemon: &Daemon) -> (i32, String) {
    let mut command = daemon.daemon_command();
    let output = command.stderr(Stdio::piped()).output().expect("the program can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or_else(|| panic!("no exit code: {text}")), text)
}

#[test]
fn a_second_daemon_names_the_first() {
    let mut daemon = Daemon::start(FLEET);
    let (code, text) = fails(&daemon);
    let pid = daemon.child.as_ref().expect("it runs").id();
    assert_eq!(code, 75, "{text}");
    assert!(text.contains(&format!("process {pid}")), "{text}");
    assert!(daemon.client().try_call("ping", serde_json::json!({})).is_ok(), "the first one goes on");
    // what a dead one left is taken over without a question
    daemon.kill();
    assert!(daemon.path("socket").exists());
    daemon.up();
}

#[test]
fn something_in_the_way_of_the_socket_is_left_alone() {
    let daemon = Daemon::with(FLEET);
    std::fs::write(daemon.path("socket"), "precious").expect("a file");
    let (code, text) = fails(&daemon);
    assert_eq!(code, 73, "{text}");
    assert!(text.contains("not a socket"), "{text}");
    assert_eq!(std::fs::read_to_string(daemon.path("socket")).expect("still there"), "precious");
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_the_limit() {
    let daemon = Daemon::with(FLEET);
    let long = daemon.path(&"x".repeat(120));
    let output = daemon.command(&["--socket"]).arg(long).arg("daemon").output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("100") || text.contains("107") || text.contains("108"), "{text}");
}

#[test]
fn a_broken_configuration_is_refused_with_line_and_suggestion() {
    let daemon = Daemon::with("[agents.a]\nintervall = 60\ncommand = [\"true\"]\n");
    let (code, text) = fails(&daemon);
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("intervall") && text.contains("interval") && text.contains(":2"), "{text}");
}

#[test]
fn a_missing_configuration_says_how_to_get_one() {
    let daemon = Daemon::with(FLEET);
    std::fs::remove_file(daemon.path("agents.toml")).expect("it was there");
    let (code, text) = fails(&daemon);
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("bgagent init"), "{text}");
}

#[test]
fn a_damaged_database_is_neither_used_nor_replaced() {
    let mut daemon = Daemon::start(FLEET);
    daemon.down();
    let path = daemon.path("state/bgagent.db");
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file");
    file.write_all(b"this is not a database at all, is it?").expect("it can be written");
    drop(file);
    let before = std::fs::read(&path).expect("a file");
    let (code, text) = fails(&daemon);
    assert_eq!(code, 65, "{text}");
    assert_eq!(std::fs::read(&path).expect("a file"), before);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let mut daemon = Daemon::start(FLEET);
    daemon.down();
    let path = daemon.path("state/bgagent.db");
    let db = rusqlite::Connection::open(&path).expect("it opens");
    db.pragma_update(None, "user_version", 999).expect("it can be written");
    drop(db);
    let (code, text) = fails(&daemon);
    assert_eq!(code, 65, "{text}");
    assert!(text.contains("999"), "{text}");
}

#[test]
fn a_state_folder_that_is_none_is_refused() {
    let daemon = Daemon::with(FLEET);
    std::fs::write(daemon.path("state"), "a file").expect("a file");
    let (code, text) = fails(&daemon);
    assert!([73, 77].contains(&code), "{code} {text}");
    assert!(text.contains("not a folder"), "{text}");
}

#[test]
fn as_many_files_may_be_open_as_the_runs_need() {
    let mut daemon = Daemon::with(
        "[daemon]\nmax_parallel_runs = 100\n[agents.a]\ncommand = \"echo $(ulimit -Sn) $(ulimit -Hn)\"\n",
    );
    let plain = daemon.daemon_command();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -Sn 256; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    daemon.child = Some(limited.spawn().expect("there is a shell"));
    daemon.ready();
    let result = daemon.run_by_hand("a")["result"].as_str().expect("a text").to_owned();
    let (soft, hard) = result.split_once(' ').expect("two limits");
    let hard = hard.parse().unwrap_or(u64::MAX);
    assert_eq!(soft.parse(), Ok(hard.min(1024 + 16 * 100)), "{result}");
    let more =
        std::fs::read_to_string(daemon.path("agents.toml")).expect("a file").replace("= 100\n", "= 150\n");
    daemon.configure(&more);
    daemon.call("reload_config", serde_json::json!({}));
    let result = daemon.run_by_hand("a")["result"].as_str().expect("a text").to_owned();
    assert!(result.starts_with(&format!("{} ", hard.min(1024 + 16 * 150))), "{result}");
}

#[test]
fn a_client_without_a_daemon_says_how_to_start_one() {
    let daemon = Daemon::with(FLEET);
    for command in ["list", "status", "reload"] {
        let output = daemon.run(&[command]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{command}: {text}");
        assert!(text.contains("bgagent daemon") || text.contains("systemctl"), "{text}");
        assert!(output.stdout.is_empty());
    }
    let output = bgagent().arg("frobnicate").output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
}

/// A database that can't be written: changes are refused at once, `health` sees it, and the daemon can
/// be told to go down, with what it has in flight.
#[test]
fn a_daemon_that_can_not_write_can_be_stopped() {
    let mut daemon = Daemon::start(
        "[agents.a]\ncommand = \"echo $$ > pid; exec sleep 600\"\n[agents.b]\ncommand = [\"true\"]\n",
    );
    daemon.call("run_agent", serde_json::json!({"agent_id": "a"}));
    let pid = super::support::wait_for("the run", || {
        std::fs::read_to_string(daemon.path("pid")).ok()?.trim().parse::<u32>().ok()
    });
    assert_eq!(daemon.run(&["health"]).status.code(), Some(0));
    let lock = daemon.lock_database();
    let refused = |client: &mut super::support::Client| {
        let error = client
            .try_call("pause_agent", serde_json::json!({"agent_id": "b"}))
            .expect_err("it can't be recorded");
        assert_eq!(error["code"], 5, "{error}");
        error["data"].clone()
    };
    assert_eq!(refused(&mut daemon.client())["pending"], true, "it is done as soon as it can be recorded");
    let began = std::time::Instant::now();
    assert_eq!(refused(&mut daemon.client())["pending"], serde_json::Value::Null);
    assert!(began.elapsed() < super::support::SOON, "it is known already");
    let health = daemon.run(&["health"]);
    let text = String::from_utf8_lossy(&health.stdout);
    assert_eq!(health.status.code(), Some(1), "{text}");
    assert!(text.contains("locked by another program"), "{text}");
    assert_eq!(daemon.down(), Some(74));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "what it had started is gone");
    drop(lock);
    daemon.up();
    let ended = daemon.until_event("the end of the run", |event| {
        event["type"] == "background_task_error" && event["agent_id"] == "a"
    });
    assert_eq!(ended["payload"]["status"], "interrupted");
}

/// A notification that can't be recorded as delivered is not delivered again.
#[test]
fn a_notification_is_told_once_while_the_database_is_locked() {
    let daemon = Daemon::start(
        "[notify.ops]\ntype = \"command\"\n\
         command = [\"/bin/sh\", \"-c\", \"echo x >> sent; while ! [ -e go ]; do sleep 0.02; done\"]\n\
         [agents.a]\ncommand = [\"false\"]\nnotify = { to = [\"ops\"], on = [\"failed\"] }\n",
    );
    daemon.call("run_agent", serde_json::json!({"agent_id": "a"}));
    let sent = || std::fs::read_to_string(daemon.path("sent")).unwrap_or_default().lines().count();
    super::support::wait_for("the delivery", || (sent() == 1).then_some(()));
    let lock = daemon.lock_database();
    std::fs::write(daemon.path("go"), "").expect("a file");
    super::support::wait_for("the record to fail", || {
        daemon.log().contains("deliveries could not be recorded").then_some(())
    });
    drop(lock);
    daemon.until_event("the record", |event| event["type"] == "notification_sent");
    assert_eq!(sent(), 1);
}

/// One mailbox that is full for now keeps the mail from nobody else, and nobody gets it twice.
#[test]
fn a_mailbox_that_refuses_for_now_gets_the_mail_alone_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (round, stream) in listener.incoming().flatten().enumerate() {
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let says = |text: &str| (&stream).write_all(format!("{text}\r\n").as_bytes()).is_ok();
            let (mut in_data, mut has) = (false, Vec::new());
            says("220 here");
            while let Some(Ok(line)) = lines.next() {
                match line.as_str() {
                    "." => {
                        in_data = false;
                        let _ = tell.send(std::mem::take(&mut has));
                        says("250 queued")
                    }
                    _ if in_data => continue,
                    "DATA" => {
                        in_data = true;
                        says("354 go on")
                    }
                    "RCPT TO:<b@example.org>" if round == 0 => says("452 full"),
                    other => {
                        has.extend(other.strip_prefix("RCPT TO:").map(str::to_owned));
                        says("250 fine")
                    }
                };
            }
        }
    });
    let daemon = Daemon::start(&format!(
        "[notify.ops]\ntype = \"email\"\nto = [\"a@example.org\", \"b@example.org\"]\n\
         from = \"bgagent@example.org\"\nsmtp = \"127.0.0.1:{port}\"\n\
         [agents.a]\ncommand = [\"false\"]\nnotify = {{ to = [\"ops\"], on = [\"failed\"] }}\n"
    ));
    daemon.call("run_agent", serde_json::json!({"agent_id": "a"}));
    let failed = daemon.until_event("a refusal", |event| event["type"] == "notification_failed");
    let error = failed["payload"]["error"].as_str().expect("a text");
    assert!(error.contains("b@example.org: the server says 452 full"), "{error}");
    daemon.until_event("the delivery", |event| event["type"] == "notification_sent");
    let mails: Vec<Vec<String>> = told.try_iter().collect();
    assert_eq!(mails, [vec!["<a@example.org>".to_owned()], vec!["<b@example.org>".to_owned()]]);
}

/// What the store could not write for a while is written, and what came meanwhile follows.
#[test]
fn a_shutdown_while_the_database_is_locked_is_recorded_when_it_is_free_again() {
    let mut daemon = Daemon::start(FLEET);
    let lock = daemon.lock_database();
    let error = daemon.client().try_call("run_agent", serde_json::json!({"agent_id": "a"}));
    assert_eq!(error.expect_err("it can't be recorded")["code"], 5);
    daemon.call("shutdown", serde_json::json!({}));
    drop(lock);
    assert_eq!(daemon.wait_end(), Some(0));
    let last: String = daemon
        .database()
        .query_row("SELECT type FROM events ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
        .expect("an event");
    assert!(["daemon_stopping", "background_task_completed"].contains(&&*last), "{last}");
    let open: i64 = daemon
        .database()
        .query_row("SELECT count(*) FROM events WHERE type = 'daemon_stopping'", [], |row| row.get(0))
        .expect("a number");
    assert_eq!(open, 1);
}

/// A disk that fills up under a working daemon: nothing new is claimed, questions are answered, and it
/// goes on by itself when there is room. Needs the right to mount a small file system.
#[test]
fn a_full_disk_stops_claims_but_not_the_daemon() {
    let mut daemon = Daemon::with(
        "[agents.a]\ninterval = 1\ncommand = \"head -c 300000 /dev/zero | tr '\\\\0' x\"\nmax_output = \"1MiB\"\n",
    );
    let state = daemon.path("state");
    std::fs::create_dir(&state).expect("a folder");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs"])
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
            let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(state.clone());
    daemon.up();
    daemon.until("background_task_started", "a");
    let ballast = state.join("ballast");
    let mut file = std::fs::File::create(&ballast).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let status = |daemon: &Daemon| daemon.call("get_daemon_status", serde_json::json!({}));
    let view = super::support::wait_for("the daemon to notice", || {
        let _ = std::fs::OpenOptions::new()
            .append(true)
            .open(&ballast)
            .and_then(|mut file| file.write_all(&[0; 65536]));
        let view = status(&daemon);
        (view["state"] == "degraded").then_some(view)
    });
    assert!(view["problem"].as_str().is_some_and(|text| text.contains("space")), "{view}");
    // one that starts there is there, too, and says so
    daemon.kill();
    daemon.up();
    assert!(status(&daemon)["pid"].is_number());
    std::fs::remove_file(&ballast).expect("it was there");
    let room = std::time::Instant::now();
    super::support::wait_for("the daemon to go on", || (status(&daemon)["state"] == "ok").then_some(()));
    eprintln!("back {:?} after there was room", room.elapsed());
    super::support::wait_for("its file", || state.join("daemon.json").exists().then_some(()));
    let seq = status(&daemon)["newest_seq"].as_u64().expect("a number");
    daemon.client().until("a run after it", serde_json::json!({"from": seq}), |event| {
        event["type"] == "background_task_completed"
    });
    daemon.down();
}
