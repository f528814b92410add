//! What can be counted about a node, for Prometheus: `session_...`, joined with the process's own and libp2p's.

mod chain;
mod door;
mod host;

pub(crate) use chain::{ChainMetrics, standing};
pub(crate) use door::DoorMetrics;
pub(crate) use host::HostMetrics;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use session_protocols::libp2p::link::End;

use crate::{member::Inspection, network::Contacts};

/// Why streams are closed as soon as they are opened.
const STREAM_REASONS: [&str; 4] = ["stranger", "neighbour", "prefix", "memory"];
/// Why onion packets are refused.
const ONION_REASONS: [&str; 3] = ["unreadable", "busy", "unknown"];
/// What becomes of onion packets.
const ONION_OUTCOMES: [&str; 3] = ["forwarded", "delivered", "turned"];
/// What comes of submissions.
const SUBMISSIONS: [&str; 4] = ["mined", "taken", "refused", "failed"];
/// The codes of refusals that an operator has to hear of.
const REFUSALS: [&str; 5] = ["406", "429", "500", "503", "507"];

/// The metrics of one node. No label is chosen by a peer.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// The process's own, under names without our prefix.
    process: Registry,
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
    pub(crate) newer_nodes: IntGauge,
    /// The number of the period of the newest certified snapshot of the directory.
    pub(crate) directory_snapshot_period: IntGauge,
    /// The border of that period, in seconds since 1970.
    pub(crate) directory_snapshot_border_seconds: IntGauge,
    /// Nodes in that snapshot.
    pub(crate) directory_snapshot_nodes: IntGauge,
    /// From one border to the next, in seconds.
    pub(crate) directory_snapshot_every_seconds: IntGauge,
    /// Submissions of checkpoints, by what came of them.
    pub(crate) checkpoint_submissions_total: IntCounterVec,
    /// How far this clock is ahead of the other nodes', in seconds.
    pub(crate) clock_ahead_seconds: Gauge,
    /// Bytes of messages that may be kept.
    pub(crate) store_limit_bytes: IntGauge,
    /// Messages kept, no tombstones.
    messages: IntGauge,
    /// 1 for the swarm that the node sits in.
    swarm: IntGaugeVec,
    /// Members of that swarm.
    swarm_members: IntGauge,
    /// Other members that this node has caught up with.
    swarm_current: IntGauge,
    /// 1 while it may keep what other swarms keep since the map changed.
    handing_over: IntGauge,
    /// Whether others reach the node, by transport and kind of address.
    reachable: IntGaugeVec,
    /// 1 for a check of readiness that passes.
    check: IntGaugeVec,
    /// 1 while all of them pass.
    ready: IntGauge,
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
        // From zero on, so that the first of a kind is seen as one more.
        let known = |counters: IntCounterVec, labels: &[&str]| {
            for label in labels {
                counters.with_label_values(&[*label]).inc_by(0);
            }
            counters
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let gauges = |name: &str, help: &str, label: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
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
            requests_total: known(
                counters("requests_total", "Requests of clients that came in.", "method")?,
                &["store", "retrieve"],
            ),
            refused_total: known(
                counters("refused_total", "Requests of clients that were refused.", "code")?,
                &REFUSALS,
            ),
            garbage_total: known(
                counters("garbage_total", "Payloads that no protocol understands.", "protocol")?,
                &["storage", "swarm", "directory", "records", "checkpoints", "snapshot"],
            ),
            streams_refused_total: known(
                counters("streams_refused_total", "Streams refused when opened.", "reason")?,
                &STREAM_REASONS,
            ),
            streams_slow_total: known(
                counters("streams_slow_total", "Streams whose other side was too slow.", "protocol")?,
                &["storage", "swarm", "notify", "onion"],
            ),
            directory_failures_total: known(
                counters(
                    "directory_failures_total",
                    "Questions about the directory that failed on the way.",
                    "side",
                )?,
                &["asked", "answered"],
            ),
            records_dropped_total: counter(
                "records_dropped_total",
                "Gossiped records and pages dropped because too many waited.",
            )?,
            swarm_requests_total: counter("swarm_requests_total", "Requests of other nodes that came in.")?,
            onion_packets_total: known(
                counters("onion_packets_total", "Onion packets opened.", "outcome")?,
                &ONION_OUTCOMES,
            ),
            onion_refused_total: known(
                counters("onion_refused_total", "Onion packets refused.", "reason")?,
                &ONION_REASONS,
            ),
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
            newer_nodes: gauge("newer_nodes", "Nodes of these that run a newer version than this one.")?,
            directory_snapshot_period: gauge(
                "directory_snapshot_period",
                "Period of the newest certified snapshot of the directory; 0 without one.",
            )?,
            directory_snapshot_border_seconds: gauge(
                "directory_snapshot_border_seconds",
                "When that period ended, in seconds since 1970.",
            )?,
            directory_snapshot_nodes: gauge("directory_snapshot_nodes", "Nodes in that snapshot.")?,
            directory_snapshot_every_seconds: gauge(
                "directory_snapshot_every_seconds",
                "How long a period of snapshots lasts.",
            )?,
            checkpoint_submissions_total: known(
                counters("checkpoint_submissions_total", "Submissions of checkpoints.", "outcome")?,
                &SUBMISSIONS,
            ),
            clock_ahead_seconds: {
                let help = "How far this clock is ahead of the other nodes'; 0 until three were heard.";
                let gauge = Gauge::new("clock_ahead_seconds", help)?;
                registry.register(Box::new(gauge.clone()))?;
                gauge
            },
            store_limit_bytes: gauge("store_limit_bytes", "Bytes of messages that may be kept.")?,
            messages: gauge("messages", "Messages kept.")?,
            swarm: gauges("swarm", "1 for the swarm that the node sits in.", "swarm")?,
            swarm_members: gauge("swarm_members", "Members of that swarm, this one among them.")?,
            swarm_current: gauge("swarm_current", "Other members that this one has caught up with.")?,
            handing_over: gauge("handing_over", "1 while it may keep what other swarms keep by now.")?,
            reachable: {
                let help = "1 where others reach the node, 0 where they do not; -1 while nobody has dialled it back.";
                let gauges = IntGaugeVec::new(Opts::new("reachable", help), &["transport", "family"])?;
                registry.register(Box::new(gauges.clone()))?;
                gauges
            },
            check: gauges("check", "1 for a check of readiness that passes.", "check")?,
            ready: gauge("ready", "1 while all of them pass: clients are served.")?,
            process: host::process()?,
            registry,
        })
    }

    /// Shows what the checks of readiness say.
    pub(crate) fn show_checks(&self, checks: impl IntoIterator<Item = (&'static str, bool)>) {
        let mut ready = true;
        for (name, ok) in checks {
            self.check.with_label_values(&[name]).set(i64::from(ok));
            ready &= ok;
        }
        self.ready.set(i64::from(ready));
    }

    /// Shows whether others reach what the node announces.
    pub(crate) fn show_reached(&self, contacts: &Contacts) {
        self.reachable.reset();
        for (labels, is) in contacts.reached.standing(&contacts.announced.inside) {
            self.reachable.with_label_values(&labels).set(is);
        }
    }

    /// Shows how the member is.
    pub(crate) fn show_member(&self, one: &Inspection) {
        self.messages.set(number(one.messages));
        self.swarm_members.set(number(one.members as u64));
        self.swarm_current.set(number(one.current as u64));
        self.handing_over.set(i64::from(one.handing_over));
        self.swarm.reset();
        if let Some(swarm) = one.swarm {
            self.swarm.with_label_values(&[&swarm.to_string()]).set(1);
        }
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
        let mut families = self.registry.gather();
        families.extend(self.process.gather());
        let mut ours = Vec::new();
        let mut text = match TextEncoder::new().encode(&families, &mut ours) {
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

/// A number as gauges hold it.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
