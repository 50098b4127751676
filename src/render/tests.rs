//! Layouts at a fixed time and width.
mod terminals;

use super::agent::{bars, strip};
use super::screen::{relative, state_of, state_of_agent};
use super::words::result_words;
use super::*;
use crate::client::StoredEvent;
use crate::domain::{Activity, Desired, Health, RunStatus};
use crate::protocol::{AgentDetail, AgentView, AllWellView, DaemonView, RecentRun, RunDetail};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

const RUN: &str = "019aa000-0000-7000-8000-00001f2e3d4c";

fn screen(width: Option<usize>, color: bool) -> Screen {
    Screen {
        raw: false,
        width,
        color,
        now: "2026-11-24T10:00:00Z".parse().unwrap(),
        zone: TimeZone::get("Europe/Berlin").unwrap(),
    }
}

fn agent(name: &str, changes: Value) -> AgentView {
    let mut view = json!({
        "agent_id": name, "state": "active", "activity": "idle", "health": "ok",
        "schedule": "every 1m", "next_run": "2026-11-24T10:00:12Z",
        "last_run": {
            "run_id": RUN, "status": "completed", "started_at": "2026-11-24T09:56:50Z",
            "finished_at": "2026-11-24T09:57:00Z", "duration_ms": 10_000,
        },
        "runs_in_flight": [], "run_count": 1440, "success_count": 1440, "error_count": 0,
        "consecutive_errors": 0, "skipped_count": 0, "cost_today_usd": 0.0,
    });
    merge(&mut view, changes);
    serde_json::from_value(view).unwrap()
}

fn merge(into: &mut Value, changes: Value) {
    for (key, value) in changes.as_object().unwrap() {
        into[key] = value.clone();
    }
}

fn fleet() -> Vec<AgentView> {
    vec![
        agent(
            "db-archive",
            json!({"schedule": "cron 30 2 * * * (Europe/Berlin)", "next_run": "2026-11-25T01:30:00Z", "run_count": 1}),
        ),
        agent("disk-watch", json!({"activity": "running"})),
        agent(
            "mail-digest-of-the-whole-company-and-all-its-subsidiaries",
            json!({"health": "circuit_open", "error_count": 5, "cost_today_usd": 0.31, "next_run": null,
                "last_run": {"run_id": RUN, "status": "timed_out", "started_at": null,
                    "finished_at": "2026-11-24T07:00:00Z", "duration_ms": 600_000,
                    "error": {"kind": "timeout", "message": "ran longer than 10m"}}}),
        ),
        agent("new", json!({"last_run": null, "run_count": 0, "schedule": "manual", "next_run": null})),
        agent(
            "triage",
            json!({"state": "paused", "next_run": null, "resume_at": "2026-11-26T07:00:00Z", "schedule": "on incident_opened"}),
        ),
    ]
}

