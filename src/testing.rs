//! Helpers for tests that must pass on a busy or slow machine.
use std::time::Duration;

/// A real server, as started by the tests of the whole.
#[path = "../tests/it/postgres.rs"]
pub(crate) mod postgres;

/// A timeout for anything that does not deliberately wait for minutes, on any machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Returns the CPU time of this thread (`CLOCK_THREAD_CPUTIME_ID`), which does not advance while others run, unlike the wall
/// clock. For tests of something that takes a second, and would take minutes if wrong.
pub(crate) fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// Returns an address where nobody can listen: its port is taken by a socket that accepts no connections. A port that was free
/// a moment ago may be used by the next test.
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
