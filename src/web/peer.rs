//! Determines the user at the other end of a connection: a port on loopback is open to every user of the machine.
use std::net::{IpAddr, SocketAddr};

/// The owner of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerOwner {
    User(u32),
    /// Unknown to the kernel: the connection is already closed.
    Nobody,
    /// This system provides no such information.
    Unknown,
}

/// Returns the owner of the other end, by the tables of the kernel (`/proc/net/tcp` and `tcp6`, proc(5)). An IPv6
/// socket connected to an IPv4 address is listed only in the second.
pub(super) fn owner_of(peer: SocketAddr, own: SocketAddr) -> PeerOwner {
    let tables: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    if tables.is_empty() {
        return PeerOwner::Unknown;
    }
    tables.iter().find_map(|table| user_in(table, peer, own)).map_or(PeerOwner::Nobody, PeerOwner::User)
}

/// Finds the user in a table: its lines have the local and the remote address, the state (01: established), and the
/// user in the eighth column.
fn user_in(table: &str, peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    let ends = [hex(peer), hex(own)];
    let mapped = [mapped(peer), mapped(own)];
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, ..] = &columns[..] else { return None };
        let are = |ends: &[String; 2]| *local == ends[0] && *remote == ends[1];
        if *state == "01" && (are(&ends) || are(&mapped)) { columns.get(7)?.parse().ok() } else { None }
    })
}

/// Formats an address as `0100007F:1F90`: its words in memory order, and the port.
fn hex(address: SocketAddr) -> String {
    let words = |octets: &[u8]| -> String {
        let words =
            octets.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        words.map(|word| format!("{word:08X}")).collect()
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    };
    format!("{ip}:{:04X}", address.port())
}

/// Formats an IPv4 address as an IPv6 socket has it.
fn mapped(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => hex(SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())),
        IpAddr::V6(_) => hex(address),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the tables.
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_line_of_the_other_end_says_whose_it_is() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let table = format!(
            "{head}\
             0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1\n\
             1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2\n\
             2: 0100007F:C352 0100007F:1F90 06 00000000:00000000 00:00000000 00000000     0        0 0\n"
        );
        let mapped = format!(
            "{head}\
             0: 0000000000000000FFFF00000100007F:C353 0000000000000000FFFF00000100007F:1F90 01 0:0 0:0 0  1001 0 3\n"
        );
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        if cfg!(target_endian = "little") {
            assert_eq!(user_in(&table, at(50_000), at(8080)), Some(1000));
            assert_eq!(user_in(&table, at(50_001), at(8080)), None);
            assert_eq!(
                user_in(&table, at(50_002), at(8080)),
                None,
                "it is closed, and then the table has user 0"
            );
            assert_eq!(user_in(&mapped, at(50_003), at(8080)), Some(1001), "by a socket for IPv6");
        }
    }

    #[test]
    fn connections_of_ours_are_ours_by_whichever_socket() {
        let me = PeerOwner::User(rustix::process::geteuid().as_raw());
        let v4 = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = v4.local_addr().expect("its address").port();
        for reached in [format!("127.0.0.1:{port}"), format!("[::ffff:127.0.0.1]:{port}")] {
            let Ok(client) = TcpStream::connect(&reached) else { continue };
            let (server, peer) = v4.accept().expect("it comes");
            let owner = owner_of(peer, server.local_addr().expect("its address"));
            assert!(owner == me || owner == PeerOwner::Unknown, "{reached}: {owner:?}");
            drop(client);
        }
    }
}