#[test]
fn list_fits_80_columns() {
    let text = agent_list(&fleet(), &screen(Some(80), false));
    insta::assert_snapshot!(text, @r#"
    NAME           STATE         SCHEDULE  NEXT       LAST          RUNS  ERR  TODAY
    db-archive     active        cron 30…  in 15 h    ok 3 min ago     1    0      -
    disk-watch     running       every 1m  in 12 s    ok 3 min ago  1440    0      -
    mail-digest-…  circuit open  every 1m  -          timed out 3…  1440    5  $0.31
    new            active        manual    -          -                0    0      -
    triage         paused        on inci…  (in 45 h)  ok 3 min ago  1440    0      -
    "#);
    assert!(text.lines().all(|line| line.chars().count() <= 80));
    insta::assert_snapshot!(summary(&fleet(), &screen(Some(80), false)), @"5 agents: 4 active, 1 paused, 1 failing");
}

#[test]
fn who_has_no_budget_left_says_so_until_then() {
    let broke = |until: &str, changes: Value| {
        let mut all = json!({"budget_used_up_until": until});
        merge(&mut all, changes);
        agent("news", all)
    };
    let state = |view: &AgentView| state_of_agent(view, screen(None, false).now).0;
    let midnight = "2026-11-24T23:00:00Z";
    assert_eq!(state(&broke(midnight, json!({}))), "no budget");
    assert_eq!(state(&broke("2026-11-23T23:00:00Z", json!({}))), "active", "that was yesterday");
    assert_eq!(state(&broke(midnight, json!({"health": "failing"}))), "failing");
    assert_eq!(state(&broke(midnight, json!({"state": "paused"}))), "paused");
    let all = [broke(midnight, json!({})), agent("a", json!({}))];
    assert!(agent_list(&all, &screen(Some(80), false)).contains("news  no budget"));
    assert_eq!(summary(&all, &screen(None, false)), "2 agents: 2 active, 1 without budget\n");
    let mut one = detail();
    one.agent = broke(midnight, json!({}));
    let text = agent_detail(&one, &screen(Some(100), false));
    assert!(text.contains("budget      used up until Wed 2026-11-25 00:00:00 (in 13 h)"), "{text}");
}

#[test]
fn what_passes_in_a_pause_is_no_next_slot() {
    let next = |resume_at: Value| {
        let mut one = detail();
        one.agent.state = Desired::Paused;
        one.agent.next_run = None;
        one.agent.resume_at = serde_json::from_value(resume_at).unwrap();
        let text = agent_detail(&one, &screen(None, false));
        text.lines().find(|line| line.starts_with("  next ")).map(str::to_owned)
    };
    assert_eq!(next(Value::Null), None);
    let after = next(json!("2026-11-24T11:30:00Z")).unwrap();
    assert!(!after.contains("12:05:41") && after.contains("13:05:41"), "{after}");
}

#[test]
fn list_is_never_cut_in_a_pipe() {
    let text = agent_list(&fleet(), &screen(None, false));
    assert!(text.contains("mail-digest-of-the-whole-company-and-all-its-subsidiaries  circuit open"));
    // the reader's own zone is not shown
    assert!(text.contains("cron 30 2 * * *  "), "{text}");
    let elsewhere = [agent("a", json!({"schedule": "cron 30 2 * * * (Asia/Tokyo)"}))];
    assert!(agent_list(&elsewhere, &screen(None, false)).contains("cron 30 2 * * * (Asia/Tokyo)"));
    assert!(!text.contains('\t') && !text.contains('…') && !text.contains('\x1b'));
}

#[test]
fn list_is_wide_where_there_is_room() {
    let wide = agent_list(&fleet(), &screen(Some(200), false));
    assert_eq!(wide, agent_list(&fleet(), &screen(None, false)));
}

#[test]
fn colours_do_not_move_columns() {
    let plain = agent_list(&fleet(), &screen(Some(80), false));
    let coloured = agent_list(&fleet(), &screen(Some(80), true));
    assert!(coloured.contains("\x1b["));
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    let trimmed: Vec<&str> = stripped.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, plain.lines().collect::<Vec<_>>());
}

