//! The door: each request is looked at before a page sees it.
use super::admission::{protect, refused};
use super::frame::PageError;
use super::state::Web;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Looks at each request before a page does, and says with each answer what a browser may do with it.
pub(super) async fn admit(State(web): State<Web>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match web.admission.refuses(&method, &path, request.headers()) {
        Some(status) => refused(status),
        None if path == "/open" && method != Method::GET => refused(StatusCode::METHOD_NOT_ALLOWED),
        None if path == "/open" => web.admission.open(request.uri().query().unwrap_or_default()),
        None => {
            web.seen();
            in_our_words(next.run(request).await)
        }
    };
    let is_static = path.starts_with("/static/") && response.status().is_success();
    protect(response.headers_mut(), is_static);
    response
}

/// What does not even fit its form, the server library refuses in words for programmers: a person gets a page.
fn in_our_words(response: Response) -> Response {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !response.status().is_client_error() || is_page {
        return response;
    }
    PageError::malformed(response.status()).into_response()
}
