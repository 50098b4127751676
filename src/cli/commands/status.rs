//! `bgagent status`: the status of the daemon, or the details of one agent.
use super::prelude::*;
use crate::cli::args::StatusArgs;
use crate::cli::render;
use crate::protocol::{AgentParams, GetAgentStatus, GetDaemonStatus, NoParams};

pub(in crate::cli) fn run(app: &mut App, args: &StatusArgs) -> Result<Outcome, Failure> {
    match &args.agent {
        Some(agent) => {
            let params = AgentParams { agent_id: agent.clone() };
            let detail = app.reading()?.call::<GetAgentStatus>(&params)?;
            app.answer(&detail, render::agent_detail)?;
        }
        None => {
            let view = app.connect()?.call::<GetDaemonStatus>(&NoParams {})?;
            app.answer(&view, render::daemon_view)?;
        }
    }
    Ok(Outcome::Done)
}
