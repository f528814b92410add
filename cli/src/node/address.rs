//! Where others are to reach a node, when nobody says.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use session_chain::NetworkFile;
use session_protocols::directory::{Endpoint, Transport, is_public};

use crate::failure::{Exit, Failure};

/// The port that nodes are reached at where nobody says otherwise.
pub(crate) const PORT: u16 = 22_021;
/// Somewhere in the internet: of documentation, and nothing is sent there.
const AWAY: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), PORT),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), PORT),
];
/// Where Linux lists the IPv6 addresses of its interfaces.
const IF_INET6: &str = "/proc/net/if_inet6";
/// What it says of an address (`IFA_F_...`): that it is used for a while, since it is no machine's for long.
const TEMPORARY: u8 = 0x01;
/// That it is not to be used: another machine has it, it is at its end, or nobody knows yet.
const UNFIT: u8 = 0x08 | 0x20 | 0x40;

/// In a local network a free port of this machine; else the public address that this machine goes out from.
///
/// # Errors
/// When it has none: behind a router nobody here knows the address that others see.
pub(super) fn found(network: Option<&NetworkFile>) -> Result<Vec<Endpoint>, Failure> {
    let own = own(network, None)?;
    if own.is_empty() { Err(none()) } else { Ok(own) }
}

/// The same, at a port if one is said; empty where this machine has no public address of a kind that a node of the
/// network has: others would have no way to dial it.
pub(crate) fn own(network: Option<&NetworkFile>, at: Option<u16>) -> Result<Vec<Endpoint>, Failure> {
    if network.is_some_and(|network| network.local) {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let free = || UdpSocket::bind((ip, 0)).and_then(|socket| socket.local_addr()).map(|at| at.port());
        let port = at.map_or_else(free, Ok);
        let port = port.map_err(|cause| Failure::io("cannot find a free port", &cause))?;
        return Ok(vec![Endpoint { transport: Transport::Quic, ip, port }]);
    }
    let own = AWAY.into_iter().filter_map(|away| source(away).ok()).map(|ip| match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => lasting(ip, &fs::read_to_string(IF_INET6).unwrap_or_default()).into(),
    });
    let found = first(own, network);
    Ok(found.map(|ip| both(ip, at.unwrap_or(PORT))).unwrap_or_default())
}

/// Over both transports.
pub(crate) fn both(ip: IpAddr, port: u16) -> Vec<Endpoint> {
    [Transport::Quic, Transport::Tcp].map(|transport| Endpoint { transport, ip, port }).into()
}

/// The first public one, where a network is named of a kind that one of its nodes has.
fn first(mut own: impl Iterator<Item = IpAddr>, network: Option<&NetworkFile>) -> Option<IpAddr> {
    own.find(|ip| is_public(*ip) && network.is_none_or(|network| is_of_kind(*ip, network)))
}

/// Whether a node that the network's file names has an address of this kind, or none says where it is.
fn is_of_kind(ip: IpAddr, network: &NetworkFile) -> bool {
    let all = network.nodes.iter().flat_map(|node| &node.addresses);
    let mut all = all.filter_map(|text| text.parse::<Endpoint>().ok()).peekable();
    all.peek().is_none() || all.any(|one| one.ip.is_ipv4() == ip.is_ipv4())
}

