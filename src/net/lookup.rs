//! Names and their addresses (getaddrinfo(3)), each look-up on a thread of its own.
//!
//! The system's look-up blocks, for as long as a name server is silent, and can't be called off. On the threads that
//! programs are started from a few such names would hold up everything. So there are places: whoever asks waits for one,
//! and it is taken until the look-up has really ended, also if nobody waits for it any more.
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Look-ups of the daemon itself, at a time.
static OURS: Semaphore = Semaphore::const_new(16);
/// Look-ups for all programs that have a way out, at a time.
static OF_PROGRAMS: Semaphore = Semaphore::const_new(16);

/// The addresses of a host.
///
/// # Errors
/// What the system says.
pub(super) async fn addresses(host: String, port: u16) -> io::Result<Vec<IpAddr>> {
    let place = OURS.acquire().await.map_err(io::Error::other)?;
    on_a_thread(host, port, place).await
}

/// The same for a program, which has `own` places.
pub(super) async fn addresses_for(own: Arc<Semaphore>, host: String, port: u16) -> io::Result<Vec<IpAddr>> {
    let own = own.acquire_owned().await.map_err(io::Error::other)?;
    let place = OF_PROGRAMS.acquire().await.map_err(io::Error::other)?;
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

/// For clients that look names up themselves.
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
