//! Gathers the inputs of a forecast: the configuration, and the history from the daemon or its records.
use super::super::prelude::*;
use crate::cli::respondent::Respondent;
use crate::config::Context;
use crate::domain::{AgentSpec, Body, Desired, Fleet, Schedule, Trigger};
use crate::forecast::{AgentBasis, DueFrom, LimitSpan, PastRun, PerRun, SpendingLimit, days_of, due_by_day};
use crate::protocol::{
    AgentView, GetUsage, ListAgents, ListParams, ListRuns, ListRunsParams, ListSlots, ListSlotsParams,
    RunView, SlotPosition, SlotRecordView, UsageGroups, UsageParams,
};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Runs per answer, and maximum number of answers.
const PAGE_ROWS: u64 = 10_000;
const MAX_PAGES: usize = 5;

/// All inputs of a forecast.
pub(super) struct ForecastInputs {
    /// Agents that ask models.
    pub(super) agents: Vec<AgentBasis>,
    /// Limits of the fleet and of those agents.
    pub(super) limits: Vec<SpendingLimit>,
    /// The daemon's time zone, whose days budgets are counted in.
    pub(super) zone: TimeZone,
    /// Names of all agents.
    pub(super) names: Vec<String>,
    /// Names of agents that are also, or only, started by something other than the calendar.
    pub(super) by_events: Vec<String>,
    /// Names of those that are paused or stopped.
    pub(super) held: Vec<String>,
}

