//! What can be counted about the process and the machine under it.

use std::path::PathBuf;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::{Metrics, number};

/// Which build runs, and how much room the disk below the data folder has.
#[derive(Clone, Debug)]
pub(crate) struct HostMetrics {
    data: PathBuf,
    /// How large the file system is.
    disk_bytes: IntGauge,
    /// How much of it this process may still fill.
    disk_free_bytes: IntGauge,
}

impl HostMetrics {
    /// Makes them for a node whose data folder this is, that may use so many bytes of memory, and registers them
    /// beside the node's others.
    pub(crate) fn new(
        metrics: &Metrics,
        data: PathBuf,
        memory: usize,
        version: &str,
    ) -> Result<Self, prometheus::Error> {
        let registry = &metrics.registry;
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let info = IntGaugeVec::new(Opts::new("info", "1 for the version that runs."), &["version"])?;
        registry.register(Box::new(info.clone()))?;
        info.with_label_values(&[version]).set(1);
        let limit = "Memory of the process above which new connections are refused.";
        gauge("memory_limit_bytes", limit)?.set(number(memory as u64));
        Ok(Self {
            data,
            disk_bytes: gauge("disk_bytes", "Size of the file system of the data folder.")?,
            disk_free_bytes: gauge("disk_free_bytes", "Bytes of it that may still be filled.")?,
        })
    }

    /// Looks at the disk.
    pub(crate) fn count(&self) {
        // What cannot be asked stays as it was: the store says itself when it cannot write.
        if let Ok(found) = rustix::fs::statvfs(&self.data) {
            self.disk_bytes.set(number(found.f_blocks.saturating_mul(found.f_frsize)));
            self.disk_free_bytes.set(number(found.f_bavail.saturating_mul(found.f_frsize)));
        }
    }
}

/// The process's own metrics, under the names that all programs give them: `process_...`.
pub(super) fn process() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}
