//! The tools that are handed to a program, at the meter's address: an MCP server over HTTP ("Streamable HTTP" of the Model
//! Context Protocol, 2025-06-18), without sessions and server-initiated streams. Messages are handled elsewhere.
use super::body::{self, NoBody};
use super::state::MeterState;
use super::tool_server::ToolServer;
use crate::proxy::reply::{Answer, of_type, said};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_LENGTH, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use std::sync::Arc;

/// Maximum size of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// Handles one HTTP request.
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
    // programs send none; web pages do (the transport's rule against DNS rebinding)
    if parts.headers.contains_key(ORIGIN) {
        return said(
            StatusCode::FORBIDDEN,
            "the tools are for the program of the run, not for pages of a browser",
        );
    }
    let too_long = || {
        said(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("a message to the tools has {} KiB at the most", MAX_MESSAGE_BYTES >> 10),
        )
    };
    let length =
        parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_MESSAGE_BYTES) {
        return too_long();
    }
    let whole = match body::whole(&state.bodies, &parts.headers, body).await {
        Ok(whole) if whole.bytes.len() <= MAX_MESSAGE_BYTES => whole,
        Ok(_) => return too_long(),
        Err(NoBody::NoRoom) => {
            state.had_no_room();
            return said(StatusCode::SERVICE_UNAVAILABLE, "there was no memory for this message");
        }
        Err(NoBody::Unfit(why) | NoBody::Broken(why)) => return said(StatusCode::BAD_REQUEST, &why),
    };
    // its memory stays reserved until the answer
    let (message, _room) = (whole.bytes, whole.room);
    match server.answer(message).await {
        Some(answer) => of_type(StatusCode::OK, "application/json", answer),
        None => said(StatusCode::ACCEPTED, ""),
    }
}
