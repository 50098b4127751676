//! Tests of the whole text, as Prometheus reads it.
use super::*;
use crate::domain::{RunStatus, Usage, Verdict};
use crate::engine::{BudgetLeft, FleetNow};
use crate::telemetry::CountedFact;
use crate::telemetry::tally::RequestOutcome;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The expected text; `UPDATE=1` rewrites it.
const GOLDEN: &str = "src/telemetry/metrics/golden.txt";

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn tally(agents: &[&str]) -> FleetTally {
    let names: Vec<AgentId> = agents.iter().map(|name| id(name)).collect();
    let mut tally = FleetTally::default();
    tally.configure(names.iter());
    let ended = |agent: &str, status, millis| CountedFact::RunEnded {
        agent: id(agent),
        status,
        duration: Some(SignedDuration::from_millis(millis)),
    };
    let judged = |agent: &str, verdict, count| CountedFact::SlotsJudged {
        agent: id(agent),
        run: None,
        verdict,
        count,
    };
    let used = Usage { requests: 1, input_tokens: 100, cached_tokens: 40, output_tokens: 10, usd: 0.000_14 };
    let request = |outcome| CountedFact::Request { agent: id("news"), model: "main".into(), outcome, used };
    tally.count(vec![
        ended("disk", RunStatus::Completed, 50),
        ended("disk", RunStatus::Completed, 2_500),
        ended("disk", RunStatus::Failed, 61_000),
        ended("news", RunStatus::TimedOut, 600_000),
        ended("gone", RunStatus::Completed, 1),
        judged("disk", Verdict::Ran, 1),
        judged("disk", Verdict::MissedDowntime, 12),
        request(RequestOutcome::Answered),
        request(RequestOutcome::Answered),
        request(RequestOutcome::Lost),
    ]);
    tally
}

fn agent(name: &str, health: Health) -> AgentGauges {
    AgentGauges {
        agent: id(name),
        health,
        failures_in_row: if health == Health::Ok { 0 } else { 5 },
        last_success: (health == Health::Ok).then(|| at("2026-11-30T08:00:00.25Z")),
        last_duration: Some(SignedDuration::from_millis(1_500)),
        next_start: Some(at("2026-11-30T09:00:00Z")),
    }
}

fn snapshot() -> FleetSnapshot {
    let limit = |limit, allowed, used, held| BudgetLeft { agent: None, limit, allowed, used, held };
    let waiting = OutboxTarget {
        target: "ops \"night\"\\".into(),
        waiting: 2,
        given_up: 1,
        oldest: at("2026-11-30T08:00:00Z"),
        next_try: None,
        tries: 3,
        error: None,
    };
    FleetSnapshot {
        version: "0.1.0",
        started_at: at("2026-11-30T07:00:00Z"),
        config_at: at("2026-11-30T07:30:00Z"),
        can_write: true,
        clients: 1,
        gauges: FleetGauges {
            fleet: FleetNow {
                by_state: BTreeMap::from([(Desired::Active, 2), (Desired::Paused, 1)]),
                failing: 1,
                running: 1,
                queued: 3,
                next_due: None,
            },
            max_parallel_runs: 64,
            outdated: false,
            agents: vec![
                agent("news", Health::CircuitOpen),
                agent("disk", Health::Ok),
                agent("other", Health::Ok),
            ],
            incidents: BTreeMap::from([(Severity::Critical, 1)]),
            approvals: 1,
            budget: vec![limit("usd_per_day", 2.0, 0.75, 0.5), limit("requests_per_day", 500.0, 3.0, 1.0)],
        },
        tally: tally(&["disk", "news", "other"]),
        traces: Some(TraceStatus { sent: 12, dropped: 1, ..TraceStatus::default() }),
        receivers: vec!["me".into(), "ops \"night\"\\".into()],
        stored: Some((Stats { newest_seq: 42, bytes: 4096, ..Stats::default() }, vec![waiting])),
    }
}

/// Returns promtool's verdict on a text: `Err` if it rejects it. `None`: it is not installed.
fn promtool(args: &[&str], input: &str) -> Option<Result<String, String>> {
    let mut program = Command::new("promtool");
    program.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = match program.spawn() {
        Ok(program) => program,
        Err(error) => {
            println!("skipped: there is no promtool ({error})");
            return None;
        }
    };
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Some(if output.status.success() { Ok(said) } else { Err(said) })
}

#[test]
fn the_text_is_as_it_was() {
    let written = text(snapshot());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), written, "if this is better, write it with UPDATE=1");
}

#[test]
fn what_can_not_be_read_is_left_out() {
    let written = text(FleetSnapshot { stored: None, can_write: false, ..snapshot() });
    assert!(written.contains("\nbgagent_records_writable 0\n"), "{written}");
    assert!(!written.contains("bgagent_database_bytes") && !written.contains("bgagent_outbox"), "{written}");
}

#[test]
fn promtool_finds_nothing_wrong() {
    let Some(said) = promtool(&["check", "metrics"], &text(snapshot())) else { return };
    assert_eq!(said, Ok(String::new()));
}

/// Returns the names of all metrics.
fn told(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[test]
fn each_metric_is_in_its_document_and_no_other_is() {
    let text = text(snapshot());
    let document = include_str!("../../../docs/TELEMETRY.md");
    let rows = document.lines().filter(|line| line.starts_with("| `bgagent_"));
    let said: BTreeSet<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
    assert_eq!(said, told(&text));
}

/// Returns the Prometheus queries of a dashboard.
fn questions(json: &serde_json::Value, found: &mut Vec<String>) {
    match json {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(question) if name == "expr" => found.push(question.to_owned()),
                    _ => questions(value, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| questions(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let dashboard = include_str!("../../../docs/telemetry/grafana.json");
    let alerts = include_str!("../../../docs/telemetry/alerts.yml");
    assert_eq!(alerts.matches("- alert:").count(), 5);
    let mut asked = Vec::new();
    questions(&serde_json::from_str(dashboard).unwrap(), &mut asked);
    assert!(asked.len() >= 10, "{asked:?}");
    let text = text(snapshot());
    let told = told(&text);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = asked.iter().map(String::as_str).chain([alerts]).flat_map(|text| text.split(|c| !is_name(c)));
    for name in names.filter(|name| name.starts_with("bgagent_")) {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(told.contains(name) || family.is_some_and(|family| told.contains(family)), "{name}");
    }
    let rules = asked.iter().enumerate().map(|(at, question)| {
        let question = question
            .replace("$__rate_interval", "5m")
            .replace("$__range", "1h")
            .replace("$agent", ".*")
            .replace("$instance", ".*");
        format!(
            "      - record: question:{at}\n        expr: {}\n",
            serde_json::to_string(&question).unwrap()
        )
    });
    let rules = rules.collect::<String>();
    let rules = format!("groups:\n  - name: dashboard\n    rules:\n{rules}");
    for (what, rules) in [("the alerts", alerts), ("the dashboard", &rules)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.yml");
        std::fs::write(&file, rules).unwrap();
        let Some(said) = promtool(&["check", "rules", file.to_str().unwrap()], "") else { return };
        assert!(said.is_ok(), "{what}: {said:?}");
    }
}
