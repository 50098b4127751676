//! `bgagent mcp list | test | trust`: MCP servers and their tools.
use super::prelude::*;
use crate::cli::args::McpCommand;
use crate::protocol::{ListMcp, ListMcpParams, McpView, TrustMcp, TrustMcpParams};
use std::time::Duration;

/// Starting a server may take long; the daemon bounds it.
const SERVER_TIME: Duration = Duration::from_secs(120);

pub(in crate::cli) fn run(app: &mut App, command: &McpCommand) -> Result<Outcome, Failure> {
    let mut connection = app.connect()?;
    connection.set_answer_timeout(SERVER_TIME);
    let (server, test) = match command {
        McpCommand::Trust { server } => {
            let trusted = connection.call::<TrustMcp>(&TrustMcpParams { server: server.clone() })?;
            app.answer(&trusted, |trusted, _| match trusted.tools.len() {
                0 => format!("{}: nothing had changed\n", plain(&trusted.server)),
                _ => format!("{}: trusted {}\n", plain(&trusted.server), plain(&trusted.tools.join(", "))),
            })?;
            return Ok(Outcome::Done);
        }
        McpCommand::List { server } => (server.clone(), false),
        McpCommand::Test { server } => (Some(server.clone()), true),
    };
    let servers = connection.call::<ListMcp>(&ListMcpParams { server })?;
    if servers.is_empty() && !app.json {
        app.note("no MCP servers: define them in [mcp.NAME]");
        return Ok(Outcome::Done);
    }
    let broken = servers.iter().any(|server| server.error.is_some());
    app.answer(&servers, |servers, screen| if test { tested(servers) } else { table(servers, screen) })?;
    Ok(if broken { Outcome::Negative } else { Outcome::Done })
}

fn tested(servers: &[McpView]) -> String {
    let line = |view: &McpView| match &view.error {
        Some(error) => format!("{}: failed: {}\n", plain(&view.server), plain(error)),
        None => format!(
            "{}: ok, {} tools ({} for agents), {} ms\n",
            plain(&view.server),
            view.tools.len(),
            view.tools.iter().filter(|tool| tool.usable).count(),
            view.took_ms
        ),
    };
    servers.iter().map(line).collect()
}

fn table(servers: &[McpView], screen: &Screen) -> String {
    let mut table =
        Table::new().shrinking("TOOL", 16).column("EFFECT").column("STATE").shrinking("DESCRIPTION", 20);
    for view in servers {
        if let Some(error) = &view.error {
            let name = Cell::toned(Tone::Strong, plain(&view.server));
            table.row(vec![name, "".into(), Cell::toned(Tone::Bad, "failed"), plain(error).into()]);
        }
        for tool in &view.tools {
            let (state, tone) = match (tool.pin.as_str(), tool.usable) {
                ("changed", _) => ("changed", Tone::Bad),
                (_, true) => ("ok", Tone::Good),
                (_, false) => ("not allowed", Tone::Dim),
            };
            table.row(vec![
                Cell::toned(Tone::Strong, plain(&tool.name)),
                plain(&tool.effect).into(),
                Cell::toned(tone, state),
                plain(&tool.description).into(),
            ]);
        }
    }
    table.render(screen)
}
