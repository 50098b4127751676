//! Files that start agents: each once, whatever happens to it or to the daemon.
use super::checker;
use super::rng::Rng;
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An agent that notes each file, by path and content.
const NOTES: &str =
    "command = 'printf \"%s %s\\n\" \"$BGAGENT_EVENT_PATH\" \"$(cat \"$BGAGENT_EVENT_PATH\")\" >> noted'\n";

fn watching(settle: &str, more: &str) -> String {
    format!("[agents.in]\non = {{ file = \"inbox/*.csv\", settle = \"{settle}\" }}\n{NOTES}{more}")
}

/// A daemon's folder with an inbox; nothing runs yet.
fn with_inbox(config: &str) -> Daemon {
    let daemon = Daemon::with(config);
    std::fs::create_dir(daemon.path("inbox")).expect("a folder");
    daemon
}

/// Where a file of the inbox is, as the agent is told.
fn inbox(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.folder.path().canonicalize().expect("a folder").join("inbox").join(name)
}

/// Puts a file there in one step.
fn drop_file(daemon: &Daemon, name: &str, text: &str) {
    let hidden = daemon.path("inbox").join(format!(".{name}"));
    std::fs::write(&hidden, text).expect("a file");
    std::fs::rename(hidden, daemon.path("inbox").join(name)).expect("a file");
}

/// What the agent has noted, each line with how often.
fn noted(daemon: &Daemon) -> BTreeMap<String, usize> {
    let mut noted = BTreeMap::new();
    for line in std::fs::read_to_string(daemon.path("noted")).unwrap_or_default().lines() {
        *noted.entry(line.to_owned()).or_default() += 1;
    }
    noted
}

#[track_caller]
fn wait_for_notes(daemon: &Daemon, files: &[(&str, &str)]) {
    let wanted: BTreeMap<String, usize> =
        files.iter().map(|(name, text)| (format!("{} {text}", inbox(daemon, name).display()), 1)).collect();
    wait_for("the notes", || (noted(daemon).len() >= wanted.len()).then_some(()));
    assert_eq!(noted(daemon), wanted, "{}", daemon.log());
}

/// Waits until the daemon has looked at the inbox and found nothing new: a file that comes last has its run.
fn settle_all(daemon: &Daemon, name: &str) {
    drop_file(daemon, name, "last");
    wait_for("the last file", || {
        let last = format!("{} last", inbox(daemon, name).display());
        noted(daemon).contains_key(&last).then_some(())
    });
}

/// Arrivals and outcomes of the log, by path.
fn outcomes(database: &Path) -> BTreeMap<String, (usize, usize)> {
    let db = super::support::open(database);
    let mut all = BTreeMap::<String, (usize, usize)>::new();
    let mut rows = db
        .prepare("SELECT type, payload FROM events WHERE type IN ('file_arrived', 'background_slot_skipped')")
        .expect("a table");
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    for (kind, payload) in rows.expect("rows").map(|row| row.expect("a row")) {
        let payload: Value = serde_json::from_str(&payload).expect("JSON");
        match kind.as_str() {
            "file_arrived" => {
                all.entry(payload["path"].as_str().expect("a path").to_owned()).or_default().0 += 1;
            }
            _ => {
                let path = payload["event"]["arrived"].as_str().expect("what has arrived").to_owned();
                all.entry(path).or_default().1 += 1;
            }
        }
    }
    let mut runs = db.prepare("SELECT event FROM runs WHERE trigger = 'event'").expect("a table");
    for event in
        runs.query_map([], |row| row.get::<_, String>(0)).expect("rows").map(|row| row.expect("a row"))
    {
        let event: Value = serde_json::from_str(&event).expect("JSON");
        assert!(event["seq"].as_u64().expect("a number") > 0, "{event}");
        all.entry(event["payload"]["path"].as_str().expect("a path").to_owned()).or_default().1 += 1;
    }
    all
}

