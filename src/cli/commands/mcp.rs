//! `bgagent mcp list | test | trust`: MCP servers and their tools; and `bgagent mcp serve`, an MCP server itself.
pub(super) use serve::is_of_agent;

mod serve;

use super::prelude::*;
use crate::cli::args::McpCommand;
use crate::cli::render::plain_lines;
use crate::client::Connection;
use crate::domain::counted;
use crate::protocol::{
    DifferenceView, ListMcp, ListMcpParams, McpEventView, McpToolView, McpView, TrustMcp, TrustMcpParams,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Timeout of the answer. Starting a server may take long; the daemon enforces its own limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

pub(in crate::cli) fn run(app: &mut App, command: &McpCommand) -> Result<Outcome, Failure> {
    if let McpCommand::Serve { may } = command {
        return serve::run(app, may);
    }
    let mut connection = app.connect()?;
    connection.set_answer_timeout(ANSWER_TIMEOUT);
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

/// Shows what is new or changed in a server's tools, and trusts exactly that if a person agrees.
fn trust(app: &mut App, connection: &mut Connection, server: &str, yes: bool) -> Result<Outcome, Failure> {
    let listed = connection.call::<ListMcp>(&ListMcpParams { server: Some(server.to_owned()) })?;
    let Some(view) = listed.into_iter().next() else {
        return Err(Failure::usage(format!("there is no MCP server `{server}`")));
    };
    if let Some(error) = &view.error {
        let what = format!("MCP server `{server}` can't be looked at: {error}");
        return Err(Failure::Negative { what, hint: format!("bgagent mcp test {server}") });
    }
    let new: Vec<&McpToolView> = view.tools.iter().filter(|tool| is_untrusted_tool(tool)).collect();
    let events: Vec<&McpEventView> = events_of(&view).filter(|event| is_untrusted(event)).collect();
    if !app.json {
        let text = shown(&view, &new, &events, &app.screen);
        app.print(&text)?;
    }
    let asks = !new.is_empty() || !events.is_empty();
    if asks && !yes {
        let tools = format!("Let agents use {} of `{}`?", counted(new.len(), "tool"), plain(server));
        let of_events = counted(events.len(), "event");
        let question = match (new.len(), events.len()) {
            (_, 0) => tools,
            (0, _) => format!("Let {of_events} of `{}` start agents?", plain(server)),
            _ => format!("{tools} And let {of_events} of it start some?"),
        };
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
    let of_events = events.iter().map(|event| (event.label.clone(), event.hash.clone()));
    let hashes = new.iter().map(|tool| (tool.name.clone(), tool.hash.clone())).chain(of_events).collect();
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

/// Formats what tools say of themselves, as escaped data: nothing is hidden, and no control sequence is passed on.
fn shown(view: &McpView, new: &[&McpToolView], events: &[&McpEventView], screen: &Screen) -> String {
    let mut text = String::new();
    for event in events {
        let state = if event.pin == "changed" { "changed" } else { "new" };
        text += &format!("{}  starts agents, {state}\n", screen.paint(Tone::Strong, &plain(&event.label)));
        text += &describe(&event.label, &event.description, &event.schema, &event.changed, screen);
    }
    for tool in new {
        let state = if tool.pin == "changed" { "changed" } else { "new" };
        text += &format!(
            "{}  {}, {state}\n",
            screen.paint(Tone::Strong, &plain(&tool.name)),
            plain(&tool.effect)
        );
        text += &describe(&tool.name, &tool.description, &tool.schema, &tool.changed, screen);
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

/// Formats the full description of a new item, or the differences to the one that was trusted.
fn describe(
    name: &str,
    description: &str,
    schema: &serde_json::Value,
    changed: &[DifferenceView],
    screen: &Screen,
) -> String {
    if !changed.is_empty() {
        return differences(name, changed, screen);
    }
    let mut text = String::new();
    for line in plain_lines(description).lines() {
        text += &format!("  | {line}\n");
    }
    text + &format!("  | {}\n", screen.paint(Tone::Dim, &plain(&schema.to_string())))
}

fn events_of(view: &McpView) -> impl Iterator<Item = &McpEventView> {
    view.events.iter().flatten()
}

/// Returns whether the event type would start agents but for a person's trust.
fn is_untrusted(event: &McpEventView) -> bool {
    event.awaited && event.pin != "same"
}

fn tested(servers: &[McpView]) -> String {
    let line = |view: &McpView| match &view.error {
        Some(error) => format!("{}: failed: {}\n", plain(&view.server), plain(error)),
        None => {
            let notes: String = view.notes.iter().map(|note| format!("{}\n", plain(note))).collect();
            let events = match view.events.as_ref().map(Vec::len) {
                None => String::new(),
                Some(1) => ", 1 type of events".to_owned(),
                Some(some) => format!(", {some} types of events"),
            };
            format!(
                "{}: ok, {} tools ({} for agents){events}, {} ms\n{notes}",
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
        for event in events_of(view) {
            let (state, tone) = match (event.pin.as_str(), &event.why_not) {
                ("changed", _) => ("changed", Tone::Bad),
                ("new", _) => ("not trusted", Tone::Warn),
                (_, Some(_)) => ("not by poll", Tone::Dim),
                (_, None) if event.awaited => ("ok", Tone::Good),
                (_, None) => ("not awaited", Tone::Dim),
            };
            table.row(vec![
                Cell::toned(Tone::Strong, plain(&event.label)),
                "event".into(),
                Cell::toned(tone, state),
                plain(&event.description).into(),
            ]);
        }
    }
    let mut text = table.render(screen);
    for view in servers {
        let changed: Vec<&McpToolView> = view.tools.iter().filter(|tool| is_untrusted_tool(tool)).collect();
        for tool in &changed {
            text += &differences(&tool.name, &tool.changed, screen);
        }
        for event in events_of(view).filter(|event| is_untrusted(event)) {
            text += &differences(&event.label, &event.changed, screen);
        }
        for note in &view.notes {
            text += &format!("{}\n", screen.paint(Tone::Warn, &plain(note)));
        }
        text += &reasons(view);
        if view.tools.iter().any(is_untrusted_tool) || events_of(view).any(is_untrusted) {
            text += &format!("Off until a person accepts it: bgagent mcp trust {}\n", plain(&view.server));
        }
    }
    text
}

/// Returns whether agents could use the tool but for a person's trust.
fn is_untrusted_tool(tool: &McpToolView) -> bool {
    tool.allowed && tool.pin != "same"
}

/// Returns why tools are not available to agents, one line per reason.
fn reasons(view: &McpView) -> String {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tool in view.tools.iter().filter(|tool| !is_untrusted_tool(tool)) {
        if let Some(why) = &tool.why_not {
            all.entry(why).or_default().push(&tool.name);
        }
    }
    all.iter()
        .map(|(why, names)| format!("not for agents, {}: {}\n", plain(why), plain(&names.join(", "))))
        .collect()
}

/// Formats how a tool differs from what was trusted: the old lines, then the new ones.
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
