//! A connection to a PostgreSQL server that lives as long as a call: the amount of data that is read is limited, and running
//! statements are cancelled when the call is dropped.
use super::address::Address;
use super::trouble::{ConnectError, ConnectErrorKind};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

/// Maximum bytes that a call reads from the server: a single value may have a gigabyte.
const MAX_READ_BYTES: usize = 16 << 20;
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// An open connection; closed on drop.
pub struct Link {
    pub client: Arc<Client>,
    cancel: CancelOnDrop,
    too_much: Arc<AtomicBool>,
    local_port: Option<u16>,
    heard: Heard,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// Connects to the first host of the address that accepts the connection.
    ///
    /// # Errors
    /// The error of the first host.
    pub async fn open(address: Address) -> Result<Self, ConnectError> {
        Self::open_for(address, MAX_READ_BYTES).await
    }

    /// The same, with this limit on bytes that are read.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub async fn open_for(address: Address, most: usize) -> Result<Self, ConnectError> {
        let Address { mut config, encryption, place: shown, wants_primary } = address;
        let hosts = match config.get_hosts() {
            [] => vec![Host::Tcp("localhost".into())],
            hosts => hosts.to_vec(),
        };
        let ports = config.get_ports().to_vec();
        let mut first = None;
        for (at, host) in hosts.into_iter().enumerate() {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            let place = Endpoint { host, port, most, encryption: encryption.clone(), shown: shown.clone() };
            let found = match Self::to(&mut config, place).await {
                Ok(link) if wants_primary => link.is_primary(&shown).await.map(|()| link),
                found => found,
            };
            match found {
                Ok(link) => return Ok(link),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| ConnectError::new(ConnectErrorKind::Address, "`url` names no host")))
    }

    /// Checks that the server is not in recovery. It may be promoted, or another one may come back: both errors are temporary.
    async fn is_primary(&self, shown: &str) -> Result<(), ConnectError> {
        let asked = self.client.query_one("SELECT pg_is_in_recovery()", &[]).await;
        match asked.map(|row| row.get(0)) {
            Ok(false) => Ok(()),
            Ok(true) => Err(ConnectError::new(
                ConnectErrorKind::Unreachable,
                format!("{shown}: the server is a standby of another one, and can't be written"),
            )),
            Err(error) => Err(ConnectError::said(&error, shown)),
        }
    }

    async fn to(config: &mut Config, place: Endpoint) -> Result<Self, ConnectError> {
        let too_much = Arc::new(AtomicBool::new(false));
        let say = |error: &tokio_postgres::Error| ConnectError::said(error, &place.shown);
        let mut local_port = None;
        let mut socket = async || {
            let socket = place.socket(too_much.clone()).await?;
            local_port = socket.local_port;
            Ok::<_, ConnectError>(socket)
        };
        let (client, connection) = match config.connect_raw(socket().await?, place.encryption()).await {
            Ok(pair) => pair,
            // `prefer` guarantees nothing, and many servers have a self-signed certificate.
            Err(error) if is_handshake(&error) && config.get_ssl_mode() == SslMode::Prefer => {
                config.ssl_mode(SslMode::Disable);
                let again = config.connect_raw(socket().await?, place.encryption()).await;
                again.map_err(|error| say(&error))?
            }
            Err(error) if is_handshake(&error) => {
                let why = say(&error).what;
                return Err(ConnectError::new(
                    ConnectErrorKind::Encryption,
                    format!(
                        "{why}; the server's certificate must be signed by one that this machine trusts, or by one of \
                     sslrootcert=/path/to/ca.pem, and be for the host that `url` names (verify-ca asks only who signed \
                     it)"
                    ),
                ));
            }
            Err(error) => return Err(say(&error)),
        };
        let token = client.cancel_token();
        let heard = Heard::default();
        let ears = heard.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connection = connection;
            // Its errors are also reported to the client.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    AsyncMessage::Notice(notice) => ears.take_in(&notice),
                    AsyncMessage::Notification(_) => ears.ring(),
                    _ => {}
                }
            }
        }));
        let cancel = CancelOnDrop { running: Some((token, place)) };
        Ok(Self { client: Arc::new(client), cancel, too_much, local_port, heard, _task: task })
    }

    /// Returns whether it was closed because the read limit was exceeded.
    pub fn was_too_much(&self) -> bool {
        self.too_much.load(Ordering::Relaxed)
    }

    /// Returns what the server reported in notices.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Returns the local port, if the connection uses TCP.
    pub fn local_port(&self) -> Option<u16> {
        self.local_port
    }

    /// Marks the connection as idle: nothing needs to be cancelled.
    pub fn is_done(&mut self) {
        self.cancel.running = None;
    }
}

