//! `bgagent usage`: requests, tokens, dollars.
use super::prelude::*;
use crate::cli::args::UsageArgs;
use crate::cli::render::usd;
use crate::domain::Usage;
use crate::protocol::{GetUsage, UsageParams, UsageView};

pub(in crate::cli) fn run(app: &mut App, args: &UsageArgs) -> Result<Outcome, Failure> {
    let params = UsageParams { by: Some(args.by.clone()) };
    let usage = app.connect()?.call::<GetUsage>(&params)?;
    if usage.is_empty() && !app.json {
        app.note("nothing was used yet");
        return Ok(Outcome::Done);
    }
    let title = match args.by.as_str() {
        "model" => "MODEL",
        "day" => "DAY",
        _ => "AGENT",
    };
    app.answer(&usage, |usage, screen| table(title, usage, screen))?;
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
    let mut row = |name: Cell, runs: u64, used: &Usage| {
        table.row(vec![
            name,
            runs.to_string().into(),
            used.requests.to_string().into(),
            used.input_tokens.to_string().into(),
            used.cached_tokens.to_string().into(),
            used.output_tokens.to_string().into(),
            usd(used.usd).into(),
        ]);
    };
    let (mut runs, mut all) = (0, Usage::default());
    for view in usage {
        row(plain(&view.key).into(), view.runs, &view.usage);
        runs += view.runs;
        all.requests += view.usage.requests;
        all.input_tokens += view.usage.input_tokens;
        all.cached_tokens += view.usage.cached_tokens;
        all.output_tokens += view.usage.output_tokens;
        all.usd += view.usage.usd;
    }
    if usage.len() > 1 {
        row(Cell::toned(Tone::Strong, "together"), runs, &all);
    }
    table.render(screen)
}
