//! Where others are to reach a node, when nobody says.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use session_protocols::directory::{Endpoint, Transport};

use crate::failure::{Exit, Failure};

/// The port that nodes are reached at where nobody says otherwise.
const PORT: u16 = 22_021;
/// Somewhere in the internet: of documentation, and nothing is sent there.
const AWAY: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), PORT),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), PORT),
];

/// In a local network a free port of this machine; else the public address that this machine goes out from.
///
/// # Errors
/// When it has none: behind a router nobody here knows the address that others see.
pub(super) fn found(local: bool) -> Result<Vec<Endpoint>, Failure> {
    let own = own(local, PORT)?;
    if own.is_empty() { Err(none()) } else { Ok(own) }
}

/// The same, at a port; empty where this machine has no public address.
pub(crate) fn own(local: bool, at: u16) -> Result<Vec<Endpoint>, Failure> {
    if local {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let port = UdpSocket::bind((ip, 0)).and_then(|socket| socket.local_addr());
        let port = port.map_err(|cause| Failure::io("cannot find a free port", &cause))?.port();
        return Ok(vec![Endpoint { transport: Transport::Quic, ip, port }]);
    }
    let both = |ip| [Transport::Quic, Transport::Tcp].map(|transport| Endpoint { transport, ip, port: at });
    let own = AWAY.into_iter().filter_map(|away| source(away).ok()).map(both);
    Ok(own.into_iter().find(|both| both.iter().all(Endpoint::is_public)).map(Vec::from).unwrap_or_default())
}

/// Nobody said, and it cannot be seen.
pub(super) fn none() -> Failure {
    Failure::new(
        Exit::Usage,
        "usage",
        "a node needs an address, and this machine has no public one",
        "say where others reach it: --address /ip4/ADDRESS/udp/22021/quic-v1",
    )
}

/// The address that this machine would send from.
fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // Of UDP this looks up the route alone.
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_local_network_a_node_stands_on_this_machine() {
        let found = found(true).unwrap();
        assert!(found.len() == 1 && found[0].ip.is_loopback() && found[0].port != 0, "{found:?}");
    }
}
