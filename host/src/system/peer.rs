//! The operating system's user at the other end of a connection on this machine.

use std::net::{IpAddr, SocketAddr};

/// Whether a connection is known to be another user's. Root counts as no other user, because it can do
/// everything anyway, and forwards connections for others. Only Linux says whose a connection is.
pub(crate) fn is_of_another_user(client: SocketAddr, server: SocketAddr) -> bool {
    #[cfg(target_os = "linux")]
    {
        // A client with a socket for both kinds of addresses is in the second table.
        let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
        let own = rustix::process::geteuid().as_raw();
        tables.iter().any(|table| {
            let table = std::fs::read_to_string(table).unwrap_or_default();
            is_of_another(&table, own, client, server)
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (client, server);
        false
    }
}

/// Looks a connection up in a table of the kernel.
#[cfg(any(test, target_os = "linux"))]
fn is_of_another(table: &str, own: u32, client: SocketAddr, server: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let (client, server) = (written(client), written(server));
    table.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, _, _, _, user, ..] = columns.as_slice() else { return false };
        let is_it =
            client.iter().any(|known| known == local) && server.iter().any(|known| known == remote);
        // After a process has closed its end, the table no longer says whose it was.
        let user = (*state == ESTABLISHED).then(|| user.parse::<u32>().ok()).flatten();
        is_it && user.is_none_or(|user| user != own && user != 0)
    })
}

/// Returns an address as the kernel writes it in its tables: for IPv4, also as it is within IPv6.
#[cfg(any(test, target_os = "linux"))]
fn written(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    let words = |bytes: &[u8]| -> String {
        let word = |word: &[u8]| word.try_into().map(u32::from_ne_bytes).unwrap_or_default();
        bytes.chunks_exact(4).map(|bytes| format!("{:08X}", word(bytes))).collect()
    };
    match address.ip() {
        IpAddr::V4(ip) => vec![
            format!("{}:{port:04X}", words(&ip.octets())),
            format!("{}:{port:04X}", words(&ip.to_ipv6_mapped().octets())),
        ],
        IpAddr::V6(ip) => vec![format!("{}:{port:04X}", words(&ip.octets()))],
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_another_user_is_known() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0
   2: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0
   3: 0100007F:C002 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4 1 0
   4: 0100007F:C003 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0
   5: 0100007F:C004 0100007F:1F90 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   6: 0000000000000000FFFF00000100007F:C005 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 6 1 0
   7: 00000000000000000000000001000000:C006 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 7 1 0
   8: 0100007F:C007 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  1001        0 8 1 0
";
        for (client, server, expected) in [
            ("127.0.0.1:49153", "127.0.0.1:8080", true),
            ("127.0.0.1:49154", "127.0.0.1:8080", false),
            ("127.0.0.1:49155", "127.0.0.1:8080", false),
            // It has closed its end.
            ("127.0.0.1:49156", "127.0.0.1:8080", true),
            ("127.0.0.1:49157", "127.0.0.1:8080", true),
            ("[::1]:49158", "[::1]:8080", true),
            // A connection to another server, and one that is not there.
            ("127.0.0.1:49159", "127.0.0.1:8080", false),
            ("127.0.0.1:49160", "127.0.0.1:8080", false),
        ] {
            let ends = [client, server].map(|end| end.parse().expect("an address"));
            assert_eq!(is_of_another(table, 1000, ends[0], ends[1]), expected, "{client}");
        }
        assert!(!is_of_another("", 1000, ([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()));
    }
}
