//! What goes on to the place that was asked for, and comes back.
use super::held::{Held, Place};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpStream;

/// What a program is answered.
pub(super) type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Headers that are for one connection only (RFC 9110, 7.6.1), beside those that `Connection` names.
const OF_ONE_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// An answer of our own.
pub(super) fn said(status: StatusCode, words: &str) -> Answer {
    let body = Full::new(Bytes::from(words.to_owned())).map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// From now on all bytes go to and fro, until either side ends.
pub(super) fn tunnel(held: &Held, request: Request<Incoming>, stream: TcpStream, place: Place) -> Answer {
    let carrying = async move {
        let _place = place;
        let mut stream = stream;
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut stream).await;
        }
    };
    tokio::spawn(held.ended.clone().run_until_cancelled_owned(carrying));
    let mut answer = said(StatusCode::OK, "");
    answer.headers_mut().clear();
    answer
}

/// Sends a request on, and hands back what is answered as it comes.
pub(super) async fn request(
    held: &Arc<Held>,
    mut request: Request<Incoming>,
    stream: TcpStream,
    named: &str,
) -> Answer {
    let broken = |error: hyper::Error| {
        said(StatusCode::BAD_GATEWAY, &format!("bgagent: {named} did not answer as it should: {error}.\n"))
    };
    let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    else {
        return said(StatusCode::BAD_REQUEST, "bgagent: the address has no host.\n");
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(path) = path.parse::<Uri>() else {
        return said(StatusCode::BAD_REQUEST, "bgagent: the address has no path.\n");
    };
    *request.uri_mut() = path;
    without_connection(request.headers_mut());
    // the place that was judged, whatever the program says it is (RFC 9112, 3.2.2)
    request.headers_mut().insert(HOST, host);
    let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(both) => both,
        Err(error) => return broken(error),
    };
    tokio::spawn(held.ended.clone().run_until_cancelled_owned(connection));
    match sender.send_request(request).await {
        Ok(mut answer) => {
            without_connection(answer.headers_mut());
            answer.map(BodyExt::boxed)
        }
        Err(error) => broken(error),
    }
}

fn without_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
}
