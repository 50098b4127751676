//! An SMTP client (RFC 5321), as much as submitting a message needs, with STARTTLS (RFC 3207) and AUTH (RFC 4954).
//! Without encryption it only connects to this machine.
use super::message::SendError;
use crate::domain::{EmailSpec, SmtpTls};
use crate::net::trusted_roots;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Maximum length of a reply line (RFC 5321, 4.5.3.1.5 says 512 bytes; some servers send more).
const MAX_LINE_BYTES: u64 = 2048;
/// Maximum lines of a reply.
const MAX_REPLY_LINES: usize = 100;
/// Maximum characters of a reply that are shown.
const MAX_REPLY_CHARS: usize = 200;
/// Timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A session with a server that has sent its greeting.
pub(super) struct Session {
    stream: BufReader<Box<dyn Stream>>,
    /// Its extensions, one keyword with parameters each, in capitals.
    offers: Vec<String>,
}

/// A reply of the server.
pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// Fails unless the reply is positive.
    pub(super) fn expect(&self, what: &str) -> Result<(), SendError> {
        match self.code {
            200..=299 => Ok(()),
            code => {
                let said = self.lines.join(" ");
                let said: String = said.chars().filter(|c| !c.is_control()).take(MAX_REPLY_CHARS).collect();
                let message = format!("{what}: the server says {code} {said}");
                let passing = !(500..=599).contains(&code);
                Err(if passing { SendError::passing(message) } else { SendError::lasting(message) })
            }
        }
    }

    /// Fails unless the reply has this code, which is not a positive one.
    pub(super) fn wants(&self, what: &str, code: u16) -> Result<(), SendError> {
        if self.code == code {
            return Ok(());
        }
        self.expect(what)?;
        Err(SendError::passing(format!("{what}: the server says {} instead of {code}", self.code)))
    }
}

