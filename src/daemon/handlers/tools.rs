//! Manual tool calls, MCP servers, archives.
use super::answers::{invalid, value};
use super::changes::unanswered;
use crate::archive;
use crate::daemon::inbox::ChangeAsked;
use crate::daemon::services::{CallStep, Encoded, Services};
use crate::daemon::views;
use crate::domain::{Body, Fact};
use crate::mcp::Keeping;
use crate::protocol::*;
use crate::tools::CallContext;
use serde_json::json;
use tokio::sync::oneshot;

/// Timeout for starting an MCP server and listing its tools.
const MCP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// How long a client waits until its trust decision is recorded.
const RECORD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// Trusts the tools of a server. The answer is recorded in the same transaction, before the client
/// receives it.
pub(super) fn trust_mcp(services: &Services, params: TrustMcpParams, asked: ChangeAsked) -> CallStep {
    let tools = services.tools.lock().expect("no holder panics").clone();
    let TrustMcpParams { server, hashes } = params;
    let (kept, is_kept) = oneshot::channel();
    let ChangeAsked { request_id, waits } = asked;
    let trusted = tools.servers().trust_and(&server, hashes.as_ref(), |changes| {
        let with = request_id.map(|request_id| {
            let view = serde_json::to_value(views::trusted(server.clone(), changes.to_vec()));
            let answer =
                views::stored(&view.map_err(|error| RpcError::new(Code::Internal, error.to_string())));
            Fact::RequestAnswered { request_id, answer: answer.to_string() }
        });
        Some(Keeping { with, kept })
    });
    let changes = match trusted {
        Ok(changes) => changes,
        Err(error) => return CallStep::Done(Err(views::tool_error(&error, &server))),
    };
    CallStep::Later(Box::pin(async move {
        let timeout = if waits { std::time::Duration::MAX } else { RECORD_TIMEOUT };
        match tokio::time::timeout(timeout, is_kept).await {
            Ok(Ok(())) => value(views::trusted(server, changes)),
            Ok(Err(_)) => Err(unanswered()),
            Err(_) => {
                let what = format!("that the tools of `{server}` are trusted is not recorded yet");
                let hint =
                    "it is recorded as soon as the database can be written, unless the daemon ends before";
                Err(RpcError::new(Code::Refused, what).hint(hint).pending())
            }
        }
    }))
}

/// Asks all servers concurrently: one that hangs does not delay the others.
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
        let listed = servers.list(&name, MCP_TIMEOUT).await;
        let notes = listed.as_ref().map(|tools| servers.without_effect(&name, tools)).unwrap_or_default();
        // an unreachable server is not asked for events
        let events = match &listed {
            Ok(_) => servers.list_events(&name, MCP_TIMEOUT).await,
            Err(_) => Ok(None),
        };
        views::mcp(name, listed, events, notes, began.elapsed())
    });
    value(futures_util::future::join_all(asking).await)
}

/// Queries the archive of a tool, or of an agent that runs one.
pub(super) async fn ask_archive(services: &Services, params: ArchiveParams) -> Encoded {
    /// Long enough for any archive; the next run recovers from an interruption.
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
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
        ArchiveAction::List => archive::Ask::List,
        ArchiveAction::Verify => archive::Ask::Verify,
        ArchiveAction::Restore => archive::Ask::Restore {
            range: archive::Range { from: params.from, to: params.to, key: params.key },
            dry_run: params.dry_run,
        },
    };
    let settings = tools.settings(&tool).and_then(|settings| archive::settings(&tool, settings, &args));
    let answer = match settings {
        Ok(settings) => archive::ask(&tool, settings, ask, TIMEOUT, Some(services.store.clone())).await,
        Err(error) => Err(error),
    };
    match answer {
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
