//! Where a network's first nodes and its description listen on this machine, which may not have the addresses that
//! others know: behind a router, or at a host that leads a public address to a private one.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use session_chain::NetworkFile;
use session_protocols::directory::{Endpoint, Transport};

use super::{DESCRIPTION, Plan, PublicError, begun, count, place};

/// Whether this machine has an address.
pub(super) fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// Where a node listens that others reach at an endpoint: there, or at all addresses, where others' way is led here.
pub(super) fn listens(announced: &Endpoint) -> Endpoint {
    let ip = if is_own(announced.ip) { announced.ip } else { everywhere(announced.ip) };
    Endpoint { ip, ..*announced }
}

/// The network as this machine dials it: nobody may lead it back to itself by the addresses that others know.
pub(super) fn near(network: &NetworkFile) -> NetworkFile {
    let mut near = network.clone();
    for text in near.nodes.iter_mut().flat_map(|node| &mut node.addresses) {
        if let Some(endpoint) = text.parse::<Endpoint>().ok().filter(|one| !is_own(one.ip)) {
            *text = Endpoint { ip: loopback(endpoint.ip), ..endpoint }.to_string();
        }
    }
    near
}

/// Where the description is served that others find at these addresses. What listens at all addresses of IPv6 has those
/// of IPv4 too.
pub(super) fn served(ips: &[IpAddr], port: u16) -> BTreeSet<SocketAddr> {
    let (own, led): (Vec<IpAddr>, Vec<IpAddr>) = ips.iter().copied().partition(|ip| is_own(*ip));
    let all = led.into_iter().map(everywhere).max();
    let rest = own.into_iter().filter(|ip| all.is_none_or(|all| all.is_ipv4() && ip.is_ipv6()));
    all.into_iter().chain(rest).map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Refuses to begin where something listens already, or this user may not: before anything is paid for. The description
/// is served at the port `http`, and what people watch the nodes by at those of loopback from `status` on.
///
/// # Errors
/// Names what cannot be listened on.
pub fn check_ports(plan: &Plan, http: u16, status: u16) -> Result<(), PublicError> {
    let begun = begun(&plan.folder.join(DESCRIPTION))?;
    let nodes = count(plan, begun.as_ref().map(|(network, _)| network));
    // All are held until all were found free: two of them may be one.
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for at in served(&plan.ips, http) {
        tcp.push(TcpListener::bind(at).map_err(taken(at, "--http-port"))?);
    }
    for index in (0..=u16::MAX).take(nodes) {
        let door = SocketAddr::from((Ipv4Addr::LOCALHOST, status.saturating_add(index)));
        tcp.push(TcpListener::bind(door).map_err(taken(door, "--status-port"))?);
        for announced in place(plan, index) {
            let Endpoint { ip, port, .. } = listens(&announced);
            let at = SocketAddr::new(ip, port);
            match announced.transport {
                Transport::Quic => udp.push(UdpSocket::bind(at).map_err(taken(at, "--port"))?),
                Transport::Tcp => tcp.push(TcpListener::bind(at).map_err(taken(at, "--port"))?),
            }
        }
    }
    Ok(())
}

/// What is wrong with a place that cannot be listened on, and which flag names another.
pub(super) fn taken(at: SocketAddr, flag: &'static str) -> impl FnOnce(io::Error) -> PublicError {
    move |cause| PublicError::Taken { at, flag, cause }
}

/// All addresses of the family.
const fn everywhere(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// This machine, in the family.
const fn loopback(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::plan, *};

    /// Of documentation: no machine has it.
    const LED: &str = "203.0.113.7";

    fn ips<const N: usize>(texts: [&str; N]) -> Vec<IpAddr> {
        texts.map(|text| text.parse().unwrap()).into()
    }

    #[test]
    fn what_others_know_and_this_machine_does_not_have_is_listened_for_everywhere() {
        let at = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<BTreeSet<_>>();
        assert_eq!(served(&ips(["127.0.0.1"]), 7), at(&["127.0.0.1:7"]));
        assert_eq!(served(&ips([LED]), 7), at(&["0.0.0.0:7"]));
        assert_eq!(served(&ips(["127.0.0.1", LED]), 7), at(&["0.0.0.0:7"]));
        assert_eq!(served(&ips([LED, "2001:db8::7"]), 7), at(&["[::]:7"]));
        assert_eq!(served(&ips(["127.0.0.1", "2001:db8::7"]), 7), at(&["[::]:7"]));

        let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
        let own = endpoint("/ip4/127.0.0.1/tcp/9");
        assert_eq!(listens(&own), own);
        assert_eq!(
            listens(&endpoint("/ip4/203.0.113.7/udp/9/quic-v1")),
            endpoint("/ip4/0.0.0.0/udp/9/quic-v1")
        );
        assert_eq!(listens(&endpoint("/ip6/2001:db8::7/tcp/9")), endpoint("/ip6/::/tcp/9"));
    }

    #[test]
    fn a_port_that_is_taken_is_named_before_anything_is_paid_for() {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let [tcp_port, udp_port] = [tcp.local_addr(), udp.local_addr()].map(|at| at.unwrap().port());
        let temp = tempfile::tempdir().unwrap();
        for (ip, flag, (port, http, status)) in [
            ("127.0.0.1", "--http-port", (udp_port, tcp_port, 0)),
            ("127.0.0.1", "--status-port", (udp_port, 0, tcp_port)),
            ("127.0.0.1", "--port", (udp_port, 0, 0)),
            // Which a router leads here.
            (LED, "--http-port", (udp_port, tcp_port, 0)),
            (LED, "--port", (udp_port, 0, 0)),
        ] {
            let plan = Plan { ips: ips([ip]), port, ..plan(temp.path().join("mynet")) };
            let error = check_ports(&plan, http, status).unwrap_err();
            let PublicError::Taken { cause, .. } = &error else { panic!("{error}") };
            assert_eq!((cause.kind(), error.code()), (io::ErrorKind::AddrInUse, "port"), "{error}");
            assert!(error.remedy().contains(&format!("{flag} PORT")), "{ip}: {}", error.remedy());
        }
        drop((tcp, udp));
    }
}
