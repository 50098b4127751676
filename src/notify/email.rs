//! A mail: its text, and how the server's replies are interpreted. The protocol is in `smtp`.
//!
//! All text that others may have written is in the body, which is base64, or in the subject, which is an encoded word
//! unless it is plain ASCII: none of it can become a header or a command.
use super::message::{Message, SendError};
use super::smtp::Session;
use crate::domain::EmailSpec;
use crate::secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use std::time::Duration;

/// Maximum length of the subject.
const MAX_SUBJECT_CHARS: usize = 200;
/// Maximum length of the body.
const MAX_BODY_BYTES: usize = 64 << 10;

pub(super) async fn send(spec: &EmailSpec, message: &Message, timeout: Duration) -> Result<(), SendError> {
    send_trusting(None, spec, message, timeout).await
}

/// Sends with these root certificates; `None`: those of the system.
pub(super) async fn send_trusting(
    roots: Option<RootCertStore>,
    spec: &EmailSpec,
    message: &Message,
    timeout: Duration,
) -> Result<(), SendError> {
    let delivery = deliver(roots, spec, message, timeout);
    let place = |error: SendError| SendError {
        message: secret::redact(&format!("{}:{}: {}", spec.host, spec.port, error.message)).into_owned(),
        ..error
    };
    match tokio::time::timeout(timeout.mul_f64(0.95), delivery).await {
        Ok(result) => result.map_err(place),
        Err(_) => Err(place(SendError::in_doubt("no answer in time"))),
    }
}

async fn deliver(
    roots: Option<RootCertStore>,
    spec: &EmailSpec,
    message: &Message,
    timeout: Duration,
) -> Result<(), SendError> {
    let receivers: Vec<&String> = spec.to.iter().filter(|to| !message.reached.contains(to)).collect();
    if receivers.is_empty() {
        return Ok(());
    }
    let login = match &spec.login {
        None => None,
        Some((name, password)) => {
            let failed = |what: &str, error| SendError::passing(format!("no {what}: {error}"));
            let name = secret::value_of(name, timeout).await.map_err(|error| failed("`username`", error))?;
            let password = secret::resolve(password, timeout).await;
            Some((name, password.map_err(|error| failed("`password`", error))?))
        }
    };
    let mut session = Session::open(spec, roots).await?;
    if let Some((name, password)) = &login {
        session.log_in(name, password).await?;
    }
    session.ask(&format!("MAIL FROM:<{}>", spec.from)).await?.expect("the sender")?;
    let (mut refused, mut worth_retrying, mut reached) = (Vec::new(), false, Vec::new());
    for receiver in receivers {
        let reply = session.ask(&format!("RCPT TO:<{receiver}>")).await?;
        match reply.expect(receiver) {
            Ok(()) => reached.push(receiver.clone()),
            Err(error) => {
                worth_retrying |= error.worth_retrying;
                refused.push(error.message);
            }
        }
    }
    if !reached.is_empty() {
        session.ask("DATA").await?.wants("the mail", 354)?;
        let taken = session.ask(&format!("{}\r\n.", text(spec, message))).await;
        // without a reply, the server may have accepted it
        taken.map_err(|error| SendError { in_doubt: true, ..error })?.expect("the mail")?;
    }
    session.close().await;
    match refused.is_empty() {
        true => Ok(()),
        // Recipients that can receive it do: a full mailbox does not affect the others.
        false => Err(SendError {
            message: refused.join("; "),
            worth_retrying,
            in_doubt: !reached.is_empty(),
            reached,
            retry_after: None,
        }),
    }
}

/// Formats the mail for the wire, without the final dot. No line begins with a dot.
pub(super) fn text(spec: &EmailSpec, message: &Message) -> String {
    let at = message.at.to_zoned(jiff::tz::TimeZone::UTC);
    let date = jiff::fmt::rfc2822::to_string(&at).unwrap_or_default();
    let host = spec.from.rsplit_once('@').map_or("localhost", |(_, host)| host);
    let mut body = message.body.clone();
    body.truncate(body.floor_char_boundary(MAX_BODY_BYTES));
    let body = format!("{}\n\n{body}\n\nAgent {}, {}\n", message.subject, message.agent, message.at);
    // Lines of text end with CR LF also within base64 (RFC 2045, 6.8).
    let body = STANDARD.encode(body.replace("\r\n", "\n").replace('\n', "\r\n"));
    let lines: Vec<&str> =
        body.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    let headers = [
        format!("From: <{}>", spec.from),
        format!("To: {}", spec.to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(",\r\n ")),
        format!("Subject: {}", encoded(&message.subject)),
        format!("Date: {date}"),
        // The same in each attempt, so that a duplicate mail is shown once.
        format!("Message-ID: <{}@{host}>", message.idempotency_key()),
        "MIME-Version: 1.0".into(),
        "Content-Type: text/plain; charset=utf-8".into(),
        "Content-Transfer-Encoding: base64".into(),
        // RFC 3834: prevents automatic replies.
        "Auto-Submitted: auto-generated".into(),
    ];
    format!("{}\r\n\r\n{}", headers.join("\r\n"), lines.join("\r\n"))
}

/// Encodes a text as the value of a header (RFC 2047).
fn encoded(text: &str) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SUBJECT_CHARS).collect();
    let plain = clean.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain && clean.len() <= 60 && !clean.contains("=?") {
        return clean;
    }
    let mut words = Vec::new();
    let mut rest = clean.as_str();
    while !rest.is_empty() {
        // An encoded word has at most 75 characters.
        let (word, after) = rest.split_at(rest.floor_char_boundary(45));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}
