//! What can be counted about the settlement chain, for nodes that follow one.

use alloy::primitives::U256;
use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec, Opts};
use session_chain::{
    Amount, Ledger, State,
    ledger::Member,
    settlement::{Status, follower::Standing},
};
use session_protocols::NodeId;

use super::{Metrics, number};

/// What may be wrong with an endpoint: the kinds of [`session_chain::settlement::Trouble`].
const TROUBLES: [&str; 15] = [
    "unreachable",
    "late",
    "rate-limited",
    "http",
    "refuses",
    "pruned",
    "not-rpc",
    "no-answer",
    "wrong-chain",
    "stale",
    "bad-block",
    "bad-logs",
    "forged",
    "too-small",
    "outvoted",
];
/// How a node may stand with the ledger.
const REGISTRATIONS: [&str; 6] =
    ["unregistered", "refused", "awaiting", "active", "decommissioned", "deregistered"];

/// Gauges of how following goes. Endpoints are named by their hosts, which the operator chose: eight at most.
#[derive(Clone, Debug)]
pub(crate) struct ChainMetrics {
    /// The block up to which the ledger knows all.
    height: IntGauge,
    /// The newest final block that all endpoints know.
    head: IntGauge,
    /// How old that block is.
    lag_seconds: IntGauge,
    /// The epoch that ends next.
    epoch: IntGauge,
    /// 1 while nothing is applied.
    held: IntGauge,
    /// 1 once nothing is applied any more.
    stopped: IntGauge,
    /// 1 for how an endpoint stands, by host and by `good`, `failing` or `left-out`.
    endpoint_standing: IntGaugeVec,
    /// How often an endpoint was left out, by host.
    endpoint_faults: IntGaugeVec,
    /// 1 for what is wrong with an endpoint, by host and kind.
    endpoint_trouble: IntGaugeVec,
    /// The last epoch whose checkpoint this node signed, plus one; 0 before the first.
    pub(crate) signed_epochs: IntGauge,
    /// The last epoch whose checkpoint the contract accepted, plus one; 0 before the first.
    pub(crate) accepted_epochs: IntGauge,
    /// 1 while something keeps this node from submitting checkpoints.
    pub(crate) submission_trouble: IntGauge,
    /// Names that are somebody's, as of the last border.
    pub(crate) names: IntGauge,
    /// When the epoch under way ends, in seconds since 1970.
    border_seconds: IntGauge,
    /// How long an epoch lasts.
    epoch_seconds: IntGauge,
    /// 1 for how the node stands with the ledger.
    registration: IntGaugeVec,
    /// All nodes, by how they stand.
    nodes: IntGaugeVec,
    /// Swarms of the map that acts.
    swarms: IntGauge,
    /// The node's stake.
    stake_sesh: Gauge,
    /// When the service of a node ends that is to leave, in seconds since 1970; 0 while it stays.
    leaves_seconds: IntGauge,
    /// What losing its place costs its operator, in parts of the operator's share.
    penalty_ratio: Gauge,
    /// All that its operator has earned, with this node and others.
    rewards_sesh: Gauge,
    /// What the account has that pays for submissions, by its address.
    gas_ether: GaugeVec,
}

