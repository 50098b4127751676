//! Whose the other end of a connection is: on loopback, a port is open to every user of the machine.
use std::net::SocketAddr;

/// The user of the other end, where the kernel tells (`/proc/net/tcp`, proc(5)). `None`: not known.
pub(super) fn user_of(peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    user_in(&table, peer, own)
}

/// From the table: its lines have the local and the remote address, the state, and the user in the eighth column.
fn user_in(table: &str, peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    let (local, remote) = (hex(peer)?, hex(own)?);
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let fits = columns.get(1) == Some(&local.as_str()) && columns.get(2) == Some(&remote.as_str());
        if fits { columns.get(7)?.parse().ok() } else { None }
    })
}

/// `0100007F:1F90`: the address as the kernel has it in memory, and the port.
fn hex(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(address) => {
            Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
        }
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the table.
    use super::*;

    #[test]
    fn the_line_of_the_other_end_says_whose_it_is() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1\n\
             1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2\n";
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        if cfg!(target_endian = "little") {
            assert_eq!(user_in(table, at(50_000), at(8080)), Some(1000));
            assert_eq!(user_in(table, at(50_001), at(8080)), None);
        }
    }

    #[test]
    fn a_connection_of_ours_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        if let Some(user) = user_of(peer, server.local_addr().unwrap()) {
            assert_eq!(user, rustix::process::geteuid().as_raw());
        }
        drop(client);
    }
}
