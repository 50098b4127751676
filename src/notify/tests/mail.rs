//! Tests of mail, against a scripted server on the loopback interface.
use super::super::email::{send_trusting, text};
use super::*;
use crate::domain::{EmailSpec, SmtpTls};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};

/// A certificate for `localhost` and its key, of no use to anybody. Good until 2120.
const CERTIFICATE: &str = "MIIBODCB36ADAgECAgEHMAoGCCqGSM49BAMCMBgxFjAUBgNVBAMMDWJnYWdlbnQgdGVzdHMwIBcNMjAwMTAxMDAwMDAwWhgPMjEy\
     MDAxMDEwMDAwMDBaMBgxFjAUBgNVBAMMDWJnYWdlbnQgdGVzdHMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR+UqmGNoczu7vg\
     tccCSeQE1IRluueWUG+afbN62YCYqcoOFJNZwsLsDMk6IibZUdZp/4fFVpTCXLAi92L8QD1WoxgwFjAUBgNVHREEDTALgglsb2Nh\
     bGhvc3QwCgYIKoZIzj0EAwIDSAAwRQIgZ3+GQG94B4sIBLLOycVy+9j8PdiZNnNjHUzVU92l9CICIQCiEviLpllqMkj4/rQqngZX\
     svCQk6LRGtTfXilYgVqUdQ==";
const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCysleLG+QKj6om2XQJNCzWGPTB96L9/UH7U4coqn0MehRANCAAR+\
     UqmGNoczu7vgtccCSeQE1IRluueWUG+afbN62YCYqcoOFJNZwsLsDMk6IibZUdZp/4fFVpTCXLAi92L8QD1W";

type Log = Arc<Mutex<Vec<String>>>;

/// How a server behaves: what it offers, and which commands it answers in its own way.
#[derive(Clone, Default)]
struct Server {
    offers: &'static [&'static str],
    answers: &'static [(&'static str, &'static str)],
    implicit: bool,
}

impl Server {
    /// Starts it. Its port, and all lines that it hears.
    async fn start(self) -> (u16, Log) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Log::default();
        let heard = log.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, heard) = (self.clone(), heard.clone());
                tokio::spawn(async move {
                    if server.implicit {
                        let Ok(stream) = acceptor().accept(stream).await else { return };
                        return drop(server.talk(Box::new(stream), &heard, true).await);
                    }
                    let Some(stream) = server.talk(Box::new(stream), &heard, false).await else { return };
                    heard.lock().unwrap().push("(encrypted)".into());
                    let Ok(stream) = acceptor().accept(stream).await else { return };
                    server.talk(Box::new(stream), &heard, true).await;
                });
            }
        });
        (port, log)
    }

    /// Gives the stream back when it is to be encrypted.
    async fn talk(&self, stream: Box<dyn Io>, heard: &Log, encrypted: bool) -> Option<Box<dyn Io>> {
        let mut stream = BufReader::new(stream);
        // A conversation that is encrypted later has been greeted before.
        if !encrypted || self.implicit {
            let greeting = self.answer("greeting").unwrap_or("220 here");
            stream.write_all(format!("{greeting}\r\n").as_bytes()).await.ok()?;
        }
        let mut in_data = false;
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let command = line.trim_end_matches(['\r', '\n']).to_owned();
            heard.lock().unwrap().push(command.clone());
            let reply = match (in_data, self.answer(&command)) {
                (true, _) if command != "." => continue,
                (_, Some("close")) => return None,
                (_, Some(answer)) => answer.to_owned(),
                (true, None) => "250 queued".into(),
                _ if command.starts_with("EHLO ") => {
                    let all: String = self.offers.iter().map(|offer| format!("250-{offer}\r\n")).collect();
                    format!("250-hello\r\n{all}250 8BITMIME")
                }
                _ if command == "STARTTLS" => "220 go".into(),
                _ if command == "DATA" => "354 go on".into(),
                _ if command.starts_with("AUTH PLAIN ") => "235 welcome".into(),
                _ => "250 fine".into(),
            };
            in_data = command == "DATA" && reply.starts_with('3');
            stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
            if command == "STARTTLS" && reply.starts_with("220") {
                return Some(stream.into_inner());
            }
        }
    }

    fn answer(&self, command: &str) -> Option<&'static str> {
        self.answers.iter().find(|(begin, _)| command.starts_with(begin)).map(|(_, answer)| *answer)
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

fn certificate() -> CertificateDer<'static> {
    STANDARD.decode(CERTIFICATE).unwrap().into()
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(STANDARD.decode(KEY).unwrap()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate()], key).unwrap()).into()
}

fn spec(port: u16, tls: SmtpTls) -> EmailSpec {
    EmailSpec {
        to: vec!["a@example.org".into(), "b@example.org".into()],
        from: "bgagent@host.example".into(),
        host: "localhost".into(),
        port,
        tls,
        login: None,
    }
}

