//! A connection to a Redis server: made, encrypted, logged in, and asked one thing after the other. What is asked, and
//! what an answer means, is for the callers to say.
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

/// How long a secret may take to be had.
const SECRET: Duration = Duration::from_secs(20);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that is logged in. After an error it is of no use any more: what was asked may have been done, and an
/// answer may still come.
pub struct RedisLink {
    stream: BufReader<Box<dyn Duplex>>,
    tls: bool,
    patience: Duration,
    section: RedisSection,
    bounds: ReplyBounds,
}

impl RedisLink {
    /// Connects, logs in, chooses the database. Connecting and each answer may take as long as `patience`.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn open(server: &RedisServer, patience: Duration, bounds: ReplyBounds) -> Result<Self, Hitch> {
        let section = server.section;
        // secrets first: a program that gives one may take longer than a server waits
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

    /// What it means that the server says this instead of doing something.
    pub fn refusal(&self, error: &str) -> Hitch {
        Hitch::said(error, self.section)
    }

    /// Asks one thing, and waits for the answer to it. What the server refuses is an answer. Texts come without control
    /// characters and secrets, and not longer than the bounds say.
    ///
    /// # Errors
    /// The connection is of no use any more.
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

    /// Returns when the connection is of no use any more: the server closed it, or says something that nobody asked
    /// for.
    pub async fn broken(&mut self) -> Hitch {
        match self.stream.fill_buf().await {
            Ok([]) => Hitch::passing("the server closed the connection"),
            Ok(_) => Hitch::passing("the server says something that was not asked for"),
            Err(error) => Hitch::broke(&error, self.tls),
        }
    }

    /// Asks for something that is done or refused; what a refusal means, `refused` knows.
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

/// All texts of a reply, as they may be shown.
fn clean(reply: RedisReply, bounds: ReplyBounds) -> RedisReply {
    match reply {
        RedisReply::Text(text) => RedisReply::Text(cleaned(&text, bounds.shown)),
        RedisReply::Error(text) => RedisReply::Error(cleaned(&text, ReplyBounds::SHORT.shown)),
        RedisReply::List(list) => RedisReply::List(list.into_iter().map(|one| clean(one, bounds)).collect()),
        other @ (RedisReply::Number(_) | RedisReply::Nothing) => other,
    }
}

/// How somebody logs in, if a name or a password is configured.
async fn login(server: &RedisServer) -> Result<Option<RedisCommand>, Hitch> {
    let section = server.section;
    let Some(password) = &server.password else { return Ok(None) };
    let began = Instant::now();
    let password =
        secret::resolve(password, SECRET).await.map_err(|error| unknown(&error, began.elapsed(), section))?;
    let mut command = RedisCommand::of(&["AUTH"]);
    if let Some(username) = &server.username {
        let began = Instant::now();
        let username = secret::value_of(username, SECRET).await;
        let username = username.map_err(|error| unknown(&error, began.elapsed(), section))?;
        command.part(username.expose().as_bytes());
    }
    command.part(password.expose().as_bytes());
    Ok(Some(command))
}

/// A secret could not be had. Who gives it may be slow for once; all else somebody must put right.
fn unknown(error: &secret::SecretError, after: Duration, section: RedisSection) -> Hitch {
    let what = format!("{}: {error}", section.header());
    if after < SECRET { Hitch::staying(what) } else { Hitch::passing(what) }
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
            // one question, one answer: nothing is gained by waiting for more
            stream.set_nodelay(true).map_err(unreached)?;
            if !tls {
                return Ok(Box::new(stream));
            }
            // a server without TLS takes the first bytes for the beginning of a command, and waits for the rest
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
        assert!(!unknown(&error, SECRET, RedisSection::Events).stays);
    }
}
