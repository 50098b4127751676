//! The bytes of every kind of event, as the log and the wire have them.
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Written by the release before events had types.
const EXAMPLES: &str = EVENT_EXAMPLES;

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn agent() -> AgentId {
    "news".parse().unwrap()
}

fn run() -> RunId {
    "0199f3c2-8a00-7000-8000-5d1c1f2e3d4c".parse().unwrap()
}

const SLOT: &str = "2026-11-24T09:00:00Z";
const AT: &str = "2026-11-24T09:00:00.123456Z";
const LATER: &str = "2026-11-24T09:05:00Z";

fn usage() -> Usage {
    // a sum that binary fractions do not hold
    let usd = 0.1 + 0.2;
    Usage { requests: 3, input_tokens: 1200, cached_tokens: 800, output_tokens: 90, usd }
}

fn incident(resolved: bool) -> Box<IncidentRecord> {
    Box::new(IncidentRecord {
        agent: agent(),
        key: "disk:/".into(),
        severity: Severity::Critical,
        title: "/ is 96 % full (critical at 95 %)".into(),
        since: instant(SLOT),
        opened_at: Some(instant(AT)),
        seen_at: instant(AT),
        count: 4,
        resolved_at: resolved.then(|| instant(LATER)),
        acked_at: None,
        told_at: None,
        diagnosis: None,
        by: FoundBy::Check,
        run: None,
    })
}

fn ended(status: RunStatus, error: Option<RunError>) -> Fact {
    let completed = status == RunStatus::Completed;
    Fact::RunEnded {
        run: run(),
        real: true,
        agent: agent(),
        status,
        attempt: 2,
        result: completed.then(|| "3 new items".into()),
        untrusted: true,
        error,
        exit_code: (!completed).then_some(7),
        usage: usage(),
        duration: SignedDuration::from_millis(41_233),
        run_count: 24,
        error_count: 3,
        warnings: if completed { vec!["the gate is broken: exit 2".into()] } else { Vec::new() },
    }
}

fn failed(asked: bool) -> Fact {
    let (kind, message) = if asked {
        (ErrorKind::Interrupted, "the daemon is shutting down")
    } else {
        (ErrorKind::RateLimit, "429 Too Many Requests: slow down")
    };
    let error = RunError::new(kind, message);
    let retry_at = instant(LATER);
    Fact::AttemptFailed { run: run(), agent: agent(), attempt: 1, error, error_count: 2, retry_at, asked }
}

fn talks() -> Vec<Said> {
    let (day, model, n) = ("2026-11-24".parse().unwrap(), || "main".to_owned(), 2);
    let worst = WorstCase { tokens: 9000, output: 4096, usd: 0.0825 };
    let call = |name: &str| ToolRequest { id: "c1".into(), name: name.into(), arguments: "{}".into() };
    let turn = ModelTurn {
        text: "I look at the feeds.".into(),
        thought: Some("Two feeds are new.".into()),
        calls: vec![call("feed")],
        ..ModelTurn::default()
    };
    let tokens = Some(Tokens { input: 1200, cached: 800, written: 0, output: 90 });
    let answer = ModelAnswer { turn, finish: Finish::Stop, tokens, asked_twice: false };
    let settled = |step| Said::Settled { n, asked: 1, step: Box::new(step), day, took_ms: 1830 };
    let error = RunError::new(ErrorKind::Provider, "503 Service Unavailable");
    let step = |step| Said::Step {
        n: 3,
        step: Box::new(step),
        tool: "feed".into(),
        args: r#"{"limit":5}"#.into(),
        took_ms: 412,
    };
    let reply = |text: &str, is_error| ToolReply {
        id: "c1".into(),
        name: "feed".into(),
        text: text.into(),
        is_error,
    };
    let wanted = ApprovalWanted {
        id: "1f2e3d4c-3-0".into(),
        call: 0,
        tool: "shell".into(),
        args: r#"{"command":"df"}"#.into(),
    };
    let decided = |approved, reason: Option<&str>| Said::Decided {
        id: "1f2e3d4c-3-0".into(),
        call: 0,
        tool: "shell".into(),
        approved,
        reason: reason.map(Into::into),
        by: approved.then(|| "@ada at `me`".to_owned()),
    };
    vec![
        Said::Query { n: 0, text: "What is new?".into(), untrusted: false, seen: Vec::new(), gate: None },
        Said::Held { n: 1, model: model(), worst, day },
        settled(Step::Answered { model: model(), answer, used: usage() }),
        settled(Step::Unanswered { model: model(), error, used: Usage::default() }),
        step(Step::Calling { call: 0, effect: Effect::Read }),
        step(Step::Called { call: 0, reply: reply("[]", false), untrusted: true }),
        step(Step::Called { call: 0, reply: reply("no such feed", true), untrusted: false }),
        Said::Final { text: "Nothing is new.".into() },
        Said::Resumed,
        Said::Waits { wanted: vec![wanted] },
        decided(true, None),
        decided(false, Some("not on this machine")),
    ]
}

