//! Guarded TCP connections, for callers with their own protocol.
use super::guard::{Allow, Dialer, GuardError};
use super::lookup;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// After this delay without a connection, the next address is tried concurrently (RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to a host if that is allowed, at exactly the addresses that were checked. An IPv6 address must have its brackets.
/// `lookups`: permits for the caller's concurrent DNS lookups.
///
/// # Errors
/// Why it is not allowed, or can't be reached.
pub async fn connect(
    host: &str,
    port: u16,
    allow: &Allow,
    lookups: &Arc<Semaphore>,
) -> Result<TcpStream, GuardError> {
    let own = lookups.clone();
    let dialer = Dialer {
        lookup: Arc::new(move |host, port| Box::pin(lookup::addresses_for(own.clone(), host, port))),
        ..Dialer::system()
    };
    connect_by(&dialer, host, port, allow).await
}

async fn connect_by(dialer: &Dialer, host: &str, port: u16, allow: &Allow) -> Result<TcpStream, GuardError> {
    let vetted = dialer.vet(&format!("http://{host}:{port}/"), allow).await?;
    let stream =
        first_of(&vetted.addresses, port).await.map_err(|error| GuardError::Failed(error.to_string()))?;
    // small writes, such as those of a handshake, are not delayed
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    Ok(stream)
}

/// Returns the first connection that succeeds; attempts start one after the other, with a delay.
async fn first_of(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut trying = JoinSet::new();
    let mut waiting = addresses.iter().map(|address| SocketAddr::new(*address, port));
    let mut failure = None;
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            trying.spawn(TcpStream::connect(address));
        }
        let pause = async {
            if is_last { std::future::pending::<()>().await } else { tokio::time::sleep(ATTEMPT_DELAY).await }
        };
        tokio::select! {
            () = pause => {}
            ended = trying.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = Some(error),
                Some(Err(error)) => failure = Some(io::Error::other(error)),
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the addresses of a host.
    use super::*;
    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, connect, listen, socket};
    use std::os::fd::OwnedFd;

    /// A port that does not answer: its queue is full.
    fn deaf(port: u16) -> Vec<OwnedFd> {
        let address = SocketAddrV4::new([127, 0, 0, 1].into(), port);
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 0).unwrap();
        let mut all = vec![listener];
        for _ in 0..4 {
            let queued = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            rustix::io::ioctl_fionbio(&queued, true).unwrap();
            let _ = connect(&queued, &address);
            all.push(queued);
        }
        all
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_passed_over() {
        let good = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = good.local_addr().unwrap().port();
        let _deaf = deaf(port);
        let addresses: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let stream = first_of(&addresses, port).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), addresses[1]);
        drop(good);
        let refused = first_of(&addresses[1..], port).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_of(&[], port).await.is_err());
    }
}