/// Detects a lost peer within half a minute, both while waiting and while sending (tcp(7)).
fn detect_lost_peer(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(socket, 25_000)?;
    Ok(())
}

/// Notices of a server that change the meaning of an answer.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    not_replicated: Arc<AtomicBool>,
    bell: Arc<OnceLock<watch::Sender<u64>>>,
}

impl Heard {
    /// Returns whether a commit returned without replication, although it had been waiting for a standby. Resets it.
    pub fn was_not_replicated(&self) -> bool {
        self.not_replicated.swap(false, Ordering::Relaxed)
    }

    /// Signals each notification (`LISTEN`) on this channel from now on.
    pub fn ring_with(&self, bell: watch::Sender<u64>) {
        let _ = self.bell.set(bell);
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.send_modify(|rings| *rings += 1);
        }
    }

    fn take_in(&self, notice: &DbError) {
        tracing::debug!("PostgreSQL: {}: {}", notice.severity(), notice.message());
        // "The transaction has already committed locally, but might not have been replicated to the standby." (syncrep.c); its
        // code is that of any warning, and its text is localized
        if notice.code() == &SqlState::WARNING && notice.routine() == Some("SyncRepWaitForLSN") {
            self.not_replicated.store(true, Ordering::Relaxed);
        }
    }
}

fn is_handshake(error: &tokio_postgres::Error) -> bool {
    // The kind of an error is private.
    error.as_db_error().is_none() && error.to_string().contains("TLS handshake")
}

/// Cancels what is running when the call is dropped. The server itself would only notice when it has rows to send.
struct CancelOnDrop {
    running: Option<(CancelToken, Endpoint)>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some((token, place)) = self.running.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let work = async {
                if let Ok(socket) = place.socket(Arc::default()).await {
                    // If it can't be cancelled, `statement_timeout` ends it.
                    let _ = token.cancel_query_raw(socket, place.encryption()).await;
                }
            };
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, work).await;
        });
    }
}

/// Where a server listens.
struct Endpoint {
    host: Host,
    port: u16,
    most: usize,
    encryption: MakeRustlsConnect,
    /// The address for messages.
    shown: String,
}

type Encryption = <MakeRustlsConnect as MakeTlsConnect<Limited>>::TlsConnect;

impl Endpoint {
    async fn socket(&self, too_much: Arc<AtomicBool>) -> Result<Limited, ConnectError> {
        let mut local_port = None;
        let (socket, shown): (io::Result<Box<dyn Stream>>, String) = match &self.host {
            Host::Tcp(name) => {
                let socket = TcpStream::connect((name.as_str(), self.port)).await;
                // small consecutive messages must not wait for acknowledgements
                let socket = socket.and_then(|socket| {
                    socket.set_nodelay(true)?;
                    detect_lost_peer(&socket)?;
                    Ok(socket)
                });
                let local = socket.as_ref().ok().and_then(|socket| socket.local_addr().ok());
                local_port = local.map(|address| address.port());
                (socket.map(|socket| Box::new(socket) as _), format!("{name}:{}", self.port))
            }
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", self.port));
                let socket = UnixStream::connect(&path).await;
                (socket.map(|socket| Box::new(socket) as _), path.display().to_string())
            }
        };
        match socket {
            Ok(inner) => Ok(Limited { inner, left: self.most, too_much, local_port }),
            Err(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                        "; is the server running, and does it listen there?"
                    }
                    _ => "",
                };
                Err(ConnectError::new(
                    ConnectErrorKind::Unreachable,
                    format!("can't connect to PostgreSQL at {shown}: {error}{hint}"),
                ))
            }
        }
    }

    fn encryption(&self) -> Encryption {
        let name = match &self.host {
            Host::Tcp(name) => name.as_str(),
            Host::Unix(_) => "localhost",
        };
        let mut maker = self.encryption.clone();
        match MakeTlsConnect::<Limited>::make_tls_connect(&mut maker, name) {
            Ok(encryption) => encryption,
        }
    }
}

/// A bidirectional byte stream.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that fails when the read limit is exceeded.
struct Limited {
    inner: Box<dyn Stream>,
    left: usize,
    too_much: Arc<AtomicBool>,
    local_port: Option<u16>,
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => {
                self.too_much.store(true, Ordering::Relaxed);
                return Poll::Ready(Err(io::Error::other("too much was read")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
