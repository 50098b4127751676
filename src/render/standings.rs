//! `list`: agents that need a person first, with the cause.
use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::words::{plain, usd};
use crate::domain::counted;
use crate::overview::{Rank, Standing, StandingSection, by_need};
use crate::protocol::AgentView;

/// Formats the table, most urgent first, then by name.
pub(crate) fn standing_list(agents: &[AgentView], standings: &[Standing], screen: &Screen) -> String {
    let mut table = Table::new()
        .column(" ")
        .shrinking("NAME", 12)
        .shrinking_last("STATE", 8)
        .column("SINCE")
        .column("NEXT")
        .shrinking_first("WHY", 12);
    for (agent, standing) in by_need(agents, standings) {
        table.row(row(agent, standing, screen));
    }
    table.render(screen)
}

fn row(agent: &AgentView, standing: &Standing, screen: &Screen) -> Vec<Cell> {
    let tone = tone_of(standing.rank);
    let since = standing.since.map(|since| age(screen, since)).unwrap_or_default();
    vec![
        Cell::toned(tone, standing.rank.mark().symbol),
        Cell::toned(Tone::Strong, agent.agent_id.as_str()),
        Cell::toned(tone, state(agent, standing)),
        since.into(),
        next(agent, screen).into(),
        why(agent, standing, screen),
    ]
}

fn state(agent: &AgentView, standing: &Standing) -> String {
    match &agent.backfill {
        Some(open) => format!("{}, backfill {}/{}", standing.word, open.started, open.count),
        None => standing.word.clone(),
    }
}

fn next(agent: &AgentView, screen: &Screen) -> String {
    let refused = agent.circuit_until.filter(|until| *until > screen.now);
    match (refused, agent.next_run, agent.resume_at) {
        (Some(until), ..) => format!("try {}", screen.relative(until)),
        (None, Some(at), _) if at <= screen.now => "now".into(),
        (None, Some(at), _) => screen.relative(at),
        // the time at which it resumes
        (None, None, Some(at)) => format!("({})", screen.relative(at)),
        (None, None, None) => String::new(),
    }
}

/// Returns the cause; for an agent that is well, its schedule and today's cost.
fn why(agent: &AgentView, standing: &Standing, screen: &Screen) -> Cell {
    if !standing.cause.is_empty() {
        let line = standing.cause.split_whitespace().collect::<Vec<_>>().join(" ");
        return plain(&line).into();
    }
    let mut parts = vec![screen.schedule(&agent.schedule)];
    if agent.cost_today_usd > 0.0 {
        parts.push(format!("{} today", usd(agent.cost_today_usd)));
    }
    Cell::toned(Tone::Dim, parts.join(", "))
}

/// Formats how long ago, without "ago".
fn age(screen: &Screen, since: jiff::Timestamp) -> String {
    let text = screen.relative(since);
    text.strip_suffix(" ago").map(str::to_owned).unwrap_or(text)
}

/// Returns the tone of a rank.
pub(crate) fn tone_of(rank: Rank) -> Tone {
    match rank {
        Rank::Asks
        | Rank::Warning
        | Rank::Undelivered
        | Rank::NoBudget
        | Rank::Deaf
        | Rank::Silent
        | Rank::Paused => Tone::Warn,
        Rank::Critical | Rank::CircuitOpen | Rank::Failing => Tone::Bad,
        Rank::Busy => Tone::Busy,
        Rank::Well => Tone::Good,
        Rank::NotYet | Rank::Stopped => Tone::Dim,
    }
}

/// Formats what needs a person in a line: `3 agents need you: 1 asks, 2 failing`.
pub(crate) fn needs_line(standings: &[Standing], screen: &Screen) -> Option<String> {
    let count = |ranks: &[Rank]| standings.iter().filter(|one| ranks.contains(&one.rank)).count();
    let all = standings.iter().filter(|one| one.rank.section() == StandingSection::NeedsYou).count();
    if all == 0 {
        return None;
    }
    let parts = [
        (count(&[Rank::Asks]), "to decide"),
        (count(&[Rank::Critical]), "critical"),
        (count(&[Rank::CircuitOpen, Rank::Failing]), "failing"),
        (count(&[Rank::Warning, Rank::Deaf, Rank::Silent]), "with a warning"),
        (count(&[Rank::NoBudget]), "without budget"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let verb = if all == 1 { "needs" } else { "need" };
    let text = format!("{} {verb} you: {}", counted(all, "agent"), parts.join(", "));
    Some(screen.fold(&screen.paint(Tone::Warn, &text)) + "\n")
}
