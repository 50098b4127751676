//! `bgagent list`, which is also the default command of `bgagent`.
use super::prelude::*;
use crate::cli::args::{ListArgs, ListOrder};
use crate::cli::render;
use crate::overview::standings;
use crate::protocol::{
    AgentView, Code, ListAgents, ListApprovals, ListApprovalsParams, ListIncidents, ListIncidentsParams,
    ListParams, RpcError,
};

pub(in crate::cli) fn run(app: &mut App, args: &ListArgs) -> Result<Outcome, Failure> {
    let params = ListParams { agents: args.agents.clone(), ..ListParams::default() };
    let mut connection = app.reading()?;
    let agents = connection.call::<ListAgents>(&params)?;
    if agents.is_empty() && !app.json {
        if !args.agents.is_empty() {
            let patterns = args.agents.join("`, `");
            return Err(RpcError::new(Code::NoSuchAgent, format!("no agent matches `{patterns}`")).into());
        }
        app.note("no agents yet: `bgagent init` writes a starter configuration, `bgagent reload` applies it");
        return Ok(Outcome::Done);
    }
    if args.by == ListOrder::Name || app.json {
        app.answer(&agents, |agents, screen| {
            with_summary(render::agent_list(agents, screen), agents, screen)
        })?;
    } else {
        let incidents = connection.call::<ListIncidents>(&ListIncidentsParams::default())?;
        let approvals = connection.call::<ListApprovals>(&ListApprovalsParams::default())?;
        app.answer(&agents, |agents, screen| {
            let standings = standings(agents, &incidents, &approvals, screen.now);
            let mut text = render::standing_list(agents, &standings, screen);
            if screen.width.is_some() {
                text.extend(render::needs_line(&standings, screen));
            }
            with_summary(text, agents, screen)
        })?;
    }
    for agent in agents.iter().filter(|_| !app.json) {
        if let Some(why) = &agent.accept_risk {
            app.note(&format!("agent `{}` accepts a risk: {}", agent.agent_id, plain(why)));
        }
    }
    Ok(Outcome::Done)
}

/// Appends a summary line of the fleet, on a terminal only.
fn with_summary(mut text: String, agents: &[AgentView], screen: &Screen) -> String {
    if screen.width.is_some() {
        text.push_str(&render::summary(agents, screen));
    }
    text
}
