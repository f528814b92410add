//! How a testnet begins: keys, operators, addresses, free ports.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use session_chain::{
    NetworkFile, Operator,
    bls::BlsSecret,
    network::{Limits, NetworkNode},
};
use session_node::keystore;
use session_protocols::{
    Prefix,
    answer::RULES,
    directory::{Endpoint, Transport},
};

use crate::{
    chain,
    error::TestnetError,
    layout::{Entry, Folder, MAX_NODES},
};

/// What every local testnet is called.
const NAME: &str = "local";

/// Makes the keys of `count` nodes, and finds an address and free ports for each. Where there is to be a chain
/// each has an account to submit from, and an operator that can sign.
pub(crate) fn make(
    folder: &Folder,
    count: usize,
    with_chain: bool,
) -> Result<(NetworkFile, Vec<Entry>), TestnetError> {
    // Held until all are found, so that no port is found twice.
    let mut held = Vec::new();
    let (mut nodes, mut entries) = (Vec::new(), Vec::new());
    for index in 1..=count {
        let (node, entry, ports) = node(folder, index, with_chain)?;
        nodes.push(node);
        entries.push(entry);
        held.push(ports);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| TestnetError::Random)?;
    let name = NAME.parse().map_err(|_| TestnetError::Nodes(count))?;
    let network = NetworkFile {
        name,
        local: true,
        seed,
        hf: RULES,
        faucet: None,
        limits: Limits::default(),
        nodes,
        settlement: None,
    };
    Ok((network, entries))
}

/// Makes the keys of one node, and finds an address for it and ports that stay free while they are held.
pub(crate) fn node(
    folder: &Folder,
    index: usize,
    with_chain: bool,
) -> Result<(NetworkNode, Entry, Ports), TestnetError> {
    let number = u8::try_from(index).map_err(|_| TestnetError::Nodes(index))?;
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, number, 1));
    let ports = Ports::find(ip).map_err(|cause| TestnetError::Port { ip, cause })?;
    let pair = keystore::create(&folder.data(index))?;
    let (id, bls) = (pair.node_id(), with_chain.then(|| BlsSecret::of_node(&pair).public()));
    let operator = if with_chain {
        keystore::create_gas(&folder.data(index))?;
        chain::operator(number)
    } else {
        let mut operator = [0; 20];
        operator[19] = number;
        Operator::from_bytes(operator)
    };
    let addresses: Vec<String> = ports.endpoints.iter().map(ToString::to_string).collect();
    let entry = Entry {
        index,
        id,
        listen: addresses.clone(),
        http: ports.http,
        door: Some(ports.door),
        process: None,
    };
    let (prefix, door) = (Prefix::of(ip), entry.door);
    Ok((NetworkNode { id, operator, prefix, addresses, door, bls }, entry, ports))
}

/// Refuses a number of nodes that there cannot be.
pub(crate) fn check(count: usize) -> Result<(), TestnetError> {
    if (1..=MAX_NODES).contains(&count) { Ok(()) } else { Err(TestnetError::Nodes(count)) }
}

/// Free ports, for as long as this lives.
pub(crate) struct Ports {
    endpoints: [Endpoint; 2],
    http: SocketAddr,
    door: SocketAddr,
    _sockets: (UdpSocket, TcpListener, TcpListener, TcpListener),
}

impl Ports {
    fn find(ip: IpAddr) -> io::Result<Self> {
        let any = SocketAddr::new(ip, 0);
        let tcp = || TcpListener::bind(any);
        let sockets = (UdpSocket::bind(any)?, tcp()?, tcp()?, tcp()?);
        let endpoint = |transport, port| Endpoint { transport, ip, port };
        let quic = endpoint(Transport::Quic, sockets.0.local_addr()?.port());
        let tcp = endpoint(Transport::Tcp, sockets.1.local_addr()?.port());
        let (http, door) = (sockets.2.local_addr()?, sockets.3.local_addr()?);
        Ok(Self { endpoints: [quic, tcp], http, door, _sockets: sockets })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_node_has_its_own_key_operator_prefix_and_ports() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(Some(temp.path())).unwrap();
        let (network, entries) = make(&folder, 12, false).unwrap();
        let count = |set: BTreeSet<String>| set.len();
        assert_eq!(count(network.nodes.iter().map(|node| node.id.to_string()).collect()), 12);
        assert_eq!(count(network.nodes.iter().map(|node| node.operator.to_string()).collect()), 12);
        assert_eq!(count(network.nodes.iter().map(|node| node.prefix.to_string()).collect()), 12);
        assert_eq!(count(network.nodes.iter().flat_map(|node| node.addresses.clone()).collect()), 24);
        assert_eq!(NetworkFile::parse(&network.to_toml()), Ok(network.clone()));
        assert_eq!(network.ledger().map().swarms.len(), 2);
        assert!(entries.iter().all(|entry| entry.http.ip().is_loopback()));
        assert!(entries.iter().all(|entry| entry.door.is_some_and(|door| door.ip() == entry.http.ip())));
    }

    #[test]
    fn a_number_of_nodes_has_limits() {
        assert!(check(0).is_err() && check(1).is_ok() && check(250).is_ok() && check(251).is_err());
    }
}
