//! Where a node listens, and where others reach it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use session_chain::NetworkFile;
use session_node::{reach, settings::Settings};
use session_protocols::directory::{Endpoint, Transport};

use super::board::Say;
use crate::{
    args::Join,
    failure::{Exit, Failure},
    node::address,
};

/// What to do where somebody else listens.
pub(super) const PORT_TAKEN: &str = "stop whatever listens there (ss -lntup shows it), or name another port: in \
                                     --address where you name one, else --port PORT";

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it listens.
    pub(crate) listen: Vec<Endpoint>,
    /// Where others dial it.
    pub(crate) announce: Vec<Endpoint>,
}

/// As told; else where it was before; else a public address of this machine; else the address that the network's nodes
/// see it come from, which then has to be led here by the router. Where the node `runs`, what it listens on is its own.
pub(crate) async fn find(
    arguments: &Join,
    before: &Settings,
    network: &NetworkFile,
    runs: bool,
    say: &Say,
) -> Result<(Place, String), Failure> {
    let own = address::own(Some(network), arguments.port)?;
    let port = arguments.port.unwrap_or(address::PORT);
    let written = written(before, arguments.port);
    let (announce, how) = if !arguments.address.is_empty() {
        (arguments.address.clone(), "as told")
    } else if !written.announce.is_empty() {
        (written.announce, "as the node's settings say")
    } else if !own.is_empty() {
        (own, "an address of this machine")
    } else {
        say.doing("asking the network's nodes where this machine comes from");
        let seen = reach::observed(network).await;
        let ip = seen.ok_or_else(|| unseen(address::own(None, None).unwrap_or_default().first()))?;
        let how = if before.upnp == Some(false) {
            "behind a router, as the network's nodes see it"
        } else {
            "behind a router, as the network's nodes see it, which is asked to lead the port here (UPnP)"
        };
        (address::both(ip, port), how)
    };
    let prefix = crate::node::prefix(&announce)?;
    let listen = if arguments.address.is_empty() && !written.listen.is_empty() {
        written.listen
    } else if announce.iter().all(|one| is_own(one.ip)) {
        // Who names both has somebody lead the one to the other.
        arguments.port.map_or_else(|| announce.clone(), |port| moved(&announce, |_| port))
    } else {
        let any = if announce.iter().any(|one| one.ip.is_ipv6()) {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        address::both(any, port)
    };
    listen.iter().filter(|one| !(runs && is_held(one, before))).try_for_each(free)?;
    let shown: Vec<String> = announce.iter().map(ToString::to_string).collect();
    Ok((Place { listen, announce }, format!("{}, in {prefix}; {how}", shown.join(" and "))))
}

/// Where the node's settings have it, at another port if one is said. Where others reach it at a port that it does not
/// listen on, somebody leads that one to it: it stays.
fn written(before: &Settings, port: Option<u16>) -> Place {
    let announce = if before.announce.is_empty() { &before.listen } else { &before.announce };
    let same = |one: &Endpoint, held: &Endpoint| held.transport == one.transport && held.port == one.port;
    let is_led =
        |one: &Endpoint| !before.listen.is_empty() && !before.listen.iter().any(|held| same(one, held));
    Place {
        listen: moved(&before.listen, |one| port.unwrap_or(one.port)),
        announce: moved(announce, |one| port.filter(|_| !is_led(one)).unwrap_or(one.port)),
    }
}

/// These at other ports, each once.
fn moved(all: &[Endpoint], port: impl Fn(&Endpoint) -> u16) -> Vec<Endpoint> {
    let mut moved = Vec::with_capacity(all.len());
    for one in all {
        let there = Endpoint { port: port(one), ..*one };
        if !moved.contains(&there) {
            moved.push(there);
        }
    }
    moved
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
        Failure::new(Exit::Failed, "port", message, remedy(cause.kind()))
    })
}

/// What to do about what keeps a node from listening.
fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => PORT_TAKEN,
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address (ip address shows those that it has): say where others reach the \
             node: --address ENDPOINT"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are root's, as a rule: name another port: in --address where you name one, else --port \
             PORT; where others are to reach the node at that one, have it led to the port: --address ENDPOINT --port \
             PORT"
        }
        _ => {
            "name an address that this machine has, and a port that is free: --address ENDPOINT, or --port PORT"
        }
    }
}

