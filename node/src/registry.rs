//! Who is a node of the network, and which maps it goes by: what the ledger says of it.
//!
//! The parts of a node read one of these, which changes under them; none of them keeps who is registered.

use std::collections::{BTreeMap, BTreeSet};

use session_chain::Ledger;
use session_protocols::{Maps, NodeId, Prefix, SwarmMap, Time, directory::Timing};
use tokio::sync::watch;

/// Who is a node of the network, by the ledger at some height.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    maps: Maps,
    nodes: BTreeSet<NodeId>,
    prefixes: BTreeMap<NodeId, Prefix>,
    border: (u64, [u8; 32]),
    ends: Time,
}

/// The registry that all parts of a node read.
pub(crate) type Watched = watch::Receiver<Registry>;

impl Registry {
    /// What a ledger says, whose last border had this height and this hash.
    pub fn new(ledger: &Ledger, border: (u64, [u8; 32])) -> Self {
        let maps = ledger.maps();
        let prefixes = ledger.nodes().map(|(node, member)| (*node, member.prefix)).collect();
        let ends = Time::from_millis(ledger.border().saturating_mul(1_000));
        Self { nodes: maps.nodes(), maps, prefixes, border, ends }
    }

    /// The same with other maps.
    #[must_use]
    pub fn with_maps(self, maps: Maps) -> Self {
        Self { nodes: maps.nodes(), maps, ..self }
    }

    /// The maps to go by.
    pub const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Whoever is placed or was until the last border, awaits a place, or is leaving.
    pub const fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// Whether somebody is a node of the network.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.nodes.contains(node)
    }

    /// The prefix that a node declared.
    pub fn prefix(&self, node: &NodeId) -> Option<Prefix> {
        self.prefixes.get(node).copied()
    }

    /// The last border of an epoch, its height and its hash: what records name.
    pub const fn border(&self) -> (u64, [u8; 32]) {
        self.border
    }

    /// The nodes that agree on the directory until the epoch ends: those that the map which acts names, and
    /// those that the one before it did.
    pub(crate) fn listed(&self) -> BTreeMap<NodeId, Prefix> {
        self.named(self.maps.past.iter().chain([&self.maps.acts]))
    }

    /// Those that do from then on: all know it an epoch ahead, so that all change at once.
    pub(crate) fn listed_next(&self) -> BTreeMap<NodeId, Prefix> {
        self.named([&self.maps.acts].into_iter().chain(&self.maps.next))
    }

    /// The first period whose border lies not before the end of the epoch.
    pub(crate) fn next_period(&self, timing: Timing) -> u64 {
        timing.first(self.ends)
    }

    fn named<'a>(&self, maps: impl Iterator<Item = &'a SwarmMap>) -> BTreeMap<NodeId, Prefix> {
        let nodes = maps.flat_map(|map| map.swarms.values().flatten());
        nodes.filter_map(|node| Some((*node, self.prefix(node)?))).collect()
    }
}

#[cfg(test)]
impl Registry {
    /// One in which all of these are nodes, and nothing changes.
    pub(crate) fn of(nodes: impl IntoIterator<Item = NodeId>) -> Watched {
        watch::channel(Self { nodes: nodes.into_iter().collect(), ..Self::default() }).1
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::num::NonZeroU64;

    use session_chain::{
        Amount, Block, Border, Input, Parameters, Registration, Share, StakeId, bls::BlsSecret,
    };
    use session_protocols::{KeyPair, Span};

    use super::*;

    /// The registration of the key that is made of `seed`, with an operator, a prefix and a stake of its own.
    pub(crate) fn registered(parameters: &Parameters, seed: u8) -> Input {
        let pair = KeyPair::from_seed(&[seed; 32]);
        let (operator, bls) = ([seed; 20].into(), BlsSecret::of_node(&pair).public());
        let prefix = format!("127.0.{seed}.0/24").parse().unwrap();
        let share = Share { contributor: operator, beneficiary: operator, amount: Amount::sesh(1) };
        Input::Register(Box::new(Registration {
            id: StakeId(seed.into()),
            node: pair.node_id(),
            signature: pair.sign(&parameters.domain.registration(operator, prefix, &bls)),
            operator,
            prefix,
            fee: 0,
            bls,
            shares: vec![share],
        }))
    }

    fn cross(ledger: &mut Ledger, height: u64) {
        let border = Border {
            epoch: ledger.epoch(),
            height,
            hash: [height as u8; 32].into(),
            cursors: <_>::default(),
        };
        ledger.cross(border, <_>::default()).unwrap();
    }

    #[test]
    fn who_agrees_on_the_directory_is_known_an_epoch_ahead() {
        let epoch_seconds = NonZeroU64::new(10).unwrap();
        let parameters = Parameters { epoch_seconds, ..Parameters::default() };
        let mut ledger = Ledger::new(parameters);
        let at = |height| Block { height, time: height, inputs: Vec::new() };
        let inputs = (1..=6).map(|seed| registered(&parameters, seed)).collect();
        ledger.apply(&Block { inputs, ..at(1) }).unwrap();
        cross(&mut ledger, 2);
        let first = Registry::new(&ledger, (2, [2; 32]));
        assert_eq!((first.listed().len(), first.listed_next().len()), (6, 6), "the first map acts at once");
        let leave = Input::RequestExit { id: StakeId(6), unlocks: 20 };
        ledger.apply(&Block { inputs: vec![leave, registered(&parameters, 7)], ..at(11) }).unwrap();
        let [newcomer, gone] = [7, 6].map(|seed| KeyPair::from_seed(&[seed; 32]).node_id());
        let registry = Registry::new(&ledger, (2, [2; 32]));
        assert!(registry.contains(&newcomer), "at once");
        let mut ahead = registry.listed_next();
        // The next map is known, acts, and is all there is.
        for (height, now, next) in [(12, 6, 7), (13, 7, 6), (14, 6, 6)] {
            cross(&mut ledger, height);
            let registry = Registry::new(&ledger, (height, [height as u8; 32]));
            assert_eq!(registry.listed(), ahead, "as it was said at the border before {height}");
            ahead = registry.listed_next();
            assert_eq!((registry.listed().len(), ahead.len()), (now, next), "at border {height}");
            assert!(registry.contains(&gone), "its stake is locked");
            assert_eq!(registry.prefix(&newcomer), Some("127.0.7.0/24".parse().unwrap()));
        }
        ledger.apply(&Block { inputs: vec![Input::Remove { id: StakeId(6) }], ..at(41) }).unwrap();
        assert!(!Registry::new(&ledger, (14, [14; 32])).contains(&gone));
    }

    #[test]
    fn a_period_that_begins_as_the_epoch_ends_is_the_next_epochs() {
        let timing = Timing { period: Span::secs(5), step: Span::secs(1) };
        let ends =
            |seconds: u64| Registry { ends: Time::from_millis(seconds * 1_000), ..Registry::default() };
        assert_eq!([9, 10, 11].map(|seconds| ends(seconds).next_period(timing)), [2, 2, 3]);
    }
}
