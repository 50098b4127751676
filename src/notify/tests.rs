//! Tests of the senders, against real listeners, files and programs.
use super::*;
use crate::domain::{CommandSpec, SecretRef, TellOn, TextOrSecret, Urgency, WebhookSpec};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

mod mail;

const LONG: Duration = Duration::from_secs(60);

fn message() -> Message {
    Message {
        id: 7,
        agent: "news".parse().unwrap(),
        about: TellOn::Failed,
        urgency: Urgency::Critical,
        key: Some("agent:news".into()),
        run: None,
        at: "2026-11-24T09:00:00Z".parse().unwrap(),
        subject: "news failed".into(),
        body: "exit status 3\nthe end".into(),
        reached: Vec::new(),
        joined: Vec::new(),
        question: None,
    }
}

fn webhook(url: &str) -> NotifyTarget {
    let headers = BTreeMap::from([("X-Team".to_owned(), TextOrSecret::Text("ops".into()))]);
    NotifyTarget {
        kind: NotifyTargetKind::Webhook(WebhookSpec {
            url: TextOrSecret::Text(url.into()),
            headers,
            secret: None,
            body: None,
        }),
        per_minute: None,
        quiet: None,
    }
}

fn command(script: &str, env: BTreeMap<String, TextOrSecret>) -> NotifyTarget {
    let argv = vec!["/bin/sh".into(), "-c".into(), script.into()];
    NotifyTarget {
        kind: NotifyTargetKind::Command(CommandSpec {
            argv,
            env,
            cwd: "/".into(),
            default_cwd: false,
            stdin: None,
            sandbox: None,
        }),
        per_minute: None,
        quiet: None,
    }
}

/// How a server responds to its one request.
enum Answer {
    Says(&'static str),
    Hangs,
    Resets,
}

/// Starts a server for one request. Returns its address, and the request as received.
async fn server(answer: Answer) -> (String, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook/TOKEN-PATH?key=TOKEN-QUERY", listener.local_addr().unwrap());
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            if stream.read_buf(&mut request).await.unwrap() == 0 {
                break;
            }
        }
        match answer {
            Answer::Says(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Answer::Hangs => {
                let _ = stream.read_buf(&mut Vec::new()).await;
            }
            Answer::Resets => stream.set_zero_linger().unwrap(),
        }
        let _ = tell.send(String::from_utf8(request).unwrap());
    });
    (url, told)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

#[tokio::test]
async fn webhook_posts_json() {
    let (url, told) = server(Answer::Says("HTTP/1.1 204 No Content\r\n\r\n")).await;
    send("ops", &webhook(&url), &message(), LONG).await.unwrap();
    let request = told.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook/TOKEN-PATH?key=TOKEN-QUERY HTTP/1.1"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("idempotency-key: bgagent-7-"), "{head}");
    assert!(head.contains("x-team: ops"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "id": 7, "agent": "news", "about": "failed", "severity": "critical", "state": "open",
            "key": "agent:news", "run_id": null, "links": {"show": "bgagent incidents"}, "at": "2026-11-24T09:00:00Z", "subject": "news failed",
            "body": "exit status 3\nthe end", "text": "news failed\nexit status 3\nthe end",
        })
    );
}

#[tokio::test]
async fn webhook_answers_and_what_they_mean() {
    let table = [
        ("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n", true, "answered 500"),
        ("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", true, "answered 429"),
        ("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", true, "answered 408"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false, "answered 404 Not Found"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
            false,
            "answered 302",
        ),
        ("nonsense\r\n\r\n", true, "the request failed"),
    ];
    for (answer, worth_retrying, says) in table {
        let (url, _told) = server(Answer::Says(answer)).await;
        let error = send("ops", &webhook(&url), &message(), LONG).await.unwrap_err();
        assert_eq!(error.worth_retrying, worth_retrying, "{answer}: {error}");
        assert!(error.message.contains(says), "{error}");
        assert!(error.message.starts_with("http://127.0.0.1:"), "{error}");
        assert!(!error.message.contains("TOKEN"), "{error}");
    }
}