impl Session {
    /// Connects, starts TLS, and sends the greeting.
    pub(super) async fn open(spec: &EmailSpec, roots: Option<RootCertStore>) -> Result<Self, SendError> {
        let connecting = TcpStream::connect((spec.host.as_str(), spec.port));
        let socket = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(SendError::passing(format!("can't connect: {error}"))),
            Err(_) => return Err(SendError::passing("can't connect in time")),
        };
        // A client without a host name sends its address (RFC 5321, 4.1.3).
        let me = match socket.local_addr().map(|address| address.ip()) {
            Ok(std::net::IpAddr::V6(address)) => format!("[IPv6:{address}]"),
            Ok(std::net::IpAddr::V4(address)) => format!("[{address}]"),
            Err(_) => "localhost".into(),
        };
        let hello = format!("EHLO {me}");
        let stream: Box<dyn Stream> = match spec.tls {
            SmtpTls::Implicit => encrypted(Box::new(socket), spec, roots.clone()).await?,
            _ => Box::new(socket),
        };
        let mut session = Self { stream: BufReader::new(stream), offers: Vec::new() };
        session.reply().await?.expect("its greeting")?;
        session.greet(&hello).await?;
        if spec.tls != SmtpTls::StartTls {
            return Ok(session);
        }
        if !session.offers.iter().any(|offer| offer == "STARTTLS") {
            return Err(SendError::lasting(
                "the server offers no STARTTLS, and nothing is sent in the clear; set tls = \"implicit\" if it \
                 is encrypted from the start",
            ));
        }
        session.ask("STARTTLS").await?.expect("STARTTLS")?;
        // Data received before the encryption could be injected.
        if !session.stream.buffer().is_empty() {
            return Err(SendError::lasting("the server sent data before the encryption began"));
        }
        session.stream = BufReader::new(encrypted(session.stream.into_inner(), spec, roots).await?);
        session.greet(&hello).await?;
        Ok(session)
    }

    async fn greet(&mut self, hello: &str) -> Result<(), SendError> {
        let reply = self.ask(hello).await?;
        reply.expect("EHLO")?;
        self.offers = reply.lines.iter().skip(1).map(|line| line.trim().to_ascii_uppercase()).collect();
        Ok(())
    }

    /// Authenticates. No credentials appear in errors.
    pub(super) async fn log_in(&mut self, name: &str, password: &str) -> Result<(), SendError> {
        let methods = self.offers.iter().find_map(|offer| offer.strip_prefix("AUTH "));
        let has = |method: &str| methods.is_some_and(|list| list.split_whitespace().any(|m| m == method));
        let refused = |error: SendError| SendError {
            message: format!("{}; check `username` and `password`", error.message),
            ..error
        };
        if has("PLAIN") {
            let token = STANDARD.encode(format!("\0{name}\0{password}"));
            return self.ask(&format!("AUTH PLAIN {token}")).await?.expect("logging in").map_err(refused);
        }
        if !has("LOGIN") {
            return Err(SendError::lasting("the server offers no known way to log in (PLAIN, LOGIN)"));
        }
        self.ask("AUTH LOGIN").await?.wants("logging in", 334)?;
        self.ask(&STANDARD.encode(name)).await?.wants("logging in", 334).map_err(refused)?;
        self.ask(&STANDARD.encode(password)).await?.expect("logging in").map_err(refused)
    }

    /// Sends a command and reads the reply.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Reply, SendError> {
        let line = format!("{command}\r\n");
        let written = async {
            self.stream.get_mut().write_all(line.as_bytes()).await?;
            self.stream.get_mut().flush().await
        };
        written.await.map_err(|error| connection_failure(&error))?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, SendError> {
        let odd = || SendError::passing("the server does not speak SMTP; check `smtp` and `tls`");
        let mut lines = Vec::new();
        while lines.len() < MAX_REPLY_LINES {
            let line = read_line(&mut self.stream).await?;
            let (code, rest) = line.split_at_checked(3).ok_or_else(odd)?;
            let code: u16 = code.parse().ok().filter(|code| (200..600).contains(code)).ok_or_else(odd)?;
            lines.push(rest.get(1..).unwrap_or_default().to_owned());
            match rest.chars().next() {
                Some('-') => {}
                Some(' ') | None => return Ok(Reply { code, lines }),
                Some(_) => return Err(odd()),
            }
        }
        Err(odd())
    }

    /// Sends `QUIT`; the mail is accepted whether it arrives or not.
    pub(super) async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.ask("QUIT")).await;
    }
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<String, SendError> {
    let mut bytes = Vec::new();
    stream
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)
        .await
        .map_err(|error| connection_failure(&error))?;
    if !bytes.ends_with(b"\n") {
        return Err(match bytes.len() as u64 {
            MAX_LINE_BYTES => SendError::passing("the server's reply has a line without an end"),
            _ => SendError::passing("the server closed the connection"),
        });
    }
    Ok(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
}

fn connection_failure(error: &std::io::Error) -> SendError {
    SendError::passing(format!("the connection broke: {error}"))
}

async fn encrypted(
    stream: Box<dyn Stream>,
    spec: &EmailSpec,
    roots: Option<RootCertStore>,
) -> Result<Box<dyn Stream>, SendError> {
    // Installing a second provider is refused by rustls and has no effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = ServerName::try_from(spec.host.clone())
        .map_err(|_| SendError::lasting(format!("`{}` can't be the name in a certificate", spec.host)))?;
    let roots = match roots {
        Some(roots) => Arc::new(roots),
        None => {
            let found = tokio::task::spawn_blocking(trusted_roots).await;
            found.map_err(|error| {
                SendError::passing(format!("the trusted certificates can't be read: {error}"))
            })?
        }
    };
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(SendError::passing(format!(
            "no encryption: {error}; the server's certificate must be signed by one that this machine trusts \
             (SSL_CERT_FILE can name a file of such)"
        ))),
    }
}
