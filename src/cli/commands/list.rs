//! `bgagent list`, and what a bare `bgagent` does.
use super::prelude::*;
use crate::cli::args::ListArgs;
use crate::cli::render;
use crate::protocol::{ListAgents, ListParams};

pub(in crate::cli) fn run(app: &mut App, args: &ListArgs) -> Result<Outcome, Failure> {
    let params = ListParams { agents: args.agents.clone() };
    let agents = app.connect()?.call::<ListAgents>(&params)?;
    if agents.is_empty() && !app.json {
        app.note(if args.agents.is_empty() {
            "no agents yet: `bgagent init` writes a starter configuration, `bgagent reload` takes it up"
        } else {
            "no agent matches"
        });
        return Ok(Outcome::Done);
    }
    app.answer(&agents, |agents, screen| {
        let mut text = render::agent_list(agents, screen);
        if screen.width.is_some() {
            text.push_str(&render::summary(agents, screen));
        }
        text
    })?;
    for agent in agents.iter().filter(|_| !app.json) {
        if let Some(why) = &agent.accept_risk {
            app.note(&format!("agent `{}` accepts a risk: {}", agent.agent_id, plain(why)));
        }
    }
    Ok(Outcome::Done)
}