#[tokio::test]
async fn webhook_says_why_in_its_own_words() {
    let answer = |status: &str, headers: &str, body: &str| -> &'static str {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).leak()
    };
    let long = "x".repeat(5000);
    for (body, says) in [
        ("invalid_payload", "answered 400 Bad Request: invalid_payload"),
        (
            r#"{"message": "Cannot send an empty message", "code": 50006}"#,
            "400 Bad Request: Cannot send an empty message",
        ),
        (
            r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#,
            "Request: Bad Request: chat not found",
        ),
        (r#"{"error": {"message": "no such channel"}}"#, "Request: no such channel"),
        ("<html><body><h1>Go</h1>\n away</body></html>", "Request: Go away"),
        ("unknown hook TOKEN-PATH", "Request: unknown hook [redacted]"),
        (long.as_str(), "xxx…"),
        ("", "answered 400 Bad Request"),
    ] {
        let (url, _told) = server(Answer::Says(answer("400 Bad Request", "", body))).await;
        let error = send("ops", &webhook(&url), &message(), LONG).await.unwrap_err();
        assert!(error.message.ends_with(says), "{error}");
        assert!(!error.message.contains("TOKEN") && error.message.len() < 400, "{error}");
        assert_eq!(error.retry_after, None);
    }
    for (wait, secs) in
        [("7", Some(7)), ("0.3", Some(1)), ("soon", None), ("Fri, 31 Dec 2010 23:59:59 GMT", None)]
    {
        let answer = answer("429 Too Many Requests", &format!("retry-after: {wait}\r\n"), "slow down");
        let (url, _told) = server(Answer::Says(answer)).await;
        let error = send("ops", &webhook(&url), &message(), LONG).await.unwrap_err();
        assert!(error.worth_retrying && error.message.ends_with("slow down"), "{error}");
        assert_eq!(error.retry_after.map(|wait| wait.as_secs()), secs, "{wait}");
    }
}

#[test]
fn what_waited_together_is_one_message() {
    let one = |id: i64, about: TellOn, subject: &str| Message {
        id,
        about,
        subject: subject.into(),
        body: format!("body\nof {id}"),
        ..message()
    };
    let all: Vec<Message> = (1..=12)
        .map(|id| one(id, TellOn::IncidentOpened, &format!("fleet: svc{id}")))
        .chain([
            one(13, TellOn::IncidentResolved, "fleet: resolved: disk"),
            one(14, TellOn::Failed, "news: failed"),
        ])
        .collect();
    let chat = |message: &Message| fits_whole(None, message);
    assert_eq!(fitting(&all, chat), (14, 400));
    let joined = join(all.clone(), 400);
    assert_eq!(
        joined.subject,
        "12 incidents opened, 1 incident resolved, 1 failure: fleet: svc1; fleet: svc2; fleet: svc3; fleet: svc4; \
         fleet: svc5; and 9 more"
    );
    assert_eq!(joined.body.lines().count(), 14);
    assert!(joined.body.starts_with("- fleet: svc1 (body of 1)\n- fleet: svc2 "), "{}", joined.body);
    assert_eq!(
        (joined.about, joined.idempotency_key().as_str()),
        (TellOn::IncidentOpened, "bgagent-1-1795510800000000-14-14")
    );
    let json = joined.to_json();
    assert_eq!(json["joined"].as_array().unwrap().len(), 14);
    assert_eq!(json["joined"][12], all[12].to_json());
    // a single one is unchanged
    assert_eq!(join(vec![all[0].clone()], 400), all[0]);
    // limited to what chats accept; the rest follows in the next one
    let long: Vec<Message> = (0..60).map(|id| one(id, TellOn::Failed, &"ä".repeat(500))).collect();
    let (count, each) = fitting(&long, chat);
    assert_eq!((count, each), (40, 72), "of each as much as lets many go together");
    assert!(join(long[..count].to_vec(), each).body.chars().count() <= joined::LONGEST);
}

#[tokio::test]
async fn webhook_that_hangs_resets_or_is_not_there() {
    let (url, _told) = server(Answer::Hangs).await;
    let started = Instant::now();
    let error = send("ops", &webhook(&url), &message(), Duration::from_millis(300)).await.unwrap_err();
    assert!(error.worth_retrying && error.message.contains("no answer in time"), "{error}");
    assert!(started.elapsed() < crate::testing::SOON);
    assert!(!error.message.contains("TOKEN"), "{error}");

    let (url, _told) = server(Answer::Resets).await;
    let error = send("ops", &webhook(&url), &message(), LONG).await.unwrap_err();
    assert!(error.worth_retrying, "{error}");
    assert!(!error.message.contains("TOKEN"), "{error}");

    let closed = crate::testing::nobody();
    let url = format!("http://user:TOKEN-PASSWORD@{closed}/TOKEN-PATH");
    let error = send("ops", &webhook(&url), &message(), LONG).await.unwrap_err();
    assert!(error.worth_retrying && error.message.contains("can't connect"), "{error}");
    assert!(!error.message.contains("TOKEN"), "{error}");
}

