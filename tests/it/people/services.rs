//! The services that messages are sent to: receivers that refuse what the real ones refuse, in their own words.
use crate::endpoint::{Endpoint, Reply, Request};
use crate::support::{Daemon, wait_for};
use bgagent::domain::{
    NotifyTarget, NotifyTargetKind, NotifyType, SecretRef, ServiceSpec, TellOn, TextOrSecret,
};
use bgagent::notify::{self, Message, SendError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const KINDS: &[NotifyType] = &[
    NotifyType::Slack,
    NotifyType::Discord,
    NotifyType::Teams,
    NotifyType::Telegram,
    NotifyType::Ntfy,
    NotifyType::Matrix,
    NotifyType::Gotify,
];

/// Says no as the service does; `None`: it takes the message.
fn refused(kind: NotifyType, request: &Request) -> Option<Reply> {
    let no = |status, body: Value| Some(Reply::body(body.to_string()).with_status(status));
    let text = |key: &str| request.json[key].as_str().unwrap_or_default().to_owned();
    let utf16 = |text: &str| text.encode_utf16().count();
    match kind {
        NotifyType::Slack => {
            let text = text("text");
            if text.is_empty() {
                return Some(Reply::body("no_text").with_status(400));
            }
            if request.body.len() > 40_000 {
                return Some(Reply::body("msg_too_long").with_status(400));
            }
            // what is not escaped calls people or becomes a link
            (text.contains(['<', '>'])).then(|| Reply::body("invalid_payload").with_status(400))
        }
        // what is not waited for is always taken, whatever becomes of it
        NotifyType::Discord if !request.path.ends_with("wait=true") => Some(Reply::body("").with_status(204)),
        NotifyType::Discord => match text("content") {
            content if content.is_empty() => {
                no(400, json!({"message": "Cannot send an empty message", "code": 50006}))
            }
            content if utf16(&content) > 2000 => {
                no(400, json!({"content": ["Must be 2000 or fewer in length."]}))
            }
            _ => None,
        },
        NotifyType::Teams => {
            let card = &request.json["attachments"][0];
            if card["contentType"] != "application/vnd.microsoft.card.adaptive" {
                return Some(
                    Reply::body("Bad payload received by generic incoming webhook.").with_status(400),
                );
            }
            (request.body.len() > 28 << 10).then(|| Reply::body("Request Entity too large").with_status(413))
        }
        NotifyType::Telegram => {
            let say = |description: &str| {
                no(
                    400,
                    json!({"ok": false, "error_code": 400, "description": format!("Bad Request: {description}")}),
                )
            };
            if request.path != "/bot12:secret-token/sendMessage" {
                return no(404, json!({"ok": false, "error_code": 404, "description": "Not Found"}));
            }
            if request.json["chat_id"] != -100_123 {
                return say("chat not found");
            }
            match entities(&text("text")) {
                None => say("can't parse entities: Unsupported start tag"),
                Some(plain) if plain.is_empty() => say("message text is empty"),
                Some(plain) if utf16(&plain) > 4096 => say("message is too long"),
                Some(_) => None,
            }
        }
        NotifyType::Ntfy => {
            if text("topic").is_empty() {
                return no(
                    400,
                    json!({"code": 40009, "http": 400, "error": "invalid request: topic invalid"}),
                );
            }
            let too_long = text("message").len() > 4096 || text("message").is_empty();
            let priority =
                request.json["priority"].as_u64().is_some_and(|priority| (1..=5).contains(&priority));
            (too_long || !priority).then(|| {
                Reply::body("{\"code\":41301,\"http\":413,\"error\":\"attachment too large\"}")
                    .with_status(413)
            })
        }
        NotifyType::Matrix => {
            let path = "/_matrix/client/v3/rooms/%21abc:example.org/send/m.room.message/";
            if request.method != "PUT" || !request.path.starts_with(path) || request.path.len() <= path.len()
            {
                return no(404, json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}));
            }
            if request.header("authorization") != Some("Bearer 12:secret-token") {
                return no(401, json!({"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown access token"}));
            }
            (request.body.len() > 65_000 || text("body").is_empty()).then(|| {
                Reply::body("{\"errcode\":\"M_TOO_LARGE\",\"error\":\"event too large\"}").with_status(413)
            })
        }
        NotifyType::Gotify => {
            if request.header("x-gotify-key") != Some("12:secret-token") {
                return no(401, json!({"error": "Unauthorized", "errorCode": 401}));
            }
            let whole = !text("message").is_empty() && request.json["priority"].is_u64();
            (!whole).then(|| Reply::status(400, "Field 'message' is required"))
        }
        _ => panic!("{kind} is no service"),
    }
}

/// The text as Telegram shows it; `None`: its markup is broken.
fn entities(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&', '>']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("<b>", ""), ("</b>", ""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")];
        let (markup, shown) = known.into_iter().find(|(markup, _)| rest.starts_with(markup))?;
        plain.push_str(shown);
        rest = &rest[markup.len()..];
    }
    Some(plain + rest)
}

