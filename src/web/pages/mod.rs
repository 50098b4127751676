//! One file per page: it queries the daemon and renders the template.
mod agents;
mod approvals;
mod bars;
mod fleet;
mod incidents;
mod log;
mod now;
mod runs;
mod spending;
mod timeline;
mod transcript;

use super::state::{SCRIPT, STYLE, Web};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub(super) use approvals::hash_of as call_hash;

/// Returns the routes of all pages, which are read-only.
pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(now::now))
        .route("/timeline", get(timeline::timeline))
        .route("/timeline/{agent}", get(timeline::slots))
        .route("/agents", get(agents::agents))
        .route("/agents/{agent}", get(agents::agent))
        .route("/runs", get(runs::runs))
        .route("/runs/{run}", get(runs::run))
        .route("/runs/{run}/output", get(runs::output))
        .route("/incidents", get(incidents::incidents))
        .route("/approvals", get(approvals::approvals))
        .route("/spending", get(spending::spending))
        .route("/log", get(log::log))
        .route("/find", get(log::find))
        .route("/static/{file}", get(asset))
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
}

/// Serves the style sheet and the script, under names that change with their content.
async fn asset(axum::extract::Path(file): axum::extract::Path<String>) -> Response {
    let (kind, text) = match file.rsplit_once('.') {
        Some((_, "css")) => ("text/css; charset=utf-8", STYLE),
        Some((_, "js")) => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
