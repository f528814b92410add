//! What can be counted about a node, for Prometheus: `session_...`, joined with libp2p's own.

mod chain;
mod door;

pub(crate) use chain::{ChainMetrics, standing};
pub(crate) use door::DoorMetrics;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use session_protocols::libp2p::link::End;

/// The metrics of one node. No label is chosen by a peer.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Requests of clients that came in, by method.
    pub(crate) requests_total: IntCounterVec,
    /// Requests of clients that were refused, by code.
    pub(crate) refused_total: IntCounterVec,
    /// Bytes that were no message of the protocol they came over, by protocol.
    pub(crate) garbage_total: IntCounterVec,
    /// Streams that were closed as soon as they were opened, by reason.
    pub(crate) streams_refused_total: IntCounterVec,
    /// Streams that were cut off because the other side took too long, by protocol.
    pub(crate) streams_slow_total: IntCounterVec,
    /// Questions about the directory that failed on the way, by side.
    pub(crate) directory_failures_total: IntCounterVec,
    /// Records that were dropped because too many waited to be checked.
    pub(crate) records_dropped_total: IntCounter,
    /// Requests of other nodes that came in.
    pub(crate) swarm_requests_total: IntCounter,
    /// Onion packets that were opened, by what became of them.
    pub(crate) onion_packets_total: IntCounterVec,
    /// Onion packets that were refused, by reason.
    pub(crate) onion_refused_total: IntCounterVec,
    /// Exchanges with members that got no answer.
    pub(crate) exchange_failures_total: IntCounter,
    /// Mutations fetched from other members because they were missing here.
    pub(crate) repaired_total: IntCounter,
    /// Comparisons with other members that ended well.
    pub(crate) reconciliations_total: IntCounter,
    /// Time from a batch's first input to its commit.
    pub(crate) commit_seconds: Histogram,
    /// Inputs of one batch.
    pub(crate) batch_inputs: Histogram,
    /// Signatures that were checked together.
    pub(crate) batch_signatures: Histogram,
    /// Commits that failed and made the store reopen.
    pub(crate) store_failures_total: IntCounter,
    pub(crate) store_damaged_total: IntCounter,
    /// Records kept, tombstones included.
    pub(crate) records: IntGauge,
    /// Bytes kept.
    pub(crate) stored_bytes: IntGauge,
    /// Subscriptions served.
    pub(crate) subscriptions: IntGauge,
    /// Nodes in contact.
    pub(crate) peers: IntGauge,
    /// Nodes whose records are known.
    pub(crate) known_nodes: IntGauge,
    /// The number of the period of the newest certified snapshot of the directory.
    pub(crate) directory_snapshot_period: IntGauge,
    /// The border of that period, in seconds since 1970.
    pub(crate) directory_snapshot_border_seconds: IntGauge,
    /// Nodes in that snapshot.
    pub(crate) directory_snapshot_nodes: IntGauge,
    /// Submissions of checkpoints, by what came of them.
    pub(crate) checkpoint_submissions_total: IntCounterVec,
    /// 1 while clients are served.
    pub(crate) ready: IntGauge,
}

impl Metrics {
    /// Makes and registers them.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("session".into()), None)?;
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let (seconds, sizes) = (
            prometheus::exponential_buckets(0.000_25, 2.0, 14)?,
            prometheus::exponential_buckets(1.0, 2.0, 11)?,
        );
        Ok(Self {
            requests_total: counters("requests_total", "Requests of clients that came in.", "method")?,
            refused_total: counters("refused_total", "Requests of clients that were refused.", "code")?,
            garbage_total: counters("garbage_total", "Payloads that no protocol understands.", "protocol")?,
            streams_refused_total: counters(
                "streams_refused_total",
                "Streams refused when opened.",
                "reason",
            )?,
            streams_slow_total: counters(
                "streams_slow_total",
                "Streams whose other side was too slow.",
                "protocol",
            )?,
            directory_failures_total: counters(
                "directory_failures_total",
                "Questions about the directory that failed on the way.",
                "side",
            )?,
            records_dropped_total: counter(
                "records_dropped_total",
                "Gossiped records and pages dropped because too many waited.",
            )?,
            swarm_requests_total: counter("swarm_requests_total", "Requests of other nodes that came in.")?,
            onion_packets_total: counters("onion_packets_total", "Onion packets opened.", "outcome")?,
            onion_refused_total: counters("onion_refused_total", "Onion packets refused.", "reason")?,
            exchange_failures_total: counter(
                "exchange_failures_total",
                "Exchanges with members without an answer.",
            )?,
            repaired_total: counter("repaired_total", "Mutations fetched because they were missing here.")?,
            reconciliations_total: counter(
                "reconciliations_total",
                "Comparisons with members that ended well.",
            )?,
            commit_seconds: histogram("commit_seconds", "Time to make a batch durable.", seconds)?,
            batch_inputs: histogram("batch_inputs", "Inputs made durable together.", sizes.clone())?,
            batch_signatures: histogram("batch_signatures", "Signatures checked together.", sizes)?,
            store_failures_total: counter("store_failures_total", "Commits that failed.")?,
            store_damaged_total: counter("store_damaged_total", "Reads of the store that found damage.")?,
            records: gauge("records", "Records kept, tombstones included.")?,
            stored_bytes: gauge("stored_bytes", "Bytes kept.")?,
            subscriptions: gauge("subscriptions", "Subscriptions served.")?,
            peers: gauge("peers", "Nodes in contact.")?,
            known_nodes: gauge("known_nodes", "Nodes whose records are known.")?,
            directory_snapshot_period: gauge(
                "directory_snapshot_period",
                "Period of the newest certified snapshot of the directory; 0 without one.",
            )?,
            directory_snapshot_border_seconds: gauge(
                "directory_snapshot_border_seconds",
                "When that period ended, in seconds since 1970.",
            )?,
            directory_snapshot_nodes: gauge("directory_snapshot_nodes", "Nodes in that snapshot.")?,
            checkpoint_submissions_total: counters(
                "checkpoint_submissions_total",
                "Submissions of checkpoints.",
                "outcome",
            )?,
            ready: gauge("ready", "1 while clients are served.")?,
            registry,
        })
    }

    /// Counts how a stream ended that was served.
    pub(crate) fn ended(&self, protocol: &str, end: End) {
        match end {
            End::Closed => {}
            End::Garbage => self.garbage_total.with_label_values(&[protocol]).inc(),
            End::Crowded => self.streams_refused_total.with_label_values(&["memory"]).inc(),
            End::Slow => self.streams_slow_total.with_label_values(&[protocol]).inc(),
        }
    }

    /// The text that Prometheus reads; libp2p's own metrics follow ours.
    pub(crate) fn render(&self, libp2p: &prometheus_client::registry::Registry) -> String {
        let mut ours = Vec::new();
        let mut text = match TextEncoder::new().encode(&self.registry.gather(), &mut ours) {
            Ok(()) => String::from_utf8(ours).unwrap_or_default(),
            Err(_) => String::new(),
        };
        let mut theirs = String::new();
        if prometheus_client::encoding::text::encode(&mut theirs, libp2p).is_ok() {
            // The end mark belongs to the other exposition format.
            text.push_str(theirs.trim_end().trim_end_matches("# EOF"));
        }
        text
    }
}
