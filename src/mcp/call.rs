//! One call of a tool: sent, repeated where that is harmless, and its result interpreted.
use super::session::Session;
use super::{Broken, Server, Servers, answer, http, text, wire};
use crate::domain::{Effect, ToolError};
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, CallToolResponse, ErrorData};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

impl Servers {
    /// Calls a tool. Starts its server if needed. If the server dies before it has received the call, or during a call without
    /// side effects or an idempotent one, the call is repeated once.
    pub async fn call(
        &self,
        server: &str,
        tool: &str,
        args: Value,
        bound: Duration,
        traceparent: Option<&str>,
    ) -> Result<Value, ToolError> {
        match self.try_call(server, tool, args.clone(), bound, traceparent).await {
            Err(Broken { error, again: true }) => {
                let of = self.server(server)?;
                // One repetition at a time: a call that kills its server must not affect the others again.
                match tokio::time::timeout(bound, of.link.again.lock()).await {
                    Ok(_alone) => {
                        let result = self.try_call(server, tool, args, bound, traceparent).await;
                        result.map_err(|broken| broken.error)
                    }
                    Err(_) => Err(error),
                }
            }
            result => result.map_err(|broken| broken.error),
        }
    }

    async fn try_call(
        &self,
        server: &str,
        tool: &str,
        args: Value,
        bound: Duration,
        traceparent: Option<&str>,
    ) -> Result<Value, Broken> {
        let of = self.server(server)?;
        let (session, listed) = self.connected(of, false, bound).await?;
        let deadline = Instant::now() + bound;
        let tool = self.usable(server, of, &listed, tool)?;
        let (name, effect) = (tool.full_name().to_owned(), tool.effect(&of.rules));
        let args = match args {
            Value::Null => Map::new(),
            Value::Object(args) => args,
            other => {
                return Err(ToolError::Arguments(format!("tool `{name}`: {other} is not an object")).into());
            }
        };
        let args = Value::Object(args);
        tool.check(&args).map_err(|error| ToolError::Arguments(format!("tool `{name}`: {error}")))?;
        let Value::Object(args) = args else { return Err(ToolError::Unknown(name).into()) };
        let mut params = CallToolRequestParams::new(tool.raw.clone()).with_arguments(args);
        params.meta =
            traceparent.map(|trace| Map::from_iter([("traceparent".to_owned(), trace.into())]).into());
        // Dropping the call cancels it at the server.
        match tokio::time::timeout_at(deadline, session.peer.call_tool_once(params)).await {
            Ok(answer) => {
                let again = match &answer {
                    Err(ServiceError::TransportClosed) => effect != Effect::Effect,
                    // the server is gone, and has not received the call, whatever its effect
                    Err(ServiceError::TransportSend(error)) if of.link.spec.url.is_none() => {
                        session.kill();
                        session.not_sent(error.error.as_ref())
                    }
                    _ => false,
                };
                let called = (name.as_str(), effect);
                self.answered(of, &session, called, answer).await.map_err(|error| Broken { error, again })
            }
            Err(_) => {
                of.link.timed_out(&session);
                let secs = bound.as_secs_f64().ceil() as u64;
                Err(ToolError::Timeout { tool: name, secs }.into())
            }
        }
    }

    async fn answered(
        &self,
        of: &Server,
        session: &Session,
        (name, effect): (&str, Effect),
        answer: Result<CallToolResponse, ServiceError>,
    ) -> Result<Value, ToolError> {
        let failed = |text: &str| ToolError::Failed(format!("tool `{name}`: {text}"));
        let unsure = |text: &str| {
            ToolError::Unsure(format!("tool `{name}`: {text}; nobody knows whether the call was carried out"))
        };
        if !matches!(answer, Err(ServiceError::TransportClosed | ServiceError::TransportSend(_))) {
            of.link.answered();
        }
        match answer {
            Ok(CallToolResponse::Complete(result)) => answer::of(result).map_err(|text| failed(&text)),
            Ok(CallToolResponse::InputRequired(_)) => {
                Err(unsure("the server wants to ask a person, and an agent has none at hand"))
            }
            Ok(_) => Err(unsure("the server made a task of the call, which we do not follow")),
            Err(ServiceError::McpError(error)) if wire::is_too_long(&error) => {
                let mib = wire::MAX_LINE >> 20;
                match effect {
                    Effect::Read => Err(failed(&format!(
                        "the answer is longer than {mib} MiB and was dropped: ask for less"
                    ))),
                    Effect::Idempotent | Effect::Effect => Ok(json!({"note": format!(
                        "the call was carried out; its result is left out: it is longer than {mib} MiB"
                    )})),
                }
            }
            Err(ServiceError::McpError(error)) if http::is_unsure(&error) || is_cut_off(&error) => {
                Err(unsure(&wire::error_text(&error)))
            }
            Err(ServiceError::McpError(error)) => Err(failed(&wire::error_text(&error))),
            Err(ServiceError::TransportSend(error)) => {
                let text = session.broken(error.error.as_ref());
                Err(if session.not_sent(error.error.as_ref()) { failed(&text) } else { unsure(&text) })
            }
            Err(ServiceError::TransportClosed)
                if of.link.spec.url.is_some() && !session.signals.over.is_cancelled() =>
            {
                Err(unsure("the connection was cut off in the middle of the answer"))
            }
            Err(ServiceError::TransportClosed) => {
                Err(unsure(&format!("its server is gone: {}", session.obituary().await)))
            }
            Err(other) => Err(unsure(&text::shown(&other.to_string()))),
        }
    }
}

/// Returns whether this is the error of `rmcp` for a request that lost its session while in flight.
fn is_cut_off(error: &ErrorData) -> bool {
    error.message.starts_with("streamable HTTP session was re-initialized")
}
