//! Runs with parameters, and runs for past slots, through the real binary.
use super::support::{Daemon, code, wait_for};
use serde_json::{Value, json};

const REPORTS: &str = "[agents.report]\ncommand = 'echo $BGAGENT_PARAM_DAY/$BGAGENT_PARAM_N'\n\
                       params = { day = \"date\", n = { type = \"int\", default = 3 } }\n";

#[test]
fn parameters_reach_the_program_and_stay_with_the_run() {
    let mut daemon = Daemon::start(REPORTS);
    let shown = daemon.run(&["run", "report", "--param", "day=2026-11-01", "--wait", "--json"]);
    let run: Value = serde_json::from_slice(&shown.stdout).expect("a run");
    assert_eq!((&run["status"], &run["result"]), (&json!("completed"), &json!("2026-11-01/3")), "{run}");
    assert_eq!(run["params"], json!({"day": "2026-11-01", "n": 3}));
    let started = daemon.until("background_task_started", "report");
    assert_eq!(started["payload"]["params"], json!({"day": "2026-11-01", "n": 3}));
    let on_the_wire = json!({"agent_id": "report", "params": {"day": "2026-11-02", "n": 4}});
    let run = daemon.call("run_agent", on_the_wire);
    assert_eq!(daemon.finished(&run["run_id"])["result"], "2026-11-02/4");
    let id = run["run_id"].as_str().expect("an id");
    daemon.kill();
    daemon.up();
    assert!(
        daemon.ok(&["show", id]).contains("params    day=2026-11-02 n=4"),
        "{}",
        daemon.ok(&["show", id])
    );
    assert!(daemon.ok(&["runs", "report"]).contains("manual day=2026-11-02 n=4"));
    assert!(daemon.ok(&["status", "report"]).contains("day: date (required), n: int (default: 3)"));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_queued() {
    let daemon = Daemon::start(REPORTS);
    code(&daemon, &["run", "report"], 2, "the parameter `day` is missing: it is a date such as 2026-11-01");
    code(&daemon, &["run", "report", "--param", "day=soon"], 2, "can't be `soon`");
    code(&daemon, &["run", "report", "--param", "dya=2026-11-01"], 2, "did you mean `day`?");
    code(&daemon, &["run", "report", "--param", "day"], 2, "--param NAME=VALUE");
    code(&daemon, &["run", "report", "--param", "n=1", "--param", "n=2"], 2, "--param n is given twice");
    assert_eq!(daemon.call("list_runs", json!({})), json!([]));
}

#[test]
fn a_run_that_waited_has_its_parameters_after_a_crash() {
    let mut daemon = Daemon::with("");
    let gate = daemon.path("go");
    let waits = format!(
        "[agents.report]\noverlap = \"queue\"\nretry = {{ max = 3, initial = 0 }}\n\
        command = 'while ! test -e {}; do sleep 0.05; done; echo $BGAGENT_PARAM_DAY'\n\
        params = {{ day = \"date\" }}\n",
        gate.display()
    );
    daemon.configure(&waits);
    daemon.up();
    let days = ["2026-11-01", "2026-11-02"];
    let run = |day: &str| daemon.call("run_agent", json!({"agent_id": "report", "params": {"day": day}}));
    let runs = days.map(|day| run(day)["run_id"].clone());
    wait_for("the first to begin", || {
        (daemon.call("get_run", json!({"run_id": runs[0]}))["status"] == "running").then_some(())
    });
    daemon.kill();
    daemon.up();
    std::fs::write(&gate, "").expect("the folder can be written");
    for (run, day) in runs.iter().zip(days) {
        let ended = daemon.finished(run);
        assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!(day)), "{ended}");
    }
}

/// Each day of its slots goes into a file; that of the third waits until a file is there.
fn daily(daemon: &Daemon) -> String {
    let (days, go) = (daemon.path("days"), daemon.path("go"));
    format!(
        "[agents.daily]\ncron = \"0 9 * * *\"\ntimezone = \"UTC\"\n\
         params = {{ day = {{ type = \"date\", default = \"slot\" }} }}\ncommand = '''\n\
         echo $BGAGENT_PARAM_DAY >> {}\n\
         while test $BGAGENT_PARAM_DAY = 2024-03-03 && ! test -e {}; do sleep 0.05; done'''\n",
        days.display(),
        go.display()
    )
}

fn days(daemon: &Daemon) -> Vec<String> {
    let days = std::fs::read_to_string(daemon.path("days")).unwrap_or_default();
    days.lines().map(str::to_owned).collect()
}