#[test]
fn a_file_starts_a_run_once_and_whoever_asks_is_told() {
    let mut daemon = with_inbox(&watching("0s", ""));
    drop_file(&daemon, "there.csv", "before");
    daemon.up();
    wait_for_notes(&daemon, &[("there.csv", "before")]);
    drop_file(&daemon, "a.csv", "one");
    wait_for_notes(&daemon, &[("there.csv", "before"), ("a.csv", "one")]);
    let path = inbox(&daemon, "a.csv").display().to_string();
    let event = daemon.until_event("the arrival", |event| event["payload"]["path"] == path.as_str());
    assert_eq!(event["type"], "file_arrived");
    assert_eq!((&event["agent_id"], &event["payload"]["size"]), (&json!("in"), &json!(3)));
    let runs = daemon.call("list_runs", json!({"agent_id": "in"}));
    assert_eq!(runs[0]["event"]["arrived"], path.as_str());
    let run = daemon.finished(&runs[0]["run_id"]);
    let run = run["run_id"].as_str().expect("an id");
    assert!(daemon.ok(&["runs", "in"]).contains("a.csv arrived"));
    assert!(daemon.ok(&["show", run]).contains(&format!("event, {path} arrived")));
    let why = daemon.ok(&["why", "in"]).replace('\n', " ");
    assert!(why.contains(&format!("The arrival of {path}")) && why.contains("completed"), "{why}");
    let tail = daemon.ok(&["tail", "--from", "1", "--no-follow"]);
    assert!(tail.contains("arrived"), "{tail}");
    // the next life knows them
    assert_eq!(daemon.down(), Some(0));
    drop_file(&daemon, "down.csv", "while down");
    daemon.up();
    settle_all(&daemon, "last.csv");
    wait_for_notes(
        &daemon,
        &[("there.csv", "before"), ("a.csv", "one"), ("down.csv", "while down"), ("last.csv", "last")],
    );
    // the same content again, and another one
    drop_file(&daemon, "a.csv", "one");
    let twice = format!("{path} one");
    wait_for("the file that came again", || (noted(&daemon)[&twice] == 2).then_some(()));
    std::fs::write(daemon.path("inbox/a.csv"), "two").expect("a file");
    wait_for("the file that was rewritten", || {
        noted(&daemon).contains_key(&format!("{path} two")).then_some(())
    });
    assert_eq!(daemon.down(), Some(0));
    let outcomes = outcomes(&daemon.database_file());
    assert_eq!(outcomes.len(), 4);
    assert!(outcomes.values().all(|(arrivals, outcomes)| arrivals == outcomes), "{outcomes:?}");
}

#[test]
fn a_file_that_grows_does_not_count_before_it_has_settled() {
    let mut daemon = with_inbox(&watching("1500ms", ""));
    daemon.up();
    let path = daemon.path("inbox/slow.csv");
    let began = Instant::now();
    let mut text = String::new();
    while began.elapsed() < Duration::from_secs(4) {
        text.push('x');
        std::fs::write(&path, &text).expect("a file");
        // so long that a daemon that counts at once would have
        std::thread::park_timeout(Duration::from_millis(150));
        // a machine that is busy writes late, and the file may have settled
        if noted(&daemon).len() > 1 {
            return;
        }
    }
    let written = Instant::now();
    wait_for("the note", || (!noted(&daemon).is_empty()).then_some(()));
    assert!(written.elapsed() > Duration::from_secs(1), "it did not settle: {:?}", written.elapsed());
    wait_for_notes(&daemon, &[("slow.csv", &text)]);
}

#[test]
fn what_is_no_file_or_not_whole_is_left_out() {
    let mut daemon = with_inbox(&watching("0s", ""));
    daemon.up();
    let at = |name: &str| daemon.path("inbox").join(name);
    std::fs::create_dir(at("folder.csv")).expect("a folder");
    std::fs::write(daemon.path("secret"), "secret").expect("a file");
    std::os::unix::fs::symlink(daemon.path("secret"), at("link.csv")).expect("a link");
    for name in [".hidden.csv", "half.csv.part", "other.txt"] {
        std::fs::write(at(name), "no").expect("a file");
    }
    drop_file(&daemon, "$(touch pwned) 'a\" ; b.csv", "odd");
    settle_all(&daemon, "last.csv");
    wait_for_notes(&daemon, &[("$(touch pwned) 'a\" ; b.csv", "odd"), ("last.csv", "last")]);
    assert!(!daemon.path("pwned").exists());
}

#[test]
fn three_hundred_at_once_run_one_after_the_other() {
    let mut daemon = with_inbox(&watching("0s", ""));
    let names: Vec<String> = (0..300).map(|n| format!("{n:03}.csv")).collect();
    for name in &names {
        drop_file(&daemon, name, "x");
    }
    daemon.up();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    wait_for_notes(&daemon, &files);
    let order: Vec<String> = std::fs::read_to_string(daemon.path("noted"))
        .expect("notes")
        .lines()
        .map(|line| line.rsplit('/').next().expect("a name").replace(" x", ""))
        .collect();
    assert_eq!(order, names, "in the order in which they were written");
    assert_eq!(daemon.down(), Some(0));
    let outcomes = outcomes(&daemon.database_file());
    assert!(outcomes.len() == 300 && outcomes.values().all(|counts| *counts == (1, 1)), "{outcomes:?}");
}