pub(super) fn gather(
    app: &mut App,
    (from, until): (Timestamp, Timestamp),
    history: SignedDuration,
) -> Result<ForecastInputs, Failure> {
    let path = app.config_in_use()?;
    let context = Context::system(from).of_state(&app.paths()?.state_dir);
    let loaded = crate::config::load(&path, &context)
        .map_err(|rejected| Failure::rejected(&rejected, app.stderr_color))?;
    let fleet = loaded.fleet;
    let zone = fleet.daemon.timezone.clone();
    let names = fleet.names().map(ToString::to_string).collect();
    let asking: Vec<&AgentSpec> =
        fleet.agents.iter().map(|spec| &**spec).filter(|spec| fleet.model_of(&spec.body).is_some()).collect();
    if asking.is_empty() {
        let (agents, limits, by_events, held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        return Ok(ForecastInputs { agents, limits, zone, names, by_events, held });
    }
    let mut known = app.reading()?;
    let past = Past::read(&mut known, &asking, from, history, &zone)?;
    let ends = days_of(from, until, &zone);
    let mut agents = Vec::new();
    for spec in &asking {
        agents.push(past.of(spec, &fleet, from, &ends));
    }
    let limits = limits(&asking, &fleet, &past);
    let name = |spec: &&&AgentSpec| spec.id.to_string();
    let by_events =
        asking.iter().filter(|spec| !has_calendar(&spec.schedule)).map(|spec| name(&spec)).collect();
    let held = asking.iter().filter(|spec| past.held_until(spec.id.as_str(), from).is_some());
    let held = held.map(|spec| name(&spec)).collect();
    Ok(ForecastInputs { agents, limits, zone, names, by_events, held })
}

/// Returns whether the calendar says when the agent is due.
fn has_calendar(schedule: &Schedule) -> bool {
    schedule.parts().iter().any(|part| {
        matches!(part, Schedule::Every(_) | Schedule::Cron(_) | Schedule::At(_) | Schedule::After(_))
    })
}

/// Returns whether this part of a schedule starts the agent at unpredictable times.
fn is_by_event(part: &Schedule) -> bool {
    matches!(part, Schedule::On(_) | Schedule::Join(_)) || part.is_from_outside()
}

/// The history of the fleet.
struct Past {
    states: BTreeMap<String, AgentView>,
    runs: BTreeMap<String, Vec<RunView>>,
    slots: BTreeMap<String, Vec<SlotRecordView>>,
    /// Spending by agent: of today, and of this month.
    today: BTreeMap<String, PastRun>,
    month: BTreeMap<String, PastRun>,
    since: Timestamp,
}

impl Past {
    fn read(
        known: &mut Respondent,
        asking: &[&AgentSpec],
        now: Timestamp,
        history: SignedDuration,
        zone: &TimeZone,
    ) -> Result<Self, Failure> {
        let states = known.call::<ListAgents>(&ListParams::default())?;
        let names: Vec<String> = asking
            .iter()
            .map(|spec| spec.id.to_string())
            // an agent that was added to the file since is not known to the daemon yet, and has no history
            .filter(|name| states.iter().any(|state| state.agent_id.as_str() == *name))
            .collect();
        let mut since = now.saturating_sub(history).unwrap_or(Timestamp::MIN);
        let mut runs: Vec<RunView> = Vec::new();
        let mut slots = Vec::new();
        if !names.is_empty() {
            for _ in 0..MAX_PAGES {
                let params = ListRunsParams {
                    agents: names.clone(),
                    since: Some(since),
                    before: runs.last().map(|run| run.run_id.to_string()),
                    brief: true,
                    limit: Some(PAGE_ROWS),
                    ..ListRunsParams::default()
                };
                let page = known.call::<ListRuns>(&params)?;
                let is_last = (page.len() as u64) < PAGE_ROWS;
                runs.extend(page);
                if is_last {
                    break;
                }
            }
            // of a long history only the newest part is read: due slots and days must be counted over the same period
            if let (Some(oldest), true) = (runs.last(), runs.len() as u64 >= PAGE_ROWS * MAX_PAGES as u64) {
                since = since.max(oldest.queued_at);
            }
            loop {
                let after = slots.last().map(|last: &SlotRecordView| SlotPosition {
                    agent_id: last.agent_id.to_string(),
                    first: last.first,
                });
                let params = ListSlotsParams {
                    agents: names.clone(),
                    from: Some(since),
                    to: Some(now),
                    limit: Some(PAGE_ROWS),
                    merge_secs: Some(history.unsigned_abs().as_secs()),
                    after,
                    ..ListSlotsParams::default()
                };
                let page = known.call::<ListSlots>(&params)?;
                let is_last = (page.len() as u64) < PAGE_ROWS;
                slots.extend(page);
                if is_last {
                    break;
                }
            }
        }
        let day = now.to_zoned(zone.clone()).day();
        let mut used = |days: u32| -> Result<BTreeMap<String, PastRun>, Failure> {
            let params = UsageParams { by: Some(UsageGroups::One("agent".into())), days: Some(days) };
            let all = known.call::<GetUsage>(&params)?.into_iter();
            let of = |usd: f64, tokens: u64| PastRun { usd, tokens: tokens as f64 };
            Ok(all.map(|view| (view.key, of(view.usage.usd, view.usage.tokens()))).collect())
        };
        let (today, month) = (used(1)?, used(u32::try_from(day).unwrap_or(1))?);
        let mut by_agent = BTreeMap::<String, Vec<RunView>>::new();
        for run in runs {
            by_agent.entry(run.agent_id.to_string()).or_default().push(run);
        }
        let mut slots_of = BTreeMap::<String, Vec<SlotRecordView>>::new();
        for record in slots {
            slots_of.entry(record.agent_id.to_string()).or_default().push(record);
        }
        let states = states.into_iter().map(|state| (state.agent_id.to_string(), state)).collect();
        Ok(Self { states, runs: by_agent, slots: slots_of, today, month, since })
    }

    /// Returns until when the agent is paused or stopped; `None`: it is active.
    fn held_until(&self, agent: &str, now: Timestamp) -> Option<Timestamp> {
        let state = self.states.get(agent)?;
        match state.state {
            Desired::Active => None,
            _ => Some(state.resume_at.unwrap_or(Timestamp::MAX).max(now)),
        }
    }

    fn of(&self, spec: &AgentSpec, fleet: &Fleet, now: Timestamp, ends: &[Timestamp]) -> AgentBasis {
        let name = spec.id.as_str();
        let ended: Vec<&RunView> = self
            .runs
            .get(name)
            .into_iter()
            .flatten()
            .filter(|run| run.status.is_final() && run.mode.as_deref() != Some("replay"))
            .collect();
        let slots = self.slots.get(name).map_or(&[][..], Vec::as_slice);
        let by_slot = |run: &&&RunView| {
            matches!(run.trigger, Trigger::Schedule | Trigger::CatchUp) && run.slot.is_some()
        };
        let asked_for = |run: &&&RunView| run.backfill_id.is_none();
        let when_due = ended.iter().filter(asked_for).filter(by_slot).count();
        let by_event = ended.iter().filter(asked_for).filter(|run| run.trigger == Trigger::Event).count();
        let by_hand = ended.iter().filter(asked_for).count() - when_due - by_event;
        let held_until = self.held_until(name, now);
        let besides = by_hand as u64 + runs_while_active(by_event as u64, held_until, now, ends);
        let first =
            ended.iter().map(|run| run.queued_at).chain(slots.iter().map(|record| record.first)).min();
        let begun = first.unwrap_or(now).max(self.since);
        let took: i64 = ended.iter().filter_map(|run| run.duration_ms).sum();
        let took = took / i64::try_from(ended.len()).unwrap_or(1).max(1);
        let next = self.states.get(name).and_then(|state| state.next_run).filter(|next| *next >= now);
        let due_from = DueFrom { from: now, next, took: SignedDuration::from_millis(took) };
        let mut due = due_by_day(spec, due_from, ends);
        if let Some(held_until) = held_until {
            due.iter_mut().zip(ends).filter(|(_, end)| **end <= held_until).for_each(|(count, _)| *count = 0);
        }
        AgentBasis {
            agent: name.to_owned(),
            due,
            runs: ended
                .iter()
                .map(|run| PastRun { usd: run.usage.usd, tokens: run.usage.tokens() as f64 })
                .collect(),
            due_before: slots.iter().map(|record| record.count).sum::<u64>().max(when_due as u64),
            runs_when_due: when_due as u64,
            runs_besides: besides,
            by_events: spec.schedule.parts().iter().any(is_by_event) && held_until != Some(Timestamp::MAX),
            days_before: (now.duration_since(begun).as_secs_f64() / 86_400.0).max(if first.is_some() {
                1.0
            } else {
                0.0
            }),
            per_run: per_run(spec, fleet),
            per_day: PerRun {
                usd: spec.limits.usd_per_day,
                tokens: spec.limits.tokens_per_day.map(|tokens| tokens as f64),
            },
            used_today: self.today.get(name).copied().unwrap_or_default(),
            has_price: models(spec, fleet).iter().all(|price| price.is_some()),
        }
    }
}

/// Scales a number of event-started runs to the part of the period in which the agent is active: a held agent ignores
/// events.
fn runs_while_active(runs: u64, held_until: Option<Timestamp>, now: Timestamp, ends: &[Timestamp]) -> u64 {
    let Some((held_until, end)) = held_until.zip(ends.last()) else { return runs };
    let whole = end.duration_since(now).as_secs_f64();
    let left = end.duration_since(held_until.min(*end)).as_secs_f64();
    if whole > 0.0 { (runs as f64 * (left / whole).clamp(0.0, 1.0)).round() as u64 } else { 0 }
}

/// Returns the highest price per token of each model that may answer the agent; `None` for one without a price.
fn models(spec: &AgentSpec, fleet: &Fleet) -> Vec<Option<f64>> {
    let own = fleet.model_of(&spec.body).and_then(|name| fleet.models.get(name));
    let others = own.filter(|_| matches!(spec.body, Body::Query(_))).map_or(&[][..], |model| &model.fallback);
    let all = own.into_iter().chain(others.iter().filter_map(|name| fleet.models.get(name)));
    all.map(|model| model.price.map(|price| price.input.max(price.cache_write).max(price.output) / 1e6))
        .collect()
}

/// Returns the worst case of a run: its limit in dollars, or all of its tokens at the highest price.
fn per_run(spec: &AgentSpec, fleet: &Fleet) -> PerRun {
    let tokens = spec.limits.total_tokens_limit as f64;
    let dearest = models(spec, fleet).into_iter().collect::<Option<Vec<f64>>>();
    let by_tokens = dearest.map(|all| all.into_iter().fold(0.0, f64::max) * tokens);
    let usd = match (spec.limits.max_usd_per_run, by_tokens) {
        (Some(limit), Some(by_tokens)) => Some(by_tokens.min(limit)),
        (one, other) => one.or(other),
    };
    PerRun { usd, tokens: Some(tokens) }
}

/// Returns the limits of the fleet, and the daily limits of agents.
fn limits(asking: &[&AgentSpec], fleet: &Fleet, past: &Past) -> Vec<SpendingLimit> {
    let sum = |of: &BTreeMap<String, PastRun>| {
        of.values().fold(PastRun::default(), |sum, one| PastRun {
            usd: sum.usd + one.usd,
            tokens: sum.tokens + one.tokens,
        })
    };
    let (today, month) = (sum(&past.today), sum(&past.month));
    let budget = &fleet.budget;
    let tokens = |tokens: Option<u64>| tokens.map(|tokens| tokens as f64);
    let mut all = Vec::new();
    let mut add = |agent, key, of_tokens, span, allowed: Option<f64>, used| {
        all.extend(allowed.map(|allowed| SpendingLimit { agent, key, of_tokens, span, allowed, used }));
    };
    add(None, "usd_per_day", false, LimitSpan::Day, budget.usd_per_day, today.usd);
    add(None, "usd_per_month", false, LimitSpan::Month, budget.usd_per_month, month.usd);
    add(None, "tokens_per_day", true, LimitSpan::Day, tokens(budget.tokens_per_day), today.tokens);
    for (at, spec) in asking.iter().enumerate() {
        let used = past.today.get(spec.id.as_str()).copied().unwrap_or_default();
        let limits = &spec.limits;
        add(Some(at), "usd_per_day", false, LimitSpan::Day, limits.usd_per_day, used.usd);
        add(Some(at), "tokens_per_day", true, LimitSpan::Day, tokens(limits.tokens_per_day), used.tokens);
    }
    all
}

#[cfg(test)]
mod tests {
    //! Tests of due times and limits read from configurations.
    use super::*;
    use crate::config::parse;

    fn from() -> Timestamp {
        "2026-11-30T12:00:00Z".parse().unwrap()
    }

    fn until(days: i64) -> Timestamp {
        from() + SignedDuration::from_hours(24 * days)
    }

    #[test]
    fn due_moments_are_counted_by_the_calendar() {
        let text = "[daemon]\ntimezone = \"UTC\"\n\
            [agents.hourly]\ncommand = \"true\"\ninterval = \"1h\"\n[agents.daily]\ncommand = \"true\"\ncron = \"0 18 * * *\"\n[agents.work]\ncommand = \"true\"\ninterval = \"10m\"\nactive = \"09:00-17:00\"\n\
            [agents.event]\ncommand = \"true\"\non = { event = \"background_task_completed\", agent = \"daily\" }\n[agents.hand]\ncommand = \"true\"\n\
            [agents.after]\ncommand = \"true\"\nafter = \"50m\"\n[agents.many]\ncommand = \"true\"\nwhen = [{ cron = \"0 * * * *\" }, { cron = \"0 18 * * *\" }]\n";
        let loaded =
            match parse(text.to_owned(), std::path::Path::new("/c/agents.toml"), &Context::system(from())) {
                Ok(loaded) => loaded,
                Err(rejected) => panic!("{:?}", rejected.diagnostics),
            };
        let ends = days_of(from(), until(2), &TimeZone::UTC);
        assert_eq!(ends.len(), 3);
        let due = |name: &str| {
            let spec = loaded.fleet.agents.iter().find(|agent| agent.id.as_str() == name).unwrap();
            let took = SignedDuration::from_mins(10);
            due_by_day(spec, DueFrom { from: from(), next: None, took }, &ends)
        };
        assert_eq!(due("hourly").iter().sum::<u64>(), 47, "the last one is at the end, and so beyond it");
        assert_eq!(due("daily"), [1, 1, 0]);
        assert_eq!(due("work"), [29, 48, 18]);
        assert_eq!((due("event"), due("hand")), (vec![0; 3], vec![0; 3]));
        assert_eq!(due("after"), [12, 24, 12]);
        assert_eq!(due("many"), [12, 24, 12]);
    }

    #[test]
    fn events_of_an_agent_that_is_held_back_start_nothing() {
        let ends = days_of(from(), until(10), &TimeZone::UTC);
        let runs_while_active = |held_until| super::runs_while_active(100, held_until, from(), &ends);
        assert_eq!(runs_while_active(None), 100);
        assert_eq!(runs_while_active(Some(Timestamp::MAX)), 0);
        assert_eq!(runs_while_active(Some(from())), 100);
        assert_eq!(runs_while_active(Some(until(5))), 50);
    }

    #[test]
    fn what_is_due_seldom_is_due_when_it_is() {
        let text = "[agents.monthly]\ncommand = \"true\"\ninterval = \"30d\"\n[agents.late]\ncommand = \"true\"\nafter = \"36h\"\n";
        let loaded =
            parse(text.to_owned(), std::path::Path::new("/c/agents.toml"), &Context::system(from())).unwrap();
        let ends = days_of(from(), until(6), &TimeZone::UTC);
        let due = |name: &str, next: Option<Timestamp>| {
            let due_from = DueFrom { from: from(), next, took: SignedDuration::ZERO };
            let spec = loaded.fleet.agents.iter().find(|agent| agent.id.as_str() == name).unwrap();
            due_by_day(spec, due_from, &ends).iter().sum::<u64>()
        };
        assert_eq!((due("monthly", None), due("monthly", Some(until(2)))), (0, 1));
        assert_eq!((due("late", None), due("late", Some(until(1)))), (4, 4));
    }

    #[test]
    fn a_run_at_its_worst_is_bounded_by_dollars_or_by_tokens() {
        let text = "[models.m]\nprovider = \"openai\"\nmodel = \"m\"\napi_key = { env = \"K\" }\nprice = { input = 1, output = 10 }\n\
            [models.free]\nprovider = \"ollama\"\nmodel = \"f\"\n[defaults]\nmodel = \"m\"\ntotal_tokens_limit = 100000\n\
            [agents.a]\nquery = \"?\"\n[agents.b]\nquery = \"?\"\nmax_usd_per_run = 0.5\n[agents.c]\nquery = \"?\"\nmodel = \"free\"\n";
        let loaded =
            match parse(text.to_owned(), std::path::Path::new("/c/agents.toml"), &Context::system(from())) {
                Ok(loaded) => loaded,
                Err(rejected) => panic!("{:?}", rejected.diagnostics),
            };
        let of = |at: usize| per_run(&loaded.fleet.agents[at], &loaded.fleet).usd;
        assert_eq!((of(0), of(1), of(2)), (Some(1.0), Some(0.5), None));
    }
}
