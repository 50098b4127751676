//! DNS lookups (getaddrinfo(3)), each on its own thread.
//!
//! The system's lookup blocks as long as a name server does not respond, and can't be cancelled. On the threads that start
//! programs, a few such names would block everything. So there are permits: callers wait for one, and it is held until the
//! lookup has really ended, even if nobody waits for it any more.
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Permits for the daemon's own lookups.
static DAEMON_LOOKUPS: Semaphore = Semaphore::const_new(16);
/// Permits for lookups of all sandboxed programs.
static PROGRAM_LOOKUPS: Semaphore = Semaphore::const_new(16);

/// Resolves a host.
///
/// # Errors
/// The error of the system.
pub(super) async fn addresses(host: String, port: u16) -> io::Result<Vec<IpAddr>> {
    let place = DAEMON_LOOKUPS.acquire().await.map_err(io::Error::other)?;
    on_a_thread(host, port, place).await
}

/// The same for a program, with `own` as its permits.
pub(super) async fn addresses_for(own: Arc<Semaphore>, host: String, port: u16) -> io::Result<Vec<IpAddr>> {
    let own = own.acquire_owned().await.map_err(io::Error::other)?;
    let place = PROGRAM_LOOKUPS.acquire().await.map_err(io::Error::other)?;
    on_a_thread(host, port, (own, place)).await
}

async fn on_a_thread(host: String, port: u16, place: impl Send + 'static) -> io::Result<Vec<IpAddr>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("lookup".into()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        drop(place);
        let _ = sender.send(found.map(|all| all.map(|address| address.ip()).collect()));
    })?;
    receiver.await.map_err(io::Error::other)?
}

/// The resolver for clients that resolve names themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByThreads;

impl Resolve for ByThreads {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let all = addresses(host, 0).await?;
            Ok(Box::new(all.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    //! Tests of places.
    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_until_the_look_up_has_ended() {
        let own = Arc::new(Semaphore::new(1));
        assert!(!addresses_for(own.clone(), "localhost".into(), 1).await.unwrap().is_empty());
        let taken = own.clone().acquire_owned().await.unwrap();
        let mut waiting = Box::pin(addresses_for(own.clone(), "localhost".into(), 1));
        let waits = futures_util::poll!(&mut waiting).is_pending();
        assert!(waits && own.available_permits() == 0);
        drop(taken);
        assert!(!waiting.await.unwrap().is_empty());
        // whoever asked is gone before the answer: the place comes back all the same, when the thread has ended
        drop(tokio::spawn(addresses_for(own.clone(), "localhost".into(), 1)));
        let _ = own.acquire().await.unwrap();
    }
}