const FIVE_DAYS: &[&str] = &["backfill", "daily", "--from", "2024-03-01", "--to", "2024-03-05"];

fn backfill(daemon: &Daemon, more: &[&str]) -> Value {
    let args = [FIVE_DAYS, more, &["--json"]].concat();
    serde_json::from_str(&daemon.ok(&args)).expect("a view")
}

fn until_over(daemon: &Daemon) {
    wait_for("the end of the backfill", || {
        daemon.call("get_agent_status", json!({"agent_id": "daily"}))["backfill"].is_null().then_some(())
    });
}

#[test]
fn each_past_slot_runs_once_in_order_whatever_happens_to_the_daemon() {
    let mut daemon = Daemon::with("");
    daemon.configure(&daily(&daemon));
    daemon.up();
    let plan = backfill(&daemon, &["--plan"]);
    assert_eq!((&plan["count"], &plan["first"]), (&json!(5), &json!("2024-03-01T09:00:00Z")), "{plan}");
    assert_eq!((plan["slots"].as_array().map(Vec::len), &plan["worst_usd"]), (Some(5), &json!(0.0)));
    assert_eq!(daemon.call("list_runs", json!({})), json!([]), "a plan does nothing");
    let began = backfill(&daemon, &["--request-id", "march"]);
    assert_eq!((&began["backfill_id"], &began["count"]), (&json!("march"), &json!(5)), "{began}");
    wait_for("the third day", || (days(&daemon).len() == 3).then_some(()));
    assert!(daemon.ok(&["list"]).contains("backfill 3/5"), "{}", daemon.ok(&["list"]));
    assert!(daemon.ok(&["status", "daily"]).contains("3 of 5 slots, next Mon 2024-03-04 09:00:00"));
    daemon.kill();
    daemon.up();
    until_over(&daemon);
    let all = ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04", "2024-03-05"];
    assert_eq!(days(&daemon), all);
    assert_eq!(
        backfill(&daemon, &["--request-id", "march"]),
        began,
        "the same answer, and nothing runs again"
    );
    assert_eq!(days(&daemon), all);
    // what was cut short has not run: it alone is left
    std::fs::write(daemon.path("go"), "").expect("the folder can be written");
    assert_eq!(backfill(&daemon, &["--plan"])["slots"], json!(["2024-03-03T09:00:00Z"]));
    backfill(&daemon, &[]);
    until_over(&daemon);
    assert_eq!(days(&daemon)[5..], ["2024-03-03"]);
    code(&daemon, FIVE_DAYS, 5, "nothing is left to run: 5 slots ran already");
    assert_eq!(backfill(&daemon, &["--plan", "--again"])["count"], 5);
    let why = daemon.ok(&["why", "daily", "2024-03-04T09:00"]);
    assert!(
        why.contains("The slot of") && why.contains("was backfilled") && why.contains("completed"),
        "{why}"
    );
    let runs = daemon.ok(&["runs", "daily"]);
    assert_eq!(runs.matches("backfill day=2024-03-0").count(), 6, "{runs}");
    let ended = daemon.until("backfill_ended", "daily");
    assert_eq!((&ended["payload"]["started"], &ended["payload"]["cause"]), (&json!(5), &Value::Null));
}

#[test]
fn a_backfill_that_can_not_be_is_refused_with_what_to_do() {
    let mut daemon = Daemon::with("");
    daemon.configure(&format!("{}[agents.hand]\ncommand = \"true\"\n", daily(&daemon)));
    daemon.up();
    let of = |agent: &'static str, from: &'static str, to: &'static str| {
        ["backfill", agent, "--from", from, "--to", to]
    };
    code(&daemon, &of("hand", "2024-03-01", "2024-03-05"), 5, "no past slots that a calendar names");
    code(&daemon, &of("nobody", "2024-03-01", "2024-03-05"), 4, "no agent named `nobody`");
    code(&daemon, &of("daily", "2024-03-05", "2024-03-01"), 2, "lies before");
    code(&daemon, &of("daily", "1990-01-01", "2024-03-01"), 5, "more than 5000 slots");
    let args = [FIVE_DAYS, &["--param", "day=soon"]].concat();
    code(&daemon, &args, 2, "the parameter `day` can't be `soon`");
    let args = [FIVE_DAYS, &["--max-usd", "0"]].concat();
    code(&daemon, &args, 2, "must be greater than 0");
    assert_eq!(daemon.call("list_runs", json!({})), json!([]));
}