#[tokio::test]
async fn webhook_with_a_broken_address() {
    for url in ["TOKEN no url", "ftp://example.com/TOKEN", "file:///TOKEN", ""] {
        let error = send("ops", &webhook(url), &message(), LONG).await.unwrap_err();
        assert!(!error.worth_retrying, "{error}");
        assert!(!error.message.contains("TOKEN"), "{error}");
    }
    let secret = TextOrSecret::Secret(SecretRef::Env("NO_SUCH_VARIABLE_OF_OURS".into()));
    let target = NotifyTarget {
        kind: NotifyTargetKind::Webhook(WebhookSpec {
            url: secret,
            headers: BTreeMap::new(),
            secret: None,
            body: None,
        }),
        per_minute: None,
        quiet: None,
    };
    let error = send("ops", &target, &message(), LONG).await.unwrap_err();
    assert!(error.message.contains("NO_SUCH_VARIABLE_OF_OURS"), "{error}");
}

#[tokio::test]
async fn file_gets_one_line_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("deep/er/told.jsonl");
    let target = NotifyTarget { kind: NotifyTargetKind::File(path.clone()), per_minute: None, quiet: None };
    send("ops", &target, &message(), LONG).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // An editor, or a crash, left an unterminated line.
    let mut text = std::fs::read(&path).unwrap();
    text.extend(b"{\"cut");
    std::fs::write(&path, text).unwrap();
    send("ops", &target, &message(), LONG).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1], "{\"cut");
    for line in [lines[0], lines[2]] {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["subject"], "news failed");
    }
    let target =
        NotifyTarget { kind: NotifyTargetKind::File(folder.path().into()), per_minute: None, quiet: None };
    let error = send("ops", &target, &message(), LONG).await.unwrap_err();
    assert!(error.message.contains("can't write to"), "{error}");
}

#[tokio::test]
async fn command_gets_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let script = format!(
        "{{ cat; echo \"$BGAGENT_ABOUT $BGAGENT_AGENT_ID $BGAGENT_SUBJECT\"; }} > '{}'",
        out.display()
    );
    send("ops", &command(&script, BTreeMap::new()), &message(), LONG).await.unwrap();
    let text = std::fs::read_to_string(out).unwrap();
    let (json, line) = text.split_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap(), message().to_json());
    assert_eq!(line, "failed news news failed\n");
}

#[tokio::test]
async fn command_that_fails_hangs_or_is_missing() {
    let secret = TextOrSecret::Secret(SecretRef::Command(vec!["echo".into(), "TOKEN".into()]));
    let env = BTreeMap::from([("KEY".to_owned(), secret)]);
    let error =
        send("ops", &command("echo \"bad key $KEY\" >&2; exit 3", env), &message(), LONG).await.unwrap_err();
    assert_eq!(error, SendError::passing("`/bin/sh` ended with exit status 3: bad key [redacted]"));

    let started = Instant::now();
    let error =
        send("ops", &command("sleep 600 & sleep 600", BTreeMap::new()), &message(), Duration::from_secs(1))
            .await
            .unwrap_err();
    assert!(error.worth_retrying && error.message.contains("did not end within"), "{error}");
    assert!(started.elapsed() < crate::testing::SOON);

    let spec = CommandSpec {
        argv: vec!["no-such-program-anywhere".into()],
        env: BTreeMap::new(),
        cwd: "/".into(),
        default_cwd: false,
        stdin: None,
        sandbox: None,
    };
    let error = send(
        "ops",
        &NotifyTarget { kind: NotifyTargetKind::Command(spec), per_minute: None, quiet: None },
        &message(),
        LONG,
    )
    .await
    .unwrap_err();
    assert_eq!(error, SendError::lasting("there is no program `no-such-program-anywhere`"));
}

#[test]
fn delays_grow_and_end_after_eight_tries() {
    let secs: Vec<_> = (1..).map_while(retry_delay).map(|delay| delay.as_secs()).collect();
    assert_eq!(secs, [10, 60, 300, 1800, 7200, 21_600, 21_600]);
}
