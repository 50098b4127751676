//! `bgagent forecast`: estimates what the fleet will cost, from its history, its calendar and its limits; and which
//! limit would be hit.
mod gather;

use super::prelude::*;
use crate::cli::args::ForecastArgs;
use crate::cli::render::usd;
use crate::cli::when;
use crate::domain::{counted, glob};
use crate::forecast::{
    AgentForecast, Basis, FleetForecast, LimitOutlook, SpendRange, SpendingLimit, forecast,
};
use gather::{ForecastInputs, gather};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Longest period of a forecast.
const MAX_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 366);
/// Shortest period of a forecast.
const MIN_PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// Chances below this are not shown.
const MIN_SHOWN_CHANCE: f64 = 0.005;

pub(in crate::cli) fn run(app: &mut App, args: &ForecastArgs) -> Result<Outcome, Failure> {
    let period = parse_period("--for", &args.period, MIN_PERIOD)?;
    let history = parse_period("--history", &args.history, SignedDuration::from_hours(24))?;
    let from = app.screen.now;
    let until = from.saturating_add(period).unwrap_or(Timestamp::MAX);
    let gathered = gather(app, (from, until), history)?;
    let all = forecast(&gathered.agents, &gathered.limits, (from, until), &gathered.zone);
    let chosen = select_agents(&gathered, &args.agents)?;
    let shown = match &chosen {
        None => all,
        Some(chosen) => {
            let agents: Vec<_> = chosen.iter().map(|at| gathered.agents[*at].clone()).collect();
            // limits of the fleet are hit by the spending of all agents
            let of_chosen = |one: &LimitOutlook| one.limit.agent.is_none_or(|agent| chosen.contains(&agent));
            let limits = all.limits.into_iter().filter(of_chosen).collect();
            FleetForecast { limits, ..forecast(&agents, &[], (from, until), &gathered.zone) }
        }
    };
    let view = View { shown, gathered, from, until, is_part: chosen.is_some() };
    if view.gathered.agents.is_empty() && !app.json {
        app.note("no agent asks a model: nothing is spent");
        return Ok(Outcome::Done);
    }
    if app.json {
        app.print_json(&view.to_json())?;
        return Ok(Outcome::Done);
    }
    let text = view.text(&args.period, &app.screen);
    app.print(&text)?;
    app.flush()?;
    for note in view.notes(app.screen.width.is_some()) {
        app.note(&note);
    }
    Ok(Outcome::Done)
}

/// Parses the duration of a flag, and checks that it is within bounds.
fn parse_period(flag: &str, text: &str, least: SignedDuration) -> Result<SignedDuration, Failure> {
    let span = when::duration(text)?;
    if span < least || span > MAX_PERIOD {
        let hours = least.as_hours();
        return Err(Failure::usage_hint(
            format!("{flag} {text}: it must be {hours} h to 366 d"),
            format!("{flag} 30d"),
        ));
    }
    Ok(span)
}

/// Returns the indices of the selected agents; `None`: all.
fn select_agents(gathered: &ForecastInputs, wanted: &[String]) -> Result<Option<Vec<usize>>, Failure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    for one in wanted {
        let is_it = |name: &&String| glob(one, name);
        if gathered.names.iter().any(|name| is_it(&name)) {
            continue;
        }
        let hint = "`bgagent list` has their names";
        return Err(Failure::Negative { what: format!("there is no agent `{one}`"), hint: hint.into() });
    }
    let is_meant = |at: &usize| wanted.iter().any(|one| glob(one, &gathered.agents[*at].agent));
    Ok(Some((0..gathered.agents.len()).filter(is_meant).collect()))
}

/// The data that is shown.
struct View {
    shown: FleetForecast,
    gathered: ForecastInputs,
    from: Timestamp,
    until: Timestamp,
    /// Only some agents are selected.
    is_part: bool,
}

