//! What tests need to pass on a machine that is busy or slow.
use std::time::Duration;

/// A real server, as the tests of the whole start it.
#[path = "../tests/it/postgres.rs"]
pub(crate) mod postgres;

/// What happens without waiting for something that takes ten minutes has happened by then, on any machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// The time that this thread has worked by now (`CLOCK_THREAD_CPUTIME_ID`): it stands still while others
/// work, as the time of the clock does not. What is to take a second and would take minutes is judged by it.
pub(crate) fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// An address where nobody listens, and nobody can: its port is taken by a socket that takes no connections. A port
/// that was only free a moment ago may be the next test's.
pub(crate) fn nobody() -> std::net::SocketAddr {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    static TAKEN: std::sync::OnceLock<rustix::fd::OwnedFd> = std::sync::OnceLock::new();
    let taken = TAKEN.get_or_init(|| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket
    });
    getsockname(taken).expect("it is bound").try_into().expect("an address of the internet")
}
