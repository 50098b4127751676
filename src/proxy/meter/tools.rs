//! The tools that a program is handed, at the meter's address: an MCP server over HTTP ("Streamable HTTP" of the Model Context
//! Protocol, 2025-06-18), without sessions and without a stream of its own. What its messages mean is for others to say.
use super::body::{self, NoBody};
use super::state::MeterState;
use super::tool_server::ToolServer;
use crate::proxy::reply::{Answer, of_type, said};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use std::sync::Arc;

/// Longest message, in bytes.
const LONGEST: usize = 1 << 20;

/// One request of HTTP.
pub(super) async fn receive(
    state: &MeterState,
    server: Arc<dyn ToolServer>,
    parts: &Parts,
    body: Incoming,
) -> Answer {
    if parts.method != Method::POST {
        let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, "the tools are asked by POST");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return answer;
    }
    let message = match body::whole(&state.bodies, &parts.headers, body).await {
        Ok(whole) if whole.bytes.len() <= LONGEST => whole.bytes,
        Ok(_) => {
            let why = format!("a message to the tools has {} KiB at the most", LONGEST >> 10);
            return said(StatusCode::PAYLOAD_TOO_LARGE, &why);
        }
        Err(NoBody::NoRoom) => {
            state.had_no_room();
            return said(StatusCode::SERVICE_UNAVAILABLE, "there was no memory for this message");
        }
        Err(NoBody::Unfit(why) | NoBody::Broken(why)) => return said(StatusCode::BAD_REQUEST, &why),
    };
    state.lives();
    let answered = server.answer(message).await;
    state.lives();
    match answered {
        Some(answer) => of_type(StatusCode::OK, "application/json", answer),
        None => said(StatusCode::ACCEPTED, ""),
    }
}
