//! The job of looking after a system: what it costs while all is well, and the life of an incident, with what a
//! model found out about it.
use super::checker;
use super::endpoint::{Endpoint, Reply};
use super::support::{Daemon, wait_for};
use bgagent::config::{self, Context};
use bgagent::domain::*;
use bgagent::engine::{Action, Decision, Engine, Input, Restored, Ticket};
use bgagent::store::Store;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A day on a virtual clock: the real configuration, engine and store; what a probe sees is made up.
struct Day {
    engine: Engine,
    store: Store,
    now: Now,
    folder: tempfile::TempDir,
    bad: bool,
    started: Vec<String>,
}

const FLEET: &str = r#"
[models.m]
provider = "openai-compatible"
model = "x"
base_url = "http://127.0.0.1:1/v1"
[notify.log]
type = "file"
path = "told.jsonl"
[agents.doctor]
on = "incident_opened"
query = "Look into {event.payload}"
model = "m"
tools = ["system_metrics"]
"#;

const AS_GATE: &str = r#"
[agents.health]
interval = 60
gate = { tool = "probe", args = { checks = [{ type = "disk", path = "/" }] } }
tool = "system_metrics"
notify = { to = ["log"] }
"#;

const AS_TOOL: &str = r#"
[agents.health]
interval = 60
tool = "probe"
args = { checks = [{ type = "disk", path = "/" }] }
history = "changes"
notify = { to = ["log"] }
"#;

impl Day {
    async fn begin(health: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wall: Timestamp = "2026-06-01T00:00:00.123456789Z".parse().expect("a time");
        let loaded = config::parse(
            format!("{FLEET}{health}"),
            &folder.path().join("agents.toml"),
            &Context::system(wall),
        );
        let fleet = loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet;
        let (store, _) = Store::open(&folder.path().join("bgagent.db")).expect("a store");
        let now = Now { wall, boot: SignedDuration::ZERO, mono: SignedDuration::ZERO };
        let started = Fact::DaemonStarted { version: "1".into(), pid: 1, down_since: None, clean: true };
        let (engine, decision) = Engine::restore(now, 1, fleet.into(), Restored::default(), started);
        let mut day = Self { engine, store, now, folder, bad: false, started: Vec::new() };
        day.take(decision).await;
        day
    }

    /// Commits what was decided, and does it; all runs end at once.
    async fn take(&mut self, decision: Decision) {
        let mut decisions = vec![decision];
        while let Some(decision) = decisions.pop() {
            self.store.commit(decision.facts).await.expect("a commit");
            for action in decision.actions {
                let Action::Start(start) = action else { continue };
                self.started.push(start.agent.id.to_string());
                let (run, attempt) = (start.run, start.attempt);
                let is_health = start.agent.id.as_str() == "health";
                let is_gate = start.agent.gate.is_some();
                let open = !is_gate || self.bad;
                let end = if open { AttemptEnd::Completed } else { AttemptEnd::GateClosed };
                let mut outcome = AttemptOutcome::of(end);
                if is_health {
                    let level = if self.bad { Level::Crit } else { Level::Ok };
                    let (key, title) = ("disk:/".into(), format!("/ is {level}"));
                    outcome.findings = vec![Finding {
                        key,
                        level,
                        title,
                        hold_for: SignedDuration::ZERO,
                        by: FoundBy::Check,
                    }];
                } else {
                    outcome.result = Some(" A log grew. \n".into());
                }
                if open && !start.looks_first {
                    let role = ProcessRole::Body;
                    let began = Input::Began { run, attempt, role, process: None, ticket: Ticket(1) };
                    let begun = self.engine.decide(self.now, began);
                    self.store.commit(begun.facts).await.expect("a commit");
                }
                let ended = Input::AttemptEnded { run, attempt, outcome: Box::new(outcome) };
                decisions.push(self.engine.decide(self.now, ended));
            }
        }
    }

    async fn slots(&mut self, count: u32) {
        for _ in 0..count {
            let wake = self.engine.next_wake().wall.expect("a slot to come");
            let step = wake.duration_since(self.now.wall);
            self.now.wall += step;
            self.now.boot += step;
            self.now.mono += step;
            let decision = self.engine.decide(self.now, Input::Tick);
            self.take(decision).await;
        }
    }

    fn count(&self, what: &str) -> i64 {
        let database = super::support::open(&self.folder.path().join("bgagent.db"));
        database.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).expect("a number")
    }
}