impl View {
    fn text(&self, period: &str, screen: &Screen) -> String {
        let date = |at: Timestamp| at.to_zoned(self.gathered.zone.clone()).date();
        let head = format!("The next {period}: {} to {}\n", date(self.from), date(self.until));
        let mut text = screen.paint(Tone::Strong, &head);
        text += &self.table().render(screen);
        if !self.shown.limits.is_empty() {
            text.push('\n');
            text += &self.limits(screen);
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new()
            .shrinking("AGENT", 10)
            .number("DUE")
            .number("RUNS")
            .number("USD P50")
            .number("P95")
            .number("WORST")
            .number("TOKENS P50")
            .number("P95")
            .number("WORST")
            .column("FROM");
        let mut agents: Vec<&AgentForecast> = self.shown.agents.iter().collect();
        let cost = |agent: &AgentForecast| agent.usd.map_or(0.0, |usd| usd.p95);
        agents.sort_by(|a, b| cost(b).total_cmp(&cost(a)).then_with(|| a.agent.cmp(&b.agent)));
        for agent in &agents {
            let mut row = vec![
                Cell::toned(Tone::Strong, plain(&agent.agent)),
                agent.due.to_string().into(),
                format!("{:.0}", agent.runs).into(),
            ];
            row.extend(dollars(agent.usd));
            row.extend(tokens(&agent.tokens));
            row.push(match agent.basis {
                Basis::History => counted(agent.runs_before as usize, "run").into(),
                Basis::Thin => Cell::toned(Tone::Warn, counted(agent.runs_before as usize, "run")),
                Basis::Limits => Cell::toned(Tone::Warn, "limits"),
            });
            table.row(row);
        }
        if agents.len() > 1 {
            let mut row = vec![
                Cell::toned(Tone::Strong, "together"),
                agents.iter().map(|agent| agent.due).sum::<u64>().to_string().into(),
                format!("{:.0}", agents.iter().map(|agent| agent.runs).sum::<f64>()).into(),
            ];
            row.extend(dollars(Some(self.shown.usd)));
            row.extend(tokens(&self.shown.tokens));
            row.push("".into());
            table.row(row);
        }
        table
    }

    fn limits(&self, screen: &Screen) -> String {
        let mut table = Table::new()
            .shrinking("LIMIT", 12)
            .number("ALLOWS")
            .number("USED")
            .column("IS HIT")
            .column("AT WORST");
        for one in &self.shown.limits {
            let amount = |of: f64| if one.limit.of_tokens { format!("{of:.0}") } else { usd(of) };
            let (hit, tone) = describe_hit(one);
            table.row(vec![
                plain(&self.name_of(&one.limit)).into(),
                amount(one.limit.allowed).into(),
                amount(one.limit.used).into(),
                Cell::toned(tone, hit),
                one.worst_on.map_or_else(|| "not".to_owned(), |day| format!("from {day} on")).into(),
            ]);
        }
        table.render(screen)
    }

    /// Returns the name of a limit: `[budget] usd_per_day`, `news usd_per_day`.
    fn name_of(&self, limit: &SpendingLimit) -> String {
        let whose = limit.agent.map_or("[budget]", |agent| &self.gathered.agents[agent].agent);
        format!("{whose} {}", limit.key)
    }

    /// Returns notes on what the figures leave out.
    fn notes(&self, is_terminal: bool) -> Vec<String> {
        let mut notes = Vec::new();
        let names = |wanted: &dyn Fn(&&AgentForecast) -> bool| -> Vec<String> {
            self.shown.agents.iter().filter(wanted).map(|agent| plain(&agent.agent)).collect()
        };
        let limits = names(&|agent| agent.basis == Basis::Limits && (agent.due > 0 || agent.runs > 0.0));
        if !limits.is_empty() {
            notes.push(format!(
                "next to no history, so each due moment counts at its worst: {}",
                limits.join(", ")
            ));
        }
        let thin = names(&|agent| agent.basis == Basis::Thin);
        if !thin.is_empty() {
            notes.push(format!("a short history, so take it with care: {}", thin.join(", ")));
        }
        let unpriced = names(&|agent| agent.usd.is_none());
        if !unpriced.is_empty() {
            notes.push(format!(
                "models without a price, so only their tokens are counted: {}",
                unpriced.join(", ")
            ));
        }
        for (names, why) in [
            (
                &self.gathered.by_events,
                "started by events, files, webhooks or people: counted at the rate of their history",
            ),
            (&self.gathered.held, "paused or stopped: not counted as due"),
        ] {
            let shown: Vec<String> = names
                .iter()
                .filter(|name| self.shown.agents.iter().any(|agent| agent.agent == **name))
                .map(|name| plain(name))
                .collect();
            if !shown.is_empty() {
                notes.push(format!("{why}: {}", shown.join(", ")));
            }
        }
        if self.is_part && !self.shown.limits.is_empty() {
            notes.push("limits in [budget] are those of the whole fleet".into());
        }
        if is_terminal {
            notes.push("p50: as likely more as less; p95: not more in 19 of 20 cases; worst: what the limits allow. man bgagent-forecast".into());
        }
        notes
    }

    fn to_json(&self) -> Value {
        // rounds off errors of binary fractions
        let amount = |of: f64| (of * 1e9).round() / 1e9;
        let range = |range: &SpendRange| json!({"p50": amount(range.p50), "p95": amount(range.p95), "worst": range.worst.map(amount)});
        let agents: Vec<Value> = self
            .shown
            .agents
            .iter()
            .map(|agent| {
                json!({
                    "agent_id": agent.agent, "basis": agent.basis.as_str(), "runs_before": agent.runs_before, "due": agent.due,
                    "runs": agent.runs, "usd": agent.usd.as_ref().map(range), "tokens": range(&agent.tokens),
                    "by_events": self.gathered.by_events.contains(&agent.agent), "held": self.gathered.held.contains(&agent.agent),
                })
            })
            .collect();
        let limits: Vec<Value> = self
            .shown
            .limits
            .iter()
            .map(|one| {
                json!({
                    "agent_id": one.limit.agent.map(|agent| &self.gathered.agents[agent].agent), "limit": one.limit.key,
                    "allowed": one.limit.allowed, "used": one.limit.used, "chance": one.chance,
                    "likely_on": one.likely_on, "possible_on": one.possible_on, "worst_on": one.worst_on,
                })
            })
            .collect();
        json!({
            "from": self.from, "until": self.until, "agents": agents, "usd": range(&self.shown.usd),
            "tokens": range(&self.shown.tokens), "limits": limits,
        })
    }
}

/// Returns the three dollar cells of a row.
fn dollars(range: Option<SpendRange>) -> Vec<Cell> {
    let Some(range) = range else { return vec!["-".into(), "-".into(), "-".into()] };
    vec![
        usd(range.p50).into(),
        usd(range.p95).into(),
        range.worst.map_or_else(|| "no limit".into(), usd).into(),
    ]
}

fn tokens(range: &SpendRange) -> Vec<Cell> {
    let one = |of: f64| Cell::from(format!("{of:.0}"));
    vec![one(range.p50), one(range.p95), range.worst.map_or_else(|| "no limit".into(), one)]
}

/// Describes whether and when a limit is hit.
fn describe_hit(one: &LimitOutlook) -> (String, Tone) {
    let percent = (one.chance * 100.0).round();
    match (one.likely_on, one.possible_on) {
        (Some(day), _) => (format!("likely, by {day} ({percent} %)"), Tone::Bad),
        (None, Some(day)) => (format!("maybe, from {day} on ({percent} %)"), Tone::Warn),
        (None, None) if one.chance >= MIN_SHOWN_CHANCE => (format!("hardly ({percent} %)"), Tone::Plain),
        (None, None) => ("not".into(), Tone::Good),
    }
}