#[test]
fn wide_characters_keep_their_columns() {
    let mut table = Table::new().shrinking("KEY", 4).shrinking("TITLE", 6).number("N");
    table.row(vec!["磁盘".into(), plain("満杯です、確認してください").into(), "1".into()]);
    table.row(vec!["a".into(), plain("plain \u{1b}[31mred\u{202e}").into(), "10".into()]);
    insta::assert_snapshot!(table.render(&screen(Some(30), false)), @r#"
    KEY   TITLE                  N
    磁盘  満杯です、確認して…    1
    a     plain \x1b[31mred\u…  10
    "#);
}

#[test]
fn an_empty_fleet_has_a_header_only() {
    let text = agent_list(&[], &screen(Some(80), false));
    assert_eq!(text.lines().count(), 1);
    assert_eq!(summary(&[], &screen(None, false)), "0 agents: \n");
    let walled =
        |within: &[&str], without: &[&str]| json!({"sandbox": {"within": within, "without": without}});
    let all = [
        agent("a", walled(&["agents.a", "mcp.s"], &[])),
        agent("b", walled(&["mcp.s"], &["agents.b", "agents.b.gate"])),
    ];
    assert_eq!(
        summary(&all, &screen(None, false)),
        "2 agents: 2 active\nin a sandbox: agents.a, mcp.s\nin no sandbox: agents.b, agents.b.gate\n"
    );
}

fn detail() -> AgentDetail {
    let mut view = serde_json::to_value(agent(
        "news",
        json!({"activity": "retrying", "health": "failing", "description": "Headlines", "schedule": "every 1h",
            "next_run": "2026-11-24T11:05:41Z", "error_count": 1, "consecutive_errors": 1, "run_count": 24,
            "success_count": 23, "skipped_count": 3, "cost_today_usd": 0.31}),
    ))
    .unwrap();
    let run = json!({
        "run_id": RUN, "agent_id": "news", "slot": "2026-11-24T09:55:00Z", "trigger": "schedule",
        "status": "retrying", "attempt": 2, "queued_at": "2026-11-24T09:55:00Z",
        "started_at": "2026-11-24T09:55:00Z", "finished_at": null, "not_before": "2026-11-24T10:01:58Z",
        "duration_ms": null, "result": null, "error": null, "exit_code": null,
        "usage": {"requests": 0, "input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "usd": 0.0},
        "config_hash": "00d91c2ab3",
    });
    let recent = |status: &str, ms: i64| json!({"run_id": RUN, "status": status, "duration_ms": ms});
    merge(
        &mut view,
        json!({
            "runs": "query (model main)", "next_slots": ["2026-11-24T11:05:41Z", "2026-11-24T12:05:41Z"],
            "last_success": "2026-11-24T09:05:00Z",
            "last_error": {"run_id": "019aa000-0000-7000-8000-00009999aaaa", "status": "failed", "started_at": null,
                "finished_at": "2026-11-23T10:00:00Z", "duration_ms": 31_000,
                "error": {"kind": "rate_limit", "message": "429: slow down"}},
            "p50_ms": 41_000, "p95_ms": 63_500,
            "recent": [recent("completed", 41_000), recent("completed", 20_000), recent("failed", 1000), recent("running", 0)],
            "in_flight": [run], "slots_24h": {"ran": 21, "skipped_overlap": 1}, "circuit_until": null,
            "settings": {"catch_up": "latest", "overlap": "skip", "timeout": "10m"},
            "incidents": [{"agent_id": "news", "key": "feed:heise", "severity": "warning", "title": "no answer",
                "state": "open", "since": "2026-11-24T08:00:00Z", "opened_at": null, "seen_at": "2026-11-24T09:00:00Z",
                "count": 3, "resolved_at": null, "acked_at": null}],
            "defined_at": "agents.toml:118", "config_hash": "3d91c2ab00000000", "notes": ["its clock is ahead"],
        }),
    );
    serde_json::from_value(view).unwrap()
}

#[test]
fn status_of_an_agent() {
    insta::assert_snapshot!(agent_detail(&detail(), &screen(Some(80), false)), @r#"
    news   retrying   every 1h   failing
      Headlines
      runs        query (model main)
      now         run 1f2e3d4c retrying, slot 10:55:00, attempt 2, goes on in 1 min
      next        Tue 2026-11-24 12:05:41 (in 1 h) · 13:05:41
      recent      ✓✓✗»
      durations   █▄▁▁ up to 41s
      count       24 runs, 23 ok, 1 failed (1 in a row), 3 slots without a run
      takes       41s (median), 1m3s (95 %)
      last run    ok Tue 2026-11-24 10:57:00 (3 min ago), took 10s (run 1f2e3d4c)
      last error  failed Mon 2026-11-23 11:00:00 (24 h ago), took 31s (run 9999aaaa)
                  rate_limit: 429: slow down
      slots 24h   21 ran, 1 skipped_overlap
      today       $0.31
      incident    warning feed:heise: no answer (for 2h)
      settings    catch up latest · overlap skip · timeout 10m
      config      3d91c2ab (agents.toml:118)
      note        its clock is ahead
    "#);
}

#[test]
fn status_of_an_agent_whose_runs_leave_no_record() {
    let mut detail = detail();
    detail.agent.last_run.as_mut().unwrap().run_id = None;
    detail.all_well = Some(AllWellView {
        since: "2026-11-23T09:00:00Z".parse().unwrap(),
        until: "2026-11-24T09:57:00Z".parse().unwrap(),
        count: 1498,
    });
    let page = agent_detail(&detail, &screen(Some(80), false));
    let lines: Vec<&str> =
        page.lines().filter(|line| line.contains("all well") || line.contains("last run")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    all well    checked 3 min ago, 1498 times since Mon 2026-11-23 10:00:00
    last run    ok Tue 2026-11-24 10:57:00 (3 min ago), took 10s (no record)
    ");
    // a later failure says more
    assert!(page.contains("last error"), "{page}");
}

#[test]
fn strips() {
    let run = |status: &str, ms| RecentRun {
        run_id: RUN.parse().unwrap(),
        status: RunStatus::parse(status).unwrap(),
        duration_ms: ms,
    };
    let all: Vec<RecentRun> =
        RunStatus::ALL.iter().zip(0..).map(|(status, n)| run(status.as_str(), n * 1000)).collect();
    assert_eq!(strip(&all, &screen(None, false)), "·»··✓✗t-!✗");
    assert_eq!(bars(&all, &screen(None, false)), "▁▁▂▃▄▄▅▆▇█ up to 9s");
    assert_eq!(bars(&[run("completed", 0)], &screen(None, false)), "▁ up to 1ms");
    let coloured = strip(&[run("completed", 1), run("failed", 1)], &screen(None, true));
    assert_eq!(coloured, "\x1b[32m✓\x1b[0m\x1b[1m\x1b[31m✗\x1b[0m");
}

#[test]
fn status_of_the_daemon() {
    let mut view: DaemonView = serde_json::from_value(json!({
        "pid": 812, "version": "0.1.0", "started_at": "2026-11-21T06:00:00Z", "state": "degraded",
        "problem": "no space left", "socket": "/run/user/1000/bgagent/bgagent.sock",
        "state_dir": "/home/u/.local/state/bgagent", "config_path": "/home/u/.config/bgagent/agents.toml",
        "config_hash": "3d91c2ab00000000", "config_at": "2026-11-24T08:12:00Z", "config_errors": ["x"],
        "agents": {"active": 3, "paused": 1}, "failing": 1, "running": 2, "queued": 0, "max_parallel_runs": 64,
        "newest_seq": 18231, "oldest_seq": 1, "events_per_second": 1.25, "database_bytes": 18_153_472,
        "clients": 1, "next_due": "2026-11-24T10:00:38Z", "incidents": 2, "outbox": 0,
    }))
    .unwrap();
    insta::assert_snapshot!(daemon_view(&view, &screen(Some(80), false)), @r#"
    bgagent 0.1.0   degraded   pid 812, up 3d4h
      problem   no space left
      agents    3 active, 1 paused, 1 failing
      runs      2 of 64 running, 0 waiting
      next      Tue 2026-11-24 11:00:38 (in 38 s)
      events    1 to 18231, 1.2 a second
      problems  2 open incidents: bgagent incidents
      database  17.3 MiB in /home/u/.local/state/bgagent
      socket    /run/user/1000/bgagent/bgagent.sock (1 connected)
      config    /home/u/.config/bgagent/agents.toml (3d91c2ab, applied 1 h ago)
                the newest file has 1 error: bgagent check
    "#);
    view.config_missing = true;
    let text = daemon_view(&view, &screen(Some(80), false));
    view.config_missing = false;
    view.config_waits = true;
    let waits = daemon_view(&view, &screen(Some(200), false));
    assert!(waits.contains("waits: bgagent trust /home/u/.config/bgagent/agents.toml"), "{waits}");
    assert!(text.contains("the file is missing: put it back") && !text.contains("1 error"), "{text}");
}

fn event(seq: u64, ts: &str, kind: &str, agent: Option<&str>, payload: Value) -> StoredEvent {
    let mut event = json!({"seq": seq, "ts": ts, "type": kind, "payload": payload});
    if let Some(agent) = agent {
        event["agent_id"] = agent.into();
        event["run_id"] = RUN.into();
    }
    StoredEvent { seq, text: event.to_string() }
}

fn usage() -> Value {
    json!({"requests": 3, "input_tokens": 1200, "cached_tokens": 800, "output_tokens": 90, "usd": 0.013})
}

/// Also values of other daemon versions: unknown ones (2), ones in other words (12), missing ones (13).
#[test]
fn tail_lines() {
    let today = "2026-11-24T09:59:58.123456Z";
    let events = [
        event(1, "2026-11-23T09:00:00Z", "daemon_started", None, json!({"version": "0.1.0", "pid": 812})),
        event(
            2,
            today,
            "background_task_started",
            Some("news"),
            json!({"trigger": "schedule", "attempt": 1, "run_count": 24, "of_tomorrow": true}),
        ),
        event(
            3,
            today,
            "background_task_output",
            Some("news"),
            json!({"text": "one\ntwo\u{1b}[2J\n", "stderr": "", "attempt": 1, "chunks": 1, "dropped_bytes": 0}),
        ),
        event(
            4,
            today,
            "background_task_completed",
            Some("news"),
            json!({
                "duration_ms": 41_233, "result": "3 new", "usage": usage(), "run_count": 24, "attempt": 1,
            }),
        ),
        event(
            5,
            today,
            "background_task_error",
            Some("disk"),
            json!({
                "error": "429: slow down", "kind": "rate_limit", "will_retry": true, "attempt": 1, "error_count": 2,
            }),
        ),
        event(
            6,
            today,
            "background_task_retrying",
            Some("disk"),
            json!({"attempt": 2, "retry_at": "2026-11-24T10:01:28.123456Z", "kind": "rate_limit"}),
        ),
        event(
            7,
            today,
            "background_task_cancelled",
            Some("disk"),
            json!({
                "status": "cancelled", "error": "cancelled by hand", "kind": "interrupted", "will_retry": false,
                "duration_ms": 900, "attempt": 1, "error_count": 2, "usage": usage(),
            }),
        ),
        event(
            8,
            today,
            "background_agent_status",
            Some("disk"),
            json!({
                "status": "paused", "previous": "active", "reason": "maintenance", "run_count": 24, "error_count": 2,
            }),
        ),
        event(
            9,
            today,
            "background_slot_skipped",
            Some("a-name-that-is-longer"),
            json!({"verdict": "missed_sleep", "count": 12, "cause": "the machine slept"}),
        ),
        event(
            10,
            today,
            "config_applied",
            None,
            json!({"path": "agents.toml", "hash": "0", "added": ["a", "b"], "changed": [], "removed": ["c"]}),
        ),
        event(
            11,
            today,
            "incident_opened",
            Some("disk"),
            json!({"key": "disk:/", "severity": "critical", "title": "/ is full", "since": today}),
        ),
        event(12, today, "invented_tomorrow", Some("disk"), json!({"x": 1})),
        event(13, today, "circuit_opened", Some("disk"), json!({})),
    ];
    let lines: String = events.iter().map(|event| event_line(event, &screen(Some(100), false))).collect();
    insta::assert_snapshot!(lines, @r#"
    2026-11-23 10:00:00  -               daemon up              0.1.0, pid 812
    10:59:58  news            started      1f2e3d4c  schedule, no. 24
    10:59:58  news            output       1f2e3d4c  one\ntwo\x1b[2J
    10:59:58  news            completed    1f2e3d4c  41s, $0.0130, 3 new
    10:59:58  disk            failed       1f2e3d4c  rate_limit, 429: slow down, will retry
    10:59:58  disk            retrying     1f2e3d4c  attempt 2, in 1m30s
    10:59:58  disk            cancelled    1f2e3d4c  by hand, 900ms
    10:59:58  disk            status       1f2e3d4c  active -> paused, maintenance
    10:59:58  a-name-that-is-longer  skipped      1f2e3d4c  missed_sleep, 12 slots, the machine slept
    10:59:58  -               config                 +a +b, -c, applied
    10:59:58  disk            incident     1f2e3d4c  critical, disk:/, / is full
    10:59:58  disk            invented_tomorrow  1f2e3d4c  {"x":1}
    10:59:58  disk            circuit      1f2e3d4c  {}
    "#);
    let narrow = event_line(&events[8], &screen(Some(80), false));
    assert_eq!(narrow, "10:59:58  a-name-that-is-longer  skipped      1f2e3d4c  missed_sleep, 12 slots,…\n");
    let piped = event_line(&events[1], &screen(None, false));
    assert!(piped.starts_with("2026-11-24 10:59:58  news"), "{piped}");
    let coloured = event_line(&events[2], &screen(Some(100), true));
    assert!(!coloured.contains("\x1b[2J"));
}

#[test]
fn a_run() {
    let detail: RunDetail = serde_json::from_value(json!({
        "run_id": RUN, "agent_id": "news", "slot": "2026-11-24T09:05:00Z", "trigger": "schedule",
        "status": "completed", "attempt": 1, "queued_at": "2026-11-24T09:05:00Z",
        "started_at": "2026-11-24T09:05:01Z", "finished_at": "2026-11-24T09:05:42Z", "duration_ms": 41_233,
        "result": "3 new\nitems", "error": null, "exit_code": 0,
        "usage": {"requests": 3, "input_tokens": 1200, "cached_tokens": 800, "output_tokens": 90, "usd": 0.013},
        "config_hash": "3d91c2ab00000000", "warnings": ["the gate is broken"],
        "events": [{"seq": 1, "ts": "2026-11-24T09:05:01Z", "type": "background_task_started", "agent_id": "news",
            "run_id": RUN, "payload": {"trigger": "schedule", "attempt": 1, "run_count": 3}}],
        "output": {"chunks": [
            {"attempt": 1, "n": 0, "stream": "stdout", "at": "2026-11-24T09:05:02Z", "text": "hello\n"},
            {"attempt": 1, "n": 1, "stream": "stderr", "at": "2026-11-24T09:05:03Z", "text": "oh\nno"}],
            "position": 2, "dropped_bytes": 0},
    }))
    .unwrap();
    insta::assert_snapshot!(run_detail(&detail, &screen(Some(80), false)), @r#"
    019aa000-0000-7000-8000-00001f2e3d4c   news   completed
      because   schedule, slot Tue 2026-11-24 10:05:00
      queued    Tue 2026-11-24 10:05:00 (55 min ago)
      started   Tue 2026-11-24 10:05:01 (54 min ago)
      ended     Tue 2026-11-24 10:05:42 (54 min ago), took 41s
      exit      0
      used      3 requests, 1200 tokens in (800 cached), 90 out, $0.0130
      config    3d91c2ab
      warning   the gate is broken

    result
    3 new
    items

    course
    10:05:01  news            started      1f2e3d4c  schedule, no. 3

    output
    hello
    oh
    no
    "#);
    insta::assert_snapshot!(outcome_line(&detail.run, &screen(None, false)), @"news: run 1f2e3d4c completed, 41s, $0.0130");
    insta::assert_snapshot!(run_list(std::slice::from_ref(&detail.run), &screen(Some(80), false)), @r#"
    RUN       AGENT  STATUS  STARTED     TOOK  TRIGGER   RESULT
    1f2e3d4c  news   ok      54 min ago   41s  schedule  3 new\nitems
    "#);
    let rehearsal = crate::protocol::RunView { mode: Some("rehearsal".into()), ..detail.run.clone() };
    let long = crate::protocol::RunView { result: Some("word ".repeat(1000)), ..detail.run };
    let text = run_list(&[long], &screen(None, false));
    assert!(text.lines().all(|line| line.chars().count() < 250) && text.contains('…'), "{text}");
    assert!(run_list(&[rehearsal], &screen(None, false)).contains("41s  rehearsal  3 new"));
    let dimmed = output(&detail.output, &screen(Some(80), true));
    assert_eq!(dimmed, "hello\n\x1b[2moh\x1b[0m\n\x1b[2mno\x1b[0m");
}

#[test]
fn relative_times() {
    let table = [
        (0, "now"),
        (-999, "now"),
        (-1000, "1 s ago"),
        (1, "in 1 s"),
        (11_600, "in 12 s"),
        (12_000, "in 12 s"),
        (-59_999, "59 s ago"),
        (59_001, "in 1 min"),
        (-180_000, "3 min ago"),
        (3_599_000, "in 59 min"),
        (3_600_000, "in 1 h"),
        (-172_799_000, "47 h ago"),
        (-172_800_000, "2 d ago"),
        (86_400_000 * 400, "in 400 d"),
    ];
    for (ms, expected) in table {
        assert_eq!(relative(SignedDuration::from_millis(ms)), expected, "{ms}");
    }
}

#[test]
fn what_wants_attention_comes_first() {
    use {Activity as A, Desired as D, Health as H};
    let table = [
        (D::Active, A::Idle, H::Ok, "active"),
        (D::Active, A::Idle, H::Failing, "failing"),
        (D::Active, A::Idle, H::CircuitOpen, "circuit open"),
        (D::Active, A::Running, H::Failing, "running"),
        (D::Active, A::WaitingApproval, H::Ok, "waits for you"),
        (D::Paused, A::Idle, H::Failing, "paused"),
        (D::Paused, A::Running, H::Ok, "paused, running"),
        (D::Stopped, A::Idle, H::Ok, "stopped"),
    ];
    for (state, activity, health, expected) in table {
        assert_eq!(state_of(state, activity, health).0, expected);
    }
}

#[test]
fn words() {
    assert_eq!(plain("a\nb\tc\u{7}\r"), "a\\nb c\\x07\\r");
    assert_eq!(plain_lines("a\r\nb\tc\u{9b}31m"), "a\nb\tc\\x9b31m");
    assert_eq!([usd(0.0), usd(0.013), usd(12.3)], ["$0.00", "$0.0130", "$12.30"]);
    assert_eq!([bytes(1023), bytes(1024), bytes(18_153_472)], ["1023 B", "1.0 KiB", "17.3 MiB"]);
}

#[test]
fn types_of_events_as_people_name_them() {
    for (text, types) in [
        ("background_task_output", Ok(&["background_task_output"][..])),
        ("output", Ok(&["background_task_output"])),
        ("failed", Ok(&["background_task_error"])),
        ("timed_out", Ok(&["background_task_error"])),
        ("cancelled", Ok(&["background_task_cancelled"])),
        ("Circuit", Ok(&["circuit_opened", "circuit_closed"])),
        ("config_*", Ok(&["config_*"])),
        ("nothing_*", Err(None)),
        ("outptu", Err(Some("output"))),
        ("nonsense", Err(None)),
    ] {
        let types = types.map(|types| types.iter().map(|&kind| kind.to_owned()).collect::<Vec<_>>());
        assert_eq!(event_types(text), types, "{text}");
    }
}

#[test]
fn what_a_probe_found_is_told_in_words() {
    let result = |checks: Value| json!({"status": "crit", "checks": checks, "wake": true}).to_string();
    let bad = json!([{"level": "crit", "title": "/ is 95 % full"}, {"level": "ok", "title": "fine"}, {"level": "warn", "title": "b"}]);
    assert_eq!(result_words(&result(bad)), "crit: / is 95 % full; warn: b");
    assert_eq!(result_words(r#"{"status":"ok","checks":[{"level":"ok","title":"x"}]}"#), "ok: 1 check");
    assert_eq!(result_words(" {\"status\": 3} "), "{\"status\": 3}");
    let moved = r#"{"table":"t","to":"/a","moved":3,"copied":4,"changed":1,"conflicts":0,"more":true}"#;
    assert_eq!(
        result_words(moved),
        "t: 3 rows moved to /a; changed meanwhile, so left: 1; the next run goes on"
    );
    let tried = r#"{"table":"t","to":"/a","moved":0,"copied":4,"changed":0,"conflicts":2,"more":false}"#;
    assert_eq!(
        result_words(tried),
        "t: 4 rows copied to /a, none moved; their keys are taken there, so left: 2"
    );
    let machine = r#"{"cpu":{"usage_percent":1.5},"memory":{"used_percent":40},"load":{"1":0.5},
        "disks":[{"mount":"/","used_percent":10},{"mount":"/var","used_percent":61.2}]}"#;
    assert_eq!(result_words(machine), "cpu 1.5 %, memory 40 %, load 0.5, /var 61.2 % full");
}

#[test]
fn calls_that_were_never_made_are_shown_as_the_model_sent_them() {
    let at = "2026-11-24T09:05:02Z";
    let call = |name: &str, arguments: &str| json!({"id": "1", "name": name, "arguments": arguments});
    let steps: Vec<crate::protocol::StepView> = serde_json::from_value(json!([
        {"n": 1, "at": at, "duration_ms": 1, "step": "answered", "model": "m", "answer": {"turn": {"calls": [
            call("look", "{\"q\": 1}"), call("put", "{\"a\": \u{1b}")]}, "finish": "stop"}, "used": crate::domain::Usage::default()},
        {"n": 2, "at": at, "duration_ms": 1, "tool": "look", "args": "{\"q\":1}", "step": "called", "call": 0,
            "reply": {"id": "1", "name": "look", "text": "well"}},
        {"n": 3, "at": at, "duration_ms": 1, "step": "answered", "model": "m", "answer": {"turn": {"calls": [
            call("add", &"x".repeat(3000))]}, "finish": "stop"}, "used": crate::domain::Usage::default()},
    ]))
    .unwrap();
    let text = super::transcript::transcript(&steps, true, &screen(None, false));
    assert!(text.contains("put not made\n     <- {\"a\": \\x1b"), "{text}");
    assert!(text.contains(&format!("add not made\n     <- {}…\n", "x".repeat(2000))), "{text}");
    assert_eq!(text.matches("not made").count(), 2, "{text}");
    let going_on = super::transcript::transcript(&steps, false, &screen(None, false));
    assert!(!going_on.contains("not made"), "nobody knows yet");
}

/// Everything that was charged has a line: the lines add up to the run's usage.
#[test]
fn each_request_that_was_charged_is_shown() {
    let at = "2026-11-23T09:00:00Z";
    let asked = |n: u64| {
        json!({"n": n, "at": at, "duration_ms": 0, "step": "asked", "model": "m",
            "worst": {"tokens": 2942, "output": 2048, "usd": 0.02}})
    };
    let answered = |n: u64, requests: u64| {
        json!({"n": n, "at": at, "duration_ms": 7, "step": "answered", "model": "m",
            "answer": {"turn": {"text": "well"}, "finish": "stop"},
            "used": {"requests": requests, "input_tokens": 100, "cached_tokens": 0, "output_tokens": 10, "usd": 0.0002}})
    };
    let shown = |steps: Vec<serde_json::Value>, over| {
        let steps: Vec<crate::protocol::StepView> = serde_json::from_value(steps.into()).unwrap();
        super::transcript::transcript(&steps, over, &screen(None, false))
    };
    // the answer to the first request was lost in a crash
    let text = shown(vec![asked(0), asked(1), answered(2, 1)], true);
    let lost = "m no answer on record, charged at its worst case  894 in, 2048 out, $0.02";
    assert_eq!((text.matches(lost).count(), text.matches("100 in, 10 out").count()), (1, 1), "{text}");
    assert!(shown(vec![asked(0)], true).contains(lost), "the run ended with it");
    assert!(!shown(vec![asked(0)], false).contains(lost), "it is under way");
    let text = shown(vec![asked(0), answered(1, 2)], true);
    assert!(text.contains("2 requests, 100 in"), "{text}");
}

#[test]
fn nodes_are_a_line_each_and_what_is_odd_about_them() {
    let node = |name: &str, changes: Value| -> crate::protocol::NodeView {
        let mut view = json!({
            "name": name, "role": "stands_by", "place": format!("{name} /s"), "version": "0.1.0", "protocol": 1,
            "may_lead": true, "config_hash": "11", "started_at": "2026-11-24T09:00:00Z",
            "last_seen": "2026-11-24T09:59:58Z", "clock_offset_ms": 3, "lag_ms": 1,
        });
        merge(&mut view, changes);
        serde_json::from_value(view).unwrap()
    };
    let runs: Vec<Value> = (0..10)
        .map(|n| json!({"run_id": format!("019dd0f6-1f6e-7c3a-8f15-2b7a1f2e3d4{n}"), "agent_id": "train"}))
        .collect();
    let nodes = [
        node("gpu-7", json!({"role": "leads", "labels": {"gpu": "h100"}, "is_this": true})),
        node("nuc", json!({"clock_offset_ms": -90_000, "other_config": true, "runs": runs})),
        node("old", json!({"role": "away", "last_seen": "2026-11-24T08:00:00Z", "clock_offset_ms": 0})),
    ];
    let shown = node_list(&nodes, &screen(None, false));
    for line in [
        "gpu-7*  leads",
        "gpu=h100  gpu-7 /s",
        "nuc     stands by",
        "-1m30s",
        "away since",
        "nuc runs train 1f2e3d40, train 1f2e3d41",
        ", 2 more",
        "1 node with another configuration than the node that leads: nuc",
        "clocks that are over 2 s from that of the database: nuc",
    ] {
        assert!(shown.contains(line), "`{line}` is missing:\n{shown}");
    }
    let never = [node("a", json!({"may_lead": false})), node("b", json!({"role": "away"}))];
    let shown = node_list(&never, &screen(None, false));
    assert!(shown.contains("never leads") && shown.contains("no node that is there may lead"), "{shown}");
    let shown = node_list(&[node("a", json!({}))], &screen(None, false));
    assert!(shown.ends_with("no node leads\n"), "{shown}");
}

#[test]
fn what_is_left_of_a_limit_is_as_exact_as_what_is_used() {
    let line = |limit: &str, used: f64| {
        let view = json!({"limit": limit, "allowed": 1.0, "used": used, "held": 0.0, "left": 1.0 - used});
        super::words::limit_line(&serde_json::from_value(view).expect("a limit"))
    };
    assert_eq!(line("usd_per_day", 0.0045), "usd_per_day: $0.0045 of $1.00 used, $0.9955 left");
    assert_eq!(line("usd_per_day", 0.5), "usd_per_day: $0.50 of $1.00 used, $0.50 left");
    assert_eq!(line("usd_per_day", 0.0), "usd_per_day: $0.00 of $1.00 used, $1.00 left");
    assert_eq!(line("requests_per_day", 1.0), "requests_per_day: 1 of 1 used, 0 left");
}