/// Nobody says where this machine comes from; it has the address of a kind that the network's nodes do not have, if any.
fn unseen(own: Option<&Endpoint>) -> Failure {
    let has = own.map_or_else(
        || "this machine has no public address".to_owned(),
        |own| format!("this machine has {}, and none of the network's first nodes has {}", own.ip, kind(own)),
    );
    let message = format!("{has}, and no node of the network says which one it sees");
    let remedy =
        "check that this machine may send to the internet, or say where others reach it: --address ENDPOINT";
    Failure::new(Exit::NotReady, "unreachable", message, remedy)
}

/// What an address's kind is called.
const fn kind(endpoint: &Endpoint) -> &'static str {
    if endpoint.ip.is_ipv4() { "IPv4" } else { "IPv6" }
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

    #[test]
    fn a_port_that_is_said_holds_for_what_was_written() {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Endpoint>>();
        let own = all(&["/ip4/203.0.113.7/udp/22021/quic-v1", "/ip4/203.0.113.7/tcp/22021"]);
        let other = all(&["/ip4/203.0.113.7/udp/7/quic-v1", "/ip4/203.0.113.7/tcp/7"]);
        let any = all(&["/ip4/0.0.0.0/udp/22021/quic-v1", "/ip4/0.0.0.0/tcp/22021"]);
        let any_other = all(&["/ip4/0.0.0.0/udp/7/quic-v1", "/ip4/0.0.0.0/tcp/7"]);
        let led = all(&["/ip4/203.0.113.7/udp/443/quic-v1", "/ip4/203.0.113.7/tcp/443"]);
        let said = |listen: &[Endpoint], announce: &[Endpoint], port| {
            let before =
                Settings { listen: listen.to_vec(), announce: announce.to_vec(), ..Settings::default() };
            let Place { listen, announce } = written(&before, port);
            (listen, announce)
        };
        assert_eq!(said(&own, &[], None), (own.clone(), own.clone()));
        assert_eq!(said(&own, &[], Some(7)), (other.clone(), other.clone()));
        assert_eq!(said(&any, &own, Some(7)), (any_other.clone(), other.clone()), "behind a router");
        assert_eq!(said(&any, &led, Some(7)), (any_other, led), "which leads another port here");
        assert_eq!(said(&[], &own, Some(7)), (vec![], other));
        let twice = all(&["/ip4/203.0.113.7/tcp/1", "/ip4/203.0.113.7/tcp/2"]);
        assert_eq!(said(&twice, &[], Some(7)).0.len(), 1);
        assert_eq!(said(&[], &[], Some(7)), (vec![], vec![]));
    }

    #[test]
    fn what_keeps_a_node_from_listening_is_told_with_its_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let listens = |text: String| free(&text.parse().unwrap()).unwrap_err();
        let failure = listens(format!("/ip4/127.0.0.1/tcp/{port}"));
        assert_eq!((failure.code, &*failure.remedy), ("port", PORT_TAKEN));
        // Of documentation: nobody has it.
        let failure = listens("/ip4/192.0.2.1/tcp/22021".to_owned());
        assert!(failure.remedy.ends_with("--address ENDPOINT"), "{failure:?}");
        assert!(!failure.remedy.contains("--port"), "it would change nothing: {failure:?}");
        let closed = remedy(io::ErrorKind::PermissionDenied);
        assert!(closed.starts_with("ports below 1024") && closed.contains("--port PORT"), "{closed}");
    }

    #[test]
    fn a_machine_whose_address_nobody_there_has_a_way_to_is_told_so() {
        let six: Endpoint = "/ip6/2a10:7::2/tcp/22021".parse().unwrap();
        let told = unseen(Some(&six)).message;
        assert!(
            told.starts_with("this machine has 2a10:7::2, and none of the network's first nodes has IPv6"),
            "{told}"
        );
        assert!(unseen(None).message.starts_with("this machine has no public address"));
    }
}