fn strict(kind: NotifyType) -> Endpoint {
    Endpoint::answering(move |request| {
        refused(kind, request).unwrap_or_else(|| Reply::body(json!({"ok": true}).to_string()))
    })
}

/// The target of such a receiver; its token is in a file of this folder.
fn target(kind: NotifyType, url: &str, folder: &std::path::Path) -> NotifyTarget {
    use std::os::unix::fs::PermissionsExt;
    let token = folder.join("token");
    std::fs::write(&token, "12:secret-token\n").expect("our folder");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("our file");
    let text = |text: &str| TextOrSecret::Text(text.to_owned());
    let token = TextOrSecret::Secret(SecretRef::File(token));
    let (hook, base) = (text(&format!("{url}/hook/secret-path")), text(url));
    let keys = match kind {
        NotifyType::Slack | NotifyType::Discord | NotifyType::Teams => vec![("url", hook)],
        NotifyType::Telegram => vec![("url", base), ("token", token), ("chat", text("-100123"))],
        NotifyType::Ntfy => vec![("url", base), ("token", token), ("topic", text("mine"))],
        NotifyType::Matrix => vec![("url", base), ("token", token), ("room", text("!abc:example.org"))],
        _ => vec![("url", base), ("token", token)],
    };
    let spec = ServiceSpec { kind, keys: BTreeMap::from_iter(keys) };
    NotifyTarget { kind: NotifyTargetKind::Service(spec), per_minute: None, quiet: None }
}

fn message(subject: &str, body: &str) -> Message {
    Message {
        id: 7,
        agent: "news".parse().expect("a name"),
        about: TellOn::IncidentOpened,
        urgency: TellOn::IncidentOpened.urgency(),
        key: Some("disk".into()),
        run: None,
        at: "2026-11-24T09:00:00Z".parse().expect("an instant"),
        subject: subject.into(),
        body: body.into(),
        reached: Vec::new(),
        joined: Vec::new(),
        question: None,
    }
}

fn send(target: &NotifyTarget, message: &Message) -> Result<(), SendError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(notify::send("me", target, message, Duration::from_secs(60)))
}

#[test]
fn every_service_takes_what_it_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = "A <b>bold</b> & long sentence of 🦀 words, said again & again. ".repeat(2000);
    let messages = [
        message("disk: full", "/ is at 99 %"),
        message("news: works again", ""),
        message(
            "<!channel> & 'quotes' \"\\n\" {token}",
            "```\n<script>&amp;</script> @everyone [x](http://x)",
        ),
        message("long", &long),
        message(&"very long subject ".repeat(100), &long),
        message("one word", &"<&>".repeat(30_000)),
        message("emoji", &"🦀".repeat(30_000)),
    ];
    for kind in KINDS {
        let endpoint = strict(*kind);
        let target = target(*kind, &endpoint.url(), folder.path());
        for message in &messages {
            let sent = send(&target, message);
            assert_eq!(sent, Ok(()), "{kind}: {}", &message.subject[..message.subject.len().min(20)]);
        }
        let requests = endpoint.requests();
        if *kind == NotifyType::Discord {
            assert!(requests.iter().all(|request| request.path == "/hook/secret-path?wait=true"), "{kind}");
        }
        let neutral = match kind {
            NotifyType::Discord | NotifyType::Teams => r"\\[x\\](http://x)",
            NotifyType::Telegram => "@\u{2060}everyone",
            _ => "@everyone [x](http://x)",
        };
        assert!(requests[2].body.contains(neutral), "{kind}: {}", requests[2].body);
        assert!(requests[0].body.contains("/ is at 99 %"), "{kind}: {}", requests[0].body);
        assert!(requests[1].body.contains("works again"), "{kind}: {}", requests[1].body);
        let cut = &requests[3].body;
        assert!(cut.contains("The rest: bgagent incidents"), "{kind}: {cut}");
        assert!(
            cut.contains("again. …") || cut.contains("again. \\u2026"),
            "{kind} is cut after a sentence: {cut}"
        );
        assert!(!cut.contains("secret-token"), "{kind}");
    }
}

#[test]
fn every_service_says_in_its_own_way_how_long_to_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let header = |secs: &str| Reply::status(429, "slow down").with("retry-after", secs);
    let body = |json: Value| Reply::body(json.to_string()).with_status(429);
    for (kind, reply, millis) in [
        (NotifyType::Slack, header("30"), 30_000),
        (NotifyType::Teams, header("17"), 17_000),
        (
            NotifyType::Discord,
            body(json!({"message": "You are being rate limited.", "retry_after": 64.57})),
            64_570,
        ),
        (
            NotifyType::Telegram,
            body(json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 34",
                        "parameters": {"retry_after": 34}})),
            34_000,
        ),
        (
            NotifyType::Matrix,
            body(
                json!({"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 2500}),
            ),
            2500,
        ),
        (NotifyType::Ntfy, header("60"), 60_000),
        (NotifyType::Gotify, header("5"), 5000),
    ] {
        let endpoint = Endpoint::answering(move |_| reply.clone());
        let error =
            send(&target(kind, &endpoint.url(), folder.path()), &message("s", "b")).expect_err("too many");
        assert!(error.worth_retrying, "{kind}: {error}");
        assert_eq!(error.retry_after, Some(Duration::from_millis(millis)), "{kind}: {error}");
    }
}

