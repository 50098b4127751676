//! Tools by hand, MCP servers, archives.
use super::answers::{invalid, value};
use crate::daemon::services::{Encoded, Services};
use crate::daemon::views;
use crate::domain::Body;
use crate::protocol::*;
use crate::tools::{ArchiveAsk, ArchiveRange, CallContext};
use serde_json::json;

/// How long an MCP server may take to start and to list its tools.
const MCP_TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// All at a time: one that hangs does not keep the others waiting.
pub(super) async fn list_mcp(services: &Services, params: ListMcpParams) -> Encoded {
    let tools = services.tools.lock().expect("no holder panics").clone();
    let servers = tools.servers();
    let names: Vec<String> = match params.server {
        Some(name) => vec![name],
        None => servers.names().map(str::to_owned).collect(),
    };
    if let [name] = &names[..]
        && !servers.has(name)
    {
        return Err(
            invalid(format!("there is no MCP server `{name}`")).hint(format!("define it in [mcp.{name}]"))
        );
    }
    let asking = names.into_iter().map(|name| async move {
        let began = std::time::Instant::now();
        let listed = servers.list(&name, MCP_TIME).await;
        let notes = listed.as_ref().map(|tools| servers.without_effect(&name, tools)).unwrap_or_default();
        views::mcp(name, listed, notes, began.elapsed())
    });
    value(futures_util::future::join_all(asking).await)
}

/// The archive of a tool, or of an agent that runs one.
pub(super) async fn ask_archive(services: &Services, params: ArchiveParams) -> Encoded {
    /// Long enough for any archive; what is broken off is settled by the next run.
    const BOUND: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let tools = services.tools.lock().expect("no holder panics").clone();
    let began = std::time::Instant::now();
    let name = params.archive.clone();
    let of_agent = services
        .handle
        .ask(move |engine, _| {
            let agent = engine.fleet().agents.iter().find(|agent| agent.id.as_str() == name)?;
            match &agent.body {
                Body::Tool(call) => Some(call.clone()),
                Body::Command(_) | Body::Query(_) | Body::Runner(_) => None,
            }
        })
        .await
        .flatten();
    let (tool, args) = match of_agent {
        Some(call) => (call.tool.clone(), call.args.clone()),
        None => (params.archive, json!({})),
    };
    let ask = match params.action {
        ArchiveAction::List => ArchiveAsk::List,
        ArchiveAction::Verify => ArchiveAsk::Verify,
        ArchiveAction::Restore => ArchiveAsk::Restore {
            range: ArchiveRange { from: params.from, to: params.to, key: params.key },
            dry_run: params.dry_run,
        },
    };
    let context =
        CallContext { timeout: Some(BOUND), store: Some(services.store.clone()), ..CallContext::default() };
    match tools.ask_archive(&tool, &args, &ask, &context).await {
        Ok(result) => value(ToolResultView {
            result,
            duration_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        }),
        Err(error) => Err(views::tool_error(&error, &tool)),
    }
}

pub(super) async fn call_tool(services: &Services, params: CallToolParams) -> Encoded {
    let tools = services.tools.lock().expect("no holder panics").clone();
    let began = std::time::Instant::now();
    let args = if params.args.is_null() { json!({}) } else { params.args };
    let context = CallContext {
        written: Some(args.clone()),
        store: Some(services.store.clone()),
        ..CallContext::default()
    };
    match tools.call(&params.tool, &args, &context).await {
        Ok(output) => value(ToolResultView {
            result: output.result,
            duration_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        }),
        Err(error) => Err(views::tool_error(&error, &params.tool)),
    }
}
