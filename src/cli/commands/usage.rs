//! `bgagent usage`: requests, tokens, dollars.
use super::prelude::*;
use crate::cli::args::UsageArgs;
use crate::cli::render::{limit_line, usd};
use crate::cli::respondent::Respondent;
use crate::domain::{Usage, counted};
use crate::protocol::{GetDaemonStatus, GetUsage, NoParams, UsageGroups, UsageParams, UsageView};
use std::collections::BTreeSet;

pub(in crate::cli) fn run(app: &mut App, args: &UsageArgs) -> Result<Outcome, Failure> {
    let params = UsageParams { by: Some(UsageGroups::One(args.by.clone())), days: args.days };
    let mut connection = app.reading()?;
    let usage = connection.call::<GetUsage>(&params)?;
    // only a daemon knows what is left of a budget, and what is held
    let budget = match &connection {
        Respondent::Daemon(_) => connection.call::<GetDaemonStatus>(&NoParams {})?.budget,
        Respondent::Records(_) => Vec::new(),
    };
    if usage.is_empty() && !app.json {
        app.note("nothing was used yet");
        return Ok(Outcome::Done);
    }
    let title = match args.by.as_str() {
        "model" => "MODEL",
        "day" => "DAY",
        "hour" => "HOUR",
        _ => "AGENT",
    };
    app.answer(&usage, |usage, screen| {
        let mut text = table(title, usage, screen);
        text.extend(without_model(title, usage, screen));
        text.push_str(&without_price(usage));
        let mut left: Vec<(&str, String)> = Vec::new();
        left.extend(budget.iter().map(|limit| ("[budget]", limit_line(limit))));
        for view in usage {
            left.extend(view.limits.iter().map(|limit| (view.key.as_str(), limit_line(limit))));
        }
        if !left.is_empty() {
            text.push('\n');
            let mut rest = Table::new().shrinking("LIMIT OF", 10).column("LEFT");
            for (whose, line) in left {
                rest.row(vec![plain(whose).into(), line.into()]);
            }
            text.push_str(&rest.render(screen));
        }
        text
    })?;
    Ok(Outcome::Done)
}

fn table(title: &'static str, usage: &[UsageView], screen: &Screen) -> String {
    let mut table = Table::new()
        .shrinking(title, 10)
        .number("RUNS")
        .number("REQUESTS")
        .number("TOKENS IN")
        .number("CACHED")
        .number("TOKENS OUT")
        .number("USD");
    let mut row = |name: Cell, runs: u64, used: &Usage, unpriced: bool| {
        table.row(vec![
            name,
            runs.to_string().into(),
            used.requests.to_string().into(),
            used.input_tokens.to_string().into(),
            used.cached_tokens.to_string().into(),
            used.output_tokens.to_string().into(),
            // the cost is unknown, or nothing was charged
            if unpriced && used.usd == 0.0 { "-".into() } else { usd(used.usd).into() },
        ]);
    };
    let (mut runs, mut all) = (0, Usage::default());
    let mut shown: Vec<&UsageView> = usage.iter().collect();
    if title == "AGENT" && shown.iter().any(|view| asked_models(view)) {
        // sorted by cost; agents that asked no model are summarized in a line below
        shown.retain(|view| asked_models(view));
        shown.sort_by(|a, b| b.usage.usd.total_cmp(&a.usage.usd));
    }
    for view in &shown {
        row(plain(&view.key).into(), view.runs, &view.usage, !view.without_price.is_empty());
        runs += view.runs;
        all.requests += view.usage.requests;
        all.input_tokens += view.usage.input_tokens;
        all.cached_tokens += view.usage.cached_tokens;
        all.output_tokens += view.usage.output_tokens;
        all.usd += view.usage.usd;
    }
    if shown.len() > 1 {
        row(
            Cell::toned(Tone::Strong, "together"),
            runs,
            &all,
            usage.iter().any(|view| !view.without_price.is_empty()),
        );
    }
    table.render(screen)
}

fn asked_models(view: &UsageView) -> bool {
    view.usage != Usage::default() || !view.limits.is_empty()
}

/// Returns the line `13 agents that asked no model: 581 runs`, if other agents did ask one.
fn without_model(title: &str, usage: &[UsageView], screen: &Screen) -> Option<String> {
    let (asked, other): (Vec<_>, Vec<_>) = usage.iter().partition(|view| asked_models(view));
    let runs: u64 = other.iter().map(|view| view.runs).sum();
    let text = format!("{} that asked no model: {}", counted(other.len(), "agent"), counted(runs, "run"));
    let is_shown = title == "AGENT" && !asked.is_empty() && !other.is_empty();
    is_shown.then(|| screen.fold(&screen.paint(Tone::Dim, &text)) + "\n")
}

/// Returns a note on models without a price, whose cost the dollars do not include.
fn without_price(usage: &[UsageView]) -> String {
    let models: BTreeSet<&str> =
        usage.iter().flat_map(|view| &view.without_price).map(String::as_str).collect();
    if models.is_empty() {
        return String::new();
    }
    let verb = if models.len() == 1 { "has" } else { "have" };
    let names: Vec<String> = models.iter().map(|model| plain(model)).collect();
    let count = counted(models.len(), "model");
    format!("{count} {verb} no price, so what it cost is not known: {}\n", names.join(", "))
}