fn facts() -> Vec<Fact> {
    let agents = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<AgentId>>();
    let judged = |count, verdict, cause: &str| Fact::SlotsJudged {
        agent: agent(),
        first: instant(SLOT),
        last: instant(LATER),
        count,
        verdict,
        cause: cause.into(),
        run: None,
        extends: false,
    };
    let passed = Event::telling(&Entry { at: instant(AT), fact: Fact::IncidentOpened(incident(false)) });
    let budget = |exhausted, owner| {
        let (limit, text) = ("usd_per_day", "usd_per_day: $1.62 of $2.00 are used".to_owned());
        let day = "2026-11-24".parse().unwrap();
        Fact::Budget(Box::new(BudgetNotice {
            agent: owner,
            limit,
            exhausted,
            allowed: 2.0,
            used: 1.62,
            day,
            text,
        }))
    };
    let chunk = |n, stream, text: &str| OutputChunk { n, stream, at: instant(AT), text: text.into() };
    let output = |chunks: Vec<OutputChunk>| {
        Fact::OutputCaptured(Box::new(CapturedOutput {
            run: run(),
            agent: agent(),
            attempt: 1,
            chunks,
            keep_head: 0,
            drop_before: 0,
            dropped_bytes: 0,
            told: true,
        }))
    };
    let undelivered = |retry_at| Fact::NotificationFailed {
        id: 1,
        target: "ops".into(),
        agent: agent(),
        run: None,
        tries: 2,
        error: "answered 503 Service Unavailable".into(),
        retry_at,
    };
    let started = |slot, trigger, process| Fact::AttemptStarted {
        run: run(),
        agent: agent(),
        attempt: 1,
        started_at: instant(AT),
        run_count: 24,
        trigger,
        slot,
        params: None,
        process,
    };
    let diagnosis = Diagnosis {
        by: "doctor".parse().unwrap(),
        run: run(),
        at: instant(LATER),
        text: "An old log fills it.".into(),
    };
    let mut facts = vec![
        started(Some(instant(SLOT)), Trigger::Schedule, Some(Process { pid: 4242, start: 1, boot: 1 })),
        started(None, Trigger::Manual, None),
        ended(RunStatus::Completed, None),
        failed(false),
        ended(RunStatus::Failed, Some(RunError::new(ErrorKind::ExitStatus, "exit 7"))),
        ended(RunStatus::TimedOut, None),
        failed(true),
        ended(RunStatus::Cancelled, Some(RunError::new(ErrorKind::Interrupted, "cancelled by hand"))),
        Fact::AgentChanged(Box::new(AgentChange {
            agent: agent(),
            previous: Desired::Active,
            desired: Desired::Paused,
            reason: Some("maintenance".into()),
            resume_at: Some(instant(LATER)),
            run_count: 24,
            error_count: 3,
            last_run: Some(instant(SLOT)),
            next_run: None,
        })),
        judged(12, Verdict::MissedSleep, "the machine slept"),
        Fact::SlotRevised {
            agent: agent(),
            slot: Some(instant(SLOT)),
            run: run(),
            verdict: Verdict::SkippedGate,
            cause: "exit 1".into(),
            quiet: false,
            joins: true,
        },
        Fact::EventPassed {
            agent: "doctor".parse().unwrap(),
            event: Box::new(passed[0].clone()),
            verdict: Verdict::SkippedPaused,
            cause: "event incident_opened: the agent is paused".into(),
        },
        Fact::SlotsTakenBack {
            agent: agent(),
            behind: instant(SLOT),
            taken: Taken { first: instant(SLOT), last: instant(LATER), count: 6, cut: None },
        },
        output(vec![chunk(0, Stream::Stdout, "one\n"), chunk(1, Stream::Stderr, "a warning\n")]),
        output(vec![chunk(2, Stream::Stdout, &"é".repeat(3000))]),
        budget(false, Some(agent())),
        budget(true, None),
        Fact::CircuitOpened {
            agent: agent(),
            failures: 5,
            until: instant(LATER),
            rule: CircuitSpec { open_after: 5, cooldown: SignedDuration::from_mins(5) },
        },
        Fact::CircuitClosed { agent: agent(), reason: "a run completed".into() },
        Fact::IncidentOpened(incident(false)),
        Fact::IncidentResolved(incident(true)),
        Fact::IncidentDiagnosed {
            agent: agent(),
            key: "disk:/".into(),
            since: instant(SLOT),
            diagnosis: Box::new(diagnosis),
        },
        Fact::McpPinned {
            server: "files".into(),
            tool: "read".into(),
            trusted: "5a1f".into(),
            seen: Some("9c03".into()),
            about: None,
        },
        Fact::ConfigApplied {
            path: "/home/u/.config/bgagent/agents.toml".into(),
            applied: Some(Arc::new(AppliedConfig {
                revision: 4,
                ..AppliedConfig::new(None, String::new(), "ada at main".into(), instant(LATER))
            })),
            hash: ConfigHash(0x3d91_c2ab),
            added: agents(&["news", "disk"]),
            changed: Vec::new(),
            removed: agents(&["old"]),
        },
        Fact::ConfigRejected {
            path: "/home/u/.config/bgagent/agents.toml".into(),
            errors: vec!["agents.toml:3:1: unknown key `cmmand`".into()],
        },
        Fact::NotificationSent { id: 1, target: "ops".into(), agent: agent(), run: None, tries: 1 },
        undelivered(Some(instant(LATER))),
        undelivered(None),
        Fact::DaemonStarted {
            version: "0.1.0".into(),
            pid: 812,
            down_since: Some(instant(AT)),
            clean: false,
        },
        Fact::DaemonStopping { reason: "asked by a client".into() },
    ];
    let talk = |said| Talk { run: run(), agent: agent(), session: Arc::from("news"), attempt: 2, said };
    facts.extend(talks().into_iter().map(|said| Fact::Talked(Box::new(talk(said)))));
    facts.push(Fact::AgentLate {
        agent: agent(),
        since: instant(AT),
        late_after: SignedDuration::from_mins(10),
        last_success: Some(instant(LATER)),
    });
    facts.push(Fact::RunSlow { run: run(), agent: agent(), slow_after: SignedDuration::from_mins(5) });
    facts.push(Fact::SandboxDenied {
        owner: ProgramOwner { table: "agents.news".into(), agent: Some(agent()), run: Some(run()) },
        program: "curl".into(),
        host: "evil.example:443".into(),
        reason: "it is not listed in `net`".into(),
    });
    let scan = JoinedRun {
        run_id: run(),
        status: RunStatus::Completed,
        finished_at: "2026-11-24T08:58:00.000001Z".parse().unwrap(),
        result: Some("3 hosts".into()),
        error: None,
    };
    let after = [("scan".parse().unwrap(), scan)].into();
    facts.push(Fact::Joined(Box::new(Event {
        seq: Seq(0),
        ts: instant(AT),
        agent_id: Some(agent()),
        run_id: None,
        session_id: None,
        payload: Payload::AgentsJoined(AgentsJoined { after }),
    })));
    facts.push(Fact::Arrived {
        event: Box::new(Event {
            seq: Seq(0),
            ts: instant(AT),
            agent_id: Some(agent()),
            run_id: None,
            session_id: None,
            payload: Payload::FileArrived(FileArrived {
                path: "/srv/inbox/a.csv".into(),
                name: "a.csv".into(),
                size: 2048,
                modified: instant(SLOT),
            }),
        }),
        mark: "7 2048 1764061200000000000".into(),
    });
    facts.push(Fact::Arrived {
        event: Box::new(Event {
            seq: Seq(0),
            ts: instant(AT),
            agent_id: Some(agent()),
            run_id: None,
            session_id: None,
            payload: Payload::WebhookReceived(WebhookReceived {
                webhook: "deploy".into(),
                delivery: "72d3162e".into(),
                event: Some("push".into()),
                body: serde_json::json!({"ref": "refs/heads/main"}),
            }),
        }),
        mark: String::new(),
    });
    facts.push(Fact::Arrived {
        event: Box::new(Event {
            seq: Seq(0),
            ts: instant(AT),
            agent_id: Some(agent()),
            run_id: None,
            session_id: None,
            payload: Payload::McpEventReceived(McpEventReceived {
                server: "github".into(),
                event: "issue.opened".into(),
                id: "evt_1".into(),
                happened_at: Some(instant(SLOT)),
                data: serde_json::json!({"number": 7}),
                left_out: Some(300_000),
            }),
        }),
        mark: String::new(),
    });
    facts.push(Fact::EventsSkipped {
        agent: agent(),
        skipped: McpEventsSkipped {
            server: "github".into(),
            event: "issue.opened".into(),
            why: "the server no longer knew where it was".into(),
        },
    });
    let slots = [instant("2026-11-01T09:00:00Z"), instant("2026-11-02T09:00:00Z")];
    facts.push(Fact::BackfillBegan(Box::new(BackfillRecord {
        id: "nov".into(),
        agent: agent(),
        slots: slots.into(),
        params: [("n".to_owned(), 3.into())].into(),
        max_usd: Some(5.0),
        claimed: 0,
        usd: 0.0,
    })));
    facts.push(Fact::BackfillEnded {
        id: "nov".into(),
        agent: agent(),
        claimed: 1,
        count: 2,
        usd: 0.5,
        cause: Some("its run was cancelled".into()),
    });
    facts.push(Fact::WorkspaceRemoved {
        run: run(),
        agent: Some(agent()),
        attempt: 2,
        folder: "/home/ada/.local/state/bgagent/kept/0199f3c2-8a00-7000-8000-5d1c1f2e3d4c-2".into(),
        bytes: 3 << 30,
        bound: 10 << 30,
    });
    facts
}

