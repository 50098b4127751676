//! Forwards requests and tunnels to their destination.
use super::listen::Place;
use super::reply::{Answer, said, without_connection};
use super::state::PassState;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Timeout of the other direction of a tunnel after one side has closed.
const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Copies bytes in both directions until either side closes.
pub(super) fn tunnel(
    state: &PassState,
    request: Request<Incoming>,
    stream: TcpStream,
    place: Place,
) -> Answer {
    let carrying = async move {
        let _place = place;
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            copy_both_ways(TokioIo::new(upgraded), stream).await;
        }
    };
    tokio::spawn(state.ended.clone().run_until_cancelled_owned(carrying));
    let mut answer = said(StatusCode::OK, "");
    answer.headers_mut().clear();
    answer
}

/// Copies bytes in both directions. When one side closes, the other may continue for [`HALF_CLOSE_TIMEOUT`].
async fn copy_both_ways(program: impl AsyncRead + AsyncWrite, stream: TcpStream) {
    let (mut from_program, mut to_program) = tokio::io::split(program);
    let (mut from_place, mut to_place) = stream.into_split();
    let out = async {
        let _ = tokio::io::copy(&mut from_program, &mut to_place).await;
        let _ = to_place.shutdown().await;
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_place, &mut to_program).await;
        let _ = to_program.shutdown().await;
    };
    tokio::pin!(out, back);
    tokio::select! {
        () = &mut out => { let _ = tokio::time::timeout(HALF_CLOSE_TIMEOUT, back).await; }
        () = &mut back => { let _ = tokio::time::timeout(HALF_CLOSE_TIMEOUT, out).await; }
    }
}

/// Forwards a request, and streams the response back.
pub(super) async fn request(
    state: &Arc<PassState>,
    mut request: Request<Incoming>,
    stream: TcpStream,
    named: &str,
) -> Answer {
    let broken = |error: hyper::Error| {
        said(StatusCode::BAD_GATEWAY, &format!("bgagent: {named} did not answer as it should: {error}.\n"))
    };
    let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}", request.uri().path()).parse::<Uri>();
    let (Some(host), Ok(path)) = (host, path) else {
        return said(StatusCode::BAD_REQUEST, "bgagent: this URL can't be forwarded.\n");
    };
    *request.uri_mut() = path;
    without_connection(request.headers_mut());
    // the checked destination, whatever the program's header says (RFC 9112, 3.2.2)
    request.headers_mut().insert(HOST, host);
    let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(both) => both,
        Err(error) => return broken(error),
    };
    tokio::spawn(state.ended.clone().run_until_cancelled_owned(connection));
    match sender.send_request(request).await {
        Ok(mut answer) => {
            without_connection(answer.headers_mut());
            answer.map(|body| body.map_err(Into::into).boxed_unsync())
        }
        Err(error) => broken(error),
    }
}
