//! A fleet as the daemon would tell of it.
use crate::protocol::{AgentView, ApprovalView, DaemonView, IncidentView, RunView, SlotView};
use crate::top::asks::{SpentToday, TopAnswer, TopRequest};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}"))
}

fn merge(mut into: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        into[key] = value.clone();
    }
    into
}

/// The id of a run that ends in these digits.
pub(super) fn run_id(end: u32) -> String {
    format!("019aa000-0000-7000-8000-0000{end:08x}")
}

pub(super) fn agent(name: &str, changes: Value) -> AgentView {
    of(merge(
        json!({
            "agent_id": name, "state": "active", "activity": "idle", "health": "ok",
            "schedule": "every 4m", "next_run": "2026-11-28T22:43:57Z",
            "last_run": {
                "run_id": run_id(1), "status": "completed", "started_at": "2026-11-28T22:41:00Z",
                "finished_at": "2026-11-28T22:41:45Z", "duration_ms": 45_000,
            },
            "runs_in_flight": [], "run_count": 20, "success_count": 20, "error_count": 0,
            "consecutive_errors": 0, "skipped_count": 0, "cost_today_usd": 0.0,
        }),
        &changes,
    ))
}

/// Runs with these statuses, oldest first.
fn recent(statuses: &str) -> Value {
    let run = |status: &str| json!({"run_id": run_id(1), "status": status, "duration_ms": 40});
    statuses.split(' ').map(run).collect()
}

fn failed(ago: &str, end: u32, kind: &str, message: &str) -> Value {
    json!({"run_id": run_id(end), "status": "failed", "started_at": ago, "finished_at": ago, "duration_ms": 24,
        "error": {"kind": kind, "message": message}})
}

pub(super) fn agents() -> Vec<AgentView> {
    let unauthorized = "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://erp.example.org/api/v2/invoices";
    vec![
        agent(
            "after-backup",
            json!({"schedule": "on background_task_completed of backup", "next_run": null}),
        ),
        agent("backup", json!({"schedule": "cron */10 * * * *", "next_run": "2026-11-28T22:50:00Z"})),
        agent("code-review", json!({"cost_today_usd": 0.30})),
        agent(
            "etl-orders",
            json!({"health": "failing", "consecutive_errors": 19, "error_count": 19,
            "last_run": failed("2026-11-28T22:42:57Z", 2, "unverified", "proof: 0 rows in warehouse.orders for today, expected at least 1")}),
        ),
        agent(
            "invoice-sync",
            json!({"health": "circuit_open", "circuit_until": "2026-11-28T22:51:57Z", "consecutive_errors": 7, "error_count": 7,
            "last_run": failed("2026-11-28T22:31:57Z", 3, "exit_status", unauthorized)}),
        ),
        agent("lead-scorer", json!({"cost_today_usd": 0.12, "budget_used_up_until": "2026-11-29T00:00:00Z"})),
        agent("launch-mail", json!({"last_run": null, "run_count": 0, "next_run": "2026-12-24T18:00:00Z"})),
        agent("log-rotate", json!({"recent": recent("completed completed failed completed")})),
        agent(
            "mail-triage",
            json!({"activity": "waiting_approval", "runs_in_flight": [run_id(7)], "cost_today_usd": 0.0135}),
        ),
        agent(
            "old-importer",
            json!({"state": "stopped", "next_run": null, "reason": "not enabled in the configuration"}),
        ),
        agent("shop-watch", json!({"schedule": "every 10s"})),
        agent(
            "thumbnails",
            json!({"activity": "running", "runs_in_flight": [run_id(5)],
            "last_run": {"run_id": run_id(4), "status": "completed", "started_at": "2026-11-28T22:41:00Z",
                "finished_at": "2026-11-28T22:42:10Z", "duration_ms": 70_000}}),
        ),
        agent(
            "weekly-report",
            json!({"state": "paused", "next_run": null, "reason": "numbers are being corrected until Tuesday",
            "resume_at": "2026-11-30T22:00:00Z"}),
        ),
    ]
}

pub(super) fn incident(agent: &str, key: &str, severity: &str, since: &str, title: &str) -> IncidentView {
    of(
        json!({"agent_id": agent, "key": key, "severity": severity, "title": title, "state": "open", "since": since,
        "opened_at": since, "seen_at": "2026-11-28T22:43:37Z", "count": 5, "resolved_at": null, "acked_at": null}),
    )
}

pub(super) fn incidents() -> Vec<IncidentView> {
    vec![
        incident(
            "shop-watch",
            "db",
            "critical",
            "2026-11-28T22:42:10Z",
            "127.0.0.1:28413 can't be reached: Connection refused",
        ),
        incident("invoice-sync", "agent:invoice-sync", "critical", "2026-11-28T21:48:00Z", "the agent fails"),
        incident(
            "shop-watch",
            "disk:/tmp",
            "warning",
            "2026-11-28T21:55:00Z",
            "/tmp is 27.8 % full (warn at 10 %)",
        ),
    ]
}