fn with_login(spec: EmailSpec) -> EmailSpec {
    let password = SecretRef::Command(vec!["echo".into(), "correct horse battery".into()]);
    EmailSpec { login: Some((TextOrSecret::Text("me".into()), password)), ..spec }
}

async fn mail(spec: &EmailSpec, message: &Message) -> Result<(), SendError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    send_trusting(Some(roots), spec, message, LONG).await
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_meant() {
    let (port, log) = Server::default().start().await;
    let target = NotifyTarget {
        kind: NotifyTargetKind::Email(spec(port, SmtpTls::None)),
        per_minute: None,
        quiet: None,
    };
    send("ops", &target, &message(), LONG).await.unwrap();
    let log = log.lock().unwrap();
    let data = log.iter().position(|line| line == "DATA").unwrap();
    assert!(log[0] == "EHLO [127.0.0.1]" || log[0] == "EHLO [IPv6:::1]", "{}", log[0]);
    assert_eq!(
        log[1..data],
        ["MAIL FROM:<bgagent@host.example>", "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>"]
    );
    let empty = log.iter().position(String::is_empty).unwrap();
    assert_eq!(
        log[data + 1..empty],
        [
            "From: <bgagent@host.example>",
            "To: <a@example.org>,",
            " <b@example.org>",
            "Subject: news failed",
            "Date: Tue, 24 Nov 2026 09:00:00 +0000",
            "Message-ID: <bgagent-7-1795510800000000@host.example>",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: base64",
            "Auto-Submitted: auto-generated",
        ]
    );
    let dot = log.iter().position(|line| line == ".").unwrap();
    let body = STANDARD.decode(log[empty + 1..dot].concat()).unwrap();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "news failed\r\n\r\nexit status 3\r\nthe end\r\n\r\nAgent news, 2026-11-24T09:00:00Z\r\n"
    );
    assert_eq!(log[dot + 1..], ["QUIT"]);
}

#[tokio::test]
async fn passwords_go_over_encrypted_lines_only() {
    let offers: &[&str] = &["STARTTLS", "AUTH LOGIN PLAIN"];
    let token = format!("AUTH PLAIN {}", STANDARD.encode("\0me\0correct horse battery"));
    let (port, log) = Server { offers, ..Server::default() }.start().await;
    mail(&with_login(spec(port, SmtpTls::StartTls)), &message()).await.unwrap();
    let heard = log.lock().unwrap().clone();
    let encrypted = heard.iter().position(|line| line == "(encrypted)").unwrap();
    assert!(
        heard[..encrypted].iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"),
        "{heard:?}"
    );
    assert!(heard[encrypted..].contains(&token), "{heard:?}");
    let (port, log) = Server { offers, implicit: true, ..Server::default() }.start().await;
    mail(&with_login(spec(port, SmtpTls::Implicit)), &message()).await.unwrap();
    assert!(log.lock().unwrap().contains(&token));
    // Where only LOGIN is offered, that is done.
    let answers =
        &[("AUTH LOGIN", "334 VXNlcg=="), ("bWU=", "334 UGFzcw=="), ("Y29ycmVjdCBob3", "235 welcome")];
    let server = Server { offers: &["AUTH LOGIN"], answers, implicit: true };
    let (port, _) = server.start().await;
    mail(&with_login(spec(port, SmtpTls::Implicit)), &message()).await.unwrap();
}

