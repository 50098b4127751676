//! Tests of what a real server does too seldom: refusals, hiccups, and answers that are none.
use super::*;
use crate::domain::S3Settings;
use crate::net::testing::{Server, answer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

async fn bucket(endpoint: &str, more: Value) -> Result<Bucket, S3Error> {
    let mut settings = json!({
        "endpoint": endpoint, "bucket": "b", "mode": "read_write", "prefix": "p", "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": {"command": ["echo", "very-secret-key"]},
        "session_token": {"command": ["echo", "very-secret-token"]}, "timeout": 10,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let settings: S3Settings = serde_json::from_value(settings).unwrap();
    Bucket::open(&settings).await
}

fn refusal(status: &str, code: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let echo = "<StringToSign>very-secret-token X-Amz-Signature=0</StringToSign>";
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message>{echo}</Error>");
    answer(status, headers, body)
}

/// A server whose first answers are these; then it has the object `ok`.
async fn after(first: Vec<Vec<u8>>) -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Server::start(move |_| {
        let at = count.fetch_add(1, Ordering::Relaxed);
        first.get(at).cloned().unwrap_or_else(|| answer("200 OK", &[], "ok"))
    });
    (server.await, asked)
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    let passing = [
        refusal("503 Slow Down", "SlowDown", &[]),
        refusal("500 Internal Server Error", "InternalError", &[]),
        broken,
        refusal("400 Bad Request", "BadDigest", &[]),
    ];
    let (server, asked) = after(passing.to_vec()).await;
    let bucket = bucket(&server.url(""), json!({})).await.unwrap();
    assert_eq!(bucket.get("k", 1000).await.unwrap().bytes, b"ok");
    assert_eq!(asked.load(Ordering::Relaxed), 5);
    let (server, asked) = after(vec![refusal("503 x", "SlowDown", &[]); 9]).await;
    let error = self::bucket(&server.url(""), json!({})).await.unwrap().get("k", 9).await.unwrap_err();
    assert_eq!((error.kind, asked.load(Ordering::Relaxed)), (S3ErrorKind::Throttled, 5));
    // What would come too late is not waited for.
    let wait = refusal("503 x", "SlowDown", &[("retry-after", "3600")]);
    let (server, asked) = after(vec![wait]).await;
    let error = self::bucket(&server.url(""), json!({})).await.unwrap().get("k", 9).await.unwrap_err();
    assert_eq!((error.retry_after, asked.load(Ordering::Relaxed)), (Some(Duration::from_secs(3600)), 1));
}

#[tokio::test]
async fn what_lasts_is_said_at_once_and_without_secrets() {
    use S3ErrorKind::*;
    let elsewhere = refusal("301 Moved", "PermanentRedirect", &[("x-amz-bucket-region", "eu-west-9")]);
    let lasting = [
        (refusal("403 Forbidden", "AccessDenied", &[]), Denied, "what they may do there"),
        (refusal("403 Forbidden", "SignatureDoesNotMatch", &[]), Denied, "check `secret_access_key`"),
        (refusal("403 Forbidden", "InvalidAccessKeyId", &[]), Denied, "`access_key_id` is not known"),
        (refusal("403 Forbidden", "RequestTimeTooSkewed", &[]), Denied, "clock is wrong"),
        (refusal("400 Bad Request", "ExpiredToken", &[]), Denied, "`session_token`"),
        (elsewhere, Settings, "set region = \"eu-west-9\""),
        (answer("307 x", &[("location", "http://127.0.0.1:1/")], ""), Settings, "check `endpoint`"),
        (refusal("404 Not Found", "NoSuchBucket", &[]), NoBucket, "check `bucket`"),
        (answer("404 Not Found", &[], ""), NotFound, "no such object"),
        (refusal("501 x", "NotImplemented", &[]), Refused, "does not offer this"),
        (answer("418 x", &[], "\u{1b}[31m<Code>a\u{7}b</Code>"), Refused, "a b"),
    ];
    for (first, kind, says) in lasting {
        let (server, asked) = after(vec![first]).await;
        let error = bucket(&server.url(""), json!({})).await.unwrap().get("k", 1000).await.unwrap_err();
        assert_eq!((error.kind, asked.load(Ordering::Relaxed)), (kind, 1), "{error}");
        assert!(error.message.contains(says) && error.message.contains("`p/k` in bucket `b`"), "{error}");
        for secret in ["very-secret", "Signature=", "X-Amz", "AKIDEXAMPLE", "\u{1b}"] {
            assert!(!error.message.contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_hangs_takes_no_longer_than_it_may() {
    let begin = Instant::now();
    let gone = bucket("http://127.0.0.1:1", json!({"timeout": 1})).await.unwrap();
    let error = gone.put("k", vec![1], "text/plain").await.unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Network, "{error}");
    assert!(error.message.contains("can't connect"), "{error}");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let hangs = bucket(&endpoint, json!({"timeout": 1})).await.unwrap();
    assert_eq!(hangs.head("k").await.unwrap_err().kind, S3ErrorKind::Timeout);
    assert!(begin.elapsed() < crate::testing::SOON, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn requests_are_signed_and_say_their_length() {
    let (server, _) = after(Vec::new()).await;
    let bucket = bucket(&server.url("/base"), json!({})).await.unwrap();
    bucket.put("e f", Vec::new(), "text/plain").await.unwrap();
    let asked = server.asked();
    assert!(asked[0].starts_with("PUT /base/b/p/e%20f?X-Amz-Algorithm=AWS4-HMAC-SHA256&"), "{}", asked[0]);
    for part in [
        "X-Amz-Security-Token=very-secret-token",
        "X-Amz-SignedHeaders=content-md5%3Bhost%3Bx-amz-meta-bgagent-sha256",
        "content-length: 0",
        "content-md5: 1B2M2Y8AsgTpgAmY7PhCfg==",
        "x-amz-meta-bgagent-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ] {
        assert!(asked[0].contains(part), "{part}: {}", asked[0]);
    }
    let error = bucket.put("k", vec![], "text/\nplain").await.unwrap_err();
    assert!(error.message.contains("content-type"), "{error}");
}

#[tokio::test]
async fn lists_that_are_none_or_lead_astray_are_errors() {
    let page = |namespace: &str, keys: &[&str], more: bool| {
        let contents: String =
            keys.iter().map(|key| format!("<Contents><Key>{key}</Key><Size>3</Size></Contents>")).collect();
        let next = if more { "<NextContinuationToken>t</NextContinuationToken>" } else { "" };
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ListBucketResult{namespace}><IsTruncated>{more}</IsTruncated>{next}{contents}\
             </ListBucketResult>"
        );
        answer("200 OK", &[], body)
    };
    let found = async |first: Vec<Vec<u8>>| {
        let (server, _) = after(first).await;
        let bucket = bucket(&server.url(""), json!({})).await.unwrap();
        bucket.list("", None, 10).await
    };
    for namespace in ["", " xmlns='http://doc.s3.amazonaws.com/2006-03-01'"] {
        let listing = found(vec![page(namespace, &["p/a", "p/b"], true), page(namespace, &["p/c"], false)]);
        let keys: Vec<String> = listing.await.unwrap().objects.into_iter().map(|object| object.key).collect();
        assert_eq!(keys, ["a", "b", "c"]);
    }
    // What lies outside is left out, whatever the server says.
    let listing = found(vec![page("", &["other", "p/a", "pp/a"], false)]).await.unwrap();
    assert_eq!(listing.objects.len(), 1);
    for bad in [
        vec![page("", &["p/a"], true), page("", &["p/a"], true)],
        vec![page("", &[], true)],
        vec![answer("200 OK", &[], "<html>hello")],
        vec![answer("200 OK", &[], b"\xff")],
    ] {
        let error = found(bad).await.unwrap_err();
        assert_eq!(error.kind, S3ErrorKind::Refused, "{error}");
    }
}

#[tokio::test]
async fn the_bucket_stands_where_the_endpoint_wants_it() {
    for (endpoint, more, base) in [
        (None, json!({"region": "eu-west-1"}), Some("https://b.s3.eu-west-1.amazonaws.com/")),
        (None, json!({"bucket": "a.b"}), Some("https://s3.us-east-1.amazonaws.com/a.b/")),
        (Some("https://nas.local:9000/s3"), json!({}), Some("https://nas.local:9000/s3/b/")),
        (Some("https://s3.example.org"), json!({"path_style": false}), Some("https://b.s3.example.org/")),
        (Some("http://127.0.0.1:9000"), json!({"path_style": false}), None),
        (Some("http://[::1"), json!({}), None),
    ] {
        let mut more = more;
        more["endpoint"] = endpoint.into();
        let opened = bucket("", more).await;
        match base {
            Some(base) => assert_eq!(opened.unwrap().base(), base),
            None => assert_eq!(opened.err().unwrap().kind, S3ErrorKind::Settings),
        }
    }
    let missing = json!({"secret_access_key": {"env": "NOT_SET_ANYWHERE"}});
    let error = bucket("http://127.0.0.1:1", missing).await.err().unwrap();
    assert!(error.message.contains("no `secret_access_key`: the variable NOT_SET_ANYWHERE"), "{error}");
}
