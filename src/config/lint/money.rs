//! Limits in dollars and tokens that can't be enforced, or that no request fits.
use super::place::{Place, SCHEDULE};
use crate::config::document::File;
use crate::config::walk::Section;
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Returns the models without a price that may answer an agent: its own, and its fallbacks.
fn unpriced<'a>(file: &'a File<'_>, body: &'a Body, fleet: &'a Fleet) -> impl Iterator<Item = &'a str> {
    let model = fleet.model_of(body);
    // An agent program's requests go to that model only.
    let falls_back = model.filter(|_| matches!(body, Body::Query(_)));
    let fallback = falls_back.and_then(|name| fleet.models.get(name)).map(|model| model.fallback.as_slice());
    let all = model.into_iter().chain(fallback.unwrap_or_default().iter().map(String::as_str));
    all.filter(|name| {
        // An error in a model may be in its price.
        fleet.models.get(*name).is_some_and(|model| model.price.is_none()) && !file.is_broken("models", name)
    })
}

fn give_a_price(model: &str) -> String {
    format!(
        "add price = {{ input = …, output = … }} to [models.{model}], or price = \"auto\" if this release knows it; for one \
         that costs nothing, price = {{ input = 0, output = 0 }}"
    )
}

/// Checks a dollar limit of the fleet, which applies to all models that its agents use.
pub(super) fn of_fleet(file: &File<'_>, top: &Section<'_>, fleet: &Fleet) {
    let key = match (fleet.budget.usd_per_day, fleet.budget.usd_per_month) {
        (Some(_), _) => "usd_per_day",
        (None, Some(_)) => "usd_per_month",
        (None, None) => return,
    };
    let table = top.get("budget").and_then(|item| item.value.get_ref().as_table());
    let span = table.and_then(|table| table.get(key)).map(toml::Spanned::span);
    let mut reported = BTreeSet::new();
    for agent in &fleet.agents {
        for model in unpriced(file, &agent.body, fleet).filter(|model| reported.insert(model.to_string())) {
            file.error(
                span.clone(),
                format!(
                    "a limit in dollars needs a price, and model `{model}`, which may answer agent `{}`, has none",
                    agent.id
                ),
                Some(give_a_price(model)),
            );
        }
    }
}

pub(super) fn of_agent(at: &Place<'_>, fleet: &Fleet) {
    let Some(own) = fleet.model_of(&at.agent.body) else { return };
    let limits = &at.agent.limits;
    if limits.max_usd_per_run.is_some() || limits.usd_per_day.is_some() {
        let key = if limits.max_usd_per_run.is_some() { "max_usd_per_run" } else { "usd_per_day" };
        for model in unpriced(at.file, &at.agent.body, fleet) {
            let which = if model == own { "model" } else { "its fallback model" };
            at.file.error(
                Some(at.of(key)),
                format!("a limit in dollars needs a price, and {which} `{model}` has none"),
                Some(give_a_price(model)),
            );
        }
    }
    if at.file.is_broken("models", own) {
        return;
    }
    too_small(at, own, fleet);
    if !at.knows(SCHEDULE) {
        return;
    }
    let Some(per_run) = limits.max_usd_per_run else { return };
    // The agent's own limit bounds it, however often it is due.
    let worst =
        (per_run * slots_a_day(at.agent, at.file.context.now)).min(limits.usd_per_day.unwrap_or(f64::MAX));
    let of = [(worst, fleet.budget.usd_per_day, "day"), (worst * 30.0, fleet.budget.usd_per_month, "month")];
    let over = of.into_iter().find_map(|(worst, budget, time)| {
        let budget = budget.filter(|budget| worst > *budget)?;
        Some(format!(
            "at the worst this agent costs ${worst:.2} a {time}, the fleet's budget is ${budget:.2}"
        ))
    });
    if let Some(message) = over {
        let hint =
            "its runs will be refused when the budget is used up; `bgagent forecast` says what is likely";
        at.file.warn(at.of("max_usd_per_run"), message, Some(hint.into()));
    }
}

/// Warns of a limit that no request fits: the cost of the longest answer is held before a request.
fn too_small(at: &Place<'_>, of: &str, fleet: &Fleet) {
    let Some(model) = fleet.models.get(of) else { return };
    // A default is reduced to fit.
    let tokens = if model.max_output_by_default { MIN_OUTPUT_TOKENS } else { model.max_output_tokens };
    let answer = Tokens { output: tokens, ..Tokens::default() };
    let usd = model.price.map_or(0.0, |price| cost(&price, &answer));
    let limits = &at.agent.limits;
    let in_dollars = [("max_usd_per_run", limits.max_usd_per_run), ("usd_per_day", limits.usd_per_day)];
    let dollars = in_dollars.into_iter().filter(|(_, limit)| limit.is_some_and(|limit| limit < usd));
    let in_tokens = limits.tokens_per_day.filter(|limit| *limit < tokens).map(|_| "tokens_per_day");
    for key in dollars.map(|(key, _)| key).chain(in_tokens) {
        at.file.warn(
            at.of(key),
            format!(
                "no request fits `{key}`: an answer of model `{of}` may have {tokens} tokens, for ${usd:.4}"
            ),
            Some(format!("raise it, or lower `max_output_tokens` of [models.{of}]")),
        );
    }
}

/// Returns the maximum number of slots per day; 0 if that can't be determined.
fn slots_a_day(agent: &AgentSpec, now: Timestamp) -> f64 {
    agent.schedule.parts().iter().map(|part| slots_of_part(part, now)).sum()
}

fn slots_of_part(schedule: &Schedule, now: Timestamp) -> f64 {
    const DAY: SignedDuration = SignedDuration::from_hours(24);
    match schedule {
        Schedule::Every(period) => DAY.as_secs_f64() / period.as_secs_f64(),
        Schedule::Cron(cron) => {
            let first = cron.next_after(now);
            let end = now.checked_add(DAY + SignedDuration::from_micros(1)).ok();
            let last = end.and_then(|end| cron.prev_before(end, now));
            first.zip(last).map_or(0.0, |(first, last)| cron.count(first, last) as f64)
        }
        Schedule::At(_) => 1.0,
        Schedule::After(_)
        | Schedule::On(_)
        | Schedule::Join(_)
        | Schedule::File(_)
        | Schedule::Webhook(_)
        | Schedule::Mcp(_)
        | Schedule::Manual
        | Schedule::Any(_) => 0.0,
    }
}
