//! What is known of how others reach this node, as people and Prometheus are told.

use std::collections::BTreeMap;

use session_protocols::{
    NodeId, Prefix, Time,
    directory::{Endpoint, Transport},
};

use super::{rounds::Verdict, router::Gateway};

/// What is known of how others reach this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// What the last round about each address came to.
    pub(crate) verdicts: BTreeMap<Endpoint, Verdict>,
    /// Which node dialled this one last over each transport, and when.
    pub(crate) dialled: BTreeMap<Transport, (NodeId, Time)>,
    /// Nodes in contact that may be asked to dial it.
    pub(crate) servers: Servers,
    /// The router before it.
    pub(crate) gateway: Gateway,
}

/// How many nodes there are of each kind of address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Servers {
    pub(crate) ip4: usize,
    pub(crate) ip6: usize,
}

impl Servers {
    /// Counts those of these prefixes.
    pub(crate) fn of<'a>(prefixes: impl IntoIterator<Item = &'a Prefix>) -> Self {
        prefixes.into_iter().fold(Self::default(), |count, prefix| match prefix {
            Prefix::V4(_) => Self { ip4: count.ip4.saturating_add(1), ..count },
            Prefix::V6(_) => Self { ip6: count.ip6.saturating_add(1), ..count },
        })
    }
}

impl Reached {
    /// Whether others reach one at least of the addresses that are announced, and what they say; none while nobody
    /// has said anything, as in a network on one machine.
    pub(crate) fn told(&self, announced: &[Endpoint]) -> Option<(bool, String)> {
        let judged = announced.iter().filter_map(|one| Some((one, self.verdicts.get(one)?)));
        let (reached, missed): (Vec<_>, Vec<_>) = judged.partition(|(_, verdict)| verdict.reached);
        let mut told = Vec::new();
        if !reached.is_empty() {
            let all: Vec<_> = reached.iter().map(|(address, _)| address.to_string()).collect();
            told.push(format!("others reach {}", all.join(", ")));
        }
        for (address, verdict) in &missed {
            let count = verdict.missed().count();
            let last = verdict.word().map(|word| {
                let why = word.why.as_deref().unwrap_or_default();
                format!("; {}\u{2026} says: {why}", word.by.to_string().get(..8).unwrap_or_default())
            });
            let (nodes, kind) = (if count == 1 { "node" } else { "nodes" }, kind(address.transport));
            told.push(format!(
                "{count} {nodes} dialled {address} in vain{}: let {kind} to port {} through, in the firewall and, \
                 where there is a router, to this machine",
                last.unwrap_or_default(),
                address.port
            ));
        }
        let ok = missed.is_empty() || !reached.is_empty();
        (!told.is_empty()).then(|| (ok, told.join("; ")))
    }

    /// For each transport and kind of address that is announced: 1 where others reach it, 0 where they do not, -1
    /// while nobody has said anything.
    pub(crate) fn standing(&self, announced: &[Endpoint]) -> BTreeMap<[&'static str; 2], i64> {
        let mut standing = BTreeMap::new();
        for address in announced {
            let family = if address.ip.is_ipv4() { "ip4" } else { "ip6" };
            let is = self.verdicts.get(address).map_or(-1, |verdict| i64::from(verdict.reached));
            let best = standing.entry([transport(address.transport), family]).or_insert(is);
            *best = is.max(*best);
        }
        standing
    }
}

/// How a transport is called.
pub(crate) const fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Quic => "quic",
        Transport::Tcp => "tcp",
    }
}

/// What a firewall calls it.
const fn kind(transport: Transport) -> &'static str {
    match transport {
        Transport::Quic => "UDP",
        Transport::Tcp => "TCP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::rounds::Word;

    fn said(why: &[Option<&str>]) -> Verdict {
        let word = |why: &Option<&str>| Word {
            by: NodeId::from_bytes([0xab; 32]),
            at: Time::ZERO,
            why: why.map(str::to_owned),
        };
        let reached = why.contains(&None);
        Verdict { reached, begun: Time::ZERO, at: Time::ZERO, said: why.iter().map(word).collect() }
    }

    #[test]
    fn those_who_may_be_asked_are_counted_by_their_kind() {
        let prefixes = [Prefix::V4([45, 1, 0]), Prefix::V6([42; 6]), Prefix::V4([45, 2, 0])];
        assert_eq!(Servers::of(&prefixes), Servers { ip4: 2, ip6: 1 });
    }

    #[test]
    fn each_transport_is_told_with_what_to_do() {
        let [quic, tcp, six]: [Endpoint; 3] =
            ["/ip4/45.1.0.2/udp/22021/quic-v1", "/ip4/45.1.0.2/tcp/22021", "/ip6/2a10::2/tcp/22021"]
                .map(|text| text.parse().unwrap());
        let mut reached = Reached::default();
        assert_eq!(reached.told(&[quic, tcp]), None);
        let unknown = BTreeMap::from([(["quic", "ip4"], -1), (["tcp", "ip4"], -1)]);
        assert_eq!(reached.standing(&[quic, tcp]), unknown);

        reached.verdicts.insert(quic, said(&[None]));
        reached.verdicts.insert(tcp, said(&[Some("it could not connect"); 3]));
        let (ok, told) = reached.told(&[quic, tcp]).unwrap();
        assert!(
            ok && told.starts_with("others reach /ip4/45.1.0.2/udp/22021/quic-v1; 3 nodes dialled"),
            "{told}"
        );
        assert!(
            told.contains("abababab\u{2026} says: it could not connect: let TCP to port 22021 through"),
            "{told}"
        );
        let known = BTreeMap::from([(["quic", "ip4"], 1), (["tcp", "ip4"], 0), (["tcp", "ip6"], -1)]);
        assert_eq!(reached.standing(&[quic, tcp, six]), known);

        let (ok, told) = reached.told(&[tcp]).unwrap();
        assert!(!ok && told.starts_with("3 nodes dialled /ip4/45.1.0.2/tcp/22021 in vain"), "{told}");
        assert_eq!(reached.told(&[]), None);
    }
}
