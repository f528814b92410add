//! The router before this node, where it is asked to lead ports here (UPnP). What it says is nobody's word that the
//! node is reached: others have to dial it as ever.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

use libp2p::upnp::Event;
use session_protocols::{Time, directory::Endpoint, libp2p::address::endpoint};

/// Somewhere in the internet: of documentation, and nothing is sent there.
const AWAY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) state: State,
    /// Since when it is so.
    pub(crate) since: Time,
    /// The addresses from which it leads ports here.
    pub(crate) leads: BTreeSet<Endpoint>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody asks.
    #[default]
    Off,
    /// It has said nothing so far.
    Asked,
    /// It leads ports here.
    Leads,
    /// It did for a while, and does not any more.
    Ended,
    /// No router answers.
    Silent,
    /// It stands behind another one itself.
    Inner,
}

impl State {
    /// As `/status` says it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Asked => "asked",
            Self::Leads => "leads",
            Self::Ended => "ended",
            Self::Silent => "silent",
            Self::Inner => "inner",
        }
    }
}

impl Gateway {
    /// It is asked from here on.
    pub(crate) fn ask(&mut self, now: Time) {
        *self = Self { state: State::Asked, since: now, leads: BTreeSet::new() };
    }

    /// Takes in what it does.
    pub(crate) fn hear(&mut self, now: Time, event: &Event) {
        let state = match event {
            Event::NewExternalAddr { external_addr, .. } => {
                self.leads.extend(endpoint(external_addr));
                State::Leads
            }
            Event::ExpiredExternalAddr { external_addr, .. } => {
                if let Some(ended) = endpoint(external_addr) {
                    self.leads.remove(&ended);
                }
                if self.leads.is_empty() { State::Ended } else { State::Leads }
            }
            Event::GatewayNotFound => State::Silent,
            Event::NonRoutableGateway => State::Inner,
        };
        (self.state, self.since) = (state, now);
    }
}

/// Whether to ask it: as was said; else where a node that is not of a local network listens on a private address, of
/// IPv4 as routers translate no others. `own` is the address that this machine goes out from.
pub(crate) fn asks(said: Option<bool>, local: bool, listen: &[Endpoint], own: Option<Ipv4Addr>) -> bool {
    let private = |one: &Endpoint| match one.ip {
        IpAddr::V4(ip) if ip.is_unspecified() => own.is_some_and(|own| own.is_private()),
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(_) => false,
    };
    said.unwrap_or_else(|| !local && listen.iter().any(private))
}

/// The address that this machine would send from.
pub(crate) fn own() -> Option<Ipv4Addr> {
    let look = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Of UDP this looks up the route alone.
        socket.connect(AWAY)?;
        Ok(socket.local_addr()?.ip())
    };
    match look() {
        Ok(IpAddr::V4(ip)) => Some(ip),
        Ok(IpAddr::V6(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_asked_where_there_may_be_one_or_somebody_says_so() {
        let listen = |ip: &str| [format!("{ip}/tcp/22021").parse::<Endpoint>().unwrap()];
        let [home, server] = [Ipv4Addr::new(192, 168, 1, 2), Ipv4Addr::new(45, 1, 0, 2)].map(Some);
        for (said, local, ip, own, wanted) in [
            (None, false, "/ip4/0.0.0.0", home, true),
            (None, false, "/ip4/192.168.1.2", home, true),
            (None, false, "/ip4/0.0.0.0", server, false),
            (None, false, "/ip4/0.0.0.0", None, false),
            (None, false, "/ip4/45.1.0.2", home, false),
            (None, false, "/ip6/::", home, false),
            (None, true, "/ip4/192.168.1.2", home, false),
            (Some(true), true, "/ip4/127.0.0.1", server, true),
            (Some(false), false, "/ip4/192.168.1.2", home, false),
        ] {
            assert_eq!(asks(said, local, &listen(ip), own), wanted, "{said:?} {local} {ip} {own:?}");
        }
    }

    #[test]
    fn what_it_leads_is_known_until_it_ends() {
        let [local_addr, external_addr] =
            ["/ip4/192.168.1.2/udp/22021/quic-v1", "/ip4/45.1.0.2/udp/22021/quic-v1"]
                .map(|text| text.parse::<libp2p::Multiaddr>().unwrap());
        let (mut gateway, [asked, led, ended]) = (Gateway::default(), [1, 2, 3].map(Time::from_millis));
        gateway.ask(asked);
        assert_eq!((gateway.state, gateway.since), (State::Asked, asked));
        let (local, external) = (local_addr.clone(), external_addr.clone());
        gateway.hear(led, &Event::NewExternalAddr { local_addr: local, external_addr: external });
        assert_eq!(gateway.leads, BTreeSet::from([endpoint(&external_addr).unwrap()]));
        assert_eq!((gateway.state, gateway.since), (State::Leads, led));
        gateway.hear(ended, &Event::ExpiredExternalAddr { local_addr, external_addr });
        assert_eq!((gateway.state, gateway.leads.len()), (State::Ended, 0));
        gateway.hear(ended, &Event::GatewayNotFound);
        assert_eq!(gateway.state.as_str(), "silent");
    }
}
