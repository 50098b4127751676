//! Fleets by chance: every kind of schedule and policy, and changes of them.
use crate::rng::Rng;
use bgagent::domain::*;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const CRONS: [&str; 8] = [
    "*/20 * * * *",
    "30 2 * * *",
    "0 9 * * MON-FRI",
    "15,45 1-3 * * *",
    "0 */2 * * *",
    "5 4 */2 * MON",
    "30 1 * * *",
    "0 0 1,15 * 3",
];
const ZONES: [&str; 4] = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"];

/// Names and what they do, all of them for the whole simulation: a name may leave and come back.
pub fn names() -> [AgentId; 9] {
    ["anchor", "bell", "chain", "drift", "eager", "fuse", "glue", "hush", "idle"]
        .map(|name| name.parse().unwrap())
}

fn secs(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

pub fn agent(name: &AgentId, rng: &mut Rng, now: Timestamp) -> AgentSpec {
    let limits = Limits {
        timeout: secs(600),
        total_timeout: rng.chance(20).then(|| secs(3600)),
        tool_call_timeout: secs(30),
        request_limit: 20,
        total_tokens_limit: 100_000,
        max_steps: 30,
        max_usd_per_run: None,
        usd_per_day: None,
        tokens_per_day: None,
        requests_per_day: None,
        max_output: 1 << 20,
    };
    let active_times = active_times(name, rng, now);
    let notify = NotifySpec { to: vec!["ops".into()], on: TellOn::ALL.to_vec(), repeat: secs(21_600) };
    let mut spec = AgentSpec {
        id: name.clone(),
        description: None,
        schedule: Schedule::Manual,
        active_times,
        params: None,
        jitter: SignedDuration::ZERO,
        first_run: *rng.pick(&[FirstRun::Now, FirstRun::AfterInterval]),
        catch_up: CatchUp {
            policy: *rng.pick(&[CatchUpPolicy::Latest, CatchUpPolicy::None, CatchUpPolicy::All]),
            max: rng.between(1, 12) as u32,
            max_age: rng.chance(30).then(|| secs(86_400)),
            spread: rng.chance(30).then(|| secs(300)),
        },
        overlap: *rng.pick(&[
            Overlap::Skip,
            Overlap::Skip,
            Overlap::Queue,
            Overlap::CancelPrevious,
            Overlap::Parallel,
        ]),
        enabled: true,
        body: Body::Command(Arc::new(CommandSpec {
            argv: vec!["true".into()],
            env: BTreeMap::new(),
            cwd: "/".into(),
            default_cwd: false,
            stdin: None,
            sandbox: None,
        })),
        history: History::All,
        gate: None,
        success_when: Arc::from([]),
        limits: Arc::new(limits),
        retry: RetrySpec {
            max: *rng.pick(&[0, 0, 1, 3]),
            backoff: *rng.pick(&[Backoff::Fixed, Backoff::Exponential]),
            initial: secs(rng.between(0, 60)),
            max_delay: secs(300),
            explicit: rng.chance(50),
        },
        circuit: CircuitSpec { open_after: *rng.pick(&[0, 2, 5]), cooldown: secs(rng.span(60, 20_000)) },
        lock: rng.chance(40).then(|| Arc::from(*rng.pick(&["db", "disk"]))),
        on_nodes: None,
        when_cut_off: None,
        control: None,
        notify: rng.chance(50).then(|| Arc::new(notify)),
        deliver: None,
        late_after: None,
        slow_after: None,
        ping: None,
        accept_risk: None,
        config_hash: ConfigHash(0),
        line: 1,
    };
    (spec.schedule, spec.jitter) = schedule(name, rng, now);
    if name.as_str() == "idle" || (name.as_str() == "drift" && rng.chance(50)) {
        let args = serde_json::Value::Null;
        spec.body = Body::Tool(Arc::new(ToolCallSpec { tool: "probe".into(), args }));
        spec.history = History::Changes;
    }
    spec
}

fn schedule(name: &AgentId, rng: &mut Rng, now: Timestamp) -> (Schedule, SignedDuration) {
    let no_jitter = SignedDuration::ZERO;
    match name.as_str() {
        "anchor" => (Schedule::Every(secs(rng.span(300, 7200))), no_jitter),
        "bell" => (cron(rng), no_jitter),
        "chain" => {
            let event = *rng.pick(&[
                EventType::TaskCompleted,
                EventType::TaskError,
                EventType::TaskCancelled,
                EventType::SlotSkipped,
            ]);
            let agent = Some("anchor".parse().unwrap());
            (Schedule::On(EventTrigger { event, agent, untrusted: false }), no_jitter)
        }
        "drift" => (Schedule::After(secs(rng.span(60, 20_000))), no_jitter),
        "eager" => (Schedule::Every(secs(rng.span(600, 20_000))), secs(rng.span(1, 900))),
        "fuse" => {
            let at = now + secs(rng.span(3600, 2_000_000));
            (Schedule::At(at), secs(rng.between(0, 2) * 100))
        }
        "glue" => {
            let event =
                *rng.pick(&[EventType::IncidentOpened, EventType::CircuitOpened, EventType::ConfigApplied]);
            (Schedule::On(EventTrigger { event, agent: None, untrusted: false }), no_jitter)
        }
        "idle" => (Schedule::Every(secs(rng.span(300, 7200))), secs(rng.between(0, 1) * 100)),
        "hush" => {
            (Schedule::Any([cron(rng), Schedule::Every(secs(rng.span(1000, 90_000)))].into()), no_jitter)
        }
        _ => match rng.between(0, 3) {
            0 => (Schedule::Every(secs(86_400)), secs(rng.span(1, 3600))),
            1 => (cron(rng), secs(rng.span(1, 3000))),
            _ => (
                Schedule::Every(SignedDuration::from_micros(rng.span(900_000_000, 90_000_000_000))),
                no_jitter,
            ),
        },
    }
}

fn cron(rng: &mut Rng) -> Schedule {
    let zone = rng.pick(&ZONES);
    let text = rng.pick(&CRONS);
    Schedule::Cron(Arc::new(CronSchedule::parse(text, TimeZone::get(zone).unwrap()).unwrap()))
}

/// Hours and days at which some of them start: holidays are each third day, for a day or for some hours.
fn active_times(name: &AgentId, rng: &mut Rng, now: Timestamp) -> Option<Arc<ActiveTimes>> {
    if !["anchor", "bell", "chain", "drift", "hush", "jar", "lure"].contains(&name.as_str()) || rng.chance(40)
    {
        return None;
    }
    let zone = TimeZone::get(rng.pick::<&str>(&ZONES)).unwrap();
    let day = now.to_zoned(zone.clone()).start_of_day().unwrap().timestamp();
    let periods = (-10..40).map(|nth| {
        let from = day + SignedDuration::from_hours(24 * 3 * nth);
        Period {
            from,
            until: from + SignedDuration::from_hours(rng.span(1, 30)),
            summary: format!("feast {nth}").into(),
        }
    });
    let feasts =
        Arc::new(NamedPeriods { name: "feasts".into(), digest: String::new(), periods: periods.collect() });
    let mut times = ActiveTimes { zone, hours: None, except: Vec::new(), only: Vec::new() };
    if rng.chance(60) {
        let mut time = || jiff::civil::time(rng.between(0, 23) as i8, rng.between(0, 1) as i8 * 30, 0, 0);
        let (from, until) = (time(), time());
        times.hours = (from != until).then_some(Hours { from, until });
    }
    match rng.between(0, 2) {
        0 => times.except.push(feasts),
        1 => times.only.push(feasts),
        _ => {}
    }
    Some(Arc::new(times))
}

/// May an agent start by itself at an instant? Worked out once more, minute by minute of the local clock.
pub fn is_active(spec: &AgentSpec, at: Timestamp) -> bool {
    let Some(times) = spec.active_times.as_deref() else { return true };
    let covers = |calendar: &Arc<NamedPeriods>| {
        calendar.periods.iter().any(|period| period.from <= at && at < period.until)
    };
    let local = at.to_zoned(times.zone.clone()).time();
    let within = times.hours.is_none_or(|hours| match hours.from < hours.until {
        true => hours.from <= local && local < hours.until,
        false => local >= hours.from || local < hours.until,
    });
    within && !times.except.iter().any(covers) && (times.only.is_empty() || times.only.iter().any(covers))
}

/// The same agent, changed in its schedule or in anything else but its jitter.
pub fn edited(spec: &AgentSpec, rng: &mut Rng, now: Timestamp) -> AgentSpec {
    let mut other = agent(&spec.id, rng, now);
    other.first_run = spec.first_run;
    if rng.chance(60) {
        other.schedule = spec.schedule.clone();
        other.jitter = spec.jitter;
    } else if other.schedule == spec.schedule {
        other.jitter = spec.jitter;
    }
    other
}

pub fn fleet<'a>(specs: impl Iterator<Item = &'a AgentSpec>, parallel: usize) -> Arc<Fleet> {
    let mut fleet = Fleet::empty("/agents.toml".into());
    fleet.daemon.max_parallel_runs = parallel;
    fleet.hash.0 = parallel as u64;
    for spec in specs {
        let mut spec = spec.clone();
        spec.config_hash = identity::of_agent(&spec);
        fleet.hash.0 = fleet.hash.0.wrapping_mul(31).wrapping_add(spec.config_hash.0);
        fleet.agents.push(Arc::new(spec));
    }
    Arc::new(fleet)
}

/// How an agent's runs behave, for the whole simulation.
#[derive(Clone, Copy)]
pub struct Temper {
    pub fails: i64,
    pub closes_gate: i64,
    pub longest: i64,
}

pub fn tempers(names: &[AgentId], rng: &mut Rng) -> HashMap<AgentId, Temper> {
    names
        .iter()
        .cloned()
        .map(|name| {
            let fails = *rng.pick(&[0, 5, 30, 90]);
            let closes_gate = *rng.pick(&[0, 0, 0, 50]);
            let closes_gate = if name.as_str() == "idle" { 0 } else { closes_gate };
            (name, Temper { fails, closes_gate, longest: rng.span(10, 5000) })
        })
        .collect()
}