#[tokio::test]
async fn a_day_without_trouble_costs_counters_and_nothing_else() {
    let mut day = Day::begin(AS_GATE).await;
    day.slots(1439).await;
    assert_eq!(day.started.len(), 1440, "each slot looked");
    assert!(day.started.iter().all(|agent| agent == "health"), "no model was asked");
    for table in ["runs", "steps", "holds", "spent", "incidents", "outbox", "output", "processes", "sessions"]
    {
        assert_eq!(day.count(table), 0, "{table}");
    }
    assert_eq!(day.count("ledger"), 1);
    assert_eq!(day.count("ledger WHERE count = 1440 AND verdict = 'skipped_gate'"), 1);
    let events = day.count("events");
    assert!(events <= 4, "{events} events");
    // The test sees what it is for: one bad hour leaves its traces, and one question.
    day.bad = true;
    day.slots(60).await;
    assert_eq!(day.started.iter().filter(|agent| *agent == "doctor").count(), 1, "asked once");
    assert_eq!((day.count("runs"), day.count("incidents"), day.count("outbox")), (61, 1, 1));
    day.bad = false;
    day.slots(60).await;
    assert_eq!((day.count("runs"), day.count("incidents"), day.count("outbox")), (61, 1, 2));
    assert_eq!(day.count("incidents WHERE resolved_at IS NOT NULL AND finding = 'A log grew.'"), 1);
    assert_eq!(day.count("outbox WHERE body LIKE '%doctor found: A log grew.'"), 1);
    assert_eq!(day.count("ledger WHERE agent = 'health'"), 1 + 60 + 1);
}

#[tokio::test]
async fn a_day_of_a_probe_that_keeps_what_changes_costs_counters_and_its_first_run() {
    let mut day = Day::begin(AS_TOOL).await;
    assert_eq!(day.count("runs"), 1, "the first run is kept");
    let events = day.count("events");
    day.slots(1439).await;
    assert_eq!(day.started.len(), 1440, "each slot looked");
    assert!(day.started.iter().all(|agent| agent == "health"), "no model was asked");
    for table in ["steps", "holds", "spent", "incidents", "outbox", "output", "processes", "sessions"] {
        assert_eq!(day.count(table), 0, "{table}");
    }
    assert_eq!((day.count("runs"), day.count("events")), (1, events), "of the day, nothing");
    assert_eq!(day.count("ledger"), 2);
    assert_eq!(day.count("ledger WHERE count = 1439 AND verdict = 'ran' AND run IS NULL"), 1);
    // what counts goes on, and is durable: the newest slot was a run that did its work
    let fares =
        "agents WHERE id = 'health' AND runs = 1440 AND successes = 1440 AND errors = 0 AND skipped = 0
        AND last_status = 'completed' AND NOT last_kept AND last_finished = last_success
        AND last_finished = judged_until AND next_due = judged_until + 60000000";
    assert_eq!(day.count(fares), 1);
    // One bad hour leaves its traces, and one question; then it is quiet again.
    day.bad = true;
    day.slots(60).await;
    assert_eq!(day.started.iter().filter(|agent| *agent == "doctor").count(), 1, "asked once");
    assert_eq!((day.count("runs"), day.count("incidents"), day.count("outbox")), (62, 1, 1));
    day.bad = false;
    day.slots(60).await;
    assert_eq!((day.count("runs"), day.count("incidents"), day.count("outbox")), (63, 1, 2));
    assert_eq!(day.count("incidents WHERE resolved_at IS NOT NULL AND finding = 'A log grew.'"), 1);
    assert_eq!(day.count("ledger WHERE agent = 'health'"), 1 + 1 + 60 + 1 + 1);
    assert_eq!(day.count("ledger WHERE cause = 'all well' AND count = 59"), 1);
    assert_eq!(day.count("agents WHERE id = 'health' AND runs = 1560 AND successes = 1560"), 1);
}