fn events() -> Vec<Event> {
    let told = facts().into_iter().flat_map(|fact| Event::telling(&Entry { at: instant(AT), fact }));
    (1..).map(Seq).zip(told).map(|(seq, event)| Event { seq, ..event }).collect()
}

#[test]
fn the_bytes_of_every_event_are_those_of_before() {
    let told: Vec<String> =
        events().iter().map(|event| serde_json::to_string(&event.logged()).unwrap()).collect();
    assert_eq!(told.len(), EXAMPLES.lines().count());
    for (told, pinned) in told.iter().zip(EXAMPLES.lines()) {
        assert_eq!(told, pinned);
    }
    for kind in EventType::ALL {
        let name = format!("\"type\":\"{kind}\"");
        assert!(EXAMPLES.lines().any(|line| line.contains(&name)), "no example of {kind}");
    }
}

#[test]
fn what_is_logged_is_read_as_it_was_told() {
    for (told, line) in events().into_iter().zip(EXAMPLES.lines()) {
        let logged: LoggedEvent = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&logged).unwrap(), line);
        let mut told = told;
        round(&mut told.payload);
        assert_eq!(logged.event(), Some(told));
    }
}

/// Sums of money are rounded on their way.
fn round(payload: &mut Payload) {
    match payload {
        Payload::TaskCompleted(TaskCompleted { usage, .. })
        | Payload::TaskError(AttemptEnded { end: Some(RunOver { usage, .. }), .. })
        | Payload::TaskCancelled(AttemptEnded { end: Some(RunOver { usage, .. }), .. })
        | Payload::ModelResponse(ResponseCame { usage, .. }) => usage.usd = (usage.usd * 1e12).round() / 1e12,
        _ => {}
    }
}