#[tokio::test]
async fn nothing_is_said_where_others_could_listen() {
    for (offers, answers, says, again) in [
        (&[][..], &[][..], "offers no STARTTLS", false),
        (&["STARTTLS"], &[("STARTTLS", "454 not now")], "454 not now", true),
        (&["STARTTLS"], &[("STARTTLS", "220 go\r\n250 injected")], "before the encryption", false),
    ] {
        let (port, log) = Server { offers, answers, implicit: false }.start().await;
        let error = mail(&with_login(spec(port, SmtpTls::StartTls)), &message()).await.unwrap_err();
        assert!(error.message.contains(says) && error.worth_retrying == again, "{error:?}");
        let heard = log.lock().unwrap();
        assert!(heard.iter().all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL")), "{heard:?}");
    }
    // A certificate that nobody signed whom the system trusts.
    let (port, log) = Server { implicit: true, ..Server::default() }.start().await;
    let target = NotifyTarget {
        kind: NotifyTargetKind::Email(spec(port, SmtpTls::Implicit)),
        per_minute: None,
        quiet: None,
    };
    let error = send("ops", &target, &message(), LONG).await.unwrap_err();
    assert!(error.message.contains("no encryption") && error.worth_retrying, "{error}");
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn refusals_and_what_becomes_of_them() {
    for (answers, says, again) in [
        (&[("greeting", "554 go away")][..], "its greeting: the server says 554 go away", false),
        (&[("greeting", "421 too busy")], "421 too busy", true),
        (&[("greeting", "SSH-2.0-x")], "does not speak SMTP", true),
        (&[("greeting", "close")], "does not speak SMTP", true),
        (&[("EHLO", "502 what?")], "EHLO: the server says 502", false),
        (&[("MAIL", "550 not you")], "the sender: the server says 550 not you", false),
        (&[("RCPT TO:<a", "550 unknown")], "a@example.org: the server says 550 unknown", false),
        (&[("RCPT TO:<b", "450 later")], "b@example.org: the server says 450 later", true),
        (&[("RCPT", "550 unknown")], "a@example.org: the server says 550 unknown; b@example.org", false),
        (&[("DATA", "451 later")], "the mail: the server says 451", true),
        (&[(".", "552 too big")], "the mail: the server says 552", false),
        (&[(".", "close")], "closed the connection", true),
        (&[("MAIL", "close")], "closed the connection", true),
    ] {
        let (port, log) = Server { answers, ..Server::default() }.start().await;
        let error = mail(&spec(port, SmtpTls::None), &message()).await.unwrap_err();
        assert!(error.message.contains(says), "{says}: {error}");
        assert!(error.message.starts_with(&format!("localhost:{port}: ")), "{error}");
        assert_eq!(error.worth_retrying, again, "{error}");
        // Whoever can have it has it.
        let went = log.lock().unwrap().iter().any(|line| line == ".");
        assert_eq!(went, matches!(answers[0].0, "." | "RCPT TO:<a" | "RCPT TO:<b"), "{says}");
        let reached = match answers[0].0 {
            "RCPT TO:<a" => &["b@example.org"][..],
            "RCPT TO:<b" => &["a@example.org"],
            _ => &[],
        };
        assert_eq!(error.reached, reached, "{says}");
    }
    // The next try is for the others, and none is needed once nobody is left.
    let (port, log) = Server::default().start().await;
    let mut later = Message { reached: vec!["a@example.org".into()], ..message() };
    mail(&spec(port, SmtpTls::None), &later).await.unwrap();
    let asked =
        || log.lock().unwrap().iter().filter(|line| line.starts_with("RCPT")).cloned().collect::<Vec<_>>();
    assert_eq!(asked(), ["RCPT TO:<b@example.org>"]);
    later.reached.push("b@example.org".into());
    mail(&spec(port, SmtpTls::None), &later).await.unwrap();
    assert_eq!(asked().len(), 1);
    let answers = &[("AUTH", "535 correct horse battery is wrong")];
    let (port, _) = Server { offers: &["AUTH PLAIN"], answers, ..Server::default() }.start().await;
    let error = mail(&with_login(spec(port, SmtpTls::None)), &message()).await.unwrap_err();
    assert!(error.message.contains("check `username` and `password`") && !error.worth_retrying, "{error}");
    assert!(!error.message.contains("correct horse"), "{error}");
    let closed = crate::testing::nobody().port();
    let error = mail(&spec(closed, SmtpTls::None), &message()).await.unwrap_err();
    assert!(error.worth_retrying && error.message.contains("can't connect"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_takes_no_longer_than_it_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = spec(listener.local_addr().unwrap().port(), SmtpTls::None);
    let started = Instant::now();
    let target = NotifyTarget { kind: NotifyTargetKind::Email(target), per_minute: None, quiet: None };
    let error = send("ops", &target, &message(), Duration::from_millis(300)).await.unwrap_err();
    assert!(error.worth_retrying && error.message.contains("no answer in time"), "{error}");
    assert!(started.elapsed() < crate::testing::SOON);
}

#[test]
fn nothing_that_others_wrote_becomes_a_header_or_a_command() {
    let spec = spec(25, SmtpTls::None);
    let plain = text(&spec, &message()).split("\r\n\r\n").next().unwrap().lines().count();
    for subject in [
        "x\r\nBcc: evil@example.org",
        "x\nBcc: evil@example.org\n\nhello",
        "\r\n.\r\nMAIL FROM:<x>",
        "=?UTF-8?B?QmNjOg==?=",
        &"\u{1f642}\r\nBcc: evil@example.org ".repeat(50),
        "\0\u{2028}\u{85}",
    ] {
        let message =
            Message { subject: subject.into(), body: format!("a\r\n.\r\n{subject}\n..\n"), ..message() };
        let mail = text(&spec, &message);
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        let fields: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(fields.len(), plain - 1, "{head}");
        assert!(fields.iter().all(|line| !line.starts_with("Bcc")), "{head}");
        assert!(mail.bytes().all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~')), "{mail:?}");
        assert!(mail.replace("\r\n", "").bytes().all(|byte| byte >= b' '), "a bare CR or LF: {mail:?}");
        assert!(body.lines().all(|line| line.len() <= 76 && !line.starts_with('.')));
        assert!(head.lines().all(|line| line.len() <= 90), "{head}");
        let decoded = STANDARD.decode(body.replace("\r\n", "")).unwrap();
        assert!(String::from_utf8(decoded).unwrap().contains("\r\n.\r\n"));
    }
}
