//! What can be counted about the settlement chain, for nodes that follow one.

use prometheus::{IntGauge, IntGaugeVec, Opts};
use session_chain::settlement::{Status, follower::Standing};

use super::Metrics;

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
                "1 for what an endpoint does wrong.",
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
        })
    }

    /// Shows a status.
    pub(crate) fn show(&self, status: &Status) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.height.set(number(status.height));
        self.head.set(number(status.head.unwrap_or_default()));
        self.lag_seconds.set(number(status.lag.unwrap_or_default().as_millis() / 1_000));
        self.epoch.set(number(status.epoch));
        self.held.set(i64::from(status.held.is_some()));
        self.stopped.set(i64::from(status.stopped.is_some()));
        self.endpoint_trouble.reset();
        for endpoint in &status.endpoints {
            let (name, standing) = (endpoint.name.as_str(), standing(endpoint.standing));
            for one in ["good", "failing", "left-out"] {
                let gauge = self.endpoint_standing.with_label_values(&[name, one]);
                gauge.set(i64::from(one == standing));
            }
            self.endpoint_faults.with_label_values(&[name]).set(number(endpoint.faults));
            if let Some(trouble) = endpoint.trouble.as_ref().filter(|_| standing != "good") {
                self.endpoint_trouble.with_label_values(&[name, trouble.kind()]).set(1);
            }
        }
    }
}

/// A word for how an endpoint stands.
pub(crate) const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "good",
        Standing::Failing => "failing",
        Standing::LeftOut(_) => "left-out",
    }
}
