//! Calendars, hours and several schedules, through the real program.
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::process::Command;

/// An iCalendar file with one event: today and tomorrow, in UTC.
fn today(summary: &str) -> String {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let after = today.checked_add(jiff::Span::new().days(2)).expect("the day after tomorrow");
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:{}\r\nDTEND;VALUE=DATE:{}\r\nSUMMARY:{summary}\r\n\
         END:VEVENT\r\nEND:VCALENDAR\r\n",
        today.strftime("%Y%m%d"),
        after.strftime("%Y%m%d")
    )
}

const FLEET: &str = r#"
[calendars.feasts]
ics = "feasts.ics"

[agents.kept-from]
command = ["true"]
interval = 1
except = ["feasts"]

[agents.kept-to]
command = ["true"]
interval = 1
only = ["feasts"]

[agents.often]
command = ["true"]
when = [{ cron = "0 0 1 1 *" }, { interval = "6h" }]
"#;

fn verdicts(daemon: &Daemon, agent: &str) -> Value {
    daemon.call("get_agent_status", json!({ "agent_id": agent }))["slots_24h"].clone()
}

#[test]
fn a_day_of_a_calendar_is_left_out_and_on_record() {
    let mut daemon = Daemon::with(FLEET);
    std::fs::write(daemon.path("feasts.ics"), today("Harvest \u{1b}[31mfeast")).expect("a file");
    daemon.up();
    let why = wait_for("slots that are left out", || {
        let why = daemon.run(&["why", "kept-from"]);
        let text = String::from_utf8_lossy(&why.stdout).into_owned();
        text.contains("calendar feasts").then_some(text)
    });
    assert!(why.contains("did not start a run: calendar feasts: Harvest  [31mfeast"), "{why}");
    wait_for("a slot within the calendar", || verdicts(&daemon, "kept-to")["ran"].as_u64());
    assert_eq!(verdicts(&daemon, "kept-from")["ran"], Value::Null);
    // what comes next is past the feast
    let next =
        daemon.call("next_slots", json!({ "agents": ["kept-from"], "for_secs": 86_400 * 4, "limit": 1 }));
    let due: jiff::Timestamp = next[0]["due"].as_str().expect("a time").parse().expect("a time");
    let noon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    assert!(due > noon, "{next}");
    let list = daemon.call("list_agents", json!({}));
    let row =
        list.as_array().expect("a list").iter().find(|row| row["agent_id"] == "kept-from").expect("a row");
    assert_eq!(row["next_run"], next[0]["due"]);
    let ahead = daemon.ok(&[
        "why",
        "kept-from",
        &(jiff::Timestamp::now() + jiff::SignedDuration::from_mins(5)).to_string(),
    ]);
    assert!(ahead.contains("when nothing starts (calendar feasts: "), "{ahead}");
}

#[test]
fn a_calendar_that_changes_is_taken_up_with_a_reload_and_kept_if_it_breaks() {
    let mut daemon = Daemon::with(FLEET);
    std::fs::write(daemon.path("feasts.ics"), today("Feast")).expect("a file");
    daemon.up();
    wait_for("slots that are left out", || verdicts(&daemon, "kept-from")["skipped_calendar"].as_u64());
    std::fs::write(daemon.path("feasts.ics"), "BEGIN:VCALENDAR\nBEGIN:VEVENT\n").expect("a file");
    let refused = daemon.run(&["reload"]);
    let text =
        String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && text.contains("line 2: the file ends within VEVENT"), "{text}");
    let list = daemon.call("list_agents", json!({}));
    assert_eq!(list.as_array().map(Vec::len), Some(3), "what was in force stays");
    std::fs::write(daemon.path("feasts.ics"), "BEGIN:VCALENDAR\nEND:VCALENDAR\n").expect("a file");
    let changed = daemon.call("reload_config", json!({}));
    assert!(changed.to_string().contains("kept-from") && !changed.to_string().contains("often"), "{changed}");
    wait_for("a slot that is not left out", || verdicts(&daemon, "kept-from")["ran"].as_u64());
}

#[test]
fn check_names_the_times_that_are_left() {
    let daemon = Daemon::with(FLEET);
    std::fs::write(daemon.path("feasts.ics"), today("Feast")).expect("a file");
    let shown = daemon.ok(&["check"]);
    assert!(shown.contains("cron 0 0 1 1 * (UTC), or every 6h"), "{shown}");
    std::fs::remove_file(daemon.path("feasts.ics")).expect("it is there");
    let refused = daemon.run(&["check"]);
    let text =
        String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(text.contains("feasts.ics can't be read") && text.contains("ics = \"feasts.ics\""), "{text}");
    assert_eq!(refused.status.code(), Some(78));
}

#[test]
fn a_calendar_that_is_a_pipe_holds_nothing_up() {
    let daemon = Daemon::with(FLEET);
    assert!(Command::new("mkfifo").arg(daemon.path("feasts.ics")).status().expect("mkfifo(1)").success());
    let refused = daemon.run(&["check"]);
    let text =
        String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(text.contains("it is not a regular file"), "{text}");
}

#[test]
fn an_agent_that_waits_for_two_gets_both_results_also_over_a_kill() {
    let mut daemon = Daemon::start(
        r#"
[agents.scan]
command = ["echo", "three hosts"]
[agents.triage]
command = ["echo", "two of them old"]
[agents.report]
tool = "remember"
args = { key = "{after.triage.status}", text = "{after.scan.result}, {after.triage.result}" }
on = { after = ["scan", "triage"], within = "2h" }
"#,
    );
    daemon.run_by_hand("scan");
    let why = daemon.ok(&["why", "report"]);
    assert!(why.contains("scan ended at") && why.contains("triage not yet"), "{why}");
    daemon.kill();
    daemon.up();
    let why = daemon.ok(&["why", "report"]);
    assert!(why.contains("scan ended at") && why.contains("triage not yet"), "{why}");
    daemon.run_by_hand("triage");
    daemon.until("background_task_completed", "report");
    let notes = daemon.call("get_memory", json!({ "agent_id": "report" })).to_string();
    assert!(notes.contains("three hosts, two of them old") && notes.contains("completed"), "{notes}");
    assert!(daemon.ok(&["why", "report"]).contains("background_agents_joined of report"));
    // both are used up
    daemon.kill();
    daemon.up();
    let why = daemon.ok(&["why", "report"]);
    assert!(why.contains("scan not yet, triage not yet"), "{why}");
}
