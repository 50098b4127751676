//! A connection within the guard, for callers that speak on it themselves.
use super::guard::{Allow, Dialer, GuardError};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Connects to a host if it may be asked: at exactly the addresses that were judged. A host that is an IPv6 address has
/// its brackets.
///
/// # Errors
/// Why it may not be asked, or can't be reached.
pub async fn connect(host: &str, port: u16, allow: &Allow) -> Result<TcpStream, GuardError> {
    connect_by(&Dialer::system(), host, port, allow).await
}

pub(super) async fn connect_by(
    dialer: &Dialer,
    host: &str,
    port: u16,
    allow: &Allow,
) -> Result<TcpStream, GuardError> {
    let vetted = dialer.vet(&format!("http://{host}:{port}/"), allow).await?;
    let addresses: Vec<_> = vetted.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
    TcpStream::connect(&addresses[..]).await.map_err(|error| GuardError::Failed(error.to_string()))
}