#[test]
fn paused_it_passes_with_a_word_and_stopped_it_does_not_look() {
    let mut daemon = with_inbox(&watching("0s", ""));
    daemon.up();
    daemon.call("pause_agent", json!({"agent_id": "in", "reason": "holidays"}));
    drop_file(&daemon, "a.csv", "one");
    let passed = daemon.until("background_slot_skipped", "in");
    let path = inbox(&daemon, "a.csv").display().to_string();
    assert_eq!(passed["payload"]["verdict"], "skipped_paused");
    assert_eq!(passed["payload"]["event"]["arrived"], path.as_str());
    let why = daemon.ok(&["why", "in"]).replace('\n', " ");
    assert!(why.contains("did not start a run: paused: holidays"), "{why}");
    daemon.call("stop_agent", json!({"agent_id": "in"}));
    drop_file(&daemon, "b.csv", "two");
    daemon.call("start_agent", json!({"agent_id": "in"}));
    wait_for_notes(&daemon, &[("b.csv", "two")]);
}

#[test]
fn a_folder_that_is_not_there_yet_is_said_and_looked_for() {
    let mut daemon = Daemon::with(&watching("0s", ""));
    let checked = String::from_utf8(daemon.run(&["check"]).stderr).expect("text");
    assert!(checked.contains("for files to arrive in"), "{checked}");
    daemon.up();
    wait_for("what is said of it", || {
        daemon.ok(&["status"]).contains("for files to arrive in").then_some(())
    });
    for _ in 0..2 {
        std::fs::create_dir(daemon.path("inbox")).expect("a folder");
        let before = noted(&daemon).len();
        let text = before.to_string();
        drop_file(&daemon, &format!("{before}.csv"), &text);
        wait_for("the note", || (noted(&daemon).len() > before).then_some(()));
        wait_for("no word of it", || (!daemon.ok(&["status"]).contains("to arrive in")).then_some(()));
        std::fs::remove_dir_all(daemon.path("inbox")).expect("it goes");
        wait_for("what is said of it", || daemon.ok(&["status"]).contains("to arrive in").then_some(()));
    }
    wait_for_notes(&daemon, &[("0.csv", "0"), ("1.csv", "1")]);
}

/// An agent that is configured while the daemon runs, and `next` for it.
#[test]
fn a_reload_takes_up_what_is_waited_for() {
    let mut daemon = with_inbox("[agents.other]\ncommand = \"true\"\n");
    drop_file(&daemon, "a.csv", "one");
    daemon.up();
    daemon.configure(&watching("0s", ""));
    daemon.ok(&["reload"]);
    wait_for_notes(&daemon, &[("a.csv", "one")]);
    let output = daemon.run(&["next", "in"]);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("on file inbox/*.csv"), "{said}");
    assert!(daemon.ok(&["list"]).contains("file inbox/*.csv"));
}

/// Killed at any moment while files arrive: each of them has exactly one outcome, and is noted by a run that was started
/// once.
#[test]
fn killed_at_any_moment_no_file_is_lost_or_doubled() {
    let mut random = Rng::new(11);
    let mut daemon =
        with_inbox(&watching("0s", "circuit_breaker = { open_after = 0 }\noverlap = \"parallel\"\n"));
    let mut names = Vec::new();
    for kill in 0..25 {
        let mut child = daemon.daemon_command().spawn().expect("the program can be started");
        let end = Instant::now() + Duration::from_millis(random.next() % 500);
        while Instant::now() < end {
            let name = format!("{kill:02}-{}.csv", names.len());
            drop_file(&daemon, &name, "x");
            names.push(name);
            std::thread::park_timeout(Duration::from_millis(random.next() % 30));
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    daemon.up();
    wait_for("an outcome for each", || {
        let all = outcomes(&daemon.database_file());
        (all.len() == names.len()).then_some(())
    });
    wait_for("the end of all runs", || {
        let open = "SELECT count(*) FROM runs WHERE finished_at IS NULL";
        let open: i64 = daemon.database().query_row(open, [], |row| row.get(0)).expect("a count");
        (open == 0).then_some(())
    });
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
    let all = outcomes(&daemon.database_file());
    let odd: Vec<_> = all.iter().filter(|(_, counts)| **counts != (1, 1)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let twice: Vec<_> = noted(&daemon).into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    checker::check(&daemon.database_file(), None, &[]);
}