#[test]
fn an_error_has_the_words_of_the_service_and_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in KINDS {
        let endpoint = Endpoint::answering(|request| {
            let key = request.header("authorization").or(request.header("x-gotify-key")).unwrap_or_default();
            Reply::status(403, &format!("{} may not, with {key}", request.path))
        });
        let error =
            send(&target(*kind, &endpoint.url(), folder.path()), &message("s", "b")).expect_err("403");
        assert!(!error.worth_retrying && error.message.contains("may not"), "{kind}: {error}");
        assert!(!error.message.contains("secret"), "{kind}: {error}");
    }
    let moved = json!({"ok": false, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat",
                       "parameters": {"migrate_to_chat_id": -1_001_234}});
    let endpoint = Endpoint::answering(move |_| Reply::body(moved.to_string()).with_status(400));
    let error = send(&target(NotifyType::Telegram, &endpoint.url(), folder.path()), &message("s", "b"));
    let error = error.expect_err("another chat");
    assert!(error.message.ends_with("set `chat = -1001234` in this table"), "{error}");
}

#[test]
fn a_message_that_comes_again_has_the_transaction_of_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = strict(NotifyType::Matrix);
    let target = target(NotifyType::Matrix, &endpoint.url(), folder.path());
    let first = message("s", "b");
    for message in [&first, &first, &Message { id: 8, ..first.clone() }] {
        assert_eq!(send(&target, message), Ok(()));
    }
    let paths: Vec<String> = endpoint.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[0], paths[1]);
    assert_ne!(paths[0], paths[2]);
}

/// Forty problems at once, and a chat that takes a message a second: a handful of messages, in which each problem stands
/// once, as far as the chat lets a message be.
#[test]
fn a_burst_is_a_handful_of_messages_of_a_chat() {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let last: Arc<Mutex<Option<Instant>>> = Arc::default();
    let log = taken.clone();
    let endpoint = Endpoint::answering(move |request| {
        let mut last = last.lock().expect("no panic");
        if last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            let wait = json!({"message": "You are being rate limited.", "retry_after": 0.7});
            return Reply::body(wait.to_string()).with_status(429);
        }
        *last = Some(Instant::now());
        refused(NotifyType::Discord, request).unwrap_or_else(|| {
            let content = request.json["content"].as_str().unwrap_or_default().to_owned();
            log.lock().expect("no panic").push(content);
            Reply::body("").with_status(204)
        })
    });
    let checks: String = (0..40)
        .map(|n| format!("{{ type = \"command\", name = \"svc-{n}-\", command = \"exit 2\" }},"))
        .collect();
    let daemon = Daemon::start(&format!(
        "[notify.chat]\ntype = \"discord\"\nurl = \"{}/hook\"\n\
         [agents.many]\ntool = \"probe\"\nnotify = {{ to = [\"chat\"] }}\nargs = {{ checks = [{checks}] }}\n",
        endpoint.url()
    ));
    daemon.run_by_hand("many");
    wait_for("an empty outbox", || (super::outbox(&daemon) == 0).then_some(()));
    let taken = taken.lock().expect("no panic").clone();
    assert!(taken.len() <= 6, "{} messages", taken.len());
    for n in 0..40 {
        let name = format!("svc-{n}-");
        let times: usize = taken.iter().map(|content| usize::from(content.contains(&name))).sum();
        assert_eq!(times, 1, "{name}: {taken:?}");
    }
}

#[test]
fn a_target_can_be_tried_by_hand() {
    let endpoint = strict(NotifyType::Ntfy);
    let closed = crate::support::nobody();
    let daemon = Daemon::start(&format!(
        "[notify.me]\ntype = \"ntfy\"\nurl = \"{}\"\ntopic = \"mine\"\nquiet = \"00:00-23:59\"\n\
         [notify.gone]\ntype = \"discord\"\nurl = \"http://{closed}/secret-path\"\n\
         [agents.a]\ncommand = \"true\"\n",
        endpoint.url()
    ));
    let said = daemon.ok(&["notify", "test", "me", "--kind", "incident_opened"]);
    assert!(said.contains("me accepted a test message of kind `incident_opened`"), "{said}");
    assert_eq!(endpoint.requests()[0].json["priority"], 5);
    let output = daemon.run(&["notify", "test", "gone"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("nothing reached gone"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    crate::support::code(&daemon, &["notify", "test", "mee"], 2, "there is no notify target `mee`");
    crate::support::code(&daemon, &["notify", "test", "me", "--kind", "x"], 2, "invalid value");
}
