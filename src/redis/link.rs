//! A connection to a Redis server: established, encrypted, authenticated, one request at a time. Which commands are sent, and
//! what an answer means, is left to the callers.
use super::hitch::{Hitch, cleaned};
use super::resp::{self, RedisCommand, RedisReply, ReplyBounds};
use crate::domain::{RedisAddress, RedisSection, RedisServer};
use crate::net::{lookup_host, trusted_roots};
use crate::secret;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Timeout for resolving a secret.
const SECRET_TIMEOUT: Duration = Duration::from_secs(20);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An authenticated connection. It can't be used after an error: the command may have been executed, and its answer may still
/// arrive.
pub struct RedisLink {
    stream: BufReader<Box<dyn Duplex>>,
    tls: bool,
    patience: Duration,
    section: RedisSection,
    bounds: ReplyBounds,
}

impl RedisLink {
    /// Connects, authenticates, and selects the database. `patience` is the timeout for connecting and for each answer.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn open(server: &RedisServer, patience: Duration, bounds: ReplyBounds) -> Result<Self, Hitch> {
        let section = server.section;
        // secrets first: a program that provides one may be slower than a server's timeout
        let login = login(server).await?;
        let stream = connect(server, patience).await?;
        let tls = matches!(server.address, RedisAddress::Host { tls: true, .. });
        let mut link = Self { stream: BufReader::new(stream), tls, patience, section, bounds };
        if let Some(login) = login {
            link.expect_ok(&login, Hitch::said_to_login).await?;
        }
        if server.database > 0 {
            let select = RedisCommand::of(&["SELECT", &server.database.to_string()]);
            link.expect_ok(&select, Hitch::said).await?;
        }
        Ok(link)
    }

    /// Returns the problem for an error of the server.
    pub fn refusal(&self, error: &str) -> Hitch {
        Hitch::said(error, self.section)
    }

    /// Sends a command, and waits for the answer. A server's error is an answer. Texts are free of control characters and
    /// secrets, and truncated as the bounds say.
    ///
    /// # Errors
    /// The connection can't be used any more.
    pub async fn ask(&mut self, command: &RedisCommand) -> Result<RedisReply, Hitch> {
        let (tls, bounds) = (self.tls, self.bounds);
        let asked = async {
            let stream = self.stream.get_mut();
            stream.write_all(&command.encoded()).await?;
            stream.flush().await?;
            resp::read(&mut self.stream, bounds).await
        };
        match tokio::time::timeout(self.patience, asked).await {
            Ok(reply) => reply.map(|reply| clean(reply, bounds)).map_err(|error| Hitch::broke(&error, tls)),
            Err(_) => Err(Hitch::late(self.patience)),
        }
    }

    /// Returns when the connection can't be used any more: the server closed it, or sent something without a request.
    pub async fn broken(&mut self) -> Hitch {
        match self.stream.fill_buf().await {
            Ok([]) => Hitch::passing("the server closed the connection"),
            Ok(_) => Hitch::passing("the server says something that was not asked for"),
            Err(error) => Hitch::broke(&error, self.tls),
        }
    }

    /// Sends a command that is answered by OK or an error; `refused` interprets the error.
    async fn expect_ok(
        &mut self,
        command: &RedisCommand,
        refused: fn(&str, RedisSection) -> Hitch,
    ) -> Result<(), Hitch> {
        match self.ask(command).await? {
            RedisReply::Text(_) => Ok(()),
            RedisReply::Error(error) => Err(refused(&error, self.section)),
            _ => Err(Hitch::unknown_answer()),
        }
    }
}

/// Sanitizes all texts of a reply.
fn clean(reply: RedisReply, bounds: ReplyBounds) -> RedisReply {
    match reply {
        RedisReply::Text(text) => RedisReply::Text(cleaned(&text, bounds.shown)),
        RedisReply::Error(text) => RedisReply::Error(cleaned(&text, ReplyBounds::SHORT.shown)),
        RedisReply::List(list) => RedisReply::List(list.into_iter().map(|one| clean(one, bounds)).collect()),
        other @ (RedisReply::Number(_) | RedisReply::Nothing) => other,
    }
}

/// Returns the login command, if a name or a password is configured.
async fn login(server: &RedisServer) -> Result<Option<RedisCommand>, Hitch> {
    let section = server.section;
    let Some(password) = &server.password else { return Ok(None) };
    let began = Instant::now();
    let password = secret::resolve(password, SECRET_TIMEOUT)
        .await
        .map_err(|error| unknown(&error, began.elapsed(), section))?;
    let mut command = RedisCommand::of(&["AUTH"]);
    if let Some(username) = &server.username {
        let began = Instant::now();
        let username = secret::value_of(username, SECRET_TIMEOUT).await;
        let username = username.map_err(|error| unknown(&error, began.elapsed(), section))?;
        command.part(username.expose().as_bytes());
    }
    command.part(password.expose().as_bytes());
    Ok(Some(command))
}

/// Creates the problem for a missing secret. A slow program may be temporary; everything else must be fixed by a person.
fn unknown(error: &secret::SecretError, after: Duration, section: RedisSection) -> Hitch {
    let what = format!("{}: {error}", section.header());
    if after < SECRET_TIMEOUT { Hitch::staying(what) } else { Hitch::passing(what) }
}

async fn connect(server: &RedisServer, patience: Duration) -> Result<Box<dyn Duplex>, Hitch> {
    let unreached = |error: std::io::Error| Hitch::passing(format!("it can't be reached: {error}"));
    let late = |_| Hitch::passing("it can't be reached in time");
    match &server.address {
        RedisAddress::Socket(path) => {
            let stream = tokio::time::timeout(patience, UnixStream::connect(path)).await.map_err(late)?;
            Ok(Box::new(stream.map_err(unreached)?))
        }
        RedisAddress::Host { host, port, tls } => {
            let connecting = async {
                let all = lookup_host(host.clone(), *port).await?;
                TcpStream::connect(&all[..]).await
            };
            let stream =
                tokio::time::timeout(patience, connecting).await.map_err(late)?.map_err(unreached)?;
            // one request, one answer: waiting for more data gains nothing
            stream.set_nodelay(true).map_err(unreached)?;
            if !tls {
                return Ok(Box::new(stream));
            }
            // a server without TLS takes the first bytes for an incomplete command, and waits for the rest
            let silent = |_| {
                Hitch::passing(
                    "no encryption: the TLS handshake got no answer; does this port speak TLS? If not, write redis://",
                )
            };
            tokio::time::timeout(patience, encrypted(stream, host, server.section)).await.map_err(silent)?
        }
    }
}

async fn encrypted(stream: TcpStream, host: &str, section: RedisSection) -> Result<Box<dyn Duplex>, Hitch> {
    // A second installation is refused by rustls and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        Hitch::staying(format!(
            "`{host}` can't be the name in a certificate: check the host in `url` of {}",
            section.header()
        ))
    })?;
    let roots = tokio::task::spawn_blocking(trusted_roots).await;
    let roots =
        roots.map_err(|error| Hitch::passing(format!("the trusted certificates can't be read: {error}")))?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(Hitch::passing(format!(
            "no encryption: {error}; the server must speak TLS, with a certificate signed by a CA that this machine trusts \
             (SSL_CERT_FILE can name a file of CA certificates)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_late_may_come_yet() {
        let error = secret::SecretError("no secret".into());
        assert!(unknown(&error, Duration::ZERO, RedisSection::Events).stays);
        assert!(!unknown(&error, SECRET_TIMEOUT, RedisSection::Events).stays);
    }
}
