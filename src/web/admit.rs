//! Middleware that checks each request before a page handles it.
use super::admission::{protect, refused};
use super::frame::PageError;
use super::state::Web;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Checks each request before a page handles it, and adds the security headers to each answer.
pub(super) async fn admit(State(web): State<Web>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match web.admission.refuses(&method, &path, request.headers()) {
        Some(status) => refused(status),
        None if path == "/open" && method != Method::GET => refused(StatusCode::METHOD_NOT_ALLOWED),
        None if path == "/open" => web.admission.open(request.uri().query().unwrap_or_default()),
        None => {
            web.seen();
            as_page(next.run(request).await)
        }
    };
    let is_static = path.starts_with("/static/") && response.status().is_success();
    protect(response.headers_mut(), is_static);
    response
}

/// Replaces error responses of the server library, which are written for programmers, by a page.
fn as_page(response: Response) -> Response {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !response.status().is_client_error() || is_page {
        return response;
    }
    PageError::malformed(response.status()).into_response()
}
