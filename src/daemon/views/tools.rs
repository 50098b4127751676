//! Views of tools and MCP servers, and of what people have trusted.
use crate::domain::{ToolError, ToolInfo};
use crate::mcp::{Difference, PinChange, PinState, ServerEvent, ServerTool};
use crate::protocol::{DifferenceView, McpEventView, McpToolView, McpView, ToolView, TrustView};

/// Converts a tool.
pub(in crate::daemon) fn tool(info: ToolInfo) -> ToolView {
    ToolView {
        name: info.name,
        kind: info.kind,
        effect: info.effect.as_str().into(),
        description: info.description,
        schema: info.schema,
        available: info.available,
    }
}

/// Converts an MCP server with its tools, or the error of asking it.
pub(in crate::daemon) fn mcp(
    server: String,
    listed: Result<Vec<ServerTool>, ToolError>,
    events: Result<Option<Vec<ServerEvent>>, ToolError>,
    mut notes: Vec<String>,
    took: std::time::Duration,
) -> McpView {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let (error, tools) = match listed {
        Ok(tools) => (None, tools),
        Err(error) => (Some(error.to_string()), Vec::new()),
    };
    let mut tools: Vec<McpToolView> = tools
        .into_iter()
        .map(|tool| McpToolView {
            usable: tool.is_usable(),
            allowed: tool.allowed,
            pin: pin_word(tool.pin),
            name: tool.info.name,
            effect: tool.info.effect.as_str().into(),
            description: tool.info.description,
            hash: tool.hash,
            changed: tool.changed.into_iter().map(difference).collect(),
            why_not: tool.why_not,
            schema: tool.info.schema,
        })
        .collect();
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    let events = events.unwrap_or_else(|why| {
        notes.push(why.to_string());
        None
    });
    let events = events.map(|events| {
        let view = |event: ServerEvent| McpEventView {
            name: event.name,
            label: event.label,
            description: event.description,
            awaited: event.awaited,
            pin: pin_word(event.pin),
            hash: event.hash,
            changed: event.changed.into_iter().map(difference).collect(),
            why_not: event.why_not,
            schema: event.schema,
        };
        events.into_iter().map(view).collect()
    });
    McpView { server, error, took_ms, notes, tools, events }
}

fn pin_word(pin: PinState) -> String {
    match pin {
        PinState::New => "new",
        PinState::Same => "same",
        PinState::Changed => "changed",
    }
    .to_owned()
}

fn difference(one: Difference) -> DifferenceView {
    DifferenceView { part: one.part.to_owned(), old: one.old, new: one.new }
}

/// Converts the result of trusting an MCP server.
pub(in crate::daemon) fn trusted(server: String, changes: Vec<PinChange>) -> TrustView {
    let changed = |change: PinChange| (change.tool, change.changed.into_iter().map(difference).collect());
    TrustView {
        server,
        tools: changes.iter().map(|change| change.tool.clone()).collect(),
        changed: changes.into_iter().map(changed).collect(),
    }
}
