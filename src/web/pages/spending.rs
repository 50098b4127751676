//! Spending: against the limits, by hour or day, by agent and by model.
use crate::domain::counted;
use crate::protocol::*;
use crate::web::frame::{Frame, Page, PageError, html};
use crate::web::html::{line, money};
use crate::web::state::Web;
use askama::Template;
use axum::extract::{Query, State};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

/// Number of agents with a colour of their own in the chart; the others share one.
const COLOUR_COUNT: usize = 5;

#[derive(Template)]
#[template(path = "spending.html")]
struct SpendingPage {
    frame: Frame,
    days: u32,
    total: String,
    limits: Vec<(String, String, u64, &'static str)>,
    bars: Vec<(String, String)>,
    /// Class and name.
    legend: Vec<(String, String)>,
    axis: Vec<(String, String)>,
    most: String,
    words: String,
    agents: Vec<UsageRow>,
    models: Vec<UsageRow>,
    without: String,
}

struct UsageRow {
    name: String,
    runs: u64,
    requests: u64,
    input: String,
    cached: String,
    output: String,
    usd: String,
    width: u64,
    limits: Vec<(String, String, u64, &'static str)>,
}

fn tokens(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1000),
        _ => format!("{:.1}M", count as f64 / 1e6),
    }
}

fn rows(usage: &[UsageView]) -> Vec<UsageRow> {
    let mut all: Vec<&UsageView> =
        usage.iter().filter(|row| row.usage.requests > 0 || row.usage.usd > 0.0).collect();
    all.sort_by(|a, b| b.usage.usd.total_cmp(&a.usage.usd));
    let most = all.first().map_or(0.0, |row| row.usage.usd).max(f64::MIN_POSITIVE);
    let row = |row: &&UsageView| UsageRow {
        name: line(&row.key),
        runs: row.runs,
        requests: row.usage.requests,
        input: tokens(row.usage.input_tokens),
        cached: tokens(row.usage.cached_tokens),
        output: tokens(row.usage.output_tokens),
        usd: if row.without_price.is_empty() || row.usage.usd > 0.0 {
            money(row.usage.usd)
        } else {
            "no price".into()
        },
        width: (row.usage.usd / most * 100.0).round() as u64,
        limits: row.limits.iter().map(super::bars::limit_bar).collect(),
    };
    all.iter().map(row).collect()
}

pub(in crate::web) async fn spending(
    State(web): State<Web>,
    Query(query): Query<HashMap<String, String>>,
) -> Page {
    let days = match query.get("days").map(String::as_str) {
        None | Some("1") => 1,
        Some("7") => 7,
        Some("30") => 30,
        Some(other) => return Err(PageError::bad(format!("`days` is 1, 7 or 30, not {}", line(other)))),
    };
    let (frame, daemon) = Frame::of(&web, "spending", "Spending").await?;
    let by = |words: &[&str]| UsageParams {
        by: Some(UsageGroups::Several(words.iter().map(|word| (*word).to_owned()).collect())),
        days: Some(days),
    };
    let time = if days == 1 { "hour" } else { "day" };
    let (agents, models, times) = tokio::try_join!(
        web.pool.call::<GetUsage>(by(&["agent"])),
        web.pool.call::<GetUsage>(by(&["model"])),
        web.pool.call::<GetUsage>(by(&[time, "agent"])),
    )?;
    let picture = picture(&times);
    let without: Vec<&UsageView> =
        agents.iter().filter(|row| row.usage.requests == 0 && row.usage.usd == 0.0).collect();
    let runs: u64 = without.iter().map(|row| row.runs).sum();
    let page = SpendingPage {
        days,
        total: money(agents.iter().map(|row| row.usage.usd).sum()),
        limits: daemon.budget.iter().map(super::bars::limit_bar).collect(),
        bars: picture.bars,
        legend: picture.legend,
        axis: picture.axis,
        most: picture.most,
        words: picture.words,
        agents: rows(&agents),
        models: rows(&models),
        without: match without.len() {
            0 => String::new(),
            count => format!("{} that asked no model: {}", counted(count, "agent"), counted(runs, "run")),
        },
        frame,
    };
    Ok(html(&page))
}

#[derive(Default)]
struct Picture {
    bars: Vec<(String, String)>,
    legend: Vec<(String, String)>,
    axis: Vec<(String, String)>,
    most: String,
    words: String,
}

/// Draws bars by time, stacked by agent, with one path per agent.
fn picture(rows: &[UsageView]) -> Picture {
    let mut by_agent: BTreeMap<&str, f64> = BTreeMap::new();
    let mut by_time: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for row in rows {
        let agent = row.of.as_deref().unwrap_or("-");
        *by_agent.entry(agent).or_default() += row.usage.usd;
        *by_time.entry(&row.key).or_default().entry(agent).or_default() += row.usage.usd;
    }
    let mut ranked: Vec<(&str, f64)> = by_agent.into_iter().filter(|(_, usd)| *usd > 0.0).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = by_time.values().map(|of| of.values().sum::<f64>()).fold(0.0, f64::max);
    if most <= 0.0 {
        return Picture::default();
    }
    let colour =
        |agent: &str| ranked.iter().position(|(name, _)| *name == agent).unwrap_or(0).min(COLOUR_COUNT);
    let step = 1000.0 / by_time.len() as f64;
    let width = (step * 0.8).min(60.0);
    let mut paths: BTreeMap<usize, String> = BTreeMap::new();
    let (mut axis, mut words) = (Vec::new(), Vec::new());
    for (n, (time, of)) in by_time.iter().enumerate() {
        let left = step * n as f64 + (step - width) / 2.0;
        let mut bottom = 120.0;
        let mut stacked: Vec<(&&str, &f64)> = of.iter().collect();
        stacked.sort_by_key(|(agent, _)| colour(agent));
        for (agent, usd) in stacked.into_iter().filter(|(_, usd)| **usd > 0.0) {
            let height = (usd / most * 116.0).max(1.0);
            bottom -= height;
            let path = paths.entry(colour(agent)).or_default();
            let _ = write!(path, "M{left:.1} {bottom:.1}h{width:.1}v{height:.1}h-{width:.1}z");
        }
        let label = time.get(11..16).unwrap_or_else(|| time.get(5..).unwrap_or(time));
        if n % by_time.len().div_ceil(8) == 0 {
            axis.push((format!("{:.2}%", (left + width / 2.0) / 10.0), label.to_owned()));
        }
        words.push(format!("{label} {}", money(of.values().sum())));
    }
    let mut legend: Vec<(String, String)> = ranked
        .iter()
        .take(COLOUR_COUNT)
        .enumerate()
        .map(|(n, (agent, usd))| (format!("c{n}"), format!("{} {}", line(agent), money(*usd))))
        .collect();
    if ranked.len() > COLOUR_COUNT {
        let rest: f64 = ranked[COLOUR_COUNT..].iter().map(|(_, usd)| usd).sum();
        legend.push((
            format!("c{COLOUR_COUNT}"),
            format!("{} others {}", ranked.len() - COLOUR_COUNT, money(rest)),
        ));
    }
    Picture {
        bars: paths.into_iter().map(|(n, path)| (format!("c{n}"), path)).collect(),
        legend,
        axis,
        most: money(most),
        words: words.join(", "),
    }
}
