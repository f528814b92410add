//! What can be counted about the door for the clients that exist.

use prometheus::{IntCounterVec, IntGauge, Opts};

use super::Metrics;

/// Requests and connections of the door. Neither label is chosen by a client.
#[derive(Clone, Debug)]
pub(crate) struct DoorMetrics {
    /// Requests that were answered, by endpoint (`storage`, `nodes`, `onion`) and HTTP status.
    requests_total: IntCounterVec,
    /// Requests and connections that were refused at a limit of the door, by the limit.
    refused_total: IntCounterVec,
    /// Open connections.
    pub(crate) connections: IntGauge,
    /// When the certificate runs out, in seconds since 1970.
    certificate_expires_seconds: IntGauge,
}

impl DoorMetrics {
    /// Makes them, and registers them beside the node's others.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let registry = &metrics.registry;
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counters.clone()))?;
                Ok(counters)
            };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let metrics = Self {
            requests_total: counters(
                "door_requests_total",
                "Requests that the door for the clients that exist answered.",
                &["endpoint", "code"],
            )?,
            refused_total: counters(
                "door_refused_total",
                "Requests and connections refused at a limit of that door.",
                &["limit"],
            )?,
            connections: gauge("door_connections", "Open connections of that door.")?,
            certificate_expires_seconds: gauge(
                "door_certificate_expires_seconds",
                "When its certificate runs out, in seconds since 1970; 0 where there is no door.",
            )?,
        };
        // From zero on, so that the first of a kind is seen as one more.
        for endpoint in ["storage", "nodes", "onion"] {
            for code in ["200", "500", "503"] {
                metrics.requests_total.with_label_values(&[endpoint, code]).inc_by(0);
            }
        }
        for limit in ["rate", "connections"] {
            metrics.refused_total.with_label_values(&[limit]).inc_by(0);
        }
        Ok(metrics)
    }

    /// Shows when the certificate runs out, in seconds since 1970.
    pub(crate) fn certificate_expires(&self, seconds: i64) {
        self.certificate_expires_seconds.set(seconds);
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, endpoint: &str, status: u16) {
        self.requests_total.with_label_values(&[endpoint, &status.to_string()]).inc();
    }

    /// Counts what met a limit.
    pub(crate) fn refused(&self, limit: &str) {
        self.refused_total.with_label_values(&[limit]).inc();
    }
}