/// All lines that were told, by what they are about.
fn told(daemon: &Daemon) -> Vec<Value> {
    let text = std::fs::read_to_string(daemon.path("told.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn an_incident_is_told_once_looked_into_once_and_resolved_once() {
    let endpoint = Endpoint::script([
        Reply::calls(&[("system_metrics", "{\"top\":0}")]),
        Reply::text("The flag is there.\n\u{1b}[31mRemove it."),
    ]);
    let mut daemon = Daemon::with("");
    let flag = daemon.path("broken");
    daemon.configure(&format!(
        "[models.m]\nprovider = \"openai-compatible\"\nmodel = \"x\"\nbase_url = \"{}/v1\"\n\
         [notify.log]\ntype = \"file\"\npath = \"told.jsonl\"\n\
         [agents.health]\ninterval = 1\ntool = \"system_metrics\"\nargs = {{ top = 0 }}\nnotify = {{ to = [\"log\"] }}\n\
         gate = {{ tool = \"probe\", args = {{ checks = [\
           {{ type = \"command\", name = \"flag\", command = \"test ! -e {} || exit 2\" }}, {{ type = \"load\", warn = 100000 }}] }} }}\n\
         [agents.doctor]\non = \"incident_opened\"\nquery = \"Look into {{event.payload}}\"\nmodel = \"m\"\n\
         tools = [\"system_metrics\"]\n",
        endpoint.url(),
        flag.display()
    ));
    daemon.up();
    daemon.until("background_slot_skipped", "health");
    std::fs::write(&flag, "").expect("a file");
    let found = daemon.until("incident_diagnosed", "health");
    assert_eq!((&found["payload"]["key"], &found["payload"]["by"]), (&json!("flag"), &json!("doctor")));
    wait_for("it to be seen again", || {
        let incidents = daemon.call("list_incidents", json!({}));
        (incidents[0]["count"].as_u64()? >= 3).then_some(())
    });
    let incident = daemon.call("list_incidents", json!({}))[0].clone();
    let finding = &incident["finding"];
    assert_eq!((&finding["agent_id"], &finding["run_id"]), (&json!("doctor"), &found["run_id"]));
    assert_eq!(finding["text"], "The flag is there.\n\u{1b}[31mRemove it.");
    let asked = endpoint.requests();
    assert_eq!(asked.len(), 2, "looked into once");
    let query = asked[0].json["messages"].to_string();
    assert!(query.contains("flag") && query.contains("critical"), "{query}");
    let shown = daemon.ok(&["incidents"]);
    assert!(
        shown.contains("health flag")
            && shown.contains("doctor found")
            && shown.contains("  The flag is there."),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let acked: Value =
        serde_json::from_str(&daemon.ok(&["incidents", "ack", "flag", "--json"])).expect("JSON");
    assert_eq!(acked["finding"], *finding, "the engine knows it too");
    std::fs::remove_file(&flag).expect("it was there");
    daemon.until("incident_resolved", "health");
    let all = wait_for("both messages", || Some(told(&daemon)).filter(|all| all.len() >= 2));
    let about: Vec<&Value> = all.iter().map(|one| &one["about"]).collect();
    assert_eq!(about, ["incident_opened", "incident_resolved"]);
    assert!(all[1]["body"].as_str().is_some_and(|body| body.contains("doctor found: The flag is there.")));
    // Nothing comes later, and nothing is lost.
    daemon.kill();
    daemon.up();
    let kept = daemon.call("list_incidents", json!({"all": true}));
    assert_eq!((&kept[0]["state"], &kept[0]["finding"]), (&json!("resolved"), finding));
    let sent: i64 =
        daemon.database().query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).expect("a number");
    let opened = "SELECT count(*) FROM events WHERE type IN ('incident_opened', 'incident_resolved')";
    let opened: i64 = daemon.database().query_row(opened, [], |row| row.get(0)).expect("a number");
    assert!(sent <= 2 && opened == 2, "{sent} messages, {opened} events");
    assert_eq!(endpoint.requests().len(), 2);
}

/// All that tells how an agent fares knows of runs that left no record.
#[test]
fn a_probe_that_keeps_what_changes_is_seen_to_live_while_all_is_well() {
    let mut daemon = Daemon::with("");
    let flag = daemon.path("broken");
    daemon.configure(&format!(
        "[notify.log]\ntype = \"file\"\npath = \"told.jsonl\"\n\
         [agents.health]\ninterval = 1\ntool = \"probe\"\nhistory = \"changes\"\nnotify = {{ to = [\"log\"] }}\n\
         args = {{ checks = [{{ type = \"command\", name = \"flag\", command = \"test ! -e {} || exit 2\" }}] }}\n",
        flag.display()
    ));
    daemon.up();
    let agent = |daemon: &Daemon| daemon.call("get_agent_status", json!({"agent_id": "health"}));
    let well = |daemon: &Daemon, times: u64| {
        wait_for("runs that find all well", || {
            let found = agent(daemon);
            (found["all_well"]["count"].as_u64()? >= times).then_some(found)
        })
    };
    // not one that is under way just now
    let has_ended =
        |run: &&Value| !["queued", "running"].contains(&run["status"].as_str().unwrap_or_default());
    let runs = |daemon: &Daemon| {
        daemon.call("list_runs", json!({})).as_array().map_or(0, |all| all.iter().filter(has_ended).count())
    };
    let events = |daemon: &Daemon, kind: &str| -> i64 {
        let sql = "SELECT count(*) FROM events WHERE agent = 'health' AND type = ?1";
        daemon.database().query_row(sql, [kind], |row| row.get(0)).expect("a number")
    };
    well(&daemon, 3);
    let calm = wait_for("the fourth run", || {
        let found = agent(&daemon);
        (found["run_count"].as_u64()? >= 4).then_some(found) // the ledger is read after the counters
    });
    assert_eq!(calm["last_run"]["run_id"], Value::Null, "{calm}");
    assert_eq!(calm["last_run"]["status"], "completed");
    assert!(calm["run_count"].as_u64() >= Some(4) && calm["run_count"] == calm["success_count"], "{calm}");
    assert_eq!((runs(&daemon), events(&daemon, "background_task_completed")), (1, 1));
    let page = daemon.ok(&["status", "health"]);
    assert!(page.contains("all well    checked") && page.contains("(no record)"), "{page}");
    assert!(page.contains("history changes"), "{page}");
    assert!(daemon.ok(&["list"]).contains("ok "));
    let why = daemon.ok(&["why", "health"]);
    assert!(why.contains("each found all well"), "{why}");
    let listed = daemon.run(&["runs", "health"]);
    assert!(String::from_utf8_lossy(&listed.stderr).contains("found all well and left no record"));
    assert_eq!(daemon.run(&["health"]).status.code(), Some(0));
    // by hand, it is kept as always
    daemon.run_by_hand("health");
    assert_eq!(runs(&daemon), 2);
    std::fs::write(&flag, "").expect("a file");
    daemon.until("incident_opened", "health");
    std::fs::remove_file(&flag).expect("it was there");
    daemon.until("incident_resolved", "health");
    let kept = runs(&daemon);
    assert!(kept >= 4, "{kept}");
    well(&daemon, 2);
    let all = wait_for("both messages", || Some(told(&daemon)).filter(|all| all.len() >= 2));
    assert_eq!(
        (&all[0]["about"], &all[1]["about"]),
        (&json!("incident_opened"), &json!("incident_resolved"))
    );
    assert_eq!(runs(&daemon), kept, "and is quiet again");
    // a new life keeps its first run
    daemon.kill();
    daemon.up();
    wait_for("the first run of this life", || (runs(&daemon) > kept).then_some(()));
    well(&daemon, 2);
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
    checker::check(&daemon.path("state/bgagent.db"), None, &[("health", 1_000_000)]);
}

/// Nothing of it was on record but its claim: it looks again, and what it had started is ended.
#[test]
fn killed_in_the_middle_of_a_look_the_slot_is_looked_at_again() {
    let mut daemon = Daemon::with("");
    let (slow, witness) = (daemon.path("slow"), daemon.path("witness"));
    daemon.configure(&format!(
        "[agents.health]\ninterval = 1\ntool = \"probe\"\nhistory = \"changes\"\n\
         args = {{ checks = [{{ type = \"command\", name = \"flag\", command = '''\
           echo \"health - $BGAGENT_RUN_ID 1\" >> {}; test ! -e {} || sleep 600''' }}] }}\n",
        witness.display(),
        slow.display()
    ));
    daemon.up();
    let status = |daemon: &Daemon| daemon.call("get_agent_status", json!({"agent_id": "health"}));
    wait_for("runs that find all well", || status(&daemon)["all_well"]["count"].as_u64());
    std::fs::write(&slow, "").expect("a file");
    let looks = wait_for("a run that looks", || {
        let run = status(&daemon)["in_flight"][0].clone();
        let seen = std::fs::read_to_string(&witness).ok()?.contains(run["run_id"].as_str()?);
        let slow = status(&daemon)["slots_24h"]["skipped_overlap"].is_u64();
        (seen && slow).then_some(run)
    });
    assert_eq!((&looks["status"], &looks["started_at"]), (&json!("running"), &Value::Null), "{looks}");
    let why = daemon.call("explain_slot", json!({"agent_id": "health", "at": looks["slot"]}));
    assert!(why["sentence"].as_str().is_some_and(|text| text.contains("which is running")), "{why}");
    daemon.kill();
    std::fs::remove_file(&slow).expect("it was there");
    daemon.up();
    let again = daemon.finished(&looks["run_id"]);
    assert_eq!((&again["status"], &again["attempt"]), (&json!("completed"), &json!(1)), "{again}");
    assert_eq!(again["slot"], looks["slot"]);
    assert_eq!(super::crash::children_left(&witness), Vec::<String>::new());
    assert_eq!(daemon.down(), Some(0), "{}", daemon.log());
    checker::check(&daemon.path("state/bgagent.db"), None, &[("health", 1_000_000)]);
}

#[test]
fn what_hangs_vanishes_or_does_not_resolve_is_a_finding_and_hides_nothing() {
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut daemon = Daemon::with("");
    let disk = daemon.path("disk");
    std::fs::create_dir(&disk).expect("our folder");
    daemon.configure(&format!(
        "[agents.fleet]\ntool = \"probe\"\nargs = {{ checks = [\n\
         {{ type = \"disk\", name = \"disk\", path = \"{}\", warn = 101 }},\n\
         {{ type = \"http\", name = \"hangs\", url = \"http://{}/\", timeout = \"300ms\" }},\n\
         {{ type = \"command\", name = \"stuck\", command = \"sleep 600\", timeout = \"300ms\" }},\n\
         {{ type = \"tcp\", name = \"nowhere\", host = \"no-such-host.invalid\", port = 1 }},\n\
         {{ type = \"load\", name = \"fine\", warn = 100000 }}] }}\n",
        disk.display(),
        hangs.local_addr().expect("an address")
    ));
    daemon.up();
    let look = || {
        let run = daemon.call("run_agent", json!({"agent_id": "fleet"}))["run_id"].clone();
        let ended = daemon.until_event("its end", |event| {
            event["run_id"] == run && event["type"] == "background_task_completed"
        });
        let result = ended["payload"]["result"].as_str().expect("a result").to_owned();
        let result: Value = serde_json::from_str(&result).expect("JSON");
        let levels = result["checks"].as_array().expect("checks").iter();
        let levels: Vec<String> = levels.map(|row| format!("{}: {}", row["name"], row["level"])).collect();
        levels.join(", ").replace('"', "")
    };
    assert_eq!(look(), "disk: ok, hangs: crit, stuck: crit, nowhere: crit, fine: ok");
    std::fs::remove_dir(&disk).expect("it was there");
    assert_eq!(look(), "disk: crit, hangs: crit, stuck: crit, nowhere: crit, fine: ok");
    let incidents = daemon.call("list_incidents", json!({}));
    let mut keys: Vec<&str> =
        incidents.as_array().expect("a list").iter().filter_map(|one| one["key"].as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["disk", "hangs", "nowhere", "stuck"]);
    let counters = daemon.call("get_agent_status", json!({"agent_id": "fleet"}));
    assert_eq!((&counters["run_count"], &counters["error_count"]), (&json!(2), &json!(0)), "{counters}");
    std::fs::create_dir(&disk).expect("it was away");
    assert_eq!(look(), "disk: ok, hangs: crit, stuck: crit, nowhere: crit, fine: ok");
    let resolved = daemon.until("incident_resolved", "fleet");
    assert_eq!(resolved["payload"]["key"], "disk");
}

#[test]
fn the_health_of_the_fleet_is_bad_while_something_wants_a_person() {
    let config = "[notify.gone]\ntype = \"webhook\"\nurl = { file = \"url\" }\n\
        [agents.fleet]\ntool = \"probe\"\nargs = { checks = [{ type = \"command\", name = \"flag\", command = \"test -e fine || exit 2\" }] }\n\
        notify = { to = [\"gone\"], on = [\"incident_opened\"] }\n";
    let daemon = Daemon::start(config);
    let url = daemon.path("url");
    std::fs::write(&url, "http://127.0.0.1:1/").expect("our folder");
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&url, rights).expect("our file");
    let health = |args: &[&str]| {
        let output = daemon.run(&[&["health"], args].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(health(&[]).0, Some(0));
    daemon.run_by_hand("fleet");
    daemon.until("notification_failed", "fleet");
    let (code, text) = health(&[]);
    assert!(code == Some(1) && text.contains("fleet: critical incident flag for"), "{text}");
    assert!(!text.contains("not delivered"), "it may still come: {text}");
    daemon.ok(&["incidents", "ack", "flag"]);
    assert_eq!(health(&[]).0, Some(0), "somebody has taken note");
    let (code, text) = wait_for("a message that waits for long", || {
        Some(health(&["--max-late", "1s"])).filter(|(code, _)| *code == Some(1))
    });
    assert!(code == Some(1) && text.contains("daemon: 1 message to gone not delivered yet"), "{text}");
    daemon.configure(&format!("{config}[agents.x]\nintervall = 1\n"));
    daemon.until_event("the refused file", |event| event["type"] == "config_rejected");
    let (code, text) = health(&[]);
    assert!(
        code == Some(1) && text.contains("agents.toml was rejected, the one before it is in force"),
        "{text}"
    );
    daemon.configure(config);
    daemon.ok(&["reload"]);
    assert_eq!(health(&[]).0, Some(0));
}

/// A chat that takes one message and wants to be left alone for a second: forty problems at once are a handful of
/// messages, and each of them is told once, also when the daemon is killed on the way.
#[test]
fn a_burst_is_a_handful_of_messages_and_each_problem_is_told_once() {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};
    let taken: Arc<Mutex<Vec<Value>>> = Arc::default();
    let last: Arc<Mutex<Option<Instant>>> = Arc::default();
    let log = taken.clone();
    let endpoint = Endpoint::answering(move |request| {
        let mut last = last.lock().expect("no panic");
        if last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            return Reply::status(429, "slow down").with("retry-after", "1");
        }
        *last = Some(Instant::now());
        log.lock().expect("no panic").push(request.json.clone());
        Reply::body("ok")
    });
    let checks: String = (0..40)
        .map(|n| format!("{{ type = \"command\", name = \"svc{n}\", command = \"exit 2\" }},"))
        .collect();
    let mut daemon = Daemon::with("");
    daemon.configure(&format!(
        "[notify.chat]\ntype = \"webhook\"\nurl = \"{}/hook\"\n\
         [agents.many]\ntool = \"probe\"\nnotify = {{ to = [\"chat\"] }}\nargs = {{ checks = [{checks}] }}\n",
        endpoint.url()
    ));
    daemon.up();
    daemon.run_by_hand("many");
    wait_for("a first message", || (!taken.lock().expect("no panic").is_empty()).then_some(()));
    daemon.kill();
    daemon.up();
    let parts = |message: &Value| match message["joined"].as_array() {
        Some(parts) => parts.clone(),
        None => vec![message.clone()],
    };
    let all = wait_for("all of them", || {
        let taken = taken.lock().expect("no panic").clone();
        let all: Vec<Value> = taken.iter().flat_map(parts).collect();
        let mut ids: Vec<u64> = all.iter().filter_map(|part| part["id"].as_u64()).collect();
        ids.sort_unstable();
        ids.dedup();
        (ids.len() == 40).then_some((taken, all))
    });
    let (messages, all) = all;
    assert!(messages.len() <= 6, "{} messages", messages.len());
    let subject = messages
        .iter()
        .find_map(|one| one["subject"].as_str().filter(|text| text.contains("incidents opened: ")));
    assert!(subject.is_some(), "{messages:?}");
    // What was under way when it was killed comes again under its own key; nothing else does.
    assert!(all.len() <= 80, "{}", all.len());
    wait_for("an empty outbox", || {
        let left: i64 =
            daemon.database().query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).ok()?;
        (left == 0).then_some(())
    });
}

#[test]
fn a_slow_run_is_a_warning() {
    let daemon = Daemon::start("[agents.s]\nslow_after = \"1s\"\ncommand = [\"sleep\", \"600\"]\n");
    daemon.call("run_agent", json!({"agent_id": "s"}));
    daemon.until("incident_opened", "s");
    let output = daemon.run(&["health"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("s: warning incident slow:s for") && text.contains("takes longer than 1s"),
        "{text}"
    );
    assert!(!text.contains("critical"), "{text}");
    // an agent without slots has something to say, too
    let why = daemon.ok(&["why", "s"]).replace('\n', " ");
    assert!(why.contains("is running.") && why.contains("The agent is slow: run"), "{why}");
}
