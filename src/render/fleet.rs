//! `list`: one line per agent.
use super::screen::{Screen, Tone, state_of_agent, status_word};
use super::table::{Cell, Table};
use super::words::{plain, usd};
use crate::domain::{Health, Walled, counted};
use crate::protocol::AgentView;
use std::collections::{BTreeMap, BTreeSet};

/// Formats the table of agents. Fits 80 columns.
pub(crate) fn agent_list(agents: &[AgentView], screen: &Screen) -> String {
    let mut table = Table::new()
        .shrinking("NAME", 13)
        .shrinking_last("STATE", 8)
        .shrinking_first("SCHEDULE", 8)
        .column("NEXT")
        .shrinking("LAST", 12)
        .number("RUNS")
        .number("ERR")
        .number("TODAY");
    for agent in agents {
        table.row(row(agent, screen));
    }
    table.render(screen)
}

fn row(agent: &AgentView, screen: &Screen) -> Vec<Cell> {
    let (mut state, tone) = state_of_agent(agent, screen.now);
    if let Some(open) = &agent.backfill {
        state = format!("{state}, backfill {}/{}", open.started, open.count);
    }
    let next = match (agent.next_run, agent.resume_at) {
        (Some(at), _) if at <= screen.now => "now".into(),
        (Some(at), _) => screen.relative(at),
        // the time at which it resumes
        (None, Some(at)) => format!("({})", screen.relative(at)),
        (None, None) => String::new(),
    };
    let last = match &agent.last_run {
        Some(last) => {
            let text = format!("{} {}", status_word(last.status), screen.relative(last.finished_at));
            Cell::toned(Tone::of_run(last.status), text)
        }
        None => "".into(),
    };
    let errors = if agent.error_count == 0 { Tone::Plain } else { Tone::Warn };
    vec![
        Cell::toned(Tone::Strong, agent.agent_id.as_str()),
        Cell::toned(tone, state),
        screen.schedule(&agent.schedule).into(),
        next.into(),
        last,
        agent.run_count.to_string().into(),
        Cell::toned(errors, agent.error_count.to_string()),
        if agent.cost_today_usd > 0.0 { usd(agent.cost_today_usd).into() } else { "".into() },
    ]
}

/// Formats the summary line, for people: `5 agents: 3 active, 1 paused, 1 failing`.
pub(crate) fn summary(agents: &[AgentView], screen: &Screen) -> String {
    let mut states: BTreeMap<_, usize> = BTreeMap::new();
    for agent in agents {
        *states.entry(agent.state).or_default() += 1;
    }
    let mut parts: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let failing = agents.iter().filter(|agent| agent.health != Health::Ok).count();
    if failing > 0 {
        parts.push(format!("{failing} failing"));
    }
    let broke =
        agents.iter().filter(|agent| agent.budget_used_up_until.is_some_and(|until| until > screen.now));
    let broke = broke.count();
    if broke > 0 {
        parts.push(format!("{broke} without budget"));
    }
    let silent =
        agents.iter().filter(|agent| agent.silent_until.is_some_and(|until| until > screen.now)).count();
    if silent > 0 {
        parts.push(format!("{silent} silent, as a clock was ahead and set back"));
    }
    let placeless = agents.iter().filter(|agent| agent.waits_for_node.is_some()).count();
    if placeless > 0 {
        parts.push(format!("{placeless} waiting for a node"));
    }
    let text = format!("{}: {}", counted(agents.len(), "agent"), parts.join(", "));
    let tone = if failing + broke + silent + placeless > 0 { Tone::Warn } else { Tone::Dim };
    let mut text = screen.fold(&screen.paint(tone, &text)) + "\n";
    for agent in agents {
        if let Some(why) = &agent.waits_for_node {
            let line = format!("{} waits: {}", plain(agent.agent_id.as_str()), plain(why));
            text += &(screen.fold(&screen.paint(Tone::Warn, &line)) + "\n");
        }
    }
    let names = |of: fn(&Walled) -> &[String]| {
        let all: BTreeSet<&String> = agents.iter().flat_map(|agent| of(&agent.sandbox)).collect();
        all.into_iter().cloned().collect()
    };
    let walled = Walled { within: names(|one| &one.within), without: names(|one| &one.without) };
    for line in sandbox_lines(&walled) {
        text += &(screen.fold(&screen.paint(Tone::Dim, &plain(&line))) + "\n");
    }
    text
}

/// Lists which programs are sandboxed and which are not: a line each, if there are any.
pub(crate) fn sandbox_lines(walled: &Walled) -> Vec<String> {
    const MAX_NAME_COUNT: usize = 5;
    let line = |what: &str, names: &[String]| {
        let mut shown = names.iter().take(MAX_NAME_COUNT).cloned().collect::<Vec<_>>().join(", ");
        if names.len() > MAX_NAME_COUNT {
            shown += &format!(" and {} more", names.len() - MAX_NAME_COUNT);
        }
        (!names.is_empty()).then(|| format!("{what}: {shown}"))
    };
    [line("in a sandbox", &walled.within), line("in no sandbox", &walled.without)]
        .into_iter()
        .flatten()
        .collect()
}