/// In the place of an address that this machine uses for a while (privacy extensions) one that it keeps: of the same
/// interface, and beside it if it can be. `table` has a line for each: 32 hex digits, the number of the interface,
/// the length of the prefix, the scope, what else is to be said, and the interface's name.
fn lasting(used: Ipv6Addr, table: &str) -> Ipv6Addr {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let ip = Ipv6Addr::from(u128::from_str_radix(words.next()?, 16).ok()?);
        let interface = words.next()?.to_owned();
        let flags = u8::from_str_radix(words.nth(2)?, 16).ok()?;
        Some((ip, interface, flags))
    };
    let all: Vec<_> = table.lines().filter_map(entry).collect();
    let Some((_, interface, _)) = all.iter().find(|(ip, _, flags)| *ip == used && flags & TEMPORARY != 0)
    else {
        return used;
    };
    let kept = all.iter().filter(|(ip, on, flags)| {
        on == interface && flags & (TEMPORARY | UNFIT) == 0 && is_public((*ip).into())
    });
    let apart = |ip: &Ipv6Addr| (ip.to_bits() ^ used.to_bits()) >> 64;
    kept.map(|(ip, ..)| *ip).min_by_key(apart).unwrap_or(used)
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
    use alloy::primitives::Address;
    use session_chain::{NetworkNode, network::Limits};
    use session_protocols::{NodeId, Prefix};

    use super::*;

    /// A network whose nodes are there.
    fn network(addresses: &[&str], local: bool) -> NetworkFile {
        let node = |text: &&str| NetworkNode {
            id: NodeId::from_bytes([7; 32]),
            operator: Address::repeat_byte(7).into(),
            prefix: text.parse::<Endpoint>().map_or(Prefix::V4([45, 1, 0]), |one| Prefix::of(one.ip)),
            addresses: vec![(*text).to_owned()],
            door: None,
            bls: None,
        };
        NetworkFile {
            name: "net".parse().unwrap(),
            local,
            seed: [7; 32],
            faucet: None,
            limits: Limits::default(),
            hf: session_protocols::answer::RULES,
            nodes: addresses.iter().map(node).collect(),
            settlement: None,
        }
    }

    #[test]
    fn in_a_local_network_a_node_stands_on_this_machine() {
        let network = network(&["/ip4/127.0.0.1/tcp/1"], true);
        let found = found(Some(&network)).unwrap();
        assert!(found.len() == 1 && found[0].ip.is_loopback() && found[0].port != 0, "{found:?}");
        assert_eq!(own(Some(&network), Some(7)).unwrap()[0].port, 7, "as is said");
    }

    #[test]
    fn a_node_is_where_other_nodes_have_a_way_to() {
        let [private, six]: [IpAddr; 2] = ["192.168.1.2", "2a10:7::2"].map(|text| text.parse().unwrap());
        let public: IpAddr = "45.7.0.2".parse().unwrap();
        let (four_only, six_only) =
            (network(&["/ip4/45.1.0.2/tcp/1"], false), network(&["/ip6/2a10:1::2/tcp/1"], false));
        let mixed = network(&["/ip4/45.1.0.2/tcp/1", "/ip6/2a10:1::2/tcp/1"], false);
        let of = |own: &[IpAddr], network: Option<&NetworkFile>| first(own.iter().copied(), network);
        // At home: IPv4 behind a router, and IPv6.
        assert_eq!(of(&[private, six], Some(&four_only)), None, "nobody there dials IPv6");
        assert_eq!(of(&[private, six], Some(&mixed)), Some(six));
        assert_eq!(of(&[private, six], Some(&six_only)), Some(six));
        assert_eq!(of(&[private, six], None), Some(six));
        assert_eq!(of(&[public, six], Some(&mixed)), Some(public));
        assert_eq!(of(&[public, six], Some(&six_only)), Some(six));
        assert_eq!(of(&[six], Some(&network(&["nowhere"], false))), Some(six), "none says where it is");
    }

    #[test]
    fn an_address_of_a_while_is_not_told_to_others() {
        let line = |ip: &str, interface: u8, flags: u8| {
            let ip: Ipv6Addr = ip.parse().unwrap();
            format!("{:032x} {interface:02x} 40 00 {flags:02x}     eth{interface}\n", ip.to_bits())
        };
        let of = |used: &str, table: &str| lasting(used.parse().unwrap(), table).to_string();
        let (used, kept) = ("2a10:7::aaaa", "2a10:7::2");
        let table = [
            line("fe80::1", 2, 0x80),
            line("2a10:8::2", 3, 0x80),
            line("2a10:9::2", 2, 0x80),
            line("2a10:7::bbbb", 2, 0x21),
            line("2a10:7::dead", 2, 0x20),
            line("fd00::2", 2, 0),
            line(kept, 2, 0),
            line(used, 2, 0x01),
        ];
        assert_eq!(of(used, &table.concat()), kept, "that of the machine, beside it");
        let others = [&table[..6], &table[7..]].concat().concat();
        assert_eq!(of(used, &others), "2a10:9::2", "another of the interface");
        assert_eq!(of(kept, &table.concat()), kept, "it lasts");
        assert_eq!(of(used, &line(used, 2, 0x01)), used, "there is no other");
        for none in ["", "no table", "00 00"] {
            assert_eq!(of(used, none), used);
        }
    }
}