impl ChainMetrics {
    /// Makes them, and registers them beside the node's others.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let registry = &metrics.registry;
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        let real = |name: &str, help: &str| -> Result<Gauge, prometheus::Error> {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            height: gauge("chain_height", "Block up to which the ledger knows all.")?,
            head: gauge("chain_head", "Newest final block that all endpoints know; 0 without one.")?,
            lag_seconds: gauge("chain_lag_seconds", "Age of that block.")?,
            epoch: gauge("chain_epoch", "Epoch that ends next.")?,
            held: gauge("chain_held", "1 while the ledger holds.")?,
            stopped: gauge("chain_stopped", "1 once the ledger has stopped.")?,
            endpoint_standing: gauges(
                "chain_endpoint_standing",
                "1 for how an endpoint stands.",
                &["endpoint", "standing"],
            )?,
            endpoint_faults: gauges(
                "chain_endpoint_faults",
                "How often an endpoint was left out since the start.",
                &["endpoint"],
            )?,
            endpoint_trouble: gauges(
                "chain_endpoint_trouble",
                "1 for what an endpoint does wrong, 0 for what it does not.",
                &["endpoint", "kind"],
            )?,
            signed_epochs: gauge(
                "checkpoint_signed_epochs",
                "Last epoch whose checkpoint this node signed, plus one; 0 before the first.",
            )?,
            accepted_epochs: gauge(
                "checkpoint_accepted_epochs",
                "Last epoch whose checkpoint the contract accepted, plus one; 0 before the first.",
            )?,
            submission_trouble: gauge(
                "checkpoint_submission_trouble",
                "1 while something keeps this node from submitting checkpoints.",
            )?,
            names: gauge("names", "Names that are somebody's, as of the last border.")?,
            border_seconds: gauge(
                "chain_border_seconds",
                "When the epoch under way ends, in seconds since 1970.",
            )?,
            epoch_seconds: gauge("chain_epoch_seconds", "How long an epoch lasts.")?,
            registration: gauges("registration", "1 for how the node stands with the ledger.", &["state"])?,
            nodes: gauges("chain_nodes", "Nodes that the ledger knows.", &["state"])?,
            swarms: gauge("chain_swarms", "Swarms of the map that acts.")?,
            stake_sesh: real("stake_sesh", "The node's stake.")?,
            leaves_seconds: gauge(
                "leaves_seconds",
                "When the service of a node ends that is to leave, in seconds since 1970; 0 while it stays.",
            )?,
            penalty_ratio: real(
                "penalty_ratio",
                "What losing its place costs the node's operator, of the operator's own share.",
            )?,
            rewards_sesh: real(
                "rewards_sesh",
                "All that the node's operator has earned so far, with all of its nodes.",
            )?,
            gas_ether: {
                let help = "What the account has that pays for submissions.";
                let gauges = GaugeVec::new(Opts::new("gas_ether", help), &["account"])?;
                registry.register(Box::new(gauges.clone()))?;
                gauges
            },
        })
    }

    /// Shows a status.
    pub(crate) fn show(&self, status: &Status) {
        self.height.set(number(status.height));
        self.head.set(number(status.head.unwrap_or_default()));
        self.lag_seconds.set(number(status.lag.unwrap_or_default().as_millis() / 1_000));
        self.epoch.set(number(status.epoch));
        self.held.set(i64::from(status.held.is_some()));
        self.stopped.set(i64::from(status.stopped.is_some()));
        for endpoint in &status.endpoints {
            let (name, standing) = (endpoint.name.as_str(), standing(endpoint.standing));
            for one in ["good", "failing", "left-out"] {
                let gauge = self.endpoint_standing.with_label_values(&[name, one]);
                gauge.set(i64::from(one == standing));
            }
            self.endpoint_faults.with_label_values(&[name]).set(number(endpoint.faults));
            for kind in TROUBLES {
                self.endpoint_trouble.with_label_values(&[name, kind]).set(0);
            }
            if let Some(trouble) = endpoint.trouble.as_ref().filter(|_| standing != "good") {
                self.endpoint_trouble.with_label_values(&[name, trouble.kind()]).set(1);
            }
        }
    }

    /// Shows what the ledger says of this node, which stands like that, and of all.
    pub(crate) fn show_ledger(&self, ledger: &Ledger, me: &NodeId, registration: &str) {
        self.border_seconds.set(number(ledger.border()));
        self.epoch_seconds.set(number(ledger.parameters().epoch_seconds.get()));
        for state in REGISTRATIONS {
            let stands = i64::from(state == registration);
            self.registration.with_label_values(&[state]).set(stands);
        }
        for (word, state) in [
            ("awaiting", State::Awaiting),
            ("active", State::Active),
            ("decommissioned", State::Decommissioned),
            ("deregistered", State::Deregistered),
        ] {
            let nodes = ledger.nodes().filter(|(_, member)| member.state == state && !member.left);
            self.nodes.with_label_values(&[word]).set(number(nodes.count() as u64));
        }
        self.swarms.set(number(ledger.map().swarms.len() as u64));
        let member = ledger.node(me);
        self.stake_sesh.set(member.map_or(0.0, |member| {
            let staked = member.shares.iter().try_fold(Amount::ZERO, |sum, one| sum.checked_add(one.amount));
            sesh(staked.unwrap_or_default())
        }));
        self.leaves_seconds.set(member.and_then(|member| member.unlocks).map_or(0, number));
        self.penalty_ratio.set(member.map_or(0.0, |member| f64::from(member.penalty) / 10_000.0));
        let own = |member: &Member| member.shares.first().map(|share| share.beneficiary);
        let earned = member.and_then(own).map(|account| ledger.rewards().total(&account));
        self.rewards_sesh.set(sesh(earned.unwrap_or_default()));
    }

    /// Shows what the account has, in wei.
    pub(crate) fn show_gas(&self, account: &str, wei: U256) {
        self.gas_ether.with_label_values(&[account]).set(f64::from(wei) / 1e18);
    }
}

/// An amount as graphs show it; what is exact is in the ledger.
fn sesh(amount: Amount) -> f64 {
    amount.0 as f64 / 1e9
}

/// A word for how an endpoint stands.
pub(crate) const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "good",
        Standing::Failing => "failing",
        Standing::LeftOut(_) => "left-out",
    }
}