pub(super) fn approval() -> ApprovalView {
    of(json!({"id": "0637e0e0-8-0", "agent_id": "mail-triage", "run_id": run_id(7),
        "requested_at": "2026-11-28T22:40:40Z", "tool": "mailbox reply",
        "args": {"text": "Dear Ms Okafor, we have refunded 129 EUR to your card; it arrives within three days.", "thread": 4}}))
}

pub(super) fn run(agent: &str, end: u32, status: &str, changes: Value) -> RunView {
    of(merge(
        json!({"run_id": run_id(end), "agent_id": agent, "slot": "2026-11-28T22:42:57Z", "trigger": "schedule",
            "status": status, "attempt": 1, "queued_at": "2026-11-28T22:42:57Z", "started_at": "2026-11-28T22:42:57Z",
            "finished_at": null, "duration_ms": null, "result": null, "error": null, "exit_code": null,
            "usage": {"requests": 0, "input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "usd": 0.0},
            "config_hash": "00112233445566ff"}),
        &changes,
    ))
}

pub(super) fn live() -> Vec<RunView> {
    vec![run("thumbnails", 5, "running", json!({})), run("mail-triage", 7, "waiting_approval", json!({}))]
}

fn runs() -> Vec<RunView> {
    let ended = |status: &str, end: u32, agent: &str, changes: Value| {
        let base = json!({"finished_at": "2026-11-28T22:43:00Z", "duration_ms": 3000});
        run(agent, end, status, merge(base, &changes))
    };
    vec![
        run("thumbnails", 5, "running", json!({})),
        ended(
            "failed",
            3,
            "invoice-sync",
            json!({"error": {"kind": "exit_status", "message": "exit status 1: 401 Unauthorized"}, "exit_code": 1}),
        ),
        ended(
            "completed",
            8,
            "shop-watch",
            json!({"result": "{\"status\":\"crit\",\"checks\":[{\"level\":\"crit\",\"title\":\"db is down\"}]}"}),
        ),
        ended("completed", 1, "log-rotate", json!({"result": "rotated 3 files", "exit_code": 0})),
    ]
}

pub(super) fn daemon() -> DaemonView {
    of(json!({
        "pid": 4711, "version": "0.1.0", "started_at": "2026-11-28T21:48:00Z", "state": "ok", "socket": "/run/s",
        "state_dir": "/s", "config_path": "/c/agents.toml", "config_hash": "00112233445566ff",
        "config_at": "2026-11-28T21:48:00Z", "agents": {"active": 11, "paused": 1, "stopped": 1}, "failing": 2,
        "running": 1, "queued": 0, "max_parallel_runs": 4, "newest_seq": 4711, "oldest_seq": 1, "events_per_second": 0.5,
        "database_bytes": 1_000_000, "clients": 1, "next_due": "2026-11-28T22:43:57Z", "incidents": 3, "outbox": 15,
        "deliveries": [{"target": "pager", "waiting": 15, "given_up": 0, "oldest": "2026-11-28T22:26:00Z", "tries": 5,
            "next_try": "2026-11-28T22:45:00Z", "error": "connection refused"}],
        "budget": [{"limit": "usd_per_day", "allowed": 1.2, "used": 0.49, "held": 0.0, "left": 0.71}],
    }))
}

fn next() -> Vec<SlotView> {
    let slot = |agent: &str, at: &str, note: Value| -> SlotView {
        of(json!({"agent_id": agent, "slot": at, "due": at, "state": "active", "note": note}))
    };
    vec![
        slot("invoice-sync", "2026-11-28T22:43:57Z", json!("its circuit is open")),
        slot("log-rotate", "2026-11-28T22:44:10Z", Value::Null),
        slot("backup", "2026-11-28T22:50:00Z", Value::Null),
        slot("launch-mail", "2026-11-29T18:00:00Z", Value::Null),
    ]
}

fn spent() -> SpentToday {
    let used = |key: &str, usd: f64| {
        of(
            json!({"key": key, "runs": 13, "usage": {"requests": 79, "input_tokens": 777_400, "cached_tokens": 624_000,
            "output_tokens": 10_486, "usd": usd}}),
        )
    };
    SpentToday {
        agents: vec![used("code-review", 0.30), used("lead-scorer", 0.12), used("mail-triage", 0.0135)],
        models: vec![used("main", 0.49)],
        days: vec![used("2026-11-27", 0.8), used("2026-11-28", 0.49)],
    }
}

/// Thirteen agents of which some don't work.
pub(super) fn usual() -> Vec<(TopRequest, TopAnswer)> {
    vec![
        (TopRequest::Daemon, TopAnswer::Daemon(Box::new(daemon()))),
        (TopRequest::Agents(Vec::new()), TopAnswer::Agents(agents())),
        (TopRequest::Incidents(false), TopAnswer::Incidents(incidents())),
        (TopRequest::Approvals, TopAnswer::Approvals(vec![approval()])),
        (TopRequest::Next, TopAnswer::Next(next())),
        (TopRequest::Live, TopAnswer::Runs(live())),
        (TopRequest::Runs(None), TopAnswer::Runs(runs())),
        (TopRequest::Usage, TopAnswer::Usage(Box::new(spent()))),
    ]
}
