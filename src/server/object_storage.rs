//! What was asked of stores, in the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{BlockCache, OPERATIONS, StoreStats};
use crate::telemetry::metrics::Metrics;

/// Shows a store's counts as those of `name`.
pub(super) fn show_in_metrics(metrics: &Metrics, name: &str, stats: Arc<StoreStats>) {
    let name = name.to_owned();
    metrics.on_gather(move |metrics| {
        let name = name.as_str();
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        for (operation, counts) in OPERATIONS.iter().zip(&stats.operations) {
            let labels = [name, *operation];
            metrics.store.requests.with_label_values(&labels).set(value(&counts.requests));
            metrics.store.failures.with_label_values(&labels).set(value(&counts.failures));
            metrics.store.seconds.with_label_values(&labels).set(value(&counts.nanos) / 1e9);
        }
        metrics.store.bytes.with_label_values(&[name, "read"]).set(value(&stats.read_bytes));
        metrics.store.bytes.with_label_values(&[name, "written"]).set(value(&stats.written_bytes));
    });
}

/// Shows what is kept of buckets, and what it was good for.
pub(super) fn show_cache_in_metrics(metrics: &Metrics, cache: BlockCache) {
    metrics.on_gather(move |metrics| {
        let (memory, disk) = cache.sizes();
        metrics.store.cache_bytes.with_label_values(&["memory"]).set(memory as f64);
        metrics.store.cache_bytes.with_label_values(&["disk"]).set(disk as f64);
        let stats = cache.stats();
        for (outcome, count) in [("memory", &stats.memory_hits), ("disk", &stats.disk_hits), ("miss", &stats.misses)] {
            metrics.store.cache_blocks.with_label_values(&[outcome]).set(count.load(Ordering::Relaxed) as f64);
        }
    });
}
