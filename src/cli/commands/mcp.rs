//! `bgagent mcp list | test | trust`: MCP servers and their tools; and `serve`, which is one.
pub(super) use serve::is_of_agent;

mod serve;

use super::prelude::*;
use crate::cli::args::McpCommand;
use crate::cli::render::plain_lines;
use crate::client::Connection;
use crate::domain::counted;
use crate::protocol::{
    DifferenceView, ListMcp, ListMcpParams, McpToolView, McpView, TrustMcp, TrustMcpParams,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Starting a server may take long; the daemon bounds it.
const SERVER_TIME: Duration = Duration::from_secs(120);

pub(in crate::cli) fn run(app: &mut App, command: &McpCommand) -> Result<Outcome, Failure> {
    if let McpCommand::Serve { may } = command {
        return serve::run(app, may);
    }
    let mut connection = app.connect()?;
    connection.set_answer_timeout(SERVER_TIME);
    let (server, test) = match command {
        McpCommand::Trust { server, yes } => return trust(app, &mut connection, server, *yes),
        McpCommand::Serve { .. } => unreachable!("it needs no daemon"),
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

/// Shows what is new or changed of a server's tools, and trusts that and nothing else if a person says so.
fn trust(app: &mut App, connection: &mut Connection, server: &str, yes: bool) -> Result<Outcome, Failure> {
    let listed = connection.call::<ListMcp>(&ListMcpParams { server: Some(server.to_owned()) })?;
    let Some(view) = listed.into_iter().next() else {
        return Err(Failure::usage(format!("there is no MCP server `{server}`")));
    };
    if let Some(error) = &view.error {
        let what = format!("MCP server `{server}` can't be looked at: {error}");
        return Err(Failure::Negative { what, hint: format!("bgagent mcp test {server}") });
    }
    let new: Vec<&McpToolView> =
        view.tools.iter().filter(|tool| tool.allowed && tool.pin != "same").collect();
    if !app.json {
        let text = shown(&view, &new, &app.screen);
        app.print(&text)?;
    }
    if !new.is_empty() && !yes {
        let question = format!("Let agents use {} of `{}`?", counted(new.len(), "tool"), plain(server));
        match app.confirm(&question)? {
            Some(true) => {}
            Some(false) => {
                return Err(Failure::Negative {
                    what: format!("nothing of MCP server `{server}` was trusted"),
                    hint: "`allow` of its table leaves out tools that are not needed".into(),
                });
            }
            None => {
                return Err(Failure::usage_hint(
                    "there is no terminal to ask on",
                    format!("read `bgagent mcp list {server}`, then: bgagent mcp trust {server} --yes"),
                ));
            }
        }
    }
    let hashes = new.iter().map(|tool| (tool.name.clone(), tool.hash.clone())).collect();
    let params = TrustMcpParams { server: server.to_owned(), hashes: Some(hashes) };
    let trusted = connection.call::<TrustMcp>(&params)?;
    app.answer(&trusted, |trusted, _| {
        let server = plain(&trusted.server);
        if trusted.tools.is_empty() {
            return format!("{server}: nothing had changed\n");
        }
        format!("{server}: trusted {}\n", plain(&trusted.tools.join(", ")))
    })?;
    Ok(Outcome::Done)
}

/// What tools say of themselves, as data: nothing in it is hidden, and nothing of it moves the cursor.
fn shown(view: &McpView, new: &[&McpToolView], screen: &Screen) -> String {
    let mut text = String::new();
    for tool in new {
        let state = if tool.pin == "changed" { "changed" } else { "new" };
        text += &format!(
            "{}  {}, {state}\n",
            screen.paint(Tone::Strong, &plain(&tool.name)),
            plain(&tool.effect)
        );
        if tool.changed.is_empty() {
            for line in plain_lines(&tool.description).lines() {
                text += &format!("  | {line}\n");
            }
            text += &format!("  | {}\n", screen.paint(Tone::Dim, &plain(&tool.schema.to_string())));
        } else {
            text += &differences(&tool.name, &tool.changed, screen);
        }
    }
    let left_out = view.tools.iter().filter(|tool| !tool.allowed).count();
    if left_out > 0 {
        text +=
            &format!("Not for agents by the configuration, and not trusted: {}\n", counted(left_out, "tool"));
    }
    for note in &view.notes {
        text += &format!("{}\n", screen.paint(Tone::Warn, &plain(note)));
    }
    text
}

fn tested(servers: &[McpView]) -> String {
    let line = |view: &McpView| match &view.error {
        Some(error) => format!("{}: failed: {}\n", plain(&view.server), plain(error)),
        None => {
            let notes: String = view.notes.iter().map(|note| format!("{}\n", plain(note))).collect();
            format!(
                "{}: ok, {} tools ({} for agents), {} ms\n{notes}",
                plain(&view.server),
                view.tools.len(),
                view.tools.iter().filter(|tool| tool.usable).count(),
                view.took_ms
            )
        }
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
                ("changed", _) if tool.allowed => ("changed", Tone::Bad),
                ("new", _) if tool.allowed => ("not trusted", Tone::Warn),
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
    let mut text = table.render(screen);
    for view in servers {
        let changed: Vec<&McpToolView> = view.tools.iter().filter(|tool| is_off(tool)).collect();
        for tool in &changed {
            text += &differences(&tool.name, &tool.changed, screen);
        }
        for note in &view.notes {
            text += &format!("{}\n", screen.paint(Tone::Warn, &plain(note)));
        }
        text += &reasons(view);
        if view.tools.iter().any(is_off) {
            text += &format!("Off until a person accepts it: bgagent mcp trust {}\n", plain(&view.server));
        }
    }
    text
}

/// Does nothing but a person's word keep agents from using it?
fn is_off(tool: &McpToolView) -> bool {
    tool.allowed && tool.pin != "same"
}

/// Why tools are not for agents, those with the same reason in one line.
fn reasons(view: &McpView) -> String {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tool in view.tools.iter().filter(|tool| !is_off(tool)) {
        if let Some(why) = &tool.why_not {
            all.entry(why).or_default().push(&tool.name);
        }
    }
    all.iter()
        .map(|(why, names)| format!("not for agents, {}: {}\n", plain(why), plain(&names.join(", "))))
        .collect()
}

/// What of a tool is not what was trusted: the old lines, then the new ones.
fn differences(tool: &str, changed: &[DifferenceView], screen: &Screen) -> String {
    let mut text = String::new();
    for one in changed {
        text += &format!("{}: {} changed\n", screen.paint(Tone::Strong, &plain(tool)), plain(&one.part));
        let mut lines = |sign: &str, tone, said: &str| {
            for line in plain_lines(said).lines() {
                text += &format!("  {}\n", screen.paint(tone, &format!("{sign} {line}")));
            }
        };
        match &one.old {
            Some(old) => lines("-", Tone::Bad, old),
            None => lines("-", Tone::Dim, "(not known: only its hash was kept)"),
        }
        lines("+", Tone::Good, &one.new);
    }
    text
}
