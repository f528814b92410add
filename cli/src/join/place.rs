//! Where a node listens, and where others reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use session_chain::NetworkFile;
use session_node::{reach, settings::Settings};
use session_protocols::directory::{Endpoint, Transport};

use super::board::Say;
use crate::{
    args::Join,
    failure::{Exit, Failure},
    node::address,
};

/// What to do where the node cannot listen.
pub(super) const PORT_TAKEN: &str =
    "stop whatever listens there (ss -lntup shows it), or name another port: --port PORT";

/// Where a node is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where it listens.
    pub(crate) listen: Vec<Endpoint>,
    /// Where others dial it.
    pub(crate) announce: Vec<Endpoint>,
}

/// As told; else a public address of this machine; else the address that the network's nodes see it come from,
/// which then has to be led here by the router. Where the node `runs`, what it listens on is its own.
pub(crate) async fn find(
    arguments: &Join,
    before: &Settings,
    network: &NetworkFile,
    runs: bool,
    say: &Say,
) -> Result<(Place, String), Failure> {
    let own = address::own(network.local, arguments.port)?;
    let written = if before.announce.is_empty() { &before.listen } else { &before.announce };
    let (announce, how) = if !arguments.address.is_empty() {
        (arguments.address.clone(), "as told")
    } else if !written.is_empty() {
        (written.clone(), "as the node's settings say")
    } else if !own.is_empty() {
        (own.clone(), "an address of this machine")
    } else {
        say.doing("asking the network's nodes where this machine comes from");
        let seen = reach::observed(network).await;
        let ip = seen.ok_or_else(unseen)?;
        let how = if before.upnp == Some(false) {
            "behind a router, as the network's nodes see it"
        } else {
            "behind a router, as the network's nodes see it, which is asked to lead the port here (UPnP)"
        };
        (both(ip, arguments.port), how)
    };
    let prefix = crate::node::prefix(&announce)?;
    let listen = if arguments.address.is_empty() && !before.listen.is_empty() {
        before.listen.clone()
    } else if announce.iter().all(|one| is_own(one.ip)) {
        announce.clone()
    } else {
        let any = if announce.iter().any(|one| one.ip.is_ipv6()) {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        both(any, arguments.port)
    };
    listen.iter().filter(|one| !(runs && is_held(one, before))).try_for_each(free)?;
    let shown: Vec<String> = announce.iter().map(ToString::to_string).collect();
    Ok((Place { listen, announce }, format!("{}, in {prefix}; {how}", shown.join(" and "))))
}

fn both(ip: IpAddr, port: u16) -> Vec<Endpoint> {
    [Transport::Quic, Transport::Tcp].map(|transport| Endpoint { transport, ip, port }).into()
}

/// Whether this machine has an address.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// Whether the node that runs by these settings may be who listens there.
fn is_held(endpoint: &Endpoint, before: &Settings) -> bool {
    let same = |held: &Endpoint| held.transport == endpoint.transport && held.port == endpoint.port;
    before.listen.is_empty() || before.listen.iter().any(same)
}

/// Whether nobody listens there.
fn free(endpoint: &Endpoint) -> Result<(), Failure> {
    let at = SocketAddr::new(endpoint.ip, endpoint.port);
    let bound = match endpoint.transport {
        Transport::Quic => UdpSocket::bind(at).map(drop),
        Transport::Tcp => TcpListener::bind(at).map(drop),
    };
    bound.map_err(|cause| {
        let message = format!("cannot listen on {endpoint}: {cause}");
        Failure::new(Exit::Failed, "port", message, PORT_TAKEN)
    })
}

fn unseen() -> Failure {
    let message = "this machine has no public address, and no node of the network says which one it sees";
    let remedy =
        "check that this machine may send to the internet, or say where others reach it: --address ENDPOINT";
    Failure::new(Exit::NotReady, "unreachable", message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_holds_that_runs_is_not_looked_for_among_what_is_free() {
        let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
        let (quic, tcp) =
            (endpoint("/ip4/203.0.113.7/udp/22021/quic-v1"), endpoint("/ip4/203.0.113.7/tcp/22021"));
        let before = Settings { listen: vec![quic], ..Settings::default() };
        assert!(is_held(&quic, &before));
        assert!(
            is_held(&endpoint("/ip4/0.0.0.0/udp/22021/quic-v1"), &before),
            "of all addresses that is one"
        );
        assert!(!is_held(&tcp, &before));
        assert!(!is_held(&endpoint("/ip4/203.0.113.7/udp/22022/quic-v1"), &before));
        assert!(is_held(&tcp, &Settings::default()), "nobody says where it listens");
    }
}