#[test]
fn an_event_that_is_not_known_stays_as_it_is() {
    let later = r#"{"seq":7,"ts":"2026-11-24T09:00:00Z","type":"invented_tomorrow","agent_id":"news","payload":{"b":1,"a":[2]}}"#;
    let logged: LoggedEvent = serde_json::from_str(later).unwrap();
    assert_eq!((logged.seq, logged.known(), logged.event()), (Seq(7), None, None));
    assert_eq!(logged.payload.to_string(), r#"{"a":[2],"b":1}"#);
    // a type that is known, with a field of tomorrow, and with a word of tomorrow
    let more =
        r#"{"seq":7,"ts":"2026-11-24T09:00:00Z","type":"circuit_closed","payload":{"by":"u","reason":"x"}}"#;
    let logged: LoggedEvent = serde_json::from_str(more).unwrap();
    let closed = Payload::CircuitClosed(CircuitClosed { reason: "x".into() });
    assert_eq!(logged.event().map(|event| event.payload), Some(closed));
    assert_eq!(serde_json::to_string(&logged).unwrap(), more);
    let word = more.replace("circuit_closed", "background_slot_skipped");
    let word = word.replace(r#""reason":"x""#, r#""cause":"x","count":1,"verdict":"skipped_moon""#);
    let logged: LoggedEvent = serde_json::from_str(&word).unwrap();
    assert_eq!((logged.known(), logged.event()), (Some(EventType::SlotSkipped), None));
}

/// Rows of releases that said less, or told a cancelled run as an error.
#[test]
fn rows_of_before_are_read() {
    let read = |kind: &str, payload: serde_json::Value| {
        Payload::from_json(EventType::parse(kind).unwrap(), &payload).unwrap()
    };
    let Payload::SlotSkipped(skipped) = read(
        "background_slot_skipped",
        serde_json::json!({"verdict": "dropped", "slot": null, "last_slot": null, "count": 1, "cause": "c"}),
    ) else {
        panic!("another payload")
    };
    assert_eq!(skipped.event, None);
    let usage = serde_json::to_value(Usage::default()).unwrap();
    let Payload::TaskError(ended) = read(
        "background_task_error",
        serde_json::json!({
            "status": "cancelled", "error": "cancelled", "kind": null, "error_count": 0, "will_retry": false,
            "retry_at": null, "attempt": 1, "exit_code": null, "duration_ms": 5, "usage": usage, "warnings": [],
        }),
    ) else {
        panic!("another payload")
    };
    assert_eq!(ended.end.map(|end| end.status), Some(RunStatus::Cancelled));
}
